"""An audit runs all that is published, stops at nothing, and says of each exercise what became of it."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from mlplab.answers import EXERCISES
from mlplab.book import audit, evidence, labels, terminal, verification
from mlplab.book.verification import Verification

from . import cases

DECAY, ENDS = (claim.name for claim in cases.ANSWER.claims)
HOLDS = {DECAY: "holds", ENDS: "holds"}


def found(effort="full"):
    return {one.number: one for one in audit.audit(effort)}


def test_each_exercise_has_its_line_whether_published_or_not():
    verification.publish(cases.NUMBER)
    lines = found()
    assert list(lines) == list(EXERCISES)
    assert lines.pop(cases.NUMBER).state == "stands"
    assert {one.state for one in lines.values()} == {"unpublished"}


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("contradicted", lambda: cases.verification(HOLDS, HOLDS | {DECAY: "fails"})),
        ("lapsed", lambda: cases.verification(HOLDS, HOLDS, judged=HOLDS | {DECAY: "fails"})),
        ("unguarded", lambda: cases.verification(HOLDS, HOLDS, controls={DECAY: "holds"})),
    ],
)
def test_what_does_not_stand_is_named(name, outcome, monkeypatch):
    made = outcome()
    monkeypatch.setattr(evidence, "published_numbers", lambda: {cases.NUMBER})
    monkeypatch.setattr(verification, "verify", lambda *_, **__: made)
    one = found()[cases.NUMBER]
    assert one.state == "does not stand"
    assert list(getattr(one, name)) == [DECAY]
    assert DECAY in terminal.audited(one, "en").plain


def test_evidence_that_cannot_be_read_stops_no_other(checkout):
    (checkout / "evidence").mkdir()
    (checkout / "evidence/4.1.1.json").write_text("{")
    verification.publish(cases.NUMBER)
    lines = found()
    assert lines["4.1.1"].state == "failed"
    assert "4.1.1.json" in terminal.audited(lines["4.1.1"], "zh").plain
    assert lines[cases.NUMBER].state == "stands"
    said = terminal.audit(list(lines.values()), 3.2, "en").plain
    assert said.startswith("1 of 2 ")
    assert labels.AUDITED["stands"].en in terminal.audited(lines[cases.NUMBER], "en").plain


def test_a_crash_is_no_verdict_and_stops_no_other(monkeypatch):
    def crash(*_, **__):
        raise KeyError("planted")

    monkeypatch.setattr(evidence, "published_numbers", lambda: {cases.NUMBER})
    monkeypatch.setattr(verification, "verify", crash)
    one = found()[cases.NUMBER]
    assert (one.state, one.problem) == ("crashed", "KeyError: 'planted'")
    assert "planted" in terminal.audited(one, "en").plain


def other_data(outcome: Verification) -> Verification:
    seen = outcome.again.observations
    used = tuple(dataclasses.replace(one, fingerprints=("other",)) for one in seen.data)
    again = dataclasses.replace(outcome.again, observations=dataclasses.replace(seen, data=used))
    return dataclasses.replace(outcome, again=again)


def test_an_experiment_on_other_data_may_come_out_otherwise():
    """A quick look takes embedded images: they may differ from those of the published study."""
    outcome = cases.verification(HOLDS, HOLDS | {DECAY: "fails"}, effort="quick")
    assert (outcome.contradicted, outcome.differing) == ([DECAY], [])
    other = other_data(outcome)
    assert (other.contradicted, other.differing) == ([], [DECAY])
    assert other.stands


def test_a_calculation_must_come_out_the_same_on_any_data():
    other = other_data(cases.verification(HOLDS, HOLDS | {ENDS: "fails"}, effort="quick"))
    assert (other.contradicted, other.differing) == ([ENDS], [])


def test_the_published_study_must_come_out_the_same_on_its_own_data():
    other = other_data(cases.verification(HOLDS, HOLDS | {DECAY: "fails"}, effort="full"))
    assert (other.contradicted, other.differing) == ([DECAY], [])


@pytest.mark.slow
def test_a_quick_audit_spreads_over_processes(monkeypatch):
    """Real answers, in processes of their own: nothing of this test's stand-in is there."""
    monkeypatch.undo()
    monkeypatch.setattr(audit, "EXERCISES", ["4.1.1", "4.5.4", "4.10.99"])
    lines = list(audit.audit("quick"))
    assert [one.state for one in lines] == ["stands", "stands", "unpublished"]
    assert pd.Series([one.seconds for one in lines[:2]]).gt(0).all()
