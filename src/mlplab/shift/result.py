"""What a detector answers: a statistic with its p-value and decision, what drives it, and what it could have found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from mlplab import stats
from mlplab.shift.notices import Notice

if TYPE_CHECKING:
    import altair

POWER = 0.8  # how likely a shift is found that counts as one the test "would find"


@dataclass(frozen=True)
class Driver:
    """A feature or class, and its part in the shift: in the measure that `ShiftResult.driver_measure` names.

    `p_value` is adjusted by Holm over all features or classes; None where the detector tests none on its own.
    """

    name: str
    score: float
    p_value: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Power:
    """How likely samples of these sizes show a shift, by its size.

    Arguments:
      measure: what `sizes` measures.
      smallest: the smallest shift that is found with probability .8; None where even the largest on the curve is not.
      observed: the size that was seen, in the same measure, where it can be told.
    """

    measure: str
    sizes: tuple[float, ...]
    probabilities: tuple[float, ...]
    smallest: float | None
    observed: float | None = None


@dataclass(frozen=True)
class Distribution:
    """What differs, as a picture: shares of both samples over bins of a number or over labels."""

    title: str
    axis: str
    labels: tuple[str, ...]
    edges: tuple[float, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True)
class ShiftResult:
    """One comparison of a current sample with the reference.

    Arguments:
      detector: C2ST, MMD, features or BBSD.
      method: what was done, in a line.
      statistic: named by `statistic_name`; with a 95% interval where one is known.
      p_value: how likely a statistic as large is where nothing has shifted, at most.
      alpha: the level that `is_shift` is decided at.
      drivers: strongest first. Where no shift is found they are what chance brings.
      notices: what is odd about the samples.
    """

    detector: str
    method: str
    statistic_name: str
    statistic: float
    p_value: float
    alpha: float
    num_reference: int
    num_current: int
    driver_measure: str = ""
    drivers: tuple[Driver, ...] = ()
    power: Power | None = None
    distribution: Distribution | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    notices: tuple[Notice, ...] = ()

    def __post_init__(self) -> None:
        stats.assert_ordered(self.ci_low, self.statistic, self.ci_high)
        stats.assert_ordered(0, self.p_value, 1)

    @property
    def is_shift(self) -> bool:
        """Whether a shift is found at level alpha."""
        return self.p_value <= self.alpha

    @property
    def decision(self) -> Literal["shift", "no shift found"]:
        return "shift" if self.is_shift else "no shift found"

    @property
    def would_find(self) -> str:
        """The smallest shift that samples of these sizes show with probability .8, in words."""
        if self.power is None:
            return "not known"
        if self.power.smallest is None:
            return f"none up to {self.power.sizes[-1]:.3g} ({self.power.measure})"
        return f"{self.power.smallest:.3g} ({self.power.measure})"

    def table(self) -> pd.DataFrame:
        """A row for each figure: quantity, value."""
        rows: list[tuple[str, object]] = [
            ("detector", self.detector),
            ("decision", self.decision),
            ("p-value", self.p_value),
            ("alpha", self.alpha),
            (self.statistic_name, self.statistic),
        ]
        if self.ci_low is not None and self.ci_high is not None:
            rows.append(("95% interval", f"{self.ci_low:.4g} to {self.ci_high:.4g}"))
        rows += [
            ("rows", f"{self.num_reference:,} reference, {self.num_current:,} current"),
            ("driven by", ", ".join(driver.name for driver in self.drivers[:5]) or "not asked for"),
            (f"shift found with probability {POWER:g}", self.would_find),
            ("method", self.method),
        ]
        return pd.DataFrame(rows, columns=["quantity", "value"])

    def driver_table(self) -> pd.DataFrame:
        """A row for each driver: name, score in `driver_measure`, p_value, note."""
        columns = ["name", "score", "p_value", "note"]
        return pd.DataFrame([asdict(driver) for driver in self.drivers], columns=columns)

    def plot(self) -> altair.HConcatChart:
        """What differs, what drives it, and power: side by side."""
        from mlplab.shift.result_figure import plot_result

        return plot_result(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        found = _plain(asdict(self))
        return found | {"decision": self.decision}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def power_curve(
    measure: str, sizes: np.ndarray, probabilities: np.ndarray, observed: float | None = None
) -> Power:
    """A curve with the size at which it first reaches .8, by linear interpolation."""
    rising = np.maximum.accumulate(np.clip(probabilities, 0, 1))
    smallest = None
    if rising[-1] >= POWER:
        at = int(np.argmax(rising >= POWER))
        smallest = float(sizes[0])
        if at:
            share = (POWER - rising[at - 1]) / (rising[at] - rising[at - 1])
            smallest = float(sizes[at - 1] + share * (sizes[at] - sizes[at - 1]))
    return Power(measure, tuple(map(float, sizes)), tuple(map(float, rising)), smallest, observed)


def histogram(
    title: str, axis: str, values: np.ndarray, is_current: np.ndarray, bins: int = 30
) -> Distribution:
    """Shares of both samples over bins between the first and the last thousandth of all values."""
    values = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(values, [0.001, 0.999])
    if not low < high:
        low, high = float(values.min()) - 0.5, float(values.max()) + 0.5
    edges = np.linspace(low, high, bins + 1)
    clipped = np.clip(values, low, high)
    shares = [
        np.histogram(clipped[side], edges)[0] / max(1, side.sum()) for side in (~is_current, is_current)
    ]
    return Distribution(title, axis, (), tuple(edges.tolist()), *(tuple(side.tolist()) for side in shares))


def bars(title: str, axis: str, labels: list[str], counts: np.ndarray, most: int = 20) -> Distribution:
    """Shares of both samples over labels: the `most` frequent, and the rest as one."""
    order = np.argsort(-counts.sum(axis=0), kind="stable")
    shares = (counts / counts.sum(axis=1, keepdims=True))[:, order]
    names = [labels[place] for place in order]
    if len(names) > most:
        shares = np.column_stack([shares[:, : most - 1], shares[:, most - 1 :].sum(axis=1)])
        names = [*names[: most - 1], "(others)"]
    return Distribution(title, axis, tuple(names), (), *(tuple(side.tolist()) for side in shares))
