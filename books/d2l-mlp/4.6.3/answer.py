"""4.6.3 What is the variance of each hidden layer's activations, with and without dropout, and how does it change?

Mean and variance over batch and units are recorded from the first weights on: before the mask, after it, and in
evaluation. What the mask itself does at fixed weights is an identity; what the weights learn under it is an experiment.
Variances are positive and span powers of ten: they are compared by their logarithms, and told as ratios.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import sympy
import torch

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.engine import draws, reference
from mlplab.engine.losses import loss_of
from mlplab.engine.noises import noise_of
from mlplab.engine.schedules import rate_factor
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.spec import Noise, Run, Setting
from mlplab.stats import mean_interval, paired, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

    from mlplab.stats import ClaimKind, Interval

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
# The section's training with a rate that falls to 0, and at its constant rate.
FALLING, SECTION = "falling", "section"
# Arms of the same seeds from first weights that are a millionth larger.
NUDGED = "nudged"
NUM_NUDGED = 3
# Updates of the first epoch before which the layers are looked at.
STEPS = (0, 5, 10, 20, 30, 45, 60, 80, 100, 120, 140, 160)
# In trained networks, deviations of less than 1 per cent from the identity are what a last batch leaves.
TOLERANCE = 0.01
# Variances that differ by less than a tenth do not differ in a way that matters.
MARGIN = math.log(1.1)
# "It rises" is said of a variance that becomes ten times as large.
LEAST_RISE = math.log(10)
# Cross-entropy of a guess among ten classes, in nats.
GUESS = math.log(10)
# Below it, the variance of a layer that is as good as dead: 0 has no logarithm.
DEAD = 1e-12


def observe(lab: Lab) -> Observations:
    """Train the section's network with and without dropout, and watch the moments of its activations."""
    rates = lab.take("dropout", chapter.DROPOUT_SETTING)
    if not all(rates):
        raise InvalidInput(
            "--set dropout", "must be above 0 in each layer", written(rates), "Try dropout=0.5,0.5"
        )
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    probes = ("activations", "quiet_activations")
    section = lab.setting(turn(chapter.section_setting(dataset), probes=probes))
    falling = chapter.read_quietly(section)
    seeds = lab.seeds(quick=4, full=8)
    some, nudges = seeds[: lab.choose(quick=1, full=3)], seeds[: lab.choose(quick=0, full=NUM_NUDGED)]
    studies = [Study(arms(FALLING, falling, rates), seeds, dataset)]
    studies += [Study(arms(SECTION, section, rates), some, dataset)]
    if nudges and (nudged := chapter.nudged(falling)) is not None:
        studies.append(Study(arms(f"{NUDGED} {FALLING}", nudged, rates), nudges, dataset))
    results = [lab.run(study) for study in studies]
    frames = []
    for found in results:
        curves = found.curves[found.curves["metric"].str.contains(r"_(?:mean|variance)_\d+$")]
        frames.append(found.frame.merge(by_run(curves, rates), on=["arm", "seed"], how="left"))
    points = [results[0].curves, first_updates(studies[0], dataset)]
    steps_per_epoch = len(batches(falling, 0, dataset))
    points[0] = points[0].assign(epoch=points[0]["epoch"] * steps_per_epoch)
    layers = pd.DataFrame({"layer": range(len(rates)), "rate": rates})
    given = pd.DataFrame([{"steps_per_epoch": steps_per_epoch}])
    held = pd.concat(points)
    held = held[held["metric"].str.contains("variance")]
    starts = held[held["epoch"] == 0].pivot_table(index=["arm", "seed"], columns="metric", values="value")
    runs = pd.concat(frames).merge(starts.add_suffix("_start").reset_index(), on=["arm", "seed"], how="left")
    runs["is_broken"] = ~(runs["train_loss"] <= GUESS)
    # What these runs came to is published by 4.6.1, which trains them unwatched. To be watched changes the rounding,
    # and where training is chaotic that changes the end.
    runs = runs[[name for name in runs.columns if not name.endswith(("_loss", "_accuracy"))]]
    return lab.observations(runs=runs, curves=geometric_means(held), layers=layers, given=given)


