"""What mlplab raises when it is asked for something that cannot be.

    MLPLabError                     every error that is meant for a person
    ├── InvalidInput (ValueError)   a value that is not allowed: says owner, rule, received, remedy
    │   └── UnknownName             a name that is not in the list: says the nearest one
    ├── DataError                   a data set that is damaged or mislabelled
    │   └── AbsentData              a data set that is not on this machine and could not be fetched
    ├── StoreError                  a results store that cannot be read or written
    ├── ClusterError                a cluster that cannot be reached, or whose workers keep dying
    ├── OutputError                 a file that cannot be written: what was there is left as it was
    ├── MissingExtra                a command that needs an optional part: says which pip command brings it
    ├── BookError                   a book's folder or file that is not as it should be: says the file and the key
    └── EvidenceError               published evidence that is missing or does not fit the answer

The command line prints the message on one line and exits with status 2. Anything else that escapes is a
defect of mlplab, or of the code that it was given: status 3, one line, and the traceback with `--debug`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType


class MLPLabError(Exception):
    """An error meant for a person: one line that says what was wrong, where, and what is allowed."""

    def __reduce__(self) -> tuple[Callable[..., MLPLabError], tuple[object, ...]]:
        """From process to process as what it says, and not as what it was made of."""
        return _again, (type(self), self.args)


def _again(kind: type[MLPLabError], args: tuple[object, ...]) -> MLPLabError:
    return kind.__new__(kind, *args)


def _shown(received: object) -> str:
    """One line, not too long: an array is written over several, and a whole number may have too many digits."""
    try:
        text = " ".join(repr(received).splitlines())
    except ValueError:
        text = f"a {type(received).__name__} that cannot be written"
    return text if len(text) <= 200 else f"{text[:200]}..."


class InvalidInput(MLPLabError, ValueError):
    """A value that breaks a rule.

    >>> raise InvalidInput("Optimizer.momentum", "must be in [0, 1)", 1.0, "0.9 is a common start")
    Traceback (most recent call last):
    mlplab.errors.InvalidInput: Optimizer.momentum must be in [0, 1); got 1.0. 0.9 is a common start.
    """

    def __init__(self, owner: str, rule: str, received: object, remedy: str = "") -> None:
        remedy = f" {remedy.rstrip('.')}." if remedy else ""
        super().__init__(f"{owner} {rule}; got {_shown(received)}.{remedy}")


class UnknownName(InvalidInput):
    """A name that is not in a closed list. Names the nearest one where there is one.

    >>> raise UnknownName("Optimizer.kind", "adm", ["sgd", "adam"])
    Traceback (most recent call last):
    mlplab.errors.UnknownName: Optimizer.kind must be one of 'sgd', 'adam'; got 'adm'. Did you mean 'adam'?
    """

    def __init__(self, owner: str, received: object, known: Iterable[str], remedy: str = "") -> None:
        names = list(known)
        lowered = {name.lower(): name for name in names}
        close = difflib.get_close_matches(_shown(received).strip("'\"").lower(), lowered, n=1, cutoff=0.5)
        nearest = f" Did you mean {lowered[close[0]]!r}?" if close else ""
        # A list of 49 exercises hides the one that was meant; a short list is the answer itself.
        listed = f"must be one of {', '.join(map(repr, names))}" if len(names) <= 20 else "is not known"
        message = f"{owner} {listed}; got {_shown(received)}.{nearest}"
        MLPLabError.__init__(self, f"{message} {remedy}" if remedy else message)


class DataError(MLPLabError):
    """A data set that is damaged, mislabelled or absent."""


class AbsentData(DataError):
    """A data set that is not on this machine and was not, or could not be, fetched. Another may stand in for it."""


class StoreError(MLPLabError):
    """A results store that cannot be opened, read or written. What it held is left untouched."""


class ClusterError(MLPLabError):
    """A cluster that cannot be reached, has another version of mlplab, or whose workers keep dying."""


class OutputError(MLPLabError):
    """A file that cannot be written. What was there is left as it was."""


class BookError(MLPLabError):
    """A book's folder or file that is not as it should be.

    >>> raise BookError(Path("little-book/book.toml"), "sections[0].number", "is missing")
    Traceback (most recent call last):
    mlplab.errors.BookError: little-book/book.toml: sections[0].number is missing.
    """

    def __init__(self, path: Path, key: str, rule: str) -> None:
        super().__init__(f"{path}{f': {key}' if key else ''} {rule}.")


class EvidenceError(MLPLabError):
    """Published evidence that is missing, unreadable or does not belong to the answer that asks for it."""


class MissingExtra(MLPLabError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part of mlplab: pip install 'mlplab[{extra}]' brings it.")


def import_extra(module: str, *, what: str, extra: str) -> ModuleType:
    """Import `module`, or say which pip command brings it.

    Raises MissingExtra when the top-level package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.split(".")[0] == error.name.split(".")[0]:
            raise MissingExtra(what, extra) from error
        raise
