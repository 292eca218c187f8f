"""Trains a group of runs together: every tensor has a leading model axis, and no operation crosses it.

Runs can share a group when their tensors have the same shapes and their programs the same steps (`group_key`).
Rates, decays, initialisations and seeds differ freely inside one: they are numbers along the model axis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mlplab.data import Dataset
from mlplab.engine import draws
from mlplab.engine.activations import activation_function
from mlplab.engine.losses import LOSSES, accuracy
from mlplab.engine.records import Epoch, Result
from mlplab.spec import Run, Setting

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Examples that are evaluated at once, over all models: their activations stay within some hundred megabytes.
EVALUATION_EXAMPLES = 16_384


def group_key(run: Run, data: Dataset) -> Hashable:
    """Runs with equal keys can be trained as one group."""
    model, optimizer, training = run.setting.model, run.setting.optimizer, run.setting.training
    parts = (data.train, data.validation, data.test)
    return (
        (model.hidden_sizes, model.activations, model.bias),
        (optimizer.kind, optimizer.momentum > 0, optimizer.nesterov),
        training,
        (data.task, data.in_features, data.out_features),
        tuple(None if part is None else len(part.features) for part in parts),
    )


def train_group(
    runs: Sequence[Run], data: Mapping[str, Dataset], device: torch.device
) -> Iterator[Epoch | Result]:
    """Train runs that share a `group_key`: yields their epochs as they end, then their results."""
    started = time.perf_counter()
    training = runs[0].setting.training
    batches = Batches(runs, data, device)
    models = Models(runs, batches, device)
    history = History(runs, batches.steps_per_epoch, device)
    step = 0
    for epoch in range(training.epochs):
        sums: dict[str, Tensor] = {}
        for x, y in batches.epoch(epoch):
            metrics = models.train_step(x, y, step)
            history.watch(metrics["loss"], step)
            for name, value in metrics.items():
                # float64: sums of finite losses stay finite, and an epoch's mean keeps its digits.
                sums[name] = sums.get(name, 0) + value.double() * x.shape[1]
            step += 1
        history.append({f"running_{name}": value / batches.num_examples for name, value in sums.items()})
        if (epoch + 1) % training.evaluate_every == 0 or epoch + 1 == training.epochs:
            evaluated = models.evaluate("validation")
            history.watch(evaluated["validation_loss"], step)
            history.append({"evaluated_epoch": torch.full((len(runs),), float(epoch + 1))} | evaluated)
        yield from (Epoch(run, epoch + 1) for run in runs)
        if history.all_diverged:
            break
    metrics = {}
    for part in ("train", "validation", "test"):
        metrics |= models.evaluate(part)
    history.watch(torch.stack(list(metrics.values())).sum(0), step)
    yield from history.results(metrics, models.parameters(), time.perf_counter() - started)


class Batches:
    """The examples of each model. A feed is an order of one data set: models of one seed share theirs."""

    def __init__(self, runs: Sequence[Run], data: Mapping[str, Dataset], device: torch.device) -> None:
        training = runs[0].setting.training
        self.dtype = getattr(torch, training.precision)
        self.device = device
        names = list(dict.fromkeys(run.data for run in runs))
        self.datasets = [data[name] for name in names]
        self.dataset_of_model = _index([names.index(run.data) for run in runs], device)
        feeds = list(dict.fromkeys((names.index(run.data), run.seed) for run in runs))
        self.feeds = feeds
        self.feed_of_model = _index([feeds.index((names.index(run.data), run.seed)) for run in runs], device)
        self.features, self.targets = self._part("train")
        self.num_examples = self.features.shape[1]
        self.batch_size = training.batch_size or self.num_examples
        self.steps_per_epoch = -(-self.num_examples // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Float[Tensor, "model batch in"], Tensor]]:
        """The batches of an epoch, each model's in the order of its seed."""
        orders = torch.stack([draws.epoch_order(seed, epoch, self.num_examples) for _, seed in self.feeds])
        # Rows of all data sets one after the other: a feed's rows start where its data set does.
        starts = torch.tensor([[dataset * self.num_examples] for dataset, _ in self.feeds])
        for rows in (orders + starts).to(self.device).split(self.batch_size, dim=1):
            x = self.features.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
            y = self.targets.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
            yield _spread(x, self.feed_of_model), _spread(y, self.feed_of_model)

    def part(self, name: str) -> Iterator[tuple[Float[Tensor, "model batch in"], Tensor]]:
        """A part of the data in order, in pieces. Nothing where the data set has no such part."""
        if getattr(self.datasets[0], name) is None:
            return
        features, targets = (self.features, self.targets) if name == "train" else self._part(name)
        size = max(EVALUATION_EXAMPLES // len(self.feed_of_model), 1)
        for x, y in zip(features.split(size, dim=1), targets.split(size, dim=1), strict=True):
            yield _spread(x, self.dataset_of_model), _spread(y, self.dataset_of_model)

    def _part(self, name: str) -> tuple[Tensor, Tensor]:
        parts = [getattr(dataset, name) for dataset in self.datasets]
        features = torch.stack([torch.from_numpy(part.features) for part in parts]).to(
            self.device, self.dtype
        )
        targets = torch.stack([torch.from_numpy(part.targets) for part in parts]).to(self.device)
        return features, targets.to(self.dtype) if targets.is_floating_point() else targets


class Models:
    """Weights of the group, (model, in, out) for each layer, and how they change."""

    def __init__(self, runs: Sequence[Run], batches: Batches, device: torch.device) -> None:
        self.seeds = [run.seed for run in runs]
        self.settings = [run.setting for run in runs]
        self.batches, self.device = batches, device
        self.loss = LOSSES[runs[0].setting.training.loss]
        self.counts_hits = batches.datasets[0].task == "classification"
        self.activations = [activation_function(a) for a in runs[0].setting.model.activations]
        sizes = batches.datasets[0].in_features, batches.datasets[0].out_features
        drawn = [draws.initial_parameters(run.setting, *sizes, run.seed) for run in runs]
        place = {"device": device, "dtype": batches.dtype}
        layers = range(len(drawn[0]))
        self.weights = [torch.stack([d[i][0].T for d in drawn]).to(**place).requires_grad_() for i in layers]
        self.biases = [torch.stack([d[i][1] for d in drawn])[:, None].to(**place) for i in layers]
        if runs[0].setting.model.bias:
            self.biases = [bias.requires_grad_() for bias in self.biases]
        self.trained = [p for p in (*self.weights, *self.biases) if p.requires_grad]
        self.optimizer = StackedOptimizer(self.settings, self.trained, num_weights=len(self.weights))

    def train_step(self, x: Tensor, y: Tensor, step: int) -> dict[str, Float[Tensor, "model"]]:
        """One update of every model; returns what their batches gave before it."""
        outputs = self.forward(x, self.masks(step, x.shape[1]))
        losses = self.loss(outputs, y)
        self.optimizer.update(torch.autograd.grad(losses.sum(), self.trained), step)
        metrics = {"loss": losses.detach()}
        if self.counts_hits:
            metrics["accuracy"] = accuracy(outputs.detach(), y)
        return metrics

    def forward(self, x: Tensor, masks: Sequence[Callable[[Tensor], Tensor] | None]) -> Tensor:
        """Outputs (model, batch, out)."""
        for weight, bias, activation, mask in zip(
            self.weights[:-1], self.biases[:-1], self.activations, masks, strict=True
        ):
            x = activation(torch.baddbmm(bias, x, weight))
            if mask is not None:
                x = mask(x)
        return torch.baddbmm(self.biases[-1], x, self.weights[-1])

    def masks(self, step: int, batch: int) -> list[Callable[[Tensor], Tensor] | None]:
        """Dropout of each hidden layer at an update; None where no model has any."""
        return [self._mask(layer, step, batch) for layer in range(len(self.activations))]

    def _mask(self, layer: int, step: int, batch: int) -> Callable[[Tensor], Tensor] | None:
        rates = [setting.noises[layer].rate for setting in self.settings]
        if not any(rates):
            return None
        shape = (batch, self.weights[layer].shape[2])
        bits = {seed: draws.noise_bits(seed, layer, step, shape) for seed in dict.fromkeys(self.seeds)}
        dropped = np.empty((len(rates), *shape), dtype=np.bool_)
        for model, (seed, rate) in enumerate(zip(self.seeds, rates, strict=True)):
            np.less(bits[seed], draws.dropout_threshold(rate), out=dropped[model])
        is_dropped = torch.from_numpy(dropped).to(self.device)
        scale = _column([draws.dropout_scale(rate) for rate in rates], self.weights[0])
        return lambda x: (x * scale).masked_fill(is_dropped, 0.0)

    @torch.no_grad()
    def evaluate(self, part: str) -> dict[str, Float[Tensor, "model"]]:
        """Loss, and accuracy for classes, of each model without noise; empty where the data has no such part."""
        sums: dict[str, Tensor] = {}
        examples = 0
        silent = [None] * len(self.activations)
        for x, y in self.batches.part(part):
            outputs = self.forward(x, silent)
            metrics = {"loss": self.loss(outputs, y)}
            if self.counts_hits:
                metrics["accuracy"] = accuracy(outputs, y)
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0) + value.double() * x.shape[1]
            examples += x.shape[1]
        return {f"{part}_{name}": value / examples for name, value in sums.items()}

    def parameters(self) -> list[tuple[tuple[np.ndarray, np.ndarray], ...]]:
        """For each model, (weight, bias) of each layer as in `torch.nn.Linear`."""
        weights = [weight.detach().transpose(1, 2).cpu().numpy() for weight in self.weights]
        biases = [bias.detach()[:, 0].cpu().numpy() for bias in self.biases]
        return [
            tuple((w[m].copy(), b[m].copy()) for w, b in zip(weights, biases, strict=True))
            for m in range(len(self.seeds))
        ]


