"""Mixed tables as matrices: for distances and linear models, and for trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlplab.shift.tables import Pair

if TYPE_CHECKING:
    from jaxtyping import Float, Int

DENSE_LEVELS = 50  # categories with a column of their own


def dense(
    both: Pair, rows: Int[np.ndarray, "fit"] | None = None
) -> tuple[Float[np.ndarray, "row column"], np.ndarray]:
    """Columns of about unit size, and the place in `both.names` of the feature that each comes from.

    A number is standardised, and a missing one is 0, with a column of its own that says so. A category has a column
    for each of its 50 most frequent values, divided by √2, so that two rows that differ in it are at distance 1; a
    missing one is a value.

    Arguments:
      rows: where means, spreads and frequent values are taken from; None for all. A permutation test needs all: a
        map made from the reference alone would know which rows are the reference.
    """
    seen = both if rows is None else both.take(rows)
    parts: list[np.ndarray] = []
    owners: list[int] = []
    if both.numbers.shape[1]:
        missing = both.has_missing
        if missing.any():
            filled = np.atleast_1d(~np.isnan(seen.numbers).all(axis=0))
            mean, spread = np.zeros(len(filled)), np.ones(len(filled))
            mean[filled] = np.nanmean(seen.numbers[:, filled], axis=0, dtype=np.float64)
            spread[filled] = np.nanstd(seen.numbers[:, filled], axis=0, dtype=np.float64)
        else:
            mean = seen.numbers.mean(axis=0, dtype=np.float64)
            spread = seen.numbers.std(axis=0, dtype=np.float64)
        spread[~(spread > 1e-12 * np.abs(mean))] = 1.0
        scaled = (both.numbers - mean.astype(both.numbers.dtype)) / spread.astype(both.numbers.dtype)
        scaled = scaled.astype(np.float32, copy=False)
        if missing.any():
            gaps = np.isnan(both.numbers[:, missing])
            scaled[np.isnan(scaled)] = 0.0
            parts.append(gaps.astype(np.float32))
        parts.insert(0, scaled)
        owners += [*range(both.numbers.shape[1]), *(np.flatnonzero(missing) if missing.any() else ())]
    for place in range(both.codes.shape[1]):
        codes = both.codes[:, place]
        counts = np.bincount(seen.codes[:, place] + 1, minlength=len(both.levels[place]) + 1)
        frequent = np.flatnonzero(counts)[np.argsort(-counts[counts > 0], kind="stable")][:DENSE_LEVELS] - 1
        parts.append((codes[:, None] == frequent).astype(np.float32) / np.float32(np.sqrt(2)))
        owners += [both.numbers.shape[1] + place] * len(frequent)
    return np.concatenate(parts, axis=1), np.asarray(owners)


def for_trees(both: Pair) -> tuple[Float[np.ndarray, "row feature"], np.ndarray]:
    """Features in the order of `both.names` with NaN where missing, and which of them are codes of categories."""
    codes = both.codes.astype(np.float64)
    codes[codes < 0] = np.nan
    is_code = np.repeat([False, True], [both.numbers.shape[1], both.codes.shape[1]])
    return np.concatenate([both.numbers, codes], axis=1), is_code
