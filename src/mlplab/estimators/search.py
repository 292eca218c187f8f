"""`MLPSearchCV`: `GridSearchCV` over perceptrons whose settings, folds and seeds are trained as one program."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.model_selection._validation import _score
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.neural_network import MLPRegressor as SklearnRegressor
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import indexable

from mlplab import engine
from mlplab.engine import Result
from mlplab.errors import InvalidInput, UnknownName
from mlplab.estimators.perceptron import Job, MLPClassifier, MLPRegressor, Perceptron

# What an estimator knows of its data when it is fitted.
KNOWN_OF_DATA = (
    "n_features_in_",
    "feature_names_in_",
    "classes_",
    "n_outputs_",
    "out_activation_",
    "_is_column",
)


class MLPSearchCV(GridSearchCV):
    """Takes the place of `GridSearchCV(MLPClassifier(...), param_grid)`; also of a regressor's.

    Arguments:
      estimator: an `MLPClassifier` or `MLPRegressor`, ours or scikit-learn's, whose parameters are then taken over.
      param_grid: scikit-learn's names, as `GridSearchCV` takes it.
      num_seeds: each setting is trained with so many seeds on each fold: `random_state`, and those that follow. All
        settings share them. A fold's score is the mean over its seeds; `cv_results_` also has
        `split0_seed0_test_score` and so on.
      scoring, cv, refit, return_train_score, error_score: as `GridSearchCV` has them. A training that diverged, and a
        fold whose scorer fails, has the score `error_score`, and a warning says so.
      n_jobs, verbose, pre_dispatch: taken, and of no effect: chunks go to torch's threads.

    After `fit`: `best_params_`, `best_score_`, `best_index_`, `best_estimator_` (one of ours), `cv_results_`,
    `scorer_`, `n_splits_`, `refit_time_`, and `predict`, `predict_proba`, `score` of the best.

    Raises UnknownName for a parameter that is none, with the nearest; InvalidInput for a value that one refuses, before
    anything is trained.
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        num_seeds: int = 1,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator, param_grid, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv, verbose=verbose,
            pre_dispatch=pre_dispatch, error_score=error_score, return_train_score=return_train_score,
        )  # fmt: skip
        self.num_seeds = num_seeds

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Train every setting on every fold with every seed; then the best on everything, where `refit` says so."""
        if isinstance(self.num_seeds, bool) or not isinstance(self.num_seeds, int) or self.num_seeds < 1:
            raise InvalidInput("MLPSearchCV.num_seeds", "must be a whole number, at least 1", self.num_seeds)
        base = own(self.estimator)
        scorer, metric = self._get_scorers()
        X, y, groups = indexable(X, y, groups)
        x, targets = base.examples(X, y)
        candidates = list(ParameterGrid(self.param_grid))
        for params in candidates:
            _refuse_unknown(base, params)
        asked: Any = self.cv
        cv: Any = check_cv(asked, np.asarray(y), classifier=base.loss == "cross_entropy")
        self.n_splits_ = cv.get_n_splits(x, y, groups)
        splits = list(cv.split(x, y, groups))
        if not splits or not candidates:
            raise ValueError("No fits were performed. Was the CV iterator or the grid empty?")
        fitted = self._fitted(base, candidates, splits, x, targets)
        out = self._scored(fitted, scorer, splits, X, y)
        self._put_together(candidates, out)
        self.scorer_ = getattr(scorer, "_scorers", scorer)
        # Only its result tells whether a callable has several scores.
        self.multimetric_ = isinstance(out[0][0][0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(out[0][0][0]["test_scores"])
            metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, metric, self.cv_results_)
            if not callable(self.refit):
                self.best_score_ = self.cv_results_[f"mean_test_{metric}"][self.best_index_]
            self.best_params_ = candidates[self.best_index_]
        if self.refit:
            started = time.perf_counter()
            self.best_estimator_ = unfitted(base).set_params(**self.best_params_).fit(X, y)
            self.refit_time_ = time.perf_counter() - started
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self

    def _fitted(
        self,
        base: Perceptron,
        candidates: Sequence[Mapping[str, Any]],
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
        x: np.ndarray,
        targets: np.ndarray,
    ) -> list[list[list[tuple[Perceptron, float] | None]]]:
        """Estimator and seconds by candidate, fold and seed; None where it diverged."""
        seed = base.seed()
        parts = [(x[train], targets[train]) for train, _ in splits]
        jobs: list[list[list[Job]]] = []
        models = []
        for params in candidates:
            model = unfitted(base).set_params(**params)
            for name in KNOWN_OF_DATA:
                if hasattr(base, name):
                    setattr(model, name, getattr(base, name))
            own_seed = model.seed() if "random_state" in params else seed
            models.append(model)
            jobs.append(
                [
                    [model.job(*part, own_seed + s, f"fold{fold}") for s in range(self.num_seeds)]
                    for fold, part in enumerate(parts)
                ]
            )
        runs, datasets = {}, {}
        for job in (job for folds in jobs for seeds in folds for job in seeds):
            # Two candidates may hold out different parts of one fold.
            key = f"{job.run.data}-{job.dataset.train.num_examples}"
            datasets.setdefault(key, job.dataset)
            runs[id(job)] = replace(job.run, data=key)
        results: dict[Any, Result] = {}
        for record in engine.train(list(dict.fromkeys(runs.values())), datasets):
            if isinstance(record, Result):
                results[record.run] = record

        def fitted(model: Perceptron, job: Job) -> tuple[Perceptron, float] | None:
            result = results[runs[id(job)]]
            if result.status == "diverged":
                return None
            trained = unfitted(model)
            for name in KNOWN_OF_DATA:
                if hasattr(model, name):
                    setattr(trained, name, getattr(model, name))
            return trained.take(result), result.seconds

        return [
            [[fitted(model, job) for job in seeds] for seeds in folds]
            for model, folds in zip(models, jobs, strict=True)
        ]

    def _scored(
        self,
        fitted: Sequence[Sequence[Sequence[tuple[Perceptron, float] | None]]],
        scorer: Any,
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
        x: Any,
        y: Any,
    ) -> list[list[list[dict[str, Any]]]]:
        """What `_format_results` takes, by candidate, fold and seed."""
        num_diverged = sum(one is None for folds in fitted for seeds in folds for one in seeds)
        total = sum(len(seeds) for folds in fitted for seeds in folds)
        if num_diverged:
            if self.error_score == "raise":
                raise InvalidInput(
                    "error_score", f"is 'raise', and {num_diverged} of {total} trainings", "diverged"
                )
            if num_diverged == total:
                remedy = "Lower learning_rate_init"
                raise InvalidInput(
                    "MLPSearchCV", "needs a training that ends", f"all {total} diverged", remedy
                )
            warnings.warn(
                f"{num_diverged} of {total} trainings diverged; their score is {self.error_score}. Lower"
                " learning_rate_init.",
                FitFailedWarning,
                stacklevel=3,
            )
        found = []
        for folds in fitted:
            rows = []
            for seeds, (train, test) in zip(folds, splits, strict=True):
                rows.append([self._score(one, scorer, x, y, train, test) for one in seeds])
            found.append(rows)
        _fill(list(itertools.chain.from_iterable(itertools.chain.from_iterable(found))), self.error_score)
        return found

    def _score(
        self,
        one: tuple[Perceptron, float] | None,
        scorer: Any,
        x: Any,
        y: Any,
        train: np.ndarray,
        test: np.ndarray,
    ) -> dict[str, Any]:
        row: dict[str, Any] = {"fit_error": None, "fit_time": 0.0, "score_time": 0.0}
        parts = {"test_scores": test} | ({"train_scores": train} if self.return_train_score else {})
        if one is None:
            return row | dict.fromkeys(parts, self.error_score)
        model, row["fit_time"] = one
        started = time.perf_counter()
        for part, rows in parts.items():
            some = (_safe_indexing(x, rows), _safe_indexing(y, rows))
            error_score: Any = self.error_score  # where the scorer fails, with scikit-learn's warning
            row[part] = _score(model, *some, scorer, None, error_score)
        row["score_time"] = time.perf_counter() - started
        return row

    def _put_together(
        self, candidates: Sequence[Mapping[str, Any]], out: list[list[list[dict[str, Any]]]]
    ) -> None:
        """`cv_results_`: a fold's score is the mean over its seeds."""
        folds = [_mean([seeds[s] for s in range(len(seeds))]) for rows in out for seeds in rows]
        results = self._format_results(list(candidates), self.n_splits_, folds)
        seeds = range(self.num_seeds) if self.num_seeds > 1 else ()
        for fold, seed in itertools.product(range(self.n_splits_), seeds):
            scores = [rows[fold][seed]["test_scores"] for rows in out]
            named = scores if isinstance(scores[0], dict) else [{"score": score} for score in scores]
            for name in named[0]:
                results[f"split{fold}_seed{seed}_test_{name}"] = np.array([score[name] for score in named])
        self.cv_results_ = results

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags = get_tags(self.estimator).target_tags
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags


