"""4.10.4 Tune hyperparameters by k-fold validation, and what the lowest validation error is worth.

Small tables are drawn from the large one, and tuned on by 5-fold validation. The houses left over, three or more for
each house in the small table, then tell the truth about the very models that the folds scored: what remains between the
two is the optimism of having picked the minimum, and nothing else. Small tables differ by luck, though; the same gap of
one setting that was fixed beforehand, which is 0 on average, is taken off to be rid of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import (
    Answer,
    Circulated,
    Claim,
    Finding,
    Lab,
    Observations,
    Table,
    WordList,
    recentred,
    rounded,
)
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.data.table import Columns, encoder
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval
from mlplab.study import Arm, Study

from .. import houses as h

if TYPE_CHECKING:
    import altair

NUM_ROWS = 120  # of a small table
WIDTHS = tuple(10.0 ** np.linspace(-3.5, -1, 5))  # of the kernel exp(-γ |x - x'|²)
STRENGTHS = tuple(10.0 ** np.linspace(-3, 0.5, 8))
SUBSETS = 8  # of the table's columns: all of them, and random halves
MOST = SUBSETS * len(WIDTHS) * len(STRENGTHS)
COUNTS = (4, 16, 64, MOST)  # candidates among which is chosen
NETWORKS = 12  # perceptrons with rate, decay and units drawn at random
SAME = 0.03  # an estimate within 3% of the mean squared error is honest enough


def observe(lab: Lab) -> Observations:
    """Tune on small tables, flat and nested, and score the same models on the houses left over."""
    houses = h.load(lab)
    draws = lab.seeds(quick=3, full=30)
    networks = network_rows(lab, houses, draws)  # first: a knob may be refused
    runs = pd.DataFrame(kernel_rows(houses, draws) + networks)
    order = dict.fromkeys(runs["arm"])
    runs = pd.concat([runs[runs["arm"] == arm] for arm in order], ignore_index=True)
    about = pd.DataFrame([{"left_over": len(houses) - NUM_ROWS, "rows": NUM_ROWS}])
    return lab.observations(runs=runs, whole=pd.DataFrame([on_the_whole(houses)]), about=about)


def small_table(houses: h.Houses, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to tune on, and rows left over."""
    order = Stream(draw, "split", layer=4).permutation(len(houses))
    return order[:NUM_ROWS], order[NUM_ROWS:]


class Split:
    """Rows to train on and parts to score, encoded by the former alone."""

    def __init__(self, houses: h.Houses, train: np.ndarray, others: list[np.ndarray]) -> None:
        fitted = encoder(houses.columns).fit(houses.table.iloc[train])
        self.x, *self.others = (
            np.asarray(fitted.transform(houses.table.iloc[rows]), np.float64) for rows in (train, *others)
        )
        y = houses.log_prices
        self.y, self.targets = y[train], [y[rows] for rows in others]
        self.subsets = _subsets(houses.columns, [str(name) for name in fitted.get_feature_names_out()])

    def losses(self) -> list[np.ndarray]:
        """Mean squared log error of each candidate on each other part: an array (candidate,) for each part."""
        mean = self.y.mean()
        found: list[list[float]] = [[] for _ in self.others]
        for columns in self.subsets:
            x, others = self.x[:, columns], [part[:, columns] for part in self.others]
            own, between = _squares(x, x), [_squares(part, x) for part in others]
            for width in WIDTHS:
                values, vectors = np.linalg.eigh(np.exp(-width * own))
                shrunk = vectors.T @ (self.y - mean) / (np.maximum(values, 0) + np.array(STRENGTHS)[:, None])
                for part, (squares, true) in enumerate(zip(between, self.targets, strict=True)):
                    outputs = mean + np.exp(-width * squares) @ (vectors @ shrunk.T)
                    found[part] += ((outputs - true[:, None]) ** 2).mean(0).tolist()
        return [np.array(part) for part in found]


def _subsets(columns: Columns, encoded: list[str]) -> list[np.ndarray]:
    """Which encoded columns each subset of the table's columns has; the first subset has all."""
    names = [*columns.numeric, *columns.categorical]
    source = np.array([names.index(n if n in columns.numeric else n.rpartition("_")[0]) for n in encoded])
    halves = [Stream(0, "search", layer=411, step=k).uniform(len(names)) < 0.5 for k in range(SUBSETS - 1)]
    return [np.flatnonzero(kept[source]) for kept in (np.ones(len(names), dtype=bool), *halves)]


