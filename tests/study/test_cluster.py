"""A Ray cluster gives the table that one machine gives, whatever dies on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlplab.engine import Result, train
from mlplab.engine.noises import KINDS
from mlplab.errors import ClusterError, InvalidInput, StoreError
from mlplab.knobs import turn
from mlplab.spec import Noise
from mlplab.study import Store, Study, factorial, run_study
from mlplab.study.cluster import Cluster
from mlplab.study.tuning import Space, tune

from .cases import BASE, dataset, small_study
from .test_processes import ENVIRONMENT

pytest.importorskip("ray", reason="ray (extra [ray]) is not installed")

# Chunks that take about a second each: a worker can be found and killed in the middle of one.
LONG = Study(
    factorial(turn(BASE, dropout=0.5, epochs=300), hidden_sizes=[(w,) for w in range(4, 10)]), 2, dataset()
)


@pytest.fixture
def own_noises():
    """`deadly` and `gentle`, known for one test: other tests count the kinds that there are."""
    import_module(f"{__package__}.own_noises")
    yield
    for name in ("deadly", "gentle"):
        del KINDS[name], Noise.KINDS[name]
    sys.modules.pop(f"{__package__}.own_noises")


def test_a_cluster_that_is_not_there_is_said_in_one_line():
    with pytest.raises(ClusterError, match="cannot be reached"):
        Cluster("127.0.0.1:1")
    with pytest.raises(InvalidInput, match="host:port"):
        Cluster("nonsense")
    with pytest.raises(InvalidInput, match="at least 1"):
        Cluster(workers=0)
    with pytest.raises(InvalidInput, match="Leave one out"):
        Cluster("127.0.0.1:1", workers=2)


@pytest.fixture(scope="module")
def cluster():
    # Workers must find this file, for its noises.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
        with Cluster(workers=2) as made:
            yield made


def workers() -> list[int]:
    """Process numbers of the workers of this process's own Ray that are training: others may be at work here."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::_train_chunk" in (folder / "cmdline").read_bytes() and os.getpid() in ancestors(folder):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def ancestors(folder: Path) -> Iterator[int]:
    """Process numbers of the parent, its parent, and so on."""
    while (parent := int((folder / "stat").read_text().rpartition(")")[2].split()[1])) > 0:
        yield parent
        folder = folder.with_name(str(parent))


def table(study: Study, path: Path, **how) -> pd.DataFrame:
    with Store(path) as store:
        frame = run_study(study, store, **how).frame
        assert store.count() == len(study.runs)
    return frame.drop(columns="seconds", errors="ignore")


@pytest.mark.slow
def test_a_cluster_gives_the_table_of_one_machine(cluster, tmp_path):
    """Masks bit for bit; metrics to the rounding of chunks of other sizes."""
    study = small_study(seeds=3)
    noisy = Study(factorial(turn(BASE, dropout=0.5), learning_rate=[0.05, 0.1, 0.2]), 4, dataset)
    for name, case in (("plain", study), ("noisy", noisy)):
        here = table(case, tmp_path / f"{name}-here.sqlite")
        there = table(
            case, tmp_path / f"{name}-there.sqlite", train=cluster, chunks_at_once=cluster.chunks_at_once
        )
        pd.testing.assert_frame_equal(here, there, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_search_on_a_cluster_goes_the_way_of_one_machine(cluster, tmp_path):
    """Rungs go on from states that travel: Hyperband promotes the same settings, to the rounding of other chunks."""
    space = Space(turn(BASE, epochs=9, dropout=0.3), learning_rate="loguniform(0.001,1)", hidden_sizes="4|6")
    found = {}
    for name, how in (("here", {}), ("there", {"train": cluster, "chunks_at_once": cluster.chunks_at_once})):
        with Store(tmp_path / f"{name}.sqlite") as store:
            found[name] = tune(space, dataset(), store, budget=8, seeds=2, **how)
    here, there = found["here"], found["there"]
    asked = [[(t.arm.name, t.seed, t.epochs) for t in search.trials] for search in (here, there)]
    assert asked[0] == asked[1]
    assert {t.epochs for t in there.trials} == {1, 3, 9}
    scores = [[t.score for t in search.trials] for search in (here, there)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    assert here.winner == there.winner


@pytest.mark.slow
def test_states_travel_to_the_workers_and_back(cluster):
    run, other = LONG.runs[:2]
    short, long = (replace(run, setting=turn(run.setting, epochs=n)) for n in (1, 2))
    (ended,) = cluster([short], LONG.datasets, keep_states=True)
    (gone_on,) = cluster([long], LONG.datasets, states={long: ended.state})
    (alone,) = (record for record in train([long], LONG.datasets) if isinstance(record, Result))
    assert gone_on.metrics == pytest.approx(alone.metrics, rel=1e-6)
    with pytest.raises(InvalidInput, match="must be of the same run"):
        list(cluster([other], LONG.datasets, states={other: ended.state}))


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(cluster, tmp_path):
    killed = []

    def kill_one(progress):
        if not killed and progress.done >= 2 and (found := workers()):
            os.kill(found[0], signal.SIGKILL)
            killed.append(found[0])

    there = table(
        LONG,
        tmp_path / "there.sqlite",
        train=cluster,
        chunks_at_once=cluster.chunks_at_once,
        on_progress=kill_one,
    )
    assert killed
    pd.testing.assert_frame_equal(table(LONG, tmp_path / "here.sqlite"), there, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_where_it_was(tmp_path):
    """With its cluster: the next driver starts another one, and the store says what is left."""
    path = tmp_path / "runs.sqlite"
    code = (
        "from study.test_cluster import LONG, Cluster, Store, run_study\n"
        f"with Store({str(path)!r}) as store, Cluster(workers=2) as cluster:\n"
        "    run_study(LONG, store, train=cluster, chunks_at_once=2)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT)
    try:
        until = time.monotonic() + 120
        while (kept := _count(path)) < 2:
            assert driver.poll() is None, "the driver ended by itself"
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        driver.kill()
        driver.wait()
    assert kept < len(LONG.runs)
    trained = []

    def remember(runs, data):
        trained.extend(runs)
        yield from train(runs, data)

    there = table(LONG, path, train=remember)
    assert len(trained) <= len(LONG.runs) - kept
    pd.testing.assert_frame_equal(table(LONG, tmp_path / "here.sqlite"), there, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_run_that_kills_every_worker_comes_to_an_end_in_one_line(cluster, own_noises, tmp_path):
    study = Study(factorial(BASE.replace(noise=(Noise("deadly"),)), learning_rate=[0.1]), 1, dataset())
    with (
        Store(tmp_path / "runs.sqlite") as store,
        pytest.raises(ClusterError, match="gave up on 1 runs") as caught,
    ):
        run_study(study, store, train=cluster)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_noise_of_ones_own_is_known_to_the_workers(cluster, own_noises, tmp_path):
    study = Study(factorial(BASE.replace(noise=(Noise("gentle"),)), learning_rate=[0.1, 0.2]), 2, dataset())
    here, there = (
        table(study, tmp_path / f"{name}.sqlite", train=how)
        for name, how in (("here", train), ("there", cluster))
    )
    pd.testing.assert_frame_equal(here, there, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_leaving_ends_what_is_in_hand(cluster):
    records = cluster(LONG.runs, LONG.datasets)
    next(records)
    records.close()
    until = time.monotonic() + 30
    while workers():
        assert time.monotonic() < until, "tasks go on"
        time.sleep(0.1)


def _count(path: Path) -> int:
    with contextlib.suppress(StoreError), Store.open_readonly(path) as store:
        return store.count()
    return 0  # not yet made
