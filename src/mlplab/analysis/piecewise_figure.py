"""Figures of piecewise linear functions: a function with its breakpoints, and regions of a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.charts.plots import INK, PALETTE
from mlplab.errors import import_extra

if TYPE_CHECKING:
    import altair

    from mlplab.analysis.piecewise_function import PiecewiseLinear
    from mlplab.analysis.piecewise_regions import LinearRegions

SIDE = 460  # pixels
FILLS = ("#d9e8f3", "#f6dfd0", "#d3ece3", "#f3e1ec", "#faeccb", "#e3f1fa", "#ececec")


def function_figure(
    f: PiecewiseLinear,
    low: float | None = None,
    high: float | None = None,
    *,
    x_title: str = "Input x",
    title: str = "",
) -> altair.LayerChart:
    """A line for each output, with a mark at each breakpoint."""
    alt = import_extra("altair", what="A figure", extra="book")
    knots = f.breakpoints.astype(np.float64)
    reach = max(float(np.ptp(knots)) / 4, 1.0) if len(knots) else 1.0
    start = low if low is not None else (float(knots.min()) if len(knots) else 0.0) - reach
    end = high if high is not None else (float(knots.max()) if len(knots) else 0.0) + reach
    inner = knots[(knots > start) & (knots < end)]
    x = np.concatenate([[start], inner, [end]])
    y = f(x).astype(np.float64)
    rows = pd.DataFrame(
        {
            "x": np.repeat(x, f.out_features),
            "y": y.reshape(-1),
            "output": [str(i) for i in range(f.out_features)] * len(x),
            "is_break": np.repeat([False, *[True] * len(inner), False], f.out_features),
        }
    )
    legend = alt.Legend(title="Output") if f.out_features > 1 else None
    colour = alt.Color("output:N", legend=legend, scale=alt.Scale(range=list(PALETTE)))
    heading = title or f"{f.num_pieces} pieces"
    base = alt.Chart(rows, title=alt.TitleParams(heading, anchor="start"), width=460, height=260)
    line = base.mark_line().encode(
        x=alt.X("x:Q", title=x_title), y=alt.Y("y:Q", title="Output"), color=colour
    )
    marks = base.mark_point(filled=True, size=28, opacity=1).encode(x="x:Q", y="y:Q", color=colour)
    return alt.layer(line, marks.transform_filter("datum.is_break"))


def regions_figure(found: LinearRegions) -> altair.LayerChart:
    """Cells as polygons in light colours, neighbours mostly apart; the decision boundary over them."""
    alt = import_extra("altair", what="A figure", extra="book")
    low_s, high_s, low_t, high_t = found.extent
    x = alt.X(
        "s:Q",
        title="Position s along the first direction",
        scale=alt.Scale(domain=[low_s, high_s], nice=False),
    )
    y = alt.Y("t:Q", title="Position t along the second", scale=alt.Scale(domain=[low_t, high_t], nice=False))
    subtitle = f"{found.num_patterns:,} activation patterns; black: decision boundary"
    title = alt.TitleParams(f"{found.num_regions:,} linear regions", subtitle=[subtitle], anchor="start")
    # One shape for each colour, in pixels: tens of thousands of marks would take a minute to draw.
    scale = np.array([SIDE / (high_s - low_s), -SIDE / (high_t - low_t)])
    shapes: list[list[list[list[list[float]]]]] = [[] for _ in FILLS]
    for region, polygon in zip(found.region_of, found.polygons, strict=True):
        ring = (polygon.astype(np.float64) - [low_s, high_t]) * scale
        shapes[region % len(FILLS)].append([[*_clockwise(ring).tolist(), _clockwise(ring)[0].tolist()]])
    features = [
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": shape}, "fill": fill}
        for shape, fill in zip(shapes, FILLS, strict=True)
        if shape
    ]
    cells = alt.Chart(alt.Data(values=features), title=title, width=SIDE, height=SIDE)
    drawn = cells.mark_geoshape(stroke="#8f9aa3", strokeWidth=0.35).encode(
        fill=alt.Fill("fill:N", scale=None)
    )
    frame = [{"s": low_s, "t": low_t}, {"s": high_s, "t": high_t}]
    axes = alt.Chart(alt.Data(values=frame)).mark_point(opacity=0).encode(x=x, y=y)
    layers: list[Any] = [drawn.project(type="identity", scale=1, translate=[0, 0]), axes]
    if found.boundary:
        ends = [
            {"segment": number, "s": float(s), "t": float(t)}
            for number, segment in enumerate(found.boundary)
            for s, t in segment
        ]
        border = alt.Chart(alt.Data(values=ends)).mark_line(color=INK, strokeWidth=2)
        layers.append(border.encode(x=x, y=y, detail="segment:N"))
    return alt.layer(*layers)


def _clockwise(ring: np.ndarray) -> np.ndarray:
    """A ring the other way round would fill all but itself."""
    x, y = ring[:, 0], ring[:, 1]
    return ring if (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0 else ring[::-1]
