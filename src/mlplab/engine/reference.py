"""Trains one run with plain loops. It is the oracle that every fast path is compared with, and the code to read."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mlplab.data import Dataset, Part
from mlplab.engine import draws
from mlplab.engine.activations import activation_function
from mlplab.engine.losses import Loss, accuracy, evaluated_loss_of, loss_of
from mlplab.engine.noises import noise_of
from mlplab.engine.records import Parameters, Result
from mlplab.engine.schedules import rate_factor
from mlplab.spec import Normalization, Optimizer, Penalty, Run, Setting

Noisy = Callable[[int, Literal["weights", "activations"], Tensor], Tensor]


@dataclass
class Model:
    """What is learned: weight (out, in) and bias (out,) of each layer; the rest by the names of `Result.extras`."""

    layers: list[tuple[Tensor, Tensor]]
    extras: dict[str, Tensor]

    @property
    def weights(self) -> list[Tensor]:
        return [weight for weight, _ in self.layers]

    @property
    def trained(self) -> list[Tensor]:
        """What has a gradient, the weights first."""
        found = [*self.weights, *(bias for _, bias in self.layers), *self.extras.values()]
        return [tensor for tensor in found if tensor.requires_grad]

    def arrays(self) -> Parameters:
        """A copy of weights and biases."""
        return tuple((w.detach().numpy().copy(), b.detach().numpy().copy()) for w, b in self.layers)


class Diverged(Exception):
    """A number that training goes on from, or that is recorded, is not finite."""


def train_one(run: Run, data: Dataset) -> Result:
    """Train one run. The same numbers as `nn.Sequential`, `torch.optim` and autograd, but for the noise."""
    started = time.perf_counter()
    setting, training, optimizer = run.setting, run.setting.training, run.setting.optimizer
    model = first_model(run, data)
    memory = [Memory(parameter) for parameter in model.trained]
    features, targets, weights = tensors(data.train, dtype_of(setting))
    num_examples, batch_size = len(features), training.batch_size or len(features)
    timing = len(batches_of(torch.arange(num_examples), batch_size, training.drop_last)), training.epochs
    curves: dict[str, list[float]] = {}
    kept: dict[int, Parameters] = {}
    best_epoch, best_model = None, model
    average, num_averaged = copy.deepcopy(model), 0
    seen: dict[str, Tensor] = {}
    gradients: tuple[Tensor, ...] = ()
    step = 0
    try:
        for epoch in range(training.epochs):
            sums: dict[str, float] = {}
            num_seen = 0
            order = draws.epoch_order(run.seed, epoch, num_examples)
            for rows in batches_of(order, batch_size, training.drop_last):
                noise, seen = noise_at(setting, run.seed, step), {}
                outputs = forward(features[rows], model, setting, noise, seen)
                of_rows = None if weights is None else weights[rows]
                batch = measure(outputs, targets[rows], of_rows, loss_of(training))
                refuse_infinite(batch)
                gradients = torch.autograd.grad(batch["loss"], model.trained)
                coefficient = clip_coefficient(gradients, optimizer.clip_norm)
                rate = optimizer.learning_rate * rate_factor(optimizer.schedule, step, *timing)
                for index, (parameter, gradient) in enumerate(zip(model.trained, gradients, strict=True)):
                    penalty = setting.penalty if index < len(model.weights) else None
                    update(parameter, coefficient * gradient, memory[index], optimizer, penalty, step, rate)
                update_running_moments(model, setting, seen)
                for name, value in batch.items():
                    sums[name] = sums.get(name, 0.0) + value.item() * len(rows)
                num_seen += len(rows)
                step += 1
                if epoch >= training.epochs - training.average_epochs:
                    num_averaged += 1
                    move_average(average, model, num_averaged)
            record(curves, {f"running_{name}": total / num_seen for name, total in sums.items()})
            if epoch + 1 in training.keep_weights:
                kept[epoch + 1] = model.arrays()
            if (epoch + 1) % training.evaluate_every == 0 or epoch + 1 == training.epochs:
                evaluated = evaluate(model, setting, data, "validation")
                evaluated |= probe(model, setting, seen, gradients)
                if "train_mode" in training.probes:
                    noise = noise_at(setting, run.seed, step)
                    evaluated |= evaluate(model, setting, data, "validation", noise, "train_mode")
                if "quiet_activations" in training.probes:
                    evaluated |= quiet_moments(model, setting, data)
                if "train_part" in training.probes:
                    evaluated |= evaluate(model, setting, data, "train")
                record(curves, {"evaluated_epoch": epoch + 1, **evaluated})
                if training.patience:
                    losses = curves["validation_loss"]
                    num_since_best = len(losses) - 1 - losses.index(min(losses))
                    if num_since_best == 0:
                        best_epoch, best_model = epoch + 1, copy.deepcopy(model)
                    if num_since_best == training.patience:
                        break
        model = best_model
        metrics: dict[str, float] = {}
        for part in ("train", "validation", "test"):
            metrics |= evaluate(model, setting, data, part)
        if training.average_epochs:
            for part in ("train", "validation", "test"):
                metrics |= evaluate(average, setting, data, part, name=f"average_{part}")
        refuse_infinite(metrics)
        test_hits = hits(average if training.average_epochs else model, setting, data)
    except Diverged:
        return Result(run, "diverged", step, {}, curves, (), time.perf_counter() - started, kept=kept)
    seconds = time.perf_counter() - started
    extras = {name: tensor.detach().numpy() for name, tensor in model.extras.items()}
    learned = model.arrays(), seconds, extras, best_epoch, kept
    return Result(run, "finished", None, metrics, curves, *learned, test_hits=test_hits)


def dtype_of(setting: Setting) -> torch.dtype:
    """Of weights, their memory and the loss."""
    return torch.float64 if setting.training.precision == "float64" else torch.float32


def first_model(run: Run, data: Dataset) -> Model:
    """Where training starts: drawn from the run's seed."""
    setting, dtype = run.setting, dtype_of(run.setting)
    sizes = data.in_features, data.out_features
    layers = []
    for weight, bias in draws.initial_parameters(setting, *sizes, run.seed, data.train.features):
        layers.append((weight.to(dtype).requires_grad_(), bias.to(dtype).requires_grad_(setting.model.bias)))
    extras = {}
    for layer, units in enumerate(setting.model.hidden_sizes):
        if setting.model.activations[layer].kind == "prelu":
            slope = setting.model.activations[layer]["init"]
            extras[f"prelu_slope_{layer}"] = torch.tensor(slope, dtype=dtype, requires_grad=True)
        if setting.model.normalizations[layer].kind == "batch":
            extras[f"norm_scale_{layer}"] = torch.ones(units, dtype=dtype, requires_grad=True)
            extras[f"norm_shift_{layer}"] = torch.zeros(units, dtype=dtype, requires_grad=True)
            extras[f"norm_mean_{layer}"] = torch.zeros(units, dtype=dtype)
            extras[f"norm_variance_{layer}"] = torch.ones(units, dtype=dtype)
    return Model(layers, extras)


