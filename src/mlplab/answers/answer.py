"""What the file of an exercise provides: how to observe, what to claim, what to show. The texts lie beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlplab.answers.claim import Circulated, Claim, Finding
from mlplab.answers.lab import OPTIONS, Lab, Option
from mlplab.answers.observations import Observations
from mlplab.answers.words import WordList
from mlplab.errors import InvalidInput, UnknownName
from mlplab.stats import one_family

if TYPE_CHECKING:
    from pathlib import Path

    import altair


@dataclass(frozen=True)
class Table:
    """A table for people: a title, column heads, and rows of text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def no_observations(lab: Lab) -> Observations:
    """For an answer that proves and calculates, and trains nothing."""
    return lab.observations()


def no_facts(observations: Observations) -> dict[str, Any]:
    """For an answer whose sentences quote its claims alone."""
    return {}


@dataclass(frozen=True)
class Answer:
    """The answer to one exercise. A new one is a new folder, and a line in `book.toml`.

    Arguments:
      claims: in the order in which they are shown.
      figure: draws the observations with the words of a language, as an Altair chart.
      observe: runs the experiment in a laboratory.
      takes: what can be turned: another data set, the number of seeds, knobs of the training.
      circulated: what circulates, judged by the claims; empty where the exercise is skipped.
      tables: what was observed, for people to read.
      facts: numbers that sentences quote and no claim holds.
      expected: names of results that its program leaves, each with the interval in which the published evidence
        expects it: what whoever copies the program should see.
      vary: arguments of `mlplab answer` that turn a knob, as a suggestion.
      best: the accuracy on test images that its page calls the best: no arm of another page of its book may beat it.
      submit: writes a file for a competition, made with full effort; returns its path.
    """

    claims: tuple[Claim, ...]
    figure: Callable[[Observations, WordList], altair.TopLevelMixin]
    observe: Callable[[Lab], Observations] = no_observations
    takes: tuple[Option, ...] = OPTIONS
    circulated: tuple[Circulated, ...] = ()
    tables: Callable[[Observations, WordList], Sequence[Table]] = lambda observations, words: ()
    facts: Callable[[Observations], Mapping[str, Any]] = no_facts
    expected: Callable[[Observations], Mapping[str, tuple[float, float]]] = lambda observations: {}
    vary: str = ""
    best: Callable[[Observations], float] | None = None
    submit: Callable[[Path, Lab], Path] | None = None

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        if len(set(names)) < len(names):
            raise InvalidInput("Answer.claims", "must have different names", names)
        for said in self.circulated:
            if said.by and said.by not in names:
                raise InvalidInput("Circulated.by", f"must be one of the claims {names}", said.by)
        self._check_requirements()

    @property
    def trains(self) -> bool:
        """Whether there is an experiment whose data, seeds and knobs can be turned."""
        return self.observe is not no_observations

    def needed_words(self) -> Iterator[str]:
        """The keys that its words must have in every language, beside what its tables and figures ask for."""
        yield "title"
        yield from (claim.key for claim in self.claims)
        yield from (said.key for said in self.circulated)

    def findings(self, observations: Observations) -> dict[str, Finding]:
        """Every claim, checked: its experiments as one family, and `untestable` what requires a claim that does not
        hold.
        """
        found = {claim.name: claim.examine(observations) for claim in self.claims}
        # A verdict of its own, which a check made of several comparisons, is not judged again.
        family = {
            claim.name: comparison
            for claim in self.claims
            if claim.kind == "experiment"
            and (comparison := found[claim.name].comparison) is not None
            and comparison.verdict == found[claim.name].verdict
        }
        looks = 1
        if observations.looks is not None:
            looks = len(observations.looks.planned)
            self._check_looks(family)
        for name, comparison in zip(family, one_family(list(family.values()), looks=looks), strict=True):
            found[name] = replace(found[name], verdict=comparison.verdict, comparison=comparison)
        for claim in self._preconditions_first():
            if unmet := tuple(name for name in claim.requires if found[name].verdict != "holds"):
                found[claim.name] = replace(found[claim.name], verdict="untestable", unmet=unmet)
        return found

    def _check_looks(self, family: Collection[str]) -> None:
        """A verdict that is made of several comparisons would be reached more often, the more looks there are."""
        for claim in self.claims:
            if claim.kind == "experiment" and claim.name not in family:
                rule = "must be one comparison where seeds are added until all is decided"
                raise InvalidInput(f"the check of {claim.name}", rule, "several")

    def _preconditions_first(self) -> list[Claim]:
        """The claims, each behind those that it requires."""
        by_name, ordered = {claim.name: claim for claim in self.claims}, {}

        def add(claim: Claim) -> None:
            for name in claim.requires:
                add(by_name[name])
            ordered.setdefault(claim.name, claim)

        for claim in self.claims:
            add(claim)
        return list(ordered.values())

    def _check_requirements(self) -> None:
        requires = {claim.name: claim.requires for claim in self.claims}
        for name, required in requires.items():
            if isinstance(required, str):
                raise InvalidInput(f"Claim.requires of {name}", "must be a tuple of names", required)
            for other in required:
                if other not in requires:
                    raise UnknownName(f"Claim.requires of {name}", other, list(requires))
        for name in requires:
            if way := _way_back(name, requires):
                rule = "must not lead back to the claim itself"
                raise InvalidInput(f"Claim.requires of {name}", rule, " > ".join(way))


def _way_back(name: str, requires: Mapping[str, Sequence[str]]) -> list[str]:
    """The names on a way from a claim over what it requires to itself; none where there is no such way."""
    ways, seen = [[name]], set()
    while ways:
        way = ways.pop()
        for other in requires[way[-1]]:
            if other == name:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []
