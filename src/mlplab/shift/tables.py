"""Tables, images and embeddings as detectors see them: numbers with NaN where missing, and categories.

A `Schema` is what `fit` remembers of the reference; `read` brings anything else into the same form, or says in one line
what does not fit. A `Pair` holds both samples, one above the other, in columns that mean the same.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from mlplab.errors import InvalidInput
from mlplab.shift.notices import Notice

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

# `empty`: a column without a single value, whose kind nobody can tell.
Kind = Literal["numeric", "categorical", "boolean", "empty"]

MIN_ROWS = 8  # with fewer, no split and no permutation can reach a level of .05
MAX_LEVELS = 200  # categories told apart; what is rarer is counted together
BLOCK = 4_000_000  # numbers worked on at once


@dataclass(frozen=True)
class Schema:
    """Names and kinds of the columns; `shape` is that of one row of an array (28, 28), None for a table.

    `dates` are numeric columns that hold moments, in days since 1970-01-01.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    shape: tuple[int, ...] | None
    dates: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of one schema: numeric columns (row, number), and a text for each row of every other column."""

    schema: Schema
    numbers: Float[np.ndarray, "row number"]
    texts: tuple[pd.Series, ...]

    @property
    def num_rows(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, eq=False)
class Pair:
    """Reference and current, one above the other.

    Arguments:
      numbers: NaN where missing.
      codes: number of a category in `levels`, most frequent first; -1 where missing.
      dates: numbers that are days since 1970-01-01.
    """

    numbers: Float[np.ndarray, "row number"]
    number_names: tuple[str, ...]
    codes: Int[np.ndarray, "row category"]
    code_names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    is_current: Bool[np.ndarray, "row"]
    dates: frozenset[str] = frozenset()

    @property
    def num_rows(self) -> int:
        return len(self.is_current)

    @property
    def num_reference(self) -> int:
        return int((~self.is_current).sum())

    @property
    def num_current(self) -> int:
        return int(self.is_current.sum())

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.number_names, *self.code_names)

    @cached_property
    def has_missing(self) -> Bool[np.ndarray, "number"]:
        """Which numeric columns lack a value somewhere."""
        return np.isnan(self.numbers.sum(axis=0))

    def take(self, rows: np.ndarray) -> Pair:
        """Some of the rows."""
        return Pair(
            self.numbers[rows], self.number_names, self.codes[rows], self.code_names, self.levels,
            self.is_current[rows], self.dates,
        )  # fmt: skip


def read(owner: str, given: Any, schema: Schema | None = None) -> tuple[Sample, list[Notice]]:
    """A table or an array as a sample; with a schema, in its columns and their order.

    Raises InvalidInput, in the name of `owner`, for fewer than 8 rows, no columns, infinite values, columns that are
    missing, renamed or of another type, and values that are no number, truth value or text.
    """
    if isinstance(given, pd.Series):
        given = given.to_frame()
    if isinstance(given, pd.DataFrame):
        return _read_frame(owner, given, schema)
    if hasattr(given, "__dataframe__") and hasattr(given, "to_pandas"):
        return _read_frame(owner, given.to_pandas(), schema)
    return _read_array(owner, given, schema)


def _read_array(owner: str, given: Any, schema: Schema | None) -> tuple[Sample, list[Notice]]:
    try:
        array = check_array(
            given,
            dtype=cast(Any, None),
            allow_nd=True,
            ensure_all_finite=False,
            ensure_min_samples=MIN_ROWS,
            input_name=owner,
        )
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            owner, "must be a table or an array with a row for each example", str(error)
        ) from error
    shape = array.shape[1:]
    if array.dtype.kind not in "fiub":
        frame = pd.DataFrame(array.reshape(len(array), -1)).infer_objects()
        frame.columns = list(_array_names(shape))
        return _read_frame(owner, frame, schema)
    if schema is not None and schema.shape is None:
        if len(shape) != 1 or shape[0] != len(schema.names):
            raise InvalidInput(
                owner,
                f"has {math.prod(shape)} features, but the reference has {len(schema.names)} features",
                f"rows of shape {shape}",
            )
        return _read_frame(owner, pd.DataFrame(array, columns=list(schema.names)), schema)
    if schema is not None and schema.shape != shape:
        raise InvalidInput(owner, f"must have rows of shape {schema.shape}, as the reference has", shape)
    narrow = array.dtype in (np.float16, np.float32, np.uint8, np.int8, np.bool_)
    numbers = np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.float32 if narrow else np.float64)
    names = schema.names if schema is not None else _array_names(shape)
    _refuse_infinite(owner, numbers, names)
    if schema is None:
        schema = Schema(names, ("numeric",) * len(names), shape)
    return Sample(schema, numbers, ()), []


def _array_names(shape: Sequence[int]) -> tuple[str, ...]:
    if len(shape) == 1:
        return tuple(f"x{column}" for column in range(shape[0]))
    return tuple(f"x[{','.join(map(str, place))}]" for place in np.ndindex(*shape))


def _read_frame(owner: str, frame: pd.DataFrame, schema: Schema | None) -> tuple[Sample, list[Notice]]:
    if len(frame) < MIN_ROWS:
        found = f"{len(frame)} sample{'' if len(frame) == 1 else 's'}"
        raise InvalidInput(owner, f"must have at least {MIN_ROWS} rows", found)
    names = [str(name) for name in frame.columns]
    if not names:
        raise InvalidInput(owner, "must have at least one column", f"0 feature(s) (shape={frame.shape})")
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(owner, "must have columns of different names", f"{double!r} twice")
    columns = {name: frame.iloc[:, place] for place, name in enumerate(names)}
    kinds: dict[str, Kind] = {name: _kind(owner, column) for name, column in columns.items()}
    notices: list[Notice] = []
    if schema is None:
        dates = frozenset(name for name in names if kinds[name] == "numeric" and _is_date(columns[name]))
        schema = Schema(tuple(names), tuple(kinds[name] for name in names), None, dates)
    elif schema.shape is not None and len(names) == len(schema.names) and set(names) != set(schema.names):
        raise InvalidInput(owner, "must be an array, as the reference is", "a table")
    else:
        notices = _compare_columns(owner, schema, columns, kinds)
    numbers = [
        _numbers(columns[name])
        for name, kind in zip(schema.names, schema.kinds, strict=True)
        if kind == "numeric"
    ]
    texts = [
        _texts(columns[name], kind)
        for name, kind in zip(schema.names, schema.kinds, strict=True)
        if kind in ("categorical", "boolean", "empty")
    ]
    matrix = np.column_stack(numbers) if numbers else np.empty((len(frame), 0))
    _refuse_infinite(
        owner, matrix, [n for n, kind in zip(schema.names, schema.kinds, strict=True) if kind == "numeric"]
    )
    return Sample(schema, matrix, tuple(texts)), notices


def _kind(owner: str, column: pd.Series) -> Kind:
    if column.isna().all():
        return "empty"
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "categorical"
    if pd.api.types.is_complex_dtype(column):
        raise InvalidInput(
            f"{owner}[{column.name!r}]",
            "must hold numbers, truth values or text",
            "Complex data not supported",
        )
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return "numeric"
    if pd.api.types.is_timedelta64_dtype(column):
        return "numeric"
    found = pd.api.types.infer_dtype(column, skipna=True)
    if found in ("string", "categorical", "mixed-integer"):
        return "categorical"
    if found == "boolean":
        return "boolean"
    if found in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "numeric"
    if found in ("date", "datetime", "datetime64"):
        return "numeric"
    row = next(
        place
        for place, value in enumerate(column)
        if not (isinstance(value, str) or pd.api.types.is_number(value))
    )
    raise InvalidInput(
        f"{owner}[{column.name!r}]",
        "must hold numbers, truth values or text",
        f"{column.iloc[row]!r} in row {row}",
    )


def is_text(column: pd.Series) -> bool:
    """Whether a column holds texts or categories."""
    return isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype) or (
        column.dtype == object
        and pd.api.types.infer_dtype(column, skipna=True) in ("string", "mixed", "mixed-integer")
    )


def _compare_columns(
    owner: str, schema: Schema, columns: dict[str, pd.Series], kinds: dict[str, Kind]
) -> list[Notice]:
    extra = [name for name in columns if name not in schema.names]
    lacking = [name for name in schema.names if name not in columns]
    if lacking:
        close = difflib.get_close_matches(lacking[0], extra, n=1, cutoff=0.6)
        nearest = f"Perhaps {lacking[0]!r} was renamed to {close[0]!r}" if close else ""
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise InvalidInput(
            owner,
            f"lacks the column {lacking[0]!r}{more} of the reference",
            f"columns {list(columns)}",
            nearest,
        )
    notices = [
        Notice("extra-column", f"{name!r} is not in the reference: it is not looked at", name)
        for name in extra
    ]
    for name, was in zip(schema.names, schema.kinds, strict=True):
        now = kinds[name]
        if now == was or now == "empty":
            continue
        if was == "empty":
            notices.append(Notice("all-missing", f"{name!r} has no value at all in the reference", name))
        elif {was, now} == {"boolean", "numeric"}:
            notices.append(
                Notice(
                    "type-changed", f"{name!r} is {was} in the reference and {now} here: taken as {was}", name
                )
            )
            if was == "boolean" and not set(columns[name].dropna().unique()) <= {0, 1}:
                raise InvalidInput(
                    f"{owner}[{name!r}]", "must be boolean, as in the reference", "other numbers"
                )
        elif {was, now} == {"boolean", "categorical"} or now == "boolean":
            notices.append(
                Notice(
                    "type-changed", f"{name!r} is {was} in the reference and {now} here: taken as text", name
                )
            )
        else:
            known = columns[name].dropna()
            odd = (
                known[pd.to_numeric(known.astype(str), errors="coerce").isna()] if was == "numeric" else known
            )
            value = (odd if len(odd) else known).iloc[0]
            raise InvalidInput(
                f"{owner}[{name!r}]", f"must be {was}, as in the reference", f"{now}, for example {value!r}"
            )
    return notices


def _numbers(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column) and not pd.api.types.is_object_dtype(column):
        return column.astype("float64").to_numpy()
    if _is_date(column):
        moments = pd.to_datetime(column, utc=True)
        return (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=np.float64) / 86_400
    if pd.api.types.is_timedelta64_dtype(column):
        return column.dt.total_seconds().to_numpy(dtype=np.float64) / 86_400
    return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def _is_date(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    return pd.api.types.infer_dtype(column, skipna=True) in ("date", "datetime")


def _texts(column: pd.Series, kind: Kind) -> pd.Series:
    gaps = column.isna().to_numpy()
    if kind == "boolean" and not isinstance(column.dtype, pd.StringDtype):
        texts = np.where(column.where(~gaps, False).astype(bool), "True", "False").astype(object)
    else:
        texts = column.astype(str).to_numpy(dtype=object, copy=True)
    texts[gaps] = None
    return pd.Series(texts, dtype=object)


def _refuse_infinite(owner: str, numbers: np.ndarray, names: Sequence[str]) -> None:
    # A sum that is finite or NaN can still hide both infinities: only then is every cell looked at.
    with np.errstate(invalid="ignore", over="ignore"):
        suspects = np.flatnonzero(~np.isfinite(numbers.sum(axis=0)))
    for column in suspects.tolist():
        bad = np.flatnonzero(np.isinf(numbers[:, column]))
        if bad.size:
            raise InvalidInput(
                f"{owner}[{names[column]!r}]",
                "must hold finite numbers",
                f"{bad.size} infinite, the first in row {bad[0]}",
                "Leave such cells empty if they mean that there is no value",
            )


def pair(reference: Sample, current: Sample) -> tuple[Pair, list[Notice]]:
    """Both samples in one table. Columns that say nothing are left out, and a notice names each."""
    schema, notices = reference.schema, []
    is_current = np.repeat([False, True], [reference.num_rows, current.num_rows])
    numbers = np.concatenate([reference.numbers, current.numbers])
    number_names = [name for name, kind in zip(schema.names, schema.kinds, strict=True) if kind == "numeric"]
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(numbers, axis=0), np.fmax.reduce(numbers, axis=0)
    empty = np.isnan(low)
    partial = np.isnan(numbers).any(axis=0)
    flat = ~empty & (low == high) & ~partial
    notices += _dull("all-missing", "has no value at all", np.compress(empty, number_names))
    notices += _dull("constant", "has a single value", np.compress(flat, number_names))
    kept = ~(empty | flat)
    if not kept.all():
        numbers = numbers[:, kept]
    names = tuple(np.compress(kept, number_names).tolist())

    code_names = [name for name, kind in zip(schema.names, schema.kinds, strict=True) if kind != "numeric"]
    codes, levels, told = [], [], []
    for name, before, after in zip(code_names, reference.texts, current.texts, strict=True):
        column, found, more = _codes(name, before, after)
        notices += more
        if found:
            codes.append(column)
            levels.append(found)
            told.append(name)
    matrix = np.column_stack(codes) if codes else np.empty((len(is_current), 0), dtype=np.int32)
    both = Pair(numbers, names, matrix, tuple(told), tuple(levels), is_current, schema.dates)
    if not both.names:
        raise InvalidInput(
            "reference and current", "must have a column that varies", "constant or empty columns only"
        )
    return both, notices + _shared_rows(both)


def _dull(name: str, says: str, columns: np.ndarray) -> list[Notice]:
    if len(columns) > 20:  # images have black corners
        return [
            Notice(
                name, f"{len(columns)} columns, the first {str(columns[0])!r}: each {says}; they are left out"
            )
        ]
    return [Notice(name, f"{column!r} {says}: it is left out", column) for column in map(str, columns)]


def _codes(
    name: str, before: pd.Series, after: pd.Series
) -> tuple[np.ndarray, tuple[str, ...], list[Notice]]:
    """Numbers of categories, most frequent first; no levels at all where the column says nothing."""
    codes, found = pd.factorize(pd.concat([before, after], ignore_index=True))
    levels = np.asarray(found, dtype=object)
    notices = []
    if not len(levels):
        return codes, (), [Notice("all-missing", f"{name!r} has no value at all: it is left out", name)]
    if len(levels) == 1 and (codes == 0).all():
        return codes, (), [Notice("constant", f"{name!r} has a single value: it is left out", name)]
    for side, which in ((before, "reference"), (after, "current")):
        if side.isna().all():
            notices.append(Notice("all-missing", f"{name!r} has no value at all in the {which} sample", name))
    known, seen = np.zeros(len(levels), dtype=bool), codes[: len(before)]
    known[seen[seen >= 0]] = True
    if not known.all() and known.any():
        unseen = [str(level) for level in levels[~known]]
        listed = ", ".join(map(repr, unseen[:3])) + (
            f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
        )
        rows = int((~known)[codes[len(before) :][codes[len(before) :] >= 0]].sum())
        text = f"{name!r} has values that the reference never had: {listed}, in {rows} rows"
        notices.append(Notice("unseen-category", text, name))
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(levels) + 1, dtype=np.int32)
    rank[order], rank[-1] = np.arange(len(levels)), -1  # the last is where -1 points
    codes, names = rank[codes], [str(level) for level in levels[order]]
    if len(levels) > MAX_LEVELS:
        text = (
            f"{name!r} has {len(levels)} categories: all but the {MAX_LEVELS - 1} most frequent count as one"
        )
        notices.append(Notice("many-categories", text, name))
        codes, names = np.minimum(codes, MAX_LEVELS - 1), [*names[: MAX_LEVELS - 1], "(others)"]
    return codes.astype(np.int32), tuple(names), notices


def row_hashes(numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """64 bits for each row; equal rows have equal bits, and others hardly ever: uint64 (row,)."""
    bits = np.random.Philox(key=0).random_raw(numbers.shape[1] + codes.shape[1]) | np.uint64(1)
    found = np.empty(len(numbers), dtype=np.uint64)
    step = max(1, BLOCK // max(1, len(bits)))
    for start in range(0, len(numbers), step):
        rows = slice(start, start + step)
        cells = np.column_stack([numbers[rows] + 0.0, codes[rows]]).astype(np.float64)
        cells[np.isnan(cells)] = np.nan  # one NaN, not many
        hashed = pd.util.hash_array(cells.ravel()).reshape(cells.shape)
        found[rows] = (hashed * bits).sum(axis=1, dtype=np.uint64)
    return found


def _shared_rows(both: Pair) -> list[Notice]:
    hashes = row_hashes(both.numbers, both.codes)
    return shared_rows(hashes[~both.is_current], hashes[both.is_current])


def shared_rows(
    reference: np.ndarray, current: np.ndarray, names: tuple[str, str] = ("reference", "current")
) -> list[Notice]:
    """Rows of the current sample that are in the reference too, where chance does not bring them."""
    distinct = np.unique(reference)
    shared = int(np.isin(current, distinct).sum())
    if not shared:
        return []
    if len(reference) == len(current) and np.array_equal(np.sort(reference), np.sort(current)):
        return [Notice("identical", "both samples hold the same rows: is it one file twice?")]
    # Where rows repeat within the reference, as with a few truth values, they meet across the samples too.
    repeated = 1 - len(distinct) / len(reference)
    if repeated > 0.5 or shared / len(current) <= 2 * repeated:
        return []
    text = (
        f"{shared:,} of {len(current):,} {names[1]} rows are in the {names[0]} too: a leak? Shared rows hide a shift, "
        "for they are in both"
    )
    return [Notice("shared-rows", text)]
