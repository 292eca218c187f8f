"""What every detector promises: scikit-learn's conventions, a level that holds, shifts that are found and named."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlplab.errors import InvalidInput, UnknownName
from mlplab.rng import Stream
from mlplab.shift import BBSDDetector, C2STDetector, DataWarning, FeatureDetector, MMDDetector, mmd
from mlplab.shift.by_feature import ks_p_values, table_p_value
from mlplab.shift.distances import energy, kolmogorov_smirnov
from mlplab.shift.logistic import fit_together
from mlplab.shift.mmd import (
    gaussian_kernel,
    in_deviations,
    median_distance,
    mmd2,
    permutation_p_value,
    permuted,
    squared_distances,
)  # fmt: skip

from .samples import mixed, normal

DETECTORS = {
    "C2ST trees": C2STDetector(),
    "C2ST logistic": C2STDetector("logistic"),
    "C2ST mlp": C2STDetector("mlp"),
    "C2ST refit": C2STDetector("logistic", null="refit", num_permutations=19, num_folds=2),
    "MMD": MMDDetector(num_permutations=99),
    "features": FeatureDetector(),
}
ALL = DETECTORS | {"BBSD classes": BBSDDetector(), "BBSD scores": BBSDDetector(on="scores")}


@parametrize_with_checks(
    [C2STDetector("logistic"), MMDDetector(), FeatureDetector(), BBSDDetector(), BBSDDetector(on="scores")]
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([C2STDetector(), C2STDetector("mlp"), C2STDetector("logistic", null="refit")])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass_for_dearer_options(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_shift_of_a_mixed_table_is_found_and_its_column_named(name: str):
    found = clone(DETECTORS[name]).fit(mixed(200)).test(mixed(180, seed=1, shift=1.5))
    assert found.is_shift
    assert found.decision == "shift"
    assert found.drivers[0].name == "age"
    assert (found.num_reference, found.num_current) == (200, 180)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_seed_gives_the_same_answer_and_rows_may_come_in_any_column_order(name: str):
    before, now = mixed(60), mixed(50, seed=1)
    detector = clone(DETECTORS[name]).fit(before)
    first = detector.test(now)
    assert detector.test(now) == first
    assert detector.test(now[now.columns[::-1]]).p_value == first.p_value


@pytest.mark.parametrize("name", ALL)
def test_a_result_is_told_as_table_json_and_picture(name: str):
    found = clone(ALL[name]).fit(normal(60, 4)).test(normal(50, 4, seed=1, shift=1))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["p_value"] == found.p_value
    assert told["decision"] == found.decision
    assert list(found.table()["quantity"])[:3] == ["detector", "decision", "p-value"]
    assert len(found.driver_table()) == len(found.drivers) > 0
    assert found.plot().to_dict()["hconcat"]


@pytest.mark.parametrize("name", DETECTORS)
def test_images_are_compared_pixel_by_pixel(name: str):
    """A bright spot at [2, 3] is what drives it."""
    before, now = (Stream(seed, "data").uniform((80, 5, 4)).astype(np.float32) for seed in (0, 1))
    now[:, 2, 3] += 1
    found = clone(DETECTORS[name]).fit(before).test(now)
    assert found.is_shift
    assert found.drivers[0].name == "x[2,3]"


def test_a_permutation_p_value_is_never_below_one_over_permutations_plus_one():
    far = normal(100, 3, seed=1, shift=50)
    assert MMDDetector(num_permutations=99).fit(normal(100, 3)).test(far).p_value == 1 / 100
    refit = C2STDetector("logistic", null="refit", num_permutations=19, num_folds=2)
    assert refit.fit(normal(40, 3)).test(far[:40]).p_value == 1 / 20


def test_a_missing_class_is_found_with_p_below_one_in_a_million():
    """Issue's line: n = 1,000, one class of ten absent from the target altogether, a model that is right in 80%."""
    classes = np.arange(2_000) % 10
    right = Stream(0, "data").uniform(2_000) < 0.8
    other = (classes + 1 + (9 * Stream(1, "data").uniform(2_000)).astype(int)) % 10
    predicted = np.where(right, classes, other)
    reference, rest = predicted[:1_000], predicted[1_000:]
    current = np.resize(rest[classes[1_000:] != 3], 1_000)
    found = BBSDDetector().fit(reference[:, None]).test(current[:, None])
    assert found.p_value < 1e-6
    assert found.drivers[0].name == "3"
    assert found.drivers[0].score < -0.05


