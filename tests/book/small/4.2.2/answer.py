"""What does weight decay do? An answer that trains in no time."""

from __future__ import annotations

from typing import Any

import altair as alt

from mlplab import data
from mlplab.answers import (
    Answer,
    Circulated,
    Claim,
    Finding,
    Lab,
    Observations,
    Table,
    WordList,
    recentred,
)
from mlplab.knobs import turn
from mlplab.spec import MLP, Setting
from mlplab.stats import mean_interval, paired
from mlplab.study import Study, factorial

BASE = turn(Setting(MLP(())), loss="squared_error", epochs=5, learning_rate=0.01)
FULL_SEEDS = 8


def observe(lab: Lab) -> Observations:
    arms = factorial(lab.setting(BASE), weight_decay=[0.0, 5.0])
    return lab.observations(runs=lab.run(the_study(lab.seeds(quick=3, full=FULL_SEEDS), arms)).frame)


def the_study(seeds: Any, arms: Any = None) -> Study:
    arms = arms or factorial(BASE, weight_decay=[0.0, 5.0])
    return Study(arms, seeds, data.load("polynomial"))


def effect(observations: Observations) -> Any:
    return observations.runs.differences("train_loss", "weight_decay=5", "weight_decay=0")


def is_greater(values: Any) -> Finding:
    return Finding.of(paired(values, claim="greater"))


def tables(observations: Observations, words: WordList) -> list[Table]:
    shown = [[arm, "87.12 [86.98, 87.26]"] for arm in observations.runs.arms]
    return [Table(words["labels.loss"], (words["labels.arm"], words["labels.value"]), shown)]


def figure(observations: Observations, words: WordList) -> Any:
    return alt.Chart(observations["runs"]).mark_point().encode(x="seed:Q", y="train_loss:Q")


ANSWER = Answer(
    claims=(
        Claim(
            name="decay-raises-training-loss",
            kind="experiment",
            check=is_greater,
            subject=effect,
            falsehood=lambda o: recentred(effect(o), -1.0),
        ),
        Claim(
            name="all-runs-end",
            kind="calculation",
            check=lambda ended: Finding.true_if(all(ended)),
            subject=lambda o: (o["runs"]["status"] == "finished").tolist(),
            falsehood=lambda o: [False],
        ),
    ),
    observe=observe,
    circulated=(
        Circulated(
            "costs-nothing",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="decay-raises-training-loss",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=lambda o: {"mean_loss": mean_interval(o.runs.values("train_loss", "weight_decay=0"))},
    vary="--set epochs=2",
)
