"""Tables become numbers, the same for source and target; what cannot is named, and what is left out is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlplab.errors import InvalidInput
from mlplab.shift.least_squares import ULSIF
from mlplab.shift.table_encoder import TableEncoder


def table(**columns) -> pd.DataFrame:
    number = np.arange(12.0)
    return pd.DataFrame({"number": number, "word": list("abababababab")} | columns)


def told(encoder: TableEncoder) -> list[str]:
    return [f"{notice.name} {notice.column}" for notice in encoder.notices]


def test_each_kind_of_column_becomes_numbers():
    gaps = np.where(np.arange(12) == 3, np.nan, np.arange(12.0))
    full = table(
        gaps=gaps,
        truth=[True, False] * 6,
        date=pd.date_range("2020-01-01", periods=12),
        maybe=[True, None, False] * 4,
    )
    found = TableEncoder().fit(full, full).transform(full)
    #       number, word a, word b, gaps, is gap, truth, date, maybe, is gap
    assert found.shape == (12, 9)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, 0], np.arange(12))
    np.testing.assert_array_equal(found[:, 1] + found[:, 2], np.ones(12))
    assert found[3, 3] == pytest.approx(np.nanmean(gaps))
    assert found[:, 4].sum() == 1
    np.testing.assert_allclose(np.diff(found[:, 6]), 1)  # days


def test_rows_that_were_not_there_in_fit_are_encoded_alike():
    encoder = TableEncoder().fit(table(), table())
    np.testing.assert_array_equal(encoder.transform(table().iloc[4:6]), encoder.transform(table())[4:6])
    unseen = encoder.transform(table(word=["z"] * 12))
    assert not unseen[:, 1:].any()


def test_columns_are_found_by_name_not_by_place():
    encoder = TableEncoder().fit(table(), table()[["word", "number"]])
    np.testing.assert_array_equal(encoder.transform(table()[["word", "number"]]), encoder.transform(table()))


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({"same": 1.0}, "constant same"),
        ({"gone": None}, "all-missing gone"),
        ({"gone": np.nan}, "all-missing gone"),
        ({"name": [f"row {n}" for n in range(12)]}, None),
    ],
)
def test_what_says_nothing_is_left_out_and_told(columns, note):
    encoder = TableEncoder().fit(table(**columns), table(**columns))
    assert [note] * (note is not None) == told(encoder)


def test_a_name_for_each_row_is_no_feature():
    many = pd.DataFrame({"x": np.arange(200.0) ** 1.5, "name": [f"row {n}" for n in range(200)]})
    encoder = TableEncoder().fit(many, many.assign(name=[f"other {n}" for n in range(200)]))
    assert told(encoder) == ["identifier name"]


def test_a_category_that_the_source_never_had_is_told_with_its_share():
    encoder = TableEncoder().fit(table(), table(word=list("ababababxxxx")))
    assert told(encoder) == ["unseen-category word"]
    assert "'x', in 33.3% of the target's rows" in encoder.notices[0].text


def test_a_column_beside_those_of_the_source_is_not_looked_at():
    encoder = TableEncoder().fit(table(), table(more=1.0))
    assert told(encoder) == ["extra-column more"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (table().drop(columns="word"), "must have the column 'word' of the source"),
        (table().rename(columns={"number": "numbers"}), "Was 'numbers' renamed"),
        (table(number=list("abcdefghijkl")), "column 'number' must hold number values"),
        (table(number=[np.inf, *range(11)]), "column 'number' must be finite; got 'inf in row 0'"),
        (table(word=[b"x"] * 12), "must hold numbers, texts, truth values or dates"),
        (table(number=1j), "must hold real numbers"),
        (pd.concat([table(), table()], axis=1), "column 'number' must be there once"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_columns_name(target, says):
    with pytest.raises(InvalidInput, match=says):
        TableEncoder().fit(table(), target)


def test_a_table_in_which_nothing_varies_is_refused():
    still = pd.DataFrame({"a": [1.0] * 9})
    with pytest.raises(InvalidInput, match="must have a column that varies"):
        TableEncoder().fit(still, still)


def test_the_same_rows_twice_and_shared_rows_are_told():
    rows = pd.DataFrame({"x": np.arange(100.0) ** 1.5})
    assert [n.name for n in ULSIF().fit(rows, rows).notices_] == ["identical"]
    shared = ULSIF().fit(rows, pd.concat([rows.iloc[:7], rows.iloc[7:60] + 0.25]))
    assert "7 of 60 target rows are in the source too" in shared.notices_[0].text
    few_values = np.repeat([0.0, 1.0], 50)[:, None]
    assert not ULSIF().fit(few_values, few_values[::2]).notices_  # these meet by chance


@pytest.mark.parametrize("rows", [1, 0])
def test_a_sample_of_too_few_rows_is_refused(rows):
    with pytest.raises(InvalidInput, match="needs 2 rows of the target"):
        ULSIF().fit(table(), table().iloc[:rows])
