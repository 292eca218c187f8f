"""4.2.4 decides right where the truth is known: runs and searches are made up, not trained."""

from __future__ import annotations

import pandas as pd
import pytest

from mlplab.answers import Observations, ours
from mlplab.rng import Stream

q = ours().exercise("4.2.4").module


def world(gain: float, longer: float, flattery: float, gap: float = 0.0) -> Observations:
    """Twenty seeds whose winner is ahead by `gain` and `longer`; six searches that flatter by `flattery`."""
    truth = {"winner": 0.88, "section": 0.88 - gain, "longer": 0.88 - longer}
    rows = []
    for layer, (arm, accuracy) in enumerate(truth.items()):
        luck = 0.001 * Stream(0, "data", layer=layer).normal(20)
        for seed, own in enumerate(luck):
            row = {"arm": arm, "seed": q.FINAL + seed, "status": "finished", "test_accuracy": accuracy + own}
            rows.append(row | {"validation_accuracy": accuracy + own + gap})
    luck = 0.001 * Stream(1, "data").normal(6)
    searches = [
        {
            "search": i,
            "winner": "x",
            "score": 0.88 + flattery + own,
            "fresh": 0.88,
            "std": 0.001,
            "num_fresh": 4,
        }
        | {"num_trials": 21, "spent": 138}
        for i, own in enumerate(luck, start=1)
    ]
    arms = [{"arm": arm, "setting": arm} for arm in truth]
    return Observations(
        {"runs": pd.DataFrame(rows), "searches": pd.DataFrame(searches), "arms": pd.DataFrame(arms)},
        settings=({},),
    )


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ((0.01, 0.005, 0.004), ("holds", "holds", "holds", "holds")),
        ((0.01, 0.0, 0.004), ("holds", "fails", "holds", "holds")),  # more epochs are all there is to it
        ((-0.01, -0.01, -0.004), ("fails", "fails", "fails", "holds")),
        ((0.01, 0.01, 0.004, 0.03), ("holds", "holds", "holds", "fails")),  # validation images are worn out
    ],
)
def test_claims_find_the_truth(truth, expected):
    found = q.ANSWER.findings(world(*truth))
    assert tuple(finding.verdict for finding in found.values()) == expected


@pytest.mark.parametrize("flattery", [-0.004, 0.0, 0.004])
def test_law_3_falsehoods_are_rejected_whatever_the_truth(flattery):
    seen = world(flattery, flattery, flattery)
    assert {claim.control(seen).verdict for claim in q.ANSWER.claims} == {"fails"}


def test_seeds_of_search_refit_and_result_do_not_meet():
    assert 0 < 100 < q.FRESH < q.FRESH + 100 < q.FINAL


def test_facts_are_those_of_the_searches():
    facts = q.facts(world(0.01, 0.005, 0.004))
    assert (facts["num_searches"], facts["num_trials"], facts["spent"]) == (6, 126, 828)
    assert facts["test"]["winner"].estimate == pytest.approx(0.88, abs=0.001)
