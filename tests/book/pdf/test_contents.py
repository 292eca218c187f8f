"""The data of the printed book holds all that the documents hold, whatever their state."""

from __future__ import annotations

import datetime
import json

import pytest

from mlplab.answers import ours
from mlplab.environment import environment
from mlplab.inquiry import evidence
from mlplab.inquiry.errata import Correction
from mlplab.pages import making
from mlplab.pages.pdf import printed
from mlplab.pages.pdf.contents import contents, size

from .. import cases

LANGUAGES = cases.LANGUAGES
BOOK = cases.EXERCISE.book


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An exercise in each state."""
    book = cases.copied(tmp_path_factory.mktemp("book"))
    exercise = book.exercise(cases.NUMBER)
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    found = [making.make(one) for one in book.exercises.values()]
    assert not [line for one in found for line in one.broken]
    return found


def data(made, language: str, corrections=()) -> dict:
    documents = [d for one in made for d in one.documents if d.language == language]
    held = contents(BOOK, documents, corrections, language, environment(), "Fonts")
    return json.loads(json.dumps(held))


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_exercise_holds_what_its_document_holds(made, language):
    published, unpublished, _ = data(made, language)["sections"][0]["exercises"]
    claim = published["claims"][0]
    assert claim["verdict"] == "holds"
    assert any("[" in fact for fact in claim["facts"])
    assert any("95%" in fact for fact in claim["facts"])
    assert published["circulated"][0][1] == "wrong"
    assert published["tables"][0]["rows"][0][1] == "87.12 [86.98, 87.26]"
    assert published["tables"][0]["numeric"] == [1]
    assert published["figure"]["width"] > 0
    assert [line for _, line in published["commands"]] == [
        f"mlplab --book small answer 4.2.1 --lang {language}",
        "mlplab --book small answer 4.2.1 --set epochs=2",
        "mlplab --book small answer 4.2.1 --effort full",
        "mlplab --book small verify 4.2.1",
    ]
    assert published["provenance"]
    assert unpublished["claims"][0]["verdict"] is None
    assert unpublished["provenance"] == []


def test_what_the_notes_say_is_counted_as_on_the_pages(made):
    held = data(made, "en")
    assert ["wrong", "1 statement"] in held["counts"]
    assert held["notes"][0][:2] == ["wrong", "1 statement"]
    assert held["notes"][0][2][0]["says"] == [["Decay costs nothing.", "The notes"]]
    assert "1 of 1 judged statements" in held["words"]["notes_count"]


def test_a_correction_is_shown_with_its_claim_and_who_sent_it(made):
    sent = Correction(
        ours().exercise("4.1.1"),
        datetime.date(2027, 1, 31),
        {"en": "It was missing.", "zh": "漏了。"},
        "derivative-in-x",
        "A. Reader",
    )
    (shown,) = data(made, "zh", [sent])["errata"]
    assert shown["what"] == "漏了。"
    assert "A. Reader" in shown["by"]
    assert shown["statement"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_book_in_which_exercises_are_in_every_state_can_be_set(made, tmp_path, language):
    printed.lay_out(tmp_path, BOOK, made, [], language)
    assert printed.compile_book(tmp_path).startswith(b"%PDF")


def test_the_size_of_a_drawing_is_what_it_says():
    assert size('<svg class="marks" width="636.5" height="384" viewBox="0 0 1 1">') == (636.5, 384.0)
