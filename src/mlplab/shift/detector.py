"""What all detectors share: `fit` a reference, `test` a current sample, or many windows of a stream."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mlplab import stats
from mlplab.errors import InvalidInput, import_extra
from mlplab.shift import tables
from mlplab.shift.notices import Notice, warn_of
from mlplab.shift.result import ShiftResult
from mlplab.shift.tables import Pair, Sample

if TYPE_CHECKING:
    import altair


MOST_PERMUTATIONS = 100_000  # of 4,000 rows: 400 MB of labels, and minutes
WHY_NO_LESS = (
    "A permutation p-value is never below 1/(permutations + 1), and no more than "
    f"{MOST_PERMUTATIONS:,} permutations are made"
)


class Detector(BaseEstimator):
    """Compares samples with a reference; the null hypothesis is that both come from one distribution.

    Attributes after `fit`: `reference_` (the sample), `n_features_in_`, and `feature_names_in_` of a table.
    """

    alpha: float

    def fit(self, reference: Any, y: None = None) -> Self:
        """Remember the reference: a table (pandas), or an array with a row for each example.

        Raises InvalidInput for an option out of range, and for data as `tables.read` says.
        """
        self._check_options()
        owner = f"{type(self).__name__}.fit"
        self.reference_, self._notices = tables.read(owner, self._prepared(reference))
        names = self.reference_.schema.names
        self.n_features_in_ = len(names)
        if self.reference_.schema.shape is None and all(
            isinstance(n, str) for n in getattr(reference, "columns", [0])
        ):
            self.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def test(self, current: Any) -> ShiftResult:
        """Compare a sample with the reference.

        Warns with DataWarning of oddities (`ShiftResult.notices`). Raises InvalidInput for data that does not fit the
        reference.
        """
        result = self._test(current, self.alpha, f"{type(self).__name__}.test")
        warn_of(result.notices)
        return result

    def test_windows(self, windows: Iterable[Any], names: Sequence[str] | None = None) -> WindowsResult:
        """Compare many samples with the reference. The chance of any false alarm among them is at most alpha (Holm).

        Raises InvalidInput where the smallest p-value of the permutations could not reach alpha / number of windows.
        """
        samples = list(windows)
        if not samples:
            raise InvalidInput(f"{type(self).__name__}.test_windows", "needs at least one window", samples)
        named = [str(place) for place in range(len(samples))] if names is None else list(names)
        if len(named) != len(samples):
            raise InvalidInput("names", f"must have one name for each of {len(samples)} windows", len(named))
        self._check_reach(self.alpha / len(samples))
        owner = f"{type(self).__name__}.test_windows"
        results = [
            self._test(sample, self.alpha, f"{owner}[{name}]")
            for name, sample in zip(named, samples, strict=True)
        ]
        warn_of(notice for result in results for notice in result.notices)
        adjusted = stats.holm([result.p_value for result in results])
        return WindowsResult(tuple(named), tuple(results), tuple(adjusted.tolist()), self.alpha)

    def monitor(self, windows: Iterable[Any]) -> Iterator[ShiftResult]:
        """Compare windows as they come, without end. The chance of any false alarm, ever, is at most alpha.

        Window t = 1, 2, ... is tested at alpha·6/(π²t²): these levels sum to alpha (each result names its own). It
        stops being able to alarm where a permutation test cannot reach the level: InvalidInput then says how many
        permutations the next window needs, or that more than MOST_PERMUTATIONS would be needed.
        """
        for number, window in enumerate(windows, start=1):
            level = self.alpha * 6 / (math.pi * number) ** 2
            self._check_reach(level)
            result = self._test(window, level, f"{type(self).__name__}.monitor[{number}]")
            warn_of(result.notices)
            yield result

    def _test(self, current: Any, alpha: float, owner: str) -> ShiftResult:
        check_is_fitted(self, "reference_")
        sample, notices = tables.read(owner, self._prepared(current), self.reference_.schema)
        both, more = tables.pair(self.reference_, sample)
        result = self._compare(both)
        return replace(result, alpha=alpha, notices=(*self._notices, *notices, *more, *result.notices))

    def compare_samples(self, reference: Sample, current: Sample) -> ShiftResult:
        """Compare two samples that were read already. Neither warns nor remembers."""
        self._check_options()
        both, notices = tables.pair(reference, current)
        result = self._compare(both)
        return replace(result, notices=(*notices, *result.notices))

    def _prepared(self, given: Any) -> Any:
        """What is compared: the data themselves, unless a detector looks at something made of them."""
        return given

    @abstractmethod
    def _compare(self, both: Pair) -> ShiftResult: ...

    def _smallest_p(self) -> float:
        """The smallest p-value that the method can give."""
        return 0.0

    def _check_reach(self, level: float) -> None:
        """Raises InvalidInput where the permutations cannot show a p-value of this level, or none that are bearable."""
        if self._smallest_p() > level:
            if math.ceil(1 / level) - 1 > MOST_PERMUTATIONS:
                raise InvalidInput(
                    f"{type(self).__name__}.alpha",
                    f"must leave each test a level of at least {1 / (MOST_PERMUTATIONS + 1):.1g}",
                    level,
                    WHY_NO_LESS,
                )
            raise InvalidInput(
                f"{type(self).__name__}.num_permutations",
                f"must be at least {math.ceil(1 / level) - 1} to reach a level of {level:.2g}",
                getattr(self, "num_permutations", None),
                "A permutation p-value is never below 1/(permutations + 1)",
            )

    def _check_options(self) -> None:
        owner = type(self).__name__
        if not (isinstance(self.alpha, (int, float)) and 0 < self.alpha < 1):
            raise InvalidInput(f"{owner}.alpha", "must be in (0, 1)", self.alpha, "0.05 is usual")
        for name, low in (("num_permutations", 1), ("num_drivers", 0), ("seed", 0), ("num_folds", 2)):
            value = getattr(self, name, low)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise InvalidInput(f"{owner}.{name}", f"must be a whole number, at least {low}", value)
        if (count := getattr(self, "num_permutations", 1)) > MOST_PERMUTATIONS:
            rule = f"must be at most {MOST_PERMUTATIONS:,}"
            raise InvalidInput(f"{owner}.num_permutations", rule, count, WHY_NO_LESS)
        self._check_reach(self.alpha)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.three_d_array = True
        return tags


@dataclass(frozen=True)
class WindowsResult:
    """Many windows against one reference: `p_values` are adjusted by Holm over all of them."""

    names: tuple[str, ...]
    results: tuple[ShiftResult, ...]
    p_values: tuple[float, ...]
    alpha: float

    @property
    def is_shift(self) -> bool:
        """Whether any window has shifted."""
        return any(p <= self.alpha for p in self.p_values)

    @property
    def shifted(self) -> tuple[str, ...]:
        """Names of the windows that have shifted."""
        return tuple(name for name, p in zip(self.names, self.p_values, strict=True) if p <= self.alpha)

    @property
    def notices(self) -> tuple[Notice, ...]:
        return tuple(notice for result in self.results for notice in result.notices)

    def table(self) -> pd.DataFrame:
        """A row for each window: window, rows, statistic, p_value, p_holm, is_shift, driven_by."""
        return pd.DataFrame(
            {
                "window": self.names,
                "rows": [result.num_current for result in self.results],
                "statistic": [result.statistic for result in self.results],
                "p_value": [result.p_value for result in self.results],
                "p_holm": self.p_values,
                "is_shift": [p <= self.alpha for p in self.p_values],
                "driven_by": [
                    ", ".join(driver.name for driver in result.drivers[:3]) for result in self.results
                ],
            }
        )

    def plot(self) -> altair.LayerChart:
        """The adjusted p-value of each window, with the level that it is compared with."""
        alt = import_extra("altair", what="A figure", extra="book")
        rows = self.table()
        rows["order"] = range(len(rows))
        base = alt.Chart(rows, width=alt.Step(18) if len(rows) > 20 else 360, height=200)
        axis = alt.X("window:N", sort=alt.SortField("order"), title="Window")
        value = alt.Y("p_holm:Q", scale=alt.Scale(type="log", clamp=True), title="p-value, adjusted by Holm")
        colour = alt.Color(
            "is_shift:N", title="Shift", scale=alt.Scale(domain=[True, False], range=["#D55E00", "#0072B2"])
        )
        level = (
            alt.Chart(pd.DataFrame({"alpha": [self.alpha]})).mark_rule(strokeDash=[6, 3]).encode(y="alpha:Q")
        )
        return alt.layer(base.mark_point(filled=True, size=60).encode(x=axis, y=value, color=colour), level)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "alpha": self.alpha,
            "is_shift": self.is_shift,
            "windows": [
                {"window": name, "p_holm": p} | result.to_dict()
                for name, p, result in zip(self.names, self.p_values, self.results, strict=True)
            ],
        }
