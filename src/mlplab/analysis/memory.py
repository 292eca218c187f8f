"""Where the memory of a model goes, in prediction and in training: predicted without allocating any, and measured.

What is counted are the bytes of storages (views share theirs), as PyTorch asks its allocator for them. What a kernel
takes within itself, and what the allocator rounds up or keeps, is not seen before the step is run: `measure` shows it.

Sources: the storages that autograd saves, by `torch.autograd.graph.saved_tensors_hooks`; activation checkpointing,
Chen et al. 2016, Training deep nets with sublinear memory cost, arXiv:1604.06174.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from mlplab.analysis.allocator import peak_bytes
from mlplab.analysis.batch import as_batch
from mlplab.analysis.model_copy import copied
from mlplab.analysis.model_failure import model_failures
from mlplab.analysis.step import Loss, OptimizerFactory, Role, Step, fake_step, loss_value, run_step
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, UnknownName, import_extra

if TYPE_CHECKING:
    import altair

OPTIMIZERS: dict[str, OptimizerFactory | None] = {
    "none": None,
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
}
COLOURS: dict[Role, str] = {
    "parameter": PALETTE[0], "buffer": PALETTE[5], "optimizer state": PALETTE[2], "input": "#5f6b73",
    "target": "#98a2a9", "gradient": PALETTE[3], "saved": PALETTE[1], "temporary": "#c9d2d8",
}  # fmt: skip
ROLES: tuple[Role, ...] = tuple(COLOURS)


@dataclass(frozen=True)
class Use:
    """Bytes of a step by role, at the moment when all together are most, and where that is.

    `total` holds all that is ever of a role: every saved tensor, every gradient. `timeline` is (operation, role) ->
    bytes alive, for the figure.
    """

    at_peak: dict[Role, int]
    total: dict[Role, int]
    peak_at: str
    timeline: tuple[dict[Role, int], ...]
    flop: int

    @property
    def peak(self) -> int:
        """The most bytes that are alive at once."""
        return sum(self.at_peak.values())


@dataclass(frozen=True)
class ModuleUse:
    """Bytes and operations that belong to one module itself, not to those within it.

    `temporaries`: the most short-lived bytes alive while its operations ran, forward or backward.
    """

    name: str
    kind: str
    parameters: int
    gradients: int
    optimizer_state: int
    saved: int
    temporaries: int
    forward_flop: int


@dataclass(frozen=True)
class Measured:
    """What one real training step did on the processor at hand: bytes that autograd saved, and the peak.

    The peak is from PyTorch's profiler, which is told of each request to the allocator, or on a GPU from its allocator.
    """

    saved: int
    peak: int


@dataclass(frozen=True)
class Memory:
    """Bytes that a model takes for one batch. `measured` is None unless it was asked for."""

    prediction: Use
    training: Use
    modules: tuple[ModuleUse, ...]
    notes: tuple[str, ...]
    measured: Measured | None = None

    def table(self) -> pd.DataFrame:
        """A row for each role: bytes at the peak of a prediction and of a training step, and in all over the step."""
        rows = [
            {
                "part": role,
                "prediction": self.prediction.at_peak.get(role, 0),
                "training": self.training.at_peak.get(role, 0),
                "whole_step": self.training.total.get(role, 0),
            }
            for role in ROLES
        ]
        total: dict[str, Any] = {
            "part": "peak",
            "prediction": self.prediction.peak,
            "training": self.training.peak,
        }
        frame = pd.DataFrame([*rows, total])
        return frame.astype({"whole_step": "Int64"})

    def module_table(self) -> pd.DataFrame:
        """A row for each module that holds or saves something: bytes, and floating-point operations of its forward."""
        return pd.DataFrame([asdict(module) for module in self.modules])

    def plot(self) -> altair.Chart:
        """Bytes alive over the operations of a training step, stacked by role."""
        alt = import_extra("altair", what="A figure", extra="book")
        wide = [
            {"operation": index, "part": role, "MiB": held.get(role, 0) / 2**20, "order": ROLES.index(role)}
            for index, held in self._changes()
            for role in ROLES
            if self.training.total.get(role, 0)
        ]
        frame = pd.DataFrame(wide)
        present: list[Role] = [role for role in ROLES if self.training.total.get(role, 0)]
        colours = [COLOURS[role] for role in present]
        subtitle = f"peak {self.training.peak / 2**20:,.2f} MiB, {self.training.peak_at}"
        title = alt.TitleParams("Memory of one training step", subtitle=[subtitle], anchor="start")
        return (
            alt.Chart(frame, title=title, width=480, height=260)
            .mark_area(interpolate="step-after")
            .encode(
                x=alt.X("operation:Q", title="Operation of the step", scale=alt.Scale(nice=False)),
                y=alt.Y("MiB:Q", stack="zero", title="Memory (MiB)"),
                color=alt.Color(
                    "part:N", sort=present, scale=alt.Scale(domain=present, range=colours), title=None
                ),
                order="order:Q",
            )
        )

    def _changes(self) -> list[tuple[int, dict[Role, int]]]:
        """Operations at which the bytes alive differ from those before, and the last."""
        line = self.training.timeline
        last = len(line) - 1
        return [(i, held) for i, held in enumerate(line) if i in (0, last) or held != line[i - 1]]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the timeline, for JSON."""
        uses = {
            name: {
                "peak": use.peak,
                "peak_at": use.peak_at,
                "at_peak": dict(use.at_peak),
                "total": dict(use.total),
                "flop": use.flop,
            }
            for name, use in (("prediction", self.prediction), ("training", self.training))
        }
        measured = None if self.measured is None else asdict(self.measured)
        modules = [asdict(module) for module in self.modules]
        return uses | {"modules": modules, "notes": list(self.notes), "measured": measured}


