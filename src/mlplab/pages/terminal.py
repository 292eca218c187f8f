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

from mlplab.answers import (
    Book,
    Claim,
    Finding,
    Language,
    Looks,
    Observations,
    Shelf,
    Table,
    WordList,
)
from mlplab.answers.words import Note
from mlplab.charts import show
from mlplab.inquiry import output
from mlplab.inquiry.audit import Audited
from mlplab.inquiry.changes import Changes
from mlplab.inquiry.conflicts import Common, Conflict
from mlplab.inquiry.evidence import DIGITS, Evidence
from mlplab.inquiry.inquiry import Inquiry
from mlplab.inquiry.texts import render
from mlplab.inquiry.verification import Verification
from mlplab.pages import labels
from mlplab.pages.datasets import source_words
from mlplab.pages.document import estimate_text, expected_text, interval_text, reading_text, unmet_text
from mlplab.pages.terminal_markdown import CODE_THEME, Markdown
from mlplab.pages.terminal_text import Prose

COLOURS: dict[str, str] = {
    "holds": "green", "fails": "red", "undecided": "yellow",
    "right": "green", "wrong": "red", "half-right": "yellow", "incomplete": "yellow", "misread": "red",
    "unsupported": "yellow", "untestable": "yellow", "lost": "yellow", "skipped": "yellow",
}  # fmt: skip

# Why a published verdict does not stand.
FAULTS = ("labels.contradicted", "labels.lapsed", "labels.unguarded")


def header(
    now: Inquiry, evidence: Evidence | None, notes: Sequence[Note], language: Language
) -> RenderableType:
    """Number, title and link; then what it stands on, with every stand-in and every turned knob named."""
    exercise = now.exercise
    words = exercise.words(language)
    frame = words.frame
    lines: list[RenderableType] = [
        *(Prose(f"! {note.of(words)}", style="yellow") for note in notes),
        Rule(Text(f"{exercise.number}  {exercise.title(language)}", style="bold")),
    ]
    if editions := exercise.book.in_other_editions(exercise.number, language):
        lines.append(Text(" · ".join(f"{title}: {number}" for title, number in editions), style="dim"))
    if link := exercise.link(language):
        lines.append(Text(f"{frame['labels.section']} {link}", style="dim"))
    if now.observations.data:
        stands = stands_on(now.observations, frame)
        lines.append(Text(f"{frame['labels.this_run']}: {stands}", style="dim"))
    if changed := Changes.of(now, evidence).line(frame):
        lines.append(Prose(changed, style="yellow"))
    return Group(*lines)


def stands_on(observations: Observations, frame: WordList) -> str:
    """Data, their source, and the number of seeds; nothing for what needs neither."""
    data = ", ".join(
        f"{used.name} ({source})" if (source := source_words(used.source, frame)) else used.name
        for used in observations.data
    )
    seeds = f"{observations.num_seeds} {frame['labels.seeds']}" if observations.num_seeds else ""
    return _joined(data, seeds)


def full_answer(
    now: Inquiry, evidence: Evidence | None, figures: tuple[Path, Path] | str, language: Language
) -> RenderableType:
    """The whole answer. `figures` are the paths of what was drawn, or why nothing was."""
    text = render(now, language)
    words = now.exercise.words(language)
    frame = words.frame
    parts: list[RenderableType] = [_heading("question", frame), Markdown(text["question"])]
    short = _short_answers(now, text["short"], evidence, language)
    parts += [*short, _title(frame["labels.sure"]), _claims(now, evidence, words)]
    parts += [_heading("why", frame), Markdown(text["why"])]
    parts.append(_title(frame["labels.evidence"]))
    for inquiry, label, stands in _both(now, evidence, frame):
        tables = inquiry.answer.tables(inquiry.observations, words)
        where = ": ".join(part for part in (label, stands) if part) if now.answer.trains else ""
        parts += [_table(table, where) for table in tables]
        if not now.answer.trains:
            break  # nothing was sampled: the published table is the same
    parts += _circulates(now, evidence, text, language)
    parts += [_heading("limits", frame), Markdown(text["limits"])]
    if changes := Changes.of(now, evidence):
        parts.append(Prose(frame["labels.changed_limits"].format(changes.here), style="yellow"))
    parts += [
        *_code(now if evidence is None else evidence.inquiry, frame),
        *_ways_on(now, evidence, figures, frame),
        *short,  # what a reader sees who looks at the end of what scrolled by
    ]
    return Group(*parts)


