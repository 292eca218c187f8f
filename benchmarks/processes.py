"""The in-memory loop in a process for each core: what there is for several models without a tool."""

from __future__ import annotations

import math
import multiprocessing
from functools import cache, partial
from multiprocessing.connection import Connection

from cases import Case
from peers import AT_LEAST, loop_name, network, run_epoch, tensors, training_step
from rounds import Contender, Measure, Sample, threads, time_of


def processes_contender(case: Case, models: int, num_processes: int, *, autocast: bool = False) -> Contender:
    """That many models, shared out over processes with one thread each: from the common start to the last one's end."""

    def prepare() -> Measure:
        crew = _crew(case, num_processes, autocast)
        shares = [len(range(index, models, num_processes)) for index in range(num_processes)]

        def measure() -> Sample:
            calls = {}
            epochs = 1
            while True:
                seconds = time_of(partial(crew.train, [share * epochs for share in shares]))
                calls[f"{epochs} epochs"] = seconds
                if seconds >= AT_LEAST:
                    return Sample(seconds / epochs / models, calls=calls)
                epochs = math.ceil(1.5 * epochs * AT_LEAST / seconds)

        measure()
        return measure

    return Contender(processes_name(models, num_processes, autocast=autocast), prepare)


def processes_name(models: int, num_processes: int, *, autocast: bool = False) -> str:
    what = loop_name(1, autocast=autocast).replace("in-memory loop", "in-memory loops")
    return f"{num_processes} {what} each, {models:,} models"


class Crew:
    """Processes that are ready to train."""

    def __init__(self, case: Case, number: int, autocast: bool) -> None:
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would inherit OpenMP's threads, which are not there
        self.ends: list[Connection] = []
        for _ in range(number):
            here, there = context.Pipe()
            context.Process(target=_obey, args=(there, case, autocast), daemon=True).start()
            there.close()
            self.ends.append(here)
        self.train([0] * number)

    def train(self, epochs: list[int]) -> None:
        """So many epochs in each process; returns when the last one is done."""
        for end, count in zip(self.ends, epochs, strict=True):
            end.send(count)
        for end in self.ends:
            end.recv()


@cache
def _crew(case: Case, number: int, autocast: bool) -> Crew:
    return Crew(case, number, autocast)


def _obey(end: Connection, case: Case, autocast: bool) -> None:
    with threads(1):
        features, targets = tensors(case, "cpu")
        step = training_step(case, network(case), "cpu", autocast)
        epoch = partial(run_epoch, features, targets, case.batch_size, step)
        run_epoch(features[:512], targets[:512], case.batch_size, step)
        while True:
            try:
                count = end.recv()
            except EOFError:  # the benchmark is over
                return
            for _ in range(count):
                epoch()
            end.send(None)
