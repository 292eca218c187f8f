"""Seeds for the comparisons that are still undecided, and an error rate that stays what it says.

Whoever looks after 6 seeds, after 10, after 16, and stops at the first difference that looks real, is fooled more
often than once in 20 times. So the looks are fixed beforehand, and each arm at each look gets an equal part of alpha:
the chance that any claim about any arm is wrongly shown at any look is at most alpha, and all intervals that are ever
shown cover together with at least 1 - alpha (Bonferroni's inequality; group-sequential boundaries as in Pocock 1977 are
a little shorter, and hold for normal data with a known spread alone). An arm that is decided gets no more seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Unpack

import pandas as pd

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.study.results import Results

GROWTH = 1.6  # each look has so many times the seeds of the last


@dataclass(frozen=True)
class Decided:
    """What all looks together found.

    Arguments:
      results: all runs; an arm that was decided early has fewer seeds.
      comparisons: of each arm with the baseline, as they stood when they were decided, or at the last look.
      diverged: arms that were not compared, because a run of theirs or of the baseline diverged.
      looks: seeds at each look that was planned.
      alpha: of each arm at each look.
    """

    results: Results
    comparisons: dict[str, stats.Comparison]
    diverged: tuple[str, ...]
    looks: tuple[int, ...]
    alpha: float


def looks(first: int, most: int) -> tuple[int, ...]:
    """Seeds at each look: `first`, then GROWTH times as many, up to `most`.

    >>> looks(6, 100)
    (6, 10, 16, 26, 42, 67, 100)
    """
    if not 2 <= first <= most:
        raise InvalidInput("looks", "need 2 <= first <= most", (first, most))
    found = [first]
    while found[-1] < most:
        # A last step of a few seeds would cost a part of alpha and bring nothing.
        following = max(found[-1] + 1, round(found[-1] * GROWTH))
        found.append(most if following * 1.2 >= most else following)
    return tuple(found)


def run_until_decided(
    run: Callable[[Sequence[str], int], Results],
    arms: Sequence[str],
    baseline: str,
    metric: str,
    planned: Sequence[int],
    **claim: Unpack[stats.Claim],
) -> Decided:
    """Look, add seeds to what is undecided, look again.

    Arguments:
      run: trains the named arms on seeds 0 to n - 1, and returns their results; what is there is not trained again.
      planned: seeds at each look, as `looks` makes them.

    A comparison is decided when its claim holds or fails, or when the arm is shown to be within the margin.
    """
    others = [arm for arm in arms if arm != baseline]
    alpha = claim.get("alpha", 0.05) / (max(len(others), 1) * len(planned))
    claim["alpha"] = alpha
    comparisons: dict[str, stats.Comparison] = {}
    diverged: list[str] = []
    tables: dict[str, pd.DataFrame] = {}
    curves: dict[str, pd.DataFrame] = {}
    active = others
    for num_seeds in planned:
        results = run([baseline, *active], num_seeds)
        for arm in (baseline, *active):
            tables[arm] = results.frame[results.frame["arm"] == arm]
            curves[arm] = results.curves[results.curves["arm"] == arm]
        lost = set(results.frame.loc[results.frame["status"] != "finished", "arm"])
        if baseline in lost:
            diverged += active
            break
        diverged += [arm for arm in active if arm in lost]
        active = [arm for arm in active if arm not in lost]
        for arm in active:
            comparisons[arm] = stats.paired(results.differences(metric, arm, baseline), **claim)
        active = [arm for arm in active if not is_decided(comparisons[arm])]
        if not active:
            break
    frame = pd.concat([tables[arm] for arm in arms if arm in tables], ignore_index=True)
    points = pd.concat([curves[arm] for arm in arms if arm in curves], ignore_index=True)
    return Decided(Results(frame, lambda: points), comparisons, tuple(diverged), tuple(planned), alpha)


def is_decided(comparison: stats.Comparison) -> bool:
    """Whether more seeds have nothing to add."""
    return comparison.verdict != "undecided" or bool(comparison.equivalence and comparison.equivalence.holds)
