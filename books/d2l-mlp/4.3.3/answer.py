"""4.3.3 Which way of starting the weights works best?

First without any training: what each start makes of signals and gradients over depth, measured and as mean-field theory
predicts. Then trained, on shared seeds, at several depths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mlplab.analysis.mean_field import mean_field, variance_map
from mlplab.analysis.signal_propagation import signal_propagation
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.knobs import turn
from mlplab.stats import Verdict, mean_interval, paired
from mlplab.study import Arm, Study, factorial

from .. import chapter
from ..choice import scored

if TYPE_CHECKING:
    import altair

WIDTH = 64
SIGNAL_WIDTH = 256  # theory is that of wide layers
MARGIN = 0.005
METRIC = "test_accuracy"
NAMES = (
    "normal",
    "linear",
    "xavier_normal",
    "kaiming_normal",
    "orthogonal",
)
# What is drawn for the untrained network; the engine's starts of the same names are PyTorch's.
DRAWS: dict[str, Callable[[Tensor], Any]] = {
    "normal": lambda weight: nn.init.normal_(weight, std=0.01),
    "linear": lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)),
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain=math.sqrt(2)),
}
SPECS = {name: name for name in NAMES} | {"orthogonal": f"orthogonal(gain={math.sqrt(2)!r})"}
FOR_TANH = ("xavier_normal", "kaiming_normal")


def observe(lab: Lab) -> Observations:
    """Look at untrained networks, then train ReLU networks from five starts and tanh networks from two."""
    depths = lab.choose(quick=[1, 10], full=[1, 4, 10])
    relu = lab.choose(quick=["normal", "linear", "xavier_normal", "kaiming_normal"], full=list(NAMES))
    width = lab.take("hidden_sizes", turn(chapter.MLP_SETTING, hidden_sizes=(WIDTH,)))[0]
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = lab.setting(chapter.scaled(chapter.MLP_SETTING, dataset))
    arms: list[Arm] = []
    roles = []
    for activation, starts in (("relu", relu), ("tanh", list(FOR_TANH))):
        for start in starts:
            for depth in depths:
                setting = turn(base, activation=activation)
                (arm,) = factorial(setting, initialization=[SPECS[start]], hidden_sizes=[(width,) * depth])
                arms.append(Arm(f"{activation} {start} {depth}", arm.setting))
                roles.append({"arm": arms[-1].name, "activation": activation, "start": start, "depth": depth})
    runs = lab.run(Study(arms, lab.seeds(quick=5, full=20), dataset))
    signals = [
        signals_at_start(dataset, activation, start, depths[-1])
        for activation, starts in (("relu", relu), ("tanh", list(FOR_TANH)))
        for start in starts
    ]
    described = pd.DataFrame(roles).assign(width=width)
    return lab.observations(runs=runs.frame, arms=described, signals=pd.concat(signals, ignore_index=True))


def signals_at_start(dataset: Dataset, activation: str, start: str, depth: int) -> pd.DataFrame:
    """Mean squares of pre-activations and of their gradients in each hidden layer, measured and predicted."""
    images = torch.from_numpy(dataset.train.features[:128].reshape(-1, dataset.in_features))
    kind = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]

    def factory() -> nn.Sequential:
        modules: list[nn.Module] = []
        for layer in range(depth + 1):
            fan_in = dataset.in_features if layer == 0 else SIGNAL_WIDTH
            linear = nn.Linear(fan_in, SIGNAL_WIDTH if layer < depth else dataset.out_features)
            DRAWS[start](linear.weight)
            nn.init.zeros_(linear.bias)
            modules += [linear, kind()] if layer < depth else [linear]
        return nn.Sequential(*modules)

    rows = signal_propagation(factory, images, seeds=range(5)).rows
    rows = rows[rows["layer"] <= depth].drop(columns="name")
    return rows.assign(activation=activation, start=start, num_replicates=5)


def accuracies(observations: Observations, activation: str, start: str, depth: int) -> np.ndarray:
    """Test accuracy of one arm, by seed."""
    return scored(observations.runs.values(METRIC, f"{activation} {start} {depth}"))


def depths(observations: Observations) -> list[int]:
    """The numbers of hidden layers that were trained, ascending."""
    return [int(depth) for depth in dict.fromkeys(observations["arms"]["depth"])]


def starts(observations: Observations) -> list[str]:
    """The starts of the ReLU networks."""
    arms = observations["arms"]
    return list(dict.fromkeys(arms[arms["activation"] == "relu"]["start"]))


def he_against(observations: Observations, other: str, depth: int, activation: str = "relu") -> np.ndarray:
    """He's start minus another, for each seed."""
    return accuracies(observations, activation, "kaiming_normal", depth) - accuracies(
        observations, activation, other, depth
    )


