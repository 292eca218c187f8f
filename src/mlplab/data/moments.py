"""Moments written as text: read in one way for the whole column, never by a guess for a cell."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mlplab.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Place = Callable[[int], str]  # where a row (from 0) stands, in words

REMEDY = "Write ISO dates: 2024-05-31"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CENTURY_TURNS = 69  # 68 is 2068 and 69 is 1969, as POSIX has it

WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[,.]?\s+)?"
MONTH = rf"(?P<name>{'|'.join(MONTHS)})[a-z]*"
CLOCK = (
    r"(?:(?:\s*t\s*|[,\s]\s*)(?P<hour>\d{1,2})"
    r"(?::?(?P<minute>[0-5]\d)(?::?(?P<second>[0-5]\d(?:[.,]\d+)?))?)?"
    r"\s*(?P<half>[ap]m)?\s*(?P<zone>z|utc|gmt|[+-]\d\d:?(?:\d\d)?)?)?"
)
# Each way of writing a date. In all but the last one, every part tells by itself what it is.
WAYS = (
    r"(?P<year>\d{4})(?P<by>[-/. ])(?P<month>\d{1,2})(?P=by)(?P<day>\d{1,2})",
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
    r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})",
    r"(?P<month>\d{1,2})[-/.](?P<year>\d{4})",
    r"(?P<year>\d{4})[- ]?q(?P<quarter>[1-4])",
    rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-\s./]*{MONTH}[-\s.,/]*(?P<year>\d{{4}}|\d\d)",
    rf"{MONTH}[-\s.]+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-\s,]+(?P<year>\d{{4}})",
    rf"{MONTH}[-\s.]+(?P<year>\d{{4}})",
    rf"(?P<year>\d{{4}})[-\s.]*{MONTH}[-\s.]*(?P<day>\d{{1,2}})",
    r"(?P<first>\d{1,2})(?P<by>[-/. ])(?P<middle>\d{1,2})(?P=by)(?P<last>\d{4}|\d\d)",
)
PATTERNS = [re.compile(f"{WEEKDAY}{way}{CLOCK}", re.IGNORECASE) for way in WAYS]
# Of numbers alone: where day, month and year may stand.
ORDERS = {
    "day/month/year": ("last", "middle", "first"),
    "month/day/year": ("last", "first", "middle"),
    "year/month/day": ("first", "middle", "last"),
}


def moments(column: pd.Series, owner: str, place: Place) -> tuple[pd.Series, str]:
    """A column of texts without gaps as moments, and the order of its numbers where the column had to tell it.

    The first cell sets the way of writing; `01/02/2024` is read as the only order in which the whole
    column makes dates, or in which its rows stand alike. A moment without a time zone is in UTC.

    Arguments:
      owner: the option that asks, with the column.

    Raises DataError, naming a cell and its place, for a cell that is no moment, another way of
    writing, time zones or am/pm in some cells only, two orders, and an order that no cell tells.
    """
    texts = column.astype(str).str.strip()
    ways = [way for way in PATTERNS if way.fullmatch(texts.iloc[0])]
    if not ways:
        raise _unread(owner, column, 0, place)
    way = ways[0]
    parts = texts.str.extract(rf"^(?:{way.pattern})$", flags=re.IGNORECASE)
    is_other = parts.isna().all(axis=1).to_numpy()
    if "by" in parts:
        is_other = is_other | (parts["by"] != parts["by"].iloc[0]).to_numpy(dtype=bool)
    if "last" in parts:
        is_other = is_other | (parts["last"].str.len() != len(parts["last"].iloc[0])).to_numpy(dtype=bool)
    if is_other.any():
        row = int(is_other.argmax())
        if not any(way.fullmatch(texts.iloc[row]) for way in PATTERNS):
            raise _unread(owner, column, row, place)
        raise _two_ways(owner, column, 0, row, place)
    for name in ("zone", "half"):
        has = (parts[name].notna() | (name == "half" and parts["hour"].isna())).to_numpy(dtype=bool)
        if has.any() and not has.all():
            raise _two_ways(owner, column, int(has.argmax()), int((~has).argmax()), place)
    if "last" not in parts:
        found = _read(parts, "year", "month", "day")
        if (bad := found.isna().to_numpy()).any():
            raise _unread(owner, column, int(bad.argmax()), place)
        return found, ""
    return _in_order(column, parts, owner, place)


def _in_order(column: pd.Series, parts: pd.DataFrame, owner: str, place: Place) -> tuple[pd.Series, str]:
    import pandas as pd

    orders = {name: order for name, order in ORDERS.items() if order[0] != "first" or _is_short(parts)}
    read = {name: _read(parts, *order) for name, order in orders.items()}
    bad = {name: found.isna().to_numpy() for name, found in read.items()}
    whole = [name for name in orders if not bad[name].any()]
    if not whole:
        never = np.logical_and.reduce(list(bad.values()))
        if never.any():
            raise _unread(owner, column, int(never.argmax()), place)
        # The order that fits most cells, and the first cell that it does not fit.
        likely = min(orders, key=lambda name: int(bad[name].sum()))
        odd = int(bad[likely].argmax())
        other = next(name for name in orders if not bad[name][odd])
        only = int((bad[other] & ~bad[likely]).argmax())
        raise DataError(
            f"{owner} is written in two orders: {column.iloc[only]!r} ({place(only)}) is {likely}, and"
            f" {column.iloc[odd]!r} ({place(odd)}) is {other}. {REMEDY}."
        )
    ranks = {name: pd.factorize(read[name], sort=True)[0] for name in whole}
    for name in whole[1:]:
        if (ranks[name] == ranks[whole[0]]).all():
            continue
        row = int((read[name] != read[whole[0]]).to_numpy().argmax())
        raise DataError(
            f"{owner} does not tell its order: {column.iloc[row]!r} ({place(row)}) may be"
            f" {' or '.join(whole)}, and no other cell decides. {REMEDY}."
        )
    return read[whole[0]], whole[0] if len(whole) == 1 else ""


def _is_short(parts: pd.DataFrame) -> bool:
    """Whether the year has two digits, and so may come first."""
    return len(parts["last"].iloc[0]) == 2


def _read(parts: pd.DataFrame, year: str, month: str, day: str) -> pd.Series:
    """Moments in UTC, NaT where there is no such day; a month alone is its first day."""
    import pandas as pd

    years = parts[year].astype(np.int64)
    is_short = parts[year].str.len() <= 2
    years = years.where(~is_short, years + np.where(years < CENTURY_TURNS, 2000, 1900))
    if "name" in parts:
        months = parts["name"].str.lower().map({name: place for place, name in enumerate(MONTHS, 1)})
    elif "quarter" in parts:
        months = 3 * parts["quarter"].astype(np.int64) - 2
    else:
        months = parts[month].astype(np.int64)
    days = parts[day].astype(np.int64) if day in parts else 1
    frame = pd.DataFrame({"year": years, "month": months, "day": days})
    dates = pd.to_datetime(frame, errors="coerce")
    if not parts["hour"].notna().any():
        return dates
    hours = parts["hour"].astype(float).fillna(0)
    if parts["half"].notna().any():
        hours = (hours % 12 + 12 * (parts["half"].str.lower() == "pm")).where(hours.between(1, 12))
    hours = hours.where(hours < 24)
    seconds = parts["second"].str.replace(",", ".").astype(float).fillna(0)
    zone = parts["zone"].str.extract(r"([+-])(\d\d):?(\d\d)?")
    ahead = zone[1].astype(float).fillna(0) * 3600 + zone[2].astype(float).fillna(0) * 60
    ahead = ahead.where(zone[0] != "-", -ahead)
    passed = hours * 3600 + parts["minute"].astype(float).fillna(0) * 60 + seconds - ahead
    return dates + pd.to_timedelta(passed, unit="s")


def _unread(owner: str, column: pd.Series, row: int, place: Place) -> DataError:
    return DataError(f"{owner} holds {column.iloc[row]!r} ({place(row)}): no number and no date. {REMEDY}.")


def _two_ways(owner: str, column: pd.Series, one: int, other: int, place: Place) -> DataError:
    return DataError(
        f"{owner} is written in two ways: {column.iloc[one]!r} ({place(one)}) and"
        f" {column.iloc[other]!r} ({place(other)}). {REMEDY}."
    )


def refuse_dates_as_numbers(column: pd.Series, owner: str, place: Place) -> None:
    """Raises DataError for numbers such as 31012024: in their order they are not in the order of time."""
    values = column.to_numpy(dtype=np.float64)
    if not (values % 1 == 0).all():
        return
    first, middle, year = values // 1_000_000, values // 10_000 % 100, values % 10_000
    fits = (year >= 1900) & (year <= 2100) & (first >= 1) & (middle >= 1)
    fits &= (np.minimum(first, middle) <= 12) & (np.maximum(first, middle) <= 31)
    if fits.all():
        raise DataError(
            f"{owner} holds {column.iloc[0]:.0f} ({place(0)}), a date with its year last: such numbers are not in"
            f" the order of time. {REMEDY}."
        )
