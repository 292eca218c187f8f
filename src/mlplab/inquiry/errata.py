"""Corrections that readers sent: one small file each, with the claim that now guards it."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlplab.answers import Book, Exercise, Language
from mlplab.errors import InvalidInput


@dataclass(frozen=True)
class Correction:
    """What was wrong and is not any more.

    Arguments:
      exercise: of the book.
      date: of the correction.
      what: what was wrong, by language.
      claim: name of the exercise's claim that would fail if it came back.
      reported_by: who found it, where they wish to be named.
    """

    exercise: Exercise
    date: datetime.date
    what: Mapping[Language, str]
    claim: str
    reported_by: str = ""

    def statement(self, language: Language) -> str:
        """What the claim that guards it says."""
        claims = self.exercise.written_answer().claims
        claim = next(claim for claim in claims if claim.name == self.claim)
        return claim.statement(self.exercise.words(language))


def corrections(book: Book) -> list[Correction]:
    """All of a book, in its folder `errata`, the newest first. Raises InvalidInput for a file that is wrong."""
    found = [read(path, book) for path in sorted((book.base.folder / "errata").glob("*.toml"))]
    return sorted(found, key=lambda correction: correction.date, reverse=True)


def read(path: Path, book: Book) -> Correction:
    """One correction. Raises InvalidInput where anything is missing, or no claim of that name guards it."""
    try:
        held = tomllib.loads(path.read_text("utf-8"))
        number, what = held.pop("exercise"), held.pop("what")
        texts = {language: what[language] for language in book.base.languages}
        if number not in book.exercises:
            raise InvalidInput(f"{path.name}: exercise", "must be one of the book's", number)
        exercise = book.exercise(number)
        correction = Correction(exercise, what=texts, **held)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        texts = ", ".join(f"what.{language}" for language in book.base.languages)
        rule = f"must have exercise, date, claim and {texts}; reported_by if they wish"
        raise InvalidInput(str(path.name), rule, str(error)) from error
    if not isinstance(correction.date, datetime.date):
        raise InvalidInput(
            f"{path.name}: date", "must be a date, as 2027-01-31 without quotes", correction.date
        )
    names = [claim.name for claim in exercise.answer.claims] if exercise.answer else []
    if correction.claim not in names:
        raise InvalidInput(f"{path.name}: claim", f"must be one of {number}'s: {names}", correction.claim)
    return correction
