"""4.1.3 Why is tanh(x) + 1 = 2 sigmoid(2x), and what follows for networks with either function?

The identity moves a tanh into a sigmoid between two affine layers. So both kinds of network compute the same
functions; but the same step of gradient descent, taken in other weights, is another step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from torch import Tensor, nn

from mlplab.analysis.tanh_sigmoid import sigmoid_to_tanh, tanh_to_sigmoid
from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

X = sympy.Symbol("x", real=True)
SIZES = ((1, 8, 1), (3, 16, 2), (5, 12, 12, 4), (2, 6, 6, 6, 1))
TRIES = 25  # networks of each size
LEARNING_RATE, NUM_STEPS = 0.1, 200
Converse = Callable[[nn.Sequential], nn.Sequential]


def sigmoid(x: Any) -> sympy.Expr:
    """1/(1 + exp(-x))."""
    return 1 / (1 + sympy.exp(-x))


def is_identity(right_side: sympy.Expr) -> Finding:
    """Is tanh(x) + 1 equal to this for every x? tanh is written as (e^x - e^-x)/(e^x + e^-x)."""
    left = sympy.tanh(X).rewrite(sympy.exp) + 1
    residue = sympy.simplify(left - right_side)
    return Finding.true_if(residue == 0, f"tanh(x) + 1 - ({right_side}) = {residue}")


def is_not_tanh(candidate: sympy.Expr) -> Finding:
    """Is this another function than tanh? One input at which they differ decides."""
    gap = sympy.simplify(candidate.subs(X, 0) - sympy.tanh(0))
    same = gap == 0 and is_identity(candidate + 1).verdict == "holds"
    return Finding.true_if(not same, f"at 0 the difference is {gap}")


def is_slope_ratio(ratio: int) -> Finding:
    """Is the slope of tanh at x always that many times the slope of sigmoid at 2x?"""
    at = sympy.Symbol("u", real=True)
    slope = sympy.diff(sigmoid(at), at).subs(at, 2 * X)
    residue = sympy.simplify(sympy.diff(sympy.tanh(X).rewrite(sympy.exp), X) - ratio * slope)
    return Finding.true_if(residue == 0, f"tanh'(x) - {ratio} sigmoid'(2x) = {residue}")


def computes_the_same(converse: Converse, activation: type[nn.Module]) -> Finding:
    """Random networks of this activation, rewritten: the largest difference of outputs on random inputs."""
    worst = 0.0
    with torch.no_grad():
        for number, sizes in enumerate(SIZES * TRIES):
            net = network(sizes, activation, number)
            x = torch.from_numpy(Stream(number, "data").normal((50, sizes[0])))
            worst = max(worst, float((net(x) - converse(net)(x)).abs().max()))
    # Outputs are of size 1 to 10, and the moved bias rounds: some 1e-15.
    return Finding.true_if(worst < 1e-12, worst_error=worst, tries=len(SIZES) * TRIES)


def network(sizes: tuple[int, ...], activation: type[nn.Module], seed: int) -> nn.Sequential:
    """Weights and biases N(0, 1) in float64."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise(sizes)):
        linear, stream = nn.Linear(before, after, dtype=torch.float64), Stream(seed, "init", layer=index)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(stream.normal((after, before))))
            linear.bias.copy_(torch.from_numpy(stream.normal(after)))
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def scaled_only(net: nn.Sequential) -> nn.Sequential:
    """What sigmoid_to_tanh would be without the + 1 of the identity: weights halved, nothing moved."""
    return _without_offsets(net, sigmoid_to_tanh(net), 0.5)


def scaled_back_only(net: nn.Sequential) -> nn.Sequential:
    """The same for the way back: what is to be subtracted is forgotten."""
    return _without_offsets(net, tanh_to_sigmoid(net), 2.0)


def _without_offsets(net: nn.Sequential, made: nn.Sequential, factor: float) -> nn.Sequential:
    for index in range(2, len(net), 2):
        before, after = net[index], made[index]
        assert isinstance(before, nn.Linear)
        assert isinstance(after, nn.Linear)
        with torch.no_grad():
            after.bias.copy_(before.bias * (factor if index < len(net) - 1 else 1))
    return made


