"""Gaussian kernels between rows: standardised features, centres among the target's rows, a width by distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist, pdist

if TYPE_CHECKING:
    from jaxtyping import Float

WIDTHS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0)  # times the median distance; what model selection chooses among
ROWS_OF_MEDIAN = 1_000


@dataclass(frozen=True, eq=False)
class Kernels:
    """exp(-|x - c|²/2s²) for each centre c; x and c standardised by mean and deviation over both samples.

    `median` is the median distance between two rows: the unit of widths.
    """

    mean: Float[np.ndarray, "feature"]
    scale: Float[np.ndarray, "feature"]
    centres: Float[np.ndarray, "centre feature"]
    median: float

    def standardised(self, rows: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row feature"]:
        return (rows - self.mean) / self.scale

    def squared_distances(self, rows: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row centre"]:
        """From each row to each centre."""
        return cdist(self.standardised(rows), self.centres, "sqeuclidean")

    def at(self, rows: Float[np.ndarray, "row feature"], width: float) -> Float[np.ndarray, "row centre"]:
        """The kernels of `width` medians."""
        return kernels(self.squared_distances(rows), width * self.median)


def kernels(squared_distances: np.ndarray, width: float) -> np.ndarray:
    """exp(-d²/2s²)."""
    return np.exp(squared_distances / (-2 * width**2))


def place_kernels(
    source: Float[np.ndarray, "row feature"],
    target: Float[np.ndarray, "row feature"],
    num_centres: int,
    random: np.random.RandomState,
) -> Kernels:
    """Centres at random rows of the target, where the ratio is large (Kanamori et al. 2009, section 2.3)."""
    num = len(source) + len(target)
    mean = (source.sum(0) + target.sum(0)) / num
    scale = np.sqrt((((source - mean) ** 2).sum(0) + ((target - mean) ** 2).sum(0)) / num)
    scale[scale <= 1e-12 * (1 + np.abs(mean))] = 1.0  # a constant feature tells no rows apart
    picked = random.permutation(len(target))[:num_centres]
    some = [rows[random.permutation(len(rows))[: ROWS_OF_MEDIAN // 2]] for rows in (source, target)]
    distances = pdist((np.concatenate(some) - mean) / scale)
    distances = distances[distances > 0]  # rows that are equal have no width
    median = float(np.median(distances)) if len(distances) else 1.0
    return Kernels(mean, scale, (target[picked] - mean) / scale, median)
