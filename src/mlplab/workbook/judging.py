"""An answer that was handed in, put to the check of the claim that judges our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlplab.answers import Exercise
from mlplab.errors import BookError, MLPLabError
from mlplab.workbook.part import Difference, Formula, Function, Part, Prediction, Unreadable

# `proved` by computer algebra; `holds` on all that was tried; `refuted`; `undecided`: the check could not say;
# `unanswered`: nothing was handed in; `unreadable`: it is not of the kind asked for; `failed`: it raised an error, or
# ran out of its time or memory: neither right nor wrong.
Verdict = Literal["proved", "holds", "refuted", "undecided", "unanswered", "unreadable", "failed"]
PASSED = ("proved", "holds")


@dataclass(frozen=True)
class Outcome:
    """What became of one part.

    Arguments:
      detail: one line: the step that was checked, or what was wrong.
      difference: the smallest input at which the answer parts from ours.
      mistake: name of the known mistake that it makes; its words say more.
      confidence: of a prediction, in percent.
    """

    part: str
    verdict: Verdict
    detail: str = ""
    difference: Difference | None = None
    mistake: str = ""
    confidence: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the part is answered rightly, as far as anybody can tell."""
        return self.verdict in PASSED

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Outcome:
        """The outcome that `to_dict` wrote."""
        difference = Difference(**held["difference"]) if held["difference"] else None
        return cls(**{**held, "difference": difference})


def parts_of(exercise: Exercise) -> tuple[Part, ...]:
    """What an exercise takes from a reader; nothing where it has no `parts.py`.

    Raises BookError where that is not as it should be.
    """
    path = exercise.folder / "parts.py"
    if not path.is_file():
        return ()
    found = getattr(exercise.book.base.module(f"{exercise.number}.parts"), "PARTS", None)
    if not isinstance(found, tuple) or not all(isinstance(part, Part) for part in found):
        raise BookError(path, "PARTS", "must be a tuple of Part")
    names = [part.name for part in found]
    if len(set(names)) < len(names):
        raise BookError(path, "PARTS", "must have different names")
    return found


def judge(exercise: Exercise, part: Part, given: Any, *, seed: int = 0) -> Outcome:
    """Judge what was handed in for a part. Raises whatever the reader's own code raises when it is run.

    Arguments:
      seed: that random inputs are drawn from.
    """
    if given is ...:
        return Outcome(part.name, "unanswered")
    try:
        answer = part.kind.read(part.name, given)
    except Unreadable as error:
        return Outcome(part.name, "unreadable", str(error))
    if isinstance(part.kind, Prediction):
        return _of_prediction(exercise, part, answer)
    difference = _difference(part, answer, part.ours, seed) if part.is_unique else None
    if difference is not None:
        return Outcome(part.name, "refuted", difference=difference, mistake=_mistake(part, answer, seed))
    claim = next((one for one in exercise.written_answer().claims if one.name == part.claim), None)
    if claim is None:
        raise BookError(exercise.folder / "parts.py", part.name, f"is judged by no claim: {part.claim}")
    finding = claim.check(part.subject(answer) if part.subject else answer)
    if finding.verdict == "fails":
        return Outcome(part.name, "refuted", finding.detail, mistake=_mistake(part, answer, seed))
    if finding.verdict != "holds":
        return Outcome(part.name, "undecided", finding.detail)
    proves = claim.kind in ("proof", "calculation") and (not part.is_unique or _is_proved(part, answer))
    return Outcome(part.name, "proved" if proves else "holds", finding.detail)


def _difference(part: Part, answer: Any, other: Any, seed: int) -> Difference | None:
    if isinstance(part.kind, Function):
        return part.kind.difference(answer, other, seed)
    return part.kind.difference(answer, part.kind.read(part.name, other))


def _is_proved(part: Part, answer: Any) -> bool:
    """A formula is proved to be ours by computer algebra, and not by points alone."""
    if isinstance(part.kind, Formula):
        from mlplab.workbook import formulas

        ours = part.kind.read(part.name, part.ours)
        return formulas.compare(answer, ours, part.kind.symbols).answer == "proved"
    return not isinstance(part.kind, Function)


def _mistake(part: Part, answer: Any, seed: int) -> str:
    """The name of the known mistake that an answer makes: it is the same as that wrong answer."""
    for wrong in part.wrong:
        if not wrong.mistake:
            continue
        try:
            same = _difference(part, answer, wrong.answer, seed) is None
        except MLPLabError:
            continue
        if same:
            return wrong.mistake
    return ""


def _of_prediction(exercise: Exercise, part: Part, answer: tuple[str, float]) -> Outcome:
    """By the published evidence of the claim: its direction, or that there is none that matters."""
    from mlplab.inquiry import evidence

    held = evidence.published(exercise)
    finding = held.inquiry.findings.get(part.claim) if held else None
    if finding is None or finding.verdict in ("undecided", "untestable"):
        return Outcome(part.name, "undecided", confidence=answer[1])
    difference = part.kind.difference(answer, part.ours)
    verdict: Verdict = "holds" if difference is None else "refuted"
    return Outcome(part.name, verdict, difference=difference, confidence=answer[1])
