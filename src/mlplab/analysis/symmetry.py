"""Which units of a model, as it is initialised, can never become different under gradient training.

A permutation of hidden units that takes their incoming and outgoing weights along does not change what a model
computes. Where it also leaves every parameter as it is, it is a symmetry of the point that training starts from:

    f(πθ) = f(θ) for all θ   =>   ∇L(πθ) = π∇L(θ)   =>   if πθ = θ, then π∇L(θ) = ∇L(θ)

so a step along the gradient leads to a point with the same symmetry, on any data, with any loss of the outputs. The
same holds for momentum, Adam, weight decay and clipping, which treat entries alike. Two units that such an exchange
leaves in place are equal for ever; what tells them apart is a random start, or noise of their own such as dropout.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from mlplab.analysis.model_output import tensors_in
from mlplab.analysis.symmetry_flow import Flow
from mlplab.analysis.symmetry_space import Piece, Space
from mlplab.analysis.symmetry_trace import arguments, traced
from mlplab.charts.plots import GREY, PALETTE
from mlplab.errors import InvalidInput, import_extra

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float64

# Summed in another order, outputs in float64 move by 1e-12 of their size at most; by a wrong exchange, by 0.01 or more.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class UnitGroup:
    """Units that may change places.

    name: of the modules that compute them, joined by " + " where a residual addition makes them one.
    kind: "units", "channels", "cells" (of a recurrent layer), "heads" or "embedding coordinates".
    classes: units (from 0) that can never become different, for each class of at least two.
    broken_by: modules whose noise in training tells these units apart all the same.
    parameters: those that an exchange of two units permutes.
    rank: where only linear maps lie on both sides and [W_in, b_in, W_outᵀ] lacks full rank, that rank: the number of
      directions that gradient descent (with or without momentum; not Adam) can ever use. None elsewhere.
    error: how far outputs move when the units are permuted in a copy with random weights, relative to their size.
    """

    name: str
    kind: str
    num_units: int
    classes: tuple[tuple[int, ...], ...]
    broken_by: tuple[str, ...]
    parameters: tuple[str, ...]
    rank: int | None
    error: float

    @property
    def num_different(self) -> int:
        """Units that count: each class counts once."""
        return self.num_units - sum(len(units) - 1 for units in self.classes)


@dataclass(frozen=True)
class Symmetry:
    """What `symmetry` found. `not_judged`: module -> why nothing is said of its units."""

    groups: tuple[UnitGroup, ...]
    not_judged: dict[str, str]

    @property
    def stuck(self) -> tuple[UnitGroup, ...]:
        """Groups of which units can never become different, whatever the noise in the model."""
        return tuple(group for group in self.groups if group.classes and not group.broken_by)

    def table(self) -> pd.DataFrame:
        """A row for each group; then one for each that was not judged, with the reason."""
        rows: list[dict[str, Any]] = []
        for group in self.groups:
            rows.append(
                {
                    "name": group.name,
                    "kind": group.kind,
                    "num_units": group.num_units,
                    "num_different": group.num_different,
                    "rank": group.rank,
                    "verdict": _verdict(group),
                }
            )
        rows += [{"name": name, "verdict": f"not judged: {why}"} for name, why in self.not_judged.items()]
        columns = ["name", "kind", "num_units", "num_different", "rank", "verdict"]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype(dict.fromkeys(("num_units", "num_different", "rank"), "Int64"))

    def plot(self) -> altair.LayerChart:
        """A bar for each judged group: its units, and as many as can be different."""
        alt = import_extra("altair", what="A figure", extra="book")
        rows = pd.DataFrame(
            [
                {"group": f"{g.name} ({g.kind})", "units": g.num_units, "different": g.num_different}
                for g in self.groups
            ],
            columns=["group", "units", "different"],
        )
        subtitle = f"grey: all units; blue: at most so many different ones; {len(self.not_judged)} not judged"
        title = alt.TitleParams("Units that training can make different", subtitle=[subtitle], anchor="start")
        base = alt.Chart(rows, title=title, width=420, height=alt.Step(26))
        y = alt.Y("group:N", sort=list(rows["group"]), title=None, axis=alt.Axis(labelLimit=230))
        tooltip = ["group:N", "units:Q", "different:Q"]
        whole = base.mark_bar(color=GREY, opacity=0.4, size=16).encode(
            x=alt.X("units:Q", title="Number of units", axis=alt.Axis(tickMinStep=1)), y=y, tooltip=tooltip
        )
        free = base.mark_bar(color=PALETTE[0], size=8).encode(x="different:Q", y=y, tooltip=tooltip)
        return alt.layer(whole, free)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {"groups": [asdict(group) for group in self.groups], "not_judged": dict(self.not_judged)}


def symmetry(model: nn.Module, batch: Tensor | tuple[Any, ...]) -> Symmetry:
    """Which units of `model`, as its parameters are now, can never become different under gradient training.

    Two units are of one class if exchanging them, with all that leads in and out, changes no parameter and no buffer:
    equality is exact, bit for bit. Every group of units that is reported was also permuted in a copy of the model with
    random weights in float64, and the outputs stayed (`UnitGroup.error`).

    Arguments:
      model: made of torch.nn modules, and traceable by `torch.fx`: linear and convolutional layers, embeddings,
        RNN, LSTM, GRU, MultiheadAttention and TransformerEncoder(Layer), norms, activations, pooling, residual
        addition and concatenation between them. It is copied, not changed.
      batch: what the model takes, a tuple for several arguments. Only its shapes matter.

    Input features, and the outputs that the model returns, are told apart by the data and the loss: they are no groups.
    Looks at exchanges of units of one group at a time. Units that are in no class may still share a symmetry that
    permutes several layers at once (as with an identity matrix between two constant ones).

    Raises InvalidInput for a model that cannot be traced or run on the batch, that has a parameter or an input that
    is not finite, or that is no module.
    Source: Zhang et al., Dive into Deep Learning, section 4.8.1; Goodfellow, Bengio and Courville 2016, section 8.4.
    """
    graph = traced(model, batch)
    flow = Flow(graph)
    flow.follow(arguments(batch))
    return _judged(flow)


def _verdict(group: UnitGroup) -> str:
    if not group.classes:
        return (
            "can all become different"
            if group.rank is None
            else f"rank stays {group.rank} under gradient descent"
        )
    count = group.num_units - group.num_different
    if group.broken_by:
        return f"{count} equal at the start; noise breaks it: {', '.join(group.broken_by)}"
    return f"{count} can never become different from another"


def _judged(flow: Flow) -> Symmetry:
    roots = list(dict.fromkeys(space.root() for space in flow.spaces))
    groups: list[UnitGroup] = []
    not_judged: dict[str, str] = {}
    found = []
    for space in roots:
        pieces = [piece for piece in flow.pieces if piece.axes_of(space)]
        if space.unknown:
            not_judged[f"{space.name} ({space.kind})"] = "; ".join(dict.fromkeys(space.unknown))
        elif not space.outside:
            found.append((space, pieces, _classes(space, pieces), _rank(space, pieces)))
    errors = _errors(flow, [(space, pieces) for space, pieces, _, _ in found])
    for (space, pieces, classes, rank), error in zip(found, errors, strict=True):
        if not error <= TOLERANCE:
            why = f"exchanging its units moved the outputs by {error:.1g}: this tool misreads the model"
            not_judged[f"{space.name} ({space.kind})"] = why
            continue
        names = tuple(dict.fromkeys(piece.name for piece in pieces))
        noise = tuple(dict.fromkeys(space.noise))
        groups.append(UnitGroup(space.name, space.kind, space.count, classes, noise, names, rank, error))
    for name in flow.unplaced():
        not_judged.setdefault(
            name, "a parameter that is used in a way this tool does not know, or not at all"
        )
    return Symmetry(tuple(groups), not_judged)


def _classes(space: Space, pieces: list[Piece]) -> tuple[tuple[int, ...], ...]:
    """Units of which any two may change places and leave every parameter as it is; that is transitive."""
    features, squares = [], []
    for piece in pieces:
        axes, view = piece.axes_of(space), piece.view.detach().double() + 0.0  # -0 is 0
        if len(axes) == 1:
            features.append(view.movedim(axes[0], 0).flatten(1) if view.ndim > 1 else view[:, None])
        else:
            square = view.movedim(axes, (0, 1)).reshape(space.count, space.count, -1)
            squares.append(square)
            features.append(square.diagonal().T)
            # What an exchange cannot change: the values of a row and of a column, in whatever order.
            features += [square.sort(1).values.flatten(1), square.transpose(0, 1).sort(1).values.flatten(1)]
    inverse = torch.unique(torch.cat(features, 1), dim=0, return_inverse=True)[1]
    classes: list[list[int]] = []
    candidates: dict[int, list[list[int]]] = {}
    for unit, label in enumerate(inverse.tolist()):
        for members in candidates.setdefault(label, []):
            if all(_exchangeable(square, members[0], unit) for square in squares):
                members.append(unit)
                break
        else:
            candidates[label].append([unit])
            classes.append(candidates[label][-1])
    return tuple(tuple(members) for members in classes if len(members) > 1)


def _exchangeable(square: Float64[Tensor, "unit unit entry"], i: int, j: int) -> bool:
    order = torch.arange(len(square))
    order[i], order[j] = j, i
    return torch.equal(square[i][order], square[j]) and torch.equal(square[order, i], square[:, j])


def _rank(space: Space, pieces: list[Piece]) -> int | None:
    """Of [W_in, b_in, W_outᵀ] where units are linear: an orthogonal map that fixes it is a symmetry too."""
    if not space.linear or not any(axis for piece in pieces for axis in piece.axes_of(space)):
        return None
    rows = [
        piece.view.detach().movedim(piece.axes_of(space)[0], 0).reshape(space.count, -1) for piece in pieces
    ]
    matrix = torch.cat(rows, 1)
    rank = int(torch.linalg.matrix_rank(matrix))
    return rank if rank < min(matrix.shape) else None


@torch.no_grad()
def _errors(flow: Flow, found: list[tuple[Space, list[Piece]]]) -> list[float]:
    """How far outputs move when the units of each group change places in a copy with random weights."""
    generator = torch.Generator().manual_seed(0)
    for parameter in flow.graph_module.parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        fan_in = max(1, parameter.numel() // max(1, parameter.shape[0])) if parameter.ndim > 1 else 4
        parameter.copy_(drawn / math.sqrt(fan_in))
    before = _outputs(flow)
    errors = []
    for space, pieces in found:
        order = torch.arange(space.count).roll(1)
        _exchange(space, pieces, order)
        moved = (_outputs(flow) - before).abs().max() / before.abs().max().clamp(min=1e-300)
        errors.append(moved.item())
        _exchange(space, pieces, order.argsort())
    return errors


def _exchange(space: Space, pieces: list[Piece], order: Tensor) -> None:
    for piece in pieces:
        for axis in piece.axes_of(space):
            piece.view.copy_(piece.view.index_select(axis, order))


def _outputs(flow: Flow) -> Float64[Tensor, "number"]:
    inputs = (x.clone() if isinstance(x, Tensor) else x for x in flow.inputs)  # it may write over them
    found = [leaf.flatten().double() for leaf in tensors_in(flow.graph_module(*inputs))]
    if not found:
        raise InvalidInput("symmetry model", "must return a tensor", "none")
    return torch.cat(found)
