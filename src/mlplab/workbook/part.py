"""What an exercise takes from a reader: its parts, each of a kind, each judged by a claim of the published answer.

A part lies in `parts.py` of the exercise's folder, `PARTS = (Part(...), ...)`; what it asks, its hints and what is said
of known mistakes are words of the exercise: `parts.NAME.asks`, `hints.NAME.1`, `mistakes.NAME`.

Nothing here loads torch: `mlplab start` answers at once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from mlplab.workbook.formulas import Assumption


@dataclass(frozen=True)
class Difference:
    """Where two answers part.

    Arguments:
      at: the smallest input that was found, in words; empty where there is none.
      yours, ours: what each gives there.
    """

    at: str
    yours: str
    ours: str


class Unreadable(InvalidInput):
    """What was handed in is not of the kind that the part takes: neither right nor wrong."""


class Kind(Protocol):
    """How an answer is written, read and compared."""

    def stub(self, name: str, words: Callable[[str], str]) -> str:
        """The lines that stand in a new file; `words` says what an argument is."""
        ...

    def read(self, name: str, given: Any) -> Any:
        """The answer. Raises Unreadable for what is not of this kind."""
        ...

    def difference(self, given: Any, ours: Any) -> Difference | None:
        """Where it parts from another answer; None where it does not, as far as was tried."""
        ...


@dataclass(frozen=True)
class Formula:
    """An expression, as LaTeX or text.

    Arguments:
      symbols: name -> `real`, `positive` or `integer`.
    """

    symbols: Mapping[str, Assumption]

    def stub(self, name: str, words: Callable[[str], str]) -> str:
        return f"{name} = ...  # {words('formula')} {', '.join(self.symbols)}\n"

    def read(self, name: str, given: Any) -> Any:
        from mlplab.workbook import formula_text, formulas

        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        try:
            if type(given).__module__.startswith("sympy."):
                return self._of_sympy(given)
            text: Any = repr(given) if is_number else given
            return formula_text.read(text, formulas.symbols(self.symbols))
        except InvalidInput as error:
            raise Unreadable(name, "must be a formula that can be read", given, str(error)) from error

    def _of_sympy(self, given: Any) -> Any:
        """An expression whose symbols have other assumptions, or none: they are ours by their names."""
        from mlplab.workbook import formulas

        held = formulas.symbols(self.symbols)
        for symbol in given.free_symbols:
            if symbol.name not in held:
                known = ", ".join(held)
                raise InvalidInput("the formula", f"must be one in {known}", symbol.name)
        return given.xreplace({symbol: held[symbol.name] for symbol in given.free_symbols})

    def difference(self, given: Any, ours: Any) -> Difference | None:
        from mlplab.workbook import formulas

        found = formulas.compare(given, ours, self.symbols)
        if found.answer != "differs":
            return None
        at = ", ".join(f"{name} = {value}" for name, value in (found.point or {}).items())
        return Difference(at, found.first, found.second)


@dataclass(frozen=True)
class Number:
    """A number with its unit.

    Arguments:
      unit: what it counts: "bytes", "%".
      tolerance: relative.
      whole: whether it counts things.
    """

    unit: str = ""
    tolerance: float = 1e-6
    whole: bool = False

    def stub(self, name: str, words: Callable[[str], str]) -> str:
        unit = f", {words('unit')} {self.unit}" if self.unit else ""
        return f"{name} = ...  # {words('whole' if self.whole else 'number')}{unit}\n"

    def read(self, name: str, given: Any) -> float:
        if isinstance(given, str):
            given = given.replace(",", "").replace("\N{MINUS SIGN}", "-").strip()
            given = given.removesuffix(self.unit).strip() if self.unit else given
        try:
            number = float(given)
        except (TypeError, ValueError) as error:
            raise Unreadable(name, "must be a number", given) from error
        if isinstance(given, bool) or not math.isfinite(number):
            raise Unreadable(name, "must be a finite number", given)
        if self.whole and number != round(number):
            raise Unreadable(name, "must be a whole number", given)
        return number

    def difference(self, given: float, ours: float) -> Difference | None:
        if abs(given - ours) <= self.tolerance * max(abs(ours), 1e-300):
            return None
        return Difference("", _told(given), _told(ours))


@dataclass(frozen=True)
class Function:
    """A function, or anything else that can be called.

    Arguments:
      arguments: their names, in order.
      tries: inputs, each a tuple of arguments, from the smallest to the largest: the first at which it parts from
        ours is the counterexample. Made anew for each run, so that one that is changed spoils no other.
      tolerance: absolute and relative.
      seed: number that the last inputs are drawn from: a teacher's own is hidden from whoever reads this file.
    """

    arguments: tuple[str, ...]
    tries: Callable[[int], Iterable[tuple[Any, ...]]]
    tolerance: float = 1e-9

    def stub(self, name: str, words: Callable[[str], str]) -> str:
        lines = [f"    {argument}: {words(argument)}" for argument in self.arguments]
        told = "\n".join([*lines, f"    {words('returns')}"])
        return f'def {name}({", ".join(self.arguments)}):\n    """\n{told}\n    """\n    ...\n'

    def read(self, name: str, given: Any) -> Any:
        if not callable(given):
            raise Unreadable(name, f"must be a function of {', '.join(self.arguments)}", given)
        try:
            inspect.signature(given).bind(*self.arguments)
        except TypeError as error:
            rule = f"must take {len(self.arguments)} arguments: {', '.join(self.arguments)}"
            raise Unreadable(name, rule, str(inspect.signature(given))) from error
        except ValueError:  # a function of another language says nothing of its arguments
            pass
        return given

    def difference(self, given: Any, ours: Any, seed: int = 0) -> Difference | None:
        for one, same, kept in zip(self.tries(seed), self.tries(seed), self.tries(seed), strict=True):
            at = ", ".join(
                f"{name} = {_told(value)}" for name, value in zip(self.arguments, kept, strict=True)
            )
            expected = ours(*same)
            found = given(*one)
            if (changed := _first_changed(one, kept)) is not None:
                return Difference(at, f"{self.arguments[changed]} is changed in place", _told(expected))
            if not _is_close(found, expected, self.tolerance):
                return Difference(at, _told_beside(found, expected), _told_beside(expected, found))
        return None


@dataclass(frozen=True)
class Choice:
    """One of several statements; their words stand at `options.PART.NAME`.

    Arguments:
      options: their names, as the reader writes them.
      reasons: names of reasons of which one is to be given, too; empty where none is asked for.
    """

    options: tuple[str, ...]
    reasons: tuple[str, ...] = ()

    def stub(self, name: str, words: Callable[[str], str]) -> str:
        lines = [f"#   {option}: {words(option)}" for option in self.options]
        if self.reasons:
            lines += [f"# {words('because')}", *(f"#   {reason}: {words(reason)}" for reason in self.reasons)]
            return "\n".join([*lines, f"{name} = ..., ...", ""])
        return "\n".join([*lines, f"{name} = ...", ""])

    def read(self, name: str, given: Any) -> tuple[str, ...]:
        answer = given if isinstance(given, tuple | list) else (given,)
        wanted = [self.options, *([self.reasons] if self.reasons else [])]
        if len(answer) != len(wanted):
            rule = "must be a statement and a reason" if self.reasons else "must be one statement"
            raise Unreadable(name, rule, given)
        for one, known in zip(answer, wanted, strict=True):
            if one not in known:
                raise Unreadable(name, f"must be one of {', '.join(known)}", one)
        return tuple(answer)

    def difference(self, given: tuple[str, ...], ours: tuple[str, ...]) -> Difference | None:
        return None if given == ours else Difference("", ", ".join(given), "")


@dataclass(frozen=True)
class Value:
    """A construction: numbers, matrices, a network. Its claim alone says whether it does what was asked."""

    about: str = ""

    def stub(self, name: str, words: Callable[[str], str]) -> str:
        return f"{name} = ...  # {words('value')}\n"

    def read(self, name: str, given: Any) -> Any:
        return given

    def difference(self, given: Any, ours: Any) -> Difference | None:
        return None


@dataclass(frozen=True)
class Prediction:
    """What an experiment will show, said before it is looked up: "more", "less" or "same", and how sure, 50 to 100 %.

    `same` is a difference that does not matter: below the claim's margin.
    """

    def stub(self, name: str, words: Callable[[str], str]) -> str:
        return f"# {words('prediction')}\n{name} = ..., ...\n"

    def read(self, name: str, given: Any) -> tuple[str, float]:
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise Unreadable(name, 'must be two things, as ("more", 80)', given)
        direction, sure = given
        if direction not in ("more", "less", "same"):
            raise Unreadable(name, "must be more, less or same", direction)
        try:
            sure = float(sure)
        except (TypeError, ValueError) as error:
            raise Unreadable(name, "must say how sure, a number from 50 to 100", sure) from error
        if not 50 <= sure <= 100:
            raise Unreadable(name, "must say how sure, from 50 to 100 %", sure, "Below 50, say the opposite")
        return direction, sure

    def difference(self, given: tuple[str, float], ours: Any) -> Difference | None:
        return None if given[0] == ours[0] else Difference("", given[0], ours[0])


@dataclass(frozen=True)
class Wrong:
    """An answer that is known to be wrong, and the mistake that it makes: `mistakes.NAME` says it to the reader."""

    answer: Any
    mistake: str = ""


@dataclass(frozen=True)
class Part:
    """One thing that is handed in.

    Arguments:
      name: as it is called in the reader's file.
      kind: how it is written.
      claim: name of the claim of the answer whose check judges it.
      ours: our own answer, as a reader would write it.
      subject: from what was read to what the claim's check takes.
      is_unique: whether every right answer equals ours. Else only the claim's check decides.
      right: the same answer, written otherwise.
      wrong: answers that must be refuted.
    """

    name: str
    kind: Kind
    claim: str
    ours: Any
    subject: Callable[[Any], Any] | None = None
    is_unique: bool = True
    right: Sequence[Any] = ()
    wrong: Sequence[Wrong] = field(default_factory=tuple)


def _first_changed(now: tuple[Any, ...], before: tuple[Any, ...]) -> int | None:
    for place, (one, other) in enumerate(zip(now, before, strict=True)):
        if isinstance(other, np.ndarray) and not np.array_equal(one, other, equal_nan=True):
            return place
    return None


def _is_close(found: Any, expected: Any, tolerance: float) -> bool:
    if found is None or isinstance(expected, bool | np.bool_):
        return bool(found == expected) if found is not None else False
    try:
        one, other = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        return False
    if one.shape != other.shape:
        return False
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True))


def _told(value: Any) -> str:
    """A value as a person writes it, short."""
    if isinstance(value, np.ndarray) or type(value).__module__.startswith("torch"):
        value = np.asarray(value)
        text = np.array2string(value, precision=4, separator=", ", threshold=8, edgeitems=2)
        return " ".join(text.split())
    if isinstance(value, float | np.floating):
        return f"{float(value):.7g}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _told_beside(value: Any, other: Any) -> str:
    """A value; with its shape where that is what differs."""
    if value is None:
        return "nothing: it has no return"
    shapes = [np.shape(one) for one in (value, other) if other is not None]
    if len(shapes) == 2 and shapes[0] != shapes[1]:
        return f"shape {shapes[0]}: {_told(value)}"
    return _told(value)
