"""Texts become Typst's markup: every formula of every answer can be set, and is set with words for who sees it not."""

from __future__ import annotations

import re

import pytest

from mlplab.answers import ours
from mlplab.errors import EvidenceError
from mlplab.pages import pandoc, typefaces
from mlplab.pages.pdf import printed

pytest.importorskip("typst", reason="needs the extra: pip install 'mlplab[book]'")

LANGUAGES = ours().languages
SVG = "http://www.w3.org/2000/svg"


def typst(markdown: str, language: str = "en") -> str:
    version, parts = pandoc.parse({"a": markdown}, language)
    (made,) = pandoc.to_typst(version, [parts])
    return made["a"]


def test_a_formula_has_its_text_alternative():
    made = typst("So $x^2$ and\n\n$$\\sum_i x_i$$")
    assert '#{set math.equation(alt: "x²"); $x^2$};' in made
    assert '#{set math.equation(alt: "∑ᵢxᵢ"); $ sum_i x_i $};' in made


def test_dollars_of_a_program_are_no_formulas():
    made = typst("Run `a=$HOME` and `b=$PATH`, then $y$; it costs \\$5.")
    assert "`a=$HOME`" in made
    assert 'alt: "y"' in made
    assert made.count("math.equation") == 1


def test_a_symbol_that_typst_renamed_has_its_new_name():
    made = typst(r"$a \odot b \cap c$, but sect and dot.circle in words.")
    assert "$a dot.o b inter c$" in made
    assert "but sect and dot.circle in words" in made


def test_headings_of_a_text_are_deeper_than_those_of_its_parts():
    assert typst("### Deeper").startswith("==== Deeper")


def test_a_link_to_another_exercise_leads_to_its_label():
    assert typst("See [exercise 4.6.2](4.6.2.html).") == "See #link(<ex-4.6.2>)[exercise 4.6.2]."
    assert '#link("https://d2l.ai/4.6.2.html")' in typst("See [it](https://d2l.ai/4.6.2.html).")


# Every formula of every answer


def as_set(folder, texts: dict[str, str]) -> None:
    """Set texts by name, without the rest of the book."""
    for name, markup in texts.items():
        (folder / "texts" / name).mkdir(parents=True)
        (folder / f"texts/{name}/why.typ").write_text(markup, "utf-8")
    (folder / "fonts").mkdir()
    lines = [f'#include "texts/{name}/why.typ"' for name in texts]
    head = '#set document(title: "t")\n#set text(font: "STIX Two Math")\n'
    head += '#show math.equation: set text(font: ("STIX Two Math", "Noto Serif SC"))\n'
    (folder / "book.typ").write_text(head + "\n".join(lines), "utf-8")
    printed.compile_book(folder)


def formulas(language: str) -> dict[str, list[str]]:
    """Of all texts, whose numbers are not yet in place; a number within a formula is stood in for by 1."""
    bare = {
        n: re.sub(r"\{\{.*?\}\}", "1", re.sub(r"\{%.*?%\}", "", one.text(language)))
        for n, one in ours().exercises.items()
    }
    _, parts = pandoc.parse(bare, language)
    return {number: pandoc.formulas(blocks) for number, blocks in parts.items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_formula_of_every_answer_can_be_set(tmp_path, language):
    found = formulas(language)
    assert sum(map(len, found.values())) > 200
    version, parts = pandoc.parse(
        {number: "\n\n".join(f"$${formula}$$" for formula in held) for number, held in found.items()},
        language,
    )
    (markup,) = pandoc.to_typst(version, [parts])
    as_set(tmp_path, markup)


def test_a_formula_that_cannot_be_set_is_named_with_its_exercise(tmp_path, monkeypatch):
    monkeypatch.setattr(pandoc, "RENAMED", {"nothing": "to rename"})
    with pytest.raises(EvidenceError, match=r"4\.6\.1: unknown symbol modifier.*dot\.circle"):
        as_set(tmp_path, {"4.1.1": typst("$x$"), "4.6.1": typst(r"So $a \odot b$.")})


@pytest.mark.parametrize("missing", ["𓀀", "ꦀ"])
def test_a_letter_that_no_font_has_stops_the_book(tmp_path, missing):
    with pytest.raises(EvidenceError, match=f"4.6.1.*{missing}"):
        as_set(tmp_path, {"4.6.1": f"A letter: {missing}."})


def test_a_letter_of_a_figure_that_no_font_has_is_named_with_its_exercise(tmp_path):
    for name in ("figures", "fonts"):
        (tmp_path / name).mkdir()
    typefaces.cut_for_figures("ay", tmp_path / "fonts")
    shown = ['#set document(title: "t")']
    for number, letters in {"4.1.4": "yᵢ", "4.6.1": "a"}.items():
        drawing = (
            f'<svg xmlns="{SVG}"><text y="9" font-family="{typefaces.IN_FIGURES}">{letters}</text></svg>'
        )
        (tmp_path / "figures" / f"{number}.svg").write_text(drawing, "utf-8")
        shown.append(f'#image("figures/{number}.svg", alt: "a drawing")')
    (tmp_path / "book.typ").write_text("\n".join(shown), "utf-8")
    with pytest.raises(EvidenceError, match=r"Figure of 4\.1\.4: .*ᵢ"):
        printed.compile_book(tmp_path)
