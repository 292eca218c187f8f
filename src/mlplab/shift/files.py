"""CSV and Parquet files of any size, in bounded memory: checked row by row, and a random sample of rows kept.

Every row is read: its form, its types, infinite values, and 64 bits that tell whether it is in another file too. Of the
rows themselves at most 50,000 are kept, drawn uniformly; a notice says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mlplab.data.table_pieces import OnShare, table_pieces
from mlplab.errors import DataError
from mlplab.rng import Stream
from mlplab.shift import tables
from mlplab.shift.notices import Notice

MAX_ROWS = 50_000
MAX_CELLS = 10_000_000
CHUNK_CELLS = 2_000_000


@dataclass(frozen=True, eq=False)
class Loaded:
    """What was read of a file.

    Arguments:
      frame: the rows that were kept, in the file's order.
      hashes: 64 bits for each row of the file.
      mixed: text columns that hold numbers too, with a line that says where.
    """

    path: Path
    num_rows: int
    frame: pd.DataFrame
    hashes: np.ndarray
    mixed: dict[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


class _Mixed(Exception):
    """A column holds text after numbers."""

    def __init__(self, column: str, told: str) -> None:
        super().__init__(column)
        self.column, self.told = column, told


def load(
    path: str | Path,
    *,
    text_columns: Collection[str] = (),
    ignore: Collection[str] = (),
    on_share: OnShare = lambda share: None,
) -> Loaded:
    """Read a .csv or .parquet file.

    Arguments:
      text_columns: read as text even where they look like numbers.
      ignore: columns that may hold what fits into no cell, such as lists: missing then.

    Raises DataError, naming file, row and column, for a file that is not there, empty, no table, not UTF-8, of rows of
    different lengths, with infinite values, or with a column of lists or bytes; MissingExtra for Parquet
    without pyarrow.
    """
    path, mixed = Path(path), {}
    while True:
        try:
            return _load(path, {*text_columns, *mixed}, ignore, mixed, on_share)
        except _Mixed as found:  # once for each such column
            mixed[found.column] = found.told


def pieces(
    path: str | Path,
    *,
    text_columns: Collection[str] = (),
    ignore: Collection[str] = (),
    on_share: OnShare = lambda share: None,
) -> Iterator[pd.DataFrame]:
    """Every row of a file that `load` has read, in order, some at a time. Raises DataError where it has changed."""
    for piece in table_pieces(
        Path(path), CHUNK_CELLS, text_columns=text_columns, left_out=ignore, on_share=on_share
    ):
        yield piece.rename(columns=str)


def _load(
    path: Path, text_columns: set[str], ignore: Collection[str], mixed: dict[str, str], on_share: OnShare
) -> Loaded:
    stream = Stream(0, "split", layer=9)
    kinds: dict[str, str] = {}
    kept: list[tuple[pd.DataFrame, np.ndarray]] = []
    hashes, num_rows, limit, bar = [], 0, np.inf, np.inf
    for chunk in pieces(path, text_columns=text_columns, ignore=ignore, on_share=on_share):
        _check_kinds(path, chunk, kinds, num_rows)
        hashes.append(_hashes(chunk))
        limit = min(MAX_ROWS, max(1_000, MAX_CELLS // max(1, chunk.shape[1])))
        priority = stream.uniform(len(chunk))
        chunk = chunk.set_axis(range(num_rows, num_rows + len(chunk)))
        num_rows += len(chunk)
        wanted = priority < bar
        kept.append((chunk[wanted], priority[wanted]))
        if sum(map(len, (part for part, _ in kept))) > 2 * limit:
            kept = [_lowest(kept, int(limit))]
            bar = float(kept[0][1].max())
    if not num_rows:
        raise DataError(f"{path} has a header and no rows.")
    frame = _lowest(kept, int(limit))[0].sort_index()
    notices = [Notice("mixed-types", told, name) for name, told in mixed.items()]
    if len(frame) < num_rows:
        text = f"{path.name}: tests look at {len(frame):,} rows drawn from {num_rows:,}"
        notices.append(Notice("sampled", text))
    return Loaded(path, num_rows, frame.reset_index(drop=True), np.concatenate(hashes), mixed, tuple(notices))


def _lowest(parts: list[tuple[pd.DataFrame, np.ndarray]], count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of the lowest priorities: a uniform sample, however many come."""
    frame = pd.concat([part for part, _ in parts])
    priority = np.concatenate([part for _, part in parts])
    if len(priority) <= count:
        return frame, priority
    lowest = np.argpartition(priority, count)[:count]
    return frame.iloc[lowest], priority[lowest]


def _check_kinds(path: Path, chunk: pd.DataFrame, kinds: dict[str, str], start: int) -> None:
    """Text after numbers, or numbers after text, in one column; infinite numbers."""
    for name in chunk.columns:
        column = chunk[name]
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if numeric:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            bad = np.flatnonzero(np.isinf(values))
            if bad.size:
                row = start + int(bad[0]) + 1
                remedy = "Leave such cells empty if they mean that there is no value."
                raise DataError(
                    f"{path}, row {row:,}, column {name!r}: {values[bad[0]]} is not finite. {remedy}"
                )
        if column.isna().all():
            continue
        kind = "numbers" if numeric else "text" if tables.is_text(column) else "other"
        if kinds.setdefault(name, kind) != kind and path.suffix.lower() == ".csv":
            odd = next(place for place, value in enumerate(column) if not pd.isna(value))
            told = f"{name!r} holds {kind} in row {start + odd + 1:,} ({column.iloc[odd]!r}) and {kinds[name]} before"
            raise _Mixed(name, f"{path.name}: {told}. It is taken as text")


def _hashes(chunk: pd.DataFrame) -> np.ndarray:
    plain = {}
    for name in chunk.columns:
        column = chunk[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            plain[name] = column.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
        else:
            plain[name] = column.astype(str).to_numpy(dtype=object)
    return pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy()
