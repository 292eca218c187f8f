"""A claim: a statement, the check that decides it, and a falsehood that the same check must reject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mlplab.answers.observations import Observations, plain
from mlplab.answers.words import WordList
from mlplab.stats import Comparison
from mlplab.stats import Verdict as Decision

ClaimKind = Literal["proof", "property", "experiment", "calculation"]
# `untestable`: a claim that it requires does not hold, so that there is nothing to judge here.
Verdict = Literal[Decision, "untestable"]
Unit = Literal["number", "points", "log", "log10"]
# `half-right`: a right fact with a wrong reason, or one half of two that were claimed. `lost`: a formula that the
# copies no longer show, so that nobody can judge it.
Judgement = Literal[
    "right", "wrong", "half-right", "incomplete", "misread", "unsupported", "untestable", "lost", "skipped"
]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Arguments:
      verdict: `holds`, `fails` or `undecided`; `untestable` where a precondition of its claim does not hold.
      comparison: estimate, interval and tests, where the verdict rests on replicates.
      numbers: what else was measured, by name; sentences quote them.
      detail: one line: the step that was checked, or the counterexample.
      unmet: names of the preconditions that do not hold, of a claim that is `untestable`.
    """

    verdict: Verdict
    comparison: Comparison | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    detail: str = ""
    unmet: tuple[str, ...] = ()

    @classmethod
    def of(cls, comparison: Comparison, **numbers: float) -> Finding:
        """The finding of a statistical comparison: its verdict is the claim's."""
        return cls(comparison.verdict, comparison, numbers)

    @classmethod
    def true_if(cls, truth: bool, detail: str = "", **numbers: float) -> Finding:
        """The finding of a check that always decides."""
        return cls("holds" if truth else "fails", None, numbers, detail)

    def __getattr__(self, name: str) -> Any:
        # Sentences write `swap.estimate` or `swap.worst_error`, whatever the verdict rests on.
        if name.startswith("__"):  # copy and pickle ask before there is anything to look in
            raise AttributeError(name)
        if name in self.numbers:
            return self.numbers[name]
        if self.comparison is not None and name in ("ci_low", "ci_high", "ci_prob"):
            return getattr(self.comparison.deciding, name)  # a sentence quotes the interval that decided
        if self.comparison is not None and hasattr(self.comparison, name):
            return getattr(self.comparison, name)
        raise AttributeError(name)

    def to_dict(self) -> dict[str, Any]:
        """JSON, with every number that the verdict rests on."""
        comparison = None if self.comparison is None else self.comparison.to_dict()
        return {
            "verdict": self.verdict,
            "comparison": comparison,
            "numbers": {name: plain(number) for name, number in self.numbers.items()},
            "detail": self.detail,
        } | ({"unmet": list(self.unmet)} if self.unmet else {})


@dataclass(frozen=True)
class Claim:
    """A statement that can be checked.

    Arguments:
      name: a short name in kebab-case, unique in its answer.
      kind: `proof` (computer algebra decides), `property` (tried on random inputs), `experiment` (replicates and
        statistics decide) or `calculation` (one number against another).
      check: decides about a subject.
      subject: what the claim is about, taken from the observations.
      unit: how its estimate is shown: a plain `number`, `points` for a difference of shares, or as a ratio what is
        the `log` of one, or the `log10`.
      falsehood: the same with something known to be false in its place. The check must find that it fails: a check
        that cannot fail proves nothing.
      figures: what stands in the places of its statement: `{margin}`.
      requires: names of claims of the same answer that must hold before this one is judged. "It helps" is asked
        only where there is something to help against. Where one of them fails or is undecided, the verdict is
        `untestable`.
      post_hoc: whether it was added after a look at the data; its sentence then says so.

    What it states, in each language, is the text of its name among the words of its exercise.
    """

    name: str
    kind: ClaimKind
    check: Callable[[Any], Finding]
    subject: Callable[[Observations], Any]
    falsehood: Callable[[Observations], Any]
    unit: Unit = "number"
    figures: Mapping[str, object] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    post_hoc: bool = False

    @property
    def key(self) -> str:
        """Of its statement, among the words of its exercise."""
        return f"statements.{self.name}"

    def statement(self, words: WordList) -> str:
        """What is claimed, in the language of the words."""
        stated = words(self.key, **self.figures) if self.figures else words[self.key]
        return stated + words.frame["labels.post_hoc"] if self.post_hoc else stated

    def examine(self, observations: Observations) -> Finding:
        """Check the claim on what was observed."""
        return self.check(self.subject(observations))

    def control(self, observations: Observations) -> Finding:
        """Check the falsehood. Its verdict is `fails` if the check is worth anything."""
        return self.check(self.falsehood(observations))


@dataclass(frozen=True)
class Circulated:
    """A statement that circulates, and what it is worth.

    Arguments:
      name: of the statement, which stands in our own words among those of its exercise.
      judgement: fixed where it does not hang on an experiment; or one for each decision of the claim `by`. Where
        that claim is untestable, so is what is said of it: neither right nor wrong.
      by: name of the claim whose verdict decides.
      source: name of the set of answers that says it, as `book.toml` lists them; the first one where none is named.
    """

    name: str
    judgement: Judgement | Mapping[Decision, Judgement]
    by: str = ""
    source: str = ""

    @property
    def key(self) -> str:
        """Of what is said, among the words of its exercise."""
        return f"circulated.{self.name}"

    def judge(self, findings: Mapping[str, Finding]) -> Judgement:
        """The judgement that the findings support."""
        if isinstance(self.judgement, str):
            return self.judgement
        verdict = findings[self.by].verdict
        return "untestable" if verdict == "untestable" else self.judgement[verdict]


def recentred(values: np.ndarray, mean: float) -> np.ndarray:
    """The same spread around another mean: what replicates would look like in a world where `mean` is the truth."""
    return values - values.mean() + mean
