"""The engine and those it is measured against. All do the same work: shapes, batches, optimiser, dropout.

Where a peer is given an easier task (one setting and one batch for all its models), it is in the peer's favour.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cases import Case, images, train
from mlplab.engine import Result
from mlplab.errors import InvalidInput
from rounds import Contender, Measure, Sample, Skipped, repeated, slope, threads, time_of

# Epochs are repeated until so many seconds have passed.
AT_LEAST = 0.25
BOOK = "the book's loop"

Step = Callable[[Tensor, Tensor], None]


# --- the engine --------------------------------------------------------------------------------------------


def engine_contender(
    case: Case,
    models: int,
    *,
    epochs: tuple[int, int] | None = None,
    device: str = "cpu",
    memory: int | None = None,
) -> Contender:
    """`engine.train`, called for few and for more epochs."""
    short, long = epochs or case.epochs

    def call(num_epochs: int) -> float:
        runs, problems = case.runs(models, num_epochs)
        return time_of(lambda: exhaust(train(runs, problems, device, memory)), device)

    def measure() -> Sample:
        nonlocal long
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats(device)
        each, setup, times = slope(call, short, long, AT_LEAST)
        long = max(times)
        calls: dict[str, float] = {f"{size} epochs": seconds for size, seconds in times.items()}
        if device != "cpu":
            calls["peak bytes"] = torch.cuda.max_memory_allocated(device)
        return Sample(each / models, setup, calls)

    def prepare() -> Measure:
        try:
            case.runs(models, short)  # the data sets are made here, and kept
        except InvalidInput as error:
            raise Skipped(str(error)) from error
        smallest = replace(case, num_images=case.batch_size)
        exhaust(train(*smallest.runs(1, 1), device, memory))
        return measure

    return Contender(engine_name(case, models), prepare)


def engine_name(case: Case, models: int) -> str:
    return f"engine {case.letter}, {models:,} model{'s' if models > 1 else ''}"


def exhaust(records: Iterable[object]) -> None:
    """Train to the end and drop each result as it comes. A diverged run has not done the work that is timed."""
    for record in records:
        if isinstance(record, Result) and record.status != "finished":
            raise RuntimeError(
                f"a run of the benchmark diverged at update {record.diverged_step}: {record.run}"
            )


# --- PyTorch, one model ------------------------------------------------------------------------------------


def loop_contender(case: Case, num_threads: int, *, autocast: bool = False, device: str = "cpu") -> Contender:
    """The usual loop over batches of tensors in memory."""

    def prepare() -> Measure:
        features, targets = tensors(case, device)
        model = network(case).to(device)
        step = training_step(case, model, device, autocast)
        epoch = partial(run_epoch, features, targets, case.batch_size, step)

        def measure() -> Sample:
            with threads(num_threads):
                return repeated(epoch, AT_LEAST, device)

        with threads(num_threads):
            run_epoch(features[:512], targets[:512], case.batch_size, step)
        return measure

    return Contender(loop_name(num_threads, autocast=autocast), prepare)


def loop_name(num_threads: int, *, autocast: bool = False) -> str:
    precision = " with bfloat16 autocast" if autocast else ""
    return f"in-memory loop{precision}, {num_threads} thread{'s' if num_threads > 1 else ''}"


def tensors(case: Case, device: str) -> tuple[Tensor, Tensor]:
    """The training part."""
    part = case.problem().train
    return torch.from_numpy(part.features).to(device), torch.from_numpy(part.targets).to(device)


def network(case: Case) -> nn.Sequential:
    """The case's model, as one writes it in PyTorch."""
    sizes = case.sizes
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(inputs, outputs)
        nn.init.normal_(linear.weight, std=case.setting.model.initializations[index]["std"])
        nn.init.zeros_(linear.bias)
        layers.append(linear)
        if index < len(sizes) - 2:
            layers.append(nn.ReLU())
            rate = case.setting.noises[index].rate
            layers += [nn.Dropout(rate)] if rate else []
    return nn.Sequential(*layers).train()


def criterion(case: Case) -> Callable[[Tensor, Tensor], Tensor]:
    """The case's loss, averaged over the batch."""
    if case.problem().task == "classification":
        return nn.functional.cross_entropy
    return lambda outputs, targets: nn.functional.mse_loss(outputs, targets) / 2


def training_step(case: Case, model: nn.Module, device: str, autocast: bool) -> Step:
    loss = criterion(case)
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": case.setting.penalty.weight_decay}, {"params": biases}]
    optimizer = torch.optim.SGD(groups, lr=case.setting.optimizer.learning_rate)

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.split(":")[0], torch.bfloat16) if autocast else nullcontext():
            value = loss(model(x), y)
        value.backward()
        optimizer.step()

    return step


def run_epoch(features: Tensor, targets: Tensor, batch_size: int, step: Step) -> None:
    """One pass in a new order."""
    order = torch.randperm(len(features), device=features.device)
    for rows in order.split(batch_size):
        step(features.index_select(0, rows), targets.index_select(0, rows))


# --- the book ----------------------------------------------------------------------------------------------


class Pictures(Dataset):
    """What `torchvision.datasets.FashionMNIST` with `ToTensor` does for one example: array, picture, tensor."""

    def __init__(self, num_examples: int) -> None:
        part = images(num_examples).train
        self.pixels = np.rint(part.features * 255).astype(np.uint8).reshape(-1, 28, 28)
        self.labels = torch.from_numpy(part.targets)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.pixels[index])
        pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(*picture.size[::-1], 1)
        return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255), int(self.labels[index])


