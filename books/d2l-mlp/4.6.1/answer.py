"""4.6.1 What happens when the dropout rates of the two hidden layers are changed, and when they are swapped?

Every pair of rates is trained on the same seeds: same first weights, same order of examples, same random numbers
behind the masks. What differs between two arms is then the rates and nothing else.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, value_of, written
from mlplab.stats import mean_interval, paired
from mlplab.study import Study, factorial

from .. import chapter

if TYPE_CHECKING:
    import altair

# Differences of less than 0.3 points do not matter here: another choice of seed moves the accuracy by more.
MARGIN = 0.003
METRIC = "test_accuracy"
LATE = "late_validation_accuracy"  # mean over the second half of the epochs: the last one alone is a matter of luck


def observe(lab: Lab) -> Observations:
    """Train the given pair of rates, its swap and no dropout; with full effort the whole grid of their rates."""
    rates = lab.take("dropout", chapter.DROPOUT_SETTING)
    if len(rates) != 2 or rates[0] == rates[1] or 0 in rates:
        raise InvalidInput(
            "--set dropout", "must be two different rates above 0", written(rates), "Try dropout=0.1,0.6"
        )
    roles = {rates: "given", rates[::-1]: "swapped", (0.0, 0.0): "none"}
    pairs = lab.choose(quick=list(roles), full=list(itertools.product((0.0, *sorted(rates)), repeat=2)))
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    # On a tenth of the images 10 epochs are a tenth of the updates: too few to get away from N(0, 0.01²).
    base = (
        chapter.DROPOUT_SETTING
        if dataset.name == "fashion-mnist"
        else turn(chapter.DROPOUT_SETTING, epochs=20)
    )
    arms = factorial(lab.setting(base), dropout=pairs)
    runs = lab.run(Study(arms, lab.seeds(quick=12, full=40), dataset))
    described = [
        {"arm": arm.name, "first": pair[0], "second": pair[1], "role": roles.get(pair, "")}
        for arm, pair in zip(arms, pairs, strict=True)
    ]
    # A run that diverged early has no late epochs, and stays in the table all the same.
    table = runs.frame.merge(late_accuracies(runs.curves), on=["arm", "seed"], how="left")
    return lab.observations(runs=table, pairs=pd.DataFrame(described))


def late_accuracies(curves: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy of each run, averaged over the second half of its epochs."""
    points = curves[
        (curves["metric"] == "validation_accuracy") & (2 * curves["epoch"] > curves["epoch"].max())
    ]
    return points.groupby(["arm", "seed"], as_index=False)["value"].mean().rename(columns={"value": LATE})


def swap_effect(observations: Observations) -> np.ndarray:
    """Test accuracy with swapped rates minus that with the given ones, for each seed."""
    return observations.runs.differences(METRIC, *_arms(observations, "swapped", "given"))


def late_swap_effect(observations: Observations) -> np.ndarray:
    """The same on validation images, averaged over the second half of the epochs."""
    return observations.runs.differences(LATE, *_arms(observations, "swapped", "given"))


def larger_first_effect(observations: Observations) -> np.ndarray:
    """The pair with the larger rate in the first layer minus the other, for each seed."""
    given = _pair(observations, "given")
    return swap_effect(observations) * (1 if given["first"] < given["second"] else -1)


def dropout_effect(observations: Observations) -> np.ndarray:
    """The given rates minus no dropout, for each seed."""
    return observations.runs.differences(METRIC, *_arms(observations, "given", "none"))


