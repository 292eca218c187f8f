"""MathML as pandoc writes it -> as a browser sets it best: signs that are signs, and air around names of functions."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as Tree

SIGNS = "+−±∓"
APPLIED = "\u2061"  # an invisible "of" behind a function
SCRIPTS = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
THIN = "0.167em"  # TeX's space between a function and its argument


def mended(body: str) -> str:
    """What stands within <math>. In TeX log x = i log x has a thin space on each side of log; pandoc drops it."""
    top = Tree.fromstring(f"<top>{body}</top>")
    for element in top.iter():
        if element.tag == "mi" and (element.text or "") in SIGNS and element.text:
            element.tag = "mo"
            element.set("form", "prefix")
    for element in list(top.iter()):
        if element.tag not in SCRIPTS:
            _set_apart(element)
    inner = "".join(Tree.tostring(child, "unicode", short_empty_elements=False) for child in top)
    return f"{top.text or ''}{inner}"


def _set_apart(row: Tree.Element) -> None:
    """Thin spaces between functions and the operands beside them."""
    for before, after in list(pairwise(row)):
        if (_is_function(before) and _begins_operand(after)) or (
            _is_function(after) and _ends_operand(before)
        ):
            row.insert(list(row).index(after), Tree.Element("mspace", {"width": THIN}))


def _is_function(element: Tree.Element) -> bool:
    if element.tag in SCRIPTS:
        return _is_function(element[0])
    if element.tag == "mrow" and len(element) == 2 and element[1].text == APPLIED:
        return _is_function(element[0])
    return (
        element.tag == "mi"
        and element.get("mathvariant") == "normal"
        and len((element.text or "").strip()) > 1
    )


def _begins_operand(element: Tree.Element) -> bool:
    """Not a bracket, which stands close to its function, and no operator, which has its own air."""
    while element.tag in (*SCRIPTS, "mrow", "mstyle") and len(element) and not _is_function(element):
        element = element[0]
    is_bar = element.tag == "mo" and element.get("form") == "prefix" and (element.text or "") in "|‖"
    return is_bar or element.tag not in ("mo", "mspace")


def _ends_operand(element: Tree.Element) -> bool:
    if element.tag in SCRIPTS:
        return _ends_operand(element[0])
    if element.tag in ("mrow", "mstyle") and len(element):
        return _ends_operand(element[-1])
    return element.get("form") == "postfix" if element.tag == "mo" else element.tag != "mspace"
