"""What the answers on house prices compute by hand agrees with a maintained implementation, or with its definition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from mlplab.answers import Lab, ours
from mlplab.data.drawn_houses import NOISE_STD

q3 = ours().exercise("4.10.3").module
q4 = ours().exercise("4.10.4").module
q6 = ours().exercise("4.10.6").module
h = ours().module("houses")


@pytest.fixture(scope="module")
def houses() -> h.Houses:
    return h.load(Lab("quick"))


def test_every_candidate_of_4_10_4_is_scikit_learns_kernel_ridge(houses: h.Houses) -> None:
    split = q4.Split(houses, np.arange(60), [np.arange(60, 90), np.arange(90, 200)])
    (scored, left), mean = split.losses(), split.y.mean()
    assert len(scored) == q4.MOST
    shape = (q4.SUBSETS, len(q4.WIDTHS), len(q4.STRENGTHS))
    for at in (0, 7, 83, q4.MOST - 1):
        subset, width, strength = np.unravel_index(at, shape)
        columns = split.subsets[subset]
        model = KernelRidge(alpha=q4.STRENGTHS[strength], kernel="rbf", gamma=q4.WIDTHS[width])
        model.fit(split.x[:, columns], split.y - mean)
        for found, x, y in zip((scored, left), split.others, split.targets, strict=True):
            expected = np.mean((mean + model.predict(x[:, columns]) - y) ** 2)
            assert found[at] == pytest.approx(expected, rel=1e-6)


def test_small_tables_are_encoded_as_every_table_is(houses: h.Houses) -> None:
    rows, other = np.arange(0, 240, 4), np.arange(300, 390)
    split, expected = q4.Split(houses, rows, [other]), h.encoded(houses, rows, [rows, other])
    for found, x in zip((split.x, split.others[0]), expected, strict=True):
        assert found.shape == x.shape
        # Which column stands where is no matter; distances are all that a kernel sees.
        np.testing.assert_allclose(found @ split.x.T, x @ expected[0].T, atol=1e-9)


def test_a_subset_takes_all_columns_of_a_category_or_none(houses: h.Houses) -> None:
    whole, *halves = q4.Split(houses, np.arange(60), []).subsets
    assert len(whole) > 30
    assert all(0 < len(half) < len(whole) for half in halves)
    assert len({tuple(half) for half in halves}) == len(halves)


def test_a_column_that_is_the_sum_of_others_is_left_out() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    kept = q6.independent(np.column_stack([x, x[:, 0] + x[:, 2], 3 * x[:, 1] + 1]))
    assert len(kept) == 4
    assert np.linalg.matrix_rank(np.column_stack([x, x[:, 0] + x[:, 2], 3 * x[:, 1] + 1])[:, kept]) == 4


def test_own_units_and_standardised_numbers_are_the_same_houses(houses: h.Houses) -> None:
    raw, scaled = q6.both_units(houses, 1)
    numbers = len(houses.columns.numeric)
    rows = raw.train_x[raw.trained][:, :numbers]
    again = (rows - rows.mean(0)) / rows.std(0)
    # Gaps count in the spread here and not there: only columns without them are the same.
    whole = ~houses.table[list(houses.columns.numeric)].isna().any().to_numpy()
    np.testing.assert_allclose(
        again[:, whole], scaled.train_x[scaled.trained][:, :numbers][:, whole], atol=1e-9
    )
    assert np.array_equal(raw.train_x[:, numbers:], scaled.train_x[:, numbers:])


@pytest.mark.parametrize("way", list(q3.WAYS))
def test_no_way_to_fill_a_gap_looks_into_it(way: str) -> None:
    x1, x2, y, noise = np.random.default_rng(1).normal(size=(4, 80))
    lost = x2 > 0.3
    spoilt = np.where(lost, 1e6, x1)
    for one, other in zip(
        q3.complete(way, x1, x2, y, lost, noise), q3.complete(way, spoilt, x2, y, lost, noise), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_no_model_scores_below_the_noise_of_the_drawn_table(houses: h.Houses) -> None:
    folds = [h.fold(houses, number) for number in range(h.NUM_FOLDS)]
    scores = [fold.score(h.ridge(fold.train_x, fold.train_y).predict(fold.held_x)) for fold in folds]
    assert np.sqrt(np.mean(np.square(scores))) > 0.95 * NOISE_STD  # 600 houses: 3% by chance
    assert np.mean(scores) < 1.2 * NOISE_STD
