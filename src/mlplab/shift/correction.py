"""Importance weights with what must be known before they are used: how many rows they are worth, and when they hurt.

The weight of a source row is p(target)/p(source) at that row, up to a factor: under it, means over source rows are
means over the target. What is lost is precision: n weighted rows are worth about (Σw)²/Σw² rows of the target's own.

Sources: Shimodaira 2000, J. Stat. Planning Inference 90, 227; Kish 1965, Survey sampling (effective sample size).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.shift.risk import Risk, weighted_risk
from mlplab.shift.tail import largest_good_k, pareto_k

if TYPE_CHECKING:
    from jaxtyping import Float

FEW_ROWS = 30  # effective rows, below which a mean is hardly one
SMALL_SHARE = 0.05  # of the source's rows
UNCOVERED = 0.05  # share of the target's rows that may weigh more than every source row
ONE_ROW = 0.1  # share of all weight on one row


@dataclass(frozen=True, eq=False)
class Correction:
    """Weights of the source's rows, and their diagnosis.

    Arguments:
      weights: at least 0, with mean 1. `sample_weight` of any scikit-learn estimator, `Part.weights` of our engine.
      method: what found them.
      raw_mean: mean ratio over the source before it was scaled to 1; far below 1, the ratio misses part of the target.
        None where the method sets it to 1 itself.
      num_clipped: rows whose weight was cut to the cap.
      uncovered: share of the target's rows whose ratio is above that of every source row. Their like is not in the
        source, and no weight can put it there. None where the method gives no ratio for target rows.
    """

    weights: Float[np.ndarray, "row"]
    method: str
    raw_mean: float | None = None
    num_clipped: int = 0
    uncovered: float | None = None

    def __post_init__(self) -> None:
        stats.assert_weights(self.weights)

    @property
    def num_rows(self) -> int:
        return len(self.weights)

    @property
    def effective_sample_size(self) -> float:
        """(Σw)²/Σw²: so many rows of the target's own would do as well."""
        return float(self.weights.sum() ** 2 / (self.weights @ self.weights))

    @property
    def largest_share(self) -> float:
        """The share of all weight that lies on the one heaviest row."""
        return float(self.weights.max() / self.weights.sum())

    @cached_property
    def pareto_k(self) -> float | None:
        """The shape of the weights' upper tail (`tail.pareto_k`)."""
        return pareto_k(self.weights)

    @cached_property
    def warnings(self) -> dict[str, str]:
        """What speaks against the weights: `no-overlap`, `few-rows`, `one-row`, `heavy-tail`, each with a sentence."""
        return dict(self._warned())

    @property
    def will_hurt(self) -> bool:
        """Whether corrected figures are likely worse than uncorrected ones: no overlap, or too few effective rows."""
        return bool({"no-overlap", "few-rows"} & set(self.warnings))

    def _warned(self) -> list[tuple[str, str]]:
        found, rows, k = [], self.effective_sample_size, self.pareto_k
        beyond = self.uncovered is not None and self.uncovered > UNCOVERED
        if beyond or (self.raw_mean is not None and self.raw_mean < 0.5):
            share = f"{self.uncovered:.0%}" if beyond else "Much"
            text = (
                f"{share} of the target lies where the source has next to no rows: weights cannot make up for "
                "them. Collect such rows, or leave that part of the target out."
            )
            found.append(("no-overlap", text))
        if rows < FEW_ROWS or rows < SMALL_SHARE * self.num_rows:
            text = (
                f"{self.num_rows:,} weighted rows are worth {rows:,.1f} rows of the target: what is computed "
                "with them varies as much, and its interval covers less than it says. A model trained without "
                "weights may well be better."
            )
            found.append(("few-rows", text))
        if self.num_rows > 1 / ONE_ROW and self.largest_share > ONE_ROW:
            found.append(("one-row", f"One row carries {self.largest_share:.0%} of all weight."))
        if k is not None and k > largest_good_k(self.num_rows):
            text = (
                f"The weights have a heavy tail (Pareto k = {k:.2f}, above {largest_good_k(self.num_rows):.2f}): "
                "their spread, and intervals drawn from it, are too small."
            )
            found.append(("heavy-tail", text))
        return found

    def risk(self, losses: Float[Any, "row"], *, ci_prob: float = 0.95) -> Risk:
        """The mean loss on the target, by the weighted source rows, with its interval (`risk.weighted_risk`).

        The advice is not to correct where the weights `will_hurt`, whatever the losses say.

        Arguments:
          losses: of each source row, in the order of the weights, of a model that was not trained on it.

        Raises InvalidInput for losses that are not one finite number a row, and a ci_prob not in (0, 1).
        """
        found = weighted_risk(self.weights, losses, ci_prob=ci_prob)
        return replace(found, advice="do not correct") if self.will_hurt else found

    def table(self) -> pd.DataFrame:
        """One row: what the weights are worth."""
        return pd.DataFrame([{name: value for name, value in self.to_dict().items() if name != "warnings"}])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: all but the weights themselves."""
        k = self.pareto_k
        return {
            "method": self.method,
            "num_rows": self.num_rows,
            "effective_sample_size": self.effective_sample_size,
            "largest_share": self.largest_share,
            "largest_weight": float(self.weights.max()),
            "pareto_k": k if k is None or np.isfinite(k) else None,
            "num_clipped": self.num_clipped,
            "raw_mean": self.raw_mean,
            "uncovered": self.uncovered,
            "will_hurt": self.will_hurt,
            "warnings": self.warnings,
        }


def corrected(
    ratios: Float[np.ndarray, "row"],
    method: str,
    *,
    target_ratios: Float[np.ndarray, "row"] | None = None,
    clip: float | None = None,
) -> Correction:
    """Ratios of densities at the source's rows, made weights: cut to `clip` times their mean, then scaled to mean 1.

    Raises InvalidInput where every ratio is 0: then no source row is like any of the target.
    """
    ratios = np.asarray(ratios, np.float64)  # a network's are of float32, whose mean is 1 to 1e-7 alone
    largest = float(ratios.max())
    if not largest > 0 or not np.isfinite(largest):
        raise InvalidInput(
            f"{method}", "found no source row that is like the target's", f"a largest ratio of {largest:g}",
            "The two do not overlap: no weights can correct that",
        )  # fmt: skip
    scaled = ratios / largest  # or sums of huge and tiny ratios are infinite or nothing
    cap = np.inf if clip is None else clip * scaled.mean()
    weights = np.minimum(scaled, cap)
    uncovered = None
    if target_ratios is not None:
        # A hair above, for rounding: rows that lie in both have the same ratio.
        uncovered = float(np.mean(target_ratios > ratios.max() * (1 + 1e-9)))
    raw_mean = largest * float(scaled.mean())
    return Correction(of_mean_one(weights), method, raw_mean, int((scaled > cap).sum()), uncovered)


def of_mean_one(weights: Float[np.ndarray, "row"]) -> Float[np.ndarray, "row"]:
    """Weights up to a factor, not all 0, scaled to mean 1."""
    # By the largest first: the mean of tiny weights is itself rounded to nothing.
    scaled = weights / weights.max()
    return scaled / scaled.mean()
