"""Chunks side by side: threads change nothing, a lack of memory is survived, and whoever leaves ends training."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from mlplab import engine
from mlplab.engine import Epoch, Result, Retry, train
from mlplab.engine.group import bytes_of_run, train_group
from mlplab.engine.products import Products, SharedProducts, products_for
from mlplab.engine.workers import WORKER_NAME
from mlplab.errors import InvalidInput
from mlplab.knobs import turn
from mlplab.spec import MLP, Run, Setting
from mlplab.study import Arm, Progress, Store, Study, run_study

from .cases import BY_NAME, largest_difference, weight_difference
from .test_stacked import pool, results, structural_cases

SAME = 1e-10


@pytest.fixture
def two_threads(monkeypatch):
    """Chunks go to two threads, however small they are."""
    monkeypatch.setattr("mlplab.engine.chunking.WORTH_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def is_any_worker_alive() -> bool:
    return any(thread.name == WORKER_NAME for thread in threading.enumerate())


@structural_cases
@pytest.mark.usefixtures("two_threads")
def test_two_threads_change_nothing_but_rounding(case):
    """Law 1, for everything the engine trains: seven runs in two chunks side by side, and in one."""
    runs, data = pool(case, "float64"), case.data()
    assert len(engine.chunks(runs, {data.fingerprint: data})) == 2
    spread = results(runs, data)
    torch.set_num_threads(1)
    assert len(engine.chunks(runs, {data.fingerprint: data})) == 1
    assert max(map(weight_difference, spread, results(runs, data))) <= SAME


@structural_cases
def test_a_study_that_was_stopped_goes_on_to_the_same_results(case, tmp_path):
    """Nothing is lost (law 5): what was kept is not trained again, the rest as it would have been."""
    members, data = pool(case, "float64")[1:4], case.data()
    study = Study([Arm(str(i), run.setting) for i, run in enumerate(members)], 2, data)
    trained = []

    def stopped_after(count):
        def trainer(runs, data):
            for record in train(runs, data):
                yield record
                if isinstance(record, Result):
                    trained.append(record.run)
                    if len(trained) == count:
                        raise KeyboardInterrupt

        return trainer

    with Store(tmp_path / "runs.sqlite") as store:
        with pytest.raises(KeyboardInterrupt):
            run_study(study, store, train=stopped_after(2))
        assert len(store.stored(study.digests)) == 2
        run_study(study, store, train=stopped_after(None))
        held = store.get(study.digests)
    assert sorted(run.digest for run in trained) == sorted(study.digests), "each once"
    for run, expected in zip(study.runs, results(study.runs, data), strict=True):
        found = held[run.digest]
        assert found.status == expected.status
        assert found.metrics == pytest.approx(expected.metrics, abs=SAME)


# How many threads each pool has


CORES = 4


@pytest.fixture
def many_cores(monkeypatch):
    """PyTorch and BLAS have a thread for each, and every chunk is worth one."""
    monkeypatch.setattr("mlplab.engine.chunking.WORTH_A_THREAD", 1)
    before = torch.get_num_threads()
    with threadpool_limits(CORES, user_api="blas"):
        torch.set_num_threads(CORES)
        yield
        torch.set_num_threads(before)


@pytest.fixture
def pools(monkeypatch, many_cores):
    """The threads of PyTorch and of BLAS as each chunk sees them, where every product is worth sharing."""
    seen = []

    def watched(*args, **options):
        seen.append((torch.get_num_threads(), blas_threads()))
        return train_group(*args, **options)

    monkeypatch.setattr("mlplab.engine.workers.train_group", watched)
    monkeypatch.setattr("mlplab.engine.workers.WORTH_SHARING", 1)
    return seen


def blas_threads() -> int:
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def torch_threads_of_a_new_thread() -> int:
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(
    ("models", "expected"),
    [(1, [4]), (2, [2, 2]), (3, [1, 1, 1]), (4, [1, 1, 1, 1]), (5, [1, 1, 1, 1, 4]), (6, [1, 1, 1, 1, 2, 2])],
)
def test_cores_are_shared_out_and_two_pools_never_wait_for_each_other(pools, models, expected):
    """Threads spin while they wait: with two pools of several each, one takes the cores from the other."""
    data = BY_NAME["dropout"].data()
    # Each of its own shape, and so a chunk of its own.
    settings = [turn(Setting(MLP(hidden_sizes=(5 + i,))), batch_size=30, epochs=1) for i in range(models)]
    list(train([Run(setting, data.fingerprint, 0) for setting in settings], data))
    assert [torch_threads for torch_threads, _ in pools] == expected
    assert all(min(both) == 1 for both in pools)


@pytest.mark.parametrize("models", [1, CORES])
@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.usefixtures("many_cores")
def test_whoever_reads_records_keeps_the_threads_that_were_there(models, leaves):
    """Between two records of chunks one after another; at the end also of chunks side by side."""
    case = BY_NAME["dropout"]
    records = train([case.run(seed) for seed in range(models)], case.data())
    for _ in itertools.islice(records, 1 if leaves else None):
        assert torch.get_num_threads() == CORES
        assert models > 1 or (torch_threads_of_a_new_thread(), blas_threads()) == (CORES, CORES)
    records.close()
    assert (torch.get_num_threads(), torch_threads_of_a_new_thread(), blas_threads()) == (CORES,) * 3


@pytest.mark.parametrize(("left", "right"), [(1, 6), (2, 6), (3, 6), (6, 6), (6, 1), (6, 2), (1, 1)])
def test_products_of_several_threads_are_those_of_one(left, right, monkeypatch):
    """Whoever shares a factor multiplies by it: models that follow each other (`Batch`)."""
    monkeypatch.setattr("mlplab.engine.products.WORTH_THREADS", 1)
    generator = torch.Generator().manual_seed(0)
    models = max(left, right)
    for rows, inner, columns in ((5, 7, 3), (1, 7, 3), (5, 7, 1)):
        a = torch.randn(left, inner, rows, generator=generator, dtype=torch.float64).transpose(1, 2)
        b = torch.randn(right, inner, columns, generator=generator, dtype=torch.float64)
        shared, one = (torch.empty(models, rows, columns, dtype=torch.float64) for _ in range(2))
        SharedProducts().into(shared, a, b)
        Products().into(one, a.contiguous(), b)
        assert (shared - one).abs().max() <= 1e-14
        for products in (SharedProducts(), Products()):
            turned = b.transpose(1, 2).contiguous()
            products.hold(turned, shared)
            products.into(shared.zero_(), a.transpose(1, 2), turned, turn_a=True, turn_b=True)
            assert (shared - one).abs().max() <= 1e-14


@pytest.mark.parametrize(
    "name", ["dropconnect", "batch_norm_dropout_deep", "regression_adam_float64", "batch_of_one"]
)
def test_training_on_products_of_several_threads_changes_nothing_but_rounding(name, monkeypatch):
    case = BY_NAME[name]
    runs, data = pool(case, "float64"), case.data()
    expected = results(runs, data)
    monkeypatch.setattr("mlplab.engine.products.WORTH_THREADS", 1)
    monkeypatch.setattr("mlplab.engine.fused.products_for", lambda device, is_mixed: SharedProducts())
    found = results(runs, data) + results(runs[:1], data)
    assert max(map(weight_difference, found, [*expected, expected[0]])) <= SAME


def test_products_are_made_on_the_threads_that_pytorch_has():
    """With one, by the library that is faster at small matrices; with more, by the pool that does all else."""
    before = torch.get_num_threads()
    found = {}
    for number in (1, 2):
        torch.set_num_threads(number)
        found[number] = type(products_for(torch.device("cpu"), is_mixed=False))
    torch.set_num_threads(before)
    assert found == {1: Products, 2: SharedProducts}


# Lack of memory


def short_of_memory(monkeypatch, most, error):
    """Groups of more than `most` runs do not fit, as is found after their first epoch."""

    def scarce(runs, data, device, **options):
        records = train_group(runs, data, device, **options)
        if len(runs) <= most:
            yield from records
            return
        yield next(records)
        raise error

    monkeypatch.setattr("mlplab.engine.workers.train_group", scarce)


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_chunk_that_does_not_fit_is_halved_until_it_does(monkeypatch, two_threads, error, threads):
    torch.set_num_threads(threads)
    case = BY_NAME["dropout"]
    runs, data = pool(case, "float64"), case.data()
    expected = results(runs, data)
    short_of_memory(monkeypatch, 2, error)
    records = list(train(runs, data))
    said = sorted((len(r.runs), r.size) for r in records if isinstance(r, Retry))
    assert said == {1: [(3, 1), (4, 2), (7, 3)], 2: [(3, 1), (4, 2)]}[threads]
    found = {r.run: r for r in records if isinstance(r, Result)}
    assert len([r for r in records if isinstance(r, Result)]) == 7, "each once"
    assert all(largest_difference(found[result.run], result) <= SAME for result in expected)


def test_a_study_says_that_chunks_were_made_smaller(monkeypatch, tmp_path):
    case = BY_NAME["dropout"]
    study = Study(
        [Arm(f"{rate}", turn(case.setting, learning_rate=rate)) for rate in (0.1, 0.2)], 2, case.data()
    )
    short_of_memory(monkeypatch, 2, MemoryError())
    notes: list[Progress] = []
    with Store(tmp_path / "runs.sqlite") as store:
        table = run_study(study, store, on_progress=notes.append).frame
    assert len(table) == 4
    assert "4 runs did not fit into memory: 2 at once now" in {progress.note for progress in notes}


@pytest.mark.parametrize(
    ("most", "error"), [(0, MemoryError()), (2, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_one_run_that_does_not_fit_and_any_other_error_are_raised(
    monkeypatch, two_threads, most, error, threads
):
    torch.set_num_threads(threads)
    case = BY_NAME["dropout"]
    short_of_memory(monkeypatch, most, error)
    with pytest.raises(type(error)) as raised:
        list(train(pool(case, "float64"), case.data()))
    assert raised.value is error
    assert not is_any_worker_alive()


# A budget


def test_chunks_keep_to_the_memory_they_are_given(two_threads):
    """All chunks that are trained at once together, by the engine's own reckoning."""
    case = BY_NAME["dropout"]
    runs, data = [case.run(seed) for seed in range(40)], case.data()
    each = bytes_of_run(case.setting, data)
    for fitting in (2, 6, 11):
        parts = engine.chunks(runs, {data.fingerprint: data}, fitting * each)
        assert sorted(run.seed for part in parts for run in part) == list(range(40))
        assert 2 * max(map(len, parts)) <= fitting


