"""Cutting a box of a 2-D slice into convex cells on each of which every unit of a network is straight.

All cells are cut by one unit after another, layer by layer, in whole arrays. A cell is a ring of indices into a table
of points, so that two cells share what they have in common; the network's values at the points are carried along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlplab.analysis.piecewise_activation import Kinked
from mlplab.analysis.piecewise_layers import Program
from mlplab.analysis.piecewise_values import Registers

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped


class TooManyCells(Exception):
    """More than were allowed. Raised before they are made."""


class Cells:
    """Cells in the order in which they were made; grows as the program is run.

    `rings`: (cell, corner) indices of points, -1 beyond a cell's own; `sizes`: corners of each. `places`: (point, 2)
    coordinates in the slice. `gates`: for each activation layer, (cell, unit) on which piece each unit is.
    """

    def __init__(
        self,
        program: Program,
        rays: Shaped[np.ndarray, "1 input 3"],
        corners: Shaped[np.ndarray, "4 2"],
        most: int,
    ) -> None:
        self.program, self.most = program, most
        self.places = corners
        self.rings = np.arange(len(corners), dtype=np.int64)[None]
        self.sizes = np.array([len(corners)])
        self.gates: list[Int[np.ndarray, "cell unit"]] = []
        origin, first, second = (rays[0, :, column] for column in range(3))
        self.registers = Registers(program, origin + corners[:, :1] * first + corners[:, 1:] * second)
        for index, step in enumerate(program.steps):
            if isinstance(step, Kinked):
                self._refine(step)
            self.registers.run(index, step, self._ones())
        self.outputs = self.registers.values[program.output]

    def _ones(self) -> np.ndarray:
        ones = np.ones(len(self.places), dtype=self.places.dtype)
        return ones if not self.program.exact else np.array([1 * one for one in ones], dtype=object)

    def _refine(self, step: Kinked) -> None:
        """Cut wherever a unit of this layer passes a kink, then note on which piece it is in each cell."""
        origin = np.arange(len(self.rings))
        table = _Table(self, step.source)
        units = table.values.shape[1]
        for kink in step.kinks:
            for unit in range(units):
                sign = table.signs(unit, kink)
                inside = np.where(self.rings >= 0, sign[self.rings], 0)
                cut = np.flatnonzero((inside > 0).any(axis=1) & (inside < 0).any(axis=1))
                if len(self.rings) + len(cut) > self.most:
                    raise TooManyCells
                if len(cut):
                    self._cut(cut, inside[cut], table, unit, kink)
                    origin = np.concatenate([origin, origin[cut]])
        table.give_back()
        self.gates = [gate[origin] for gate in self.gates]
        self.gates.append(self._gate(step))

    def _cut(self, cut: np.ndarray, signs: np.ndarray, table: _Table, unit: int, kink: object) -> None:
        """Replace each cell in `cut` by its part below the kink, and append its part above."""
        rings, sizes = self.rings[cut], self.sizes[cut]
        width = rings.shape[1]
        slots = np.arange(width)
        after = np.where(slots + 1 < sizes[:, None], slots + 1, 0)
        following = np.take_along_axis(rings, after, axis=1)
        own = slots < sizes[:, None]
        crossing = own & (signs * np.take_along_axis(signs, after, axis=1) < 0)
        rows, columns = np.nonzero(crossing)
        made = table.between(rings[rows, columns], following[rows, columns], unit, kink)
        between = np.full(rings.shape, -1)
        between[rows, columns] = made
        # Around the ring: each corner, then the point made on the edge behind it.
        ring = np.stack([rings, between], axis=2).reshape(len(cut), -1)
        side = np.stack([signs, np.zeros_like(signs)], axis=2).reshape(len(cut), -1)
        there = np.stack([own, crossing], axis=2).reshape(len(cut), -1)
        below, above = (_compact(ring, there & keep) for keep in (side <= 0, side >= 0))
        self._store(cut, *below, *above)

    def _store(
        self,
        cut: np.ndarray,
        below: np.ndarray,
        below_sizes: np.ndarray,
        above: np.ndarray,
        above_sizes: np.ndarray,
    ) -> None:
        width = max(self.rings.shape[1], int(below_sizes.max()), int(above_sizes.max()))
        grown = np.full((len(self.rings) + len(cut), width), -1)
        grown[: len(self.rings), : self.rings.shape[1]] = self.rings
        for where, part in ((cut, below), (np.arange(len(self.rings), len(grown)), above)):
            grown[where] = -1
            shown = min(width, part.shape[1])
            grown[where, :shown] = part[:, :shown]
        self.sizes = np.concatenate([self.sizes, above_sizes])
        self.sizes[cut] = below_sizes
        self.rings = grown

    def _gate(self, step: Kinked) -> Int[np.ndarray, "cell unit"]:
        values, errors = self.registers.values[step.source], self.registers.errors[step.source]
        gate = np.zeros((len(self.rings), values.shape[1]), dtype=np.int8)
        for kink in step.kinks:
            above = (values - kink > errors).astype(bool)
            # A cell at a time would be slow, all corners at once large: corner by corner.
            found = np.zeros(gate.shape, dtype=bool)
            for corner in range(self.rings.shape[1]):
                ring = self.rings[:, corner]
                found |= np.where((ring >= 0)[:, None], above[ring], False)
            gate += found
        return gate


class _Table:
    """Points and their values with room to grow while one layer cuts."""

    def __init__(self, cells: Cells, source: str) -> None:
        self.cells, self.source, self.count = cells, source, len(cells.places)
        self.parts = {"place": cells.places} | {
            (kind, name): part
            for kind, held in (("value", cells.registers.values), ("error", cells.registers.errors))
            for name, part in held.items()
        }

    @property
    def values(self) -> np.ndarray:
        return self.parts["value", self.source][: self.count]

    def signs(self, unit: int, kink: object) -> np.ndarray:
        """-1, 0 or 1 of each point's distance to the kink; 0 within its rounding."""
        above = self.values[:, unit] - kink
        error = self.parts["error", self.source][: self.count, unit]
        return ((above > error).astype(np.int8) - (above < -error).astype(np.int8)).astype(np.int8)

    def between(self, left: np.ndarray, right: np.ndarray, unit: int, kink: object) -> np.ndarray:
        """New points on edges, where the unit is at its kink; their numbers."""
        first, second = (np.abs(self.values[side, unit] - kink) for side in (left, right))
        share = second / (first + second)
        made = np.arange(self.count, self.count + len(left))
        self._room(self.count + len(left))
        for key, part in self.parts.items():
            ends = part[left], part[right]
            if key[0] == "error":
                part[made] = np.maximum(*ends)
            else:
                part[made] = share[:, None] * ends[0] + (1 - share)[:, None] * ends[1]
        self.count += len(left)
        self.values[made, unit] = kink
        return made

    def _room(self, count: int) -> None:
        size = len(self.parts["place"])
        if count > size:
            grow = max(count, 2 * size) - size
            for key, part in self.parts.items():
                self.parts[key] = np.concatenate([part, np.empty((grow, part.shape[1]), dtype=part.dtype)])

    def give_back(self) -> None:
        self.cells.places = self.parts["place"][: self.count]
        for name in self.cells.registers.values:
            self.cells.registers.values[name] = self.parts["value", name][: self.count]
            self.cells.registers.errors[name] = self.parts["error", name][: self.count]


def _compact(ring: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kept entries of each row moved to its front, in order, -1 behind; and how many."""
    order = np.argsort(~keep, axis=1, kind="stable")
    sizes = keep.sum(axis=1)
    moved = np.take_along_axis(ring, order, axis=1)
    return np.where(np.arange(ring.shape[1]) < sizes[:, None], moved, -1), sizes