def book_contender(case: Case, sizes: tuple[int, int], num_images: int, *, device: str = "cpu") -> Contender:
    """The book's loop: two loader workers, each picture transformed by itself, loss and accuracy kept.

    Timed on two numbers of pictures, whose slope is scaled to an epoch: the workers' start falls out.
    """

    def prepare() -> Measure:
        model = nn.Sequential(nn.Flatten(), network(case)).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=case.setting.optimizer.learning_rate)
        loss = nn.CrossEntropyLoss(reduction="none")

        def epoch(loader: DataLoader) -> None:
            metric = [0.0, 0.0]
            for x, y in loader:
                x, y = x.to(device), y.to(device)
                outputs = model(x)
                losses = loss(outputs, y)
                optimizer.zero_grad()
                losses.mean().backward()
                optimizer.step()
                metric[0] += float(losses.detach().sum())
                metric[1] += float((outputs.argmax(1) == y).sum())

        def call(size: int) -> float:
            loader = DataLoader(Pictures(size), case.batch_size, shuffle=True, num_workers=2)
            return time_of(lambda: epoch(loader), device)

        def measure() -> Sample:
            each, setup, times = slope(call, *sizes, AT_LEAST)
            return Sample(
                each * num_images, setup, {f"{size} images": taken for size, taken in times.items()}
            )

        call(sizes[0])
        return measure

    return Contender(BOOK, prepare)


# --- many models -------------------------------------------------------------------------------------------


def vmap_contender(
    case: Case,
    models: int,
    num_threads: int,
    *,
    autocast: bool = False,
    device: str = "cpu",
) -> Contender:
    """`torch.func`: stacked modules, `vmap` of `grad`, an update in place. All models see one batch."""

    def prepare() -> Measure:
        features, targets = tensors(case, device)
        step = vmap_step(case, models, device, autocast)
        batch_size = case.batch_size

        def measure() -> Sample:
            with threads(num_threads):
                sample = repeated(partial(run_epoch, features, targets, batch_size, step), AT_LEAST, device)
            return Sample(sample.seconds / models, calls=sample.calls)

        with threads(num_threads):
            step(features[:batch_size], targets[:batch_size])
        return measure

    return Contender(vmap_name(models, num_threads, autocast=autocast), prepare)


def vmap_name(models: int, num_threads: int, *, autocast: bool = False) -> str:
    return loop_name(num_threads, autocast=autocast).replace("in-memory loop", f"vmap, {models:,} models")


def vmap_step(case: Case, models: int, device: str, autocast: bool) -> Step:
    base = network(case)
    parameters = {name: torch.stack([p.detach()] * models).to(device) for name, p in base.named_parameters()}
    for name, parameter in parameters.items():
        if name.endswith("weight"):
            nn.init.normal_(parameter, std=float(parameter[0].std()))
    loss = criterion(case)
    skeleton = copy.deepcopy(base).to("meta")

    def member_loss(member: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss(torch.func.functional_call(skeleton, member, (x,)), y)

    gradients = torch.func.vmap(torch.func.grad(member_loss), (0, None, None), randomness="different")
    rate, decay = case.setting.optimizer.learning_rate, case.setting.penalty.weight_decay

    def step(x: Tensor, y: Tensor) -> None:
        with torch.autocast(device.split(":")[0], torch.bfloat16) if autocast else nullcontext():
            slopes = gradients(parameters, x, y)
        for name, parameter in parameters.items():
            if decay and name.endswith("weight"):
                slopes[name] += decay * parameter
            parameter.sub_(slopes[name], alpha=rate)

    return step


def jax_contender(case: Case, models: int, *, scan: bool = False) -> Contender:
    """JAX: `jit` of `vmap` of `grad`, a step a call or an epoch a call (`scan`). Compiling counts as setup."""

    def prepare() -> Measure:
        try:
            from jax_peer import jax_epoch
        except ModuleNotFoundError as error:
            raise Skipped(f"{error.name} is not installed") from error
        started = time.perf_counter()
        epoch = jax_epoch(case, models, scan)
        epoch()
        compiled = time.perf_counter() - started

        def measure() -> Sample:
            sample = repeated(epoch, AT_LEAST)
            return Sample(sample.seconds / models, compiled, sample.calls)

        return measure

    return Contender(jax_name(models, scan=scan), prepare)


def jax_name(models: int, *, scan: bool) -> str:
    return f"JAX, {models:,} models, {'an epoch' if scan else 'a step'} a call"


# --- scikit-learn ------------------------------------------------------------------------------------------


def sklearn_contender(case: Case, num_threads: int) -> Contender:
    """`MLPClassifier`, which has no dropout."""

    def prepare() -> Measure:
        from sklearn.neural_network import MLPClassifier  # here: importing it takes two seconds

        setting, part = case.setting, case.problem().train
        classifier = MLPClassifier(
            setting.model.hidden_sizes,
            solver="sgd",
            alpha=0,
            batch_size=case.batch_size,  # pyright: ignore[reportArgumentType]: its stub knows only 'auto'
            learning_rate_init=setting.optimizer.learning_rate,
            momentum=0,
            nesterovs_momentum=False,
        )
        classifier.partial_fit(part.features[:512], part.targets[:512], classes=np.arange(10))

        def measure() -> Sample:
            with threads(num_threads):
                return repeated(lambda: classifier.partial_fit(part.features, part.targets), AT_LEAST)

        return measure

    return Contender(sklearn_name(num_threads), prepare)


def sklearn_name(num_threads: int) -> str:
    return loop_name(num_threads).replace("in-memory loop", "scikit-learn without dropout")
