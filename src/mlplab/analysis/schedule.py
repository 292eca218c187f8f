"""When each stage of a pipeline works and when it waits: GPipe and 1F1B, simulated as a graph of events.

A step has K stages and M micro-batches. Every forward, backward and transfer is an event; it starts as soon as
what it needs is there and the stage, or the link, that does it has finished what comes before. So the start of an
event is the longest path to it, and nothing is sampled: whole numbers and fractions give exact times.

Links are full duplex, carry one message at a time in each direction, and do not keep a stage from computing.

Sources: Huang et al. 2019, GPipe, section 2.3 (bubble (K-1)/(M+K-1)); Narayanan et al. 2021, Efficient
large-scale language model training on GPU clusters using Megatron-LM, section 2.2 (1F1B with a flush after
each batch; PipeDream of 2019 has none, and trains on stale weights).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, UnknownName, import_extra

if TYPE_CHECKING:
    import altair

ScheduleName = Literal["gpipe", "1f1b"]
Kind = Literal["forward", "backward"]
Time = int | float | Fraction
MAX_EVENTS = 1_000_000  # some seconds and some hundred MB; a mistyped number of micro-batches has more


@dataclass(frozen=True)
class Event:
    """Work on a micro-batch from `start` to `end`. A transfer leaves `stage` and arrives at a neighbour."""

    stage: int
    microbatch: int
    kind: Kind
    is_transfer: bool
    start: Time
    end: Time


@dataclass(frozen=True)
class Timeline:
    """One step of a pipeline, from the first forward to the last backward. Times in the unit that was given.

    `events` holds stages' work and, where communication takes time, transfers. `peak_microbatches` says of each
    stage how many micro-batches it holds activations of at once, from the start of the forward to the end of the
    backward; `peak_bytes` is that times the bytes given for one.
    """

    schedule: ScheduleName
    num_stages: int
    num_microbatches: int
    events: tuple[Event, ...]
    peak_microbatches: tuple[int, ...]
    peak_bytes: tuple[int, ...] | None

    @property
    def duration(self) -> Time:
        return max(event.end for event in self.events)

    @property
    def busy(self) -> tuple[Time, ...]:
        """How long each stage computes."""
        work = [
            [e.end - e.start for e in self.events if e.stage == s and not e.is_transfer] for s in self._stages
        ]
        return tuple(sum(times) for times in work)

    @property
    def bubble(self) -> float | Fraction:
        """The share of all stages' time in which they wait: 1 - busy / (K duration), exact for exact times."""
        whole = self.num_stages * self.duration
        idle = whole - sum(self.busy)
        return idle / whole if isinstance(whole, float) else Fraction(idle) / Fraction(whole)

    @property
    def _stages(self) -> range:
        return range(self.num_stages)

    def table(self) -> pd.DataFrame:
        """A row for each stage: busy and idle time, its idle share, and what it holds at most."""
        busy = [float(time) for time in self.busy]
        duration = float(self.duration)
        columns: dict[str, Any] = {
            "stage": list(self._stages),
            "busy": busy,
            "idle": [duration - time for time in busy],
            "idle_share": [1 - time / duration for time in busy],
            "peak_microbatches": list(self.peak_microbatches),
        }
        if self.peak_bytes is not None:
            columns["peak_bytes"] = list(self.peak_bytes)
        return pd.DataFrame(columns)

    def plot(self, *, unit: str = "units of the times given", width: int = 570) -> altair.LayerChart:
        """Gantt chart: a row for each stage, a bar for each forward and backward with its micro-batch's number."""
        alt = import_extra("altair", what="A figure", extra="book")
        work = [e for e in self.events if not e.is_transfer]
        rows = pd.DataFrame(
            {
                "stage": [e.stage for e in work],
                "microbatch": [e.microbatch for e in work],
                "kind": [e.kind for e in work],
                "start": [float(e.start) for e in work],
                "end": [float(e.end) for e in work],
            }
        )
        rows["middle"] = (rows["start"] + rows["end"]) / 2
        # A number needs about 7 px for each digit; none is better than one that covers its neighbours.
        pixels = (rows["end"] - rows["start"]) / float(self.duration) * width
        rows["label"] = [
            str(m) if p >= 4 + 7 * len(str(m)) else ""
            for m, p in zip(rows["microbatch"], pixels, strict=True)
        ]
        name = {"gpipe": "GPipe", "1f1b": "1F1B"}[self.schedule]
        subtitle = (
            f"Bubble {float(self.bubble):.1%}; at most {max(self.peak_microbatches)} of "
            f"{self.num_microbatches} micro-batches held by a stage"
        )
        title = alt.TitleParams(
            f"{name}, K = {self.num_stages} stages, M = {self.num_microbatches} micro-batches",
            subtitle=subtitle, anchor="start", fontSize=14, subtitleFontSize=11, subtitleColor="#555555", offset=8,
        )  # fmt: skip
        base = alt.Chart(rows, title=title, width=width, height=alt.Step(34))
        y = alt.Y("stage:O", title="Stage", axis=alt.Axis(ticks=False, domain=False, labelPadding=8))
        x = alt.X(
            "start:Q", title=f"Time ({unit})", scale=alt.Scale(domain=[0, float(self.duration)], nice=False)
        )
        colours = alt.Scale(domain=["forward", "backward"], range=[PALETTE[0], PALETTE[4]])
        bars = base.mark_bar(stroke="white", strokeWidth=1, height=28).encode(
            x=x, x2="end:Q", y=y, color=alt.Color("kind:N", scale=colours, title=None),
            tooltip=["stage:O", "microbatch:O", "kind:N", "start:Q", "end:Q"],
        )  # fmt: skip
        ink = alt.condition("datum.kind == 'forward'", alt.value("white"), alt.value("black"))
        numbers = base.mark_text(fontSize=11).encode(x="middle:Q", y=y, text="label:N", color=ink)
        return alt.layer(bars, numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "schedule": self.schedule,
            "num_stages": self.num_stages,
            "num_microbatches": self.num_microbatches,
            "duration": float(self.duration),
            "bubble": float(self.bubble),
            "peak_microbatches": list(self.peak_microbatches),
            "peak_bytes": None if self.peak_bytes is None else list(self.peak_bytes),
            "events": [asdict(e) | {"start": float(e.start), "end": float(e.end)} for e in self.events],
        }


