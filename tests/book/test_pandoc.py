"""Texts become pandoc's blocks, and these become HTML: formulas as MathML, and nothing that a text did not mean."""

from __future__ import annotations

import pytest

from mlplab.errors import InvalidInput
from mlplab.pages import pandoc


def html(markdown: str, language: str = "en") -> str:
    version, parts = pandoc.parse({"a": markdown}, language)
    (text,) = pandoc.to_html(version, [parts])
    return text["a"]


def test_parts_stay_apart_and_in_their_order():
    texts = {"short": "One.", "why": "Two.\n\n### Deeper\n\n- three", "limits": ""}
    version, parts = pandoc.parse(texts, "en")
    (made,) = pandoc.to_html(version, [parts])
    assert list(made) == list(texts)
    assert made["short"] == "<p>One.</p>"
    assert "<h3>Deeper</h3>" in made["why"]
    assert made["limits"] == ""


@pytest.mark.parametrize("text", ["# Another heading", "::: {.open}\nthat nobody closes"])
def test_a_text_that_breaks_out_of_its_part_is_refused(text):
    with pytest.raises(InvalidInput, match="apart"):
        pandoc.parse({"short": text, "why": "Two."}, "en")


def test_a_formula_is_mathml_with_its_latex_as_text_alternative():
    made = html(r"So $\frac{1}{2}$ and" + "\n\n" + r"$$\sum_i x_i > 0$$")
    assert made.count("<math") == 2
    assert r'alttext="\frac{1}{2}"' in made
    assert "<annotation" not in made  # a search would find it
    assert 'display="block"' in made


def test_a_long_formula_in_a_line_scrolls_by_itself_on_a_phone():
    long = "+".join("abcdefghijklmnopq")
    made = html(f"So $x < y$ and ${long}$\n\n$${long}$$")
    assert made.count("<math") == 3
    assert made.count('<span class="long" tabindex="0"><math') == 1


def test_a_formula_that_is_none_is_named():
    with pytest.raises(InvalidInput, match="badmacro"):
        html(r"So $\badmacro{x}$.")


def test_chinese_lines_are_joined_without_a_space_and_english_ones_with_one():
    assert html("一行。\n二行。", "zh") == "<p>一行。二行。</p>"
    assert html("one\ntwo") == "<p>one two</p>"


def test_a_list_begins_where_its_first_number_stands():
    """As in 4.5.5, whose template left no empty line between a sentence and the steps behind it."""
    made = html("They differ.\n1. *One:* by 1.5.\n1. *Two:* in 1998. So.")
    assert made.startswith("<p>They differ.</p>\n<ol")
    assert made.count("<li>") == 2
    assert html("They differ by\n1.5 points.") == "<p>They differ by 1.5 points.</p>"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "<b onclick=x>", "a < b & c"])
def test_a_text_writes_no_tags_of_its_own(text):
    made = html(text)
    assert "<script" not in made
    assert "<b" not in made
