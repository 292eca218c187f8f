"""An exercise as the book tells it in one language: everything that is said, and nothing of how it looks.

HTML and PDF are set from the same documents. A document is made of an answer, its texts and its published evidence;
of an exercise without an answer, or without evidence, it says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from mlplab.answers import (
    Circulated,
    Claim,
    ClaimKind,
    DataUsed,
    Exercise,
    Finding,
    Judgement,
    Language,
    Looks,
    Verdict,
    WordList,
)
from mlplab.answers.shelf import NUMBER
from mlplab.charts import show
from mlplab.inquiry import evidence, output
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry
from mlplab.inquiry.output import Output
from mlplab.inquiry.texts import render
from mlplab.pages import figures, pandoc, terms

# `open`: nobody has answered it. `unpublished`: answered, and its evidence is yet to be published.
State = Literal["open", "unpublished", "published"]
INTERVALS = {
    "number": show.number_interval,
    "points": show.points_interval,
    "log": show.ratio_interval,
    "log10": partial(show.ratio_interval, base=10),
}


@dataclass(frozen=True)
class ShownClaim:
    """A claim and what became of it. Without evidence there is no verdict.

    Arguments:
      estimate: with the interval that decided and its unit; empty where no replicates were compared.
      interval: what the interval is: its level, method and number of replicates, and the margin.
      needed: how many replicates would decide, where it is undecided.
      detail: the step that was checked, as the check says it: in English, and so on English pages alone.
      unmet: which preconditions do not hold, where it is not testable for that.
      reading: what was found in size and direction, where the verdict's word does not say it.
    """

    name: str
    statement: str
    kind: ClaimKind
    verdict: Verdict | None = None
    estimate: str = ""
    interval: str = ""
    needed: int | None = None
    detail: str = ""
    is_control_rejected: bool = False
    unmet: str = ""
    reading: str = ""


class ShownStatement(NamedTuple):
    """What circulates, what it is worth (None where evidence is yet to decide), and the set of answers that says it:
    its title, and its name."""

    says: str
    judgement: Judgement | None
    source: str
    set_name: str


@dataclass(frozen=True)
class ShownTable:
    """A table for people, in one language."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numeric(self) -> list[int]:
        """Columns of numbers, which are set to the right; the first one names the row."""
        return [
            i
            for i in range(1, len(self.heads))
            if all(re.match(r"[−+\-±<>≈~]?[\d∞]|$|[–—-]$", row[i]) for row in self.rows)
        ]


@dataclass(frozen=True)
class Figure:
    """A figure as Vega-Lite, as SVG for whoever has no program to draw it, and in words for who sees neither.

    On paper it may be narrower than on a screen: `figures.on_paper`.
    """

    spec: dict[str, Any]
    svg: str
    words: str
    paper_svg: str


@dataclass(frozen=True)
class Document:
    """One exercise in one language.

    Arguments:
      editions: titles of the textbook's other editions that ask it, each with its number there.
      judges: whether its book judges sets of answers that circulate.
      text: name of a section of the text (`texts.PARTS`) -> its Markdown; empty unless published.
      sections: name of a section of the text (`texts.PARTS`) -> pandoc's blocks; empty unless published.
      terms: names of terms of the book's glossary that its texts use; the first use is a link.
      pandoc_version: of those blocks.
      circulated: what is said of it elsewhere, and what that is worth.
      code: the program that answers it.
      full_size: the same with mlplab, as large as the answer needs it.
      output: what its program prints and draws, as it was recorded; None where it was not.
      expected: a sentence for each result of the program that the published evidence expects between two numbers.
      vary: arguments of `mlplab answer` that turn a knob.
      command: what a command on it begins with, `mlplab` or `mlplab --book FOLDER`.
      evidence_file: its place below the folder of books.
      made_with: versions, processor, revision of what made the evidence.
    """

    number: str
    language: Language
    title: str
    section: str
    section_title: str
    link: str
    state: State
    command: str = "mlplab"
    editions: Sequence[tuple[str, str]] = ()
    judges: bool = True
    text: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, pandoc.Blocks] = field(default_factory=dict)
    terms: Sequence[str] = ()
    pandoc_version: Sequence[int] = ()
    claims: Sequence[ShownClaim] = ()
    circulated: Sequence[ShownStatement] = ()
    tables: Sequence[ShownTable] = ()
    figure: Figure | None = None
    code: str | None = None
    full_size: str | None = None
    output: Output | None = None
    expected: Sequence[str] = ()
    vary: str = ""
    trains: bool = False
    data: Sequence[DataUsed] = ()
    num_seeds: int = 0
    looks: Looks | None = None
    studies: Sequence[str] = ()
    evidence_file: str = ""
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def seeds_text(self, looks: str) -> str:
        """How many seeds each arm has; where they were added until all was decided, by which plan, in the words of
        `looks`."""
        if self.looks is None:
            return str(self.num_seeds)
        planned = self.looks.planned
        return looks.format(self.num_seeds, ", ".join(map(str, planned)), len(planned))

    @property
    def judgements(self) -> list[Judgement | None]:
        """What the circulated answers are worth, at a glance; where no set says anything, it is skipped."""
        if self.judges and self.state != "open" and not self.circulated:
            return ["skipped"]
        return list(dict.fromkeys(judgement for _, judgement, *_ in self.circulated))


