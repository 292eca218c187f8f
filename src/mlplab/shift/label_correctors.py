"""Classifiers that follow a label shift: in their probabilities, and in the weights of their rows."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.utils import Tags, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from mlplab.errors import InvalidInput
from mlplab.shift.correction import Correction, of_mean_one
from mlplab.shift.label_shift import LabelShift, bbse, em
from mlplab.shift.least_squares import at_least_one
from mlplab.shift.temperature import fit_temperature


class LabelShiftCorrector(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A classifier whose classes' shares are brought from the source's to the target's.

    `fit(X, y, target)` trains the classifier on the source, predicts each of its rows by folds that did not see it,
    and finds the target's shares from the predictions for the target. `adapt(target)` does the last alone: for each
    new window of data, without labels. Until there is a target no shift is assumed.

    After `fit`: `estimator_`, `classes_`, `class_weights_` (target share / source share), `shift_` (the same with
    intervals; None without a target), `weights_` of the source's rows, and `correction_`, these with their diagnosis.

    Arguments:
      estimator: a scikit-learn classifier with `predict_proba`; None for logistic regression.
        `sklearn.frozen.FrozenEstimator(model)` keeps one that is trained: then X and y must not have trained it.
      folds: for the predictions of the source; at least 2.
    """

    _how: ClassVar[str]

    def __init__(self, estimator: Any = None, *, folds: int = 5) -> None:
        self.estimator = estimator
        self.folds = folds

    def fit(self, X: Any, y: Any, target: Any = None) -> Self:
        """Train on the source, and adapt to the target where it is given.

        Raises InvalidInput for an estimator without probabilities, and a class of fewer than 2 rows.
        """
        X, y = (
            validate_data(self, X, y, dtype=None, skip_check_array=True)
            if _keeps(X)
            else validate_data(self, X, y)
        )
        check_classification_targets(y)
        estimator = LogisticRegression(max_iter=1_000) if self.estimator is None else self.estimator
        if not hasattr(estimator, "predict_proba"):
            raise InvalidInput(f"{type(self).__name__}.estimator", "must have predict_proba", estimator)
        self.classes_, self._labels = np.unique(y, return_inverse=True)
        counts = np.bincount(self._labels)
        if len(counts) < 2:
            raise InvalidInput(
                f"{type(self).__name__}.fit", "needs labels of 2 classes or more", "labels of 1 class"
            )
        folds = at_least_one(f"{type(self).__name__}.folds", self.folds)
        if folds < 2:
            raise InvalidInput(f"{type(self).__name__}.folds", "must be at least 2", folds)
        if counts.min() < 2:
            rare = self.classes_[counts.argmin()]
            rule = f"needs 2 rows of each class to predict each from others; class {rare!r} has one"
            raise InvalidInput(f"{type(self).__name__}.fit", rule, "1 sample")
        splitter = StratifiedKFold(min(folds, int(counts.min())), shuffle=True, random_state=0)
        self._scores: Any = cross_val_predict(clone(estimator), X, y, cv=splitter, method="predict_proba")
        self.estimator_: Any = clone(estimator)
        self.estimator_.fit(X, y)
        self._calibrate()
        self._no_shift()
        return self if target is None else self.adapt(target)

    def adapt(self, target: Any) -> Self:
        """Find the classes' shares in the target, and follow them. Raises InvalidInput for rows unlike the source's."""
        check_is_fitted(self, "estimator_")
        self.shift_ = self._estimate(self._plain(target))
        self._follow(self.shift_.weights)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, given the target's shares."""
        check_is_fitted(self, "estimator_")
        p = self._calibrated(self._plain(X)) * self.class_weights_
        total = p.sum(1, keepdims=True)
        # A row all of whose likely classes are gone from the target: any of those left.
        return np.where(total > 0, p / np.where(total > 0, total, 1), self._target_shares())

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of each row."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def _estimate(self, target_scores: np.ndarray) -> LabelShift:
        raise NotImplementedError

    def _calibrate(self) -> None:
        """Learn from the source what `_calibrated` needs."""

    def _calibrated(self, scores: np.ndarray) -> np.ndarray:
        return scores

    def _plain(self, X: Any) -> np.ndarray:
        X = (
            validate_data(self, X, reset=False, skip_check_array=True)
            if _keeps(X)
            else validate_data(self, X, reset=False)
        )
        return self.estimator_.predict_proba(X)

    def _no_shift(self) -> None:
        self.shift_ = None
        self._follow(np.ones(len(self.classes_)))

    def _follow(self, class_weights: np.ndarray) -> None:
        self.class_weights_ = class_weights
        self.weights_ = of_mean_one(class_weights[self._labels])
        self.correction_ = Correction(self.weights_, type(self).__name__)

    def _target_shares(self) -> np.ndarray:
        shares = self.class_weights_ * np.bincount(self._labels)
        return shares / shares.sum()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.estimator is not None:
            tags.input_tags.allow_nan = get_tags(self.estimator).input_tags.allow_nan
        return tags


class BBSE(LabelShiftCorrector):
    """Black box shift estimation (`label_shift.bbse`), in a classifier. Arguments as of `LabelShiftCorrector`."""

    def _estimate(self, target_scores: np.ndarray) -> LabelShift:
        return bbse(self._scores, self.classes_[self._labels], target_scores)


class LabelShiftEM(LabelShiftCorrector):
    """Expectation maximisation (`label_shift.em`), in a classifier. Arguments as of `LabelShiftCorrector`, and:

    calibrate: bias-corrected temperature scaling of the classifier's probabilities, by held-out predictions.
    num_resamples: of the bootstrap that gives standard errors; 0 for none.
    """

    def __init__(
        self, estimator: Any = None, *, folds: int = 5, calibrate: bool = True, num_resamples: int = 100
    ) -> None:
        super().__init__(estimator, folds=folds)
        self.calibrate = calibrate
        self.num_resamples = num_resamples

    def _estimate(self, target_scores: np.ndarray) -> LabelShift:
        return em(
            self._scores, self.classes_[self._labels], target_scores,
            calibrate=self.calibrate, num_resamples=self.num_resamples,
        )  # fmt: skip

    def _calibrate(self) -> None:
        self.temperature_ = fit_temperature(self._scores, self._labels) if self.calibrate else None

    def _calibrated(self, scores: np.ndarray) -> np.ndarray:
        return scores if self.temperature_ is None else self.temperature_(scores)


def _keeps(X: Any) -> bool:
    """Tables are the inner estimator's to read: it may know categories and gaps."""
    return hasattr(X, "columns")
