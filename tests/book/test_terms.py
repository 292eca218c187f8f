"""Terms: the first use on a page leads to what the term means, and nothing else of the text changes."""

from __future__ import annotations

import json

import pytest

from mlplab.answers import ours
from mlplab.answers.glossary import Term, read
from mlplab.errors import BookError
from mlplab.pages import pandoc, terms

TERMS = {
    "weight": Term("weight", "weight", "A number that is learned."),
    "weight-decay": Term("weight-decay", "weight decay", "A penalty.", ("L2 penalty",)),
}


def links(parts, held, language="en"):
    """The links of some texts: what they lead to, and what they say."""
    _, sections = pandoc.parse(parts, language)
    made, used = terms.linked(sections, held, language)
    found = []

    def walk(value):
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            if value.get("t") == "Link":
                words = value["c"][1]
                found.append((value["c"][2][0], "".join(word.get("c", " ") for word in words)))
            walk(value.get("c"))

    walk([made[name] for name in made])
    return found, used


def test_the_first_use_of_a_term_is_a_link_and_the_longest_term_wins():
    found, used = links({"short": "Weight decay, a *weight* and weight decay."}, TERMS)
    assert found == [("glossary.html#weight-decay", "Weight decay"), ("glossary.html#weight", "weight")]
    assert used == ["weight-decay", "weight"]


def test_a_term_is_a_whole_word_or_its_plural():
    assert links({"short": "Weights, unweighted."}, TERMS)[0] == [("glossary.html#weight", "Weights")]
    assert links({"short": "unweighted weightless"}, TERMS)[0] == []


def test_another_word_for_a_term_leads_to_it():
    assert links({"why": "An L2\npenalty."}, TERMS)[0] == [("glossary.html#weight-decay", "L2 penalty")]


def test_formulas_programs_links_and_references_are_left_alone():
    text = "`weight` $weight$ [weight](4.1.1.html)\n\n```\nweight\n```"
    assert links({"why": text}, TERMS)[0] == [("4.1.1.html", "weight")]
    assert links({"references": "On weight decay."}, TERMS) == ([], [])


def test_terms_are_found_within_chinese_sentences():
    held = {"dropout": Term("dropout", "暂退法", "随机置零。")}
    assert links({"short": "这里暂退法有用。"}, held, "zh")[0] == [("glossary.html#dropout", "暂退法")]


def test_a_text_without_terms_is_the_same():
    _, sections = pandoc.parse({"short": "Nothing *of* that, [x](y)."}, "en")
    assert terms.linked(sections, TERMS, "en") == (sections, [])


def test_both_glossaries_explain_the_same_terms():
    glossaries = [ours().glossary(language) for language in ours().languages]
    assert len(glossaries[0]) > 30
    assert {frozenset(held) for held in glossaries} == {frozenset(glossaries[0])}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[a]\nterm = 'x'\n", r"a\.means must be a text"),
        ("a = 'x'\n", "a must be a table"),
        ("[a]\nterm = 'x'\nmeans = 'y'\nalso = 'z'\n", r"a\.also must be a list"),
        ("[a]\nterm = 'x'\nmeans = 'y'\nsee = 'z'\n", r"a\.see is not known"),
        ("[a]\nterm = 'x'\nmeans = 'y'\n[b]\nterm = 'X'\nmeans = 'z'\n", "one of a"),
    ],
)
def test_what_is_wrong_in_a_glossary_is_named_with_file_and_key(tmp_path, content, said):
    path = tmp_path / "glossary.en.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(BookError, match=said) as raised:
        read(path)
    assert "glossary.en.toml" in str(raised.value)


def test_a_book_links_its_terms_to_their_labels():
    version, sections = pandoc.parse({"why": "Weight decay."}, "en")
    made, _ = terms.linked(sections, TERMS, "en")
    (typst,) = pandoc.to_typst(version, [made])
    assert "<term-weight-decay>" in typst["why"]
    (html,) = pandoc.to_html(version, [made])
    assert 'href="glossary.html#weight-decay" class="term"' in html["why"]
    assert json.dumps(made)
