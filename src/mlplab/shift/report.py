"""The report of a check: one HTML file that asks for nothing else, with its pictures inside."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pandas as pd

from mlplab.errors import import_extra
from mlplab.outputs import write_whole
from mlplab.shift.check import NAMES_OF_TESTS, CheckResult


def write_report(found: CheckResult, path: str | Path) -> None:
    """Write the page. Raises MissingExtra without Altair, OutputError where the file cannot be written."""
    write_whole(path, report(found))


def report(found: CheckResult) -> str:
    """The page as text."""
    renderer = import_extra("vl_convert", what="A report", extra="book")
    template = (Path(__file__).parent / "report_page.html").read_text("utf-8")
    (before, rows), (now, more) = found.files
    sections = []
    for name, result in found.results.items():
        drawn = result.plot().to_dict()
        del drawn["title"]  # the heading says it
        picture = renderer.vegalite_to_svg(json.dumps(drawn))
        drivers = result.driver_table()
        drivers["score"] = drivers["score"].map(lambda value: f"{value:.3g}")
        drivers["p_value"] = drivers["p_value"].map(lambda value: "" if pd.isna(value) else _written(value))
        decided = "shift" if found.p_values[name] <= found.alpha else "no shift found"
        head = f"<h2>{name}: {NAMES_OF_TESTS[name]}? <b class='{decided.split()[0]}'>{decided}</b></h2>"
        about = (
            f"<p>{html.escape(result.statistic_name)} {result.statistic:.4g}, p = {_written(result.p_value)}, after "
            f"Holm over the tests {_written(found.p_values[name])}. {html.escape(result.method)}.<br>"
            f"Smallest shift that it would find: {html.escape(result.would_find)}.</p>"
        )
        listed = drivers.rename(columns={"name": "feature or class", "p_value": "p (Holm)"})
        details = f"<details><summary>Drivers: {html.escape(result.driver_measure)}</summary>{_table(listed)}</details>"
        sections.append(f"<section>{head}{about}<figure>{picture}</figure>{details}</section>")
    notices = "".join(f"<li><b>{n.name}</b> {html.escape(n.text)}</li>" for n in found.notices)
    values = {
        "decision": "A shift was found" if found.is_shift else "No shift was found",
        "class": "shift" if found.is_shift else "no",
        "title": html.escape(f"{now} against {before}"),
        "sizes": html.escape(
            f"{before}: {rows:,} rows. {now}: {more:,} rows. False alarms: at most {found.alpha:g}."
        ),
        "summary": _table(_summary(found)),
        "notices": f"<h2>Notices</h2><ul>{notices}</ul>" if notices else "",
        "sections": "\n".join(sections),
    }
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _summary(found: CheckResult) -> pd.DataFrame:
    rows = found.table().drop(columns=["would_find"])
    for name in ("p_value", "p_holm"):
        rows[name] = rows[name].map(_written)
    return rows.rename(columns={"p_value": "p", "p_holm": "p (Holm)"})


def _written(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _table(rows: pd.DataFrame) -> str:
    return rows.to_html(index=False, border=0, escape=True)
