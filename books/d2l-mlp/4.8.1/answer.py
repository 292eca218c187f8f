"""4.8.1 Which other networks have symmetries that must be broken?

Channels, recurrent cells, attention heads and experts may change places as hidden units may. Each is written in a few
lines, with the axes along which its units lie; an exchange, an equal start and a random one are then the same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd
import sympy
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab.analysis.symmetry import UnitGroup, symmetry
from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

UNITS = 4
TRIES = 20
STEPS, RATE = 150, 0.05
FACTOR = 3.0  # by which weights of a ReLU unit are multiplied and divided
ROUNDING = 1e-12
DIFFERENT = 0.1  # standard deviation over units; weights are drawn with 0.5
NEARLY = 1e-6  # standard deviation of what tells units apart in a nearly equal start
FLOOR = 1e-17  # where the figure draws 0
VALUE = 0.1  # of all parameters, where PyTorch's own layers start equal
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Kind:
    """A network with units that may change places.

    shapes: of its weights, by name.
    axes: for each weight, the axes along which the units lie; of length UNITS.
    forward: weights, inputs -> outputs.
    input_shape: of a batch.
    """

    shapes: Mapping[str, tuple[int, ...]]
    axes: Mapping[str, tuple[int, ...]]
    forward: Callable[[Weights, Tensor], Tensor]
    input_shape: tuple[int, ...]


def convolution(w: Weights, x: Tensor) -> Tensor:
    """Two convolutions with ReLU between."""
    return functional.conv2d(functional.relu(functional.conv2d(x, w["in"], w["bias"])), w["out"])


def recurrence(w: Weights, x: Tensor) -> Tensor:
    """An Elman network over x (batch, time, feature); the last state is read out."""
    state = x.new_zeros(len(x), UNITS)
    for step in range(x.shape[1]):
        state = torch.tanh(x[:, step] @ w["in"].T + state @ w["between"].T + w["bias"])
    return state @ w["out"].T


def attention(w: Weights, x: Tensor) -> Tensor:
    """Self-attention over x (batch, token, feature); each head has its own projections, and their outputs add up."""
    query, key, value = (torch.einsum("btf,hfd->bhtd", x, w[name]) for name in ("query", "key", "value"))
    shares = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, -1)
    return torch.einsum("bhtd,hdf->btf", shares @ value, w["out"])


def experts(w: Weights, x: Tensor) -> Tensor:
    """A mixture: each expert is a small network, and a softmax gate weighs them."""
    gate = torch.softmax(x @ w["gate"].T, -1)
    hidden = torch.tanh(torch.einsum("bf,edf->bed", x, w["in"]))
    return torch.einsum("be,bed,eod->bo", gate, hidden, w["out"])


KINDS = {
    "channels": Kind(
        {"in": (UNITS, 2, 3, 3), "bias": (UNITS,), "out": (3, UNITS, 3, 3)},
        {"in": (0,), "bias": (0,), "out": (1,)},
        convolution,
        (8, 2, 6, 6),
    ),
    "cells": Kind(
        {"in": (UNITS, 3), "between": (UNITS, UNITS), "bias": (UNITS,), "out": (2, UNITS)},
        {"in": (0,), "between": (0, 1), "bias": (0,), "out": (1,)},
        recurrence,
        (16, 5, 3),
    ),
    "heads": Kind(
        {"query": (UNITS, 3, 2), "key": (UNITS, 3, 2), "value": (UNITS, 3, 2), "out": (UNITS, 2, 3)},
        dict.fromkeys(("query", "key", "value", "out"), (0,)),
        attention,
        (16, 5, 3),
    ),
    "experts": Kind(
        {"gate": (UNITS, 3), "in": (UNITS, 2, 3), "out": (UNITS, 2, 2)},
        dict.fromkeys(("gate", "in", "out"), (0,)),
        experts,
        (16, 3),
    ),
}


def drawn(kind: Kind, seed: int) -> dict[str, Tensor]:
    """Weights from N(0, 0.25)."""
    found = {}
    for layer, (name, shape) in enumerate(kind.shapes.items()):
        found[name] = torch.from_numpy(0.5 * Stream(seed, "init", layer=layer).normal(shape))
    return found


def inputs_of(kind: Kind, seed: int) -> Tensor:
    """A batch from N(0, 1)."""
    return torch.from_numpy(Stream(seed, "data").normal(kind.input_shape))


def rearranged(kind: Kind, weights: Weights, order: Tensor, *, leave: str = "") -> dict[str, Tensor]:
    """The weights with the units in that order (an order that repeats a unit makes equal ones), but for `leave`."""
    found = dict(weights)
    for name, axes in kind.axes.items():
        for axis in axes if name != leave else ():
            found[name] = found[name].index_select(axis, order)
    return found


def spread(kind: Kind, weights: Weights, leave: str) -> float:
    """How far units are apart: the largest standard deviation over the units of an entry, but for `leave`."""
    names = [name for name in kind.axes if name not in ("between", leave)]
    return max(float(weights[name].std(kind.axes[name][0]).max()) for name in names)


@cache
def path(name: str, noise: float, seed: int, leave: str = "") -> tuple[float, ...]:
    """The spread over the units at each step of gradient descent towards a random network of the same kind.

    Arguments:
      noise: how much each unit differs from the first at the start: 0 equal, 1 as drawn at random.
      leave: a weight that starts as drawn whatever the noise; "" for none.
    """
    kind = KINDS[name]
    x, teacher, start = inputs_of(kind, seed), drawn(kind, seed + 1000), drawn(kind, seed)
    equal = rearranged(kind, start, torch.zeros(UNITS, dtype=torch.long), leave=leave)
    weights = {key: (equal[key] + noise * (start[key] - equal[key])).requires_grad_() for key in start}
    goal = kind.forward(teacher, x)
    optimizer = torch.optim.SGD(list(weights.values()), lr=RATE)
    spreads = []
    for _ in range(STEPS + 1):
        spreads.append(spread(kind, {key: value.detach() for key, value in weights.items()}, leave))
        optimizer.zero_grad()
        ((kind.forward(weights, x) - goal) ** 2).mean().backward()
        optimizer.step()
    return tuple(spreads)


# Checks


def may_change_places(leave: str) -> Finding:
    """Random networks of all kinds: do outputs stay when units change places with all that leads in and out?

    Arguments:
      leave: a weight that does not move with its unit; "" for none.
    """
    worst = 0.0
    for kind in KINDS.values():
        for seed in range(TRIES):
            weights, x = drawn(kind, seed), inputs_of(kind, seed)
            order = torch.from_numpy(Stream(seed, "order").permutation(UNITS)).roll(1)
            moved = rearranged(kind, weights, order, leave=leave)
            before = kind.forward(weights, x)
            worst = max(worst, float((kind.forward(moved, x) - before).abs().max() / before.abs().max()))
    return Finding.true_if(worst < ROUNDING, worst_error=worst, tries=TRIES * len(KINDS))


def stays_equal(leave: str) -> Finding:
    """All kinds, units equal at the start: do they stay equal along training?

    Arguments:
      leave: a weight that starts random nevertheless; "" for none.
    """
    worst = max(max(path(name, 0.0, seed, leave)) for name in KINDS for seed in range(2))
    return Finding.true_if(worst < ROUNDING, worst_error=worst, steps=STEPS)


def ends_different(noise: float) -> Finding:
    """All kinds: do units that start this far apart end visibly different?"""
    least = min(path(name, noise, seed)[-1] for name in KINDS for seed in range(2))
    return Finding.true_if(least > DIFFERENT, least=least)


class Recurrent(nn.Module):
    """A recurrent layer of PyTorch, with a linear map of the last state."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(layer.hidden_size, 2)

    def forward(self, x: Tensor) -> Tensor:
        """x (time, batch, feature) -> (batch, 2)."""
        return self.out(self.layer(x)[0][-1])