def list_of_exercises(shelf: Shelf, language: Language) -> RenderableType:
    """All exercises of all books with their state, and why one of them cannot be opened."""
    return Group(*(_list_of(book, shelf, language) for book in shelf.books))


def book_title(shelf: Shelf, book: Book, language: Language) -> str:
    """What stands above a book where there are several; nothing where it is alone."""
    return shelf.title(book, book.nearest(language)) if len(shelf.books) > 1 else ""


def _list_of(book: Book, shelf: Shelf, language: Language) -> RenderableType:
    frame = book.frame(book.nearest(language))
    count = f"{len(book.answered)} / {len(book.exercises)} {frame['labels.answered']}"
    title = "\n".join(filter(None, (book_title(shelf, book, language), count)))
    table = RichTable(box=box.SIMPLE_HEAD, title=title)
    table.add_column(frame["labels.exercise"], no_wrap=True)
    table.add_column(frame["labels.title"])
    table.add_column(frame["labels.state"], no_wrap=True)
    for number, exercise in book.exercises.items():
        state, style = "labels.open", "dim"
        if exercise.is_answered:
            state, style = (
                ("labels.answered", "green") if exercise.is_published else ("labels.unpublished", "yellow")
            )
        shown = Text(frame[state], style=style)
        asked: RenderableType = exercise.title(language)
        if problem := exercise.problem:
            asked, shown = Text(problem, style="red"), Text(frame["labels.broken"], style="red")
        table.add_row(number, asked, shown)
    for folder in book.unlisted:
        problem = Text(f"{folder} is in no section of {book.base.file}", style="red")
        table.add_row(folder.name, problem, Text(frame["labels.broken"], style="red"))
    return table


def verdict_text(finding: Finding, frame: WordList) -> Text:
    """A verdict in words, shape and colour."""
    verdict = finding.verdict
    words = f"{labels.SHAPES[verdict]} {frame[f'verdicts.{verdict}']}"
    return Prose(words, style=COLOURS[verdict])


def verification(outcome: Verification, language: Language) -> RenderableType:
    """Each claim as it was published and as it is now, then whether the published verdicts stand."""
    words = outcome.again.exercise.words(language)
    parts: list[RenderableType] = [
        header(outcome.again, outcome.published, (), language),
        _claims(outcome.again, outcome.published, words),
    ]
    found = outcome.contradicted, outcome.published.lapsed, outcome.unguarded
    parts += [Text(line, style="red") for line in _named(FAULTS, found, words.frame)]
    parts += [
        Text(line, style="yellow") for line in _named(["labels.differing"], [outcome.differing], words.frame)
    ]
    parts += [Text(line, style="yellow") for line in two_results(outcome.conflicts, words.frame)]
    if outcome.stands:
        parts.append(Text(words.frame["labels.stands"], style="green"))
    return Group(*parts)


def plan(looks: Looks) -> str:
    """Which of the planned looks comes now: how many seeds each has, and at which level it tests."""
    planned = looks.planned
    return (
        f"Look {looks.taken} of {len(planned)}: {planned[looks.taken - 1]} seeds of {planned[-1]} at most, "
        f"each look at 1/{len(planned)} of the level."
    )


def look(found: Inquiry) -> str:
    """What a look left undecided, what was trained for it, and what the looks that are left may cost."""
    looks, seen = found.observations.looks, found.observations
    assert looks is not None
    spent = float(seen["runs"]["seconds"].sum()) if "seconds" in seen.tables.get("runs", ()) else None
    cost = "" if spent is None else f" Trained for {spent:.0f} s."
    if not found.undecided:
        return f"All is decided.{cost}"
    left = f"{len(found.undecided)} of {len(found.findings)} undecided: {', '.join(found.undecided)}.{cost}"
    if looks.is_last or spent is None:
        return left
    more = spent * (looks.planned[-1] / looks.planned[looks.taken - 1] - 1)
    return f"{left} At most about {more:.0f} s more."


