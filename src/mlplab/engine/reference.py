"""Trains one run with plain loops. It is the oracle that every fast path is compared with, and the code to read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mlplab.data import Dataset, Part
from mlplab.engine import draws
from mlplab.engine.activations import activation_function
from mlplab.engine.losses import LOSSES, accuracy
from mlplab.engine.records import Result
from mlplab.spec import Optimizer, Penalty, Run, Setting

Mask = Callable[[int, Tensor], Tensor]


def train_one(run: Run, data: Dataset) -> Result:
    """Train one run. The same numbers as `nn.Sequential`, `torch.optim` and autograd, but for the masks."""
    started = time.perf_counter()
    setting, training = run.setting, run.setting.training
    dtype = getattr(torch, training.precision)
    loss_of = LOSSES[training.loss]

    layers = []
    for weight, bias in draws.initial_parameters(setting, data.in_features, data.out_features, run.seed):
        layers.append((weight.to(dtype).requires_grad_(), bias.to(dtype).requires_grad_(setting.model.bias)))
    trained = [p for layer in layers for p in layer if p.requires_grad]
    weights = [weight for weight, _ in layers]
    memory = [Memory(p) for p in trained]

    features, targets = tensors(data.train, dtype)
    curves: dict[str, list[float]] = {}
    step = 0
    diverged_step = None
    for epoch in range(training.epochs):
        order = draws.epoch_order(run.seed, epoch, len(features))
        sums = {"running_loss": 0.0, "running_accuracy": 0.0}
        for batch in order.split(training.batch_size or len(features)):
            x, y = features[batch], targets[batch]
            outputs = forward(x, layers, setting, masks(setting, run.seed, step))
            loss = loss_of(outputs[None], y[None])[0]
            if not math.isfinite(loss.item()):
                diverged_step = step
                break
            gradients = torch.autograd.grad(loss, trained)
            for parameter, gradient, state in zip(trained, gradients, memory, strict=True):
                penalised = setting.penalty if any(parameter is w for w in weights) else Penalty()
                update(parameter, gradient, state, setting.optimizer, penalised, step)
            sums["running_loss"] += loss.item() * len(batch)
            if data.task == "classification":
                sums["running_accuracy"] += accuracy(outputs[None], y[None]).item() * len(batch)
            step += 1
        if diverged_step is not None:
            break
        record(curves, "running_loss", sums["running_loss"] / len(features))
        if data.task == "classification":
            record(curves, "running_accuracy", sums["running_accuracy"] / len(features))
        if (epoch + 1) % training.evaluate_every == 0 or epoch + 1 == training.epochs:
            evaluated = evaluate(layers, setting, data, "validation")
            if not all(map(math.isfinite, evaluated.values())):
                diverged_step = step
                break
            for name, value in {"evaluated_epoch": epoch + 1, **evaluated}.items():
                record(curves, name, value)

    metrics: dict[str, float] = {}
    if diverged_step is None:
        for part in ("train", "validation", "test"):
            metrics |= evaluate(layers, setting, data, part)
        if not all(map(math.isfinite, metrics.values())):
            diverged_step, metrics = step, {}
    finished = diverged_step is None
    return Result(
        run,
        "finished" if finished else "diverged",
        diverged_step,
        metrics,
        curves,
        tuple((weight.detach().numpy(), bias.detach().numpy()) for weight, bias in layers)
        if finished
        else (),
        time.perf_counter() - started,
    )


def tensors(part: Part, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Features, and targets: class numbers as they are, anything else in the precision of training."""
    targets = torch.from_numpy(part.targets)
    return torch.from_numpy(part.features).to(dtype), targets.to(
        dtype
    ) if targets.is_floating_point() else targets


def forward(
    x: Tensor, layers: list[tuple[Tensor, Tensor]], setting: Setting, mask: Mask | None = None
) -> Tensor:
    """Outputs (batch, out) for inputs (batch, in): affine map, activation and noise, layer by layer."""
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        if index < len(layers) - 1:
            x = activation_function(setting.model.activations[index])(x)
            if mask is not None:
                x = mask(index, x)
    return x


def masks(setting: Setting, seed: int, step: int) -> Mask:
    """Dropout at one update: what survives is divided by the probability to survive."""

    def mask(layer: int, x: Tensor) -> Tensor:
        rate = setting.noises[layer].rate
        if rate == 0:
            return x
        kept = draws.dropout_mask(draws.noise_bits(seed, layer, step, tuple(x.shape)), rate)
        return torch.where(kept, x * draws.dropout_scale(rate), 0.0)

    return mask


class Memory:
    """What an optimiser remembers of one parameter: a velocity, or two moments."""

    def __init__(self, parameter: Tensor) -> None:
        self.first = torch.zeros_like(parameter)
        self.second = torch.zeros_like(parameter)


@torch.no_grad()
def update(
    parameter: Tensor, gradient: Tensor, memory: Memory, optimizer: Optimizer, penalty: Penalty, step: int
) -> None:
    """One step of one parameter, in place. The equations are those of `spec.Optimizer` and `spec.Penalty`."""
    rate = optimizer.learning_rate
    gradient = gradient + penalty.l1 * parameter.sign()
    if optimizer.kind == "adamw":
        parameter.mul_(1 - rate * penalty.weight_decay)
    else:
        gradient = gradient + penalty.weight_decay * parameter
    if optimizer.kind == "sgd":
        memory.first.mul_(optimizer.momentum).add_(gradient)
        ahead = gradient + optimizer.momentum * memory.first if optimizer.nesterov else memory.first
        parameter.sub_(rate * ahead)
        return
    beta1, beta2 = optimizer.beta1, optimizer.beta2
    memory.first.mul_(beta1).add_((1 - beta1) * gradient)
    memory.second.mul_(beta2).add_((1 - beta2) * gradient.square())
    mean = memory.first / (1 - beta1 ** (step + 1))
    scale = (memory.second / (1 - beta2 ** (step + 1))).sqrt()
    parameter.sub_(rate * mean / (scale + optimizer.epsilon))


@torch.no_grad()
def evaluate(
    layers: list[tuple[Tensor, Tensor]], setting: Setting, data: Dataset, part: str
) -> dict[str, float]:
    """Loss, and accuracy for classes, without noise. Empty for a part that the data set does not have."""
    held = getattr(data, part)
    if held is None:
        return {}
    x, y = tensors(held, layers[0][0].dtype)
    outputs = forward(x, layers, setting)
    metrics = {f"{part}_loss": LOSSES[setting.training.loss](outputs[None], y[None]).item()}
    if data.task == "classification":
        metrics[f"{part}_accuracy"] = accuracy(outputs[None], y[None]).item()
    return metrics


def record(curves: dict[str, list[float]], name: str, value: float) -> None:
    """Append to a curve."""
    curves.setdefault(name, []).append(value)
