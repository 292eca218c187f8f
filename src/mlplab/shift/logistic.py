"""Many logistic regressions on rows of one matrix, fitted together: they differ in labels and in rows that teach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

MOST_CELLS = (
    4_000_000  # rows times squared features, up to which Newton's steps together beat lbfgs one by one
)
BLOCK = 8_000_000  # numbers worked on at once
MOST_STEPS = 100
CLOSE = 1e-9  # of a coefficient, a step of Newton's below which it has arrived: the next would be its square


def fit_together(
    features: Float[np.ndarray, "row feature"],
    taught: Bool[np.ndarray, "fit row"],
    labels: Bool[np.ndarray, "fit row"],
    penalty: float = 1.0,
) -> Float[np.ndarray, "fit coefficient"]:
    """Coefficients of each fit, the intercept last: what `sklearn.linear_model.LogisticRegression(C=1/penalty)` finds.

    The least of Σ log(1 + exp(-±z)) over the rows taught plus penalty·|w|²/2, the intercept free, by Newton's method
    with steps halved where the loss would rise. Each fit needs rows of both labels, or its intercept has no end.
    """
    rows = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
    num_coefficients = rows.shape[1]
    squares = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
    step = max(1, BLOCK // max(num_coefficients**2, len(rows)))
    return np.concatenate(
        [
            _newton(rows, squares, taught[start : start + step], labels[start : start + step], penalty)
            for start in range(0, len(taught), step)
        ]
    )


def _newton(
    rows: np.ndarray, squares: np.ndarray, taught: np.ndarray, labels: np.ndarray, penalty: float
) -> np.ndarray:
    num_fits, num_coefficients = len(taught), rows.shape[1]
    ridge = np.full(num_coefficients, penalty)
    ridge[-1] = 0.0
    found = np.zeros((num_fits, num_coefficients))
    going = np.arange(num_fits)
    for _ in range(MOST_STEPS):
        mask, sign = taught[going], np.where(labels[going], 1.0, -1.0)
        here = found[going]
        scores = here @ rows.T
        share = special.expit(scores)
        slope = ((share - labels[going]) * mask) @ rows + ridge * here
        bend = ((share * (1 - share) * mask) @ squares).reshape(
            len(going), num_coefficients, num_coefficients
        )
        bend[:, np.arange(num_coefficients), np.arange(num_coefficients)] += ridge
        move = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        before, along = _loss(scores, sign, mask, here, ridge), move @ rows.T
        size = np.ones(len(going))
        for _ in range(30):
            there = here - size[:, None] * move
            rises = _loss(scores - size[:, None] * along, sign, mask, there, ridge) > before * (1 + 1e-12)
            if not rises.any():
                break
            size[rises] /= 2
        found[going] = here - size[:, None] * move
        going = going[np.abs(size[:, None] * move).max(axis=1) > CLOSE]
        if not len(going):
            break
    return found


def _loss(
    scores: np.ndarray, sign: np.ndarray, mask: np.ndarray, coefficients: np.ndarray, ridge: np.ndarray
) -> np.ndarray:
    return (np.logaddexp(0, -sign * scores) * mask).sum(axis=1) + 0.5 * (coefficients**2 @ ridge)
