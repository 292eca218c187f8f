"""Many models in one: every tensor has a leading model axis, and no operation crosses it.

The readable middle between `reference.py`, which it agrees with, and `fused.py`, which is faster: gradients are
autograd's. What a learned number is called here and there:

    weight (model, in, out)     bias (model, 1, out)     slope of prelu (model, 1, 1)     batch norm (model, 1, unit)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mlplab.data import Dataset
from mlplab.engine import draws, gpu_draws
from mlplab.engine.activations import activation_function
from mlplab.engine.batches import Batch, Batches, Block
from mlplab.engine.losses import accuracy, evaluated_loss_of, loss_of
from mlplab.engine.noises import NoiseKind, noise_of
from mlplab.engine.records import Parameters
from mlplab.spec import Run

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


@dataclass
class BatchNorm:
    """Batch normalisation of one layer: learned scale and shift, running moments."""

    scale: Float[Tensor, "model 1 unit"]
    shift: Float[Tensor, "model 1 unit"]
    mean: Float[Tensor, "model 1 unit"]
    variance: Float[Tensor, "model 1 unit"]
    momentum: Float[Tensor, "model 1 1"]
    epsilon: Float[Tensor, "model 1 1"]

    def moments(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of a batch, (model, 1, unit)."""
        variance, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
        return mean, variance

    @torch.no_grad()
    def remember(self, mean: Tensor, variance: Tensor, batch: int) -> None:
        """Move the running moments towards a batch's."""
        unbiased = variance * (batch / max(batch - 1, 1))
        self.mean.add_(self.momentum * (mean - self.mean))
        self.variance.add_(self.momentum * (unbiased - self.variance))

    def __call__(self, z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return (z - mean) * (variance + self.epsilon).rsqrt() * self.scale + self.shift


@dataclass
class Watch:
    """What a probe sees of one forward pass: moments of activations by layer, before the noise and after it."""

    moments: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def see(self, name: str, layer: int, x: Float[Tensor, "model batch unit"]) -> None:
        """Note mean and variance of x over batch and units."""
        variance, mean = torch.var_mean(x.detach(), dim=(1, 2), correction=0)
        self.moments |= {f"{name}_mean_{layer}": mean, f"{name}_variance_{layer}": variance}


class Models:
    """Parameters of the group, and what they compute."""

    by_autograd = True

    def __init__(self, runs: Sequence[Run], data: Mapping[str, Dataset], device: torch.device) -> None:
        self.settings, self.seeds, self.device = (
            [run.setting for run in runs],
            [run.seed for run in runs],
            device,
        )
        first = self.settings[0]
        self._seeds = gpu_draws.seed_tensor(self.seeds, device)
        self.is_mixed = first.training.precision == "bfloat16"
        self.dtype = torch.float32 if self.is_mixed else getattr(torch, first.training.precision)
        self.batches = Batches(runs, data, self.dtype, device)
        self.loss, self.evaluated_loss = loss_of(first.training), evaluated_loss_of(first.training)
        self.counts_hits = self.batches.datasets[0].task == "classification"
        self.activations = first.model.activations
        self.functions = [activation_function(activation) for activation in self.activations]
        self.noises = [
            noise_of([setting.noises[layer] for setting in self.settings], self.dtype, device)
            for layer in range(len(self.activations))
        ]
        self._start(runs, data)
        self.trained = [*self.weights, *self.biases] if first.model.bias else list(self.weights)
        self.trained += self.slopes.values()
        for norm in self.norms.values():
            self.trained += [norm.scale, norm.shift]
        for parameter in self.trained:
            parameter.requires_grad_(self.by_autograd)
        self._outputs_of_block: list[Tensor] = []

    def _start(self, runs: Sequence[Run], data: Mapping[str, Dataset]) -> None:
        first = self.settings[0].model
        drawn = []
        for run in runs:
            held = data[run.data]
            sizes = held.in_features, held.out_features
            drawn.append(draws.initial_parameters(run.setting, *sizes, run.seed, held.train.features))
        place = {"device": self.device, "dtype": self.dtype}
        layers = range(len(drawn[0]))
        self.weights = [torch.stack([d[i][0].T for d in drawn]).to(**place).contiguous() for i in layers]
        self.biases = [torch.stack([d[i][1] for d in drawn])[:, None].to(**place) for i in layers]
        self.slopes = {
            layer: self._column([s.model.activations[layer]["init"] for s in self.settings])
            for layer, activation in enumerate(first.activations)
            if activation.kind == "prelu"
        }
        self.norms: dict[int, BatchNorm] = {}
        for layer, normalization in enumerate(first.normalizations):
            if normalization.kind == "batch":
                one = torch.ones(len(runs), 1, first.hidden_sizes[layer], **place)
                options = [s.model.normalizations[layer] for s in self.settings]
                self.norms[layer] = BatchNorm(
                    one,
                    torch.zeros_like(one),
                    torch.zeros_like(one),
                    one.clone(),
                    self._column([option["momentum"] for option in options]),
                    self._column([option["epsilon"] for option in options]),
                )

    def _column(self, values: Sequence[float]) -> Float[Tensor, "model 1 1"]:
        return torch.tensor(values, dtype=torch.float64).to(self.device, self.dtype)[:, None, None]

    def drawn(self, step: int, batch: int) -> list[Tensor | None]:
        """The random numbers of each hidden layer's noise at an update; None where no model has any."""
        shapes = [
            (weight.shape[1] if noise is not None and noise.on == "weights" else batch, weight.shape[2])
            for weight, noise in zip(self.weights, self.noises, strict=False)
        ]
        return [
            None if noise is None else self._drawn(noise, layer, step, shape)
            for layer, (noise, shape) in enumerate(zip(self.noises, shapes, strict=True))
        ]

    def _drawn(self, noise: NoiseKind, layer: int, step: int, shape: tuple[int, int]) -> Tensor:
        seeds = list(dict.fromkeys(self.seeds))
        if self.device.type == "cuda":
            stacked = gpu_draws.noise_draws(noise.draws, self._seeds, layer, step, shape)
            return stacked.to(self.dtype) if stacked.is_floating_point() else stacked
        stacked = draws.noise_of_seeds(noise.draws, seeds, layer, step, shape)
        if stacked.is_floating_point():
            stacked = stacked.to(self.dtype)
        if len(seeds) in (1, len(self.seeds)):
            return stacked
        return stacked.index_select(0, torch.tensor([seeds.index(seed) for seed in self.seeds]))

    @torch.enable_grad()
    def gradients(self, batch: Batch, step: int, watch: Watch | None = None) -> list[Tensor]:
        """The gradients of a batch with noise by `self.trained`. Its outputs are kept until its block is measured."""
        outputs = self.forward(batch.x, self.drawn(step, batch.num_examples), "own", watch)
        losses = self.loss(outputs, self._targets(batch), batch.weights)
        self._outputs_of_block.append(outputs.detach())
        return list(torch.autograd.grad(losses.sum(), self.trained))

    def measure(self, block: Block) -> dict[str, Float[Tensor, "batch model"]]:
        """Loss, and accuracy for classes, of each batch with noise, when all of its gradients were asked for."""
        outputs = self._measured(block)
        steps, models = outputs.shape[:2]
        outputs = outputs.flatten(0, 1)
        y = block.y.expand(steps, models, *block.y.shape[2:]).flatten(0, 1)
        losses = self.loss.examples(outputs, y)
        if block.weights is not None:
            losses = losses * block.weights.expand(steps, models, -1).flatten(0, 1)
        metrics = {"loss": losses.mean(1)}
        if self.counts_hits:
            metrics["accuracy"] = accuracy(outputs, y)
        return {name: value.unflatten(0, (steps, models)) for name, value in metrics.items()}

    def _measured(self, block: Block) -> Float[Tensor, "batch model example out"]:
        """The outputs of a block."""
        outputs, self._outputs_of_block = torch.stack(self._outputs_of_block), []
        return outputs

    def forward(
        self, x: Tensor, drawn: Sequence[Tensor | None], moments: str = "running", watch: Watch | None = None
    ) -> Float[Tensor, "model batch out"]:
        """Outputs.

        Arguments:
          drawn: random numbers of the noise; None for a layer without.
          moments: of batch normalisation: `running`, the batch's `own`, which are then remembered, or `passing`: its
            own, not remembered.
        """
        for layer, (noise, numbers) in enumerate(zip(self.noises, drawn, strict=True)):
            weight = self.weights[layer]
            if noise is not None and numbers is not None and noise.on == "weights":
                weight = noise(weight, numbers)
            z = self._affine(x, weight, self.biases[layer])
            if layer in self.norms:
                z = self._normalise(self.norms[layer], z, moments)
            slope = (self.slopes[layer],) if layer in self.slopes else ()
            x = self.functions[layer](z, *slope)
            if watch is not None:
                watch.see("activation", layer, x)
            if noise is not None and numbers is not None and noise.on == "activations":
                x = noise(x, numbers)
            if watch is not None:
                watch.see("noisy", layer, x)
        return self._affine(x, self.weights[-1], self.biases[-1])

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if 1 < x.shape[0] < weight.shape[0]:
            x = x.repeat_interleave(weight.shape[0] // x.shape[0], dim=0)
        if self.is_mixed:
            return torch.matmul(x.bfloat16(), weight.bfloat16()).to(self.dtype) + bias
        return torch.matmul(x, weight) + bias

    def _normalise(self, norm: BatchNorm, z: Tensor, moments: str) -> Tensor:
        if moments == "running":
            return norm(z, norm.mean, norm.variance)
        mean, variance = norm.moments(z)
        if moments == "own":
            norm.remember(mean.detach(), variance.detach(), z.shape[1])
        return norm(z, mean, variance)

    def _targets(self, batch: Batch) -> Tensor:
        return batch.y.expand(len(self.seeds), *batch.y.shape[1:])

    def _metrics(self, outputs: Tensor, losses: Tensor, batch: Batch) -> dict[str, Float[Tensor, "model"]]:
        metrics = {"loss": losses}
        if self.counts_hits:
            metrics["accuracy"] = accuracy(outputs, self._targets(batch))
        return metrics

    @torch.no_grad()
    def evaluate(self, part: str) -> dict[str, Float[Tensor, "model"]]:
        """Loss, and accuracy for classes, of each model without noise; empty where the data has no such part."""
        sums: dict[str, Tensor] = {}
        examples = 0
        silent = [None] * len(self.activations)
        for batch in self.batches.part(part):
            outputs = self.forward(batch.x, silent)
            losses = self.evaluated_loss(outputs, self._targets(batch), batch.weights)
            for name, value in self._metrics(outputs, losses, batch).items():
                sums[name] = sums.get(name, 0) + value.double() * batch.num_examples
            examples += batch.num_examples
        return {f"{part}_{name}": value / examples for name, value in sums.items()}

    @torch.no_grad()
    def hits(self, part: str) -> Bool[Tensor, "model example"] | None:
        """Which examples of a part each model classifies right; of classes that tie it takes the first."""
        silent = [None] * len(self.activations)
        found = [
            self.forward(batch.x, silent).argmax(2) == self._targets(batch)
            for batch in self.batches.part(part)
        ]
        return torch.cat(found, 1) if found else None

    @torch.no_grad()
    def train_mode(self, step: int) -> dict[str, Float[Tensor, "model"]]:
        """The validation part with noise, and with its own moments in batch normalisation."""
        batch = self.batches.every("validation")
        # The plain forward pass also where a faster one is at hand: this is asked for once an epoch at most.
        outputs = Models.forward(self, batch.x, self.drawn(step, batch.num_examples), "passing")
        losses = self.evaluated_loss(outputs, self._targets(batch), batch.weights)
        metrics = self._metrics(outputs, losses, batch)
        return {f"train_mode_{name}": value for name, value in metrics.items()}

    @torch.no_grad()
    def quiet_moments(self) -> dict[str, Float[Tensor, "model"]]:
        """Moments of what hidden layers compute without noise, over the validation part."""
        watch = Watch()
        Models.forward(self, self.batches.every("validation").x, [None] * len(self.activations), watch=watch)
        return {
            name.replace("activation", "quiet"): value
            for name, value in watch.moments.items()
            if name.startswith("activation")
        }

    def parameters(self) -> list[Parameters]:
        """For each model, (weight, bias) of each layer as in `torch.nn.Linear`."""
        weights = [weight.detach().transpose(1, 2).cpu().numpy() for weight in self.weights]
        biases = [bias.detach()[:, 0].cpu().numpy() for bias in self.biases]
        return [
            tuple((w[m].copy(), b[m].copy()) for w, b in zip(weights, biases, strict=True))
            for m in range(len(self.seeds))
        ]

    def extras(self) -> list[dict[str, np.ndarray]]:
        """For each model, what it learned beside weights and biases."""
        named = {f"prelu_slope_{layer}": slope[:, 0, 0] for layer, slope in self.slopes.items()}
        for layer, norm in self.norms.items():
            for name in ("scale", "shift", "mean", "variance"):
                named[f"norm_{name}_{layer}"] = getattr(norm, name)[:, 0]
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}
        return [{name: array[m].copy() for name, array in arrays.items()} for m in range(len(self.seeds))]

    def state(self) -> list[Tensor]:
        """Everything that training changes in the models, without the optimiser's memory."""
        moments = [tensor for norm in self.norms.values() for tensor in (norm.mean, norm.variance)]
        return [parameter.detach() for parameter in self.trained] + moments
