"""A book that contradicts itself is not built: two results of one run, two verdicts of one statement, a best that is
beaten."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from mlplab.answers import Book, ours
from mlplab.errors import EvidenceError
from mlplab.inquiry.contradictions import contradictions
from mlplab.pages import build as build_module

from . import cases
from .test_conflicts import plant


@pytest.fixture
def folder(tmp_path):
    """Of a book like ours, without evidence; two of its exercises have an answer."""
    shutil.copy(ours().file, tmp_path)
    for number in ("4.6.1", "4.6.3"):
        shutil.copytree(cases.SMALL / cases.NUMBER, tmp_path / number)
    return tmp_path


@pytest.fixture
def book(folder) -> Book:
    return Book.open(folder)


def say(folder, number: str, statement: str, verdict: str) -> None:
    """Add a claim to planted evidence."""
    path = folder / number / "evidence.json"
    held = json.loads(path.read_text("utf-8"))
    held["claims"] = [{"name": "it", "statement": {"en": statement}, "verdict": verdict}]
    path.write_text(json.dumps(held), "utf-8")


def test_two_results_of_one_run_are_a_contradiction(folder, book):
    plant(folder, "4.6.1", {7: {"test_accuracy": 0.8}})
    plant(folder, "4.6.3", {7: {"test_accuracy": 0.1}})
    (line,) = contradictions(book)
    for part in ("4.6.1", "4.6.3", "seed 7", "0.8", "0.1"):
        assert part in line


@pytest.mark.parametrize(
    ("statements", "verdicts", "number"),
    [
        (("It helps.", "It helps."), ("holds", "fails"), 1),
        (("It helps.", "It helps."), ("holds", "holds"), 0),
        (("It helps.", "It helps."), ("holds", "undecided"), 0),
        (("It helps.", "It helps much."), ("holds", "fails"), 0),
    ],
)
def test_two_verdicts_of_one_statement_are_a_contradiction(folder, book, statements, verdicts, number):
    for exercise, seed, statement, verdict in zip(
        ("4.6.1", "4.6.3"), (0, 1), statements, verdicts, strict=True
    ):
        plant(folder, exercise, {seed: {"test_accuracy": 0.8}})
        say(folder, exercise, statement, verdict)
    lines = contradictions(book)
    assert len(lines) == number
    assert all("“It helps.” holds in 4.6.1 and fails in 4.6.3" in line for line in lines)


@pytest.mark.parametrize(
    ("theirs", "name", "is_beaten"),
    [
        ({0: 0.91, 1: 0.91}, "digits", True),
        ({0: 0.89, 1: 0.89}, "digits", False),
        ({0: 0.99}, "digits", False),  # one seed says little
        ({0: 0.99, 1: 0.5}, "digits", False),  # it is the mean that counts
        ({0: 0.91, 1: 0.91}, "mnist", False),  # on other images
    ],
)
def test_a_best_that_another_page_beats_is_a_contradiction(
    folder, book, monkeypatch, theirs, name, is_beaten
):
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.9}, 1: {"test_accuracy": 0.9}}, data=("data:1",))
    plant(folder, "4.6.3", {seed: {"test_accuracy": value} for seed, value in theirs.items()})
    for number, used in (("4.6.1", "digits"), ("4.6.3", name)):
        path = folder / number / "evidence.json"
        held = json.loads(path.read_text("utf-8"))
        held["observations"]["data"] = [{"name": used, "title": used, "fingerprints": [number]}]
        held["observations"]["studies"] = []
        path.write_text(json.dumps(held), "utf-8")
    answer = dataclasses.replace(
        cases.ANSWER, best=lambda o: float(o.runs.values("test_accuracy", "arm of 4.6.1").mean())
    )
    monkeypatch.setitem(vars(book.exercise("4.6.1")), "answer", answer)
    lines = contradictions(book)
    assert len(lines) == is_beaten
    assert all(
        "best of 4.6.1, 0.9000, is below the arm 'arm of 4.6.3' of 4.6.3, 0.9100" in line for line in lines
    )


def test_our_own_book_does_not_contradict_itself():
    assert contradictions(ours()) == []


def test_a_book_that_contradicts_itself_is_not_built(book, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "contradictions", lambda book: ["one says so, another not"])
    monkeypatch.setattr(build_module.processes, "each", lambda make, exercises, workers: [])
    with pytest.raises(EvidenceError, match=r"The book is not built\. one says so, another not"):
        build_module.build(book, tmp_path / "book")
    assert not (tmp_path / "book").exists()
