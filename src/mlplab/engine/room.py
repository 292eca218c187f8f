"""Memory that is used again: a tensor for each name, cut to the shape that is asked for."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Room:
    """Named blocks of memory. Fresh memory for each intermediate result would be zeroed by the system page by page."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self._blocks: dict[str, Tensor] = {}
        self._views: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """A tensor with anything in it. It holds until the same name is asked for again."""
        view = self._views.get((name, shape))
        if view is None:
            size = math.prod(shape)
            block = self._blocks.get(name)
            if block is None or block.shape[0] < size:
                block = self._blocks[name] = torch.empty(size, dtype=self.dtype, device=self.device)
                self._views = {key: held for key, held in self._views.items() if key[0] != name}
            view = self._views[name, shape] = block[:size].view(shape)
        return view
