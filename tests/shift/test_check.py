"""`mlplab shift check`: what a pipeline gets from good files, and one line from each kind of bad one."""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlplab import cli
from mlplab.errors import DataError
from mlplab.rng import Stream
from mlplab.shift import C2STDetector, DataWarning, FeatureDetector, MMDDetector, files
from mlplab.shift.check import check_files

from .samples import mixed, normal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mixed(300).to_csv(tmp_path / "reference.csv", index=False)
    mixed(250, seed=1).to_csv(tmp_path / "same.csv", index=False)
    mixed(250, seed=1, shift=1).to_csv(tmp_path / "moved.csv", index=False)
    return tmp_path


@pytest.fixture
def shift_check(capsys, monkeypatch, folder):
    """Runs the command in this process: status, what it printed, and its errors."""

    def ended(*words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.argv", ["mlplab", "shift", "check", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return ended


def test_the_status_says_whether_a_shift_was_found(shift_check):
    status, out, err = shift_check("reference.csv", "same.csv")
    assert (status, err) == (0, "")
    assert out.startswith("No shift found: same.csv (250 rows) against reference.csv (300)")
    status, out, err = shift_check("reference.csv", "moved.csv")
    assert (status, err) == (1, "")
    assert out.startswith("Shift: moved.csv")
    assert re.search(r"most shifted first\s+feature +distance +p value +what *\n *age", out)


def test_json_and_a_page_that_needs_nothing_else(shift_check, folder):
    status, out, err = shift_check("reference.csv", "moved.csv", "--json", "--report", "page.html")
    assert (status, err) == (1, "")
    told = json.loads(out)
    assert told["is_shift"]
    assert set(told["tests"]) == {"features", "C2ST", "MMD"}
    page = (folder / "page.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert not re.search(r"<(script|link|img)\b|\bsrc=|@import", page)
    assert "A shift was found" in page
    assert not re.search(r"\{(decision|title|sections|notices)\}", page)


def test_a_target_is_compared_on_its_own_or_by_predictions(folder):
    before, now = mixed(400), mixed(300, seed=1)
    before["y"] = (before["rooms"] > 3).astype(int)
    now["y"] = (now["rooms"] > 3).astype(int)
    tilted = now[(now["y"] == 1) | (Stream(0, "split").uniform(len(now)) < 0.4)]
    before.to_csv(folder / "b.csv", index=False)
    tilted.to_csv(folder / "t.csv", index=False)
    tilted.drop(columns="y").to_csv(folder / "u.csv", index=False)
    known = check_files(folder / "b.csv", folder / "t.csv", target="y")
    assert known.results["target"].is_shift
    assert known.results["target"].drivers[0].name == "y"
    unknown = check_files(folder / "b.csv", folder / "u.csv", target="y")
    assert unknown.results["BBSD"].is_shift
    assert "y" not in [driver.name for driver in unknown.results["features"].drivers]


def test_parquet_says_what_csv_says(folder):
    for name in ("reference", "moved"):
        frame = pd.read_csv(folder / f"{name}.csv", parse_dates=["sold"])
        frame.to_parquet(folder / f"{name}.parquet")
    plain = check_files(folder / "reference.csv", folder / "moved.csv")
    packed = check_files(folder / "reference.parquet", folder / "moved.parquet")
    assert packed.p_values == plain.p_values


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, b"\x80"], ids=["list", "record", "bytes"])
def test_a_column_that_fits_into_no_cell_is_told_in_one_line_or_ignored(shift_check, folder, cell):
    mixed(150).assign(odd=pd.Series([cell] * 150)).to_parquet(folder / "a.parquet")
    status, out, err = shift_check("a.parquet", "a.parquet")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "a.parquet, column 'odd' holds" in err
    assert shift_check("a.parquet", "a.parquet", "--ignore", "odd")[0] == 0


def test_without_pyarrow_parquet_says_what_brings_it(shift_check, folder, monkeypatch):
    mixed(20).to_parquet(folder / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    status, _, err = shift_check("a.parquet", "a.parquet")
    assert status == 2
    assert "pip install 'mlplab[parquet]'" in err


# --- bad input ---------------------------------------------------------------------------------------------


def write(folder: Path, content: str | bytes, name: str = "bad.csv") -> None:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)


