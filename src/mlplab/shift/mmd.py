"""Maximum mean discrepancy with permutations: any difference between two distributions, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from mlplab.errors import InvalidInput
from mlplab.rng import Stream
from mlplab.shift import distances, encoding, result
from mlplab.shift.detector import Detector
from mlplab.shift.notices import Notice
from mlplab.shift.result import Driver, Power, ShiftResult
from mlplab.shift.tables import Pair

if TYPE_CHECKING:
    from jaxtyping import Float, Int

WHOLE = 4_000  # rows up to which all pairs are used: one matrix of 64 MB
BLOCK_ROWS = 2_000
TOGETHER = (
    512  # labellings that are drawn and judged at once: beyond a truth value each, memory is that of these
)
RATIO = 20  # the larger sample is thinned to so many times the smaller one, where there are blocks
BANDWIDTH_ROWS, POWER_ROWS = 1_000, 200
# Shares of the median distance: wide kernels see means, narrow ones spreads and dependence.
WIDTHS = (1.0, 0.5, 0.25)


class MMDDetector(Detector):
    """The unbiased MMD² with Gaussian kernels, and a permutation test: it holds its level exactly, at any size.

    Kernels of three widths, the median distance, a half and a quarter of it, are looked at together: each MMD² is
    measured in its standard deviations over the permutations, and the largest counts.

    Up to 4,000 rows in all, every pair counts. Beyond, both samples are cut into blocks of about 2,000 rows, MMD² is
    averaged over blocks, and labels are permuted within blocks: time grows with the rows, memory does not, and the
    p-value stays exact. It is never below 1/(num_permutations + 1).

    Tables are encoded as `encoding.dense` says, from all rows, so that no row knows which sample it is of.

    Arguments:
      bandwidth: σ of exp(-‖x - y‖²/2σ²) in encoded units, for one kernel alone; None for the three, by the median
        distance of 1,000 rows of both samples.
      num_permutations: at least 1/alpha - 1, at most MOST_PERMUTATIONS.
      alpha: chance of a false alarm.
      num_drivers: how many features the result names: by the energy distance of a feature, an MMD on it alone.
      seed: of permutations and blocks.

    Sources: Gretton et al. 2012, A kernel two-sample test, eq. 3; Zaremba, Gretton and Blaschko 2013, B-test (blocks);
    Schrab et al. 2023, MMD aggregated two-sample test (several widths).
    Attributes after `fit`: `reference_`, `n_features_in_`, `feature_names_in_`.
    """

    def __init__(
        self,
        *,
        bandwidth: float | None = None,
        num_permutations: int = 499,
        alpha: float = 0.05,
        num_drivers: int = 10,
        seed: int = 0,
    ) -> None:
        self.bandwidth = bandwidth
        self.num_permutations = num_permutations
        self.alpha = alpha
        self.num_drivers = num_drivers
        self.seed = seed

    def _smallest_p(self) -> float:
        return 1 / (self.num_permutations + 1)

    def _check_options(self) -> None:
        super()._check_options()
        given = self.bandwidth
        if given is not None and not (isinstance(given, (int, float)) and 0 < given < math.inf):
            raise InvalidInput("MMDDetector.bandwidth", "must be a positive number, or None", given)

    def _compare(self, both: Pair) -> ShiftResult:
        blocks, notices = self._blocks(both)
        if len(blocks) > 1 or notices:
            rows = np.concatenate(blocks)
            both = both.take(rows)
            blocks = np.split(np.arange(len(rows)), np.cumsum([len(block) for block in blocks])[:-1])
        points, owners = encoding.dense(both)
        widths = (self.bandwidth,) if self.bandwidth is not None else median_widths(points, self.seed)
        totals = np.zeros((len(widths), self.num_permutations + 1))
        for number, block in enumerate(blocks):
            labels = np.empty((self.num_permutations + 1, len(block)), dtype=bool)
            labels[0] = both.is_current[block]
            labels[1:] = permuted(labels[0], self.num_permutations, Stream(self.seed, "order", layer=number))
            totals += mmd2_by_width(points[block], widths, labels) / len(blocks)
        strongest, place = in_deviations(totals)
        seen = both.is_current[blocks[0]]
        side = np.where(seen, -1 / seen.sum(), 1 / (~seen).sum())
        witness = gaussian_kernel(squared_distances(points[blocks[0]]), widths[place]) @ side.astype(
            np.float32
        )
        told = f"Gaussian kernel of width {widths[place]:.3g}{', of 3 the most telling' * (len(widths) > 1)}"
        how = "all pairs" if len(blocks) == 1 else f"{len(blocks)} blocks"
        return ShiftResult(
            detector="MMD",
            method=f"{told}, {self.num_permutations} permutations, {how}",
            statistic_name="MMD²",
            statistic=float(totals[place, 0]),
            p_value=permutation_p_value(strongest),
            alpha=self.alpha,
            num_reference=both.num_reference,
            num_current=both.num_current,
            driver_measure="squared energy distance of the feature, in its standard deviations",
            drivers=self._drivers(both, points, owners),
            power=self._power(points[~both.is_current], both, widths, totals),
            distribution=result.histogram(
                "Where the samples differ", "witness: high where the reference is denser", witness, seen
            ),
            notices=notices,
        )

    def _blocks(self, both: Pair) -> tuple[list[np.ndarray], tuple[Notice, ...]]:
        """Rows of each block, both samples in all of them."""
        sides = [np.flatnonzero(~both.is_current), np.flatnonzero(both.is_current)]
        if both.num_rows <= WHOLE:
            return [np.arange(both.num_rows)], ()
        shuffled = [
            side[Stream(self.seed, "split", layer=2 + place).permutation(len(side))]
            for place, side in enumerate(sides)
        ]
        most = RATIO * min(map(len, sides))
        notices = tuple(
            Notice("sampled", f"MMD looks at {most:,} of {len(side):,} {name} rows: more would hardly help")
            for name, side in zip(("reference", "current"), sides, strict=True)
            if len(side) > most
        )
        shuffled = [side[:most] for side in shuffled]
        # A block wants some rows of both.
        count = max(1, min(math.ceil(sum(map(len, shuffled)) / BLOCK_ROWS), min(map(len, shuffled)) // 8))
        if sum(map(len, shuffled)) <= WHOLE:
            count = 1
        halves = [np.array_split(side, count) for side in shuffled]
        return [np.concatenate(parts) for parts in zip(*halves, strict=True)], notices

    def _drivers(self, both: Pair, points: np.ndarray, owners: np.ndarray) -> tuple[Driver, ...]:
        if not self.num_drivers:
            return ()
        each = np.bincount(
            owners, weights=distances.energy(points, both.is_current), minlength=len(both.names)
        )
        order = np.argsort(-each, kind="stable")[: self.num_drivers]
        return tuple(Driver(both.names[place], float(each[place])) for place in order)

    def _power(self, reference: np.ndarray, both: Pair, widths: Sequence[float], totals: np.ndarray) -> Power:
        """Where the reference moves along its first principal direction: what the best of the kernels finds alone.

        MMD² is normal about its mean, with the null variance plus 4·var(witness)/rows of each sample (Gretton et al.
        2012, theorem 8 adds up both terms).
        """
        chosen = reference[Stream(self.seed, "split", layer=4).permutation(len(reference))[:POWER_ROWS]]
        centred = (chosen - chosen.mean(axis=0)).astype(np.float64)
        values, vectors = np.linalg.eigh(centred @ centred.T)
        along = vectors[:, -1] * math.sqrt(
            max(values[-1], 0.0)
        )  # coordinates on the first principal direction
        spread = float(along.std())
        squared = squared_distances(chosen)
        off = ~np.eye(len(chosen), dtype=bool)
        sizes = np.concatenate([np.linspace(0, 1, 16), np.linspace(1.2, 2.4, 7)])
        probabilities = np.zeros(len(sizes))
        strongest, _ = in_deviations(totals)
        highest = float(np.quantile(strongest[1:], 1 - self.alpha))
        for width, null in zip(widths, totals[:, 1:], strict=True):
            own = np.where(off, np.exp(-squared / (2 * width**2)), 0).sum(axis=1) / (len(chosen) - 1)
            critical, scatter = null.mean() + highest * null.std(), float(null.var())
            for place, step in enumerate(sizes * spread):
                moved = squared - 2 * step * (along[:, None] - along) + step**2
                cross = np.where(off, np.exp(-moved / (2 * width**2)), 0)
                first, second = (
                    own - cross.sum(axis=1) / (len(chosen) - 1),
                    cross.sum(axis=0) / (len(chosen) - 1) - own,
                )
                mean = float(first.mean() - second.mean())
                variance = (
                    scatter + 4 * first.var() / both.num_reference + 4 * second.var() / both.num_current
                )
                found = float(special.ndtr((mean - critical) / math.sqrt(variance + 1e-18)))
                probabilities[place] = max(probabilities[place], found)
        measure = "shift along the first principal direction, in its standard deviations"
        return result.power_curve(measure, sizes, probabilities)


def squared_distances(points: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row row"]:
    centred = points - points.mean(axis=0)  # or float32 cancels
    norms = (centred**2).sum(axis=1)
    found = centred @ centred.T
    found *= -2
    found += norms[:, None]
    found += norms
    return np.maximum(found, 0, out=found)


def median_distance(points: Float[np.ndarray, "row column"], stream: Stream) -> float:
    """The median distance between two of at most 1,000 rows; 1 where all rows are equal."""
    rows = (
        points if len(points) <= BANDWIDTH_ROWS else points[stream.permutation(len(points))[:BANDWIDTH_ROWS]]
    )
    squared = squared_distances(rows)[~np.tri(len(rows), dtype=bool)]
    middle = float(np.median(squared)) or float(squared.mean())
    return math.sqrt(middle) if middle > 1e-12 else 1.0


def median_widths(points: Float[np.ndarray, "row column"], seed: int) -> tuple[float, ...]:
    """The widths of kernels that are looked through where none is given."""
    median = median_distance(points, Stream(seed, "split", layer=1))
    return tuple(share * median for share in WIDTHS)


def gaussian_kernel(squared: Float[np.ndarray, "row row"], width: float) -> Float[np.ndarray, "row row"]:
    """exp(-‖x - y‖²/2σ²) less its mean off the diagonal, which MMD² does not see and float32 is glad of; 0 on it."""
    kernel = squared * squared.dtype.type(-1 / (2 * width**2))
    np.exp(kernel, out=kernel)
    np.fill_diagonal(kernel, 0)
    kernel -= np.float32(kernel.sum(dtype=np.float64) / (len(kernel) * (len(kernel) - 1)))
    np.fill_diagonal(kernel, 0)
    return kernel


def permuted(labels: np.ndarray, count: int, stream: Stream) -> np.ndarray:
    """`count` random orders of truth values: (count, row)."""
    ones = int(labels.sum())
    found = np.zeros((count, len(labels)), dtype=bool)
    if not 0 < ones < len(labels):
        found[:] = labels
        return found
    for some in np.split(found, range(TOGETHER, count, TOGETHER)):  # views: what is drawn is their own
        words = stream.bits(some.size).reshape(some.shape)
        np.put_along_axis(some, np.argpartition(words, ones, axis=1)[:, :ones], True, axis=1)
    return found


def mmd2(
    kernel: Float[np.ndarray, "row row"], labels: Int[np.ndarray, "labelling row"]
) -> Float[np.ndarray, "labelling"]:
    """Unbiased MMD² for each labelling, from one kernel matrix with diagonal 0 (Gretton et al. 2012, eq. 3)."""
    m = float(labels[0].sum())
    n = labels.shape[1] - m
    sums = kernel.sum(axis=1, dtype=np.float64)
    found = []
    for some in np.split(labels, range(TOGETHER, len(labels), TOGETHER)):
        ones = some.astype(kernel.dtype)
        within = np.einsum("ij,ij->i", ones @ kernel, ones).astype(np.float64)
        across = ones.astype(np.float64) @ sums
        rest = sums.sum() - 2 * across + within
        found.append(within / (m * (m - 1)) + rest / (n * (n - 1)) - 2 * (across - within) / (n * m))
    return np.concatenate(found)


def mmd2_by_width(
    points: Float[np.ndarray, "row column"],
    widths: Sequence[float],
    labels: Int[np.ndarray, "labelling row"],
) -> Float[np.ndarray, "width labelling"]:
    """Unbiased MMD² of each labelling through a Gaussian kernel of each width."""
    squared = squared_distances(points)
    return np.stack([mmd2(gaussian_kernel(squared, width), labels) for width in widths])


def in_deviations(totals: Float[np.ndarray, "width labelling"]) -> tuple[Float[np.ndarray, "labelling"], int]:
    """The largest statistic of each labelling, in deviations over all of them; the width of the first one's largest.

    All labellings, the observed one with them, set the scale: so the permutation test stays exact.
    """
    spread = np.maximum(totals.std(axis=1, keepdims=True), 1e-12)
    scaled = (totals - totals.mean(axis=1, keepdims=True)) / spread
    # Permutations that tie with what was observed are as extreme, even where float32 tells them apart.
    scaled[:, 1:] += 1e-7 / spread
    return scaled.max(axis=0), int(scaled[:, 0].argmax())


def permutation_p_value(statistics: Float[np.ndarray, "labelling"]) -> float:
    """The share of labellings that are at least as extreme as the first."""
    return float((statistics >= statistics[0]).mean())
