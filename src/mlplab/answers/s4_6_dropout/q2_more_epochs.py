"""4.6.2 What happens over many more epochs, with and without dropout?

Both arms are trained on the same seeds for ten times the section's epochs. The training loss is measured without noise
too: with dropout the loss that training minimises is that of a disturbed model, and no match for the other arm's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import chapter, show
from mlplab.answers.answer import Answer, Table
from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words, recentred
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.stats import mean_interval, paired
from mlplab.study import Study, factorial, plots

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
# What the section trains for. On a tenth of the images that is a tenth of the updates: a quick look takes twice that.
SECTION_EPOCHS, QUICK_EPOCHS = 10, 20
# The share of the epochs, up to the end, that is averaged: at a constant rate the last epoch alone is a matter of luck.
LATE = 0.2
ARMS = {"with": Words("with dropout", "用暂退法"), "without": Words("without dropout", "不用暂退法")}
CURVES = ("train_loss", "running_loss", "validation_loss", "validation_accuracy")


def observe(lab: Lab) -> Observations:
    """Train with and without dropout; keep how both stand early, halfway and late, and the mean curves."""
    rates = lab.take("dropout", chapter.DROPOUT_SETTING)
    if not any(rates):
        raise InvalidInput(
            "--set dropout", "must be above 0 somewhere", written(rates), "Try dropout=0.1,0.6"
        )
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = turn(
        chapter.DROPOUT_SETTING,
        epochs=lab.choose(quick=40, full=100),
        evaluate_every=lab.choose(quick=2, full=5),
        probes=("train_part",),
    )
    arms = factorial(lab.setting(base), dropout=[rates, (0.0,)])
    runs = lab.run(Study(arms, lab.seeds(quick=4, full=20), dataset))
    name_of = {arm.name: role for arm, role in zip(arms, ARMS, strict=True)}
    curves = runs.curves[runs.curves["metric"].isin(CURVES)]
    curves = curves.assign(arm=curves["arm"].map(name_of))
    # A run that diverged has no late epochs, and stays in the table all the same.
    early = nearest_epoch(curves, SECTION_EPOCHS if dataset.name == "fashion-mnist" else QUICK_EPOCHS)
    frame = runs.frame.assign(arm=runs.frame["arm"].map(name_of))
    frame = frame.merge(stages(curves, early), on=["arm", "seed"], how="left")
    given = pd.DataFrame([{"dropout": written(rates), "early_epoch": early}])
    return lab.observations(runs=frame, curves=kept_curves(curves), given=given)


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


def kept_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean curves at the epochs at which everything was evaluated: what the figure draws."""
    return plots.mean_curves(
        curves[curves["epoch"].isin(curves.loc[curves["metric"] == "train_loss", "epoch"])]
    )


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


def is_positive(values: np.ndarray) -> Finding:
    """Is the mean over seeds greater than zero?"""
    return Finding.of(paired(values, claim="greater"))


def is_better(differences: np.ndarray) -> Finding:
    """Is the gain in accuracy greater than zero? It fails, too, where it is shown to be too small to matter."""
    return Finding.of(paired(differences, claim="greater", margin=MARGIN), margin=MARGIN)


def is_a_tenth(shares: np.ndarray) -> Finding:
    """Is the mean share greater than a tenth?"""
    return Finding.of(paired(shares, claim="greater", threshold=0.1))


