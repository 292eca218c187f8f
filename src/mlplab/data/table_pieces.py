"""Tables in CSV and Parquet files, a piece at a time, so that memory does not grow with the file.

A CSV file is looked at line by line before anything is parsed: pandas fills up a row that is cut short, takes a longer
one's first cell for a name, and renames a second "x".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlplab.errors import DataError, import_extra

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
# A fixed list: what pandas takes for missing grows from release to release, and "None" can be a category.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
BLOCK_BYTES = 8 * 2**20

OnShare = Callable[[float], None]  # how much of a file has been read, 0 to 1


def check_table_file(path: Path) -> None:
    """Raises DataError for another suffix, and for a file that cannot be read or is empty."""
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} must be a table that ends in {' or '.join(SUFFIXES)}.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not start.strip():
        raise DataError(f"{path} is empty.")


def table_pieces(
    path: Path,
    max_cells: int | None = None,
    *,
    text_columns: Collection[str] = (),
    left_out: Collection[str] = (),
    on_share: OnShare = lambda share: None,
) -> Iterator[pd.DataFrame]:
    """The rows of a file in order: at least 1,000 at a time, about `max_cells` cells; None for all at once.

    Numbers, texts, truth values and moments. Of a Parquet file, decimals become float64, durations
    days, times of a day hours, dates moments.

    Arguments:
      text_columns: of a CSV file, read as text even where they look like numbers.
      left_out: of a Parquet file, columns that may hold anything, as nobody looks at them: what
        fits into no cell, such as a list, is then missing.

    Raises DataError, naming file and line or column, for a file that is no table, not UTF-8, or of
    rows of unequal length, and for a column of lists, records or bytes; MissingExtra for Parquet
    without pyarrow.
    """
    check_table_file(path)
    if path.suffix.lower() == ".csv":
        return _csv_pieces(path, max_cells, set(text_columns), on_share)
    return _parquet_pieces(path, max_cells, set(left_out), on_share)


def _rows(max_cells: int | None, num_columns: int) -> int | None:
    return None if max_cells is None else max(1_000, max_cells // num_columns)


# --- Parquet -----------------------------------------------------------------------------------------------


def _parquet_pieces(
    path: Path, max_cells: int | None, left_out: set[str], on_share: OnShare
) -> Iterator[pd.DataFrame]:
    parquet = import_extra("pyarrow.parquet", what="A Parquet file", extra="parquet")
    arrow = import_extra("pyarrow", what="A Parquet file", extra="parquet")
    try:
        file = parquet.ParquetFile(path)
        names, num_rows = file.schema_arrow.names, file.metadata.num_rows
        if not names:
            raise DataError(f"{path} has no columns.")
        for name, field in zip(names, file.schema_arrow, strict=True):
            if name not in left_out and (held := _unfit(field.type)):
                raise DataError(
                    f"{path}, column {name!r} holds {held} ({field.type}): a cell must be a number, a text,"
                    f" a truth value or a moment. Leave it out (--leave-out {name}; of mlplab shift,"
                    f" --ignore {name}), or spread it over columns."
                )
        if max_cells is None:
            yield _frame(file.read())
            return
        done = 0
        for batch in file.iter_batches(batch_size=_rows(max_cells, len(names))):
            yield _frame(arrow.Table.from_batches([batch]))
            done += batch.num_rows
            on_share(done / num_rows)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is no valid Parquet file: {' '.join(str(error).split())}") from error


def _unfit(kind: Any) -> str:
    """What a column of this Arrow type holds, where it fits into no cell; else nothing."""
    import pyarrow as arrow

    types = arrow.types
    kind = getattr(kind, "storage_type", kind)
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_map(kind) or types.is_struct(kind) or types.is_union(kind):
        return "records"
    if types.is_nested(kind):
        return "lists"
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    if is_bytes or types.is_binary_view(kind):
        return "bytes"
    return "calendar spans" if types.is_interval(kind) else ""


PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _frame(table: Any) -> pd.DataFrame:
    """An Arrow table with its decimals, durations (days) and times of a day (hours) as float64."""
    import pyarrow as arrow

    compute = import_extra("pyarrow.compute", what="A Parquet file", extra="parquet")
    types = arrow.types
    for place, field in enumerate(table.schema):
        kind, cells = field.type, table.column(place)
        if _unfit(kind):
            cells = arrow.nulls(len(table))
        elif types.is_decimal(kind):
            cells = compute.cast(cells, arrow.float64())
        elif types.is_duration(kind) or types.is_time(kind):
            whole = arrow.int32() if types.is_time32(kind) else arrow.int64()
            unit = PER_SECOND[kind.unit] * (3_600 if types.is_time(kind) else 86_400)
            counts = compute.cast(compute.cast(cells, whole), arrow.float64(), safe=False)
            cells = compute.divide(counts, float(unit))
        else:
            continue
        table = table.set_column(place, field.name, cells)
    return table.to_pandas(date_as_object=False)


# --- CSV ---------------------------------------------------------------------------------------------------


def _csv_pieces(
    path: Path, max_cells: int | None, text_columns: set[str], on_share: OnShare
) -> Iterator[pd.DataFrame]:
    import pandas as pd

    header = _check_csv(path, lambda share: on_share(0.2 * share))
    options: dict[str, Any] = {
        "chunksize": _rows(max_cells, len(header)),
        "dtype": {name: str for name in header if name in text_columns},
        "keep_default_na": False,
        "na_values": list(MISSING),
        "index_col": False,
        "low_memory": False,
        "encoding": "utf-8-sig",
    }
    size = path.stat().st_size
    try:
        if max_cells is None:
            yield pd.read_csv(path, **options)
            return
        with path.open("rb") as file, pd.read_csv(file, **options) as pieces:
            for piece in pieces:
                yield piece
                on_share(0.2 + 0.8 * min(1.0, file.tell() / size))
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is no valid CSV: {error}.") from error


def _check_csv(path: Path, on_share: OnShare) -> list[str]:
    """The header, once every line has been looked at: UTF-8, no zero bytes, as many cells as the header."""
    size, read, line, rest, header = path.stat().st_size, 0, 1, b"", []
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            if block.endswith(b"\r"):
                block += file.read(1)  # not between the two halves of one line end
            read += len(block)
            # A lone carriage return ends a line too, as pandas reads it.
            block = rest + block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
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
    reader = csv.reader(io.StringIO(_decoded(path, block, 1), newline=""), strict=True)
    with explained(path, reader):
        header = next(reader, [])  # a name in quotes may go over several lines
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


@contextmanager
def explained(path: Path, reader: Any, line: int = 1) -> Iterator[None]:
    """What a csv.reader that starts at a line cannot read, in one line."""
    try:
        yield
    except csv.Error as error:
        raise DataError(f"{path}, line {line + reader.line_num - 1:,} is no valid CSV: {error}.") from error


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
        with explained(path, reader, line):
            for row in reader:
                if row and len(row) != width:
                    _refuse_width(path, line + reader.line_num - 1, len(row), width)
        return line + reader.line_num
    letters = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(letters == 10)
    commas = np.cumsum(letters == 44, dtype=np.int64)[ends]
    cells = np.diff(commas, prepend=0) + 1
    is_blank = np.diff(ends, prepend=-1) == 1
    wrong = np.flatnonzero((cells != width) & ~is_blank)
    if wrong.size:
        _refuse_width(path, line + int(wrong[0]), int(cells[wrong[0]]), width)
    return line + len(ends)


def _refuse_width(path: Path, line: int, found: int, width: int) -> None:
    cells = "1 cell" if found == 1 else f"{found} cells"
    raise DataError(f"{path}, line {line:,} has {cells}; the header has {width}. Was it cut short?")
