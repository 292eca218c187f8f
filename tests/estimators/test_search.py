"""`MLPSearchCV` finds what `GridSearchCV` finds with the same estimator, and looks like it."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_regression
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.neural_network import MLPRegressor as SklearnRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlplab import engine
from mlplab.errors import InvalidInput, UnknownName
from mlplab.estimators import MLPClassifier, MLPRegressor, MLPSearchCV

GRID = {
    "alpha": [1e-4, 1.0],
    "hidden_layer_sizes": [(6,), (10,), (6, 6)],
    "learning_rate_init": [0.003, 0.03],
}
BASE = MLPClassifier(max_iter=4, random_state=3)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:400] / 16, y[:400]


@pytest.mark.slow
@parametrize_with_checks(
    [
        MLPSearchCV(MLPClassifier(max_iter=100, random_state=0), {"learning_rate_init": [0.001, 0.01]}, cv=2),
        MLPSearchCV(MLPRegressor(max_iter=100, random_state=0), {"alpha": [0.001, 0.01]}, cv=2, num_seeds=2),
    ]
)
def test_law_of_scikit_learn(estimator, check):
    check(estimator)


def test_it_finds_what_grid_search_finds_with_the_same_estimator(digits):
    """Trained together or one after the other: the same table, to rounding."""
    ours = MLPSearchCV(BASE, GRID, cv=3, return_train_score=True).fit(*digits)
    theirs = GridSearchCV(BASE, GRID, cv=3, return_train_score=True).fit(*digits)
    one, two = (pd.DataFrame(search.cv_results_) for search in (ours, theirs))
    assert set(one) == set(two)
    assert one["params"].tolist() == two["params"].tolist()
    for name in one.filter(regex="^(split|mean|std).*_score$").columns:
        if "score_time" not in name:
            np.testing.assert_allclose(one[name].to_numpy(float), two[name].to_numpy(float), atol=0.008)
    assert ours.n_splits_ == theirs.n_splits_
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(ours.predict_proba(digits[0]), theirs.predict_proba(digits[0]), atol=1e-4)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.score(*digits) == pytest.approx(theirs.score(*digits), abs=0.003)


def test_all_is_trained_by_one_call(digits, monkeypatch):
    calls = []
    original = engine.train

    def counted(runs, data, **options):
        calls.append(len(runs))
        return original(runs, data, **options)

    monkeypatch.setattr(engine, "train", counted)
    MLPSearchCV(BASE, GRID, cv=3, num_seeds=2).fit(*digits)
    assert calls == [12 * 3 * 2, 1]


def test_seeds_are_shared_by_settings_and_averaged(digits):
    search = MLPSearchCV(BASE, {"alpha": [1e-4, 1.0]}, cv=2, num_seeds=3).fit(*digits)
    table = search.cv_results_
    for fold in (0, 1):
        seeds = np.stack([table[f"split{fold}_seed{seed}_test_score"] for seed in range(3)])
        np.testing.assert_allclose(table[f"split{fold}_test_score"], seeds.mean(0))
    alone = MLPSearchCV(clone(BASE).set_params(random_state=4), {"alpha": [1e-4, 1.0]}, cv=2).fit(*digits)
    np.testing.assert_allclose(
        table["split1_seed1_test_score"], alone.cv_results_["split1_test_score"], atol=0.006
    )


def test_scikit_learns_estimators_are_taken_over(digits):
    theirs = SklearnClassifier(max_iter=4, random_state=3, hidden_layer_sizes=(6,))
    found = MLPSearchCV(theirs, {"alpha": [1e-4, 1.0]}, cv=2).fit(*digits)
    assert isinstance(found.best_estimator_, MLPClassifier)
    assert found.best_estimator_.hidden_layer_sizes == (6,)
    x, y = make_regression(60, 4, random_state=0)[:2]
    regression = MLPSearchCV(SklearnRegressor(max_iter=5, random_state=0), {"alpha": [0.1, 1]}, cv=2).fit(
        x, y
    )
    assert isinstance(regression.best_estimator_, MLPRegressor)
    with pytest.raises(InvalidInput, match="loss is not there"):
        MLPSearchCV(SklearnRegressor(loss="poisson"), {"alpha": [1]}).fit(x, np.abs(y))


def test_several_scores_a_callable_refit_and_none(digits):
    scoring = {"accuracy": "accuracy", "log loss": "neg_log_loss"}
    search = MLPSearchCV(BASE, {"alpha": [1e-4, 1.0]}, cv=2, scoring=scoring, refit="log loss").fit(*digits)
    best = search.cv_results_["mean_test_log loss"].argmax()
    assert search.best_index_ == best
    assert search.best_score_ == search.cv_results_["mean_test_log loss"][best]
    assert set(search.scorer_) == set(scoring)
    first = MLPSearchCV(BASE, {"alpha": [1e-4, 1.0]}, cv=2, refit=lambda results: 1).fit(*digits)
    assert first.best_params_ == {"alpha": 1.0}
    unfitted = MLPSearchCV(BASE, {"alpha": [1e-4, 1.0]}, cv=2, refit=False).fit(*digits)
    assert not hasattr(unfitted, "best_estimator_")
    assert unfitted.best_params_
    with pytest.raises(ValueError, match="refit"):
        MLPSearchCV(BASE, {"alpha": [1e-4, 1.0]}, cv=2, scoring=list(scoring)[:1], refit=True).fit(*digits)


def test_any_cv_and_groups(digits):
    x, y = digits
    groups = np.arange(len(y)) % 4
    search = MLPSearchCV(BASE, {"alpha": [1e-4]}, cv=GroupKFold(4)).fit(x, y, groups=groups)
    assert search.n_splits_ == 4
    folds = StratifiedKFold(3, shuffle=True, random_state=1)
    ours, theirs = (s(BASE, {"alpha": [1e-4]}, cv=folds).fit(x, y) for s in (MLPSearchCV, GridSearchCV))
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], atol=0.01
    )


def test_early_stopping_holds_out_a_part_of_each_fold(digits):
    stopping = MLPClassifier((20,), learning_rate_init=0.05, max_iter=60, early_stopping=True, random_state=0)
    ours, theirs = (
        s(stopping, {"validation_fraction": [0.1, 0.3]}, cv=2).fit(*digits)
        for s in (MLPSearchCV, GridSearchCV)
    )
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], atol=0.02
    )


def test_text_classes_and_frames(digits):
    x, y = digits
    frame = pd.DataFrame(x, columns=[f"pixel {i}" for i in range(64)])
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[y]
    search = MLPSearchCV(BASE, {"alpha": [1e-4]}, cv=2).fit(frame, names)
    assert set(search.predict(frame)) <= set(names)
    assert list(search.feature_names_in_) == list(frame)


def test_it_can_be_the_last_step_of_a_pipeline_and_be_kept(digits):
    pipeline = make_pipeline(StandardScaler(), MLPSearchCV(BASE, {"alpha": [1e-4, 1.0]}, cv=2)).fit(*digits)
    copy = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(copy.predict(digits[0]), pipeline.predict(digits[0]))


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_law_5_what_diverged_is_scored_as_the_error_and_ranked_last(digits):
    base = MLPClassifier((6,), solver="sgd", max_iter=4, random_state=0)
    grid = {"learning_rate_init": [0.1, 1e30]}
    with pytest.warns(FitFailedWarning, match="2 of 4 trainings diverged"):
        search = MLPSearchCV(base, grid, cv=2).fit(*digits)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert search.best_params_ == {"learning_rate_init": 0.1}
    with pytest.raises(InvalidInput, match="2 of 4 trainings"):
        MLPSearchCV(base, grid, cv=2, error_score="raise").fit(*digits)


@pytest.mark.parametrize(
    ("search", "error", "said"),
    [
        (MLPSearchCV(BASE, {"alfa": [1]}), UnknownName, "Did you mean 'alpha'"),
        (MLPSearchCV(BASE, {"alpha": ["a lot"]}), InvalidInput, "alpha must be a number"),
        (MLPSearchCV(BASE, {"alpha": [1]}, num_seeds=0), InvalidInput, "num_seeds must be a whole number"),
        (MLPSearchCV(DecisionTreeClassifier(), {"max_depth": [1]}), InvalidInput, "must be an MLPClassifier"),
        (MLPSearchCV(BASE, {"alpha": []}), ValueError, "non-empty|empty"),
    ],
    ids=["parameter", "value", "seeds", "estimator", "empty"],
)
def test_law_6_a_bad_search_gets_one_clear_line(digits, search, error, said):
    with pytest.raises(error, match=said):
        search.fit(*digits)
