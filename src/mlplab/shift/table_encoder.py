"""Tables of numbers, categories, truth values and gaps as plain numbers, the same for the source and the target."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlplab.errors import InvalidInput
from mlplab.shift.columns import identifiers
from mlplab.shift.notices import Notice

if TYPE_CHECKING:
    from jaxtyping import Float
    from sklearn.preprocessing import OneHotEncoder

MOST_CATEGORIES = 50  # of a column; the rarer ones beyond share one feature


class TableEncoder:
    """From a table to features: learned from the source and the target together, and from no labels.

    A number stays as it is; where some are missing they become the mean, and a feature of their own says where. A
    truth value is 0 or 1; a date is a number of days. A category has a feature for each value, `missing` included.
    Columns that hold one value only, or nothing, or a name for each row, are left out: `notices` says which.
    """

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def fit(self, source: pd.DataFrame, target: pd.DataFrame) -> TableEncoder:
        """Learn what the columns hold.

        Raises InvalidInput, naming the column, where one is missing from the target, holds
        numbers in one and text in the other, or holds an infinite value, and where no column is left.
        """
        self.columns = list(map(str, source.columns))
        for name in map(str, target.columns):
            if name not in self.columns:
                self._notice("extra-column", name, "is not in the source: it is not looked at")
        self._same_columns("source", source)
        kinds, theirs = (
            _kinds("source", source),
            _kinds("target", self._same_columns("target", target)[self.columns]),
        )
        if differing := [name for name in kinds if theirs[name] != kinds[name] != "empty" != theirs[name]]:
            name = differing[0]
            raise InvalidInput(
                f"target, column {name!r}",
                f"must hold {kinds[name]} values as in the source",
                f"{theirs[name]} values",
                "Is it another column, or was a value misread",
            )
        self.kinds = {name: theirs[name] if kind == "empty" else kind for name, kind in kinds.items()}
        both = pd.concat([_named(source), _named(target)[self.columns]], ignore_index=True)
        told = identifiers(_named(source))
        self.notices += told
        self.numeric: dict[str, tuple[float, bool]] = {}
        self.categorical: dict[str, OneHotEncoder] = {}
        names = {notice.column for notice in told}
        for name, kind in self.kinds.items():
            if name not in names:
                self._learn(name, kind, both[name], len(source))
        if not self.numeric and not self.categorical:
            raise InvalidInput("source", "must have a column that varies", f"{len(self.columns)} that do not")
        return self

    def _learn(self, name: str, kind: str, values: pd.Series, num_source: int) -> None:
        from sklearn.preprocessing import OneHotEncoder

        if kind == "empty" or not values.notna().any():
            self._notice("all-missing", name, "has no value at all: it is left out")
        elif values.nunique(dropna=False) == 1:
            self._notice("constant", name, "has a single value: it is left out")
        elif kind != "category":
            numbers = _numbers(kind, values)
            self.numeric[name] = float(np.nanmean(numbers)), bool(np.isnan(numbers).any())
        else:
            texts = _texts(values)
            unseen = sorted(set(texts[num_source:, 0]) - set(texts[:num_source, 0]))
            if unseen:
                share = float(np.isin(texts[num_source:, 0], unseen).mean())
                listed = ", ".join(map(repr, unseen[:5])) + (
                    f" and {len(unseen) - 5} more" if unseen[5:] else ""
                )
                rows = f"in {share:.1%} of the target's rows. No weights make up for such rows"
                self._notice(
                    "unseen-category", name, f"has values that the source never had: {listed}, {rows}"
                )
            encoder = OneHotEncoder(
                sparse_output=False, handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES
            )
            self.categorical[name] = encoder.fit(texts)

    def _notice(self, kind: str, column: str, says: str) -> None:
        self.notices.append(Notice(kind, f"{column!r} {says}", column))

    def transform(self, table: pd.DataFrame, owner: str = "table") -> Float[np.ndarray, "row feature"]:
        """The features of a table with the same columns. Raises InvalidInput as `fit` does."""
        table = self._same_columns(owner, table)[self.columns]
        kinds, found = _kinds(owner, table), []
        for name in self.columns:
            if kinds[name] not in ("empty", self.kinds[name]):
                raise InvalidInput(
                    f"{owner}, column {name!r}",
                    f"must hold {self.kinds[name]} values",
                    f"{kinds[name]} values",
                )
            if name in self.numeric:
                mean, has_gaps = self.numeric[name]
                numbers = _numbers(self.kinds[name], table[name])
                gaps = np.isnan(numbers)
                found.append(np.where(gaps, mean, numbers)[:, None])
                if has_gaps:
                    found.append(gaps[:, None].astype(np.float64))
            elif name in self.categorical:
                found.append(
                    np.asarray(self.categorical[name].transform(_texts(table[name])), dtype=np.float64)
                )
        return np.concatenate(found, axis=1)

    def _same_columns(self, owner: str, table: pd.DataFrame) -> pd.DataFrame:
        names = list(map(str, table.columns))
        if double := [name for name in names if names.count(name) > 1]:
            raise InvalidInput(f"{owner}, column {double[0]!r}", "must be there once", names.count(double[0]))
        lacking, beside = (
            [n for n in a if n not in b] for a, b in ((self.columns, names), (names, self.columns))
        )
        if lacking:
            near = difflib.get_close_matches(lacking[0], beside, n=1, cutoff=0.5)
            remedy = f"Was {near[0]!r} renamed" if near else "Leave it out of both, or add it"
            raise InvalidInput(
                f"{owner}", f"must have the column {lacking[0]!r} of the source", names, remedy
            )
        return _named(table)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_axis(list(map(str, table.columns)), axis=1)


def _kinds(owner: str, table: pd.DataFrame) -> dict[str, str]:
    return {str(name): _kind(owner, str(name), table.iloc[:, at]) for at, name in enumerate(table.columns)}


def _kind(owner: str, name: str, values: pd.Series) -> str:
    """number, truth, date, category, or empty. Raises InvalidInput for infinite numbers and for other things."""
    if not values.notna().any():
        return "empty"
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(values):
        return "truth"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "date"
    if pd.api.types.is_complex_dtype(values):
        raise InvalidInput(f"{owner}, column {name!r}", "must hold real numbers", str(values.dtype))
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(numbers).any():
            row = int(np.argmax(np.isinf(numbers)))
            remedy = "Leave such cells empty, or mend them"
            raise InvalidInput(
                f"{owner}, column {name!r}", "must be finite", f"{numbers[row]} in row {row}", remedy
            )
        return "number"
    held = values.dropna()
    found = {type(value) for value in held}
    if found == {bool}:
        return "truth"  # with gaps, pandas holds truth values as objects
    if all(issubclass(kind, str) for kind in found):
        return "category"
    if all(issubclass(kind, int | float | np.number) for kind in found):
        return "number"
    others = sorted(kind.__name__ for kind in found)
    raise InvalidInput(f"{owner}, column {name!r}", "must hold numbers, texts, truth values or dates", others)


def _numbers(kind: str, values: pd.Series) -> Float[np.ndarray, "row"]:
    if kind == "date":
        since = pd.to_datetime(values, utc=True) - pd.Timestamp(0, tz="UTC")
        return (since / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    return values.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)


def _texts(values: pd.Series) -> np.ndarray:
    texts = values.astype(object).where(values.notna(), "missing")
    return texts.map(str).to_numpy(dtype=object)[:, None]
