"""What the file of an exercise provides: how to observe, what to claim, what to show. The texts lie beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    import altair


@dataclass(frozen=True)
class Table:
    """A table for people: a title, column heads, and rows of text."""

    title: Words
    columns: Sequence[Words]
    rows: Sequence[Sequence[str]]


def no_observations(lab: Lab) -> Observations:
    """For an answer that proves and calculates, and trains nothing."""
    return lab.observations()


def no_facts(observations: Observations) -> dict[str, Any]:
    """For an answer whose sentences quote its claims alone."""
    return {}


@dataclass(frozen=True)
class Answer:
    """The answer to one exercise. A new one is a new file: nothing else lists it.

    Arguments:
      claims: in the order in which they are shown.
      figure: draws the observations in a language, as an Altair chart.
      observe: runs the experiment in a laboratory.
      circulated: what the notes say, judged by the claims; empty where they skip the exercise.
      tables: what was observed, for people to read.
      facts: numbers that sentences quote and no claim holds.
      vary: arguments of `mlplab answer` that turn a knob, as a suggestion.
    """

    claims: tuple[Claim, ...]
    figure: Callable[[Observations, Language], altair.TopLevelMixin]
    observe: Callable[[Lab], Observations] = no_observations
    circulated: tuple[Circulated, ...] = ()
    tables: Callable[[Observations, Language], Sequence[Table]] = lambda observations, language: ()
    facts: Callable[[Observations], Mapping[str, Any]] = no_facts
    vary: str = ""

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        if len(set(names)) < len(names):
            raise InvalidInput("Answer.claims", "must have different names", names)
        for said in self.circulated:
            if said.by and said.by not in names:
                raise InvalidInput("Circulated.by", f"must be one of the claims {names}", said.by)

    @property
    def trains(self) -> bool:
        """Whether there is an experiment whose data, seeds and knobs can be turned."""
        return self.observe is not no_observations

    def findings(self, observations: Observations) -> dict[str, Finding]:
        """Every claim, checked."""
        return {claim.name: claim.examine(observations) for claim in self.claims}
