"""Choosing on validation data with a few seeds, so that fresh seeds can judge what was chosen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TypeVar

import numpy as np
import pandas as pd

from mlplab.answers import Claim, Finding, Lab, Observations, recentred
from mlplab.answers.checks import overfits
from mlplab.data import Dataset
from mlplab.knobs import turn, written
from mlplab.spec import Setting
from mlplab.stats import Interval, Verdict, proportion_interval, two_way
from mlplab.study import Arm, Results, Study

Level = TypeVar("Level", str, int)

CHANCE = 0.1  # ten classes
LOST = 2 * CHANCE  # accuracy below which a run has learned nothing, or forgotten all
FIRST_SEED = 1000  # the judges are seeds 0, 1, ...
# By how much the loss on new images must exceed that on the training images, so that there is something to regularise.
LEAST_GAP = 0.3


def choosing_seeds(lab: Lab, *, quick: int, full: int) -> range:
    """Seeds that choose and never judge: as many as the effort says, and no more than the judges."""
    number = min(lab.choose(quick=quick, full=full), len(lab.seeds(quick=quick, full=full)))
    return range(FIRST_SEED, FIRST_SEED + number)


def scored(accuracies: Sequence[float] | np.ndarray | pd.Series) -> np.ndarray:
    """Accuracies in which a run that diverged counts as one that guesses among ten classes."""
    return np.nan_to_num(np.asarray(accuracies, dtype=np.float64), nan=CHANCE)


def scored_losses(losses: Sequence[float] | np.ndarray | pd.Series) -> np.ndarray:
    """Cross-entropies in which a run that diverged counts as one that guesses among ten classes."""
    return np.nan_to_num(np.asarray(losses, dtype=np.float64), nan=-math.log(CHANCE))


def values(observations: Observations, arm: str, metric: str) -> np.ndarray:
    """A metric of an arm, by seed; a run that diverged counts as one that guesses."""
    return counted(metric, observations.runs.values(metric, arm))


def counted(metric: str, found: Sequence[float] | np.ndarray | pd.Series) -> np.ndarray:
    """Accuracies or losses, whichever the metric is, in which a run that diverged counts as one that guesses."""
    return (scored if metric.endswith("accuracy") else scored_losses)(found)


def deviation(found: np.ndarray) -> float | None:
    """The standard deviation over seeds; None of a single one."""
    return float(np.std(found, ddof=1)) if len(found) > 1 else None


def most_moved(nudged: np.ndarray, own: np.ndarray) -> float:
    """By how much a millionth of the first weights moves a run, at most: runs of `chapter.nudged` beside the same of
    their seeds, which may be more."""
    return float(np.abs(nudged - own[: len(nudged)]).max())


def overfitting(name: str, losses: Callable[[Observations], tuple[np.ndarray, np.ndarray]]) -> Claim:
    """The precondition of what a remedy is asked: of the control's (test, training) losses, that they lie far apart."""
    return Claim(
        name=name,
        kind="experiment",
        check=overfits(LEAST_GAP),
        subject=losses,
        falsehood=lambda o: with_gap(losses(o), LEAST_GAP / 2),
    )


def with_gap(losses: tuple[np.ndarray, np.ndarray], gap: float) -> tuple[np.ndarray, np.ndarray]:
    """(test, training) losses with the spread that was seen, in a world where they lie `gap` apart: the control of
    `checks.overfits`."""
    test, train = losses
    return train + recentred(test - train, gap), train


def means(runs: pd.DataFrame, factors: Sequence[str], metric: str = "validation_accuracy") -> pd.DataFrame:
    """A row for each combination of the factors: the mean score and the number of seeds, in the runs' order."""
    rows = runs.assign(score=scored(runs[metric]))
    grouped = rows.groupby(list(factors), sort=False)
    return grouped.agg(score=("score", "mean"), num_seeds=("seed", "nunique")).reset_index()


def best(runs: pd.DataFrame, factor: str, within: str | None = None) -> dict[str, str]:
    """For each level of `within` the level of `factor` with the best mean score; a single '' without it."""
    table = means(runs, [factor] if within is None else [within, factor])
    groups = [("", table)] if within is None else table.groupby(within)
    return {str(level): str(rows[factor].iloc[int(rows["score"].argmax())]) for level, rows in groups}


