"""Continuous piecewise linear functions of one variable, and the network that equals one.

Source: Arora, Basu, Mianjy and Mukherjee 2018, Understanding deep neural networks with rectified linear units,
ICLR, Theorem 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from mlplab.analysis.piecewise_activation import Number
from mlplab.analysis.piecewise_layers import TOLERANCE
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    import altair
    from jaxtyping import Shaped
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """A continuous function of one variable, with one or several outputs, linear on p = k + 1 pieces.

    Arguments:
      breakpoints: (k,), strictly increasing, where the slope of some output changes; k may be 0.
      values: (k, output), at the breakpoints; without any, (1, output), at 0. One output may be given as (k,).
      slopes: (k + 1, output), of the pieces from left to right; the first and the last reach to infinity.

    Numbers are float64, or `fractions.Fraction` where any is given as one. Raises InvalidInput where the shapes do
    not fit, a number is not finite, or the values do not follow the slopes (exactly, or in floats to 1e-9).
    """

    breakpoints: Shaped[np.ndarray, "k"]
    values: Shaped[np.ndarray, "k output"]
    slopes: Shaped[np.ndarray, "piece output"]

    def __post_init__(self) -> None:
        given = [np.asarray(part) for part in (self.breakpoints, self.values, self.slopes)]
        exact = any(isinstance(number, Fraction) for part in given for number in part.flat)
        knots, values, slopes = (_numbers(part, exact) for part in given)
        values, slopes = (part[:, None] if part.ndim == 1 else part for part in (values, slopes))
        if knots.ndim != 1 or values.ndim != 2 or values.shape[0] != max(len(knots), 1):
            got = f"{knots.shape} and {values.shape}"
            raise InvalidInput(
                "PiecewiseLinear.values", "needs a row for each breakpoint (one, at 0, for none)", got
            )
        if slopes.shape != (len(knots) + 1, values.shape[1]):
            raise InvalidInput(
                "PiecewiseLinear.slopes", f"needs shape {(len(knots) + 1, values.shape[1])}", slopes.shape
            )
        if not (knots[1:] > knots[:-1]).all():
            raise InvalidInput("PiecewiseLinear.breakpoints", "must be strictly increasing", list(knots))
        if len(knots) > 1:
            rise = slopes[1:-1] * np.diff(knots)[:, None]
            gap = np.abs(np.diff(values, axis=0) - rise)
            allowed = 0 if exact else 1e-9 * (np.abs(values[1:]) + np.abs(values[:-1]) + np.abs(rise))
            if (gap > allowed).any():
                raise InvalidInput(
                    "PiecewiseLinear.values", "must follow the slopes", f"a gap of {float(gap.max()):g}"
                )
        for name, part in zip(("breakpoints", "values", "slopes"), (knots, values, slopes), strict=True):
            object.__setattr__(self, name, part)

    @classmethod
    def through(
        cls, x: ArrayLike, y: ArrayLike, *, left_slope: ArrayLike, right_slope: ArrayLike
    ) -> PiecewiseLinear:
        """The function through points (x[i], y[i]), straight between them, with these slopes outside.

        A point where no output changes its slope is no breakpoint, and is left out.
        """
        given = [np.asarray(part) for part in (x, y, left_slope, right_slope)]
        exact = any(isinstance(number, Fraction) for part in given for number in part.flat)
        knots, values, left, right = (_numbers(part, exact) for part in given)
        values = values[:, None] if values.ndim == 1 else values
        if knots.ndim != 1 or not len(knots) or len(values) != len(knots):
            raise InvalidInput(
                "PiecewiseLinear.through", "needs as many y as x, and one at least", len(values)
            )
        if not (knots[1:] > knots[:-1]).all():
            raise InvalidInput("PiecewiseLinear.through", "needs x strictly increasing", list(knots))
        inner = np.diff(values, axis=0) / np.diff(knots)[:, None]
        ends = [np.broadcast_to(end, (1, values.shape[1])) for end in (left, right)]
        slopes = np.concatenate([ends[0], inner, ends[1]])
        return joined(knots, values, slopes, 0 if exact else TOLERANCE * np.abs(slopes))

    @property
    def num_pieces(self) -> int:
        return len(self.slopes)

    @property
    def out_features(self) -> int:
        return self.slopes.shape[1]

    @property
    def is_exact(self) -> bool:
        return self.slopes.dtype == object

    def __call__(self, x: ArrayLike) -> Shaped[np.ndarray, "point output"]:
        """Values at points: (point, output)."""
        points = _numbers(np.atleast_1d(np.asarray(x)), self.is_exact)
        piece = np.searchsorted(self.breakpoints, points)
        anchor = np.maximum(piece - 1, 0)
        knots = self.breakpoints if len(self.breakpoints) else np.zeros(1, dtype=int)
        return self.values[anchor] + self.slopes[piece] * (points - knots[anchor])[:, None]

    def max_difference(self, other: PiecewiseLinear) -> Number:
        """The largest |f - g| over the whole line; infinity where a slope at an end differs.

        Slopes are compared exactly if both hold fractions, in floats to 1e-9.
        """
        if self.out_features != other.out_features:
            got = (self.out_features, other.out_features)
            raise InvalidInput("PiecewiseLinear.max_difference", "needs as many outputs", got)
        allowed = 0 if self.is_exact and other.is_exact else 1e-9
        for end in (0, -1):
            gap = np.abs(self.slopes[end] - other.slopes[end])
            if (gap > allowed * (1 + np.abs(self.slopes[end]))).any():
                return float("inf")
        points = np.concatenate([self.breakpoints, other.breakpoints, [0]])
        return np.abs(self(points) - other(points)).max()

    def table(self) -> pd.DataFrame:
        """A row for each piece: where it starts and ends, and slope and intercept of each output."""
        ends = [-np.inf, *self.breakpoints, np.inf]
        rows: dict[str, Any] = {"start": ends[:-1], "end": ends[1:]}
        knots = self.breakpoints if len(self.breakpoints) else np.zeros(1, dtype=int)
        anchor = np.maximum(np.arange(self.num_pieces) - 1, 0)
        intercepts = self.values[anchor] - self.slopes * knots[anchor][:, None]
        for output in range(self.out_features):
            suffix = f"_{output}" if self.out_features > 1 else ""
            rows[f"slope{suffix}"], rows[f"intercept{suffix}"] = self.slopes[:, output], intercepts[:, output]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; fractions as text, "1/3"."""
        parts = {"breakpoints": self.breakpoints, "values": self.values, "slopes": self.slopes}
        return {"num_pieces": self.num_pieces, **{name: plain(part) for name, part in parts.items()}}

    def plot(self, *, low: float | None = None, high: float | None = None) -> altair.LayerChart:
        """The function from `low` to `high` with its breakpoints; by default a quarter beyond the outer ones."""
        from mlplab.analysis.piecewise_figure import function_figure

        return function_figure(self, low, high)


