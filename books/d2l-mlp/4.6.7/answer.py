"""4.6.7 Another noise for every layer: does any beat dropout on Fashion-MNIST with a fixed architecture?

Seven techniques, two of them our own, each with a strength chosen on validation images; then fresh seeds and one look
at the test images. All see the same first weights and the same order of examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import beats, greater
from mlplab.charts import plots, show
from mlplab.engine import draws
from mlplab.engine.noises import KINDS, noise_of
from mlplab.knobs import turn
from mlplab.spec import Noise, Setting
from mlplab.stats import compare_arms, mean_interval
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
# Technique -> its option, the strengths that are tried (the same number for each). Dropout comes first.
TECHNIQUES: dict[str, tuple[str, tuple[float, ...]]] = {
    "dropout": ("rate", RATES),
    "gaussian_dropout": ("rate", RATES),
    "gaussian_noise": ("std", (0.05, 0.1, 0.2, 0.4, 0.8)),
    "layer_moment": ("scale", (0.1, 0.2, 0.5, 1.0, 2.0)),
    "dropconnect": ("rate", RATES),
    "shot_noise": ("scale", (0.05, 0.1, 0.2, 0.4, 0.8)),
    "centred_dropout": ("rate", RATES),
}
RIVALS = tuple(TECHNIQUES)[1:]


def observe(lab: Lab) -> Observations:
    """Choose each technique's strength on validation images; train the chosen ones on fresh seeds."""
    dataset = lab.dataset("fashion-mnist", embedded="digits")
    base = lab.setting(chapter.dropout_comparison(dataset.name))
    grid = tuning_arms(base, lab.choose(quick=slice(0, 5, 2), full=slice(None)))
    first = chapter.FIRST_TUNING_SEED
    tuning_seeds = range(first, first + lab.choose(quick=2, full=3))
    tuned = lab.run(Study(grid, tuning_seeds, dataset))
    chosen = {
        kind: tuned.best("validation_accuracy", arms=[arm.name for arm in grid if arm.levels["kind"] == kind])
        for kind in TECHNIQUES
    }
    setting_of = {arm.name: arm.setting for arm in grid}
    arms = [Arm(kind, setting_of[name]) for kind, name in chosen.items()]
    arms.append(Arm("none", base))
    runs = lab.run(Study(arms, lab.seeds(quick=4, full=20), dataset))
    selection = [
        {
            "kind": arm.levels["kind"],
            "strength": arm.levels["strength"],
            "validation_accuracy": float(tuned.values("validation_accuracy", arm.name).mean()),
            "chosen": arm.name == chosen[arm.levels["kind"]],
            "num_seeds": len(tuning_seeds),
        }
        for arm in grid
    ]
    return lab.observations(runs=runs.frame, selection=pd.DataFrame(selection))


def tuning_arms(base: Setting, which: slice) -> list[Arm]:
    """Each technique at each of its strengths, in both hidden layers alike."""
    return [
        Arm(
            f"{kind}({option}={strength:g})",
            turn(base, noise=(Noise(kind, **{option: strength}),)),
            {"kind": kind, "strength": strength},
        )
        for kind, (option, strengths) in TECHNIQUES.items()
        for strength in strengths[which]
    ]


def accuracies(observations: Observations) -> dict[str, np.ndarray]:
    """Test accuracy of dropout and of its rivals, by seed."""
    return {kind: observations.runs.values("test_accuracy", kind) for kind in TECHNIQUES}


def in_another_world(observations: Observations, kind: str, gain: float) -> dict[str, np.ndarray]:
    """The same spread, in a world where the technique's true gain over dropout is `gain`."""
    values = accuracies(observations)
    differences = values[kind] - values["dropout"]
    return values | {kind: values["dropout"] + differences - differences.mean() + gain}


def dropout_over_none(observations: Observations) -> np.ndarray:
    """Test accuracy of tuned dropout minus that without noise, by seed."""
    return observations.runs.differences("test_accuracy", "dropout", "none")