def bubble_fraction(num_stages: int, num_microbatches: int) -> Fraction:
    """(K-1)/(M+K-1): the share of idle time with equal stages and free communication, GPipe and 1F1B alike.

    Source: Huang et al. 2019, section 2.3. Raises InvalidInput unless both are whole and at least 1.
    """
    _check_count("num_stages", num_stages)
    _check_count("num_microbatches", num_microbatches)
    return Fraction(num_stages - 1, num_microbatches + num_stages - 1)


def order(
    schedule: ScheduleName, stage: int, num_stages: int, num_microbatches: int
) -> list[tuple[Kind, int]]:
    """What a stage does, one after the other, as (kind, micro-batch).

    GPipe: all forwards, then all backwards. 1F1B: as many forwards as there are stages from here to the end,
    then a backward and a forward in turn, then the backwards that are left.
    """
    if schedule == "gpipe":
        ahead = num_microbatches
    elif schedule == "1f1b":
        ahead = min(num_microbatches, num_stages - stage)
    else:
        raise UnknownName("schedule", schedule, get_args(ScheduleName))
    sequence: list[tuple[Kind, int]] = [("forward", m) for m in range(ahead)]
    for microbatch in range(num_microbatches):
        sequence.append(("backward", microbatch))
        if microbatch + ahead < num_microbatches:
            sequence.append(("forward", microbatch + ahead))
    return sequence


def peak_microbatches(schedule: ScheduleName, num_stages: int, num_microbatches: int) -> tuple[int, ...]:
    """Of how many micro-batches each stage holds activations at once: M (GPipe), min(M, K - stage) (1F1B)."""
    peaks = []
    for stage in range(num_stages):
        held = peak = 0
        for kind, _ in order(schedule, stage, num_stages, num_microbatches):
            held += 1 if kind == "forward" else -1
            peak = max(peak, held)
        peaks.append(peak)
    return tuple(peaks)


