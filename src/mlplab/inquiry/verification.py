"""Published evidence: made with full effort, and made again to see whether its verdicts stand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlplab
from mlplab.answers import Effort, Exercise, Lab, Looks
from mlplab.errors import EvidenceError
from mlplab.inquiry import conflicts, evidence
from mlplab.inquiry.conflicts import Common
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry, inquire
from mlplab.study import Progress, Store, default_path


@dataclass(frozen=True)
class Verification:
    """Published evidence beside the same made anew.

    Arguments:
      effort: `full` repeats what was published; `quick` looks on embedded data, and may be undecided.
    """

    published: Evidence
    again: Inquiry
    effort: Effort

    @property
    def contradicted(self) -> list[str]:
        """Claims that do not stand.

        After full effort: any whose verdict is another one. After a quick look: those that were decided the other
        way, since fewer seeds may leave a claim undecided that more have settled, or a precondition; but for
        experiments on other data.
        """
        return [name for name in self._decided_otherwise if name not in self.differing]

    @property
    def differing(self) -> list[str]:
        """Experiments that came out the other way in a quick look at other data than was published.

        Embedded images are not those of the published study: on them, another verdict contradicts nothing.
        """
        if self.effort == "full" or self._data(self.published.inquiry) == self._data(self.again):
            return []
        experiments = {claim.name for claim in self.again.answer.claims if claim.kind == "experiment"}
        return [name for name in self._decided_otherwise if name in experiments]

    @property
    def _decided_otherwise(self) -> list[str]:
        both = {name: self.again.findings.get(name) for name in self.published.verdicts}
        return [
            name
            for name, now in both.items()
            if now is not None  # the claim is no more: `published.lapsed` says so
            and now.verdict != (before := self.published.verdicts[name])
            and not (self.effort == "quick" and {"undecided", "untestable"} & {before, now.verdict})
        ]

    @staticmethod
    def _data(inquiry: Inquiry) -> set[tuple[str, ...]]:
        return {used.fingerprints for used in inquiry.observations.data}

    @property
    def unguarded(self) -> list[str]:
        """Claims whose falsehood was not rejected; a quick look may leave one undecided."""
        passed = {"holds"} if self.effort == "quick" else {"holds", "undecided"}
        return [name for name, verdict in self.again.controls.items() if verdict in passed]

    @property
    def conflicts(self) -> list[Common]:
        """Other exercises that publish the same runs with other results; this alone contradicts nothing yet."""
        return conflicts.conflicts(self.again.exercise.book, self.again.number)

    @property
    def stands(self) -> bool:
        """Whether nothing is contradicted and no check let a falsehood pass."""
        return not (self.contradicted or self.unguarded or self.published.lapsed)

    def to_dict(self) -> dict[str, Any]:
        """JSON: each claim before and now."""
        return {
            "exercise": self.again.number,
            "stands": self.stands,
            "contradicted": self.contradicted,
            "lapsed": self.published.lapsed,
            "unguarded": self.unguarded,
            "differing": self.differing,
            "two_results": [conflict.to_dict() for common in self.conflicts for conflict in common.conflicts],
            "published": dict(self.published.verdicts),
            "again": self.again.to_dict(),
            "made_with": dict(self.published.made_with),
        }


def verify(
    exercise: Exercise, effort: Effort, *, on_progress: Callable[[Progress], None] | None = None
) -> Verification:
    """Run an answer from nothing, beside what was published. Raises EvidenceError where nothing was published.

    Runs go into a store of their own: the user's holds the very results that are to be checked. If it is stopped,
    the same command goes on; when it has ended, that store is gone.
    """
    answer = exercise.written_answer()
    held = evidence.published(exercise)
    if held is None:
        raise EvidenceError(f"Nothing was published for {exercise.number}: there is nothing to verify.")
    path = default_path().with_name(f"verify-{exercise.book.prefix}{exercise.number}-{effort}.sqlite")
    # What is observed without replicates has no seeds to repeat.
    seen = held.inquiry.observations
    is_repeated = answer.trains and effort == "full"
    seeds = (seen.num_seeds or None) if is_repeated and seen.looks is None else None
    look = seen.looks.taken if is_repeated and seen.looks else 0
    with Store(path) if answer.trains else nullcontext() as store:
        lab = Lab(effort, seeds=seeds, store=store, strict=True, look=look, on_progress=on_progress)
        outcome = Verification(held, inquire(exercise, lab), effort)
    for file in path.parent.glob(f"{path.name}*"):
        if file.is_file():
            file.unlink()
    return outcome


def publish(
    exercise: Exercise,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_looks: Callable[[Looks], None] = lambda looks: None,
    on_look: Callable[[Inquiry], None] = lambda inquiry: None,
) -> Path:
    """Run an answer with full effort and write its evidence; returns the file.

    An answer that plans looks (`Lab.seeds`) gets seeds until every claim is decided, and at most those of its last
    look. If it is stopped, the same command goes on: what was trained is in the store.

    Arguments:
      on_looks: called with the looks that are planned, before each of them.
      on_look: called with what a look found.

    Raises EvidenceError outside a checkout, and where a falsehood was not rejected.
    """
    exercise.written_answer()  # before anything is trained
    refuse_installed(exercise)
    made = _inquired_in_looks(exercise, on_progress, on_looks, on_look)
    passed = [name for name, verdict in made.controls.items() if verdict != "fails"]
    if passed:
        raise EvidenceError(
            f"Not published: the known-false control was not rejected for {', '.join(passed)}."
        )
    return evidence.write(made, exercise.evidence_file)


def refuse_installed(exercise: Exercise) -> None:
    """Raises EvidenceError where the book is part of an installed package, which nobody publishes from."""
    if Path(mlplab.__file__).parent in exercise.folder.parents:
        raise EvidenceError("Evidence is published from a checkout: this is an installed package.")


def _inquired_in_looks(
    exercise: Exercise,
    on_progress: Callable[[Progress], None] | None,
    on_looks: Callable[[Looks], None],
    on_look: Callable[[Inquiry], None],
) -> Inquiry:
    look = 1
    while True:
        lab = Lab("full", strict=True, look=look, on_progress=on_progress, on_looks=on_looks)
        made = inquire(exercise, lab)
        if (looks := made.observations.looks) is None:
            return made
        on_look(made)
        if looks.is_last or not made.undecided:
            return made
        look += 1
