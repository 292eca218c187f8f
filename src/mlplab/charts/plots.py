"""Figures of a study: tables in, Altair charts out. Titles and labels are arguments, in any language.

An interval names its method, level and n in the subtitle, in the words of NOTES. Charts carry no configuration,
so that they can be layered, put side by side, and set in the page's font.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab import stats
from mlplab.errors import InvalidInput, import_extra

if TYPE_CHECKING:
    import altair

# Okabe and Ito 2008: told apart with any kind of colour vision. Black and the pale yellow are left out: the first
# is the ink of axes and text, the second is lost on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (4, 4), (1, 3))  # told apart in black and white too
INK, GREY, BAND = "#222222", "#8a8a8a", "#e3ecf3"
CURVE_POINTS = 200  # of one arm; a wider figure shows no more

# What is said of intervals; other languages have the same keys.
NOTES: Mapping[str, str] = tomllib.loads((files("mlplab.languages") / "en.toml").read_text("utf-8"))["charts"]


def interval_plot(
    summary: pd.DataFrame,
    *,
    value_title: str,
    title: str = "",
    arm_title: str = "",
    labels: Mapping[str, str] | None = None,
    value_format: str = "",
    notes: Mapping[str, str] = NOTES,
    width: int = 420,
) -> altair.Chart | altair.LayerChart:
    """A row for each arm: the mean as a point, its interval as a line.

    Arguments:
      summary: as `Results.summary` makes it.
      value_title: quantity and unit, as in "Test loss (nats)".
      labels: what to write for an arm; its name where it is not there.
      value_format: of the axis' numbers, in D3's words: ".1%".
      notes: what is said of intervals, in the language of the titles.

    An arm of which runs diverged has an open mark and a note: its mean is that of the others.
    """
    alt = import_extra("altair", what="A figure", extra="book")
    rows = summary.copy()
    rows["label"] = [(labels or {}).get(arm, arm) for arm in summary["arm"]]
    totals = rows["num_replicates"] + rows["num_diverged"]
    rows["note"] = [
        notes["diverged"].format(count=count, total=total) if count else ""
        for count, total in zip(rows["num_diverged"], totals, strict=True)
    ]
    subtitle = [_note("mean", rows, notes)]
    if rows["num_diverged"].any():
        subtitle.append(_sentence(notes["left out"]))
    kept = ["label", "estimate", "ci_low", "ci_high", "num_replicates", "num_diverged", "note"]
    base = alt.Chart(rows[kept], title=_title(alt, title, subtitle), width=width, height=alt.Step(26))
    y = alt.Y("label:N", sort=list(rows["label"]), title=arm_title or None, axis=_row_axis(alt))
    x_axis = alt.Axis(format=value_format, **_LIGHT_GRID)
    x = alt.X("estimate:Q", title=value_title, scale=alt.Scale(zero=False), axis=x_axis)
    tooltip = ["label:N", *(alt.Tooltip(f"{name}:Q", format=".5g") for name in kept[1:4]), "num_replicates:Q"]
    lines = base.mark_rule(color=PALETTE[0], strokeWidth=2).encode(x="ci_low:Q", x2="ci_high:Q", y=y)
    fill = alt.condition("datum.num_diverged > 0", alt.value("white"), alt.value(PALETTE[0]))
    points = base.mark_point(size=60, stroke=PALETTE[0], strokeWidth=2, opacity=1).encode(
        x=x, y=y, fill=fill, tooltip=tooltip
    )
    layers = [_finite(lines, "ci_low", "ci_high"), _finite(points, "estimate")]
    if rows["note"].any():
        # At the right edge, where no interval is drawn over it.
        text = base.mark_text(align="left", dx=8, color=INK, fontSize=10)
        layers.append(text.encode(x=alt.value(width), y=y, text="note:N"))
    return alt.layer(*layers)


def difference_plot(
    comparisons: Mapping[str, stats.Comparison | Mapping[str, Any]],
    *,
    value_title: str,
    title: str = "",
    arm_title: str = "",
    margin: float | None = None,
    labels: Mapping[str, str] | None = None,
    value_format: str = "",
    notes: Mapping[str, str] = NOTES,
    width: int = 420,
) -> altair.LayerChart:
    """A row for each arm: how much it differs from the baseline on the same seeds, beside no difference.

    Arguments:
      comparisons: as `Results.compare` makes them, or as evidence holds them.
      margin: half the width of the band of differences that do not matter; the comparisons' own by default.

    An interval without an end, as of a single seed, is not drawn. One that leaves out the line shows a difference.
    """
    alt = import_extra("altair", what="A figure", extra="book")
    held = [c if isinstance(c, Mapping) else asdict(c) for c in comparisons.values()]
    rows = pd.DataFrame(held)[
        ["estimate", "ci_low", "ci_high", "ci_prob", "ci_method", "num_replicates", "threshold"]
    ]
    rows = rows.astype({"ci_low": "float64", "ci_high": "float64"})
    rows["label"] = [(labels or {}).get(arm, arm) for arm in comparisons]
    threshold = float(rows["threshold"].iloc[0])
    if margin is None and held[0].get("equivalence"):
        margin = held[0]["equivalence"]["margin"]
    note = _note("difference", rows, notes)
    if any(c.get("p_holm") is not None for c in held):
        note += notes["holm"].format(arms=len(rows))
    subtitle = [note]
    if margin is not None:
        shown = f"{margin:{value_format}}" if value_format else f"{margin:g}"
        subtitle.append(_sentence(notes["band"].format(margin=shown)))
    base = alt.Chart(rows, title=_title(alt, title, subtitle), width=width, height=alt.Step(26))
    y = alt.Y("label:N", sort=list(rows["label"]), title=arm_title or None, axis=_row_axis(alt))
    x_axis = alt.Axis(format=value_format, **_LIGHT_GRID)
    x = alt.X("estimate:Q", title=value_title, scale=alt.Scale(zero=False), axis=x_axis)
    tooltip = [
        "label:N",
        *(alt.Tooltip(f"{name}:Q", format=".5g") for name in ("estimate", "ci_low", "ci_high")),
    ]
    layers = []
    if margin is not None:
        band = pd.DataFrame({"low": [threshold - margin], "high": [threshold + margin]})
        layers.append(alt.Chart(band).mark_rect(color=BAND).encode(x="low:Q", x2="high:Q"))
    zero = pd.DataFrame({"zero": [threshold]})
    layers.append(alt.Chart(zero).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="zero:Q"))
    lines = base.mark_rule(color=PALETTE[0], strokeWidth=2).encode(x="ci_low:Q", x2="ci_high:Q", y=y)
    points = base.mark_point(size=60, color=PALETTE[0], filled=True, opacity=1).encode(
        x=x, y=y, tooltip=tooltip
    )
    return alt.layer(*layers, _finite(lines, "ci_low", "ci_high"), points)


def curve_plot(
    curves: pd.DataFrame,
    metric: str,
    *,
    value_title: str,
    epoch_title: str,
    title: str = "",
    arm_title: str = "",
    labels: Mapping[str, str] | None = None,
    value_format: str = "",
    log_scale: bool = False,
    ci_prob: float = 0.95,
    notes: Mapping[str, str] = NOTES,
    width: int = 420,
    height: int = 260,
) -> altair.LayerChart:
    """The mean over seeds by epoch, with a band of the t interval at each epoch alone.

    Arguments:
      curves: as in `Results.curves`, or as `mean_curves` makes them.
      metric: which of them.
      log_scale: of the values; a band that reaches 0 is cut at the smallest mean's tenth.

    Of more than CURVE_POINTS epochs, evenly spaced ones are drawn. Raises InvalidInput where no arm has a point.
    """
    alt = import_extra("altair", what="A figure", extra="book")
    chosen = curves[curves["metric"] == metric]
    rows = chosen if "estimate" in chosen.columns else mean_curves(chosen, ci_prob=ci_prob)
    if rows.empty:
        raise InvalidInput("curve_plot.metric", "must be one of the curves", metric)
    rows = rows.astype({"ci_low": "float64", "ci_high": "float64"})
    is_cut = bool(rows["is_cut"].any())
    if log_scale:
        lowest = rows["estimate"].min() / 10
        rows[["ci_low", "ci_high"]] = rows[["ci_low", "ci_high"]].clip(lower=lowest)
    rows["label"] = [(labels or {}).get(arm, arm) for arm in rows["arm"]]
    subtitle = [_note("curve", rows, notes)]
    if is_cut:
        subtitle.append(_sentence(notes["cut"]))
    names = list(dict.fromkeys(rows["label"]))
    kept = rows[["label", "epoch", "estimate", "ci_low", "ci_high", "num_replicates"]]
    base = alt.Chart(kept, title=_title(alt, title, subtitle), width=width, height=height)
    x = alt.X(
        "epoch:Q", title=epoch_title, scale=alt.Scale(nice=False), axis=alt.Axis(tickMinStep=1, **_LIGHT_GRID)
    )
    scale = alt.Scale(type="log") if log_scale else alt.Scale(zero=False)
    value_format = value_format or (".3~g" if log_scale else "")
    y = alt.Y("estimate:Q", title=value_title, scale=scale, axis=alt.Axis(format=value_format, **_LIGHT_GRID))
    colours, dashes = colour_scale(alt, names), dash_scale(alt, names)
    symbols = {"symbolType": "stroke", "symbolStrokeWidth": 2, "symbolSize": 400}
    legend = None if len(names) == 1 else alt.Legend(title=arm_title or None, labelLimit=300, **symbols)
    colour = alt.Color("label:N", sort=names, scale=colours, legend=legend)
    dash = alt.StrokeDash("label:N", sort=names, scale=dashes, legend=legend)
    bands = base.mark_area(opacity=0.18).encode(
        x=x, y="ci_low:Q", y2="ci_high:Q", color=colour.copy().legend(None)
    )
    lines = base.mark_line(strokeWidth=2).encode(
        x=x,
        y=y,
        color=colour,
        strokeDash=dash,
        tooltip=["label:N", "epoch:Q", alt.Tooltip("estimate:Q", format=".5g"), "num_replicates:Q"],
    )
    # Scales of their own: the legend then shows lines, not bands.
    return alt.layer(_finite(bands, "ci_low", "ci_high"), lines).resolve_scale(
        color="independent", strokeDash="independent"
    )


def mean_curves(curves: pd.DataFrame, *, ci_prob: float = 0.95) -> pd.DataFrame:
    """Mean and t interval of each metric, arm and epoch that all seeds of the arm have: what evidence keeps of curves.

    Columns: metric, arm, epoch, those of `stats.Interval`, and is_cut: whether some seeds went on for longer. Of more
    than CURVE_POINTS epochs, evenly spaced ones are kept.
    """
    rows = []
    for (metric, arm), points in curves.groupby(["metric", "arm"], sort=False):
        table = points.pivot(index="epoch", columns="seed", values="value").sort_index()
        whole = table.dropna()
        is_cut = len(whole) < len(table)
        picked = np.unique(np.linspace(0, len(whole) - 1, min(len(whole), CURVE_POINTS)).round().astype(int))
        for epoch, values in whole.iloc[picked].iterrows():
            found = stats.mean_interval(values.to_numpy(), ci_prob=ci_prob)
            at = {"metric": metric, "arm": arm, "epoch": int(str(epoch))}
            rows.append(at | found.to_dict() | {"is_cut": is_cut})
    return pd.DataFrame(rows)


def level_plot(
    rows: pd.DataFrame,
    *,
    level_title: str,
    value_title: str,
    title: str = "",
    value_format: str = "",
    log_scale: bool = False,
    lowest: float = 0.0,
    notes: Mapping[str, str] = NOTES,
    width: int = 360,
    height: int = 280,
) -> altair.LayerChart:
    """A line for each group over the levels of a factor: means as points, intervals as bars.

    Levels stand evenly spaced in the order in which they come: λ = 0 has a place beside powers of ten.

    Arguments:
      rows: `group` and `level`, as text, with the columns of `stats.Interval`.
      value_format: of the axis' numbers, in D3's words; powers of ten have their own.
      log_scale: of the values; an interval that reaches 0 is cut at a tenth of the smallest mean.
      lowest: with `log_scale`, what is below is drawn at this value: rounding errors need no room.
    """
    alt = import_extra("altair", what="A figure", extra="book")
    table = rows.astype({"ci_low": "float64", "ci_high": "float64"})
    names = _in_order(table["group"])
    scale, axis = alt.Scale(zero=False), alt.Axis(format=value_format, **_LIGHT_GRID)
    if log_scale:
        values = table[["estimate", "ci_low", "ci_high"]].clip(
            lower=max(lowest, table["estimate"].min() / 10)
        )
        table[["estimate", "ci_low", "ci_high"]] = values
        powers = np.arange(np.floor(np.log10(values.min().min())), np.ceil(np.log10(values.max().max())) + 1)
        ticks = (10.0 ** powers[:: -(-len(powers) // 8)]).tolist()
        scale = alt.Scale(type="log", domain=[10.0 ** powers[0], 10.0 ** powers[-1]])
        axis = alt.Axis(
            values=ticks, format="~g" if powers[0] >= -3 and powers[-1] <= 6 else "~e", **_LIGHT_GRID
        )
    kept = table[["group", "level", "estimate", "ci_low", "ci_high", "num_replicates"]]
    base = alt.Chart(
        kept, title=_title(alt, title, [_note("mean", table, notes)]), width=width, height=height
    )
    x = alt.X(
        "level:O",
        sort=_in_order(table["level"]),
        title=level_title,
        axis=alt.Axis(labelAngle=0, **_LIGHT_GRID),
    )
    y = alt.Y("estimate:Q", title=value_title, scale=scale, axis=axis)
    colours, dashes = colour_scale(alt, names), dash_scale(alt, names)
    legend = alt.Legend(title=None, labelLimit=300, symbolType="stroke", symbolStrokeWidth=2, symbolSize=400)
    colour = alt.Color("group:N", sort=names, scale=colours, legend=legend)
    dash = alt.StrokeDash("group:N", sort=names, scale=dashes, legend=legend)
    tooltip = [
        "group:N",
        "level:O",
        *(alt.Tooltip(f"{c}:Q", format=".5g") for c in ("estimate", "ci_low", "ci_high")),
    ]
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y="ci_low:Q", y2="ci_high:Q", color=colour)
    lines = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash)
    points = base.mark_point(size=36, filled=True, opacity=1).encode(x=x, y=y, color=colour, tooltip=tooltip)
    return alt.layer(_finite(bars, "ci_low", "ci_high"), lines, points)


def grid_plot(
    summary: pd.DataFrame,
    x: str,
    y: str,
    *,
    value_title: str,
    x_title: str = "",
    y_title: str = "",
    title: str = "",
    value_format: str = ".3g",
    log_scale: bool = False,
    notes: Mapping[str, str] = NOTES,
    cell: int = 64,
) -> altair.LayerChart:
    """A heat map over two factors with the mean written in each cell.

    Arguments:
      summary: as `Results.summary` makes it, for arms that differ in these two factors only.
      x, y: names of the factors.
      log_scale: of the colours, for positive values that span powers of ten.

    A cell some of whose runs diverged says how many, below the mean of the others. Raises InvalidInput for a
    factor that is not there, and for two arms in one cell.
    """
    alt = import_extra("altair", what="A figure", extra="book")
    for name in (x, y):
        if name not in summary.columns:
            raise InvalidInput("grid_plot", "needs a column for each of its factors", name)
    if (doubled := summary.duplicated([x, y])).any():
        at = summary.loc[doubled, [x, y]].iloc[0].tolist()
        raise InvalidInput("grid_plot", "needs one arm in each cell; choose the others' levels first", at)
    totals = summary["num_replicates"] + summary["num_diverged"]
    rows = summary[[x, y, "estimate", "num_diverged"]].rename(columns={x: "column", y: "row"})
    rows["note"] = [
        notes["diverged"].format(count=count, total=total) if count else ""
        for count, total in zip(rows["num_diverged"], totals, strict=True)
    ]
    low, high = rows["estimate"].min(), rows["estimate"].max()
    middle = (low * high) ** 0.5 if log_scale else (low + high) / 2
    is_dark = f"isValid(datum.estimate) && datum.estimate < {middle}"  # cividis grows lighter with the value
    subtitle = [notes["cell"].format(n=_replicates(summary["num_replicates"]))]
    base = alt.Chart(
        rows,
        title=_title(alt, title, subtitle),
        width=alt.Step(cell),
        height=alt.Step(max(cell * 2 // 3, 40)),
    ).encode(
        x=alt.X("column:N", sort=_in_order(rows["column"]), title=x_title or x, axis=_cell_axis(alt)),
        y=alt.Y("row:N", sort=_in_order(rows["row"]), title=y_title or y, axis=_cell_axis(alt)),
    )
    zero = {} if log_scale else {"zero": False}
    colour = alt.Color(
        "estimate:Q",
        title=value_title,
        scale=alt.Scale(scheme="cividis", type="log" if log_scale else "linear", nice=False, **zero),
        legend=alt.Legend(format=value_format, gradientLength=130, titleLimit=240),
    )
    empty = base.mark_rect(fill="white", stroke=GREY, strokeDash=[2, 2], strokeWidth=0.5)
    cells = base.mark_rect(stroke="white").encode(color=colour)
    ink = alt.condition(is_dark, alt.value("white"), alt.value("black"))
    means = base.mark_text(fontSize=12).encode(text=alt.Text("estimate:Q", format=value_format), color=ink)
    layers = [empty, _finite(cells, "estimate"), _finite(means, "estimate")]
    if rows["note"].any():
        layers.append(base.mark_text(fontSize=8, dy=13).encode(text="note:N", color=ink))
    return alt.layer(*layers)


_LIGHT_GRID: dict[str, Any] = {"gridColor": "#ededed", "domainColor": GREY, "tickColor": GREY}


def _row_axis(alt: Any) -> Any:
    return alt.Axis(labelLimit=320, ticks=False, domain=False, labelPadding=8)


def _cell_axis(alt: Any) -> Any:
    return alt.Axis(labelAngle=0, ticks=False, domain=False, labelLimit=160, titlePadding=8)


def _title(alt: Any, title: str, subtitle: Sequence[str]) -> Any:
    return alt.TitleParams(
        title,
        subtitle=list(subtitle),
        anchor="start",
        fontSize=14,
        subtitleFontSize=11,
        subtitleColor="#555555",
        offset=8,
    )


def _note(kind: str, rows: pd.DataFrame, notes: Mapping[str, str]) -> str:
    methods = dict.fromkeys(rows["ci_method"])
    levels = dict.fromkeys(f"{100 * prob:.3g}%" for prob in rows["ci_prob"])
    return notes[kind].format(
        level="/".join(levels),
        method="/".join(notes[method] for method in methods),
        n=_replicates(rows["num_replicates"]),
    )


def _replicates(counts: pd.Series) -> str:
    # An arm of which all runs diverged has no mean to count for.
    counts = counts[counts > 0] if counts.any() else counts
    low, high = int(counts.min()), int(counts.max())
    return f"n = {low}" if low == high else f"n = {low}–{high}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _finite(chart: Any, *names: str) -> Any:
    """Only rows that have these values: null would be drawn at 0."""
    return chart.transform_filter(" && ".join(f"isValid(datum.{name})" for name in names))


def colour_scale(alt: Any, names: Sequence[str]) -> Any:
    """A scale that gives each name a colour, in their order."""
    if len(names) <= len(PALETTE):
        return alt.Scale(domain=list(names), range=list(PALETTE[: len(names)]))
    return alt.Scale(
        domain=list(names), scheme="viridis"
    )  # many arms are mostly levels of one factor, in order


def dash_scale(alt: Any, names: Sequence[str]) -> Any:
    """A scale that gives each name a dash beside its colour, where colours are those of the palette."""
    dashes = [list(DASHES[index % len(DASHES)]) for index in range(len(names))]
    return alt.Scale(
        domain=list(names), range=dashes if len(names) <= len(PALETTE) else [[1, 0]] * len(names)
    )


def _in_order(levels: pd.Series) -> list[str]:
    """Levels as they first come, which is the study's order."""
    return list(dict.fromkeys(levels))
