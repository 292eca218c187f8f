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

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent
from mlplab.charts import plots, show
from mlplab.engine import draws
from mlplab.engine.noises import noise_of
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.spec import Noise
from mlplab.stats import mean_interval, paired
from mlplab.study import Study, factorial

from .. import chapter

if TYPE_CHECKING:
    import altair

    from mlplab.stats import ClaimKind

Identity = Callable[[Any, Any, Any], Any]

ARMS = (
    "with",
    "without",
)
# Probe -> what it measures. In the arm without dropout, before and after the mask are the same.
PROBES = (
    "activation",
    "noisy",
    "quiet",
)
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


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Variance of each layer in each mode, late in training."""
    layers = range(num_layers(observations))
    rows = []
    for arm, label in words.group("arms").items():
        for probe, mode in words.group("probes").items():
            if arm == "without" and probe == "noisy":
                continue
            cells = [
                show.stacked(show.number_interval(mean_interval(late(observations, arm, probe, layer))))
                for layer in layers
            ]
            rows.append([label, mode, *cells])
    title = words["titles.variance-activations-over-batch-and"]
    heads = ["", words["heads.mode"]]
    heads += [words("labels.hidden-layer", i=i + 1) for i in layers]
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


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """A panel for each hidden layer: the variance by epoch, in both arms and all modes."""
    alt_panels = [_panel(observations, layer, words) for layer in range(num_layers(observations))]
    joined = alt_panels[0]
    for panel in alt_panels[1:]:
        joined = joined | panel
    return joined


def _panel(observations: Observations, layer: int, words: WordList) -> altair.LayerChart:
    curves = observations["curves"]
    shown = []
    for arm, probe in (("with", "noisy"), ("with", "activation"), ("with", "quiet"), ("without", "quiet")):
        rows = curves[(curves["arm"] == arm) & (curves["metric"] == f"{probe}_variance_{layer}")]
        name = f"{words.group('arms')[arm]}{words['labels.colon']}{words.group('probes')[probe]}"
        shown.append(rows.assign(arm=name, metric="variance"))
    return plots.curve_plot(
        pd.concat(shown),
        "variance",
        value_title=words["titles.variance-over-batch-and-units"],
        epoch_title=words["titles.epoch"],
        title=words("titles.hidden-layer", layer=layer + 1),
        notes=words.notes,
        width=280,
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="the-mask-adds-variance",
            kind="proof",
            check=is_identity,
            subject=lambda o: variance_after,
            falsehood=lambda o: without_the_mean,
        ),
        Claim(
            name="masks-agree",
            kind="property",
            check=agrees_with_masks,
            subject=lambda o: variance_after,
            falsehood=lambda o: without_the_mean,
        ),
        Claim(
            name="trained-networks-agree",
            kind="experiment",
            check=equivalent(margin=TOLERANCE),
            subject=lambda o: o.runs.values("deviation", "with"),
            falsehood=lambda o: recentred(o.runs.values("deviation", "with"), 0.05),
        ),
        Claim(
            name="the-next-layer-sees-more-variance",
            kind="experiment",
            check=in_every_layer("greater"),
            subject=lambda o: log_ratios(o, "noisy"),
            falsehood=lambda o: [recentred(values, -0.3) for values in log_ratios(o, "noisy")],
            unit="log",
        ),
        Claim(
            name="learned-variance-is-lower",
            kind="experiment",
            check=in_every_layer("less"),
            subject=lambda o: log_ratios(o, "quiet"),
            falsehood=lambda o: [recentred(values, 0.3) for values in log_ratios(o, "quiet")],
            unit="log",
        ),
    ),
    circulated=(
        Circulated(
            "with-dropout-variance-becomes-smaller",
            {"holds": "incomplete", "fails": "wrong", "undecided": "wrong"},
            by="learned-variance-is-lower",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5,0.5",
)
