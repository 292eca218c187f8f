"""4.2.2 What happens when hidden layers are added?

Depth is crossed with the start of the weights, on shared seeds: the section's N(0, 0.01²), and He's, whose variance 2/n
follows the layer's number of inputs n. Only so can one tell what depth does from what the start does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, interaction, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.rng import Stream
from mlplab.stats import mean_interval
from mlplab.study import Study, factorial

from .. import chapter
from ..choice import scored

if TYPE_CHECKING:
    import altair

MARGIN = 0.005
METRIC = "test_accuracy"
SMALL_STD = 0.01
STARTS = {"small": "normal", "he": "kaiming_normal"}

STARTS_DRAWN = 5  # of the untrained network


def observe(lab: Lab) -> Observations:
    """Train 1 to 4 hidden layers of the section's width from both starts, and look at the signal before training."""
    depths = lab.choose(quick=[1, 2, 4], full=[1, 2, 3, 4])
    width = _width(lab)
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = lab.setting(chapter.scaled(chapter.MLP_SETTING, dataset))
    arms = factorial(
        base, initialization=list(STARTS.values()), hidden_sizes=[(width,) * depth for depth in depths]
    )
    runs = lab.run(Study(arms, lab.seeds(quick=4, full=20), dataset))
    described = [
        {"arm": arm.name, "start": start, "depth": depth, "width": width}
        for arm, (start, depth) in zip(arms, [(s, d) for s in STARTS for d in depths], strict=True)
    ]
    signals = [
        {"start": start, "seed": seed, "layer": layer, "rms": rms}
        for start in STARTS
        for seed in range(STARTS_DRAWN)
        for layer, rms in enumerate(signal(dataset, start, width, depths[-1], seed))
    ]
    return lab.observations(runs=runs.frame, arms=pd.DataFrame(described), signals=pd.DataFrame(signals))


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
    return scored(observations.runs.values(metric, arm))


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


def tables(observations: Observations, words: WordList) -> list[Table]:
    """A row for each depth and start."""
    rows = []
    for row in observations.rows("arms"):
        values = [
            show.stacked(
                show.percent_interval(mean_interval(scored(observations.runs.values(metric, row["arm"]))))
            )
            for metric in ("train_accuracy", "validation_accuracy", METRIC)
        ]
        rows.append([words.group("names")[row["start"]], str(row["depth"]), *values])
    title = words["titles.accuracy-in-mean-over-seeds"]
    heads = (
        words["heads.start"],
        words["heads.hidden-layers"],
        words["heads.training"],
        words["heads.validation"],
        words["heads.test"],
    )
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Accuracies by depth and start, what a layer does to the signal, and the depth that validation data prefer."""
    tried, width = depths(observations), int(observations["arms"]["width"].iloc[0])
    signals = observations["signals"].groupby(["start", "layer"])["rms"].mean()
    by_validation = max(
        tried, key=lambda depth: accuracies(observations, "he", depth, "validation_accuracy").mean()
    )
    return {
        "width": width,
        "deepest": tried[-1],
        "small_std": SMALL_STD,
        "factor": width * SMALL_STD**2 / 2,
        "best_depth": by_validation,
        "test": {
            start: {
                name: mean_interval(accuracies(observations, start, depth))
                for name, depth in (("one", 1), ("two", 2), ("most", tried[-1]))
            }
            for start in STARTS
        },
        "last_rms": {start: float(signals[start, tried[-1]]) for start in STARTS},
        "first_rms": {start: float(signals[start, 1]) for start in STARTS},
        "guessing": 0.1,
        "epochs": observations.settings[0]["epochs"],
        "learning_rate": observations.settings[0]["learning_rate"],
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
            falsehood=lambda o: recentred(depth_effect(o, "small"), 0.3),
            unit="points",
        ),
        Claim(
            name="he-start-keeps-depth",
            kind="experiment",
            check=greater(-MARGIN, numbers={"margin": MARGIN}),
            subject=lambda o: depth_effect(o, "he"),
            falsehood=lambda o: recentred(depth_effect(o, "he"), -0.05),
            unit="points",
        ),
        Claim(
            name="a-second-layer-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=second_layer_effect,
            falsehood=lambda o: recentred(second_layer_effect(o), -0.05),
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
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set learning_rate=0.5",
)
