"""An inquiry, and the published one beside it, as text in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table as RichTable
from rich.text import Text

from mlplab.answers import EXERCISES, Table, answered, code, exercise, show
from mlplab.book import labels
from mlplab.book.audit import Audited
from mlplab.book.changes import Changes
from mlplab.book.conflicts import Common, Conflict
from mlplab.book.datasets import source_words
from mlplab.book.document import estimate_text
from mlplab.book.evidence import DIGITS, Evidence, published_numbers
from mlplab.book.inquiry import Inquiry
from mlplab.book.terminal_markdown import CODE_THEME, Markdown
from mlplab.book.terminal_text import Prose
from mlplab.book.texts import HEADINGS, render
from mlplab.book.verification import Verification
from mlplab.claims import Claim, Finding, Language, Observations, Words

COLOURS: dict[str, str] = {
    "holds": "green", "fails": "red", "undecided": "yellow",
    "right": "green", "wrong": "red", "incomplete": "yellow", "misread": "red", "unsupported": "yellow",
    "skipped": "yellow",
}  # fmt: skip

# Why a published verdict does not stand.
FAULTS = (labels.CONTRADICTED, labels.LAPSED, labels.UNGUARDED)


def header(
    now: Inquiry, evidence: Evidence | None, notes: Sequence[Words], language: Language
) -> RenderableType:
    """Number, title and link; then what it stands on, with every stand-in and every turned knob named."""
    asked = exercise(now.number)
    lines: list[RenderableType] = [
        *(Prose(f"! {note.of(language)}", style="yellow") for note in notes),
        Rule(Text(f"{now.number}  {asked.title.of(language)}", style="bold")),
        Text(f"{labels.SECTION.of(language)} {asked.section.link(language)}", style="dim"),
    ]
    if now.observations.data:
        stands = stands_on(now.observations, language)
        lines.append(Text(f"{labels.THIS_RUN.of(language)}: {stands}", style="dim"))
    if changed := Changes.of(now, evidence).line(language):
        lines.append(Prose(changed, style="yellow"))
    return Group(*lines)


def stands_on(observations: Observations, language: Language) -> str:
    """Data, their source, and the number of seeds; nothing for what needs neither."""
    data = ", ".join(
        f"{used.name} ({source})" if (source := source_words(used.source).of(language)) else used.name
        for used in observations.data
    )
    seeds = f"{observations.num_seeds} {labels.SEEDS.of(language)}" if observations.num_seeds else ""
    return _joined(data, seeds)


def full_answer(
    now: Inquiry, evidence: Evidence | None, figures: tuple[Path, Path] | str, language: Language
) -> RenderableType:
    """The whole answer. `figures` are the paths of what was drawn, or why nothing was."""
    text = render(now.number, now.answer, now.observations, now.findings, language)
    parts: list[RenderableType] = [_heading("question", language), Markdown(text["question"])]
    parts += _short_answers(now, text["short"], evidence, language)
    parts += [_heading("why", language), Markdown(text["why"])]
    parts.append(_title(labels.EVIDENCE.of(language)))
    for inquiry, label, stands in _both(now, evidence, language):
        tables = inquiry.answer.tables(inquiry.observations, language)
        where = ": ".join(part for part in (label, stands) if part) if now.answer.trains else ""
        parts += [_table(table, where, language) for table in tables]
        if not now.answer.trains:
            break  # nothing was sampled: the published table is the same
    parts += [_claims(now, evidence, language), *_circulates(now, evidence, text, language)]
    parts += [_heading("limits", language), Markdown(text["limits"])]
    if changes := Changes.of(now, evidence):
        parts.append(Prose(labels.CHANGED_LIMITS.of(language).format(changes.here), style="yellow"))
    parts += [
        *_code(now.number, language),
        *_ways_on(now, evidence, figures, language),
    ]
    return Group(*parts)


def list_of_exercises(language: Language) -> RenderableType:
    """All 49 exercises with their state."""
    done, published = answered(), published_numbers()
    table = RichTable(
        box=box.SIMPLE_HEAD, title=f"{len(done)} / {len(EXERCISES)} {labels.ANSWERED.of(language)}"
    )
    table.add_column(labels.EXERCISE.of(language), no_wrap=True)
    table.add_column(labels.TITLE.of(language))
    table.add_column(labels.STATE.of(language), no_wrap=True)
    for number, asked in EXERCISES.items():
        state, style = labels.OPEN, "dim"
        if number in done:
            state, style = (
                (labels.ANSWERED, "green") if number in published else (labels.UNPUBLISHED, "yellow")
            )
        table.add_row(number, asked.title.of(language), Text(state.of(language), style=style))
    return table


def verdict_text(finding: Finding, language: Language) -> Text:
    """A verdict in words, shape and colour."""
    verdict = finding.verdict
    words = f"{labels.SHAPES[verdict]} {labels.VERDICTS[verdict].of(language)}"
    return Prose(words, style=COLOURS[verdict])


def verification(outcome: Verification, language: Language) -> RenderableType:
    """Each claim as it was published and as it is now, then whether the published verdicts stand."""
    parts: list[RenderableType] = [
        header(outcome.again, outcome.published, (), language),
        _claims(outcome.again, outcome.published, language),
    ]
    found = outcome.contradicted, outcome.published.lapsed, outcome.unguarded
    parts += [Text(line, style="red") for line in _named(FAULTS, found, language)]
    parts += [
        Text(line, style="yellow") for line in _named([labels.DIFFERING], [outcome.differing], language)
    ]
    parts += [Text(line, style="yellow") for line in two_results(outcome.conflicts, language)]
    if outcome.stands:
        parts.append(Text(labels.STANDS.of(language), style="green"))
    return Group(*parts)


def two_results(found: Sequence[Common], language: Language) -> list[str]:
    """A line for each two exercises that publish the same runs with two results, and below it one for each run."""
    lines = []
    for common in found:
        one, other = common.exercises
        lines.append(
            labels.TWO_RESULTS.of(language).format(
                different=len(common.conflicts), shared=common.num_runs, one=one, other=other
            )
        )
        lines += [f"  {_one_run(conflict, language)}" for conflict in common.conflicts]
    return lines


def _one_run(conflict: Conflict, language: Language) -> str:
    here, there = (
        (labels.STATUS[value].of(language) if isinstance(value, str) else show.number(value, DIGITS))
        + labels.OF_KIND.of(language).format(number)
        for number, value in conflict.results.items()
    )
    return labels.ONE_RUN.of(language).format(
        digest=conflict.digest[:8],
        seed=conflict.seed,
        metric=labels.METRICS[conflict.metric].of(language),
        here=here,
        there=there,
    )


def audited(one: Audited, language: Language) -> Text:
    """A line for an exercise that was verified among all, and what does not stand in it below."""
    style, shape = {"stands": ("green", labels.SHAPES["holds"]), "unpublished": ("dim", " ")}.get(
        one.state, ("red", labels.SHAPES["fails"])
    )
    line = Text(f"{one.number:<7}{shape} {labels.AUDITED[one.state].of(language)}", style=style)
    if one.num_claims:
        line.append(f"  {labels.CHECKED.of(language).format(one.num_claims)}, {one.seconds:.0f} s", "dim")
    if one.problem:
        line.append(f": {one.problem}")
    found = one.contradicted, one.lapsed, one.unguarded, one.differing
    for said in _named([*FAULTS, labels.DIFFERING], found, language):
        line.append(f"\n         {said}", "default")
    return line


def _named(words: Sequence[labels.Words], found: Sequence[Sequence[str]], language: Language) -> list[str]:
    """What is said of claims, with their names, where there are any."""
    return [
        said.of(language).format(", ".join(names)) for said, names in zip(words, found, strict=True) if names
    ]


def audit(all_: Sequence[Audited], seconds: float, language: Language) -> Text:
    """How many stand of all that is published, and what it took."""
    states = [one.state for one in all_]
    stood, unpublished = states.count("stands"), states.count("unpublished")
    words = labels.AUDIT.of(language).format(
        stood=stood, published=len(all_) - unpublished, unpublished=unpublished, seconds=round(seconds)
    )
    return Text(words, style="green" if stood == len(all_) - unpublished else "red")


def _both(now: Inquiry, evidence: Evidence | None, language: Language) -> list[tuple[Inquiry, str, str]]:
    """This run and the published one: each with its name and what it stands on, its turned knobs too."""
    changes = Changes.of(now, evidence)
    both = [(now, labels.THIS_RUN, changes.here)]
    if evidence is not None:
        both.append((evidence.inquiry, labels.PUBLISHED, changes.there))
    return [
        (inquiry, label.of(language), _joined(stands_on(inquiry.observations, language), knobs))
        for inquiry, label, knobs in both
    ]


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _short_answers(
    now: Inquiry, text: str, evidence: Evidence | None, language: Language
) -> list[RenderableType]:
    if evidence is None or not now.answer.trains:
        return [_heading("short", language), Markdown(text)]
    held = evidence.inquiry
    said = render(held.number, held.answer, held.observations, held.findings, language)["short"]
    (_, run, run_stands), (_, published, published_stands) = _both(now, evidence, language)
    return [
        _heading("short", language),
        Text(f"{published}: {published_stands}", style="italic"),
        Markdown(said),
        Text(f"{run}: {run_stands}", style="italic"),
        Markdown(text),
    ]


def _claims(now: Inquiry, evidence: Evidence | None, language: Language) -> RenderableType:
    table = RichTable(box=box.SIMPLE_HEAD, show_lines=False, expand=True)
    table.add_column(labels.CLAIM.of(language), ratio=3)
    changes = Changes.of(now, evidence)
    both = _both(now, evidence, language)
    for (_, label, _), knobs in zip(both, (changes.here, changes.there), strict=False):
        # Two columns under different settings are no repetition: each says under which it stands.
        table.add_column(Prose(f"{label}\n{knobs}") if knobs else label, ratio=2)
    for claim in now.answer.claims:
        kind = labels.OF_KIND.of(language).format(labels.KINDS[claim.kind].of(language))
        cells = [_finding(claim, inquiry.findings[claim.name], language) for inquiry, _, _ in both]
        table.add_row(Prose.assemble(claim.statement.of(language), (kind, "dim")), *cells)
    return table


def _finding(claim: Claim, finding: Finding, language: Language) -> Text:
    cell = verdict_text(finding, language)
    if estimate := estimate_text(claim, finding):
        cell.append(f"\n{estimate}", style="default")
    if finding.verdict == "undecided" and finding.comparison and finding.comparison.replicates_needed:
        cell.append(
            "\n" + labels.NEEDS.of(language).format(finding.comparison.replicates_needed), style="dim"
        )
    return cell


def _circulates(
    now: Inquiry, evidence: Evidence | None, text: Mapping[str, str], language: Language
) -> list[RenderableType]:
    # What is published decides about what circulates; a quick run of fewer seeds could only say that it does not know.
    judge = now if evidence is None else evidence.inquiry
    said = (
        text
        if evidence is None
        else render(judge.number, judge.answer, judge.observations, judge.findings, language)
    )
    lines: list[RenderableType] = [_heading("circulates", language)]
    for claim in judge.answer.circulated:
        judgement = claim.judge(judge.findings)
        word = labels.JUDGEMENTS[judgement].of(language)
        lines.append(Prose.assemble(f"“{claim.says.of(language)}” ", (f"→ {word}", COLOURS[judgement])))
    return [*lines, Markdown(said["circulates"])]


def _code(number: str, language: Language) -> list[RenderableType]:
    program = code(number)
    if program is None:
        return []
    highlighted = Syntax(program.rstrip(), "python", theme=CODE_THEME, background_color="default")
    return [_title(labels.CODE.of(language)), highlighted]


def _ways_on(
    now: Inquiry, evidence: Evidence | None, figures: tuple[Path, Path] | str, language: Language
) -> list[RenderableType]:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    if isinstance(figures, str):
        grid.add_row(labels.FIGURE.of(language), figures)
    else:
        for path in figures:
            grid.add_row(labels.FIGURE.of(language), str(path))
    if now.answer.vary:
        grid.add_row(labels.VARY.of(language), f"mlplab answer {now.number} {now.answer.vary}")
    if evidence is not None:
        grid.add_row(labels.AGAIN.of(language), f"mlplab verify {now.number}")
        if evidence.lapsed:
            grid.add_row("", Text(labels.LAPSED.of(language).format(", ".join(evidence.lapsed)), style="red"))
    return [Padding(grid, (1, 0, 0, 0))]


def _table(table: Table, where: str, language: Language) -> RenderableType:
    title = f"{table.title.of(language)}\n{where}" if where else table.title.of(language)
    drawn = RichTable(title=Prose(title), title_justify="left", box=box.SIMPLE_HEAD)
    for index, head in enumerate(table.columns):
        drawn.add_column(head.of(language), justify="left" if index == 0 else "right")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


def _heading(section: str, language: Language) -> RenderableType:
    return _title(HEADINGS[section][1 if language == "zh" else 0])


def _title(words: str) -> RenderableType:
    return Padding(Text(words, style="bold underline"), (1, 0, 0, 0))


def console() -> Console:
    """Where answers are printed: colours only where somebody looks."""
    # Without markup: `pip install 'mlplab[book]'` and a folder named [x] are printed as they are.
    return _Output(highlight=False, markup=False, emoji=False)


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the command line ends; Rich's own way out is status 1
