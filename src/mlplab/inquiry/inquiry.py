"""An answer at work: it observes, its claims are checked, and so are the falsehoods that must be rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlplab.answers import Answer, Exercise, Finding, Lab, Observations, Verdict


@dataclass(frozen=True)
class Inquiry:
    """What was observed for one exercise, and what its claims came to."""

    exercise: Exercise
    observations: Observations
    findings: Mapping[str, Finding]
    controls: Mapping[str, Verdict]

    @property
    def number(self) -> str:
        """Of the exercise."""
        return self.exercise.number

    @property
    def answer(self) -> Answer:
        """Whose claims these are."""
        return self.exercise.written_answer()

    @property
    def undecided(self) -> list[str]:
        """Names of the claims that more seeds may decide."""
        return [name for name, finding in self.findings.items() if finding.verdict == "undecided"]

    def to_dict(self) -> dict[str, Any]:
        """JSON: the observations, and each claim with what it rests on and what became of its falsehood."""
        words = {language: self.exercise.words(language) for language in sorted(self.exercise.languages)}
        return {
            "exercise": self.number,
            "claims": [
                {
                    "name": claim.name,
                    "kind": claim.kind,
                    "statement": {language: claim.statement(spoken) for language, spoken in words.items()},
                }
                | self.findings[claim.name].to_dict()
                | {"control": self.controls[claim.name]}
                for claim in self.answer.claims
            ],
            "observations": self.observations.to_dict(),
        }


def conclude(exercise: Exercise, observations: Observations) -> Inquiry:
    """Check all claims of an answer, and all falsehoods, on what was observed.

    Raises InvalidInput for an exercise that nobody has answered yet.
    """
    answer = exercise.written_answer()
    controls: dict[str, Verdict] = {
        claim.name: claim.control(observations).verdict for claim in answer.claims
    }
    return Inquiry(exercise, observations, answer.findings(observations), controls)


def inquire(exercise: Exercise, lab: Lab) -> Inquiry:
    """Observe in a laboratory, and conclude. Raises InvalidInput for what the answer does not take."""
    answer = exercise.written_answer()
    lab.refuse(exercise.number, answer.takes, trains=answer.trains)
    return conclude(exercise, answer.observe(lab))
