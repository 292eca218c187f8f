"""4.6.2 What happens over many more epochs, with and without dropout?

Both arms are trained on the same seeds for ten times the section's epochs: at its learning rate, at which runs without
dropout break down, and at a lower one, at which losses can be compared. Training losses are measured without noise too:
with dropout the loss that training minimises is that of a disturbed model, and no match for the other's.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater
from mlplab.charts import plots, show
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.stats import mean_interval
from mlplab.study import Study, factorial

from .. import chapter
from ..choice import CHANCE, more_are_lost, scored

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
# What the section trains for. On a tenth of the images that is a tenth of the updates: a quick look takes more of both.
SECTION_EPOCHS, QUICK_EPOCHS = 10, 12
# That of sections 4.2 and 4.3: five times below the section's own.
SLOW_RATE = 0.1
# The share of the epochs, up to the end, that is averaged: at a constant rate the last epoch alone is a matter of luck.
LATE = 0.2
ARMS = (
    "with",
    "without",
)
ROLES = (*(f"fast {arm}" for arm in ARMS), *ARMS)
CURVES = ("train_loss", "running_loss", "validation_loss", "validation_accuracy")


def observe(lab: Lab) -> Observations:
    """Train with and without dropout at two rates; keep how all stand early, halfway and late, and the mean curves."""
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
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    length = lab.choose(
        quick={"epochs": 24, "evaluate_every": 2, "batch_size": 64},
        full={"epochs": 100, "evaluate_every": 5},
    )
    base = lab.setting(turn(chapter.DROPOUT_SETTING, probes=("train_part",), **length))
    arms = factorial(base, learning_rate=[fast, SLOW_RATE], dropout=[rates, (0.0,)])
    runs = lab.run(Study(arms, lab.seeds(quick=4, full=20), dataset))
    name_of = {arm.name: role for arm, role in zip(arms, ROLES, strict=True)}
    curves = runs.curves[runs.curves["metric"].isin(CURVES)]
    curves = curves.assign(arm=curves["arm"].map(name_of))
    # A run that diverged has no late epochs, and stays in the table all the same.
    early = nearest_epoch(curves, SECTION_EPOCHS if dataset.name == "fashion-mnist" else QUICK_EPOCHS)
    frame = runs.frame.assign(arm=runs.frame["arm"].map(name_of))
    given = pd.DataFrame([{"dropout": written(rates), "rate": fast, "early_epoch": early}])
    kept = plots.mean_curves(pd.concat([losses(curves), accuracies(curves, frame)]))
    frame = frame.merge(stages(curves, early), on=["arm", "seed"], how="left")
    return lab.observations(runs=frame, curves=kept, given=given)


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


def losses(curves: pd.DataFrame) -> pd.DataFrame:
    """Curves of losses at the lower rate, at the epochs at which everything was evaluated: what the figure draws."""
    evaluated = curves.loc[curves["metric"] == "train_loss", "epoch"]
    is_drawn = curves["metric"].isin(("train_loss", "validation_loss")) & curves["arm"].isin(ARMS)
    return curves[is_drawn & curves["epoch"].isin(evaluated)]


def accuracies(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Curves of validation accuracy in which a run that diverged guesses from then on."""
    points = curves[curves["metric"] == "validation_accuracy"]
    table = points.pivot_table(index=["arm", "seed"], columns="epoch", values="value")
    table = table.reindex(pd.MultiIndex.from_frame(runs[["arm", "seed"]])).fillna(CHANCE)
    rows = table.reset_index().melt(["arm", "seed"], var_name="epoch")
    return rows.assign(metric="validation_accuracy", epoch=rows["epoch"].astype(int))


def stand(observations: Observations, arm: str, quantity: str) -> np.ndarray:
    """How an arm stands on each seed: `train_loss_late`, `validation_accuracy_early`, ..."""
    return observations.runs.values(quantity, arm)


def gap(observations: Observations, arm: str, stage: str) -> np.ndarray:
    """Validation loss minus training loss, both without noise, on each seed."""
    validation, train = (f"{part}_loss_{stage}" for part in ("validation", "train"))
    return stand(observations, arm, validation) - stand(observations, arm, train)