def tables(observations: Observations, language: Language) -> list[Table]:
    """Losses without noise and accuracy, early and late."""
    names = {
        "train_loss": Words("training loss", "训练损失"),
        "validation_loss": Words("validation loss", "验证损失"),
        "validation_accuracy": Words("validation accuracy, %", "验证准确率，%"),
    }
    rows = []
    for metric, name in names.items():
        form = show.percent_interval if metric.endswith("accuracy") else show.number_interval
        for arm, words in ARMS.items():
            cells = [
                mean_interval(stand(observations, arm, f"{metric}_{stage}")) for stage in ("early", "late")
            ]
            rows.append([name.of(language), words.of(language), *(form(cell) for cell in cells)])
    for arm, words in ARMS.items():
        end = show.percent_interval(mean_interval(stand(observations, arm, "test_accuracy")))
        rows.append([Words("test accuracy, %", "测试准确率，%").of(language), words.of(language), "", end])
    title = Words(
        "Without noise: mean over seeds with its 95% t interval. Late is the mean of the last fifth of the epochs, "
        "for the test part the last epoch",
        "不加噪声：各种子的均值与 95% t 区间。后期指最后五分之一轮数的平均，测试集只取最后一轮",
    )
    early = observations["given"]["early_epoch"].item()
    heads = (
        Words("", ""),
        Words("", ""),
        Words(f"after epoch {early}", f"第 {early} 轮之后"),
        Words("late", "后期"),
    )
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """How both arms stand early and late, and the epochs that this means."""
    quantities = ("train_loss", "validation_loss", "validation_accuracy", "running_loss")
    return {
        "epochs": int(observations.settings[0]["epochs"]),
        "early_epoch": int(observations["given"]["early_epoch"].item()),
        "stops_early": int(observations["given"]["early_epoch"].item()) == SECTION_EPOCHS,
        "late_share": LATE,
        "rates": observations["given"]["dropout"].item(),
        "at": {
            arm: {
                f"{quantity}_{stage}": mean_interval(stand(observations, arm, f"{quantity}_{stage}"))
                for quantity in quantities
                for stage in ("early", "late")
            }
            for arm in ARMS
        },
    }


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Training loss without noise, validation loss and validation accuracy by epoch."""
    labels = {arm: words.of(language) for arm, words in ARMS.items()}
    epoch = Words("epoch", "轮数").of(language)
    left = plots.curve_plot(
        _loss_curves(observations, language),
        "loss",
        value_title=Words("loss without noise (nats)", "不加噪声的损失（nats）").of(language),
        epoch_title=epoch,
        title=Words("Loss on training and validation images", "训练集与验证集上的损失").of(language),
        log_scale=True,
        language=language,
        width=330,
    )
    right = plots.curve_plot(
        observations["curves"],
        "validation_accuracy",
        value_title=Words("validation accuracy", "验证准确率").of(language),
        epoch_title=epoch,
        title=Words("Accuracy on validation images", "验证集上的准确率").of(language),
        labels=labels,
        value_format=".0%",
        language=language,
        width=330,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


def _loss_curves(observations: Observations, language: Language) -> pd.DataFrame:
    parts = {"train_loss": Words("training", "训练集"), "validation_loss": Words("validation", "验证集")}
    curves = observations["curves"]
    chosen = curves[curves["metric"].isin(parts)]
    names = [
        f"{parts[metric].of(language)}{Words(', ', '，').of(language)}{ARMS[arm].of(language)}"
        for metric, arm in zip(chosen["metric"], chosen["arm"], strict=True)
    ]
    return chosen.assign(arm=names, metric="loss")


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="training-loss-is-lower-without",
            kind="experiment",
            statement=Words(
                "Late in training, measured without noise, the training loss is lower without dropout.",
                "训练后期，不加噪声来量，不用暂退法的训练损失更低。",
            ),
            check=is_positive,
            subject=lambda o: advantage(o, "train_loss_late"),
            falsehood=lambda o: recentred(advantage(o, "train_loss_late"), -0.05),
        ),
        Claim(
            name="the-gap-grows-without",
            kind="experiment",
            statement=Words(
                "Without dropout, the gap between validation and training loss grows with the epochs.",
                "不用暂退法，验证损失与训练损失之差随轮数增大。",
            ),
            check=is_positive,
            subject=lambda o: gap(o, "without", "late") - gap(o, "without", "early"),
            falsehood=lambda o: recentred(gap(o, "without", "late") - gap(o, "without", "early"), -0.05),
        ),
        Claim(
            name="dropout-narrows-the-gap",
            kind="experiment",
            statement=Words(
                "Late in training the gap between validation and training loss is smaller with dropout.",
                "训练后期，用暂退法时验证损失与训练损失之差更小。",
            ),
            check=is_positive,
            subject=lambda o: gap(o, "without", "late") - gap(o, "with", "late"),
            falsehood=lambda o: recentred(gap(o, "without", "late") - gap(o, "with", "late"), -0.05),
        ),
        Claim(
            name="dropout-keeps-learning",
            kind="experiment",
            statement=Words(
                "With dropout, the training loss without noise still falls by more than a tenth over the second half "
                "of the epochs.",
                "用暂退法时，不加噪声的训练损失在后一半轮数里仍下降十分之一以上。",
            ),
            check=is_a_tenth,
            subject=remaining_fall,
            falsehood=lambda o: recentred(remaining_fall(o), -0.05),
        ),
        Claim(
            name="more-epochs-help-with-dropout",
            kind="experiment",
            statement=Words(
                "With dropout, validation accuracy late in training is higher than after the section's number of "
                "epochs.",
                "用暂退法时，训练后期的验证准确率高于本节轮数之后的验证准确率。",
            ),
            check=is_better,
            subject=lambda o: change(o, "with", "validation_accuracy"),
            falsehood=lambda o: recentred(change(o, "with", "validation_accuracy"), -0.05),
            unit="points",
        ),
        Claim(
            name="dropout-wins-late",
            kind="experiment",
            statement=Words(
                "Late in training the validation accuracy is higher with dropout.",
                "训练后期，用暂退法的验证准确率更高。",
            ),
            check=is_better,
            subject=lambda o: advantage(o, "validation_accuracy_late"),
            falsehood=lambda o: recentred(advantage(o, "validation_accuracy_late"), -0.05),
            unit="points",
        ),
        Claim(
            name="dropout-wins-on-test",
            kind="experiment",
            statement=Words(
                "After the last epoch the test accuracy is higher with dropout.",
                "最后一轮之后，用暂退法的测试准确率更高。",
            ),
            check=is_better,
            subject=lambda o: advantage(o, "test_accuracy"),
            falsehood=lambda o: recentred(advantage(o, "test_accuracy"), -0.1),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            Words(
                "With dropout the loss settles at a stable value; without it the loss goes on falling.",
                "使用暂退法，损失会趋于一个稳定值；不使用时，损失一直下降。",
            ),
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="dropout-keeps-learning",
        ),
        Circulated(
            Words(
                "In the end the training loss is lower without dropout.",
                "最后，不使用暂退法的训练损失更小。",
            ),
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="training-loss-is-lower-without",
        ),
        Circulated(
            Words(
                "On test data the accuracy is lower without dropout.",
                "在测试集上，不使用暂退法的准确率更低。",
            ),
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="dropout-wins-on-test",
        ),
        Circulated(
            Words("That is overfitting.", "这明显发生了过拟合。"),
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-gap-grows-without",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5,0.5",
)
