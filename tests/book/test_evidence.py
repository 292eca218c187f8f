"""Evidence is read as it was written, is never half written, and is refused in one line where it is none."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from mlplab.answers import Finding, Observations
from mlplab.errors import EvidenceError, OutputError
from mlplab.inquiry import evidence
from mlplab.inquiry.inquiry import conclude

from . import cases


@pytest.fixture
def written(exercise) -> Path:
    return evidence.write(cases.inquiry(exercise), exercise.evidence_file)


def held(path: Path) -> dict:
    return json.loads(path.read_text("utf-8"))


def test_what_was_never_published_is_none(exercise):
    assert evidence.published(exercise) is None


def test_what_was_written_is_read(written, exercise):
    made, found = cases.inquiry(exercise), evidence.published(exercise)
    kept = made.observations.rounded(evidence.DIGITS)
    assert found.inquiry.observations.to_dict() == kept.to_dict()
    assert found.inquiry.to_dict() == conclude(exercise, kept).to_dict()
    assert found.verdicts == {name: finding.verdict for name, finding in made.findings.items()}
    assert found.lapsed == []
    assert found.path == written == exercise.folder / "evidence.json"
    assert found.made_with["packages"]["numpy"]


def test_writing_again_what_was_read_changes_nothing_but_its_making(written, exercise):
    first = held(written)
    evidence.write(evidence.published(exercise).inquiry, exercise.evidence_file)
    again = held(written)
    assert {**again, "made_with": None} == {**first, "made_with": None}


def test_figures_keep_seven_digits_whatever_their_size():
    cells = [1 / 3e9, 2 / 3, 123456789.123, 12345678901, None, "1.23456789", True]
    seen = Observations({"seen": pd.DataFrame([cells, cells], dtype=object)})
    (row, _) = seen.rounded(7).to_dict()["tables"]["seen"]["rows"]
    assert row == [3.333333e-10, 0.6666667, 123456800.0, 12345678901, None, "1.23456789", True]
    assert seen.rounded(7).rounded(7).to_dict() == seen.rounded(7).to_dict()


def test_a_verdict_that_hangs_on_digits_that_are_not_kept_is_not_written(exercise, monkeypatch):
    made = cases.inquiry(exercise)
    seen = dataclasses.replace(
        made.observations, tables={**made.observations.tables, "third": pd.DataFrame({"x": [1 / 3]})}
    )
    fine = dataclasses.replace(
        made.answer.claims[1],
        check=lambda x: Finding.true_if(x == 1 / 3),
        subject=lambda o: o["third"]["x"][0],
        falsehood=lambda o: 0.3,
    )
    answer = dataclasses.replace(made.answer, claims=(made.answer.claims[0], fine))
    monkeypatch.setitem(vars(exercise), "answer", answer)
    with pytest.raises(EvidenceError, match="all-runs-end would be judged otherwise by figures of 7 digits"):
        evidence.write(conclude(exercise, seen), exercise.evidence_file)
    assert not exercise.is_published


def test_a_run_is_a_line(written):
    lines = [
        json.loads(line.strip().rstrip(","))
        for line in written.read_text("utf-8").splitlines()
        if "finished" in line
    ]
    assert len(lines) == 12
    assert lines[0][:3] == ["weight_decay=0", "0", 0]


def test_brackets_within_text_are_left_alone():
    text = json.dumps({"a": ["[\\n 1", "]", "x\ny"], "b": [[1, 2], []], "c": "[ {"}, indent=1)
    assert json.loads(evidence._compact(text)) == json.loads(text)


def test_others_may_read_it(written):
    assert written.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_other(written, monkeypatch, broken, exercise):
    before = written.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", fail) if broken == "fsync" else (Path, "replace", fail)))
    with pytest.raises(OutputError, match="No space left"):
        evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    assert written.read_bytes() == before
    assert not [path for path in exercise.folder.iterdir() if path.suffix == ".part"]


DAMAGE = {
    "cut short": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "not JSON": lambda text: "<html>",
    "not text": lambda text: "\udcff",
    "a list": lambda text: "[]",
    "a number": lambda text: "3",
    "another format": lambda text: text.replace('"format": 1', '"format": 2'),
    "without a format": lambda text: text.replace('"format": 1', '"formal": 1'),
    "another exercise's": lambda text: text.replace('"exercise": "4.2.1"', '"exercise": "4.2.2"'),
    "without claims": lambda text: text.replace('"claims"', '"climbs"'),
    "without how it was made": lambda text: text.replace('"made_with"', '"made"'),
    "without its table": lambda text: text.replace('"runs": {', '"walks": {'),
    "without a column": lambda text: text.replace('"train_loss"', '"train_less"'),
    "tables as a list": lambda text: json.dumps(json.loads(text) | {"observations": {"tables": []}}),
    "rows too short": lambda text: text.replace('["weight_decay=0", "0", 0,', '["weight_decay=0", "0",', 1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_evidence_is_refused_in_one_line(written, damage, exercise):
    damaged = damage(written.read_text("utf-8"))
    assert damaged != written.read_text("utf-8")
    written.write_bytes(damaged.encode("utf-8", "surrogateescape"))
    with pytest.raises(EvidenceError, match="publish it again") as raised:
        evidence.published(exercise)
    assert str(written) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_verdict_that_this_code_does_not_reach_has_lapsed(written, exercise):
    content = held(written)
    content["claims"][0]["verdict"] = "fails"
    written.write_text(json.dumps(content), "utf-8")
    assert evidence.published(exercise).lapsed == ["decay-raises-training-loss"]


def test_a_claim_that_is_new_or_gone_has_lapsed(written, exercise):
    content = held(written)
    content["claims"][1]["name"] = "an-older-claim"
    written.write_text(json.dumps(content), "utf-8")
    assert evidence.published(exercise).lapsed == ["all-runs-end", "an-older-claim"]


def test_falsehoods_are_rejected_on_what_was_published(written, exercise):
    assert set(evidence.published(exercise).inquiry.controls.values()) == {"fails"}


def test_an_inquiry_is_the_same_before_and_after_a_trip_through_json(exercise):
    made = conclude(exercise, cases.observed())
    back = conclude(
        exercise, type(made.observations).from_dict(json.loads(json.dumps(made.observations.to_dict())))
    )
    assert back.to_dict() == made.to_dict()
