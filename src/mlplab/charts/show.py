"""Numbers as people read them. Sentences and tables share these, so that a number looks the same everywhere."""

from __future__ import annotations

import math
from functools import partial
from typing import Protocol

MINUS, UNBOUNDED = "\N{MINUS SIGN}", "\N{INFINITY}"


class _HasInterval(Protocol):
    @property
    def estimate(self) -> float: ...
    @property
    def ci_low(self) -> float | None: ...
    @property
    def ci_high(self) -> float | None: ...


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits, with a proper minus sign; powers of ten beyond 10^6 and below 10^-3."""
    if value is None:
        return UNBOUNDED
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(value).replace("inf", UNBOUNDED).replace("-", MINUS)
    if 1e-3 <= abs(value) < 1e6:
        text = f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
        return (f"{float(text):.10f}".rstrip("0").rstrip(".") if "e" in text else text).replace("-", MINUS)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}·10{_superscript(int(exponent))}".replace("-", MINUS)


def percent(value: float | None, decimals: int = 2) -> str:
    """A share in per cent, without the sign: 0.8712 is 87.12."""
    if value is None:
        return UNBOUNDED
    text = f"{100 * value:.{decimals}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", MINUS)


def points(value: float | None, decimals: int = 2) -> str:
    """A difference of shares in percentage points, with its sign: -0.0004 is −0.04."""
    if value is None:
        return UNBOUNDED
    text = f"{100 * value:+.{decimals}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", MINUS)


def ratio(log: float | None, base: float = math.e) -> str:
    """A difference of logarithms as what it is, a ratio: a natural one of 1.05 is ×2.86."""
    if log is None or log * math.log(base) > 700:  # e^710 is no float
        return UNBOUNDED
    return f"×{number(math.exp(log * math.log(base)))}"


def percent_interval(of: _HasInterval) -> str:
    """87.12 [86.98, 87.26]."""
    return f"{percent(of.estimate)} {_bracket(percent, of)}"


def points_interval(of: _HasInterval) -> str:
    """−0.04 [−0.11, +0.03]."""
    return f"{points(of.estimate)} {_bracket(points, of)}"


def number_interval(of: _HasInterval) -> str:
    """0.431 [0.402, 0.46]."""
    return f"{number(of.estimate)} {_bracket(number, of)}"


def ratio_interval(of: _HasInterval, base: float = math.e) -> str:
    """×2.86 [×2.12, ×3.86], of logarithms to a base; without an end it begins at ×0."""
    form = partial(ratio, base=base)
    return f"{form(of.estimate)} [{'×0' if of.ci_low is None else form(of.ci_low)}, {form(of.ci_high)}]"


def level(prob: float) -> str:
    """The level of an interval: 95%, 99.2%."""
    return f"{100 * prob:.3g}%"


def stacked(text: str) -> str:
    """An estimate above its interval, for tables of many columns."""
    return text.replace(" [", "\n[")


def _bracket(form, of: _HasInterval) -> str:
    low = f"{MINUS}{UNBOUNDED}" if of.ci_low is None else form(of.ci_low)
    return f"[{low}, {form(of.ci_high)}]"


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
