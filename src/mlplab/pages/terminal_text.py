"""Sentences in a terminal, with lines that end where Chinese may end them."""

from __future__ import annotations

import re
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.containers import Lines
from rich.text import Text

OPENING = "（《〈「『【“"
CLOSING = "，。、；：！？）》〉」』】…”"
WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
# What stays on one line, with the space behind it: an interval; a Chinese character or a word, with the punctuation
# that clings to it; and whatever is none of these.
INTERVAL = r"\[[^\s\]]+, [^\s\]]+\]"
CHARACTER = rf"(?![{CLOSING}{OPENING}])[{WIDE}]"
WORD = rf"[^\s{WIDE}{CLOSING}{OPENING}]+"
UNIT = re.compile(rf"\s*(?:[{OPENING}]*(?:{INTERVAL}|{CHARACTER}|{WORD})[{CLOSING}]*|\S)\s*")


class Prose(Text):
    """Text that may be broken between any two Chinese characters, but not before a comma.

    Rich breaks at spaces alone, so that a line of Chinese ends at the first word that is none.
    """

    def wrap(self, console: Console, width: int, *, no_wrap: bool | None = None, **options: Any) -> Lines:
        if no_wrap:
            return super().wrap(console, width, no_wrap=no_wrap, **options)
        lines = Lines()
        for line in self.split(allow_blank=True):
            for piece in line.divide(breaks(line.plain, width)):
                piece.rstrip_end(width)
                lines.extend(piece.wrap(console, width, **options))
        return lines


def breaks(line: str, width: int) -> list[int]:
    """Where to break a line so that its parts fit `width` cells; a word that is wider stays whole."""
    places, filled = [], 0
    for unit in UNIT.finditer(line):
        needed = cell_len(unit[0].rstrip())
        if filled and filled + needed > width:
            places.append(unit.start())
            filled = 0
        filled += cell_len(unit[0])
    return places
