"""The outcome of a comparison on a table of one's own as one HTML file that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2

from mlplab.answers import show
from mlplab.book.environment import environment
from mlplab.errors import import_extra

if TYPE_CHECKING:
    from mlplab.study.comparison import Outcome


def study_page(outcome: Outcome) -> str:
    """The page. Raises MissingExtra without the figures' library."""
    converter = import_extra("vl_convert", what="A report", extra="book")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        files("mlplab.book").joinpath("study_page.html").read_text("utf-8")
    )
    return template.render(
        outcome=outcome,
        data=outcome.table.dataset,
        rows=ranking_cells(outcome),
        sentence=test_sentence(outcome),
        figure=converter.vegalite_to_svg(outcome.plot().to_json()),
        environment=environment(),
    )


def ranking_cells(outcome: Outcome) -> list[dict[str, str]]:
    """The ranking as people read it."""
    share = outcome.metric.endswith("accuracy")
    level, change = (show.percent, show.points) if share else (show.number, _signed)
    rows = []
    for row in outcome.ranking().to_dict("records"):
        is_compared = row["difference"] == row["difference"]
        rows.append(
            {
                "rank": str(row["rank"]),
                "arm": row["arm"],
                "seeds": str(row["seeds"]),
                "mean": level(row["mean"]) if row["mean"] == row["mean"] else "",
                "interval": _bracket(level, row["low"], row["high"]),
                "difference": change(row["difference"]) if is_compared else "",
                "difference_interval": _bracket(change, row["difference_low"], row["difference_high"]),
                "p": show.number(row["p"], 2) if is_compared else "",
                "verdict": row["verdict"],
                "diverged": str(row["diverged"]) if row["diverged"] else "",
            }
        )
    return rows


def test_sentence(outcome: Outcome) -> str:
    """What the test part says, in one sentence."""
    if outcome.best is None:
        return "A run of every arm diverged: take a lower learning rate, or clip_norm."
    if outcome.best == outcome.baseline:
        return f"The baseline {outcome.baseline} is best on validation data; the test part was not looked at."
    if outcome.test is None:
        return f"{outcome.best} is best on validation data; a run of the baseline diverged, so nothing was compared."
    share = outcome.metric.endswith("accuracy")
    change = show.points_interval(outcome.test) + " points" if share else show.number_interval(outcome.test)
    shown = {"holds": "a difference", "fails": "no difference that matters", "undecided": "nothing decided"}
    return (
        f"On the test part, looked at once: {outcome.best} minus {outcome.baseline} is {change} "
        f"({outcome.test.num_replicates} paired seeds, 95% t): {shown[outcome.test.verdict]}."
    )


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + show.number(value)


def _bracket(form, low: float, high: float) -> str:
    return f"[{form(low)}, {form(high)}]" if low == low and high == high else ""