def test_bbsd_asks_a_model_for_classes_or_scores():
    x, y = normal(400, 2), (normal(400, 2)[:, 0] > 0).astype(int)
    model = LogisticRegression().fit(x[:200], y[:200])
    tilted = x[200:][np.resize(np.flatnonzero(y[200:] == 1), 150)]
    tilted = tilted + 1e-9 * normal(150, 2, seed=3)
    for on in ("classes", "scores"):
        detector = BBSDDetector(model, on=on).fit(x[200:])
        assert detector.test(tilted).is_shift
        assert not detector.test(normal(150, 2, seed=5)).is_shift


# --- the parts, beside SciPy and plain loops ---------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(50, 50), (30, 47), (7, 200)])
def test_ks_is_scipys(n: int, m: int):
    values = np.round(normal(n + m, 6), 1)  # rounded: ties
    side = np.repeat([False, True], [n, m])
    distance, distinct = kolmogorov_smirnov(values, side)
    p = ks_p_values(distance, values, side)
    for column in range(6):
        theirs = stats.ks_2samp(values[:n, column], values[n:, column], method="exact")
        assert distance[column] == pytest.approx(theirs.statistic, abs=1e-12)
        assert p[column] == pytest.approx(theirs.pvalue, rel=1e-9)
        assert distinct[column] == len(np.unique(values[:, column]))


@pytest.mark.parametrize(("rows", "columns"), [(60, 2), (60, 80)])
def test_regressions_fitted_together_are_scikit_learns(rows: int, columns: int):
    points, draw = 2 * normal(rows, columns), Stream(1, "data")
    labels, taught = draw.uniform((6, rows)) < 0.5, draw.uniform((6, rows)) < 0.8
    found = fit_together(points, taught, labels)
    for each, label, rows_taught in zip(found, labels, taught, strict=True):
        theirs = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1_000)
        theirs.fit(points[rows_taught], label[rows_taught])
        np.testing.assert_allclose(each, np.r_[theirs.coef_[0], theirs.intercept_], atol=1e-6)


def test_refits_together_or_one_by_one_say_the_same(monkeypatch):
    before, now = normal(30, 3), normal(30, 3, seed=1, shift=0.5)
    detector = C2STDetector("logistic", null="refit", num_permutations=99, num_folds=3).fit(before)
    together = detector.test(now)
    monkeypatch.setattr("mlplab.shift.logistic.MOST_CELLS", 0)
    alone = detector.test(now)
    assert together.statistic == pytest.approx(alone.statistic, abs=0.005)
    assert together.p_value == pytest.approx(alone.p_value, abs=0.03)


def test_energy_distance_is_scipys():
    values, side = normal(90, 3), np.repeat([False, True], [50, 40])
    theirs = [stats.energy_distance(values[:50, k], values[50:, k]) ** 2 for k in range(3)]
    np.testing.assert_allclose(energy(values, side), theirs, rtol=1e-10)


def test_mmd_is_its_definition():
    points = normal(30, 2).astype(np.float32)
    labels = np.arange(30) % 3 == 0
    k = np.exp(-((points[:, None] - points) ** 2).sum(-1) / (2 * 1.5**2))
    x, y = ~labels, labels
    n, m = x.sum(), y.sum()
    expected = (
        (k[np.ix_(x, x)].sum() - n) / (n * (n - 1))
        + (k[np.ix_(y, y)].sum() - m) / (m * (m - 1))
        - 2 * k[np.ix_(x, y)].mean()
    )
    assert mmd2(gaussian_kernel(squared_distances(points), 1.5), labels[None])[0] == pytest.approx(
        expected, abs=1e-6
    )


def test_kernels_of_three_widths_see_spreads_that_a_wide_one_misses():
    """Of 30 samples whose spread grew by a sixth."""
    found = {"three": 0, "wide": 0}
    for seed in range(30):
        points = Stream(seed, "data").normal((200, 10))
        points[100:] *= 7 / 6
        width = median_distance(points.astype(np.float32), Stream(seed, "split"))
        for name, bandwidth in (("three", None), ("wide", width)):
            detector = MMDDetector(bandwidth=bandwidth, num_permutations=99, num_drivers=0, seed=seed)
            found[name] += detector.fit(points[:100]).test(points[100:]).is_shift
    assert found["three"] >= 20
    assert found["wide"] <= 15


def test_one_kernel_is_the_plain_permutation_test():
    totals = np.random.default_rng(0).normal(size=(1, 100))
    statistics, place = in_deviations(totals)
    assert place == 0
    assert permutation_p_value(statistics) == (totals[0] >= totals[0, 0]).mean()
    tied = np.ones((2, 100))
    assert permutation_p_value(in_deviations(tied)[0]) == 1


def test_permutations_keep_the_sizes_and_are_uniform():
    labels = np.arange(10) < 3
    drawn = permuted(labels, 5_000, Stream(0, "order"))
    assert (drawn.sum(axis=1) == 3).all()
    assert stats.chisquare(drawn.sum(axis=0)).pvalue > 1e-4


