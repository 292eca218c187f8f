"""The fast path: gradients written out, in memory that is used again, products by the fastest library.

It computes what `stacked.Models` computes. What it saves: the graph that autograd builds, a new tensor for each
intermediate result, passes over memory, and slow kernels for small matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mlplab.data import Dataset
from mlplab.engine.activations import derivative_function
from mlplab.engine.batches import Batch, Block
from mlplab.engine.products import products_for
from mlplab.engine.room import Room
from mlplab.engine.stacked import BatchNorm, Models, Watch
from mlplab.spec import Run

if TYPE_CHECKING:
    from jaxtyping import Float


# Numbers that overflow are a result, and no warning.
OVERFLOWS = np.errstate(over="ignore", invalid="ignore")


class FusedModels(Models):
    """The group's models, with gradients written out by hand."""

    by_autograd = False

    def __init__(self, runs: Sequence[Run], data: Mapping[str, Dataset], device: torch.device) -> None:
        super().__init__(runs, data, device)
        self.products = products_for(device, self.is_mixed)
        self.room = Room(self.dtype, device)
        self.derivatives = [
            None if activation.kind == "prelu" else derivative_function(activation)
            for activation in self.activations
        ]
        self.grads = [torch.empty_like(parameter) for parameter in self.trained]
        place = {id(parameter): grad for parameter, grad in zip(self.trained, self.grads, strict=True)}
        self.weight_grads = [place[id(weight)] for weight in self.weights]
        self.bias_grads = [place.get(id(bias)) for bias in self.biases]
        self.slope_grads = {layer: place[id(slope)] for layer, slope in self.slopes.items()}
        self.norm_grads = {
            layer: (place[id(norm.scale)], place[id(norm.shift)]) for layer, norm in self.norms.items()
        }
        self.last_bias = self.biases[-1].transpose(1, 2)
        self.products.hold(*self.weights, *self.weight_grads)
        self._frames: dict[int, Frame] = {}

    def gradients(self, batch: Batch, step: int, watch: Watch | None = None) -> list[Tensor]:
        size = batch.num_examples
        if size not in self._frames:
            self._frames[size] = self._frame(size)
        frame = self._frames[size]
        tape = self._forward(batch, self.drawn(step, size), watch, frame)
        outputs = self._outputs(tape.x[-1], tape.weights[-1], frame.outputs[batch.index])
        above = self.loss.slope(outputs, self._targets(batch))
        if batch.weights is not None:
            above = above * batch.weights.unsqueeze(2)
        self._backward(tape, above.div_(size), frame)
        return self.grads

    def _frame(self, size: int) -> Frame:
        models, units = len(self.seeds), [weight.shape[2] for weight in self.weights]
        block = torch.empty(self.batches.most, models, units[-1], size, dtype=self.dtype, device=self.device)
        frame = Frame(
            [self.room(f"z{layer}", models, size, width) for layer, width in enumerate(units[:-1])],
            [self.room(f"below{layer % 2}", models, size, width) for layer, width in enumerate(units[:-1])],
            block,
            block.unbind(),
        )
        self.products.hold(*frame.z, *frame.below, *frame.outputs)
        return frame

    def _measured(self, block: Block) -> Float[Tensor, "batch model example out"]:
        count, size = len(block.batches), block.batches[0].num_examples
        return self._frames[size].block[:count].transpose(2, 3)

    def _forward(
        self, batch: Batch, drawn: Sequence[Tensor | None], watch: Watch | None, frame: Frame
    ) -> Tape:
        products, models = self.products, len(self.seeds)
        tape = Tape()
        products.hold(batch.x)  # it lies where it lay an epoch ago
        x = products.operand("x", batch.x)
        for layer, function in enumerate(self.functions):
            weight, noise, numbers = self.weights[layer], self.noises[layer], drawn[layer]
            factor = None
            if noise is not None and numbers is not None and noise.on == "weights":
                factor = noise.factor(weight, numbers, out=self.room(f"factor{layer}", *weight.shape))
                assert factor is not None, "noise on weights is a factor"
                weight = torch.mul(weight, factor, out=self.room(f"weight{layer}", *weight.shape))
            weight = products.operand(f"w{layer}", weight)
            tape.x.append(x)
            tape.weights.append(weight)
            z = products.into(frame.z[layer], x, weight).add_(self.biases[layer])
            if layer in self.norms:
                z = self._normalise_in(layer, z, tape)
            y = self._activate(layer, function, z)
            if watch is not None:
                watch.see("activation", layer, y)
            tape.z.append(z)
            tape.y.append(y)
            if noise is not None and numbers is not None and noise.on == "activations":
                shape = (models, batch.num_examples, weight.shape[2])
                factor = noise.factor(y, numbers, out=self.room(f"factor{layer}", *shape))
                term = noise.term(y, numbers)
                noisy = self.room(f"noisy{layer}", *shape)
                y = torch.mul(y, factor, out=noisy) if factor is not None else noisy.copy_(y)
                if term is not None:
                    y.add_(term)
            if watch is not None:
                watch.see("noisy", layer, y)
            tape.factors.append(factor)
            x = products.operand(f"x{layer}", y)
        tape.x.append(x)
        tape.weights.append(products.operand("w", self.weights[-1]))
        return tape

    def _activate(self, layer: int, function: object, z: Tensor) -> Tensor:
        kind = self.activations[layer].kind
        if kind == "relu":
            return z.relu_()  # its derivative is seen in its output
        if layer in self.slopes:
            return function(z, self.slopes[layer])  # pyright: ignore[reportCallIssue]
        return function(z)  # pyright: ignore[reportCallIssue]

    def _outputs(
        self, x: Tensor, weight: Tensor, out: Float[Tensor, "model out batch"]
    ) -> Float[Tensor, "model batch out"]:
        """The last layer. Outputs lie in memory as (model, out, batch): losses are quicker so."""
        self.products.into(out, weight, x, turn_a=True, turn_b=True)
        return out.add_(self.last_bias).transpose(1, 2)

    def _backward(self, tape: Tape, above: Float[Tensor, "model batch out"], frame: Frame) -> None:
        for layer in reversed(range(len(self.weights))):
            bias_grad = self.bias_grads[layer]
            if bias_grad is not None:
                torch.sum(above, 1, keepdim=True, out=bias_grad)
            factor = self.products.operand(f"above{layer % 2}", above)
            x = tape.x[layer]
            self.products.into(self.weight_grads[layer], x, factor, turn_a=True)
            noise = tape.factors[layer] if layer < len(self.functions) else None
            if noise is not None and self._is_on_weights(layer):
                self.weight_grads[layer].mul_(noise)
            if layer == 0:
                return
            above = self.products.into(frame.below[layer - 1], factor, tape.weights[layer], turn_b=True)
            above = self._through(layer - 1, tape, above)

    def _is_on_weights(self, layer: int) -> bool:
        noise = self.noises[layer]
        return noise is not None and noise.on == "weights"

    def _through(self, layer: int, tape: Tape, above: Tensor) -> Tensor:
        """Back through a hidden layer's noise, activation and normalisation; `above` is used up."""
        noise = tape.factors[layer]
        if noise is not None and not self._is_on_weights(layer):
            above.mul_(noise)
        z, y = tape.z[layer], tape.y[layer]
        derivative = self.derivatives[layer]
        if self.activations[layer].kind == "relu":
            torch.ops.aten.threshold_backward.grad_input(above, y, 0, grad_input=above)
        elif derivative is None:
            negative = torch.where(z > 0, 0.0, above)
            self.slope_grads[layer].copy_((negative * z).sum((1, 2), keepdim=True))
            above = torch.where(z > 0, above, above * self.slopes[layer])
        else:
            above = derivative(above, z, y)
        return self._denormalise(layer, tape, above) if layer in self.norms else above

    def _normalise_in(self, layer: int, z: Tensor, tape: Tape) -> Tensor:
        norm: BatchNorm = self.norms[layer]
        mean, variance = norm.moments(z)
        norm.remember(mean, variance, z.shape[1])
        spread = (variance + norm.epsilon).rsqrt()
        centred = z.sub_(mean).mul_(spread)
        tape.normalised[layer] = (centred, spread)
        return torch.addcmul(norm.shift, centred, norm.scale, out=self.room(f"normal{layer}", *z.shape))

    def _denormalise(self, layer: int, tape: Tape, above: Tensor) -> Tensor:
        """Ioffe and Szegedy 2015, section 3, put together."""
        centred, spread = tape.normalised[layer]
        scale_grad, shift_grad = self.norm_grads[layer]
        torch.sum(above * centred, 1, keepdim=True, out=scale_grad)
        torch.sum(above, 1, keepdim=True, out=shift_grad)
        batch = above.shape[1]
        inner = above - shift_grad / batch - centred * (scale_grad / batch)
        return inner.mul_(spread * self.norms[layer].scale)

    @OVERFLOWS
    @torch.no_grad()
    def forward(
        self, x: Tensor, drawn: Sequence[Tensor | None], moments: str = "running", watch: Watch | None = None
    ) -> Float[Tensor, "model batch out"]:
        """Outputs without noise and with running moments: what an evaluation asks for."""
        assert moments == "running"
        assert all(numbers is None for numbers in drawn)
        products = self.products
        x = products.operand("evaluated", x)
        for layer, function in enumerate(self.functions):
            shape = (len(self.seeds), x.shape[1], self.weights[layer].shape[2])
            z = self.room(f"evaluated{layer % 2}", *shape)
            products.into(z, x, products.operand("weight", self.weights[layer])).add_(self.biases[layer])
            if layer in self.norms:
                z = self._normalise(self.norms[layer], z, moments)
            x = products.operand(f"evaluated{layer % 2}", self._activate(layer, function, z))
        out = self.room("outputs", len(self.seeds), self.weights[-1].shape[2], x.shape[1])
        return self._outputs(x, products.operand("weight", self.weights[-1]), out)


@dataclass
class Frame:
    """Where the updates of batches of one size write: looked up once, as a look costs as much as a small operation."""

    z: list[Tensor]  # of each hidden layer, before the activation
    below: list[Tensor]  # the gradient by each hidden layer's activation
    block: Float[Tensor, "batch model out example"]  # the outputs of a block of batches
    outputs: tuple[Tensor, ...]  # the same, by batch


class Tape:
    """What the forward pass leaves for the backward pass, by layer."""

    def __init__(self) -> None:
        self.x: list[Tensor] = []  # what the layer's product took
        self.weights: list[Tensor] = []  # with noise
        self.z: list[Tensor] = []  # before the activation
        self.y: list[Tensor] = []  # after it
        self.factors: list[Tensor | None] = []  # of the noise
        self.normalised: dict[int, tuple[Tensor, Tensor]] = {}
