"""An answer's text: a template beside its file, filled with what was found, parted at its headings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2

from mlplab.answers import Book, Language, WordList
from mlplab.charts import show
from mlplab.errors import BookError, InvalidInput
from mlplab.inquiry.inquiry import Inquiry

# Parts of a text, in this order. What a language calls them stands in its file of the frame's words.
PARTS = ("question", "short", "why", "circulates", "limits", "references")


def _percent(value: float) -> str:
    """One decimal; more where that would make all of nearly all."""
    decimals = next(d for d in (1, 2, 3, 4, 5) if value == 1 or d == 5 or round(100 * value, d) < 100)
    return show.percent(value, decimals).removesuffix(".0")


FILTERS = {
    "number": show.number,
    "number_interval": show.number_interval,
    "percent_interval": show.percent_interval,
    "percent_plain": _percent,
    "points_interval": show.points_interval,
    "ratio_interval": show.ratio_interval,
    "points_plain": lambda value: show.number(100 * value, 2),
    "share": lambda rate: f"{100 * float(rate):g}%",
    "whole": lambda value: f"{int(value):,}",
}


def render(inquiry: Inquiry, language: Language) -> dict[str, str]:
    """The sections of an answer's text in Markdown, with every number and every verdict's sentence in place.

    Raises BookError that names the file for a sentence that quotes what nobody found, a template that is none, and
    a text without its headings.
    """
    found: dict[str, Any] = {name.replace("-", "_"): finding for name, finding in inquiry.findings.items()}
    observations, exercise = inquiry.observations, inquiry.exercise
    seen: dict[str, Any] = {
        "num_seeds": observations.num_seeds,
        "changed": {change.knob for change in observations.changed},
    }
    seen |= inquiry.answer.facts(observations)
    source = exercise.text(language)
    file = f"text.{language}.md"
    try:
        text = _template(source).render(**seen, **found)
        return sections(text, exercise.book.frame(language), parts_of(exercise.book))
    except jinja2.TemplateSyntaxError as error:
        raise BookError(
            exercise.folder / file, f"line {error.lineno}", f"is wrong: {error.message}"
        ) from error
    except jinja2.UndefinedError as error:
        raise BookError(
            exercise.folder / file, "a sentence", f"quotes what nobody found: {error.message}"
        ) from error
    except InvalidInput as error:
        raise BookError(exercise.folder / file, "", f"is wrong: {str(error).rstrip('.')}") from error


@cache
def _template(source: str) -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters |= FILTERS
    return environment.from_string(source)


def parts_of(book: Book) -> tuple[str, ...]:
    """PARTS; without what circulates in a book that judges no set of answers."""
    return tuple(part for part in PARTS if part != "circulates" or book.judges)


def sections(markdown: str, frame: WordList, names: Sequence[str] = PARTS) -> dict[str, str]:
    """Parts a text at its second-level headings: section name -> Markdown.

    Raises InvalidInput for a text that does not have all headings in their order, each once, and nothing before.
    """
    before, *blocks = ("\n" + markdown).split("\n## ")
    parts = [
        (heading.strip(), body.strip()) for heading, _, body in (block.partition("\n") for block in blocks)
    ]
    expected = [frame[f"headings.{name}"] for name in names]
    if before.strip() or [heading for heading, _ in parts] != expected:
        found = [
            line for line in (before.strip().partition("\n")[0], *(heading for heading, _ in parts)) if line
        ]
        raise InvalidInput("the text of an answer", f"must have the headings {', '.join(expected)}", found)
    return dict(zip(names, (body for _, body in parts), strict=True))