def arms(regime: str, base: Setting, rates: Sequence[float]) -> list[Arm]:
    """With dropout and without."""
    return [
        Arm(f"{regime} {name}", turn(base, dropout=one))
        for name, one in zip(ARMS, (rates, (0.0,)), strict=True)
    ]


def first_updates(study: Study, dataset: Dataset) -> pd.DataFrame:
    """Each run of a study over its first epoch once more, in plain loops that stop at STEPS to look: as
    `Results.curves`, with the number of updates in place of the epoch.

    The engine looks at the end of epochs, and by the end of the first the variance has found its level.
    """
    rows = []
    for run in study.runs:
        arm = study.arm_of(run).name
        for step, moments in at_steps(run, dataset):
            rows += [
                {"arm": arm, "seed": run.seed, "epoch": step, "metric": metric, "value": value}
                for metric, value in moments.items()
            ]
    return pd.DataFrame(rows)


def at_steps(
    run: Run, dataset: Dataset, steps: Collection[int] = STEPS
) -> Iterator[tuple[int, dict[str, float]]]:
    """The moments of a run's hidden layers before these updates of its first epoch."""
    setting, optimizer = run.setting, run.setting.optimizer
    model = reference.first_model(run, dataset)
    memory = [reference.Memory(parameter) for parameter in model.trained]
    x, y, _ = reference.tensors(dataset.train, reference.dtype_of(setting))
    first_epoch = batches(setting, run.seed, dataset)
    for step, rows in enumerate(first_epoch):
        seen: dict[str, torch.Tensor] = {}
        outputs = reference.forward(
            x[rows], model, setting, reference.noise_at(setting, run.seed, step), seen
        )
        loss = loss_of(setting.training)(outputs[None], y[rows][None], None)[0]
        gradients = torch.autograd.grad(loss, model.trained)
        if step in steps:
            yield (
                step,
                reference.probe(model, setting, seen, gradients)
                | reference.quiet_moments(model, setting, dataset),
            )
        coefficient = reference.clip_coefficient(gradients, optimizer.clip_norm)
        rate = optimizer.learning_rate * rate_factor(
            optimizer.schedule, step, len(first_epoch), setting.training.epochs
        )
        for index, (parameter, gradient) in enumerate(zip(model.trained, gradients, strict=True)):
            penalty = setting.penalty if index < len(model.weights) else None
            reference.update(parameter, coefficient * gradient, memory[index], optimizer, penalty, step, rate)
        if step >= max(steps):
            return


def batches(setting: Setting, seed: int, dataset: Dataset) -> list[torch.Tensor]:
    """The rows of each batch of a run's first epoch."""
    training, num = setting.training, dataset.train.num_examples
    order = draws.epoch_order(seed, 0, num)
    return reference.batches_of(order, training.batch_size or num, training.drop_last)


def by_run(curves: pd.DataFrame, rates: Sequence[float]) -> pd.DataFrame:
    """Of each run, every variance after the first epoch and its geometric mean over the second half of the epochs,
    and how far the identity was off there.

    `deviation` is the mean over these epochs and the layers of measured variance after the mask over the predicted
    one, minus 1; 0 without dropout.
    """
    table = curves.pivot_table(index=["arm", "seed", "epoch"], columns="metric", values="value")
    epochs = table.index.get_level_values("epoch")
    late = table[2 * epochs > epochs.max()]
    off = {}
    for layer, rate in enumerate(rates):
        p = np.where(late.index.get_level_values("arm").str.endswith(" with"), rate, 0.0)
        predicted = variance_after(p, late[f"activation_variance_{layer}"], late[f"activation_mean_{layer}"])
        off[layer] = late[f"noisy_variance_{layer}"] / predicted - 1
    by = ["arm", "seed"]
    deviation = pd.DataFrame(off).mean(axis=1).groupby(by).mean().rename("deviation")
    variances = [name for name in map(str, table.columns) if "variance" in name]
    # A layer that is dead has no logarithm; its variance stays 0.
    geometric = np.exp(np.log(late[variances].clip(lower=DEAD)).groupby(by).mean())
    first = table[variances][epochs == 1].droplevel("epoch").add_suffix("_first")
    return pd.concat([geometric, first, deviation], axis=1).reset_index()


