"""Fixed random splits: the same rows go to the same part on every machine and in every release."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlplab.rng import Stream


def random_split(num_examples: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """The rows of each part, int64, in a random order. `sizes` add up to `num_examples`."""
    assert sum(sizes) == num_examples
    order = Stream(0, "split").permutation(num_examples)
    return np.split(order, np.cumsum(sizes)[:-1])


def stratified_split(labels: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """The rows of each part, int64, in a random order; every class has its share of every part.

    `sizes` are exact and add up to `len(labels)`. A class's count in a part is within two of its exact share,
    and exact where the shares are whole numbers.
    """
    assert sum(sizes) == len(labels)
    order = Stream(0, "split").permutation(len(labels))

    # Classes end to end on a line, each shuffled. Every part but the first picks evenly spaced places of what
    # is left of the line, so it picks its share of every stretch of it.
    line = order[np.argsort(labels[order], kind="stable")]
    part_of_row = np.zeros(len(labels), dtype=np.int64)
    for part in range(1, len(sizes)):
        place = np.arange(len(line))
        taken = (place + 1) * sizes[part] // len(line) > place * sizes[part] // len(line)
        part_of_row[line[taken]] = part
        line = line[~taken]
    return [order[part_of_row[order] == part] for part in range(len(sizes))]