def plain(numbers: np.ndarray) -> list:
    """An array as lists that JSON can hold."""
    if numbers.dtype != object:
        return numbers.tolist()
    return np.vectorize(str, otypes=[object])(numbers).tolist() if numbers.size else numbers.tolist()


def joined(
    knots: Shaped[np.ndarray, "k"],
    values: Shaped[np.ndarray, "k output"],
    slopes: Shaped[np.ndarray, "piece output"],
    rounding: Shaped[np.ndarray, "piece output"] | int,
) -> PiecewiseLinear:
    """Leave out the knots where no output's slope changes by more than the rounding of the two slopes."""
    error = np.broadcast_to(np.asarray(rounding), slopes.shape)
    changes = (np.abs(np.diff(slopes, axis=0)) > error[1:] + error[:-1]).any(axis=1)
    kept = slopes[np.concatenate([[True], changes])]
    if changes.any():
        return PiecewiseLinear(knots[changes], values[changes], kept)
    at_zero = values[:1] - slopes[:1] * knots[0]
    return PiecewiseLinear(knots[:0], at_zero, kept)


def to_network(f: PiecewiseLinear) -> nn.Sequential:
    """A network Linear-ReLU-Linear, in float64, that equals `f` on the whole line, with at most p hidden units.

        f(x) = f(b_1) - s_0 relu(b_1 - x) + s_1 relu(x - b_1) + sum_i (s_i - s_(i-1)) relu(x - b_i)

    for breakpoints b_1 < ... and slopes s_0, s_1, ...; a unit whose coefficients are all 0 is left out. One case
    needs more than p: a function with one piece and a slope takes two units, relu(x) and relu(-x). Fewer than p - 1
    never do: one hidden unit makes at most one breakpoint. Fractions are rounded to float64.
    """
    if not isinstance(f, PiecewiseLinear):
        raise InvalidInput("to_network", "needs a PiecewiseLinear", f)
    knots, anchor = (f.breakpoints, f.breakpoints[0]) if len(f.breakpoints) else (f.breakpoints, 0)
    slopes = f.slopes if len(knots) else np.concatenate([f.slopes, f.slopes])
    jumps = np.concatenate([-slopes[:1], slopes[1:2], np.diff(slopes[1:], axis=0)])
    directions = np.array([-1, *[1] * (len(jumps) - 1)])
    kinks = np.array([anchor, anchor, *knots[1:]])
    kept = (jumps != 0).any(axis=1)
    if not kept.any():  # a constant: torch warns of a layer without units
        kept[0] = True
    parts = (directions[kept], -directions[kept] * kinks[kept], jumps[kept].T, f.values[0])
    weight, bias, out_weight, out_bias = (torch.tensor(np.asarray(p, dtype=np.float64)) for p in parts)
    hidden = nn.Linear(1, len(weight), dtype=torch.float64)
    output = nn.Linear(len(weight), f.out_features, dtype=torch.float64)
    with torch.no_grad():
        hidden.weight.copy_(weight[:, None])
        hidden.bias.copy_(bias)
        output.weight.copy_(out_weight)
        output.bias.copy_(out_bias)
    return nn.Sequential(hidden, nn.ReLU(), output)


def _numbers(part: np.ndarray, exact: bool) -> np.ndarray:
    try:
        made = part.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput("PiecewiseLinear", "needs numbers", part.tolist()) from error
    if not np.isfinite(made).all():
        raise InvalidInput("PiecewiseLinear", "needs finite numbers", part.tolist())
    if exact:
        made: Any = np.empty(part.shape, dtype=object)
        made.flat = [Fraction(number) for number in part.ravel().tolist()]
    return made
