"""Findings, claims and circulated statements: a verdict is carried unchanged, and every check can fail."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest

from mlplab.answers import Circulated, Claim, Finding, Observations, recentred
from mlplab.stats import paired

NOTHING = Observations()
DIFFERENCES = np.array([0.01, 0.02, 0.03, 0.01, 0.02, 0.03])


def is_positive(values: np.ndarray) -> Finding:
    return Finding.of(paired(values, claim="greater"), margin=0.5)


def claim(subject: np.ndarray, falsehood: np.ndarray) -> Claim:
    return Claim(
        "gain",
        "experiment",
        is_positive,
        lambda o: subject,
        lambda o: falsehood,
    )


@pytest.mark.parametrize("truth", [True, False, np.True_, np.False_])
def test_a_check_that_always_decides_holds_exactly_if_it_is_true(truth):
    assert Finding.true_if(truth).verdict == ("holds" if truth else "fails")


def test_the_verdict_of_a_comparison_is_the_findings():
    for values in (DIFFERENCES, -DIFFERENCES, DIFFERENCES - DIFFERENCES.mean()):
        assert is_positive(values).verdict == paired(values, claim="greater").verdict


def test_a_sentence_reads_numbers_and_comparison_alike():
    finding = is_positive(DIFFERENCES)
    assert finding.margin == 0.5
    assert finding.estimate == pytest.approx(0.02)
    assert finding.ci_low == finding.comparison.ci_low


@pytest.mark.parametrize("finding", [Finding("holds"), is_positive(DIFFERENCES)], ids=["bare", "compared"])
def test_what_nobody_found_is_an_error(finding):
    with pytest.raises(AttributeError, match="accuracy"):
        _ = finding.accuracy


@pytest.mark.parametrize(
    "finding",
    [Finding("undecided"), is_positive(DIFFERENCES), Finding.true_if(False, "x = 2", worst=1.5)],
    ids=["bare", "compared", "counterexample"],
)
def test_a_copy_says_the_same(finding):
    for twin in (copy.copy(finding), copy.deepcopy(finding), pickle.loads(pickle.dumps(finding))):
        assert twin == finding
        assert twin.to_dict() == finding.to_dict()


def test_a_finding_is_json_whatever_was_measured():
    found = Finding.true_if(
        True, "done", worst=np.float32(0.5), tries=np.int64(3), lost=math.nan, edge=math.inf
    )
    held = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert held["numbers"] == {"worst": 0.5, "tries": 3, "lost": None, "edge": None}
    assert held["verdict"] == "holds"
    assert held["detail"] == "done"


def test_a_claim_is_checked_on_its_subject_and_controlled_on_its_falsehood():
    checked = claim(DIFFERENCES, -DIFFERENCES)
    assert checked.examine(NOTHING).verdict == "holds"
    assert checked.control(NOTHING).verdict == "fails"


def test_a_check_that_cannot_fail_is_seen_by_its_control():
    assert claim(DIFFERENCES, DIFFERENCES).control(NOTHING).verdict == "holds"


def test_recentred_values_keep_their_spread_around_another_mean():
    moved = recentred(DIFFERENCES, -0.3)
    assert moved.mean() == pytest.approx(-0.3)
    np.testing.assert_allclose(moved - moved.mean(), DIFFERENCES - DIFFERENCES.mean(), atol=1e-15)


JUDGEMENTS = {"holds": "right", "fails": "wrong", "undecided": "unsupported"}


@pytest.mark.parametrize(("verdict", "judgement"), JUDGEMENTS.items())
def test_the_verdict_decides_what_a_circulated_statement_is_worth(verdict, judgement):
    said = Circulated("helps", JUDGEMENTS, by="gain")
    assert said.judge({"gain": Finding(verdict), "other": Finding("holds")}) == judgement


def test_what_cannot_be_tested_here_is_neither_right_nor_wrong():
    said = Circulated("helps", JUDGEMENTS, by="gain")
    assert said.judge({"gain": Finding("untestable")}) == "untestable"


def test_a_fixed_judgement_needs_no_finding():
    assert Circulated("other", "misread").judge({}) == "misread"
