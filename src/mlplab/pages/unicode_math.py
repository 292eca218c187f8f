r"""Formulas in LaTeX as one readable line of Unicode, for a terminal: `\frac{\mu^2 p}{1-p}` is μ²p/(1 − p).

pylatexenc parses and knows the symbols. What it leaves out is said here: fractions and roots, exponents and indices,
names of functions, cases, and the spaces that TeX sets by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

from pylatexenc.latex2text import (
    EnvironmentTextSpec,
    LatexNodes2Text,
    MacroTextSpec,
    SpecialsTextSpec,
    get_default_latex_context_db,
)
from pylatexenc.latexwalker import LatexWalker
from pylatexenc.latexwalker import get_default_latex_context_db as get_default_parsing_db
from pylatexenc.macrospec import std_environment, std_macro

RELATIONS = "=<>≤≥⩽⩾≪≫≈≃≅≡≠∼∝∈∉⊂⊆⊃⊇→←↔⇒⇐⇔↦⟶⟹⟺∣≔≺≻"
BINARY = "+−±×·⋅⊗⊙⊕∘∧∨∪∩∖"
# They stand in for what must outlive the removal of spaces; none of them occurs in a text.
EDGE, SPACE, OPEN, CLOSE, ROW = "\ue000\ue001\ue002\ue003\ue004"

NAMES = (
    "arccos arcsin arctan arg cos cosh cot cov det diag dim erf exp gcd inf ker lim liminf limsup ln log max min "
    "Pr sign sin sinh sup tan tanh tr var"
).split()
ACCENTS = {"widetilde": "\u0303", "widehat": "\u0302", "overline": "\u0305"}
SYMBOLS = {
    "|": "‖", "lVert": "‖", "rVert": "‖", "Vert": "‖", "lvert": "|", "rvert": "|", "vert": "|", "mid": "∣",
    "top": "⊤", "intercal": "⊤", "ne": "≠", "le": "≤", "ge": "≥", "to": "→", "coloneqq": "≔",
    "colon": ":", "iff": "⟺", "implies": "⟹", "setminus": "∖", "lbrace": OPEN, "rbrace": CLOSE, "{": OPEN, "}": CLOSE,
    "dotsc": "…", "dotsb": "⋯", "prime": "′", "sim": "∼", "cdot": "·", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "langle": "⟨", "rangle": "⟩", "nabla": "∇", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "", "big": "",
    "Big": "", "displaystyle": "", "textstyle": "", "limits": "", "nolimits": "", "nonumber": "", "!": "", ",": EDGE,
    "rm": "", "bf": "", "it": "", "/": "", "left": "", "right": "", "middle": "",
    ":": SPACE, ";": SPACE, " ": SPACE, "quad": SPACE * 2, "qquad": SPACE * 4, "\\": ROW, "%": "%",
}  # fmt: skip


def to_unicode(formula: str) -> str:
    """One formula, without its dollars. Several rows become several lines; what is not known stays as it was."""
    text = str(_converter().nodelist_to_text(_parsed(formula)))
    return "\n".join(_spaced(row) for row in text.split(ROW) if row.strip())


def _parsed(formula: str) -> list[Any]:
    return LatexWalker(formula, latex_context=_parsing(), tolerant_parsing=True).get_latex_nodes()[0]


def _spaced(row: str) -> str:
    text = re.sub(r"\s+", "", row).replace("&", "").replace("-", "−")
    text = _with_scripts(text).replace("{", "").replace("}", "")
    text = re.sub(
        f"(?<=[\\w)\\]′])[{EDGE}]+(?=[\\w(√∑∏∂∇∫⌈⌊⟨])", lambda m: " " if _parts(text, m) else "", text
    )
    text = text.replace(EDGE, "")
    text = re.sub(f" ?([{RELATIONS}]) ?", r" \1 ", text)
    # Between two operands; a sign before a number has no space after it.
    text = re.sub(f"(?<=[^\\s(\\[,{OPEN}{RELATIONS}{BINARY}^_/{SPACE}])([{BINARY}])", r" \1 ", text)
    text = re.sub(r"([,;:])(?=\S)(?!(?<=\d,)\d{3}(?!\d))", r"\1 ", text)  # but not in 203,530
    text = text.translate({ord(SPACE): " ", ord(OPEN): "{", ord(CLOSE): "}"})
    return re.sub(r" +", " ", text).strip()


def _parts(text: str, edge: re.Match[str]) -> bool:
    """Whether something would run into its neighbour: ln and m, but not ln and its bracket."""
    return text[edge.end()] != "(" or text[edge.start() - 1] in ")]"


def _with_scripts(text: str) -> str:
    """Exponents and indices in small letters where Unicode has them all, else after ^ or _."""
    pattern = re.compile(r"([\^_])(\{[^{}]*\}|[^{}])")
    while True:
        changed = pattern.sub(lambda m: _script(m[1], m[2].removeprefix("{").removesuffix("}")), text)
        changed = re.sub(r"(?<![\^_\ue005\ue006])\{([^{}]*)\}", r"\1", changed)  # a group that is no script
        if changed == text:
            break
        text = changed
    # The edge of a name is behind its script: min_w L(w).
    small = re.escape("".join({*_small("super").values(), *_small("sub").values()}))
    text = re.sub(f"{EDGE}([{small}]+)", rf"\1{EDGE}", re.sub(f"{EDGE}(?=[\ue005\ue006])", "", text))
    return text.replace("\ue005", "^").replace("\ue006", "_")


def _script(kind: str, body: str) -> str:
    small = _small("super" if kind == "^" else "sub")
    bare = body.replace(EDGE, "")
    if all(letter in small for letter in bare):
        return "".join(small[letter] for letter in bare)
    if kind == "^" and bare in "*′'":
        return bare
    mark = "\ue005" if kind == "^" else "\ue006"
    return f"{mark}{bare if len(bare) == 1 or bare.isalpha() else f'({body})'}{EDGE}"


@cache
def _small(kind: str) -> dict[str, str]:
    """Letter -> the same above or below the line, as Unicode's own tables say."""
    table = {}
    for code in range(0x2100, 0xA0, -1):  # backwards: digits have older forms that look better
        table |= _decomposed(chr(code), kind)
    for code in range(0x1D00, 0x1DC0):
        table |= _decomposed(chr(code), kind)
    table |= _decomposed("\u2c7c", kind)  # subscript j
    if kind == "super":
        table |= {"⊤": "ᵀ", "T": "ᵀ", "′": "′", "'": "′", "†": "†"}
    return table | {"−": table["−"], "-": table["−"]}


