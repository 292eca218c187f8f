"""The mean loss on the target, estimated by weighted source rows, with an interval and advice."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import stdtrit

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.stats import Interval

if TYPE_CHECKING:
    from jaxtyping import Float

Advice = Literal["correct", "do not correct", "undecided"]


@dataclass(frozen=True)
class Risk:
    """A corrected risk beside the uncorrected one.

    `difference` is corrected - uncorrected. `advice`: `correct` where its interval leaves out 0; `do not correct`
    where it does not and the corrected risk has the larger estimated mean squared error (its variance is above the
    uncorrected one's variance and squared bias, as far as that shows); `undecided` otherwise.
    """

    corrected: Interval
    uncorrected: Interval
    difference: Interval
    advice: Advice

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self)


def weighted_risk(weights: Float[Any, "row"], losses: Float[Any, "row"], *, ci_prob: float = 0.95) -> Risk:
    """Σwl/Σw, the self-normalised estimate, and its t interval, corrected for skewness.

    The variance is Σ w²(l - mean)²/(1 - w/Σw)² / (Σw)²: the sandwich estimate of a weighted least-squares mean, with
    each residual as if its row had been left out. Its degrees of freedom are (Σw²)²/Σw⁴ - 1, those of a sum of n
    squares of unequal size. Both matter where few rows carry the weight. Where their losses are large too, the estimate
    is most often too small and its variance with it: a plain t interval then misses the risk from below, and Hall's
    transformation moves both ends that way. Losses that are all equal tell nothing of their spread: then
    there is no interval.

    No interval knows of a region of large weights that no row was drawn from. `Correction.warnings` tells where that
    is likely; how often the interval then covers stands in docs/shift-weights.md.

    The weights are taken as known. Estimated ones bring an error of their own, which is not in the interval:
    `doubly_robust_risk` allows for it.

    Raises InvalidInput for weights or losses that are not finite, negative weights, or numbers that do not match.

    Sources: Hesterberg 1995, Technometrics 37, 185; MacKinnon and White 1985 (HC3); Bell and McCaffrey 2002; Hall 1992,
    On the removal of skewness by transformation, J. R. Stat. Soc. B 54, 221.
    """
    stats._check_prob("weighted_risk.ci_prob", ci_prob)
    w, loss = one_each("weighted_risk", weights, losses)
    mean, influence = weighted_mean(w, loss)
    return risk_of(mean, influence, np.empty(0), w, loss, ci_prob)


def weighted_mean(
    w: Float[np.ndarray, "row"], values: Float[np.ndarray, "row"]
) -> tuple[float, Float[np.ndarray, "row"]]:
    """Σwv/Σw, and what each row adds to its error."""
    share = w / w.sum()
    mean = float(share @ values)
    return mean, share * (values - mean) / np.maximum(1 - share, 1e-300)


def risk_of(
    estimate: float,
    of_source: Float[np.ndarray, "row"],
    of_target: Float[np.ndarray, "target"],
    w: Float[np.ndarray, "row"],
    loss: Float[np.ndarray, "row"],
    ci_prob: float,
) -> Risk:
    """A corrected risk from what each row of either sample adds to its error, beside the plain mean of the losses."""
    plain = float(loss.mean())
    plainly = (loss - plain) / (len(loss) - 1)
    degrees = _degrees(w)
    if np.ptp(loss) == 0:
        unknown = Interval(estimate, None, None, None, ci_prob, "skewness-corrected t", len(w))
        return Risk(unknown, replace(unknown, estimate=plain), replace(unknown, estimate=0.0), "undecided")
    corrected = _interval(estimate, np.concatenate([of_source, of_target]), degrees, len(w), ci_prob)
    uncorrected = _interval(plain, plainly, len(loss) - 1.0, len(w), ci_prob)
    apart = np.concatenate([of_source - plainly, of_target])
    difference = _interval(estimate - plain, apart, degrees, len(w), ci_prob)
    return Risk(corrected, uncorrected, difference, _advice(corrected, uncorrected, difference))


def one_each(owner: str, weights: Any, losses: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights and losses as arrays. Raises InvalidInput as `weighted_risk` does."""
    w, loss = (np.asarray(values, dtype=np.float64) for values in (weights, losses))
    if loss.ndim != 1 or len(loss) != len(w):
        rule = f"must be one number for each of the {len(w):,} weighted rows"
        raise InvalidInput(f"{owner}.losses", rule, f"shape {loss.shape}")
    if len(w) < 2:
        raise InvalidInput(f"{owner}.losses", "needs at least 2 rows", len(w))
    for name, values in (("weights", w), ("losses", loss)):
        bad = ~np.isfinite(values) if name == "losses" else ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise InvalidInput(
                f"{owner}.{name}", "must be finite, weights at least 0", f"{values[row]} in row {row}"
            )
    if not w.any():
        raise InvalidInput(f"{owner}.weights", "must not all be 0", f"{len(w)} zeros")
    return w, loss


def _degrees(w: np.ndarray) -> float:
    squares = (w / w.max()) ** 2
    return float(squares.sum() ** 2 / (squares @ squares)) - 1


def _interval(
    estimate: float, influence: Float[np.ndarray, "row"], degrees: float, num: int, ci_prob: float
) -> Interval:
    """An interval from what each row adds to the estimate's error. Without an end where one row carries all."""
    method, largest = "skewness-corrected t", float(np.abs(influence).max())
    at = float(stdtrit(degrees, (1 + ci_prob) / 2)) if degrees > 0 else math.inf
    if not math.isfinite(at) or not math.isfinite(largest):  # hardly more than one row counts
        return Interval(estimate, None, None, None, ci_prob, method, num)
    error = largest * float(np.linalg.norm(influence / largest)) if largest else 0.0
    skewness = float(((influence / error) ** 3).sum()) if error else 0.0
    low, high = (estimate - error * _unskewed(quantile, skewness) for quantile in (at, -at))
    # At a low level both ends may move to one side of the estimate: it belongs to its interval.
    return Interval(estimate, error, min(low, estimate), max(high, estimate), ci_prob, method, num)


def _unskewed(quantile: float, skewness: float) -> float:
    """Where t + s(2t² + 1)/6 + s²t³/27 is the quantile: Hall's cubic, which has one solution for any skewness s."""
    if abs(skewness) < 1e-6:
        return quantile
    return 3 / skewness * (math.cbrt(1 + skewness * (quantile - skewness / 6)) - 1)


def _advice(corrected: Interval, uncorrected: Interval, difference: Interval) -> Advice:
    if corrected.std_error is None or uncorrected.std_error is None or difference.std_error is None:
        return "do not correct"
    assert difference.ci_low is not None
    assert difference.ci_high is not None
    # Equal weights give the plain mean, to rounding.
    is_rounding = abs(difference.estimate) < 1e-9 * corrected.std_error
    if not is_rounding and (difference.ci_low > 0 or difference.ci_high < 0):
        return "correct"
    bias = max(difference.estimate**2 - difference.std_error**2, 0.0)
    is_worse = corrected.std_error**2 > uncorrected.std_error**2 + bias
    return "do not correct" if is_worse else "undecided"
