"""Boxes and arrows as a figure."""

from __future__ import annotations

import math

import pytest

from mlplab.charts.box_chart import HEAD, Arrow, Box, Grid, box_chart

PLACES = {"a": (0, 0), "b": (2, 0), "c": (0, 2), "d": (2, 1)}


def drawn(*pairs: tuple[str, str]) -> tuple[dict[str, dict], list[dict]]:
    """The boxes by name and the arrows, as the specification has them."""
    boxes = [
        Box(name, f"{name}\nsecond line", *place, "#ffffff", "#000000") for name, place in PLACES.items()
    ]
    spec = box_chart(boxes, [Arrow(*pair, dashed=pair == ("a", "d")) for pair in pairs]).to_dict()
    rows = [row for table in spec["datasets"].values() for row in table]
    unique = {tuple(sorted(row.items())): row for row in rows}.values()
    return {row["name"]: row for row in unique if "name" in row}, [row for row in unique if "head_x" in row]


@pytest.mark.parametrize("pair", [(a, b) for a in PLACES for b in PLACES if a != b])
def test_an_arrow_leads_from_border_to_border(pair):
    boxes, (arrow,) = drawn(pair)

    def out(name: str, x: float, y: float) -> float:
        """How far a point is from the middle of a box, where 1 is its border."""
        box = boxes[name]
        middle = (box["left"] + box["right"]) / 2, (box["top"] + box["bottom"]) / 2
        return max(abs(x - middle[0]) / (Grid.width / 2), abs(y - middle[1]) / (Grid.height / 2))

    assert out(pair[0], arrow["x"], arrow["y"]) == pytest.approx(1)
    length = math.hypot(arrow["x2"] - arrow["x"], arrow["y2"] - arrow["y"])
    share = (length + HEAD / 2) / length
    tip = [arrow[s] + share * (arrow[e] - arrow[s]) for s, e in (("x", "x2"), ("y", "y2"))]
    assert out(pair[1], *tip) == pytest.approx(1)


@pytest.mark.parametrize(
    ("pair", "angle"), [(("a", "b"), 90), (("b", "a"), 270), (("a", "c"), 180), (("c", "a"), 0)]
)
def test_the_head_of_an_arrow_points_where_it_leads(pair, angle):
    assert drawn(pair)[1][0]["angle"] == pytest.approx(angle)


def test_boxes_lie_within_the_figure_and_apart():
    boxes = list(drawn(("a", "b"))[0].values())
    assert min(b[side] for b in boxes for side in ("left", "top")) > 0
    for one, other in ((b, c) for b in boxes for c in boxes if b is not c):
        apart_across = one["right"] < other["left"] or other["right"] < one["left"]
        assert apart_across or one["bottom"] < other["top"] or other["bottom"] < one["top"]


def test_dashed_arrows_are_told_from_others():
    assert [a["dashed"] for a in drawn(("a", "b"), ("a", "d"))[1]] == [False, True]
