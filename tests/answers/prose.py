"""What of a text is prose, and which figures in it were typed rather than computed (law 2)."""

from __future__ import annotations

import re

from mlplab.answers import ours

COMPUTED = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
EXPRESSION = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
BRANCH = re.compile(r"\{%-?\s*((?:if|elif|for|set)\b.*?)\s*-?%\}", re.DOTALL)

# Where a digit is allowed in prose: it names a place or a thing, or is a constant of a formula. Nothing else.
PLACES = re.compile(
    r"\b(?:[Ss]ection|[Ee]xercise|[Cc]hapter)s?\s+\d+(?:\.\d+)*"  # section 4.6, exercise 4.6.1
    r"|(?:第\s*\d+|\d+(?:\.\d+)+)\s*[章节]|练习\s*\d+(?:\.\d+)+"
)
STEPS = re.compile(r"^\d+\. ", re.MULTILINE)  # the numbers of a list
NAMES = re.compile(r"(?<![A-Za-z0-9.])[A-Za-z]+-?\d+(?![\d.])")  # L2, float32, MNIST-1
CONSTANTS = re.compile(
    # 0 and 1, which no measurement gives: N(0, 1), 1 − p, x = 0. Not 0.3, 10, 1 % or 1 point.
    r"(?<![\d.,])[01](?!\d|[.,]\d|\s*(?:%|‰|points?\b|percent|per cent|seeds?\b|epochs?\b|times\b|个|轮|倍|成))"
    # A whole number below 10 that divides, raises or multiplies a symbol: λ/2, 2^n, 2σ; in LaTeX 2\sigma, x_{2} too.
    r"|(?<=[/^_])\d(?![\d.])|(?<![\d.])\d(?=\^|[A-Za-zα-ω])(?![a-z]{2})"
    r"|(?<![\d.])\d(?=/?\\(?!%|times|text)[A-Za-z,])|(?<![\d.])\d(?=/[a-zα-ω](?![a-z]))|(?<=\{)\d(?=\})"
)

# Dollars as pandoc takes them: no space inside, no digit behind.
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$(?!\s)([^$]+?)(?<![\s\\])\$(?!\d)", re.DOTALL)


def parts(template: str) -> dict[str, str]:
    """Heading -> what stands below it."""
    return {
        block.partition("\n")[0].strip(): block.partition("\n")[2]
        for block in f"\n{template}".split("\n## ")[1:]
    }


def prose(template: str) -> str:
    """The text without headings, references, code and what is computed."""
    references = [ours().frame(language)["headings.references"] for language in ("en", "zh")]
    kept = "\n".join(body for heading, body in parts(template).items() if heading not in references)
    return CODE.sub(" ", COMPUTED.sub(" ", kept))


def typed_figures(template: str) -> list[str]:
    """Figures in prose that nothing computed, each with what stands around it."""
    text = prose(template)
    for allowed in (PLACES, STEPS, NAMES, CONSTANTS):
        text = allowed.sub(lambda match: " " * len(match[0]), text)
    return [text[max(0, m.start() - 25) : m.end() + 15].strip() for m in re.finditer(r"\d[\d.,]*", text)]


SENTENCE_END = re.compile(r"(?<=[.?!])[”’\")]?\s+(?=[A-Z\d`“$(−-])|(?<=[。？！])[”’）]?\s*(?=\S)")


def sentences(text: str) -> list[str]:
    """The sentences of a text that was filled in, without its code and formulas, which count as a word each."""
    plain = FORMULA.sub("X", CODE.sub("X", " ".join(text.split())))
    return [one.strip() for one in SENTENCE_END.split(plain) if one.strip()]


def numbers(text: str) -> list[str]:
    """What a reader takes in as a number: not that of an exercise, nor a name such as L2, nor a 0 or 1 of a formula."""
    for named in (PLACES, NAMES, CONSTANTS):
        text = named.sub(" ", text)
    return re.findall(r"\d[\d.,]*(?:[–-]\d[\d–-]*)*", text)


def formulas(template: str) -> list[str]:
    """The formulas, with 1 in place of what is computed."""
    text = CODE.sub(" ", re.sub(r"\{%.*?%\}|\{#.*?#\}", "", EXPRESSION.sub("1", template), flags=re.DOTALL))
    return [display or inline for display, inline in FORMULA.findall(text)]


def expressions(template: str) -> set[str]:
    """What the text quotes, in one spelling."""
    return {" ".join(found.split()) for found in EXPRESSION.findall(template)}


def branches(template: str) -> list[str]:
    """What decides between sentences; sorted, as two languages may say things in another order."""
    return sorted(" ".join(found.split()) for found in BRANCH.findall(template))