def _decomposed(letter: str, kind: str) -> dict[str, str]:
    tag, _, code = unicodedata.decomposition(letter).partition(" ")
    if tag != f"<{kind}>" or " " in code:
        return {}
    return {chr(int(code, 16)): letter}


def _argument(l2tobj: LatexNodes2Text, node: Any, index: int) -> str:
    return str(l2tobj.node_arg_to_text(node, index)).strip()


def _fraction(node: Any, l2tobj: LatexNodes2Text) -> str:
    over, under = (_argument(l2tobj, node, i) for i in (0, 1))
    if over.isdigit() and under.isdigit() and f"{over}⁄{under}" in _vulgar():
        return _vulgar()[f"{over}⁄{under}"]
    return f"{EDGE}{_bracketed(over, '+-−±=<>/')}/{_bracketed(under, '')}{EDGE}"


def _root(node: Any, l2tobj: LatexNodes2Text) -> str:
    index, body = (_argument(l2tobj, node, i) for i in (0, 1))
    return f"{'^{' + index + '}' if index else ''}√{_bracketed(body, '')}{EDGE}"


def _bracketed(text: str, separators: str) -> str:
    """In brackets, unless it reads as one thing without. `separators` part it; none: anything but one atom does."""
    inner = text
    while (shorter := re.sub(r"\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]", "", inner)) != inner:
        inner = shorter
    if separators:
        apart = any(letter in separators for letter in inner.strip("-−"))
    else:
        word = re.sub(r"[\^_].?", "", inner.replace(EDGE, ""))
        apart = not re.fullmatch(r"[∂‖|]?(\w[\u0300-\u036f]?|[\d.]+|[A-Za-z]{2,})?[‖|′]*", word)
    return f"({text})" if apart else text


@cache
def _vulgar() -> dict[str, str]:
    return {
        unicodedata.normalize("NFKC", chr(code)): chr(code)
        for code in (0xBC, 0xBD, 0xBE, *range(0x2150, 0x215F))
    }


def _binomial(node: Any, l2tobj: LatexNodes2Text) -> str:
    return f"C({_argument(l2tobj, node, 0)},{_argument(l2tobj, node, 1)})"


def _words(node: Any, l2tobj: LatexNodes2Text) -> str:
    r"""\text{...} keeps its spaces."""
    return EDGE + re.sub(r"\s", SPACE, str(l2tobj.node_arg_to_text(node, 0))) + EDGE


