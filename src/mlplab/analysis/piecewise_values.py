"""The values of a network at points, step by step, each with the size of its rounding error; and its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlplab.analysis.piecewise_activation import Kinked
from mlplab.analysis.piecewise_layers import Affine, Program, Step, Sum, multiply

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped


MAX_BYTES = 2 * 2**30  # that the values of a network at points may take
BLOCK_BYTES = 2**28  # that the maps of some cells take while they are made


def most_points(program: Program) -> int:
    """How many points' values fit into MAX_BYTES: of those that a later step reads, their errors, and a step's own."""
    return max(MAX_BYTES // _bytes_each(program), 1)


def _bytes_each(program: Program) -> int:
    """What one point takes at the widest step, about: each value has an error, and a step makes some copies."""
    sizes: dict[str, int] = {program.source: program.in_features}
    most, last_use = 0, program.last_use()
    for index, step in enumerate(program.steps):
        source = step.sources[0] if isinstance(step, Sum) else step.source
        made = step.weight.shape[0] if isinstance(step, Affine) else sizes[source]
        most = max(most, 3 * sum(sizes.values()) + 5 * made)
        sizes[step.target] = made
        sizes = {name: size for name, size in sizes.items() if last_use.get(name, 0) > index}
    units = sum(step.slopes.shape[1] for step in program.kinked())
    return most * (100 if program.exact else 8) + 3 * units


class Registers:
    """Values by name that a later step still reads: (point, unit). `errors`: what counts as 0, of the same shape."""

    def __init__(self, program: Program, inputs: Shaped[np.ndarray, "point input"]) -> None:
        self.program, self.last_use = program, program.last_use()
        self.values: dict[str, Any] = {program.source: inputs}
        self.errors: dict[str, Any] = {program.source: program.tolerance * np.abs(inputs)}

    def run(self, index: int, step: Step, weights: Shaped[np.ndarray, "point"]) -> None:
        """Do one step. A weight is 1, or 0 of a point at infinity, where only slopes count."""
        values, errors = self.values, self.errors
        if isinstance(step, Affine):
            made = multiply(step.weight, values[step.source]) + weights[:, None] * step.bias
        elif isinstance(step, Sum):
            made = values[step.sources[0]] + values[step.sources[1]]
        else:
            made = step.at(settled(values[step.source], errors[step.source], step, weights), weights)
        error = self._rounding(step, made, weights)
        # Rounding left of an exact 0 would be taken for a value by the next layer.
        values[step.target], errors[step.target] = np.where(np.abs(made) <= error, 0, made), error
        for name in [name for name, last in self.last_use.items() if last == index]:
            del values[name], errors[name]

    def _rounding(self, step: Step, made: np.ndarray, weights: Shaped[np.ndarray, "point"]) -> np.ndarray:
        """How far rounding may have moved what a step made; fractions are not rounded."""
        if self.program.exact:
            return _nothing(made)
        if isinstance(step, Sum):
            return self.errors[step.sources[0]] + self.errors[step.sources[1]]
        size = np.abs(made)
        if isinstance(step, Affine):
            size = multiply(abs(step.weight), np.abs(self.values[step.source]))
            size += weights[:, None] * np.abs(step.bias)
        return self.program.tolerance * size


def _nothing(like: np.ndarray) -> np.ndarray:
    """Zeros of the same shape: what rounding does to fractions."""
    return np.zeros(like.shape, dtype=np.int8)


def settled(values: np.ndarray, errors: np.ndarray, step: Kinked, weights: np.ndarray) -> np.ndarray:
    """The values, set to a kink where they differ from it by rounding only."""
    for kink in step.kinks:
        at = np.broadcast_to((kink * weights)[:, None], values.shape)
        values = np.where(np.abs(values - at) <= errors, at, values)
    return values


def gradients(
    program: Program,
    gates: list[Int[np.ndarray, "cell unit"]],
    rays: Shaped[np.ndarray, "1 input column"],
) -> tuple[Shaped[np.ndarray, "cell out column"], Shaped[np.ndarray, "cell out column"]]:
    """The affine map of each cell, given on which piece each of its units is, and the size of the terms in its sums.

    Column 0 is the value at the origin of the line or slice, the others are derivatives along its directions.
    """
    num_cells = len(gates[0]) if gates else 1
    block = max(BLOCK_BYTES // (_bytes_each(program) * rays.shape[2]), 1)
    if num_cells > block:
        starts = range(0, num_cells, block)
        parts = [gradients(program, [gate[k : k + block] for gate in gates], rays) for k in starts]
        return np.concatenate([maps for maps, _ in parts]), np.concatenate([sizes for _, sizes in parts])
    values: dict[str, Any] = {program.source: np.broadcast_to(rays, (num_cells, *rays.shape[1:]))}
    sizes: dict[str, Any] = {program.source: np.abs(values[program.source])}
    last_use, layer = program.last_use(), 0
    for index, step in enumerate(program.steps):
        if isinstance(step, Affine):
            made = multiply(step.weight, values[step.source])
            made[:, :, 0] += step.bias
            if program.exact:
                size = _nothing(made)
            else:
                size = multiply(abs(step.weight), np.abs(values[step.source]))
                size[:, :, 0] += np.abs(step.bias)
        elif isinstance(step, Sum):
            made = values[step.sources[0]] + values[step.sources[1]]
            size = sizes[step.sources[0]] + sizes[step.sources[1]]
        else:
            piece, units = gates[layer], np.arange(gates[layer].shape[1])
            slope = step.slopes[piece, units][:, :, None]
            made = values[step.source] * slope
            made[:, :, 0] += step.offsets[piece, units]
            size = _nothing(made) if program.exact else sizes[step.source] * np.abs(slope)
            layer += 1
        values[step.target] = np.where(np.abs(made) <= program.tolerance * size, 0, made)
        sizes[step.target] = size
        for name in [name for name, last in last_use.items() if last == index]:
            del values[name], sizes[name]
    return values[program.output], sizes[program.output]
