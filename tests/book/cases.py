"""An answer that trains in no time, with a text in both languages. It stands in place of a real one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from mlplab import data
from mlplab.answers import Answer, Table
from mlplab.book.evidence import Evidence
from mlplab.book.inquiry import Inquiry, conclude
from mlplab.book.verification import Verification
from mlplab.claims import Circulated, Claim, Effort, Finding, Lab, Observations, Words, recentred
from mlplab.claims.observations import DataUsed
from mlplab.knobs import turn
from mlplab.spec import MLP, Setting
from mlplab.stats import Verdict, mean_interval, paired
from mlplab.study import Study, factorial

NUMBER = "4.2.1"
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


def tables(observations: Observations, language: str) -> list[Table]:
    shown = [[arm, "87.12 [86.98, 87.26]"] for arm in observations.runs.arms]
    return [Table(Words("Loss", "损失"), (Words("arm", "组"), Words("value", "值")), shown)]


def figure(observations: Observations, language: str) -> Any:
    return alt.Chart(observations["runs"]).mark_point().encode(x="seed:Q", y="train_loss:Q")


ANSWER = Answer(
    claims=(
        Claim(
            name="decay-raises-training-loss",
            kind="experiment",
            statement=Words("Decay raises the training loss.", "权重衰减使训练损失上升。"),
            check=is_greater,
            subject=effect,
            falsehood=lambda o: recentred(effect(o), -1.0),
        ),
        Claim(
            name="all-runs-end",
            kind="calculation",
            statement=Words("No run diverges.", "没有一次训练发散。"),
            check=lambda ended: Finding.true_if(all(ended)),
            subject=lambda o: (o["runs"]["status"] == "finished").tolist(),
            falsehood=lambda o: [False],
        ),
    ),
    observe=observe,
    circulated=(
        Circulated(
            Words("Decay costs nothing.", "权重衰减没有代价。"),
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="decay-raises-training-loss",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=lambda o: {"mean_loss": mean_interval(o.runs.values("train_loss", "weight_decay=0"))},
    vary="--set epochs=2",
)

TEXTS = {
    "en": """## Question
What does it do?

## Short answer
{% if decay_raises_training_loss.verdict == "holds" %}
It costs {{ decay_raises_training_loss | number_interval }}.{% else %}Not shown.{% endif %}

## Why
The loss was {{ mean_loss | number_interval }} with {{ num_seeds }} seeds.

## What circulates
Little.

## Limits
Small.

## References
- Nobody 1999.
""",
    "zh": """## 问题
它做什么？

## 简答
{% if decay_raises_training_loss.verdict == "holds" %}
代价是 {{ decay_raises_training_loss | number_interval }}。{% else %}未证实。{% endif %}

## 为什么
{{ num_seeds }} 个种子的损失是 {{ mean_loss | number_interval }}。

## 流传的说法
很少。

## 局限
很小。

## 参考
- Nobody 1999.
""",
}


def observed(seeds: int = 6) -> Observations:
    """Observations that took no training."""
    rows = [
        {"arm": f"weight_decay={decay}", "weight_decay": decay, "seed": seed, "status": "finished"}
        | {"train_loss": float(decay) / 5 + 0.01 * ((7 * seed + len(decay)) % 5), "seconds": 0.1}
        for decay in ("0", "5")
        for seed in range(seeds)
    ]
    used = DataUsed("polynomial", "Polynomial", "drawn", ("f0",))
    return Observations({"runs": pd.DataFrame(rows)}, (used,), ("d0",), ({"epochs": "1"},))


def inquiry(
    *, verdicts: Mapping[str, Verdict] | None = None, controls: Mapping[str, Verdict] | None = None
) -> Inquiry:
    """What was found on `observed`, with verdicts and controls forced."""
    found = conclude(NUMBER, observed())
    findings = {
        name: dataclasses.replace(finding, verdict=(verdicts or {}).get(name, finding.verdict))
        for name, finding in found.findings.items()
    }
    return dataclasses.replace(found, findings=findings, controls=dict(found.controls) | dict(controls or {}))


def verification(
    published: Mapping[str, Verdict],
    now: Mapping[str, Verdict],
    *,
    effort: Effort = "full",
    judged: Mapping[str, Verdict] | None = None,
    controls: Mapping[str, Verdict] | None = None,
    path: Any = None,
) -> Verification:
    """Published verdicts beside others; `judged` is what this code says of the published observations."""
    held = Evidence(inquiry(verdicts=published if judged is None else judged), dict(published), {}, path)
    return Verification(held, inquiry(verdicts=now, controls=controls), effort)
