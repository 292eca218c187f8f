"""4.1.4 What problems does a nonlinearity cause that is applied to a whole minibatch at a time?

Batch normalisation is the best known of the kind: an output depends on the example and on those that happen to share
its batch. What that breaks is shown symbolically, on small networks, and by training with batches from large to tiny,
each at a rate of its own and for so long that more epochs no longer help. What was trained in small batches is then
read with running moments, with the exact ones of the training images, and in batches as it was trained.
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
from mlplab.answers.checks import equivalent, greater, horizon_is_enough, interaction, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.engine import Result
from mlplab.engine.activations import activation_function
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

METRIC = "test_accuracy"
# Differences in accuracy of less than half a point do not matter here.
MARGIN = 0.005
KINDS = (
    "none",
    "batch",
)
# Batch size -> how many times the epochs of the smallest: larger batches take fewer steps an epoch.
LENGTHS = {2: 1, 8: 1, 256: 8}
SMALLEST, LARGE = min(LENGTHS), max(LENGTHS)
# Rates that can be tried. The search begins where steps of single examples would be as large for all batches.
LADDER = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FIRST_RATE = 0.02
# Each batch size for its epochs, and the largest for a quarter of them, too.
FULL, EARLY = "full", "early"
QUARTER = 4
# Of what was trained with batch normalisation: how its moments are had when it answers.
READINGS = ("running", "exact", "batches")
EPSILON = 1e-5  # PyTorch's
OFTEN = 0.05  # one answer in twenty
PAIRS_SEED = 1_000_000  # batches of test images are none of those of training

Elementwise = Callable[[Tensor], Tensor]


def observe(lab: Lab) -> Observations:
    """Find a rate for each batch size with and without batch normalisation; train at it on fresh seeds, and read what
    was trained in three ways."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    few = turn(
        chapter.read_at_the_end(chapter.few_images_setting(dataset, epochs=lab.choose(quick=2, full=20))),
        hidden_sizes=chapter.MLP_SETTING.model.hidden_sizes,
        initialization="xavier_uniform",
    )
    epochs = lab.take("epochs", few)
    base = lab.setting(few)
    problem = chapter.few_images(dataset, num_validation=10_000)
    sizes = lab.choose(quick=(SMALLEST, LARGE), full=tuple(LENGTHS))
    plans = [(FULL, size, LENGTHS[size] * epochs) for size in sizes]
    plans.append((EARLY, LARGE, max(1, LENGTHS[LARGE] * epochs // QUARTER)))
    settings, tried = {}, []
    for regime, size, length in plans:
        for kind in KINDS:
            setting = turn(base, normalization=kind, batch_size=size, epochs=length, evaluate_every=length)
            rate, runs = tuned(lab, setting, size, problem)
            settings[regime, kind, size] = turn(setting, learning_rate=rate)
            tried.append(runs.assign(arm=arm_name(regime, kind, size)))
    seeds = lab.seeds(quick=2, full=6)
    judged = Study([Arm(arm_name(*key), setting) for key, setting in settings.items()], seeds, problem)
    normalised = [arm for arm in judged.arms if arm.name.startswith(f"{FULL} batch")]
    seen = chapter.with_weights(
        lab, Study(normalised, seeds, problem), lambda found: readings(found, problem)
    )
    results = lab.run(judged)
    ends_names = {kind: arm_name(FULL, kind, LARGE) for kind in KINDS}
    small_names = {kind: arm_name(FULL, kind, SMALLEST) for kind in KINDS}
    columns = ["arm", "seed", "digest", "status", "train_accuracy", "validation_accuracy", METRIC]
    columns += ["train_loss", "test_loss", "seconds"]
    described = [
        {"arm": arm_name(*key), "regime": key[0], "kind": key[1], "batch": key[2]}
        | {"epochs": setting.training.epochs, "rate": setting.optimizer.learning_rate}
        for key, setting in settings.items()
    ]
    images = pd.DataFrame([{part: held.num_examples for part, held in problem(0).parts.items()}])
    return lab.observations(
        runs=results.frame[columns],
        arms=pd.DataFrame(described),
        tried=pd.concat(tried),
        readings=pd.DataFrame(
            [{"arm": arm, "seed": seed} | row for (arm, seed), row in seen.items()],
            columns=["arm", "seed", *READINGS, "moved"],
        ),
        new_images=choice.on_new_images(
            results,
            {
                "small": (small_names["batch"], small_names["none"]),
                "large": (ends_names["batch"], ends_names["none"]),
            },
        ),
        images=images,
    )


def tuned(
    lab: Lab, setting: Setting, size: int, problem: Callable[[int], Dataset]
) -> tuple[float, pd.DataFrame]:
    """The rate with the highest accuracy on validation images, by a seed that does not judge; and what was tried."""
    ladder = lab.choose(quick=LADDER[::4], full=LADDER)
    about = FIRST_RATE * (size / SMALLEST) ** 0.5
    start = min(ladder, key=lambda rate: abs(np.log(rate / about)))
    seeds = choice.choosing_seeds(lab, quick=1, full=1)
    return choice.best_rate(lab, setting, seeds, problem, ladder, start, metric="validation_accuracy")


def arm_name(regime: str, kind: str, size: int) -> str:
    """What an arm is called."""
    return f"{regime} {kind} {size}"


def readings(found: Result, problem: Callable[[int], Dataset]) -> dict[str, float]:
    """Test accuracy of a network with batch normalisation: with its running moments, with those of all training images
    at once, and in batches of the size that it was trained in; and what share of the answers another arrangement of
    these batches changes."""
    data, size = problem(found.run.seed), found.run.setting.training.batch_size
    assert data.test is not None
    x, y = torch.from_numpy(data.test.features), torch.from_numpy(data.test.targets)
    size = min(size or len(x), len(x))
    moments = exact_moments(found, torch.from_numpy(data.train.features))
    answers = []
    for turns in range(2):
        order = torch.from_numpy(Stream(PAIRS_SEED + turns, "order").permutation(len(x)).copy())
        said = torch.full_like(y, -1)  # the last, smaller batch is left out
        for rows in order.split(size):
            if len(rows) == size:
                said[rows] = answer(found, x[rows], None)
        answers.append(said)
    first, second = answers
    both = (first >= 0) & (second >= 0)
    return {
        "running": _share(answer(found, x, running_moments(found)) == y),
        "exact": _share(answer(found, x, moments) == y),
        "batches": _share((first == y)[first >= 0]),
        "moved": _share((first != second)[both]),
    }


Moments = list[tuple[Tensor, Tensor]]


def running_moments(found: Result) -> Moments:
    """Mean and variance of each hidden layer's inputs, as training left them."""
    extras = {name: torch.from_numpy(held) for name, held in found.extras.items()}
    return [
        (extras[f"norm_mean_{layer}"], extras[f"norm_variance_{layer}"])
        for layer in range(len(found.parameters) - 1)
    ]


def exact_moments(found: Result, x: Tensor) -> Moments:
    """The same of all examples at once, layer by layer."""
    moments: Moments = []
    answer(found, x, None, moments)
    return moments


@torch.no_grad()
def answer(found: Result, x: Tensor, moments: Moments | None, seen: Moments | None = None) -> Tensor:
    """The class that the network says for each example.

    Arguments:
      moments: of each hidden layer's inputs; None for those of `x` itself.
      seen: the moments that were used are added to it.
    """
    extras = {name: torch.from_numpy(held) for name, held in found.extras.items()}
    *hidden, (weight, bias) = [tuple(map(torch.from_numpy, layer)) for layer in found.parameters]
    for layer, (w, b) in enumerate(hidden):
        z = x @ w.T + b
        variance, mean = torch.var_mean(z, 0, correction=0)
        if moments is not None:
            mean, variance = moments[layer]
        if seen is not None:
            seen.append((mean, variance))
        z = (z - mean) / (variance + EPSILON).sqrt()
        z = z * extras[f"norm_scale_{layer}"] + extras[f"norm_shift_{layer}"]
        x = activation_function(found.run.setting.model.activations[layer])(z)
    return (x @ weight.T + bias).argmax(1)


def _share(truths: Tensor) -> float:
    return float(truths.double().mean())


def values(
    observations: Observations, kind: str, batch: int, regime: str = FULL, metric: str = METRIC
) -> np.ndarray:
    """A metric of one arm, by seed."""
    return choice.values(observations, arm_name(regime, kind, batch), metric)


def batches(observations: Observations) -> list[int]:
    """The batch sizes that were trained, ascending."""
    return [int(size) for size in dict.fromkeys(observations["arms"]["batch"])]


def effect(observations: Observations, batch: int, regime: str = FULL, metric: str = METRIC) -> np.ndarray:
    """With batch normalisation minus without, at a batch size, for each seed."""
    with_it, without = (values(observations, kind, batch, regime, metric) for kind in reversed(KINDS))
    return with_it - without


def smallest_and_largest(observations: Observations) -> tuple[np.ndarray, ...]:
    """Test accuracies: smallest batch with, without; largest batch with, without."""
    sizes = batches(observations)
    return tuple(
        values(observations, kind, size) for size in (sizes[0], sizes[-1]) for kind in ("batch", "none")
    )


def at_horizon(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """With batch normalisation at the largest batch: validation accuracies after a quarter of the epochs, and after all
    of them."""
    early, full = (
        values(observations, "batch", LARGE, regime, "validation_accuracy") for regime in (EARLY, FULL)
    )
    return early, full


def still_gaining(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The same in a world where more epochs gain twice what does not matter: the control of `horizon_is_enough`."""
    early, full = pair
    return early, early + recentred(full - early, 2 * MARGIN)


def reading(observations: Observations, name: str, batch: int) -> np.ndarray:
    """Test accuracy of what was trained with batch normalisation, read in one of READINGS, or `moved`, by seed."""
    rows = observations["readings"]
    rows = rows[rows["arm"] == arm_name(FULL, "batch", batch)].sort_values("seed")
    return rows[name].to_numpy(dtype=np.float64)


def readings_apart(observations: Observations, one: str, other: str, batch: int) -> np.ndarray:
    """Accuracy in one reading minus that in another of the same networks, by seed."""
    return reading(observations, one, batch) - reading(observations, other, batch)


def scores_tried(observations: Observations) -> dict[str, dict[float, float]]:
    """Arm -> rate -> what is best where it is lowest: minus the mean accuracy on validation images."""
    return choice.losses_by_rate(observations["tried"], "arm", metric="validation_accuracy")


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


def knows_no_order(function: Elementwise) -> Finding:
    """Random batches in two orders: does each example get the same output in both?"""
    worst = 0.0
    for seed in range(20):
        stream = Stream(seed, "data", step=1)
        x, order = torch.from_numpy(stream.normal((8, 5))), stream.permutation(8)
        worst = max(worst, (function(x[order]) - function(x)[order]).abs().max().item())
    return Finding.true_if(worst < 1e-12, worst_error=worst)


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
    """A row for each batch size; then how what was trained is read."""
    arms = {row["arm"]: row for row in observations.rows("arms")}
    rows = []
    for regime, size in [*((FULL, size) for size in batches(observations)), (EARLY, LARGE)]:
        held = [arms[arm_name(regime, kind, size)] for kind in KINDS]
        cells = [
            show.percent_interval(mean_interval(values(observations, kind, size, regime))) for kind in KINDS
        ]
        difference = show.points_interval(mean_interval(effect(observations, size, regime)))
        rates = " / ".join(f"{row['rate']:g}" for row in held)
        rows.append(
            [str(size), str(held[0]["epochs"]), rates, *map(show.stacked, cells), show.stacked(difference)]
        )
    heads = (
        words["heads.batch"],
        words["heads.epochs"],
        words["heads.rates"],
        *words.group("kinds").values(),
        words["heads.difference"],
    )
    ways = words.group("readings")
    read = []
    for size in batches(observations):
        found = [reading(observations, name, size) for name in (*READINGS, "moved")]
        if len(found[0]):
            read.append(
                [str(size), *(show.stacked(show.percent_interval(mean_interval(one))) for one in found)]
            )
    return [
        Table(words["titles.test-accuracy-in-and-paired"], heads, rows),
        Table(
            words["titles.read"],
            (words["heads.batch"], *(ways[name] for name in READINGS), words["heads.moved"]),
            read,
        ),
    ]


def facts(observations: Observations) -> dict[str, Any]:
    """Batch sizes, what was compared, and how far minibatch gradients are off with batch normalisation."""
    sizes = batches(observations)
    arms = {row["arm"]: row for row in observations.rows("arms")}
    images = observations.rows("images")[0]
    intervals = {
        name: mean_interval(reading(observations, name, sizes[0]))
        for name in (*READINGS, "moved")
        if len(reading(observations, name, sizes[0]))
    }
    large = reading(observations, "moved", sizes[-1])
    return {
        "smallest": sizes[0],
        "largest": sizes[-1],
        "coupled_error": gradients_average(lambda: network(nn.BatchNorm1d)).relative_error,
        "coupled_derivative": couples_nothing((normalise,)).largest_foreign,
        "epochs": {
            "small": arms[arm_name(FULL, "batch", sizes[0])]["epochs"],
            "large": arms[arm_name(FULL, "batch", sizes[-1])]["epochs"],
            "early": arms[arm_name(EARLY, "batch", LARGE)]["epochs"],
        },
        "num_images": images["train"],
        "num_test": images["test"],
        "num_tried": len(observations["tried"]),
        "small_train": {
            kind: mean_interval(values(observations, kind, sizes[0], metric="train_accuracy"))
            for kind in KINDS
        },
        "small_effect": mean_interval(effect(observations, sizes[0])),
        "early_effect": mean_interval(effect(observations, LARGE, EARLY)),
        "large_effect": mean_interval(effect(observations, sizes[-1])),
        "losses": {
            "small": mean_interval(effect(observations, sizes[0], metric="test_loss")),
            "large": mean_interval(effect(observations, sizes[-1], metric="test_loss")),
        },
        "read": intervals,
        "moved_large": float(large.mean()) if len(large) else None,
        "new_images": choice.for_new_images(observations),
        "margin": MARGIN,
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """What the program should leave: it trains in batches of two, and reads what was normalised in two ways."""
    found = {
        "without": values(observations, "none", SMALLEST),
        "running": values(observations, "batch", SMALLEST),
        "pairs": reading(observations, "batches", SMALLEST),
        "moved": reading(observations, "moved", SMALLEST),
    }
    return {name: prediction_interval(reached) for name, reached in found.items()}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Who influences whom in a batch of eight, beside accuracy against batch size."""
    reached = [
        {"group": name, "level": str(size)} | mean_interval(values(observations, kind, size)).to_dict()
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


INSIDE = ("every-best-rate-is-inside",)

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
            name="the-order-of-a-batch-is-nothing-to-it",
            kind="property",
            check=knows_no_order,
            subject=lambda o: normalise,
            # A mean that runs along the batch knows the order.
            falsehood=lambda o: lambda x: x - x.cumsum(0) / torch.arange(1, len(x) + 1).unsqueeze(1),
        ),
        Claim(
            name="minibatch-gradients-average-without-coupling",
            kind="property",
            check=gradients_average,
            subject=lambda o: network,
            falsehood=lambda o: lambda: network(nn.BatchNorm1d),
        ),
        Claim(
            name="every-best-rate-is-inside",
            kind="experiment",
            check=choice.is_inside,
            subject=scores_tried,
            falsehood=lambda o: choice.up_to_the_lowest(scores_tried(o)),
        ),
        Claim(
            name="with-it-more-epochs-gain-nothing-at-256",
            kind="experiment",
            check=horizon_is_enough(MARGIN, less_is_better=False),
            subject=at_horizon,
            falsehood=lambda o: still_gaining(at_horizon(o)),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="small-batches-hurt-the-coupled",
            kind="experiment",
            check=interaction("less"),
            subject=smallest_and_largest,
            falsehood=lambda o: smallest_and_largest(o)[2:] + smallest_and_largest(o)[:2],
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="at-two-it-is-worse-than-none",
            kind="experiment",
            check=less(margin=MARGIN),
            subject=lambda o: effect(o, SMALLEST),
            # As if it helped by a quarter of what it costs.
            falsehood=lambda o: -effect(o, SMALLEST) / 4,
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="at-256-it-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: effect(o, LARGE),
            falsehood=lambda o: recentred(effect(o, LARGE), -MARGIN),
            unit="points",
            # More epochs could help the one that is behind.
            requires=(*INSIDE, "with-it-more-epochs-gain-nothing-at-256"),
        ),
        Claim(
            name="at-256-it-gets-there-sooner",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: effect(o, LARGE, EARLY),
            # As if it came behind by what matters four times over.
            falsehood=lambda o: recentred(effect(o, LARGE, EARLY), -4 * MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="running-moments-are-not-to-blame",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: readings_apart(o, "running", "exact", SMALLEST),
            falsehood=lambda o: recentred(readings_apart(o, "running", "exact", SMALLEST), -2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="answering-in-pairs-is-worse",
            kind="experiment",
            check=less(margin=MARGIN),
            subject=lambda o: readings_apart(o, "batches", "running", SMALLEST),
            # As if it were better by a quarter of what it is worse.
            falsehood=lambda o: -readings_apart(o, "batches", "running", SMALLEST) / 4,
            unit="points",
        ),
        Claim(
            name="the-neighbour-changes-the-answer",
            kind="experiment",
            check=greater(OFTEN),
            subject=lambda o: reading(o, "moved", SMALLEST),
            falsehood=lambda o: recentred(reading(o, "moved", SMALLEST), OFTEN / 2),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "data-may-be-stretched-or",
            "misread",
        ),
        Circulated("small-batches-are-noisy", "misread", source="datawhale"),
        Circulated(
            "batch-normalisation-as-the-remedy",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="at-two-it-is-worse-than-none",
            source="datawhale",
        ),
        Circulated(
            "moments-of-one-minibatch",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="small-batches-hurt-the-coupled",
            source="pandalabme",
        ),
        Circulated(
            "otherwise-in-testing",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="answering-in-pairs-is-worse",
            source="pandalabme",
        ),
        Circulated(
            "order-within-a-minibatch",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="the-order-of-a-batch-is-nothing-to-it",
            source="pandalabme",
        ),
        Circulated(
            "rows-or-the-whole-batch",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="elementwise-functions-do-not-couple",
            source="forum",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set hidden_sizes=64",
)
