"""Markdown with formulas, for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from mlplab.pages.terminal_text import Prose
from mlplab.pages.unicode_math import to_unicode

CODE_THEME = "ansi_dark"  # the terminal's own colours, on whatever background it has


class _Formula(markdown.TextElement):
    """A formula on lines of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(Text(self.text.plain), (0, 0, 0, 4))


class _Paragraph(markdown.Paragraph):
    def on_enter(self, context: markdown.MarkdownContext) -> None:
        super().on_enter(context)
        self.text = Prose()


class Markdown(markdown.Markdown):
    """As Rich shows it, with `$...$` and `$$...$$` in Unicode, and no space where a line of Chinese was broken."""

    elements: ClassVar[dict[str, type[markdown.MarkdownElement]]] = {
        **markdown.Markdown.elements,
        "paragraph_open": _Paragraph,
        "math_block": _Formula,
    }

    def __init__(self, markup: str) -> None:
        super().__init__("", code_theme=CODE_THEME)
        dollars = {"allow_space": False, "allow_digits": False, "double_inline": True}
        parser = MarkdownIt().enable("table").use(dollarmath_plugin, **dollars)
        self.parsed = list(_readable(parser.parse(markup)))


def _readable(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.children:
            token.children = list(_without_breaks_in_chinese(_readable(token.children)))
        if token.type.startswith("math_"):
            token.content = to_unicode(token.content)
        if token.type in ("math_inline", "math_inline_double"):
            token.type, token.tag = "text", ""
            token.content = " ".join(token.content.splitlines())
        elif token.type == "math_block":
            token.tag = ""
        yield token


def _without_breaks_in_chinese(tokens: Iterable[Token]) -> Iterator[Token]:
    """A line break is a space, but not between two Chinese characters."""
    held = list(tokens)
    for i, token in enumerate(held):
        if token.type == "softbreak" and 0 < i < len(held) - 1:
            before, after = held[i - 1].content[-1:], held[i + 1].content[:1]
            if _is_wide(before) and _is_wide(after):
                continue
        yield token


def _is_wide(letter: str) -> bool:
    return bool(letter) and unicodedata.east_asian_width(letter) in "WF"
