"""Commands on exercises: answer, list, verify, publish, submit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlplab.cli.command import UNFORESEEN, Commands, Output, refuse_inputs
from mlplab.cli.options import (
    Data,
    EffortOption,
    Json,
    Lang,
    Number,
    Seeds,
    Sets,
    open_shelf,
    print_json,
    progress,
    read_effort,
    read_knobs,
    read_language,
)
from mlplab.errors import EvidenceError, InvalidInput

if TYPE_CHECKING:
    from mlplab.answers import Effort, Language, Shelf

OptionalNumber = Annotated[
    str | None, typer.Argument(help="Number of an exercise, e.g. 4.6.1.", metavar="[ID]", show_default=False)
]
All = Annotated[
    bool, typer.Option("--all", help="All exercises of all books that are open, with a quick look at each.")
]
Full = Annotated[bool, typer.Option("--full", help="All that was published, at its full size.")]
OptionalEffort = Annotated[
    str | None,
    typer.Option(
        "--effort",
        help="A quick look, or what is published: full for one exercise, quick for --all.",
        metavar="quick|full",
        show_default=False,
    ),
]

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
commands = Commands()


@commands.command()
def answer(
    number: Number,
    lang: Lang = "en",
    effort: EffortOption = "quick",
    data: Data = None,
    seeds: Seeds = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Answer an exercise: run its experiment or proof now, and show it beside the published one."""
    from mlplab.answers import Lab
    from mlplab.inquiry import evidence
    from mlplab.inquiry.inquiry import inquire
    from mlplab.pages import terminal
    from mlplab.pages.machine import as_dict, draw

    shelf = open_shelf()
    language = read_language(lang, shelf)
    exercise = shelf.exercise_in(number, language)
    exercise.written_answer()  # before anything is trained
    with exercise.running():
        with progress() as on_progress:
            lab = Lab(
                read_effort(effort),
                seeds=seeds,
                data_name=data,
                knobs=read_knobs(set_),
                on_progress=on_progress,
            )
            now = inquire(exercise, lab)
        held = evidence.published(exercise)
        figures = draw(now, held, language)
        if as_json:
            notes = [note.of(exercise.words(language)) for note in lab.notes]
            print_json(as_dict(now, held, figures, language) | {"notes": notes})
            return
        shown = [
            terminal.header(now, held, lab.notes, language),
            terminal.full_answer(now, held, figures, language),
        ]
    console = terminal.console()
    for part in shown:
        console.print(part)


@commands.command("list")
def list_(lang: Lang = "en", as_json: Json = False) -> None:
    """List all exercises with their state."""
    from mlplab.pages import machine as report
    from mlplab.pages import terminal

    shelf = open_shelf()
    language = read_language(lang, shelf)
    if as_json:
        print_json(report.list_as_dict(shelf, language))
    else:
        terminal.console().print(terminal.list_of_exercises(shelf, language))


@commands.command()
def verify(
    number: OptionalNumber = None,
    all_: All = False,
    full: Full = False,
    effort: OptionalEffort = None,
    lang: Lang = "en",
    as_json: Json = False,
) -> None:
    """Run published evidence again, from nothing, and say whether its verdicts stand.

    Status 0: they do; 1: one does not; 2: error, or it could not be run; 3: a crash, which is no verdict.

    One exercise is run as it was published; --all takes a quick look at each, and --full repeats every study.
    """
    from mlplab.inquiry import verification
    from mlplab.pages import terminal

    shelf = open_shelf()
    language = read_language(lang, shelf)
    if (number is None) != all_:
        raise InvalidInput(
            "verify",
            "takes the number of an exercise, or --all",
            "both" if all_ else "neither",
            "Write mlplab verify --all",
        )
    if full and effort not in (None, "full"):
        raise InvalidInput("verify", "takes --full or --effort", f"both, --effort {effort}", "Leave one out")
    how = read_effort(effort or ("full" if full or not all_ else "quick"))
    if number is None:
        _verify_all(shelf, how, language, as_json)
        return
    exercise = shelf.exercise_in(number, language)
    with exercise.running(), progress() as on_progress:
        outcome = verification.verify(exercise, how, on_progress=on_progress)
    if as_json:
        print_json(outcome.to_dict())
    else:
        terminal.console().print(terminal.verification(outcome, language))
    if not outcome.stands:
        raise typer.Exit(1)


