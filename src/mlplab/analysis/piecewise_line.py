"""Breakpoints of a network along a line: the whole line for one input, or a segment of any input space.

The line is held as knots with the network's values at them. At each activation every unit is straight between two
knots, so its kinks are found where its values at the two change side; they become knots. An end at infinity is a knot
of weight 0: its values are slopes, and the same arithmetic holds (homogeneous coordinates).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import nn

from mlplab.analysis.piecewise_activation import Kinked
from mlplab.analysis.piecewise_function import PiecewiseLinear, joined, plain
from mlplab.analysis.piecewise_layers import Program, as_numbers, read
from mlplab.analysis.piecewise_values import MAX_BYTES, Registers, gradients, most_points
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    import altair
    from jaxtyping import Int, Shaped
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class SegmentPieces:
    """A network along x(t) = start + t (end - start), 0 <= t <= 1.

    `function`: its outputs as a function of t; only 0 <= t <= 1 was looked at, and its outer pieces are those at the
    ends. `pattern_changes`: every t strictly between 0 and 1 where some unit passes a kink of its activation;
    `pattern_layers` names the first layer of which one does. The true breakpoints, where an output's slope changes,
    are among them. `exact` says that all is in fractions.
    """

    start: Shaped[np.ndarray, "input"]
    end: Shaped[np.ndarray, "input"]
    function: PiecewiseLinear
    pattern_changes: Shaped[np.ndarray, "change"]
    pattern_layers: tuple[str, ...]
    exact: bool

    @property
    def breakpoints(self) -> Shaped[np.ndarray, "k"]:
        """t of each true breakpoint."""
        return self.function.breakpoints

    @property
    def points(self) -> Shaped[np.ndarray, "k input"]:
        """The true breakpoints in the input space."""
        return self.start + self.breakpoints[:, None] * (self.end - self.start)

    @property
    def num_pieces(self) -> int:
        return self.function.num_pieces

    def table(self) -> pd.DataFrame:
        """A row for each piece, as of `PiecewiseLinear`, from t = 0 to 1."""
        rows = self.function.table()
        rows.loc[0, "start"], rows.loc[len(rows) - 1, "end"] = 0, 1
        return rows

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.function.to_dict(),
            "pattern_changes": plain(self.pattern_changes),
            "pattern_layers": list(self.pattern_layers),
            "start": plain(self.start),
            "end": plain(self.end),
        }

    def plot(self) -> altair.LayerChart:
        """The outputs along the segment, with the true breakpoints."""
        from mlplab.analysis.piecewise_figure import function_figure

        title = f"{self.num_pieces} pieces, {len(self.pattern_changes)} changes of the activation pattern"
        return function_figure(self.function, 0.0, 1.0, x_title="Position t along the segment", title=title)


def from_network(net: nn.Module | Callable, *, exact: bool = False) -> PiecewiseLinear:
    """The exact pieces of a network with one input, over the whole line.

    Arguments:
      net: a ReLU-family network: Linear, convolutions, average pooling, BatchNorm in evaluation, ReLU, LeakyReLU,
        PReLU, Hardtanh, ReLU6, Hardsigmoid, Softshrink, sums (skip connections); any number of outputs.
      exact: in `fractions.Fraction` of the weights' values; otherwise in float64, where what is below 2^-40 of the sum
        that made it counts as 0 (`piecewise_layers.TOLERANCE`).

    Only true breakpoints are kept: a kink that another unit cancels is none. Raises InvalidInput, naming the module,
    for a network that is not piecewise linear or takes more than one input.
    """
    program = read(net, (1,), exact=exact, owner="from_network")
    zero = as_numbers([0], exact)
    line = _Line(program, zero, as_numbers([1], exact), positions=[-1, 0, 1], weights=[0, 1, 0])
    return line.function(slice(1, -1))


def breakpoints(
    net: nn.Module | Callable, start: ArrayLike, end: ArrayLike, *, exact: bool = False
) -> SegmentPieces:
    """Where a network bends along the segment from `start` to `end` of its input space.

    Arguments:
      net: as of `from_network`, with inputs of any size.
      start, end: one input each, of the shape that the network takes, without the batch.
      exact: as of `from_network`.

    A breakpoint at t = 0 or t = 1 itself is none of the segment. Raises InvalidInput as `from_network` does, and for
    ends that differ in shape, are not finite, or are the same point.
    """
    first, last = (_point(value, name) for value, name in ((start, "start"), (end, "end")))
    if first.shape != last.shape:
        raise InvalidInput("breakpoints", "needs two ends of one shape", f"{first.shape} and {last.shape}")
    if (first == last).all():
        raise InvalidInput("breakpoints", "needs two ends that differ", "the same point twice")
    program = read(net, first.shape or (1,), exact=exact, owner="breakpoints")
    first, last = (as_numbers(point.reshape(-1), exact) for point in (first, last))
    line = _Line(program, first, last - first, positions=[0, 1], weights=[1, 1])
    changes, layers = line.pattern_changes()
    return SegmentPieces(first, last, line.function(slice(0, None)), changes, layers, exact)


def _point(value: Any, name: str) -> np.ndarray:
    try:
        point = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"breakpoints.{name}", "must be an array of numbers", value) from error
    if not point.size or not np.isfinite(point).all():
        raise InvalidInput(f"breakpoints.{name}", "must be finite numbers, one at least", value)
    return point


class _Line:
    """Knots in order along start + t * direction; grows as the program is run."""

    def __init__(
        self,
        program: Program,
        start: Shaped[np.ndarray, "input"],
        direction: Shaped[np.ndarray, "input"],
        *,
        positions: list[int],
        weights: list[int],
    ) -> None:
        self.program = program
        self.positions, self.weights = (
            as_numbers(positions, program.exact),
            as_numbers(weights, program.exact),
        )
        self.gates: list[Int[np.ndarray, "piece unit"]] = []
        self.rays = np.stack([start, direction], axis=1)[None]
        inputs = self.weights[:, None] * start + self.positions[:, None] * direction
        self.registers = Registers(program, inputs)
        for index, step in enumerate(program.steps):
            if isinstance(step, Kinked):
                self._refine(step)
                self._gate(step)
            self.registers.run(index, step, self.weights)
        self.outputs = self.registers.values[program.output]

    def function(self, knots: slice) -> PiecewiseLinear:
        """The outputs over the line, from the knots that are not at infinity."""
        slopes, sizes = gradients(self.program, self.gates, self.rays)
        slopes, rounding = slopes[:, :, 1], self.program.tolerance * sizes[:, :, 1]
        where, values = self.positions[knots], self.outputs[knots]
        if self.weights[0]:  # a segment: its ends are no breakpoints
            where, values = where[1:-1], values[1:-1]
            if not len(where):
                return PiecewiseLinear(where, self.outputs[:1], slopes)
        return joined(where, values, slopes, rounding)

    def pattern_changes(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Positions of the inner knots where the pattern changes, and the first layer in which it does."""
        inner = self.positions[1:-1]
        names = [step.name for step in self.program.kinked()]
        if not names:
            return inner, ()
        changed = np.stack([(np.diff(gate, axis=0) != 0).any(axis=1) for gate in self.gates])
        some = changed.any(axis=0)
        return inner[some], tuple(names[layer] for layer in changed.argmax(axis=0)[some])

    def _refine(self, step: Kinked) -> None:
        """Put a knot wherever a unit of this layer passes a kink."""
        values, error = self.registers.values[step.source], self.registers.errors[step.source]
        found = [_crossings(values - (kink * self.weights)[:, None], error) for kink in step.kinks]
        pieces, units, left, share, slack = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kinks = np.repeat(np.asarray(step.kinks), [len(part[0]) for part in found])
        if not len(pieces):
            return
        order = np.lexsort((share.astype(np.float64), pieces))
        if self.program.exact:  # two fractions may be the same float
            order = np.array(sorted(order, key=lambda index: (pieces[index], share[index])))
        pieces, units, left, share, slack, kinks = (
            part[order] for part in (pieces, units, left, share, slack, kinks)
        )
        is_new = np.ones(len(pieces), dtype=bool)
        is_new[1:] = (pieces[1:] != pieces[:-1]) | (np.diff(share) > slack[1:] + slack[:-1])
        self._insert(pieces[is_new], left[is_new], share[is_new])
        # Rows of the new knots: each stands after its piece's left end and the knots put in before it.
        rows = (pieces[is_new] + 1 + np.arange(is_new.sum()))[np.cumsum(is_new) - 1]
        self.registers.values[step.source][rows, units] = kinks

    def _insert(self, pieces: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
        """New knots: `left` times the piece's left end plus `right` times its right end, made of weight 1."""
        most = most_points(self.program)
        if len(self.positions) + len(pieces) > most:
            rule = f"may take at most {MAX_BYTES / 2**30:g} GiB, which is {most:,} pieces of this network"
            raise InvalidInput("the line", rule, f"more than {most:,} pieces", "Take a shorter one (--reach)")

        def combined(part: np.ndarray) -> np.ndarray:
            ends = (left, right) if part.ndim == 1 else (left[:, None], right[:, None])
            return ends[0] * part[pieces] + ends[1] * part[pieces + 1]

        scale = combined(self.weights)
        positions = np.insert(self.positions, pieces + 1, combined(self.positions) / scale)
        for name, part in self.registers.values.items():
            self.registers.values[name] = np.insert(part, pieces + 1, combined(part) / scale[:, None], axis=0)
        for name, part in self.registers.errors.items():
            grown = np.maximum(part[pieces], part[pieces + 1])
            self.registers.errors[name] = np.insert(part, pieces + 1, grown, axis=0)
        counts = 1 + np.bincount(pieces, minlength=len(self.positions) - 1)
        self.gates = [np.repeat(gate, counts, axis=0) for gate in self.gates]
        self.weights = np.insert(self.weights, pieces + 1, scale / scale)
        self.positions = positions

    def _gate(self, step: Kinked) -> None:
        """On which piece of its activation each unit is, along each piece of the line."""
        values = self.registers.values[step.source]
        gate = np.zeros((len(values) - 1, values.shape[1]), dtype=np.int8)
        for kink in step.kinks:
            above = values - (kink * self.weights)[:, None]
            gate += ((above[:-1] > 0) | (above[1:] > 0)).astype(np.int8)
        self.gates.append(gate)


def _crossings(above: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, ...]:
    """(piece, unit, share of the left end, share of the right end, how much the shares may err) of each crossing."""
    sign = np.where(np.abs(above) <= error, 0, np.where(above > 0, 1, -1))
    pieces, units = np.nonzero(sign[:-1] * sign[1:] < 0)
    left, right = np.abs(above[pieces, units]), np.abs(above[pieces + 1, units])
    total = left + right
    slack = np.maximum(error[pieces, units], error[pieces + 1, units]) / total
    return pieces, units, right / total, left / total, slack