class Residual(nn.Module):
    """x + V·relu(U·x), then a linear map: a residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.head = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 6) -> (batch, 3)."""
        return self.head(x + self.outer(torch.relu(self.inner(x))))


# Of PyTorch's own layers: how each is made, and the shape of a batch.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3)), (2, 2, 8, 8),
    ),
    "lstm": (lambda: Recurrent(nn.LSTM(3, 8)), (5, 2, 3)),
    "gru": (lambda: Recurrent(nn.GRU(3, 8)), (5, 2, 3)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(16, 4, 32, dropout=0), (5, 2, 16),
    ),
    "residual": (Residual, (2, 6)),
}  # fmt: skip


@cache
def judged(layer: str, value: float | None) -> tuple[UnitGroup, ...]:
    """What `mlplab symmetry` says of one of LAYERS with all parameters at a value, or as drawn from N(0, 0.01)."""
    make, shape = LAYERS[layer]
    model = make()
    for number, parameter in enumerate(model.parameters()):
        drawn_ = torch.from_numpy(0.1 * Stream(0, "init", layer=number).normal(tuple(parameter.shape)))
        parameter.data = (drawn_ if value is None else torch.full_like(drawn_, value)).float()
    return symmetry(model, torch.zeros(shape)).groups


def leave_one(value: float | None) -> Finding:
    """All of PyTorch's layers, started like this: can only one unit of each group be different from the others?"""
    groups = [group for layer in LAYERS for group in judged(layer, value)]
    most = max(group.num_different for group in groups)
    numbers = {"groups": len(groups), "units": sum(g.num_units for g in groups), "layers": len(LAYERS)}
    return Finding.true_if(most == 1, f"at most {most} in a group", **numbers)