def more_are_lost(runs: tuple[np.ndarray, np.ndarray]) -> Finding:
    """Are runs of the first kind lost more often than not, and those of the second less often than not?

    Exact binomial intervals of the two shares, each read against one half.
    """
    high, low = (proportion_interval(int(lost.sum()), len(lost)) for lost in runs)
    bounds = [bound for share in (high, low) for bound in (share.ci_low, share.ci_high)]
    assert all(bound is not None for bound in bounds)
    high_low, high_high, low_low, low_high = (float(bound or 0.0) for bound in bounds)
    verdict: Verdict = "undecided"
    if high_low > 0.5 > low_high:
        verdict = "holds"
    elif high_high < 0.5 or low_low > 0.5:
        verdict = "fails"
    return Finding(verdict, None, {"share_high": high.estimate, "share_low": low.estimate})


def is_at_edge(chosen: float, tried: Sequence[float] | pd.Series) -> bool:
    """Whether the least or the greatest of what was tried was chosen: a better one may lie beyond."""
    return chosen in (min(tried), max(tried))


# Learning rates that can be tried, about half as large again from one to the next.
RATES = (
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.07),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.7),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0),
)

# One rung on each ladder.
Rungs = tuple[int, ...]


def settled(
    ladders: Sequence[Sequence[float]],
    start: Rungs,
    losses: Callable[[Sequence[tuple[float, ...]]], Sequence[float]],
    *,
    known: Mapping[tuple[float, ...], float] | None = None,
    at_least: int = 0,
) -> tuple[tuple[float, ...], dict[tuple[float, ...], float]]:
    """Strengths whose neighbours are all worse, and all that were tried on the way with their losses.

    Arguments:
      ladders: what each strength can be, in order.
      start: where to begin.
      losses: one for each of several places; of one that is not finite the place is never chosen.
      known: places that were tried before, with their losses.
      at_least: how many places are tried, if there are so many. A search that settles sooner goes on with those
        nearest to its best, so that several searches are equally thorough.

    From the best place so far one rung up and one down each ladder are tried, until nothing new is left to try: the
    outcome lies at the end of a ladder only where its loss still falls there.
    """
    tried = {_rungs(strengths, ladders): loss for strengths, loss in (known or {}).items()}
    best = start

    def untried() -> list[Rungs]:
        around = [place for place in (best, *_neighbours(best, ladders)) if place not in tried]
        if around or len(tried) >= at_least:
            return around
        rest = [place for place in itertools.product(*map(range, map(len, ladders))) if place not in tried]
        return sorted(rest, key=lambda place: math.dist(place, best))[:1]

    while new := untried():
        found = losses([_strengths(place, ladders) for place in new])
        tried |= {p: loss if math.isfinite(loss) else math.inf for p, loss in zip(new, found, strict=True)}
        best = min(tried, key=tried.__getitem__)
    return _strengths(best, ladders), {_strengths(place, ladders): loss for place, loss in tried.items()}


def best_rates(
    lab: Lab, settings: Mapping[Level, Setting], dataset: Dataset, factor: str, start: float
) -> tuple[dict[Level, float], pd.DataFrame]:
    """The learning rate of each level of a factor, as `best_rate` finds it from about `start`; and every run.

    Between seeds the loss differs by a few thousandths, between rates by more: one seed chooses.
    """
    choosing = choosing_seeds(lab, quick=1, full=1)
    ladder = lab.choose(quick=RATES[::3], full=RATES)
    first = min(ladder, key=lambda rate: abs(rate - start))
    rates, tried = {}, []
    for level, setting in settings.items():
        rates[level], runs = best_rate(lab, setting, choosing, dataset, ladder, first)
        tried.append(runs.assign(**{factor: level}))
    return rates, pd.concat(tried)


def best_rate(
    lab: Lab,
    setting: Setting,
    seeds: range,
    dataset: Dataset | Callable[[int], Dataset],
    ladder: Sequence[float],
    start: float,
    *,
    metric: str = "validation_loss",
) -> tuple[float, pd.DataFrame]:
    """The learning rate that leaves the lowest mean loss on validation images, searched from `start` as by `settled`;
    and every run that was made on the way.

    A run that diverged counts as one that guesses.

    Arguments:
      metric: what is best where it is lowest; an accuracy where it is highest.
    """
    frames = []

    def losses(rates: Sequence[tuple[float, ...]]) -> list[float]:
        arms = [Arm(written(rate), turn(setting, learning_rate=rate)) for (rate,) in rates]
        frame = lab.run(Study(arms, seeds, dataset)).frame
        frames.append(frame.assign(learning_rate=frame["arm"].astype(float)))
        found = frame.assign(loss=_lowest_is_best(metric, frame)).groupby("arm")["loss"].mean()
        return [float(found[arm.name]) for arm in arms]

    (rate,), _ = settled([ladder], (ladder.index(start),), losses)
    columns = ["learning_rate", "seed", "status", "validation_loss", "validation_accuracy"]
    return rate, pd.concat(frames)[columns].sort_values(["learning_rate", "seed"], ignore_index=True)


