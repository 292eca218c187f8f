"""Activation functions: formula, derivative, kinks, limits, and what PyTorch returns there.

SymPy derives derivative, one-sided slopes and limits from the formula, and PyTorch is asked for its own values; where
the two disagree, the table says so. A function that is not in the catalogue is examined by its values alone.

Source: Clarke 1983, Optimization and nonsmooth analysis (at a kink, any slope between the one-sided ones is a
generalised gradient).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import sympy as sp
import torch
from torch import nn

from mlplab.analysis import activation_figure
from mlplab.analysis.activation_formulas import (
    CONSTANTS,
    FORMULAS,
    SYMBOLS,
    at_point,
    bind,
    derivative,
    latex,
    limits,
    on_grid,
    one_sided,
    written,
)
from mlplab.analysis.elementwise import (
    REACH,
    Elementwise,
    Options,
    find_jumps,
    in_float32,
    resolve,
    value_and_slope,
)
from mlplab.errors import InvalidInput
from mlplab.spec import Activation

if TYPE_CHECKING:
    import altair

FLOAT32_MAX = torch.finfo(torch.float32).max
EXTREMES = (100.0, FLOAT32_MAX)


@dataclass(frozen=True)
class Point:
    """One input in float32: the exact value and one-sided slopes, and what PyTorch returns.

    At infinity the exact ones are limits; at NaN the value is NaN and there is no slope. They are None for a function
    without a formula. PyTorch is asked twice: for a row of 64 equal numbers (`torch_value`, `torch_slope`), where it
    uses vector instructions, and for the number alone.
    """

    where: str  # "kink", "jump", "zero", "large", "infinity" or "nan"
    x: float
    value: float | None
    left_slope: float | None
    right_slope: float | None
    torch_value: float
    torch_slope: float
    alone_value: float
    alone_slope: float

    @property
    def agrees(self) -> bool | None:
        """Whether PyTorch's values are right to 1e-5, and its slopes too: at a kink, between the one-sided ones."""
        if self.value is None:
            return None
        if not (_close(self.torch_value, self.value) and _close(self.alone_value, self.value)):
            return False
        if self.left_slope is None or self.right_slope is None:
            return True
        low, high = sorted((self.left_slope, self.right_slope))
        slack = 1e-5 * max(1.0, abs(low), abs(high))
        return all(low - slack <= slope <= high + slack for slope in (self.torch_slope, self.alone_slope))

    @property
    def same_alone(self) -> bool:
        """Whether PyTorch returns the same for the number alone as for a row of it, to 1e-5."""
        pairs = (self.torch_value, self.alone_value), (self.torch_slope, self.alone_slope)
        return all(_close(row, alone) for row, alone in pairs)


