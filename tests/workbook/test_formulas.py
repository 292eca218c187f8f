"""Formulas: read as a person means them, and never called equal or different by an accident of form."""

from __future__ import annotations

import pytest
import sympy as sp

from mlplab.errors import InvalidInput
from mlplab.workbook import formulas
from mlplab.workbook.formula_text import read

REAL = {"x": "real"}


def compared(first, second, **assumptions):
    held = formulas.symbols(assumptions)
    return formulas.compare(read(first, held), read(second, held), assumptions)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (r"\frac{1}{1+e^{-x}}", "1/(1+exp(-x))"), (r"1-\tanh^2(x)", "1 - tanh(x)**2"), (r"\tanh x + 1", "tanh(x)+1"),
        (r"\tanh 2x", "tanh(2*x)"), (r"2\sigma(2x)", "2/(1+exp(-2*x))"), ("2x(1-x)", "2*x*(1-x)"), ("-x^2", "-(x**2)"),
        ("2^-x", "2**(-x)"), ("1/2x", "x/2"), ("x²", "x**2"), (r"\left(x\right) \cdot 3", "3*x"), ("1.5x", "3*x/2"),
        (r"\operatorname{sign}(x)", "sign(x)"), ("2|x|", "2*Abs(x)"), ("|x| + |x|", "2*Abs(x)"),
        ("max(0, x)", "Max(0, x)"),
        (r"x^{12}", "x**12"), ("− x", "-x"),
    ],
)  # fmt: skip
def test_a_formula_is_read_as_a_person_means_it(text, meant):
    x = formulas.symbols(REAL)["x"]
    expected = sp.sympify(meant, locals={"x": x})
    assert sp.simplify(read(text, {"x": x}) - expected) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("f(0)", "f"), ("alfa", "did you mean 'alpha'"), ("x = 2", "one expression"), ("x +", "whole"),
        ("exp(x", "whole"),
        ("x" * 3_000, "2,000 letters"), ("(" * 100 + "x" + ")" * 100, "brackets"), ("exp(x, x)", "one argument"),
        ("__import__('os')", "read"), ("", "whole"), ("x(", "whole"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_that_says_why(text, said):
    with pytest.raises(InvalidInput) as raised:
        read(text, formulas.symbols({"x": "real", "alpha": "real"}))
    assert said.casefold() in str(raised.value).casefold()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("first", "second", "assumptions"),
    [
        ("2 sigmoid(2x)", "tanh(x) + 1", REAL), ("max(0, x)", "(x + |x|)/2", REAL),
        ("sqrt(b²)", "b", {"b": "positive"}),
        ("sqrt(b²)", "|b|", {"b": "real"}), ("log(x y)", "log x + log y", {"x": "positive", "y": "positive"}),
        ("x^0.5", "sqrt(x)", {"x": "positive"}), ("sin(x)^2 + cos(x)^2", "1", REAL),
        ("tanh(x/2)", "(exp(x) - 1)/(exp(x) + 1)", REAL), ("(x^2 - 1)/(x - 1)", "x + 1", REAL),
    ],
)  # fmt: skip
def test_equal_formulas_in_other_forms_are_proved_equal(first, second, assumptions):
    assert compared(first, second, **assumptions).answer == "proved"


def test_an_assumption_decides_whether_two_formulas_are_equal():
    found = compared("sqrt(b²)", "b", b="real")
    assert (found.answer, found.point) == ("differs", {"b": -1})


@pytest.mark.parametrize(
    ("first", "second", "point"),
    [
        ("max(0, x)", "min(0, x)", {"x": 1}), ("2 sigmoid(x)", "tanh(x) + 1", {"x": 1}), ("x", "|x|", {"x": -1}),
        ("x + 1/10^20", "x", {"x": 0}), ("exp(x) 1.0000000001", "exp(x)", {"x": 0}),
    ],
)  # fmt: skip
def test_different_formulas_are_refuted_at_the_simplest_point(first, second, point):
    found = compared(first, second, x="real")
    assert (found.answer, found.point) == ("differs", point)


def test_a_zero_that_is_not_recognised_makes_no_answer_complex():
    """(-1)^x and the like aside: rounding may leave an imaginary part of 1e-40."""
    assert compared("log((1 - cos(2x))/2 + cos(x)^2 + x^2)", "log(1 + x^2)", x="real").answer in (
        "proved",
        "agrees",
    )


def test_a_formula_that_is_nowhere_defined_differs():
    assert compared("(-8)^(1/3)", "-2").answer == "differs"
    assert compared("log(-1 - x^2)", "x", x="real").second == "0.0"


def test_the_order_of_terms_changes_nothing():
    for text in ("x e^{x} 2", "2 e^{x} x", "e^{x} x 2", "2x e^{x}"):
        assert compared(text, "2*x*exp(x)", x="real").answer == "proved"


def test_a_tower_of_exponentials_ends_in_time():
    assert compared("exp(exp(exp(x)))", "exp(exp(exp(x))) + 1", x="real").answer == "differs"
