"""Pictures of activation functions and their derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlplab.charts.plots import DASHES, PALETTE
from mlplab.errors import import_extra

if TYPE_CHECKING:
    import altair
    import pandas as pd

QUANTITIES = ("function", "derivative")


def single(rows: pd.DataFrame, *, title: str) -> altair.Chart:
    """One function. `rows` as `ActivationFacts.curve` makes them."""
    alt = import_extra("altair", what="A figure", extra="book")
    return _lines(alt, rows, 480, 280).properties(
        title=alt.TitleParams(title, anchor="start", fontSize=14, offset=8)
    )


def panels(rows: pd.DataFrame, *, columns: int) -> altair.FacetChart:
    """A panel for each function."""
    alt = import_extra("altair", what="A figure", extra="book")
    names = list(dict.fromkeys(rows["activation"]))
    facet = alt.Facet("activation:N", sort=names, title=None, header=alt.Header(labelFontSize=12))
    title = alt.TitleParams("Activation functions and their derivatives", anchor="start", fontSize=14)
    return _lines(alt, rows, 130, 100).facet(facet, columns=columns, title=title)


def _lines(alt: Any, rows: pd.DataFrame, width: int, height: int) -> Any:
    names = list(QUANTITIES)
    scale = alt.Scale(domain=names, range=list(PALETTE[:2]))
    dashes = alt.Scale(domain=names, range=[list(dash) for dash in DASHES[:2]])
    legend = alt.Legend(title=None, symbolType="stroke", symbolSize=400, orient="top")
    axis = alt.Axis(gridColor="#ededed", tickMinStep=1)
    chart = alt.Chart(rows, width=width, height=height).mark_line(strokeWidth=2, clip=True)
    return chart.encode(
        x=alt.X("x:Q", title="Input x", axis=axis, scale=alt.Scale(nice=False)),
        y=alt.Y("y:Q", title="Value and slope", axis=axis),
        color=alt.Color("quantity:N", sort=names, scale=scale, legend=legend),
        strokeDash=alt.StrokeDash("quantity:N", sort=names, scale=dashes, legend=legend),
        detail="piece:N",
    )
