"""Formulas that write themselves as LaTeX and compute themselves, so that the one cannot differ from the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    Values = Mapping[str, Float[np.ndarray, "row column"]]


@dataclass(frozen=True)
class Formula:
    """A matrix-valued expression. `binds` says how tightly: 2 an atom, 1 a product, 0 a sum."""

    latex: str
    value: Callable[[Values], Float[np.ndarray, "row column"]]
    binds: int = 2

    def __matmul__(self, other: Formula) -> Formula:
        return Formula(f"{self.within(1)} {other.within(1)}", lambda v: self.value(v) @ other.value(v), 1)

    def __add__(self, other: Formula) -> Formula:
        return Formula(f"{self.latex} + {other.latex}", lambda v: self.value(v) + other.value(v), 0)

    def __sub__(self, other: Formula) -> Formula:
        return Formula(f"{self.latex} - {other.within(1)}", lambda v: self.value(v) - other.value(v), 0)

    def __mul__(self, other: Formula) -> Formula:
        """Entry by entry."""
        latex = f"{self.within(2)} \\odot {other.within(2)}"
        return Formula(latex, lambda v: self.value(v) * other.value(v), 1)

    @property
    def T(self) -> Formula:
        """The transpose."""
        base = self.within(2)
        # TeX refuses a second superscript on the same base.
        return Formula(f"{{{base}}}^\\top" if "^" in base else f"{base}^\\top", lambda v: self.value(v).T)

    def within(self, binds: int) -> str:
        """As LaTeX, in brackets where what stands around it binds tighter."""
        return self.latex if self.binds >= binds else f"\\left({self.latex}\\right)"


def symbol(latex: str) -> Formula:
    """A named value."""
    return Formula(latex, lambda values: values[latex])


def applied(latex: str, function: Callable[[np.ndarray], np.ndarray], argument: Formula) -> Formula:
    """A function of a formula."""
    return Formula(f"{latex}\\left({argument.latex}\\right)", lambda v: function(argument.value(v)))


def scaled(latex: str, factor: float, formula: Formula) -> Formula:
    """A number times a formula."""
    return Formula(f"{latex} {formula.within(1)}", lambda v: factor * formula.value(v), 1)
