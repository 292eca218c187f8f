"""The vocabulary of checks: each function returns one, which reads replicates and gives a finding.

>>> import numpy as np
>>> check = greater(margin=0.01)
>>> finding = check(np.array([0.02, 0.03, 0.01, 0.02, 0.03, 0.02]))
>>> finding.verdict, finding.margin
('holds', 0.01)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlplab.answers.claim import Finding
from mlplab.stats import ClaimKind, compare_arms, interaction_2x2, paired, resampled

Check = Callable[[np.ndarray], Finding]
# What a finding carries by name: a number, or what makes one of the replicates.
Numbers = Mapping[str, float | Callable[[np.ndarray], float]]


def greater(
    threshold: float = 0.0,
    *,
    margin: float | None = None,
    alpha: float = 0.05,
    test_train_ratio: float | None = None,
    numbers: Numbers | None = None,
) -> Check:
    """Is the mean above the threshold? With a margin it fails, too, where it is shown not to matter.

    Arguments:
      margin: the largest distance from the threshold that does not matter.
      alpha: level of the interval that decides.
      test_train_ratio: given where the replicates are folds of one table, which share rows: see
        `stats.resampled`.
      numbers: what the finding carries for sentences to quote. Where nothing is given it is the margin,
        if there is one; {} carries nothing.

    The check raises as `stats.paired` or `stats.resampled`.
    """
    return _judgement(
        "greater", threshold, margin=margin, alpha=alpha, test_train_ratio=test_train_ratio, numbers=numbers
    )


def less(
    threshold: float = 0.0,
    *,
    margin: float | None = None,
    alpha: float = 0.05,
    test_train_ratio: float | None = None,
    numbers: Numbers | None = None,
) -> Check:
    """Is the mean below the threshold? Otherwise as `greater`."""
    return _judgement(
        "less", threshold, margin=margin, alpha=alpha, test_train_ratio=test_train_ratio, numbers=numbers
    )


def equivalent(
    threshold: float = 0.0,
    *,
    margin: float,
    alpha: float = 0.05,
    test_train_ratio: float | None = None,
    numbers: Numbers | None = None,
) -> Check:
    """Two one-sided tests: is the mean within the margin of the threshold? Otherwise as `greater`."""
    return _judgement(
        "equivalent",
        threshold,
        margin=margin,
        alpha=alpha,
        test_train_ratio=test_train_ratio,
        numbers=numbers,
    )


def beats(arm: str, baseline: str, *, margin: float) -> Callable[[Mapping[str, np.ndarray]], Finding]:
    """Is an arm's mean above the baseline's, at the level that Holm sets over all arms given?

    It fails, too, where the gain is shown to be too small to matter, and carries the margin. The check
    raises as `stats.compare_arms`.
    """

    def check(values: Mapping[str, np.ndarray]) -> Finding:
        return Finding.of(compare_arms(values, baseline, claim="greater", margin=margin)[arm], margin=margin)

    return check


def interaction(claim: ClaimKind) -> Callable[[Sequence[np.ndarray]], Finding]:
    """Does A do more ("greater") or less with B than without? Of (both, only A, only B, neither).

    The check raises as `stats.interaction_2x2`.
    """

    def check(cells: Sequence[np.ndarray]) -> Finding:
        both, only_a, only_b, neither = cells
        return Finding.of(interaction_2x2(both, only_a, only_b, neither, claim=claim))

    return check


def all_below(limit: float) -> Check:
    """Is every value below the limit? One value above it decides. It carries the largest."""
    return lambda values: Finding.true_if(bool((values < limit).all()), largest=float(values.max()))


def _judgement(
    claim: ClaimKind,
    threshold: float,
    *,
    margin: float | None,
    alpha: float,
    test_train_ratio: float | None,
    numbers: Numbers | None,
) -> Check:
    carried: Numbers = ({} if margin is None else {"margin": margin}) if numbers is None else numbers
    question: dict[str, Any] = {"claim": claim, "threshold": threshold, "margin": margin, "alpha": alpha}

    def check(values: np.ndarray) -> Finding:
        if test_train_ratio is None:
            comparison = paired(values, **question)
        else:
            comparison = resampled(values, test_train_ratio=test_train_ratio, **question)
        return Finding.of(
            comparison, **{name: one(values) if callable(one) else one for name, one in carried.items()}
        )

    return check
