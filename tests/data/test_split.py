from __future__ import annotations

import numpy as np
import pytest

from mlplab.data.split import random_split, stratified_split
from mlplab.rng import Stream


@pytest.mark.parametrize(
    "counts", [(500,) * 10, (178, 182, 177, 183, 181, 182, 181, 179, 174, 180), (3, 1000, 7)]
)
@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.5, 0.5), (0.98, 0.01, 0.01)])
def test_each_row_goes_to_one_part_and_each_class_gets_its_share(
    counts: tuple[int, ...], shares: tuple[float, ...]
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)[Stream(5, "data").permutation(sum(counts))]
    sizes = [round(share * len(labels)) for share in shares]
    sizes[0] += len(labels) - sum(sizes)
    parts = stratified_split(labels, sizes)
    assert [len(rows) for rows in parts] == sizes
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for rows, size in zip(parts, sizes, strict=True):
        exact = np.array(counts) * size / len(labels)
        assert np.abs(np.bincount(labels[rows], minlength=len(counts)) - exact).max() <= 2


def test_whole_shares_are_exact() -> None:
    labels = np.arange(5000) % 10
    for rows, share in zip(stratified_split(labels, [3500, 500, 1000]), [350, 50, 100], strict=True):
        assert (np.bincount(labels[rows]) == share).all()


def test_no_part_is_in_the_order_of_classes_or_rows() -> None:
    labels = np.repeat(np.arange(10), 100)
    for rows in stratified_split(labels, [600, 200, 200]):
        assert len(np.unique(labels[rows[:100]])) == 10
        assert abs(np.corrcoef(np.arange(len(rows)), rows)[0, 1]) < 0.25  # 3.5 standard errors at 200 rows


def test_random_split_deals_every_row_once() -> None:
    parts = random_split(1460, [1000, 230, 230])
    assert [len(rows) for rows in parts] == [1000, 230, 230]
    assert sorted(np.concatenate(parts)) == list(range(1460))


def test_the_split_never_changes() -> None:
    # Published results name these rows.
    assert random_split(10, [6, 4])[1].tolist() == [8, 3, 1, 6]
    assert stratified_split(np.arange(12) % 3, [6, 3, 3])[2].tolist() == [10, 11, 3]
