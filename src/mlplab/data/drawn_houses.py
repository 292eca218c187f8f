"""A drawn table of houses: numbers and categories, gaps that mean something and gaps that do not, log-normal prices.

It stands in for the house prices of Ames where those are not at hand, with a dozen and a half of their columns under
their names, and with what no real table has: a known truth. Nothing in it is a house of Ames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlplab.data.dataset import Dataset
from mlplab.data.split import random_split
from mlplab.data.synthetic import LICENCE, SOURCE, draw_number, stream, whole_number
from mlplab.data.table import Columns, log_price_parts

if TYPE_CHECKING:
    import pandas as pd

NAME = "drawn-houses"
TITLE = "Drawn house prices with a known truth, in the form of the table of Ames"
CITATION = "after the columns of De Cock 2011, Ames, Iowa, J. Statistics Education 19(3); all cells are drawn"
NUM_HOUSES = 600
NOISE_STD = 0.12  # of the log price given all that the table could say
MEDIAN_PRICE = 160_000.0

FEATURES = Columns(
    tuple(
        "LotFrontage LotArea OverallQual YearBuilt MasVnrArea TotalBsmtSF GrLivArea BedroomAbvGr Fireplaces "
        "GarageYrBlt GarageArea PoolArea YrSold".split()
    ),
    tuple("Neighborhood BldgType KitchenQual FireplaceQu GarageType PoolQC CentralAir".split()),
)
# Neighbourhood -> what it adds to the log price
_NEIGHBOURHOODS = dict(
    zip(
        "Ash Beech Birch Cedar Elm Fir Hazel Larch Maple Oak Pine Willow".split(),
        (-0.25, -0.2, -0.15, -0.1, -0.05, 0.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25),
        strict=True,
    )
)
_QUALITIES = ("Fa", "TA", "Gd", "Ex")
_DETAILS = (
    "The target is log(SalePrice): 0.1 for a point of quality, 0.5 log(living area), neighbourhood, age with a bend, "
    "a fireplace's quality, a garage, a pool, quality times area; noise N(0, 0.12²). A house without fireplace, garage "
    "or pool has a gap there; LotFrontage also lacks for large lots, by chance. Features as those of house-prices."
)


def drawn_table(num_houses: int = NUM_HOUSES, draw: int = 0, part: str = "train") -> pd.DataFrame:
    """The houses of a part, `train` with SalePrice or `test` without; categories as text, NaN where a cell is missing.

    Raises InvalidInput for a value that is not allowed.
    """
    table, truth = _drawn(num_houses, draw, part)
    if part == "train":
        noise = stream(NAME, part, "noise", draw).normal(num_houses)
        table["SalePrice"] = np.round(np.exp(truth + NOISE_STD * noise), -2)
    return table


def true_log_prices(num_houses: int = NUM_HOUSES, draw: int = 0, part: str = "train") -> np.ndarray:
    """What the log price of each house is before the noise: float64 (num_houses,)."""
    return _drawn(num_houses, draw, part)[1]


def sealed_log_prices() -> np.ndarray:
    """Log prices of the part `test`, which `drawn_table` leaves out: for the scoreboard alone."""
    noise = stream(NAME, "test", "noise", 0).normal(NUM_HOUSES)
    return np.log(np.round(np.exp(true_log_prices(part="test") + NOISE_STD * noise), -2))


def drawn_houses(num_houses: int = NUM_HOUSES, draw: int = 0) -> Dataset:
    """Two thirds of the labelled houses to train on, a sixth each for validation and test, as log prices.

    Arguments:
      num_houses: labelled houses, 30 to 100,000.
      draw: which of the tables.

    `truth["noise_std"]` is the least log-RMSE that any model can reach. Raises InvalidInput for a value not allowed.
    """
    table = drawn_table(num_houses, draw)
    sixth = num_houses // 6
    rows = random_split(num_houses, (num_houses - 2 * sixth, sixth, sixth))
    train, validation, test = log_price_parts([table.iloc[r] for r in rows], FEATURES)
    return Dataset(
        name=NAME,
        title=TITLE,
        task="regression",
        train=train,
        validation=validation,
        test=test,
        out_features=1,
        feature_shape=(train.features.shape[1],),
        source=SOURCE,
        details=_DETAILS,
        licence=LICENCE,
        citation=CITATION,
        truth={"noise_std": np.array(NOISE_STD)},
        parameters={"num_houses": int(num_houses), "draw": int(draw)},
    )


def _drawn(num_houses: int, draw: int, part: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The table without prices, and the true log prices."""
    import pandas as pd  # here: importing it takes most of a second

    num = whole_number(f"{NAME}.num_houses", num_houses, 30, 100_000)
    draw = draw_number(NAME, draw)
    z = stream(NAME, part, "inputs", draw).normal((num, 8))
    u = stream(NAME, part, "places", draw).uniform((num, 9))

    place = np.minimum((len(_NEIGHBOURHOODS) * u[:, 0]).astype(int), len(_NEIGHBOURHOODS) - 1)
    worth = np.array(list(_NEIGHBOURHOODS.values()))[place]
    quality = np.clip(np.round(6 + 3 * worth + 1.2 * z[:, 0]), 1, 10)
    built = np.clip(np.round(1970 + 8 * (quality - 6) + 22 * z[:, 1]), 1875, 2009)
    living = np.round(np.exp(7.25 + 0.09 * (quality - 6) + 0.27 * z[:, 2]))
    lot = np.round(np.exp(9.1 + 0.35 * z[:, 3] + 0.2 * (np.log(living) - 7.25)))
    garage = np.where(
        u[:, 1] < 0.94, np.round(np.clip(470 + 60 * (quality - 6) + 120 * z[:, 4], 160, None)), 0.0
    )
    fires = (u[:, 2] < 1 / (1 + np.exp(-0.6 * (quality - 6)))).astype(float)
    pool = np.where(u[:, 3] < 0.03, np.round(500 + 100 * z[:, 5]), 0.0)
    kitchen = np.clip(np.round((quality - 4) / 2 + 0.5 * z[:, 6]), 0, 3).astype(int)
    fire_quality = np.clip(kitchen + (u[:, 4] < 0.3), 0, 3)
    age = 2010 - built

    table = pd.DataFrame(
        {
            "Id": np.arange(1.0, num + 1),
            "LotFrontage": np.where(u[:, 5] < 0.05 + 0.4 * (lot > 10_000), np.nan, np.round(lot / 130)),
            "LotArea": lot,
            "OverallQual": quality,
            "YearBuilt": built,
            "MasVnrArea": np.where(u[:, 6] < 0.01, np.nan, np.round(np.clip(150 * z[:, 7], 0, None))),
            "TotalBsmtSF": np.round(0.6 * living + 80 * np.abs(z[:, 5])),
            "GrLivArea": living,
            "BedroomAbvGr": np.clip(np.round(living / 500), 1, 6),
            "Fireplaces": fires,
            "GarageYrBlt": np.where(garage > 0, built, np.nan),
            "GarageArea": garage,
            "PoolArea": pool,
            "YrSold": 2006.0 + np.floor(5 * u[:, 7]),
            "Neighborhood": np.array(list(_NEIGHBOURHOODS), dtype=object)[place],
            "BldgType": np.where(u[:, 8] < 0.8, "1Fam", "Twnhs").astype(object),
            "KitchenQual": np.array(_QUALITIES, dtype=object)[kitchen],
            "FireplaceQu": np.where(fires > 0, np.array(_QUALITIES, dtype=object)[fire_quality], np.nan),
            "GarageType": np.where(garage > 0, np.where(garage > 420, "Attchd", "Detchd").astype(object), np.nan),
            "PoolQC": np.where(pool > 0, np.array(_QUALITIES, dtype=object)[kitchen], np.nan),
            "CentralAir": np.where(age > 75, "N", "Y").astype(object),
        }
    )  # fmt: skip
    truth = (
        np.log(MEDIAN_PRICE)
        + 0.1 * (quality - 6)
        + 0.5 * (np.log(living) - 7.25)
        + 0.04 * (quality - 6) * (np.log(living) - 7.25)
        + worth
        - 0.15 * np.log1p(age / 20)
        + fires * (0.03 + 0.02 * fire_quality)
        + np.where(garage > 0, 0.06 + 0.0002 * garage, 0.0)
        + np.where(pool > 0, 0.08, 0.0)
        + 0.08 * (np.log(lot) - 9.1)
    )
    return table, truth