def two_results(found: Sequence[Common], frame: WordList) -> list[str]:
    """A line for each two exercises that publish the same runs with two results, and below it one for each run."""
    lines = []
    for common in found:
        one, other = common.exercises
        different, shared = len(common.conflicts), common.num_runs
        lines.append(frame("labels.two_results", different=different, shared=shared, one=one, other=other))
        lines += [f"  {_one_run(conflict, frame)}" for conflict in common.conflicts]
    return lines


def _one_run(conflict: Conflict, frame: WordList) -> str:
    here, there = (
        (frame[f"status.{value}"] if isinstance(value, str) else show.number(value, DIGITS))
        + frame["labels.of_kind"].format(number)
        for number, value in conflict.results.items()
    )
    return frame(
        "labels.one_run",
        digest=conflict.digest[:8],
        seed=conflict.seed,
        metric=frame[f"metrics.{conflict.metric}"],
        here=here,
        there=there,
    )


def audited(one: Audited, frame: WordList) -> Text:
    """A line for an exercise that was verified among all, and what does not stand in it below."""
    style, shape = {"stands": ("green", labels.SHAPES["holds"]), "unpublished": ("dim", " ")}.get(
        one.state, ("red", labels.SHAPES["fails"])
    )
    line = Text(f"{one.number:<7}{shape} {frame[f'audited.{one.state}']}", style=style)
    if one.num_claims:
        line.append(f"  {frame['labels.checked'].format(one.num_claims)}, {one.seconds:.0f} s", "dim")
    if one.problem:
        line.append(f": {one.problem}")
    found = one.contradicted, one.lapsed, one.unguarded, one.differing
    for said in _named([*FAULTS, "labels.differing"], found, frame):
        line.append(f"\n         {said}", "default")
    return line


def _named(keys: Sequence[str], found: Sequence[Sequence[str]], frame: WordList) -> list[str]:
    """What is said of claims, with their names, where there are any."""
    return [frame[key].format(", ".join(names)) for key, names in zip(keys, found, strict=True) if names]


def audit(all_: Sequence[Audited], seconds: float, frame: WordList) -> Text:
    """How many stand of all that is published, and what it took."""
    states = [one.state for one in all_]
    stood, unpublished = states.count("stands"), states.count("unpublished")
    words = frame(
        "labels.audit",
        stood=stood,
        published=len(all_) - unpublished,
        unpublished=unpublished,
        seconds=round(seconds),
    )
    return Text(words, style="green" if stood == len(all_) - unpublished else "red")


def _both(now: Inquiry, evidence: Evidence | None, frame: WordList) -> list[tuple[Inquiry, str, str]]:
    """This run and the published one: each with its name and what it stands on, its turned knobs too."""
    changes = Changes.of(now, evidence)
    both = [(now, "labels.this_run", changes.here)]
    if evidence is not None:
        both.append((evidence.inquiry, "labels.published", changes.there))
    return [
        (inquiry, frame[label], _joined(stands_on(inquiry.observations, frame), knobs))
        for inquiry, label, knobs in both
    ]


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _short_answers(
    now: Inquiry, text: str, evidence: Evidence | None, language: Language
) -> list[RenderableType]:
    frame = now.exercise.book.frame(language)
    if evidence is None or not now.answer.trains:
        return [_heading("short", frame), Markdown(text)]
    held = evidence.inquiry
    said = render(held, language)["short"]
    (_, run, run_stands), (_, published, published_stands) = _both(now, evidence, frame)
    return [
        _heading("short", frame),
        Text(f"{published}: {published_stands}", style="italic"),
        Markdown(said),
        Text(f"{run}: {run_stands}", style="italic"),
        Markdown(text),
    ]


def _claims(now: Inquiry, evidence: Evidence | None, words: WordList) -> RenderableType:
    frame = words.frame
    table = RichTable(box=box.SIMPLE_HEAD, show_lines=False, expand=True)
    table.add_column(frame["labels.claim"], ratio=3)
    changes = Changes.of(now, evidence)
    both = _both(now, evidence, frame)
    for (_, label, _), knobs in zip(both, (changes.here, changes.there), strict=False):
        # Two columns under different settings are no repetition: each says under which it stands.
        table.add_column(Prose(f"{label}\n{knobs}") if knobs else label, ratio=2)
    for claim in now.answer.claims:
        kind = frame["labels.of_kind"].format(frame[f"kinds.{claim.kind}"])
        cells = [_finding(claim, inquiry, words) for inquiry, _, _ in both]
        table.add_row(Prose.assemble(claim.statement(words), (kind, "dim")), *cells)
    return table


