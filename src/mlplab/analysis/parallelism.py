"""Ways to train with less memory or more devices, compared: memory, communication, and the gradient itself.

A batch of B examples on one device, against a smaller batch, gradient accumulation, activation checkpointing, data
parallel training and pipelines. All but the smaller batch compute the same gradient to rounding, as long as the model
treats each example alone; that is measured, not assumed. A gradient of B examples drawn with replacement has variance
E‖g - G‖² = tr(Σ)/B, with Σ the covariance of one example's gradient and G its mean.

Sources: Chen et al. 2016, Training deep nets with sublinear memory cost; Huang et al. 2019, GPipe; Patarasuk and Yuan
2009 (ring all-reduce: 2 (K-1)/K of the bytes leave each device); Bottou, Curtis and Nocedal 2018, section 4 (tr(Σ)/B).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mlplab.analysis.partition import (
    LayerCost,
    check_batch,
    held_bytes,
    layers_of,
    measure,
    partition,
    state_bytes,
)
from mlplab.analysis.schedule import bubble_fraction
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, import_extra
from mlplab.stats import Interval, mean_interval

if TYPE_CHECKING:
    import altair
    from jaxtyping import Shaped

Loss = Callable[[Tensor, Tensor], Tensor]
NOT_ALONE = "must treat each example alone, the same each time, and the loss be a mean over examples"
HINT = "Dropout and batch normalisation in train mode do not: use eval()"


@dataclass(frozen=True)
class GradientVariance:
    """E‖g - G‖² of a mini-batch gradient: `measured` on batches drawn with replacement, `expected` = tr(Σ)/B.

    `measured` is a t interval over independent batches. Units: those of the squared gradient norm.
    """

    batch_size: int
    measured: Interval
    expected: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Strategy:
    """One way to take a step. Bytes are of the fullest device; `communication_bytes` of all together, in one step.

    `examples` in a device's pass; `state_bytes`: parameters, gradients, optimiser, buffers; `activation_bytes`: kept
    for the backward; `idle` the pipeline's bubble with equal stages; `recomputed` the share of forwards run twice;
    `gradient_error` ‖g - g₁‖/‖g₁‖ against one device; `variance` None where the gradient is another or has no tr(Σ)/B.
    """

    name: str
    devices: int
    examples: int
    state_bytes: int
    activation_bytes: int
    communication_bytes: int
    idle: float
    recomputed: float
    gradient_error: float | None
    variance: GradientVariance | None


@dataclass(frozen=True)
class Parallelism:
    """Strategies for a step of `batch_size` examples. `note` says why there is no variance, if there is none."""

    batch_size: int
    strategies: tuple[Strategy, ...]
    note: str

    def table(self) -> pd.DataFrame:
        """A row for each strategy; the variance as estimate and interval beside tr(Σ)/B."""
        rows = []
        for strategy in self.strategies:
            row = {key: value for key, value in vars(strategy).items() if key != "variance"}
            found = strategy.variance
            row |= {"variance": found.measured.estimate if found else None}
            row |= {"ci_low": found.measured.ci_low if found else None}
            row |= {"ci_high": found.measured.ci_high if found else None}
            row |= {"expected_variance": found.expected if found else None}
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self) -> altair.Chart:
        """Memory of the fullest device, a bar for each strategy, split into state and activations."""
        alt = import_extra("altair", what="A figure", extra="book")
        rows = pd.DataFrame([
            {"strategy": s.name, "part": part, "bytes": size}
            for s in self.strategies
            for part, size in (("state", s.state_bytes), ("activations", s.activation_bytes))
        ])  # fmt: skip
        title = alt.TitleParams(
            f"Memory of the fullest device, batch of {self.batch_size}", anchor="start", fontSize=14,
            subtitle="State: parameters, gradients, optimiser and buffers. Activations: kept for the backward",
            subtitleFontSize=11, subtitleColor="#555555",
        )  # fmt: skip
        colours = alt.Scale(domain=["state", "activations"], range=[PALETTE[0], PALETTE[4]])
        return (
            alt.Chart(rows, title=title, width=400, height=alt.Step(26))
            .mark_bar()
            .encode(
                x=alt.X("bytes:Q", title="Memory (bytes)", axis=alt.Axis(format="~s")),
                y=alt.Y("strategy:N", title=None, sort=[s.name for s in self.strategies]),
                color=alt.Color("part:N", title=None, scale=colours),
                order=alt.Order("part:N", sort="descending"),
                tooltip=["strategy:N", "part:N", "bytes:Q"],
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self) | {"strategies": [asdict(strategy) for strategy in self.strategies]}


def gradient_variance(
    model: nn.Module,
    inputs: Shaped[Tensor, "example ..."],
    targets: Shaped[Tensor, "example ..."],
    loss: Loss,
    batch_size: int,
    *,
    num_batches: int = 200,
    seed: int = 0,
) -> GradientVariance:
    """The variance of the gradient of `batch_size` examples drawn with replacement from those given.

    ‖g - G‖² of independent batches are independent, so their mean has a t interval; tr(Σ)/B comes from every example's
    gradient, one backward each. Any module. `loss` is a mean over examples.

    Raises InvalidInput if the mean of the examples' gradients is not the gradient of all of them (batch normalisation
    or dropout in train mode, a loss that is a sum), for numbers that are not finite and targets of another length.
    """
    _check(model, inputs, targets, batch_size=batch_size, num_batches=num_batches)
    with _kept(model):
        whole = _flat(model, inputs, targets, loss)
        mean, squares = torch.zeros_like(whole), 0.0
        for i in range(len(inputs)):
            try:
                one = _flat(model, inputs[i : i + 1], targets[i : i + 1], loss)
            except ValueError as error:  # batch normalisation of a single value
                raise InvalidInput("model", NOT_ALONE, str(error), HINT) from error
            mean += one / len(inputs)
            # About G: the difference of two large sums would lose what is left where examples agree.
            squares += float((one - whole).square().sum()) / len(inputs)
        size = float(mean.norm() + whole.norm()) + squares**0.5
        precision = max(torch.finfo(p.dtype).eps for p in _trained(model))
        if float((mean - whole).norm()) > precision**0.5 * size:
            raise InvalidInput(
                "model", NOT_ALONE, f"means that differ by {float((mean - whole).norm()):.2g}", HINT
            )
        stream = torch.Generator().manual_seed(seed)
        found = []
        for _ in range(num_batches):
            drawn = torch.randint(len(inputs), (batch_size,), generator=stream).to(inputs.device)
            found.append(float((_flat(model, inputs[drawn], targets[drawn], loss) - whole).square().sum()))
    return GradientVariance(batch_size, mean_interval(found), squares / batch_size)


def gradient_errors(
    model: nn.Sequential,
    inputs: Shaped[Tensor, "batch ..."],
    targets: Shaped[Tensor, "batch ..."],
    loss: Loss,
    *,
    boundaries: Sequence[int],
    num_workers: int,
    num_microbatches: int,
    flatten: bool = False,
) -> dict[str, float]:
    """‖g - g₁‖/‖g₁‖ of each strategy's gradient against g₁, that of the batch in one pass; each from one random state.

    Data parallel: the mean of the workers' gradients, as all-reduce leaves it. Pipeline: stages cut apart at
    `boundaries`, activations handed on and gradients handed back, in one process. Noise is drawn from one stream: a
    single dropout layer may by that get the same masks in parts as in one pass, several do not.

    Raises InvalidInput for a batch that cannot be cut into equal parts.
    """
    for count in (num_workers, num_microbatches):
        check_batch(inputs, count)
    stages = [
        [m for _, m in layers_of(model, flatten=flatten)[a:b]] for a, b in itertools.pairwise(boundaries)
    ]
    parts = list(zip(inputs.chunk(num_microbatches), targets.chunk(num_microbatches), strict=True))
    shares = list(zip(inputs.chunk(num_workers), targets.chunk(num_workers), strict=True))

    def checkpointed(x: Tensor) -> Tensor:
        for stage in stages:
            # The copy: a segment that works in place would spoil the input that it is recomputed from.
            x = checkpoint(lambda t, stage=stage: nn.Sequential(*stage)(t.clone()), x, use_reentrant=False)
        return x

    def piped() -> None:
        ends = []
        for x, y in parts:
            cuts = []
            for stage in stages:
                entry = x.detach()
                if cuts and entry.is_floating_point():
                    entry.requires_grad_()
                x = nn.Sequential(*stage)(entry.clone())
                cuts.append((entry, x))
            ends.append((cuts, loss(x, y) / len(parts)))
        for cuts, end in ends:
            end.backward()
            for (entry, _), (_, sent) in zip(reversed(cuts[1:]), reversed(cuts[:-1]), strict=True):
                if sent.requires_grad:
                    sent.backward(entry.grad)

    def accumulated() -> None:
        for x, y in parts:
            (loss(model(x), y) / len(parts)).backward()

    def shared() -> list[Tensor]:
        copies = [copy.deepcopy(model) for _ in shares]
        gradients = [_flat(m, x, y, loss) for m, (x, y) in zip(copies, shares, strict=True)]
        return [torch.stack(gradients).mean(0)]

    def landed(run: Callable[[], object]) -> Tensor:
        with _kept(model):
            model.zero_grad()
            run()
            return torch.cat([
                (torch.zeros_like(p) if p.grad is None else p.grad).flatten().double() for p in _trained(model)
            ])  # fmt: skip

    with _kept(model):
        whole = _flat(model, inputs, targets, loss)
    with _kept(model):
        workers = shared()[0]
    found = {
        "gradient accumulation": landed(accumulated),
        "activation checkpointing": landed(lambda: loss(checkpointed(inputs), targets).backward()),
        "data parallel": workers,
        "pipeline": landed(piped),
    }
    size = float(whole.norm())
    return {name: float((g - whole).norm()) / size if size else float(g.norm()) for name, g in found.items()}


def compare_parallelism(
    model: nn.Sequential,
    inputs: Shaped[Tensor, "example ..."],
    targets: Shaped[Tensor, "example ..."],
    loss: Loss,
    *,
    batch_size: int,
    num_devices: int = 2,
    num_microbatches: int = 4,
    optimizer_states: int = 2,
    num_batches: int = 200,
    flatten: bool = False,
    seed: int = 0,
) -> Parallelism:
    """A step of `batch_size` examples in seven ways, on one device or `num_devices`.

    The examples given are the population of the gradient's variance; memory and gradient errors are of the first
    `batch_size`. Stages are balanced by memory, and are also the segments that checkpointing recomputes. All memory is
    measured layer by layer as in `partition`: state and what is kept for the backward, without temporaries and loss.

    Raises InvalidInput for a model that is not sequential, a batch that cannot be cut evenly by `num_devices` and by
    `num_microbatches`, and as `partition` does.
    """
    _check(model, inputs, targets, batch_size=batch_size, num_batches=num_batches)
    if batch_size > len(inputs):
        raise InvalidInput("batch_size", f"must be at most the {len(inputs)} examples", batch_size)
    x, y = inputs[:batch_size], targets[:batch_size]
    shared = {"num_microbatches": num_microbatches, "optimizer_states": optimizer_states, "flatten": flatten}
    shared |= {"repeats": 1, "by": "memory"}
    gpipe = partition(model, num_devices, x, schedule="gpipe", **shared)
    one_by_one = partition(model, num_devices, x, schedule="1f1b", **shared)
    check_batch(x, num_devices)
    layers = layers_of(model, flatten=flatten)
    whole, part, share = (
        measure(layers, x[: batch_size // cut], optimizer_states=optimizer_states)
        for cut in (1, num_microbatches, num_devices)
    )
    errors = gradient_errors(
        model, x, y, loss, boundaries=gpipe.boundaries, num_workers=num_devices,
        num_microbatches=num_microbatches, flatten=flatten,
    )  # fmt: skip
    variances, note = _variances(
        model, inputs, targets, loss, (batch_size, batch_size // num_devices), num_batches, seed
    )
    state, gradients = state_bytes(whole), sum(p.nbytes for p in _trained(model))
    kept = _checkpointed_bytes([whole[a:b] for a, b in itertools.pairwise(gpipe.boundaries)])

    def row(
        name: str, devices: int, examples: int, state: int, kept: int, sent: int = 0, **more: Any
    ) -> Strategy:
        error = errors.get("pipeline" if name.startswith("pipeline") else name)
        size = batch_size // num_devices if name == "smaller batch" else batch_size
        known = {"idle": 0.0, "recomputed": 0.0} | more
        same = error is None or error < 1e-3
        return Strategy(
            name, devices, examples, state, kept, sent,
            gradient_error=error, variance=variances.get(size) if same else None, **known,
        )  # fmt: skip

    rows = [
        row("one device", 1, batch_size, state, held_bytes(whole)),
        row("smaller batch", 1, batch_size // num_devices, state, held_bytes(share)),
        row("gradient accumulation", 1, batch_size // num_microbatches, state, held_bytes(part)),
        row("activation checkpointing", 1, batch_size, state, kept, recomputed=1.0),
        row("data parallel", num_devices, batch_size // num_devices, state, held_bytes(share),
            2 * (num_devices - 1) * gradients),
    ]  # fmt: skip
    for split, name in ((gpipe, "pipeline, GPipe"), (one_by_one, "pipeline, 1F1B")):
        fullest = max(range(num_devices), key=lambda s: split.memory[s])
        trained = [any(layer.gradients for layer in split.layers[:cut]) for cut in split.boundaries[1:-1]]
        sent = num_microbatches * sum(n * (2 if t else 1) for n, t in zip(split.sent, trained, strict=True))
        rows.append(
            row(name, num_devices, batch_size // num_microbatches, split.state[fullest],
                split.memory[fullest] - split.state[fullest], sent,
                idle=float(bubble_fraction(num_devices, num_microbatches)))
        )  # fmt: skip
    return Parallelism(batch_size, tuple(rows), note)


def _checkpointed_bytes(segments: Sequence[Sequence[LayerCost]]) -> int:
    """Backward goes from the last segment to the first: one is there in full, and the inputs of those before it."""
    inputs = list(itertools.accumulate((segment[0].input[1] for segment in segments), initial=0))
    return max(before + held_bytes(segment) for before, segment in zip(inputs, segments, strict=False))


def _variances(
    model: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss, sizes: Sequence[int], num: int, seed: int
) -> tuple[dict[int, GradientVariance], str]:
    try:
        return {
            size: gradient_variance(model, inputs, targets, loss, size, num_batches=num, seed=seed)
            for size in sizes
        }, ""
    except InvalidInput as error:
        if NOT_ALONE not in str(error):
            raise
        return {}, str(error)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _flat(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """The gradient of all parameters as one vector, in float64."""
    value = loss(model(x), y)
    if not isinstance(value, Tensor) or value.ndim or not torch.isfinite(value):
        raise InvalidInput("loss", "must return one finite number", value)
    gradients = torch.autograd.grad(value, _trained(model), materialize_grads=True)
    return torch.cat([g.flatten().double() for g in gradients])


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Buffers, gradients and the random state as they were."""
    buffers = [(b, b.clone()) for b in model.buffers()]
    gradients = [(p, p.grad) for p in model.parameters()]
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            yield
    finally:
        for buffer, before in buffers:
            buffer.detach().copy_(before)
        for p, gradient in gradients:
            p.grad = gradient


def _check(model: nn.Module, inputs: Tensor, targets: Tensor, **counts: int) -> None:
    for owner, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInput(owner, "must be a whole number of at least 1", value)
    check_batch(inputs, 1)
    if len(targets) != len(inputs):
        raise InvalidInput("targets", f"must be as many as the {len(inputs)} inputs", len(targets))
    if not _trained(model):
        raise InvalidInput("model", "must have a parameter that requires a gradient", type(model).__name__)
