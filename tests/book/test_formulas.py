"""Every formula of every text, as it is set: in MathML for the pages and in Typst for the printed book."""

from __future__ import annotations

import re
from functools import cache

import pytest
from torch import nn

from mlplab.analysis.equations import equations
from mlplab.answers import ours
from mlplab.errors import InvalidInput
from mlplab.pages import latex, mathml, pandoc

FORMULA = re.compile(r"(?<!\\)(?:\$\$.+?\$\$|\$[^$]+?\$)", re.DOTALL)
OPERAND = r"<(?:mi|mn|mtext|mfrac|msqrt|mover|msub|msup|msubsup|munder)\b"
FUNCTION = r'<mi mathvariant="normal">[a-zA-Z]{2,}</mi><mo>\u2061</mo></mrow>'
# Fault -> what it looks like in one formula.
IN_MATHML = {
    "a sign that is a letter": r"<mi[^>]*>[+−±∓]</mi>",
    "no air behind a function": rf"(?<!<msub>)(?<!<msup>)(?<!<munder>)<mrow>{FUNCTION}{OPERAND}",
    "no air before a function": rf"(?:</mi>|</mn>|</mfrac>|</msub>|</msup>)<mrow>{FUNCTION}",
    "a function spelt out in letters": r'(?:<mi mathvariant="normal">[a-z]</mi>){2,}</mrow><mo[^>]*>\(',
}
IN_TYPST = {
    "a bar that neither opens nor closes": r"parallel|\\\|",
    "a bracket made large as a picture": r"#scale",
    "a base raised twice": r"\^(?:\([^()]*(?:\\[()][^()]*)*\)|\w+)\^",
    "a function spelt out in letters": r"(?<![_^(])upright\([a-z] [a-z]",
    "a function set as words": r'(?<!\()"[A-Za-z]+"',
}


def bars(made: str) -> list[str]:
    return re.findall(r'<mo[^>]*form="(\w+)"[^>]*>[|‖∥]</mo>', made)


def faults(made: str, kinds: dict[str, str]) -> set[str]:
    """What is wrong with formulas that are set."""
    found = {kind for kind, look in kinds.items() if re.search(look, made)}
    if bars(made)[::2].count("postfix") or bars(made)[1::2].count("prefix"):
        found.add("a bar that opens where it should close")
    return found


@cache
def formulas() -> list[str]:
    """Those that stand in texts, and those that a program derives for one; numbers are filled in."""
    texts = sorted(file.read_text("utf-8") for file in ours().folder.glob("4.*/text.*.md"))
    plain = (re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "7", text, flags=re.DOTALL) for text in texts)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
    derived = equations(network, weight_decay=0.1, num_examples=1)
    lines = [f"$${line}$$" for line in (*derived.legend, *(e.latex for e in derived.equations))]
    return list(dict.fromkeys([*(found for text in plain for found in FORMULA.findall(text)), *lines]))


@cache
def set_formulas() -> list[tuple[str, str, str]]:
    """LaTeX, HTML and Typst of each."""
    held = {f"f{index}": formula for index, formula in enumerate(formulas())}
    version, parts = pandoc.parse(held, "en")
    (html,), (typst,) = pandoc.to_html(version, [parts]), pandoc.to_typst(version, [parts])
    unspoken = {name: re.sub(r'alt: ".*?(?<!\\)"', "", made) for name, made in typst.items()}
    return [(formula, html[name], unspoken[name]) for name, formula in held.items()]


def test_the_texts_hold_formulas_of_every_kind_that_could_go_wrong():
    held = "".join(formulas())
    assert all(sign in held for sign in (r"\|", "|", r"\mathrm", r"\log", r"\bigl", r"}^\top"))
    assert len(formulas()) > 300


def test_every_formula_of_the_pages_has_signs_bars_and_air():
    wrong = {formula: kinds for formula, html, _ in set_formulas() if (kinds := faults(html, IN_MATHML))}
    assert wrong == {}


def test_every_formula_of_the_printed_book_has_norms_functions_and_one_exponent_a_base():
    wrong = {formula: kinds for formula, _, typst in set_formulas() if (kinds := faults(typst, IN_TYPST))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (r"\|W_1\|_F^2 + \|b\|", r"\lVert W_1\rVert _F^2 + \lVert b\rVert "),
        (r"\frac{|x|}{|y| + \lvert z \rvert}", r"\frac{\left|x\right|}{\left|y\right| + \left| z \right|}"),
        (r"\left|x\right| + \bigl\| y \bigr\|", r"\left|x\right| + \left\| y \right\|"),
        (r"P(y \mid x)", r"P(y \mid x)"),
        (r"{\mathbf{W}^{(2)}}^\top x^2", r"\mathbf{W}^{(2)\top} x^2"),
        (r"\frac{a}{\mathrm{tr}(A)} n_{\mathrm{in}}", r"\frac{a}{\operatorname{tr}(A)} n_{\mathrm{in}}"),
        (r"2\,\mathrm{relu}(x)\,\mathrm{d}x", r"2\operatorname{relu}(x)\,\mathrm{d}x"),
    ],
)
def test_what_authors_write_is_said_in_the_one_way_that_every_form_sets(formula, expected):
    assert latex.normal(formula) == expected
    assert latex.normal(expected) == expected


def test_a_bar_that_nothing_closes_stops_the_book_and_is_told_how_to_say_given():
    with pytest.raises(InvalidInput, match=r"P\(y\|x\).*mid"):
        pandoc.parse({"short": "So $P(y|x)$."}, "en")


def test_a_function_has_air_towards_operands_and_none_towards_brackets_and_operators():
    log = '<mrow><mi mathvariant="normal">log</mi><mo>\u2061</mo></mrow>'
    air = '<mspace width="0.167em"></mspace>'
    x, minus, open_ = "<mi>x</mi>", "<mo>−</mo>", '<mo form="prefix">(</mo>'
    assert mathml.mended(x + log + x) == x + air + log + air + x
    assert mathml.mended(minus + log + open_) == minus + log + open_
    assert mathml.mended("<mi>−</mi>" + x) == '<mo form="prefix">−</mo>' + x
