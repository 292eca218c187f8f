"""Figures for people: SVG for a page, one HTML file that answers the mouse and needs no network, and the book's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplab.errors import import_extra
from mlplab.outputs import whole
from mlplab.pages import typefaces
from mlplab.study import default_path

if TYPE_CHECKING:
    import altair


def folder() -> Path:
    """Where figures are written: beside the results store."""
    return default_path().parent / "figures"


def titled(chart: altair.TopLevelMixin, title: str) -> altair.TopLevelMixin:
    """The chart below a line of words; as it is where there are none. Raises MissingExtra without the extra `book`."""
    if not title:
        return chart
    altair = import_extra("altair", what="A figure", extra="book")
    line = altair.TitleParams(text=title, anchor="start", fontWeight="normal")
    return altair.vconcat(chart).properties(title=line)


def save(chart: altair.TopLevelMixin, name: str) -> tuple[Path, Path]:
    """Write `name`.svg and `name`.html; returns their paths. Raises MissingExtra without the extra `book`."""
    import_extra("vl_convert", what="A figure", extra="book")
    folder().mkdir(parents=True, exist_ok=True)
    svg, html = folder() / f"{name}.svg", folder() / f"{name}.html"
    with whole(svg) as part:
        chart.save(str(part), format="svg")
    with whole(html) as part:
        chart.save(str(part), format="html", inline=True)
    return svg, html


# The book's letters, and what the eye needs no more of: a page has its own frame and background.
FONTS = f"'{typefaces.IN_FIGURES}', 'Noto Sans SC', sans-serif"
CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONTS,
    "view": {"stroke": None, "continuousWidth": 300, "continuousHeight": 300},
    "axis": {
        "labelFontSize": 12,
        "labelSeparation": 4,
        "titleFontSize": 12.5,
        "titleFontWeight": 400,
        "titlePadding": 8,
    },
    "header": {"labelFontSize": 12.5, "titleFontSize": 12.5},
    "legend": {"labelLimit": 400, "labelFontSize": 12, "titleFontSize": 12.5, "titleFontWeight": 400},
    "title": {
        "fontSize": 14,
        "fontWeight": 600,
        "subtitleFontSize": 12,
        "subtitleColor": "#555555",
        "anchor": "start",
    },
    "mark": {"tooltip": {"content": "encoding"}},
}
DIGITS = 6  # of a number in a figure's data: no screen shows more


def drawn(chart: altair.TopLevelMixin) -> tuple[dict[str, Any], str, str]:
    """For the book: the Vega-Lite specification, the SVG, and what it shows in words.

    Raises MissingExtra without the extra `book`.
    """
    vl_convert = import_extra("vl_convert", what="A figure", extra="book")
    typefaces.register()
    plain = chart.to_dict(validate=False)  # the tests validate it; that takes longer than to draw it
    words = "; ".join(dict.fromkeys(_titles(plain)))
    spec = _shorter(plain) | {"config": CONFIG, "description": words}
    return spec, vl_convert.vegalite_to_svg(spec), words


# On paper a figure is as wide as the text: smaller panels leave its letters large enough to read.
WIDE = 720
PANEL_SCALE = 0.75
ALONE = 500  # a panel so wide has a row for itself


def on_paper(spec: dict[str, Any], svg: str) -> str:
    """The SVG of a figure for a page of paper: that of the screen, unless it is too wide for its letters to be read.

    Then its panels are smaller, and legends stand below them.
    """
    drawn_width = re.search(r'<svg[^>]*\bwidth="([\d.]+)"', svg)
    if drawn_width is None or float(drawn_width[1]) <= WIDE:
        return svg
    legend = CONFIG["legend"] | {"orient": "bottom", "columns": 1}
    view = {"stroke": None} | {f"continuous{side}": 300 * PANEL_SCALE for side in ("Width", "Height")}
    narrow = _narrower({name: part for name, part in spec.items() if name not in ("config", "datasets")})
    spec = spec | narrow | {"config": CONFIG | {"legend": legend, "view": view}}
    return import_extra("vl_convert", what="A figure", extra="book").vegalite_to_svg(spec)


def _narrower(value: Any) -> Any:
    """The same with smaller panels; bars keep their thickness, which is a step and not a size."""
    if isinstance(value, list):
        return [_narrower(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: round(part * PANEL_SCALE)
        if name in ("width", "height") and isinstance(part, int | float) and part < ALONE
        else _narrower(part)
        for name, part in value.items()
    }


def _titles(spec: Any) -> Iterator[str]:
    """Titles of the figure, its parts, axes and legends, in the order in which they stand."""
    if isinstance(spec, list):
        for part in spec:
            yield from _titles(part)
    elif isinstance(spec, dict):
        title = spec.get("title")
        if isinstance(title, str) and title:
            yield title
        elif isinstance(title, dict) and title.get("text"):
            yield from [title["text"]] if isinstance(title["text"], str) else title["text"]
        for name, part in spec.items():
            if name not in ("data", "datasets", "config", "title"):
                yield from _titles(part)


def _shorter(value: Any) -> Any:
    """The same with numbers to as many digits as a screen can show."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [_shorter(item) for item in value]
    if isinstance(value, dict):
        return {name: _shorter(item) for name, item in value.items()}
    return value
