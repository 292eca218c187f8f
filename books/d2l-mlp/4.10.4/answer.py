"""4.10.4 Tune hyperparameters by k-fold validation, and what the lowest validation error is worth.

The section's model and a perceptron are tuned on the whole table, and scored before and after on the prices that the
competition keeps back.

Then, what the lowest validation error is worth as an estimate. Small tables are drawn from the large one, and tuned on
by 5-fold validation. The houses left over, three or more for each house in the small table, then tell the truth about
the very models that the folds scored: what remains between the two is the optimism of having picked the minimum, and
nothing else. Small tables differ by luck, though; of the same gap of one setting that was fixed beforehand, which is
0 on average, so much is taken off as goes with it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab import knobs
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
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval
from mlplab.study import Arm, Study

from .. import houses as h
from ..choice import settled

if TYPE_CHECKING:
    import altair

NUM_ROWS = 120  # of a small table
WIDTHS = tuple(10.0 ** np.linspace(-3.5, -1, 5))  # of the kernel exp(-γ |x - x'|²)
STRENGTHS = tuple(10.0 ** np.linspace(-3, 0.5, 8))
SUBSETS = 8  # of the table's columns: all of them, and random halves
MOST = SUBSETS * len(WIDTHS) * len(STRENGTHS)
COUNTS = (4, 16, 64, MOST)  # candidates among which is chosen
NETWORKS = 12  # perceptrons with rate, decay and units drawn at random
# What each knob can be. The section's model begins at its own rate and batch, a perceptron with nothing tuned.
SECTION_LADDERS = {
    "weight_decay": (0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0),
    "batch_size": (16.0, 32.0, 64.0, 128.0, 256.0),
}
PERCEPTRON_LADDERS = {
    "learning_rate": (0.0003, 0.001, 0.003, 0.01, 0.03),
    "weight_decay": (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "dropout": (0.0, 0.1, 0.2, 0.4, 0.6),
}
SHOWN = ("learning_rate", "weight_decay", "batch_size", "dropout")
# Claim -> the arm that it says is worse, and the better one
PAIRS = {
    "tuning-improves-the-sections-model": h.Pair("section", "section tuned"),
    "tuning-improves-the-perceptron": h.Pair("perceptron", "perceptron tuned"),
    "an-untuned-perceptron-beats-the-tuned-section": h.Pair("section tuned", "perceptron"),
}
SAME = 0.1  # of the mean squared error: 5% of the score, as in exercise 4.10.1
# What circulates: the lowest mean squared error in the logarithm of one knob, the rate of ten epochs of SGD.
RATE_ALONE = 0.1106
MIXED = 0.5  # the training error's share in what circulates to choose by


def observe(lab: Lab) -> Observations:
    """Tune both models on the whole table; tune on small tables, flat and nested, and score on the houses left over."""
    houses = h.load(lab)
    draws = lab.seeds(quick=3, full=30)
    networks = network_rows(lab, houses, draws)  # first: a knob may be refused
    runs = pd.DataFrame(kernel_rows(houses, draws) + networks)
    order = dict.fromkeys(runs["arm"])
    runs = pd.concat([runs[runs["arm"] == arm] for arm in order], ignore_index=True)
    about = pd.DataFrame([{"left_over": len(houses) - NUM_ROWS, "rows": NUM_ROWS}])
    said, predictions = [], {}
    for name, search in searches(lab, houses).items():
        rows, final = tuned(lab, houses, name, search)
        said += rows
        predictions |= final
    board = h.scoreboard(lab, houses, predictions)
    small = lab.observations(runs=runs)
    others = [c for c in ANSWER.claims if c.kind == "experiment" and c.name not in PAIRS]
    p_values = [p_value(claim.examine(small)) for claim in others]  # of the same family
    return lab.observations(
        runs=runs,
        tuned=pd.DataFrame(said),
        board=pd.DataFrame(h.board_rows(board)),
        gaps=pd.DataFrame(h.gap_rows(board, PAIRS, p_values)),
        about=about,
    )


@dataclass(frozen=True)
class Search:
    """What is tuned, and where the search begins.

    Arguments:
      target: what the model learns.
      as_section: whether its columns are prepared as the section does it.
      base: the setting before.
      ladders: what each knob can be, in order; the base stands on a rung of each.
      few: networks that are averaged on each fold.
      many: networks that are averaged in the end.
    """

    target: h.Target
    as_section: bool
    base: Setting
    ladders: Mapping[str, tuple[float, ...]]
    few: int
    many: int

    @property
    def start(self) -> tuple[int, ...]:
        """The rungs of the base."""
        own = knob_values(self.base, self.ladders)
        return tuple(ladder.index(own[knob]) for knob, ladder in self.ladders.items())

    def setting(self, place: Sequence[float]) -> Setting:
        """The base with its knobs where they are at a place."""
        values = dict(zip(self.ladders, place, strict=True))
        return turn(self.base, **{n: int(v) if n == "batch_size" else v for n, v in values.items()})


def knob_values(setting: Setting, names: Iterable[str]) -> dict[str, float]:
    """Where knobs stand, as numbers; of dropout the rate after the one hidden layer."""
    values = {name: knobs.value_of(setting, name) for name in names}
    return {name: float(sum(v) if isinstance(v, tuple) else v) for name, v in values.items()}


def searches(lab: Lab, houses: h.Houses) -> dict[str, Search]:
    """The section's model on prices, from the section's own setting, and a perceptron on logs with nothing tuned."""
    section = lab.setting(h.linear_setting(houses))
    own = knob_values(section, ("learning_rate",))["learning_rate"]
    plain = lab.setting(turn(h.MLP_SETTING, weight_decay=0.0))
    factors = lab.choose(quick=(0.5, 1.0, 2.0), full=(0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0))
    few = {"learning_rate": (0.001, 0.003), "weight_decay": (0.0, 0.01), "dropout": (0.0,)}
    return {
        "section": Search(
            "price", True, section,
            {"learning_rate": tuple(own * factor for factor in factors)}
            | lab.choose(quick={"weight_decay": (0.0, 100.0)}, full=SECTION_LADDERS),
            few=1, many=1,
        ),
        "perceptron": Search(
            "log", False, plain, lab.choose(quick=few, full=PERCEPTRON_LADDERS),
            few=lab.choose(quick=1, full=2), many=lab.choose(quick=1, full=5),
        ),
    }  # fmt: skip


def tuned(
    lab: Lab, houses: h.Houses, name: str, search: Search
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """A model before and after: what the folds said, and log prices of the houses asked for.

    From the best setting so far each knob is moved up and down by a rung, until no move lowers the mean of the folds'
    scores: `choice.settled`. Both are then trained again on all labelled houses.
    """
    make = h.section_fold if search.as_section else h.fold
    folds = {k: make(houses, k) for k in range(h.NUM_FOLDS)}
    datasets = {k: fold.dataset(search.target) for k, fold in folds.items()}
    seeds = {k: [k * search.few + n for n in range(search.few)] for k in folds}

    def losses(places: Sequence[tuple[float, ...]]) -> list[float]:
        arms = [Arm(f"{name} {place}", search.setting(place)) for place in places]
        every = [seed for own in seeds.values() for seed in own]
        runs = lab.run(Study(arms, every, lambda seed: datasets[seed // search.few]))

        def of_fold(arm: Arm, k: int) -> float:
            fold = folds[k]
            predicted = h.log_prices(fold, arm.setting, runs, arm.name, seeds[k], fold.held_x, search.target)
            return fold.score(predicted)

        return [float(np.mean([of_fold(arm, k) for k in folds])) for arm in arms]

    best, tried = settled(list(search.ladders.values()), search.start, losses)
    before = tuple(knob_values(search.base, search.ladders).values())
    whole, asked = h.refitted(houses, as_section=search.as_section)
    dataset = whole.dataset(search.target)
    arms = {name: before, f"{name} tuned": best}
    final = {place: Arm(f"{place}", search.setting(place)) for place in arms.values()}
    networks = range(search.many)
    runs = lab.run(Study(list(final.values()), networks, lambda _: dataset))
    rows, predictions = [], {}
    for arm, place in arms.items():
        setting = final[place].setting
        predictions[arm] = h.log_prices(
            whole, setting, runs, final[place].name, networks, asked, search.target
        )
        at_edge = [
            knob
            for (knob, ladder), value in zip(search.ladders.items(), place, strict=True)
            if value in (ladder[0], ladder[-1]) and value > 0 and len(ladder) > 1
        ]
        row = {"arm": arm, "by_folds": rounded(tried[place]), "tried": len(tried), "at_edge": len(at_edge)}
        rows.append(row | knob_values(setting, SHOWN))
    return rows, predictions


def small_table(houses: h.Houses, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to tune on, and rows left over."""
    order = Stream(draw, "split", layer=4).permutation(len(houses))
    return order[:NUM_ROWS], order[NUM_ROWS:]


