"""Differences in words: which is better, by how much; the reader need not know which sign is good."""

from __future__ import annotations

from mlplab.charts import show
from mlplab.stats import Comparison, Interval
from mlplab.study.agreement import all_seeds_agree

AGREE = "all seeds agree; no interval can be given"


def level(of: Interval, *, is_share: bool) -> str:
    """87.12 [86.98, 87.26] %, or 0.431 [0.402, 0.46]; in words where there is no interval."""
    if all_seeds_agree(of):
        estimate = f"{show.percent(of.estimate)} %" if is_share else show.number(of.estimate)
        return f"{estimate} ({AGREE})"
    return f"{show.percent_interval(of)} %" if is_share else show.number_interval(of)


def better_or_worse(of: Interval | Comparison, *, sign: float) -> str:
    """Of what was subtracted from, where `sign` is 1 if more is better and -1 if less is; empty for no difference."""
    return "" if not of.estimate else "better" if sign * of.estimate > 0 else "worse"


def amount(of: Interval | Comparison, *, is_share: bool) -> str:
    """How much better, or how much worse: the size, and the interval in the same direction.

    Of a comparison, the interval that decided. A bound below 0 is the other direction.
    """
    shown = show.percent if is_share else show.number
    unit = " points" if is_share else ""
    size = f"{shown(abs(of.estimate))}"
    if all_seeds_agree(of):
        return f"{size}{unit} ({AGREE})"
    read = of.deciding if isinstance(of, Comparison) else of
    bounds = (read.ci_low, read.ci_high)
    if of.estimate < 0:
        bounds = tuple(None if bound is None else -bound for bound in reversed(bounds))
    low = f"{show.MINUS}{show.UNBOUNDED}" if bounds[0] is None else shown(bounds[0])
    return f"{size} [{low}, {shown(bounds[1])}]{unit}"
