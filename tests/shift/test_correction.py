"""What weights are worth, what is said against them, and the interval of a corrected risk: calibrated."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import genpareto
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from mlplab.errors import InvalidInput
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import Correction, corrected
from mlplab.shift.doubly_robust import doubly_robust_risk
from mlplab.shift.least_squares import RULSIF
from mlplab.shift.risk import _unskewed, weighted_risk
from mlplab.shift.tail import pareto_k
from mlplab.stats import proportion_interval

from .densities import Shimodaira

COVERAGE = Path(__file__).parents[2] / "benchmarks" / "shift_coverage.py"


def correction_of(weights) -> Correction:
    return corrected(np.asarray(weights, dtype=float), "known")


def losses_of_source_line(problem: Shimodaira) -> np.ndarray:
    intercept, slope = Shimodaira.source_line
    return (problem.y - intercept - slope * problem.source[:, 0]) ** 2


def test_effective_sample_size_of_equal_weights_is_their_number_and_of_one_weight_1():
    assert correction_of(np.full(7, 3.0)).effective_sample_size == pytest.approx(7)
    assert correction_of([0, 0, 5.0, 0]).effective_sample_size == pytest.approx(1)
    assert correction_of([0, 0, 5.0, 0]).largest_share == pytest.approx(1)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_the_shape_of_a_known_tail_is_found(k):
    found = [pareto_k(genpareto(k).ppf(Stream(seed, "data").uniform(4_000))) for seed in range(20)]
    assert np.mean(found) == pytest.approx(k, abs=0.08)


def test_a_tail_is_judged_by_its_shape_not_its_size():
    weights = genpareto(0.4).ppf(Stream(1, "data").uniform(500))
    assert pareto_k(1e6 * weights) == pytest.approx(pareto_k(weights))
    assert pareto_k(np.ones(500)) == -np.inf
    assert pareto_k(np.ones(10)) is None
    assert json.loads(json.dumps(correction_of(np.ones(500)).to_dict(), allow_nan=False))["pareto_k"] is None


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        (np.ones(1_000), set()),
        (np.r_[np.full(990, 1e-3), np.full(10, 1.0)], {"few-rows"}),
        (np.r_[np.ones(200), 60.0], {"one-row"}),
        (genpareto(1.2).ppf((np.arange(5_000) + 0.5) / 5_000), {"heavy-tail"}),
    ],
    ids=["equal", "few", "one", "heavy"],
)
def test_what_speaks_against_weights_is_named(weights, names):
    assert names <= set(correction_of(weights).warnings)
    assert bool(names) == bool(correction_of(weights).warnings)


def test_the_falsehoods_of_overlap():
    ratios = np.linspace(0.5, 1.5, 100)
    assert not corrected(ratios, "known", target_ratios=ratios).warnings
    assert "no-overlap" in corrected(ratios, "known", target_ratios=ratios + 1).warnings
    assert "no-overlap" in corrected(ratios / 10, "known", target_ratios=ratios / 10).warnings


def test_equal_weights_change_no_risk():
    losses = Stream(2, "data").uniform(50)
    risk = weighted_risk(np.ones(50), losses)
    assert risk.corrected.estimate == pytest.approx(losses.mean())
    # Each residual is as if its row had been left out: a factor of √(n/(n-1)) beside the textbook's.
    assert risk.corrected.std_error == pytest.approx(losses.std(ddof=1) / np.sqrt(49))
    assert risk.uncorrected.ci_low < losses.mean() < risk.uncorrected.ci_high
    assert risk.advice != "correct"


def test_weights_count_up_to_a_factor_and_losses_shift_the_risk():
    stream = Stream(3, "data")
    w, losses = stream.uniform(60), stream.uniform(60)
    risk, scaled = weighted_risk(w, losses), weighted_risk(7 * w, 3 * losses + 1)
    assert scaled.corrected.estimate == pytest.approx(3 * risk.corrected.estimate + 1)
    assert scaled.corrected.std_error == pytest.approx(3 * risk.corrected.std_error)


def test_one_row_with_all_the_weight_has_no_interval():
    risk = weighted_risk([0, 0, 1.0], [1.0, 2.0, 3.0])
    assert risk.corrected.ci_high is None
    assert risk.advice == "do not correct"


def test_losses_that_are_all_equal_tell_nothing_of_their_spread():
    """No error in 40 rows does not mean that there is none in the next."""
    risk = weighted_risk(Stream(4, "data").uniform(40), np.zeros(40))
    assert (risk.corrected.estimate, risk.corrected.ci_low, risk.corrected.ci_high) == (0, None, None)
    assert risk.uncorrected.ci_high is None
    assert risk.advice == "undecided"


def test_the_interval_leans_to_the_side_of_the_large_losses_and_to_none_where_there_are_none():
    straight = weighted_risk(np.ones(40), np.arange(40.0)).corrected
    assert straight.ci_high - straight.estimate == pytest.approx(straight.estimate - straight.ci_low)
    right = weighted_risk(np.ones(40), np.exp(np.arange(40.0) / 8)).corrected
    assert right.ci_high - right.estimate > 1.2 * (right.estimate - right.ci_low)
    left = weighted_risk(np.ones(40), -np.exp(np.arange(40.0) / 8)).corrected
    assert (left.ci_low, left.ci_high) == pytest.approx((-right.ci_high, -right.ci_low))


@pytest.mark.parametrize("skewness", [-1.0, -0.3, 1e-9, 0.4, 1.0])
@pytest.mark.parametrize("quantile", [-4.0, -2.0, 0.0, 2.0, 4.0])
def test_halls_cubic_is_solved(skewness: float, quantile: float):
    t = _unskewed(quantile, skewness)
    assert t + skewness * (2 * t**2 + 1) / 6 + skewness**2 * t**3 / 27 == pytest.approx(quantile, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Shimodaira", "errors", "apart"])
def test_the_interval_covers_from_a_hundred_rows_on(name: str):
    """The problems of docs/shift-weights.md. With 30 rows it covers less, and says so."""
    held = runpy.run_path(str(COVERAGE))
    found = held["covered"](held["PROBLEMS"][name], 100, 2_000)
    assert proportion_interval(found["covered"], 2_000).ci_high >= 0.95
    few = held["covered"](held["PROBLEMS"][name], 30, 100)
    assert few["warned"] == 100
    if name == "Shimodaira":  # the falsehood: a t interval that knows of no skewness is caught
        assert proportion_interval(found["plain"], 2_000).ci_high < 0.95


def coverage(num_rows: int, repeats: int) -> int:
    truth, hits = Shimodaira.risk_of_source_line(), 0
    for seed in range(repeats):
        problem = Shimodaira(num_rows, seed)
        found = weighted_risk(problem.weights, losses_of_source_line(problem)).corrected
        hits += found.ci_low <= truth <= found.ci_high
    return hits


def test_the_interval_covers_where_weights_are_known():
    assert proportion_interval(coverage(1_000, 1_000), 1_000).ci_high >= 0.95
    # The falsehood: the interval of the uncorrected risk hardly ever holds the target's.
    truth, hits = Shimodaira.risk_of_source_line(), 0
    for seed in range(100):
        plain = weighted_risk(
            *(lambda p: (p.weights, losses_of_source_line(p)))(Shimodaira(1_000, seed))
        ).uncorrected
        hits += plain.ci_low <= truth <= plain.ci_high
    assert hits < 50


@pytest.mark.slow
def test_the_doubly_robust_interval_covers_where_weights_are_estimated():
    """Relative ratios correct only in part, and so the plain interval misses; the regression takes that out."""
    regressor = make_pipeline(PolynomialFeatures(6), LinearRegression())
    truth, plain, robust, repeats = Shimodaira.risk_of_source_line(), 0, 0, 120
    for seed in range(repeats):
        problem = Shimodaira(1_000, seed)
        found = RULSIF().fit(problem.source, problem.target)
        losses = losses_of_source_line(problem)
        of_weights = found.correction_.risk(losses).corrected
        both = doubly_robust_risk(
            found, problem.source, problem.target, losses, regressor=regressor
        ).corrected
        plain += of_weights.ci_low <= truth <= of_weights.ci_high
        robust += both.ci_low <= truth <= both.ci_high
    assert proportion_interval(robust, repeats).ci_high >= 0.95
    assert proportion_interval(plain, repeats).ci_high < 0.95  # else the test could not tell the two apart


def test_a_true_regression_makes_up_for_wrong_weights():
    class TrueCurve(LinearRegression):
        def fit(self, X, y):
            return self

        def predict(self, X):
            return losses_of(X)

    def losses_of(x):
        return (Shimodaira.curve(x) + 0.25 - 0.5 * x[:, 0]) ** 2 + 0.09

    problem = Shimodaira(2_000, seed=4)
    found = ClassifierWeights("logistic").fit(
        problem.source, problem.target
    )  # a line cannot be that parabola
    risk = doubly_robust_risk(
        found, problem.source, problem.target, losses_of(problem.source), regressor=TrueCurve()
    )
    assert risk.corrected.estimate == pytest.approx(losses_of(problem.target).mean())


@pytest.mark.parametrize(
    ("weights", "losses", "says"),
    [
        ([1.0, 1.0], [1.0], "one number for each of the 2 weighted rows"),
        ([1.0, 1.0], [1.0, np.nan], "losses must be finite"),
        ([1.0, -1.0], [1.0, 2.0], "weights must be finite"),
        ([0.0, 0.0], [1.0, 2.0], "must not all be 0"),
        ([1.0], [1.0], "at least 2 rows"),
    ],
)
def test_losses_that_do_not_fit_are_refused(weights, losses, says):
    with pytest.raises(InvalidInput, match=says):
        weighted_risk(weights, losses)


def test_ratios_in_float32_become_weights_of_mean_one_as_those_in_float64_do():
    ratios = np.exp(np.random.default_rng(0).normal(size=100_001)).astype(np.float32)
    found, reference = (corrected(r, "ratio").weights for r in (ratios, ratios.astype(np.float64)))
    np.testing.assert_allclose(found, reference, rtol=1e-6)
    assert found.mean() == pytest.approx(1, abs=1e-12)
