"""A comparison on a table of one's own, from the file to the verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlplab import stats
from mlplab.cli.studies import _print
from mlplab.data.own_table import Roles, own_table
from mlplab.errors import InvalidInput, UnknownName
from mlplab.study import Store
from mlplab.study.comparison import compare
from mlplab.study.page import contradiction, ranking_cells, sentence_on_test, study_page
from mlplab.study.plan import Plan
from mlplab.study.results import Results


def problem(task: str = "regression"):
    draws = np.random.default_rng(0)
    x = draws.normal(size=(150, 3))
    y = x @ [1.0, -2.0, 0.5] + draws.normal(0, 0.3, 150)
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(
        y=y if task == "regression" else np.where(y > 0, "up", "down")
    )
    return own_table(frame, Roles("y"), name="made")


def plan(**changed) -> Plan:
    base = {"hidden_sizes": (8,), "epochs": 10, "batch_size": 16, "learning_rate": 0.05}
    vary = {"weight_decay": [0.0, 3.0]}
    return Plan("/made.csv", Roles("y"), **({"base": base, "vary": vary, "seeds": 6} | changed))


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_harmful_arm_is_found_worse_and_the_ranking_says_so(task: str, tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        outcome = compare(plan(metric="validation_loss"), problem(task), store)
        again = compare(
            plan(metric="validation_loss"),
            problem(task),
            store,
            train=lambda runs, data: pytest.fail("trained again"),
        )
    ranking = outcome.ranking()
    assert list(ranking["arm"]) == ["weight_decay=0", "weight_decay=3"]
    assert list(ranking["verdict"]) == ["baseline", "worse"]
    assert outcome.best == outcome.baseline
    assert outcome.test is None
    pd.testing.assert_frame_equal(ranking, again.ranking())
    json.dumps(outcome.to_dict(), allow_nan=False)


def test_the_test_part_is_asked_once_about_the_best_arm(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        outcome = compare(plan(baseline="weight_decay=3"), problem(), store)
    assert outcome.best == "weight_decay=0"
    assert outcome.test.verdict == "holds"
    assert outcome.test.estimate < 0
    assert (
        dict(zip(outcome.ranking()["arm"], outcome.ranking()["verdict"], strict=True))["weight_decay=0"]
        == "better"
    )


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("store") / "s.sqlite") as store:
        return compare(plan(baseline="weight_decay=3"), problem(), store)


def test_a_choice_that_the_test_part_contradicts_is_told_first(outcome, capsys):
    """In the terminal, the report and JSON; and nothing is green then."""
    pytest.importorskip("vl_convert")
    assert not outcome.is_contradicted
    assert 'class="better"' in study_page(outcome)
    turned = replace(outcome, test=stats.paired(-outcome.test.estimate * np.array([1, 1.1, 0.9, 1])))
    told = "the best on validation data"
    assert (
        "The test part contradicts this choice: weight_decay=0, the best on validation data, is worse than"
        in (contradiction(turned))
    )
    page = study_page(turned)
    assert page.index(told) < page.index("Ranking")
    assert 'class="better"' not in page
    assert turned.to_dict()["is_contradicted"]
    assert turned.to_dict()["test"]["direction"] == "worse"
    assert turned.ranking()["verdict"].iloc[0] == "better here, worse on the test part"
    _print(turned, "made-123")
    assert capsys.readouterr().out.startswith("The test part contradicts this choice")
    _print(outcome, "made-123")
    assert "contradicts" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([-0.2, -0.21, -0.19], "once: weight_decay=0 is better than weight_decay=3 by 0.2 [0.175, 0.225] of loss"),
        ([0.2, 0.21, 0.19], "once: weight_decay=0 is worse than weight_decay=3 by 0.2 [0.175, 0.225] of loss"),
        ([-0.2, 0.1, -0.2], "is decided: weight_decay=0 is better than weight_decay=3 by 0.1 [\u22120.33, 0.53]"),
        ([-0.2] * 3, "by 0.2 (all seeds agree; no interval can be given) of loss (3 paired seeds)"),
        ([0.0] * 3, "nothing is decided: weight_decay=0 and weight_decay=3 come to the same."),
    ],
    ids=["better", "worse", "undecided", "agreed", "equal"],
)  # fmt: skip
def test_a_difference_is_told_with_its_direction_in_words(outcome, values, says: str):
    assert says in sentence_on_test(replace(outcome, test=stats.paired(values)))


@pytest.mark.parametrize("num_seeds", [2, 5, 10])
def test_where_all_seeds_agree_no_interval_is_given_however_many_they_are(outcome, num_seeds: int):
    frame = outcome.results.frame
    seeds = pd.DataFrame({"seed": range(num_seeds)})
    rows = frame[frame["seed"] == 0].drop(columns="seed").merge(seeds, how="cross")
    flat = Results(rows, lambda: outcome.results.curves)
    arms = flat.compare(outcome.metric, outcome.baseline)
    told = replace(outcome, results=flat, comparisons=arms).to_dict()
    for row in told["ranking"]:
        assert row["all_seeds_agree"]
        assert row["low"] is row["high"] is None
    (found,) = told["comparisons"].values()
    assert found["all_seeds_agree"]
    assert found["ci_low"] is found["ci_high"] is None
    cells = ranking_cells(replace(outcome, results=flat, comparisons=arms))
    assert [row["interval"] for row in cells] == ["all seeds agree"] * 2
    assert [row["difference_interval"] for row in cells] == ["all seeds agree", ""]


def test_an_arm_that_diverges_is_ranked_last_and_not_compared(tmp_path):
    varied = plan(vary={"learning_rate": [0.05, 1e6]}, base={"hidden_sizes": (8,), "epochs": 3})
    with Store(tmp_path / "s.sqlite") as store:
        outcome = compare(varied, problem(), store)
    assert list(outcome.ranking()["verdict"]) == ["baseline", "diverged"]
    assert outcome.comparisons == {}


def test_seeds_are_added_until_it_is_decided(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        outcome = compare(plan(until_decided=True, max_seeds=12), problem(), store)
    assert outcome.ranking()["seeds"].max() <= 12
    assert outcome.comparisons["weight_decay=3"].verdict == "holds"


def test_the_page_holds_everything_and_asks_for_nothing(tmp_path):
    pytest.importorskip("vl_convert")
    with Store(tmp_path / "s.sqlite") as store:
        outcome = compare(plan(), problem(), store)
    page = study_page(outcome)
    for row in ranking_cells(outcome):
        assert row["arm"] in page
    assert "<svg" in page
    assert "src=" not in page
    assert page.count("http") == page.count("http://www.w3.org")


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"baseline": "weight_decay=2"}, UnknownName, "weight_decay=0"),
        ({"metric": "test_loss"}, UnknownName, "validation_loss"),
        ({"vary": {"weight_decay": [0.1]}}, InvalidInput, "at least 2 arms"),
        ({"vary": {"weight_decay": ["a lot"]}}, InvalidInput, "could not be read"),
        ({"vary": {"weight_decay": [0.1, 0.1]}}, InvalidInput, "differ"),
        ({"vary": {"loss": ["squared_error", "huber"]}}, InvalidInput, "held to a loss of its own"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(changed, error, says: str, tmp_path):
    with Store(tmp_path / "s.sqlite") as store, pytest.raises(error, match=says):
        compare(plan(**changed), problem(), store, train=lambda runs, data: pytest.fail("trained"))
