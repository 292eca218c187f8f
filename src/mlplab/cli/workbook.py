"""Commands for a reader's own answer: start, check, hint, watch, next, progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlplab.cli.command import Commands, Source
from mlplab.cli.options import Json, Lang, Number, open_shelf, print_json, read_language
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from mlplab.answers import Exercise, Language, Shelf
    from mlplab.workbook.checking import Report

commands = Commands()
PANEL = "Your own answer"
Files = Annotated[
    list[Path],
    typer.Argument(
        help="Files that mlplab start wrote, or a folder of them.", metavar="FILE", show_default=False
    ),
    Source(),
]
File = Annotated[
    Path,
    typer.Argument(help="A file that mlplab start wrote.", metavar="FILE", show_default=False),
    Source(),
]
Seed = Annotated[
    int, typer.Option("--seed", help="Draw hidden inputs from this number: for teachers.", metavar="NUMBER")
]


@commands.command(rich_help_panel=PANEL)
def start(number: Number, lang: Lang = "en") -> None:
    """Write a file for your own answer to an exercise: the question, and what to hand in."""
    from mlplab.outputs import write_whole
    from mlplab.workbook import handed_in

    shelf = open_shelf()
    language = read_language(lang, shelf)
    exercise = shelf.exercise_in(number, language)
    exercise.check_language(language)
    parts = _parts(exercise)
    path = Path(handed_in.file_name(number))
    if path.exists():
        raise InvalidInput("the file", "must not be there yet", str(path), f"mlplab check {path} checks it")
    write_whole(path, handed_in.empty(exercise, parts, language))
    typer.echo(exercise.words(language).frame("work.started", file=path))


@commands.command(rich_help_panel=PANEL)
def check(files: Files, lang: Lang = "en", seed: Seed = 0, as_json: Json = False) -> None:
    """Put your own answer to the checks of the published one.

    Each part is proved, holds on all that was tried, or is refuted by the smallest counterexample that was found. The
    file runs in a process of its own, with limits on time, memory and files: that guards against accidents and is no
    prison. Status 1 where a part does not hold.
    """
    from mlplab.pages import terminal
    from mlplab.workbook import checking

    shelf = open_shelf()
    language = read_language(lang, shelf)
    paths = [path for one in files for path in (checking.files_of(one) if one.is_dir() else [one])]
    if len(paths) != 1 or any(one.is_dir() for one in files):
        _check_all(shelf, paths, language, seed, as_json)
        return
    exercise, report = _checked(shelf, paths[0], language, seed)
    if as_json:
        print_json(report.to_dict())
    else:
        _tell(terminal.console(), exercise, report, language)
    _note(exercise, report)
    if not report.passed:
        raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def hint(number: Number, lang: Lang = "en") -> None:
    """Give one hint, and one more each time."""
    from mlplab.workbook.journal import Journal, key

    shelf = open_shelf()
    language = read_language(lang, shelf)
    exercise = shelf.exercise_in(number, language)
    exercise.check_language(language)
    _parts(exercise)
    words = exercise.words(language)
    hints = list(words.group("hints").values()) if "hints" in _groups(exercise, language) else []
    journal = Journal.read()
    taken = journal.hints.get(key(exercise), 0)
    if taken >= len(hints):
        for line in hints[-1:]:
            typer.echo(line)
        typer.echo(words.frame("work.no_more", number=number))
        return
    typer.echo(f"{words.frame('work.hint_of', place=taken + 1, total=len(hints))}: {hints[taken]}")
    journal.hints[key(exercise)] = taken + 1
    journal.write()


@commands.command(rich_help_panel=PANEL)
def watch(file: File, lang: Lang = "en") -> None:
    """Check a file each time that it is saved, until all its parts hold."""
    from mlplab.errors import import_extra
    from mlplab.pages import terminal

    watchfiles = import_extra("watchfiles", what="Watching a file", extra="work")
    shelf = open_shelf()
    language = read_language(lang, shelf)
    console = terminal.console()
    frame = shelf.first.frame(shelf.first.nearest(language))
    console.print(frame("work.watching", file=file), style="dim")
    exercise, report = _round(console, shelf, file, language)
    changes = watchfiles.watch(file.resolve().parent, recursive=False, raise_interrupt=True)
    while not report.passed:
        names = {Path(path).name for _, path in next(changes)}
        if file.name not in names:
            continue
        if not file.exists():
            console.print(frame("work.renamed", file=file))
            raise typer.Exit(1)
        exercise, report = _round(console, shelf, file, language)
    _tell_next(shelf, exercise, language)


@commands.command("next", rich_help_panel=PANEL)
def next_(lang: Lang = "en") -> None:
    """Name the first exercise that you have not answered."""
    shelf = open_shelf()
    language = read_language(lang, shelf)
    _tell_next(shelf, None, language)


@commands.command(rich_help_panel=PANEL)
def progress(
    reset: Annotated[bool, typer.Option("--reset", help="Forget it all.")] = False,
    lang: Lang = "en",
    as_json: Json = False,
) -> None:
    """Show which exercises you have answered."""
    from mlplab.workbook import journal

    shelf = open_shelf()
    language = read_language(lang, shelf)
    frame = shelf.first.frame(shelf.first.nearest(language))
    if reset:
        journal.file().unlink(missing_ok=True)
        typer.echo(frame["work.reset"])
        return
    held = journal.Journal.read()
    taking = [(one, held.answered.get(journal.key(one), False)) for one in _takers(shelf)]
    if as_json:
        print_json([{"exercise": one.number, "answered": done} for one, done in taking])
        return
    for one, done in taking:
        typer.echo(f"{'●' if done else '○'} {one.number} {one.title(language)}")
    typer.echo(frame("work.progress", passed=sum(done for _, done in taking), total=len(taking)))


def _parts(exercise: Exercise) -> tuple:
    from mlplab.workbook.judging import parts_of

    parts = parts_of(exercise)
    if not parts:
        taking = ", ".join(one.number for one in exercise.book.exercises.values() if parts_of(one))
        remedy = f"These do: {taking}" if taking else ""
        raise InvalidInput("exercise", "must be one that takes an answer", exercise.number, remedy)
    return parts


def _takers(shelf: Shelf) -> list[Exercise]:
    return [
        exercise
        for book in shelf.answering
        for exercise in book.exercises.values()
        if (exercise.folder / "parts.py").is_file()
    ]


def _groups(exercise: Exercise, language: Language) -> set[str]:
    return {name.partition(".")[0] for name in exercise.words(language)}


def _checked(shelf: Shelf, path: Path, language: Language, seed: int = 0) -> tuple[Exercise, Report]:
    from mlplab.workbook import checking, handed_in

    exercise = shelf.exercise_in(handed_in.read(path).exercise, language)
    exercise.check_language(language)
    _parts(exercise)
    return exercise, checking.check(exercise, path, seed=seed)


def _note(exercise: Exercise, report: Report) -> None:
    from mlplab.workbook.journal import Journal

    journal = Journal.read()
    journal.note(exercise, report)
    journal.write()


def _round(console: Console, shelf: Shelf, file: Path, language: Language) -> tuple[Exercise, Report]:
    exercise, report = _checked(shelf, file, language)
    _tell(console, exercise, report, language)
    _note(exercise, report)
    return exercise, report


def _tell(console: Console, exercise: Exercise, report: Report, language: Language) -> None:
    from mlplab.pages.terminal_work import report_lines

    for line in report_lines(exercise, report, language):
        console.print(line)


def _tell_next(shelf: Shelf, done: Exercise | None, language: Language) -> None:
    from mlplab.workbook.journal import Journal, key

    answered = Journal.read().answered
    left = [one for one in _takers(shelf) if not answered.get(key(one)) and one is not done]
    frame = shelf.first.frame(shelf.first.nearest(language))
    typer.echo(frame("work.next", number=left[0].number) if left else frame["work.nothing_left"])


def _check_all(shelf: Shelf, paths: list[Path], language: Language, seed: int, as_json: bool) -> None:
    """One line for each file of a class; what is wrong with one spoils no other."""
    from mlplab.errors import MLPLabError

    rows = []
    for path in paths:
        try:
            _, report = _checked(shelf, path, language, seed)
            rows.append(report.to_dict())
        except MLPLabError as error:
            rows.append(
                {"exercise": "", "file": str(path), "passed": False, "broken": str(error), "parts": []}
            )
        if not as_json:
            held = rows[-1]
            verdicts = ", ".join(f"{part['part']}: {part['verdict']}" for part in held["parts"])
            typer.echo(
                f"{'●' if held['passed'] else '○'} {path} {held['exercise']} {held['broken'] or verdicts}"
            )
    if as_json:
        print_json(rows)
    if not all(row["passed"] for row in rows):
        raise typer.Exit(1)
