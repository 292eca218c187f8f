"""What a search looks through: the words of each page, as a script that pages read from a server and from a file.

The book is small (some 50 pages a language), so that every text is looked through as it stands: what a page says, in
whatever script and between whatever words, is found. No index has to agree with a query on where Chinese words end.
`assets/search.js` does the looking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser

from mlplab.answers import Language

# Elements that stand within a word or a formula; all others part words.
WITHIN = frozenset("a b code em i mark math q strong sub sup time".split())
VOID = frozenset("br hr img input link meta".split())
UNREAD = frozenset(("script", "style", "svg"))


def script(contents: Mapping[str, str], language: Language, elsewhere: Mapping[str, str]) -> str:
    """The texts of the pages that may be searched, from name -> HTML, as a script that `search.js` reads.

    Arguments:
      elsewhere: exercise -> its number in another edition, by which it is found too.
    """
    held = [
        {"url": name, "also": elsewhere.get(name.removesuffix(".html"), "")} | read
        for name, page in contents.items()
        if (read := words(page)) is not None
    ]
    texts = json.dumps(held, ensure_ascii=False, separators=(",", ":"))
    return f"(globalThis.mlplabPages ??= {{}})[{json.dumps(language)}] = {texts};\n"


def words(page: str) -> dict[str, str] | None:
    """Title and text of a page: what stands in `data-search`, but for `data-unsearched`. None where nothing does."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    if not reader.is_searched:
        return None
    return {name: " ".join("".join(part).split()) for name, part in reader.parts.items()}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.is_searched = False
        self.parts: dict[str, list[str]] = {"title": [], "text": []}
        # Tag, where its words go (a part, or nowhere), and whether it parts words.
        self._open: list[tuple[str, str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        marks = dict(attrs)
        place = self._open[-1][1] if self._open else ""
        if tag in UNREAD or "data-unsearched" in marks:
            place = ""
        elif "data-search" in marks:
            self.is_searched, place = True, "text"
        elif tag == "h1" and place:
            place = "title"
        is_formula = any(held == "math" for held, *_ in self._open) or marks.get("class") == "long"
        does_part = tag not in WITHIN and not is_formula
        if does_part:
            self.handle_data(" ")
        if tag not in VOID:
            self._open.append((tag, place, does_part))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            closed, _, does_part = self._open.pop()
            if does_part:
                self.handle_data(" ")
            if closed == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._open and (place := self._open[-1][1]):
            self.parts[place].append(data)
