"""The outcome of a comparison on a table of one's own as one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup

from mlplab.charts import show
from mlplab.environment import environment
from mlplab.errors import import_extra
from mlplab.report import Table, figure, page
from mlplab.study.agreement import all_seeds_agree
from mlplab.study.directions import amount, better_or_worse

if TYPE_CHECKING:
    from mlplab.study.comparison import Outcome

MOST_DECIMALS = 6
RANKING = {
    "rank": "rank",
    "arm": "arm",
    "verdict": "verdict",
    "seeds": "seeds",
    "mean": "mean",
    "interval": "95% interval",
    "difference": "difference",
    "difference_interval": "its interval",
    "p": "p",
    "diverged": "diverged",
}
AGREED = "all seeds agree"  # so that no interval can be given


def study_page(outcome: Outcome) -> str:
    """The page. Raises MissingExtra without the figures' library."""
    converter = import_extra("vl_convert", what="A report", extra="book")
    return page(
        "mlplab.study",
        "page.html",
        title=f"{outcome.table.dataset.name}: a comparison",
        outcome=outcome,
        data=outcome.table.dataset,
        ranking=_ranking(outcome),
        error=error_sentence(outcome),
        contradiction=contradiction(outcome),
        sentence=sentence_on_test(outcome),
        figure=figure(converter.vegalite_to_svg(outcome.plot().to_json())),
        environment=environment(),
    )


def _ranking(outcome: Outcome) -> Table:
    """The ranking with its headings; of runs that diverged it tells where there are any."""
    cells = ranking_cells(outcome)
    shown = [name for name in RANKING if name != "diverged" or any(row["diverged"] for row in cells)]
    rows = [
        [
            Markup('<span class="{}">{}</span>').format(_colour(outcome, row), row[name])
            if name == "verdict"
            else row[name]
            for name in shown
        ]
        for row in cells
    ]
    headings = [RANKING[name] for name in shown]
    return Table(headings, rows, frozenset(headings) - {RANKING["arm"], RANKING["verdict"]})


def _colour(outcome: Outcome, row: dict[str, str]) -> str:
    """Nothing is green above a test part that says the opposite."""
    if outcome.is_contradicted:
        return "worse" if row["arm"] == outcome.best else ""
    return "" if "too small" in row["verdict"] else row["verdict"].split(" ")[0]


def ranking_cells(outcome: Outcome) -> list[dict[str, str]]:
    """The ranking as people read it."""
    share = outcome.metric.endswith("accuracy")
    rows = []
    for row in outcome.ranking().to_dict("records"):
        is_compared = row["difference"] == row["difference"]
        level, change = show.percent, show.points
        if not share:
            level = _by_width(row["low"], row["high"], "")
            change = _by_width(row["difference_low"], row["difference_high"], "+")
        rows.append(
            {
                "rank": str(row["rank"]),
                "arm": row["arm"],
                "seeds": str(row["seeds"]),
                "mean": level(row["mean"]) if row["mean"] == row["mean"] else "",
                "interval": AGREED if row["all_seeds_agree"] else _bracket(level, row["low"], row["high"]),
                "difference": change(row["difference"]) if is_compared else "",
                "difference_interval": AGREED
                if row["differences_agree"]
                else _levelled(
                    _bracket(change, row["difference_low"], row["difference_high"]), row["difference_prob"]
                ),
                "p": show.number(row["p"], 2) if is_compared else "",
                "verdict": row["verdict"],
                "diverged": str(row["diverged"]) if row["diverged"] else "",
            }
        )
    return rows


def error_sentence(outcome: Outcome) -> str:
    """What the lowest loss means in the target's own unit; nothing for classes."""
    std, means = outcome.table.target_std, outcome.ranking()["mean"]
    if std is None or outcome.metric != "validation_loss" or means.isna().all():
        return ""
    loss = float(means.min())
    error = math.sqrt(2 * loss) * std  # losses are half the squared error
    shown = f"{error:,.0f}" if 1e3 <= error < 1e9 else show.number(error)
    return f"A loss of {show.number(loss)} is a root mean squared error of {shown} in {outcome.plan.roles.target}."


def contradiction(outcome: Outcome) -> str:
    """That the test part shows the chosen arm to be worse than the baseline: it comes before all else."""
    if not outcome.is_contradicted or outcome.test is None:
        return ""
    return (
        f"The test part contradicts this choice: {outcome.best}, the best on validation data, is worse than"
        f" {outcome.baseline} on the test part by {_amount(outcome)}. Do not take it for better:"
        " what these validation rows show does not hold on other rows."
    )


def sentence_on_test(outcome: Outcome) -> str:
    """What the test part says, in one sentence."""
    if outcome.best is None:
        return "A run of every arm diverged: take a lower learning rate, or clip_norm."
    if outcome.best == outcome.baseline:
        return f"The baseline {outcome.baseline} is best on validation data; the test part was not looked at."
    if outcome.test is None:
        return f"{outcome.best} is best on validation data; a run of the baseline diverged, so nothing was compared."
    word = better_or_worse(outcome.test, sign=outcome.sign)
    says = f"{outcome.best} is {word} than {outcome.baseline} by {_amount(outcome)}"
    if not word:
        says = f"{outcome.best} and {outcome.baseline} come to the same"
    decided = {"holds": "", "fails": ", no difference that matters", "undecided": ", nothing is decided"}
    return f"On the test part, looked at once{decided[outcome.test.verdict]}: {says}."


def _amount(outcome: Outcome) -> str:
    assert outcome.test is not None
    is_share = outcome.metric.endswith("accuracy")
    of = "of accuracy" if is_share else "of loss"
    seeds = f"{outcome.test.num_replicates} paired seeds"
    deciding = outcome.test.deciding
    level = "" if all_seeds_agree(outcome.test) else f", {show.level(deciding.ci_prob)} {deciding.ci_method}"
    return f"{amount(outcome.test, is_share=is_share)} {of} ({seeds}{level})"


def _by_width(low: float, high: float, sign: str) -> Callable[[float], str]:
    """Numbers of one interval with as many decimals as its width gives a meaning; powers of ten for tiny ones."""
    width = high - low
    decimals = 2 - math.floor(math.log10(width)) if math.isfinite(width) and width > 0 else MOST_DECIMALS + 1
    if 0 <= decimals <= MOST_DECIMALS:
        return lambda value: f"{value:{sign}.{decimals}f}".replace("-", show.MINUS)
    return lambda value: (sign if value > 0 else "") + show.number(value)


def _levelled(bracket: str, prob: float) -> str:
    """An interval with its level, which Holm and the margin set."""
    return f"{bracket} {show.level(prob)}" if bracket else ""


def _bracket(form, low: float, high: float) -> str:
    return f"[{form(low)}, {form(high)}]" if low == low and high == high else ""