def simulate(
    forward: Sequence[Time],
    backward: Sequence[Time],
    num_microbatches: int,
    *,
    schedule: ScheduleName = "1f1b",
    communication: Time | Sequence[Time] = 0,
    activation_bytes: Sequence[int] | None = None,
) -> Timeline:
    """The timeline of one step of a pipeline.

    Arguments:
      forward, backward: for each stage, the time of one micro-batch.
      communication: time of one message between neighbours, the same both ways: one number, or one for each of
        the K - 1 links.
      activation_bytes: for each stage, what it keeps of one micro-batch.

    Raises InvalidInput for times that are negative or not finite, lists of different length, no work at all and
    more than MAX_EVENTS events, UnknownName for an unknown schedule.
    """
    if schedule not in get_args(ScheduleName):
        raise UnknownName("schedule", schedule, get_args(ScheduleName))
    _check_count("num_microbatches", num_microbatches)
    forward, backward = _times("forward", forward), _times("backward", backward)
    num_stages = len(forward)
    if not num_stages or len(backward) != num_stages:
        got = (num_stages, len(backward))
        raise InvalidInput(
            "forward and backward", "must have one time for each stage, and at least one stage", got
        )
    if not sum(forward) + sum(backward):
        raise InvalidInput("forward and backward", "must not all be 0", 0)
    if 4 * num_stages * num_microbatches > MAX_EVENTS:
        rule = f"must be at most {MAX_EVENTS // (4 * num_stages)} with {num_stages} stages"
        raise InvalidInput("num_microbatches", rule, num_microbatches)
    if isinstance(communication, Sequence):
        links = _times("communication", communication)
    else:
        links = _times("communication", [communication]) * (num_stages - 1)
    if len(links) != num_stages - 1:
        raise InvalidInput(
            "communication", f"must have one time for each of {num_stages - 1} links", len(links)
        )
    peaks = peak_microbatches(schedule, num_stages, num_microbatches)
    peak_bytes = None
    if activation_bytes is not None:
        if len(activation_bytes) != num_stages or min(activation_bytes) < 0:
            rule = f"must be {num_stages} numbers of bytes, none below 0"
            raise InvalidInput("activation_bytes", rule, list(activation_bytes))
        peak_bytes = tuple(int(n) * size for n, size in zip(peaks, activation_bytes, strict=True))
    sequences = [order(schedule, stage, num_stages, num_microbatches) for stage in range(num_stages)]
    events = _run(sequences, {"forward": forward, "backward": backward}, links)
    return Timeline(schedule, num_stages, num_microbatches, tuple(events), peaks, peak_bytes)


def _run(
    sequences: list[list[tuple[Kind, int]]], durations: dict[Kind, list[Time]], links: list[Time]
) -> list[Event]:
    """Longest paths: go round the stages, each doing all that it has the inputs for, until nothing is left."""
    last = len(sequences) - 1
    arrived: dict[tuple[int, Kind, int], Time] = {(0, "forward", m): 0 for _, m in sequences[0]}
    free: list[Time] = [0] * len(sequences)
    link_free: dict[tuple[int, Kind], Time] = {}
    position = [0] * len(sequences)
    events: list[Event] = []
    while any(at < len(todo) for at, todo in zip(position, sequences, strict=True)):
        before = len(events)
        for stage, todo in enumerate(sequences):
            while position[stage] < len(todo) and (stage, *todo[position[stage]]) in arrived:
                kind, m = todo[position[stage]]
                start = max(free[stage], arrived[stage, kind, m])
                end = free[stage] = start + durations[kind][stage]
                events.append(Event(stage, m, kind, False, start, end))
                position[stage] += 1
                if kind == "forward" and stage == last:
                    arrived[stage, "backward", m] = end  # the loss: the backward can follow at once
                    continue
                neighbour = stage + 1 if kind == "forward" else stage - 1
                if neighbour < 0:
                    continue
                time = links[min(stage, neighbour)]
                sent = max(end, link_free.get((stage, kind), end))
                link_free[stage, kind] = arrived[neighbour, kind, m] = sent + time
                if time:
                    events.append(Event(stage, m, kind, True, sent, sent + time))
        assert len(events) > before, "a schedule waits for itself"
    return sorted(events, key=lambda e: (e.start, e.stage, e.microbatch))


def _times(owner: str, values: Sequence[Time]) -> list[Time]:
    times = [_plain(value) for value in values]  # NumPy's and torch's numbers
    for value in times:
        if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
            raise InvalidInput(owner, "must be numbers", value)
        if not math.isfinite(value) or value < 0:
            raise InvalidInput(owner, "must be finite and at least 0", value)
    return times


def _check_count(owner: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(owner, "must be a whole number of at least 1", value)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