def tables(observations: Observations, words: WordList) -> list[Table]:
    """One row for each pair of rates."""
    rows = []
    for pair in observations.rows("pairs"):
        test, validation = (
            observations.runs.values(metric, pair["arm"]) for metric in (METRIC, "validation_accuracy")
        )
        role = words.group("roles")[_role(observations, pair)] if pair["role"] else ""
        accuracies = [show.stacked(show.percent_interval(mean_interval(v))) for v in (test, validation)]
        rows.append([written((pair["first"], pair["second"])), role, *accuracies, str(len(test))])
    title = words["titles.accuracy-in-mean-over-seeds"]
    heads = (
        words["heads.dropout"],
        "",
        words["heads.test"],
        words["heads.validation"],
        words["heads.seeds"],
    )
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """The rates that were compared, how much a seed alone moves, and the pair that validation data prefer."""
    pairs = observations.rows("pairs")
    by_validation = max(
        pairs, key=lambda pair: observations.runs.values("validation_accuracy", pair["arm"]).mean()
    )
    setting = observations.settings[0]
    given = observations.runs.values(METRIC, *_arms(observations, "given"))
    return {
        "hidden_size": setting["hidden_sizes"].split(",")[-1],
        "epochs": setting["epochs"],
        "seed_std": float(np.std(given, ddof=1)) if len(given) > 1 else None,
        "share_positive": float(np.mean(larger_first_effect(observations) > 0)),
        "best_pair": written((by_validation["first"], by_validation["second"])),
        "num_pairs": len(pairs),
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test accuracy of every pair, beside the paired differences that the verdicts rest on."""
    swapped, given, none = (_pair(observations, role) for role in ("swapped", "given", "none"))
    differences = {
        f"{_name(swapped)} − {_name(given)}": paired(swap_effect(observations), margin=MARGIN),
        f"{_name(given)} − {_name(none)}": paired(dropout_effect(observations), margin=MARGIN),
    }
    right = plots.difference_plot(
        differences,
        value_title=words["titles.difference-in-test-accuracy"],
        title=words["titles.per-seed-differences"],
        value_format=".1%",
        notes=words.notes,
        width=260,
    )
    return (_accuracies(observations, words) | right).resolve_scale(color="independent")


def _accuracies(observations: Observations, words: WordList) -> altair.Chart | altair.LayerChart:
    summary = observations.runs.summary(METRIC).merge(observations["pairs"], on="arm")
    title = words["labels.test-accuracy"]
    if len(summary) < 9:
        labels = {pair["arm"]: _name(pair) for pair in observations.rows("pairs")}
        return plots.interval_plot(
            summary,
            value_title=title,
            title=title,
            labels=labels,
            value_format=".1%",
            notes=words.notes,
            width=260,
        )
    return plots.grid_plot(
        summary.assign(
            first=summary["first"].map("{:g}".format), second=summary["second"].map("{:g}".format)
        ),
        x="second",
        y="first",
        x_title=words["titles.dropout-second-layer"],
        y_title=words["titles.dropout-first-layer"],
        value_title=title,
        title=title,
        value_format=".2%",
        notes=words.notes,
    )


def _role(observations: Observations, pair: dict[str, Any]) -> str:
    """What a pair is called: the section gives its own rates, and no others."""
    is_given = (pair["first"], pair["second"]) == value_of(chapter.DROPOUT_SETTING, "dropout")
    return "turned" if pair["role"] == "given" and not is_given else pair["role"]


def _name(pair: dict[str, Any]) -> str:
    return f"({pair['first']:g}, {pair['second']:g})"


def _pair(observations: Observations, role: str) -> dict[str, Any]:
    return next(pair for pair in observations.rows("pairs") if pair["role"] == role)


def _arms(observations: Observations, *roles: str) -> list[str]:
    return [_pair(observations, role)["arm"] for role in roles]


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="swap-is-equivalent",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=swap_effect,
            # The spread that was seen, around a true gain of five points: the same check must say so.
            falsehood=lambda observations: recentred(swap_effect(observations), 0.05),
            unit="points",
        ),
        Claim(
            name="larger-rate-first-is-better",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=larger_first_effect,
            falsehood=lambda observations: recentred(larger_first_effect(observations), -0.05),
            unit="points",
        ),
        Claim(
            name="dropout-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=dropout_effect,
            # Without dropout a seed can end anywhere; a loss of 50 points shows through that spread.
            falsehood=lambda observations: recentred(dropout_effect(observations), -0.5),
            unit="points",
        ),
        Claim(
            name="late-swap-is-equivalent",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=late_swap_effect,
            falsehood=lambda observations: recentred(late_swap_effect(observations), 0.05),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "there-little-difference-but-larger",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="larger-rate-first-is-better",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.1,0.6",
)
