"""An exercise as the book tells it in one language: everything that is said, and nothing of how it looks.

HTML and PDF are set from the same documents. A document is made of an answer, its texts and its published evidence;
of an exercise without an answer, or without evidence, it says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlplab.answers import EXERCISES, Answer, answer, code, exercise, show
from mlplab.book import evidence, figures, labels, pandoc
from mlplab.book.evidence import Evidence
from mlplab.book.texts import render
from mlplab.claims import Claim, ClaimKind, Finding, Judgement, Language, Observations
from mlplab.claims.observations import DataUsed
from mlplab.stats import Verdict

# `open`: nobody has answered it. `unpublished`: answered, and its evidence is yet to be published.
State = Literal["open", "unpublished", "published"]


@dataclass(frozen=True)
class ShownClaim:
    """A claim and what became of it. Without evidence there is no verdict.

    Arguments:
      estimate: with its interval and unit; empty where no replicates were compared.
      interval: what the interval is: its level, method and number of replicates.
      needed: how many replicates would decide, where it is undecided.
      detail: the step that was checked, as the check says it.
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
      sections: name of a section of the text (`texts.HEADINGS`) -> pandoc's blocks; empty unless published.
      pandoc_version: of those blocks.
      circulated: what the notes say, and what it is worth; None for the worth where evidence is yet to decide.
      code: the program that answers it.
      vary: arguments of `mlplab answer` that turn a knob.
      made_with: versions, processor, revision of what made the evidence.
    """

    number: str
    language: Language
    title: str
    section: str
    section_title: str
    link: str
    state: State
    sections: Mapping[str, pandoc.Blocks] = field(default_factory=dict)
    pandoc_version: Sequence[int] = ()
    claims: Sequence[ShownClaim] = ()
    circulated: Sequence[tuple[str, Judgement | None]] = ()
    tables: Sequence[ShownTable] = ()
    figure: Figure | None = None
    code: str | None = None
    vary: str = ""
    trains: bool = False
    data: Sequence[DataUsed] = ()
    num_seeds: int = 0
    studies: Sequence[str] = ()
    made_with: Mapping[str, Any] = field(default_factory=dict)

    @property
    def judgements(self) -> list[Judgement | None]:
        """What the circulated answer is worth, at a glance; notes that say nothing skip it."""
        if self.state != "open" and not self.circulated:
            return ["skipped"]
        return list(dict.fromkeys(judgement for _, judgement in self.circulated))


def documents(number: str, languages: Sequence[Language]) -> tuple[list[Document], list[str]]:
    """An exercise in each language, and the sentences that no longer hold: published verdicts that are not reached.

    Checks every claim and every known-false control again, on the published observations.
    """
    found = answer(number)
    held = evidence.published(number) if found else None
    return [_document(number, found, held, language) for language in languages], broken(held)


def broken(held: Evidence | None) -> list[str]:
    """A line for each claim of published evidence that does not stand, with its sentence."""
    if held is None:
        return []
    lines, inquiry = [], held.inquiry
    statements = {claim.name: claim.statement.en for claim in inquiry.answer.claims}
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
    return lines


def estimate_text(claim: Claim, finding: Finding) -> str:
    """The estimate with its interval, in the claim's unit; empty where no replicates were compared."""
    if finding.comparison is None:
        return ""
    form = show.points_interval if claim.unit == "points" else show.number_interval
    return form(finding.comparison)


def _document(number: str, found: Answer | None, held: Evidence | None, language: Language) -> Document:
    asked = exercise(number)
    frame: dict[str, Any] = {
        "number": number,
        "language": language,
        "title": asked.title.of(language),
        "section": asked.section.number,
        "section_title": asked.section.title.of(language),
        "link": asked.section.link(language),
    }
    if found is None:
        return Document(**frame, state="open")
    frame |= {"code": code(number), "vary": found.vary, "trains": found.trains}
    if held is None:
        return Document(
            **frame,
            state="unpublished",
            claims=[ShownClaim(c.name, c.statement.of(language), c.kind) for c in found.claims],
            circulated=[
                (said.says.of(language), said.judgement if isinstance(said.judgement, str) else None)
                for said in found.circulated
            ],
        )
    inquiry, seen = held.inquiry, held.inquiry.observations
    written = render(number, found, seen, inquiry.findings, language)
    text = {name: _with_links(part, number) for name, part in written.items()}
    version, sections = pandoc.parse(text, language)
    shown_tables = [
        ShownTable(
            table.title.of(language),
            [head.of(language) for head in table.columns],
            [list(row) for row in table.rows],
        )
        for table in found.tables(seen, language)
    ]
    return Document(
        **frame,
        state="published",
        sections=sections,
        pandoc_version=version,
        claims=[
            _shown(claim, inquiry.findings[claim.name], inquiry.controls[claim.name], language)
            for claim in found.claims
        ],
        circulated=[(said.says.of(language), said.judge(inquiry.findings)) for said in found.circulated],
        tables=shown_tables,
        figure=_drawn(found, seen, language),
        data=seen.data,
        num_seeds=seen.num_seeds,
        studies=seen.studies,
        made_with=held.made_with,
    )


def _drawn(found: Answer, seen: Observations, language: Language) -> Figure:
    spec, svg, words = figures.drawn(found.figure(seen, language))
    return Figure(spec, svg, words, figures.on_paper(spec, svg))


def _with_links(markdown: str, own: str) -> str:
    """Where a text names another exercise, a link to its page."""

    def linked(named: re.Match[str]) -> str:
        return f"[{named[0]}]({named[1]}.html)" if named[1] in EXERCISES and named[1] != own else named[0]

    return re.sub(r"(?:exercise|练习) (\d+\.\d+\.\d+)", linked, markdown)


def _shown(claim: Claim, finding: Finding, control: Verdict, language: Language) -> ShownClaim:
    compared = finding.comparison
    interval, estimate = "", estimate_text(claim, finding)
    if compared is not None:
        interval = labels.INTERVAL.of(language).format(
            prob=f"{compared.ci_prob:.0%}",
            method=labels.METHODS[compared.ci_method].of(language),
            n=compared.num_replicates,
        )
        if claim.unit == "points":
            estimate += f" {labels.POINTS.of(language)}"
    needed = compared.replicates_needed if compared is not None and finding.verdict == "undecided" else None
    return ShownClaim(
        claim.name, claim.statement.of(language), claim.kind, finding.verdict, estimate, interval, needed,
        finding.detail, control == "fails",
    )  # fmt: skip