def documents(exercise: Exercise, languages: Sequence[Language]) -> tuple[list[Document], list[str]]:
    """An exercise in each language that it can be read in, and the sentences that no longer hold: published verdicts
    that are not reached.

    Checks every claim and every known-false control again, on the published observations.
    """
    exercise.check()
    held = evidence.published(exercise) if exercise.is_answered else None
    spoken = [language for language in languages if exercise.is_told_in(language)]
    return [_document(exercise, held, language) for language in spoken], broken(held)


def broken(held: Evidence | None) -> list[str]:
    """A line for each claim of published evidence that does not stand, with its sentence."""
    if held is None:
        return []
    lines, inquiry = [], held.inquiry
    words = inquiry.exercise.words(inquiry.exercise.languages[-1])
    statements = {claim.name: claim.statement(words) for claim in inquiry.answer.claims}
    for name in held.lapsed:
        now = inquiry.findings[name].verdict if name in inquiry.findings else "no claim any more"
        was = held.verdicts.get(name, "no claim then")
        lines.append(
            f"{inquiry.number} “{statements.get(name, name)}” was published as “{was}” and is now “{now}”"
        )
    for name, verdict in inquiry.controls.items():
        if verdict != "fails":
            lines.append(
                f"{inquiry.number} “{statements[name]}”: its check no longer rejects what is known to be false"
            )
    if done := output.recorded(inquiry.exercise):
        remedy = f"record it again: mlplab publish {inquiry.number} --program"
        if not done.is_of(inquiry.exercise.program):
            lines.append(f"{inquiry.number}: what its program prints is of another program; {remedy}")
        expected = inquiry.answer.expected(inquiry.observations)
        lines += [
            f"{inquiry.number}: of its program {said}" for said in output.unexpected(done.left, expected)
        ]
    return lines


def estimate_text(claim: Claim, finding: Finding, frame: WordList) -> str:
    """The estimate with the interval that decided, in the claim's unit; empty where no replicates were compared."""
    if finding.comparison is None:
        return ""
    text = INTERVALS[claim.unit](finding.comparison.deciding)
    return f"{text} {frame['labels.points']}" if claim.unit == "points" else text


def interval_text(claim: Claim, finding: Finding, frame: WordList) -> str:
    """What that interval is: level, method and number of replicates; with a margin, how much does not matter, and what
    the interval shows.
    """
    compared = finding.comparison
    if compared is None:
        return ""
    interval = compared.deciding
    told = frame(
        "labels.interval",
        prob=show.level(interval.ci_prob),
        method=frame[f"methods.{interval.ci_method}"],
        n=interval.num_replicates,
    )
    if compared.equivalence is not None:
        margin = compared.equivalence.margin
        told += frame["labels.margin"].format(
            {
                "number": lambda: f"±{show.number(margin)}",
                "points": lambda: f"±{show.points(margin).lstrip('+')} {frame['labels.points']}",
                "log": lambda: show.ratio(margin),
                "log10": lambda: show.ratio(margin, 10),
            }[claim.unit]()
        )
    return told


def reading_text(finding: Finding, frame: WordList) -> str:
    """What was found in size and direction, where "holds" and "fails" do not say it; else nothing."""
    compared = finding.comparison
    if compared is None or finding.verdict in ("undecided", "untestable"):
        return ""
    if compared.is_too_small:
        return frame["readings.too-small"]
    if finding.verdict == "holds":
        return ""
    return frame["readings.otherwise" if compared.claim == "equivalent" else f"readings.{compared.reading}"]


