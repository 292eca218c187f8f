"""Laws that only real processes show: killed ones leave nothing behind, and two share a store run by run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

import mlplab
from mlplab.study import Store, run_study

from .cases import Trainer
from .worker import LARGE_STUDY, STUDY

pytestmark = pytest.mark.slow

# Wherever these tests found mlplab, installed or not, and the tests themselves.
FOLDERS = [Path(mlplab.__file__).parents[1], Path(__file__).parents[1]]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, FOLDERS))}


class Workers:
    """Processes on one store, and what they wrote to their log."""

    def __init__(self, folder: Path) -> None:
        self.store, self.log = folder / "runs.sqlite", folder / "log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, action: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "study.worker", action, str(self.store), str(self.log)]
        self.processes.append(subprocess.Popen(command, env=ENVIRONMENT))
        return self.processes[-1]

    def lines(self, pid: int | None = None) -> list[str]:
        written = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [word for by, word in written if pid in (None, int(by))]

    def wait_until(self, holds) -> None:
        until = time.monotonic() + 60
        while not holds(self.lines()):
            assert time.monotonic() < until, self.lines()
            assert all(process.poll() is None for process in self.processes), "a worker ended"
            time.sleep(0.01)

    def go(self) -> None:
        self.log.with_name("log.go").touch()


@pytest.fixture
def workers(tmp_path):
    made = Workers(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def test_a_killed_study_resumes_where_it_was(workers):
    killed = workers.start("run")
    workers.go()
    workers.wait_until(lambda lines: len(lines) > 10)
    killed.kill()
    killed.wait()
    started = [line for line in workers.lines() if line != "ready"]
    with Store(workers.store) as store:
        kept = store.stored(STUDY.digests)
        assert kept <= set(started)
        assert len(started) - len(kept) <= 2  # the chunk that it died in
        trainer = Trainer()
        results = run_study(STUDY, store, train=trainer, chunks_at_once=1)
        assert store.count() == len(STUDY.runs)
    assert sorted(run.digest for run in trainer.trained) == sorted(set(STUDY.digests) - kept)
    assert len(results.frame) == len(STUDY.runs)
    assert [path.name for path in workers.store.parent.glob("runs.sqlite*")] == ["runs.sqlite"]


def test_two_processes_share_the_runs_and_both_get_the_table(workers):
    both = [workers.start("run"), workers.start("run")]
    workers.wait_until(lambda lines: lines.count("ready") == 2)
    workers.go()
    assert [process.wait(60) for process in both] == [0, 0]
    lines = Counter(workers.lines())
    assert lines.pop("ready") == 2
    assert lines == Counter(STUDY.digests)  # each once
    shares = [len(workers.lines(process.pid)) - 1 for process in both]
    assert min(shares) > 0
    tables = [pd.read_json(f"{workers.log}.{process.pid}.json") for process in both]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == len(STUDY.runs)


def test_claims_of_a_killed_process_are_free_at_once_even_where_a_forked_child_lives(workers):
    """And the child, whose locks are not what SQLite's memory says, is refused."""
    parent = workers.start("fork")
    workers.wait_until(lambda lines: lines.count("claimed") == 2)
    (child,) = {int(line.split()[0]) for line in workers.log.read_text().splitlines()} - {parent.pid}
    try:
        assert workers.lines(child) == ["child", "StoreError", "StoreError", "claimed"]
        with Store(workers.store) as store:
            assert store.claim(STUDY.runs) == []
            with Store.open_readonly(workers.store) as observer:
                assert observer.in_hand(STUDY.digests) == set(STUDY.digests)
                parent.kill()
                parent.wait()
                os.kill(child, 0)  # alive
                assert observer.in_hand(STUDY.digests) == set()
            assert store.claim(STUDY.runs) == list(STUDY.runs)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_real_full_disk(workers):
    """A file system of 400 KiB of its own, where the system lets us have one."""
    mounted = workers.store.parent / "small"
    mounted.mkdir()
    script = (
        f"mount -t tmpfs -o size=400k none {mounted} || exit 77; "
        f"{sys.executable} -m study.worker fill {mounted}/runs.sqlite {workers.log} 2> {workers.log}; "
        f"cp {mounted}/runs.sqlite* {workers.store.parent}"
    )
    try:
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script], env=ENVIRONMENT, check=False)
    except FileNotFoundError:
        pytest.skip("needs the command unshare")
    if done.returncode == 77 or not workers.log.exists():
        pytest.skip("needs the right to mount a file system of its own")
    assert done.returncode == 0
    last = workers.log.read_text().splitlines()[-1]
    assert "the disk is full. What was saved before can still be read" in last
    with Store(workers.store) as store:
        kept = store.stored(LARGE_STUDY.digests)
        assert 0 < len(kept) < len(LARGE_STUDY.runs)
        assert store.get(kept).keys() == kept
