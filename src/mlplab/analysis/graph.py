"""The program of a model: the operations of its forward and backward as PyTorch runs them, with what autograd saves.

Each operation is one that the dispatcher runs below autograd (ATen), so that the backward is not a textbook's but the
real one. Nothing is computed: see `mlplab.analysis.step`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from torch import Tensor, nn

from mlplab.analysis.graph_drawing import Drawing
from mlplab.analysis.step import Loss, Phase, Step, fake_step
from mlplab.errors import InvalidInput

HIDDEN = ("detach", "alias")  # the same tensor for autograd's sake


@dataclass(frozen=True)
class Node:
    """A tensor that is there before the step, an operation, or the gradient of a parameter.

    kind: "input", "target", "parameter", "buffer", "constant", "operation" or "gradient". `saved`: autograd keeps it
    (for an operation, its result) for the backward. `inputs` are numbers of nodes.
    """

    number: int
    name: str
    kind: str
    phase: Phase
    module: str
    shape: tuple[int, ...]
    dtype: str
    num_bytes: int
    flop: int
    saved: bool
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The program of one training step, without the update, or of a prediction."""

    title: str
    nodes: tuple[Node, ...]

    def table(self) -> pd.DataFrame:
        """A row for each node, in the order in which they run."""
        return pd.DataFrame([asdict(node) for node in self.nodes])

    def plot(self) -> Drawing:
        """The drawing: `.dot` always; `.svg()` and `.html()` with the extra [graph]; `.save(path)` by its suffix."""
        return Drawing(self.title, tuple(asdict(node) for node in self.nodes))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {"title": self.title, "nodes": [asdict(node) for node in self.nodes]}


def graph(
    model: nn.Module,
    inputs: Tensor | tuple[Any, ...],
    targets: Tensor | None = None,
    loss: Loss | None = None,
    *,
    training: bool = True,
) -> Graph:
    """The forward and backward program of a model on a batch; without `training`, the forward of a prediction.

    Arguments:
      inputs: a batch, or a tuple of what `forward` takes; only shapes and types matter.
      loss: (output, targets) to a scalar; by default the mean of the outputs.

    Raises InvalidInput for a layer that does not accept its input, and for an operation that depends on numbers.
    """
    batch = inputs if isinstance(inputs, tuple) else (inputs,)
    if not any(isinstance(x, Tensor) and x.numel() for x in batch):
        raise InvalidInput(
            "inputs", "must be a batch that is not empty", [getattr(x, "shape", x) for x in batch]
        )
    step = fake_step(model, batch, targets, loss, training=training)
    what = "forward and backward" if training else "prediction"
    return Graph(f"{type(model).__name__}: {what}", _nodes(step))


def _nodes(step: Step) -> tuple[Node, ...]:
    same = _without_hidden(step)
    ops = [op for op in step.ops if op.phase != "update" and op.name not in HIDDEN]
    read = {same[number] for op in ops for number in op.inputs}
    saved = {same[number] for number in step.saved_values}
    place: dict[int, int] = {}  # value -> node
    nodes: list[Node] = []

    def add(name: str, kind: str, phase: Phase, module: str, values: tuple[int, ...], **more: Any) -> None:
        shown = step.values[values[0]] if values else None
        place.update(dict.fromkeys(values, len(nodes)))
        nodes.append(
            Node(
                len(nodes), name, kind, phase, module,
                shown.shape if shown else (), shown.dtype if shown else "",
                sum(step.values[number].num_bytes for number in values),
                more.get("flop", 0), any(number in saved for number in values), more.get("inputs", ()),
            )
        )  # fmt: skip

    for value in step.values:
        if value.op is None and value.number in read:
            module = value.name.rpartition(".")[0] if value.role in ("parameter", "buffer") else ""
            add(value.name, value.role or "constant", "forward", module, (value.number,))
    for op in ops:
        inputs = tuple(dict.fromkeys(place[same[number]] for number in op.inputs))
        add(
            op.name,
            "operation",
            op.phase,
            op.module,
            tuple(same[n] for n in op.outputs),
            flop=op.flop,
            inputs=inputs,
        )
    for name, number in step.gradients.items():
        source = (place[same[number]],)
        add(f"gradient of {name}", "gradient", "backward", name.rpartition(".")[0], (), inputs=source)
        value = step.values[same[number]]
        nodes[-1] = Node(
            **asdict(nodes[-1]) | {"shape": value.shape, "dtype": value.dtype, "num_bytes": value.num_bytes}
        )
    return tuple(nodes)


def _without_hidden(step: Step) -> dict[int, int]:
    """Value -> the value that it is another name of, where an operation does nothing but rename."""
    same = {value.number: value.number for value in step.values}
    for op in step.ops:
        if op.name in HIDDEN and op.inputs and op.outputs:
            same[op.outputs[0]] = same[op.inputs[0]]
    return same
