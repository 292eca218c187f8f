"""What is odd about two samples and does not stop a test: each oddity has a name, and is a warning too."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

NAMES = (
    "identical", "shared-rows", "constant", "all-missing", "unseen-category", "extra-column", "type-changed",
    "identifier", "mixed-types", "many-categories", "sampled", "single-class",
)  # fmt: skip


class DataWarning(UserWarning):
    """Two samples can be compared, but something about them should be looked at. The message starts with its name."""


@dataclass(frozen=True)
class Notice:
    """One oddity: a name of NAMES, a sentence, and the column it is about (None: all of them)."""

    name: str
    text: str
    column: str | None = None

    def __post_init__(self) -> None:
        assert self.name in NAMES, self.name

    def __str__(self) -> str:
        return f"[{self.name}] {self.text}"


def warn_of(notices: Iterable[Notice], stacklevel: int = 3) -> None:
    for notice in notices:
        warnings.warn(str(notice), DataWarning, stacklevel=stacklevel)
