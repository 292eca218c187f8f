"""Markdown with formulas -> pandoc's document model -> HTML or Typst: one parser for every form of the book.

pandoc comes inside a wheel (extra `book`); nothing is installed on the system.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from html import unescape
from typing import Any

from mlplab.answers import Language
from mlplab.errors import InvalidInput, import_extra
from mlplab.pages import latex, mathml
from mlplab.pages.unicode_math import to_unicode

Blocks = list[Any]

# Texts are prose, lists, tables, code and formulas. What else pandoc would read into them is turned off. A list may
# follow a line at once: a template takes the line between them away where a condition ends.
READER = "markdown-raw_html-raw_tex-citations-auto_identifiers-latex_macros+lists_without_preceding_blankline"
EAST_ASIAN = ("zh", "ja", "ko")  # a line's end is no space, and quotes are as they are written
# Names of symbols that pandoc writes and Typst has no more.
RENAMED = {
    "dot.circle": "dot.o",
    "gt.tri": "gt.closed",
    "lt.tri": "lt.closed",
    "minus.circle": "minus.o",
    "sect": "inter",
    "tack.r.double": "tack.rr",
    "times.circle": "times.o",
}
BETWEEN: dict[str, str] = {"html": "<!-- next part -->", "typst": "/* next part */"}
LONG = 25  # letters of a formula that may not fit a phone
# Links between pages, and what the labels begin with that they lead to in a book.
INNER_LINKS = (
    (re.compile(r"(\d[0-9A-Za-z]*(?:\.[0-9A-Za-z]+)*)\.html"), "ex"),
    (re.compile(r"glossary\.html#([a-z0-9-]+)"), "term"),
)


def parse(parts: Mapping[str, str], language: Language) -> tuple[list[int], dict[str, Blocks]]:
    """Texts by name -> pandoc's version and the blocks of each text. All at once: pandoc takes longest to start.

    Raises InvalidInput where a text breaks out of its part, as one with a heading of the first level does, and for a
    formula with a bar that nothing closes.
    """
    markdown = "\n\n".join(f"# {name}\n\n{text}" for name, text in parts.items())
    reader = READER + ("-smart+east_asian_line_breaks" if language[:2] in EAST_ASIAN else "")
    read = json.loads(_run(markdown, "-f", reader, "-t", "json"))
    found: dict[str, Blocks] = {}
    for block in read["blocks"]:
        if block["t"] == "Header" and block["c"][0] == 1:
            found[_text(block["c"][2])] = []
        else:
            next(reversed(found.values())).append(_with_normal_formulas(block))
    if list(found) != list(parts):
        raise InvalidInput(
            "the text of an answer", f"must keep its sections {', '.join(parts)} apart", list(found)
        )
    return read["pandoc-api-version"], found


def to_html(version: Sequence[int], texts: Sequence[Mapping[str, Blocks]]) -> list[dict[str, str]]:
    """HTML of each part of each text, formulas as MathML. Raises InvalidInput for a formula that is none."""
    arguments = ("-t", "html5", "--mathml", "--syntax-highlighting=none")
    return [
        {name: _with_spoken_formulas(part) for name, part in text.items()}
        for text in _written(version, texts, "html", *arguments)
    ]


def to_typst(version: Sequence[int], texts: Sequence[Mapping[str, Blocks]]) -> list[dict[str, str]]:
    """Typst's markup of each part of each text, for a book where headings of an exercise's parts are of level 3.

    A link to the page of an exercise leads to its label, `<ex-4.6.1>`, one to a term to `<term-dropout>`; every
    formula has its text alternative.
    Raises InvalidInput as `to_html` does.
    """
    bookish = [{name: _for_a_book(blocks) for name, blocks in text.items()} for text in texts]
    written = _written(version, bookish, "typst", "-t", "typst")
    return [
        {name: _with_alternatives(part, formulas(text[name])) for name, part in parts.items()}
        for text, parts in zip(texts, written, strict=True)
    ]


def formulas(value: Any) -> list[str]:
    """The LaTeX of all formulas of some blocks, in their order."""
    if isinstance(value, list):
        return [latex for item in value for latex in formulas(item)]
    if not isinstance(value, dict):
        return []
    return [value["c"][1]] if value.get("t") == "Math" else formulas(value.get("c"))


def _with_normal_formulas(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_normal_formulas(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("t") == "Math":
        kind, formula = value["c"]
        return value | {"c": [kind, latex.normal(formula)]}
    return {name: _with_normal_formulas(item) for name, item in value.items()}


def _written(
    version: Sequence[int], texts: Sequence[Mapping[str, Blocks]], form: str, *arguments: str
) -> list[dict[str, str]]:
    """All at once: pandoc takes longest to start."""
    between = {"t": "RawBlock", "c": [form, BETWEEN[form]]}
    parts = [blocks for text in texts for blocks in text.values()]
    if not parts:
        return [{} for _ in texts]
    blocks = [block for part in parts for block in (*part, between)]
    document = {"pandoc-api-version": list(version), "meta": {}, "blocks": blocks}
    written = iter(_run(json.dumps(document), "-f", "json", "--wrap=none", *arguments).split(BETWEEN[form]))
    return [{name: next(written).strip() for name in text} for text in texts]


def _for_a_book(value: Any) -> Any:
    """The same blocks with headings a level deeper, and links between pages as links within the book."""
    if isinstance(value, list):
        return [_for_a_book(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: _for_a_book(item) for name, item in value.items()}
    if value.get("t") == "Header":
        level, *rest = value["c"]
        return value | {"c": [level + 1, *rest]}
    if value.get("t") == "Link":
        attributes, inlines, (target, title) = value["c"]
        for page, label in INNER_LINKS:
            if found := page.fullmatch(target):
                return value | {"c": [attributes, inlines, [f"#{label}-{found[1]}", title]]}
    return value


def _with_alternatives(markup: str, alternatives: Sequence[str]) -> str:
    """The same with the text alternative of each formula, functions as functions, and symbols by today's names."""
    names = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, RENAMED))})(?!\w)")
    held = iter(alternatives)

    def spoken(found: re.Match[str]) -> str:
        if found["code"]:
            return found[0]
        formula = names.sub(lambda name: RENAMED[name[0]], found[0])
        # Words of a text stand in upright("…"); a word alone is the name of a function.
        formula = re.sub(r'(?<!\()("[A-Za-z]+")', r"op(\1)", formula)
        spoken = json.dumps(to_unicode(next(held)), ensure_ascii=False)
        return f"#{{set math.equation(alt: {spoken}); {formula}}};"

    # Dollars of programs are no formulas.
    return re.sub(r"(?P<code>`+).*?(?P=code)|(?<!\\)\$.*?(?<!\\)\$", spoken, markup, flags=re.DOTALL)


def _with_spoken_formulas(html: str) -> str:
    """The LaTeX of a formula as its text alternative; where it stands in pandoc's output, a search would find it."""

    def spoken(match: re.Match[str]) -> str:
        attributes, body, formula = match.groups()
        is_block = 'display="block"' in attributes
        wide = ' tabindex="0"' if is_block else ""
        alternative = formula.strip().replace('"', "&quot;")
        made = f'<math{attributes} alttext="{alternative}"{wide}>{mathml.mended(body)}</math>'
        # Within a line a formula is not broken: on a phone a long one scrolls by itself.
        is_long = not is_block and len(to_unicode(unescape(formula))) > LONG
        return f'<span class="long" tabindex="0">{made}</span>' if is_long else made

    annotation = r'<annotation encoding="application/x-tex">(.*?)</annotation>'
    return re.sub(
        rf"<math([^>]*)><semantics>(.*?){annotation}</semantics></math>", spoken, html, flags=re.DOTALL
    )


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
