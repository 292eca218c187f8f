"""How a search went: every trial against what had been spent, who led, and what was left of the winner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.charts.plots import GREY, INK, PALETTE
from mlplab.errors import import_extra
from mlplab.study.agreement import all_seeds_agree

if TYPE_CHECKING:
    import altair

    from mlplab.study.tuning.tuning import Tuning

FLOOR = 0.5  # trials this much further below the median than the best is above it are cut: they would flatten the rest


def search_plot(found: Tuning) -> altair.LayerChart:
    """A point for each trial, a line for the leader's value, a band for the winner with fresh seeds."""
    alt: Any = import_extra("altair", what="A figure", extra="book")
    trials = found.path().dropna(subset=[found.metric])
    values = trials[found.metric].to_numpy(dtype=float)
    middle, best = np.median(values), (values.max() if found.sign > 0 else values.min())
    worst = middle - (best - middle) * (1 + FLOOR)
    shown = trials[found.sign * values >= found.sign * worst]
    title = found.metric.replace("_", " ")
    fresh = found.value(found.metric) if found.is_whole else None
    seen = shown[found.metric].tolist()
    if fresh is not None:
        seen += [end for end in (fresh.ci_low, fresh.ci_high) if end is not None]
    limits = [min(seen), max(seen)]
    x = alt.X("spent:Q", title=f"spent (trainings of {found.epochs} epochs)")
    y = alt.Y(f"{found.metric}:Q", title=title, scale=alt.Scale(domain=limits, zero=False))
    points = (
        alt.Chart(shown)
        .mark_point(filled=True, size=36, opacity=0.7)
        .encode(
            x=x,
            y=y,
            color=alt.Color("epochs:O", title="epochs", scale=alt.Scale(scheme="viridis", reverse=True)),
            tooltip=["arm:N", "epochs:Q", "seed:Q", alt.Tooltip(f"{found.metric}:Q", format=".5g")],
        )
    )
    line = (
        alt.Chart(_leaders(found))
        .mark_line(interpolate="step-after", color=PALETTE[1], strokeWidth=2)
        .encode(x=x, y=y)
    )
    layers = [points, line]
    subtitle = [
        "Points: trials on the validation part. Line: the setting that led, by the score it led with."
    ]
    cut = len(trials) - len(shown) + found.num_diverged
    if cut:
        subtitle.append(f"Not shown: {cut} trials far below, {found.num_diverged} of them diverged.")
    if fresh is not None:
        band = pd.DataFrame([{"low": fresh.ci_low, "high": fresh.ci_high, "mean": fresh.estimate}])
        middle_rule = alt.Chart(band).mark_rule(color=INK, strokeDash=[4, 3]).encode(y="mean:Q")
        shade = alt.Chart(band).mark_rect(color=GREY, opacity=0.25).encode(y="low:Q", y2="high:Q")
        layers = [middle_rule, *layers] if all_seeds_agree(fresh) else [shade, middle_rule, *layers]
        spread = f"mean and {100 * fresh.ci_prob:.3g}% {fresh.ci_method} interval"
        if all_seeds_agree(fresh):
            spread = "on which all seeds agree"
        subtitle.append(f"Dashed: the winner with fresh seeds, {spread}, n = {fresh.num_replicates}.")
    heading = alt.TitleParams(
        f"{found.strategy} on {found.data.name}", subtitle=subtitle, anchor="start", subtitleColor="#555555"
    )
    return alt.layer(*layers).properties(width=460, height=280, title=heading)


def _leaders(found: Tuning) -> pd.DataFrame:
    rows = []
    for spent, arm in found.leads:
        seen = [trial for trial in found.trials if trial.spent <= spent and trial.arm.setting == arm.setting]
        longest = max(trial.epochs for trial in seen)
        value = float(np.mean([trial.score for trial in seen if trial.epochs == longest]))
        rows.append({"spent": spent / found.epochs, found.metric: found.sign * value})
    rows.append({"spent": found.spent / found.epochs, found.metric: rows[-1][found.metric]})
    return pd.DataFrame(rows)