def changed(**columns) -> str:
    return mixed(250, seed=1).assign(**columns).to_csv(index=False)


GOOD = mixed(250, seed=1)
ROWS = [f"{i},{i % 7}" for i in range(20)]
LINES = {
    "a column is missing": (
        GOOD.drop(columns="rooms").to_csv(index=False),
        r"lacks the column 'rooms' of the reference",
    ),
    "a column is renamed": (
        GOOD.rename(columns={"rooms": "room"}).to_csv(index=False),
        r"lacks the column 'rooms'.* Perhaps 'rooms' was renamed to 'room'\.",
    ),
    "numbers became text": (
        changed(rooms=[f"about {k}" for k in range(250)]),
        r"bad.csv\['rooms'\] must be numeric, as in the reference; got .*about 0",
    ),
    "a word among numbers": (
        changed(rooms=["many" if k == 99 else str(k % 5) for k in range(250)]),
        r"\['rooms'\] must be numeric.*many",
    ),
    "text became numbers": (
        changed(city=range(250)),
        r"bad.csv\['city'\] must be categorical, as in the reference; got .*numeric",
    ),
    "3 rows": (GOOD.head(3).to_csv(index=False), r"bad.csv must have at least 8 rows; got '3 samples'"),
    "a header and no rows": (GOOD.head(0).to_csv(index=False), r"bad.csv has a header and no rows"),
    "an infinite value": (
        changed(age=[np.inf if k == 6 else 0.5 * k for k in range(250)]),
        r"bad.csv, row 7, column 'age': inf is not finite",
    ),
    "an empty file": ("", r"bad.csv is empty"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0", r"bad.csv is no CSV: it is a binary file"),
    "packed": (gzip.compress(b"a,b\n1,2\n"), r"bad.csv is no CSV: it is a binary file"),
    "a web page": ("<!DOCTYPE html>\n<html>", r"bad.csv is no CSV: its first line is '<!DOCTYPE html>'"),
    "semicolons": ("a;b\n1;2\n", r"bad.csv separates cells by semicolons: 'a;b'\. Separate them by commas"),
    "Latin-1": (
        "city,b\nCork,1\nBèziers,2\n".encode("latin-1"),
        r"bad.csv, line 3 is not UTF-8\. Save it as UTF-8",
    ),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), r"bad.csv is UTF-16\. Save it as UTF-8"),
    "cut short": ("a,b\n" + "\n".join(ROWS) + "\n20", r"bad.csv, line 22 has 1 cell; the header has 2"),
    "a row too long": (
        "a,b\n1,2\n3,4,5\n" + "\n".join(ROWS),
        r"bad.csv, line 3 has 3 cells; the header has 2",
    ),
    "a row too long, quoted": (
        'a,b\n"1\n1",2\n3,4,5\n' + "\n".join(ROWS),
        r"bad.csv, line 4 has 3 cells; the header has 2",
    ),
    "a quote never closed": (
        'a,b\n1,"2\n3,4\n',
        r"bad.csv, line 1: a quote is opened there or later, and never closed",
    ),
    "zero bytes": (b"a,b\n1,2\n3,\x004\n", r"bad.csv"),
    "a column twice": ("a,a\n1,2\n", r"bad.csv has the column 'a' twice"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_bad_file_gets_one_line_and_status_2(shift_check, folder, name: str):
    content, message = LINES[name]
    write(folder, content)
    status, out, err = shift_check("reference.csv", "bad.csv")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert re.match(r"mlplab: .*" + message, err), err


COMMANDS = {
    "no such file": (("none.csv", "same.csv"), r"none.csv cannot be read: No such file"),
    "a folder": ((".csv", "same.csv"), r"cannot be read: Is a directory"),
    "another suffix": (
        ("reference.xlsx", "same.csv"),
        r"reference.xlsx must be a table that ends in .csv or .parquet",
    ),
    "no Parquet": (("reference.csv", "bad.parquet"), r"bad.parquet is no valid Parquet file"),
    "alpha": (("reference.csv", "same.csv", "--alpha", "5"), r"--alpha must be in \(0, 1\); got 5.0"),
    "tiny alpha": (
        ("reference.csv", "same.csv", "--alpha", "1e-9"),
        r"--alpha must be at least 0\.0001; got 1e-09\. A permutation p-value is never below",
    ),
    "target": (
        ("reference.csv", "same.csv", "--target", "citi"),
        r"--target must be one of .* mean 'city'\?",
    ),
    "ignore": (
        ("reference.csv", "same.csv", "--ignore", "rooom"),
        r"--ignore must be one of .* mean 'rooms'\?",
    ),
    "report": (("reference.csv", "same.csv", "--report", "page.pdf"), r"--report must end in .html"),
    "no folder": (
        ("reference.csv", "same.csv", "--report", "no/page.html"),
        r"must lie in a folder that exists",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bad_command_gets_one_line_and_status_2(shift_check, folder, name: str):
    words, message = COMMANDS[name]
    write(folder, "no parquet", "bad.parquet")
    (folder / ".csv").mkdir()
    (folder / "x.csv").mkdir()
    words = tuple("x.csv" if word == ".csv" else word for word in words)
    status, out, err = shift_check(*words)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(message, err), err


ODDITIES = {
    "an extra column": (changed(colour="red"), "extra-column", "'colour' is not in the reference"),
    "a category never seen": (
        changed(city=["Dover" if k < 9 else "Ames" for k in range(250)]),
        "unseen-category",
        "'city' has values that the reference never had: 'Dover', in 9 rows",
    ),
    "no value at all": (changed(city=None), "all-missing", "'city' has no value at all in the current"),
    "truth values as numbers": (
        changed(garden=[k % 2 for k in range(250)]),
        "type-changed",
        "'garden' is boolean in the reference and numeric here",
    ),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_a_named_warning_and_no_error(shift_check, folder, name: str):
    content, notice, text = ODDITIES[name]
    write(folder, content)
    status, out, err = shift_check("reference.csv", "bad.csv")
    assert status in (0, 1), err
    assert re.search(rf"Warning: \[{notice}\] .*{re.escape(text)}", out), out


def test_columns_without_information_are_named(shift_check, folder):
    """In both files: constant, empty, a counter, a name for each row."""
    for name, seed in (("one.csv", 0), ("two.csv", 1)):
        frame = mixed(250, seed=seed)
        frame["flat"], frame["void"] = 7, None
        frame["id"] = range(1_000 * seed, 1_000 * seed + 250)
        frame["who"] = [f"person {seed} {k}" for k in range(250)]
        frame.to_csv(folder / name, index=False)
    status, out, _ = shift_check("one.csv", "two.csv")
    assert status == 0, out
    for told in (
        r"\[constant\] 'flat'",
        r"\[all-missing\] 'void'",
        r"\[identifier\] 'id' counts",
        r"\[identifier\] 'who'",
    ):
        assert re.search(rf"Warning: {told}", out), out


def test_rows_in_both_files_are_a_leak(shift_check, folder):
    before = pd.read_csv(folder / "reference.csv")
    pd.concat([pd.read_csv(folder / "same.csv"), before.head(40)]).to_csv(folder / "leak.csv", index=False)
    status, out, _ = shift_check("reference.csv", "leak.csv")
    assert status == 0
    assert "[shared-rows] 40 of 290 current rows are in the reference too: a leak?" in out
    status, out, _ = shift_check("reference.csv", "reference.csv")
    assert status == 0
    assert "[identical] both samples hold the same rows" in out


def test_rows_that_meet_by_chance_are_no_leak():
    """Two truth values: all rows of one sample are in the other."""
    import warnings

    before, now = (pd.DataFrame(Stream(s, "data").uniform((50, 2)) < 0.5, columns=["a", "b"]) for s in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureDetector().fit(before).test(now)


def test_a_column_of_codes_may_look_like_numbers_in_one_file(folder):
    before = mixed(200).assign(zone=[("7", "12", "C", "RL")[k % 4] for k in range(200)])
    now = mixed(200, seed=1).assign(zone=[("7", "12")[k % 2] for k in range(200)])
    before.to_csv(folder / "b.csv", index=False)
    now.to_csv(folder / "n.csv", index=False)
    found = check_files(folder / "b.csv", folder / "n.csv")
    assert found.is_shift
    assert found.results["features"].drivers[0].name == "zone"


def test_text_far_down_a_column_of_numbers_is_told_with_its_row(folder, monkeypatch):
    monkeypatch.setattr(files, "CHUNK_CELLS", 2_000)
    rows = [f"{k % 17},{k % 5}" for k in range(3_000)]
    write(folder, "a,b\n" + "\n".join(rows) + "\n", "b.csv")
    rows[2_500] = "many,1"
    write(folder, "a,b\n" + "\n".join(rows) + "\n", "n.csv")
    with pytest.raises(
        DataError,
        match=r"n.csv: 'a' holds text in row 2,\d+ .* and numbers before.*the reference has numbers",
    ):
        check_files(folder / "b.csv", folder / "n.csv")
    assert "mixed-types" in {
        notice.name for notice in check_files(folder / "n.csv", folder / "n.csv").notices
    }


@pytest.mark.parametrize("make", [C2STDetector, MMDDetector, FeatureDetector], ids=lambda make: make.__name__)
def test_detectors_say_the_same_of_arrays_and_tables(make):
    detector = make().fit(normal(30, 3))
    far = normal(30, 3, seed=1)
    far[4, 2] = -np.inf
    with pytest.raises(
        ValueError, match=r"test\['x2'\] must hold finite numbers; got '1 infinite, the first in row 4'"
    ):
        detector.test(far)
    with pytest.raises(ValueError, match=r"has 2 features, but the reference has 3|rows of shape"):
        detector.test(normal(30, 2))
    with pytest.raises(ValueError, match="minimum of 8 is required"):
        detector.fit(normal(3, 3))
    with pytest.raises(ValueError, match="numbers, truth values or text"):
        detector.fit(pd.DataFrame({"a": [[1]] * 20}))
    with pytest.warns(DataWarning, match="identical"):
        assert not detector.test(normal(30, 3)).is_shift
    with pytest.raises(ValueError, match="must have a column that varies"):
        make().fit(np.ones((20, 2))).test(np.ones((20, 2)))


# --- size --------------------------------------------------------------------------------------------------


def test_a_sample_of_a_large_file_is_uniform_and_said(folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_ROWS", 500)
    monkeypatch.setattr(files, "CHUNK_CELLS", 3_000)
    pd.DataFrame({"a": np.arange(20_000), "b": 1}).to_csv(folder / "large.csv", index=False)
    shares = []
    found = files.load(folder / "large.csv", on_share=shares.append)
    assert len(found.frame) == 500
    assert (found.num_rows, len(np.unique(found.hashes))) == (20_000, 20_000)
    assert abs(found.frame["a"].mean() - 9_999.5) < 4 * 5_774 / np.sqrt(500)
    assert found.frame["a"].is_monotonic_increasing
    assert "tests look at 500 rows drawn from 20,000" in found.notices[0].text
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path, run_measured):
    """Four times the rows take the same memory, but for 8 bytes a row."""
    code = "import sys; from mlplab.shift import files; files.load(sys.argv[1])"
    line = ",".join(f"{0.1234567 * k:.6f}" for k in range(10))
    peaks = []
    for rows in (400_000, 1_600_000):
        path = tmp_path / f"{rows}.csv"
        with path.open("w") as file:
            file.write(",".join(f"c{k}" for k in range(10)) + "\n")
            for _ in range(rows // 1_000):
                file.write((line + "\n") * 1_000)
        peaks.append(run_measured("-c", code, str(path))[1])
    assert peaks[1] - peaks[0] < 80 * 2**20, peaks  # the file grew by 110 MB, its table would by 96 MB