def memory(
    model: nn.Module,
    inputs: Tensor | tuple[Any, ...],
    targets: Tensor | None = None,
    loss: Loss | None = None,
    *,
    optimizer: str | OptimizerFactory | None = "adam",
    measure: bool = False,
) -> Memory:
    """Predict the memory of a prediction (eval mode, no gradients) and of a training step (train mode).

    Arguments:
      model: any module. It is not changed, and may lie on the meta device: nothing is allocated.
      inputs: a batch, or a tuple of what `forward` takes; only shapes and types matter.
      loss: (output, targets) to a scalar; by default the mean of the outputs.
      optimizer: a name in OPTIMIZERS, or a function that makes one of parameters. Its state is that of a second step.
      measure: also run a real step, on a copy: it takes the memory that is predicted.

    Raises InvalidInput for a layer that does not accept its input, an operation that depends on numbers, an empty
    batch; UnknownName for an optimiser.
    """
    batch, make = as_batch(inputs), named_optimizer(optimizer)
    predicting = fake_step(model, batch, training=False)
    training = fake_step(model, batch, targets, loss, optimizer=make)
    measured = _measured(model, batch, targets, loss, make) if measure else None
    return Memory(
        prediction=use_of(predicting),
        training=use_of(training),
        modules=_modules(model, training),
        notes=_notes(model, training),
        measured=measured,
    )


# From a step to bytes


def use_of(step: Step) -> Use:
    """The bytes of a step by role, when all together are most."""
    alive: dict[Role, int] = dict.fromkeys(ROLES, 0)
    alive |= step.bytes_by_role()
    roles: dict[int, Role] = {storage: step.role(storage) for storage in step.sizes}
    timeline: list[dict[Role, int]] = []
    best, at = dict(alive), 0
    later = [change for change in step.changes if change[1] not in step.roles]
    for op, group in itertools.groupby(later, key=lambda change: change[0]):
        for _, storage, size in group:
            role = roles[storage]
            alive[role] = alive[role] + size
            if sum(alive.values()) > sum(best.values()):
                best, at = dict(alive), op
        timeline += [timeline[-1] if timeline else dict(best)] * (min(op, len(step.ops)) - len(timeline))
        timeline.append(dict(alive))
    total = dict(step.bytes_by_role())
    parts: tuple[Role, ...] = ("saved", "gradient")
    for role in parts:
        total[role] = sum(size for storage, size in step.sizes.items() if roles[storage] == role)
    total["temporary"] = max((held["temporary"] for held in timeline), default=0)
    return Use(
        at_peak={role: size for role, size in best.items() if size},
        total={role: size for role, size in total.items() if size},
        peak_at=_place(step, at),
        timeline=tuple(timeline),
        flop=sum(op.flop for op in step.ops),
    )


