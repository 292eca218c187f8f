"""Estimators of p(target)/p(source) find known weights, keep scikit-learn's contract, and say when there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlplab.data import Dataset, Part
from mlplab.engine import Result, train
from mlplab.errors import InvalidInput, MissingExtra, UnknownName
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import corrected
from mlplab.shift.kliep import KLIEP, most_likely
from mlplab.shift.kmm import KMM, match_means
from mlplab.shift.least_squares import RULSIF, ULSIF, leave_one_out
from mlplab.spec import MLP, Initialization, Optimizer, Run, Setting, Training

from .densities import Shimodaira

QUICK = {
    "classifier": ClassifierWeights("quadratic"),
    "ulsif": ULSIF(),
    "kliep": KLIEP(num_centres=20),
    "kmm": KMM(),
}
# Twenty other seeds stay below a half of it, or two thirds for KMM. No weights at all have 1.39.
MOST_ERROR = {"classifier": 0.1, "ulsif": 0.4, "kliep": 0.2, "kmm": 1.0}


@parametrize_with_checks([ULSIF(), ClassifierWeights("logistic", folds=2)])
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([ClassifierWeights(), RULSIF(), KMM(), KLIEP(num_centres=5)])
def test_scikit_learns_contract_for_all(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", QUICK)
def test_known_weights_are_found(name):
    problem = Shimodaira(1_000, seed=3)
    found = QUICK[name].fit(problem.source, problem.target)
    true = problem.weights / problem.weights.mean()
    assert np.mean((found.weights_ - true) ** 2) < MOST_ERROR[name]
    assert found.weights_.mean() == pytest.approx(1)
    assert found.correction_.effective_sample_size / 1_000 == pytest.approx(0.418, abs=0.1)
    assert not found.correction_.warnings
    # The falsehood: the same weights in another order are as wrong as any.
    assert np.mean((found.weights_[::-1] - true) ** 2) > 1


@pytest.mark.parametrize("name", QUICK)
def test_samples_of_one_distribution_weigh_about_the_same(name):
    stream = Stream(1, "data")
    found = QUICK[name].fit(stream.normal((500, 2)), stream.normal((500, 2)))
    # KMM matches the very samples, whatever the densities: it alone makes much of chance.
    assert found.correction_.effective_sample_size > (250 if name == "kmm" else 420)


@pytest.mark.parametrize("name", [name for name in QUICK if name != "kmm"])
def test_the_order_of_rows_and_the_unit_of_features_change_nothing(name):
    problem = Shimodaira(300, seed=4)
    found = QUICK[name].fit(problem.source, problem.target)
    in_other_units = (
        QUICK[name].__class__(**found.get_params()).fit(1e3 * problem.source - 5, 1e3 * problem.target - 5)
    )
    np.testing.assert_allclose(
        in_other_units.weights_, found.weights_, rtol=1e-3, atol=1e-3
    )  # L-BFGS stops early
    np.testing.assert_allclose(
        found.predict(problem.target[::-1]), found.predict(problem.target)[::-1], rtol=1e-9
    )


def test_marks_and_two_samples_are_the_same_question():
    problem = Shimodaira(200, seed=5)
    both = np.concatenate([problem.target, problem.source])
    marks = np.repeat([1, 0], [200, 200])
    by_marks = ULSIF().fit(both, marks)
    np.testing.assert_array_equal(by_marks.weights_, ULSIF().fit(problem.source, problem.target).weights_)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("sizes", [(40, 60), (60, 40)])
def test_leave_one_out_in_closed_form_is_leaving_each_pair_out(alpha, sizes):
    stream = Stream(6, "data")
    num_s, num_t = sizes
    source, target, penalty = stream.uniform((num_s, 7)), stream.uniform((num_t, 7)), 0.05
    errors = []
    for j in range(min(sizes)):
        s, t = np.delete(source, j, 0), np.delete(target, j, 0)
        gram = alpha * t.T @ t / len(t) + (1 - alpha) * s.T @ s / len(s) + penalty * np.eye(7)
        theta = np.maximum(np.linalg.solve(gram, t.mean(0)), 0)
        at_s, at_t = source[j] @ theta, target[j] @ theta
        errors.append((1 - alpha) / 2 * at_s**2 + alpha / 2 * at_t**2 - at_t)
    assert leave_one_out(source, target, penalty, alpha) == pytest.approx(np.mean(errors), rel=1e-10)


def test_kliep_is_at_its_maximum():
    """Karush, Kuhn and Tucker: no kernel's slope is positive, and that of those in use is 0."""
    stream = Stream(7, "data")
    target, mean = stream.uniform((80, 6)), stream.uniform((50, 6)).mean(0)
    theta = most_likely(target, mean)
    slope = (target / (target @ theta)[:, None]).mean(0) - mean
    assert mean @ theta == pytest.approx(1)
    assert (slope < 1e-3).all()
    assert np.abs(slope[theta > 1e-3]).max() < 1e-3