def parts(skip: float) -> Finding:
    """h = relu(Wx + b) + skip·x with equal W and b, then a linear map of equal weights: do the rows of W part?"""
    least = math.inf
    for seed in range(5):
        stream = Stream(seed, "data")
        x, goal = torch.from_numpy(stream.normal((32, 6))), torch.from_numpy(stream.normal((32, 2)))
        w, b, v = (
            torch.full(shape, VALUE, dtype=x.dtype, requires_grad=True) for shape in ((6, 6), (6,), (2, 6))
        )
        optimizer = torch.optim.SGD([w, b, v], lr=RATE)
        for _ in range(STEPS):
            optimizer.zero_grad()
            hidden = torch.relu(x @ w.T + b) + skip * x
            ((hidden @ v.T - goal) ** 2).mean().backward()
            optimizer.step()
        least = min(least, float(w.detach().std(0).max()))
    return Finding.true_if(least > NEARLY, f"{least:.2g} apart", least=least)


def leaves_outputs(factor: float) -> Finding:
    """Random ReLU networks: do outputs stay if weights into units are multiplied, those out of them divided by this?"""
    worst = 0.0
    for seed in range(TRIES):
        x, w, v = (
            torch.from_numpy(Stream(seed, "data", layer=i).normal(s))
            for i, s in enumerate(((8, 3), (5, 3), (2, 5)))
        )
        before = torch.relu(x @ w.T) @ v.T
        after = torch.relu(x @ (factor * w).T) @ (v / factor).T
        worst = max(worst, float((after - before).abs().max() / before.abs().max()))
    return Finding.true_if(worst < ROUNDING, worst_error=worst, tries=TRIES)


U, V, Y = sympy.Symbol("u", real=True), sympy.Symbol("v", real=True), sympy.Symbol("y", positive=True)
FACTORISED = (U * V - Y) ** 2 / 2


def is_saddle(point: tuple[Any, Any]) -> Finding:
    """Is the gradient of (uv - y)²/2 zero there, and has the Hessian a positive and a negative eigenvalue?"""
    there = [(U, point[0]), (V, point[1])]
    gradient = [sympy.simplify(sympy.diff(FACTORISED, s).subs(there)) for s in (U, V)]
    eigenvalues = list(sympy.hessian(FACTORISED, (U, V)).subs(there).eigenvals())
    both = any(e.is_positive for e in eigenvalues) and any(e.is_negative for e in eigenvalues)
    return Finding.true_if(not any(gradient) and both, f"gradient {gradient}, eigenvalues {eigenvalues}")


def is_conserved(sign: int) -> Finding:
    """Does u² + sign · v² stay constant along gradient flow on (uv - y)²/2?"""
    speed = {s: -sympy.diff(FACTORISED, s) for s in (U, V)}
    change = sympy.expand(2 * U * speed[U] + sign * 2 * V * speed[V])
    return Finding.true_if(change == 0, f"its change is {change}")


# What is shown


