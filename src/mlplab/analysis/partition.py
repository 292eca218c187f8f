"""Split a sequential model into K contiguous stages so that the largest is as small as can be.

Sources: the linear partition problem, by dynamic programming (Skiena, The Algorithm Design Manual, section 10.7);
Huang et al. 2019, GPipe, section 2.1 (stages of balanced cost); Narayanan et al. 2021, Efficient
large-scale language model training on GPU clusters using Megatron-LM, section 2.2 (1F1B with a flush).
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mlplab.analysis.model_failure import model_failures, said
from mlplab.analysis.schedule import ScheduleName, Time, Timeline, peak_microbatches, simulate
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, UnknownName, import_extra

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float, Shaped

Balance = Literal["time", "memory"]


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs for one micro-batch: seconds (medians) and bytes.

    `state` and `saved` map a number that stands for a tensor's storage to its bytes, so that a tensor which two
    layers share or both save is seen to be one. `state`: parameters, gradients, optimiser states and buffers.
    `saved`: what autograd keeps for the backward. `input` and `output`: (storage, bytes).
    """

    name: str
    forward: float
    backward: float
    parameters: int
    gradients: int
    state: dict[int, int]
    saved: dict[int, int]
    input: tuple[int, int]
    output: tuple[int, int]


@dataclass(frozen=True)
class Partition:
    """K stages of a sequential model. `boundaries` are the K + 1 indices of layers where stages begin and end.

    `layers` hold what each costs for one of `num_microbatches`. For each stage: `held` are the bytes that it keeps of
    one micro-batch until its backward (tensors saved, its input and its output, each once), `in_flight` the
    micro-batches it keeps at once under `schedule`, `state` the bytes of parameters, gradients, optimiser and buffers,
    `costs` what was balanced: seconds of one micro-batch, or the bytes state + in_flight * held.
    """

    by: Balance
    schedule: ScheduleName
    num_microbatches: int
    boundaries: tuple[int, ...]
    layers: tuple[LayerCost, ...]
    state: tuple[int, ...]
    held: tuple[int, ...]
    in_flight: tuple[int, ...]
    costs: tuple[float, ...]
    stages: tuple[nn.Sequential, ...] = field(repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Dotted names of the layers."""
        return tuple(layer.name for layer in self.layers)

    @property
    def memory(self) -> tuple[int, ...]:
        """Bytes of each stage: state + in_flight * held."""
        return tuple(s + n * h for s, n, h in zip(self.state, self.in_flight, self.held, strict=True))

    @property
    def sent(self) -> tuple[int, ...]:
        """Bytes of one micro-batch's message over each of the K - 1 boundaries, in one direction."""
        return tuple(self.layers[cut].input[1] for cut in self.boundaries[1:-1])

    def timeline(self, *, communication: Time | Sequence[Time] = 0) -> Timeline:
        """One step of the pipeline with the measured times, in seconds, under `schedule`. See `schedule.simulate`."""
        forward, backward = (self._sums(kind) for kind in ("forward", "backward"))
        return simulate(
            forward, backward, self.num_microbatches,
            schedule=self.schedule, communication=communication, activation_bytes=self.held,
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """A row for each stage: its layers, seconds of one micro-batch, bytes, and the cost that was balanced."""
        return pd.DataFrame({
            "stage": range(len(self.stages)),
            "first": [self.names[a] for a in self.boundaries[:-1]],
            "last": [self.names[b - 1] for b in self.boundaries[1:]],
            "forward_s": self._sums("forward"),
            "backward_s": self._sums("backward"),
            "state_bytes": self.state,
            "held_bytes": self.held,
            "in_flight": self.in_flight,
            "memory_bytes": self.memory,
            "cost": self.costs,
        })  # fmt: skip

    def plot(self) -> altair.Chart:
        """The cost of each stage as a bar."""
        alt = import_extra("altair", what="A figure", extra="book")
        unit = {"time": "Forward and backward of a micro-batch (s)", "memory": "Memory (bytes)"}[self.by]
        return (
            alt.Chart(self.table(), title=f"{len(self.stages)} stages balanced by {self.by}", width=420)
            .mark_bar(color=PALETTE[0])
            .encode(
                x=alt.X("cost:Q", title=unit),
                y=alt.Y("stage:O", title="Stage"),
                tooltip=["first:N", "last:N"],
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "by": self.by,
            "schedule": self.schedule,
            "num_microbatches": self.num_microbatches,
            "boundaries": list(self.boundaries),
            "stages": self.table().to_dict("records"),
        }

    def _sums(self, kind: str) -> list[float]:
        times = [getattr(layer, kind) for layer in self.layers]
        return [sum(times[a:b]) for a, b in itertools.pairwise(self.boundaries)]


def balance(costs: Float[np.ndarray, "layer"] | Sequence[float], num_stages: int) -> tuple[int, ...]:
    """Boundaries (K + 1 indices) of the contiguous split with the smallest possible largest sum; O(K n²).

    No stage is empty. Raises InvalidInput for costs that are negative or not finite, and more stages than costs.
    """
    values = np.asarray(costs, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
        raise InvalidInput("costs", "must be a list of finite numbers of at least 0", costs)
    _check_stages(num_stages, len(values))
    before = np.concatenate([[0.0], np.cumsum(values)])
    return _split([before[None, :] - before[:, None]] * num_stages)


def layers_of(model: nn.Module, *, flatten: bool = False) -> list[tuple[str, nn.Module]]:
    """The layers of an `nn.Sequential` with their dotted names; nested ones opened with `flatten`.

    A subclass with a `forward` of its own is one layer. Raises InvalidInput if the model itself is no Sequential.
    """
    if not _is_plain(model):
        raise InvalidInput("model", "must be an nn.Sequential with the usual forward", type(model).__name__)
    found: list[tuple[str, nn.Module]] = []
    for name, layer in model._modules.items():  # named_children leaves out a layer that comes twice
        assert layer is not None
        if flatten and _is_plain(layer):
            found += [(f"{name}.{inner}", module) for inner, module in layers_of(layer, flatten=True)]
        else:
            found.append((name, layer))
    return found


def partition(
    model: nn.Module,
    num_stages: int,
    inputs: Shaped[Tensor, "batch ..."],
    *,
    by: Balance = "time",
    num_microbatches: int = 1,
    schedule: ScheduleName = "1f1b",
    flatten: bool = False,
    optimizer_states: int = 2,
    repeats: int = 5,
) -> Partition:
    """Measure each layer on a micro-batch and split the model into `num_stages` balanced by time or memory.

    Time is forward plus backward (median of `repeats`). Memory is parameters, gradients and `optimizer_states` copies
    (2: Adam; a frozen parameter has neither), buffers, and what a stage keeps of a micro-batch, times the
    micro-batches it has in flight. Temporaries and the loss are not in it. `stages` share the model's parameters.

    In a process group every process must call this: process 0 measures, and all get its plan.

    Raises InvalidInput for a model that is not sequential, a layer that does not return one finite tensor, a batch that
    is no multiple of `num_microbatches`, and a parameter that two stages would share; UnknownName for `by`, `schedule`.
    """
    if by not in get_args(Balance):
        raise UnknownName("by", by, get_args(Balance))
    if schedule not in get_args(ScheduleName):
        raise UnknownName("schedule", schedule, get_args(ScheduleName))
    layers = layers_of(model, flatten=flatten)
    _check_stages(num_stages, len(layers), "" if flatten else "flatten=True opens nested ones")
    _check_count("num_microbatches", num_microbatches, 1)
    _check_count("optimizer_states", optimizer_states, 0)
    _check_count("repeats", repeats, 1)
    check_batch(inputs, num_microbatches)
    part = inputs[: len(inputs) // num_microbatches]
    measured = _agreed(lambda: measure(layers, part, optimizer_states=optimizer_states, repeats=repeats))
    in_flight = peak_microbatches(schedule, num_stages, num_microbatches)
    if by == "time":
        boundaries = balance([layer.forward + layer.backward for layer in measured], num_stages)
    else:
        state, held = _matrix(measured, state_bytes), _matrix(measured, held_bytes)
        boundaries = _split([state + count * held for count in in_flight])
    spans = list(itertools.pairwise(boundaries))
    stages = tuple(nn.Sequential(*(layer for _, layer in layers[a:b])) for a, b in spans)
    _refuse_shared(stages)
    states, helds = (tuple(size(measured[a:b]) for a, b in spans) for size in (state_bytes, held_bytes))
    if by == "time":
        costs = tuple(sum(layer.forward + layer.backward for layer in measured[a:b]) for a, b in spans)
    else:
        costs = tuple(float(s + n * h) for s, n, h in zip(states, in_flight, helds, strict=True))
    return Partition(
        by, schedule, num_microbatches, boundaries, tuple(measured), states, helds, in_flight, costs, stages
    )


def measure(
    layers: Sequence[tuple[str, nn.Module]], x: Tensor, *, optimizer_states: int = 2, repeats: int = 1
) -> list[LayerCost]:
    """Run layers one after another on `x` and see what each costs. Buffers and random state stay as they are.

    Inputs require a gradient from the first layer on that has something to train. Raises as `partition`.
    """
    buffers = {id(b): (b, b.clone()) for _, layer in layers for b in layer.buffers()}
    needs_grad = False  # until a layer has something to train: before it, nothing is kept
    tape, costs, x = _Tape(), [], x.detach().clone()  # a clone: the storage of a slice is the whole batch
    with torch.random.fork_rng():
        for name, layer in layers:
            y, saved = _run(name, layer, x, tape, needs_grad=needs_grad)
            forward, backward = _time(layer, x, repeats, needs_grad=needs_grad)
            trained = [p.nbytes for p in layer.parameters() if p.requires_grad]
            state = {tape.key(b): b.nbytes for b in layer.buffers()}
            for p in layer.parameters():
                state[tape.key(p)] = p.nbytes * (2 + optimizer_states if p.requires_grad else 1)
            size = sum(p.nbytes for p in layer.parameters())
            ends = (tape.key(x), x.nbytes), (tape.key(y), y.untyped_storage().nbytes())
            costs.append(LayerCost(name, forward, backward, size, sum(trained), state, saved, *ends))
            x, needs_grad = y.detach(), needs_grad or bool(trained)
    for buffer, before in buffers.values():
        buffer.detach().copy_(before)
    return costs


def state_bytes(layers: Sequence[LayerCost]) -> int:
    """Parameters, gradients, optimiser states and buffers of consecutive layers, shared ones once."""
    return sum({key: size for layer in layers for key, size in layer.state.items()}.values())


def held_bytes(layers: Sequence[LayerCost]) -> int:
    """What a stage of these layers keeps of one micro-batch: tensors saved, its input and its output, each once."""
    held = {key: size for layer in layers for key, size in layer.saved.items()}
    held |= dict([layers[-1].output])
    # Last: what arrives is a tensor of its own, even if it was a view of a larger one where it came from.
    held |= dict([layers[0].input])
    return sum(held.values())


def check_batch(inputs: Tensor, parts: int) -> None:
    """Raises InvalidInput unless `inputs` is a batch of finite numbers that can be cut into equal parts."""
    if not isinstance(inputs, Tensor) or inputs.ndim == 0:
        raise InvalidInput("inputs", "must be a tensor with a batch axis", type(inputs).__name__)
    if not inputs.numel() or not torch.isfinite(inputs).all():
        raise InvalidInput("inputs", "must be a batch of finite numbers", tuple(inputs.shape))
    if len(inputs) % parts:
        raise InvalidInput("inputs", f"must have a multiple of {parts} examples", len(inputs))


class _Tape:
    """Numbers for storages. All are kept, so that no address is used again for another tensor."""

    def __init__(self) -> None:
        self._keys: dict[int, int] = {}
        self._alive: list[torch.UntypedStorage] = []

    def key(self, tensor: Tensor, same_as: Tensor | None = None) -> int:
        storage = tensor.untyped_storage()
        self._alive.append(storage)
        new = len(self._keys) if same_as is None else self.key(same_as)
        return self._keys.setdefault(storage.data_ptr(), new)


def _run(name: str, layer: nn.Module, x: Tensor, tape: _Tape, *, needs_grad: bool) -> tuple[Tensor, dict]:
    own = {t.untyped_storage().data_ptr() for t in (*layer.parameters(), *layer.buffers())}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[tape.key(tensor)] = storage.nbytes()
        return tensor

    _, entry = _entry(x, needs_grad=needs_grad)
    tape.key(entry, same_as=x)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        try:
            y = layer(entry)
        except (Exception, SystemExit) as error:
            rule = f"must accept its input ({said(error)})"
            raise InvalidInput(f"layer {name!r}", rule, tuple(x.shape)) from error
    if not isinstance(y, Tensor):
        raise InvalidInput(f"layer {name!r}", "must return one tensor", type(y).__name__)
    if not torch.isfinite(y).all():
        raise InvalidInput(f"layer {name!r}", "must return finite numbers", "NaN or infinity")
    return y, saved


def _time(layer: nn.Module, x: Tensor, repeats: int, *, needs_grad: bool) -> tuple[float, float]:
    forward, backward = [], []
    for _ in range(repeats):
        leaf, entry = _entry(x, needs_grad=needs_grad)
        start = _now(x)
        with torch.enable_grad():
            y = layer(entry)
        middle = _now(x)
        wanted = [t for t in (leaf, *layer.parameters()) if t.requires_grad]
        seed = torch.ones_like(y)
        before = _now(x)
        if y.requires_grad:
            with model_failures(layer):
                torch.autograd.grad(y, wanted, seed, allow_unused=True)
        forward.append(middle - start)
        backward.append(_now(x) - before)
    return statistics.median(forward), statistics.median(backward)


def _entry(x: Tensor, *, needs_grad: bool) -> tuple[Tensor, Tensor]:
    """A leaf, and a copy of it for the layer: one that works in place may not change a leaf."""
    leaf = x.detach()
    if needs_grad and leaf.is_floating_point():
        leaf.requires_grad_()
    with torch.enable_grad():
        return leaf, leaf.clone()


def _now(x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()


def _agreed(measured: Callable[[], list[LayerCost]]) -> list[LayerCost]:
    """What process 0 measures, in every process of the group: times differ, and all must cut at the same place."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return measured()
    box: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            box[0] = measured()
        except Exception as error:
            dist.broadcast_object_list([str(error)])  # or the others would wait for ever
            raise
    dist.broadcast_object_list(box)
    if isinstance(box[0], str):
        raise InvalidInput("partition", "must succeed on process 0", box[0])
    return box[0]


def _matrix(layers: list[LayerCost], size: Callable[[Sequence[LayerCost]], int]) -> np.ndarray:
    costs = np.zeros((len(layers) + 1, len(layers) + 1))
    for a, b in itertools.combinations(range(len(layers) + 1), 2):
        costs[a, b] = size(layers[a:b])
    return costs


def _split(costs: Sequence[np.ndarray]) -> tuple[int, ...]:
    """Boundaries with the smallest largest cost, where stage s of layers a to b - 1 costs costs[s][a, b]."""
    num = len(costs[0])
    best = np.full(num, np.inf)  # best[b]: the largest stage of the best split of the first b layers
    best[0] = 0
    cuts = []
    for cost in costs:
        worst = np.maximum(best[:, None], cost)
        worst[np.tril_indices(num)] = np.inf  # no stage is empty
        cuts.append(worst.argmin(axis=0))
        best = worst.min(axis=0)
    boundaries = [num - 1]
    for cut in reversed(cuts):
        boundaries.append(int(cut[boundaries[-1]]))
    return tuple(reversed(boundaries))


def _is_plain(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _refuse_shared(stages: Sequence[nn.Module]) -> None:
    owner: dict[int, int] = {}
    for index, stage in enumerate(stages):
        for name, parameter in stage.named_parameters():
            if owner.setdefault(id(parameter), index) != index:
                rule = "must not share a parameter between stages: each would have a part of its gradient"
                raise InvalidInput("model", rule, f"{name!r} of stages {owner[id(parameter)]} and {index}")


def _check_stages(num_stages: int, num_layers: int, hint: str = "") -> None:
    if isinstance(num_stages, bool) or not isinstance(num_stages, int) or not 1 <= num_stages <= num_layers:
        raise InvalidInput(
            "num_stages", f"must be a whole number from 1 to the {num_layers} layers", num_stages, hint
        )


def _check_count(owner: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(owner, f"must be a whole number of at least {least}", value)
