"""Text from data is text, whatever it holds: on every page, in every figure, in the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

from mlplab.analysis.graph_drawing import Drawing
from mlplab.cli.present import print_table, save_plot
from mlplab.data.own_table import Roles, own_table
from mlplab.report import figure, page
from mlplab.shift.check import CheckResult
from mlplab.shift.notices import Notice
from mlplab.shift.report import report
from mlplab.shift.result import Driver, ShiftResult, bars
from mlplab.study import Store
from mlplab.study.comparison import compare
from mlplab.study.page import study_page
from mlplab.study.plan import Plan

PAYLOADS = {
    "slot": "{sections}",
    "template": "{{ 7*7 }}{% raw %}{# #}",
    "script": "</script><script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "end": "]]></title></style></svg><!-- <b>",
    "entity": "&lt;b&gt;&#60;b&#62;",
    "quotes": "\"&'`",
    "percent": "%s %(name)s \\N \\G $1 \\",
    "marks": "\u202eright to left\u2066",
    "lines": "first\nsecond\r\n\tthird",
    "markup": "[red]not red[/red] [/] [link=x]",
}


class Outline(HTMLParser):
    """What a page is built of, and the text that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def shift_page(name: str) -> str:
    """Each text that comes from data: files, features, notes, notices, categories, the method's model."""
    result = ShiftResult(
        detector="features",
        method=f"{name}, learnt",
        statistic_name="distance",
        statistic=0.5,
        p_value=0.01,
        alpha=0.05,
        num_reference=10,
        num_current=10,
        driver_measure="distance",
        drivers=(Driver(name, 0.5, 0.01, f"share of {name}"), Driver("other", 0.1, 0.5)),
        distribution=bars(name, name, [name, "other"], np.array([[1, 2], [2, 1]])),
    )
    return report(
        CheckResult(
            ((name, 10), (name, 10)), {"features": result}, {"features": 0.01}, 0.05,
            (Notice("unseen-category", f"{name} is odd", name),),
        )
    )  # fmt: skip


def study(name: str) -> str:
    x = np.arange(60.0)
    frame = pd.DataFrame({"a": x % 7, "kind": np.where(x % 2, name, "other"), name: x % 5})
    roles = Roles(name)
    table = own_table(frame, roles, name=name)
    plan = Plan(
        f"/{name}",
        roles,
        base={"hidden_sizes": (2,), "epochs": 1},
        vary={"weight_decay": [0.0, 1.0]},
        seeds=2,
    )
    with TemporaryDirectory() as folder, Store(Path(folder) / "runs.sqlite") as store:
        return study_page(compare(plan, table, store))


def graph_page(name: str) -> str:
    node = {
        "number": 0, "name": name, "kind": "operation", "phase": "forward", "module": name, "shape": (2,),
        "dtype": name, "num_bytes": 8, "flop": 2, "saved": True, "inputs": (),
    }  # fmt: skip
    return Drawing(name, (node, node | {"number": 1, "phase": "backward", "inputs": (0,)})).html()


REPORTS: dict[str, Callable[[str], str]] = {"shift": shift_page, "graph": graph_page, "study": study}


@pytest.fixture(scope="module")
def plain() -> dict[str, Outline]:
    return {name: Outline(make("plain")) for name, make in REPORTS.items()}


# The report of a study trains one: two of its payloads, those of a template and of a page, are tried each time.
@pytest.mark.parametrize(
    ("name", "payload"),
    [
        pytest.param(
            n, p, marks=[pytest.mark.slow] * (n == "study" and p not in ("template", "script")), id=f"{n}-{p}"
        )
        for n in REPORTS
        for p in PAYLOADS
    ],
)
def test_no_name_changes_what_a_report_is_built_of(name, payload, plain):
    pytest.importorskip("vl_convert")
    if name == "graph":
        pytest.importorskip("pygraphviz")
    text = REPORTS[name](PAYLOADS[payload])
    found, usual = Outline(text), plain[name]
    structure = set(usual.elements) - {"text", "tspan", "path", "g", "line", "polygon", "title", "rect"}
    assert {tag: found.elements[tag] for tag in structure} == {tag: usual.elements[tag] for tag in structure}
    assert not set(found.elements) - set(usual.elements)
    assert not [attribute for attribute in found.attributes if attribute.startswith("on")]
    assert PAYLOADS[payload].split("\n")[0].strip() in found.text
    if name == "graph":
        nodes = text.partition('id="nodes">')[2].partition("</script>")[0]
        assert json.loads(nodes)[0]["name"] == PAYLOADS[payload]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_name_ends_the_script_of_a_figures_page(payload, tmp_path):
    alt = pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    sizes = []
    for name in ("plain", PAYLOADS[payload]):
        chart = (
            alt.Chart(pd.DataFrame({"x": [name], "y": [1]}), title=name).mark_bar().encode(x="x:N", y="y:Q")
        )
        save_plot(chart, str(tmp_path / "figure.html"))
        sizes.append(Outline((tmp_path / "figure.html").read_text("utf-8")).elements)
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("payload", ["markup", "slot", "percent"])
def test_a_table_in_the_terminal_shows_names_as_they_are(payload, capsys):
    text = PAYLOADS[payload]
    print_table(pd.DataFrame({text: [text, "other"]}), title=text)
    assert capsys.readouterr().out.count(text) == 3


def test_a_page_with_a_missing_value_or_a_figure_with_a_script_is_not_made():
    with pytest.raises(Exception, match="undefined"):
        page("mlplab.shift", "report_page.html", title="alone")
    for falsehood in ("no figure", "<svg><script>alert(1)</script></svg>"):
        with pytest.raises(ValueError, match="SVG without a script"):
            figure(falsehood)
