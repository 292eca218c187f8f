"""Are two formulas the same function? Points at high precision refute; computer algebra proves.

A pair that differs at a point is refuted there, at the simplest such point. A pair that agrees at all of them is proved
equal where SymPy can within a time limit, side by side of each kink; else it is equal as far as was tried.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

import mpmath
import sympy as sp

from mlplab.rng import Stream

Assumption = Literal["real", "positive", "integer"]
Answer = Literal["proved", "agrees", "differs", "undecided"]
DIGITS = 40  # of the arithmetic
EQUAL = mpmath.mpf(10) ** -25  # relative: what is left of 40 digits after cancellation
# From simple to odd, kinks and branches among them; what is found first is the smallest counterexample.
SIMPLE = (0, 1, -1, 2, -2, sp.Rational(1, 2), -sp.Rational(1, 2), 3, -3, 10, -10)
NUM_RANDOM = 20
TIME_LIMIT = 10.0  # seconds for the proof
TOO_MANY = 400  # points
ENOUGH = 5  # points at which two formulas agree by no accident
SLOW = 1.0  # seconds for one value: a tower of exponentials has more digits than there is time


@dataclass(frozen=True)
class Comparison:
    """What was found of two formulas.

    Arguments:
      answer: `proved` equal; `agrees` at all points that were tried; `differs` at `point`; or `undecided`.
      point: values of the symbols at which they differ; of equal ones, where the first is not defined, if anywhere.
      first, second: their values there.
      num_points: at how many they were compared.
    """

    answer: Answer
    point: Mapping[str, Any] | None = None
    first: str = ""
    second: str = ""
    num_points: int = 0


def symbols(assumptions: Mapping[str, Assumption]) -> dict[str, sp.Symbol]:
    """SymPy's symbols by name; a whole number and a positive one are real, too."""
    return {name: sp.Symbol(name, **{kind: True}) for name, kind in assumptions.items()}


def compare(first: sp.Expr, second: sp.Expr, assumptions: Mapping[str, Assumption]) -> Comparison:
    """Compares two expressions in `symbols(assumptions)`, for all values that these allow.

    Where the second one has no finite real value, as at a pole, the first is not asked for one. A first one that
    is not defined at a few points, as w/|w| at 0, is equal elsewhere, and the first such point is told.
    """
    held = symbols(assumptions)
    num_points, holes = 0, []
    for point in _points(assumptions):
        values = {held[name]: value for name, value in point.items()}
        expected = _value(second, values)
        if expected is None:
            continue
        found = _value(first, values)
        if found is None:
            holes.append((point, expected))
        elif abs(found - expected) > EQUAL * (1 + abs(expected)):
            return Comparison("differs", point, _told(found), _told(expected), num_points)
        else:
            num_points += 1
    if len(holes) > num_points:
        point, expected = holes[0]
        return Comparison("differs", point, _told(None), _told(expected), num_points)
    hole = holes[0][0] if holes else None
    if num_points and _is_proved(first - second, list(held.values())):
        return Comparison("proved", hole, num_points=num_points)
    return Comparison("agrees" if num_points >= ENOUGH else "undecided", hole, num_points=num_points)


def _points(assumptions: Mapping[str, Assumption]) -> Iterator[dict[str, Any]]:
    names = list(assumptions)
    if not names:
        yield {}
        return
    allowed = [[value for value in SIMPLE if _is_allowed(value, assumptions[name])] for name in names]
    # All symbols at simple values; those nearest to the front of the list first.
    grid = itertools.product(*(list(enumerate(values)) for values in allowed))
    ordered = sorted(grid, key=lambda cell: (sum(rank for rank, _ in cell), [rank for rank, _ in cell]))
    for cell in ordered[: TOO_MANY - NUM_RANDOM]:
        yield dict(zip(names, (value for _, value in cell), strict=True))
    drawn = Stream(0, "data").normal((NUM_RANDOM, len(names)))
    for row in drawn:
        values = [sp.Rational(round(3000 * float(number)), 1000) for number in row]
        yield {
            name: sp.Integer(1 + abs(int(value))) if assumptions[name] == "integer"
            else abs(value) + sp.Rational(1, 1000) if assumptions[name] == "positive"
            else value
            for name, value in zip(names, values, strict=True)
        }  # fmt: skip


def _is_allowed(value: Any, assumption: Assumption) -> bool:
    return not (assumption == "positive" and value <= 0) and not (
        assumption == "integer" and value != int(value)
    )


def _value(expression: sp.Expr, values: Mapping[sp.Symbol, Any]) -> Any:
    """To DIGITS digits; None where it has no finite real value."""
    try:
        with limit(SLOW), mpmath.workdps(DIGITS):
            exact = sp.sympify(expression).xreplace({symbol: sp.sympify(v) for symbol, v in values.items()})
            real, imaginary = sp.N(exact, DIGITS).as_real_imag()
            number, rest = mpmath.mpf(str(real)), mpmath.mpf(str(imaginary))
    except (TypeError, ValueError, ArithmeticError, AttributeError, TimeoutError, MemoryError):
        return None
    if not mpmath.isfinite(number) or abs(rest) > EQUAL * (
        1 + abs(number)
    ):  # a zero that was not recognised is no i
        return None
    return number


def _told(value: Any) -> str:
    return "not a number" if value is None else str(mpmath.nstr(value, 8))


def _is_proved(gap: sp.Expr, held: Sequence[sp.Symbol]) -> bool:
    """On each side of 0 of each real symbol, where maxima, absolute values and signs resolve themselves."""
    sides = [_sides(symbol) for symbol in held]
    try:
        with limit(TIME_LIMIT):
            if gap == 0 or sp.simplify(gap) == 0:
                return True
            return all(
                sp.simplify(gap.xreplace(dict(case)).rewrite(sp.Piecewise).rewrite(sp.exp)) == 0
                for case in itertools.product(*sides)
            )
    except Exception:  # whatever computer algebra stumbles over proves nothing
        return False


def _sides(symbol: sp.Symbol) -> list[tuple[sp.Symbol, sp.Expr]]:
    """What to put in its place: numbers above 0, below 0, and 0."""
    if symbol.is_positive or symbol.is_integer:
        return [(symbol, symbol)]
    size = sp.Symbol(symbol.name, positive=True)
    return [(symbol, size), (symbol, -size), (symbol, sp.Integer(0))]


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError after that time; in a thread other than the main one there is no limit."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except ValueError:
        yield
        return
    left = signal.setitimer(signal.ITIMER_REAL, seconds)[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)
