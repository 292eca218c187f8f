"""4.1.4 What problems does a nonlinearity cause that is applied to a whole minibatch at a time?

Batch normalisation is the best known of the kind: an output depends on the example and on those that happen to share
its batch. What that breaks is shown symbolically, on small networks, and by training with batches from large to tiny.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, interaction, less
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval
from mlplab.study import Arm, Study

from .. import chapter
from ..choice import scored

if TYPE_CHECKING:
    import altair

LARGE = 256
METRIC = "test_accuracy"
KINDS = (
    "none",
    "batch",
)
EPSILON = 1e-5  # PyTorch's

Elementwise = Callable[[Tensor], Tensor]


def observe(lab: Lab) -> Observations:
    """Train with and without batch normalisation, at batches from 2 to 256, as many epochs for all."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    start = turn(chapter.MLP_SETTING, initialization="xavier_uniform", learning_rate=0.3, epochs=2)
    rate = lab.take("learning_rate", start)
    base = lab.setting(start)
    # A last batch of a single example has no variance.
    sizes = [
        size
        for size in lab.choose(quick=[2, 32, LARGE], full=[2, 8, 32, LARGE])
        if _fits(dataset.train, size)
    ]
    arms, roles = [], []
    for kind in KINDS:
        for size in sizes:
            arms.append(Arm(f"{kind} {size}", _at_batch(base, kind, size, rate)))
            roles.append({"arm": arms[-1].name, "kind": kind, "batch": size})
    runs = lab.run(Study(arms, lab.seeds(quick=6, full=20), dataset))
    return lab.observations(runs=runs.frame, arms=pd.DataFrame(roles))


def _fits(part: Any, size: int) -> bool:
    return part.num_examples % size != 1


def _at_batch(base: Setting, kind: str, size: int, rate: float) -> Setting:
    # The rate follows the batch (Goyal et al. 2017): an epoch then moves the weights as far, in fewer or more steps.
    return turn(base, normalization=kind, batch_size=size, learning_rate=rate * size / LARGE)


def accuracies(observations: Observations, kind: str, batch: int) -> np.ndarray:
    """Test accuracy of one arm, by seed."""
    return scored(observations.runs.values(METRIC, f"{kind} {batch}"))


def batches(observations: Observations) -> list[int]:
    """The batch sizes that were trained, ascending."""
    return [int(size) for size in dict.fromkeys(observations["arms"]["batch"])]


def effect(observations: Observations, batch: int) -> np.ndarray:
    """With batch normalisation minus without, at a batch size, for each seed."""
    return accuracies(observations, "batch", batch) - accuracies(observations, "none", batch)


def smallest_and_largest(observations: Observations) -> tuple[np.ndarray, ...]:
    """Test accuracies: smallest batch with, without; largest batch with, without."""
    sizes = batches(observations)
    return tuple(
        accuracies(observations, kind, size) for size in (sizes[0], sizes[-1]) for kind in ("batch", "none")
    )


