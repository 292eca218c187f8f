"""Label shift: the classes' shares have changed, what each looks like has not. By how much, from predictions alone.

Two estimates of w_j = target share / source share of each class, from a classifier's predictions p:

- **BBSE** solves C w = μ, with C_ij the source's mean of p_i where the label is j, and μ the target's mean
  prediction. It asks of the classifier only that it tells the classes apart; its variance is a formula.
- **EM** finds the shares under which the target's predictions are most likely. It is more precise, and asks that the
  probabilities are calibrated: bias-corrected temperature scaling comes first.

Sources: Lipton, Wang and Smola 2018, Detecting and correcting for label shift with black box predictors (ICML);
Saerens, Latinne and Decaestecker 2002, Adjusting the outputs of a classifier to new a priori probabilities, Neural
Comp. 14, 21; Alexandari, Kundaje and Shrikumar 2020 (ICML).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.rng import Stream
from mlplab.shift.temperature import Temperature, fit_temperature, floored

if TYPE_CHECKING:
    from jaxtyping import Float

INDISTINCT = 0.1  # of the confusion's largest singular value: below it some classes are hardly told apart
LEAST_MEAN = 1e-6  # of BBSE's weights over the source, which is 1 where some weights lead to the target
EM_STEPS = 10_000
EM_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class LabelShift:
    """Target share over source share of each class, and the target's shares, each with its interval.

    Arguments:
      weights: at least 0; their mean over the source is 1.
      errors, share_errors: standard errors.
      condition: smallest over largest singular value of the confusion, each column made to sum to 1. Near 0, some
        classes cannot be told apart by the classifier, and neither can their weights.
    """

    classes: np.ndarray
    weights: Float[np.ndarray, "class"]
    errors: Float[np.ndarray, "class"]
    source_shares: Float[np.ndarray, "class"]
    target_shares: Float[np.ndarray, "class"]
    share_errors: Float[np.ndarray, "class"]
    condition: float
    method: str
    ci_prob: float = 0.95

    def __post_init__(self) -> None:
        stats.assert_weights(self.weights, self.source_shares)
        stats.assert_shares(self.target_shares)

    @property
    def warnings(self) -> dict[str, str]:
        """What speaks against the weights, by name: `indistinct-classes`. Empty if nothing does."""
        if self.condition >= INDISTINCT:
            return {}
        return {
            "indistinct-classes": "The classifier hardly tells some classes apart (its confusion has condition "
            f"{self.condition:.3f}): their weights are guesses. A better classifier is needed."
        }

    def table(self) -> pd.DataFrame:
        """A row for each class."""
        z = float(ndtri((1 + self.ci_prob) / 2))
        return pd.DataFrame(
            {
                "class": self.classes,
                "source_share": self.source_shares,
                "target_share": self.target_shares,
                "share_low": np.maximum(self.target_shares - z * self.share_errors, 0),
                "share_high": np.minimum(self.target_shares + z * self.share_errors, 1),
                "weight": self.weights,
                "weight_low": np.maximum(self.weights - z * self.errors, 0),
                "weight_high": self.weights + z * self.errors,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        rows = self.table().to_dict("records")
        return {
            "method": self.method,
            "ci_prob": self.ci_prob,
            "condition": self.condition,
            "warnings": self.warnings,
            "classes": [
                {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()} for row in rows
            ],
        }


def bbse(
    scores: Float[Any, "row class"],
    labels: Any,
    target_scores: Float[Any, "target class"],
    *,
    classes: Any = None,
    ci_prob: float = 0.95,
) -> LabelShift:
    """Black box shift estimation. The interval allows for both samples (delta method).

    Arguments:
      scores: the classifier's predictions for labelled source rows that did not train it: probabilities, or 0 and 1.
      labels: of those rows.
      target_scores: the same classifier's predictions for the target.
      classes: what the columns of scores stand for; None for the labels in order.

    Raises InvalidInput for scores that are not finite, not at least 0 or of other shapes, for classes without a row,
    and where no weights at all lead from the source's predictions to the target's.
    """
    names, p, y, q = _checked("bbse", scores, labels, target_scores, classes, ci_prob)
    weights, confusion = _solve(p, y, q)
    inverse = np.linalg.pinv(confusion)
    shares = np.bincount(y, minlength=len(names)) / len(y)
    hot = np.eye(len(names))[y]
    # What each row adds to the error of w = C⁻¹μ: target rows by μ, source rows by C.
    from_source = -(p * weights[y][:, None] - confusion @ weights) @ inverse.T
    from_target = (q - q.mean(0)) @ inverse.T
    variance = from_source.var(0) / len(p) + from_target.var(0) / len(q)
    of_shares = from_source * shares + weights * (hot - shares)
    share_variance = of_shares.var(0) / len(p) + (from_target * shares).var(0) / len(q)
    if not np.maximum(weights, 0) @ shares > LEAST_MEAN:
        rule = "must be alike in both samples"
        remedy = "No mixture of the classes is predicted as the target is: no weights can correct that"
        raise InvalidInput("bbse.scores", rule, "target predictions unlike those of any class", remedy)
    clipped, target_shares = _with_shares(np.maximum(weights, 0), shares)
    return LabelShift(
        names, clipped, np.sqrt(variance), shares, target_shares, np.sqrt(share_variance),
        _condition(confusion), "BBSE", ci_prob,
    )  # fmt: skip


def em(
    scores: Float[Any, "row class"],
    labels: Any,
    target_scores: Float[Any, "target class"],
    *,
    classes: Any = None,
    calibrate: bool = True,
    num_resamples: int = 100,
    ci_prob: float = 0.95,
    seed: int = 0,
) -> LabelShift:
    """Expectation maximisation of the target's shares, after bias-corrected temperature scaling.

    Its standard errors come of a bootstrap of both samples, with calibration and EM run anew each time. Arguments
    and what is raised are those of `bbse`, and:
      calibrate: False takes the scores as they are: a weight is then the ratio of a class's mean predictions, scaled
        to mean 1 over the source. Where they are off, it is off, but less than those predictions are.
      num_resamples: of the bootstrap; 0 for no standard errors (NaN).
    """
    names, p, y, q = _checked("em", scores, labels, target_scores, classes, ci_prob)
    found, temperature = _most_likely_weights(p, y, q, calibrate)
    shares = np.bincount(y, minlength=len(names)) / len(y)
    stream = Stream(seed, "order")
    drawn = []
    for _ in range(num_resamples):
        n_source, n_target = (_resampled(stream, len(rows)) for rows in (p, q))
        again, _ = _most_likely_weights(p, y, q, calibrate, n_source, n_target, temperature, found)
        # A class that this resample has no row of counts half a row: no share at all would have no weight.
        counts = np.maximum(np.bincount(y, n_source, minlength=len(names)), 0.5)
        source = counts / counts.sum()
        drawn.append(_with_shares(again, source))
    if num_resamples > 1:
        errors, share_errors = np.std(drawn, axis=0, ddof=1)
    else:
        errors = share_errors = np.full(len(names), np.nan)
    weights, target_shares = _with_shares(found, shares)
    return LabelShift(
        names, weights, errors, shares, target_shares, share_errors,
        _condition(_confusion(p, y)), "EM", ci_prob,
    )  # fmt: skip


def _with_shares(ratios: np.ndarray, source_shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of mean 1 over the source from ratios up to a factor, and the target's shares that they give.

    EM's ratios are over the mean predictions. These are the labels' shares only where the classifier is calibrated:
    elsewhere the ratios have another mean over the labels, and the product with them would be no shares.
    """
    shares = ratios * source_shares
    total = shares.sum()
    return ratios / total, shares / total


