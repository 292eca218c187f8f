"""Activations made of straight pieces: where their kinks lie, and the line on each piece.

act(z) = slopes[j] * z + offsets[j]    for kinks[j - 1] <= z <= kinks[j]
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from jaxtyping import Shaped

Number = int | float | Fraction


@dataclass(frozen=True)
class Kinked:
    """An activation of one layer. The kinks are the same for all units; slopes and offsets may differ."""

    source: str
    target: str
    name: str
    kinks: Shaped[np.ndarray, "kink"]
    slopes: Shaped[np.ndarray, "piece unit"]
    offsets: Shaped[np.ndarray, "piece unit"]

    def pieces_of(
        self, values: Shaped[np.ndarray, "point unit"], weights: Shaped[np.ndarray, "point"]
    ) -> Shaped[np.ndarray, "point unit"]:
        """On which piece of its activation each unit is."""
        count = np.zeros(values.shape, dtype=np.int8)
        for kink in self.kinks:
            count += (values > (kink * weights)[:, None]).astype(np.int8)
        return count

    def at(
        self, values: Shaped[np.ndarray, "point unit"], weights: Shaped[np.ndarray, "point"]
    ) -> Shaped[np.ndarray, "point unit"]:
        """The activation at points; weight 0 means a point at infinity, where only the slope counts."""
        piece = self.pieces_of(values, weights)
        units = np.arange(values.shape[1])
        return self.slopes[piece, units] * values + self.offsets[piece, units] * weights[:, None]


def pieces(module: nn.Module, shape: tuple[int, ...]) -> tuple[list, list, list] | None:
    """Kinks, slopes and offsets of an activation module; None for any other module.

    A slope is a number, or an array with one for each unit (PReLU by channel). The negative slope of RReLU in
    evaluation is the middle of its range. Raises InvalidInput for RReLU in training, which is random.
    """
    if isinstance(module, nn.ReLU):
        return [0], [0, 1], [0, 0]
    if isinstance(module, nn.LeakyReLU):
        return [0], [module.negative_slope, 1], [0, 0]
    if isinstance(module, nn.PReLU):
        return [0], [_by_channel(module, shape), 1], [0, 0]
    if isinstance(module, nn.Hardtanh):  # ReLU6 too
        low, high = module.min_val, module.max_val
        return [low, high], [0, 1, 0], [low, 0, high]
    if isinstance(module, nn.Hardsigmoid):
        return [-3, 3], [0, Fraction(1, 6), 0], [0, Fraction(1, 2), 1]
    if isinstance(module, nn.Softshrink):
        return [-module.lambd, module.lambd], [1, 0, 1], [module.lambd, 0, -module.lambd]
    if isinstance(module, nn.RReLU):
        if module.training:
            raise InvalidInput(
                "RReLU", "draws its slope at random in training", "training mode", "Call .eval()"
            )
        return [0], [(module.lower + module.upper) / 2, 1], [0, 0]
    return None


def _by_channel(module: nn.PReLU, shape: tuple[int, ...]) -> np.ndarray:
    weight = module.weight.detach().double().numpy()
    if len(weight) == 1:
        return np.repeat(weight, int(np.prod(shape)))
    if len(weight) != shape[0]:
        raise InvalidInput("PReLU", f"has {len(weight)} slopes, one for each channel", f"{shape[0]} channels")
    return np.repeat(weight, int(np.prod(shape[1:])))
