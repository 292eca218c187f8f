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

    def __init__(self) -> None:
        self._arrays: dict[int, tuple[Tensor, np.ndarray]] = {}

    def hold(self, *tensors: Tensor) -> None:
        """Tensors that each update multiplies: their NumPy arrays are made once. They live as long as this."""
        for tensor in tensors:
            if id(tensor) not in self._arrays:
                self._arrays[id(tensor)] = tensor, tensor.numpy()

    def _array(self, tensor: Tensor) -> np.ndarray:
        held = self._arrays.get(id(tensor))
        return tensor.numpy() if held is None else held[1]

    def operand(self, name: str, x: Tensor) -> Tensor:
        """x as a factor of products. It holds until the same name is asked for again."""
        return x

    def into(
        self,
        out: Float[Tensor, "model m n"],
        a: Float[Tensor, "model m k"],
        b: Float[Tensor, "model k n"],
        *,
        turn_a: bool = False,
        turn_b: bool = False,
    ) -> Tensor:
        """a·b, written to `out`. A factor may have fewer entries n than models: each is that of models/n models.

        A factor that is turned is given as its transpose.
        """
        left, right, target = self._array(a), self._array(b), self._array(out)
        left = left.transpose(0, 2, 1) if turn_a else left
        right = right.transpose(0, 2, 1) if turn_b else right
        models, num = len(target), min(len(left), len(right))
        if num < models:
            if len(left) == models and left.shape[1] == 1:
                left, target = _as_rows(left, num), _as_rows(target, num)
            elif len(right) == models and right.shape[2] == 1:
                left, right, target = _as_rows(right, num), left.transpose(0, 2, 1), _as_rows(target, num)
            elif num > 1:
                left, right, target = (_by_feed(factor, num) for factor in (left, right, target))
        np.matmul(left, right, out=target)
        return out


class SharedProducts(Products):
    """Float32 and float64 on several threads: model by model on those that PyTorch has for all else.

    OpenBLAS has threads of its own. They wait for work by spinning, as PyTorch's do: with two of each on two cores,
    a product and the ReLU after it took ten times as long as on one thread. Small products have nothing to share.
    """

    def into(
        self, out: Tensor, a: Tensor, b: Tensor, *, turn_a: bool = False, turn_b: bool = False
    ) -> Tensor:
        models = out.shape[0]
        if out[0].numel() * a.shape[1 if turn_a else 2] < WORTH_THREADS:
            return super().into(out, a, b, turn_a=turn_a, turn_b=turn_b)
        a, b = _turned(a, turn_a), _turned(b, turn_b)
        for model, product in enumerate(out):
            torch.mm(_part_of(a, model, models), _part_of(b, model, models), out=product)
        return out


class TorchProducts(Products):
    """Elsewhere: `torch.bmm`."""

    def hold(self, *tensors: Tensor) -> None:
        """NumPy has no view of these."""

    def into(
        self, out: Tensor, a: Tensor, b: Tensor, *, turn_a: bool = False, turn_b: bool = False
    ) -> Tensor:
        a, b = (_of_model(_turned(x, turn), len(out)) for x, turn in ((a, turn_a), (b, turn_b)))
        return torch.bmm(a, b, out=out)


class MixedProducts(TorchProducts):
    """Factors rounded to bfloat16, sums in float32, the product rounded to bfloat16 as PyTorch does."""

    def __init__(self, device: torch.device) -> None:
        self.room = Room(torch.bfloat16, device)

    def operand(self, name: str, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            return x
        if not x.is_contiguous():  # the slope of a loss, which lies transposed
            return self.room(name, *x.transpose(1, 2).shape).copy_(x.transpose(1, 2)).transpose(1, 2)
        return self.room(name, *x.shape).copy_(x)

    def into(
        self, out: Tensor, a: Tensor, b: Tensor, *, turn_a: bool = False, turn_b: bool = False
    ) -> Tensor:
        rounded = self.room("product", *out.shape)
        return out.copy_(super().into(rounded, a, b, turn_a=turn_a, turn_b=turn_b))


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


def _turned(x: Tensor, is_turned: bool) -> Tensor:
    return x.transpose(1, 2) if is_turned else x


def _by_feed(x: np.ndarray, num: int) -> Float[np.ndarray, "feed share rows columns"]:
    return _view(x, num, -1, *x.shape[1:])


def _as_rows(x: np.ndarray, num: int) -> Float[np.ndarray, "feed share length"]:
    """The vectors of models that share a factor, as rows: one product instead of one for each model."""
    return _view(x, num, -1, x.shape[1] * x.shape[2])


def _view(x: np.ndarray, *shape: int) -> np.ndarray:
    """The same memory in another shape; a product must not be written to a copy."""
    view = x.view()
    view.shape = shape
    return view


def _of_model(x: Tensor, models: int) -> Float[Tensor, "model rows columns"]:
    if x.shape[0] == 1:
        return x.expand(models, -1, -1)
    return x if x.shape[0] == models else x.repeat_interleave(models // x.shape[0], dim=0)