def normalise(x: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Batch normalisation without scale and shift: (batch, feature)."""
    return functional.batch_norm(x, None, None, training=True, eps=epsilon)


def is_jacobian(candidate: Callable[..., sympy.Expr]) -> Finding:
    """For three examples: is `candidate(i, j, y, s)` the derivative of output i by input j?

    y are the outputs and s the root of variance plus epsilon, which depends on every input: the chain rule goes
    through it, with ds/dx = (d s²/dx) / (2s).
    """
    x = sympy.symbols("x1:4", real=True)
    s, epsilon = sympy.symbols("s epsilon", positive=True)
    n = len(x)
    mean = sum(x, sympy.Integer(0)) / n
    squared = sum(((a - mean) ** 2 for a in x), sympy.Integer(0)) / n + epsilon
    y = [(a - mean) / s for a in x]
    wrong = []
    for i, j in itertools.product(range(n), repeat=2):
        through_s = sympy.diff(y[i], s) * sympy.diff(squared, x[j]) / (2 * s)
        if sympy.expand(sympy.diff(y[i], x[j]) + through_s - candidate(i, j, y, s)) != 0:
            wrong.append((i, j))
    return Finding.true_if(not wrong, f"{n * n} entries, {len(wrong)} differ", entries=n * n)


def couples_nothing(functions: tuple[Elementwise, ...]) -> Finding:
    """On random batches: does every output depend on its own example alone?"""
    worst, tries = 0.0, 0
    for seed, function in enumerate(functions):
        x = torch.from_numpy(Stream(seed, "data").normal((6, 4)))
        jacobian = torch.autograd.functional.jacobian(function, x)
        assert isinstance(jacobian, Tensor)
        foreign = jacobian.abs().amax((1, 3)) * (1 - torch.eye(6))  # (example of the output, of the input)
        worst, tries = max(worst, foreign.max().item()), tries + foreign.numel()
    return Finding.true_if(worst == 0, largest_foreign=worst, tries=tries)


def forgets_a_lone_example(function: Elementwise) -> Finding:
    """A batch of one: is the output the same for every input?"""
    outputs = [function(torch.from_numpy(Stream(seed, "data").normal((1, 5)))) for seed in range(20)]
    spread = torch.cat(outputs).std(0).max().item()
    return Finding.true_if(spread == 0, spread=spread)


def leaves_only_the_order(function: Elementwise) -> Finding:
    """A batch of two: are the outputs always -1 and 1, whatever the two values?"""
    x = torch.from_numpy(Stream(1, "data").normal((2, 2000))) * torch.logspace(
        -1, 2, 2000, dtype=torch.float64
    )
    worst = (function(x).abs() - 1).abs().max().item()
    return Finding.true_if(worst < 1e-12, worst_error=worst, tries=x.shape[1])


def gradients_average(make: Callable[[], nn.Module]) -> Finding:
    """Is the mean of the gradients on 8 minibatches the gradient on all examples together?"""
    stream = Stream(2, "data")
    x = torch.from_numpy(stream.normal((64, 10)))
    labels = torch.from_numpy((stream.bits(64) % 3).astype(np.int64))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().double()

    def gradient(part: slice) -> Tensor:
        loss = functional.cross_entropy(model(x[part]), labels[part])
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    whole = gradient(slice(None))
    mean = torch.stack([gradient(slice(start, start + 8)) for start in range(0, 64, 8)]).mean(0)
    off = ((mean - whole).norm() / whole.norm()).item()
    return Finding.true_if(off < 1e-12, relative_error=off)


def network(coupling: type[nn.Module] | None = None) -> nn.Module:
    """Two layers, with batch normalisation before the activation or nothing there."""
    between = [nn.BatchNorm1d(16)] if coupling is nn.BatchNorm1d else []
    return nn.Sequential(nn.Linear(10, 16), *between, nn.ReLU(), nn.Linear(16, 3))


def tables(observations: Observations, words: WordList) -> list[Table]:
    """A row for each batch size."""
    rows = []
    for size in batches(observations):
        cells = [show.percent_interval(mean_interval(accuracies(observations, kind, size))) for kind in KINDS]
        difference = show.points_interval(mean_interval(effect(observations, size)))
        rows.append([str(size), *map(show.stacked, cells), show.stacked(difference)])
    title = words["titles.test-accuracy-in-and-paired"]
    heads = (words["heads.batch"], *words.group("kinds").values(), words["heads.difference"])
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Batch sizes, accuracies, and how far minibatch gradients are off with batch normalisation."""
    sizes = batches(observations)
    return {
        "smallest": sizes[0],
        "largest": sizes[-1],
        "effect_small": mean_interval(effect(observations, sizes[0])),
        "effect_large": mean_interval(effect(observations, sizes[-1])),
        "coupled_error": gradients_average(lambda: network(nn.BatchNorm1d)).relative_error,
        "coupled_derivative": couples_nothing((normalise,)).largest_foreign,
        "epochs": observations.settings[0]["epochs"],
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Who influences whom in a batch of eight, beside accuracy against batch size."""
    reached = [
        {"group": name, "level": str(size)} | mean_interval(accuracies(observations, kind, size)).to_dict()
        for kind, name in words.group("kinds").items()
        for size in batches(observations)
    ]
    right = plots.level_plot(
        pd.DataFrame(reached),
        level_title=words["titles.batch-size-examples"],
        value_title=words["titles.test-accuracy"],
        title=words["titles.accuracy-by-batch-size"],
        value_format=".0%",
        notes=words.notes,
        width=300,
    )
    return (_influences(words) | right).resolve_scale(color="independent", strokeDash="independent")


def _influences(words: WordList) -> altair.TopLevelMixin:
    alt = import_extra("altair", what="A figure", extra="book")
    x = torch.from_numpy(Stream(3, "data").normal((8, 1)))
    names = {"tanh": torch.tanh, words["labels.batch-normalisation"]: normalise}
    rows = []
    for name, function in names.items():
        jacobian = torch.autograd.functional.jacobian(function, x)
        assert isinstance(jacobian, Tensor)
        found = jacobian[:, 0, :, 0].abs()
        rows += [
            {"function": name, "output": i + 1, "input": j + 1, "size": found[i, j].item()}
            for i in range(8)
            for j in range(8)
        ]
    chart = (
        alt.Chart(pd.DataFrame(rows), width=150, height=150)
        .mark_rect(stroke="white")
        .encode(
            x=alt.X(
                "input:O",
                title=words["titles.input-example-j"],
                axis=alt.Axis(labelAngle=0),
            ),
            y=alt.Y("output:O", title=words["titles.output-example-i"]),
            color=alt.Color(
                "size:Q",
                title=words["titles.derivative"],
                scale=alt.Scale(scheme="cividis", zero=True),
                legend=alt.Legend(gradientLength=100),
            ),
        )
    )
    return chart.facet(column=alt.Column("function:N", sort=list(names), title=None))


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="every-input-moves-every-output",
            kind="proof",
            check=is_jacobian,
            subject=lambda o: lambda i, j, y, s: (int(i == j) - (1 + y[i] * y[j]) / len(y)) / s,
            falsehood=lambda o: (
                lambda i, j, y, s: (int(i == j) - y[i] * y[j] / len(y)) / s
            ),  # the mean forgotten
        ),
        Claim(
            name="elementwise-functions-do-not-couple",
            kind="property",
            check=couples_nothing,
            subject=lambda o: (functional.relu, torch.tanh, functional.gelu, torch.sigmoid),
            falsehood=lambda o: (functional.relu, normalise),
        ),
        Claim(
            name="a-lone-example-is-forgotten",
            kind="property",
            check=forgets_a_lone_example,
            # The formula itself: PyTorch refuses a single value.
            subject=lambda o: lambda x: (x - x.mean(0)) / (x.var(0, correction=0) + EPSILON).sqrt(),
            # Layer normalisation looks along the example instead.
            falsehood=lambda o: lambda x: functional.layer_norm(x, x.shape[1:]),
        ),
        Claim(
            name="of-two-examples-only-the-order-is-left",
            kind="property",
            check=leaves_only_the_order,
            subject=lambda o: lambda x: (x - x.mean(0)) / x.var(0, correction=0).sqrt(),
            falsehood=lambda o: lambda x: (x - x.mean(0)) / x.var(0, correction=1).sqrt(),  # divided by n - 1
        ),
        Claim(
            name="minibatch-gradients-average-without-coupling",
            kind="property",
            check=gradients_average,
            subject=lambda o: network,
            falsehood=lambda o: lambda: network(nn.BatchNorm1d),
        ),
        Claim(
            name="small-batches-hurt-the-coupled",
            kind="experiment",
            check=interaction("less"),
            subject=smallest_and_largest,
            falsehood=lambda o: smallest_and_largest(o)[2:] + smallest_and_largest(o)[:2],
            unit="points",
        ),
        Claim(
            name="at-two-it-is-worse-than-none",
            kind="experiment",
            check=less(),
            subject=lambda o: effect(o, batches(o)[0]),
            falsehood=lambda o: recentred(effect(o, batches(o)[0]), 0.05),
            unit="points",
        ),
        Claim(
            name="at-256-it-helps",
            kind="experiment",
            check=greater(),
            subject=lambda o: effect(o, batches(o)[-1]),
            falsehood=lambda o: recentred(effect(o, batches(o)[-1]), -0.05),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "data-may-be-stretched-or",
            "misread",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set learning_rate=0.1",
)
