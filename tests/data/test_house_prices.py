from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlplab import data
from mlplab.data import house_prices
from mlplab.data.dataset import Dataset
from mlplab.data.location import Place
from mlplab.data.split import random_split
from mlplab.data.table import encoder
from mlplab.errors import DataError

if TYPE_CHECKING:
    from conftest import HouseFolder


def read(houses: HouseFolder) -> Dataset:
    return house_prices.load(Place(houses.folder, is_cache=False))


def test_numbers_are_standardised_by_the_training_rows_alone(house_folder: HouseFolder) -> None:
    loaded = read(house_folder)
    assert loaded.fingerprint.startswith("house-prices:1000/230/230:")
    num_numeric = len(house_prices.FEATURES.numeric)
    numbers = loaded.train.features[:, :num_numeric]
    assert np.abs(numbers.mean(axis=0)).max() < 1e-5
    assert np.abs(numbers.std(axis=0) - 1).max() < 1e-5
    assert np.abs(loaded.test.features[:, :num_numeric].mean(axis=0)).max() > 0.01

    # What a test row holds moves no training feature.
    test_row = int(random_split(1460, house_prices.SIZES)[2][0])
    house_folder.change(test_row, "LotArea", "1e6")
    assert (read(house_folder).train.features == loaded.train.features).all()
    assert read(house_folder).fingerprint != loaded.fingerprint


def test_each_category_has_one_column_and_missing_is_one(house_folder: HouseFolder) -> None:
    num_numeric, num_categorical = len(house_prices.FEATURES.numeric), len(house_prices.FEATURES.categorical)
    features = read(house_folder).train.features[:, num_numeric:]
    assert features.shape[1] == 4 * num_categorical  # three kinds and missing
    assert set(np.unique(features)) == {0, 1}
    assert (features.sum(axis=1) == num_categorical).all()


def test_a_missing_number_becomes_the_mean(house_folder: HouseFolder) -> None:
    row = int(random_split(1460, house_prices.SIZES)[1][0])
    house_folder.change(row, "LotArea", "NA")
    assert read(house_folder).validation.features[0, house_prices.FEATURES.numeric.index("LotArea")] == 0


def test_a_category_that_training_never_saw_is_zero_everywhere(house_folder: HouseFolder) -> None:
    row = int(random_split(1460, house_prices.SIZES)[2][0])
    before = read(house_folder)
    house_folder.change(row, "Street", "Water")
    after = read(house_folder)
    assert after.in_features == before.in_features
    assert after.test.features[0].sum() == pytest.approx(before.test.features[0].sum() - 1, abs=1e-4)


def test_the_target_is_the_log_of_the_price(house_folder: HouseFolder) -> None:
    rows = random_split(1460, house_prices.SIZES)[0]
    prices = np.array([float(house_folder.rows[row][-1]) for row in rows])
    assert np.allclose(read(house_folder).train.targets[:, 0], np.log(prices), rtol=1e-6)  # float32


@pytest.mark.parametrize(
    ("row", "column", "cell", "message"),
    [
        (7, "LotArea", "8,450 sq", r"line 9, column 'LotArea': '8,450 sq' is not a number"),
        (7, "LotArea", "inf", "line 9, column 'LotArea': 'inf' is not a number"),
        (0, "YearBuilt", "nan", "line 2, column 'YearBuilt': 'nan' is not a number"),
        (5, "SalePrice", "0", "house 6: SalePrice is 0; a price is above 0"),
        (5, "SalePrice", "-3", "house 6: SalePrice is -3"),
        (5, "SalePrice", "", "house 6: SalePrice is nan"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(
    house_folder: HouseFolder, row: int, column: str, cell: str, message: str
) -> None:
    path = house_folder.change(row, column, cell)
    with pytest.raises(DataError, match=message) as error:
        read(house_folder)
    assert str(path) in str(error.value)


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new, 1)


def with_last_column(name: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(b"\r\n", b",1\r\n").replace(
        b"SalePrice,1", b"SalePrice," + name, 1
    )


SPOILT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "is empty"),
    "blank": (lambda content: b"\n\n", "is empty"),
    "header only": (lambda content: content.split(b"\n")[0], "has 0 rows; 1,460 were published"),
    "cut between lines": (lambda content: b"\n".join(content.split(b"\n")[:1001]), "has 1,000 rows; 1,460"),
    "cut within a line": (lambda content: content[:50_000], r"line \d+ has \d+ cells; the header has 81"),
    "a quote left open": (replaced(b"kind 1", b'"kind 1'), r"line \d+ (is no valid CSV|has \d+ cells)"),
    "Windows letters": (replaced(b"kind 1", b"Stra\xdfe"), "line 2 is not UTF-8"),
    "UTF-16": (lambda content: content.decode().encode("utf-16"), "line 1 is not UTF-8"),
    "no column": (replaced(b"LotArea", b"Area"), "lacks the column 'LotArea'"),
    "one column more": (with_last_column(b"Tax"), "has the unknown column 'Tax'"),
    "a column twice": (with_last_column(b"Id"), "has the column 'Id' twice"),
    "another table": (replaced(b"SalePrice", b"Price"), "lacks the column 'SalePrice'"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_table_gives_one_line_that_names_it(house_folder: HouseFolder, fault: str) -> None:
    spoil, message = SPOILT[fault]
    house_folder.path.write_bytes(spoil(house_folder.path.read_bytes()))
    with pytest.raises(DataError, match=message) as error:
        read(house_folder)
    assert str(house_folder.path) in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_may_stand_in_any_order_and_begin_with_a_mark(house_folder: HouseFolder) -> None:
    before = read(house_folder).fingerprint
    house_folder.write(house_folder.header[::-1], [row[::-1] for row in house_folder.rows])
    house_folder.path.write_bytes(
        b"\xef\xbb\xbf" + house_folder.path.read_bytes()
    )  # a spreadsheet's UTF-8 mark
    assert read(house_folder).fingerprint == before


def test_the_real_table_is_learned_by_ridge(real_data: None) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    loaded = data.load("house-prices")
    fitted = linear_model.Ridge(30).fit(loaded.train.features, loaded.train.targets[:, 0])
    errors = fitted.predict(loaded.test.features) - loaded.test.targets[:, 0]
    assert np.sqrt(np.mean(errors**2)) < 0.18  # the spread of log prices is 0.4


def test_the_real_tables_are_as_published(real_data: None) -> None:
    train, test = data.load_table("house-prices"), data.load_table("house-prices", "test")
    assert (train.shape, test.shape) == ((1460, 81), (1459, 80))
    assert set(train) - set(test) == {"SalePrice"}
    assert train["SalePrice"].iloc[0] == 208500
    assert np.mean(train["Alley"].isna()) > 0.9
    assert np.sum(train["MasVnrType"] == "None") > 800  # a kind of its own, and not a missing one
    features = encoder(house_prices.FEATURES).fit(train).transform(test)
    assert np.isfinite(features).all()
