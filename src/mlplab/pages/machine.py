"""An answer for machines, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlplab.answers import Language, Shelf
from mlplab.errors import MissingExtra
from mlplab.inquiry import output
from mlplab.inquiry.changes import Changes
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry
from mlplab.inquiry.texts import render
from mlplab.pages import figures


def draw(now: Inquiry, evidence: Evidence | None, language: Language) -> tuple[Path, Path] | str:
    """Draw an inquiry; the paths of SVG and HTML, or which pip command brings what is missing.

    A figure of a run with turned knobs names them above it, and is a file of its own.
    """
    changes = Changes.of(now, evidence)
    name = f"{now.exercise.book.prefix}{now.number}-{language}" + ("-changed" if changes else "")
    try:
        words = now.exercise.words(language)
        chart = now.answer.figure(now.observations, words)
        return figures.save(figures.titled(chart, changes.line(words.frame)), name)
    except MissingExtra as error:
        return str(error)


def as_dict(
    now: Inquiry, evidence: Evidence | None, drawn: tuple[Path, Path] | str, language: Language
) -> dict[str, Any]:
    """The answer as JSON: texts, this run, the published claims, what circulates, figures."""
    judge = now if evidence is None else evidence.inquiry
    words, done = now.exercise.words(language), output.recorded(now.exercise)
    return {
        "exercise": now.number,
        "language": language,
        "changed": Changes.of(now, evidence).to_list(),
        "text": render(now, language),
        "this_run": now.to_dict(),
        "published": None
        if evidence is None
        else evidence.inquiry.to_dict() | {"made_with": dict(evidence.made_with)},
        "circulated": [
            {
                "says": words[said.key],
                "judgement": said.judge(judge.findings),
                "source": now.exercise.book.set_of(said).name,
            }
            for said in judge.answer.circulated
        ],
        "code": now.exercise.program,
        "full_size": now.exercise.full_size,
        "printed": done.printed if done and done.is_of(now.exercise.program) else None,
        "expected": dict(judge.answer.expected(judge.observations)),
        "figures": drawn if isinstance(drawn, str) else [str(path) for path in drawn],
    }


def list_as_dict(shelf: Shelf, language: Language) -> list[dict[str, Any]]:
    """All exercises of all books with their state; `problem` says why one cannot be opened."""
    return [
        {
            "exercise": exercise.number,
            "title": exercise.title(language),
            "link": exercise.link(language),
            "answered": exercise.is_answered,
            "published": exercise.is_answered and exercise.is_published,
        }
        | ({"book": shelf.name(book)} if len(shelf.books) > 1 else {})
        | ({"problem": problem} if (problem := exercise.problem) else {})
        for book in shelf.books
        for exercise in book.exercises.values()
    ]
