"""The sale prices of the competition's 1,459 "test" houses, out of the table that they were taken from.

The prices are sealed: nothing is trained, chosen or prepared with them. `scoreboard.score` opens this file after all
predictions have been made, and nothing else does. No submission is made from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from mlplab.data import house_prices
from mlplab.data.download import RemoteFile
from mlplab.data.location import Place
from mlplab.data.table import MISSING, read_cells
from mlplab.errors import DataError, InvalidInput

if TYPE_CHECKING:
    import pandas as pd

NAME = "ames-houses"
FOLDER = "ames"  # in MLPLAB_DATA
TITLE = "Sealed sale prices of the house-price competition's test houses"
LICENCE = house_prices.LICENCE
CITATION = house_prices.CITATION

BASE_URL = "https://raw.githubusercontent.com/Migs/AmesHousingData/9f6a0a0a4e64262e3635da5300ab0273b37b1c8a/"
INSTEAD = "Set MLPLAB_DATA to a folder that holds ames/AmesHousing.csv, De Cock's table."
FILES = (RemoteFile("AmesHousing.csv", "sha1", "7792e4181c1647d048793f6e8d43841b0bde4d2a", 963_741),)
SIZE = 1_459
TWINS = 4  # houses that another sale equals in all columns compared: the mean of both log prices is taken

_NUM_ROWS = 2_930
_PLACES = ("Neighborhood", "LotShape", "LotConfig")
# Gaps are filled with 0 in one table or the other.
_NUMBERS = tuple(
    name for name in house_prices.FEATURES.numeric if name not in ("LotFrontage", "MasVnrArea", "GarageYrBlt")
)


def refuse(place: Place) -> NoReturn:
    """Raises InvalidInput: there is nothing here to train on."""
    raise InvalidInput(
        "data set to train on", "must not be the sealed prices", NAME,
        "It is sealed: it scores what mlplab submit writes, and nothing learns from it",
    )  # fmt: skip


def log_prices(place: Place, asked: pd.DataFrame) -> np.ndarray:
    """Log sale prices of the competition's houses, found by what both tables say of a house: float64 (1459,).

    Houses are matched on 33 numeric columns, neighbourhood, lot shape and lot configuration. All are found; where two
    sales agree in all of that (`TWINS` houses) the mean of both log prices is taken, and they differ by 3% at most.

    Raises DataError where the file is damaged, or another table.
    """
    path = place.folder / FILES[0].name
    header, rows, _ = read_cells(path)
    at = {name.replace(" ", "").replace("/", ""): k for k, name in enumerate(header)}
    if lacking := [name for name in (*_NUMBERS, *_PLACES, "SalePrice") if name not in at]:
        raise DataError(f"{path} lacks the column {lacking[0]!r}. Is it De Cock's table?")
    if len(rows) != _NUM_ROWS:
        raise DataError(f"{path} has {len(rows):,} rows; {_NUM_ROWS:,} were published. Get it again.")
    prices: dict[tuple[object, ...], list[float]] = {}
    for line, row in enumerate(rows, start=2):
        try:
            numbers = [0.0 if row[at[n]] in MISSING else float(row[at[n]]) for n in _NUMBERS]
            price = float(row[at["SalePrice"]])
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}. Get it again.") from error
        if not price > 0:
            raise DataError(f"{path}, line {line}: SalePrice is {price:g}; a price is above 0.")
        prices.setdefault((*numbers, *(row[at[n]].strip() for n in _PLACES)), []).append(price)
    wanted = zip(
        asked[list(_NUMBERS)].fillna(0.0).to_numpy(dtype=float).tolist(),
        asked[list(_PLACES)].to_numpy().tolist(),
        strict=True,
    )
    found = [prices.get((*numbers, *places), []) for numbers, places in wanted]
    lost = sum(not sales for sales in found)
    if lost or sum(len(sales) > 1 for sales in found) > TWINS:
        raise DataError(
            f"{path}: {lost} of {len(found):,} houses are not in it, or not as one sale each. Get it again."
        )
    return np.array([np.mean(np.log(sales)) for sales in found])
