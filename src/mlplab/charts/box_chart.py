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


@dataclass(frozen=True)
class Grid:
    """Pixels from one place to the next, and of a box."""

    column: float = 134
    row: float = 62
    width: float = 100
    height: float = 34


HEAD = 9  # pixels from the tip of an arrow to the middle of its head


@dataclass(frozen=True)
class Box:
    """A box in column `x`, row `y` from the top, with what the mouse shows as `detail`; with round ends or not."""

    name: str
    label: str
    x: float
    y: float
    fill: str
    border: str
    detail: str = ""
    rounded: bool = False


@dataclass(frozen=True)
class Arrow:
    """From one box to another, by their names."""

    source: str
    target: str
    colour: str = GREY
    dashed: bool = False


def box_chart(boxes: Sequence[Box], arrows: Sequence[Arrow], grid: Grid | None = None) -> altair.LayerChart:
    """The boxes, and arrows from border to border. Needs the extra `book`."""
    alt = import_extra("altair", what="A figure", extra="book")
    grid = grid or Grid()
    right, bottom = max(box.x for box in boxes), max(box.y for box in boxes)
    size = {
        "width": int(right * grid.column + grid.width + 8),
        "height": int(bottom * grid.row + grid.height + 8),
    }
    across = alt.Scale(domain=[0, size["width"]], nice=False, zero=False)
    down = alt.Scale(domain=[size["height"], 0], nice=False, zero=False)
    places = {
        box.name: (4 + grid.width / 2 + box.x * grid.column, 4 + grid.height / 2 + box.y * grid.row)
        for box in boxes
    }
    lines = pd.DataFrame([_line(places, arrow, grid) for arrow in arrows])
    frames = pd.DataFrame([_frame(places, box, grid) for box in boxes])

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
    rectangles = [
        alt.Chart(frames[frames["rounded"] == rounded])
        .mark_rect(cornerRadius=grid.height / 2 if rounded else 5, strokeWidth=1.5)
        .encode(
            x=at("left", across), x2="right", y=at("top", down), y2="bottom",
            fill=alt.Fill("fill:N", scale=None), stroke=alt.Stroke("border:N", scale=None),
            tooltip=alt.Tooltip("detail:N", title=" "),
        )
        for rounded in sorted(frames["rounded"].unique())
    ]  # fmt: skip
    words = (
        alt.Chart(frames)
        .mark_text(lineBreak="\n", fontSize=11, lineHeight=13, color=INK, baseline="middle")
        .encode(x=at("x", across), y=at("text_y", down), text="label:N")
    )
    return alt.layer(*rules, heads, *rectangles, words).properties(**size)


def _frame(places: dict[str, tuple[float, float]], box: Box, grid: Grid) -> dict[str, Any]:
    x, y = places[box.name]
    across, down = grid.width / 2, grid.height / 2
    edges = {"left": x - across, "right": x + across, "top": y - down, "bottom": y + down}
    # The first line stands where the mark is: what follows moves the text's middle down.
    return asdict(box) | edges | {"x": x, "text_y": y - 6.5 * box.label.count("\n")}


def _line(places: dict[str, tuple[float, float]], arrow: Arrow, grid: Grid) -> dict[str, Any]:
    (x, y), (x2, y2) = (
        _border(places, arrow.source, arrow.target, grid),
        _border(places, arrow.target, arrow.source, grid),
    )
    length = math.hypot(x2 - x, y2 - y) or 1.0
    across, down = (x2 - x) / length, (y2 - y) / length
    return {
        "x": x, "y": y, "x2": x2 - HEAD / 2 * across, "y2": y2 - HEAD / 2 * down,
        "head_x": x2 - HEAD / 2 * across, "head_y": y2 - HEAD / 2 * down,
        "angle": math.degrees(math.atan2(across, -down)) % 360,  # a triangle points up at 0
        "colour": arrow.colour, "dashed": arrow.dashed,
    }  # fmt: skip


def _border(places: dict[str, tuple[float, float]], name: str, other: str, grid: Grid) -> tuple[float, float]:
    """Where the line from the middle of one box to that of the other crosses its border."""
    (x, y), (x2, y2) = places[name], places[other]
    across, down = x2 - x, y2 - y
    share = min(
        grid.width / 2 / abs(across) if across else math.inf,
        grid.height / 2 / abs(down) if down else math.inf,
        1.0,
    )
    return x + share * across, y + share * down
