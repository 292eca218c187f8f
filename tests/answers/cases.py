"""All answers that are written, each with something observed: what was published, else a small experiment."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mlplab.answers import Answer, Lab, Observations, ours
from mlplab.inquiry import evidence
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry, conclude
from mlplab.study import Store

EXERCISES = ours().exercises
ANSWERED = [exercise.number for exercise in ours().answered]
LANGUAGES = ("en", "zh")

# Knobs that make an answer's own experiment small. Without an entry it is run as it is, with few seeds.
SMALL = {
    "4.1.4": {"hidden_sizes": "8", "epochs": "1"},
    "4.2.1": {"epochs": "1"},
    "4.2.2": {"epochs": "1", "hidden_sizes": "32"},
    "4.2.3": {"epochs": "2", "hidden_sizes": "16"},
    "4.2.5": {"epochs": "1"},
    "4.2.4": {"epochs": "3"},
    "4.2.6": {"epochs": "3"},
    "4.3.1": {"epochs": "1", "hidden_sizes": "32"},
    "4.3.2": {"epochs": "1", "hidden_sizes": "16"},
    "4.3.3": {"epochs": "1", "hidden_sizes": "16"},
    "4.5.1": {"epochs": "2"},
    "4.5.5": {"hidden_sizes": "8", "epochs": "2"},
    "4.6.1": {"hidden_sizes": "8,8", "epochs": "2"},
    "4.6.2": {"hidden_sizes": "8,8", "epochs": "10"},
    "4.6.3": {"hidden_sizes": "8,8", "epochs": "2"},
    "4.6.4": {"epochs": "2"},
    "4.6.5": {"hidden_sizes": "8,8", "epochs": "2"},
    "4.6.6": {"hidden_sizes": "8,8", "epochs": "2"},
    "4.6.7": {"hidden_sizes": "8,8", "epochs": "2"},
    "4.8.2": {"epochs": "5"},
    "4.8.4": {"hidden_sizes": "16,16"},
    "4.10.1": {"epochs": "3"},
    "4.10.2": {"epochs": "3"},
    "4.10.4": {"epochs": "2"},
    "4.10.5": {"epochs": "2"},
    "4.10.6": {"epochs": "2"},
}


def the_answer(number: str) -> Answer:
    """The answer, which is there."""
    return EXERCISES[number].written_answer()


@cache
def published(number: str) -> Evidence | None:
    """What was published, with its claims checked once for all tests."""
    return evidence.published(EXERCISES[number])


@cache
def inquiry(number: str, folder: Path) -> Inquiry:
    """What was published, or a small experiment with six seeds whose runs are kept in `folder`."""
    if (held := published(number)) is not None:
        return held.inquiry
    return conclude(EXERCISES[number], _observed(number, folder))


def _observed(number: str, folder: Path) -> Observations:
    found = the_answer(number)
    if not found.trains:
        return found.observe(Lab())
    with Store(folder / f"{number}.sqlite") as store:
        return found.observe(Lab("quick", seeds=6, knobs=SMALL.get(number), store=store))
