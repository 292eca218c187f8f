r"""Formulas in LaTeX, written so that every form of the book sets them alike.

What authors write is right in TeX, and ambiguous elsewhere: a bare bar opens or closes, `\mathrm{sign}` is letters or
the name of a function, `\bigl` is a size that Typst does not have. Here each is said in the one way that pandoc
carries into MathML and Typst whole.
"""

from __future__ import annotations

import re

from mlplab.errors import InvalidInput

# \mathrm{sign} is a function unless it is an index, as in n_{\mathrm{in}}; with its own space around it.
_NAME = re.compile(r"(?<![_^])(?<![_^]\{)(?:\\,\s*)?\\mathrm\{([A-Za-z]{2,})\}(?:\\,)?")
_SIZED = re.compile(r"\\[bB]igg?([lr])(?![A-Za-z])")
_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}"
_TWICE_RAISED = re.compile(
    rf"\{{((?:[^{{}}^]|{_GROUP})+)\^\{{([^{{}}]*)\}}\}}\s*\^\s*(?:\{{([^{{}}]*)\}}|(\\[A-Za-z]+|[^\\{{}}\s]))"
)
_TOKEN = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?)\s*(?:\\[A-Za-z]+|\\.|.)|\\[A-Za-z]+|\\.|.", re.DOTALL
)
_BARS = {"|": (r"\left|", r"\right|"), r"\|": (r"\lVert ", r"\rVert ")}
_BARS |= {r"\vert": _BARS["|"], r"\Vert": _BARS[r"\|"]}


def normal(formula: str) -> str:
    r"""The same formula with bars that open and close, functions by name, brackets that fit, one exponent a base.

    Raises InvalidInput for a bar without its partner. "Given" is `\mid`.
    """
    formula = _NAME.sub(r"\\operatorname{\1}", formula)
    formula = _SIZED.sub(lambda size: r"\left" if size[1] == "l" else r"\right", formula)
    formula = formula.replace(r"\lvert", r"\left|").replace(r"\rvert", r"\right|")
    formula = _TWICE_RAISED.sub(lambda m: f"{m[1]}^{{{m[2]}{m[3] or m[4]}}}", formula)
    return _with_paired_bars(formula)


def _with_paired_bars(formula: str) -> str:
    """A bar opens; the next of its kind in the same group closes it."""
    made: list[str] = []
    still_open: list[set[str]] = [set()]
    for token in _TOKEN.findall(formula):
        if token == "{":
            still_open.append(set())
        elif token == "}" and len(still_open) > 1 and not still_open[-1]:
            still_open.pop()
        elif token in _BARS:
            is_open = token in still_open[-1]
            still_open[-1] ^= {token}
            token = _BARS[token][is_open]
        made.append(token)
    if any(still_open):
        raise InvalidInput("a formula", "must close each bar that it opens", formula, r"“Given” is \mid")
    return "".join(made)
