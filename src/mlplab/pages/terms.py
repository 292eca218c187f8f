"""Terms of a book's glossary in the texts of an exercise: the first time that one is named, it is a link."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from mlplab.answers import Language
from mlplab.answers.glossary import Term
from mlplab.pages.pandoc import EAST_ASIAN, Blocks

PAGE = "glossary.html"
# Where a reader meets a term first; what a reference is called is no use of it.
READ_IN_ORDER = ("question", "short", "why", "circulates", "limits")
WORDS = ("Str", "Space", "SoftBreak")
CLOSED = ("Link", "Code", "Math", "Image", "Header", "CodeBlock", "RawInline", "RawBlock")


def linked(
    sections: Mapping[str, Blocks], terms: Mapping[str, Term], language: Language
) -> tuple[dict[str, Blocks], list[str]]:
    """The sections with a link at the first use of each term, and the names of the terms that they use."""
    if not terms:
        return dict(sections), []
    search = _Search(terms, whole_words=language[:2] not in EAST_ASIAN)
    made = {name: search.through(sections[name]) for name in READ_IN_ORDER if name in sections}
    return {name: made.get(name, blocks) for name, blocks in sections.items()}, search.used


class _Search:
    """Looks for terms that were not met yet."""

    def __init__(self, terms: Mapping[str, Term], *, whole_words: bool) -> None:
        self.used: list[str] = []
        self._terms = terms
        self._owners = {word.casefold(): name for name, term in terms.items() for word in term.words}
        # The longest first: "weight decay" is no weight.
        words = "|".join(re.escape(word) for word in sorted(self._owners, key=len, reverse=True))
        pattern = rf"\b({words})(?:s|es)?\b" if whole_words else f"({words})"
        self._pattern = re.compile(pattern, re.IGNORECASE)

    def through(self, value: Any) -> Any:
        """The same blocks or inlines, with links."""
        if isinstance(value, dict):
            if value.get("t") in CLOSED:
                return value
            return {name: self.through(item) for name, item in value.items()}
        if not isinstance(value, list):
            return value
        made: list[Any] = []
        for is_run, group in groupby(value, key=_is_word):
            items = list(group)
            made += self._links(items) if is_run else [self.through(item) for item in items]
        return made

    def _links(self, run: list[Any]) -> list[Any]:
        """A run of words; as it was where it names no new term."""
        text = "".join(word["c"] if word["t"] == "Str" else " " for word in run)
        made, end = [], 0
        for found in self._pattern.finditer(text):
            name = self._owners[found[1].casefold()]
            if name in self.used:
                continue
            self.used.append(name)
            made += _inlines(text[end : found.start()])
            attributes = ["", ["term"], []]
            target = [f"{PAGE}#{name}", self._terms[name].means]
            made.append({"t": "Link", "c": [attributes, list(_inlines(found[0])), target]})
            end = found.end()
        return [*made, *_inlines(text[end:])] if made else run


def _is_word(item: Any) -> bool:
    return isinstance(item, dict) and item.get("t") in WORDS


def _inlines(text: str) -> Iterator[dict[str, Any]]:
    for part in re.split("( )", text):
        if part:
            yield {"t": "Space"} if part == " " else {"t": "Str", "c": part}