def test_kmm_is_at_its_minimum():
    """No weight of 400 that are tried brings the means nearer, and all bounds hold."""
    stream = Stream(8, "data")
    x, t = stream.normal((60, 1)), 0.5 * stream.normal((40, 1))
    phi = np.linalg.cholesky(rbf_kernel(np.concatenate([x, t]), gamma=1.0) + 1e-9 * np.eye(100))
    aim = phi[60:].mean(0)
    beta = match_means(phi[:60], aim, 3.0, 0.2)
    assert beta.min() >= 0
    assert beta.max() <= 3
    assert abs(beta.mean() - 1) <= 0.2 + 1e-6

    def distance(weights):
        return np.linalg.norm(weights @ phi[:60] / 60 - aim)

    for _ in range(400):
        other = np.clip(beta + 0.1 * stream.normal(60), 0, 3)
        if abs(other.mean() - 1) <= 0.2:
            assert distance(other) > distance(beta) - 1e-6


@pytest.mark.slow
def test_relative_weights_have_their_bound():
    problem = Shimodaira(600, seed=9)
    relative = RULSIF(0.5).fit(problem.source, problem.target)
    assert relative.predict(problem.source).max() < 2.1  # 1/alpha, and the error of an estimate
    plain = ULSIF().fit(problem.source, problem.target)
    assert relative.correction_.effective_sample_size > plain.correction_.effective_sample_size


def test_no_row_is_weighed_by_a_classifier_that_saw_it():
    """Of pure noise a deep tree is sure where it has been: cross-fitted weights must not be."""
    from sklearn.tree import DecisionTreeClassifier

    stream = Stream(10, "data")
    found = ClassifierWeights(DecisionTreeClassifier(random_state=0), clip=None).fit(
        stream.normal((300, 3)), stream.normal((300, 3))
    )
    assert found.correction_.effective_sample_size > 250
    assert found.auc_ == pytest.approx(0.5, abs=0.1)


def test_weights_are_cut_and_counted():
    problem = Shimodaira(500, seed=11)
    cut, uncut = (
        ClassifierWeights("quadratic", clip=clip).fit(problem.source, problem.target) for clip in (1.5, None)
    )
    at_most = 1.5 * uncut.weights_.mean()
    np.testing.assert_allclose(
        cut.weights_, np.minimum(uncut.weights_, at_most) / np.minimum(uncut.weights_, at_most).mean()
    )
    assert cut.correction_.num_clipped == (uncut.weights_ > at_most).sum() > 50


@pytest.mark.slow
def test_auto_takes_what_predicts_unseen_rows_best():
    problem = Shimodaira(1_000, seed=12)
    found = ClassifierWeights().fit(problem.source, problem.target)
    assert found.chosen_ == "quadratic"  # the log ratio of two Gaussians is a parabola
    assert found.log_loss_ == min(found.log_losses_.values())


# --- weights at work ---


def test_shimodairas_lines():
    """Least squares on the source, and with weights: the lines of the paper, exact and estimated weights."""
    problem = Shimodaira(20_000, seed=13)
    assert np.mean(problem.weights**2) == pytest.approx(Shimodaira.mean_squared_weight, rel=0.05)

    def line(weights=None):
        fitted = LinearRegression().fit(problem.source, problem.y, sample_weight=weights)
        return fitted.intercept_, fitted.coef_[0]

    np.testing.assert_allclose(line(), Shimodaira.source_line, atol=0.02)
    np.testing.assert_allclose(line(problem.weights), Shimodaira.target_line, atol=0.02)
    estimated = ClassifierWeights("quadratic").fit(problem.source, problem.target).weights_
    np.testing.assert_allclose(line(estimated), Shimodaira.target_line, atol=0.03)


@pytest.mark.parametrize(
    "model", [LinearRegression(), HistGradientBoostingRegressor(max_leaf_nodes=3, max_iter=3)]
)
def test_weights_go_into_any_scikit_learn_estimator(model):
    problem = Shimodaira(1_000, seed=14)
    weights = ULSIF().fit(problem.source, problem.target).weights_

    def error(weights):
        fitted = model.fit(problem.source, problem.y, sample_weight=weights)
        return np.mean((fitted.predict(problem.target) - problem.y_target) ** 2)

    assert error(weights) < error(None)


