"""The report of a check: one HTML file that asks for nothing else, with its pictures inside."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from mlplab.errors import import_extra
from mlplab.outputs import write_whole
from mlplab.report import Table, figure, page
from mlplab.shift.check import NAMES_OF_TESTS, CheckResult


def write_report(found: CheckResult, path: str | Path) -> None:
    """Write the page. Raises MissingExtra without Altair, OutputError where the file cannot be written."""
    write_whole(path, report(found))


def report(found: CheckResult) -> str:
    """The page as text."""
    renderer = import_extra("vl_convert", what="A report", extra="book")
    (before, rows), (now, more) = found.files
    decision = "A shift was found" if found.is_shift else "No shift was found"
    about = f"{now} against {before}"
    return page(
        "mlplab.shift",
        "report_page.html",
        title=f"{decision}: {about}",
        decision=decision,
        is_shift=found.is_shift,
        about=about,
        sizes=f"{before}: {rows:,} rows. {now}: {more:,} rows. False alarms: at most {found.alpha:g}.",
        summary=_summary(found),
        notices=found.notices,
        sections=[_section(found, name, renderer) for name in found.results],
    )


def _section(found: CheckResult, name: str, renderer: ModuleType) -> dict[str, Any]:
    """What the page says of one test."""
    result, p_holm = found.results[name], found.p_values[name]
    drawn = result.plot().to_dict()
    del drawn["title"]  # the heading says it
    is_shift = p_holm <= found.alpha
    return {
        "name": name,
        "asks": NAMES_OF_TESTS[name],
        "is_shift": is_shift,
        "decision": "shift" if is_shift else "no shift found",
        "found": (
            f"{result.statistic_name} {result.statistic:.4g}, p = {_written(result.p_value)}, after Holm over the "
            f"tests {_written(p_holm)}. {result.method}."
        ),
        "would_find": result.would_find,
        "figure": figure(renderer.vegalite_to_svg(json.dumps(drawn))),
        "measure": result.driver_measure,
        "drivers": _drivers(result.driver_table()),
    }


def _drivers(drivers: pd.DataFrame) -> Table:
    rows = [
        (
            row["name"],
            f"{row['score']:.3g}",
            "" if pd.isna(row["p_value"]) else _written(row["p_value"]),
            row["note"],
        )
        for row in drivers.to_dict("records")
    ]
    headings = ("feature or class", "score", "p (Holm)", "note")
    return Table(headings, rows, frozenset(("score", "p (Holm)")))


def _summary(found: CheckResult) -> Table:
    rows = found.table().drop(columns=["would_find"])
    for name in ("p_value", "p_holm"):
        rows[name] = rows[name].map(_written)
    rows = rows.rename(columns={"p_value": "p", "p_holm": "p (Holm)"})
    return Table(list(rows.columns), rows.to_numpy().tolist(), frozenset(("p", "p (Holm)")))


def _written(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
