"""How heavy the upper tail of importance weights is: the shape k of a generalised Pareto distribution.

Moments of the weights of order 1/k and above do not exist: from k = 0.5 on their variance is infinite, and from 1 on
their mean. A mean of n weighted losses can be trusted up to about k = 0.7.

Sources: Zhang and Stephens 2009, A new and efficient estimation method for the generalized Pareto distribution,
Technometrics 51, 316; Vehtari, Simpson, Gelman, Yao and Gabry 2024, Pareto smoothed importance sampling, JMLR 25(72).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

LEAST_TAIL = 5  # weights in the tail, below which nothing is said


def pareto_k(weights: Float[np.ndarray, "row"]) -> float | None:
    """The shape of the tail of the largest weights: the top fifth, at most 3√n. None where it holds too few to tell.

    Equal weights in the tail have none: minus infinity.
    """
    num_tail = min(len(weights) // 5, math.ceil(3 * math.sqrt(len(weights))))
    if num_tail < LEAST_TAIL:
        return None
    ordered = np.sort(weights)
    excess = ordered[-num_tail:] - ordered[-num_tail - 1]
    if excess[-1] <= 1e-12 * ordered[-1]:
        return -math.inf
    return _shape(excess[excess > 0])


def largest_good_k(num_rows: int) -> float:
    """Up to which k a weighted mean of n rows can be trusted: min(1 - 1/log10(n), 0.7); Vehtari et al. 2024, eq. 13."""
    return min(1 - 1 / math.log10(max(num_rows, 11)), 0.7)


def _shape(excess: Float[np.ndarray, "tail"]) -> float:
    """Zhang and Stephens's k of ordered excesses, drawn towards 0.5 as by ten more values (Vehtari et al.)."""
    num = len(excess)
    num_points = 30 + math.isqrt(num)
    at = 1 - np.sqrt(num_points / (np.arange(1, num_points + 1) - 0.5))
    theta = at / (3 * excess[max(round(num / 4) - 1, 0)]) + 1 / excess[-1]
    k = np.log1p(-theta[:, None] * excess).mean(1)
    likelihood = num * (np.log(-theta / k) - k - 1)
    share = np.exp(likelihood - likelihood.max())
    best = float(share @ theta / share.sum())
    shape = float(np.log1p(-best * excess).mean())
    return (num * shape + 10 * 0.5) / (num + 10)