def change(observations: Observations, arm: str, quantity: str, since: str = "early") -> np.ndarray:
    """Late minus early (or halfway) on each seed."""
    return stand(observations, arm, f"{quantity}_late") - stand(observations, arm, f"{quantity}_{since}")


def advantage(observations: Observations, quantity: str) -> np.ndarray:
    """With dropout minus without, on each seed."""
    return observations.runs.differences(quantity, "with", "without")


def remaining_fall(observations: Observations) -> np.ndarray:
    """By what share of its value halfway the quiet training loss with dropout falls until the end, on each seed."""
    return -change(observations, "with", "train_loss", "half") / stand(
        observations, "with", "train_loss_half"
    )


def breaks_down(observations: Observations, arm: str) -> np.ndarray:
    """Which runs at the section's rate have a higher training loss late than early, or diverged, by seed."""
    early, late = (stand(observations, f"fast {arm}", f"train_loss_{stage}") for stage in ("early", "late"))
    return ~(late <= early)


def diverged(observations: Observations, arm: str) -> np.ndarray:
    """Which runs at the section's rate came to numbers that are none, by seed."""
    return np.isnan(stand(observations, f"fast {arm}", "test_accuracy"))


def answers_alike(observations: Observations, arm: str) -> np.ndarray:
    """Which of the broken runs end with the loss of one answer for all images, ln 10 to a hundredth."""
    losses = stand(observations, f"fast {arm}", "train_loss")
    return breaks_down(observations, arm) & (np.abs(losses - math.log(10)) < 0.01)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Losses without noise and accuracy, early and late."""
    names = {
        "train_loss": words["labels.training-loss"],
        "validation_loss": words["labels.validation-loss"],
        "validation_accuracy": words["labels.validation-accuracy"],
    }
    rows = []
    for metric, name in names.items():
        form = show.percent_interval if metric.endswith("accuracy") else show.number_interval
        for arm, label in words.group("arms").items():
            cells = [
                mean_interval(stand(observations, arm, f"{metric}_{stage}")) for stage in ("early", "late")
            ]
            rows.append([name, label, *(form(cell) for cell in cells)])
    for arm, label in words.group("arms").items():
        end = show.percent_interval(mean_interval(stand(observations, arm, "test_accuracy")))
        rows.append([words["labels.test-accuracy"], label, "", end])
    title = words("titles.at-learning-rate-without-noise", slow_rate=SLOW_RATE)
    early = observations["given"]["early_epoch"].item()
    heads = (
        "",
        "",
        words("heads.after-epoch", early=early),
        words["heads.late"],
    )
    return [_breakdowns(observations, words), Table(title, heads, rows)]


def _breakdowns(observations: Observations, words: WordList) -> Table:
    rows = []
    for arm, label in words.group("arms").items():
        accuracy = scored(stand(observations, f"fast {arm}", "test_accuracy"))
        counts = (
            breaks_down(observations, arm),
            diverged(observations, arm),
            answers_alike(observations, arm),
        )
        shown = (f"{count.sum()} / {len(accuracy)}" for count in counts)
        rows.append([label, *shown, show.percent(float(np.median(accuracy)))])
    rate, early = (observations["given"][name].item() for name in ("rate", "early_epoch"))
    title = words("titles.at-learning-rate-runs-whose", rate=rate, early=early)
    heads = (
        "",
        words["heads.broken-down"],
        words["heads.these-diverged"],
        words["heads.these-one-answer-for-all"],
        words["heads.test-accuracy-median"],
    )
    return Table(title, heads, rows)


def facts(observations: Observations) -> dict[str, Any]:
    """How both arms stand early and late, and the epochs that this means."""
    quantities = ("train_loss", "validation_loss", "validation_accuracy", "running_loss")
    return {
        "epochs": int(observations.settings[0]["epochs"]),
        "early_epoch": int(observations["given"]["early_epoch"].item()),
        "stops_early": int(observations["given"]["early_epoch"].item()) == SECTION_EPOCHS,
        "late_share": LATE,
        "rates": observations["given"]["dropout"].item(),
        "rate": observations["given"]["rate"].item(),
        "slow_rate": SLOW_RATE,
        "num_broken": {arm: int(breaks_down(observations, arm).sum()) for arm in ARMS},
        "num_diverged": {arm: int(diverged(observations, arm).sum()) for arm in ARMS},
        "num_alike": {arm: int(answers_alike(observations, arm).sum()) for arm in ARMS},
        "at": {
            arm: {
                f"{quantity}_{stage}": mean_interval(stand(observations, arm, f"{quantity}_{stage}"))
                for quantity in quantities
                for stage in ("early", "late")
            }
            for arm in ARMS
        },
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Losses without noise at the lower rate, and validation accuracy at both, by epoch."""
    rate = observations["given"]["rate"].item()
    names = {arm: words("labels.rate-and-end", value=value, end=words.group("arms")[end]) for arm, (value, end) in zip(
        ROLES, itertools.product((rate, SLOW_RATE), ARMS), strict=True)}  # fmt: skip
    epoch = words["labels.epoch"]
    left = plots.curve_plot(
        _loss_curves(observations, words),
        "loss",
        value_title=words["titles.loss-without-noise-nats"],
        epoch_title=epoch,
        title=words("titles.losses-at-learning-rate", slow_rate=SLOW_RATE),
        log_scale=True,
        notes=words.notes,
        width=330,
    )
    right = plots.curve_plot(
        observations["curves"],
        "validation_accuracy",
        value_title=words["titles.validation-accuracy"],
        epoch_title=epoch,
        title=words["titles.accuracy-diverged-runs-guess"],
        arm_title=words["titles.learning-rate"],
        labels=dict(names.items()),
        value_format=".0%",
        notes=words.notes,
        width=330,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


def _loss_curves(observations: Observations, words: WordList) -> pd.DataFrame:
    parts = {"train_loss": words["labels.training"], "validation_loss": words["labels.validation"]}
    curves = observations["curves"]
    chosen = curves[curves["metric"].isin(parts)]
    names = [
        f"{parts[metric]}{words['labels.comma']}{words.group('arms')[arm]}"
        for metric, arm in zip(chosen["metric"], chosen["arm"], strict=True)
    ]
    return chosen.assign(arm=names, metric="loss")


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="breaks-down-without",
            kind="experiment",
            check=more_are_lost,
            subject=lambda o: (breaks_down(o, "without"), breaks_down(o, "with")),
            falsehood=lambda o: (breaks_down(o, "with"), breaks_down(o, "without")),
        ),
        Claim(
            name="training-loss-is-lower-without",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(),
            subject=lambda o: advantage(o, "train_loss_late"),
            falsehood=lambda o: recentred(advantage(o, "train_loss_late"), -0.05),
        ),
        Claim(
            name="the-gap-grows-without",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(),
            subject=lambda o: gap(o, "without", "late") - gap(o, "without", "early"),
            falsehood=lambda o: recentred(gap(o, "without", "late") - gap(o, "without", "early"), -0.05),
        ),
        Claim(
            name="dropout-narrows-the-gap",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(),
            subject=lambda o: gap(o, "without", "late") - gap(o, "with", "late"),
            falsehood=lambda o: recentred(gap(o, "without", "late") - gap(o, "with", "late"), -0.05),
        ),
        Claim(
            name="dropout-keeps-learning",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(0.1),
            subject=remaining_fall,
            falsehood=lambda o: recentred(remaining_fall(o), -0.05),
        ),
        Claim(
            name="more-epochs-help-with-dropout",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(margin=MARGIN),
            subject=lambda o: change(o, "with", "validation_accuracy"),
            falsehood=lambda o: recentred(change(o, "with", "validation_accuracy"), -0.05),
            unit="points",
        ),
        Claim(
            name="dropout-wins-late",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(margin=MARGIN),
            subject=lambda o: advantage(o, "validation_accuracy_late"),
            falsehood=lambda o: recentred(advantage(o, "validation_accuracy_late"), -0.05),
            unit="points",
        ),
        Claim(
            name="dropout-wins-on-test",
            kind="experiment",
            figures={"slow_rate": SLOW_RATE},
            check=greater(margin=MARGIN),
            subject=lambda o: advantage(o, "test_accuracy"),
            falsehood=lambda o: recentred(advantage(o, "test_accuracy"), -0.1),
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
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5,0.5",
)
