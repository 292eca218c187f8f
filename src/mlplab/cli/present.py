"""How commands tell a result: a table in the terminal, JSON, a figure in a file."""

from __future__ import annotations

import json
import numbers
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlplab.cli.options import print_json
from mlplab.errors import import_extra
from mlplab.outputs import whole

if TYPE_CHECKING:
    import pandas as pd

BYTES = 1024
WIDE = 200
SHORT = 12  # characters: a longer fraction is told as a decimal; --json has it whole


def print_table(frame: pd.DataFrame, *, in_bytes: tuple[str, ...] = (), title: str = "") -> None:
    """A frame as a table: numbers to four digits, the columns `in_bytes` with their unit."""
    import pandas as pd
    from rich.table import Table
    from rich.text import Text  # not markup: a column may be called [red]

    from mlplab.pages import terminal

    table = Table(
        title=Text(title, "table.title") if title else None,
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
        wide = numeric or name in in_bytes
        table.add_column(
            Text(str(name).replace("_", " ")),
            justify="right" if wide else "left",
            no_wrap=wide,
            overflow="fold",
        )
    for row in frame.itertuples(index=False):
        cells = zip(frame.columns, row, strict=True)
        table.add_row(*(Text(_bytes(value) if name in in_bytes else _cell(value)) for name, value in cells))
    console = terminal.console()
    if not console.is_terminal:
        console.width = WIDE  # a pipe or a file has no edge
    console.print(table)


def print_result(result: Any, *, as_json: bool, plot: str | None, in_bytes: tuple[str, ...] = ()) -> None:
    """A tool's result: `.to_dict()` as JSON, or `.table()`; and `.plot()` into a file."""
    if plot:
        save_plot(result.plot(), plot)
    if as_json:
        print_json(result.to_dict())
        return
    print_table(result.table(), in_bytes=in_bytes)
    told(plot)


def told(plot: str | None) -> None:
    """Says where a figure was written."""
    if plot:
        typer.echo(f"\nFigure: {plot}")


def check_report(report: str | None) -> None:
    """Before anything is computed. Raises MissingExtra without what draws a report's figures."""
    if report is not None:
        for module in ("altair", "vl_convert"):
            import_extra(module, what="A report", extra="book")


def save_plot(chart: Any, plot: str) -> None:
    """Write an Altair chart; a page holds all that it needs."""
    kind = Path(plot).suffix.lower()
    with whole(plot) as part:
        if kind == ".html":
            text = chart.to_html(inline=True, json_kwds={"cls": _WithinScript})
            Path(part).write_text(text, "utf-8")
            return
        options: dict[str, Any] = {"scale_factor": 2} if kind == ".png" else {}
        chart.save(str(part), format=kind.removeprefix("."), **options)


class _WithinScript(json.JSONEncoder):
    """JSON that a page's script may hold: a name in the data may be </script>."""

    def encode(self, o: Any) -> str:
        return super().encode(o).replace("<", "\\u003c")


def _cell(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_cell, value))
    if _is_empty(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if isinstance(value, Fraction):
        return str(value) if len(str(value)) <= SHORT else f"{float(value):.4g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _bytes(value: Any) -> str:
    if _is_empty(value):
        return ""
    size, units = float(value), ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    unit = 0
    while abs(size) >= BYTES and unit < len(units) - 1:
        size, unit = size / BYTES, unit + 1
    return f"{size:,.0f} B" if unit == 0 else f"{size:,.2f} {units[unit]}"


def _is_empty(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))