def geometric_means(points: pd.DataFrame) -> pd.DataFrame:
    """`plots.mean_curves` of logarithms, told as what they are logarithms of: no interval goes below 0."""
    curves = plots.mean_curves(points.assign(value=np.log(points["value"].clip(lower=DEAD))))
    return curves.assign(
        **{name: np.exp(curves[name].astype(float)) for name in ("estimate", "ci_low", "ci_high")}
    )


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


def logs(
    observations: Observations, arm: str, probe: str, layer: int, when: str = "", regime: str = FALLING
) -> np.ndarray:
    """Logarithm of a variance by seed: over the second half of the epochs, after the `first`, or at the `start`."""
    name = f"{probe}_variance_{layer}" + (f"_{when}" if when else "")
    return np.log(np.maximum(observations.runs.values(name, f"{regime} {arm}"), DEAD))


def log_ratios(observations: Observations, probe: str, regime: str = FALLING) -> list[np.ndarray]:
    """Logarithm of the variance with dropout over that without, late in training, by layer and seed."""
    return [
        logs(observations, "with", probe, layer, regime=regime)
        - logs(observations, "without", probe, layer, regime=regime)
        for layer in range(num_layers(observations))
    ]


def rises(observations: Observations) -> list[np.ndarray]:
    """Logarithm of the variance late in training over that of the first weights, by arm and layer, by seed."""
    return [
        logs(observations, arm, "quiet", layer) - logs(observations, arm, "quiet", layer, "start")
        for arm in ARMS
        for layer in range(num_layers(observations))
    ]


def later_change(observations: Observations, arm: str, layer: int) -> np.ndarray:
    """Logarithm of the variance late in training over that after the first epoch, by seed."""
    late, first = (logs(observations, arm, "quiet", layer, when) for when in ("", "first"))
    return late - first


def geometric(logarithms: np.ndarray) -> Interval:
    """The geometric mean with its interval, which is that of the logarithms: it ends above 0."""
    found = mean_interval(logarithms)
    bounds = {
        name: None if bound is None else math.exp(bound)
        for name, bound in (("ci_low", found.ci_low), ("ci_high", found.ci_high))
    }
    return replace(found, estimate=math.exp(found.estimate), **bounds)


def num_broken(observations: Observations, regime: str) -> dict[str, int]:
    """By arm, how many networks diverged or ended worse than a guess: with a training loss above ln 10."""
    return {arm: int(observations.runs.values("is_broken", f"{regime} {arm}").sum()) for arm in ARMS}


def moved(observations: Observations) -> float | None:
    """By which factor a millionth of the first weights moves a late variance, at most, where the rate falls to 0; None
    where none was nudged."""
    moves = [0.0]
    for arm in ARMS:
        if f"{NUDGED} {FALLING} {arm}" not in observations.runs.arms:
            return None
        for layer in range(num_layers(observations)):
            nudged = logs(observations, arm, "quiet", layer, regime=f"{NUDGED} {FALLING}")
            moves.append(choice.most_moved(nudged, logs(observations, arm, "quiet", layer)))
    return math.exp(max(moves))


def in_every_layer(
    direction: Literal["greater", "less"], threshold: float = 0.0, margin: float | None = None
) -> Callable[[Sequence[np.ndarray]], Finding]:
    """A check: does it hold in every layer? It fails if it fails in one; the layer that decides is told."""

    def check(values: Sequence[np.ndarray]) -> Finding:
        claim: ClaimKind = direction
        found = [paired(of_layer, claim=claim, threshold=threshold, margin=margin) for of_layer in values]
        verdicts = [comparison.verdict for comparison in found]
        worst = next((v for v in ("fails", "undecided") if v in verdicts), "holds")
        layer = verdicts.index(worst)
        if worst == "holds":  # the one that is nearest to the threshold
            layer = int(np.argmin([abs(comparison.estimate - threshold) for comparison in found]))
        return Finding.of(found[layer], layer=float(layer + 1))

    return check


