"""Observations survive a trip through JSON: law of evidence, that what is published is what was seen."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mlplab.answers import DataUsed, Observations
from mlplab.answers.observations import Change

TABLES = {
    "mixed": pd.DataFrame({"arm": ["a", "b"], "seed": [0, 1], "value": [0.1, np.nan], "flag": [True, False]}),
    "numbers alone": pd.DataFrame({"epoch": [1, 2], "loss": [0.1 + 0.2, 1e-300]}),
    "whole numbers, one missing": pd.DataFrame({"step": pd.array([12, None], dtype="Int64")}),
    "nothing but missing": pd.DataFrame(
        {"step": pd.array([None, None], dtype="Int64"), "x": [np.nan, np.nan]}
    ),
    "text, one missing": pd.DataFrame({"status": ["finished", None]}),
    "float32": pd.DataFrame({"x": np.array([0.1, 3], dtype=np.float32)}),
    "larger than a float holds": pd.DataFrame({"n": [2**62 + 1], "x": [0.5]}),
    "no rows": pd.DataFrame({"a": [], "b": []}),
    "中文": pd.DataFrame({"列": ["值", "[1, 2]"]}),
}


def there_and_back(observations: Observations) -> Observations:
    return Observations.from_dict(json.loads(json.dumps(observations.to_dict(), allow_nan=False)))


def as_text(observations: Observations) -> str:
    return json.dumps(observations.to_dict(), allow_nan=False)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_comes_back_as_it_went(table):
    """To the last digit: `12` does not become `12.0`."""
    observed = Observations({"it": table})
    back = there_and_back(observed)
    assert as_text(back) == as_text(observed)
    assert list(back["it"].columns) == list(table.columns)


def test_what_is_missing_is_missing_afterwards():
    back = there_and_back(Observations({"it": pd.DataFrame({"x": [1.5, np.nan, np.inf]})}))["it"]["x"]
    assert back.dtype == np.float64
    assert back.isna().tolist() == [False, True, True]


def test_whole_numbers_stay_whole_beside_fractions():
    rows = Observations({"it": TABLES["numbers alone"]}).to_dict()["tables"]["it"]["rows"]
    assert [type(row[0]) for row in rows] == [int, int]
    assert [row[1] for row in rows] == [0.1 + 0.2, 1e-300]


def test_what_it_was_made_from_comes_back():
    observed = Observations(
        {}, (DataUsed("digits", "Digits", "cache /x", ("aa", "bb")),), ("d1", "d2"), ({"epochs": "3"}, {})
    )
    back = there_and_back(observed)
    assert (back.studies, back.settings) == (observed.studies, observed.settings)
    # The folder it was read from is this machine's, and no part of the evidence.
    assert back.data == (DataUsed("digits", "Digits", "", ("aa", "bb")),)
    assert "cache /x" not in as_text(observed)


RUNS = pd.DataFrame(
    {
        "arm": ["b", "b", "a", "a"],
        "dropout": ["0.2", "0.2", "0", "0"],
        "seed": [1, 0, 0, 1],
        "status": ["finished", "finished", "finished", "diverged"],
        "diverged_step": pd.array([None, None, None, 7], dtype="Int64"),
        "test_accuracy": [0.5, 0.25, 0.125, np.nan],
        "seconds": [1.0, 1.0, 1.0, 1.0],
    }
)


def test_runs_are_compared_alike_before_and_after():
    before = Observations({"runs": RUNS})
    after = there_and_back(before)
    for observed in (before, after):
        assert observed.num_seeds == 2
        assert observed.runs.arms == ("b", "a")
        assert observed.runs.values("test_accuracy", "b").tolist() == [0.25, 0.5]
        assert observed.runs.frame["diverged_step"].tolist()[-1] == 7


def test_where_nothing_was_trained_there_are_no_seeds():
    assert Observations().num_seeds == 0


def test_turned_knobs_come_back_and_what_has_none_says_nothing_of_them():
    """Published evidence has none: its format is what it was."""
    changed = (Change("dropout", "0.1,0.6", "0.2,0.5"),)
    assert there_and_back(Observations(changed=changed)).changed == changed
    assert "changed" not in Observations().to_dict()