def _name(node: Any, l2tobj: LatexNodes2Text) -> str:
    name = _argument(l2tobj, node, -1)
    return name if len(name) == 1 else EDGE + name + EDGE


def _accent(mark: str) -> Callable[[Any, LatexNodes2Text], str]:
    def accented(node: Any, l2tobj: LatexNodes2Text) -> str:
        return "".join(letter + mark for letter in _argument(l2tobj, node, 0))

    return accented


def _cases(node: Any, l2tobj: LatexNodes2Text) -> str:
    rows = str(l2tobj.nodelist_to_text(node.nodelist)).split(ROW)
    return OPEN + "; ".join(row.strip().replace("&", f",{SPACE}") for row in rows if row.strip()) + CLOSE


def _matrix(node: Any, l2tobj: LatexNodes2Text) -> str:
    rows = str(l2tobj.nodelist_to_text(node.nodelist)).split(ROW)
    return "[" + "; ".join(row.strip().replace("&", SPACE) for row in rows if row.strip()) + "]"


def _under(node: Any, l2tobj: LatexNodes2Text) -> str:
    return _argument(l2tobj, node, -1)


@cache
def _converter() -> LatexNodes2Text:
    symbols = [MacroTextSpec(name, simplify_repl=text.replace("%", "%%")) for name, text in SYMBOLS.items()]
    macros = [
        *symbols,
        *(MacroTextSpec(name, simplify_repl=f"{EDGE}{name}{EDGE}") for name in NAMES),
        *(
            MacroTextSpec(name, simplify_repl=_name)
            for name in ("operatorname", "mathrm", "mathsf", "mathtt")
        ),
        *(
            MacroTextSpec(name, simplify_repl=_words)
            for name in ("text", "textrm", "textbf", "textit", "mbox")
        ),
        *(MacroTextSpec(name, simplify_repl="%s") for name in ("mathbf", "boldsymbol", "bm", "mathit")),
        *(MacroTextSpec(name, simplify_repl=_fraction) for name in ("frac", "tfrac", "dfrac")),
        *(MacroTextSpec(name, simplify_repl=_under) for name in ("underbrace", "overbrace", "underline")),
        *(MacroTextSpec(name, simplify_repl=_accent(mark)) for name, mark in ACCENTS.items()),
        MacroTextSpec("binom", simplify_repl=_binomial),
        MacroTextSpec("sqrt", simplify_repl=_root),
        MacroTextSpec("bmod", simplify_repl=f"{SPACE}mod{SPACE}"),
    ]
    environments = [
        EnvironmentTextSpec("cases", simplify_repl=_cases),
        *(
            EnvironmentTextSpec(f"{kind}matrix", simplify_repl=_matrix)
            for kind in ("", "p", "b", "v", "small")
        ),
        *(EnvironmentTextSpec(name, simplify_repl="%s") for name in ("aligned", "split", "gathered")),
    ]
    known = get_default_latex_context_db()
    columns = SpecialsTextSpec("&", simplify_repl="&")
    known.add_context_category(
        "mlplab", prepend=True, macros=macros, environments=environments, specials=[columns]
    )
    known.set_unknown_macro_spec(MacroTextSpec("", simplify_repl=lambda node: node.latex_verbatim()))
    return LatexNodes2Text(
        latex_context=known, math_mode="text", keep_braced_groups=True, strict_latex_spaces="macros"
    )


@cache
def _parsing() -> Any:
    known = get_default_parsing_db()
    takes = [
        *(std_macro(name, "{{") for name in ("frac", "tfrac", "dfrac", "binom")),
        std_macro("sqrt", "[{"),
        std_macro("operatorname", "*{"),
        *(std_macro(name, "{") for name in ACCENTS),
        *(std_macro(name, "{") for name in ("mathbf", "boldsymbol", "bm", "mathit", "mathrm", "mathsf")),
        *(std_macro(name, "{") for name in ("text", "textrm", "textbf", "textit", "mbox")),
        *(std_macro(name, "{") for name in ("underbrace", "overbrace", "underline", "mathtt")),
    ]
    rows = [
        std_environment(name, "", is_math_mode=True)
        for name in (
            "cases",
            "aligned",
            "split",
            "gathered",
            "matrix",
            "pmatrix",
            "bmatrix",
            "vmatrix",
            "smallmatrix",
        )
    ]
    known.add_context_category("mlplab", prepend=True, macros=takes, environments=rows)
    return known