def of_one_activation(p: Any, h: Any) -> Any:
    """Variance of one activation h under the mask."""
    return h**2 * p / (1 - p)


def less_its_mean(p: Any, h: Any) -> Any:
    """As circulates: the mean is subtracted, where its square belongs."""
    return h**2 / (1 - p) - h


def is_variance_of_one(formula: Callable[[Any, Any], Any]) -> Finding:
    """Is it E h'² - (E h')², where h' is h/(1 - p) with probability 1 - p and 0 otherwise?"""
    p, h = sympy.symbols("p h", real=True)
    variance = (1 - p) * (h / (1 - p)) ** 2 - ((1 - p) * h / (1 - p)) ** 2
    rest = sympy.simplify(variance - formula(p, h))
    return Finding.true_if(rest == 0, detail=f"variance minus formula = {rest}")


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Variance of each layer in each mode, late in training; over time; and at the section's constant rate."""
    layers = range(num_layers(observations))
    heads = [words("labels.hidden-layer", i=i + 1) for i in layers]
    rows = []
    for arm, label in words.group("arms").items():
        for probe, mode in words.group("probes").items():
            if arm == "without" and probe != "quiet":  # there is no mask to be before
                continue
            cells = [geometric(logs(observations, arm, probe, layer)) for layer in layers]
            rows.append([label, mode, *(show.stacked(show.number_interval(cell)) for cell in cells)])
    late = Table(words["titles.late"], ["", words["heads.mode"], *heads], rows)
    times = words.group("times")
    rows = [
        [heads[layer], label]
        + [
            show.number(
                geometric(logs(observations, arm, "quiet", layer, "" if when == "late" else when)).estimate
            )
            for when in times
        ]
        for layer in layers
        for arm, label in words.group("arms").items()
    ]
    over_time = Table(words["titles.over-time"], ["", "", *times.values()], rows)
    rows = []
    for probe in ("noisy", "quiet"):
        for regime, label in words.group("regimes").items():
            cells = [
                show.stacked(show.ratio_interval(mean_interval(of_layer)))
                for of_layer in log_ratios(observations, probe, regime)
            ]
            num = len(log_ratios(observations, probe, regime)[0])
            rows.append([words.group("probes")[probe], f"{label} ({num})", *cells])
    ratios = Table(words["titles.ratios"], [words["heads.mode"], words["heads.rate"], *heads], rows)
    return [over_time, late, ratios]