def there_and_back(net: nn.Sequential) -> nn.Sequential:
    """The network itself, by way of tanh: halving and doubling are exact, the biases come back to rounding."""
    return tanh_to_sigmoid(sigmoid_to_tanh(net))


def parts_when_trained(rewrite: Converse) -> Finding:
    """Two networks that are one function at the start, after gradient descent with the same rate: do they differ?"""
    start, end = (float(np.abs(a - b).max()) for a, b in _trained(rewrite))
    return Finding.true_if(
        start < 1e-12 and end > 1e-3, start=start, end=end, num_steps=NUM_STEPS, learning_rate=LEARNING_RATE
    )


GRID = np.linspace(-3, 3, 121)


@cache  # checks, figure and tests ask for the same two trainings
def _trained(rewrite: Converse) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Outputs on GRID of a sigmoid network and of its rewriting: at the start, and fitted to sin(2x)."""
    one = network((1, 8, 1), nn.Sigmoid, 0)
    nets = one, rewrite(one)
    x = torch.from_numpy(GRID)[:, None]
    with torch.no_grad():
        start = tuple(net(x)[:, 0].numpy().copy() for net in nets)
    for net in nets:
        _descend(net, x, torch.sin(2 * x))
    with torch.no_grad():
        end = tuple(net(x)[:, 0].numpy().copy() for net in nets)
    return (start[0], start[1]), (end[0], end[1])


def _descend(net: nn.Sequential, x: Tensor, y: Tensor) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()


def tables(observations: Observations, words: WordList) -> list[Table]:
    """What becomes of each layer, and one network before and after."""
    rules = Table(
        words["titles.same-function-in-other-weights"],
        (
            "",
            words["heads.w"],
            words["heads.b"],
            words["heads.second-weight"],
            words["heads.second-bias-by-j"],
        ),
        [
            ["sigmoid → tanh", "W₁/2", "b₁/2", "W₂/2", "b₂(j) + s(j)/2"],
            ["tanh → sigmoid", "2W₁", "2b₁", "2W₂", "b₂(j) − s(j)"],
        ],
    )
    net = network((1, 2, 1), nn.Sigmoid, 1)
    rows = [[name, *_numbers(held)] for name, held in (("sigmoid", net), ("tanh", sigmoid_to_tanh(net)))]
    example = Table(
        words["titles.network-with-two-hidden-units"],
        (*rules.columns[:4], words["heads.second-bias"], words["heads.output"]),
        rows,
    )
    return [rules, example]


def _numbers(net: nn.Sequential) -> list[str]:
    cells = [", ".join(show.number(value) for value in part.flatten().tolist()) for part in net.parameters()]
    with torch.no_grad():
        out = net(torch.ones(1, 1, dtype=torch.float64)).item()
    return [*cells, show.number(out, 12)]


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Rounding before training; afterwards the two networks of any start differ."""
    return {"worst": (0.0, 1e-12), "parted": (1e-3, 10.0)}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The identity; beside it one function in two kinds of weights, before and after training."""
    alt = import_extra("altair", what="A figure", extra="book")
    x = np.linspace(-4, 4, 161)
    half = np.linspace(-4, 4, 33)
    logistic = 1 / (1 + np.exp(-2 * half))
    line = pd.DataFrame({"x": x, "y": np.tanh(x) + 1, "name": "tanh(x) + 1"})
    dots = pd.DataFrame({"x": half, "y": 2 * logistic, "name": "2 sigmoid(2x)"})
    other = pd.DataFrame({"x": x, "y": 2 / (1 + np.exp(-x)), "name": "2 sigmoid(x)"})
    names = ["tanh(x) + 1", "2 sigmoid(2x)", "2 sigmoid(x)"]
    colour = alt.Color(
        "name:N", sort=names, scale=plots.colour_scale(alt, names), title=None,
        legend=alt.Legend(orient="bottom", columns=3),
    )  # fmt: skip
    axes = {"x": alt.X("x:Q", title="x"), "y": alt.Y("y:Q", title="y"), "color": colour}
    title = words["labels.identity"]
    identity = alt.layer(
        alt.Chart(line, title=title, width=270, height=240).mark_line(strokeWidth=3).encode(**axes),
        alt.Chart(dots).mark_point(size=30, filled=True, opacity=1).encode(**axes),
        alt.Chart(other).mark_line(strokeDash=[4, 3]).encode(**axes),
    )
    return (identity | _twins(alt, words)).resolve_scale(color="independent", strokeDash="independent")


def _twins(alt: Any, words: WordList) -> Any:
    kinds = (
        words["labels.sigmoid-network"],
        words["labels.same-as-tanh-network"],
    )
    times = {
        "start": words["labels.at-start-one-function"],
        "end": words("labels.after-steps-at-same-rate", num_steps=NUM_STEPS),
    }
    panels = []
    for (name, title), pair in zip(times.items(), _trained(sigmoid_to_tanh), strict=True):
        rows = pd.concat(
            [pd.DataFrame({"x": GRID, "y": y, "kind": kind}) for kind, y in zip(kinds, pair, strict=True)]
        )
        panels.append(
            alt.Chart(rows, title=title, width=300, height=90)
            .mark_line(strokeWidth=2.5)
            .encode(
                x=alt.X("x:Q", title=words["labels.input-x"] if name == "end" else None),
                y=alt.Y("y:Q", title=words["titles.output"]),
                color=alt.Color(
                    "kind:N", sort=list(kinds), scale=plots.colour_scale(alt, list(kinds)),
                    title=None, legend=alt.Legend(orient="bottom"),
                ),
                strokeDash=alt.StrokeDash(
                    "kind:N", sort=list(kinds), scale=alt.Scale(domain=list(kinds), range=[[1, 0], [5, 4]]),
                    title=None, legend=alt.Legend(orient="bottom"),
                ),
            )
        )  # fmt: skip
    return alt.vconcat(*panels)


ANSWER = Answer(
    claims=(
        Claim(
            name="the-identity",
            kind="proof",
            check=is_identity,
            subject=lambda o: 2 * sigmoid(2 * X),
            falsehood=lambda o: 2 * sigmoid(X),
        ),
        Claim(
            name="slopes",
            kind="proof",
            check=is_slope_ratio,
            subject=lambda o: 4,
            falsehood=lambda o: 2,
        ),
        Claim(
            name="a-sigmoid-network-is-a-tanh-network",
            kind="property",
            check=lambda rewrite: computes_the_same(rewrite, nn.Sigmoid),
            subject=lambda o: sigmoid_to_tanh,
            falsehood=lambda o: scaled_only,
        ),
        Claim(
            name="a-tanh-network-is-a-sigmoid-network",
            kind="property",
            check=lambda rewrite: computes_the_same(rewrite, nn.Tanh),
            subject=lambda o: tanh_to_sigmoid,
            falsehood=lambda o: scaled_back_only,
        ),
        Claim(
            name="training-tells-them-apart",
            kind="calculation",
            check=parts_when_trained,
            subject=lambda o: sigmoid_to_tanh,
            # There and back again: the same weights, and so the same path.
            falsehood=lambda o: there_and_back,
        ),
        Claim(
            name="the-square-is-not-tanh",
            kind="proof",
            check=is_not_tanh,
            subject=lambda o: sigmoid(2 * X) - sigmoid(X) ** 2,
            falsehood=lambda o: 2 * sigmoid(2 * X) - 1,
        ),
    ),
    circulated=(
        Circulated("proof-was-formula-lost-nothing", "lost"),
        Circulated(
            "the-common-denominator",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-identity",
            source="datawhale",
        ),
        Circulated(
            "the-same-proof",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-identity",
            source="pandalabme",
        ),
        Circulated(
            "a-square-of-sigmoid",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="the-square-is-not-tanh",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    expected=expected,
)
