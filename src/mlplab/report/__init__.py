"""One frame for every report: a page that asks for nothing else, light and dark, on a phone and on paper.

It knows nothing of models, runs or samples. A report is a Jinja template that extends `frame.html`; what it shows is
given as text, numbers, tables (`macros.html`) and drawn figures. Every value is escaped by the engine: text from data
is text, whatever it holds. A figure alone is markup, and it is drawn from data by a library that escapes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """Rows of text below their headings.

    Arguments:
      numeric: the headings whose cells are numbers, which stand on the right.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    numeric: frozenset[str] = frozenset()


def figure(svg: str) -> Markup:
    """A drawn figure, for a page. Raises ValueError for what is no SVG, or one with a script of its own."""
    start = svg.find("<svg")
    if start < 0 or "<script" in svg.lower():
        raise ValueError("A figure must be an SVG without a script.")
    return Markup(svg[start:])


def page(package: str, template: str, **values: Any) -> str:
    """The page of a template that lies in `package`. A value that the template lacks is an error."""
    return _environment(package).get_template(template).render(**values)


@cache
def _environment(package: str) -> jinja2.Environment:
    def source(name: str) -> str | None:
        for folder in (files(package), files(__name__)):
            if (path := folder / name).is_file():
                return path.read_text("utf-8")
        return None

    return jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(source),
        trim_blocks=True,
        lstrip_blocks=True,
    )