@dataclass(frozen=True)
class ActivationFacts:
    """What is known of one activation function.

    `formula` and `derivative` are in the symbols x, alpha and a (the slope below 0); `kinks` are where the left and
    right slopes differ, `jumps` where the values do; `limits`, of value and slope at -infinity and infinity. Without a
    formula (a function that is not in the catalogue) these are None, and kinks and jumps were found from PyTorch's
    values on [-30, 30].
    """

    name: str
    options: Options
    formula: str | None
    derivative: str | None
    latex: str | None
    derivative_latex: str | None
    parameter_derivatives: dict[str, str]
    limits: dict[str, str] | None
    kinks: tuple[float, ...]
    jumps: tuple[float, ...]
    points: tuple[Point, ...]
    value_error: float | None  # largest |formula - PyTorch| on [-30, 30] in float64
    slope_error: float  # the same of the derivative; without a formula, against central differences
    function: Elementwise

    def table(self) -> pd.DataFrame:
        """A row for each kink, jump, zero, large, infinite input and NaN: exact, and as PyTorch has it in float32."""
        names = [*Point.__dataclass_fields__, "same_alone", "agrees"]
        rows = [[getattr(point, name) for name in names] for point in self.points]
        return pd.DataFrame(rows, columns=names)

    def curve(self, low: float = -4.0, high: float = 4.0) -> pd.DataFrame:
        """Points to draw: x, y and what they are; `piece` counts the stretches between kinks and jumps.

        Raises InvalidInput unless low < high, both finite.
        """
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InvalidInput("curve", "needs a finite low below high", (low, high))
        breaks = [x for x in sorted({*self.kinks, *self.jumps}) if low < x < high]
        frames = []
        for index, (start, end) in enumerate(zip([low, *breaks], [*breaks, high], strict=True)):
            x = np.linspace(start, end, 81)
            # Just inside a piece: at its ends PyTorch gives the slope of either side.
            inside = np.clip(x, start + 1e-9, end - 1e-9)
            for quantity, y in zip(
                activation_figure.QUANTITIES, value_and_slope(self.function, inside), strict=True
            ):
                frames.append(pd.DataFrame({"x": x, "y": y, "quantity": quantity, "piece": index}))
        return pd.concat(frames, ignore_index=True).assign(activation=self.name)

    def plot(self) -> altair.Chart:
        """The function and its derivative; a line is broken where it jumps."""
        reach = max([4.0, *(abs(x) + 2 for x in (*self.kinks, *self.jumps))])
        return activation_figure.single(self.curve(-reach, reach), title=f"{self.name} and its derivative")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; what is not finite is written as a string."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "function"}
        rows = cast("list[dict[str, Any]]", self.table().to_dict("records"))
        fields["points"] = [{str(key): _plain(value) for key, value in row.items()} for row in rows]
        return fields | {"kinks": list(self.kinks), "jumps": list(self.jumps)}


