"""Numbers as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplab.charts import show
from mlplab.inquiry.texts import FILTERS


@dataclass
class Interval:
    estimate: float
    ci_low: float | None
    ci_high: float | None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.4312, "0.431"),
        (-0.4312, "−0.431"),
        (3.0, "3"),
        (0.001, "0.001"),
        (999.9, "1000"),
        (123456.7, "123457"),
        (1e6, "1.00·10⁶"),
        (-2.5e7, "−2.50·10⁷"),
        (3.2e-17, "3.20·10⁻¹⁷"),
        (0.00099, "9.90·10⁻⁴"),
        (1e-300, "1.00·10⁻³⁰⁰"),
        (None, "∞"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_a_number_is_shown_as(value, shown):
    assert show.number(value) == shown


@pytest.mark.parametrize(
    ("value", "points", "percent"),
    [
        (0.0, "0.00", "0.00"),
        (-0.0, "0.00", "0.00"),
        (-0.00001, "0.00", "0.00"),
        (0.00001, "0.00", "0.00"),
        (-0.0004, "−0.04", "−0.04"),
        (0.0004, "+0.04", "0.04"),
        (0.8712, "+87.12", "87.12"),
        (None, "∞", "∞"),
    ],
)
def test_a_share_is_shown_without_a_minus_before_nothing(value, points, percent):
    assert show.points(value) == points
    assert show.percent(value) == percent


def test_an_interval_names_its_ends_also_where_there_is_none():
    assert show.points_interval(Interval(-0.0004, -0.0011, 0.0003)) == "−0.04 [−0.11, +0.03]"
    assert show.percent_interval(Interval(0.8712, 0.8698, 0.8726)) == "87.12 [86.98, 87.26]"
    assert show.number_interval(Interval(0.431, None, None)) == "0.431 [−∞, ∞]"


@given(st.floats(-1e300, 1e300))
def test_law_a_shown_number_is_the_number_to_three_digits(value):
    text = show.number(value)
    assert "-" not in text
    plain = text.translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")).replace("·10", "e")
    assert float(plain) == pytest.approx(value, rel=5.1e-3, abs=0)


@given(st.floats(-1, 1))
def test_law_a_shown_difference_has_the_sign_of_what_it_shows(value):
    text = show.points(value)
    shown = float(text.replace("−", "-"))
    assert shown == pytest.approx(100 * value, abs=0.00501)
    assert text.startswith("+") == (shown > 0)
    assert text.startswith("−") == (shown < 0)


def test_filters_of_sentences_agree_with_tables():
    assert FILTERS["points_plain"](0.003) == "0.3"
    assert FILTERS["points_plain"](0.00123) == "0.12"
    assert FILTERS["share"]("0.07") == "7%"
    assert FILTERS["whole"](12345.0) == "12,345"
    assert FILTERS["percent_plain"](0.9566) == "95.7"
