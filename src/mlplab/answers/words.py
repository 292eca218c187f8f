"""Words of one language: short texts by key, from a TOML file. One that is missing is an error that names the file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mlplab.errors import BookError

Language = str  # a code as in `text.en.md`: en, zh, de


class WordList:
    """The words of one language, by dotted key: `words["heads.seeds"]`.

    Arguments:
      language: its code.
      path: the file that they were read from; an error names it.
      content: texts, and tables of texts.
      frame: what the book's own frame says in the language: headings, verdicts, notes of charts.
    """

    def __init__(
        self, language: Language, path: Path, content: Mapping[str, Any], frame: WordList | None = None
    ) -> None:
        self.language = language
        self.path = path
        self.frame = frame or self
        self._content = content

    @classmethod
    def read(
        cls,
        path: Path,
        language: Language,
        frame: WordList | None = None,
        shared: Iterable[Path] = (),
    ) -> WordList:
        """Read a file; what it lacks is looked for in those of the files `shared` that are there.

        Raises BookError for one that is missing, is no TOML, or holds other things than texts.
        """
        content: dict[str, Any] = {}
        for place in (*filter(Path.is_file, shared), path):
            for name, entry in _content(place).items():
                known = content.get(name, {})
                content[name] = {**known, **entry} if isinstance(entry, Mapping) else entry
        return cls(language, path, content, frame)

    @property
    def notes(self) -> Mapping[str, str]:
        """What charts say of their intervals: `charts.plots.NOTES` in the language."""
        return self.frame.group("charts")

    def __getitem__(self, key: str) -> str:
        """The text of a key. Raises BookError that names the file and the key."""
        text = self._find(key)
        if not isinstance(text, str):
            raise BookError(self.path, key, "must be a text")
        return text

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key with values in its places: `words("note", seeds=20)` for "over {seeds} seeds"."""
        try:
            return self[key].format(**values)
        except (LookupError, ValueError) as error:
            places = ", ".join(f"{{{name}}}" for name in values)
            raise BookError(self.path, key, f"can have the places {places} and no other") from error

    def __contains__(self, key: str) -> bool:
        try:
            self._find(key)
        except BookError:
            return False
        return True

    def group(self, key: str, **values: object) -> Mapping[str, str]:
        """The texts of a table, by name, in the file's order; with values in their places where some are given."""
        table = self._find(key)
        if not isinstance(table, Mapping):
            raise BookError(self.path, key, "must be a table of texts")
        return {name: self(f"{key}.{name}", **values) for name in table} if values else table

    def __iter__(self) -> Iterator[str]:
        """All keys that have a text."""
        return (key for key, _ in _entries(self._content, ""))

    def require(self, keys: Iterable[str]) -> None:
        """Raises BookError for the first of these keys that has no text."""
        for key in keys:
            self[key]

    def _find(self, key: str) -> Any:
        place: Any = self._content
        for name in key.split("."):
            if not isinstance(place, Mapping) or name not in place:
                raise BookError(self.path, key, "is missing")
            place = place[name]
        return place


class Note:
    """Something to say when the language is known: a key among the words of an exercise or its frame, with values."""

    def __init__(self, key: str, **values: object) -> None:
        self.key = key
        self.values = values

    def of(self, words: WordList) -> str:
        """It in the language of the words."""
        place = words if self.key in words else words.frame
        return place(self.key, **self.values)


@cache
def _content(path: Path) -> Mapping[str, Any]:
    content = read_toml(path)
    for key, value in _entries(content, ""):
        if not isinstance(value, str):
            raise BookError(path, key, "must be a text in quotes")
    return content


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file. Raises BookError that names file and line for one that is missing or damaged."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BookError(path, "", "is missing") from error
    except UnicodeDecodeError as error:
        raise BookError(path, "", "must be UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise BookError(path, "", f"is no TOML: {error}") from error
    except OSError as error:
        raise BookError(path, "", f"cannot be read: {error.strerror}") from error


def _entries(content: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _entries(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
