"""Studies on tables of one's own that were begun, so that another terminal can ask how far they are.

One small file for each, beside the results store: its plan, and the digests of its runs. What is done is in the store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from mlplab.errors import StoreError, UnknownName
from mlplab.outputs import write_whole
from mlplab.study.plan import Plan
from mlplab.study.store import default_path


@dataclass(frozen=True)
class Entry:
    """A study that was begun.

    Arguments:
      digests: of the runs that are planned so far; a study until it is decided plans more at each look.
      at_most: how many there can be.
      begun: when, in UTC.
    """

    name: str
    plan: Plan
    digests: tuple[str, ...]
    at_most: int
    begun: str

    @classmethod
    def begin(cls, plan: Plan, digests: Sequence[str]) -> Self:
        """Note a study with the runs of its first look. One with the same plan keeps its name."""
        begun = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        num_arms = len(digests) // plan.seeds
        at_most = num_arms * (plan.max_seeds if plan.until_decided else plan.seeds)
        return cls(_name(plan), plan, tuple(digests), at_most, begun)._written()

    def add(self, digests: Sequence[str]) -> Self:
        """Note runs of a further look."""
        planned = tuple(dict.fromkeys((*self.digests, *digests)))
        return self if planned == self.digests else replace(self, digests=planned)._written()

    def _written(self) -> Self:
        held = {"format": 2} | asdict(self) | {"plan": self.plan.to_dict()}
        del held["name"]
        _write(folder() / f"{self.name}.json", json.dumps(held, indent=1))
        return self


def folder() -> Path:
    """Where studies are noted."""
    return default_path().parent / "studies"


def entries() -> list[Entry]:
    """All that were begun, by name. Raises StoreError for a file that is damaged."""
    return [_read(path) for path in sorted(folder().glob("*.json"))]


def entry(name: str) -> Entry:
    """The study of that name. Raises UnknownName."""
    path = folder() / f"{name}.json"
    if "/" in name or not path.is_file():
        known = [path.stem for path in sorted(folder().glob("*.json"))]
        raise UnknownName("study", name, known, "" if known else "No study was begun yet.")
    return _read(path)


def _name(plan: Plan) -> str:
    from mlplab.spec import digest

    return f"{Path(plan.file).stem}-{digest(json.dumps(plan.to_dict(), sort_keys=True, default=str))[:6]}"


def _read(path: Path) -> Entry:
    try:
        held = json.loads(path.read_text("utf-8"))
        digests = tuple(held["digests"])
        return Entry(path.stem, Plan.from_dict(held["plan"]), digests, held["at_most"], held["begun"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}): remove it and begin the study again.") from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from error
    write_whole(path, text)
