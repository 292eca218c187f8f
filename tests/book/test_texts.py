"""A text is parted at its headings, and one that lacks any is refused."""

from __future__ import annotations

import pytest

from mlplab.errors import InvalidInput
from mlplab.inquiry.texts import PARTS, render, sections

from . import cases

FRAMES = {language: cases.EXERCISE.book.frame(language) for language in cases.LANGUAGES}


def markdown(language: str, **bodies: str) -> str:
    heads = FRAMES[language].group("headings")
    return "".join(f"## {heads[name]}\n{bodies.get(name, name)}\n\n" for name in PARTS)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_section_is_found_under_its_heading(language):
    assert sections(markdown(language), FRAMES[language]) == {name: name for name in PARTS}


def test_deeper_headings_and_inner_lines_belong_to_their_section():
    body = "one\n\n### Deeper\n#hash ## not a heading"
    assert sections(markdown("en", why=body), FRAMES["en"])["why"] == body


BROKEN = {
    "a heading is missing": lambda text: text.replace("## Limits\n", ""),
    "a heading is unknown": lambda text: text.replace("## Limits\n", "## Limit\n"),
    "two are swapped": lambda text: (
        text.replace("## Why", "## X").replace("## Limits", "## Why").replace("## X", "## Limits")
    ),
    "one stands twice": lambda text: text + "## Why\nagain\n",
    "something stands before": lambda text: f"Hello.\n{text}",
    "it is empty": lambda text: "",
    "it is in the other language": lambda text: markdown("zh"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_text_is_refused_where(broken):
    with pytest.raises(InvalidInput, match="must have the headings Question, Short answer, Why"):
        sections(broken(markdown("en")), FRAMES["en"])


@pytest.mark.parametrize(
    ("verdict", "said"), [("holds", "It costs"), ("fails", "Not shown"), ("undecided", "Not shown")]
)
def test_the_verdict_chooses_the_sentence(verdict, said):
    made = cases.inquiry(verdicts={"decay-raises-training-loss": verdict})
    text = render(made, "en")
    assert said in text["short"]
    assert "6 seeds" in text["why"]