def _confusion(p: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Joint: (predicted, label); sums to 1."""
    hot = np.eye(p.shape[1])[y]
    if counts is None:
        return p.T @ hot / len(p)
    return (p * counts[:, None]).T @ hot / counts.sum()


def _solve(p: np.ndarray, y: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confusion = _confusion(p, y)
    return np.linalg.lstsq(confusion, q.mean(0), rcond=None)[0], confusion


def _condition(confusion: np.ndarray) -> float:
    values = np.linalg.svd(confusion / confusion.sum(0), compute_uv=False)
    return float(values[-1] / values[0])


def _most_likely_weights(
    p: np.ndarray,
    y: np.ndarray,
    q: np.ndarray,
    calibrate: bool,
    source_counts: np.ndarray | None = None,
    target_counts: np.ndarray | None = None,
    start: Temperature | None = None,
    first: np.ndarray | None = None,
) -> tuple[np.ndarray, Temperature | None]:
    """EM's fixed point; rows count as often as they were drawn."""
    temperature = fit_temperature(p, y, source_counts, start) if calibrate else None
    # A class that is given no chance has no ratio: it is given next to none.
    p, q = (floored(rows if temperature is None else temperature(rows)) for rows in (p, q))
    # The shares that the predictions imply, not the labels': the two agree once calibrated (Alexandari et al.,
    # section 3.3).
    source = np.average(p, axis=0, weights=source_counts)
    each = np.full(len(q), 1 / len(q)) if target_counts is None else target_counts / target_counts.sum()
    shares = source if first is None else np.maximum(first * source, 1e-6)
    shares = shares / shares.sum()
    ratio = q / source
    for _ in range(EM_STEPS):
        joint = ratio * shares
        before, shares = shares, each @ (joint / joint.sum(1, keepdims=True))
        if np.abs(shares - before).max() < EM_TOLERANCE:
            break
    return shares / source, temperature


def _resampled(stream: Stream, num: int) -> np.ndarray:
    """How often each row is drawn when `num` are drawn with replacement."""
    return np.bincount((stream.uniform(num) * num).astype(np.int64), minlength=num).astype(np.float64)


def _checked(
    owner: str, scores: Any, labels: Any, target_scores: Any, classes: Any, ci_prob: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    stats._check_prob(f"{owner}.ci_prob", ci_prob)
    p, q = (np.asarray(values, dtype=np.float64) for values in (scores, target_scores))
    given = np.asarray(labels)
    names = np.unique(given) if classes is None else np.asarray(classes)
    for name, values in (("scores", p), ("target_scores", q)):
        if values.ndim != 2 or values.shape[1] != len(names) or len(values) < 2:
            rule = f"must have 2 rows or more and a column for each of {len(names)} classes"
            raise InvalidInput(f"{owner}.{name}", rule, f"shape {values.shape}")
        if not np.isfinite(values).all() or (values < 0).any() or not values.sum(1).all():
            raise InvalidInput(
                f"{owner}.{name}", "must be probabilities: finite, at least 0, some above 0", "others"
            )
    if len(given) != len(p):
        raise InvalidInput(f"{owner}.labels", f"must be one for each of {len(p)} rows", len(given))
    places = {name: place for place, name in enumerate(names.tolist())}
    if unknown := [name for name in np.unique(given).tolist() if name not in places]:
        raise InvalidInput(f"{owner}.labels", f"must be among the classes {names.tolist()}", unknown[0])
    y = np.array([places[name] for name in given.tolist()])
    if not (np.bincount(y, minlength=len(names)) > 0).all():
        absent = names[np.bincount(y, minlength=len(names)) == 0].tolist()
        raise InvalidInput(
            f"{owner}.labels", "must hold every class: no weight makes up for a class without rows", absent
        )
    return names, p / p.sum(1, keepdims=True), y, q / q.sum(1, keepdims=True)