def test_small_tables_are_drawn_and_large_ones_follow_chi_squared():
    rng = np.random.default_rng(0)
    large = np.array([[30, 50, 70], [50, 60, 40]])
    assert table_p_value(large, rng) == stats.chi2_contingency(large, correction=False).pvalue
    assert table_p_value(np.array([[3, 1], [1, 3]]), rng) == stats.fisher_exact([[3, 1], [1, 3]]).pvalue
    wide = np.array([[9_000, 9_200], [9_150, 9_000]])
    assert table_p_value(wide, rng) == pytest.approx(stats.fisher_exact(wide).pvalue, rel=1e-3)
    small = np.array([[4, 0, 3, 1], [0, 5, 1, 4]])
    exact = stats.chi2_contingency(
        small, correction=False, method=stats.PermutationMethod(n_resamples=5_000, rng=rng)
    )
    assert table_p_value(small, rng) == pytest.approx(exact.pvalue, abs=0.02)
    assert table_p_value(np.array([[20, 0, 0, 0], [0, 9, 9, 2]]), rng) == 1 / 10_000


def test_two_by_two_tables_keep_the_level_where_chi_squared_does_not():
    """Added up over every table that 50 + 50 rows of two even categories can give."""
    rng, size, chi_squared = np.random.default_rng(0), 0.0, 0.0
    chance = stats.binom.pmf(np.arange(51), 50, 0.5)
    for one, other in itertools.combinations(range(12, 39), 2):  # equal counts are never rejected
        table = np.array([[one, 50 - one], [other, 50 - other]])
        share = 2 * chance[one] * chance[other]
        size += share * (table_p_value(table, rng) <= 0.05)
        chi_squared += share * (stats.chi2_contingency(table, correction=False).pvalue <= 0.05)
    assert 0.03 < size <= 0.05
    assert chi_squared > 0.055


@pytest.mark.slow
def test_blocks_bound_the_memory_and_keep_the_level_exact(monkeypatch):
    """Small blocks in place of large ones: the same code. Rejections at level .2 over 400 repeats."""
    from mlplab.shift import mmd

    monkeypatch.setattr(mmd, "WHOLE", 60)
    monkeypatch.setattr(mmd, "BLOCK_ROWS", 40)
    detector = MMDDetector(num_permutations=19, alpha=0.2, num_drivers=0)
    alarms = sum(
        detector.fit(normal(100, 2, seed)).test(normal(60, 2, 1_000 + seed)).is_shift for seed in range(400)
    )
    assert stats.binomtest(alarms, 400, 0.2).pvalue > 1e-3
    found = detector.fit(normal(300, 2)).test(normal(100, 2, 1, shift=1))
    assert found.is_shift
    assert "10 blocks" in found.method
    with pytest.warns(DataWarning, match=r"\[sampled\] MMD looks at 200 of 900 reference rows"):
        detector.fit(normal(900, 2)).test(normal(10, 2, 1))


def test_own_classifiers_take_part():
    found = C2STDetector(GaussianNB()).fit(normal(100, 3)).test(normal(100, 3, 1, shift=2))
    assert found.is_shift
    assert "GaussianNB" in found.method
    forest = RandomForestClassifier(10, random_state=0)
    assert C2STDetector(forest).fit(normal(100, 3)).test(normal(100, 3, 1, shift=2)).is_shift


# --- power -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "detector",
    [C2STDetector("logistic", num_drivers=0), MMDDetector(num_permutations=99), FeatureDetector()],
    ids=["C2ST", "MMD", "features"],
)
def test_the_smallest_shift_that_it_would_find_is_found_four_times_in_five(detector):
    """In one dimension, where a shift along the first direction and the AUC of the best classifier are known."""
    n, repeats = 150, 200
    promised = detector.fit(normal(n, 1)).test(normal(n, 1, 1)).power
    shift = promised.smallest
    if promised.measure.startswith("AUC"):
        shift = np.sqrt(2) * stats.norm.ppf(promised.smallest)
    found = 0
    for seed in range(repeats):
        before, now = normal(n, 1, 2 * seed), normal(n, 1, 2 * seed + 1, shift=shift)
        found += detector.fit(before).test(now).is_shift
    low, high = stats.binomtest(found, repeats).proportion_ci(0.999)
    assert low < 0.87, found
    assert high > 0.73, found


# --- many windows ------------------------------------------------------------------------------------------