class Split:
    """Rows to train on and parts to score, encoded by the former alone, as `data.table.encoder` does it.

    Of the whole table once, since a search encodes hundreds of small parts: a category that the rows to train on lack
    is left out, and numbers are scaled by theirs.
    """

    def __init__(self, houses: h.Houses, train: np.ndarray, others: list[np.ndarray]) -> None:
        numbers, values, sources = _columns(houses)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column may have no value in these rows
            mean, std = np.nanmean(numbers[train], 0), np.nanstd(numbers[train], 0)
        std = np.where(std > 0, std, 1.0)
        seen = values[train].any(0)
        self.x, *self.others = (
            np.hstack([np.nan_to_num((numbers[rows] - mean) / std), values[rows][:, seen]])
            for rows in (train, *others)
        )
        y = houses.log_prices
        self.y, self.targets = y[train], [y[rows] for rows in others]
        self.subsets = _subsets(np.concatenate([np.arange(numbers.shape[1]), sources[seen]]))

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


@cache
def _columns(houses: h.Houses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, NaN where missing; a column of 0 and 1 for each value of each category; of which column each is."""
    table, columns = houses.table, houses.columns
    kinds = [
        pd.get_dummies(table[name].astype(object).fillna("missing"), dtype=float)
        for name in columns.categorical
    ]
    places = np.arange(len(columns.numeric), len(columns.numeric) + len(kinds))
    numbers = table[list(columns.numeric)].to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers, np.hstack(kinds), np.repeat(places, [kind.shape[1] for kind in kinds])


def _subsets(sources: np.ndarray) -> list[np.ndarray]:
    """Which encoded columns each subset of the table's columns has, by their sources; the first subset has all."""
    number = int(sources.max()) + 1
    halves = [Stream(0, "search", layer=411, step=k).uniform(number) < 0.5 for k in range(SUBSETS - 1)]
    return [np.flatnonzero(kept[sources]) for kept in (np.ones(number, dtype=bool), *halves)]


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


def candidates(base: Setting, count: int = NETWORKS) -> list[Setting]:
    """Settings with rate, decay and units drawn at random."""
    drawn = []
    for u in Stream(0, "search", layer=410).uniform((count, 3)):
        rate, decay = 10 ** (-3 + 1.3 * u[0]), 10 ** (-3.5 + 2.5 * u[1])
        units = round(2 ** (2 + 3 * u[2]))
        drawn.append(
            turn(base, learning_rate=round(rate, 5), weight_decay=round(decay, 5), hidden_sizes=(units,))
        )
    return drawn


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

    What luck does to the table does to the setting that was fixed beforehand, too, whose gap is 0 on average: so much
    of that gap is taken off as goes with this one, by least squares (a control variate).
    """
    runs = observations.runs
    fixed = "networks fixed" if arm.startswith("networks") else "fixed"
    gap, luck = (runs.values("true", name) - runs.values("said", name) for name in (arm, fixed))
    if arm != fixed:
        slope = np.cov(gap, luck)[0, 1] / np.var(luck, ddof=1) if len(luck) > 2 else 1.0
        gap = gap - slope * luck
    return gap / runs.values("true", arm).mean()


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


def is_picked_worse(share: float) -> Finding:
    """Choose the strength of ridge regression by a mean of training and validation error: is what is picked worse?

    60 rows, 40 columns, normal, of known weights and noise of variance 1: the true error of each strength is known. So
    are those that are picked with this share of the training error, and by validation alone.
    """
    draw, strengths = Stream(2, "data", layer=414), 10.0 ** np.linspace(-2, 2, 9)
    excess = []
    for _ in range(100):
        x, weights = draw.normal((80, 40)), draw.normal(40) * 40**-0.5
        y = x @ weights + draw.normal(80)
        train, held = slice(60), slice(60, None)
        found = np.array(
            [
                np.linalg.solve(x[train].T @ x[train] + s * np.eye(40), x[train].T @ y[train])
                for s in strengths
            ]
        )
        own, validation = (np.sqrt(((y[rows] - found @ x[rows].T) ** 2).mean(1)) for rows in (train, held))
        truth = 1 + ((found - weights) ** 2).sum(1)
        mixed = truth[np.argmin(share * own + (1 - share) * validation)]
        excess.append(mixed - truth[np.argmin(validation)])
    gap = mean_interval(np.array(excess))
    assert gap.ci_low is not None
    assert gap.ci_high is not None
    text = f"{gap.estimate:.3f} [{gap.ci_low:.3f}, {gap.ci_high:.3f}]"
    return Finding.true_if(gap.ci_low > 0, text, worse=gap.estimate, draws=len(excess))


def p_value(finding: Finding) -> float:
    """Of an experiment on small tables: of equivalence where that is asked."""
    comparison = finding.comparison
    assert comparison is not None
    return comparison.p if comparison.equivalence is None else comparison.equivalence.p


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Optimism of every way to report, and what tuning did for the whole table."""
    about, rows = observations.rows("about")[0], {row["arm"]: row for row in observations.rows("tuned")}
    scores = h.scored_arms(observations)
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
        "by_folds": {arm.replace(" ", "_"): row["by_folds"] for arm, row in rows.items()},
        "score": {arm.replace(" ", "_"): row["score"] for arm, row in scores.items()},
        "best": {arm.split()[0]: row for arm, row in rows.items() if arm.endswith("tuned")},
        "houses": int(scores["section"]["houses"]),
        "rate_alone": math.sqrt(RATE_ALONE),
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """How much lower the section's model is after tuning: what the sealed houses say of it, for as many others.

    The program judges by the labelled houses, which are as many; the spread of two tables is √2 times that of one.
    """
    row = h.gap(observations, "tuning-improves-the-sections-model")
    reach = math.sqrt(2) * (row["ci_high"] - row["ci_low"]) / 2
    return {"gain": (row["estimate"] - reach, row["estimate"] + reach)}


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
        words["heads.folds"],
        words["heads.houses-left-over"],
        words["heads.optimism"],
    )
    title = words("titles.small-tables", num_rows=NUM_ROWS, h=h.NUM_FOLDS)
    return [_before_and_after(observations, words), Table(title, heads, rows)]