def _finding(claim: Claim, inquiry: Inquiry, words: WordList) -> Text:
    finding, frame = inquiry.findings[claim.name], words.frame
    cell = verdict_text(finding, frame)
    if unmet := unmet_text(finding, inquiry.answer.claims, words):
        cell.append(f"\n{unmet}", style="default")
    if reading := reading_text(finding, frame):
        cell.append(f": {reading}")
    if estimate := estimate_text(claim, finding, frame):
        cell.append(f"\n{estimate}", style="default")
        cell.append(f"\n{interval_text(claim, finding, frame)}", style="dim")
    if finding.verdict == "undecided" and finding.comparison and finding.comparison.replicates_needed:
        cell.append("\n" + frame["labels.needs"].format(finding.comparison.replicates_needed), style="dim")
    return cell


def _circulates(
    now: Inquiry, evidence: Evidence | None, text: Mapping[str, str], language: Language
) -> list[RenderableType]:
    # What is published decides about what circulates; a quick run of fewer seeds could only say that it does not know.
    judge = now if evidence is None else evidence.inquiry
    said = text if evidence is None else render(judge, language)
    words = now.exercise.words(language)
    if not now.exercise.book.judges:
        return []
    lines: list[RenderableType] = [_heading("circulates", words.frame)]
    for claim in judge.answer.circulated:
        judgement = claim.judge(judge.findings)
        word = words.frame[f"judgements.{judgement}"]
        source = now.exercise.book.spoken(now.exercise.book.set_of(claim).title, language)
        lines.append(
            Prose.assemble(
                f"“{words[claim.key]}” ", (f"({source}) ", "dim"), (f"→ {word}", COLOURS[judgement])
            )
        )
    return [*lines, Markdown(said["circulates"])]


def _code(judge: Inquiry, frame: WordList) -> list[RenderableType]:
    exercise, parts = judge.exercise, []
    for program, name in ((exercise.program, "code"), (exercise.full_size, "full_size")):
        if program is None:
            continue
        highlighted = Syntax(program.rstrip(), "python", theme=CODE_THEME, background_color="default")
        parts += [_title(frame[f"labels.{name}"]), highlighted]
        if name == "code":
            if (done := output.recorded(exercise)) and done.is_of(program):
                parts += [_title(frame["pages.output"]), Text(done.printed)]
            parts += [Text(line, style="dim") for line in expected_text(judge, frame)]
    return parts


def _ways_on(
    now: Inquiry, evidence: Evidence | None, figures: tuple[Path, Path] | str, frame: WordList
) -> list[RenderableType]:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    if isinstance(figures, str):
        grid.add_row(frame["labels.figure"], figures)
    else:
        for path in figures:
            grid.add_row(frame["labels.figure"], str(path))
    command = now.exercise.book.command
    if now.answer.vary:
        grid.add_row(frame["labels.vary"], f"{command} answer {now.number} {now.answer.vary}")
    if evidence is not None:
        grid.add_row(frame["labels.again"], f"{command} verify {now.number}")
        if evidence.lapsed:
            grid.add_row("", Text(frame["labels.lapsed"].format(", ".join(evidence.lapsed)), style="red"))
    return [Padding(grid, (1, 0, 0, 0))]


def _table(table: Table, where: str) -> RenderableType:
    title = f"{table.title}\n{where}" if where else table.title
    drawn = RichTable(title=Prose(title), title_justify="left", box=box.SIMPLE_HEAD)
    for index, head in enumerate(table.columns):
        drawn.add_column(head, justify="left" if index == 0 else "right")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


def _heading(section: str, frame: WordList) -> RenderableType:
    return _title(frame[f"headings.{section}"])


def _title(words: str) -> RenderableType:
    return Padding(Text(words, style="bold underline"), (1, 0, 0, 0))


def console() -> Console:
    """Where answers are printed: colours only where somebody looks."""
    # Without markup: `pip install 'mlplab[book]'` and a folder named [x] are printed as they are.
    return _Output(highlight=False, markup=False, emoji=False)


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the command line ends; Rich's own way out is status 1
