"""4.6.3 What is the variance of each hidden layer's activations, with and without dropout, and how does it change?

The engine's probes record mean and variance over batch and units: before the mask, after it, and in evaluation. What
the mask itself does at fixed weights is an identity; what the weights learn under it is an experiment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import sympy
import torch

from mlplab.answers import chapter, show
from mlplab.answers.answer import Answer, Table
from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words, recentred
from mlplab.engine import draws
from mlplab.engine.noises import noise_of
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.spec import Noise
from mlplab.stats import mean_interval, paired
from mlplab.study import Study, factorial, plots

if TYPE_CHECKING:
    import altair

    from mlplab.stats import ClaimKind

Identity = Callable[[Any, Any, Any], Any]

ARMS = {"with": Words("with dropout", "用暂退法"), "without": Words("without dropout", "不用暂退法")}
# Probe -> what it measures. In the arm without dropout, before and after the mask are the same.
PROBES = {
    "activation": Words("training, before the mask", "训练模式，掩码之前"),
    "noisy": Words("training, after the mask", "训练模式，掩码之后"),
    "quiet": Words("evaluation", "评估模式"),
}
# In trained networks, deviations of less than 1 per cent from the identity are what a last batch of 80 images leaves.
TOLERANCE = 0.01
# Cross-entropy of a guess among ten classes, in nats.
GUESS = math.log(10)


def observe(lab: Lab) -> Observations:
    """Train the section's network with and without dropout, and watch the moments of its activations."""
    rates = lab.take("dropout", chapter.DROPOUT_SETTING)
    if not all(rates):
        raise InvalidInput(
            "--set dropout", "must be above 0 in each layer", written(rates), "Try dropout=0.5,0.5"
        )
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = turn(chapter.DROPOUT_SETTING, probes=("activations", "quiet_activations"))
    if dataset.name != "fashion-mnist":
        base = turn(base, epochs=20)  # a tenth of the images: twice the epochs
    arms = factorial(lab.setting(base), dropout=[rates, (0.0,)])
    runs = lab.run(Study(arms, lab.seeds(quick=6, full=20), dataset))
    name_of = {arm.name: role for arm, role in zip(arms, ARMS, strict=True)}
    curves = runs.curves.assign(arm=runs.curves["arm"].map(name_of))
    curves = curves[curves["metric"].str.contains(r"_(?:mean|variance)_\d+$")]
    frame = runs.frame.assign(arm=runs.frame["arm"].map(name_of)).merge(
        late_means(curves, rates), on=["arm", "seed"], how="left"
    )
    layers = pd.DataFrame({"layer": range(len(rates)), "rate": rates})
    kept = plots.mean_curves(curves[curves["metric"].str.contains("variance")])
    return lab.observations(runs=frame, curves=kept, layers=layers)


def late_means(curves: pd.DataFrame, rates: Sequence[float]) -> pd.DataFrame:
    """Of each run, every curve averaged over the second half of the epochs, and how far the identity was off.

    `deviation` is the mean over these epochs and the layers of measured variance after the mask over the predicted
    one, minus 1; 0 without dropout.
    """
    late = curves[2 * curves["epoch"] > curves["epoch"].max()]
    table = late.pivot_table(index=["arm", "seed", "epoch"], columns="metric", values="value")
    off = []
    for layer, rate in enumerate(rates):
        p = np.where(table.index.get_level_values("arm") == "with", rate, 0.0)
        predicted = variance_after(
            p, table[f"activation_variance_{layer}"], table[f"activation_mean_{layer}"]
        )
        off.append(table[f"noisy_variance_{layer}"] / predicted - 1)
    table["deviation"] = sum(off) / len(off)
    return table.groupby(["arm", "seed"]).mean().reset_index()


def variance_after(p: Any, variance: Any, mean: Any) -> Any:
    """Variance of h·m/(1 - p), m ~ Bernoulli(1 - p): numbers, arrays or symbols."""
    return variance / (1 - p) + mean**2 * p / (1 - p)


def without_the_mean(p: Any, variance: Any, mean: Any) -> Any:
    """What one gets by scaling alone: right where the mean is 0, as it is not after a ReLU."""
    return variance / (1 - p)


def is_identity(formula: Identity) -> Finding:
    """Is it the variance of h·m/(1 - p), from the moments of h and of the mask, whatever they are?"""
    p, variance, mean = sympy.symbols("p v mu", real=True)
    # m is 0 or 1, so that E m = E m² = 1 - p; and it is independent of h.
    first = (1 - p) * mean / (1 - p)
    second = (1 - p) * (variance + mean**2) / (1 - p) ** 2
    rest = sympy.simplify(second - first**2 - formula(p, variance, mean))
    return Finding.true_if(rest == 0, detail=f"variance minus formula = {rest}")