@dataclass(frozen=True)
class Catalogue:
    """Several activation functions side by side."""

    facts: tuple[ActivationFacts, ...]

    def table(self) -> pd.DataFrame:
        """A row for each: formula, derivative, kinks with PyTorch's slope there, limits, where PyTorch differs."""
        return pd.DataFrame([_summary(facts) for facts in self.facts])

    def plot(self, *, columns: int = 4) -> altair.FacetChart:
        """Each function and its derivative in a panel of its own, on [-4, 4]."""
        rows = pd.concat([facts.curve() for facts in self.facts], ignore_index=True)
        return activation_figure.panels(rows, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON, by name."""
        return {facts.name: facts.to_dict() for facts in self.facts}


def catalogue(names: Iterable[str] = tuple(FORMULAS)) -> Catalogue:
    """The facts of several activation functions with PyTorch's default options; all of FORMULAS unless named.

    Raises UnknownName for a name that is not in FORMULAS, InvalidInput for no name and for one given twice.
    """
    chosen = [names] if isinstance(names, str) else list(names)
    if not chosen:
        raise InvalidInput("catalogue.names", "needs at least one activation", chosen)
    if doubled := [name for name in chosen if chosen.count(name) > 1]:
        raise InvalidInput("catalogue.names", "must name each activation once", doubled[0])
    return Catalogue(tuple(examine_activation(name) for name in chosen))


def examine_activation(
    activation: str | Activation | nn.Module | Elementwise, **options: float
) -> ActivationFacts:
    """Formula, derivative, kinks and limits of an activation function, beside what PyTorch returns.

    Arguments:
      activation: a name in FORMULAS, an `Activation`, a module as `nn.ReLU()`, or any elementwise callable on tensors.
      options: of a name, as `negative_slope=0.2`.

    Raises UnknownName for a name or an option that is not known, InvalidInput for an option of a wrong value or a
    callable that is not elementwise, changes from call to call, fails, has no gradient, or gives NaN on [-30, 30].
    """
    name, values, function = resolve(activation, options)
    return _from_formula(name, values, function) if name in FORMULAS else _from_values(name, function)


def _from_formula(name: str, options: Options, function: Elementwise) -> ActivationFacts:
    pieces = FORMULAS[name]
    slopes = derivative(pieces)
    numbers = {SYMBOLS[option]: sp.Rational(repr(value)) for option, value in options.items()}
    parameters = {str(symbol): written(derivative(pieces, symbol)) for symbol in numbers}
    numbers |= CONSTANTS.get(name, {})
    exact, exact_slopes = bind(pieces, numbers), bind(slopes, numbers)
    sides = one_sided(exact_slopes)
    kinks = tuple(x for x, (left, right) in sides.items() if left != right)
    points = tuple(_exact_point(where, x, exact, exact_slopes, function) for where, x in _places(kinks, ()))
    grid = np.linspace(-REACH, REACH, 4801)
    value, slope = value_and_slope(function, grid)
    # Where pieces meet the slope is PyTorch's choice; the table shows it.
    apart = ~np.isin(grid, list(sides))
    return ActivationFacts(
        name=name, options=options, formula=written(pieces), derivative=written(slopes),
        latex=latex(pieces), derivative_latex=latex(slopes), parameter_derivatives=parameters,
        limits=limits(exact, exact_slopes), kinks=kinks, jumps=(), points=points,
        value_error=float(np.abs(value - on_grid(exact, grid)).max()),
        slope_error=float(np.abs(slope - on_grid(exact_slopes, grid))[apart].max()),
        function=function,
    )  # fmt: skip


def _exact_point(where: str, x: float, exact: Any, slopes: Any, function: Elementwise) -> Point:
    value, _ = at_point(exact, x)  # all functions of the catalogue are continuous
    left, right = (None, None) if where == "nan" else at_point(slopes, x)
    return Point(where, x, value, left, right, *in_float32(function, x))


def _from_values(name: str, function: Elementwise) -> ActivationFacts:
    jumps, kinks = find_jumps(function)
    points = tuple(
        Point(where, x, None, None, None, *in_float32(function, x)) for where, x in _places(kinks, jumps)
    )
    grid, step = np.linspace(-REACH, REACH, 4801) + math.sqrt(2) * 1e-4, 1e-5
    slope = value_and_slope(function, grid)[1]
    differences = [value_and_slope(function, grid + side * step)[0] for side in (1, -1)]
    apart = np.ones(grid.size, dtype=bool)
    for x in (*kinks, *jumps):
        apart &= np.abs(grid - x) > step
    return ActivationFacts(
        name=name, options={}, formula=None, derivative=None, latex=None, derivative_latex=None,
        parameter_derivatives={}, limits=None, kinks=kinks, jumps=jumps, points=points, value_error=None,
        slope_error=float(np.abs(slope - (differences[0] - differences[1]) / (2 * step))[apart].max()),
        function=function,
    )  # fmt: skip


def _places(kinks: tuple[float, ...], jumps: tuple[float, ...]) -> list[tuple[str, float]]:
    where = {0.0: "zero"} | dict.fromkeys(kinks, "kink") | dict.fromkeys(jumps, "jump")
    where |= {sign * x: "large" for x in EXTREMES for sign in (-1, 1)}
    where |= dict.fromkeys((-math.inf, math.inf), "infinity")
    rows = [("zero", -0.0), *((kind, x) for x, kind in where.items())]
    return [*sorted(rows, key=lambda row: (row[1], math.copysign(1, row[1]))), ("nan", math.nan)]


def _close(found: float, exact: float) -> bool:
    if math.isnan(exact) or math.isnan(found):
        return math.isnan(exact) and math.isnan(found)
    if abs(exact) > FLOAT32_MAX:  # rounds to infinity in float32
        exact = math.copysign(math.inf, exact)
    return found == exact or abs(found - exact) <= 1e-5 * max(1.0, abs(exact))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _summary(facts: ActivationFacts) -> dict[str, Any]:
    kinks = [point for point in facts.points if point.where == "kink"]
    return {
        "activation": facts.name,
        "formula": facts.formula,
        "derivative": facts.derivative,
        "kinks": "; ".join(f"{p.x:g}: {p.left_slope:.4g} | {p.right_slope:.4g}" for p in kinks),
        "torch_slope": "; ".join(f"{p.torch_slope:.4g}" for p in kinks),
        **(facts.limits or {}),
        "torch_differs_at": ", ".join(f"{p.x:.3g}" for p in facts.points if p.agrees is False),
    }
