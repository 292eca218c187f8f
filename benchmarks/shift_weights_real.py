"""Correctors on real data: houses by year built, and shifts that were made, so that their truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlplab.data import load, load_table
from mlplab.data.house_prices import FEATURES
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.label_shift import bbse, em
from mlplab.shift.least_squares import RULSIF, ULSIF

YEAR = 1973  # the median year built
TILT = np.array([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.12, 0.14, 0.16, 0.18])


def houses() -> list[dict[str, Any]]:
    """Ames: houses to 1973 against later ones, then a gradual split whose weights are known.

    In the gradual split a house of year t is drawn for the target with probability 1/(1 + exp(-(t - 1973)/15)): the
    true weight is those odds. Risk: mean squared error of the log price, of boosted trees by folds of the source.
    """
    table = load_table("house-prices")
    features = [*FEATURES.numeric, *FEATURES.categorical]
    price, year = np.log(table["SalePrice"].to_numpy()), table["YearBuilt"].to_numpy()
    odds = np.exp((year - YEAR) / 15)
    gradual = Stream(0, "split").uniform(len(table)) < odds / (1 + odds)
    found = []
    for split, is_target, true in (("built after 1973", year > YEAR, None), ("gradual", gradual, odds)):
        source, target = (table.loc[mask, features] for mask in (~is_target, is_target))
        numbers = [*FEATURES.numeric]
        regressor = HistGradientBoostingRegressor(random_state=0)
        of_source = cross_val_predict(regressor, source[numbers], price[~is_target], cv=5)
        losses = (of_source - price[~is_target]) ** 2
        on_target = regressor.fit(source[numbers], price[~is_target]).predict(target[numbers])
        truth = float(np.mean((on_target - price[is_target]) ** 2))
        for make in (ClassifierWeights, ULSIF, RULSIF):
            fitted = make().fit(source, target)
            risk, told = fitted.correction_.risk(losses), fitted.correction_.to_dict()
            lost = None
            if true is not None:
                t = true[~is_target] / true[~is_target].mean()
                lost = float(((fitted.weights_ - t) ** 2).sum() / ((1 - t) ** 2).sum())
            found.append(
                {
                    "split": split, "method": told["method"], "rows": told["num_rows"],
                    "effective_sample_size": told["effective_sample_size"], "warnings": list(told["warnings"]),
                    "error": lost, "risk_on_source": risk.uncorrected.estimate, "corrected": risk.corrected.to_dict(),
                    "risk_on_target": truth, "advice": risk.advice,
                }
            )  # fmt: skip
    return found


def fashion() -> list[dict[str, Any]]:
    """Fashion-MNIST: 5,000 training pictures teach a classifier, 5,000 more tell of its errors, 5,000 are the target.

    In the target, shares of classes are tilted: from .02 to .18.
    """
    data = load("fashion-mnist")
    x, y = data.train.features, data.train.targets
    order = Stream(0, "split").permutation(len(y))
    learn, held, rest = order[:5_000], order[5_000:10_000], order[10_000:]
    target = np.concatenate([rest[y[rest] == c][: round(5_000 * share)] for c, share in enumerate(TILT)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=50, tol=1e-2, C=0.01)).fit(
        x[learn], y[learn]
    )
    p, q = model.predict_proba(x[held]), model.predict_proba(x[target])
    found = []
    for name, shift in (
        ("BBSE", bbse(p, y[held], q)),
        ("EM", em(p, y[held], q, num_resamples=50)),
        ("EM, uncalibrated", em(p, y[held], q, calibrate=False, num_resamples=50)),
    ):
        table = shift.table()
        inside = (table["share_low"] <= TILT) & (table["share_high"] >= TILT)
        adapted = q * shift.weights
        found.append(
            {
                "method": name, "largest_error": float(np.abs(shift.target_shares - TILT).max()),
                "covered": int(inside.sum()), "classes": len(TILT),
                "largest_error_unadapted": float(np.abs(shift.source_shares - TILT).max()),
                "accuracy": float(np.mean(q.argmax(1) == y[target])),
                "accuracy_adapted": float(np.mean(adapted.argmax(1) == y[target])),
            }
        )  # fmt: skip
    return found
