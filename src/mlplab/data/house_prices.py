"""House prices in Ames, Iowa, 2006 to 2010: the table of the chapter's Kaggle competition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlplab.data.dataset import Dataset
from mlplab.data.download import RemoteFile
from mlplab.data.location import Place
from mlplab.data.split import random_split
from mlplab.data.table import Columns, log_price_parts, read_csv
from mlplab.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

NAME = "house-prices"
TITLE = "House prices in Ames, Iowa, 2006 to 2010"
LICENCE = "Published for teaching by D. De Cock; see the citation"
CITATION = "De Cock 2011, Ames, Iowa: alternative to the Boston housing data, J. Statistics Education 19(3)"

BASE_URL = "https://d2l-data.s3-accelerate.amazonaws.com/"
INSTEAD = "Set MLPLAB_DATA to a folder that holds house-prices/ with its two .csv files."
FILES = (
    RemoteFile("kaggle_house_pred_train.csv", "sha1", "585e9cc93e70b39160e7921475f9bcd7d31219ce", 460_676),
    RemoteFile("kaggle_house_pred_test.csv", "sha1", "fa19780a7b011d9b009e8bff8e99922a8ee2eb90", 451_405),
)
SIZES = (1_000, 230, 230)

_NUM_ROWS = {"train": 1_460, "test": 1_459}
_DETAILS = (
    "The target is log(SalePrice), the price in dollars. Numbers are standardised and missing ones "
    "set to 0; a category has one column for each value, missing included; both by the 1,000 training "
    "rows alone. All three parts come from the 1,460 labelled rows, in a fixed random order: Kaggle's "
    "test rows have no prices, and are in load_table."
)
_NUMERIC = tuple(
    "MSSubClass LotFrontage LotArea OverallQual OverallCond YearBuilt YearRemodAdd MasVnrArea "
    "BsmtFinSF1 BsmtFinSF2 BsmtUnfSF TotalBsmtSF 1stFlrSF 2ndFlrSF LowQualFinSF GrLivArea "
    "BsmtFullBath BsmtHalfBath FullBath HalfBath BedroomAbvGr KitchenAbvGr TotRmsAbvGrd Fireplaces "
    "GarageYrBlt GarageCars GarageArea WoodDeckSF OpenPorchSF EnclosedPorch 3SsnPorch ScreenPorch "
    "PoolArea MiscVal MoSold YrSold".split()
)
_CATEGORICAL = tuple(
    "MSZoning Street Alley LotShape LandContour Utilities LotConfig LandSlope Neighborhood Condition1 "
    "Condition2 BldgType HouseStyle RoofStyle RoofMatl Exterior1st Exterior2nd MasVnrType ExterQual "
    "ExterCond Foundation BsmtQual BsmtCond BsmtExposure BsmtFinType1 BsmtFinType2 Heating HeatingQC "
    "CentralAir Electrical KitchenQual Functional FireplaceQu GarageType GarageFinish GarageQual "
    "GarageCond PavedDrive PoolQC Fence MiscFeature SaleType SaleCondition".split()
)
FEATURES = Columns(_NUMERIC, _CATEGORICAL)


def load_table(place: Place, part: str = "train") -> pd.DataFrame:
    """The table as published: `train`, 1,460 rows with SalePrice, or `test`, 1,459 rows without.

    Numbers are float64, categories text; a cell that is empty or NA is NaN. Raises DataError, naming file,
    line and column, where the file is damaged.
    """
    labelled = part == "train"
    numeric = ("Id", *_NUMERIC, *(["SalePrice"] if labelled else []))
    path = place.folder / FILES[0 if labelled else 1].name
    table = read_csv(path, Columns(numeric, _CATEGORICAL), _NUM_ROWS[part])
    if labelled:
        bad = ~(table["SalePrice"] > 0).to_numpy()
        if bad.any():
            row = int(np.argmax(bad))
            found = table["SalePrice"].iloc[row]
            raise DataError(
                f"{path}, house {table['Id'].iloc[row]:.0f}: SalePrice is {found:g}; a price is above 0."
            )
    return table


def load(place: Place) -> Dataset:
    """The labelled rows as features and log prices. Raises DataError as `load_table` does."""
    table = load_table(place)
    parts = log_price_parts([table.iloc[rows] for rows in random_split(len(table), SIZES)], FEATURES)
    return Dataset(
        name=NAME,
        title=TITLE,
        task="regression",
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        out_features=1,
        feature_shape=(parts[0].features.shape[1],),
        source=str(place),
        details=_DETAILS,
        licence=LICENCE,
        citation=CITATION,
    )
