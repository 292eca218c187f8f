"""Predictions as the house-price competition takes them: a CSV file with the columns Id and SalePrice."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlplab.errors import InvalidInput
from mlplab.outputs import write_whole

HEADER = ("Id", "SalePrice")


def write_submission(path: str | Path, ids: Sequence[int], prices: Sequence[float] | np.ndarray) -> Path:
    """Write one line for each house, prices in dollars to the cent; returns the path.

    The text is read as the competition does, and checked, before it takes the file's name. Raises InvalidInput for
    prices that no submission may hold, OutputError where the file cannot be written.
    """
    path, text = Path(path).expanduser(), submission_text(ids, prices)
    refuse(text, ids)
    write_whole(path, text)
    return path


def submission_text(ids: Sequence[int], prices: Sequence[float] | np.ndarray) -> str:
    """What such a file holds."""
    lines = [f"{house},{price:.2f}" for house, price in zip(ids, prices, strict=True)]
    return "\n".join([",".join(HEADER), *lines]) + "\n"


def refuse(text: str, ids: Sequence[int]) -> None:
    """Raises InvalidInput, naming the first mistake, for a text that is no submission for the houses `ids`."""
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (csv.Error, ValueError) as error:  # ValueError: not even a header
        raise InvalidInput("a submission", "must be a CSV file", text[:60] or "nothing") from error
    if tuple(header) != HEADER:
        raise InvalidInput("a submission", "must begin with the line Id,SalePrice", ",".join(header))
    wrong = next((row for row in rows if len(row) != len(HEADER)), None)
    if wrong is not None:
        raise InvalidInput("a submission", "must have two cells in each line", ",".join(wrong))
    if len(rows) != len(ids):
        raise InvalidInput("a submission", f"must have one line for each of {len(ids):,} houses", len(rows))
    found = [row[0] for row in rows]
    if missing := set(map(str, ids)) - set(found):
        raise InvalidInput("a submission", "must have a line for each house", f"none for {min(missing)}")
    for house, price in rows:
        try:
            is_price = 0 < float(price) < math.inf
        except ValueError:
            is_price = False
        if not is_price:
            raise InvalidInput(f"a submission, house {house}", "must have a price above 0", price)