def facts(observations: Observations) -> dict[str, Any]:
    """Variances over time, and ratios between the arms (geometric means over seeds)."""
    layers = range(num_layers(observations))

    def mean(*where: Any, **options: Any) -> float:
        return math.exp(float(logs(observations, *where, **options).mean()))

    return {
        "rates": written(tuple(observations["layers"]["rate"])),
        "layers": [
            {
                arm: {
                    when: mean(arm, "quiet", i, name)
                    for when, name in (("start", "start"), ("first", "first"), ("late", ""))
                }
                for arm in ARMS
            }
            | {
                "quiet_ratio": math.exp(log_ratios(observations, "quiet")[i].mean()),
                "noisy_ratio": math.exp(log_ratios(observations, "noisy")[i].mean()),
                "section_quiet": math.exp(log_ratios(observations, "quiet", SECTION)[i].mean()),
                "section_noisy": math.exp(log_ratios(observations, "noisy", SECTION)[i].mean()),
                "rise": {
                    arm: mean(arm, "quiet", i, "first") / mean(arm, "quiet", i, "start") for arm in ARMS
                },
            }
            for i in layers
        ],
        "epochs": int(observations.settings[0]["epochs"]),
        "falling_seeds": len(logs(observations, "with", "quiet", 0)),
        "section_seeds": len(logs(observations, "with", "quiet", 0, regime=SECTION)),
        "tolerance": TOLERANCE,
        "margin": math.exp(MARGIN) - 1,
        "rise": math.exp(LEAST_RISE),
        "num_broken": num_broken(observations, SECTION),
        "moved": moved(observations),
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """After one run of each arm: ratios of variances with dropout and without, before the mask and after it."""
    names = {"quiet": ("first", "second"), "noisy": ("first_masked", "second_masked")}
    found = {
        name: prediction_interval(ratios)
        for probe, of_probe in names.items()
        for name, ratios in zip(of_probe, log_ratios(observations, probe), strict=True)
    }
    return {name: (math.exp(low), math.exp(high)) for name, (low, high) in found.items()}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """A panel for each hidden layer: the variance from the first weights on, in both arms and both modes."""
    panels = [_panel(observations, layer, words) for layer in range(num_layers(observations))]
    joined = panels[0]
    for panel in panels[1:]:
        joined = joined | panel
    return joined


def _panel(observations: Observations, layer: int, words: WordList) -> altair.LayerChart:
    curves = observations["curves"]
    shown = []
    for arm, probe in (("with", "noisy"), ("with", "quiet"), ("without", "quiet")):
        rows = curves[
            (curves["arm"] == f"{FALLING} {arm}") & (curves["metric"] == f"{probe}_variance_{layer}")
        ]
        name = f"{words.group('arms')[arm]}{words['labels.colon']}{words.group('probes')[probe]}"
        shown.append(rows.assign(arm=name, metric="variance"))
    return plots.curve_plot(
        pd.concat(shown),
        "variance",
        value_title=words["titles.variance-over-batch-and-units"],
        epoch_title=words["titles.updates"],
        title=words("titles.hidden-layer", layer=layer + 1),
        log_scale=True,
        notes=words.notes,
        width=300,
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="one-activation-varies",
            kind="proof",
            check=is_variance_of_one,
            subject=lambda o: of_one_activation,
            falsehood=lambda o: less_its_mean,
        ),
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
            subject=lambda o: o.runs.values("deviation", f"{FALLING} with"),
            falsehood=lambda o: recentred(o.runs.values("deviation", f"{FALLING} with"), 2 * TOLERANCE),
        ),
        Claim(
            name="the-variance-rises",
            kind="experiment",
            check=in_every_layer("greater", LEAST_RISE, MARGIN),
            subject=rises,
            falsehood=lambda o: [recentred(values, LEAST_RISE - MARGIN) for values in rises(o)],
            unit="log",
        ),
        Claim(
            name="then-the-first-layer-falls-with-dropout",
            kind="experiment",
            check=less(margin=MARGIN),
            subject=lambda o: later_change(o, "with", 0),
            falsehood=lambda o: recentred(later_change(o, "with", 0), 0.0),
            unit="log",
            post_hoc=True,
        ),
        Claim(
            name="learned-variance-is-lower",
            kind="experiment",
            check=in_every_layer("less", margin=MARGIN),
            subject=lambda o: log_ratios(o, "quiet"),
            falsehood=lambda o: [recentred(values, 0.0) for values in log_ratios(o, "quiet")],
            unit="log",
        ),
        Claim(
            name="the-next-layer-sees-more-variance",
            kind="experiment",
            check=in_every_layer("greater", margin=MARGIN),
            subject=lambda o: log_ratios(o, "noisy"),
            falsehood=lambda o: [recentred(values, 0.0) for values in log_ratios(o, "noisy")],
            unit="log",
        ),
        Claim(
            name="the-last-layer-passes-on-more",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: log_ratios(o, "noisy")[-1],
            falsehood=lambda o: recentred(log_ratios(o, "noisy")[-1], 0.0),
            unit="log",
        ),
    ),
    circulated=(
        Circulated(
            "with-dropout-variance-becomes-smaller",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="learned-variance-is-lower",
        ),
        Circulated(
            "one-activation-less-its-mean",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="one-activation-varies",
            source="datawhale",
        ),
        Circulated("a-dropped-one-shows-it", "misread", source="datawhale"),
        Circulated(
            "the-variance-increases",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="the-mask-adds-variance",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5,0.5",
)