def test_weights_go_into_our_engine():
    """A linear model in the engine, weighted, is weighted least squares."""
    problem = Shimodaira(300, seed=15)
    weights = ULSIF().fit(problem.source, problem.target).weights_

    def part(x, y, w=None):
        return Part(
            x.astype(np.float32), y[:, None].astype(np.float32), None if w is None else w.astype(np.float32)
        )

    data = Dataset(
        name="shimodaira", title="Shimodaira's problem", task="regression",
        train=part(problem.source, problem.y, weights), validation=part(problem.target, problem.y_target), test=None,
        out_features=1, feature_shape=(1,),
    )  # fmt: skip
    setting = Setting(
        model=MLP(hidden_sizes=(), initialization=Initialization("zeros")),
        optimizer=Optimizer(learning_rate=0.5),
        training=Training(loss="squared_error", epochs=200, batch_size=None, evaluate_every=200),
    )
    done = [r for r in train([Run(setting, data.fingerprint, 0)], data) if isinstance(r, Result)]
    ((weight, bias),) = done[0].parameters
    fitted = LinearRegression().fit(problem.source, problem.y, sample_weight=weights)
    np.testing.assert_allclose([bias[0], weight[0, 0]], [fitted.intercept_, fitted.coef_[0]], atol=2e-3)


# --- what cannot be ---


def test_no_overlap_is_said():
    stream = Stream(16, "data")
    apart = ClassifierWeights("logistic").fit(stream.normal((300, 2)), 6 + stream.normal((300, 2)))
    assert {"no-overlap", "few-rows"} <= set(apart.correction_.warnings)
    assert apart.correction_.will_hurt
    assert apart.correction_.risk(np.arange(300.0)).advice == "do not correct"
    near = ClassifierWeights("logistic").fit(stream.normal((300, 2)), 0.3 + stream.normal((300, 2)))
    assert not near.correction_.will_hurt


def test_far_samples_are_no_overlap_to_kernels_too():
    rows = np.arange(40.0)[:, None]
    for estimator in (ULSIF(), KLIEP(num_centres=5)):
        assert "no-overlap" in estimator.fit(rows, 1e6 + rows).correction_.warnings


def test_a_ratio_of_0_everywhere_is_refused_not_divided_by():
    with pytest.raises(InvalidInput, match="no source row that is like the target's"):
        corrected(np.zeros(5), "ULSIF")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ULSIF(widths=()), "ULSIF.widths must be numbers above 0"),
        (lambda: ULSIF(penalties=-1.0), "ULSIF.penalties must be numbers above 0"),
        (lambda: ULSIF(num_centres=0), "ULSIF.num_centres must be a whole number of at least 1"),
        (lambda: RULSIF(1.0), r"RULSIF.alpha must be in \[0, 1\)"),
        (lambda: KLIEP(widths="wide"), "KLIEP.widths must be numbers above 0"),
        (lambda: KMM(width=0.0), "KMM.width must be numbers above 0"),
        (lambda: KMM(largest=0.01, slack=0.1), "KMM.largest must be at least 1 - slack"),
        (lambda: ClassifierWeights(folds=1), "ClassifierWeights.folds must be at least 2"),
        (lambda: ClassifierWeights(clip="much"), "ClassifierWeights.clip must be 'auto', None or a number"),
        (lambda: ClassifierWeights(LinearRegression()), "with predict_proba"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(make, says):
    x = Stream(0, "data").normal((30, 2))
    with pytest.raises(InvalidInput, match=says):
        make().fit(x[:15], x[15:])


def test_a_misspelt_classifier_is_told_the_nearest():
    x = Stream(0, "data").normal((30, 2))
    with pytest.raises(UnknownName, match="Did you mean 'boosting'"):
        ClassifierWeights("bosting").fit(x[:15], x[15:])


def test_any_classifier_will_do():
    problem = Shimodaira(300, seed=17)
    found = ClassifierWeights(LogisticRegression()).fit(problem.source, problem.target)
    assert found.chosen_ == "LogisticRegression"


def test_kmm_without_its_solver_names_the_command(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "clarabel", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mlplab\[shift\]'"):
        KMM().fit(np.arange(10.0)[:, None], np.arange(10.0)[:, None])


def test_more_rows_than_the_programme_bears_are_refused_with_a_way_out():
    rows = np.zeros((50_001, 1))
    rows[0] = 1
    with pytest.raises(InvalidInput, match=r"at most 50,000 source rows.*another method"):
        KMM().fit(rows, rows[:10])


def test_a_table_is_weighed_by_its_kinds_of_columns():
    stream = Stream(18, "data")
    n = 600

    def table(share, shift):
        return pd.DataFrame(
            {
                "number": np.where(stream.uniform(n) < 0.1, np.nan, shift + stream.normal(n)),
                "category": np.where(stream.uniform(n) < share, "a", "b"),
                "truth": stream.uniform(n) < 0.5,
            }
        )

    source, target = table(0.8, 0.0), table(0.2, 0.5)
    found = ClassifierWeights("logistic").fit(source, target)
    is_a = (source["category"] == "a").to_numpy()
    ratio = found.weights_[~is_a].mean() / found.weights_[is_a].mean()
    assert ratio == pytest.approx((0.8 / 0.2) / (0.2 / 0.8), rel=0.3)
    assert len(found.predict(target)) == n
