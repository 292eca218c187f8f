"""Runs that two exercises publish with two results: the same settings, data and seed, and other figures.

A result hangs on its run's digest alone, to rounding. Rounding differs between processors, and with what is trained or
watched beside: where training is so sensitive that last digits grow into points of accuracy, it shows here.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mlplab.answers import Book
from mlplab.answers.lab import WATCHING
from mlplab.errors import EvidenceError, MLPLabError
from mlplab.knobs import KNOBS, turn
from mlplab.spec import Run, Setting

# What is compared of a run, the most telling first.
METRICS = (
    "test_accuracy", "validation_accuracy", "train_accuracy", "test_loss", "validation_loss", "train_loss",
)  # fmt: skip
# What a knob stands at in evidence that is older than it. Newer evidence lacks it where arms differ by it.
BEFORE = {"drop_last": "False"}
# A run is the same to rounding, whoever trains beside it (law 1): a few of the 10,000s of examples that lie on a border
# may change sides. Where training is sensitive it becomes more, and that is another result.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Conflict:
    """One run with two results.

    Arguments:
      digest: of the run, with nothing watched.
      arms: exercise -> what it calls the run's arm.
      metric: the first of METRICS that differs; `status` where one of them diverged.
      results: exercise -> its figure, or its status.
    """

    digest: str
    seed: int
    arms: Mapping[str, str]
    metric: str
    results: Mapping[str, float | str]

    @property
    def exercises(self) -> tuple[str, ...]:
        """Those that publish the run, in the order of the book."""
        return tuple(self.results)

    @property
    def size(self) -> float:
        """By how much the figures differ; infinite where one run diverged."""
        values = list(self.results.values())
        if any(isinstance(value, str) for value in values):
            return math.inf
        return float(max(values)) - float(min(values))

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Common:
    """What two exercises publish both.

    Arguments:
      exercises: the two, in the order of the book.
      num_runs: how many runs they have in common.
      conflicts: those with two results, the largest difference first.
    """

    exercises: tuple[str, str]
    num_runs: int
    conflicts: Sequence[Conflict]


def in_common(book: Book) -> list[Common]:
    """Each two exercises that publish the same run, whether or not with the same result, in the order of the book.

    A run is known by its digest with nothing watched, which newer evidence gives; in older, what an exercise keeps of
    its runs must tell the setting. Where it keeps only what it worked out from them, they cannot be compared.
    Raises EvidenceError for a file that is damaged.
    """
    published = [exercise for exercise in book.exercises.values() if exercise.is_published]
    files = ((one.number, one.evidence_file, one.evidence_file.stat().st_mtime_ns) for one in published)
    return list(_in_common(tuple(files)))


def conflicts(book: Book, number: str | None = None) -> list[Common]:
    """Exercises that publish the same run with two results: all, or those of which `number` is one."""
    return [
        common
        for common in in_common(book)
        if common.conflicts and (number is None or number in common.exercises)
    ]


@cache  # a book asks for the same evidence again and again; a file that is written anew has another time
def _in_common(files: tuple[tuple[str, Path, int], ...]) -> tuple[Common, ...]:
    held = {number: dict(_runs(content(path), path)) for number, path, _ in files}
    found = []
    for one, other in itertools.combinations(held, 2):
        if shared := [digest for digest in held[one] if digest in held[other]]:
            both = {digest: {number: held[number][digest] for number in (one, other)} for digest in shared}
            different = [c for digest, rows in both.items() if (c := _conflict(digest, rows)) is not None]
            different.sort(key=lambda conflict: -conflict.size)
            found.append(Common((one, other), len(shared), different))
    return tuple(found)


def _conflict(digest: str, rows: Mapping[str, Mapping[str, Any]]) -> Conflict | None:
    one, other = rows.values()
    arms = {number: str(row["arm"]) for number, row in rows.items()}
    for metric in ("status", *METRICS):
        if metric not in one or metric not in other:
            continue
        values = one[metric], other[metric]
        if not _is_one(*values):
            results = dict(zip(rows, values, strict=True))
            return Conflict(digest, int(one["seed"]), arms, metric, results)
    return None


def _is_one(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=TOLERANCE)
    return a == b


def content(path: Path) -> dict[str, Any]:
    """The JSON of an evidence file. Raises EvidenceError for one that cannot be read."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> EvidenceError:
    return EvidenceError(f"{path} cannot be read as evidence: {error}. Restore it or publish it again.")


def _runs(held: Mapping[str, Any], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Digests of the runs of a file, with their rows: where none is given, of those whose settings can be told."""
    try:
        seen = held["observations"]
        prints = {fingerprint for used in seen["data"] for fingerprint in used["fingerprints"]}
        table = seen["tables"].get("runs", {"columns": (), "rows": ()})
        rows = [dict(zip(table["columns"], cells, strict=True)) for cells in table["rows"]]
        if "digest" in table["columns"]:
            yield from ((row["digest"], row) for row in rows if row["digest"])
            return
        # Data that are drawn anew for each seed have many fingerprints, and no row says which is its own.
        if not seen["settings"] or len(prints) != 1:
            return
        for row in rows:
            if (setting := _setting(seen["settings"], row)) is not None:
                yield Run(setting, next(iter(prints)), row["seed"]).digest, row
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _setting(shared: Iterable[Mapping[str, str]], row: Mapping[str, Any]) -> Setting | None:
    """The setting of a row, where all of its knobs are known and its studies do not contradict each other."""
    levels = {name: value for name, value in row.items() if name in KNOBS}
    texts = set()
    for study in shared:
        before = {} if {"average_epochs", *BEFORE} & {*study, *levels} else BEFORE
        knobs = {k: v for k, v in {**before, **study, **levels}.items() if k not in WATCHING}
        # Two names of one field: the one that the row gives, else the one that says everything.
        if {"dropout", "noise"} <= knobs.keys():
            del knobs["noise" if "dropout" in levels else "dropout"]
        texts.add(tuple(sorted(knobs.items())))
    (knobs,) = texts if len(texts) == 1 else (None,)
    if knobs is None or _missing(dict(knobs)) or dict(knobs)["patience"] != "none":
        return None
    return _turned(knobs)


def _missing(knobs: Mapping[str, str]) -> set[str]:
    """Knobs whose value is not known; one name of the noise is enough."""
    missing = KNOBS.keys() - knobs.keys() - set(WATCHING)
    return missing - {"dropout", "noise"} if {"dropout", "noise"} & knobs.keys() else missing


@cache
def _turned(knobs: tuple[tuple[str, str], ...]) -> Setting | None:
    try:
        return turn(Setting(), **dict(knobs))
    except MLPLabError:  # a level that is no knob's: a name of its own
        return None
