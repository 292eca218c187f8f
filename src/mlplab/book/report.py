"""An answer for machines, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlplab.answers import EXERCISES, answered, code
from mlplab.book import figures
from mlplab.book.changes import Changes
from mlplab.book.evidence import Evidence, published_numbers
from mlplab.book.inquiry import Inquiry
from mlplab.book.texts import render
from mlplab.claims import Language
from mlplab.errors import MissingExtra


def draw(now: Inquiry, evidence: Evidence | None, language: Language) -> tuple[Path, Path] | str:
    """Draw an inquiry; the paths of SVG and HTML, or which pip command brings what is missing.

    A figure of a run with turned knobs names them above it, and is a file of its own.
    """
    changes = Changes.of(now, evidence)
    name = f"{now.number}-{language}" + ("-changed" if changes else "")
    try:
        chart = now.answer.figure(now.observations, language)
        return figures.save(figures.titled(chart, changes.line(language)), name)
    except MissingExtra as error:
        return str(error)


def as_dict(
    now: Inquiry, evidence: Evidence | None, drawn: tuple[Path, Path] | str, language: Language
) -> dict[str, Any]:
    """The answer as JSON: texts, this run, the published claims, what circulates, figures."""
    judge = now if evidence is None else evidence.inquiry
    return {
        "exercise": now.number,
        "language": language,
        "changed": Changes.of(now, evidence).to_list(),
        "text": render(now.number, now.answer, now.observations, now.findings, language),
        "this_run": now.to_dict(),
        "published": None
        if evidence is None
        else evidence.inquiry.to_dict() | {"made_with": dict(evidence.made_with)},
        "circulated": [
            {"says": said.says.of(language), "judgement": said.judge(judge.findings)}
            for said in judge.answer.circulated
        ],
        "code": code(now.number),
        "figures": drawn if isinstance(drawn, str) else [str(path) for path in drawn],
    }


def list_as_dict(language: Language) -> list[dict[str, Any]]:
    """All exercises with their state."""
    done, published = set(answered()), published_numbers()
    return [
        {
            "exercise": number,
            "title": asked.title.of(language),
            "link": asked.section.link(language),
            "answered": number in done,
            "published": number in done and number in published,
        }
        for number, asked in EXERCISES.items()
    ]
