"""A table of one's own: nothing leaks into training, and what is wrong is said in one line with its place."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlplab.data.own_table import Roles, load_own, own_table
from mlplab.data.split import random_split
from mlplab.data.table_file import read_table
from mlplab.errors import DataError, InvalidInput, MLPLabError, UnknownName


def houses(num: int = 200, seed: int = 0) -> pd.DataFrame:
    draws = np.random.default_rng(seed)
    area, street = draws.normal(100, 30, num), draws.choice(["Elm", "Oak", "Fir"], num)
    price = 3 * area + 40 * (street == "Oak") + draws.normal(0, 20, num)
    return pd.DataFrame(
        {"area": area, "street": street, "year": draws.integers(1900, 2020, num), "price": price}
    )


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


# What is learned from the training rows alone


def test_features_and_target_are_standardised_by_the_training_rows_alone():
    """A change of the other rows changes no training number."""
    table = houses()
    found = own_table(table, Roles("price"), name="t").dataset
    assert np.abs(found.train.targets.mean()) < 1e-6
    assert found.train.targets.std() == pytest.approx(1, abs=1e-5)
    # The same split of a table whose held-out rows are another world.
    shifted = table.copy()
    rows = random_split(len(table), (120, 40, 40))
    shifted.loc[np.concatenate(rows[1:]), "area"] += 1_000
    again = own_table(shifted, Roles("price"), name="t").dataset
    assert np.array_equal(found.train.features, again.train.features)
    assert not np.array_equal(found.test.features, again.test.features)


def test_a_missing_number_becomes_the_mean_and_a_missing_category_a_value_of_its_own():
    table = houses()
    table.loc[::5, "area"] = np.nan
    table.loc[::4, "street"] = None
    found = own_table(table, Roles("price"), name="t")
    assert found.dataset.in_features == 1 + 4 + 1
    assert (found.dataset.train.features[:, 0] == 0).sum() >= 15
    assert any("40 missing numbers in 'area' are" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["groups", "time"])
def test_a_group_stays_whole_and_time_runs_forward(kind: str):
    table = houses(300)
    table["key"] = np.repeat(np.arange(60), 5)
    rows = []
    for name in ("train", "validation", "test"):
        part = getattr(own_table(table, Roles("price", **{kind: "key"}), name="t").dataset, name)
        rows.append(part.num_examples)
    assert sum(rows) == 300
    assert all(count % 5 == 0 for count in rows)
    if kind == "time":
        assert rows == [180, 60, 60]


def test_classes_have_their_share_of_every_part():
    table = houses(300)
    found = own_table(table, Roles("street"), name="t").dataset
    assert found.task == "classification"
    assert found.class_names == ("Elm", "Fir", "Oak")
    shares = [np.bincount(part.targets) / part.num_examples for part in found.parts.values()]
    assert np.ptp(shares, axis=0).max() < 0.05


def test_the_fingerprint_is_that_of_the_numbers():
    one, same, other = (
        own_table(table, Roles("price"), name="t").dataset for table in (houses(), houses(), houses(seed=1))
    )
    assert one.fingerprint == same.fingerprint != other.fingerprint


# What looks like a mistake


@pytest.mark.parametrize(
    "disguise",
    [lambda t: 3 * t["price"] + 1, lambda t: np.exp(t["price"] / 100), lambda t: -t["price"]],
    ids=["scaled", "monotone", "reversed"],
)
def test_the_target_in_disguise_is_told(disguise):
    table = houses()
    table["tax"] = disguise(table)
    assert any(
        "'tax' gives the target away" in note for note in own_table(table, Roles("price"), name="t").notes
    )
    left = own_table(table, Roles("price", leave_out=("tax",)), name="t")
    assert not any("gives" in note for note in left.notes)


def test_a_class_in_disguise_is_told_and_a_strong_feature_is_not():
    table = houses()
    table["code"] = table["street"].map({"Elm": 10.0, "Oak": 20.0, "Fir": 30.0})
    table["postbox"] = table["street"].str.upper()
    notes = own_table(table, Roles("street"), name="t").notes
    assert sum("gives the target away" in note for note in notes) == 2
    strong = houses()
    strong["guess"] = strong["price"] + np.random.default_rng(1).normal(0, 8, len(strong))
    assert not any("gives" in note for note in own_table(strong, Roles("price"), name="t").notes)


def test_copies_on_both_sides_of_the_split_are_told_with_their_share():
    """Also where a column counts the rows; not where --groups keeps them together, nor where the target differs."""
    table = houses().assign(key=np.arange(200))
    copies = pd.concat([table] * 3, ignore_index=True).assign(row=np.arange(600))
    (note,) = (
        note
        for note in own_table(copies, Roles("price", leave_out=("key",)), name="t").notes
        if "cell for cell" in note
    )
    rows = random_split(600, (360, 120, 120))
    for part, name in zip(rows[1:], ("validation", "test"), strict=True):
        count = int(np.isin(part % 200, rows[0] % 200).sum())
        assert f"{count} of 120 {name} rows ({100 * count / 120:.3g} %)" in note
    together = own_table(copies, Roles("price", groups="key"), name="t").notes
    measured = copies.assign(price=np.random.default_rng(1).normal(size=600))
    again = own_table(measured, Roles("price", leave_out=("key",)), name="t").notes
    alone = own_table(table, Roles("price"), name="t").notes
    assert not any("cell for cell" in note for note in (*together, *again, *alone))


def test_columns_that_say_nothing_are_left_out_and_said():
    table = houses()
    table["row"] = np.arange(len(table))
    table["name"] = [f"house {i}" for i in range(len(table))]
    table["country"], table["empty"] = "here", np.nan
    found = own_table(table, Roles("price"), name="t")
    for name in ("row", "name", "country", "empty"):
        assert any(f"{name!r}" in note and "left out" in note for note in found.notes)
    assert found.dataset.in_features == 1 + 3 + 1


# Bad input


def bad(target="price", **changed) -> tuple[pd.DataFrame, Roles]:
    columns = {name: value for name, value in changed.items() if name in ("price", "kind", "when")}
    roles = {name: value for name, value in changed.items() if name not in columns}
    return houses().assign(**columns), Roles(target, **roles)


@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (lambda: bad("prise"), UnknownName, "Did you mean 'price'?"),
        (lambda: bad(price=1.0), InvalidInput, "'price' is '1.0' in every row"),
        (lambda: bad(price=np.nan), InvalidInput, "missing in every row"),
        (lambda: bad("kind", kind=[f"k{i}" for i in range(200)]), InvalidInput, "at least 3 times"),
        (lambda: bad("street", task="regression"), InvalidInput, "holds text"),
        (lambda: bad(price=np.inf), InvalidInput, "must vary"),
        (lambda: bad(task="clustering"), UnknownName, "'classification', 'regression'"),
        (lambda: bad(groups="street", time="year"), InvalidInput, "cannot both"),
        (lambda: bad(groups="street", leave_out=("street",)), InvalidInput, "another role"),
        (lambda: bad(time="when", when="soon"), DataError, "no number and no date"),
        (lambda: bad(groups="kind", kind="one"), DataError, "too few"),
    ],
)
def test_bad_roles_get_one_line(made, error, says: str):
    with pytest.raises(error) as caught:
        own_table(*made(), name="t")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_five_thousand_classes_are_refused():
    table = pd.DataFrame({"x": np.arange(5_000.0) ** 0.5, "y": [f"c{i}" for i in range(5_000)]})
    with pytest.raises(InvalidInput, match="at most 1,000 classes"):
        own_table(table, Roles("y"), name="t")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a,b\n", "a header and no rows"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells; the header has 2"),
        ("a,b\n1\n", "line 2 has 1 cell;"),
        ("a,b\n" + "1,2\n" * 20 + "x,2\n" + "1,2\n" * 20, "line 22, column 'a': 'x' is not a number"),
        ('a,b\n"1",2\n' + '1,"two\nlines"\n' * 15 + "x,2\n", "line 33, column 'a'"),
        ("a,\n1,2\n", "column 2 has no name"),
        ("a,a\n1,2\n", "the column 'a' twice"),
        ("a;b\n1;2\n", "separates cells by semicolons"),
        ("a,b\r1,2\r1\r", "line 3 has 1 cell;"),
        ("a,b\n1,2\n1.\r5,2\n", "line 3 has 1 cell;"),
        ('"a\n1",b\n1,2\n1\n', "line 4 has 1 cell; the header has 2"),
        (f"a,{'x' * 140_000}\n1,2\n", "line 1 is no valid CSV: field larger"),
    ],
)
def test_a_bad_file_is_told_with_its_place(tmp_path, text: str, says: str):
    path = written(tmp_path, text)
    with pytest.raises(MLPLabError) as caught:
        read_table(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_another_encoding_and_another_format_are_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("a,b\n1,x\n2,\xe9\n".encode("latin1"))
    with pytest.raises(DataError, match="line 3 is not UTF-8"):
        read_table(path)
    with pytest.raises(DataError, match=r"ends in \.csv or \.parquet"):
        read_table(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "absent.csv")


def test_a_column_of_names_that_look_like_numbers_can_be_said(tmp_path):
    path = written(tmp_path, "code,y\n" + "".join(f"{i % 3},{i}.5\n" for i in range(60)))
    assert load_own(path, Roles("y")).dataset.in_features == 1
    assert load_own(path, Roles("y", categorical=("code",))).dataset.in_features == 3


def test_parquet_and_csv_give_the_same_data_set(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow (extra [parquet]) is not installed")
    table = houses()
    table.to_parquet(tmp_path / "t.parquet")
    table.to_csv(tmp_path / "t.csv", index=False)
    one, other = (load_own(tmp_path / f"t.{kind}", Roles("price")).dataset for kind in ("parquet", "csv"))
    assert one.fingerprint == other.fingerprint
    path = written(tmp_path, "no", "broken.parquet")
    with pytest.raises(DataError, match="is no valid Parquet file"):
        read_table(path)


def test_old_line_ends_are_read(tmp_path):
    """Carriage returns alone, as old Macs wrote them, with and without quotation marks."""
    for table in (houses(), houses().assign(street='a "great", street')):
        text = table.to_csv(index=False)
        unix, mac = tmp_path / "unix.csv", tmp_path / "mac.csv"
        unix.write_bytes(text.encode())
        mac.write_bytes(text.replace("\n", "\r").encode())
        pd.testing.assert_frame_equal(read_table(unix), read_table(mac))


@pytest.mark.parametrize(
    ("made", "numbers"),
    [
        (lambda x: [Decimal(f"{value:.3f}") for value in x], lambda x: x.round(3)),
        (lambda x: pd.to_timedelta(x, unit="h"), lambda x: x / 24),
        (lambda x: [date(2024, 1, 1) + timedelta(int(value)) for value in x], lambda x: x.astype(int)),
        (lambda x: [time(int(value) % 24) for value in x], lambda x: x.astype(int) % 24),
    ],
    ids=["decimal", "duration", "date", "time of day"],
)
def test_numbers_of_every_kind_are_numbers(tmp_path, made, numbers):
    """In a Parquet file and, but for times of a day, in a table that is given as it is."""
    pytest.importorskip("pyarrow", reason="pyarrow (extra [parquet]) is not installed")
    table = houses()
    area = table["area"].abs().to_numpy()
    expected = own_table(table.assign(area=numbers(area)), Roles("price"), name="t").dataset
    odd = table.assign(area=made(area))
    odd.to_parquet(tmp_path / "t.parquet")
    found = load_own(tmp_path / "t.parquet", Roles("price")).dataset
    assert np.allclose(found.train.features, expected.train.features, atol=1e-3)
    if not isinstance(odd["area"].iloc[0], time):
        given = own_table(odd, Roles("price"), name="t").dataset
        assert np.allclose(given.train.features, expected.train.features, atol=1e-3)


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, b"\x80"], ids=["list", "record", "bytes"])
def test_a_column_that_fits_into_no_cell_is_told_or_left_out(tmp_path, cell):
    pytest.importorskip("pyarrow", reason="pyarrow (extra [parquet]) is not installed")
    table = houses().assign(odd=pd.Series([cell] * 200))
    path = tmp_path / "t.parquet"
    table.to_parquet(path)
    with pytest.raises(DataError, match=r"t\.parquet, column 'odd' holds .*--leave-out odd"):
        load_own(path, Roles("price"))
    with pytest.raises(InvalidInput, match="column 'odd' must hold numbers"):
        own_table(table, Roles("price"), name="t")
    left_out = Roles("price", leave_out=("odd",))
    plain = own_table(houses(), Roles("price"), name="t").dataset.fingerprint
    assert load_own(path, left_out).dataset.fingerprint == plain
    assert own_table(table, left_out, name="t").dataset.fingerprint == plain
