"""4.6.2 What happens over many more epochs, with and without dropout?

Three looks. At the section's constant rate, for ten times its epochs: training breaks down, and the largest eigenvalue
of the Hessian says why. At a lower rate it does not, and losses on all images can be compared: at a constant rate, and
read quietly where the rate has fallen to 0. On few images, read as quietly, overfitting and what dropout does about it
come out in full.

Training losses are those of the network without noise: with dropout the loss that training minimises is that of a
disturbed network, and no match for the other's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from mlplab.analysis.curvature import hessian, spectrum_edges
from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.engine import Result
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.spec import Setting
from mlplab.stats import mean_interval, paired, prediction_interval
from mlplab.study import Arm, Study, factorial

from .. import chapter, choice
from ..choice import CHANCE, more_are_lost, scored

if TYPE_CHECKING:
    import altair

    from mlplab.study.row import Parameters

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
# Of the test loss on few images: half of what the section's dropout gains there (exercise 4.6.1).
LOSS_MARGIN = 0.03
# What the section trains for. On a tenth of the images that is a tenth of the updates: a quick look takes more of both.
SECTION_EPOCHS, QUICK_EPOCHS = 10, 2
# That of sections 4.2 and 4.3: five times below the section's own.
SLOW_RATE = 0.1
# The share of the epochs, up to the end, that is averaged: at a constant rate the last epoch alone is a matter of luck.
LATE = 0.2
# A mean training loss over an epoch, in nats, above which a network that had learned has lost it.
LOST_LOSS = 1.0
# A test accuracy on few images that only a run that broke down has.
LOST_ACCURACY = 0.75
ARMS = (
    "with",
    "without",
)
ROLES = (*(f"fast {arm}" for arm in ARMS), *ARMS)
CURVES = ("train_loss", "running_loss", "validation_loss", "validation_accuracy")
# Epochs on few images, each trained anew with a rate that falls to 0. What is claimed is claimed at LONG, eight times
# the section's: beyond, training breaks down there, too.
HORIZONS, QUICK_HORIZONS = (10, 20, 40, 80, 160, 320), (10, 40, 80)
BEFORE, LONG = 40, 80
NUDGED = "nudged"
NUM_NUDGED = 3
# Epochs of the section's training after which curvature is measured, on so many of its images.
LOOKS, QUICK_LOOKS = (4, 7, 10), (8,)
LOOKED_AT, QUICK_LOOKED_AT = 1_000, 250


def observe(lab: Lab) -> Observations:
    """Train with and without dropout at two constant rates, on few images, and with a look at curvature."""
    rates = lab.take("dropout", chapter.DROPOUT_SETTING)
    if not any(rates):
        raise InvalidInput(
            "--set dropout", "must be above 0 somewhere", written(rates), "Try dropout=0.1,0.6"
        )
    fast = lab.take("learning_rate", chapter.DROPOUT_SETTING)
    if fast <= SLOW_RATE:
        raise InvalidInput(
            "--set learning_rate", f"must be above {SLOW_RATE:g}, which it is compared with", fast
        )
    length = lab.choose(
        quick={"epochs": 6, "evaluate_every": 2, "batch_size": 32},
        full={"epochs": 100, "evaluate_every": 5},
    )
    epochs = lab.take("epochs", turn(chapter.DROPOUT_SETTING, **length))
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = turn(lab.setting(turn(chapter.DROPOUT_SETTING, probes=("train_part",), **length)), epochs=epochs)
    seeds = lab.seeds(quick=1, full=20)
    runs, curves, early = long_runs(lab, dataset, base, rates, fast, seeds)
    few, sizes = few_images(lab, dataset, rates, fast, seeds)
    full, new_images = full_size(lab, dataset, base, rates, seeds)
    shorter = lab.choose(quick={"epochs": max(QUICK_LOOKS), "batch_size": 64}, full={})
    section = turn(lab.setting(turn(chapter.section_setting(dataset), **shorter)), learning_rate=fast)
    looked_at = lab.choose(quick=QUICK_LOOKED_AT, full=LOOKED_AT)
    about = {"dropout": written(rates), "rate": fast, "early_epoch": early, "epochs": epochs}
    given = pd.DataFrame([about | sizes | {"looked_at": looked_at}])
    return lab.observations(
        runs=runs,
        curves=curves,
        few=few,
        full=full,
        new_images=new_images,
        curvature=curvature(lab, dataset, section, rates, seeds, looked_at),
        given=given,
    )


def long_runs(
    lab: Lab, dataset: Dataset, base: Setting, rates: Sequence[float], fast: float, seeds: Sequence[int]
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """At two constant rates: runs with how they stand early, halfway and late, mean curves, and the early epoch."""
    arms = factorial(base, learning_rate=[fast, SLOW_RATE], dropout=[rates, (0.0,)])
    runs = lab.run(Study(arms, seeds, dataset))
    name_of = {arm.name: role for arm, role in zip(arms, ROLES, strict=True)}
    curves = runs.curves[runs.curves["metric"].isin(CURVES)]
    curves = curves.assign(arm=curves["arm"].map(name_of))
    early = nearest_epoch(curves, SECTION_EPOCHS if dataset.name == "fashion-mnist" else QUICK_EPOCHS)
    frame = runs.frame.assign(arm=runs.frame["arm"].map(name_of))
    kept = plots.mean_curves(accuracies(curves, frame))
    # A run that diverged has no late epochs, and stays in the table all the same.
    return frame.merge(stages(curves, early), on=["arm", "seed"], how="left"), kept, early


def full_size(
    lab: Lab, dataset: Dataset, base: Setting, rates: Sequence[float], seeds: Sequence[int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """On all images at the lower rate, falling to 0: runs of the section's number of epochs and of the long one, and
    the intervals of the latter that hold for new images, too."""
    some = seeds[: lab.choose(quick=1, full=3)]
    short = lab.choose(quick=QUICK_EPOCHS, full=SECTION_EPOCHS)
    lengths = {"short": short, "long": base.training.epochs}
    found = {}
    for horizon, epochs in lengths.items():
        setting = chapter.read_at_the_end(turn(base, learning_rate=SLOW_RATE, epochs=epochs))
        found[horizon] = lab.run(Study(pair(setting, rates), some, dataset))
    runs = pd.concat(
        [results.frame.assign(horizon=name, epochs=lengths[name]) for name, results in found.items()]
    )
    columns = [
        "horizon",
        "epochs",
        "arm",
        "seed",
        "digest",
        "status",
        "train_loss",
        "test_loss",
        "test_accuracy",
        "seconds",
    ]
    return runs[columns], choice.on_new_images(found["long"], {"long": ARMS})


def few_images(
    lab: Lab, dataset: Dataset, rates: Sequence[float], rate: float, seeds: Sequence[int]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """On few images, one training for each number of epochs: runs, and how many images there are."""
    problem = chapter.few_images(dataset)
    some = seeds[: lab.choose(quick=2, full=8)]
    frames = []
    for epochs in lab.choose(quick=QUICK_HORIZONS, full=HORIZONS):
        larger = lab.choose(quick={"batch_size": 30}, full={})
        setting = lab.setting(turn(chapter.few_images_setting(dataset, epochs=epochs), **larger))
        setting = turn(setting, learning_rate=rate)
        studies = {"": Study(pair(setting, rates), seeds if epochs == LONG else some, problem)}
        nudged = chapter.nudged(setting)
        if epochs == LONG and nudged is not None and lab.choose(quick=False, full=True):
            studies[NUDGED] = Study(pair(nudged, rates), seeds[:NUM_NUDGED], problem)
        frames += [lab.run(study).frame.assign(epochs=epochs, kind=kind) for kind, study in studies.items()]
    columns = [
        "kind",
        "epochs",
        "arm",
        "seed",
        "digest",
        "status",
        "train_loss",
        "test_loss",
        "test_accuracy",
        "seconds",
    ]
    data = problem(0)
    return pd.concat(frames)[columns], {
        "few_images": data.train.num_examples, "test_images": data.parts["test"].num_examples
    }  # fmt: skip


def pair(base: Setting, rates: Sequence[float]) -> list[Arm]:
    """With dropout and without."""
    return [Arm(name, turn(base, dropout=one)) for name, one in zip(ARMS, (rates, (0.0,)), strict=True)]


def curvature(
    lab: Lab,
    dataset: Dataset,
    section: Setting,
    rates: Sequence[float],
    seeds: Sequence[int],
    looked_at: int,
) -> pd.DataFrame:
    """The largest eigenvalue of the Hessian of the loss on so many training images, while the network trains."""
    looks = lab.choose(quick=QUICK_LOOKS, full=LOOKS)
    x, y = (torch.from_numpy(held[:looked_at]) for held in (dataset.train.features, dataset.train.targets))
    study = Study(
        pair(turn(section, keep_weights=looks), rates), seeds[: lab.choose(quick=1, full=6)], dataset
    )

    def look(result: Result) -> dict[int, float]:
        return {epoch: largest_eigenvalue(result.kept[epoch], x, y) for epoch in looks}

    found = chapter.with_weights(lab, study, look)
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "epoch": epoch, "eigenvalue": value}
            for (arm, seed), values in found.items()
            for epoch, value in values.items()
        ],
        columns=["arm", "seed", "epoch", "eigenvalue"],
    )


def largest_eigenvalue(layers: Parameters, x: torch.Tensor, y: torch.Tensor) -> float:
    """Of the Hessian of the mean loss without noise on these images, for a network of ReLU."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        modules += [layer, nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    # A hundredth of it is less than what the next epoch moves.
    edges = spectrum_edges(hessian(network, (x, y), nn.functional.cross_entropy), tolerance=1e-2)
    return float(edges.eigenvalues[-1])


