"""A correction is a small file; one that names no exercise, no claim or no date is refused."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from mlplab.answers import Book, ours
from mlplab.errors import InvalidInput
from mlplab.inquiry import errata
from mlplab.pages.html import pages
from mlplab.pages.pdf.contents import contents

EXAMPLES = Path(__file__).parents[2] / "examples"

FILE = """exercise = "4.1.1"
date = 2027-01-31
claim = "derivative-in-x"
reported_by = "A. Reader"

[what]
en = "The derivative was <b>missing</b>."
zh = "漏了导数。"
"""


def written(tmp_path, text: str):
    path = tmp_path / "4.1.1-what.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_correction_is_read_and_shown_with_its_claim(tmp_path):
    correction = errata.read(written(tmp_path, FILE), ours())
    assert correction.date == datetime.date(2027, 1, 31)
    page = pages.errata_page(ours(), [correction], "zh")
    assert "漏了导数。" in page
    assert "A. Reader" in page
    assert 'href="4.1.1.html#claim-derivative-in-x"' in page
    assert "&lt;b&gt;missing" in pages.errata_page(ours(), [correction], "en")


def test_who_does_not_wish_to_be_named_is_not(tmp_path):
    correction = errata.read(written(tmp_path, FILE.replace('reported_by = "A. Reader"\n', "")), ours())
    assert "Reported by" not in pages.errata_page(ours(), [correction], "en")


def test_a_correction_stands_in_the_languages_that_have_its_exercise(tmp_path):
    """There is no page to lead to in the others."""
    german = Book.open(EXAMPLES / "german")
    assert german.exercise("4.1.1").languages == ("zh", "en")
    correction = errata.read(written(tmp_path, FILE), german)
    assert "4.1.1.html" in pages.errata_page(german, [correction], "en")
    assert "4.1.1" not in pages.errata_page(german, [correction], "de")
    made_with = {"mlplab": "1", "python": "3"}
    printed = {
        one: contents(german, [], [correction], one, made_with, "Fonts")["errata"] for one in ("en", "de")
    }
    assert len(printed["en"]) == 1
    assert not printed["de"]


def test_a_file_that_lacks_a_text_is_told_the_languages_of_its_book(tmp_path):
    little = Book.open(EXAMPLES / "little-book")
    with pytest.raises(InvalidInput, match=r"must have exercise, date, claim and what\.en; reported_by"):
        errata.read(written(tmp_path, FILE.replace("en =", "fr =")), little)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"4.1.1"', '"4.1.9"', "one of the book's"),
        ("derivative-in-x", "no-such-claim", "derivative-in-x"),
        ("2027-01-31", '"soon"', "must be a date"),
        ("[what]", "[why]", "what"),
        ('zh = "漏了导数。"', "", "zh"),
        ("claim =", "clam =", "clam"),
        ("date", "= date", "line 2"),
    ],
)
def test_a_file_is_refused_where(tmp_path, old, new, said):
    with pytest.raises(InvalidInput, match=said):
        errata.read(written(tmp_path, FILE.replace(old, new, 1)), ours())


def test_every_correction_in_the_repository_can_be_read():
    files = list((ours().folder / "errata").glob("*.toml"))
    assert len(errata.corrections(ours())) == len(files)


def test_the_example_for_readers_is_a_correction(tmp_path):
    example = (ours().folder / "errata/README.md").read_text("utf-8").split("```toml\n")[1].split("```")[0]
    assert errata.read(written(tmp_path, example), ours()).exercise.number == "4.6.1"


def test_an_empty_list_says_so():
    assert "No correction has been sent yet" in pages.errata_page(ours(), [], "en")
