"""Corrections that readers sent: one small file each, with the claim that now guards it."""

from __future__ import annotations

import datetime
import tomllib
from dataclasses import dataclass
from pathlib import Path

import mlplab
from mlplab.answers import EXERCISES, answer
from mlplab.claims import Words
from mlplab.errors import InvalidInput

RULE = "must have exercise, date, claim and what.en, what.zh; reported_by if they wish"


@dataclass(frozen=True)
class Correction:
    """What was wrong and is not any more.

    Arguments:
      exercise: its number.
      date: of the correction.
      what: what was wrong, in both languages.
      claim: name of the exercise's claim that would fail if it came back.
      reported_by: who found it, where they wish to be named.
    """

    exercise: str
    date: datetime.date
    what: Words
    claim: str
    reported_by: str = ""

    @property
    def statement(self) -> Words:
        """What the claim that guards it says."""
        found = answer(self.exercise)
        assert found is not None
        return next(claim.statement for claim in found.claims if claim.name == self.claim)


def folder() -> Path:
    """Where corrections lie: inside an installed package, or at the root of a checkout."""
    inside = Path(mlplab.__file__).parent / "errata"
    return inside if inside.is_dir() else Path(mlplab.__file__).parents[2] / "errata"


def corrections() -> list[Correction]:
    """All of them, the newest first. Raises InvalidInput for a file that is not as it should be."""
    found = [read(path) for path in sorted(folder().glob("*.toml"))]
    return sorted(found, key=lambda correction: correction.date, reverse=True)


def read(path: Path) -> Correction:
    """One correction. Raises InvalidInput where anything is missing, or no claim of that name guards it."""
    try:
        held = tomllib.loads(path.read_text("utf-8"))
        what = held.pop("what")
        correction = Correction(what=Words(what["en"], what["zh"]), **held)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path.name), RULE, str(error)) from error
    if not isinstance(correction.date, datetime.date):
        raise InvalidInput(
            f"{path.name}: date", "must be a date, as 2027-01-31 without quotes", correction.date
        )
    if correction.exercise not in EXERCISES:
        raise InvalidInput(f"{path.name}: exercise", "must be one of the 49", correction.exercise)
    found = answer(correction.exercise)
    names = [claim.name for claim in found.claims] if found else []
    if correction.claim not in names:
        raise InvalidInput(
            f"{path.name}: claim", f"must be one of {correction.exercise}'s: {names}", correction.claim
        )
    return correction