def _squares(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.maximum((x**2).sum(1)[:, None] + (other**2).sum(1) - 2 * x @ other.T, 0)


def kernel_rows(houses: h.Houses, draws: range) -> list[dict[str, Any]]:
    """Kernel ridge regression on each small table: flat for several numbers of candidates, and nested."""
    said, true, picks = [], [], []
    for draw in draws:
        seen, left = small_table(houses, draw)
        for k in range(h.NUM_FOLDS):
            train, held = h.parted(NUM_ROWS, h.NUM_FOLDS * (draw + 1) + k)
            scored, truth = Split(houses, seen[train], [seen[held], left]).losses()
            said.append(scored)
            true.append(truth)
            picks.append(int(np.argmin(_inner(houses, seen[train], draw))))
    shape = (len(draws), h.NUM_FOLDS, MOST)
    said, true = np.reshape(said, shape), np.reshape(true, shape)
    flat, truth = said.mean(1), true.mean(1)
    fixed = int(np.argmin(truth.mean(0)))  # by the houses left over: no fold picked it
    at = np.reshape(picks, shape[:2])[..., None]
    nested, honest = (np.take_along_axis(of, at, 2).mean((1, 2)) for of in (said, true))
    rows = []
    for place, draw in enumerate(draws):
        order = Stream(draw, "search", layer=4).permutation(MOST)
        rows.append(_row("fixed", draw, flat[place, fixed], truth[place, fixed]))
        for count in COUNTS:
            best = int(order[:count][np.argmin(flat[place, order[:count]])])
            rows.append(_row(f"flat {count}", draw, flat[place, best], truth[place, best]))
        rows.append(_row("nested", draw, nested[place], honest[place]))
    return rows


def _inner(houses: h.Houses, rows: np.ndarray, draw: int) -> np.ndarray:
    """Mean loss of each candidate over folds within the training rows of an outer fold."""
    found = []
    for k in range(h.NUM_FOLDS):
        train, held = h.parted(len(rows), h.NUM_FOLDS * (draw + 1) + k)
        found.append(Split(houses, rows[train], [rows[held]]).losses()[0])
    return np.mean(found, axis=0)


def network_rows(lab: Lab, houses: h.Houses, draws: range) -> list[dict[str, Any]]:
    """The same with perceptrons: a dozen settings drawn at random, flat."""
    base = lab.setting(h.MLP_SETTING)
    arms = [Arm(f"candidate {k}", setting) for k, setting in enumerate(candidates(base))]
    folds = {}
    for draw in draws:
        seen, left = small_table(houses, draw)
        for k in range(h.NUM_FOLDS):
            train, held = h.parted(NUM_ROWS, h.NUM_FOLDS * (draw + 1) + k)
            parts = h.encoded(houses, seen[train], [seen[train], seen[held], left])
            y = houses.log_prices
            # What is left over is the test; the fold validates.
            whole = np.vstack(parts[:2]), np.concatenate([y[seen[train]], y[seen[held]]])
            inner = np.arange(len(train), NUM_ROWS)
            folds[draw * h.NUM_FOLDS + k] = h.Fold(houses.name, *whole, parts[2], y[left], inner)
    runs = lab.run(Study(arms, list(folds), lambda seed: folds[seed].dataset()))
    squares = np.array([fold.scale()[1] ** 2 for fold in folds.values()])
    rows = []
    shape = (len(arms), len(draws), h.NUM_FOLDS)
    said, true = (
        np.array([2 * squares * runs.values(metric, arm.name) for arm in arms]).reshape(shape).mean(2)
        for metric in ("validation_loss", "test_loss")
    )
    fixed = int(np.argmin(true.mean(1)))
    for place, draw in enumerate(draws):
        best = int(np.argmin(said[:, place]))
        rows.append(_row("networks fixed", draw, said[fixed, place], true[fixed, place]))
        rows.append(_row("networks best", draw, said[best, place], true[best, place]))
    return rows


def candidates(base: Setting) -> list[Setting]:
    """Settings with rate, decay and units drawn at random."""
    drawn = []
    for u in Stream(0, "search", layer=410).uniform((NETWORKS, 3)):
        rate, decay = 10 ** (-3 + 1.3 * u[0]), 10 ** (-3.5 + 2.5 * u[1])
        units = round(2 ** (2 + 3 * u[2]))
        drawn.append(
            turn(base, learning_rate=round(rate, 5), weight_decay=round(decay, 5), hidden_sizes=(units,))
        )
    return drawn


def on_the_whole(houses: h.Houses) -> dict[str, Any]:
    """What tuning is for: ridge regression on the whole table at every strength, 5-fold, and the best of them."""
    losses = []
    for k in range(h.NUM_FOLDS):
        fold = h.fold(houses, k)
        centre, middle = fold.train_x.mean(0), fold.train_y.mean()
        left, sizes, right = np.linalg.svd(fold.train_x - centre, full_matrices=False)
        turned = left.T @ (fold.train_y - middle)
        asked = (fold.held_x - centre) @ right.T
        path = [asked @ (sizes / (sizes**2 + alpha) * turned) for alpha in h.ALPHAS]
        losses.append([float(np.mean((middle + one - fold.held_y) ** 2)) for one in path])
    mean = np.mean(losses, axis=0)
    best = int(np.argmin(mean))
    row = {"alpha": h.ALPHAS[best], "lowest": math.sqrt(mean[best])}
    row |= {"weakest": math.sqrt(mean[0]), "strongest": math.sqrt(mean[-1])}
    return {name: rounded(float(value)) for name, value in row.items()}


def _row(arm: str, draw: int, said: float, true: float) -> dict[str, Any]:
    return {
        "arm": arm,
        "seed": draw,
        "status": "finished",
        "said": rounded(float(said)),
        "true": rounded(float(true)),
    }


# Checks


def optimism(observations: Observations, arm: str) -> np.ndarray:
    """How far the folds' mean squared error lies below the truth of the same models, as a share of the mean truth.

    The gap of the setting fixed beforehand is taken off: it is 0 on average, and what luck does to the one it does to
    the other.
    """
    runs = observations.runs
    fixed = "networks fixed" if arm.startswith("networks") else "fixed"
    gaps = [runs.values("true", name) - runs.values("said", name) for name in (arm, fixed)]
    return (gaps[0] if arm == fixed else gaps[0] - gaps[1]) / runs.values("true", arm).mean()


def opposite(values: np.ndarray) -> np.ndarray:
    """The same spread around a mean that is as far below zero as a single table may be: what the check must reject."""
    return recentred(values, -max(abs(float(values.mean())), float(values.std())))


def is_unbiased(choose: bool) -> Finding:
    """Candidates of one quality, each scored with noise: is the mean score of the reported one the truth, 0?

    `choose` reports the minimum, which for m scores of spread 1 lies about √(2 ln m) below.
    """
    scores = Stream(0, "data", layer=414).normal((4000, MOST))
    reported = scores.min(1) if choose else scores[:, 0]
    found = mean_interval(reported)
    assert found.ci_low is not None
    assert found.ci_high is not None
    return Finding.true_if(found.ci_low <= 0 <= found.ci_high, reported=float(reported.mean()), many=MOST)


def is_curse(bound: float) -> Finding:
    """Is the mean minimum of m such scores between half and all of that times √(2 ln m) below the truth?"""
    scores = Stream(1, "data", layer=414).normal((4000, MOST))
    low = -float(scores.min(1).mean()) / math.sqrt(2 * math.log(MOST))
    return Finding.true_if(bound / 2 <= low <= bound, share=low, many=MOST)


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Optimism of every way to report, and what tuning did for the whole table."""
    about, whole = observations.rows("about")[0], observations.rows("whole")[0]
    networks = len(observations.runs.values("said", "networks best"))
    return {
        "optimism": {
            arm.replace(" ", "_"): mean_interval(optimism(observations, arm))
            for arm in observations.runs.arms
        },
        "most": MOST,
        "num_folds": h.NUM_FOLDS,
        "num_draws": observations.num_seeds,
        "num_rows": int(about["rows"]),
        "left_over": int(about["left_over"]),
        "networks": NETWORKS,
        "network_draws": networks,
        "whole": {name: float(value) for name, value in whole.items()},
    }


# Ways to report -> what is named so, and how many candidates there were.
WAYS: dict[str, tuple[str, int]] = {
    "fixed": ("fixed", 1),
    **{f"flat {count}": ("flat", count) for count in COUNTS},
    "nested": ("nested", MOST),
    "networks fixed": ("networks fixed", 1),
    "networks best": ("networks best", NETWORKS),
}


def way_names(words: WordList) -> dict[str, str]:
    """How each way to report is named."""
    return {arm: words(f"ways.{way}", count=count) for arm, (way, count) in WAYS.items()}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """What the folds said, what was true, and the share between."""
    rows = []
    for arm, label in way_names(words).items():
        runs = observations.runs
        sizes = [math.sqrt(float(runs.values(name, arm).mean())) for name in ("said", "true")]
        found = mean_interval(optimism(observations, arm))
        rows.append([label, *map(show.number, sizes), show.stacked(show.points_interval(found))])
    heads = (
        words["heads.reported"],
        words["heads.log-rmse-by-folds"],
        words["heads.same-models-on-houses-left"],
        words["heads.optimism-mean-squared-error"],
    )
    title = words("titles.small-tables-houses-fold-mean", num_rows=NUM_ROWS, h=h.NUM_FOLDS)
    return [Table(title, heads, rows)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Optimism of every way to report."""
    alt = import_extra("altair", what="A figure", extra="book")
    held = []
    for arm, label in way_names(words).items():
        found = mean_interval(optimism(observations, arm))
        row = {
            "label": label,
            "estimate": found.estimate,
            "low": found.ci_low,
            "high": found.ci_high,
        }
        held.append(row | {"kind": "flat" if arm.startswith("flat") or arm == "networks best" else "honest"})
    rows = pd.DataFrame(held).astype({"low": float, "high": float})
    names = {
        "flat": words["labels.minimum-as-it-was-picked"],
        "honest": words["labels.picked-by-other-houses-or"],
    }
    rows["kind"] = [names[kind] for kind in rows["kind"]]
    axis = alt.Axis(labelLimit=260, ticks=False, domain=False, labelPadding=8)
    y = alt.Y("label:N", sort=list(rows["label"]), title=None, axis=axis)
    title = words["labels.optimism-share-true-mean-squared"]
    x = alt.X("estimate:Q", title=title, axis=alt.Axis(format="+.0%", gridColor="#ededed"))
    legend = alt.Legend(title=None, orient="bottom", labelLimit=320)
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(names.values()), range=list(plots.PALETTE[1::-1])),
        legend=legend,
    )
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=list(names.values())), legend=legend)
    base = alt.Chart(rows)
    zero = (
        alt.Chart(pd.DataFrame({"zero": [0.0]}))
        .mark_rule(color=plots.INK, strokeDash=[4, 3])
        .encode(x="zero:Q")
    )
    lines = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(x="low:Q", x2="high:Q", y=y, color=colour)
    )
    points = base.mark_point(size=60, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    known = facts(observations)
    note = words(
        "labels.mean-over-small-tables-with",
        num_draws=known["num_draws"],
        network_draws=known["network_draws"],
    )
    head = words["labels.lowest-validation-error-flatters"]
    return alt.layer(zero, lines, points).properties(
        width=360,
        height=alt.Step(28),
        title=alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11),
    )


