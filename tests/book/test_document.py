"""What the book says of an exercise: with evidence, without it, and without an answer."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mlplab.answers import Book, Finding, Language, ours
from mlplab.inquiry import evidence
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry, conclude
from mlplab.pages import document, making, notes, pandoc, terminal
from mlplab.pages.html import pages
from mlplab.pages.pdf.contents import contents
from mlplab.stats import paired

from . import cases

LANGUAGES = cases.LANGUAGES
FRAMES = {language: cases.EXERCISE.book.frame(language) for language in LANGUAGES}


@pytest.fixture
def published(exercise):
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    (made, other), broken = document.documents(exercise, LANGUAGES)
    assert not broken
    assert (made.language, other.language) == LANGUAGES
    return {"zh": made, "en": other}


def shown(now: Inquiry, language: Language) -> str:
    console = Console(file=StringIO(), width=400, highlight=False, markup=False)
    console.print(terminal.full_answer(now, None, "", language))
    return console.file.getvalue()


def page_of(made: document.Document) -> str:
    (html,) = pandoc.to_html(made.pandoc_version, [made.sections])
    return pages.answer_page(cases.EXERCISE.book, made, html, None, made, LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_published_answer_has_everything(published, language):
    made = published[language]
    assert made.state == "published"
    claim = made.claims[0]
    assert claim.verdict == "holds"
    assert "[" in claim.estimate
    assert "95%" in claim.interval
    assert "6" in claim.interval
    assert claim.is_control_rejected
    assert made.circulated[0][1] == "wrong"
    assert made.figure is not None
    assert made.figure.svg.startswith("<svg")
    page = page_of(made)
    order = "question short sure why evidence circulates limits again references provenance".split()
    assert [name for name in re.findall(r'<section id="(\w+)"', page) if name in order] == order
    for name in order:
        assert FRAMES[language][f"pages.{name}"] in page
    assert claim.estimate in page
    assert "87.12 [86.98, 87.26]" in page
    assert "mlplab --book small answer 4.2.1 --set epochs=2" in page
    assert "mlplab --book small verify 4.2.1" in page
    assert made.made_with["python"] in page


def test_the_other_language_is_the_same_page_beside_it(published):
    assert 'href="../en/4.2.1.html"' in page_of(published["zh"])
    assert 'href="../zh/4.2.1.html"' in page_of(published["en"])


def test_a_figure_carries_its_data_and_words(published):
    page = page_of(published["en"])
    spec = re.search(r'<script type="application/json" id="figure-4.2.1">(.*?)</script>', page, re.DOTALL)
    assert spec
    assert json.loads(spec[1])["datasets"]
    assert "train_loss" in page.split("<details")[1]


def test_an_estimate_stands_above_its_interval_and_words_to_the_left(published):
    table = document.ShownTable("Loss", ["arm", "value", "note"], [["a", "87.12\n[86.98, 87.26]", "given"]])
    page = page_of(dataclasses.replace(published["en"], tables=[table]))
    assert '<td>87.12<span class="second">[86.98, 87.26]</span></td><td class="text">given</td>' in page


def test_a_spec_cannot_close_its_script(published):
    figure = dataclasses.replace(published["en"].figure, spec={"title": "</script><b>"})
    page = page_of(dataclasses.replace(published["en"], figure=figure))
    assert "</script><b>" not in page


def test_a_text_leads_only_to_pages_that_its_language_has():
    german = Book.open(Path(__file__).parents[2] / "examples/german")
    own = german.exercise("4.5.4")
    for language, noun, is_led in [("de", "Aufgabe", False), ("en", "exercise", True)]:
        text = f"As in {noun} 4.5.3."
        assert ("4.5.3.html" in document._with_links(text, own, own.words(language))) == is_led
        assert document._with_links(f"{noun} 4.5.4", own, own.words(language)) == f"{noun} 4.5.4"


FORMS = {
    "number": (1.0, "±1", "[−"),
    "points": (0.01, "±1.00", "[−0."),
    "log": (math.log(2), "×2", "[×0.9"),
    "log10": (math.log10(2), "×2", "[×0.9"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("unit", "form"), FORMS.items(), ids=FORMS)
def test_the_interval_that_decided_is_printed_with_level_margin_and_unit(language, unit, form):
    """What lies within the margin by its 90% interval, and no other."""
    margin, written, begins = form
    frame = FRAMES[language]
    claim = dataclasses.replace(cases.ANSWER.claims[0], unit=unit)
    finding = Finding.of(paired(margin / 20 * np.linspace(-1, 1, 8), claim="greater", margin=margin))
    interval = document.interval_text(claim, finding, frame)
    assert "90%" in interval
    assert written in interval
    assert begins in document.estimate_text(claim, finding, frame)
    assert document.reading_text(finding, frame) == frame["readings.within"]
    assert (finding.ci_low, finding.ci_prob) == (finding.comparison.deciding.ci_low, 0.9)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_claim_that_was_added_after_a_look_says_so(exercise, language):
    words, claim = exercise.words(language), cases.ANSWER.claims[0]
    later = dataclasses.replace(claim, post_hoc=True)
    assert later.statement(words) == claim.statement(words) + FRAMES[language]["labels.post_hoc"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_claim_that_fails_says_in_which_direction(language):
    frame = FRAMES[language]
    low = Finding.of(paired(-5 + np.linspace(-1, 1, 8), claim="greater", margin=1.0))
    assert (low.verdict, document.reading_text(low, frame)) == ("fails", frame["readings.below"])
    small = Finding.of(paired(0.5 + np.linspace(-0.1, 0.1, 8), claim="greater", margin=1.0))
    assert (small.verdict, document.reading_text(small, frame)) == ("holds", frame["readings.too-small"])
    apart = Finding.of(paired(5 + np.linspace(-1, 1, 8), claim="equivalent", margin=1.0))
    assert document.reading_text(apart, frame) == frame["readings.otherwise"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_claim_whose_precondition_fails_says_which_on_every_page(exercise, language):
    first, second = cases.ANSWER.claims
    answer = dataclasses.replace(
        cases.ANSWER, claims=(dataclasses.replace(first, requires=(second.name,)), second)
    )
    vars(exercise)["answer"] = answer
    diverged = cases.observed()
    diverged.tables["runs"].loc[0, "status"] = "diverged"
    evidence.write(conclude(exercise, diverged), exercise.evidence_file)
    made = next(d for d in document.documents(exercise, LANGUAGES)[0] if d.language == language)
    claim, required = made.claims
    assert (claim.verdict, required.verdict) == ("untestable", "fails")
    assert made.circulated[0][1] == "untestable"
    word, unmet = FRAMES[language]["verdicts.untestable"], f"“{required.statement}”"
    page = page_of(made)
    printed = contents(exercise.book, [made], [], language, {"mlplab": "1", "python": "3"}, "Fonts")
    assert word in page
    assert unmet in page
    assert unmet in json.dumps(printed, ensure_ascii=False)
    assert notes.judged([made]) == (0, 0)
    now = conclude(exercise, diverged)
    assert FRAMES[language]["judgements.untestable"] in (told := shown(now, language))
    assert unmet in told
    assert now.to_dict()["claims"][0]["unmet"] == [second.name]


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_evidence_the_page_says_so_and_gives_no_verdict(language):
    made = next(d for d in document.documents(cases.EXERCISE, LANGUAGES)[0] if d.language == language)
    assert made.state == "unpublished"
    page = page_of(made)
    assert FRAMES[language]["pages.unpublished_title"] in page
    assert FRAMES[language]["pages.undecidable"] in page
    assert 'class="badge holds"' not in page
    assert 'class="badge wrong"' not in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_open_exercise_says_so_and_leads_to_its_section(book, language):
    made = next(
        d for d in document.documents(book.exercise(cases.OPEN), LANGUAGES)[0] if d.language == language
    )
    assert made.state == "open"
    page = page_of(made)
    assert FRAMES[language]["pages.open_title"] in page
    assert made.link in page


def test_a_claim_that_no_longer_holds_stops_the_book_and_names_the_sentence():
    held = Evidence(cases.inquiry(), {cases.ANSWER.claims[0].name: "fails", "gone": "holds"}, {}, None)
    lines = document.broken(held)
    assert any(
        "“Decay raises the training loss.” was published as “fails” and is now “holds”" in line
        for line in lines
    )
    assert any("gone" in line and "no claim any more" in line for line in lines)
    passed = Evidence(cases.inquiry(controls={"all-runs-end": "holds"}), {}, {}, None)
    assert any("“No run diverges.”: its check no longer rejects" in line for line in document.broken(passed))


def test_what_a_person_must_mend_comes_back_as_a_line(exercise):
    exercise.evidence_file.write_text("{", "utf-8")
    (line,) = making.make(exercise).broken
    assert line.startswith("4.2.1: ")
    assert "cannot be read as evidence" in line
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    text = exercise.folder / "text.zh.md"
    text.write_text(text.read_text("utf-8").replace("很小。", "{{ nobody }}"), "utf-8")
    (line,) = making.make(exercise).broken
    assert "quotes what nobody found" in line


def test_what_fails_in_an_answer_of_others_comes_back_as_a_line(exercise, monkeypatch):
    names: dict = {}
    exec(compile("def documents(*_): 1 / 0", str(exercise.folder / "answer.py"), "exec"), names)
    monkeypatch.setattr(making, "documents", names["documents"])
    (line,) = making.make(exercise).broken
    assert line.endswith("answer.py fails: ZeroDivisionError: division by zero (line 1)")


# The index, and what the notes got wrong


def test_the_index_has_every_exercise_with_its_badge(published):
    others = [
        dataclasses.replace(published["en"], number=f"4.2.{i}", circulated=(), state="open") for i in (2, 3)
    ]
    page = pages.index_page(cases.EXERCISE.book, [published["en"], *others], "en")
    assert page.count('<li class="') == 3
    assert page.count(FRAMES["en"]["pages.state_open"] + "</span>") == 2
    assert "1 of 3 exercises have published evidence." in page
    assert 'class="badge wrong"' in page


def test_notes_that_skip_an_exercise_are_counted_as_skipping_it(published):
    skipped = dataclasses.replace(published["en"], circulated=())
    assert skipped.judgements == ["skipped"]
    page = pages.notes_page(cases.EXERCISE.book, [published["en"], skipped], {}, "en")
    assert "1 of 1 judged statements do not stand as they are." in page
    assert page.index('id="wrong"') < page.index('id="skipped"')
    assert "Decay costs nothing." in page


@pytest.mark.parametrize(
    ("language", "wrong", "skipped"), [("en", "3 statements", "1 exercise"), ("zh", "3 条说法", "1 道练习")]
)
def test_the_index_the_notes_and_the_printed_book_say_one_count_with_its_unit(
    published, language, wrong, skipped
):
    """An exercise may hold two statements that are wrong."""
    book, one = cases.EXERCISE.book, published[language]
    twice = dataclasses.replace(one, number="4.2.2", circulated=[*one.circulated] * 2)
    silent = dataclasses.replace(one, number="4.2.3", circulated=())
    documents = [one, twice, silent]
    index = pages.index_page(book, documents, language)
    assert re.findall(r"<b>(.+?)</b>", index) == [wrong, skipped]
    page = pages.notes_page(book, documents, {}, language)
    assert re.findall(r'<span class="count">(.+?)</span>', page) == [wrong, skipped]
    printed = contents(book, documents, [], language, {"mlplab": "1", "python": "3"}, "Fonts")
    assert {count for _, count in printed["counts"]} > {wrong, skipped}
    assert [count for _, count, _ in printed["notes"]] == [wrong, skipped]


def test_every_word_of_the_frame_is_in_all_languages_with_the_same_places():
    en, zh = (ours().frame(language) for language in ("en", "zh"))
    assert list(en) == list(zh)
    for key in en:
        assert en[key]
        assert zh[key]
        assert en[key].count("{") == zh[key].count("{")


def test_a_page_names_the_numbers_of_other_editions(published):
    assert ours().in_other_editions("4.6.1", "en") == [("English edition 1.0", "5.6.1")]
    assert ours().in_other_editions("4.4.2", "en") == []
    page = page_of(
        dataclasses.replace(published["en"], editions=[("Edition 1", "5.6.1"), ("Edition 3", "7.2")])
    )
    assert "Edition 1: 5.6.1 · Edition 3: 7.2" in page
