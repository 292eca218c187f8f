"""Timings -> rows beside their targets, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from memory import Load, Peak
from rounds import Timings

GIB = 2**30
# The dearest model in times of the cheapest, over the numbers of models.
WITHIN = 1.15


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Arguments:
      case: the letter of a case.
      times: those that a ratio is made of.
      value: the median, in the unit of `target`; None where nothing was measured.
      target: what `value` is to reach; None for a figure without one.
      met: None without a target or a value.
    """

    case: str
    quantity: str
    measured: str
    target: str = ""
    times: str = ""
    met: bool | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


def ratio_row(
    case: str,
    timings: Timings,
    peers: Sequence[str],
    engine: str,
    target: float | None = None,
    *,
    what: str = "faster than",
) -> Row:
    """The fastest peer's time in times of the engine's."""
    peer = timings.fastest(peers)
    wanted = f">= {target:g}x" if target is not None else ""
    if peer is None or engine not in timings.samples:
        return Row(case, f"{what} {peers[0]}", f"skipped: {timings.reason([*peers, engine])}", wanted)
    ratio = timings.ratio(peer, engine)
    text = f"{ratio.median:.3g}x ({ratio.low:.3g} to {ratio.high:.3g})"
    times = _times(timings, peer, engine)
    met = ratio.median >= target if target is not None else None
    return Row(case, f"{what} {peer}", text, wanted, times, met, ratio.median, ratio.low, ratio.high)


def share_row(
    case: str, timings: Timings, limits: Sequence[str], engine: str, target: float | None = None
) -> Row:
    """The limit's time as a share of the engine's."""
    limit = timings.fastest(limits)
    wanted = f">= {target:.0%}" if target is not None else ""
    if limit is None or engine not in timings.samples:
        return Row(
            case, f"share of the rate of {limits[0]}", f"skipped: {timings.reason([*limits, engine])}", wanted
        )
    ratio = timings.ratio(limit, engine)
    text = f"{ratio.median:.0%} ({ratio.low:.0%} to {ratio.high:.0%})"
    times = _times(timings, limit, engine)
    met = ratio.median >= target if target is not None else None
    return Row(
        case, f"share of the rate of {limit}", text, wanted, times, met, ratio.median, ratio.low, ratio.high
    )


def scaling_row(case: str, timings: Timings, engines: Sequence[str], counts: Sequence[int]) -> Row:
    """The dearest number of models over the cheapest, by the cost of one model."""
    there = [name for name in engines if name in timings.samples]
    what, wanted = f"cost a model, {counts[0]:,} to {counts[-1]:,} models", "within 15%"
    if len(there) < len(engines):
        return Row(case, what, f"skipped: {timings.reason(engines)}", wanted)
    dearest, cheapest = max(there, key=timings.seconds), min(there, key=timings.seconds)
    ratio = timings.ratio(dearest, cheapest)
    costs = ", ".join(
        f"{count:,}: {duration(timings.seconds(name))}" for count, name in zip(counts, there, strict=True)
    )
    text = f"within {ratio.median - 1:.0%} ({ratio.low - 1:.0%} to {ratio.high - 1:.0%})"
    met = ratio.median <= WITHIN
    return Row(case, what, text, wanted, costs, met, ratio.median, ratio.low, ratio.high)


def time_row(case: str, timings: Timings, engine: str, models: int) -> Row:
    """The engine's time itself, and its setup beside it."""
    each, setup = timings.seconds(engine), timings.setup(engine) / models
    times = f"and once {duration(setup)} of setup and evaluation"
    return Row(case, f"a model's epoch, {engine}", duration(each), times=times, value=each)


def memory_row(load: Load, peak: Peak | str) -> Row:
    """Peak memory beside its budget."""
    budget = f", budget {load.budget / GIB:.3g} GiB" if load.budget else ""
    what = f"peak memory, {load.who}, {load.models:,} models{budget}"
    wanted = f"<= {load.budget / GIB:.3g} GiB" if load.budget else ""
    if isinstance(peak, str):
        return Row(load.case, what, f"skipped: {peak}", wanted)
    used = peak.used / GIB
    met = peak.used <= load.budget if load.budget else None
    times = f"beside {peak.before / GIB:.2f} GiB of modules and data"
    return Row(load.case, what, f"{used:.2f} GiB", wanted, times, met, used)


def device_memory_row(case: str, timings: Timings, engine: str) -> Row:
    """The most that PyTorch had allocated on the GPU."""
    used = max(sample.calls["peak bytes"] for sample in timings.samples[engine]) / GIB
    return Row(case, f"peak memory of the GPU, {engine}", f"{used:.2f} GiB", value=used)


def _times(timings: Timings, above: str, below: str) -> str:
    return f"{duration(timings.seconds(above))} / {duration(timings.seconds(below))}"


def duration(seconds: float) -> str:
    """`1.2 s`, `3.4 ms`, `5.6 us`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def show(rows: Sequence[Row], titles: dict[str, str], caption: Sequence[str], console: Console) -> None:
    """The table, and below it what it was measured on."""
    table = Table("", "measured", "median (least to greatest)", "target", "met", "peer / engine")
    for case, title in titles.items():
        table.add_section()
        table.add_row(f"[bold]{case}[/]", f"[bold]{title}[/]")
        for row in rows:
            if row.case == case:
                met = "" if row.met is None else "[green]yes[/]" if row.met else "[red]no[/]"
                table.add_row("", row.quantity, row.measured, row.target, met, row.times)
    console.print(table)
    for line in caption:
        console.print(line, highlight=False, soft_wrap=True)