def test_a_budget_that_one_run_exceeds_is_refused_before_training():
    case = BY_NAME["dropout"]
    with pytest.raises(
        InvalidInput, match=r"^memory must be at least .* MiB, what one of these runs takes; got"
    ):
        next(iter(train([case.run()], case.data(), memory=1000)))


# Leaving


@pytest.mark.usefixtures("two_threads")
def test_whoever_leaves_ends_training_at_the_next_update():
    """Ctrl-C closes the generator: the threads are gone, not after a million epochs but at once."""
    case = BY_NAME["dropout"]
    setting = turn(case.setting, epochs=1_000_000)
    runs = [case.run(seed) for seed in range(4)]
    runs = [type(run)(setting, run.data, run.seed) for run in runs]
    records = train(runs, case.data())
    first = list(itertools.islice(records, 3))
    assert all(isinstance(record, Epoch) for record in first)
    assert is_any_worker_alive()
    started = time.monotonic()
    records.close()
    assert not is_any_worker_alive()
    assert time.monotonic() - started < 60, "a million epochs would take hours"


def test_small_chunks_are_not_spread_over_threads():
    """Two threads that run short operations wait for each other's turn at the interpreter."""
    case = BY_NAME["dropout"]
    runs, data = pool(case, "float64"), {case.data().fingerprint: case.data()}
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert len(engine.chunks(runs, data)) == 1
        records = train(runs, case.data())
        next(records)
        assert not is_any_worker_alive()
        records.close()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2, 3, 1_000])
def test_processes_each_get_a_chunk_however_small(workers):
    """Threads wait for each other at the interpreter, processes do not; no chunk is empty, and no run is lost."""
    case = BY_NAME["dropout"]
    runs, data = pool(case, "float64"), {case.data().fingerprint: case.data()}
    spread = engine.chunks(runs, data, workers=workers)
    assert len(spread) == min(workers, len(runs))
    assert all(spread)
    assert {run for chunk in spread for run in chunk} == set(runs)
