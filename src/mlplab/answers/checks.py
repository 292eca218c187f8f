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
from mlplab.errors import InvalidInput
from mlplab.stats import (
    ClaimKind,
    compare_arms,
    interaction_2x2,
    paired,
    resampled,
    winner_beats_baseline,
)

Check = Callable[[np.ndarray], Finding]
# What a finding carries by name: a number, or what makes one of the replicates.
Numbers = Mapping[str, float | Callable[[np.ndarray], float]]
REDRAWS = 2_000  # of the seeds, to say how often a grid's best lies inside


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


def overfits(gap: float, *, alpha: float = 0.05) -> Callable[[Sequence[np.ndarray]], Finding]:
    """Does the control overfit? Of its (test, training) losses by seed: does the mean gap exceed `gap`?

    For `Claim.requires`: where there is no gap, a regulariser has nothing to mend. It carries `gap`, and raises
    as `stats.paired`.
    """

    def check(losses: Sequence[np.ndarray]) -> Finding:
        test, train = losses
        return Finding.of(paired(test, train, claim="greater", threshold=gap, alpha=alpha), gap=gap)

    return check


def interior_optimum(
    *, less_is_better: bool, alpha: float = 0.05
) -> Callable[[Mapping[float, np.ndarray]], Finding]:
    """Does the best of a grid lie inside it? Of the values of each level, by seed.

    For `Claim.requires`. The level with the best mean is a maximum over noisy cells and no measured place. It holds
    where both edges are shown to be worse than a level inside, fails where one is shown to be better than those
    inside, and is undecided otherwise. Each edge is compared at `alpha`, since both must be shown (Berger 1982);
    against the levels inside with Holm, since the best of them was picked for looking best.

    A run that diverged, NaN, counts as the worst of all that ended. The finding compares the edge that is harder to
    leave behind, in what is better, and carries `best`, the level with the best mean, and `share_inside`: of means
    over seeds drawn with replacement, how many have their best inside.

    The check raises InvalidInput for fewer than three levels or where no run ended, and as `stats.compare_arms`.

    Source: Berger 1982, Multiparameter hypothesis testing and acceptance sampling (Technometrics 24, 295).
    """
    sign = -1 if less_is_better else 1

    def check(values: Mapping[float, np.ndarray]) -> Finding:
        levels = sorted(values)
        if len(levels) < 3:
            raise InvalidInput("interior_optimum", "needs at least three levels", levels)
        cells = sign * np.array([values[level] for level in levels], dtype=float)
        if not np.isfinite(cells).any():
            raise InvalidInput("interior_optimum", "needs a run that ended", "none")
        cells[~np.isfinite(cells)] = cells[np.isfinite(cells)].min()
        inside = {str(level): row for level, row in zip(levels[1:-1], cells[1:-1], strict=True)}
        # The harder edge comes first: what is decided least, then what is nearest.
        edges = sorted(
            (winner_beats_baseline(inside | {"edge": row}, "edge", alpha=alpha)[1] for row in cells[[0, -1]]),
            key=lambda edge: (("fails", "undecided", "holds").index(edge.verdict), edge.estimate),
        )
        seeds = np.random.Generator(np.random.Philox(key=0)).integers(
            cells.shape[1], size=(REDRAWS, cells.shape[1])
        )
        best = cells[:, seeds].mean(axis=-1).argmax(axis=0)
        is_inside = (best > 0) & (best < len(levels) - 1)
        return Finding.of(
            edges[0], best=levels[int(cells.mean(axis=1).argmax())], share_inside=float(is_inside.mean())
        )

    return check


def horizon_is_enough(
    margin: float, *, less_is_better: bool, alpha: float = 0.05
) -> Callable[[Sequence[np.ndarray]], Finding]:
    """Do more epochs no longer help? Of validation values by seed (at the horizon, with more epochs).

    For `Claim.requires`. It holds where the gain is shown to be below `margin`, and fails where it is shown to be
    above. It carries `margin`, and raises as `stats.paired`.
    """
    sign = -1 if less_is_better else 1

    def check(values: Sequence[np.ndarray]) -> Finding:
        at_horizon, with_more = values
        gain = sign * (np.asarray(with_more) - np.asarray(at_horizon))
        return Finding.of(paired(gain, claim="less", threshold=margin, alpha=alpha), margin=margin)

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