def agrees_with_masks(formula: Identity) -> Finding:
    """Draw 4,000 masks of the engine on random layers: is the variance over masks, examples and units the formula's?"""
    worst = 0.0
    for seed, rate in enumerate((0.2, 0.5, 0.8)):
        num, shape = 4_000, (16, 8)
        h = draws.noise_normals(seed, 0, 0, shape).relu() + seed
        kind = noise_of([Noise("dropout", rate=rate)], torch.float64)
        assert kind is not None
        y = kind(h.expand(num, *shape), draws.noise_bits(seed, 1, 0, (num, *shape)))
        squares = (y - h.mean()).square().mean((1, 2))  # one number for each mask
        expected = formula(rate, h.var(correction=0), h.mean())
        worst = max(worst, abs(((squares.mean() - expected) / (squares.std() / math.sqrt(num))).item()))
    return Finding.true_if(worst < 4, worst_standard_errors=worst)


def num_layers(observations: Observations) -> int:
    """Hidden layers of the network."""
    return len(observations["layers"])


def late(observations: Observations, arm: str, probe: str, layer: int) -> np.ndarray:
    """Variance late in training, by seed."""
    return observations.runs.values(f"{probe}_variance_{layer}", arm)


def log_ratios(observations: Observations, probe: str) -> list[np.ndarray]:
    """Logarithm of the variance with dropout over that without, by layer and seed."""
    return [
        np.log(late(observations, "with", probe, layer) / late(observations, "without", probe, layer))
        for layer in range(num_layers(observations))
    ]


def broken_seeds(observations: Observations) -> dict[str, list[int]]:
    """By arm, the seeds whose network diverged or ended worse than a guess: with a training loss above ln 10."""
    runs = observations["runs"]
    lost = ~(runs["train_loss"] <= GUESS)  # a diverged run has none
    return {arm: sorted(map(int, runs.loc[lost & (runs["arm"] == arm), "seed"])) for arm in ARMS}


def steady_ratios(observations: Observations) -> list[list[float]]:
    """Of the seeds that broke in neither arm, the ratio of `log_ratios` in evaluation with its interval, by layer.

    Empty with fewer than two such seeds.
    """
    broken = {seed for seeds in broken_seeds(observations).values() for seed in seeds}
    kept = [seed not in broken for seed in sorted(set(map(int, observations["runs"]["seed"])))]
    if sum(kept) < 2:
        return []
    found = [mean_interval(of_layer[kept]) for of_layer in log_ratios(observations, "quiet")]
    bounds = np.array([[of.estimate, of.ci_low, of.ci_high] for of in found], dtype=float)
    return np.exp(bounds).tolist()


def in_every_layer(direction: Literal["greater", "less"]) -> Callable[[Sequence[np.ndarray]], Finding]:
    """A check: does it hold in every layer? It fails if it fails in one; the layer that decides is told."""

    def check(values: Sequence[np.ndarray]) -> Finding:
        claim: ClaimKind = direction
        found = [paired(of_layer, claim=claim) for of_layer in values]
        verdicts = [comparison.verdict for comparison in found]
        worst = next((v for v in ("fails", "undecided") if v in verdicts), "holds")
        return Finding.of(found[verdicts.index(worst)], layer=float(verdicts.index(worst) + 1))

    return check


def is_small(deviations: np.ndarray) -> Finding:
    """Is the mean deviation equivalent to 0?"""
    return Finding.of(paired(deviations, claim="equivalent", margin=TOLERANCE), margin=TOLERANCE)


