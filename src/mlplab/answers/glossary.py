"""The terms of a book in one language: what each means, and by which words a text names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlplab.answers.words import read_toml
from mlplab.errors import BookError


@dataclass(frozen=True)
class Term:
    """A term of the textbook's field.

    Arguments:
      name: the same in all languages; a link leads to it.
      term: the word itself.
      means: what it means, in a sentence or two.
      also: other words for it, and forms, by which a text names it.
    """

    name: str
    term: str
    means: str
    also: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All by which a text may name it."""
        return (self.term, *self.also)


@cache
def read(path: Path) -> dict[str, Term]:
    """The terms of `glossary.LANGUAGE.toml`, by name; none where there is no such file.

    Raises BookError that names file and key for a term without a word or a meaning, and for a word of two terms.
    """
    if not path.is_file():
        return {}
    terms: dict[str, Term] = {}
    owners: dict[str, str] = {}
    for name, entry in read_toml(path).items():
        if not isinstance(entry, Mapping):
            raise BookError(path, name, "must be a table with term and means")
        for key in ("term", "means"):
            if not isinstance(entry.get(key), str) or not entry[key].strip():
                raise BookError(path, f"{name}.{key}", "must be a text in quotes")
        also = entry.get("also", [])
        if not isinstance(also, list) or not all(isinstance(word, str) and word for word in also):
            raise BookError(path, f"{name}.also", "must be a list of texts")
        if unknown := set(entry) - {"term", "means", "also"}:
            raise BookError(path, f"{name}.{min(unknown)}", "is not known: a term has term, means and also")
        terms[name] = Term(name, entry["term"], entry["means"], tuple(also))
        for word in terms[name].words:
            if owners.setdefault(word.casefold(), name) != name:
                raise BookError(
                    path, name, f"has the word “{word}”, which is one of {owners[word.casefold()]}"
                )
    return terms
