"""4.3.3 Which way of starting the weights works best?

First without any training: what each start makes of signals and gradients over depth, measured and as mean-field theory
predicts. Then trained, on shared seeds, at several depths, and read where the rate has fallen to 0: after the last step
of a constant rate, luck is a point or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
from mlplab.stats import mean_interval, paired, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice
from ..choice import LOST, more_are_lost

if TYPE_CHECKING:
    import altair

# Deep networks are narrower than the section's, so that there can be many of them.
WIDTH = 64
SIGNAL_WIDTH = 256  # theory is that of wide layers
# Differences of less than half a point do not matter here.
MARGIN = 0.005
METRIC = "test_accuracy"
HE = "kaiming_normal"
STARTS = ("normal", "linear", "xavier_normal", HE)
# What is drawn for the untrained network; the engine's starts of the same names are PyTorch's.
DRAWS: dict[str, Callable[[Tensor], Any]] = {
    "normal": lambda weight: nn.init.normal_(weight, std=0.01),
    "linear": lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)),
    "xavier_normal": nn.init.xavier_normal_,
    HE: lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}
FOR_TANH = ("xavier_normal", HE)
# PyTorch's default at the largest depth is tried at so many times the section's rate, too.
FASTER = (3, 10)
NUDGED = "nudged"


def observe(lab: Lab) -> Observations:
    """Look at untrained networks, then train ReLU networks from four starts and deep tanh networks from two."""
    depths = (1, 10)
    width = lab.take("hidden_sizes", chapter.MLP_SETTING)[0]
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    rate = lab.take("learning_rate", chapter.MLP_SETTING)
    own = turn(chapter.scaled(chapter.MLP_SETTING, dataset), hidden_sizes=(width,), learning_rate=rate)
    section = lab.setting(own)
    quiet = chapter.read_at_the_end(section)
    widths = {depth: width if depth == 1 else min(width, WIDTH) for depth in depths}
    kinds = [("relu", start, depth) for depth in depths for start in STARTS]
    kinds += [("tanh", start, depths[-1]) for start in FOR_TANH]
    arms, roles = [], []
    for activation, start, depth in kinds:
        sizes = (widths[depth],) * depth
        setting = turn(quiet, activation=activation, initialization=start, hidden_sizes=sizes)
        arms.append(Arm(arm_name(activation, start, depth), setting))
        roles.append({"activation": activation, "start": start, "depth": depth, "width": widths[depth]})
    seeds = lab.seeds(quick=3, full=6)
    few = seeds[: lab.choose(quick=1, full=3)]
    judged = lab.run(Study(arms, seeds, dataset))
    of_arm = {arm.name: arm.setting for arm in arms}
    default = of_arm[arm_name("relu", "linear", depths[-1])]
    others = [Arm(f"linear {factor} times", turn(default, learning_rate=factor * rate)) for factor in FASTER]
    for start in ("xavier_normal", HE):
        name = arm_name("relu", start, depths[-1])
        if (moved := chapter.nudged(of_arm[name])) is not None:
            others.append(Arm(f"{NUDGED} {name}", moved))
    frames = [judged.frame, lab.run(Study(others, few, dataset)).frame]
    deepest_signals = [
        signals_at_start(dataset, activation, start, depths[-1])
        for activation, of in (("relu", STARTS), ("tanh", FOR_TANH))
        for start in of
    ]
    contrasts = {
        f"{start} {depth}": (arm_name("relu", HE, depth), arm_name("relu", start, depth))
        for start in STARTS
        if start != HE
        for depth in depths
    }
    columns = ["arm", "seed", "digest", "status", "train_loss", "test_loss", METRIC, "seconds"]
    return lab.observations(
        runs=pd.concat(frames)[columns],
        arms=pd.DataFrame(roles),
        signals=pd.concat(deepest_signals, ignore_index=True),
        new_images=choice.on_new_images(judged, contrasts),
    )


def arm_name(activation: str, start: str, depth: int) -> str:
    """What the arm of a start is called."""
    return f"{activation} {start} {depth}"


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


def values(observations: Observations, arm: str, metric: str = METRIC) -> np.ndarray:
    """A metric of an arm, by seed."""
    return choice.values(observations, arm, metric)


def accuracies(observations: Observations, activation: str, start: str, depth: int) -> np.ndarray:
    """Test accuracy from a start, by seed."""
    return values(observations, arm_name(activation, start, depth))


def depths(observations: Observations) -> list[int]:
    """The numbers of hidden layers that were trained, ascending."""
    return sorted({int(depth) for depth in observations["arms"]["depth"]})


def starts(observations: Observations) -> list[str]:
    """The starts of the ReLU networks."""
    arms = observations["arms"]
    return list(dict.fromkeys(arms[arms["activation"] == "relu"]["start"]))


def he_against(observations: Observations, other: str, depth: int, activation: str = "relu") -> np.ndarray:
    """He's start minus another, for each seed."""
    return accuracies(observations, activation, HE, depth) - accuracies(
        observations, activation, other, depth
    )