Moments = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def has_moments(subject: tuple[Noise, Moments]) -> Finding:
    """Draw the noise of the engine 40,000 times on random layers: are mean and variance those of the formulas?

    Every unit's mean and variance are compared in standard errors; the largest of all must be one that chance gives.
    """
    noise, moments = subject
    worst, num = 0.0, 40_000
    for seed in range(3):
        x = draws.noise_normals(seed, 0, 0, (4, 3)).abs() + draws.noise_normals(seed, 1, 0, (1, 3)).abs()
        kind = noise_of([noise], torch.float64)
        assert kind is not None
        drawn = draws.noise_draws(KINDS[noise.kind].draws, seed, 2, 0, (num, 4, 3))
        y = kind(x.expand(num, 4, 3), drawn)
        mean, variance = moments(x)
        off = (y - mean).mean(0) / (y.std(0) / math.sqrt(num))
        squares = (y - mean).square()
        off_variance = (squares.mean(0) - variance) / (squares.std(0) / math.sqrt(num)).clamp(min=1e-12)
        worst = max(worst, off.abs().max().item(), off_variance.abs().max().item())
    # 72 comparisons: the largest of as many normal numbers is above 5 once in 24,000 tries.
    return Finding.true_if(worst < 5, worst_standard_errors=worst)


SHOT, CENTRED, LAYER = (
    Noise("shot_noise", scale=0.4),
    Noise("centred_dropout", rate=0.3),
    Noise("layer_moment", scale=0.5),
)


def shot_moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean x, variance s²|x|."""
    return x, SHOT["scale"] ** 2 * x.abs()


def centred_moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean x, variance (x - μ)²·p/(1 - p), μ the unit's mean over the batch."""
    return x, (x - x.mean(0)).square() * CENTRED["rate"] / (1 - CENTRED["rate"])


def layer_moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean x + sμ, variance s²σ², μ and σ² the layer's own."""
    variance, mean = torch.var_mean(x, correction=0)
    return x + LAYER["scale"] * mean, (LAYER["scale"] ** 2 * variance).expand_as(x)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """What each technique was given and how it ended; then all strengths that were tried."""
    none = mean_interval(observations.runs.values("test_accuracy", "none"))
    comparisons = compare_arms(accuracies(observations), "dropout", claim="greater", margin=MARGIN)
    rows = []
    names = words.group("techniques")
    for kind, (option, _) in TECHNIQUES.items():
        chosen = Noise(kind, **{option: chosen_strength(observations, kind)})
        accuracy = show.percent_interval(mean_interval(observations.runs.values("test_accuracy", kind)))
        versus = show.stacked(show.points_interval(comparisons[kind])) if kind in comparisons else ""
        fit = show.percent(float(observations.runs.values("train_accuracy", kind).mean()))
        rows.append([names[kind], str(chosen), fit, show.stacked(accuracy), versus])
    fit = show.percent(float(observations.runs.values("train_accuracy", "none").mean()))
    rows.append([names["none"], "", fit, show.stacked(show.percent_interval(none)), ""])
    ends = Table(
        words["titles.test-accuracy-mean-over-fresh"],
        (
            words["heads.noise"],
            words["heads.as-chosen"],
            words["heads.training"],
            words["heads.test"],
            words["heads.minus-dropout-points"],
        ),
        rows,
    )
    selection = observations["selection"]
    tried = []
    for kind in TECHNIQUES:
        of_kind = selection[selection["kind"] == kind]
        cells = [
            f"{row['strength']:g}: {validation_text(row['validation_accuracy'], words)}"
            for row in of_kind.to_dict("records")
        ]
        tried.append([names[kind], *cells])
    num = selection["num_seeds"].iloc[0]
    strengths = [words("labels.strength", i=i) for i in range(1, len(tried[0]))]
    choice = Table(
        words("titles.how-strengths-were-chosen-validation", num=num),
        (words["heads.noise"], *strengths),
        tried,
    )
    return [ends, choice]


def validation_text(accuracy: float, words: WordList) -> str:
    """In per cent; or that a run diverged, so that there is no mean."""
    return show.percent(accuracy) if np.isfinite(accuracy) else words["labels.diverged"]


def chosen_strength(observations: Observations, kind: str) -> float:
    """The strength that validation images prefer."""
    selection = observations["selection"]
    return float(selection[(selection["kind"] == kind) & selection["chosen"]]["strength"].iloc[0])