def _lowest_is_best(metric: str, runs: pd.DataFrame) -> np.ndarray:
    """Losses, or accuracies with their sign turned."""
    return (-1 if metric.endswith("accuracy") else 1) * counted(metric, runs[metric])


def losses_by_rate(
    tried: pd.DataFrame, factor: str, *, metric: str = "validation_loss"
) -> dict[str, dict[float, float]]:
    """Of what `best_rate` tried for each level of a factor: level -> rate -> mean loss on validation images, or minus
    the mean accuracy where that chose."""
    found: dict[str, dict[float, list[float]]] = {}
    losses = _lowest_is_best(metric, tried)
    for level, rate, loss in zip(tried[factor], tried["learning_rate"], losses, strict=True):
        found.setdefault(str(level), {}).setdefault(float(rate), []).append(float(loss))
    return {
        level: {rate: float(np.mean(values)) for rate, values in by_rate.items()}
        for level, by_rate in found.items()
    }


def grid_of_rates(tried: pd.DataFrame, factor: str) -> pd.DataFrame:
    """What `best_rate` tried for each level of a factor, as `plots.grid_plot` takes it: mean validation accuracies of
    the runs that did not diverge, and how many did."""
    rows = tried.assign(
        rate=tried["learning_rate"].map("{:g}".format),
        is_lost=tried["status"] == "diverged",
        is_kept=tried["status"] != "diverged",
        **{factor: tried[factor].astype(str)},
    )
    grouped = rows.groupby([factor, "rate"], sort=False)
    return grouped.agg(
        estimate=("validation_accuracy", "mean"),
        num_replicates=("is_kept", "sum"),
        num_diverged=("is_lost", "sum"),
    ).reset_index()


def is_inside(losses: Mapping[str, Mapping[float, float]]) -> Finding:
    """Of the mean loss of each strength that was tried, for each of several searches: does the lowest lie inside?"""
    at_edge = [
        name for name, by_strength in losses.items() if is_at_edge(_lowest(by_strength), list(by_strength))
    ]
    return Finding.true_if(not at_edge, ", ".join(at_edge), num_inside=len(losses) - len(at_edge))


def up_to_the_lowest(losses: Mapping[str, Mapping[float, float]]) -> dict[str, dict[float, float]]:
    """The same with nothing tried beyond the best: the control of `is_inside`."""
    return {
        name: {strength: loss for strength, loss in found.items() if strength <= _lowest(found)}
        for name, found in losses.items()
    }


def _lowest(losses: Mapping[float, float]) -> float:
    return min(losses, key=losses.__getitem__)


def on_new_images(results: Results, contrasts: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The interval of one arm's test accuracy minus another's that holds for new seeds and new images, by contrast.

    Of runs with the probe `test_hits`. A contrast of which a run diverged has none, nor has one of a single seed.
    """
    rows = []
    for name, arms in contrasts.items():
        runs = results.frame[results.frame["arm"].isin(arms)]
        if (runs["status"] == "finished").all() and runs["seed"].nunique() > 1:
            rows.append({"contrast": name} | two_way(*map(results.test_hits, arms)).to_dict())
    return pd.DataFrame(rows, columns=["contrast", *(one.name for one in fields(Interval))])


def for_new_images(observations: Observations) -> dict[str, Interval]:
    """What `on_new_images` gave, kept as the table `new_images`: contrast -> interval."""
    rows = observations.rows("new_images")
    return {row.pop("contrast"): Interval(**row) for row in rows}


def _neighbours(place: Rungs, ladders: Sequence[Sequence[float]]) -> Iterator[Rungs]:
    for axis, ladder in enumerate(ladders):
        for rung in (place[axis] - 1, place[axis] + 1):
            if 0 <= rung < len(ladder):
                yield (*place[:axis], rung, *place[axis + 1 :])


def _strengths(place: Rungs, ladders: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(ladder[rung] for ladder, rung in zip(ladders, place, strict=True))


def _rungs(strengths: tuple[float, ...], ladders: Sequence[Sequence[float]]) -> Rungs:
    return tuple(ladder.index(strength) for strength, ladder in zip(strengths, ladders, strict=True))
