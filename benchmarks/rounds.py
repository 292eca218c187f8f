"""Measured side by side: every contender once a round, in turn, so that a slow minute slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from threadpoolctl import threadpool_limits


class Skipped(Exception):
    """A contender that cannot take part here, and why."""


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Arguments:
      seconds: of one model's epoch, without setup.
      setup: seconds before the first epoch could begin (weights drawn, batches made ready, code compiled), where known.
      calls: what was timed, in seconds, as it came from the clock.
    """

    seconds: float
    setup: float | None = None
    calls: Mapping[str, float] = field(default_factory=dict)


Measure = Callable[[], Sample]


@dataclass(frozen=True)
class Contender:
    """`prepare` builds and warms up what `Measure` then times, or raises Skipped."""

    name: str
    prepare: Callable[[], Measure]


@dataclass(frozen=True)
class Ratio:
    """Median, least and greatest over the rounds of a ratio of two samples of one round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Timings:
    """By contender: a sample a round, or why it was left out; and the seconds of preparing it (building, compiling)."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    prepared: dict[str, float] = field(default_factory=dict)

    def seconds(self, name: str) -> float:
        """Median time of one model's epoch."""
        return statistics.median(sample.seconds for sample in self.samples[name])

    def setup(self, name: str) -> float:
        """Median time before the first epoch."""
        return statistics.median(sample.setup or 0.0 for sample in self.samples[name])

    def fastest(self, names: Sequence[str]) -> str | None:
        """The one with the least median; None where all were skipped."""
        there = [name for name in names if name in self.samples]
        return min(there, key=self.seconds, default=None)

    def ratio(self, above: str, below: str) -> Ratio:
        """The time of `above` in times of `below`, round by round."""
        pairs = zip(self.samples[above], self.samples[below], strict=True)
        return Ratio.of([a.seconds / b.seconds for a, b in pairs])

    def reason(self, names: Sequence[str]) -> str:
        """Why these were skipped."""
        return "; ".join(dict.fromkeys(self.skipped[name] for name in names if name in self.skipped))


def run_rounds(
    contenders: Sequence[Contender], rounds: int, on_step: Callable[[str], None] = lambda name: None
) -> Timings:
    """Prepare all, then measure all, `rounds` times. `on_step` is told before each of the steps.

    There are `(rounds + 1) * len(contenders)` steps.
    """
    timings = Timings()
    ready: dict[str, Measure] = {}
    for contender in contenders:
        on_step(f"{contender.name}: preparing")
        started = time.perf_counter()
        try:
            ready[contender.name] = contender.prepare()
            timings.prepared[contender.name] = time.perf_counter() - started
        except Skipped as reason:
            timings.skipped[contender.name] = str(reason)
    for number in range(rounds):
        for contender in contenders:
            on_step(f"{contender.name}: round {number + 1} of {rounds}")
            if contender.name in ready:
                timings.samples.setdefault(contender.name, []).append(ready[contender.name]())
    return timings


def time_of(work: Callable[[], object], device: str = "cpu") -> float:
    """Seconds that `work` takes until the device has done it."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def repeated(work: Callable[[], object], at_least: float, device: str = "cpu") -> Sample:
    """Mean time of `work`, called until `at_least` seconds have passed."""
    times = []
    while sum(times) < at_least:
        times.append(time_of(work, device))
    return Sample(sum(times) / len(times), calls={f"{len(times)} epochs": sum(times)})


def slope(
    call: Callable[[int], float], short: int, long: int, at_least: float
) -> tuple[float, float, dict[int, float]]:
    """Seconds a unit, seconds of setup, and what was timed: a short and a long call.

    What both calls do once falls out of the slope. The long one grows until it takes `at_least` seconds and a
    quarter more than the short one: smaller differences are those of the clock and of other programs.
    """
    times = {short: call(short), long: call(long)}
    while times[long] - times[short] < max(at_least, times[short] / 4):
        long = short + 4 * (long - short)
        times[long] = call(long)
    each = (times[long] - times[short]) / (long - short)
    return each, max(times[short] - each * short, 0.0), times


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch and every BLAS compute with that many threads."""
    before = torch.get_num_threads()
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def synchronize(device: str) -> None:
    """Wait for what a CUDA device has been given."""
    if device != "cpu":
        torch.cuda.synchronize(device)
