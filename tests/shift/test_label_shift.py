"""Label shift: shares of classes are found from predictions alone, with intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlplab.errors import InvalidInput
from mlplab.rng import Stream
from mlplab.shift.label_correctors import BBSE, LabelShiftEM
from mlplab.shift.label_shift import bbse, em
from mlplab.shift.temperature import fit_temperature
from mlplab.stats import proportion_interval

SOURCE = np.array([0.4, 0.3, 0.2, 0.1])
TARGET = np.array([0.1, 0.2, 0.3, 0.4])
BOTH = {"bbse": bbse, "em": lambda *samples: em(*samples, num_resamples=20)}


def sample(num: int, shares: np.ndarray, seed: int, apart: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Rows (num, class) about their class's corner, and the classes."""
    stream = Stream(seed, "data")
    y = np.searchsorted(np.cumsum(shares), stream.uniform(num)).clip(max=len(shares) - 1)
    return apart * np.eye(len(shares))[y] + stream.normal((num, len(shares))), y


def scores(x: np.ndarray, sureness: float = 1.0, apart: float = 1.5) -> np.ndarray:
    """The probabilities of the source, exact where sureness is 1; above, too sure."""
    return softmax(sureness * (apart * x + np.log(SOURCE)), axis=1)


def drawn(num: int, seed: int, sureness: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = sample(num, SOURCE, 2 * seed)
    return scores(x, sureness), y, scores(sample(num, TARGET, 2 * seed + 1)[0], sureness)


@parametrize_with_checks([BBSE(folds=2), LabelShiftEM(folds=2, num_resamples=2)])
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", BOTH)
def test_the_targets_shares_are_found(name):
    found = BOTH[name](*drawn(6_000, seed=1, sureness=2.0))
    np.testing.assert_allclose(found.target_shares, TARGET, atol=0.03)
    np.testing.assert_allclose(found.weights, TARGET / SOURCE, rtol=0.15)
    assert found.weights @ found.source_shares == pytest.approx(1, abs=0.01)
    assert not found.warnings


@pytest.mark.parametrize("name", BOTH)
def test_without_a_shift_all_weights_are_about_1(name):
    x, y = sample(5_000, SOURCE, 3)
    found = BOTH[name](scores(x), y, scores(sample(5_000, SOURCE, 4)[0]))
    assert np.abs((found.weights - 1) / found.errors).max() < 3.5


def test_uncalibrated_scores_mislead_em_and_calibration_mends_it():
    samples = drawn(5_000, seed=5, sureness=3.0)
    raw, mended = (
        em(*samples, calibrate=calibrate, num_resamples=0).target_shares for calibrate in (False, True)
    )
    assert np.abs(mended - TARGET).max() < 0.03 < np.abs(raw - TARGET).max()


def test_the_temperature_is_found_and_calibrates_in_the_mean():
    x, y = sample(20_000, SOURCE, 6)
    found = fit_temperature(scores(x, 3.0), y)
    assert found.inverse == pytest.approx(1 / 3, rel=0.05)
    np.testing.assert_allclose(found(scores(x, 3.0)).mean(0), np.bincount(y) / len(y), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_intervals_of_shares_and_weights_cover(name):
    hits, repeats = np.zeros(8), 200
    for seed in range(repeats):
        table = BOTH[name](*drawn(1_000, seed=100 + seed, sureness=1.5)).table()
        for place, (what, true) in enumerate((("share", TARGET), ("weight", TARGET / SOURCE))):
            hits[4 * place : 4 * place + 4] += (table[f"{what}_low"] <= true) & (
                true <= table[f"{what}_high"]
            )
    for count in hits:
        # Eight intervals are looked at: each is allowed what one of 1,600 would show by chance.
        assert proportion_interval(int(count), repeats, ci_prob=0.9999).ci_high >= 0.95


def test_an_interval_that_is_half_as_long_does_not_cover():
    hits, repeats = 0, 100
    for seed in range(repeats):
        found = bbse(*drawn(300, seed=400 + seed))
        hits += abs(found.target_shares[3] - TARGET[3]) <= 1.96 * found.share_errors[3] / 2
    assert proportion_interval(hits, repeats).ci_high < 0.95


def test_classes_that_look_alike_are_said():
    x, y = sample(2_000, SOURCE, 7)
    blurred = 0.02 * scores(x) + 0.98 * SOURCE
    assert "indistinct-classes" in bbse(blurred, y, blurred).warnings


@pytest.mark.parametrize("corrector", [BBSE(), LabelShiftEM(num_resamples=0)])
def test_the_corrected_classifier_is_better_on_the_target(corrector):
    x, y = sample(2_000, SOURCE, 8)
    x_target, y_target = sample(2_000, TARGET, 9)
    plain = LogisticRegression(max_iter=1_000).fit(x, y)
    found = corrector.fit(x, y, x_target)
    assert np.mean(found.predict(x_target) == y_target) > np.mean(plain.predict(x_target) == y_target) + 0.03
    again = LogisticRegression(max_iter=1_000).fit(x, y, sample_weight=found.weights_)
    assert np.mean(again.predict(x_target) == y_target) > np.mean(plain.predict(x_target) == y_target) + 0.03
    assert found.correction_.effective_sample_size < 2_000


def test_a_trained_classifier_is_kept_and_follows_each_window():
    x, y = sample(2_000, SOURCE, 10)
    model = FrozenEstimator(LogisticRegression(max_iter=1_000).fit(x, y))
    held_out = sample(2_000, SOURCE, 11)
    found = BBSE(model).fit(*held_out)
    np.testing.assert_array_equal(found.predict(x), model.predict(x))  # no window yet: no shift
    first = found.adapt(sample(1_000, TARGET, 12)[0]).class_weights_
    second = found.adapt(sample(1_000, SOURCE, 13)[0]).class_weights_
    assert first[3] > 2 > 1.3 > second[3]


def test_labels_of_text_stay_text():
    x, y = sample(500, SOURCE, 14)
    names = np.array(["ant", "bee", "cat", "dog"])[y]
    found = BBSE().fit(x, names, sample(500, TARGET, 15)[0])
    assert set(found.predict(x)) <= set(names)
    assert found.shift_.table()["class"].tolist() == ["ant", "bee", "cat", "dog"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scores": np.full((6, 3), 0.3)}, "column for each of 2 classes"),
        ({"scores": np.array([[1.0, np.nan]] * 6)}, "must be probabilities"),
        ({"target_scores": -np.ones((4, 2))}, "must be probabilities"),
        ({"labels": [0, 1]}, "must be one for each of 6 rows"),
        ({"labels": [0, 0, 0, 0, 0, 0], "classes": [0, 1]}, "must hold every class"),
        ({"classes": [3, 4]}, "must be among the classes"),
        ({"ci_prob": 2.0}, "ci_prob"),
    ],
)
def test_what_does_not_fit_is_refused(change, says):
    right = {
        "scores": np.full((6, 2), 0.5),
        "labels": [0, 1, 0, 1, 0, 1],
        "target_scores": np.full((4, 2), 0.5),
    }
    with pytest.raises(InvalidInput, match=says):
        bbse(**(right | change))


def test_a_class_of_one_row_and_a_model_without_probabilities_are_refused():
    from sklearn.svm import LinearSVC

    x = np.arange(8.0)[:, None]
    with pytest.raises(InvalidInput, match="needs 2 rows of each class"):
        BBSE().fit(x, [0, 0, 0, 0, 0, 0, 0, 1])
    with pytest.raises(InvalidInput, match="must have predict_proba"):
        BBSE(LinearSVC()).fit(x, [0, 0, 0, 0, 1, 1, 1, 1])
