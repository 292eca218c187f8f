"""The mean loss on the target with an interval that allows for weights that were estimated.

A regression of the loss on the features predicts the target's losses; the weights correct what it gets wrong on the
source:

    mean over the target of m(x)  +  Σ w (l - m(x)) / Σ w  over the source.

Errors of the weights and of the regression enter only as their product: where both are roughly right, the estimate
is as good as if both were known, and its interval, from the spread of the two terms, covers. Neither judges a row
that it was trained on. A mean weighted by estimated weights alone has no such protection.

Sources: Robins, Rotnitzky and Zhao 1994, JASA 89, 846; Reddi, Póczos and Smola 2015, Doubly robust covariate shift
correction (AAAI); Chernozhukov et al. 2018, Double/debiased machine learning, Econometrics J. 21, C1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.shift.classifier_weights import MOST_SQUARES
from mlplab.shift.ratio import RatioEstimator
from mlplab.shift.risk import Risk, one_each, risk_of, weighted_mean

FOLDS = 5


def doubly_robust_risk(
    corrector: RatioEstimator,
    X: Any,
    y: Any,
    losses: Any,
    *,
    regressor: Any = None,
    ci_prob: float = 0.95,
    seed: int = 0,
) -> Risk:
    """The corrected risk and its interval.

    Arguments:
      corrector: fitted on these X and y.
      X, y: the source's rows and the target's.
      losses: of each source row, of a model that was not trained on it.
      regressor: a scikit-learn regressor of losses on features; None for the better of a quadratic ridge regression
        and boosted trees, by squared error on rows unseen.
      seed: of the folds.

    Raises InvalidInput for a corrector fitted on other rows, and as `weighted_risk` does.
    """
    stats._check_prob("doubly_robust_risk.ci_prob", ci_prob)
    w, loss = one_each("doubly_robust_risk", corrector.weights_, losses)
    source, target = (np.concatenate(list(corrector.rows(rows).chunks())) for rows in (X, y))
    if len(source) != len(w):
        raise InvalidInput(
            "doubly_robust_risk.X", f"must be the {len(w):,} rows of `fit`", f"{len(source):,} rows"
        )
    unseen, predicted = _regression(source, loss, target, regressor, seed)
    level, of_target = float(predicted.mean()), (predicted - predicted.mean()) / len(predicted)
    rest, of_source = weighted_mean(w, loss - unseen)
    return risk_of(level + rest, of_source, of_target, w, loss, ci_prob)


def _regression(
    source: np.ndarray, loss: np.ndarray, target: np.ndarray, regressor: Any, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Losses predicted for each source row by a model that did not see it, and for the target by their mean."""
    folds = list(KFold(min(FOLDS, len(source)), shuffle=True, random_state=seed).split(source))
    tried = []
    for candidate in [regressor] if regressor is not None else candidate_regressors(source.shape[1], seed):
        unseen, predicted = np.empty(len(source)), np.zeros(len(target))
        for seen, held in folds:
            model: Any = clone(candidate)
            model.fit(source[seen], loss[seen])
            unseen[held] = model.predict(source[held])
            predicted += model.predict(target) / len(folds)
        tried.append((float(np.mean((loss - unseen) ** 2)), unseen, predicted))
    _, unseen, predicted = min(tried, key=lambda one: one[0])
    return unseen, predicted


def candidate_regressors(num_features: int, seed: int) -> list[Any]:
    """Regressors to choose among: one for smooth curves, one for steps."""
    squares = PolynomialFeatures(2 if num_features <= MOST_SQUARES else 1, include_bias=False)
    return [
        make_pipeline(StandardScaler(), squares, StandardScaler(), RidgeCV(np.logspace(-3, 3, 7))),
        HistGradientBoostingRegressor(max_iter=100, learning_rate=0.05, random_state=seed),
    ]
