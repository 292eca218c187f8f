"""What every corrector and every interval promises, on samples that nobody would choose.

Shares of classes lie in [0, 1] and sum to 1; weights are at least 0 and of mean 1 over the source; an interval holds
its estimate. `mlplab.stats` asserts it wherever such a result is made: here results are made of the worst samples.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import Correction, corrected
from mlplab.shift.doubly_robust import doubly_robust_risk
from mlplab.shift.kliep import KLIEP
from mlplab.shift.kmm import KMM
from mlplab.shift.label_correctors import BBSE, LabelShiftEM
from mlplab.shift.label_shift import LabelShift, bbse, em
from mlplab.shift.least_squares import RULSIF, ULSIF
from mlplab.shift.risk import weighted_risk

METHODS = {
    "bbse": bbse,
    "em": lambda *samples: em(*samples, num_resamples=3),
    "em, uncalibrated": lambda *samples: em(*samples, calibrate=False, num_resamples=5),
}
RATIOS = [ULSIF(), RULSIF(), KLIEP(), KMM(), ClassifierWeights("logistic"), ClassifierWeights("boosting")]
# Exact 0 and 1, ties, and numbers that lie far apart: of these rows are made.
CHANCES = st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1e-9, 1 / 3, 0.999]) | st.floats(0, 1)
quick = settings(max_examples=40, derandomize=True, deadline=None)


@st.composite
def predictions(draw, num_classes: int, num_rows: int) -> np.ndarray:
    if draw(st.booleans()):  # constant: the classifier has learnt nothing
        rows = [draw(st.lists(CHANCES, min_size=num_classes, max_size=num_classes))] * num_rows
    else:
        row = st.lists(CHANCES, min_size=num_classes, max_size=num_classes)
        rows = draw(st.lists(row, min_size=num_rows, max_size=num_rows))
    scores = np.array(rows, dtype=np.float64)
    scores[scores.sum(axis=1) == 0, 0] = 1.0
    return scores


@st.composite
def label_samples(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    num_classes = draw(st.integers(2, 4))
    labels = [*range(num_classes), *draw(st.lists(st.integers(0, num_classes - 1), max_size=6))]
    source = draw(predictions(num_classes, len(labels)))
    return source, np.array(labels), draw(predictions(num_classes, draw(st.integers(2, 6))))


def keeps_its_promises(shift: LabelShift) -> None:
    table = shift.table()
    assert table["target_share"].between(0, 1 + 1e-9).all()
    assert table["target_share"].sum() == pytest.approx(1)
    assert (table["weight"] >= 0).all()
    assert shift.weights @ shift.source_shares == pytest.approx(1)
    for name, estimate in (("share", "target_share"), ("weight", "weight")):
        assert (table[f"{name}_low"] <= table[estimate] + 1e-9).all()
        assert (table[estimate] <= table[f"{name}_high"] + 1e-9).all()


@pytest.mark.parametrize("name", METHODS)
@given(samples=label_samples())
@quick
def test_shares_are_shares_whatever_the_classifier_says(name, samples):
    try:
        found = METHODS[name](*samples)
    except InvalidInput:
        assert name == "bbse"  # where no weights lead from the source's predictions to the target's
    else:
        keeps_its_promises(found)


def test_uncalibrated_shares_are_shares_where_the_classifier_is_biased():
    """Here they summed to 1.9, and an interval ended below its estimate."""
    stream, source = Stream(0, "data"), np.array([0.45, 0.45, 0.1])
    y = np.searchsorted(source.cumsum(), stream.uniform(2_000)).clip(max=2)
    tilted = np.exp(1.5 * np.eye(3)[y] + stream.normal((2_000, 3)) + [1.0, 1.0, -2.0])
    target = np.exp(1.5 * np.eye(3)[2] + stream.normal((500, 3)) + [1.0, 1.0, -2.0])
    found = em(tilted, y, target, calibrate=False, num_resamples=5)
    keeps_its_promises(found)
    assert found.target_shares.argmax() == 2


@pytest.mark.parametrize(
    "corrector", [BBSE(folds=2), LabelShiftEM(folds=2, calibrate=False, num_resamples=2)]
)
def test_a_class_that_is_gone_from_the_target_leaves_weights_of_mean_one(corrector):
    x = np.repeat([0.0, 5.0, 10.0], 6)[:, None] + 0.1 * Stream(0, "data").normal((18, 1))
    found = corrector.fit(x, np.repeat([0, 1, 2], 6), x[:6])
    keeps_its_promises(found.shift_)
    assert found.weights_.mean() == pytest.approx(1)
    np.testing.assert_allclose(found.predict_proba(x).sum(axis=1), 1)


EXTREME = st.sampled_from([0.0, 5e-324, 1e-320, 1e-200, 1.0, 1.0, 1e9, 1e100])


@given(ratios=st.lists(EXTREME, min_size=1, max_size=12), clip=st.sampled_from([None, 0.1, 3.0]))
@quick
def test_ratios_of_any_size_become_weights_of_mean_one(ratios, clip):
    if not any(ratios):
        with pytest.raises(InvalidInput, match="no source row"):
            corrected(np.array(ratios), "known")
        return
    found = corrected(np.array(ratios), "known", clip=clip)
    assert found.weights.mean() == pytest.approx(1)
    assert found.weights.min() >= 0
    assert 1 - 1e-9 <= found.effective_sample_size <= len(ratios) * (1 + 1e-9)


SAMPLES = {
    "two rows": (np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])),
    "all equal": (np.zeros((6, 2)), np.zeros((5, 2))),
    "ties": (np.repeat([[0.0], [1.0]], 5, axis=0), np.repeat([[1.0], [2.0]], 5, axis=0)),
    "apart": (np.arange(12.0)[:, None], 1e6 + np.arange(12.0)[:, None]),
    "one far": (np.r_[np.arange(11.0), 1e9][:, None], np.arange(12.0)[:, None]),
}


@pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize(
    "estimator", RATIOS, ids=lambda one: f"{type(one).__name__}{one.get_params().get('classifier', '')}"
)
def test_weights_are_of_mean_one_or_refused(estimator, samples):
    try:
        found = estimator.fit(*samples)
    except InvalidInput:
        return
    assert found.weights_.mean() == pytest.approx(1)
    assert found.weights_.min() >= 0
    losses = np.arange(len(samples[0]), dtype=np.float64)
    robust = doubly_robust_risk(found, *samples, losses, regressor=LinearRegression())
    for risk in (found.correction_.risk(losses), robust):
        assert holds_its_estimate(risk.corrected)


def holds_its_estimate(interval: stats.Interval) -> bool:
    low = -math.inf if interval.ci_low is None else interval.ci_low
    high = math.inf if interval.ci_high is None else interval.ci_high
    return low <= interval.estimate <= high


@given(
    rows=st.lists(
        st.tuples(EXTREME, st.sampled_from([0.0, 1.0, -3.0, 1e6]) | st.floats(-9, 9)), min_size=2, max_size=9
    ),
    ci_prob=st.sampled_from([0.01, 0.1, 0.5, 0.95, 0.9999]),
)
@quick
def test_an_interval_of_a_risk_holds_its_estimate(rows, ci_prob):
    weights, losses = np.array(rows).T
    if not weights.any():
        return
    risk = weighted_risk(weights, losses, ci_prob=ci_prob)
    for interval in (risk.corrected, risk.uncorrected, risk.difference):
        assert holds_its_estimate(interval)


@given(
    x=st.lists(st.sampled_from([0.0, 1.0, 1e-300, 1e140, -1e140]) | st.floats(-9, 9), min_size=2, max_size=9),
    alpha=st.sampled_from([1e-12, 0.05, 0.49]),
)
@quick
def test_an_interval_of_differences_holds_its_estimate(x, alpha):
    found = stats.paired(x, claim="different", margin=1.0, alpha=alpha)
    assert holds_its_estimate(found)
    assert holds_its_estimate(stats.mean_interval(x, ci_prob=1 - alpha))
    assert holds_its_estimate(stats.resampled_interval(x, test_train_ratio=0.25, ci_prob=1 - alpha))
    assert holds_its_estimate(stats.two_sample(x, x[::-1][:2], alpha=alpha))


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([1e-9, 0.5, 0.95, 1 - 1e-9]))
@quick
def test_an_interval_of_a_share_holds_it_and_lies_within_0_and_1(one, other, ci_prob):
    if not max(one, other):
        return
    found = stats.proportion_interval(min(one, other), max(one, other), ci_prob=ci_prob)
    assert 0 <= found.ci_low <= found.estimate <= found.ci_high <= 1


@pytest.mark.parametrize(
    "falsehood",
    [
        lambda: stats.Interval(1.2, 0.1, 1.3, 1.4, 0.95, "t", 5),
        lambda: stats.Interval(1.2, 0.1, None, 1.1, 0.95, "t", 5),
        lambda: stats.Interval(math.nan, 0.1, 1.0, 1.4, 0.95, "t", 5),
        lambda: stats.assert_shares(np.array([0.6, 0.6])),
        lambda: stats.assert_shares(np.array([1.2, -0.2])),
        lambda: Correction(np.array([1.0, 2.0]), "known"),
        lambda: Correction(np.array([3.0, -1.0]), "known"),
        lambda: Correction(np.array([np.nan, 1.0]), "known"),
    ],
)
def test_what_breaks_a_promise_is_not_made(falsehood):
    with pytest.raises(AssertionError):
        falsehood()
