"""4.2.2 What happens when hidden layers are added?

Depth is crossed with the start of the weights, on shared seeds: the section's N(0, 0.01²), and He's, whose variance 2/n
follows the layer's number of inputs n. Only so can one tell what depth does from what the start does. All is as in the
section but for a rate that falls to 0: where that ends is a quiet reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, interaction, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice
from ..choice import LOST

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here.
MARGIN = 0.003
METRIC, LOSS = "test_accuracy", "test_loss"
SMALL_STD = 0.01
BRIGHTEST = 255  # of the pixels as they are stored; as they are trained on, 1
STARTS = {"small": "normal", "he": "kaiming_normal"}

DEPTHS = (1, 2, 4)
STARTS_DRAWN = 5  # of the untrained network
# Arms of the same seeds from first weights that are a millionth larger, at the depth where a start can just get away.
NUDGED, NUDGED_DEPTH, NUM_NUDGED = "nudged", 2, 3


def observe(lab: Lab) -> Observations:
    """Train 1 to 4 hidden layers of the section's width from both starts, and look at the signal before training."""
    width = _width(lab)
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    given = lab.setting(chapter.read_quietly(chapter.scaled(chapter.MLP_SETTING, dataset)))
    base = turn(given, evaluate_every=given.training.epochs)
    settings = {
        (start, depth): turn(base, initialization=kind, hidden_sizes=(width,) * depth)
        for start, kind in STARTS.items()
        for depth in DEPTHS
    }
    arms = [Arm(f"{start} {depth}", setting) for (start, depth), setting in settings.items()]
    seeds = lab.seeds(quick=3, full=4)
    moved = {start: chapter.nudged(settings[start, NUDGED_DEPTH]) for start in STARTS}
    nudged = [Arm(f"{NUDGED} {start}", setting) for start, setting in moved.items() if setting is not None]
    few = seeds[: lab.choose(quick=1, full=NUM_NUDGED)]
    # What is compared comes last: its settings are what the page speaks of.
    studies = [Study(nudged, few, dataset)] if nudged else []
    *others, runs = [lab.run(study) for study in (*studies, Study(arms, seeds, dataset))]
    described = [
        {"arm": f"{start} {depth}", "start": start, "depth": depth, "width": width}
        for start, depth in settings
    ]
    signals = [
        {"start": start, "seed": seed, "layer": layer, "rms": rms}
        for start in STARTS
        for seed in range(STARTS_DRAWN)
        for layer, rms in enumerate(signal(dataset, start, width, DEPTHS[-1], seed))
    ]
    columns = [
        "arm",
        "seed",
        "digest",
        "status",
        "train_accuracy",
        "validation_accuracy",
        METRIC,
        LOSS,
        "seconds",
    ]
    return lab.observations(
        runs=pd.concat([results.frame for results in (runs, *others)])[columns],
        arms=pd.DataFrame(described),
        signals=pd.DataFrame(signals),
    )


def _width(lab: Lab) -> int:
    # The experiment builds the depths itself: `hidden_sizes` gives the width.
    return lab.take("hidden_sizes", chapter.MLP_SETTING)[0]


def signal(dataset: Dataset, start: str, width: int, depth: int, seed: int) -> list[float]:
    """Root mean square of 256 inputs and of each hidden layer's activations before training."""
    h = dataset.train.features[:256].reshape(-1, dataset.in_features).astype(np.float64)
    found = [float(np.sqrt(np.square(h).mean()))]
    for layer in range(depth):
        fan_in = h.shape[1]
        std = SMALL_STD if start == "small" else math.sqrt(2 / fan_in)
        h = np.maximum(h @ (std * Stream(seed, "init", layer=layer).normal((fan_in, width))), 0)
        found.append(float(np.sqrt(np.square(h).mean())))
    return found


def accuracies(observations: Observations, start: str, depth: int, metric: str = METRIC) -> np.ndarray:
    """A metric of one arm, by seed."""
    arms = observations["arms"]
    arm = arms[(arms["start"] == start) & (arms["depth"] == depth)]["arm"].item()
    return choice.values(observations, arm, metric)


def is_lost(observations: Observations, start: str) -> np.ndarray:
    """Which runs with the most hidden layers learned nothing, by seed."""
    return accuracies(observations, start, depths(observations)[-1], "train_accuracy") < LOST


def moved(observations: Observations, start: str) -> float | None:
    """By how much a millionth of the first weights moves the test accuracy of a run, at most; None if none was."""
    if f"{NUDGED} {start}" not in observations.runs.arms:
        return None
    nudged = choice.values(observations, f"{NUDGED} {start}", METRIC)
    return choice.most_moved(nudged, accuracies(observations, start, NUDGED_DEPTH))


