"""4.6.7 Another noise for every layer: does any beat dropout on Fashion-MNIST with a fixed architecture?

Seven techniques, two of them our own, each at strengths that validation images chose; then fresh seeds. On all images,
as the section trains, there is little for any noise to do. So they are compared where the network overfits, too: on few
images, in test loss, each layer with a strength of its own. All see the same first weights and the same order of
examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import beats, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.engine import draws
from mlplab.engine.noises import KINDS, noise_of
from mlplab.knobs import turn, value_of, written
from mlplab.rng import Stream
from mlplab.spec import Noise, Setting
from mlplab.stats import compare_arms, mean_interval, paired, prediction_interval, winner_beats_baseline
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

Strengths = tuple[float, ...]

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
# Technique -> its option, the strengths that are tried on all images (as many for each). Dropout comes first.
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
# Of the test loss on few images, as in 4.6.5 and 4.6.6: less does not matter here.
LOSS_MARGIN = 0.03
# Of accuracy on few images: the draw of the images moves it by half a point. Less than a point does not matter here.
ACCURACY_MARGIN = 0.01
# Noise of activations. DropConnect draws a number for each weight, and exercise 4.6.6 tries it on few images.
FEW_TECHNIQUES = tuple(kind for kind in TECHNIQUES if kind != "dropconnect")
FEW_RIVALS = FEW_TECHNIQUES[1:]
# What a strength can be on few images, in each layer: every search goes on until its best has worse ones on all sides.
FEW_RATES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
FEW_SCALES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
NUDGED = "nudged"
NUM_NUDGED = 3


def observe(lab: Lab) -> Observations:
    """On all images and on few: choose each technique's strength on validation images, train the chosen anew."""
    dataset = lab.dataset("fashion-mnist", embedded="digits")
    few, tried, sizes = few_images(lab, dataset, lab.seeds(quick=2, full=12))
    runs, selection = all_images(lab, dataset, lab.seeds(quick=2, full=20))
    return lab.observations(runs=runs, selection=selection, few=few, tried=tried, sizes=sizes)


