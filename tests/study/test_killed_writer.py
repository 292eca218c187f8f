"""The process that writes the store is killed at random moments; nothing half-written is left."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mlplab.study import Store, run_study

from .cases import Trainer
from .test_processes import Workers
from .test_processes import workers as workers  # the fixture
from .worker import LARGE_STUDY

KILLS = 6


@pytest.mark.slow
def test_a_writer_that_is_killed_again_and_again_leaves_whole_runs_each_once(workers: Workers, tmp_path):
    """Each life goes on where the last one ended, and the end is the table of a life without death."""
    draws = np.random.default_rng()  # other moments each day: the law holds for all
    kept: set[str] = set()
    for _ in range(KILLS):
        before, more = len(workers.lines()), int(draws.integers(1, 60))
        writer = workers.start("write")
        workers.wait_until(lambda lines, least=before + more: len(lines) >= least)
        time.sleep(draws.uniform(0, 0.02))
        writer.kill()
        writer.wait()
        workers.processes.clear()
        with Store(workers.store) as store:  # refuses a file that is damaged
            now = store.stored(LARGE_STUDY.digests)
            assert store.get(now).keys() == now  # every checksum fits
        # What was said to be saved is there, and at most one run that the writer had no time to say.
        assert kept < now < set(LARGE_STUDY.digests)
        assert 0 <= len(now) - len(workers.lines()) <= KILLS
        kept = now
    with Store(workers.store) as store, Store(tmp_path / "alone.sqlite") as alone:
        trainer = Trainer()
        results = run_study(LARGE_STUDY, store, train=trainer)
        assert {run.digest for run in trainer.trained} == set(LARGE_STUDY.digests) - kept
        assert store.count() == len(LARGE_STUDY.runs)
        again = run_study(LARGE_STUDY, alone, train=Trainer())
    assert results.frame.equals(again.frame)