def unfitted(estimator: Perceptron) -> Perceptron:
    """A copy of the parameters alone."""
    copy: Any = clone(estimator)
    return copy


def own(estimator: Any) -> Perceptron:
    """A perceptron of ours with the parameters of `estimator`. Raises InvalidInput for any other estimator."""
    if isinstance(estimator, Perceptron):
        return unfitted(estimator)
    kinds = {SklearnClassifier: MLPClassifier, SklearnRegressor: MLPRegressor}
    for theirs, ours in kinds.items():
        if isinstance(estimator, theirs):
            params = estimator.get_params(deep=False)
            known = ours().get_params(deep=False)
            for name, value in params.items():
                if name not in known and value != type(estimator)().get_params()[name]:
                    raise InvalidInput(
                        f"{type(estimator).__name__}.{name}", "is not there on the engine", value
                    )
            return ours(**{name: value for name, value in params.items() if name in known})
    remedy = "GridSearchCV searches any other estimator"
    raise InvalidInput("MLPSearchCV.estimator", "must be an MLPClassifier or MLPRegressor", estimator, remedy)


def _refuse_unknown(base: Perceptron, params: Mapping[str, Any]) -> None:
    known = base.get_params(deep=False)
    for name in params:
        if name not in known:
            raise UnknownName(f"parameter of {type(base).__name__}", name, known)


def _fill(rows: Sequence[dict[str, Any]], error_score: Any) -> None:
    """Give what failed as a whole the error score for each metric, where others have several."""
    for part in ("test_scores", "train_scores"):
        names = next((row[part] for row in rows if isinstance(row.get(part), dict)), None)
        for row in rows:
            if names is not None and not isinstance(row[part], dict):
                row[part] = dict.fromkeys(names, error_score)


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows of one fold's seeds as one: times added, scores averaged."""
    merged = dict(rows[0])
    for name in ("fit_time", "score_time"):
        merged[name] = sum(row[name] for row in rows)
    for name in ("test_scores", "train_scores"):
        if name in merged:
            values = [row[name] for row in rows]
            merged[name] = (
                {key: float(np.mean([v[key] for v in values])) for key in values[0]}
                if isinstance(values[0], dict)
                else float(np.mean(values))
            )
    return merged
