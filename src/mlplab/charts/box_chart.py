"""Boxes and arrows as an Altair chart, at places that the caller chooses: a graph as a figure, without Graphviz."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlplab.charts.plots import GREY, INK
from mlplab.errors import import_extra

if TYPE_CHECKING:
    import altair

COLUMN, ROW = 134, 62  # pixels from one place to the next
WIDTH, HEIGHT = 100, 34  # pixels of a box
HEAD = 9  # pixels from the tip of an arrow to the middle of its head


@dataclass(frozen=True)
class Box:
    """A box in column `x`, row `y` from the top, with what the mouse shows as `detail`."""

    name: str
    label: str
    x: float
    y: float
    fill: str
    border: str
    detail: str = ""


@dataclass(frozen=True)
class Arrow:
    """From one box to another, by their names."""

    source: str
    target: str
    colour: str = GREY
    dashed: bool = False


def box_chart(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> altair.LayerChart:
    """The boxes, and arrows from border to border. Needs the extra `book`."""
    alt = import_extra("altair", what="A figure", extra="book")
    right, bottom = max(box.x for box in boxes), max(box.y for box in boxes)
    size = {"width": int(right * COLUMN + WIDTH + 8), "height": int(bottom * ROW + HEIGHT + 8)}
    across = alt.Scale(domain=[0, size["width"]], nice=False, zero=False)
    down = alt.Scale(domain=[size["height"], 0], nice=False, zero=False)
    places = {box.name: (4 + WIDTH / 2 + box.x * COLUMN, 4 + HEIGHT / 2 + box.y * ROW) for box in boxes}
    lines = pd.DataFrame([_line(places, arrow) for arrow in arrows])
    frames = pd.DataFrame([_frame(places, box) for box in boxes])

    def at(field: str, scale: altair.Scale) -> altair.X | altair.Y:
        channel = alt.Y if scale is down else alt.X
        return channel(f"{field}:Q", scale=scale, axis=None)

    rules = [
        alt.Chart(lines[lines["dashed"] == dashed])
        .mark_rule(strokeDash=[5, 3] if dashed else [1, 0], strokeWidth=1.3)
        .encode(x=at("x", across), y=at("y", down), x2="x2", y2="y2", color=alt.Color("colour:N", scale=None))
        for dashed in sorted(lines["dashed"].unique())
    ]
    heads = (
        alt.Chart(lines)
        .mark_point(shape="triangle", size=45, filled=True, opacity=1)
        .encode(
            x=at("head_x", across), y=at("head_y", down), color=alt.Color("colour:N", scale=None),
            angle=alt.Angle("angle:Q", scale=alt.Scale(domain=[0, 360], range=[0, 360])),
        )
    )  # fmt: skip
    rectangles = (
        alt.Chart(frames)
        .mark_rect(cornerRadius=5, strokeWidth=1.5)
        .encode(
            x=at("left", across), x2="right", y=at("top", down), y2="bottom",
            fill=alt.Fill("fill:N", scale=None), stroke=alt.Stroke("border:N", scale=None),
            tooltip=alt.Tooltip("detail:N", title=" "),
        )
    )  # fmt: skip
    words = (
        alt.Chart(frames)
        .mark_text(lineBreak="\n", fontSize=11, lineHeight=13, color=INK, baseline="middle")
        .encode(x=at("x", across), y=at("text_y", down), text="label:N")
    )
    return alt.layer(*rules, heads, rectangles, words).properties(**size)


def _frame(places: dict[str, tuple[float, float]], box: Box) -> dict[str, Any]:
    x, y = places[box.name]
    edges = {"left": x - WIDTH / 2, "right": x + WIDTH / 2, "top": y - HEIGHT / 2, "bottom": y + HEIGHT / 2}
    # The first line stands where the mark is: what follows moves the text's middle down.
    return asdict(box) | edges | {"x": x, "text_y": y - 6.5 * box.label.count("\n")}


def _line(places: dict[str, tuple[float, float]], arrow: Arrow) -> dict[str, Any]:
    (x, y), (x2, y2) = (
        _border(places, arrow.source, arrow.target),
        _border(places, arrow.target, arrow.source),
    )
    length = math.hypot(x2 - x, y2 - y) or 1.0
    across, down = (x2 - x) / length, (y2 - y) / length
    return {
        "x": x, "y": y, "x2": x2 - HEAD / 2 * across, "y2": y2 - HEAD / 2 * down,
        "head_x": x2 - HEAD / 2 * across, "head_y": y2 - HEAD / 2 * down,
        "angle": math.degrees(math.atan2(across, -down)) % 360,  # a triangle points up at 0
        "colour": arrow.colour, "dashed": arrow.dashed,
    }  # fmt: skip


def _border(places: dict[str, tuple[float, float]], name: str, other: str) -> tuple[float, float]:
    """Where the line from the middle of one box to that of the other crosses its border."""
    (x, y), (x2, y2) = places[name], places[other]
    across, down = x2 - x, y2 - y
    share = min(
        WIDTH / 2 / abs(across) if across else math.inf, HEIGHT / 2 / abs(down) if down else math.inf, 1.0
    )
    return x + share * across, y + share * down
