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


def two_scores(model, x, y):
    return {"m1": model.score(x, y), "m2": -float(np.log(model.predict_proba(x)).std())}


def no_second_fold(model, x, y):
    if len(y) == 97:
        raise RuntimeError("boom")
    return model.score(x, y)


def no_second_fold_of_two(model, x, y):
    return {"m1": no_second_fold(model, x, y), "m2": 1.0}


FOLDS = [(np.arange(200, 400), np.r_[0:100]), (np.arange(0, 200), np.r_[203:300])]


@pytest.mark.filterwarnings("ignore:Scoring failed", "ignore:One or more of the")
@pytest.mark.parametrize(
    ("scoring", "refit"),
    [
        (two_scores, "m2"),
        (no_second_fold, True),
        ({"good": "accuracy", "bad": no_second_fold}, "good"),
        (["accuracy", "neg_log_loss"], "neg_log_loss"),
        ("roc_auc_ovr", True),
    ],
    ids=["callable of two", "failing", "one of two failing", "list", "name"],
)
def test_any_scoring_gives_what_grid_search_gives(digits, scoring, refit):
    """One table, one best setting, with `error_score` in the fold and metric that failed."""
    options = {"cv": FOLDS, "scoring": scoring, "refit": refit, "error_score": -7.0}
    options["return_train_score"] = True
    ours, theirs = (
        s(BASE, {"alpha": [1e-4, 1.0]}, **options).fit(*digits) for s in (MLPSearchCV, GridSearchCV)
    )
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, values in theirs.cv_results_.items():
        if name.startswith(("split", "mean_t", "std_t")):
            np.testing.assert_allclose(ours.cv_results_[name], values, atol=0.01)
    assert ours.multimetric_ == theirs.multimetric_
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=0.01)


@pytest.mark.filterwarnings("ignore:One or more of the")
def test_a_scorer_that_fails_is_warned_of_and_raises_where_that_is_asked_for(digits):
    for scoring in (no_second_fold, {"bad": no_second_fold}):
        options = {"cv": FOLDS, "scoring": scoring, "refit": False}
        with pytest.warns(UserWarning, match="Scoring failed") as caught:
            found = MLPSearchCV(BASE, {"alpha": [1e-4]}, **options).fit(*digits)
        assert sum("boom" in str(one.message) for one in caught) == 1
        (mean,) = (v for name, v in found.cv_results_.items() if name.startswith("mean_test"))
        assert np.isnan(mean).all()
        with pytest.raises(RuntimeError, match="boom"):
            MLPSearchCV(BASE, {"alpha": [1e-4]}, error_score="raise", **options).fit(*digits)


@pytest.mark.filterwarnings("ignore:Scoring failed", "ignore:One or more of the")
def test_what_fails_as_a_whole_has_the_error_score_in_each_metric(digits):
    grid = {"learning_rate_init": [0.1, 1e30]}
    base = MLPClassifier((6,), solver="sgd", max_iter=2, random_state=0)
    with pytest.warns(FitFailedWarning):
        diverged = MLPSearchCV(base, grid, cv=2, scoring=two_scores, refit="m1", num_seeds=2).fit(*digits)
    failed = MLPSearchCV(BASE, {"alpha": [1e-4]}, cv=FOLDS, scoring=no_second_fold_of_two, refit="m2").fit(
        *digits
    )
    for metric in ("m1", "m2"):
        assert np.isnan(diverged.cv_results_[f"mean_test_{metric}"]).tolist() == [False, True]
        assert np.isnan(diverged.cv_results_[f"split0_seed1_test_{metric}"]).tolist() == [False, True]
        assert np.isnan(failed.cv_results_[f"split1_test_{metric}"]).all()
    with pytest.raises(ValueError, match="all 2 diverged"):
        MLPSearchCV(base, {"learning_rate_init": [1e30]}, cv=2).fit(*digits)


def test_a_scorer_sees_the_frame_that_was_given(digits):
    frame = pd.DataFrame(digits[0], columns=[f"pixel {i}" for i in range(64)])

    def share(model, x, y):
        assert list(x) == list(frame)
        return float((model.predict(x) == y).mean())

    found = MLPSearchCV(BASE, {"alpha": [1e-4]}, cv=2, scoring=share).fit(frame, digits[1])
    assert np.isfinite(found.best_score_)


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


@pytest.mark.slow
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
