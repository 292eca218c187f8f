"""Trains a group of runs together. Runs can share a group when their tensors have the same shapes and their programs
the same steps (`group_key`); rates, strengths, initialisations and seeds differ freely inside one.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mlplab.data import Dataset
from mlplab.engine.fused import OVERFLOWS, FusedModels
from mlplab.engine.history import History
from mlplab.engine.optimizers import StackedOptimizer
from mlplab.engine.records import Epoch, Result, State
from mlplab.engine.stacked import Models, Watch
from mlplab.spec import Noise, Run, Setting

if TYPE_CHECKING:
    from jaxtyping import Float


def group_key(run: Run, data: Dataset) -> Hashable:
    """Runs with equal keys can be trained as one group."""
    model, optimizer, prior = run.setting.model, run.setting.optimizer, run.setting.penalty.prior
    activations = tuple(a.kind if a.kind == "prelu" else a for a in model.activations)
    return (
        (model.hidden_sizes, activations, tuple(n.kind for n in model.normalizations), model.bias),
        tuple(_pooled_kind(noise) for noise in run.setting.noises),
        (optimizer.kind, optimizer.momentum > 0, optimizer.nesterov),
        None if prior is None else (prior.kind, tuple(name for name, _ in prior.options)),
        run.setting.training,
        (data.task, data.in_features, data.out_features),
        tuple((name, part.num_examples, part.weights is None) for name, part in data.parts.items()),
    )


def _pooled_kind(noise: Noise) -> str:
    # No noise is dropout at rate 0: the two arms of the commonest comparison are trained together.
    return "dropout" if noise.kind == "none" else noise.kind


def train_group(
    runs: Sequence[Run],
    data: Mapping[str, Dataset],
    device: torch.device,
    models_of: type[Models] = FusedModels,
    is_stopped: Callable[[], bool] = lambda: False,
    states: Mapping[Run, State] = MappingProxyType({}),
    keep_states: bool = False,
) -> Iterator[Epoch | Result]:
    """Train runs that share a `group_key`: yields their epochs as they end, then their results.

    Arguments:
      models_of: the arithmetic: the fast one, or the readable one.
      is_stopped: asked before each update; ends training without results.
      states: what each run goes on from, all after the same epoch; empty for a start at the beginning.
      keep_states: give each result a state.
    """
    started = time.perf_counter()
    training = runs[0].setting.training
    models = models_of(runs, data, device)
    batches, members = models.batches, tuple(runs)
    optimizer = StackedOptimizer(
        models.settings, models.trained, len(models.weights), batches.steps_per_epoch
    )
    history = History(runs, batches.steps_per_epoch, device)
    average = Average(models)
    best: list[Tensor] = []
    before = [states[run] for run in runs if run in states]
    passed = before[0].epoch if before else 0
    if before:
        assert len(before) == len(runs), "all go on, from the same epoch, or none does"
        best = _go_on(models, optimizer, before)
        average.go_on(before, training.epochs)
        history.go_on(before)
    step = passed * batches.steps_per_epoch
    for epoch in range(passed + 1, training.epochs + 1):
        is_training = history.is_training
        if not is_training.any():
            break
        passed = epoch
        is_evaluated = epoch % training.evaluate_every == 0 or epoch == training.epochs
        is_averaged = epoch > training.epochs - training.average_epochs
        passing = _pass(
            models, optimizer, epoch - 1, average if is_averaged else None, is_evaluated, is_stopped
        )
        if passing is None:
            return
        points, losses, observed = passing
        history.watch_updates(losses, step)
        step += len(losses)
        history.append(points)
        if is_evaluated:
            evaluated = models.evaluate("validation")
            if "weight_norms" in training.probes:
                observed |= _norms("weight", models.weights)
            if "train_mode" in training.probes:
                observed |= models.train_mode(step)
            if "quiet_activations" in training.probes:
                observed |= models.quiet_moments()
            if "train_part" in training.probes:
                observed |= models.evaluate("train")
            history.watch_evaluation([*evaluated.values(), *observed.values()], step)
            number = torch.full((len(runs),), float(epoch), device=device)
            history.append({"evaluated_epoch": number} | evaluated | observed)
            points |= evaluated | observed
            if training.patience is not None:
                best = _keep_best(models, best, history.judge(evaluated["validation_loss"], epoch))
        if epoch in training.keep_weights:
            history.kept[epoch] = models.parameters()
        yield Epoch(members, epoch, points, is_training)
    spent = [state.seconds for state in before] or [0.0] * len(runs)
    kept: list[State | None] = [None] * len(runs)
    if keep_states:
        # Before the weights go back to the best: more epochs would have gone on from the last.
        share = (time.perf_counter() - started) / len(runs)
        kept = [
            _state(run, m, passed, models, optimizer, best, average, history, spent[m] + share)
            for m, run in enumerate(runs)
        ]
    if best:
        _take(models.state(), best, torch.ones(len(runs), dtype=torch.bool, device=device))
    metrics = _evaluate(models)
    hits = None
    with average.in_place():
        if average.tensors:
            metrics |= {f"average_{name}": value for name, value in _evaluate(models).items()}
        if "test_hits" in training.probes:
            hits = models.hits("test")
    # What a stopped run does after its end is undone: only a run that trained to the end may diverge here.
    history.watch_evaluation(list(metrics.values()), step)
    share = (time.perf_counter() - started) / len(runs)
    seconds = [share + earlier for earlier in spent]
    packed = None if hits is None else np.packbits(hits.cpu().numpy(), axis=1)
    yield from history.results(metrics, models.parameters(), models.extras(), seconds, kept, packed)


@OVERFLOWS
@torch.no_grad()
def _pass(
    models: Models,
    optimizer: StackedOptimizer,
    epoch: int,
    average: Average | None,
    is_probed: bool,
    is_stopped: Callable[[], bool],
) -> tuple[dict[str, Tensor], Float[Tensor, "step model"], dict[str, Tensor]] | None:
    """One epoch (from 0): its running means, the loss of each update, and what probes saw of the last one.

    None where it was stopped. A function of its own: whoever reads the records between two epochs has the modes of
    PyTorch and NumPy that were there before, and they are set once an epoch: setting them takes as long as a small
    product.
    """
    batches, probes = models.batches, models.settings[0].training.probes
    step = epoch * batches.steps_per_epoch
    last = step + batches.steps_per_epoch - 1 if is_probed else -1
    seen: dict[str, list[Tensor]] = {}
    observed: dict[str, Tensor] = {}
    sizes = []
    for block in batches.epoch(epoch):
        for batch in block.batches:
            if is_stopped():
                return None
            watch = Watch() if step == last and "activations" in probes else None
            gradients = models.gradients(batch, step, watch)
            if step == last:
                observed = {} if watch is None else watch.moments
                if "gradient_norms" in probes:
                    observed |= _norms("gradient", gradients[: len(models.weights)])
            optimizer.update(gradients, step)
            if average is not None:
                average.add()
            sizes.append(batch.num_examples)
            step += 1
        for name, values in models.measure(block).items():
            seen.setdefault(name, []).append(values)
    # float64: sums of finite losses stay finite, and an epoch's mean keeps its digits.
    shares = torch.tensor(sizes, dtype=torch.float64, device=models.device)[:, None] / sum(sizes)
    whole = {name: torch.cat(values) for name, values in seen.items()}
    means = {f"running_{name}": (values.double() * shares).sum(0) for name, values in whole.items()}
    return means, whole["loss"], observed


class Average:
    """The mean of what is learned over those updates that it was told of: `AveragedModel` of PyTorch, buffers too."""

    def __init__(self, models: Models) -> None:
        self.models, self.number = models, 0
        self.tensors: list[Tensor] = []

    def add(self) -> None:
        """Take what the models have learned now into the mean."""
        self.number += 1
        if self.number == 1:
            self.tensors = [tensor.clone() for tensor in self.models.state()]
        else:
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                self.tensors, self.models.state(), 1 / self.number
            )

    def go_on(self, states: Sequence[State], epochs: int) -> None:
        """Take up a mean that is whole. One that ended before these epochs is another run's."""
        whole = [s.average if s.run.setting.training.epochs == epochs else () for s in states]
        self.tensors = _stacked(whole, self.models.device)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The models with the mean in place of what they have learned, where there is one."""
        if not self.tensors:
            yield
            return
        held = [tensor.clone() for tensor in self.models.state()]
        _put(self.models.state(), self.tensors)
        yield
        _put(self.models.state(), held)


def _evaluate(models: Models) -> dict[str, Tensor]:
    parts = [models.evaluate(part) for part in ("train", "validation", "test")]
    return {name: value for part in parts for name, value in part.items()}


def _go_on(models: Models, optimizer: StackedOptimizer, states: Sequence[State]) -> list[Tensor]:
    """Put models and optimiser where they were, in place; the best weights so far."""
    with torch.no_grad():
        for index, target in enumerate(models.state()):
            target.copy_(torch.stack([state.learned[index] for state in states]))
        for index, memory in enumerate(optimizer.memory):
            for place, target in enumerate(memory):
                target.copy_(torch.stack([state.memory[index][place] for state in states]))
    return _stacked([state.best for state in states], models.device)


def _stacked(held: Sequence[Sequence[Tensor]], device: torch.device) -> list[Tensor]:
    return [torch.stack(tensors).to(device) for tensors in zip(*held, strict=True)]


@torch.no_grad()
def _put(to: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    """Copy all models, in place."""
    for target, tensor in zip(to, source, strict=True):
        target.copy_(tensor)


def _state(
    run: Run,
    model: int,
    epoch: int,
    models: Models,
    optimizer: StackedOptimizer,
    best: Sequence[Tensor],
    average: Average,
    history: History,
    seconds: float,
) -> State:
    def own(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(tensor[model].clone() for tensor in tensors)  # a view would hold on to the whole group

    memory = tuple(own(memory) for memory in optimizer.memory)
    lived: Any = history.of_model(model)
    learned = own(models.state())
    return State(run, epoch, learned, memory, own(best), own(average.tensors), **lived, seconds=seconds)


def _norms(name: str, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {
        f"{name}_norm_{layer}": torch.linalg.vector_norm(tensor.detach(), dim=(1, 2))
        for layer, tensor in enumerate(tensors)
    }


def _keep_best(models: Models, best: list[Tensor], is_best: Tensor) -> list[Tensor]:
    state = models.state()
    if not best:
        return [tensor.clone() for tensor in state]
    _take(best, state, is_best)
    return best


def _take(to: Sequence[Tensor], source: Sequence[Tensor], which: Tensor) -> None:
    """Copy the entries of some models, in place."""
    with torch.no_grad():
        for target, tensor in zip(to, source, strict=True):
            target[which] = tensor[which]


def bytes_of_run(setting: Setting, data: Dataset) -> int:
    """About how much memory one more run in a group takes: parameters, gradients, memory, intermediate results."""
    sizes = (data.in_features, *setting.model.hidden_sizes, data.out_features)
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    optimizer = setting.optimizer
    remembered = int(optimizer.momentum > 0) if optimizer.kind in ("sgd", "lars") else 2
    on_weights = any(noise.kind == "dropconnect" for noise in setting.noises)
    copies = 2 + remembered + 2 * on_weights
    copies += (setting.training.patience is not None) + (setting.training.average_epochs > 0)
    batch = min(setting.training.batch_size or data.train.num_examples, data.train.num_examples)
    # Of a hidden layer: before and after the activation, noise, its product, and two gradients on the way back.
    intermediate = batch * (data.in_features + 5 * sum(setting.model.hidden_sizes) + 3 * data.out_features)
    width = 8 if setting.training.precision == "float64" else 4
    extra = 1.5 if setting.training.precision == "bfloat16" else 1.0
    return int(width * extra * (copies * parameters + intermediate))


def multiplications(setting: Setting, data: Dataset) -> int:
    """Of the matrix products in one update of one model, forward and backward."""
    sizes = (data.in_features, *setting.model.hidden_sizes, data.out_features)
    products = [a * b for a, b in itertools.pairwise(sizes)]
    batch = min(setting.training.batch_size or data.train.num_examples, data.train.num_examples)
    return batch * (3 * sum(products) - products[0])
