"""Importance weights by a classifier that tells the target's rows from the source's: w = p/(1-p) · n_source/n_target.

Three things keep the ratio honest. No row is weighed by a classifier that saw it (cross-fitting): else the ratio is
that of the sample, not of the densities. The scores are calibrated, on rows that their classifier did not see:
boosted trees are too sure, a strong penalty too shy, and a ratio needs the odds to be right. And weights are cut at
√n times their mean, where the error of one row's weight would otherwise be that of the whole (Ionides 2008).

Sources: Bickel, Brückner and Scheffer 2007, Discriminative learning for differing training and test distributions
(ICML); Platt 1999 (calibration by a logistic curve); Ionides 2008, Truncated importance sampling, J. Comp. Graph.
Stat. 17, 295.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import log_expit, logit
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mlplab.errors import InvalidInput, UnknownName
from mlplab.shift.correction import Correction, corrected
from mlplab.shift.least_squares import at_least_one
from mlplab.shift.ratio import RatioEstimator, Rows

MOST_SQUARES = 30  # features, up to which `auto` also tries their squares and products
SURE = 1e-9  # shares are kept so far from 0 and 1


class ClassifierWeights(RatioEstimator):
    """Weights p(target)/p(source) by a calibrated, cross-fitted classifier.

    Arguments:
      classifier: `logistic`, `quadratic` (logistic, on features, their squares and products: exact for two Gaussians),
        `boosting` (gradient-boosted trees), a scikit-learn classifier with `predict_proba`, or `auto`: the one of
        the three with the least log loss on rows that it did not see.
      folds: of cross-fitting; at least 2.
      clip: weights are cut to so many times their mean; `auto` for √n, None for no cut.
      random_state: of the folds, and of a named classifier.

    After `fit`: `chosen_` (the classifier's name), `log_loss_` and `auc_` on rows unseen by their classifier, and what
    `RatioEstimator` has. `predict` gives the mean log ratio of the folds' classifiers, as a ratio.
    """

    def __init__(
        self,
        classifier: str | Any = "auto",
        *,
        folds: int = 5,
        clip: float | str | None = "auto",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.classifier = classifier
        self.folds = folds
        self.clip = clip
        self.random_state = random_state

    def _fit(self, source: np.ndarray, target: np.ndarray, random: np.random.RandomState) -> None:
        if at_least_one("ClassifierWeights.folds", self.folds) < 2:
            raise InvalidInput("ClassifierWeights.folds", "must be at least 2", self.folds)
        self._cap(len(source))
        seed = int(random.randint(2**31 - 1))
        rows = np.concatenate([source, target])
        is_target = np.repeat([0, 1], [len(source), len(target)])
        self._prior = np.log(len(source)) - np.log(len(target))
        folds = stratified_folds(is_target, self.folds, seed)
        fits = {
            name: CrossFit(classifier, rows, is_target, folds)
            for name, classifier in candidate_classifiers(self.classifier, rows.shape[1], seed).items()
        }
        self.chosen_ = min(fits, key=lambda name: fits[name].log_loss)
        self.log_losses_ = {name: fit.log_loss for name, fit in fits.items()}
        best = fits[self.chosen_]
        self.log_loss_, self.auc_, self._fitted = best.log_loss, best.auc, best

    def _correct(self, source: Rows, target: Rows) -> Correction:
        of_source, of_target = self._ratios(source), self._ratios(target)
        # A row that trained some of the classifiers is weighed by the one that it did not train.
        held_out = np.exp(self._fitted.unseen + self._prior)
        of_source[self._taught[0]], of_target[self._taught[1]] = np.split(held_out, [len(self._taught[0])])
        return self.correction_of(of_source, of_target)

    def correction_of(self, source_ratios: np.ndarray, target_ratios: np.ndarray) -> Correction:
        """As that of `RatioEstimator`, and cut."""
        clip = self._cap(len(source_ratios))
        return corrected(source_ratios, type(self).__name__, target_ratios=target_ratios, clip=clip)

    def _cap(self, num_rows: int) -> float | None:
        if self.clip is None:
            return None
        if self.clip == "auto":
            return float(np.sqrt(num_rows))
        if isinstance(self.clip, str) or not self.clip > 0:
            raise InvalidInput(
                "ClassifierWeights.clip", "must be 'auto', None or a number above 0", self.clip
            )
        return float(self.clip)

    def _ratio(self, rows: np.ndarray) -> np.ndarray:
        return np.exp(self._fitted.log_odds(rows) + self._prior)


def named_classifiers(seed: int) -> dict[str, Any]:
    """The classifiers by name: what tells linear, quadratic and other differences."""
    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)),
        "quadratic": make_pipeline(
            StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(),
            LogisticRegression(max_iter=1_000),
        ),
        "boosting": HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=seed),
    }  # fmt: skip


def candidate_classifiers(given: Any, num_features: int, seed: int) -> Mapping[str, Any]:
    """What `ClassifierWeights.classifier` stands for, by name. Raises InvalidInput or UnknownName for other things."""
    named = named_classifiers(seed)
    if not isinstance(given, str):
        if not hasattr(given, "predict_proba"):
            raise InvalidInput("classifier", "must be a name or a classifier with predict_proba", given)
        return {type(given).__name__: given}
    if given == "auto":
        return {name: c for name, c in named.items() if name != "quadratic" or num_features <= MOST_SQUARES}
    if given not in named:
        raise UnknownName("classifier", given, ["auto", *named])
    return {given: named[given]}


class CrossFit:
    """A classifier for each fold, trained without it, and a calibration for each, of scores that were held out.

    `unseen` is each row's calibrated log odds by the classifier that did not see it.
    """

    def __init__(self, classifier: Any, rows: np.ndarray, is_target: np.ndarray, folds: np.ndarray) -> None:
        names = range(folds.max() + 1)
        self.models: list[Any] = [clone(classifier) for _ in names]
        for fold, model in enumerate(self.models):
            model.fit(rows[folds != fold], is_target[folds != fold])
        raw = np.empty(len(rows))
        for fold in names:
            raw[folds == fold] = _log_odds(self.models[fold], rows[folds == fold])
        # Platt's two numbers for a fold come from the other folds' scores: no row calibrates itself.
        self.curves = [_platt(raw[folds != f], is_target[folds != f]) for f in names]
        self.unseen = np.empty(len(rows))
        for fold, (slope, shift) in enumerate(self.curves):
            self.unseen[folds == fold] = slope * raw[folds == fold] + shift
        self.log_loss = float(-np.mean(log_expit(np.where(is_target, self.unseen, -self.unseen))))
        self.auc = float(roc_auc_score(is_target, self.unseen))

    def log_odds(self, rows: np.ndarray) -> np.ndarray:
        """The mean of the folds' calibrated log odds."""
        found = [s * _log_odds(m, rows) + b for m, (s, b) in zip(self.models, self.curves, strict=True)]
        return np.mean(found, axis=0)


def _log_odds(model: Any, rows: np.ndarray) -> np.ndarray:
    return logit(np.clip(model.predict_proba(rows)[:, 1], SURE, 1 - SURE))


def _platt(scores: np.ndarray, is_target: np.ndarray) -> tuple[float, float]:
    """Slope (at least 0) and shift of the log odds that fit best."""
    fitted = LogisticRegression(C=np.inf).fit(scores[:, None], is_target)
    slope, shift = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0 or not np.isfinite([slope, shift]).all():
        # Scores that order the rows the wrong way round hold nothing: the share of each sample is all that is known.
        return 0.0, float(logit(is_target.mean()))
    return slope, shift


def stratified_folds(is_target: np.ndarray, num: int, seed: int) -> np.ndarray:
    """A fold for each row, from 0, each with its part of both samples."""
    num = min(num, *np.bincount(is_target).tolist())
    splitter = StratifiedKFold(num, shuffle=True, random_state=seed)
    folds = np.empty(len(is_target), dtype=np.int64)
    for fold, (_, held) in enumerate(splitter.split(is_target, is_target)):
        folds[held] = fold
    return folds
