"""Tables of numbers and categories: read from CSV with errors that name line and column, then encoded."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlplab.data.dataset import Part
from mlplab.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.compose import ColumnTransformer

MISSING = ("", "NA")  # a fixed list: what pandas takes for missing grows from release to release


@dataclass(frozen=True)
class Columns:
    """What the columns of a table hold. A table has exactly these, in any order."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]


def read_csv(path: Path, columns: Columns, num_rows: int) -> pd.DataFrame:
    """The table in a CSV file: numbers as float64 columns, categories as text; NaN where a cell is missing.

    Arguments:
      num_rows: how many rows the file has as published; fewer are a sign of a file cut short.

    Raises DataError, naming file, line and column, where the file cannot be read, is not UTF-8, is cut short,
    lacks a column or has one too many, or holds text where a number belongs.
    """
    import pandas as pd  # here: importing it takes most of a second

    header, rows, lines = read_cells(path)
    _check_header(path, header, columns)
    if len(rows) != num_rows:
        raise DataError(f"{path} has {len(rows):,} rows; {num_rows:,} were published. Get it again.")
    known = [[np.nan if cell in MISSING else cell for cell in row] for row in rows]
    cells = pd.DataFrame(known, columns=header, dtype=object)
    for name in columns.numeric:
        cells[name] = _numbers(path, name, cells[name].tolist(), lines)
    return cells


def read_cells(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows, and the line in the file at which each row ends.

    Raises DataError where the file cannot be read, is not UTF-8, or is no whole CSV.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not content.strip():
        raise DataError(f"{path} is empty. Get it again.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line} is not UTF-8. Save it as UTF-8, or get it again.") from error

    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, lines = [], []
    try:
        header = next(reader)
        for row in reader:
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num} has {len(row)} cells; the header has {len(header)}. "
                    "The file was cut short or altered: get it again."
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is no valid CSV ({error}). Get it again.") from error
    return header, rows, lines


def _check_header(path: Path, header: Sequence[str], columns: Columns) -> None:
    expected = {*columns.numeric, *columns.categorical}
    if missing := sorted(expected - set(header)):
        raise DataError(f"{path} lacks the column {_listed(missing)}. Is it another file of the set?")
    if extra := sorted(set(header) - expected):
        raise DataError(f"{path} has the unknown column {_listed(extra)}. Is it another file of the set?")
    if len(header) != len(expected):
        double = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path} has the column {double!r} twice. Get it again.")


def _listed(names: Sequence[str]) -> str:
    return repr(names[0]) + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def _numbers(path: Path, name: str, cells: Sequence[object], lines: Sequence[int]) -> np.ndarray:
    numbers = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if not isinstance(cell, str):  # missing
            continue
        with suppress(ValueError):
            numbers[row] = float(cell)
        # float() also reads "nan" and "inf": neither is a measurement.
        if not np.isfinite(numbers[row]):
            raise DataError(f"{path}, line {lines[row]}, column {name!r}: {cell!r} is not a number.")
    return numbers


def encoder(columns: Columns) -> ColumnTransformer:
    """A transformer from a table to float32 features, to be fitted on the training rows alone.

    Numbers are standardised, then a missing one becomes 0, the mean. A category becomes one column for each
    value seen in fitting, and `missing` is a value of its own; a value not seen then is 0 in all of them.

    Source: Zhang et al., Dive into Deep Learning, section 4.10.4. There all rows, the test's too, set means
    and categories.
    """
    from sklearn.compose import ColumnTransformer  # here: importing it takes a second
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = make_pipeline(
        StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
    )
    categorical = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", keep_empty_features=True),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    steps = [
        ("numeric", numeric, list(columns.numeric)),
        ("categorical", categorical, list(columns.categorical)),
    ]
    return ColumnTransformer(steps, verbose_feature_names_out=False)


def log_price_parts(tables: Sequence[pd.DataFrame], columns: Columns) -> list[Part]:
    """Features and log(SalePrice) of each table; the first alone, the training rows, sets means and categories."""
    to_features = encoder(columns).fit(tables[0])
    return [
        Part(
            np.ascontiguousarray(to_features.transform(rows), dtype=np.float32),
            np.log(rows[["SalePrice"]].to_numpy()).astype(np.float32),
        )
        for rows in tables
    ]
