"""Markdown with formulas -> pandoc's document model -> HTML or Typst: one parser for every form of the book.

pandoc comes inside a wheel (extra `book`); nothing is installed on the system.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from mlplab.claims import Language
from mlplab.errors import InvalidInput, import_extra

Blocks = list[Any]

# Texts are prose, lists, tables, code and formulas. What else pandoc would read into them is turned off.
READERS: dict[Language, str] = {
    "en": "markdown-raw_html-raw_tex-citations-auto_identifiers-latex_macros",
    "zh": "markdown-raw_html-raw_tex-citations-auto_identifiers-latex_macros-smart+east_asian_line_breaks",
}
BETWEEN = {"t": "RawBlock", "c": ["html", "<!-- next part -->"]}


def parse(parts: Mapping[str, str], language: Language) -> tuple[list[int], dict[str, Blocks]]:
    """Texts by name -> pandoc's version and the blocks of each text. All at once: pandoc takes longest to start.

    Raises InvalidInput where a text breaks out of its part, as one with a heading of the first level does.
    """
    markdown = "\n\n".join(f"# {name}\n\n{text}" for name, text in parts.items())
    read = json.loads(_run(markdown, "-f", READERS[language], "-t", "json"))
    found: dict[str, Blocks] = {}
    for block in read["blocks"]:
        if block["t"] == "Header" and block["c"][0] == 1:
            found[_text(block["c"][2])] = []
        else:
            next(reversed(found.values())).append(block)
    if list(found) != list(parts):
        raise InvalidInput(
            "the text of an answer", f"must keep its sections {', '.join(parts)} apart", list(found)
        )
    return read["pandoc-api-version"], found


def to_html(version: Sequence[int], parts: Mapping[str, Blocks]) -> dict[str, str]:
    """HTML of each text, formulas as MathML. Raises InvalidInput for a formula that is none."""
    blocks: Blocks = []
    for part in parts.values():
        blocks += [*part, BETWEEN]
    document = {"pandoc-api-version": list(version), "meta": {}, "blocks": blocks}
    html = _run(
        json.dumps(document),
        "-f",
        "json",
        "-t",
        "html5",
        "--mathml",
        "--syntax-highlighting=none",
        "--wrap=none",
    )
    pieces = html.split("<!-- next part -->")
    return {name: _with_spoken_formulas(piece.strip()) for name, piece in zip(parts, pieces, strict=False)}


def _with_spoken_formulas(html: str) -> str:
    """The LaTeX of a formula as its text alternative; where it stands in pandoc's output, a search would find it."""

    def spoken(match: re.Match[str]) -> str:
        attributes, body, latex = match.groups()
        wide = ' tabindex="0"' if 'display="block"' in attributes else ""
        return f'<math{attributes} alttext="{latex.strip().replace(chr(34), "&quot;")}"{wide}>{body}</math>'

    latex = r'<annotation encoding="application/x-tex">(.*?)</annotation>'
    return re.sub(rf"<math([^>]*)><semantics>(.*?){latex}</semantics></math>", spoken, html, flags=re.DOTALL)


def _text(inlines: Sequence[Any]) -> str:
    return "".join(inline["c"] if inline["t"] == "Str" else " " for inline in inlines)


def _run(text: str, *arguments: str) -> str:
    done = subprocess.run(
        [_pandoc(), *arguments], input=text, capture_output=True, text=True, encoding="utf-8", check=False
    )
    complaint = done.stderr.strip()
    if done.returncode or "Could not convert TeX math" in complaint:
        formula = re.search(r"Could not convert TeX math (.*?), rendering", complaint, re.DOTALL)
        raise InvalidInput(
            "a text of the book",
            "must be Markdown with formulas in LaTeX",
            formula[1] if formula else complaint,
        )
    return done.stdout


@cache
def _pandoc() -> str:
    return import_extra("pypandoc", what="The book", extra="book").get_pandoc_path()