class StackedOptimizer:
    """The update rules of `spec.Optimizer` and `spec.Penalty`, with numbers of its own for each model."""

    def __init__(self, settings: Sequence[Setting], parameters: Sequence[Tensor], num_weights: int) -> None:
        self.parameters, self.num_weights = parameters, num_weights
        self.kind, self.nesterov = settings[0].optimizer.kind, settings[0].optimizer.nesterov
        self.has_momentum = settings[0].optimizer.momentum > 0

        def numbers(part: str, name: str) -> Tensor:
            return _column([getattr(getattr(setting, part), name) for setting in settings], parameters[0])

        self.rate = numbers("optimizer", "learning_rate")
        self.momentum = numbers("optimizer", "momentum")
        self.beta1, self.beta2 = numbers("optimizer", "beta1"), numbers("optimizer", "beta2")
        self.epsilon = numbers("optimizer", "epsilon")
        self.weight_decay, self.l1 = numbers("penalty", "weight_decay"), numbers("penalty", "l1")
        self.decays, self.has_l1 = bool(self.weight_decay.any()), bool(self.l1.any())
        remembered = {"sgd": int(self.has_momentum), "adam": 2, "adamw": 2}[self.kind]
        self.memory = [[torch.zeros_like(p) for _ in range(remembered)] for p in parameters]

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor], step: int) -> None:
        """One step of all parameters, in place. The gradients are used up."""
        for index, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            if index < self.num_weights:
                self._penalise(parameter, gradient)
            if self.kind == "sgd":
                self._sgd(parameter, gradient, self.memory[index])
            else:
                self._adam(parameter, gradient, self.memory[index], step)

    def _penalise(self, parameter: Tensor, gradient: Tensor) -> None:
        if self.has_l1:
            gradient.addcmul_(parameter.sign(), self.l1)
        if self.decays and self.kind == "adamw":
            parameter.mul_(1 - self.rate * self.weight_decay)
        elif self.decays:
            gradient.addcmul_(parameter, self.weight_decay)

    def _sgd(self, parameter: Tensor, gradient: Tensor, memory: list[Tensor]) -> None:
        if self.has_momentum:
            (velocity,) = memory
            velocity.mul_(self.momentum).add_(gradient)
            gradient = gradient.addcmul_(velocity, self.momentum) if self.nesterov else velocity
        parameter.addcmul_(gradient, self.rate, value=-1)

    def _adam(self, parameter: Tensor, gradient: Tensor, memory: list[Tensor], step: int) -> None:
        mean, square = memory
        mean.mul_(self.beta1).addcmul_(gradient, 1 - self.beta1)
        square.mul_(self.beta2).addcmul_(gradient.square(), 1 - self.beta2)
        scale = (square / (1 - self.beta2 ** (step + 1))).sqrt_().add_(self.epsilon)
        parameter.addcdiv_(mean * (self.rate / (1 - self.beta1 ** (step + 1))), scale, value=-1)


