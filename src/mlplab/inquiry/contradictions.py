"""What two pages of a book say against each other: a book that contradicts itself is not built."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from mlplab.answers import Book, Exercise, Observations
from mlplab.inquiry import conflicts

# Fewer seeds say little of an arm's mean.
LEAST_SEEDS = 2


def contradictions(book: Book) -> list[str]:
    """A line for each: two results of one run, two verdicts of one statement, a "best" that another page beats.

    Raises EvidenceError for a file that is damaged.
    """
    published = {
        one: conflicts.content(one.evidence_file) for one in book.exercises.values() if one.is_published
    }
    return [*_results(book), *_verdicts(published), *_beaten(published)]


def _results(book: Book) -> Iterator[str]:
    for common in conflicts.conflicts(book):
        worst = common.conflicts[0]
        figures = " and ".join(f"{value} in {number}" for number, value in worst.results.items())
        yield (
            f"{len(common.conflicts)} of {common.num_runs} runs that {' and '.join(common.exercises)} "
            f"publish both have two results (seed {worst.seed}, {worst.metric}: {figures})"
        )


def _verdicts(published: Mapping[Exercise, Mapping[str, Any]]) -> Iterator[str]:
    """Of statements that stand on several pages word by word, those that hold on one and fail on another."""
    pages: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for exercise, held in published.items():
        for claim in held.get("claims", ()):
            for language, statement in claim.get("statement", {}).items():
                pages[language, statement][claim["verdict"]].append(exercise.number)
    for (_, statement), by_verdict in pages.items():
        if {"holds", "fails"} <= by_verdict.keys():
            holds, fails = (", ".join(by_verdict[verdict]) for verdict in ("holds", "fails"))
            yield f"“{statement}” holds in {holds} and fails in {fails}"


def _beaten(published: Mapping[Exercise, Mapping[str, Any]]) -> Iterator[str]:
    for exercise, held in published.items():
        if (best := exercise.written_answer().best) is None:
            continue
        own = Observations.from_dict(held["observations"])
        record, names = best(own), {used.name for used in own.data}
        for other, theirs in published.items():
            if other is exercise or not names & {used["name"] for used in theirs["observations"]["data"]}:
                continue
            arm, mean = max(
                _means(theirs["observations"]["tables"]), key=lambda found: found[1], default=("", 0.0)
            )
            if mean > record:
                yield (
                    f"The best of {exercise.number}, {record:.4f}, is below the arm {arm!r} of {other.number}, "
                    f"{mean:.4f}"
                )


def _means(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Each arm with its mean test accuracy, where enough runs of it ended."""
    table = tables.get("runs", {"columns": (), "rows": ()})
    if not {"arm", "test_accuracy"} <= set(table["columns"]):
        return
    arm, accuracy = (table["columns"].index(name) for name in ("arm", "test_accuracy"))
    by_arm: dict[str, list[float]] = defaultdict(list)
    for row in table["rows"]:
        if row[accuracy] is not None:
            by_arm[row[arm]].append(row[accuracy])
    for name, values in by_arm.items():
        if len(values) >= LEAST_SEEDS:
            yield name, sum(values) / len(values)