def tables(observations: Observations, language: Language) -> list[Table]:
    """Variance of each layer in each mode, late in training."""
    layers = range(num_layers(observations))
    rows = []
    for arm, words in ARMS.items():
        for probe, mode in PROBES.items():
            if arm == "without" and probe == "noisy":
                continue
            cells = [
                show.stacked(show.number_interval(mean_interval(late(observations, arm, probe, layer))))
                for layer in layers
            ]
            rows.append([words.of(language), mode.of(language), *cells])
    title = Words(
        "Variance of activations over batch and units, mean over the second half of the epochs and over seeds with its "
        "95% t interval",
        "激活值在批量与单元上的方差：后一半轮数与各种子的均值，及 95% t 区间",
    )
    heads = [Words("", ""), Words("mode", "模式")]
    heads += [Words(f"hidden layer {i + 1}", f"第 {i + 1} 隐藏层") for i in layers]
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Variances late in training, and ratios between the arms (geometric means over seeds)."""
    layers = range(num_layers(observations))
    return {
        "rates": written(tuple(observations["layers"]["rate"])),
        "layers": [
            {
                "with": {probe: mean_interval(late(observations, "with", probe, i)) for probe in PROBES},
                "without": mean_interval(late(observations, "without", "quiet", i)),
                "quiet_ratio": math.exp(log_ratios(observations, "quiet")[i].mean()),
                "noisy_ratio": math.exp(log_ratios(observations, "noisy")[i].mean()),
            }
            for i in layers
        ],
        "tolerance": TOLERANCE,
        "num_broken": {arm: len(seeds) for arm, seeds in broken_seeds(observations).items()},
        "steady": steady_ratios(observations),
    }


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """A panel for each hidden layer: the variance by epoch, in both arms and all modes."""
    alt_panels = [_panel(observations, layer, language) for layer in range(num_layers(observations))]
    joined = alt_panels[0]
    for panel in alt_panels[1:]:
        joined = joined | panel
    return joined


def _panel(observations: Observations, layer: int, language: Language) -> altair.LayerChart:
    curves = observations["curves"]
    shown = []
    for arm, probe in (("with", "noisy"), ("with", "activation"), ("with", "quiet"), ("without", "quiet")):
        rows = curves[(curves["arm"] == arm) & (curves["metric"] == f"{probe}_variance_{layer}")]
        name = f"{ARMS[arm].of(language)}{Words(': ', '：').of(language)}{PROBES[probe].of(language)}"
        shown.append(rows.assign(arm=name, metric="variance"))
    return plots.curve_plot(
        pd.concat(shown),
        "variance",
        value_title=Words("variance over batch and units", "批量与单元上的方差").of(language),
        epoch_title=Words("epoch", "轮数").of(language),
        title=Words(f"Hidden layer {layer + 1}", f"第 {layer + 1} 隐藏层").of(language),
        language=language,
        width=280,
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="the-mask-adds-variance",
            kind="proof",
            statement=Words(
                "At fixed weights, dropout with rate p turns the variance v of activations with mean μ into "
                "v/(1 - p) + μ²p/(1 - p).",
                "权重固定时，概率为 p 的暂退法把均值为 μ 的激活值的方差 v 变成 v/(1 - p) + μ²p/(1 - p)。",
            ),
            check=is_identity,
            subject=lambda o: variance_after,
            falsehood=lambda o: without_the_mean,
        ),
        Claim(
            name="masks-agree",
            kind="property",
            statement=Words(
                "The masks that the engine draws have that variance.",
                "引擎抽出的掩码确有这个方差。",
            ),
            check=agrees_with_masks,
            subject=lambda o: variance_after,
            falsehood=lambda o: without_the_mean,
        ),
        Claim(
            name="trained-networks-agree",
            kind="experiment",
            statement=Words(
                "In the trained networks, the variance after the mask is within one per cent of what the identity "
                "makes of mean and variance before it.",
                "在训练中的网络里，掩码之后的方差与用掩码之前的均值和方差算出的值相差不到百分之一。",
            ),
            check=is_small,
            subject=lambda o: o.runs.values("deviation", "with"),
            falsehood=lambda o: recentred(o.runs.values("deviation", "with"), 0.05),
        ),
        Claim(
            name="the-next-layer-sees-more-variance",
            kind="experiment",
            statement=Words(
                "In training, what every hidden layer passes on has a higher variance with dropout than without.",
                "训练时，每个隐藏层传给下一层的值，用暂退法时方差都更大。",
            ),
            check=in_every_layer("greater"),
            subject=lambda o: log_ratios(o, "noisy"),
            falsehood=lambda o: [recentred(values, -0.3) for values in log_ratios(o, "noisy")],
        ),
        Claim(
            name="learned-variance-is-lower",
            kind="experiment",
            statement=Words(
                "In evaluation, the variance that was learned is lower with dropout, in every hidden layer.",
                "评估时，学到的方差在每个隐藏层都因暂退法而更小。",
            ),
            check=in_every_layer("less"),
            subject=lambda o: log_ratios(o, "quiet"),
            falsehood=lambda o: [recentred(values, 0.3) for values in log_ratios(o, "quiet")],
        ),
    ),
    circulated=(
        Circulated(
            Words(
                "With dropout the variance becomes smaller, since strong units fall and weak ones rise.",
                "用了暂退法，强神经元的激活值降低，弱神经元的升高，方差因此变小。",
            ),
            {"holds": "incomplete", "fails": "wrong", "undecided": "wrong"},
            by="learned-variance-is-lower",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5,0.5",
)