def depths(observations: Observations) -> list[int]:
    """The numbers of hidden layers that were trained, ascending."""
    return [int(depth) for depth in dict.fromkeys(observations["arms"]["depth"])]


def depth_effect(observations: Observations, start: str) -> np.ndarray:
    """Test accuracy with the most hidden layers minus that with one, for each seed."""
    return accuracies(observations, start, depths(observations)[-1]) - accuracies(observations, start, 1)


def second_layer_effect(observations: Observations) -> np.ndarray:
    """From He's start: two hidden layers minus one, for each seed."""
    return accuracies(observations, "he", 2) - accuracies(observations, "he", 1)


def four_cells(observations: Observations) -> tuple[np.ndarray, ...]:
    """Deep from He's start, one layer from He's, deep from the small start, one layer from it."""
    deepest = depths(observations)[-1]
    return tuple(
        accuracies(observations, start, depth) for start in ("he", "small") for depth in (deepest, 1)
    )


def multiplies_second_moment(factor: Callable[[int, float], float]) -> Finding:
    """Random layers of 3 sizes and 3 spreads: is the mean square of ReLU(Wx) that of x times `factor(n, std)`?"""
    worst = 0.0
    for number, (fan_in, std) in enumerate((n, s) for n in (16, 64, 256) for s in (0.01, 0.1, 1.0)):
        stream = Stream(number, "data")
        x = np.abs(stream.normal(fan_in))  # as after a ReLU: not centred
        out = np.maximum(std * stream.normal((20_000, fan_in)) @ x, 0) ** 2
        expected = factor(fan_in, std) * np.square(x).mean()
        error = out.std(ddof=1) / math.sqrt(len(out))
        worst = max(worst, abs(out.mean() - expected) / error)
    # Of 9 normal z-scores none is beyond 5 but once in 200,000 times.
    return Finding.true_if(worst < 5, worst_z=worst, tries=9)


def shrinks_biases(share: float) -> Finding:
    """On random ReLU networks: is f(c x) with biases b the same as c f(x) with biases b / `share`, c the brightest
    pixel?"""
    worst, tries = 0.0, 10
    for seed in range(tries):
        stream = Stream(seed, "init")
        sizes = (20, *[15] * (1 + seed % 3), 10)
        layers = [(stream.normal(shape), stream.normal(shape[1])) for shape in pairwise(sizes)]
        x = np.abs(stream.normal((8, 20)))

        def outputs(
            x: np.ndarray, share: float, layers: list[tuple[np.ndarray, np.ndarray]] = layers
        ) -> np.ndarray:
            for place, (weights, biases) in enumerate(layers):
                x = (np.maximum(x, 0) if place else x) @ weights + biases / share
            return x

        bright, shrunken = outputs(BRIGHTEST * x, 1.0), BRIGHTEST * outputs(x, share)
        worst = max(worst, float(np.abs(bright - shrunken).max() / np.abs(bright).max()))
    return Finding.true_if(worst < 1e-12, worst_error=worst, tries=tries)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Test accuracy of single runs: one layer from the section's start, and the most from both."""
    deepest = depths(observations)[-1]
    mean = float(accuracies(observations, "he", deepest).mean())
    # Few seeds: every depth tells how far runs from He's start lie apart.
    around = [recentred(accuracies(observations, "he", depth), mean) for depth in depths(observations)]
    intervals = {
        "one_small": prediction_interval(accuracies(observations, "small", 1)),
        # The program trains on other 50,000 of the 60,000 images than these seeds, which shared theirs.
        "four_he": prediction_interval(np.concatenate(around), ci_prob=0.999),
    }
    if is_lost(observations, "small").all():
        intervals["four_small"] = (0.0, LOST)
    return intervals