def all_images(lab: Lab, dataset: Dataset, seeds: range) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs on all images, each technique at one strength for both layers, and how that was chosen."""
    base = lab.setting(chapter.dropout_comparison(dataset.name))
    grid = tuning_arms(base, lab.choose(quick=slice(0, 4, 2), full=slice(None)))
    first = chapter.FIRST_TUNING_SEED
    tuning_seeds = range(first, first + lab.choose(quick=1, full=3))
    tuned = lab.run(Study(grid, tuning_seeds, dataset))
    chosen = {
        kind: tuned.best("validation_accuracy", arms=[arm.name for arm in grid if arm.levels["kind"] == kind])
        for kind in TECHNIQUES
    }
    setting_of = {arm.name: arm.setting for arm in grid}
    arms = [Arm(kind, setting_of[name]) for kind, name in chosen.items()]
    arms.append(Arm("none", base))
    runs = lab.run(Study(arms, seeds, dataset))
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
    return runs.frame, pd.DataFrame(selection)


def tuning_arms(base: Setting, which: slice) -> list[Arm]:
    """Each technique at each of its strengths, in both hidden layers alike."""
    return [
        Arm(
            f"{kind}({option}={strength:g})",
            noisy(base, kind, (strength,)),
            {"kind": kind, "strength": strength},
        )
        for kind, (option, strengths) in TECHNIQUES.items()
        for strength in strengths[which]
    ]


def noisy(base: Setting, kind: str, strengths: Strengths) -> Setting:
    """The network with one kind of noise, at a strength for each hidden layer or at one for all."""
    option, _ = TECHNIQUES[kind]
    if len(set(strengths)) == 1:  # said once, so that other answers' runs are the same
        strengths = strengths[:1]
    return turn(base, noise=tuple(Noise(kind, **{option: strength}) for strength in strengths))


def few_images(lab: Lab, dataset: Dataset, seeds: range) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """On few images, with a strength for each layer: runs, the searches for strengths, and numbers of images."""
    setting = chapter.few_images_setting(dataset, epochs=lab.choose(quick=30, full=80))
    base = lab.setting(turn(setting, **lab.choose(quick={"batch_size": 30}, full={})))
    problem = chapter.few_images(dataset)
    first = chapter.FIRST_TUNING_SEED
    tuning_seeds = range(first, first + lab.choose(quick=1, full=2))
    searches = searched(lab, base, problem, tuning_seeds)
    arms = [Arm("none", base)]
    arms += [Arm(kind, noisy(base, kind, chosen)) for kind, (chosen, _) in searches.items()]
    given = value_of(chapter.DROPOUT_SETTING, "dropout")
    if len(given) == len(base.model.hidden_sizes):
        arms.append(Arm("section", turn(base, dropout=given)))
    studies = {"": Study(arms, seeds, problem)}
    moved = [Arm(arm.name, nudged) for arm in arms if (nudged := chapter.nudged(arm.setting)) is not None]
    if moved and lab.choose(quick=False, full=True):
        studies[NUDGED] = Study(moved, seeds[:NUM_NUDGED], problem)
    runs = pd.concat([lab.run(study).frame.assign(series=series) for series, study in studies.items()])
    columns = [
        "series",
        "arm",
        "seed",
        "digest",
        "status",
        "train_loss",
        "test_loss",
        "test_accuracy",
        "seconds",
    ]
    tried = [
        {
            "kind": kind,
            "strengths": written(place),
            "validation_loss": loss,
            "is_chosen": place == chosen,
            "layers_at_edge": sum(choice.is_at_edge(strength, ladder_of(lab, kind)) for strength in place),
        }
        for kind, (chosen, found) in searches.items()
        for place, loss in found.items()
    ]
    sizes = {part: held.num_examples for part, held in problem(0).parts.items()}
    about = sizes | {"num_tuning": len(tuning_seeds), "epochs": base.training.epochs}
    return runs[columns], pd.DataFrame(tried), pd.DataFrame([about])


def ladder_of(lab: Lab, kind: str) -> tuple[float, ...]:
    """What a technique's strength in one layer can be on few images. A quick look takes one and does not search."""
    ladder = FEW_RATES if TECHNIQUES[kind][0] == "rate" else FEW_SCALES
    middle = len(ladder) // 2
    return ladder[lab.choose(quick=slice(middle, middle + 1), full=slice(None))]


