"""Figures are files that need no network; without the extra there is a pip command in their place."""

from __future__ import annotations

import re
import sys

import pytest

from mlplab.answers import Lab, ours
from mlplab.inquiry.inquiry import conclude
from mlplab.pages import figures, typefaces
from mlplab.pages import machine as report
from mlplab.study import default_path

from . import cases

# What makes a browser ask the network for more.
# The programs within a page build tags of their own: a picture of theirs is made of the page's own data.
REQUEST = re.compile(
    r"<script\b[^>]*\bsrc\s*=|<link\b[^>]*\bhref\s*=|@import\s|url\(\s*[\"']?https?:", re.IGNORECASE
)


def test_a_figure_is_an_svg_and_a_page_that_asks_for_nothing():
    made = cases.inquiry()
    svg, html = report.draw(made, None, "zh")
    assert svg.parent == html.parent == default_path().parent / "figures"
    name = f"{made.exercise.book.prefix}4.2.1-zh"  # of a book that is not ours
    assert (svg.name, html.name) == (f"{name}.svg", f"{name}.html")
    assert svg.read_text("utf-8").startswith("<svg")
    page = html.read_text("utf-8")
    assert "vegaEmbed" in page
    assert not REQUEST.search(page)


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.jsdelivr.net/npm/vega@5"></script>',
        "<script type='module' src=//x.y></script>",
        '<link rel="stylesheet" href="https://x.y/z.css">',
        "<style>a { background: url('http://x.y') }</style>",
    ],
)
def test_a_page_that_asks_the_network_would_be_seen(page):
    assert REQUEST.search(page)


@pytest.mark.parametrize("missing", ["altair", "vl_convert"])
def test_without_the_extra_an_answer_says_what_brings_it(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    made = conclude(ours().exercise("4.1.1"), Lab().observations())
    drawn = report.draw(made, None, "en")
    assert isinstance(drawn, str)
    assert "pip install 'mlplab[book]'" in drawn
    assert not figures.folder().exists()
    assert report.as_dict(made, None, drawn, "en")["figures"] == drawn


def drawn_width(label: str) -> float:
    """Of a figure with one label beside its axis."""
    alt = pytest.importorskip("altair")
    chart = alt.Chart(alt.Data(values=[{"label": label}])).mark_point()
    _, svg, _ = figures.drawn(chart.encode(y=alt.Y("label:N", title=None, axis=alt.Axis(labelLimit=0))))
    return float(re.search(r'<svg[^>]*\bwidth="([\d.]+)"', svg)[1])


def test_a_label_gets_the_room_that_its_letters_need(tmp_path):
    ttlib = pytest.importorskip("fontTools.ttLib")
    typefaces.cut_for_figures("m", tmp_path)
    font = ttlib.TTFont(tmp_path / "400.ttf")
    advance = font["hmtx"][font.getBestCmap()[ord("m")]][0] / font["head"].unitsPerEm
    grown = drawn_width("m" * 40) - drawn_width("m" * 20)
    assert grown == pytest.approx(20 * advance * figures.CONFIG["axis"]["labelFontSize"], rel=0.02)