def deep(observations: Observations, other: str, activation: str = "relu") -> np.ndarray:
    """He's start minus another at the largest depth, for each seed."""
    return he_against(observations, other, depths(observations)[-1], activation)


def he_against_all(observations: Observations) -> dict[str, np.ndarray]:
    """He's start minus each other at each depth of ReLU networks."""
    return {
        f"{start} {depth}": he_against(observations, start, depth)
        for start in starts(observations)
        if start != "kaiming_normal"
        for depth in depths(observations)
    }


def ratios(observations: Observations, *, predicted_from: dict[str, str] | None = None) -> np.ndarray:
    """Measured over predicted mean square, of each start, layer and direction; `predicted_from` swaps predictions."""
    keys = ["activation", "start", "direction", "layer"]
    table = observations["signals"].set_index(keys)
    source = [
        (activation, (predicted_from or {}).get(start, start), direction, layer)
        for activation, start, direction, layer in table.index
    ]
    return (
        table["estimate"].to_numpy()
        / table["predicted"].reindex(pd.MultiIndex.from_tuples(source)).to_numpy()
    )


def within_half(found: np.ndarray) -> Finding:
    """Does every ratio lie between 2/3 and 3/2?"""
    worst = float(np.exp(np.abs(np.log(found)).max()))
    return Finding.true_if(worst < 1.5, worst_factor=worst, tries=len(found))


def keeps_relu(variance: float) -> Finding:
    """With weights of variance `variance`/n, does a ReLU layer keep the mean square q, whatever it is?"""
    tried = (0.01, 0.3, 1.0, 7.0)
    worst = max(abs(variance_map("relu", q, variance) / q - 1) for q in tried)
    return Finding.true_if(worst < 1e-8, worst_error=worst)


def is_critical_for_tanh(variance: float) -> Finding:
    """With weights of variance `variance`/n, do gradients of a deep tanh network neither vanish nor explode?"""
    found = mean_field("tanh", variance)
    return Finding.true_if(found.phase == "critical", found.phase, slope=found.slope)