def tensors(part: Part, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features; targets, class numbers as they are; the examples' weights, where they have any."""
    targets = torch.from_numpy(part.targets)
    return (
        torch.from_numpy(part.features).to(dtype),
        targets.to(dtype) if targets.is_floating_point() else targets,
        None if part.weights is None else torch.from_numpy(part.weights).to(dtype),
    )


def forward(
    x: Tensor,
    model: Model,
    setting: Setting,
    noise: Noisy | None = None,
    seen: dict[str, Tensor] | None = None,
) -> Tensor:
    """Outputs (batch, out) for inputs (batch, in): affine map, normalisation, activation and noise, layer by layer.

    With `noise` as in training, without as in evaluation. What each hidden layer computes is written to `seen`.
    """
    seen = {} if seen is None else seen
    product = rounded_product if setting.training.precision == "bfloat16" else torch.matmul
    for layer, (weight, bias) in enumerate(model.layers[:-1]):
        matrix = weight.T if noise is None else noise(layer, "weights", weight.T)
        x = seen[f"affine_{layer}"] = product(x, matrix) + bias
        if setting.model.normalizations[layer].kind == "batch":
            x = normalize(x, model, layer, setting.model.normalizations[layer], own_moments=noise is not None)
        activation = setting.model.activations[layer]
        slope = [model.extras[f"prelu_slope_{layer}"]] if activation.kind == "prelu" else []
        x = seen[f"activation_{layer}"] = activation_function(activation)(x, *slope)
        x = seen[f"noisy_{layer}"] = x if noise is None else noise(layer, "activations", x)
    weight, bias = model.layers[-1]
    return product(x, weight.T) + bias


def rounded_product(x: Tensor, matrix: Tensor) -> Tensor:
    """The product of bfloat16 numbers, summed in float32."""
    return (x.bfloat16() @ matrix.bfloat16()).float()


def noise_at(setting: Setting, seed: int, step: int) -> Noisy:
    """The noise of one update: (layer, where, x) to x with it, where the layer has such noise.

    `activations` are (batch, unit); `weights` those that lead into the layer, (in, out).
    """

    def noise(layer: int, on: str, x: Tensor) -> Tensor:
        kind = noise_of([setting.noises[layer]], x.dtype)
        if kind is None or kind.on != on:
            return x
        drawn = draws.noise_draws(kind.draws, seed, layer, step, tuple(x.shape))
        drawn = drawn if kind.draws == "bits" else drawn.to(x.dtype)
        return kind(x[None], drawn[None])[0]

    return noise


def normalize(
    x: Tensor, model: Model, layer: int, normalization: Normalization, *, own_moments: bool
) -> Tensor:
    """Batch normalisation, with the moments of this batch or the running ones."""
    if own_moments:
        variance, mean = torch.var_mean(x, 0, correction=0)
    else:
        mean, variance = model.extras[f"norm_mean_{layer}"], model.extras[f"norm_variance_{layer}"]
    x = (x - mean) / (variance + normalization["epsilon"]).sqrt()
    return x * model.extras[f"norm_scale_{layer}"] + model.extras[f"norm_shift_{layer}"]


@torch.no_grad()
def update_running_moments(model: Model, setting: Setting, seen: dict[str, Tensor]) -> None:
    """running = (1 - momentum)·running + momentum·batch, with the unbiased variance of the batch as in PyTorch.

    A batch of one example, which PyTorch refuses, has variance 0.
    """
    for layer, normalization in enumerate(setting.model.normalizations):
        if normalization.kind == "batch":
            affine = seen[f"affine_{layer}"]
            variance, mean = torch.var_mean(affine, 0, correction=min(1, len(affine) - 1))
            for name, value in (("mean", mean), ("variance", variance)):
                model.extras[f"norm_{name}_{layer}"].lerp_(value, normalization["momentum"])


def measure(outputs: Tensor, y: Tensor, weights: Tensor | None, loss: Loss) -> dict[str, Tensor]:
    """Loss, and accuracy for classes. Engine functions are for many models at once: this is one."""
    measured = {"loss": loss(outputs[None], y[None], None if weights is None else weights[None])[0]}
    if not y.is_floating_point():
        measured["accuracy"] = accuracy(outputs[None], y[None])[0]
    return measured


def clip_coefficient(gradients: tuple[Tensor, ...], clip_norm: float | None) -> Tensor | float:
    """What all gradients of a model are multiplied by: that of `torch.nn.utils.clip_grad_norm_`."""
    if clip_norm is None:
        return 1.0
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    return (clip_norm / (norm + 1e-6)).clamp(max=1.0)


def batches_of(order: Tensor, batch_size: int, drop_last: bool) -> list[Tensor]:
    """An epoch's examples in batches; the last one may be smaller, or be left out then."""
    batches = list(order.split(batch_size))
    is_smaller = len(batches) > 1 and len(batches[-1]) < batch_size
    return batches[:-1] if drop_last and is_smaller else batches


@torch.no_grad()
def move_average(average: Model, model: Model, number: int) -> None:
    """Take the model as it is now into a mean of `number` models with it: (1 - 1/n)·mean + model/n."""
    ours, now = ([*sum(m.layers, ()), *m.extras.values()] for m in (average, model))
    for mean, value in zip(ours, now, strict=True):
        mean.lerp_(value, 1 / number)


class Memory:
    """What an optimiser remembers of one parameter: a velocity, or two moments."""

    def __init__(self, parameter: Tensor) -> None:
        self.first = torch.zeros_like(parameter)
        self.second = torch.zeros_like(parameter)


@torch.no_grad()
def update(
    parameter: Tensor,
    gradient: Tensor,
    memory: Memory,
    optimizer: Optimizer,
    penalty: Penalty | None,
    step: int,
    rate: float,
) -> None:
    """One step of one parameter, in place. The equations are those of `spec.Optimizer` and `spec.Penalty`.

    `penalty` is None for what is no weight matrix: neither penalties nor trust ratios reach it.
    """
    is_weight, penalty = penalty is not None, penalty or Penalty()
    decay = penalty.weight_decay
    gradient = gradient + penalty_slope(parameter, penalty)
    if optimizer.kind in ("sgd", "lars"):
        if optimizer.kind == "lars" and is_weight:
            size, slope = parameter.norm(), gradient.norm()
            trust = optimizer.trust_coefficient * size / (slope + decay * size + optimizer.epsilon)
            gradient = (trust if size > 0 and slope > 0 else 1.0) * (gradient + decay * parameter)
        else:
            gradient = gradient + decay * parameter
        memory.first.mul_(optimizer.momentum).add_(gradient)
        ahead = gradient + optimizer.momentum * memory.first if optimizer.nesterov else memory.first
        parameter.sub_(rate * ahead)
    else:
        if optimizer.kind == "adam":
            gradient = gradient + decay * parameter
        beta1, beta2 = optimizer.beta1, optimizer.beta2
        memory.first.mul_(beta1).add_((1 - beta1) * gradient)
        memory.second.mul_(beta2).add_((1 - beta2) * gradient.square())
        mean = memory.first / (1 - beta1 ** (step + 1))
        scale = (memory.second / (1 - beta2 ** (step + 1))).sqrt()
        direction = mean / (scale + optimizer.epsilon)
        if optimizer.kind != "adam":
            direction = direction + decay * parameter
        if optimizer.kind == "lamb" and is_weight:
            size, length = parameter.norm(), direction.norm()
            direction = (size / length if size > 0 and length > 0 else 1.0) * direction
        parameter.sub_(rate * direction)
    if penalty.proximal:
        parameter.copy_(parameter.sign() * (parameter.abs() - rate * penalty.l1).clamp(min=0.0))


def penalty_slope(weight: Tensor, penalty: Penalty) -> Tensor:
    """The derivative of the L1 term and of the prior's. Weight decay is each optimiser's own."""
    slope = torch.zeros_like(weight) if penalty.proximal else penalty.l1 * weight.sign()
    if penalty.prior is not None:
        # Tensors: torch.distributions would round plain numbers to float32.
        options = {name: weight.new_tensor(value) for name, value in penalty.prior.options}
        with torch.enable_grad():
            at = weight.detach().requires_grad_()
            logarithm = penalty.prior.distribution(**options).log_prob(at).sum()
        slope = slope - penalty.prior_weight * torch.autograd.grad(logarithm, at)[0]
    return slope


@torch.no_grad()
def evaluate(
    model: Model,
    setting: Setting,
    data: Dataset,
    part: str,
    noise: Noisy | None = None,
    name: str | None = None,
) -> dict[str, float]:
    """Loss, and accuracy for classes, by default without noise. Empty for a part that the data set does not have."""
    held = getattr(data, part)
    if held is None:
        return {}
    x, y, weights = tensors(held, dtype_of(setting))
    outputs = forward(x, model, setting, noise)
    measured = measure(outputs, y, weights, evaluated_loss_of(setting.training))
    return {f"{name or part}_{metric}": value.item() for metric, value in measured.items()}


@torch.no_grad()
def hits(model: Model, setting: Setting, data: Dataset) -> np.ndarray | None:
    """Which test examples are classified right, 8 a byte; None where nobody asks, or there is no test part."""
    if data.test is None or "test_hits" not in setting.training.probes:
        return None
    x, y, _ = tensors(data.test, dtype_of(setting))
    return np.packbits((forward(x, model, setting).argmax(1) == y).numpy())


@torch.no_grad()
def probe(
    model: Model, setting: Setting, seen: dict[str, Tensor], gradients: tuple[Tensor, ...]
) -> dict[str, float]:
    """What `Training.probes` asks for: of the last update what layers computed and gradients; and the weights now."""
    found = {}
    for layer, weight in enumerate(model.weights):
        if "activations" in setting.training.probes and layer < len(model.weights) - 1:
            for name in ("activation", "noisy"):
                variance, mean = torch.var_mean(seen[f"{name}_{layer}"], correction=0)
                found |= {f"{name}_mean_{layer}": mean.item(), f"{name}_variance_{layer}": variance.item()}
        if "gradient_norms" in setting.training.probes:
            found[f"gradient_norm_{layer}"] = gradients[layer].norm().item()
        if "weight_norms" in setting.training.probes:
            found[f"weight_norm_{layer}"] = weight.norm().item()
    return found


@torch.no_grad()
def quiet_moments(model: Model, setting: Setting, data: Dataset) -> dict[str, float]:
    """Moments of what hidden layers compute without noise, over the validation part."""
    seen: dict[str, Tensor] = {}
    forward(tensors(data.validation, dtype_of(setting))[0], model, setting, seen=seen)
    found = {}
    for layer in range(len(model.layers) - 1):
        variance, mean = torch.var_mean(seen[f"activation_{layer}"], correction=0)
        found |= {f"quiet_mean_{layer}": mean.item(), f"quiet_variance_{layer}": variance.item()}
    return found


def record(curves: dict[str, list[float]], point: dict[str, float]) -> None:
    """Add a point to each curve. Raises Diverged for a number that is not finite."""
    refuse_infinite(point)
    for name, value in point.items():
        curves.setdefault(name, []).append(value)


def refuse_infinite(values: Mapping[str, float | Tensor]) -> None:
    """Raises Diverged for a number that is not finite."""
    if not all(math.isfinite(v.item() if isinstance(v, Tensor) else v) for v in values.values()):
        raise Diverged