@commands.command()
def notebook(
    number: Number,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            help="The notebook. [default: mlplab-ID.ipynb]",
            metavar="FILE",
            show_default=False,
        ),
        Output(),
    ] = None,
    lang: Lang = "en",
) -> None:
    """Write an answer as a Jupyter notebook: question, answer, its program in cells, how sure, what to vary."""
    from mlplab.outputs import write_whole
    from mlplab.pages.document import documents
    from mlplab.pages.notebook import file_name, written

    shelf = open_shelf()
    language = read_language(lang, shelf)
    exercise = shelf.exercise_in(number, language)
    exercise.written_answer()
    if exercise.program is None:
        raise InvalidInput("notebook", "needs an answer with a program", number)
    path = out or Path(file_name(number))
    refuse_inputs({"FILE": str(path)}, [("a file of the answer", one) for one in exercise.folder.iterdir()])
    if out is None and path.exists():  # it may have been worked in
        raise InvalidInput("the notebook", "must not be there yet", str(path), "-o FILE writes over a file")
    with exercise.running():
        (document,), broken = documents(exercise, [language])
        if broken:
            raise EvidenceError(f"The notebook is not written. {'. '.join(broken)}.")
        text = written(document, exercise.book.frame(language))
    write_whole(path, text)
    typer.echo(path)


def _verify_all(shelf: Shelf, effort: Effort, language: Language, as_json: bool) -> None:
    import time

    from mlplab.inquiry import audit, conflicts
    from mlplab.pages import terminal

    console = terminal.console()
    start, all_ = time.perf_counter(), []
    with progress() as on_progress:
        for book in shelf.answering:
            frame = book.frame(book.nearest(language))
            if not as_json and (title := terminal.book_title(shelf, book, language)):
                console.print(title, style="bold")
            for one in audit.audit(book, effort, on_progress=on_progress):
                all_.append((book, one))
                if not as_json:
                    console.print(terminal.audited(one, frame))
            if not as_json:
                for line in terminal.two_results(conflicts.conflicts(book), frame):
                    console.print(line, style="yellow")
    if as_json:
        several = len(shelf.books) > 1
        print_json([one.to_dict() | ({"book": shelf.name(book)} if several else {}) for book, one in all_])
    else:
        frame = shelf.first.frame(shelf.first.nearest(language))
        console.print(terminal.audit([one for _, one in all_], time.perf_counter() - start, frame))
    states = {one.state for _, one in all_}
    for state, status in (("does not stand", 1), ("crashed", UNFORESEEN), ("failed", 2)):
        if state in states:
            raise typer.Exit(status)


@commands.command()
def publish(
    number: Number,
    program: Annotated[
        bool, typer.Option("--program", help="Its program alone: record again what it prints and draws.")
    ] = False,
) -> None:
    """Run an answer with full effort and write its evidence into the checkout. For authors.

    Where an answer plans looks, seeds are added until every claim is decided; each look is told, with what is left.
    Then its program runs as a reader runs it, and what it prints and draws is recorded for its page.
    """
    from mlplab.inquiry import conflicts, output, verification
    from mlplab.pages import terminal

    exercise = open_shelf().exercise(number)
    verification.refuse_installed(exercise)
    if program:
        if exercise.program is None:
            raise InvalidInput("publish --program", "needs an answer with a program", number)
        typer.echo(output.record(exercise))
        return

    def told(lines: list[str]) -> None:
        for line in lines:
            typer.echo(line, err=True)

    with exercise.running(), progress() as on_progress:
        path = verification.publish(
            exercise,
            on_progress=on_progress,
            on_looks=lambda looks: told([terminal.plan(looks)]),
            on_look=lambda found: told([terminal.look(found)]),
        )
    book = exercise.book
    told(terminal.two_results(conflicts.conflicts(book, exercise.number), book.frame(book.nearest("en"))))
    typer.echo(path)
    if recorded := output.record(exercise):
        typer.echo(recorded)


@commands.command()
def submit(file: Annotated[Path, typer.Argument(), Output()]) -> None:
    """Write a submission for the house-price competition (exercise 4.10.1), and say what score to expect.

    Where the sealed prices are at hand (data set ames-houses), it is scored on them; nothing is trained on those.
    """
    from mlplab.answers import Lab, ours
    from mlplab.data import files
    from mlplab.study import default_path

    read = [(f"a file of {name}", path) for name in ("house-prices", "ames-houses") for path in files(name)]
    refuse_inputs({"FILE": str(file)}, [*read, ("the results store", default_path())])
    exercise = ours().exercise(ours().content["submission"])
    write = exercise.written_answer().submit
    assert write is not None
    with progress() as on_progress:
        lab = Lab("full", strict=True, on_progress=on_progress)
        path = write(file, lab)
    typer.echo(path)
    for note in lab.notes:
        typer.echo(note.of(exercise.words("en")))
