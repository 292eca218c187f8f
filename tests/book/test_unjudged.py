"""A book of a textbook whose answers nobody has spread: it never speaks of notes that circulate."""

from __future__ import annotations

import dataclasses
import html
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from mlplab.answers import Book, Lab
from mlplab.errors import BookError
from mlplab.inquiry.inquiry import inquire
from mlplab.pages import document, pandoc, terminal
from mlplab.pages.html import pages, site
from mlplab.pages.making import Made
from mlplab.pages.pdf.contents import contents

from . import cases

LITTLE = Path(__file__).parents[2] / "examples" / "little-book"


@pytest.fixture(scope="module")
def proof():
    """The proof of the little book, made ready to be set."""
    book = Book.open(LITTLE)
    (made,), broken = document.documents(book.exercise("2.1"), book.languages)
    assert not broken
    return book, made


def of_notes(book: Book) -> list[str]:
    """What the frame says of notes that circulate."""
    frame = book.frame("en")
    of_pages = (
        "notes",
        "notes_short",
        "circulated_answer",
        "circulates",
        "nothing_circulates",
        "index_circulated",
    )
    return [
        *frame.group("judgements").values(),
        *frame.group("meanings").values(),
        *(frame[f"pages.{name}"] for name in of_pages),
        "notes.html",
    ]  # fmt: skip


def test_no_page_of_a_book_that_judges_nothing_speaks_of_notes(proof, tmp_path):
    book, made = proof
    assert not book.judges
    assert made.judgements == []
    (texts,) = pandoc.to_html(made.pandoc_version, [made.sections])
    written = site._write_pages(tmp_path, book, [Made("2.1", [made], [texts], [{}])], [])
    assert set(written["en"]) == {"2.1.html", "index.html", "errata.html"}
    for name, page in written["en"].items():
        assert not [words for words in of_notes(book) if f"> {words}<" in page or f">{words}<" in page], name
        assert "notes" not in page.replace("footnotes", ""), name
    assert "1 of 1 exercises have published evidence." in written["en"]["index.html"]


def test_a_page_looks_for_words_in_the_languages_of_its_book_alone(proof):
    book, made = proof
    others = re.search('data-others="(.*?)"', pages.index_page(book, [made], "en"))
    assert others is not None
    assert json.loads(html.unescape(others[1])) == []
    others = re.search('data-others="(.*?)"', pages.index_page(cases.EXERCISE.book, [], "en"))
    assert others is not None
    assert json.loads(html.unescape(others[1])) == [{"language": "zh", "tag": "zh-CN", "name": "中文"}]


def test_a_section_without_an_address_is_no_link(proof):
    book, made = proof
    nowhere = dataclasses.replace(made, link="")
    assert 'href=""' not in pages.answer_page(book, nowhere, {}, None, None, ["en"])
    for state in ("open", "unpublished"):
        page = pages.answer_page(book, dataclasses.replace(nowhere, state=state), {}, None, None, ["en"])
        assert 'href=""' not in page


def test_the_printed_book_is_told_that_it_judges_nothing(proof):
    book, made = proof
    printed = contents(book, [made], [], "en", {"mlplab": "1", "python": "3"}, "Fonts")
    assert printed["judges"] is False
    assert printed["notes"] == []
    assert not {count for _, count in printed["counts"]} - {"0 statements", "0 exercises"}


def test_a_terminal_shows_no_notes_of_a_book_that_judges_nothing():
    now = inquire(Book.open(LITTLE).exercise("2.1"), Lab())
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(terminal.full_answer(now, None, "", "en"))
    shown = console.export_text()
    assert "Limits" in shown
    assert "irculates" not in shown


def test_an_answer_judges_nothing_in_a_book_that_names_no_notes(tmp_path):
    folder = shutil.copytree(cases.SMALL, tmp_path / "small")
    text = (folder / "book.toml").read_text("utf-8")
    before, _, behind = text.partition("[[circulated]]")
    (folder / "book.toml").write_text(f"{before}[[sections]]{behind.partition('[[sections]]')[2]}", "utf-8")
    said = r"4\.2\.1/answer\.py: ANSWER\.circulated judges what circulates, and .*book\.toml has no \[\[circulated\]\]"
    with pytest.raises(BookError, match=said):
        _ = Book.open(folder).exercise("4.2.1").answer
