"""How far a reader has come: exercises that were answered, and hints that were taken. One file, beside the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlplab.answers import Exercise
from mlplab.errors import OutputError
from mlplab.outputs import write_whole
from mlplab.study import default_path
from mlplab.workbook.checking import Report


def file() -> Path:
    """Where it is kept."""
    return default_path().with_name("progress.json")


@dataclass
class Journal:
    """Of all books that are open.

    Arguments:
      answered: book and number -> whether all its parts held when they were last checked.
      hints: book and number -> how many were taken.
    """

    answered: dict[str, bool] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Journal:
        """What was kept; an empty one where nothing was. Raises OutputError for a damaged file, and leaves it."""
        path = file()
        try:
            held = json.loads(path.read_text("utf-8"))
            answered, hints = held["answered"], held["hints"]
            if not isinstance(answered, Mapping) or not isinstance(hints, Mapping):
                raise TypeError("must hold answered and hints")
            return cls(
                {str(k): bool(v) for k, v in answered.items()}, {str(k): int(v) for k, v in hints.items()}
            )
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{path} cannot be read: {error}. mlplab progress --reset begins a new one."
            ) from error

    def write(self) -> None:
        """Keep it. Raises OutputError where it cannot be written."""
        file().parent.mkdir(parents=True, exist_ok=True)
        write_whole(file(), json.dumps({"answered": self.answered, "hints": self.hints}, indent=1) + "\n")

    def note(self, exercise: Exercise, report: Report) -> None:
        """What was answered once stays answered."""
        self.answered[key(exercise)] = self.answered.get(key(exercise), False) or report.passed


def key(exercise: Exercise) -> str:
    """Of an exercise among those of all books."""
    return f"{exercise.book.name}/{exercise.number}"