def never_loses(differences: dict[str, np.ndarray]) -> Finding:
    """Is each difference above minus the margin? All must pass, so each is tested at the full level."""
    found = {name: paired(values, claim="greater", threshold=-MARGIN) for name, values in differences.items()}
    verdicts = [comparison.verdict for comparison in found.values()]
    verdict: Verdict = "fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds"
    lows = {name: -math.inf if c.ci_low is None else c.ci_low for name, c in found.items()}
    worst = min(lows, key=lambda name: lows[name])
    return Finding(verdict, found[worst], {"margin": MARGIN, "num_compared": len(found)}, worst)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Test accuracy by start and depth."""
    rows = []
    for activation, start in dict.fromkeys((r["activation"], r["start"]) for r in observations.rows("arms")):
        reached = [
            mean_interval(accuracies(observations, activation, start, d)) for d in depths(observations)
        ]
        cells = [show.stacked(show.percent_interval(interval)) for interval in reached]
        rows.append([activation, words.group("names")[start], *cells])
    title = words["titles.test-accuracy-in-by-hidden"]
    heads = (
        words["heads.activation"],
        words["heads.start"],
        *(words("labels.layers", depth=depth) for depth in depths(observations)),
    )
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Accuracies at the largest depth, and what is left of signals and gradients there."""
    deepest = depths(observations)[-1]
    signals = observations["signals"].set_index(["activation", "direction", "start", "layer"])["estimate"]
    return {
        "deepest": deepest,
        "width": int(observations["arms"]["width"].iloc[0]),
        "signal_width": SIGNAL_WIDTH,
        "num_starts": len(starts(observations)),
        "deep_test": {
            start: mean_interval(accuracies(observations, "relu", start, deepest))
            for start in ("normal", "linear", "xavier_normal", "kaiming_normal")
        },
        "signal": {
            start: float(signals["relu", "forward", start, deepest] / signals["relu", "forward", start, 1])
            for start in ("normal", "linear", "xavier_normal", "kaiming_normal")
        },
        "guessing": 0.1,
        "epochs": observations.settings[0]["epochs"],
        "learning_rate": observations.settings[0]["learning_rate"],
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The signal's mean square through the untrained ReLU network, beside the accuracy that training reaches."""
    signals = observations["signals"]
    forward = signals[(signals["activation"] == "relu") & (signals["direction"] == "forward")]
    sizes = forward.assign(
        group=[words.group("names")[start] for start in forward["start"]],
        level=forward["layer"].astype(str),
        ci_prob=0.95,
        ci_method="t",
    )
    reached = [
        {"group": words.group("names")[start], "level": str(depth)}
        | mean_interval(accuracies(observations, "relu", start, depth)).to_dict()
        for start in starts(observations)
        for depth in depths(observations)
    ]
    left = plots.level_plot(
        sizes,
        level_title=words["titles.hidden-layer"],
        value_title=words["titles.mean-square-pre-activations"],
        title=words["titles.relu-before-training"],
        log_scale=True,
        notes=words.notes,
        width=300,
    )
    right = plots.level_plot(
        pd.DataFrame(reached),
        level_title=words["titles.hidden-layers"],
        value_title=words["titles.test-accuracy"],
        title=words["titles.relu-after-training"],
        value_format=".0%",
        notes=words.notes,
        width=300,
    )
    return left | right


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="he-keeps-the-signal",
            kind="calculation",
            check=keeps_relu,
            subject=lambda o: 2.0,
            falsehood=lambda o: 1.9,
        ),
        Claim(
            name="glorot-is-the-edge-for-tanh",
            kind="calculation",
            check=is_critical_for_tanh,
            subject=lambda o: 1.0,
            falsehood=lambda o: 1.1,
        ),
        Claim(
            name="theory-predicts-the-signal",
            kind="property",
            check=within_half,
            subject=ratios,
            falsehood=lambda o: ratios(o, predicted_from={"kaiming_normal": "xavier_normal"}),
        ),
        Claim(
            name="with-one-layer-little-matters",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: he_against(o, "xavier_normal", 1),
            falsehood=lambda o: recentred(he_against(o, "xavier_normal", 1), 2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="the-small-start-costs-with-one-layer",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: he_against(o, "normal", 1),
            falsehood=lambda o: recentred(he_against(o, "normal", 1), 0.0),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="pytorchs-default-fails-deep",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: deep(o, "linear"),
            falsehood=lambda o: recentred(deep(o, "linear"), -0.05),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="deep-relu-needs-more-than-the-small-start",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: deep(o, "normal"),
            falsehood=lambda o: recentred(deep(o, "normal"), -0.05),
            unit="points",
        ),
        Claim(
            name="deep-relu-prefers-he-to-glorot",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: deep(o, "xavier_normal"),
            falsehood=lambda o: recentred(deep(o, "xavier_normal"), -0.3),
            unit="points",
        ),
        Claim(
            name="deep-tanh-prefers-glorot-to-he",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: -deep(o, "xavier_normal", "tanh"),
            falsehood=lambda o: recentred(deep(o, "xavier_normal", "tanh"), -0.05),
            unit="points",
        ),
        Claim(
            name="he-never-loses",
            kind="experiment",
            check=never_loses,
            subject=he_against_all,
            falsehood=lambda o: {name: recentred(values, -0.3) for name, values in he_against_all(o).items()},
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "look-in-torch-nn-init",
            {"holds": "right", "fails": "incomplete", "undecided": "incomplete"},
            by="he-never-loses",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set learning_rate=0.03",
)
