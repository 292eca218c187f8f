"""The command line: parse, call, present. It knows nothing of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import mlplab
from mlplab.claims.words import Language
from mlplab.errors import InvalidInput, MLPLabError

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
if TYPE_CHECKING:
    from mlplab.claims import Effort

STOPPED = 128 + signal.SIGINT

app = typer.Typer(
    name="mlplab",
    help="The answer book of chapter 4 of Dive into Deep Learning that proves itself.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Data sets: what there is, where it lies, and how to get it.", no_args_is_help=True
)
app.add_typer(data_app, name="data")

Lang = Annotated[str, typer.Option("--lang", help="Language of the answer: zh or en.", metavar="zh|en")]
EffortOption = Annotated[
    str, typer.Option("--effort", help="A quick look, or what is published.", metavar="quick|full")
]
Seeds = Annotated[int | None, typer.Option("--seeds", help="Replicates of each arm.", show_default=False)]
Data = Annotated[
    str | None, typer.Option("--data", help="Data set in place of the answer's own.", metavar="NAME")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Turn a knob, e.g. learning_rate=0.05.", metavar="KEY=VALUE")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Number = Annotated[
    str, typer.Argument(help="Number of an exercise, e.g. 4.6.1.", metavar="ID", show_default=False)
]


@app.command()
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

    language = _language(lang)
    written_answer(number)  # before anything is trained
    with _progress() as on_progress:
        lab = Lab(_effort(effort), seeds=seeds, data_name=data, knobs=_knobs(set_), on_progress=on_progress)
        now = inquire(number, lab)
    held = evidence.published(number)
    figures = draw(now, language)
    if as_json:
        _print_json(as_dict(now, held, figures, language) | {"notes": lab.notes})
        return
    console = terminal.console()
    console.print(terminal.header(number, now.observations, lab.notes, language))
    console.print(terminal.full_answer(now, held, figures, language))


@app.command("list")
def list_(lang: Lang = "en", as_json: Json = False) -> None:
    """List all 49 exercises with their state."""
    from mlplab.book import report, terminal

    if as_json:
        _print_json(report.list_as_dict(_language(lang)))
    else:
        terminal.console().print(terminal.list_of_exercises(_language(lang)))


@app.command()
def verify(number: Number, effort: EffortOption = "full", lang: Lang = "en", as_json: Json = False) -> None:
    """Run published evidence again, from nothing, and say whether its verdicts stand. Status 1 where one does not."""
    from mlplab.book import terminal, verification

    language = _language(lang)
    with _progress() as on_progress:
        outcome = verification.verify(number, _effort(effort), on_progress=on_progress)
    if as_json:
        _print_json(outcome.to_dict())
    else:
        terminal.console().print(terminal.verification(outcome, language))
    if not outcome.stands:
        raise typer.Exit(1)


@app.command()
def publish(number: Number) -> None:
    """Run an answer with full effort and write its evidence into the checkout. For authors."""
    from mlplab.book import verification

    with _progress() as on_progress:
        path = verification.publish(number, on_progress=on_progress)
    typer.echo(path)


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """List the data sets."""
    from mlplab import data
    from mlplab.book import datasets, terminal

    infos = [data.info(name) for name in data.names()]
    if as_json:
        _print_json([datasets.as_dict(info) for info in infos])
    else:
        terminal.console().print(datasets.listed(infos))


@data_app.command("show")
def data_show(name: str, as_json: Json = False) -> None:
    """Show a data set: sizes, splits, fingerprint, licence, where it lies."""
    from mlplab import data
    from mlplab.book import datasets, terminal

    info, shown = data.info(name), data.load(name)
    if as_json:
        _print_json(datasets.as_dict(info, shown))
    else:
        terminal.console().print(datasets.shown(info, shown))


@data_app.command("fetch")
def data_fetch(name: str) -> None:
    """Download a data set into the cache. What is already there is checked, and kept."""
    from mlplab import data
    from mlplab.book.bars import download_bar

    with download_bar(name) as on_bytes:
        path = data.fetch(name, on_bytes)
    typer.echo(path)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"mlplab {mlplab.__version__}")
        raise typer.Exit


def main() -> None:
    """Run a command. One line and status 2 for what a person can mend; 130 for Ctrl-C; 141 for a closed pipe."""
    try:
        status = app(standalone_mode=False) or 0  # of typer.Exit; typer makes 130 of Ctrl-C
        sys.stdout.flush()  # here, where it can still be said what went wrong
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # it has no public name; the help has been shown
            sys.exit(2)
        _fail(error.format_message())
    except MLPLabError as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        status = STOPPED
    except (BrokenPipeError, SystemExit) as error:
        if not any(isinstance(cause, BrokenPipeError) for cause in (error, error.__context__)):
            raise  # typer exits with status 1 where it meets a closed pipe, and that must not look like a verdict
        _drop_output()  # the reader of our output has left: end as other programs do
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        _drop_output()
        _fail(
            f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}. What had finished is kept."
        )
    if status == STOPPED:
        start = "\n" if sys.stderr.isatty() else ""  # past the ^C
        print(
            f"{start}mlplab: stopped. What had finished is kept: the same command goes on from there.",
            file=sys.stderr,
        )
    sys.exit(status)


def _drop_output() -> None:
    # What could not be written would be tried again at exit, where Python complains in its own way.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> NoReturn:
    print(f"mlplab: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _language(text: str) -> Language:
    from mlplab.claims.words import LANGUAGES
    from mlplab.errors import UnknownName

    for language in LANGUAGES:
        if language == text:
            return language
    raise UnknownName("--lang", text, LANGUAGES)


def _effort(text: str) -> Effort:
    from mlplab.errors import UnknownName

    if text == "quick" or text == "full":
        return text
    raise UnknownName("--effort", text, ("quick", "full"))


def _knobs(sets: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in sets or []]
    for key, equals, value in pairs:
        if not (key.strip() and equals and value.strip()):
            raise InvalidInput(
                "--set", "must be KEY=VALUE", f"{key}{equals}{value}", "Write --set learning_rate=0.05"
            )
    return {key.strip(): value.strip() for key, _, value in pairs}


def _print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False))


@contextmanager
def _progress() -> Iterator[Any]:
    from mlplab.book.bars import training_bar

    with training_bar() as on_progress:
        yield on_progress


if __name__ == "__main__":
    main()