def searched(
    lab: Lab, base: Setting, problem: Callable[[int], Dataset], seeds: range
) -> dict[str, tuple[Strengths, dict[Strengths, float]]]:
    """For each technique the strengths with the lowest mean loss on validation images, and all that were tried: first
    alike in all layers, then each layer's own. Every technique is tried at as many places."""
    layers = len(base.model.hidden_sizes)

    def losses(kind: str, places: Sequence[Strengths]) -> list[float]:
        grid = [Arm(written(place), noisy(base, kind, place)) for place in places]
        frame = lab.run(Study(grid, seeds, problem)).frame
        by_arm = frame.groupby("arm")["validation_loss"].agg(lambda column: column.to_numpy().mean())
        return [float(by_arm[arm.name]) for arm in grid]

    def search(
        kind: str, start: Strengths, known: dict[Strengths, float], at_least: int = 0
    ) -> tuple[Strengths, dict[Strengths, float]]:
        ladder = ladder_of(lab, kind)
        rungs = tuple(map(ladder.index, start))
        return choice.settled([ladder] * layers, rungs, partial(losses, kind), known=known, at_least=at_least)

    searches = {}
    for kind in FEW_TECHNIQUES:
        ladder = ladder_of(lab, kind)
        (alike,), along = choice.settled(
            [ladder],
            (len(ladder) // 2,),
            lambda places, kind=kind: losses(kind, [place * layers for place in places]),
        )
        known = {place * layers: loss for place, loss in along.items()}
        searches[kind] = search(kind, (alike,) * layers, known)
    while len(nums := {len(tried) for _, tried in searches.values()}) > 1:
        searches = {kind: search(kind, *found, at_least=max(nums)) for kind, found in searches.items()}
    return searches


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


def on_few(observations: Observations, arm: str, metric: str = "test_loss", series: str = "") -> np.ndarray:
    """A metric of an arm on few images, by seed; a run that diverged counts as one that guesses."""
    table = observations["few"]
    rows = table[(table["arm"] == arm) & (table["series"] == series)].sort_values("seed")
    return choice.counted(metric, rows[metric].to_numpy(dtype=float))


def losses_without(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """On few images, without noise: loss on new images, and that on the training images, by seed."""
    return on_few(observations, "none"), on_few(observations, "none", "train_loss")


def lives(observations: Observations, *arms: str) -> np.ndarray:
    """On few images: on which seeds no run of these arms diverged, or guesses in the end."""
    return np.all([on_few(observations, arm, "test_accuracy") >= choice.LOST for arm in arms], axis=0)


def loss_saved(observations: Observations, arm: str, baseline: str = "dropout") -> np.ndarray:
    """On few images, of the seeds on which neither arm is lost: by how much the test loss of one is lower."""
    saved = on_few(observations, baseline) - on_few(observations, arm)
    return saved[lives(observations, arm, baseline)]


def few_accuracies(observations: Observations) -> dict[str, np.ndarray]:
    """On few images: test accuracy of dropout and of its rivals, of the seeds on which none is lost."""
    kept = lives(observations, *FEW_TECHNIQUES)
    return {kind: on_few(observations, kind, "test_accuracy")[kept] for kind in FEW_TECHNIQUES}


def behind_dropout(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same spread, in a world where every rival is two margins behind dropout."""
    dropout = values["dropout"]
    rivals = {kind: dropout + recentred(values[kind] - dropout, -2 * ACCURACY_MARGIN) for kind in FEW_RIVALS}
    return {"dropout": dropout} | rivals


def best_beats_dropout(values: dict[str, np.ndarray]) -> Finding:
    """Is the best of the rivals above dropout, although it was picked for looking best?"""
    _, comparison = winner_beats_baseline(values, "dropout", margin=ACCURACY_MARGIN)
    return Finding.of(comparison, margin=ACCURACY_MARGIN)


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


def is_mean_of_random_relu(mean: Callable[[torch.Tensor, float], torch.Tensor]) -> Finding:
    """Activations that pass a ReLU with probability p, and are 0 otherwise, drawn 40,000 times: is this their mean?"""
    worst, num = 0.0, 40_000
    for seed, p in enumerate((0.2, 0.5, 0.8)):
        x = torch.from_numpy(Stream(seed, "data").normal(12))
        passes = torch.from_numpy(Stream(seed, "data", step=1).uniform((num, 12))) < p
        y = (x * passes).relu()
        off = (y.mean(0) - mean(x, p)) / (y.std(0) / math.sqrt(num)).clamp(min=1e-12)
        worst = max(worst, off.abs().max().item())
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
    """Few images: how each technique ended, and how its strengths were chosen. Then the same of all images."""
    return [
        _few_ends(observations, words),
        _few_choices(observations, words),
        _ends(observations, words),
        _choices(observations, words),
    ]


def _few_ends(observations: Observations, words: WordList) -> Table:
    names = words.group("techniques")
    strengths = {kind: row["strengths"] for kind, row in few_choices(observations).items()}
    rows = []
    for arm in observations["few"]["arm"].drop_duplicates():
        kept = lives(observations, arm)
        loss, train, accuracy = (
            mean_interval(on_few(observations, arm, metric)[kept])
            for metric in ("test_loss", "train_loss", "test_accuracy")
        )
        lower = "" if arm == "dropout" else show.number_interval(paired(loss_saved(observations, arm)))
        rows.append(
            [
                names[arm],
                strengths.get(arm, ""),
                f"{(~kept).sum()} / {len(kept)}",
                show.number(train.estimate),
                show.stacked(show.number_interval(loss)),
                show.stacked(lower),
                show.stacked(show.percent_interval(accuracy)),
            ]
        )
    heads = ("noise", "as-chosen", "lost", "training-loss", "test-loss", "below-dropout", "accuracy")
    return Table(words["titles.few-images"], tuple(words[f"heads.{head}"] for head in heads), rows)


def _few_choices(observations: Observations, words: WordList) -> Table:
    rows = [
        [
            words.group("techniques")[kind],
            row["strengths"],
            show.number(row["validation_loss"]),
            f"{row['num_tried']}",
            words.group("edges")["inside" if row["layers_at_edge"] == 0 else "edge"],
        ]
        for kind, row in few_choices(observations).items()
    ]
    title = words("titles.few-choices", num=int(observations["sizes"]["num_tuning"].iloc[0]))
    heads = ("noise", "as-chosen", "validation-loss", "num-tried", "place")
    return Table(title, tuple(words[f"heads.{head}"] for head in heads), rows)


def _ends(observations: Observations, words: WordList) -> Table:
    none = mean_interval(observations.runs.values("test_accuracy", "none"))
    comparisons = compare_arms(accuracies(observations), "dropout", claim="greater", margin=MARGIN)
    rows = []
    names = words.group("techniques")
    for kind in TECHNIQUES:
        accuracy = show.percent_interval(mean_interval(observations.runs.values("test_accuracy", kind)))
        versus = show.stacked(show.points_interval(comparisons[kind])) if kind in comparisons else ""
        fit = show.percent(float(observations.runs.values("train_accuracy", kind).mean()))
        chosen = f"{chosen_strength(observations, kind):g}"
        rows.append([names[kind], chosen, fit, show.stacked(accuracy), versus])
    fit = show.percent(float(observations.runs.values("train_accuracy", "none").mean()))
    rows.append([names["none"], "", fit, show.stacked(show.percent_interval(none)), ""])
    heads = ("noise", "as-chosen", "training", "test", "minus-dropout-points")
    return Table(
        words["titles.test-accuracy-mean-over-fresh"], tuple(words[f"heads.{head}"] for head in heads), rows
    )


def _choices(observations: Observations, words: WordList) -> Table:
    selection = observations["selection"]
    tried = []
    for kind in TECHNIQUES:
        of_kind = selection[selection["kind"] == kind]
        cells = [
            f"{row['strength']:g}: {validation_text(row['validation_accuracy'], words)}"
            for row in of_kind.to_dict("records")
        ]
        tried.append([words.group("techniques")[kind], *cells])
    num = selection["num_seeds"].iloc[0]
    strengths = [words("labels.strength", i=i) for i in range(1, len(tried[0]))]
    title = words("titles.how-strengths-were-chosen-validation", num=num)
    return Table(title, (words["heads.noise"], *strengths), tried)


def few_choices(observations: Observations) -> dict[str, dict[str, Any]]:
    """By technique: the strengths that it has on few images, and at how many places it was tried."""
    rows = observations.rows("tried")
    return {
        row["kind"]: row | {"num_tried": sum(other["kind"] == row["kind"] for other in rows)}
        for row in rows
        if row["is_chosen"]
    }


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
    ahead = max(found, key=lambda kind: found[kind].estimate)
    selection, setting = observations["selection"], observations.settings[-1]
    return {
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
        "ahead_by": found[ahead],
        "margin": MARGIN,
        "few": _few_facts(observations),
    }


def _few_facts(observations: Observations) -> dict[str, Any]:
    table, about = observations["few"], observations.rows("sizes")[0]
    gains = {kind: paired(loss_saved(observations, kind)) for kind in FEW_RIVALS}
    ahead = max(gains, key=lambda kind: gains[kind].estimate)
    accuracy = {
        arm: float(on_few(observations, arm, "test_accuracy")[lives(observations, arm)].mean())
        for arm in ("none", *FEW_TECHNIQUES)
    }
    choices = few_choices(observations)
    nudges = table[table["series"] == NUDGED]["arm"].unique()
    moves = [
        choice.most_moved(on_few(observations, a, series=NUDGED), on_few(observations, a)) for a in nudges
    ]
    return {
        "num_rivals": len(FEW_RIVALS),
        "num_seeds": len(on_few(observations, "none")),
        "num_images": about["train"],
        "num_validation": about["validation"],
        "num_test": about["test"],
        "epochs": about["epochs"],
        "num_tuning": about["num_tuning"],
        "num_tried": max(row["num_tried"] for row in choices.values()),
        "num_at_edge": sum(row["layers_at_edge"] > 0 for row in choices.values()),
        "strengths": {kind: row["strengths"].replace(",", ", ") for kind, row in choices.items()},
        "ahead": ahead,
        "accuracy": {arm: accuracy[arm] for arm in ("none", "dropout")} | {"ahead": accuracy[ahead]},
        "section_saves": paired(loss_saved(observations, "dropout", "section"))
        if "section" in set(table["arm"])
        else None,
        "num_lost": int(sum((~lives(observations, arm)).sum() for arm in table["arm"].unique())),
        "moved": max(moves, default=None),
        "loss_margin": LOSS_MARGIN,
        "accuracy_margin": ACCURACY_MARGIN,
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


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """On few images: the test losses of one run with each of three noises at its chosen strengths."""
    return {
        name: prediction_interval(on_few(observations, arm))
        for name, arm in (
            ("with_dropout", "dropout"),
            ("with_gaussian", "gaussian_dropout"),
            ("with_shot", "shot_noise"),
        )
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Of each technique, minus tuned dropout: test loss on few images, and accuracy on all."""
    labels = words.group("techniques")
    arms = [arm for arm in observations["few"]["arm"].drop_duplicates() if arm != "dropout"]
    few = plots.difference_plot(
        {arm: paired(-loss_saved(observations, arm), margin=LOSS_MARGIN) for arm in arms},
        value_title=words["titles.difference-in-test-loss"],
        title=words["titles.on-few-images"],
        labels=labels,
        value_format=".2f",
        notes=words.notes,
        width=250,
    )
    every = plots.difference_plot(
        compare_arms(accuracies(observations), "dropout", claim="greater", margin=MARGIN),
        value_title=words["titles.difference-in-test-accuracy"],
        title=words["titles.on-all-images"],
        labels=labels,
        value_format=".1%",
        notes=words.notes,
        width=250,
    )
    return few | every


def _beats_claim(kind: str) -> Claim:
    return Claim(
        name=f"{kind.replace('_', '-')}-beats-dropout",
        kind="experiment",
        check=beats(kind, "dropout", margin=MARGIN),
        subject=accuracies,
        falsehood=lambda o: in_another_world(o, kind, -0.02),
        unit="points",
    )


def _saves_claim(name: str, arm: str, baseline: str) -> Claim:
    return Claim(
        name=name,
        kind="experiment",
        check=greater(margin=LOSS_MARGIN),
        subject=lambda o: loss_saved(o, arm, baseline),
        falsehood=lambda o: recentred(loss_saved(o, arm, baseline), 0.0),
        requires=("overfits-on-few-images",),
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        choice.overfitting("overfits-on-few-images", losses_without),
        *(
            _saves_claim(f"{kind.replace('_', '-')}-beats-dropout-on-few-images", kind, "dropout")
            for kind in FEW_RIVALS
        ),
        _saves_claim("dropout-beats-no-noise-on-few-images", "dropout", "none"),
        Claim(
            name="some-noise-is-right-more-often-on-few-images",
            kind="experiment",
            check=best_beats_dropout,
            subject=few_accuracies,
            falsehood=lambda o: behind_dropout(few_accuracies(o)),
            unit="points",
            requires=("overfits-on-few-images",),
        ),
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
        Claim(
            name="a-random-relu-lowers-the-mean",
            kind="property",
            check=is_mean_of_random_relu,
            subject=lambda o: lambda x, p: p * x.relu(),
            falsehood=lambda o: lambda x, p: x.relu(),
        ),
    ),
    circulated=(
        Circulated(
            "compute-each-layers-variance-and",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="layer-moment-beats-dropout-on-few-images",
        ),
        Circulated(
            "gaussian-noise-after-each-relu",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="gaussian-noise-beats-dropout-on-few-images",
            source="datawhale",
        ),
        Circulated(
            "a-random-relu-needs-no-scaling",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="a-random-relu-lowers-the-mean",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=128,128",
)