MANY = f"flat {MOST}"
ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="the-flat-minimum-flatters",
            kind="experiment",
            figures={"most": MOST},
            check=greater(),
            subject=lambda o: optimism(o, MANY),
            falsehood=lambda o: opposite(optimism(o, MANY)),
        ),
        Claim(
            name="more-candidates-flatter-more",
            kind="experiment",
            figures={"most": MOST},
            check=greater(),
            subject=lambda o: optimism(o, MANY) - optimism(o, "flat 4"),
            falsehood=lambda o: opposite(optimism(o, MANY) - optimism(o, "flat 4")),
        ),
        Claim(
            name="nested-is-less-optimistic",
            kind="experiment",
            check=greater(),
            subject=lambda o: optimism(o, MANY) - optimism(o, "nested"),
            falsehood=lambda o: opposite(optimism(o, MANY) - optimism(o, "nested")),
        ),
        Claim(
            name="nested-is-honest",
            kind="experiment",
            check=equivalent(margin=SAME),
            subject=lambda o: optimism(o, "nested"),
            falsehood=lambda o: recentred(optimism(o, "nested"), 0.3),
        ),
        Claim(
            name="networks-too",
            kind="experiment",
            figures={"networks": NETWORKS},
            check=greater(),
            subject=lambda o: optimism(o, "networks best"),
            falsehood=lambda o: opposite(optimism(o, "networks best")),
        ),
        Claim(
            name="an-unpicked-score-is-unbiased",
            kind="property",
            check=is_unbiased,
            subject=lambda o: False,
            falsehood=lambda o: True,
        ),
        Claim(
            name="the-minimum-follows-the-curse",
            kind="property",
            check=is_curse,
            subject=lambda o: 1.0,
            falsehood=lambda o: 0.5,
        ),
    ),
    circulated=(Circulated("notes-end-before-this-section", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=120",
)
