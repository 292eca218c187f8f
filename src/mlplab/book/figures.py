"""Writes a figure for people: SVG for a page, and one HTML file that answers the mouse and needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlplab.errors import import_extra
from mlplab.study import default_path

if TYPE_CHECKING:
    import altair


def folder() -> Path:
    """Where figures are written: beside the results store."""
    return default_path().parent / "figures"


def save(chart: altair.TopLevelMixin, name: str) -> tuple[Path, Path]:
    """Write `name`.svg and `name`.html; returns their paths. Raises MissingExtra without the extra `book`."""
    import_extra("vl_convert", what="A figure", extra="book")
    folder().mkdir(parents=True, exist_ok=True)
    svg, html = folder() / f"{name}.svg", folder() / f"{name}.html"
    chart.save(str(svg))
    chart.save(str(html), inline=True)
    return svg, html
