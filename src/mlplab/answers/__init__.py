"""The answers: one room for each section of the chapter, one file for each exercise, its two texts beside it.

`s4_6_dropout/q1_swapped_rates.py` answers exercise 4.6.1 with an object named ANSWER;
`q1_swapped_rates.en.md` and `.zh.md` say it, and `q1_swapped_rates.code.py` is the program that the book
shows. Files are found by these names.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable

from mlplab.answers.answer import Answer, Table
from mlplab.answers.catalogue import EXERCISES, Exercise, Section, exercise
from mlplab.claims import Language

__all__ = [
    "EXERCISES",
    "Answer",
    "Exercise",
    "Section",
    "Table",
    "answer",
    "answered",
    "code",
    "exercise",
    "text",
]


def answered() -> list[str]:
    """Numbers of the exercises that have an answer, in the chapter's order."""
    return [number for number in EXERCISES if number in _places()]


def answer(number: str) -> Answer | None:
    """The answer to an exercise; None where nobody has written it yet. Raises UnknownName for no exercise."""
    exercise(number)
    if number not in _places():
        return None
    section, name = _places()[number]
    return import_module(f"{__name__}.{section}.{name}").ANSWER


def text(number: str, language: Language) -> str:
    """The template of an answer's text, in Markdown."""
    section, name = _places()[number]
    return _room(section).joinpath(f"{name}.{language}.md").read_text("utf-8")


def code(number: str) -> str | None:
    """The few lines that answer it, a program that runs as it stands; None where there is none yet."""
    if number not in _places():
        return None
    section, name = _places()[number]
    file = _room(section).joinpath(f"{name}.code.py")
    return file.read_text("utf-8") if file.is_file() else None


def _room(section: str) -> Traversable:
    return files(__name__).joinpath(section)


@cache
def _places() -> dict[str, tuple[str, str]]:
    """Exercise number -> (section's package, module)."""
    places = {}
    for room in files(__name__).iterdir():
        section = re.match(r"s4_(\d+)_", room.name)
        if section and room.is_dir():
            for file in room.iterdir():
                if question := re.match(r"(q(\d+)_\w+)\.py$", file.name):
                    places[f"4.{section[1]}.{question[2]}"] = (room.name, question[1])
    return places
