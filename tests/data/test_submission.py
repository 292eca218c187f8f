"""A submission that the competition would refuse is refused here, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplab.data.submission import refuse, write_submission
from mlplab.errors import InvalidInput, OutputError

IDS = [1461, 1462, 1463]


def test_what_is_written_has_the_header_and_a_line_for_each_house(tmp_path: Path) -> None:
    path = write_submission(tmp_path / "out.csv", IDS, [100_000.123, 2.0, 3.5])
    assert path.read_text() == "Id,SalePrice\n1461,100000.12\n1462,2.00\n1463,3.50\n"


WRONG = {
    "Id,Price\n1461,1\n1462,1\n1463,1\n": "begin with the line Id,SalePrice",
    "Id,SalePrice\n1461,1\n1462,1\n": "one line for each of 3 houses; got 2",
    "Id,SalePrice\n1461,1\n1462,1\n1462,1\n": "a line for each house; got 'none for 1463'",
    "Id,SalePrice\n1461,1\n1462,1\n1463,-5\n": "house 1463 must have a price above 0; got '-5'",
    "Id,SalePrice\n1461,1\n1462,1\n1463,inf\n": "house 1463 must have a price above 0",
    "Id,SalePrice\n1461,1\n1462,1\n1463,\n": "house 1463 must have a price above 0",
    "Id,SalePrice\n1461,1\n1462,1\n1463\n": "two cells in each line; got '1463'",
    "": "nothing",
    'Id,SalePrice\n"11,200.00\n': "must be a CSV file",
}


@pytest.mark.parametrize("text", WRONG, ids=list(WRONG.values()))
def test_a_file_that_would_be_refused_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        refuse(text, IDS)
    assert WRONG[text] in str(error.value)


def test_nothing_is_written_where_a_price_is_impossible(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="house 1462"):
        write_submission(tmp_path / "out.csv", IDS, [1.0, float("nan"), 1.0])
    assert not (tmp_path / "out.csv").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/out\.csv cannot be written: No such file"):
        write_submission(tmp_path / "missing/out.csv", IDS, [1.0, 1.0, 1.0])
