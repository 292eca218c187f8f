"""P-values of many repeats together: those of the detectors on the same seeds, to which a test holds them.

A detector also draws pictures, ranks features and works out power, and each of its networks is trained alone. A count
of false alarms wants p-values only: what is left is done here with the detectors' own parts, for many repeats at once.
Nor does it want to know by how much a p-value is above the level: permutations that are dear end once it surely is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlplab import stats
from mlplab.rng import Stream
from mlplab.shift import distances, encoding
from mlplab.shift.by_feature import ks_p_values, table_p_value
from mlplab.shift.c2st import folds_of, out_of_fold, rank_p_value, refit_labels, refit_p_value
from mlplab.shift.classifiers import Fit, Scorer, forward, networks
from mlplab.shift.mmd import (
    in_deviations,
    median_widths,
    mmd2_by_width,
    permutation_p_value,
    permuted,
)
from mlplab.shift.tables import Pair
from shift_contenders import ALPHA, NUM_FOLDS, PERMUTATIONS, REFITS

REFITS_AT_ONCE = 4  # the labels and three permutations: half of all tests end there

Draw = tuple[np.ndarray, np.ndarray]  # reference, current: (row, feature) each, in which no value repeats
# Draws of one shape, seeds -> p-values. One above ALPHA may be given as another one above it.
Batch = Callable[[Sequence[Draw], Sequence[int]], list[float]]


def features(draws: Sequence[Draw], seeds: Sequence[int]) -> list[float]:
    """The features of all repeats are the columns of one table."""
    del seeds
    rows, side = np.concatenate([np.concatenate(draw) for draw in draws], axis=1), _side(draws[0])
    distance, _ = distances.kolmogorov_smirnov(rows, side)
    each = ks_p_values(distance, rows, side).reshape(len(draws), -1)
    return [float(stats.holm(p).min()) for p in each]


def classes(draws: Sequence[Draw], seeds: Sequence[int]) -> list[float]:
    found = []
    for draw, seed in zip(draws, seeds, strict=True):
        rows = np.concatenate(draw)
        counts = distances.table_of(rows.argmax(axis=1), _side(draw), rows.shape[1])
        found.append(table_p_value(counts, np.random.Generator(np.random.Philox(key=seed)), enough=ALPHA))
    return found


def mmd(num_permutations: int) -> Batch:
    def p_values(draws: Sequence[Draw], seeds: Sequence[int]) -> list[float]:
        found = []
        for draw, seed in zip(draws, seeds, strict=True):
            points, _ = encoding.dense(_pair(draw))
            side = _side(draw)
            labels = np.concatenate([side[None], permuted(side, num_permutations, Stream(seed, "order"))])
            totals = mmd2_by_width(points, median_widths(points, seed), labels)
            found.append(permutation_p_value(in_deviations(totals)[0]))
        return found

    return p_values


def networks_held_out(draws: Sequence[Draw], seeds: Sequence[int]) -> list[float]:
    taught, judged = [], []
    for draw, seed in zip(draws, seeds, strict=True):
        both = _pair(draw)
        fold = folds_of(both.is_current, 2, Stream(seed, "split"))
        points = encoding.dense(both, np.flatnonzero(fold == 0))[0].astype(np.float32)
        taught.append((points[fold == 0], both.is_current[fold == 0], seed))
        judged.append((points[fold == 1], both.is_current[fold == 1]))
    return [
        rank_p_value(forward(trained, points), side, seed)
        for trained, (points, side), seed in zip(networks(taught), judged, seeds, strict=True)
    ]


def logistic_held_out(draws: Sequence[Draw], seeds: Sequence[int]) -> list[float]:
    found = []
    for draw, seed in zip(draws, seeds, strict=True):
        both = _pair(draw)
        fold = folds_of(both.is_current, 2, Stream(seed, "split"))
        learn, judge = np.flatnonzero(fold == 0), np.flatnonzero(fold == 1)
        scorer = Scorer("logistic", both, learn, seed)
        (score,) = scorer.scores([Fit(learn, both.is_current[learn], judge)])
        found.append(rank_p_value(score, both.is_current[judge], seed))
    return found


def logistic_refits(draws: Sequence[Draw], seeds: Sequence[int]) -> list[float]:
    return [_refit_p_value(_pair(draw), seed) for draw, seed in zip(draws, seeds, strict=True)]


def _refit_p_value(both: Pair, seed: int) -> float:
    scorer = Scorer("logistic", both, np.arange(both.num_rows), seed)
    labels, streams = refit_labels(both.is_current, REFITS, seed)
    areas, p_value = np.empty(0), 0.0
    while p_value <= ALPHA and len(areas) < len(labels):
        part = slice(len(areas), len(areas) + REFITS_AT_ONCE)
        areas = np.append(areas, out_of_fold(scorer, labels[part], streams[part], NUM_FOLDS)[0])
        p_value = refit_p_value(areas, REFITS)
    return p_value


def _side(draw: Draw) -> np.ndarray:
    return np.repeat([False, True], [len(rows) for rows in draw])


def _pair(draw: Draw) -> Pair:
    rows, side = np.concatenate(draw), _side(draw)
    names = tuple(f"x{column}" for column in range(rows.shape[1]))
    return Pair(rows, names, np.empty((len(rows), 0), dtype=np.int32), (), (), side)


BATCHES: dict[str, Batch] = {
    "features": features,
    "BBSD scores": features,  # KS of each score with Holm: the same
    "BBSD classes": classes,
    "MMD": mmd(PERMUTATIONS),
    "C2ST logistic": logistic_held_out,
    "C2ST mlp": networks_held_out,
    "C2ST logistic, refit": logistic_refits,
}