class History:
    """Curves of each run, and the update at which its loss was no longer finite."""

    def __init__(self, runs: Sequence[Run], steps_per_epoch: int, device: torch.device) -> None:
        self.runs, self.steps_per_epoch = runs, steps_per_epoch
        self.curves: dict[str, list[Tensor]] = {}
        self.diverged = torch.full((len(runs),), -1, device=device)

    def watch(self, losses: Float[Tensor, "model"], step: int) -> None:
        """Note the models whose loss is not finite for the first time."""
        newly = (self.diverged < 0) & ~losses.isfinite()
        self.diverged.masked_fill_(newly, step)

    def append(self, values: Mapping[str, Tensor]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self.curves.setdefault(name, []).append(value)

    @property
    def all_diverged(self) -> bool:
        """Whether there is nothing left to train."""
        return bool((self.diverged >= 0).all())

    def results(
        self,
        metrics: Mapping[str, Tensor],
        parameters: Sequence[tuple[tuple[np.ndarray, np.ndarray], ...]],
        seconds: float,
    ) -> Iterator[Result]:
        """One result a run; what a diverged run measured from then on is left out."""
        curves = {name: torch.stack(points).double().cpu().numpy() for name, points in self.curves.items()}
        final = {name: value.double().cpu().numpy() for name, value in metrics.items()}
        for model, (run, diverged) in enumerate(zip(self.runs, self.diverged.tolist(), strict=True)):
            finished = diverged < 0
            yield Result(
                run,
                "finished" if finished else "diverged",
                None if finished else diverged,
                {name: float(value[model]) for name, value in final.items()} if finished else {},
                self._until(diverged, {name: value[:, model] for name, value in curves.items()}),
                parameters[model] if finished else (),
                seconds / len(self.runs),
            )

    def _until(self, diverged: int, curves: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
        """One run's curves up to where it diverged, if it did. A curve without a point is left out."""
        passed = diverged // self.steps_per_epoch if diverged >= 0 else len(curves["running_loss"])
        num_points = {"running_loss": passed, "running_accuracy": passed}
        num_evaluated = 0
        if "evaluated_epoch" in curves:
            # An accuracy is finite whatever it is made of: the loss and the epoch say which points count.
            num_evaluated = np.sum(
                (curves["evaluated_epoch"] <= passed) & np.isfinite(curves["validation_loss"])
            )
        cut = {
            name: values[: num_points.get(name, num_evaluated)].tolist() for name, values in curves.items()
        }
        return {name: values for name, values in cut.items() if values}


def _index(values: list[int], device: torch.device) -> Int[Tensor, "model"]:
    return torch.tensor(values, device=device)


def _spread(x: Tensor, of_model: Int[Tensor, "model"]) -> Tensor:
    """From one tensor a feed or data set to one a model, without a copy where that is possible."""
    if len(x) == 1:
        return x.expand(len(of_model), *x.shape[1:])
    return x if len(x) == len(of_model) else x.index_select(0, of_model)


def _column(values: Sequence[float], like: Tensor) -> Float[Tensor, "model 1 1"]:
    return torch.tensor(values, dtype=torch.float64).to(like.device, like.dtype)[:, None, None]