def test_windows_share_one_level():
    detector = FeatureDetector().fit(normal(300, 3))
    windows = [normal(100, 3, seed) for seed in range(1, 9)] + [normal(100, 3, 9, shift=1)]
    found = detector.test_windows(windows, [f"day {k}" for k in range(9)])
    assert found.shifted == ("day 8",)
    assert found.is_shift
    assert found.p_values[8] == pytest.approx(9 * found.results[8].p_value)
    assert list(found.table()["window"]) == list(found.names)
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert found.plot().to_dict()["layer"]


@pytest.mark.slow
def test_windows_raise_no_more_false_alarms_than_alpha_together():
    """300 repeats of 5 windows at 20% in all; without Holm 1 - .8^5 = 67% would alarm."""
    detector = FeatureDetector(alpha=0.2, num_drivers=0)
    alarms = plain = 0
    for seed in range(300):
        windows = [normal(40, 1, 10_000 + 5 * seed + k) for k in range(5)]
        found = detector.fit(normal(40, 1, seed)).test_windows(windows)
        alarms += found.is_shift
        plain += any(result.is_shift for result in found.results)
    assert stats.binomtest(alarms, 300, 0.2, alternative="greater").pvalue > 1e-3
    assert plain > 0.35 * 300  # the control: what would happen without


def test_a_monitor_spends_alpha_over_all_time():
    detector = FeatureDetector().fit(normal(200, 2))
    found = list(detector.monitor(normal(100, 2, seed, shift=2.0 * (seed == 5)) for seed in range(1, 6)))
    assert [result.is_shift for result in found] == [False] * 4 + [True]
    levels = [result.alpha for result in found]
    assert levels[0] == pytest.approx(0.05 * 6 / np.pi**2)
    assert sum(levels) < 0.05
    scarce = MMDDetector(num_permutations=99).fit(normal(50, 2))
    with pytest.raises(InvalidInput, match=r"must be at least 131 to reach a level of 0\.0076"):
        list(scarce.monitor(normal(50, 2, seed) for seed in range(1, 4)))
    with pytest.raises(InvalidInput, match="must be at least 199 to reach a level"):
        scarce.test_windows([normal(50, 2)] * 10)


def test_permutations_are_judged_alike_however_many_are_judged_together(monkeypatch):
    points, labels = normal(40, 2), np.arange(40) < 15
    drawn = permuted(labels, 20, Stream(0, "order"))
    kernel = gaussian_kernel(squared_distances(points), 1.0)
    found = mmd2(kernel, drawn)
    monkeypatch.setattr(mmd, "TOGETHER", 7)
    np.testing.assert_array_equal(permuted(labels, 20, Stream(0, "order")), drawn)
    # Another sum of products in float32.
    np.testing.assert_allclose(mmd2(kernel, drawn), found, atol=1e-6)


# --- options -----------------------------------------------------------------------------------------------

BAD = {
    "alpha": (C2STDetector(alpha=1.0), r"C2STDetector.alpha must be in \(0, 1\); got 1.0. 0.05 is usual"),
    "classifier": (C2STDetector("logistik"), "C2STDetector.classifier must be one of .* mean 'logistic'"),
    "no classifier": (C2STDetector(3), "must be one of 'gradient_boosting', .* got 3"),
    "null": (C2STDetector(null="permute"), "C2STDetector.null must be one of 'held-out', 'refit'"),
    "few": (MMDDetector(num_permutations=9), "must be at least 19 to reach a level of 0.05; got 9"),
    "tiny alpha": (
        MMDDetector(alpha=1e-9),
        "MMDDetector.alpha must leave each test a level of at least 1e-05",
    ),
    "many": (
        MMDDetector(num_permutations=10**9, alpha=1e-9),
        "num_permutations must be at most 100,000; got 1000000000. A permutation p-value is never below",
    ),
    "many refits": (
        C2STDetector("logistic", null="refit", num_permutations=10**9),
        "C2STDetector.num_permutations must be at most 100,000",
    ),
    "bandwidth": (
        MMDDetector(bandwidth=-1),
        "MMDDetector.bandwidth must be a positive number, or None; got -1",
    ),
    "drivers": (FeatureDetector(num_drivers=-1), "must be a whole number, at least 0; got -1"),
    "on": (BBSDDetector(on="labels"), "BBSDDetector.on must be one of 'classes', 'scores'; got 'labels'"),
    "model": (BBSDDetector(object()), "BBSDDetector.model must have predict_proba or predict"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_option_is_refused_when_fitted(name: str):
    detector, message = BAD[name]
    with pytest.raises((InvalidInput, UnknownName), match=message):
        detector.fit(normal(20, 2))


def test_no_oddity_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for detector in DETECTORS.values():
            clone(detector).fit(mixed(60)).test(mixed(60, seed=1))
        assert isinstance(mixed(8), pd.DataFrame)
