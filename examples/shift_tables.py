"""Customers before and now, as two files to try `mlplab shift` on: python examples/shift_tables.py [FIGURE]

Now incomes are higher, the ages of more customers are not known, and a fourth city has come. Visits and membership are
as they were. old.csv and new.csv are written where it is run.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from mlplab.rng import Stream


def customers(num_rows: int, stream: Stream, *, is_now: bool) -> pd.DataFrame:
    """A row for each: age, income, visits, city, member, since, and what they spent."""
    age = np.clip(np.round(44 + 14 * stream.normal(num_rows)), 18, 90)
    income = np.round(np.exp(10.3 + 0.4 * stream.normal(num_rows) + (0.15 if is_now else 0.0)), -2)
    visits = np.floor(-6 * np.log(stream.uniform(num_rows))).astype(int)
    cities = np.array(["Aachen", "Bergen", "Cork", "Delft"])
    city = cities[np.searchsorted([0.5, 0.8, 0.95 if is_now else 1.0], stream.uniform(num_rows))]
    spent = np.round(visits * (5 + income / 4_000) * np.exp(0.3 * stream.normal(num_rows)), 2)
    days = np.round(2_000 * stream.uniform(num_rows))
    return pd.DataFrame(
        {
            "age": np.where(stream.uniform(num_rows) < (0.12 if is_now else 0.03), np.nan, age),
            "income": income,
            "visits": visits,
            "city": city,
            "member": stream.uniform(num_rows) < 0.4,
            "since": (pd.Timestamp("2018-01-01") + pd.to_timedelta(days, unit="D")).date,
            "spent": spent,
        }
    )


def main(words: list[str]) -> None:
    customers(1_500, Stream(0, "data"), is_now=False).to_csv("old.csv", index=False)
    customers(800, Stream(1, "data"), is_now=True).to_csv("new.csv", index=False)
    if words:
        from mlplab.shift.check import check_files

        check_files("old.csv", "new.csv", target="spent").plot().save(words[0])


if __name__ == "__main__":
    main(sys.argv[1:])
