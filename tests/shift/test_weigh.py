"""`mlplab shift weights`: what a person types, what they see, what is written, and what they type wrong."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from mlplab import cli
from mlplab.rng import Stream
from mlplab.shift import files
from mlplab.shift.least_squares import ULSIF


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def weigh(capsys, monkeypatch, tmp_path):
    """Runs the command in this process, in a folder of its own with source.csv and target.csv."""
    monkeypatch.chdir(tmp_path)
    table(400, 0.0, 0.7, 1).assign(price=1.0).to_csv("source.csv", index=False)
    table(300, 0.6, 0.3, 2).to_csv("target.csv", index=False)

    def ended(*words: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["mlplab", "shift", "weights", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return Ended(exit_.value.code or 0, *capsys.readouterr())

    return ended


def table(num_rows: int, shift: float, share: float, seed: int) -> pd.DataFrame:
    stream = Stream(seed, "data")
    return pd.DataFrame(
        {
            "age": np.where(stream.uniform(num_rows) < 0.05, np.nan, shift + stream.normal(num_rows)),
            "town": np.where(stream.uniform(num_rows) < share, "a", "b"),
        }
    )


QUICK = ("--ignore", "price", "--method", "ulsif")


def test_weights_are_written_in_the_order_of_the_rows(weigh):
    done = weigh("source.csv", "target.csv", "-o", "w.csv", *QUICK)
    assert done.status == 0, done.err
    assert "Weights of source.csv (400 rows) towards target.csv (300)" in done.out
    assert "Weights: w.csv" in done.out
    found = pd.read_csv("w.csv")
    assert found["row"].tolist() == list(range(1, 401))
    source = pd.read_csv("source.csv").drop(columns="price")
    np.testing.assert_allclose(
        found["weight"], ULSIF().fit(source, pd.read_csv("target.csv")).weights_, rtol=1e-6
    )


def test_parquet_and_json_say_the_same(weigh):
    told = json.loads(weigh("source.csv", "target.csv", "-o", "w.parquet", *QUICK, "--json").out)
    written = pd.read_parquet("w.parquet")["weight"].to_numpy()
    assert told["effective_sample_size"] == pytest.approx(written.sum() ** 2 / (written @ written))
    assert told["source"] == {"name": "source.csv", "rows": 400}
    assert not told["will_hurt"]


def test_more_rows_than_are_kept_are_weighed_as_they_are_read_again(weigh, monkeypatch):
    weigh("source.csv", "target.csv", "-o", "all.csv", *QUICK)
    monkeypatch.setattr(files, "MAX_ROWS", 200)
    monkeypatch.setattr(files, "CHUNK_CELLS", 1)  # the least piece: 1,000 rows
    big = pd.concat([pd.read_csv("source.csv")] * 6)
    big.to_csv("big.csv", index=False)
    done = weigh("big.csv", "target.csv", "-o", "some.csv", *QUICK)
    assert done.status == 0, done.err
    some = pd.read_csv("some.csv")["weight"].to_numpy()
    assert len(some) == 2_400
    # Equal rows weigh the same, in whatever piece they lie, and much as they do where all rows taught.
    np.testing.assert_allclose(some.reshape(6, 400), np.tile(some[:400], (6, 1)), rtol=1e-6)
    assert np.corrcoef(some[:400], pd.read_csv("all.csv")["weight"])[0, 1] > 0.8


def test_what_will_hurt_is_status_1_and_still_written(weigh):
    table(300, 30.0, 0.3, 3).to_csv("far.csv", index=False)
    done = weigh("source.csv", "far.csv", "-o", "w.csv", "--ignore", "price")
    assert done.status == 1
    assert "Warning: [no-overlap]" in done.out
    assert len(pd.read_csv("w.csv")) == 400


def test_dates_in_text_are_dates_and_a_number_for_each_row_is_no_feature(weigh):
    """As categories, nearly every day of the target would be one that the source never had."""
    for name, first in (("source", 0), ("target", 3_000)):
        frame = pd.read_csv(f"{name}.csv")
        days = pd.to_timedelta(Stream(len(frame), "split").permutation(len(frame)), unit="D")
        frame = frame.assign(
            day=(pd.Timestamp("2020-01-01") + days).date, id=range(first, first + len(frame))
        )
        frame.to_csv(f"dated-{name}.csv", index=False)
    done = weigh("dated-source.csv", "dated-target.csv", "-o", "w.csv", *QUICK)
    assert done.status == 0, done.err
    assert "unseen-category" not in done.out
    assert "[identifier] 'id' counts the rows" in done.out


def test_a_category_never_seen_and_a_leak_are_told(weigh):
    both = pd.concat([table(50, 0.6, 0.3, 2), table(250, 0.0, 0.7, 1).assign(town="new")])
    both.to_csv("odd.csv", index=False)
    done = weigh("source.csv", "odd.csv", "-o", "w.csv", *QUICK)
    assert "[unseen-category] 'town' has values that the source never had: 'new', in 83.3%" in done.out
    same = weigh("source.csv", "source.csv", "-o", "w.csv", *QUICK)
    assert "identical" in same.out
    assert same.status == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("source.csv", "none.csv", "-o", "w.csv"), "none.csv cannot be read"),
        (("source.csv", "target.csv", "-o", "w.txt"), "--out must end in .parquet or .csv"),
        (("source.csv", "target.csv", "-o", "none/w.csv"), "--out must lie in a folder that exists"),
        (("source.csv", "target.csv", "-o", "w.csv", "--method", "klip"), "Did you mean 'kliep'?"),
        (("source.csv", "target.csv", "-o", "w.csv", "--ignore", "prize"), "Did you mean 'price'?"),
        (("source.csv", "target.csv", "-o", "w.csv"), "--ignore price"),
        (("source.csv", "words.csv", "-o", "w.csv", *QUICK), "column 'age'"),
        (("source.csv", "binary.csv", "-o", "w.csv", *QUICK), "binary.csv"),
        (("source.csv", "latin.csv", "-o", "w.csv", *QUICK), "latin.csv, line 2 is not UTF-8"),
        (("source.csv", "three.csv", "-o", "w.csv", *QUICK), "three.csv must have at least 8 rows; got 3"),
        (("source.csv", "renamed.csv", "-o", "w.csv", *QUICK), "Perhaps 'town' was renamed to 'towns'"),
        (("source.csv", "infinite.csv", "-o", "w.csv", *QUICK), "not finite"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(weigh, tmp_path, words, says):
    (tmp_path / "words.csv").write_text("age,town\n" + "young,a\n" * 20, encoding="utf-8")
    (tmp_path / "binary.csv").write_bytes(b"\x00\x01\x02" * 50)
    (tmp_path / "latin.csv").write_bytes("age,town\n1,Zürich\n".encode("latin-1") * 3)
    (tmp_path / "three.csv").write_text("age,town\n1,a\n2,b\n3,b\n", encoding="utf-8")
    (tmp_path / "renamed.csv").write_text("age,towns\n" + "1,a\n" * 20, encoding="utf-8")
    (tmp_path / "infinite.csv").write_text("age,town\n1,a\ninf,b\n2,a\n", encoding="utf-8")
    done = weigh(*words)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert done.err.startswith("mlplab: ")
    assert says in done.err
    assert not list(tmp_path.glob("*w.csv*"))


def test_kmm_says_how_many_rows_it_bears(weigh, monkeypatch):
    monkeypatch.setattr(files, "MAX_ROWS", 200)
    pd.concat([pd.read_csv("source.csv")] * 6).to_csv("big.csv", index=False)
    done = weigh("big.csv", "target.csv", "-o", "w.csv", "--ignore", "price", "--method", "kmm")
    assert done.status == 2
    assert "Take another method" in done.err
