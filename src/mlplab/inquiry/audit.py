"""All published evidence, made again: a line for each exercise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlplab.answers import Book, Effort, Exercise
from mlplab.errors import MLPLabError
from mlplab.inquiry import processes, verification
from mlplab.study import Progress

# `failed`: it could not be run at all; `crashed`: by a defect of ours. `problem` says why.
State = Literal["stands", "does not stand", "unpublished", "failed", "crashed"]


@dataclass(frozen=True)
class Audited:
    """What became of one exercise.

    Arguments:
      contradicted, lapsed, unguarded, differing: names of claims, as in `verification.Verification`.
      num_claims: how many claims were checked.
      seconds: what it took.
      problem: the line of the error that stopped it.
    """

    number: str
    state: State
    contradicted: Sequence[str] = ()
    lapsed: Sequence[str] = ()
    unguarded: Sequence[str] = ()
    differing: Sequence[str] = ()
    num_claims: int = 0
    seconds: float = 0.0
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


def audit(
    book: Book, effort: Effort, *, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[Audited]:
    """Every exercise of a book verified, in its order, as each is done.

    A quick look spreads the answers over the cores, one thread each; full effort takes one answer after another, since
    each fills the machine. None stops the others. If it is stopped, full effort goes on where it was.

    Arguments:
      on_progress: told of training at full effort; answers that run side by side tell nothing.
    """
    if effort == "quick":
        return processes.each(look, list(book.exercises.values()))
    return (_audited(exercise, effort, on_progress) for exercise in book.exercises.values())


def look(exercise: Exercise) -> Audited:
    """One exercise at quick effort, in a process of its own."""
    return _audited(exercise, "quick", None)


def _audited(exercise: Exercise, effort: Effort, on_progress: Callable[[Progress], None] | None) -> Audited:
    number = exercise.number
    if not exercise.is_published:
        return Audited(number, "unpublished")
    start = time.perf_counter()
    try:
        with exercise.running():
            outcome = verification.verify(exercise, effort, on_progress=on_progress)
    except MLPLabError as error:  # errors do not travel between processes
        return Audited(number, "failed", problem=str(error), seconds=time.perf_counter() - start)
    except Exception as error:  # the others are still worth a look, and a crash says nothing of the answer
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Audited(number, "crashed", problem=said, seconds=time.perf_counter() - start)
    return Audited(
        number,
        "stands" if outcome.stands else "does not stand",
        contradicted=outcome.contradicted,
        lapsed=outcome.published.lapsed,
        unguarded=outcome.unguarded,
        differing=outcome.differing,
        num_claims=len(outcome.again.findings),
        seconds=time.perf_counter() - start,
    )
