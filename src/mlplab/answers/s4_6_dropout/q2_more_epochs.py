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

from mlplab.answers import chapter, show
from mlplab.answers.answer import Answer, Table
from mlplab.answers.choice import CHANCE, more_are_lost, scored
from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words, recentred
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.stats import mean_interval, paired
from mlplab.study import Study, factorial, plots

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
ARMS = {"with": Words("with dropout", "用暂退法"), "without": Words("without dropout", "不用暂退法")}
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
        f"At learning rate {SLOW_RATE:g}, without noise: mean over seeds with its 95% t interval. Late is the mean of "
        "the last fifth of the epochs, for the test part the last epoch",
        f"学习率 {SLOW_RATE:g}，不加噪声：各种子的均值与 95% t 区间。后期指最后五分之一轮数的平均，测试集只取最后一轮",
    )
    early = observations["given"]["early_epoch"].item()
    heads = (
        Words("", ""),
        Words("", ""),
        Words(f"after epoch {early}", f"第 {early} 轮之后"),
        Words("late", "后期"),
    )
    return [_breakdowns(observations, language), Table(title, heads, rows)]


def _breakdowns(observations: Observations, language: Language) -> Table:
    rows = []
    for arm, words in ARMS.items():
        accuracy = scored(stand(observations, f"fast {arm}", "test_accuracy"))
        counts = (
            breaks_down(observations, arm),
            diverged(observations, arm),
            answers_alike(observations, arm),
        )
        shown = (f"{count.sum()} / {len(accuracy)}" for count in counts)
        rows.append([words.of(language), *shown, show.percent(float(np.median(accuracy)))])
    rate, early = (observations["given"][name].item() for name in ("rate", "early_epoch"))
    title = Words(
        f"At learning rate {rate:g}: runs whose training loss is higher late than after epoch {early}, or no longer a "
        "number; test accuracy after the last epoch, where a run that diverged guesses",
        f"学习率 {rate:g}：训练损失后期反而高于第 {early} 轮之后，或已不是数的运行；最后一轮之后的测试准确率，"
        "发散的运行按瞎猜计",
    )
    heads = (
        Words("", ""),
        Words("broken down", "崩溃"),
        Words("of these diverged", "其中发散"),
        Words("of these one answer for all", "其中对所有图像给出同一回答"),
        Words("test accuracy, median, %", "测试准确率，中位数，%"),
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


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Losses without noise at the lower rate, and validation accuracy at both, by epoch."""
    rate = observations["given"]["rate"].item()
    names = {arm: Words(f"{value:g}, {ARMS[end].en}", f"{value:g}，{ARMS[end].zh}") for arm, (value, end) in zip(
        ROLES, itertools.product((rate, SLOW_RATE), ARMS), strict=True)}  # fmt: skip
    epoch = Words("epoch", "轮数").of(language)
    left = plots.curve_plot(
        _loss_curves(observations, language),
        "loss",
        value_title=Words("loss without noise (nats)", "不加噪声的损失（nats）").of(language),
        epoch_title=epoch,
        title=Words(f"Losses at learning rate {SLOW_RATE:g}", f"学习率 {SLOW_RATE:g} 时的损失").of(language),
        log_scale=True,
        language=language,
        width=330,
    )
    right = plots.curve_plot(
        observations["curves"],
        "validation_accuracy",
        value_title=Words("validation accuracy", "验证准确率").of(language),
        epoch_title=epoch,
        title=Words("Accuracy; diverged runs guess", "准确率；发散的运行按瞎猜计").of(language),
        arm_title=Words("learning rate", "学习率").of(language),
        labels={arm: words.of(language) for arm, words in names.items()},
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
            name="breaks-down-without",
            kind="experiment",
            statement=Words(
                "At the higher learning rate most runs break down over the epochs without dropout, and most do not "
                "with it.",
                "在较高的学习率下，不用暂退法的运行多数会在训练中崩溃，用暂退法的多数不会。",
            ),
            check=more_are_lost,
            subject=lambda o: (breaks_down(o, "without"), breaks_down(o, "with")),
            falsehood=lambda o: (breaks_down(o, "with"), breaks_down(o, "without")),
        ),
        Claim(
            name="training-loss-is-lower-without",
            kind="experiment",
            statement=Words(
                f"At learning rate {SLOW_RATE:g}, late in training and measured without noise, the training loss is "
                "lower without dropout.",
                f"学习率为 {SLOW_RATE:g} 时，训练后期，不加噪声来量，不用暂退法的训练损失更低。",
            ),
            check=is_positive,
            subject=lambda o: advantage(o, "train_loss_late"),
            falsehood=lambda o: recentred(advantage(o, "train_loss_late"), -0.05),
        ),
        Claim(
            name="the-gap-grows-without",
            kind="experiment",
            statement=Words(
                f"At learning rate {SLOW_RATE:g} the gap between validation and training loss grows with the epochs "
                "without dropout.",
                f"学习率为 {SLOW_RATE:g} 时，不用暂退法，验证损失与训练损失之差随轮数增大。",
            ),
            check=is_positive,
            subject=lambda o: gap(o, "without", "late") - gap(o, "without", "early"),
            falsehood=lambda o: recentred(gap(o, "without", "late") - gap(o, "without", "early"), -0.05),
        ),
        Claim(
            name="dropout-narrows-the-gap",
            kind="experiment",
            statement=Words(
                f"At learning rate {SLOW_RATE:g} the gap between validation and training loss is smaller late in "
                "training with dropout.",
                f"学习率为 {SLOW_RATE:g} 时，训练后期，用暂退法的验证损失与训练损失之差更小。",
            ),
            check=is_positive,
            subject=lambda o: gap(o, "without", "late") - gap(o, "with", "late"),
            falsehood=lambda o: recentred(gap(o, "without", "late") - gap(o, "with", "late"), -0.05),
        ),
        Claim(
            name="dropout-keeps-learning",
            kind="experiment",
            statement=Words(
                f"At learning rate {SLOW_RATE:g}, with dropout, the training loss without noise still falls by more "
                "than a tenth over the second half of the epochs.",
                f"学习率为 {SLOW_RATE:g} 时，用暂退法，不加噪声的训练损失在后一半轮数里仍下降十分之一以上。",
            ),
            check=is_a_tenth,
            subject=remaining_fall,
            falsehood=lambda o: recentred(remaining_fall(o), -0.05),
        ),
        Claim(
            name="more-epochs-help-with-dropout",
            kind="experiment",
            statement=Words(
                f"At learning rate {SLOW_RATE:g}, with dropout, validation accuracy late in training is higher than "
                "after the section's number of epochs.",
                f"学习率为 {SLOW_RATE:g} 时，用暂退法，训练后期的验证准确率高于本节轮数之后的验证准确率。",
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
                f"At learning rate {SLOW_RATE:g} the validation accuracy late in training is higher with dropout.",
                f"学习率为 {SLOW_RATE:g} 时，训练后期，用暂退法的验证准确率更高。",
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
                f"At learning rate {SLOW_RATE:g} the test accuracy after the last epoch is higher with dropout.",
                f"学习率为 {SLOW_RATE:g} 时，最后一轮之后，用暂退法的测试准确率更高。",
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
