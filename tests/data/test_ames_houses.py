"""The sealed prices: found again without a mistake, opened by the scoreboard alone, and by nothing that trains."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mlplab
from mlplab import data
from mlplab.answers import ours
from mlplab.data import ames_houses, house_prices, scoreboard
from mlplab.data.location import Place
from mlplab.errors import AbsentData, DataError, InvalidInput, UnknownName
from mlplab.rng import Stream


def competition(num: int = 40) -> pd.DataFrame:
    """The competition's columns for houses that are drawn, the last one a twin of the first."""
    draw = Stream(3, "data")
    table = pd.DataFrame(
        np.round(draw.uniform((num, len(house_prices.FEATURES.numeric))) * 1000),
        columns=list(house_prices.FEATURES.numeric),
    )
    for name in ("Neighborhood", "LotShape", "LotConfig"):
        table[name] = np.where(draw.uniform(num) < 0.5, "NAmes", "Gilbert")
    table.loc[num - 1] = table.loc[0]
    table.loc[2, ["BsmtFullBath", "GarageCars"]] = np.nan  # 0 or a gap: the two tables differ in that
    table.loc[3, "LotFrontage"] = np.nan
    return table


def ames(folder: Path, table: pd.DataFrame, prices: list[float]) -> Place:
    """De Cock's table of these houses, in another order, with his column names, and as long as his."""
    names = {"1stFlrSF": "1st Flr SF", "YearRemodAdd": "Year Remod/Add", "LotShape": "Lot Shape"}
    rows = []
    for row, price in zip(table.to_dict("records"), prices, strict=True):
        cells = {
            str(name): f" {cell}" if isinstance(cell, str) else f"{cell:g}" for name, cell in row.items()
        }
        cells = {names.get(name, name): cell.replace("nan", "NA") for name, cell in cells.items()}
        rows.append(cells | {"SalePrice": f"{price:g}"})
    rows[2] |= {"BsmtFullBath": "0"}
    filler = [rows[1] | {"LotArea": f"{200_000 + k}"} for k in range(ames_houses._NUM_ROWS - len(rows))]
    with (folder / ames_houses.FILES[0].name).open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(filler[:7] + rows[::-1] + filler[7:])
    return Place(folder, is_cache=False)


def test_each_house_gets_its_own_price_and_twins_the_mean_of_their_logarithms(tmp_path: Path) -> None:
    table, prices = competition(), [100_000.0 + 1_000 * k for k in range(40)]
    found = ames_houses.log_prices(ames(tmp_path, table, prices), table)
    expected = np.log(prices)
    expected[[0, -1]] = expected[[0, -1]].mean()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_table_in_which_a_house_is_missing_or_a_price_is_none_is_refused(tmp_path: Path) -> None:
    table, prices = competition(), [100_000.0] * 40
    place = ames(tmp_path, table, prices)
    with pytest.raises(DataError, match="1 of 40 houses are not in it"):
        ames_houses.log_prices(
            place, table.assign(GrLivArea=table["GrLivArea"].where(table.index != 5, 77.5))
        )
    path = tmp_path / ames_houses.FILES[0].name
    whole = path.read_text("utf-8")
    for old, new, message in (
        ("100000", "0", "SalePrice is 0"),
        ("100000", "dear", "could not convert string to float: 'dear'"),
        ("Year Remod/Add", "Remod", "lacks the column 'YearRemodAdd'"),
    ):
        path.write_text(whole.replace(old, new, 1), "utf-8")
        with pytest.raises(DataError, match=message) as error:
            ames_houses.log_prices(place, table)
        assert str(path) in str(error.value)


def test_nothing_can_be_trained_on_the_sealed_prices() -> None:
    with pytest.raises(InvalidInput, match="It is sealed"):
        ames_houses.refuse(Place(Path(), is_cache=False))
    with pytest.raises(UnknownName, match="table must be one of 'house-prices', 'drawn-houses'"):
        data.load_table("ames-houses")
    assert "SalePrice" not in data.load_table("drawn-houses", "test")


def test_only_the_scoreboard_opens_the_sealed_prices() -> None:
    """By name: what unseals them stands in `catalogue.score`, and in no other file."""
    source = Path(mlplab.__file__).parent
    calls = re.compile(r"ames_houses\.log_prices|sealed_log_prices|AmesHousing")
    files = [*source.rglob("*.py"), *ours().folder.rglob("*.py")]
    homes = {"ames_houses.py", "drawn_houses.py"}
    assert {path.name for path in files if calls.search(path.read_text("utf-8"))} - homes == {"catalogue.py"}