def expected_text(inquiry: Inquiry, frame: WordList) -> list[str]:
    """Between which numbers the published evidence expects each result of the program."""
    expected = inquiry.answer.expected(inquiry.observations)
    return [
        frame("labels.expected", name=name, low=show.number(low, 3), high=show.number(high, 3))
        if low < high
        else frame("labels.expected_exactly", name=name, value=show.number(low, 3))
        for name, (low, high) in expected.items()
    ]


def unmet_text(finding: Finding, claims: Sequence[Claim], words: WordList) -> str:
    """Which preconditions of a claim do not hold, as they are stated; empty where none fails."""
    statements = [f"“{claim.statement(words)}”" for claim in claims if claim.name in finding.unmet]
    return words.frame["labels.unmet"].format(" ".join(statements)) if statements else ""


def _document(exercise: Exercise, held: Evidence | None, language: Language) -> Document:
    section, found = exercise.section, exercise.answer
    frame: dict[str, Any] = {
        "number": exercise.number,
        "language": language,
        "title": exercise.title(language),
        "section": section.number,
        "section_title": exercise.book.spoken(section.title, language),
        "link": exercise.link(language),
        "editions": exercise.book.in_other_editions(exercise.number, language),
        "judges": exercise.book.judges,
        "command": exercise.book.command,
    }
    if found is None:
        return Document(**frame, state="open")
    words = exercise.words(language)
    frame |= {"code": exercise.program, "full_size": exercise.full_size}
    frame |= {"vary": found.vary, "trains": found.trains}
    if held is None:
        return Document(
            **frame,
            state="unpublished",
            claims=[ShownClaim(c.name, c.statement(words), c.kind) for c in found.claims],
            circulated=[
                _said(exercise, said, said.judgement if isinstance(said.judgement, str) else None, words)
                for said in found.circulated
            ],
        )
    inquiry, seen = held.inquiry, held.inquiry.observations
    text = render(inquiry, language)
    linked = {name: _with_links(part, exercise, words) for name, part in text.items()}
    version, parsed = pandoc.parse(linked, language)
    sections, used = terms.linked(parsed, exercise.book.glossary(language), language)
    return Document(
        **frame,
        state="published",
        text=text,
        sections=sections,
        terms=used,
        pandoc_version=version,
        claims=[_shown(claim, inquiry, words) for claim in found.claims],
        circulated=[_said(exercise, said, said.judge(inquiry.findings), words) for said in found.circulated],
        tables=[
            ShownTable(table.title, table.columns, [list(row) for row in table.rows])
            for table in found.tables(seen, words)
        ],
        figure=_drawn(inquiry, words),
        output=output.recorded(exercise),
        expected=expected_text(inquiry, words.frame),
        data=seen.data,
        num_seeds=seen.num_seeds,
        looks=seen.looks,
        studies=seen.studies,
        evidence_file=f"{exercise.book.base.folder.name}/{exercise.number}/{held.path.name}",
        made_with=held.made_with,
    )


def _said(
    exercise: Exercise, said: Circulated, judgement: Judgement | None, words: WordList
) -> ShownStatement:
    held = exercise.book.set_of(said)
    return ShownStatement(
        words[said.key], judgement, exercise.book.spoken(held.title, words.language), held.name
    )


def _drawn(inquiry: Inquiry, words: WordList) -> Figure:
    spec, svg, described = figures.drawn(inquiry.answer.figure(inquiry.observations, words))
    return Figure(spec, svg, described, figures.on_paper(spec, svg))


def _with_links(markdown: str, own: Exercise, words: WordList) -> str:
    """Where a text names another exercise of its book that has a page in its language, a link to that."""

    def linked(named: re.Match[str]) -> str:
        other = own.book.exercises.get(named[1], own)
        has_page = other is not own and other.is_told_in(words.language)
        return f"[{named[0]}]({named[1]}.html)" if has_page else named[0]

    return re.sub(rf"{re.escape(words.frame['labels.exercise'])} ({NUMBER})", linked, markdown)


def _shown(claim: Claim, inquiry: Inquiry, words: WordList) -> ShownClaim:
    finding = inquiry.findings[claim.name]
    compared, frame = finding.comparison, words.frame
    needed = compared.replicates_needed if compared is not None and finding.verdict == "undecided" else None
    return ShownClaim(
        claim.name, claim.statement(words), claim.kind, finding.verdict, estimate_text(claim, finding, frame),
        interval_text(claim, finding, frame), needed,
        finding.detail if words.language == "en" else "", inquiry.controls[claim.name] == "fails",
        unmet_text(finding, inquiry.answer.claims, words), reading_text(finding, frame),
    )  # fmt: skip