def facts(observations: Observations) -> dict[str, Any]:
    """Accuracies, chosen strengths, and what became of all rivals together; techniques by the engine's names."""
    found = compare_arms(accuracies(observations), "dropout", claim="greater", margin=MARGIN)
    verdicts = {kind: comparison.verdict for kind, comparison in found.items()}
    ahead = max(found, key=lambda kind: found[kind].estimate)
    selection, setting = observations["selection"], observations.settings[-1]
    return {
        "winners": [kind for kind, verdict in verdicts.items() if verdict == "holds"],
        "undecided": [kind for kind, verdict in verdicts.items() if verdict == "undecided"],
        "num_equal": sum(c.equivalence is not None and c.equivalence.holds for c in found.values()),
        "num_worse": sum(c.ci_high is not None and c.ci_high < 0 for c in found.values()),
        "num_rivals": len(RIVALS),
        "num_strengths": int(selection["kind"].value_counts().max()),
        "num_tuning_seeds": int(selection["num_seeds"].iloc[0]),
        "num_weakest": sum(is_weakest(observations, kind) for kind in TECHNIQUES),
        "num_at_edge": sum(is_at_edge(observations, kind) for kind in TECHNIQUES),
        "num_techniques": len(TECHNIQUES),
        "epochs": setting["epochs"],
        "sizes": setting["hidden_sizes"].replace(",", "-"),
        "dropout_rate": chosen_strength(observations, "dropout"),
        "dropout": mean_interval(observations.runs.values("test_accuracy", "dropout")),
        "ahead": ahead,
        "ahead_by": found[ahead],
        "margin": MARGIN,
    }


def is_at_edge(observations: Observations, kind: str) -> bool:
    """Whether the technique's chosen strength is the least or the greatest that was tried."""
    return choice.is_at_edge(chosen_strength(observations, kind), tried_strengths(observations, kind))


def is_weakest(observations: Observations, kind: str) -> bool:
    """Whether the technique's chosen strength is the least that was tried."""
    return chosen_strength(observations, kind) == tried_strengths(observations, kind).min()


def tried_strengths(observations: Observations, kind: str) -> pd.Series:
    """All strengths of a technique that validation images judged."""
    selection = observations["selection"]
    return selection[selection["kind"] == kind]["strength"]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test accuracy of each technique, beside its difference from tuned dropout."""
    labels = words.group("techniques")
    left = plots.interval_plot(
        observations.runs.summary("test_accuracy"),
        value_title=words["titles.test-accuracy"],
        title=words["titles.each-at-its-chosen-strength"],
        labels=labels,
        value_format=".2%",
        notes=words.notes,
        width=250,
    )
    right = plots.difference_plot(
        compare_arms(accuracies(observations), "dropout", claim="greater", margin=MARGIN),
        value_title=words["titles.difference-in-test-accuracy"],
        title=words["titles.minus-tuned-dropout"],
        labels=labels,
        value_format=".1%",
        notes=words.notes,
        width=250,
    )
    return left | right


def _beats_claim(kind: str) -> Claim:
    return Claim(
        name=f"{kind.replace('_', '-')}-beats-dropout",
        kind="experiment",
        check=beats(kind, "dropout", margin=MARGIN),
        subject=accuracies,
        falsehood=lambda o: in_another_world(o, kind, -0.02),
        unit="points",
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        *(_beats_claim(kind) for kind in RIVALS),
        Claim(
            name="dropout-beats-no-noise",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=dropout_over_none,
            falsehood=lambda o: recentred(dropout_over_none(o), -0.02),
            unit="points",
        ),
        Claim(
            name="the-notes-noise-moves-the-mean",
            kind="property",
            check=has_moments,
            subject=lambda o: (LAYER, layer_moments),
            # What noise should do: leave the mean alone.
            falsehood=lambda o: (LAYER, lambda x: (x, layer_moments(x)[1])),
        ),
        Claim(
            name="shot-noise-has-its-moments",
            kind="property",
            check=has_moments,
            subject=lambda o: (SHOT, shot_moments),
            # The variance of multiplicative noise.
            falsehood=lambda o: (SHOT, lambda x: (x, SHOT["scale"] ** 2 * x.square())),
        ),
        Claim(
            name="centred-dropout-has-its-moments",
            kind="property",
            check=has_moments,
            subject=lambda o: (CENTRED, centred_moments),
            # The variance of dropout itself.
            falsehood=lambda o: (
                CENTRED,
                lambda x: (x, x.square() * CENTRED["rate"] / (1 - CENTRED["rate"])),
            ),
        ),
    ),
    circulated=(
        Circulated(
            "compute-each-layers-variance-and",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="layer-moment-beats-dropout",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=128,128",
)
