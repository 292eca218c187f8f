"""Pictures of a result: what differs, what drives it, and what could have been found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mlplab.charts.plots import GREY, PALETTE
from mlplab.errors import import_extra
from mlplab.shift.result import POWER, Distribution, Power, ShiftResult

if TYPE_CHECKING:
    import altair

HEIGHT = 240
SAMPLES = ["reference", "current"]


def plot_result(found: ShiftResult) -> altair.HConcatChart:
    """Side by side; a part that the result lacks is left out."""
    alt = _altair()
    parts = []
    if found.distribution is not None:
        parts.append(distribution_figure(found.distribution))
    if len(found.drivers) > 1:
        parts.append(driver_figure(found))
    if found.power is not None:
        parts.append(power_figure(found.power))
    sizes = f"{found.num_reference:,} and {found.num_current:,} rows"
    note = f"{found.statistic_name} {found.statistic:.3g}, p = {found.p_value:.3g}, {sizes}"
    title = alt.TitleParams(f"{found.detector}: {found.decision}", subtitle=note, anchor="start")
    return alt.hconcat(*parts, title=title).resolve_scale(color="independent")


def distribution_figure(shown: Distribution) -> altair.Chart:
    """Shares of both samples: steps over bins, or bars over labels."""
    alt = _altair()
    colour = alt.Color(
        "sample:N", title=None, sort=SAMPLES, scale=alt.Scale(domain=SAMPLES, range=list(PALETTE[:2])),
        legend=alt.Legend(orient="top"),
    )  # fmt: skip
    share = alt.Y("share:Q", title="Share of the sample's rows", axis=alt.Axis(format="%"))
    sides = zip(SAMPLES, (shown.reference, shown.current), strict=True)
    if shown.edges:
        rows = pd.DataFrame(
            [
                {"sample": name, "low": low, "high": high, "share": value}
                for name, side in sides
                for low, high, value in zip(shown.edges, shown.edges[1:], side, strict=False)
            ]
        )
        chart = alt.Chart(rows, title=shown.title, width=300, height=HEIGHT).mark_bar(
            opacity=0.5, binSpacing=0
        )
        axis = alt.X("low:Q", title=_one_line(shown.axis), bin="binned", scale=alt.Scale(zero=False))
        return chart.encode(x=axis, x2="high:Q", y=share.stack(None), color=colour)
    rows = pd.DataFrame(
        [
            {"sample": name, "label": label, "share": value, "order": order}
            for name, side in sides
            for order, (label, value) in enumerate(zip(shown.labels, side, strict=True))
        ]
    )
    chart = alt.Chart(
        rows, title=shown.title, width=max(200, 26 * len(shown.labels)), height=HEIGHT
    ).mark_bar()
    axis = alt.X("label:N", title=_one_line(shown.axis), sort=alt.SortField("order"))
    return chart.encode(x=axis, xOffset=alt.XOffset("sample:N", sort=SAMPLES), y=share, color=colour)


def driver_figure(found: ShiftResult) -> altair.Chart:
    """The part of each feature or class, strongest first."""
    alt = _altair()
    rows = pd.DataFrame(
        [{"name": d.name, "score": d.score, "note": d.note, "order": i} for i, d in enumerate(found.drivers)]
    )
    # A column can be there twice: by its values, and by how many are missing.
    rows["name"] = [
        f"{name} (missing)" if note.startswith("missing") else name
        for name, note in zip(rows["name"], rows["note"], strict=True)
    ]
    title = "What drives it" if found.is_shift else "What differs most (as chance brings it)"
    chart = alt.Chart(rows, title=title, width=240, height=HEIGHT).mark_bar(
        color=PALETTE[1] if found.is_shift else GREY
    )
    return chart.encode(
        x=alt.X("score:Q", title=_folded(found.driver_measure), axis=alt.Axis(tickCount=5)),
        y=alt.Y("name:N", title=None, sort=alt.SortField("order"), axis=alt.Axis(labelLimit=140)),
        tooltip=["name", alt.Tooltip("score:Q", format=".3g"), "note"],
    )


def power_figure(power: Power) -> altair.LayerChart:
    """How likely a shift is found, by its size; dashed: the smallest that is found four times in five."""
    alt = _altair()
    rows = pd.DataFrame({"size": power.sizes, "probability": power.probabilities})
    # Past the point where all is found there is nothing to see.
    settled = rows.index[rows["probability"] > 0.999]
    if len(settled):
        rows = rows.loc[: settled[0]]
    low, high = float(rows["size"].min()), float(rows["size"].max())
    if power.observed is not None:
        high = max(high, min(power.observed, power.sizes[-1]))
    chart = alt.Chart(rows, title="What it would find", width=240, height=HEIGHT)
    line = chart.mark_line(color=PALETTE[0], interpolate="monotone").encode(
        x=alt.X(
            "size:Q",
            axis=alt.Axis(tickCount=5),
            title=_folded(power.measure),
            scale=alt.Scale(domain=[low, high], nice=False, clamp=True),
        ),
        y=alt.Y("probability:Q", title="Probability that it is found", scale=alt.Scale(domain=[0, 1])),
    )
    layers: list[Any] = [line]
    if power.smallest is not None:
        marks = pd.DataFrame(
            {"size": [power.smallest], "probability": [POWER], "text": [f"{power.smallest:.3g}"]}
        )
        layers.append(alt.Chart(marks).mark_rule(strokeDash=[5, 3], color=GREY).encode(x="size:Q"))
        layers.append(
            alt.Chart(marks)
            .mark_text(align="left", dx=4, dy=8)
            .encode(x="size:Q", y="probability:Q", text="text:N")
        )
    if power.observed is not None and power.observed > low:
        seen = pd.DataFrame({"size": [power.observed], "text": ["seen"], "probability": [0.06]})
        layers.append(alt.Chart(seen).mark_rule(color=PALETTE[1]).encode(x="size:Q"))
        layers.append(
            alt.Chart(seen).mark_text(align="left", dx=4, color=PALETTE[1]).encode(
                x="size:Q", y="probability:Q", text="text:N"
            )
        )  # fmt: skip
    return alt.layer(*layers)


def _one_line(text: str) -> str:
    """Vega puts a heading into an expression of its own, which no line end may cut."""
    return " ".join(text.split())


def _folded(text: str, width: int = 38) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _altair() -> Any:
    return import_extra("altair", what="A figure", extra="book")
