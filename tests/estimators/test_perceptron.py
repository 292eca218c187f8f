"""Our perceptrons train what scikit-learn's train, and keep to its rules of an estimator."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits, make_regression
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.neural_network import MLPRegressor as SklearnRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

import mlplab
from mlplab.errors import InvalidInput, UnknownName
from mlplab.estimators import MLPClassifier, MLPRegressor
from mlplab.estimators.parameters import setting_of

PAIRS = [(MLPClassifier, SklearnClassifier), (MLPRegressor, SklearnRegressor)]


@pytest.mark.slow
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_law_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_parameters_and_defaults_are_those_of_scikit_learn(ours, theirs):
    known = theirs().get_params()
    assert {name: known[name] for name in ours().get_params()} == ours().get_params()


def test_they_are_at_the_top():
    assert mlplab.MLPClassifier is MLPClassifier
    assert "MLPSearchCV" in dir(mlplab)
    with pytest.raises(AttributeError, match="MLPClasifier"):
        _ = mlplab.MLPClasifier


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:1000] / 16, y[:1000], x[1000:] / 16, y[1000:]


# Without `tol` scikit-learn trains for as long as we do.
SAME = {"max_iter": 30, "tol": 0.0, "n_iter_no_change": 1000}


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"solver": "sgd", "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "nesterovs_momentum": False},
        {"activation": "tanh", "alpha": 10.0, "hidden_layer_sizes": (30, 20)},
        {"activation": "logistic", "learning_rate_init": 0.01, "batch_size": 50},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_learns_what_scikit_learn_learns(digits, params):
    """Mean training loss over the last epoch and test accuracy, over five seeds of each."""
    x, y, x_test, y_test = digits
    losses, scores = {}, {}
    for kind in (MLPClassifier, SklearnClassifier):
        fitted = [
            kind(**{"hidden_layer_sizes": (30,)} | SAME | params, random_state=s).fit(x, y) for s in range(5)
        ]
        scores[kind] = np.array([model.score(x_test, y_test) for model in fitted])
        # Without the penalty, which scikit-learn adds to its loss_.
        losses[kind] = np.array(
            [-np.log(model.predict_proba(x)[np.arange(len(y)), y]).mean() for model in fitted]
        )
    ours, theirs = scores.values()
    spread = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 5)
    assert abs(ours.mean() - theirs.mean()) < 4 * spread + 0.01
    mine, other = losses.values()
    assert mine.mean() == pytest.approx(other.mean(), rel=0.25)


def test_it_starts_where_scikit_learn_does_and_steps_alike():
    """One full-batch step of plain SGD from the same weights: to rounding of float32, with alpha counted alike."""
    x, y = load_digits(return_X_y=True)
    x, y = (x[:200] / 16), y[:200]
    params = {"hidden_layer_sizes": (8,), "solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False}
    params |= {"alpha": 50.0, "learning_rate_init": 0.5, "activation": "tanh"}
    setting = setting_of("MLPClassifier", MLPClassifier(**params).get_params(), len(x), "cross_entropy")
    assert setting.penalty.weight_decay == pytest.approx(50.0 / 200)
    theirs = SklearnClassifier(**params, max_iter=1, random_state=0)
    theirs.partial_fit(x, y, classes=np.arange(10))
    before = SklearnClassifier(**params | {"learning_rate_init": 1e-12}, max_iter=1, random_state=0)
    before.partial_fit(x, y, classes=np.arange(10))
    start = list(zip(before.coefs_, before.intercepts_, strict=True))
    hidden = np.tanh(x @ start[0][0] + start[0][1])
    logits = hidden @ start[1][0] + start[1][1]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    above = (probabilities - np.eye(10)[y]) / len(x)
    gradient = hidden.T @ above + setting.penalty.weight_decay * start[1][0]
    np.testing.assert_allclose(theirs.coefs_[1], start[1][0] - 0.5 * gradient, atol=1e-9)


def test_a_regressor_learns_and_keeps_the_shape_of_y():
    x, y = make_regression(300, 5, n_targets=2, random_state=0)[:2]
    x, y = x.astype(np.float32), y / y.std(0)
    model = MLPRegressor((20,), max_iter=200, learning_rate_init=0.01, random_state=0)
    assert model.fit(x, y).score(x, y) > 0.98
    assert model.predict(x).shape == (300, 2)
    assert model.fit(x, y[:, 0]).predict(x).shape == (300,)
    assert model.n_outputs_ == 1


def test_the_same_random_state_gives_the_same_model(digits):
    x, y, *_ = digits
    one, two, other = (MLPClassifier((5,), max_iter=3, random_state=s).fit(x, y) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.coefs_[0], two.coefs_[0])
    assert not np.array_equal(one.coefs_[0], other.coefs_[0])


def test_sparse_input_is_the_same_input(digits):
    x, y, x_test, _ = digits
    dense, sparse = (
        MLPClassifier((5,), max_iter=3, random_state=1).fit(kind(x), y) for kind in (np.array, csr_matrix)
    )
    np.testing.assert_allclose(
        sparse.predict_proba(csr_matrix(x_test)), dense.predict_proba(x_test), rtol=1e-9
    )


def test_early_stopping_ends_before_max_iter_and_says_when(digits):
    x, y, *_ = digits
    model = MLPClassifier((30,), learning_rate_init=0.05, max_iter=400, early_stopping=True, random_state=0)
    assert model.fit(x, y).n_iter_ < 400
    assert len(model.loss_curve_) == model.n_iter_


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"solver": "adm"}, "Did you mean 'adam'"),
        ({"solver": "lbfgs"}, "L-BFGS is not trained by the engine"),
        ({"activation": "rel"}, "Did you mean 'relu'"),
        ({"learning_rate": "adaptive"}, "Only a constant rate"),
        ({"shuffle": False}, "shuffle must be True"),
        ({"warm_start": True}, "warm_start must be False"),
        ({"alpha": -1}, "alpha must be a number of at least 0"),
        ({"max_iter": 0}, "max_iter must be a whole number"),
        ({"batch_size": "large"}, "batch_size must be a whole number"),
        ({"early_stopping": True, "validation_fraction": 1.5}, "validation_fraction must be in"),
        ({"learning_rate_init": 1e30, "max_iter": 3, "solver": "sgd"}, "diverged at update"),
    ],
    ids=str,
)
def test_law_6_bad_parameters_get_one_clear_line(digits, params, said):
    x, y, *_ = digits
    with pytest.raises((InvalidInput, UnknownName), match=said):
        MLPClassifier(**params).fit(x, y)


def test_one_class_is_refused(digits):
    x, y, *_ = digits
    with pytest.raises(InvalidInput, match="at least 2 classes"):
        MLPClassifier().fit(x, np.zeros_like(y))
