"""An audit runs all that is published, stops at nothing, and says of each exercise what became of it."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from mlplab.answers import ours
from mlplab.inquiry import audit, evidence, verification
from mlplab.inquiry.verification import Verification
from mlplab.pages import terminal

from . import cases

DECAY, ENDS = (claim.name for claim in cases.ANSWER.claims)
HOLDS = {DECAY: "holds", ENDS: "holds"}


def found(book, effort="full"):
    return {one.number: one for one in audit.audit(book, effort)}


def test_each_exercise_has_its_line_whether_published_or_not(book, exercise):
    verification.publish(exercise)
    lines = found(book)
    assert list(lines) == list(book.exercises)
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
def test_what_does_not_stand_is_named(name, outcome, monkeypatch, book, exercise):
    made = outcome()
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    monkeypatch.setattr(verification, "verify", lambda *_, **__: made)
    one = found(book)[cases.NUMBER]
    assert one.state == "does not stand"
    assert list(getattr(one, name)) == [DECAY]
    assert DECAY in terminal.audited(one, book.frame("en")).plain


def test_evidence_that_cannot_be_read_stops_no_other(book, exercise):
    book.exercise(cases.UNPUBLISHED).evidence_file.write_text("{")
    verification.publish(exercise)
    lines = found(book)
    broken = lines[cases.UNPUBLISHED]
    assert broken.state == "failed"
    assert "evidence.json" in terminal.audited(broken, book.frame("zh")).plain
    assert lines[cases.NUMBER].state == "stands"
    frame = book.frame("en")
    assert terminal.audit(list(lines.values()), 3.2, frame).plain.startswith("1 of 2 ")
    assert frame["audited.stands"] in terminal.audited(lines[cases.NUMBER], frame).plain


def test_a_crash_is_no_verdict_and_stops_no_other(monkeypatch, book, exercise):
    def crash(*_, **__):
        raise KeyError("planted")

    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    monkeypatch.setattr(verification, "verify", crash)
    one = found(book)[cases.NUMBER]
    assert (one.state, one.problem) == ("crashed", "KeyError: 'planted'")
    assert "planted" in terminal.audited(one, book.frame("en")).plain


def test_what_fails_in_an_answer_of_others_is_no_defect_of_mlplab(monkeypatch, book, exercise):
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    names: dict = {}
    exec(compile("def verify(*_, **__): 1 / 0", str(exercise.folder / "answer.py"), "exec"), names)
    monkeypatch.setattr(verification, "verify", names["verify"])
    one = found(book)[cases.NUMBER]
    assert one.state == "failed"
    assert one.problem.endswith("answer.py fails: ZeroDivisionError: division by zero (line 1).")


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
    """Real answers, in processes of their own: an exercise travels there as its place."""
    book = ours()
    chosen = {number: book.exercise(number) for number in ("4.1.1", "4.5.4")}
    monkeypatch.setitem(vars(book), "exercises", chosen)
    lines = list(audit.audit(book, "quick"))
    assert [one.state for one in lines] == ["stands", "stands"]
    assert pd.Series([one.seconds for one in lines]).gt(0).all()
