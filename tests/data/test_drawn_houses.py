"""The drawn houses: the form of the table of Ames, the truth that it was drawn from, gaps that mean something."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab import data
from mlplab.data import drawn_houses, house_prices
from mlplab.data.drawn_houses import NOISE_STD, drawn_table, true_log_prices
from mlplab.errors import InvalidInput


def test_it_is_the_same_on_every_machine_and_another_in_every_draw() -> None:
    assert data.load("drawn-houses").fingerprint == "drawn-houses:400/100/100:09be42eae23aa65e"
    prints = {data.load("drawn-houses", draw=draw).fingerprint for draw in range(3)}
    assert len(prints) == 3


def test_its_columns_are_some_of_those_of_ames() -> None:
    for kind in ("numeric", "categorical"):
        assert set(getattr(drawn_houses.FEATURES, kind)) < set(getattr(house_prices.FEATURES, kind))
    train, test = (data.load_table("drawn-houses", part) for part in ("train", "test"))
    assert set(train) - set(test) == {"SalePrice"}
    assert set(test) == {"Id", *drawn_houses.FEATURES.numeric, *drawn_houses.FEATURES.categorical}
    assert not train.drop(columns=["SalePrice"]).equals(test)


def test_log_prices_are_the_truth_and_normal_noise() -> None:
    table = drawn_table(20_000)
    noise = np.log(table["SalePrice"].to_numpy()) - true_log_prices(20_000)
    # 4 standard errors: of a mean, and of a standard deviation.
    assert abs(noise.mean()) < 4 * NOISE_STD / np.sqrt(20_000)
    assert abs(noise.std() / NOISE_STD - 1) < 4 / np.sqrt(2 * 20_000)
    assert abs(np.mean(np.abs(noise) < NOISE_STD) - 0.6827) < 4 * np.sqrt(0.6827 * 0.3173 / 20_000)


def test_a_gap_says_what_is_not_there_or_comes_with_a_large_lot() -> None:
    table = drawn_table(5_000)
    assert (table["PoolQC"].isna() == (table["PoolArea"] == 0)).all()
    assert (table["GarageType"].isna() == (table["GarageArea"] == 0)).all()
    assert (table["GarageYrBlt"].isna() == (table["GarageArea"] == 0)).all()
    assert (table["FireplaceQu"].isna() == (table["Fireplaces"] == 0)).all()
    large = table["LotArea"] > 10_000
    gaps = table["LotFrontage"].isna()
    assert gaps[large].mean() > 0.35 > 0.1 > gaps[~large].mean()


@pytest.mark.parametrize("parameters", [{"num_houses": 29}, {"num_houses": 1.5}, {"draw": -1}])
def test_a_value_that_makes_no_sense_is_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=r"drawn-houses\.(num_houses|draw)|drawn-houses"):
        data.load("drawn-houses", **parameters)
