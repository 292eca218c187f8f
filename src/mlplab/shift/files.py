"""CSV and Parquet files of any size, in bounded memory: checked row by row, and a random sample of rows kept.

Every row is read: its form, its types, infinite values, and 64 bits that tell whether it is in another file too. Of the
rows themselves at most 50,000 are kept, drawn uniformly; a notice says so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlplab.errors import DataError, import_extra
from mlplab.rng import Stream
from mlplab.shift import tables
from mlplab.shift.notices import Notice

MISSING = (
    "",
    "NA",
    "N/A",
    "NaN",
    "nan",
    "NULL",
    "null",
)  # a fixed list: that of pandas grows from release to release
MAX_ROWS = 50_000
MAX_CELLS = 10_000_000
BLOCK_BYTES = 8 * 2**20
CHUNK_CELLS = 2_000_000
SUFFIXES = (".csv", ".parquet")

OnShare = Callable[[float], None]  # how much of a file has been read, 0 to 1


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
    path: str | Path, *, text_columns: Collection[str] = (), on_share: OnShare = lambda share: None
) -> Loaded:
    """Read a .csv or .parquet file.

    Arguments:
      text_columns: read as text even where they look like numbers.

    Raises DataError, naming file, row and column, for a file that is not there, empty, no table, not UTF-8, of rows of
    different lengths, or with infinite values; MissingExtra for Parquet without pyarrow.
    """
    path, mixed = Path(path), {}
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} must end in {' or '.join(SUFFIXES)}: the suffix says how it is read.")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise DataError(f"{path} is empty.")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    while True:
        try:
            return _load(path, {*text_columns, *mixed}, mixed, on_share)
        except _Mixed as found:  # once for each such column
            mixed[found.column] = found.told


def pieces(
    path: str | Path, *, text_columns: Collection[str] = (), on_share: OnShare = lambda share: None
) -> Iterator[pd.DataFrame]:
    """Every row of a file that `load` has read, in order, some at a time. Raises DataError where it has changed."""
    path = Path(path)
    is_csv = path.suffix.lower() == ".csv"
    found = _csv_chunks(path, set(text_columns), on_share) if is_csv else _parquet_chunks(path, on_share)
    for piece in found:
        yield piece.rename(columns=str)


def _load(path: Path, text_columns: set[str], mixed: dict[str, str], on_share: OnShare) -> Loaded:
    is_csv = path.suffix.lower() == ".csv"
    chunks = _csv_chunks(path, text_columns, on_share) if is_csv else _parquet_chunks(path, on_share)
    stream = Stream(0, "split", layer=9)
    kinds: dict[str, str] = {}
    kept: list[tuple[pd.DataFrame, np.ndarray]] = []
    hashes, num_rows, limit, bar = [], 0, np.inf, np.inf
    for chunk in chunks:
        chunk = chunk.rename(columns=str)
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


# --- CSV ---------------------------------------------------------------------------------------------------


def _csv_chunks(path: Path, text_columns: set[str], on_share: OnShare) -> Iterator[pd.DataFrame]:
    header = _check_csv(path, lambda share: on_share(0.2 * share))
    options: dict[str, Any] = {
        "chunksize": max(1_000, CHUNK_CELLS // len(header)),
        "dtype": {name: str for name in header if name in text_columns},
        "keep_default_na": False,
        "na_values": list(MISSING),
        "index_col": False,
        "low_memory": False,
        "encoding": "utf-8-sig",
    }
    size = path.stat().st_size
    try:
        with path.open("rb") as file, pd.read_csv(file, **options) as chunks:
            for chunk in chunks:
                yield chunk
                on_share(0.2 + 0.8 * min(1.0, file.tell() / size))
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is no valid CSV: {error}.") from error


def _check_csv(path: Path, on_share: OnShare) -> list[str]:
    """The header, once every line has been looked at: UTF-8, no zero bytes, as many cells as the header."""
    size, read, line, rest, header = path.stat().st_size, 0, 1, b"", []
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            read += len(block)
            block = rest + block
            end = len(block) if read == size else block.rfind(b"\n") + 1
            # A quoted cell may hold line ends: cut where all quotes are closed.
            while end and block.count(b'"', 0, end) % 2:
                end = block.rfind(b"\n", 0, end - 1) + 1
            block, rest = block[:end], block[end:]
            if len(rest) > 8 * BLOCK_BYTES or (read == size and rest):
                raise DataError(f"{path}, line {line:,}: a quote is opened there or later, and never closed.")
            if not header and block:
                header = _header(path, block)
            line = _check_lines(path, block, len(header), line)
            on_share(read / size)
    return header


def _header(path: Path, block: bytes) -> list[str]:
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16. Save it as UTF-8.")
    if b"\0" in block[:4096] or block.startswith((b"PAR1", b"PK\x03\x04", b"\x89PNG", b"%PDF", b"\x1f\x8b")):
        raise DataError(f"{path} is no CSV: it is a binary file.")
    text = _decoded(path, block[: block.find(b"\n") + 1 or len(block)], 1)
    header = next(csv.reader([text]), [])
    for other, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and other in header[0]:
            raise DataError(
                f"{path} separates cells by {name}: {text.strip()[:60]!r}. Separate them by commas."
            )
    if text.lstrip().startswith(("<", "{", "[")):
        raise DataError(f"{path} is no CSV: its first line is {text.strip()[:60]!r}.")
    double = [name for name in header if header.count(name) > 1]
    if double:
        raise DataError(f"{path} has the column {double[0]!r} twice.")
    return header


def _decoded(path: Path, block: bytes, line: int) -> str:
    try:
        return block.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        where = line + block.count(b"\n", 0, error.start)
        raise DataError(f"{path}, line {where:,} is not UTF-8. Save it as UTF-8.") from error


def _check_lines(path: Path, block: bytes, width: int, line: int) -> int:
    """The number of the line after the block."""
    text = _decoded(path, block, line)
    if b"\0" in block:
        where = line + block.count(b"\n", 0, block.index(b"\0"))
        raise DataError(f"{path}, line {where:,} holds a zero byte: it is no CSV, or was damaged.")
    if b'"' in block:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            for row in reader:
                if row and len(row) != width:
                    _refuse_width(path, line + reader.line_num - 1, len(row), width)
        except csv.Error as error:
            raise DataError(
                f"{path}, line {line + reader.line_num - 1:,} is no valid CSV: {error}."
            ) from error
        return line + reader.line_num
    letters = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(letters == 10)
    commas = np.cumsum(letters == 44, dtype=np.int64)[ends]
    cells = np.diff(commas, prepend=0) + 1
    length = np.diff(ends, prepend=-1) - 1
    blank = (length == 0) | ((length == 1) & (letters[ends - 1] == 13))  # perhaps with a carriage return
    wrong = np.flatnonzero((cells != width) & ~((cells == 1) & blank))
    if wrong.size:
        _refuse_width(path, line + int(wrong[0]), int(cells[wrong[0]]), width)
    return line + len(ends)


def _refuse_width(path: Path, line: int, found: int, width: int) -> None:
    raise DataError(f"{path}, line {line:,} has {found} cells; the header has {width}. Was it cut short?")


# --- Parquet -----------------------------------------------------------------------------------------------


def _parquet_chunks(path: Path, on_share: OnShare) -> Iterator[pd.DataFrame]:
    parquet = import_extra("pyarrow.parquet", what="A Parquet file", extra="parquet")
    arrow = import_extra("pyarrow", what="A Parquet file", extra="parquet")
    try:
        file = parquet.ParquetFile(path)
        names, rows = file.schema_arrow.names, file.metadata.num_rows
        if not names:
            raise DataError(f"{path} has no columns.")
        done = 0
        for batch in file.iter_batches(batch_size=max(1_000, CHUNK_CELLS // len(names))):
            yield batch.to_pandas()
            done += batch.num_rows
            on_share(done / rows)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is no valid Parquet file: {' '.join(str(error).split())}") from error
