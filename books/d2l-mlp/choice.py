"""Choosing on validation data with a few seeds, so that fresh seeds can judge what was chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from mlplab.answers import Finding, Lab, recentred
from mlplab.stats import Verdict, proportion_interval

CHANCE = 0.1  # ten classes
LOST = 2 * CHANCE  # accuracy below which a run has learned nothing, or forgotten all
FIRST_SEED = 1000  # the judges are seeds 0, 1, ...


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


# One rung on each ladder.
Rungs = tuple[int, ...]


def settled(
    ladders: Sequence[Sequence[float]],
    start: Rungs,
    losses: Callable[[Sequence[tuple[float, ...]]], Sequence[float]],
) -> tuple[tuple[float, ...], dict[tuple[float, ...], float]]:
    """Strengths whose neighbours are all worse, and all that were tried on the way with their losses.

    Arguments:
      ladders: what each strength can be, in order.
      start: where to begin.
      losses: one for each of several places; of one that is not finite the place is never chosen.

    From the best place so far one rung up and one down each ladder are tried, until nothing new is left to try: the
    outcome lies at the end of a ladder only where its loss still falls there.
    """
    tried: dict[Rungs, float] = {}
    best = start
    while new := [place for place in (best, *_neighbours(best, ladders)) if place not in tried]:
        found = losses([_strengths(place, ladders) for place in new])
        tried |= {p: loss if math.isfinite(loss) else math.inf for p, loss in zip(new, found, strict=True)}
        best = min(tried, key=tried.__getitem__)
    return _strengths(best, ladders), {_strengths(place, ladders): loss for place, loss in tried.items()}


def _neighbours(place: Rungs, ladders: Sequence[Sequence[float]]) -> Iterator[Rungs]:
    for axis, ladder in enumerate(ladders):
        for rung in (place[axis] - 1, place[axis] + 1):
            if 0 <= rung < len(ladder):
                yield (*place[:axis], rung, *place[axis + 1 :])


def _strengths(place: Rungs, ladders: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(ladder[rung] for ladder, rung in zip(ladders, place, strict=True))
