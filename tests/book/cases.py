"""A small book whose answers train in no time, and what was found for one of them without training."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mlplab.answers import Book, DataUsed, Effort, Exercise, Observations, Verdict
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry, conclude
from mlplab.inquiry.verification import Verification

SMALL = Path(__file__).with_name("small")
# Answered; answered and not published; open.
NUMBER, UNPUBLISHED, OPEN = "4.2.1", "4.2.2", "4.2.3"
LANGUAGES = ("zh", "en")


def copied(folder: Path) -> Book:
    """The small book in a folder where it may be changed."""
    return Book.open(shutil.copytree(SMALL, folder / "small", dirs_exist_ok=True))


EXERCISE = Book.open(SMALL).exercise(NUMBER)
ANSWER = EXERCISE.written_answer()
FULL_SEEDS = EXERCISE.module.FULL_SEEDS
the_study = EXERCISE.module.the_study


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
    exercise: Exercise = EXERCISE,
    *,
    verdicts: Mapping[str, Verdict] | None = None,
    controls: Mapping[str, Verdict] | None = None,
) -> Inquiry:
    """What was found on `observed`, with verdicts and controls forced."""
    found = conclude(exercise, observed())
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