def test_predictions_are_looked_over_before_the_prices_are_unsealed() -> None:
    def sealed() -> np.ndarray:
        raise AssertionError("opened")

    about = {"name": "a", "title": "b", "source": "c"}
    for wrong in ({}, {"arm": np.array([1.0, np.nan])}):
        with pytest.raises(InvalidInput):
            scoreboard.score_sealed(wrong, sealed, **about)
    with pytest.raises(InvalidInput, match=r"one log price for each of 3 houses; got \(2,\)"):
        scoreboard.score_sealed({"arm": np.zeros(2)}, lambda: np.zeros(3), **about)


def test_without_the_sealed_table_one_line_names_every_way_out(house_folder, monkeypatch) -> None:
    monkeypatch.setattr("mlplab.data.catalogue.load_table", lambda *a, **k: competition())
    with pytest.raises(AbsentData, match="ames-houses is not on this machine") as error:
        data.score("house-prices", {"arm": np.zeros(40)})
    for way in ("MLPLAB_DATA", "ames/AmesHousing.csv", "mlplab data fetch ames-houses brings 1 MB"):
        assert way in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UnknownName, match="table with sealed prices"):
        data.score("digits", {})


def test_the_score_is_the_competitions_and_an_arm_is_no_better_than_itself() -> None:
    true = Stream(5, "data").normal(200)
    made = {"close": true + 0.1, "same": true + 0.1, "far": true + np.where(np.arange(200) < 50, 0.4, 0.0)}
    board = scoreboard.score_sealed(made, lambda: true, name="a", title="b", source="c")
    assert board.scores == pytest.approx({"close": 0.1, "same": 0.1, "far": 0.2})
    assert board.medians == pytest.approx({"close": 0.1, "same": 0.1, "far": 0.0})
    same, far = board.gap("close", "same"), board.gap("far", "close")
    assert (same.estimate, same.ci_low, same.ci_high, same.p) == (0, 0, 0, 1)
    assert far.estimate == pytest.approx(0.1)
    assert 0 < far.ci_low < 0.1 < far.ci_high
    turned = board.gap("close", "far")
    assert (turned.ci_low, turned.ci_high) == (-far.ci_high, -far.ci_low)
    assert not hasattr(board, "prices")


@pytest.mark.slow
def test_two_arms_of_one_quality_differ_in_five_percent() -> None:
    """The paired bootstrap over houses, where errors have heavy tails and the truth is no difference."""
    draw, shown, trials = Stream(9, "data"), 0, 400
    for k in range(trials):
        common, one, other = draw.normal((3, 300)) / np.sqrt(draw.uniform((3, 300)) + 0.05)
        resampled = scoreboard.resampled_scores({"a": common + one, "b": common + other}, 500, draw=k)
        estimate = float(np.sqrt(np.mean((common + one) ** 2)) - np.sqrt(np.mean((common + other) ** 2)))
        gap = scoreboard.paired_gap(estimate, resampled["a"] - resampled["b"], 0.95)
        shown += gap.ci_low > 0 or gap.ci_high < 0
    assert 0.02 <= shown / trials <= 0.09  # 0.05, and three standard errors of 0.011


def test_the_real_sealed_prices_are_those_of_the_competition(real_data: None) -> None:
    """Ridge regression's score, found independently, to four figures; and the training prices by the same match."""
    train, asked = (data.load_table("house-prices", part) for part in ("train", "test"))
    place = Place(Path(data.files("ames-houses")[0]).parent, is_cache=False)
    assert len(ames_houses.log_prices(place, asked)) == ames_houses.SIZE
    known = ames_houses.log_prices(place, train.iloc[:500])
    assert np.abs(known - np.log(train["SalePrice"].iloc[:500])).max() < 0.02
    h = ours().module("houses")
    fitted = h.encoder(house_prices.FEATURES).fit(train)
    model = h.ridge(fitted.transform(train), np.log(train["SalePrice"].to_numpy()))
    board = data.score("house-prices", {"ridge": model.predict(fitted.transform(asked))})
    assert round(board.scores["ridge"], 4) == 0.1327
