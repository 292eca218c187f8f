"""What all commands have in common: the files that they read and write are looked at before anything is computed."""

from __future__ import annotations

import functools
import inspect
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.models import OptionInfo, ParameterInfo

from mlplab.errors import InvalidInput, MLPLabError

UNFORESEEN = 3  # the status of a crash: 0 and 1 are what a command found, 2 is what a person can mend
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an unforeseen error.")]


@dataclass(frozen=True)
class Output:
    """Marks a parameter as the path of what is written: a file that ends in one of `suffixes`, or a folder."""

    suffixes: tuple[str, ...] = ()
    is_folder: bool = False


@dataclass(frozen=True)
class Source:
    """Marks a parameter as what is read.

    Arguments:
      files: the paths that a value stands for; asked only where something is written.
      field_name: what such a file calls a field of the library that others call by an option: of `Plan.seeds`.
    """

    files: Callable[[str], Iterable[str | Path]] = lambda value: (value,)
    field_name: Callable[[str], str] = str


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command: what its user calls it, and which file it is, if any."""

    name: str
    label: str
    options: tuple[str, ...]
    file: Output | Source | None


class Commands(typer.Typer):
    """A group of commands that never write over what they read, and that all know `--debug`."""

    def command(self, *args: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        register = super().command(*args, **options)

        def add(callback: Callable[..., Any]) -> Callable[..., Any]:
            register(_guarded(callback))
            return callback

        return add


def parameters(callback: Callable[..., Any]) -> Iterator[Parameter]:
    """Those of a command's function, as their annotations say."""
    for parameter in inspect.signature(callback, eval_str=True).parameters.values():
        told = get_args(parameter.annotation)[1:]
        info = next((one for one in told if isinstance(one, ParameterInfo)), None)
        options: tuple[str, ...] = ()
        label = (info and info.metavar and info.metavar.strip("[]")) or parameter.name.upper()
        if isinstance(info, OptionInfo):
            # In an annotation, typer keeps the first name as the default.
            first = () if info.default is ... else (str(info.default),)
            options = (*first, *(info.param_decls or ()))
            options = options or (f"--{parameter.name.strip('_').replace('_', '-')}",)
            label = options[0]
        file = next((one for one in told if isinstance(one, Output | Source)), None)
        yield Parameter(parameter.name, label, options, file)


def _guarded(callback: Callable[..., Any]) -> Callable[..., None]:
    """The function as a command: its outputs are checked first, and errors speak of its options."""
    own = list(parameters(callback))
    signature = inspect.signature(callback, eval_str=True)

    @functools.wraps(callback)
    def command(*, debug: bool, **values: Any) -> None:
        try:
            _expand(own, values)
            check(own, values)
            callback(**values)  # what it returns is no status
        except MLPLabError as error:
            error.args = (in_options(str(error), own), *error.args[1:])
            raise

    # `main` looks for --debug itself: an error may come before a command has begun.
    asked = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug)
    taken = (*signature.parameters.values(), asked)
    command.__signature__ = signature.replace(parameters=taken, return_annotation=None)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in taken}
    return command


# --- Outputs ------------------------------------------------------------------------------------------


def _expand(own: list[Parameter], values: dict[str, Any]) -> None:
    """`~` as a shell would have it, where it was quoted."""
    for one in own:
        if isinstance(one.file, Output) and values[one.name] is not None:
            value = values[one.name]
            values[one.name] = type(value)(os.path.expanduser(value))  # noqa: PTH111


def check(own: list[Parameter], values: dict[str, Any]) -> None:
    """Raises InvalidInput for an output that is an input, another output, or a file that cannot be written."""
    outputs = {
        one.label: (str(values[one.name]), one.file)
        for one in own
        if isinstance(one.file, Output) and values[one.name] is not None
    }
    for label, (path, output) in outputs.items():
        _check_place(label, path, output)
    if outputs:
        refuse_inputs({label: path for label, (path, _) in outputs.items()}, _read(own, values))
    for label, (path, _) in outputs.items():
        for other, (taken, _) in outputs.items():
            if other != label and _is_same(path, taken):
                raise InvalidInput(label, f"must not be the file of {other}", path, "Take two names")


def refuse_inputs(outputs: dict[str, str], inputs: Iterable[tuple[str, str | Path]]) -> None:
    """Raises InvalidInput for an output that is an input: under its name, another spelling of it, or a link.

    Arguments:
      outputs: paths by what their user calls them.
      inputs: pairs of what is read, in words, and a path.
    """
    for what, source in inputs:
        for label, path in outputs.items():
            if _is_same(path, source):
                raise InvalidInput(
                    label, "must not replace what is read", path, f"It is {what}: take another name"
                )


def _read(own: list[Parameter], values: dict[str, Any]) -> Iterator[tuple[str, str | Path]]:
    for one in own:
        if isinstance(one.file, Source) and values[one.name] is not None:
            for path in one.file.files(str(values[one.name])):
                yield one.label, path


def _check_place(label: str, path: str, output: Output) -> None:
    target = Path(os.path.realpath(path))  # of a link: what would be written
    if output.is_folder:
        nearest = next(folder for folder in (target, *target.parents) if os.path.lexists(folder))
        if not nearest.is_dir():
            raise InvalidInput(label, "must be a folder", path, f"{nearest} is a file")
        return
    if output.suffixes and Path(path).suffix.lower() not in output.suffixes:
        raise InvalidInput(label, f"must end in {' or '.join(output.suffixes)}", path)
    if target.is_dir():
        raise InvalidInput(label, "must be a file", path, "That is a folder")
    if not target.parent.is_dir():
        raise InvalidInput(label, "must lie in a folder that exists", path)
    if _is_special(target):
        return
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InvalidInput(label, "must lie in a folder that you may write to", path)
    if target.exists() and not os.access(target, os.W_OK):
        raise InvalidInput(label, "must not be a file that is read-only", path)


def _is_special(path: str | Path) -> bool:
    """Whether it is a device or a pipe, which holds nothing that could be lost."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _is_same(path: str | Path, other: str | Path) -> bool:
    if _is_special(path):
        return False
    try:
        return os.path.samefile(path, other)  # noqa: PTH121
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


# --- Words --------------------------------------------------------------------------------------------

# Fields of the library, and the options by which commands ask for them.
OPTIONS = {
    "Plan.base": "--set",
    "Plan.until_decided": "--until",
    **{f"Plan.{name}": f"--{name}" for name in ("vary", "seeds", "baseline", "metric", "margin")},
    "Plan.max_seeds": "--max-seeds",
    **{f"Roles.{name}": f"--{name}" for name in ("target", "task", "categorical", "groups", "time")},
    "Roles.leave_out": "--leave-out",
    "Cluster.address": "--address",
    "ScalarLog.folder": "--log-dir",
}
FIELDS = re.compile(rf"\b(?:{'|'.join(map(re.escape, OPTIONS))})\b")


def in_options(text: str, own: Iterable[Parameter]) -> str:
    """A message of the library in the words of a command: a field by its option, or as its file calls it."""
    own = list(own)
    known = {option for one in own for option in one.options}
    sources = [one.file for one in own if isinstance(one.file, Source)]

    def word(found: re.Match[str]) -> str:
        field = found[0]
        if OPTIONS[field] in known:
            return OPTIONS[field]
        return next((name for source in sources if (name := source.field_name(field)) != field), field)

    return FIELDS.sub(word, text)
