"""Pipeline schedules: the event graph against closed forms and a clock that ticks."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest

from mlplab.analysis.schedule import bubble_fraction, order, peak_microbatches, simulate
from mlplab.errors import InvalidInput, UnknownName

SCHEDULES = ["gpipe", "1f1b"]


def clock(forward, backward, links, num_microbatches, schedule):
    """The same step by a clock of whole ticks: everyone starts what it can at each tick. Returns the duration."""
    stages = range(len(forward))
    todo = [list(order(schedule, s, len(forward), num_microbatches)) for s in stages]
    ready = {(0, "forward", m) for m in range(num_microbatches)}
    working: dict = dict.fromkeys(stages)  # (ends, kind, m)
    queues = {(s, kind): [] for s in stages for kind in ("forward", "backward")}
    on_link = dict.fromkeys(queues)
    tick = 0
    while True:
        moved = True
        while moved:  # events without duration may follow one another within a tick
            moved = False
            for s in stages:
                if working[s] and working[s][0] == tick:
                    _, kind, m = working[s]
                    working[s], moved = None, True
                    if kind == "forward" and s == len(forward) - 1:
                        ready.add((s, "backward", m))
                    elif kind == "forward" or s > 0:
                        queues[s, kind].append(m)
                if not working[s] and todo[s] and (s, *todo[s][0]) in ready:
                    kind, m = todo[s].pop(0)
                    working[s], moved = (
                        (tick + (forward if kind == "forward" else backward)[s], kind, m),
                        True,
                    )
            for (s, kind), queue in queues.items():
                to = s + 1 if kind == "forward" else s - 1
                if on_link[s, kind] and on_link[s, kind][0] == tick:
                    ready.add((to, kind, on_link[s, kind][1]))
                    on_link[s, kind], moved = None, True
                if not on_link[s, kind] and queue:
                    on_link[s, kind], moved = (tick + links[min(s, to)], queue.pop(0)), True
        if not any(todo) and not any(working.values()):
            return tick
        tick += 1


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("num_microbatches", "known"), [(4, 0.4286), (16, 0.1579), (32, 0.0857)])
def test_bubble_of_four_equal_stages_is_the_known_one(schedule, num_microbatches, known):
    timeline = simulate([1] * 4, [2] * 4, num_microbatches, schedule=schedule)
    assert timeline.bubble == bubble_fraction(4, num_microbatches)  # Fractions: no rounding
    assert float(timeline.bubble) == pytest.approx(known, abs=5e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bubble_of_equal_stages_is_exactly_the_closed_form(schedule):
    for stages in range(1, 9):
        for microbatches in (1, 2, 3, 7, 12):
            timeline = simulate(
                [Fraction(1, 3)] * stages, [Fraction(5, 7)] * stages, microbatches, schedule=schedule
            )
            assert timeline.bubble == Fraction(stages - 1, microbatches + stages - 1)
            assert timeline.duration == (microbatches + stages - 1) * Fraction(22, 21)


def test_gpipe_with_unequal_stages_is_two_flow_shops():
    # Equal jobs through a flow shop: all stages once, and M - 1 times the slowest.
    forward, backward, microbatches = [3, 1, 4, 1], [5, 9, 2, 6], 7
    expected = sum(forward) + 6 * max(forward) + sum(backward) + 6 * max(backward)
    assert simulate(forward, backward, microbatches, schedule="gpipe").duration == expected


def test_gpipe_shows_each_link_once_each_way_where_messages_are_short():
    timeline = simulate([4] * 3, [8] * 3, 5, schedule="gpipe", communication=[1, 3])
    assert timeline.duration == (5 + 2) * 12 + 2 * (1 + 3)


def test_a_slow_link_carries_one_message_at_a_time():
    # Two stages, M messages of 10 each way: the link alone takes 10 M, hidden behind nothing.
    timeline = simulate([1, 1], [1, 1], 4, schedule="gpipe", communication=10)
    assert timeline.duration == 1 + 4 * 10 + 1 + 1 + 4 * 10 + 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_simulation_is_what_a_ticking_clock_sees(schedule):
    draws = np.random.default_rng(0)
    for _ in range(60):
        stages, microbatches = int(draws.integers(1, 6)), int(draws.integers(1, 8))
        forward, backward = draws.integers(1, 6, (2, stages)).tolist()
        links = draws.integers(0, 5, stages - 1).tolist()
        found = simulate(forward, backward, microbatches, schedule=schedule, communication=links)
        assert found.duration == clock(forward, backward, links, microbatches, schedule)
        assert found.busy == tuple(microbatches * (f + b) for f, b in zip(forward, backward, strict=True))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_stage_does_two_things_at_once_and_nothing_starts_before_its_input(schedule):
    timeline = simulate([2, 3, 1], [4, 1, 5], 6, schedule=schedule, communication=[2, 1])
    work = {(e.stage, e.kind, e.microbatch): e for e in timeline.events if not e.is_transfer}
    assert len(work) == 3 * 6 * 2
    for stage in range(3):
        mine = sorted((e for e in work.values() if e.stage == stage), key=lambda e: e.start)
        assert all(a.end <= b.start for a, b in itertools.pairwise(mine))
    for (stage, kind, m), event in work.items():
        if kind == "forward" and stage:
            assert event.start >= work[stage - 1, kind, m].end + (2, 1)[stage - 1]
        if kind == "backward" and stage < 2:
            assert event.start >= work[stage + 1, kind, m].end + (2, 1)[stage]
        if kind == "backward" and stage == 2:
            assert event.start >= work[stage, "forward", m].end


def test_1f1b_holds_fewer_microbatches_than_gpipe_at_the_same_bubble():
    gpipe = simulate([1] * 4, [2] * 4, 16, schedule="gpipe", activation_bytes=[100, 200, 300, 400])
    other = simulate([1] * 4, [2] * 4, 16, schedule="1f1b", activation_bytes=[100, 200, 300, 400])
    assert gpipe.bubble == other.bubble
    assert gpipe.peak_microbatches == (16, 16, 16, 16)
    assert other.peak_microbatches == (4, 3, 2, 1)
    assert other.peak_bytes == (400, 600, 600, 400)
    assert peak_microbatches("1f1b", 4, 2) == (2, 2, 2, 1)


def test_one_stage_never_waits():
    timeline = simulate([1], [2], 5)
    assert timeline.bubble == 0
    assert timeline.duration == 15


def test_table_dict_and_plot():
    timeline = simulate(
        [1.0, 2.0], [2.0, 4.0], 3, schedule="gpipe", communication=0.5, activation_bytes=[8, 8]
    )
    table = timeline.table()
    assert (table["busy"] + table["idle"]).tolist() == [timeline.duration] * 2
    assert table["idle_share"].mean() == pytest.approx(timeline.bubble)
    assert json.loads(json.dumps(timeline.to_dict()))["peak_bytes"] == [24, 24]
    pytest.importorskip("altair")
    chart = timeline.plot().to_dict()
    assert "GPipe" in chart["layer"][0].get("title", chart.get("title"))["text"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forward": [1, float("nan")]}, "forward must be finite"),
        ({"backward": [1, -1]}, "backward must be finite and at least 0"),
        ({"backward": [1]}, "one time for each stage"),
        ({"forward": [], "backward": []}, "at least one stage"),
        ({"forward": [0, 0], "backward": [0, 0]}, "must not all be 0"),
        ({"forward": ["a", 1]}, "must be numbers"),
        ({"num_microbatches": 0}, "num_microbatches must be a whole number"),
        ({"num_microbatches": 2.5}, "num_microbatches must be a whole number"),
        ({"num_microbatches": 10**9}, "num_microbatches must be at most"),
        ({"communication": [1, 2]}, "one time for each of 1 links"),
        ({"communication": -1}, "communication must be finite"),
        ({"activation_bytes": [1]}, "activation_bytes must be 2"),
    ],
)
def test_what_makes_no_sense_gets_one_line(change, message):
    arguments = {"forward": [1, 1], "backward": [1, 1], "num_microbatches": 2} | change
    with pytest.raises(InvalidInput, match=message) as found:
        simulate(**arguments)
    assert "\n" not in str(found.value)


def test_unknown_schedule_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'gpipe'"):
        simulate([1], [1], 1, schedule="g-pipe")