def deep(observations: Observations, other: str, activation: str = "relu") -> np.ndarray:
    """He's start minus another at the largest depth, for each seed."""
    return he_against(observations, other, depths(observations)[-1], activation)


def lost_deep(observations: Observations, start: str) -> np.ndarray:
    """Which ReLU networks of the largest depth end no better than guessing, by seed."""
    return accuracies(observations, "relu", start, depths(observations)[-1]) < LOST


def he_against_all(observations: Observations) -> dict[str, np.ndarray]:
    """He's start minus each other at each depth of ReLU networks."""
    return {
        f"{start} {depth}": he_against(observations, start, depth)
        for start in starts(observations)
        if start != HE
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


def never_loses(differences: Mapping[str, np.ndarray]) -> Finding:
    """Is each difference above minus the margin? All must pass, so each is tested at the full level."""
    found = {name: paired(values, claim="greater", threshold=-MARGIN) for name, values in differences.items()}
    order = ("fails", "undecided", "holds")

    def strength(name: str) -> tuple[int, float]:
        verdict, p = found[name].verdict, found[name].p
        return order.index(verdict), -p if verdict == "holds" else p

    weakest = min(found, key=strength)
    numbers = {"margin": MARGIN, "num_compared": len(found)}
    return Finding(found[weakest].verdict, found[weakest], numbers, weakest)


def draws_nothing(asked_for: type[nn.Module]) -> Finding:
    """A start that is applied to each module of this kind: does it leave the weights of a network of nn.Linear?"""
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    before = [parameter.detach().clone() for parameter in net.parameters()]

    def start(module: nn.Module) -> None:
        if isinstance(module, asked_for):
            nn.init.constant_(module.get_parameter("weight"), 2.0)  # none of nn.Linear's is as large

    net.apply(start)
    is_same = all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))
    return Finding.true_if(is_same)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Test accuracy of single runs: from each start at the largest depth, and from two with one layer."""
    rows = {"small": "normal", "default": "linear", "xavier": "xavier_normal", "he": HE}
    deepest = depths(observations)[-1]
    reached = {name: accuracies(observations, "relu", start, deepest) for name, start in rows.items()}
    reached |= {f"one_{name}": accuracies(observations, "relu", rows[name], 1) for name in ("small", "he")}
    return {name: prediction_interval(values) for name, values in reached.items()}


def moved(observations: Observations) -> float | None:
    """By how much a millionth of the first weights moves the accuracy of a deep run, at most; None without any."""
    moves = [
        choice.most_moved(values(observations, arm), values(observations, arm.removeprefix(f"{NUDGED} ")))
        for arm in observations.runs.arms
        if arm.startswith(NUDGED)
    ]
    return max(moves, default=None)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Test accuracy by start and depth, and how many runs were lost."""
    tried = depths(observations)
    width = {int(row["depth"]): row["width"] for row in observations.rows("arms")}
    rows = []
    for activation, start in dict.fromkeys((r["activation"], r["start"]) for r in observations.rows("arms")):
        cells = []
        for depth in tried:
            if arm_name(activation, start, depth) not in observations.runs.arms:
                cells.append("")
                continue
            reached = accuracies(observations, activation, start, depth)
            text = show.stacked(show.percent_interval(mean_interval(reached)))
            lost = int((reached < LOST).sum())
            cells.append(f"{text} {words('labels.lost', num=lost, of=len(reached))}" if lost else text)
        rows.append([activation, words.group("names")[start], *cells])
    heads = (
        words["heads.activation"],
        words["heads.start"],
        *(words("labels.layers", depth=depth, width=width[depth]) for depth in tried),
    )
    return [Table(words["titles.judged"], heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Accuracies at both ends of depth, what was lost, what is left of signals, and how much is luck."""
    tried = depths(observations)
    deepest = tried[-1]
    signals = observations["signals"].set_index(["activation", "direction", "start", "layer"])["estimate"]
    return {
        "deepest": deepest,
        "widths": {int(row["depth"]): row["width"] for row in observations.rows("arms")},
        "signal_width": SIGNAL_WIDTH,
        "num_starts": len(starts(observations)),
        "one_test": {name: mean_interval(accuracies(observations, "relu", name, 1)) for name in STARTS},
        "deep_test": {
            name: mean_interval(accuracies(observations, "relu", name, deepest)) for name in STARTS
        },
        "num_lost": {name: int(lost_deep(observations, name).sum()) for name in STARTS},
        "faster": [
            {
                "factor": factor,
                "lost": int((found < LOST).sum()),
                "of": len(found),
                "best": float(found.max()),
            }
            for factor in FASTER
            for found in (values(observations, f"linear {factor} times"),)
        ],
        "signal": {
            name: float(signals["relu", "forward", name, deepest] / signals["relu", "forward", name, 1])
            for name in STARTS
        },
        "luck": choice.deviation(accuracies(observations, "relu", "normal", 1)),
        "moved": moved(observations),
        "new_images": choice.for_new_images(observations),
        "guessing": choice.CHANCE,
        "margin": MARGIN,
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
            name="pytorchs-default-fails-deep",
            kind="experiment",
            check=more_are_lost,
            subject=lambda o: (lost_deep(o, "linear"), lost_deep(o, HE)),
            falsehood=lambda o: (lost_deep(o, HE), lost_deep(o, "linear")),
        ),
        Claim(
            name="deep-relu-needs-more-than-the-small-start",
            kind="experiment",
            check=more_are_lost,
            subject=lambda o: (lost_deep(o, "normal"), lost_deep(o, HE)),
            falsehood=lambda o: (lost_deep(o, HE), lost_deep(o, "normal")),
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
            falsehood=lambda o: recentred(he_against(o, "normal", 1), -MARGIN),
            unit="points",
        ),
        Claim(
            name="deep-relu-prefers-he-to-glorot",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: deep(o, "xavier_normal"),
            falsehood=lambda o: recentred(deep(o, "xavier_normal"), -2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="deep-tanh-prefers-glorot-to-he",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: -deep(o, "xavier_normal", "tanh"),
            falsehood=lambda o: recentred(deep(o, "xavier_normal", "tanh"), -2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="he-never-loses",
            kind="experiment",
            check=never_loses,
            subject=he_against_all,
            falsehood=lambda o: {
                name: recentred(found, -3 * MARGIN) for name, found in he_against_all(o).items()
            },
            unit="points",
        ),
        Claim(
            name="a-start-for-lazy-layers-draws-nothing",
            kind="calculation",
            check=draws_nothing,
            subject=lambda o: nn.LazyLinear,
            falsehood=lambda o: nn.Linear,
        ),
    ),
    circulated=(
        Circulated(
            "look-in-torch-nn-init",
            {"holds": "right", "fails": "incomplete", "undecided": "incomplete"},
            by="he-never-loses",
        ),
        # One run each, and no run here starts from an identity matrix.
        Circulated("identity-is-best", "unsupported", source="datawhale"),
        Circulated(
            "starts-for-lazy-layers",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="a-start-for-lazy-layers-draws-nothing",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set learning_rate=0.03",
)
