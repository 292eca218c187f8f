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
    print_json,
    progress,
    read_effort,
    read_knobs,
    read_language,
)
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from mlplab.claims import Effort
    from mlplab.claims.words import Language

OptionalNumber = Annotated[
    str | None, typer.Argument(help="Number of an exercise, e.g. 4.6.1.", metavar="[ID]", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="All exercises, with a quick look at each.")]
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
    from mlplab.book import evidence, terminal
    from mlplab.book.inquiry import inquire, written_answer
    from mlplab.book.report import as_dict, draw
    from mlplab.claims import Lab

    language = read_language(lang)
    written_answer(number)  # before anything is trained
    with progress() as on_progress:
        lab = Lab(
            read_effort(effort), seeds=seeds, data_name=data, knobs=read_knobs(set_), on_progress=on_progress
        )
        now = inquire(number, lab)
    held = evidence.published(number)
    figures = draw(now, held, language)
    if as_json:
        notes = [note.of(language) for note in lab.notes]
        print_json(as_dict(now, held, figures, language) | {"notes": notes})
        return
    console = terminal.console()
    console.print(terminal.header(now, held, lab.notes, language))
    console.print(terminal.full_answer(now, held, figures, language))


@commands.command("list")
def list_(lang: Lang = "en", as_json: Json = False) -> None:
    """List all 49 exercises with their state."""
    from mlplab.book import report, terminal

    if as_json:
        print_json(report.list_as_dict(read_language(lang)))
    else:
        terminal.console().print(terminal.list_of_exercises(read_language(lang)))


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
    from mlplab.book import terminal, verification

    language = read_language(lang)
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
        _verify_all(how, language, as_json)
        return
    with progress() as on_progress:
        outcome = verification.verify(number, how, on_progress=on_progress)
    if as_json:
        print_json(outcome.to_dict())
    else:
        terminal.console().print(terminal.verification(outcome, language))
    if not outcome.stands:
        raise typer.Exit(1)


def _verify_all(effort: Effort, language: Language, as_json: bool) -> None:
    import time

    from mlplab.book import audit, conflicts, terminal

    console = terminal.console()
    start, found = time.perf_counter(), []
    with progress() as on_progress:
        for one in audit.audit(effort, on_progress=on_progress):
            found.append(one)
            if not as_json:
                console.print(terminal.audited(one, language))
    if as_json:
        print_json([one.to_dict() for one in found])
    else:
        for line in terminal.two_results(conflicts.conflicts(), language):
            console.print(line, style="yellow")
        console.print(terminal.audit(found, time.perf_counter() - start, language))
    states = {one.state for one in found}
    for state, status in (("does not stand", 1), ("crashed", UNFORESEEN), ("failed", 2)):
        if state in states:
            raise typer.Exit(status)


@commands.command()
def publish(number: Number) -> None:
    """Run an answer with full effort and write its evidence into the checkout. For authors."""
    from mlplab.book import verification

    with progress() as on_progress:
        path = verification.publish(number, on_progress=on_progress)
    typer.echo(path)


@commands.command()
def submit(file: Annotated[Path, typer.Argument(), Output()]) -> None:
    """Write a submission for the house-price competition (exercise 4.10.1): a price for each of its houses."""
    from mlplab.answers.s4_10_house_prices import q1_submission
    from mlplab.claims import Lab
    from mlplab.data import files
    from mlplab.study import default_path

    read = [("a file of house-prices", path) for path in files("house-prices")]
    refuse_inputs({"FILE": str(file)}, [*read, ("the results store", default_path())])
    with progress() as on_progress:
        path = q1_submission.submit(file, Lab("full", strict=True, on_progress=on_progress))
    typer.echo(path)