STARTS = {"equal": 0.0, "nearly": NEARLY, "random": 1.0}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """How far units are apart after training, for each kind and start."""
    rows = [
        [label, *(show.number(path(name, noise, 0)[-1], 2) for noise in STARTS.values())]
        for name, label in words.group("kinds").items()
    ]
    title = words("titles.largest-standard-deviation-over-units", units=UNITS, steps=STEPS)
    groups = [
        [words[f"layers.{layer}"], f"{group.num_units} {words.group('unit_kinds')[group.kind]}"]
        + [str(judged(layer, value)[number].num_different) for value in (VALUE, None)]
        for layer in LAYERS
        for number, group in enumerate(judged(layer, VALUE))
    ]
    heads = (
        words["heads.layer-pytorch"], words["heads.units"],
        words("heads.can-differ-all-at", value=VALUE), words["heads.random-start"],
    )  # fmt: skip
    found = words["labels.how-many-units-can-ever"]
    return [
        Table(title, (words["heads.units"], *words.group("starts").values()), rows),
        Table(found, heads, groups),
    ]


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """How far copies that start equal end apart: to the rounding of float32."""
    return dict.fromkeys(("channels", "cells", "heads"), (0.0, 1e-4))


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Differences between units along training: from an equal start they stay 0."""
    alt = import_extra("altair", what="A figure", extra="book")
    points = [
        {
            "kind": label,
            "start": words[f"starts.{start}"],
            "step": step,
            "spread": max(value, FLOOR),
        }
        for name, label in words.group("kinds").items()
        for start, noise in STARTS.items()
        for step, value in list(enumerate(path(name, noise, 0)))[::5]
    ]
    starts = list(words.group("starts").values())
    note = words["labels.largest-standard-deviation-over-units"]
    head = words["labels.what-equal-stays-equal-whatever"]
    title = alt.TitleParams(head, subtitle=note, anchor="start")
    scale = plots.colour_scale(alt, starts)
    dashes = plots.dash_scale(alt, starts)
    return (
        alt.Chart(pd.DataFrame(points), width=250, height=130)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title=words["titles.step-gradient-descent"]),
            y=alt.Y(
                "spread:Q",
                title=words["titles.spread-units"],
                scale=alt.Scale(type="log", domain=[FLOOR, 10]),
                axis=alt.Axis(format="~e", tickCount=6),
            ),
            color=alt.Color("start:N", title=words["titles.start"], scale=scale),
            strokeDash=alt.StrokeDash("start:N", title=words["titles.start"], scale=dashes),
        )
        .facet(facet=alt.Facet("kind:N", title=None, sort=list(words.group("kinds").values())), columns=2)
        .properties(title=title)
    )  # fmt: skip


ANSWER = Answer(
    claims=(
        Claim(
            name="units-may-change-places",
            kind="property",
            check=may_change_places,
            subject=lambda o: "",
            falsehood=lambda o: "out",
        ),
        Claim(
            name="equal-units-stay-equal",
            kind="property",
            check=stays_equal,
            subject=lambda o: "",
            falsehood=lambda o: "out",  # what leads out starts random: enough to part them
        ),
        Claim(
            name="random-units-end-different",
            kind="property",
            check=ends_different,
            subject=lambda o: 1.0,
            falsehood=lambda o: 0.0,
        ),
        Claim(
            name="pytorch-layers-leave-one",
            kind="property",
            check=leave_one,
            subject=lambda o: VALUE,
            falsehood=lambda o: None,  # a random start
        ),
        Claim(
            name="a-skip-parts-what-it-adds-to",
            kind="property",
            check=parts,
            subject=lambda o: 1.0,
            falsehood=lambda o: 0.0,
        ),
        Claim(
            name="relu-may-be-rescaled",
            kind="property",
            figures={"factor": FACTOR},
check=leaves_outputs,
            subject=lambda o: FACTOR,
            falsehood=lambda o: -1.0,  # signs are a symmetry of tanh, not of ReLU
        ),
        Claim(
            name="zero-is-a-saddle",
            kind="proof",
            check=is_saddle,
            subject=lambda o: (sympy.Integer(0), sympy.Integer(0)),
            falsehood=lambda o: (sympy.sqrt(Y), sympy.sqrt(Y)),  # no gradient either, but a minimum
        ),
        Claim(
            name="balance-is-kept",
            kind="proof",
            check=is_conserved,
            subject=lambda o: -1,
            falsehood=lambda o: 1,
        ),
    ),
    circulated=(
        Circulated(
            "convolutional-networks-with-equal-initial",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="equal-units-stay-equal",
        ),
        Circulated(
            "structure-resnet-breaks-symmetry-too",
            {"holds": "incomplete", "fails": "right", "undecided": "unsupported"},
            by="a-skip-parts-what-it-adds-to",
        ),
        Circulated(
            "output-channels-are-symmetric",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="equal-units-stay-equal",
            source="datawhale",
        ),
        Circulated(
            "filters-share-a-symmetry",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="equal-units-stay-equal",
            source="pandalabme",
        ),
        Circulated(
            "relu-breaks-symmetry",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="pytorch-layers-leave-one",
            source="pandalabme",
        ),
        Circulated("pooling-and-graphs-need-breaking", "misread", source="pandalabme"),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
)  # fmt: skip
