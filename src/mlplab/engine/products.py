"""Matrix products of stacked models, by the library that is fastest at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mlplab.engine.room import Room

if TYPE_CHECKING:
    from jaxtyping import Float

# Multiplications of one product: below it, several threads are slower than one.
WORTH_THREADS = 1_000_000


class Products:
    """Float32 and float64 on one thread: NumPy's OpenBLAS, much faster than PyTorch at stacks of small matrices."""

    def operand(self, name: str, x: Tensor) -> Tensor:
        """x as a factor of products. It holds until the same name is asked for again."""
        return x

    def into(
        self, out: Float[Tensor, "model m n"], a: Float[Tensor, "model m k"], b: Float[Tensor, "model k n"]
    ) -> Tensor:
        """a·b, written to `out`. A factor may have fewer entries n than models: each is that of models/n models."""
        left, right, target = a, b, out
        models, num = out.shape[0], min(a.shape[0], b.shape[0])
        if num < models and a.shape[0] == models and a.shape[1] == 1:
            left, target = _as_rows(left, num), _as_rows(target, num)
        elif num < models and b.shape[0] == models and b.shape[2] == 1:
            left, right, target = _as_rows(right, num), left.transpose(1, 2), _as_rows(target, num)
        elif 1 < num < models:
            left, right, target = (_by_feed(factor, num) for factor in (left, right, target))
        np.matmul(left.numpy(), right.numpy(), out=target.numpy())
        return out


class SharedProducts(Products):
    """Float32 and float64 on several threads: model by model on those that PyTorch has for all else.

    OpenBLAS has threads of its own. They wait for work by spinning, as PyTorch's do: with two of each on two cores,
    a product and the ReLU after it took ten times as long as on one thread. Small products have nothing to share.
    """

    def into(self, out: Tensor, a: Tensor, b: Tensor) -> Tensor:
        models = out.shape[0]
        if out[0].numel() * a.shape[2] < WORTH_THREADS:
            return super().into(out, a, b)
        for model, product in enumerate(out):
            torch.mm(_part_of(a, model, models), _part_of(b, model, models), out=product)
        return out


class MixedProducts(Products):
    """Factors rounded to bfloat16, sums in float32, the product rounded to bfloat16 as PyTorch does."""

    def __init__(self, device: torch.device) -> None:
        self.room = Room(torch.bfloat16, device)

    def operand(self, name: str, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            return x
        if not x.is_contiguous():  # the slope of a loss, which lies transposed
            return self.room(name, *x.transpose(1, 2).shape).copy_(x.transpose(1, 2)).transpose(1, 2)
        return self.room(name, *x.shape).copy_(x)

    def into(self, out: Tensor, a: Tensor, b: Tensor) -> Tensor:
        rounded = self.room("product", *out.shape)
        return out.copy_(torch.bmm(_of_model(a, out.shape[0]), _of_model(b, out.shape[0]), out=rounded))


class TorchProducts(Products):
    """Elsewhere: `torch.bmm`."""

    def into(self, out: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return torch.bmm(_of_model(a, out.shape[0]), _of_model(b, out.shape[0]), out=out)


def products_for(device: torch.device, is_mixed: bool) -> Products:
    """How this device multiplies at this precision, on as many threads as PyTorch has now."""
    if is_mixed:
        return MixedProducts(device)
    if device.type != "cpu":
        return TorchProducts()
    return SharedProducts() if torch.get_num_threads() > 1 else Products()


def _part_of(x: Tensor, model: int, models: int) -> Float[Tensor, "rows columns"]:
    """A model's own factor, or that of the models it shares one with."""
    return x[model * x.shape[0] // models]


def _by_feed(x: Tensor, num: int) -> Float[Tensor, "feed share rows columns"]:
    return x.unflatten(0, (num, -1))


def _as_rows(x: Tensor, num: int) -> Float[Tensor, "feed share length"]:
    """The vectors of models that share a factor, as rows: one product instead of one for each model."""
    return x.view(num, -1, x.shape[1] * x.shape[2])


def _of_model(x: Tensor, models: int) -> Float[Tensor, "model rows columns"]:
    if x.shape[0] == 1:
        return x.expand(models, -1, -1)
    return x if x.shape[0] == models else x.repeat_interleave(models // x.shape[0], dim=0)
