"""Have the shares of the classes shifted? A test on a model's predictions: no label of the current sample is needed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from mlplab import stats
from mlplab.errors import InvalidInput, UnknownName
from mlplab.shift import distances, result
from mlplab.shift.by_feature import ks_p_values, table_p_value
from mlplab.shift.detector import Detector
from mlplab.shift.notices import Notice
from mlplab.shift.result import Driver, ShiftResult
from mlplab.shift.tables import Pair


class BBSDDetector(Detector):
    """Black-box shift detection: two samples of a model's predictions are compared, not the inputs.

    If only the shares of the classes shift (P(x|y) stays), any model that is better than chance shows it. The model
    need not be right, nor calibrated.

    Arguments:
      model: fitted, with `predict_proba` (or `predict`, for predicted classes). None where `fit` and `test` get the
        predictions themselves: scores (row, class), or one column of class names or numbers. The reference must not be
        what the model was trained on: it is surer there, and that alone is a shift.
      on: `classes`, χ² of the predicted classes (two: Fisher's exact test); `scores`, KS of each class's score with
        Holm over classes.
      alpha: chance of a false alarm.
      num_drivers: how many classes the result names.
      seed: of the tables that are drawn where counts are small.

    Sources: Lipton, Wang and Smola 2018, Detecting and correcting for label shift with black box predictors, section 5;
    Rabanser, Günnemann and Lipton 2019 (BBSDh is `classes`, BBSDs is `scores`).
    Attributes after `fit`: `reference_`, `n_features_in_`, `feature_names_in_`.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        on: Literal["classes", "scores"] = "classes",
        alpha: float = 0.05,
        num_drivers: int = 10,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.on = on
        self.alpha = alpha
        self.num_drivers = num_drivers
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        if self.on not in ("classes", "scores"):
            raise UnknownName("BBSDDetector.on", self.on, ("classes", "scores"))
        if self.model is not None and not (
            hasattr(self.model, "predict_proba") or hasattr(self.model, "predict")
        ):
            rule = "must have predict_proba or predict"
            raise InvalidInput("BBSDDetector.model", rule, type(self.model).__name__)
        if self.on == "scores" and self.model is not None and not hasattr(self.model, "predict_proba"):
            rule = "must have predict_proba where scores are compared"
            raise InvalidInput("BBSDDetector.model", rule, type(self.model).__name__, "Or take on='classes'")

    def _prepared(self, given: Any) -> Any:
        if self.model is None:
            return given
        if hasattr(self.model, "predict_proba"):
            names = [str(name) for name in getattr(self.model, "classes_", [])]
            scores = np.asarray(self.model.predict_proba(given))
            return pd.DataFrame(scores, columns=names if len(names) == scores.shape[1] else None)
        return pd.DataFrame({"predicted": np.asarray(self.model.predict(given)).astype(str)})

    def _compare(self, both: Pair) -> ShiftResult:
        rng = np.random.Generator(np.random.Philox(key=self.seed))
        if self.on == "scores":
            return self._compare_scores(both)
        names, codes = self._predicted(both)
        counts = distances.table_of(codes, both.is_current, len(names))
        present = [names[code] for code in np.unique(codes)]
        p_value = table_p_value(counts, rng)
        # Each class against the rest: which of them moved.
        rest = counts.sum(axis=1)
        each = [table_p_value(np.stack([column, rest - column], axis=1), rng) for column in counts.T]
        adjusted = stats.holm(each)
        shares = counts / rest[:, None]
        drivers = [
            Driver(name, float(now - was), float(p), f"{was:.1%} → {now:.1%}")
            for name, was, now, p in zip(present, *shares, adjusted, strict=True)
        ]
        drivers.sort(key=lambda driver: (driver.p_value, -abs(driver.score)))
        notices = ()
        if len(present) < 2:
            text = f"only class {present[0]!r} is predicted in both samples: the test cannot see anything"
            notices = (Notice("single-class", text),)
        return ShiftResult(
            detector="BBSD",
            method=f"shares of {len(present)} predicted classes",
            statistic_name="total variation of the class shares",
            statistic=0.5 * float(np.abs(shares[1] - shares[0]).sum()),
            p_value=p_value,
            alpha=self.alpha,
            num_reference=both.num_reference,
            num_current=both.num_current,
            driver_measure="change of the class's share",
            drivers=tuple(drivers[: self.num_drivers]),
            power=_power(counts, self.alpha, both),
            distribution=result.bars("Predicted classes", "class", present, counts),
            notices=notices,
        )

    def _predicted(self, both: Pair) -> tuple[list[str], np.ndarray]:
        """Names of the classes, and the number of each row's."""
        if both.codes.shape[1] == 1 and not both.numbers.shape[1]:
            codes = both.codes[:, 0]
            return [*both.levels[0], "missing"], np.where(codes < 0, len(both.levels[0]), codes)
        if both.codes.shape[1]:
            rule = "must be scores, one column a class, or one column of classes"
            raise InvalidInput("BBSDDetector: predictions", rule, both.names)
        if both.has_missing.any():
            raise InvalidInput("BBSDDetector: predictions", "must not be missing", "NaN")
        if both.numbers.shape[1] == 1:
            levels, codes = np.unique(both.numbers[:, 0], return_inverse=True)
            return [f"{level:g}" for level in levels], codes
        return list(both.number_names), both.numbers.argmax(axis=1)

    def _compare_scores(self, both: Pair) -> ShiftResult:
        if both.codes.shape[1] or both.has_missing.any():
            rule = "must be scores, one column a class, none missing"
            raise InvalidInput("BBSDDetector: predictions", rule, both.names)
        distance, _ = distances.kolmogorov_smirnov(both.numbers, both.is_current)
        p = ks_p_values(distance, both.numbers, both.is_current)
        adjusted = stats.holm(p)
        means = [both.numbers[side].mean(axis=0) for side in (~both.is_current, both.is_current)]
        order = np.lexsort((-distance, p))
        drivers = tuple(
            Driver(
                both.number_names[i],
                float(distance[i]),
                float(adjusted[i]),
                f"mean score {means[0][i]:.3g} → {means[1][i]:.3g}",
            )
            for i in order[: self.num_drivers]
        )
        first = int(order[0])
        counts = np.stack([both.numbers[side].mean(axis=0) for side in (~both.is_current, both.is_current)])
        total = np.bincount(both.numbers.argmax(axis=1), minlength=both.numbers.shape[1])
        return ShiftResult(
            detector="BBSD",
            method=f"KS of each class's score, Holm over {len(p)} classes",
            statistic_name="largest KS distance",
            statistic=float(distance[first]),
            p_value=float(adjusted.min()),
            alpha=self.alpha,
            num_reference=both.num_reference,
            num_current=both.num_current,
            driver_measure="KS distance of the class's score",
            drivers=drivers,
            power=_power(np.stack([total, total]), self.alpha, both),
            distribution=result.bars("Mean scores", "class", list(both.number_names), counts)
            if (counts >= 0).all() and (counts.sum(axis=1) > 0).all()
            else None,
        )


def _power(counts: np.ndarray, alpha: float, both: Pair) -> result.Power | None:
    """Of χ² where a share ε of all examples moves from the most frequent class to the second."""
    shares = np.sort(counts.sum(axis=0) / counts.sum())[::-1]
    shares = shares[shares > 0]
    if len(shares) < 2:
        return None
    n, m, df = both.num_reference, both.num_current, len(shares) - 1
    sizes = np.linspace(0, shares[0], 101)
    # Cohen's w² of the pooled table: Σ (p - q)²·weights / pooled share.
    shift = sizes**2 * (1 / shares[0] + 1 / shares[1]) * n * m / (n + m)
    probability = scipy_stats.ncx2.sf(scipy_stats.chi2.isf(alpha, df), df, np.maximum(shift, 1e-9))
    return result.power_curve(
        "share of examples that moves from the first class to the second", sizes, probability
    )
