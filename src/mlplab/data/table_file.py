"""Tables in files of one's own: CSV and Parquet, with errors that name file, line and column."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab.data.table_pieces import explained, table_pieces
from mlplab.errors import DataError, UnknownName

if TYPE_CHECKING:
    import pandas as pd

# Of a column's cells: with so many numbers, the rest are slips of the pen, and not categories.
MOSTLY = 0.9
LOOKED_AT = 5_000  # cells that tell a column of text at once


def read_table(path: Path, categorical: Collection[str] = (), left_out: Collection[str] = ()) -> pd.DataFrame:
    """The table in a file: numbers, truth values, moments, or text, with NaN or None where a cell is missing.

    Arguments:
      categorical: columns whose cells are names, whatever they look like.
      left_out: columns that nobody looks at, as `table_pieces` has them.

    Raises DataError for a file that cannot be read, is empty, is no CSV or Parquet, is not UTF-8, has rows of unequal
    length, a column without a name or twice, a column of lists or bytes, or text in a column of numbers;
    UnknownName for a categorical column that is not there; MissingExtra for Parquet without pyarrow.
    """
    (table,) = table_pieces(path, left_out=left_out)
    _check_names(path, [str(name) for name in table.columns])
    for name in categorical:
        if name not in table.columns:
            raise UnknownName("Roles.categorical", name, map(str, table.columns))
        table[name] = (
            table[name].astype(object).where(table[name].notna(), None).map(_text, na_action="ignore")
        )
    if path.suffix.lower() == ".csv":
        for name in table.columns:
            if name not in categorical:
                table[name] = _typed(path, table[name])
    if not len(table):
        raise DataError(f"{path} has a header and no rows.")
    return table


def _check_names(path: Path, names: list[str]) -> None:
    for place, name in enumerate(names, start=1):
        if not name.strip() or re.fullmatch(r"Unnamed: \d+", name):
            raise DataError(f"{path}: column {place} has no name.")


def _typed(path: Path, column: pd.Series) -> pd.Series:
    """A column of text as it is, unless most of it are numbers: then the rest is said, or there is none."""
    import pandas as pd

    if column.dtype != object and not isinstance(column.dtype, pd.StringDtype):
        return column
    some = column.iloc[:: max(len(column) // LOOKED_AT, 1)].dropna()
    if pd.to_numeric(some, errors="coerce").notna().mean() < MOSTLY / 2:
        return column  # text, without a look at every cell
    numbers = pd.to_numeric(column, errors="coerce")
    present = column.notna()
    bad = present & numbers.isna()
    if not present.any() or numbers[present].notna().mean() < MOSTLY:
        return column
    if bad.any():
        row = int(bad.to_numpy().argmax())
        good, of = f"{int((present & ~bad).sum()):,}", f"{int(present.sum()):,}"
        raise DataError(
            f"{path}, line {line_of(path, row)}, column {column.name!r}: {column.iloc[row]!r} is not a number, as "
            f"{good} of {of} cells are. Mend it, or name it in Roles.categorical: its cells are then names."
        )
    return numbers


def line_of(path: Path, row: int) -> int:
    """The line of a CSV file on which a row (from 0) ends: a cell in quotation marks may go over several."""
    with path.open(encoding="utf-8-sig", newline="") as file, explained(path, reader := csv.reader(file)):
        next(reader)
        seen = 0
        for cells in reader:
            if not cells:  # pandas passes over empty lines
                continue
            if seen == row:
                break
            seen += 1
        return reader.line_num


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