def _place(step: Step, number: int) -> str:
    if not step.ops:
        return "before the step"
    op = step.ops[min(number, len(step.ops) - 1)]
    return f"at {op.name} in the {op.phase}" + (f" of {op.module}" if op.module else "")


def _modules(model: nn.Module, step: Step) -> tuple[ModuleUse, ...]:
    by_name = {value.name: value for value in step.values if value.role in ("parameter", "buffer")}
    short = _temporaries(step)
    rows = []
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        own = [f"{prefix}{name}" for name, _ in module.named_parameters(recurse=False)]
        own = [name for name in own if name in by_name]  # a shared parameter counts where it comes first
        gradients = [step.values[step.gradients[name]] for name in own if name in step.gradients]
        row = ModuleUse(
            name=path or "(model)",
            kind=type(module).__name__,
            parameters=sum(step.sizes[by_name[name].storage] for name in own),
            gradients=sum(step.sizes[value.storage] for value in gradients),
            optimizer_state=sum(step.state_bytes.get(name, 0) for name in own),
            saved=sum(step.sizes[storage] for storage, place in step.saved.items() if place == path),
            temporaries=short.get(path, 0),
            forward_flop=sum(op.flop for op in step.ops if op.phase == "forward" and op.module == path),
        )
        if any((row.parameters, row.saved, row.temporaries, row.forward_flop)):
            rows.append(row)
    return tuple(rows)


def _temporaries(step: Step) -> dict[str, int]:
    """module -> the most bytes of temporaries alive while its operations ran."""
    most: dict[str, int] = {}
    short = {storage for storage in step.sizes if step.role(storage) == "temporary"}
    alive = 0
    for op, storage, size in step.changes:
        if storage in short:
            alive += size
            if op < len(step.ops) and step.ops[op].phase != "update":
                module = step.ops[op].module
                most[module] = max(most.get(module, 0), alive)
    return most


def _notes(model: nn.Module, step: Step) -> tuple[str, ...]:
    notes = []
    if any(op.name == "mkldnn_rnn_layer" for op in step.ops):
        notes.append(
            "A recurrent layer runs on oneDNN, which keeps a workspace whose size only it knows: the step takes more "
            "than is predicted. --measure shows how much."
        )
    elif any(isinstance(module, nn.RNNBase) for module in model.modules()):
        notes.append(
            "Recurrent layers are followed through PyTorch's own kernels; cuDNN's keep other workspaces."
        )
    return tuple(notes)


# Measurement


def _measured(
    model: nn.Module,
    batch: tuple[Any, ...],
    targets: Tensor | None,
    loss: Loss | None,
    make: OptimizerFactory | None,
) -> Measured:
    if any(t.device.type == "meta" for t in (*model.parameters(), *model.buffers())):
        raise InvalidInput("measure", "needs a model with its weights", "one on the meta device")
    net = copied(model)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    given = tuple(_real(x, device) for x in batch)
    aims = None if targets is None else _real(targets, device)
    step = run_step(copied(model), given, aims, loss, optimizer=make)
    resident = sum(step.bytes_by_role().values())
    update = make(p for p in net.parameters() if p.requires_grad) if make else None

    def once() -> None:
        loss_value(net(*given), aims, loss).backward()
        if update is not None:
            update.step()

    net.train()
    with model_failures(net):
        once()
    net.zero_grad(set_to_none=True)
    return Measured(step.saved_bytes, resident + peak_bytes(once, device))


def _real(x: Any, device: torch.device) -> Any:
    if not isinstance(x, Tensor) or x.device.type != "meta":
        return x
    return torch.zeros(x.shape, dtype=x.dtype, device=device)


def named_optimizer(optimizer: str | OptimizerFactory | None) -> OptimizerFactory | None:
    """The function that makes an optimiser; None for "none". Raises UnknownName."""
    if not isinstance(optimizer, str):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise UnknownName("optimizer", optimizer, list(OPTIMIZERS))
    return OPTIMIZERS[optimizer]
