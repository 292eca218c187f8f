"""How far two samples are apart in each column on its own, for all columns at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlplab.shift.tables import BLOCK, Pair

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def kolmogorov_smirnov(
    numbers: Float[np.ndarray, "row column"], is_current: Bool[np.ndarray, "row"]
) -> tuple[Float[np.ndarray, "column"], np.ndarray]:
    """sup|F - G| of each column, and how many different values it has. No value may be missing.

    The same as `scipy.stats.ks_2samp`, for all columns at once.
    """
    steps = np.where(is_current, -1 / is_current.sum(), 1 / (~is_current).sum())
    distance, distinct = np.zeros(numbers.shape[1]), np.zeros(numbers.shape[1], dtype=np.int64)
    width = max(1, BLOCK // len(numbers))
    for start in range(0, numbers.shape[1], width):
        part = np.ascontiguousarray(
            numbers[:, start : start + width].T
        )  # a column's values beside each other
        order = part.argsort(axis=1)
        ordered = np.take_along_axis(part, order, axis=1)
        gap = np.abs(np.cumsum(steps[order], axis=1))
        # Between equal values the distribution functions are not defined: only the last of them counts.
        last = np.ones(part.shape, dtype=bool)
        last[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
        gap[~last] = 0
        distance[start : start + width] = gap.max(axis=1)
        distinct[start : start + width] = last.sum(axis=1)
    return distance, distinct


def energy(
    numbers: Float[np.ndarray, "row column"], is_current: Bool[np.ndarray, "row"]
) -> Float[np.ndarray, "column"]:
    """Squared energy distance 2 ∫(F - G)² of each column: an MMD whose kernel is the distance on that column alone.

    Source: Székely and Rizzo 2013; Sejdinovic et al. 2013, Equivalence of distance-based and RKHS-based statistics.
    """
    steps = np.where(is_current, -1 / is_current.sum(), 1 / (~is_current).sum())
    found = np.zeros(numbers.shape[1])
    width = max(1, BLOCK // len(numbers))
    for start in range(0, numbers.shape[1], width):
        part = np.ascontiguousarray(numbers[:, start : start + width].T)
        order = part.argsort(axis=1)
        ordered = np.take_along_axis(part, order, axis=1).astype(np.float64)
        gap = np.cumsum(steps[order], axis=1)[:, :-1]
        found[start : start + width] = 2 * (gap**2 * np.diff(ordered, axis=1)).sum(axis=1)
    return found


def table_of(codes: np.ndarray, is_current: np.ndarray, num_levels: int) -> np.ndarray:
    """Counts (2, level) of reference and current; a level -1 (missing) comes last, where it occurs."""
    codes = np.where(codes < 0, num_levels, codes)
    counts = np.stack(
        [np.bincount(codes[side], minlength=num_levels + 1) for side in (~is_current, is_current)]
    )
    return counts[:, counts.sum(axis=0) > 0]


def screen(both: Pair) -> Float[np.ndarray, "feature"]:
    """A distance in [0, 1] for each feature: KS of a number, total variation of a category. No test: a ranking."""
    numbers = np.zeros(both.numbers.shape[1])
    whole = ~both.has_missing
    if whole.any():
        numbers[whole] = kolmogorov_smirnov(both.numbers[:, whole], both.is_current)[0]
    for column in np.flatnonzero(~whole):
        there = ~np.isnan(both.numbers[:, column])
        sides = [there[side].mean() for side in (~both.is_current, both.is_current)]
        numbers[column] = abs(sides[0] - sides[1])
        if 0 < both.is_current[there].sum() < there.sum():
            kept = both.numbers[there][:, [column]]
            numbers[column] = max(numbers[column], kolmogorov_smirnov(kept, both.is_current[there])[0][0])
    categories = []
    for place, levels in enumerate(both.levels):
        counts = table_of(both.codes[:, place], both.is_current, len(levels))
        shares = counts / counts.sum(axis=1, keepdims=True)
        categories.append(0.5 * float(np.abs(shares[0] - shares[1]).sum()))
    return np.concatenate([numbers, categories])
