"""A batch as the tools on memory take it: what `forward` is given, of which only shapes and types matter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mlplab.errors import InvalidInput


def as_batch(inputs: Tensor | tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple of what `forward` takes. Raises InvalidInput where no tensor or an empty one is among them."""
    batch = inputs if isinstance(inputs, tuple) else (inputs,)
    tensors = [x for x in batch if isinstance(x, Tensor)]
    if not tensors or any(not x.numel() for x in tensors):
        raise InvalidInput("inputs", "must be a batch that is not empty", [tuple(x.shape) for x in tensors])
    return batch


def batch_size(batch: tuple[Any, ...]) -> int:
    """Number of examples, on the first axis of all tensors. Raises InvalidInput where they differ."""
    sizes = {x.shape[0] for x in batch if isinstance(x, Tensor) and x.ndim}
    if len(sizes) != 1:
        raise InvalidInput("inputs", "must have one batch size, on the first axis", sorted(sizes))
    return sizes.pop()


def resized(x: Any, size: int) -> Any:
    """The same with `size` examples on the first axis of each tensor, on the meta device: shapes alone."""
    if isinstance(x, tuple):
        return tuple(resized(part, size) for part in x)
    if not isinstance(x, Tensor) or not x.ndim:
        return x
    return torch.empty((size, *x.shape[1:]), dtype=x.dtype, device="meta")
