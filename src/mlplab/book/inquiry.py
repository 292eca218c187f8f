"""An answer at work: it observes, its claims are checked, and so are the falsehoods that must be rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlplab.answers import Answer, answer, exercise
from mlplab.claims import Finding, Lab, Observations
from mlplab.errors import InvalidInput
from mlplab.stats import Verdict


@dataclass(frozen=True)
class Inquiry:
    """What was observed for one exercise, and what its claims came to."""

    number: str
    answer: Answer
    observations: Observations
    findings: Mapping[str, Finding]
    controls: Mapping[str, Verdict]

    def to_dict(self) -> dict[str, Any]:
        """JSON: the observations, and each claim with what it rests on and what became of its falsehood."""
        return {
            "exercise": self.number,
            "claims": [
                {"name": claim.name, "kind": claim.kind, "statement": claim.statement._asdict()}
                | self.findings[claim.name].to_dict()
                | {"control": self.controls[claim.name]}
                for claim in self.answer.claims
            ],
            "observations": self.observations.to_dict(),
        }


def written_answer(number: str) -> Answer:
    """The answer to an exercise. Raises UnknownName for no exercise, InvalidInput for one without an answer yet."""
    asked = exercise(number)
    found = answer(number)
    if found is None:
        title = asked.title.en
        raise InvalidInput(
            "exercise", "has no answer yet", f"{number} {title}", "mlplab list shows those that have"
        )
    return found


def conclude(number: str, observations: Observations) -> Inquiry:
    """Check all claims of an answer, and all falsehoods, on what was observed."""
    found = written_answer(number)
    controls: dict[str, Verdict] = {claim.name: claim.control(observations).verdict for claim in found.claims}
    return Inquiry(number, found, observations, found.findings(observations), controls)


def inquire(number: str, lab: Lab) -> Inquiry:
    """Observe in a laboratory, and conclude. Raises InvalidInput for knobs that the answer does not have."""
    found = written_answer(number)
    if not found.trains:
        lab.refuse_knobs(number)
    return conclude(number, found.observe(lab))
