"""Ways to train the same batch in less memory: checkpointing, accumulation over micro-batches, bfloat16.

Sources: Chen et al. 2016, Training deep nets with sublinear memory cost, arXiv:1604.06174; Huang et al. 2019, GPipe
(micro-batches); Micikevicius et al. 2018, Mixed precision training.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mlplab.analysis.batch import as_batch, batch_size, resized
from mlplab.analysis.memory import named_optimizer, use_of
from mlplab.analysis.step import Loss, OptimizerFactory, Step, fake_step
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, import_extra

if TYPE_CHECKING:
    import altair

SEGMENTS = 8


@dataclass(frozen=True)
class Saving:
    """A way to train the same batch: its peak and what autograd keeps, in bytes, and all its operations."""

    name: str
    peak: int
    saved: int
    flop: int


@dataclass(frozen=True)
class Savings:
    """Ways to spare memory; the first is the plain step. `notes`: what could not be tried, and why."""

    rows: tuple[Saving, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """A row for each way: peak, bytes that autograd keeps, floating-point operations, and the share spared."""
        frame = pd.DataFrame([asdict(row) for row in self.rows])
        frame["spared"] = 1 - frame["peak"] / frame["peak"].iloc[0]
        return frame

    def plot(self) -> altair.Chart:
        """The peak of each way as a bar."""
        alt = import_extra("altair", what="A figure", extra="book")
        rows = self.table().assign(MiB=lambda t: t["peak"] / 2**20)
        y = alt.Y("name:N", sort=list(rows["name"]), title=None, axis=alt.Axis(labelLimit=260))
        title = "Peak memory of a training step"
        bars = alt.Chart(rows, title=title, width=380, height=alt.Step(26)).mark_bar(color=PALETTE[0])
        return bars.encode(x=alt.X("MiB:Q", title="Peak (MiB)"), y=y)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {"savings": self.table().to_dict("records")}


def savings(
    model: nn.Module,
    inputs: Tensor | tuple[Any, ...],
    targets: Tensor | None = None,
    loss: Loss | None = None,
    *,
    optimizer: str | OptimizerFactory | None = "adam",
) -> Savings:
    """What checkpointing, accumulation over 2, 4 and 8 micro-batches, and bfloat16 autocast would save.

    Each is followed on fake tensors like the plain step. Checkpointed are the segments of a Sequential, in the number
    (2 to SEGMENTS) that peaks lowest; elsewhere the members of its Sequential and ModuleList, or its children. A layer
    that works in place stays with the one before it, whose output it writes over. Of accumulation a later micro-batch
    is shown, beside the gradients that are there already. Raises as `memory`.
    """
    batch, make = as_batch(inputs), named_optimizer(optimizer)
    size, notes = batch_size(batch), []
    rows = [_saving("plain step", fake_step(model, batch, targets, loss, optimizer=make))]
    for parts in (2, 4, 8):
        if size % parts == 0:
            given, aims = resized(batch, size // parts), resized(targets, size // parts)
            step = fake_step(model, given, aims, loss, optimizer=make, accumulating=True)
            rows.append(_saving(f"accumulation, {parts} micro-batches", step, times=parts))
    again = []
    for name, way in _checkpointings(model):
        try:
            step = fake_step(model, batch, targets, loss, optimizer=make, rebuild=way)
        except InvalidInput as error:
            notes.append(f"{name} cannot be done: {error}")
        else:
            again.append(_saving(name, step))
    if again:
        rows.append(min(again, key=lambda row: row.peak))
        notes.clear()
    half = fake_step(model, batch, targets, loss, optimizer=make, autocast=torch.bfloat16)
    rows.append(_saving("bfloat16 autocast", half))
    return Savings(tuple(rows), tuple(notes))


def checkpoint_blocks(model: nn.Module) -> nn.Module:
    """The model (itself, changed): autograd keeps only the inputs of its blocks, and the backward runs them again."""
    for block in _blocks(model):
        _checkpoint(block)
    return model


def checkpoint_segments(model: nn.Sequential, count: int) -> nn.Module:
    """A Sequential as `count` segments of neighbours, all but the last checkpointed (Chen et al. 2016, section 4.3)."""
    runs = _runs(model)
    ends = [round(len(runs) * index / count) for index in range(count + 1)]
    segments = [nn.Sequential(*itertools.chain(*runs[start:end])) for start, end in itertools.pairwise(ends)]
    for segment in segments[:-1]:
        _checkpoint(segment)
    return nn.Sequential(*segments)


def _checkpoint(block: nn.Module) -> None:
    block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


def _checkpointings(model: nn.Module) -> list[tuple[str, Callable[[Any], nn.Module]]]:
    count = len(_runs(model)) if isinstance(model, nn.Sequential) else 1
    if count < 2:
        return [("checkpointing each block", checkpoint_blocks)]
    return [
        (f"checkpointing {number} segments", functools.partial(checkpoint_segments, count=number))
        for number in range(2, min(count, SEGMENTS) + 1)
    ]


def _runs(model: nn.Sequential) -> list[list[nn.Module]]:
    """Its layers, each with those behind it that work in place."""
    runs: list[list[nn.Module]] = []
    for layer in model:
        if runs and getattr(layer, "inplace", False):
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return runs


def _blocks(model: nn.Module) -> list[nn.Module]:
    """Members of the outermost containers; those of a Sequential are put together by `_runs`."""
    found: list[nn.Module] = []
    waiting = list(model.children())
    while waiting:
        module = waiting.pop(0)
        if isinstance(module, nn.Sequential):
            runs = [run[0] if len(run) == 1 else nn.Sequential(*run) for run in _runs(module)]
            module._modules = {str(index): run for index, run in enumerate(runs)}
            found += runs
        elif isinstance(module, nn.ModuleList):
            found += list(module)
        else:
            waiting += list(module.children())
    return found or list(model.children())


def _saving(name: str, step: Step, *, times: int = 1) -> Saving:
    return Saving(name, use_of(step).peak, step.saved_bytes, times * sum(op.flop for op in step.ops))