def nearest_epoch(curves: pd.DataFrame, epoch: int) -> int:
    """The evaluated epoch next to that one."""
    epochs = np.unique(curves[curves["metric"] == "train_loss"]["epoch"])
    return int(epochs[np.abs(epochs - epoch).argmin()])


def stages(curves: pd.DataFrame, early: int) -> pd.DataFrame:
    """Each run's curves after epoch `early`, halfway and late, as `train_loss_early`, `train_loss_half` and so on.

    Halfway and late are means over LATE of all epochs: those around the middle, and the last.
    """
    epochs = np.unique(curves[curves["metric"] == "train_loss"]["epoch"])
    last = int(epochs[-1])
    chosen = {
        "early": [early],
        "half": [e for e in epochs if abs(e - last / 2) <= LATE / 2 * last] or [epochs[len(epochs) // 2]],
        "late": [e for e in epochs if e > (1 - LATE) * last],
    }
    parts = []
    for stage, at in chosen.items():
        points = curves[curves["epoch"].isin(at)]
        table = points.pivot_table(index=["arm", "seed"], columns="metric", values="value", aggfunc="mean")
        parts.append(table.add_suffix(f"_{stage}"))
    return pd.concat(parts, axis=1).reset_index()


def accuracies(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Curves of validation accuracy in which a run that diverged guesses from then on."""
    points = curves[curves["metric"] == "validation_accuracy"]
    table = points.pivot_table(index=["arm", "seed"], columns="epoch", values="value")
    table = table.reindex(pd.MultiIndex.from_frame(runs[["arm", "seed"]])).fillna(CHANCE)
    rows = table.reset_index().melt(["arm", "seed"], var_name="epoch")
    return rows.assign(metric="validation_accuracy", epoch=rows["epoch"].astype(int))


def stand(observations: Observations, arm: str, quantity: str) -> np.ndarray:
    """How an arm on all images stands on each seed: `train_loss_late`, `validation_accuracy_early`, ..."""
    return observations.runs.values(quantity, arm)


def change(observations: Observations, arm: str, quantity: str, since: str = "early") -> np.ndarray:
    """Late minus early (or halfway) on each seed."""
    return stand(observations, arm, f"{quantity}_late") - stand(observations, arm, f"{quantity}_{since}")


def remaining_fall(observations: Observations) -> np.ndarray:
    """By what share of its value halfway the quiet training loss with dropout falls until the end, on each seed."""
    return -change(observations, "with", "train_loss", "half") / stand(
        observations, "with", "train_loss_half"
    )


def quiet_loss(observations: Observations, arm: str, stage: str) -> np.ndarray:
    """Training loss without noise: the mean over the epochs' batches without dropout, where there is no noise to begin
    with; with it, that of all training images after the epochs.

    After an epoch a network at a constant rate has just taken the step of a smaller batch: without dropout that one
    moment is worse than the epoch, and says little of it.
    """
    return stand(observations, arm, f"{'running_loss' if arm.endswith('without') else 'train_loss'}_{stage}")


def fits_better(observations: Observations) -> np.ndarray:
    """By how much the training loss is lower late in training without dropout, on each seed."""
    return quiet_loss(observations, "with", "late") - quiet_loss(observations, "without", "late")


def breaks_down(observations: Observations, arm: str) -> np.ndarray:
    """Which runs diverged, lost what they had learned by the early epoch, or have a higher training loss late than
    before, by seed: the loss is the mean over the batches of an epoch, and not what the last of them left."""
    early, half, late = (
        stand(observations, arm, f"running_loss_{stage}") for stage in ("early", "half", "late")
    )
    return ~(late <= np.minimum(early, half)) | (early > LOST_LOSS)


def diverged(observations: Observations, arm: str) -> np.ndarray:
    """Which runs came to numbers that are none, by seed."""
    return np.isnan(stand(observations, arm, "test_accuracy"))


def answers_alike(observations: Observations, arm: str) -> np.ndarray:
    """Which of the broken runs end with the loss of one answer for all images, ln 10 to a hundredth."""
    losses = stand(observations, arm, "train_loss")
    return breaks_down(observations, arm) & (np.abs(losses - math.log(10)) < 0.01)


def at_horizon(
    observations: Observations, arm: str, metric: str, epochs: int = LONG, kind: str = ""
) -> np.ndarray:
    """A metric after so many epochs on few images, by seed; a run that diverged guesses."""
    table = observations["few"]
    rows = table[(table["arm"] == arm) & (table["epochs"] == epochs) & (table["kind"] == kind)]
    values = rows.sort_values("seed")[metric].to_numpy(dtype=float)
    return choice.counted(metric, values)


def losses_without(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """On few images, without dropout: loss on new images, and that on the training images, by seed."""
    test, train = (at_horizon(observations, "without", metric) for metric in ("test_loss", "train_loss"))
    return test, train


def gap(observations: Observations, arm: str, epochs: int = LONG) -> np.ndarray:
    """Test loss minus training loss on few images, by seed."""
    test, train = (at_horizon(observations, arm, f"{part}_loss", epochs) for part in ("test", "train"))
    return test - train


def growth(values: Sequence[np.ndarray]) -> np.ndarray:
    """The second minus the first, on the seeds that both have."""
    first, second = values
    shared = min(len(first), len(second))
    return second[:shared] - first[:shared]


def gap_growth(observations: Observations) -> np.ndarray:
    """By how much the gap grows without dropout from the section's epochs to LONG, by seed."""
    return growth([gap(observations, "without", epochs) for epochs in (SECTION_EPOCHS, LONG)])


def loss_growth(observations: Observations, arm: str) -> np.ndarray:
    """By how much the test loss rises from BEFORE to LONG, by seed."""
    return growth([at_horizon(observations, arm, "test_loss", epochs) for epochs in (BEFORE, LONG)])


def saved(observations: Observations, metric: str) -> np.ndarray:
    """By how much dropout makes a loss lower, or an accuracy higher, at LONG, by seed."""
    without, with_dropout = (at_horizon(observations, arm, metric) for arm in reversed(ARMS))
    return with_dropout - without if metric.endswith("accuracy") else without - with_dropout


def gap_saved(observations: Observations) -> np.ndarray:
    """By how much dropout makes the gap smaller at LONG, by seed."""
    return gap(observations, "without") - gap(observations, "with")


def at_full_size(
    observations: Observations, arm: str, metric: str = "test_loss", horizon: str = "long"
) -> np.ndarray:
    """A metric on all images, where the lower rate has fallen to 0 after a short or a long training, by seed."""
    table = observations["full"]
    rows = table[(table["arm"] == arm) & (table["horizon"] == horizon)].sort_values("seed")
    return choice.counted(metric, rows[metric].to_numpy(dtype=float))


def full_gap_growth(observations: Observations) -> np.ndarray:
    """On all images, without dropout: by how much more the test loss exceeds the training loss after the long
    training than after the short one, by seed."""
    short, long = (
        at_full_size(observations, "without", "test_loss", horizon)
        - at_full_size(observations, "without", "train_loss", horizon)
        for horizon in ("short", "long")
    )
    return long - short


def full_saved(observations: Observations, metric: str) -> np.ndarray:
    """On all images: by how much dropout makes a loss lower, or an accuracy higher, after the long training."""
    without, with_dropout = (at_full_size(observations, arm, metric) for arm in reversed(ARMS))
    return with_dropout - without if metric.endswith("accuracy") else without - with_dropout


def sharpness(observations: Observations, arm: str) -> np.ndarray:
    """The logarithm of the largest eigenvalue over 2 / rate, mean over the looks, by seed.

    Above 0, a step of that size makes the loss of the quadratic that fits there larger.
    """
    table = observations["curvature"]
    rows = table[table["arm"] == arm]
    limit = 2 / observations["given"]["rate"].item()
    values = np.log(np.maximum(rows["eigenvalue"].to_numpy(dtype=float), 1e-9) / limit)
    return rows.assign(value=values).groupby("seed")["value"].mean().to_numpy()


def sharpness_saved(observations: Observations) -> np.ndarray:
    """Logarithm of the largest eigenvalue with dropout over that without, by the seeds that finished in both arms."""
    table = observations["curvature"].assign(eigenvalue=lambda t: np.log(t["eigenvalue"].clip(lower=1e-9)))
    by_seed = table.pivot_table(index="seed", columns="arm", values="eigenvalue").dropna()
    return (by_seed["with"] - by_seed["without"]).to_numpy()


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Few images by the number of epochs; all images by the number of epochs; breakdowns at constant rates; losses on
    all images at the constant lower rate."""
    return [
        _horizons(observations, words),
        _full_size(observations, words),
        _breakdowns(observations, words),
        _at_the_lower_rate(observations, words),
    ]


def _horizons(observations: Observations, words: WordList) -> Table:
    rows = []
    for epochs in sorted(set(observations["few"]["epochs"])):
        for arm, label in words.group("arms").items():
            train, test, accuracy = (
                at_horizon(observations, arm, metric, epochs)
                for metric in ("train_loss", "test_loss", "test_accuracy")
            )
            losses = [show.number(float(np.median(values))) for values in (train, test)]
            share = show.percent(float(np.median(accuracy)))
            rows.append([f"{epochs} ({len(test)})", label, *losses, share])
    heads = (words[f"labels.{measure}"] for measure in ("training-loss", "test-loss", "test-accuracy"))
    return Table(words["titles.few-images"], (words["heads.epochs"], "", *heads), rows)


def _full_size(observations: Observations, words: WordList) -> Table:
    rows = []
    for (horizon, epochs), _ in observations["full"].groupby(["horizon", "epochs"], sort=False):
        for arm, label in words.group("arms").items():
            train, test, accuracy = (
                mean_interval(at_full_size(observations, arm, metric, str(horizon)))
                for metric in ("train_loss", "test_loss", "test_accuracy")
            )
            cells = (
                show.number(train.estimate),
                show.stacked(show.number_interval(test)),
                show.stacked(show.percent_interval(accuracy)),
            )
            rows.append([f"{epochs} ({test.num_replicates})", label, *cells])
    heads = (words[f"labels.{measure}"] for measure in ("training-loss", "test-loss", "test-accuracy"))
    title = words("titles.full-size", slow_rate=SLOW_RATE)
    return Table(title, (words["heads.epochs"], "", *heads), rows)


def _at_the_lower_rate(observations: Observations, words: WordList) -> Table:
    names = {
        "quiet_loss": words["labels.training-loss"],
        "validation_loss": words["labels.validation-loss"],
        "validation_accuracy": words["labels.validation-accuracy"],
    }
    rows = []
    for metric, name in names.items():
        form = show.percent_interval if metric.endswith("accuracy") else show.number_interval
        for arm, label in words.group("arms").items():
            cells = [
                mean_interval(
                    quiet_loss(observations, arm, stage)
                    if metric == "quiet_loss"
                    else stand(observations, arm, f"{metric}_{stage}")
                )
                for stage in ("early", "late")
            ]
            rows.append([name, label, *(form(cell) for cell in cells)])
    title = words("titles.at-learning-rate-without-noise", slow_rate=SLOW_RATE)
    early = observations["given"]["early_epoch"].item()
    return Table(title, ("", "", words("heads.after-epoch", early=early), words["heads.late"]), rows)


def _breakdowns(observations: Observations, words: WordList) -> Table:
    rate, early = (observations["given"][name].item() for name in ("rate", "early_epoch"))
    rows = []
    for role, (value, arm) in zip(ROLES, itertools.product((rate, SLOW_RATE), ARMS), strict=True):
        accuracy = scored(stand(observations, role, "test_accuracy"))
        counts = (
            breaks_down(observations, role),
            diverged(observations, role),
            answers_alike(observations, role),
        )
        shown = (f"{count.sum()} / {len(accuracy)}" for count in counts)
        rows.append(
            [f"{value:g}", words.group("arms")[arm], *shown, show.percent(float(np.median(accuracy)))]
        )
    title = words("titles.runs-that-break-down", early=early)
    heads = (
        words["titles.learning-rate"],
        "",
        words["heads.broken-down"],
        words["heads.these-diverged"],
        words["heads.these-one-answer-for-all"],
        words["heads.test-accuracy-median"],
    )
    return Table(title, heads, rows)


def facts(observations: Observations) -> dict[str, Any]:
    """What was compared, how both arms stand at the horizons, and how curved the loss is."""
    given = observations.rows("given")[0]
    few = observations["few"]
    limit = 2 / given["rate"]
    looks = observations["curvature"]
    nudges = (few["kind"] == NUDGED).sum()
    moves = [
        choice.most_moved(nudged, at_horizon(observations, arm, "test_loss"))
        for arm in ARMS
        if len(nudged := at_horizon(observations, arm, "test_loss", kind=NUDGED))
    ]
    return {
        "epochs": given["epochs"],
        "early_epoch": given["early_epoch"],
        "late_share": LATE,
        "rates": given["dropout"],
        "rate": given["rate"],
        "slow_rate": SLOW_RATE,
        "lost_loss": LOST_LOSS,
        "num_long": len(stand(observations, "with", "train_loss")),
        "num_broken": {role.replace(" ", "_"): int(breaks_down(observations, role).sum()) for role in ROLES},
        "num_diverged": {arm: int(diverged(observations, f"fast {arm}").sum()) for arm in ARMS},
        "num_alike": {arm: int(answers_alike(observations, f"fast {arm}").sum()) for arm in ARMS},
        "limit": limit,
        "eigenvalue": {
            arm: {
                "typical": math.exp(float(sharpness(observations, arm).mean())) * limit,
                "above": int((looks[looks["arm"] == arm]["eigenvalue"] > limit).sum()),
                "looks": int((looks["arm"] == arm).sum()),
            }
            for arm in ARMS
        },
        "look_seeds": int(looks["seed"].nunique()),
        "looked_at": given["looked_at"],
        "look_epochs": sorted(set(looks["epoch"].tolist())),
        "few": {
            arm: {
                str(epochs): {
                    metric: float(at_horizon(observations, arm, metric, epochs).mean())
                    for metric in ("train_loss", "test_loss", "test_accuracy")
                }
                for epochs in (SECTION_EPOCHS, BEFORE, LONG)
            }
            for arm in ARMS
        },
        "section_epochs": SECTION_EPOCHS,
        "before": BEFORE,
        "long": LONG,
        "longest": int(few["epochs"].max()),
        "longest_lost": {
            arm: int(
                sum(
                    (at_horizon(observations, arm, "test_accuracy", e) < LOST_ACCURACY).sum()
                    for e in set(few["epochs"])
                    if e > LONG
                )
            )
            for arm in ARMS
        },
        "few_seeds": {"all": len(gap(observations, "with", BEFORE)), "long": len(gap(observations, "with"))},
        "few_images": given["few_images"],
        "test_images": given["test_images"],
        "moved": float(max(moves)) if nudges else None,
        "full": {
            arm: {
                horizon: {
                    metric: float(at_full_size(observations, arm, metric, horizon).mean())
                    for metric in ("train_loss", "test_loss", "test_accuracy")
                }
                for horizon in ("short", "long")
            }
            for arm in ARMS
        },
        "full_seeds": len(at_full_size(observations, "with")),
        "full_epochs": dict(
            zip(observations["full"]["horizon"], observations["full"]["epochs"], strict=True)
        ),
        "full_new_images": choice.for_new_images(observations).get("long"),
        "full_right": paired(full_saved(observations, "test_accuracy")),
        "printed": float(stand(observations, "with", "running_loss_late").mean()),
        "quiet": {arm: float(quiet_loss(observations, arm, "late").mean()) for arm in ARMS},
        "loss_margin": LOSS_MARGIN,
        "margin": MARGIN,
        "least_gap": choice.LEAST_GAP,
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The test losses of both arms after one long training on few images."""
    return {
        name: prediction_interval(at_horizon(observations, arm, "test_loss"))
        for name, arm in (("with_dropout", "with"), ("without", "without"))
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Losses on few images, curvature, and accuracy over long training at constant rates."""
    rate = observations["given"]["rate"].item()
    names = {
        role: words("labels.rate-and-end", value=value, end=words.group("arms")[end])
        for role, (value, end) in zip(ROLES, itertools.product((rate, SLOW_RATE), ARMS), strict=True)
    }
    accuracy = plots.curve_plot(
        observations["curves"],
        "validation_accuracy",
        value_title=words["titles.validation-accuracy"],
        epoch_title=words["labels.epoch"],
        title=words["titles.accuracy-diverged-runs-guess"],
        arm_title=words["titles.learning-rate"],
        labels=dict(names.items()),
        value_format=".0%",
        notes=words.notes,
        width=300,
    )
    panels = _loss_panel(observations, words), _curvature_panel(observations, words), accuracy
    return (panels[0] | panels[1] | panels[2]).resolve_scale(color="independent", strokeDash="independent")


def _loss_panel(observations: Observations, words: WordList) -> altair.LayerChart:
    parts = {"train_loss": words["labels.training"], "test_loss": words["labels.test"]}
    rows = [
        {
            "group": f"{part}{words['labels.comma']}{words.group('arms')[arm]}",
            "level": str(epochs),
        }
        | mean_interval(at_horizon(observations, arm, metric, epochs)).to_dict()
        for metric, part in parts.items()
        for arm in ARMS
        for epochs in sorted(set(observations["few"]["epochs"]))
        if epochs <= LONG
    ]
    return plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["labels.epochs"],
        value_title=words["titles.loss-without-noise-nats"],
        title=words["titles.losses-on-few-images"],
        notes=words.notes,
        width=260,
        height=260,
    )


def _curvature_panel(observations: Observations, words: WordList) -> altair.LayerChart:
    table = observations["curvature"]
    limit = 2 / observations["given"]["rate"].item()
    rows = []
    for arm in ARMS:
        for epoch, of_epoch in table[table["arm"] == arm].groupby("epoch"):
            found = mean_interval(
                np.log(np.maximum(of_epoch["eigenvalue"].to_numpy(dtype=float), 1e-9))
            ).to_dict()
            bounds = {
                name: None if found[name] is None else math.exp(found[name])
                for name in ("estimate", "ci_low", "ci_high")
            }
            rows.append({"group": words.group("arms")[arm], "level": str(epoch)} | found | bounds)
    rows += [
        row | {"group": words["labels.limit"], "estimate": limit, "ci_low": limit, "ci_high": limit}
        for row in rows
        if row["group"] == words.group("arms")["with"]
    ]
    return plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["labels.epoch"],
        value_title=words["titles.largest-eigenvalue"],
        title=words["titles.curvature"],
        notes=words.notes,
        width=200,
        height=260,
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="breaks-down-without",
            kind="experiment",
            check=more_are_lost,
            subject=lambda o: (breaks_down(o, "fast without"), breaks_down(o, "fast with")),
            falsehood=lambda o: (breaks_down(o, "fast with"), breaks_down(o, "fast without")),
        ),
        Claim(
            name="a-lower-rate-keeps-it-whole",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=more_are_lost,
            subject=lambda o: (breaks_down(o, "fast without"), breaks_down(o, "without")),
            falsehood=lambda o: (breaks_down(o, "without"), breaks_down(o, "fast without")),
        ),
        Claim(
            name="curvature-is-beyond-the-limit-without",
            kind="experiment",
            check=greater(),
            subject=lambda o: sharpness(o, "without"),
            # As if the rate were half of what the curvature allows.
            falsehood=lambda o: recentred(sharpness(o, "without"), -math.log(2)),
            unit="log",
        ),
        Claim(
            name="dropout-lowers-the-curvature",
            kind="experiment",
            check=less(),
            subject=sharpness_saved,
            falsehood=lambda o: recentred(sharpness_saved(o), math.log(2)),
            unit="log",
        ),
        choice.overfitting("overfits-on-few-images", losses_without),
        Claim(
            name="the-gap-grows-without",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=gap_growth,
            falsehood=lambda o: recentred(gap_growth(o), -LOSS_MARGIN),
        ),
        Claim(
            name="the-test-loss-rises-without",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=lambda o: loss_growth(o, "without"),
            falsehood=lambda o: recentred(loss_growth(o, "without"), -LOSS_MARGIN),
        ),
        Claim(
            name="it-rises-with-dropout-too",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=lambda o: loss_growth(o, "with"),
            falsehood=lambda o: recentred(loss_growth(o, "with"), -LOSS_MARGIN),
            post_hoc=True,
        ),
        Claim(
            name="dropout-narrows-the-gap",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=gap_saved,
            falsehood=lambda o: recentred(gap_saved(o), -LOSS_MARGIN),
            requires=("overfits-on-few-images",),
        ),
        Claim(
            name="dropout-wins-late",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=lambda o: saved(o, "test_loss"),
            falsehood=lambda o: recentred(saved(o, "test_loss"), 0.0),
            requires=("overfits-on-few-images",),
        ),
        Claim(
            name="dropout-wins-on-test",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: saved(o, "test_accuracy"),
            falsehood=lambda o: recentred(saved(o, "test_accuracy"), -MARGIN),
            unit="points",
            requires=("overfits-on-few-images",),
        ),
        Claim(
            name="the-gap-grows-without-at-full-size",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(margin=LOSS_MARGIN),
            subject=full_gap_growth,
            falsehood=lambda o: recentred(full_gap_growth(o), 0.0),
        ),
        Claim(
            name="dropout-wins-late-at-full-size",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(margin=LOSS_MARGIN),
            subject=lambda o: full_saved(o, "test_loss"),
            falsehood=lambda o: recentred(full_saved(o, "test_loss"), 0.0),
            requires=("the-gap-grows-without-at-full-size",),
            post_hoc=True,
        ),
        Claim(
            name="training-loss-is-lower-without",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(),
            subject=fits_better,
            falsehood=lambda o: recentred(fits_better(o), -0.02),
        ),
        Claim(
            name="dropout-keeps-learning",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(0.1),
            subject=remaining_fall,
            falsehood=lambda o: recentred(remaining_fall(o), 0.0),
        ),
        Claim(
            name="more-epochs-help-with-dropout",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(margin=MARGIN),
            subject=lambda o: change(o, "with", "validation_accuracy"),
            falsehood=lambda o: recentred(change(o, "with", "validation_accuracy"), -0.02),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "with-dropout-loss-settles-at",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="dropout-keeps-learning",
        ),
        Circulated(
            "in-end-training-loss-lower",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="training-loss-is-lower-without",
        ),
        Circulated(
            "on-test-data-accuracy-lower",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="dropout-wins-on-test",
        ),
        Circulated(
            "overfitting",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-gap-grows-without",
        ),
        Circulated(
            "the-loss-jumps-without",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="breaks-down-without",
            source="datawhale",
        ),
        Circulated(
            "the-rate-may-be-too-high",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="a-lower-rate-keeps-it-whole",
            source="datawhale",
        ),
        Circulated(
            "it-drops-in-every-run",
            {"holds": "half-right", "fails": "unsupported", "undecided": "unsupported"},
            by="breaks-down-without",
            source="forum",
        ),
        Circulated(
            "more-epochs-only-improve",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="it-rises-with-dropout-too",
            source="forum",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5,0.5",
)