def _before_and_after(observations: Observations, words: WordList) -> Table:
    said = {row["arm"]: row for row in observations.rows("tuned")}
    rows = []
    for row in observations.rows("board"):
        own = said[row["arm"]]
        setting = words(
            "labels.setting",
            rate=show.number(own["learning_rate"]),
            decay=show.number(own["weight_decay"]),
            batch=int(own["batch_size"]),
        )
        if row["arm"].startswith("perceptron"):
            setting += words("labels.and-dropout", dropout=show.number(own["dropout"]))
        by_folds = f"{own['by_folds']:.4f}"
        rows.append([words[f"tuned.{row['arm']}"], setting, by_folds, *h.sealed_cells(row)])
    heads = tuple(words[f"heads.{name}"] for name in ("model", "setting", "by-folds", "sealed", "median"))
    return Table(words["titles.before-and-after"], heads, rows)


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
        "flat": words["labels.picked"],
        "honest": words["labels.not-picked"],
    }
    rows["kind"] = [names[kind] for kind in rows["kind"]]
    axis = alt.Axis(labelLimit=260, ticks=False, domain=False, labelPadding=8)
    y = alt.Y("label:N", sort=list(rows["label"]), title=None, axis=axis)
    title = words["labels.optimism"]
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
        "labels.mean-note",
        num_draws=known["num_draws"],
        network_draws=known["network_draws"],
    )
    head = words["labels.figure"]
    return alt.layer(zero, lines, points).properties(
        width=360,
        height=alt.Step(28),
        title=alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11),
    )


MANY = f"flat {MOST}"
ANSWER = Answer(
    observe=observe,
    claims=(
        *(h.judged(name, pair) for name, pair in PAIRS.items()),
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
            falsehood=lambda o: recentred(optimism(o, "nested"), optimism(o, MANY).mean()),
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
        Claim(
            name="a-share-of-the-training-error-picks-worse",
            kind="property",
            check=is_picked_worse,
            subject=lambda o: MIXED,
            falsehood=lambda o: 0.0,
        ),
    ),
    circulated=(
        Circulated(
            "rate-and-batch",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="tuning-improves-the-sections-model",
            source="datawhale",
        ),
        Circulated(
            "mean-of-both-errors",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="a-share-of-the-training-error-picks-worse",
            source="datawhale",
        ),
        Circulated(
            "rate-alone",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="tuning-improves-the-sections-model",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=120",
)
