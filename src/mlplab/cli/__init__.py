"""The command line: parse, call, present. It knows nothing of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer

import mlplab
from mlplab.cli import (
    answers,
    behaviour,
    book,
    crash,
    data,
    functions,
    models,
    options,
    shift,
    studies,
    tuning,
    workbook,
)
from mlplab.cli.command import UNFORESEEN, Commands, Debug
from mlplab.errors import MLPLabError

STOPPED = 128 + signal.SIGINT

app = Commands(
    name="mlplab",
    help="Answer books that prove themselves: ours, on chapter 4 of Dive into Deep Learning, and those that you open; "
    "and the laboratory behind them.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(answers.commands)
app.add_typer(workbook.commands)
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
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Debug = False,
    books: Annotated[
        list[Path] | None,
        typer.Option(
            "--book", help="Open another book beside ours. A book is code: it is run.", metavar="FOLDER"
        ),
    ] = None,
) -> None:
    options.named_books[:] = books or []
    if version:
        typer.echo(f"mlplab {mlplab.__version__}")
        raise typer.Exit


def main() -> None:
    """Run a command. Status 0 and 1 are what it found; 2 is for what a person can mend, 3 for the unforeseen, in one
    line; 130 for Ctrl-C; 141 for a closed pipe."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us: nobody wants it
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    kept = "What had finished is kept: the same command goes on from there"
    try:
        status = app(standalone_mode=False) or 0  # of typer.Exit; typer makes 130 of Ctrl-C
        sys.stdout.flush()  # here, where it can still be said what went wrong
    except (KeyboardInterrupt, typer.Abort) as stop:
        status, kept = STOPPED, str(stop) or kept  # a study counts
    except (
        BaseException
    ) as error:  # also what a model's file calls, or a library in another language: no verdict
        _explain(error)
    if status == STOPPED:
        start = "\n" if sys.stderr.isatty() else ""  # past the ^C
        _end(STOPPED, f"stopped. {kept[0].upper()}{kept[1:]}.", start=start)
    sys.exit(status)


def _explain(error: BaseException) -> NoReturn:
    """End with the status and the line of an error."""
    if isinstance(error, typer.TyperException):
        if type(error).__name__ == "NoArgsIsHelpError":  # it has no public name; the help has been shown
            sys.exit(2)
        _end(2, error.format_message())
    if isinstance(error, MLPLabError):
        _end(2, str(error))
    causes = (error, error.__context__) if isinstance(error, SystemExit) else (error,)
    if any(isinstance(cause, BrokenPipeError) for cause in causes):  # typer's own way out is status 1
        _drop_output()  # the reader of our output has left: end as other programs do
        sys.exit(128 + signal.SIGPIPE)
    if isinstance(error, OSError):
        _drop_output()
        name = f": {error.filename}" if error.filename else ""
        _end(2, f"{error.strerror or error}{name}. What had finished is kept.")
    if isinstance(error, UnicodeEncodeError) and error.encoding == sys.stdout.encoding.lower():
        lacking = error.object[error.start : error.end]
        _end(2, f"The output's encoding, {error.encoding}, lacks {lacking!r}: set PYTHONIOENCODING=utf-8.")
    if "--debug" in sys.argv:
        with contextlib.suppress(OSError):
            traceback.print_exception(error)
    _end(UNFORESEEN, crash.line(error))


def _drop_output(stream: TextIO | None = None) -> None:
    # What could not be written would be tried again at exit, where Python complains in its own way.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def _end(status: int, message: str, *, start: str = "") -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    try:
        print(f"{start}mlplab: {' '.join(message.split())}", file=sys.stderr, flush=True)
    except OSError:  # where nobody reads it, the status still speaks
        _drop_output(sys.stderr)
    sys.exit(status)
