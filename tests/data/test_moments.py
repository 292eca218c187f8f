"""Moments: one order for the whole column, the one that its cells decide; where none does, nothing is guessed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlplab.data.moments import moments
from mlplab.data.own_table import Roles, load_own, own_table
from mlplab.errors import DataError

DAYS = pd.date_range("2023-01-01", periods=366)


def line(row: int) -> str:
    return f"line {row + 2}"


def read(texts) -> tuple[pd.Series, str]:
    return moments(pd.Series(list(texts)), "Roles.time 'when'", line)


@pytest.mark.parametrize(
    "form",
    [
        "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%y", "%Y-%m-%d", "%Y/%m/%d", "%Y%m%d",
        "%d-%b-%y", "%b %d, %Y", "%A, %d %B %Y", "%Y-%b-%d", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p",
        "%Y-%m-%dT%H:%M:%S+02:00", "%a, %d %b %Y %H:%M:%S GMT",
    ],
)  # fmt: skip
def test_a_year_of_days_is_in_the_order_of_time(form: str):
    """Also of the one that began with days up to the twelfth, which may be months."""
    for days in (DAYS, DAYS[::-1], DAYS + pd.Timedelta("15h")):
        found, _ = read(days.strftime(form))
        assert (np.diff(found.to_numpy()) > np.timedelta64(0)).all() == (days[0] < days[1])
        assert found.is_monotonic_increasing or found.is_monotonic_decreasing


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-31 10:30:15.5", "2024-05-31 10:30:15.5"),
        ("2024-05-31T10:30:00Z", "2024-05-31 10:30"),
        ("2024-05-31 10:30-0330", "2024-05-31 14:00"),
        ("5/31/2024 12:05 AM", "2024-05-31 00:05"),
        ("31.5.2024 7 PM", "2024-05-31 19:00"),
        ("31-May-69", "1969-05-31"),
        ("May 2024", "2024-05-01"),
        ("05/2024", "2024-05-01"),
        ("2024Q2", "2024-04-01"),
        ("June 1st, 2024", "2024-06-01"),
    ],
)
def test_a_moment_is_what_it_says(text: str, moment: str):
    assert read([text])[0].iloc[0] == pd.Timestamp(moment)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["03/04/2024", "05/06/2024", "03/07/2024"],
         "'03/04/2024' (line 2) may be day/month/year or month/day/year, and no other cell decides"),
        (["13/04/24", "14/05/23"], "day/month/year or year/month/day"),
        (["13/04/2024", "01/02/2024", "04/13/2024"],
         "two orders: '13/04/2024' (line 2) is day/month/year, and '04/13/2024' (line 4) is month/day/year"),
        (["2024-01-31", "31.01.2024"], "two ways: '2024-01-31' (line 2) and '31.01.2024' (line 3)"),
        (["01/02/2024", "13.02.2024"], "two ways"),
        (["01/02/2024", "13/02/24"], "two ways"),
        (["1/13/2024 1:00 PM", "1/14/2024 1:00"], "two ways"),
        (["2024-01-31 10:00Z", "2024-01-31 10:00"], "two ways"),
        (["2024-01-31", "soon"], "holds 'soon' (line 3): no number and no date. Write ISO dates: 2024-05-31"),
        (["soon"], "holds 'soon' (line 2)"),
        (["31/02/2024"], "holds '31/02/2024' (line 2)"),
        (["2024-31-01"], "holds '2024-31-01' (line 2)"),
        (["2024-01-31 25:00"], "holds '2024-01-31 25:00'"),
    ],
)  # fmt: skip
def test_what_no_cell_decides_is_refused_with_a_cell_and_its_line(texts, says: str):
    with pytest.raises(DataError) as caught:
        read(texts)
    assert says in str(caught.value)
    assert str(caught.value).startswith("Roles.time 'when' ")
    assert "\n" not in str(caught.value)


def test_an_order_that_changes_nothing_need_not_be_told():
    """First days of months of one year: the rows stand alike whichever number is the month."""
    found, order = read(["01/01/2024", "01/02/2024", "01/03/2024"])
    assert found.is_monotonic_increasing
    assert order == ""


def table(days: pd.DatetimeIndex, form: str) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    number = np.arange(len(days), dtype=float)
    frame = pd.DataFrame({"when": days.strftime(form), "x": number**2, "y": draws.normal(size=len(days))})
    return frame.sample(frac=1, random_state=0, ignore_index=True)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d"])
def test_no_test_row_lies_before_a_training_row(tmp_path, form: str):
    """`x` rises with time: in the training rows it stays below what any test row has."""
    table(DAYS, form).to_csv(tmp_path / "t.csv", index=False)
    found = load_own(tmp_path / "t.csv", Roles("y", time="when"))
    train, validation, test = (part.features[:, 0] for part in found.dataset.parts.values())
    assert train.max() < validation.min() < validation.max() < test.min()
    assert any("is read as day/month/year" in note for note in found.notes) == form.startswith("%d")


def test_a_date_that_is_refused_names_its_line_in_the_file(tmp_path):
    frame = table(DAYS[:40], "%Y-%m-%d")
    frame.loc[:, "when"] = frame["when"].str.replace("2023-01-0", "2023.01.0")
    frame.loc[0, "when"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    row = next(row for row in range(1, 40) if ("." in frame["when"][row]) != ("." in frame["when"][1]))
    with pytest.raises(DataError, match=rf"\(t.csv, line 3\) and .* \(t.csv, line {row + 2}\)"):
        load_own(tmp_path / "t.csv", Roles("y", time="when"))


@pytest.mark.parametrize("form", ["%d%m%Y", "%m%d%Y"])
def test_dates_with_the_year_last_are_no_numbers(form: str):
    """31012023 is more than 1022023, and earlier."""
    frame = table(DAYS, form)
    with pytest.raises(DataError, match="a date with its year last"):
        own_table(frame.assign(when=frame["when"].astype(int)), Roles("y", time="when"), name="t")
    ordered = table(DAYS, "%Y%m%d")
    own_table(ordered.assign(when=ordered["when"].astype(int)), Roles("y", time="when"), name="t")
