"""The command line: parse, call, present. It knows nothing of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

import mlplab
from mlplab.cli import (
    answers,
    behaviour,
    book,
    data,
    functions,
    models,
    shift,
    studies,
    tuning,
)
from mlplab.errors import MLPLabError

STOPPED = 128 + signal.SIGINT

app = typer.Typer(
    name="mlplab",
    help="The answer book of chapter 4 of Dive into Deep Learning that proves itself.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(answers.commands)
app.add_typer(book.commands, name="book")
app.add_typer(data.commands, name="data")
app.add_typer(shift.commands, name="shift")
app.add_typer(models.commands)
app.add_typer(behaviour.commands)
app.add_typer(functions.commands)
app.add_typer(tuning.commands)
app.add_typer(studies.commands)
app.add_typer(studies.study_commands, name="study", help="Comparisons on your own tables that were begun.")


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