def tables(observations: Observations, words: WordList) -> list[Table]:
    """A row for each depth and start."""
    rows = []
    for row in observations.rows("arms"):
        place = row["start"], row["depth"]
        train, test = (
            show.percent_interval(mean_interval(accuracies(observations, *place, metric)))
            for metric in ("train_accuracy", METRIC)
        )
        loss = show.number_interval(mean_interval(accuracies(observations, *place, LOSS)))
        lost = accuracies(observations, *place, "train_accuracy") < LOST
        cells = [*map(show.stacked, (train, test, loss)), f"{int(lost.sum())} / {len(lost)}"]
        rows.append([words.group("names")[row["start"]], str(row["depth"]), *cells])
    names = ("start", "hidden-layers", "training", "test", "test-loss", "lost")
    heads = [words[f"heads.{name}"] for name in names]
    return [Table(words["titles.accuracy-in-mean-over-seeds"], heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Accuracies by depth and start, what a layer does to the signal, and the depth that validation data prefer."""
    tried, width = depths(observations), int(observations["arms"]["width"].iloc[0])
    signals = observations["signals"].groupby(["start", "layer"])["rms"].mean()
    return {
        "width": width,
        "deepest": tried[-1],
        "small_std": SMALL_STD,
        "factor": width * SMALL_STD**2 / 2,
        "test": {
            start: {
                name: mean_interval(accuracies(observations, start, depth))
                for name, depth in (("one", 1), ("two", 2), ("most", tried[-1]))
            }
            for start in STARTS
        },
        "last_rms": {start: float(signals[start, tried[-1]]) for start in STARTS},
        "first_rms": {start: float(signals[start, 1]) for start in STARTS},
        "num_lost": {start: int(is_lost(observations, start).sum()) for start in STARTS},
        "lost_level": LOST,
        "loss_saved": mean_interval(
            accuracies(observations, "he", 1, LOSS) - accuracies(observations, "he", 2, LOSS)
        ),
        "moved": {start: moved(observations, start) for start in STARTS},
        "margin": MARGIN,
        "brightest": BRIGHTEST,
        "epochs": observations.settings[-1]["epochs"],
        "learning_rate": observations.settings[-1]["learning_rate"],
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test accuracy against depth from both starts, beside the size of the signal in each layer before training."""
    reached = [
        {"group": name, "level": str(depth)} | mean_interval(accuracies(observations, start, depth)).to_dict()
        for start, name in words.group("names").items()
        for depth in depths(observations)
    ]
    signals = observations["signals"]
    sizes = [
        {"group": name, "level": str(layer)}
        | mean_interval(signals[(signals["start"] == start) & (signals["layer"] == layer)]["rms"]).to_dict()
        for start, name in words.group("names").items()
        for layer in dict.fromkeys(signals["layer"])
        if layer > 0  # the input is the same for all
    ]
    left = plots.level_plot(
        pd.DataFrame(reached),
        level_title=words["titles.hidden-layers"],
        value_title=words["titles.test-accuracy"],
        title=words["titles.after-training"],
        value_format=".0%",
        notes=words.notes,
        width=300,
    )
    right = plots.level_plot(
        pd.DataFrame(sizes),
        level_title=words["titles.hidden-layer"],
        value_title=words["titles.root-mean-square-activations"],
        title=words["titles.before-training"],
        log_scale=True,
        notes=words.notes,
        width=300,
    )
    return left | right


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="a-layer-scales-the-signal",
            kind="property",
            check=multiplies_second_moment,
            subject=lambda o: lambda fan_in, std: fan_in * std**2 / 2,
            falsehood=lambda o: (
                lambda fan_in, std: fan_in * std**2 / math.pi
            ),  # (mean of |z|)², not that of z²
        ),
        Claim(
            name="small-start-stalls-depth",
            kind="experiment",
            check=less(),
            subject=lambda o: depth_effect(o, "small"),
            falsehood=lambda o: recentred(depth_effect(o, "small"), 0.05),
            unit="points",
        ),
        Claim(
            name="he-start-keeps-depth",
            kind="experiment",
            check=greater(-MARGIN, numbers={"margin": MARGIN}),
            subject=lambda o: depth_effect(o, "he"),
            falsehood=lambda o: recentred(depth_effect(o, "he"), -3 * MARGIN),
            unit="points",
        ),
        Claim(
            name="a-second-layer-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=second_layer_effect,
            falsehood=lambda o: recentred(second_layer_effect(o), -MARGIN),
            unit="points",
        ),
        Claim(
            name="the-start-decides",
            kind="experiment",
            check=interaction("greater"),
            subject=four_cells,
            falsehood=lambda o: four_cells(o)[2:] + four_cells(o)[:2],
            unit="points",
        ),
        Claim(
            name="bright-pixels-shrink-the-biases",
            kind="property",
            check=shrinks_biases,
            subject=lambda o: float(BRIGHTEST),
            falsehood=lambda o: 1.0,  # as if biases did not matter
        ),
    ),
    circulated=(
        Circulated(
            "layers-lower-accuracy",
            {"holds": "half-right", "fails": "right", "undecided": "unsupported"},
            by="he-start-keeps-depth",
            source="datawhale",
        ),
        Circulated(
            "a-layer-improves-accuracy",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="a-second-layer-helps",
            source="pandalabme",
        ),
        Circulated(
            "measured-on-stored-pixels",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="bright-pixels-shrink-the-biases",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set learning_rate=0.5",
)
