"""What a column of a table is for: dates written as text, codes that look like numbers, numbers for rows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from mlplab.shift import tables
from mlplab.shift.notices import Notice

LEAST_ROWS = 100  # below, whatever differs from row to row may be chance
DISTINCT = 0.5  # of the rows: a text with more different values than that hardly ever repeats
NUMBERS = 0.9  # of the cells: a text with so many numbers is a number with slips of the pen


def date_columns(frame: pd.DataFrame) -> list[str]:
    """Texts that are all dates in ISO 8601."""
    found = []
    for name in frame.columns:
        known = frame[name].dropna()
        if len(known) and tables.is_text(known) and known.astype(str).str.match(r"\d{4}-\d\d-\d\d").all():
            dates = pd.to_datetime(known, errors="coerce", utc=True, format="ISO8601")
            if dates.notna().all():
                found.append(name)
    return found


def with_dates(frame: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """The table with these columns as dates: what is none is missing."""
    there = [name for name in names if name in frame and tables.is_text(frame[name].dropna())]
    return frame.assign(
        **{name: pd.to_datetime(frame[name], errors="coerce", utc=True, format="ISO8601") for name in there}
    )


def codes(frame: pd.DataFrame) -> list[str]:
    """Texts that look like numbers in part, as codes do: another file may happen to hold such ones only."""
    return [name for name in frame.columns if _share_of_numbers(frame[name]) > 0]


def mixed(frame: pd.DataFrame, path: Path) -> list[Notice]:
    """Numbers with a text here and there: a typing error, or a word for a missing value."""
    notices = []
    for name in frame.columns:
        if NUMBERS <= _share_of_numbers(frame[name]) < 1:
            known = frame[name].dropna().astype(str)
            odd = known[pd.to_numeric(known, errors="coerce").isna()].iloc[0]
            text = f"{path.name}: {name!r} holds {odd!r} among numbers, and so is taken as text"
            notices.append(Notice("mixed-types", text, name))
    return notices


def identifiers(frame: pd.DataFrame) -> list[Notice]:
    """Texts that hardly ever repeat, and whole numbers that only rise: they say which row it is, and no more."""
    notices = []
    for name in map(str, frame.columns):
        column = frame[name].dropna()
        if len(column) < LEAST_ROWS or pd.api.types.is_bool_dtype(column):
            continue
        distinct = column.nunique()
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
            rises = distinct == len(column) and column.is_monotonic_increasing
            if not (rises and (column % 1 == 0).all()):
                continue
            says = "counts the rows"
        elif distinct > DISTINCT * len(column) and tables.is_text(column):
            says = f"has {distinct:,} different texts in {len(column):,} rows"
        else:
            continue
        text = f"{name!r} {says}: it looks like an identifier, and is left out"
        notices.append(Notice("identifier", text, name))
    return notices


def _share_of_numbers(column: pd.Series) -> float:
    known = column.dropna()
    if not len(known) or not tables.is_text(known):
        return 0.0
    return float(pd.to_numeric(known.astype(str), errors="coerce").notna().mean())
