"""What several commands share: their options, how these are read, and how results are told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlplab.cli.command import Output, Source
from mlplab.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from mlplab.answers import Effort, Language, Shelf
    from mlplab.study import ScalarLog

Lang = Annotated[
    str,
    typer.Option(
        "--lang", help="Language of the answer: zh, en, or another that the book has.", metavar="CODE"
    ),
]
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

FIGURES = (".svg", ".png", ".pdf", ".html", ".json")
PAGES = (".html", ".htm")


def model_files(name: str) -> list[str]:
    """Files that the name of a model stands for, without loading it: one of its own, or modules and packages."""
    if name.lower().endswith(".pt2"):
        return [name]
    place = name.rpartition(":")[0]
    if place.endswith(".py"):
        return [place]
    files, folders, full_name = [], [str(Path.cwd()), *sys.path], ""
    for part in place.split("."):
        full_name = f"{full_name}.{part}".lstrip(".")
        spec = PathFinder.find_spec(full_name, folders)
        if spec is None:
            break
        files += [spec.origin] if spec.origin else []
        folders = list(spec.submodule_search_locations or ())
    return files


# Options of commands on a model.
PANEL = "Your model"
Model = Annotated[
    str,
    typer.Argument(
        help="A callable that returns a module: package.module:factory or file.py:factory; or a .pt2 file.",
        metavar="MODEL",
        show_default=False,
    ),
    Source(model_files),
]
Inputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        help="Shape of an input, and its type: 256,784 or 32,20:int64. Once for each.",
        metavar="SHAPE",
    ),
]
LossName = Annotated[
    str,
    typer.Option(
        "--loss", help="mean (of the outputs), cross_entropy, mse, l1, bce_with_logits.", metavar="NAME"
    ),
]
Plot = Annotated[
    str | None,
    typer.Option("--plot", help="Write a figure: .svg .png .pdf .html.", metavar="FILE"),
    Output(FIGURES),
]
LogDir = Annotated[
    str | None,
    typer.Option("--log-dir", help="Write curves for TensorBoard as they come.", metavar="FOLDER"),
    Output(is_folder=True),
]
Executor = Annotated[
    str, typer.Option("--executor", help="This machine's cores, or a Ray cluster.", metavar="local|ray")
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Of a Ray cluster; without it one starts here.", metavar="HOST:PORT"),
]
Trust = Annotated[bool, typer.Option("--trust", help="Unpickle a .pt2 file: it can then run any program.")]
BatchFile = Annotated[
    str | None,
    typer.Option(
        "--batch", help="A .npz file with `inputs` and `targets`; random numbers without it.", metavar="FILE"
    ),
    Source(),
]
OptionalInputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="Shape of random inputs where there is no --batch.", metavar="SHAPE"),
]


# What `mlplab --book` named, of this command alone.
named_books: list[Path] = []


def open_shelf() -> Shelf:
    """The books that `mlplab --book FOLDER` names, those of MLPLAB_BOOKS, and ours. Raises as `Shelf.open` does."""
    from mlplab.answers import Shelf

    return Shelf.open(*named_books)


def read_language(text: str, shelf: Shelf) -> Language:
    """Raises UnknownName for a language that no book on the shelf has."""
    if text not in shelf.languages:
        raise UnknownName("--lang", text, shelf.languages)
    return text


def read_effort(text: str) -> Effort:
    from mlplab.errors import UnknownName

    if text == "quick" or text == "full":
        return text
    raise UnknownName("--effort", text, ("quick", "full"))


def read_knobs(sets: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in sets or []]
    for key, equals, value in pairs:
        if not (key.strip() and equals and value.strip()):
            raise InvalidInput(
                "--set", "must be KEY=VALUE", f"{key}{equals}{value}", "Write --set learning_rate=0.05"
            )
    return {key.strip(): value.strip() for key, _, value in pairs}


def print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False))


@contextmanager
def scalar_log(folder: str | None) -> Iterator[ScalarLog | None]:
    """Where --log-dir says."""
    if folder is None:
        yield None
        return
    from mlplab.study import ScalarLog

    with ScalarLog(folder) as log:
        yield log


@contextmanager
def trainer(name: str, address: str | None) -> Iterator[dict[str, Any]]:
    """What trains, as keywords of `run_study`."""
    if name not in ("local", "ray"):
        raise UnknownName("--executor", name, ("local", "ray"))
    if name == "local":
        if address is not None:
            raise InvalidInput("--address", "goes with --executor ray", address)
        yield {}
        return
    from mlplab.study.cluster import Cluster

    with Cluster(address) as cluster:
        yield {"train": cluster, "chunks_at_once": cluster.chunks_at_once}


@contextmanager
def progress() -> Iterator[Any]:
    from mlplab.cli.bars import training_bar
    from mlplab.study.run import Stopped

    with training_bar() as on_progress:
        try:
            yield on_progress
        except Stopped as stop:  # typer makes a bare status of a KeyboardInterrupt
            raise typer.Abort(str(stop)) from stop
