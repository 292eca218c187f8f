"""Laws of running a study: nothing is lost, nothing is trained twice, and the table is the same whoever trained."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest

from mlplab import engine
from mlplab.errors import InvalidInput, StoreError
from mlplab.knobs import turn
from mlplab.study import Progress, Store, Study, factorial, run_study

from .cases import BASE, Trainer, dataset, diverged, made_up, small_study


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.sqlite") as opened:
        yield opened


def is_free(store, runs) -> bool:
    """Whether another process could claim these runs."""
    with Store(store.path) as other:
        return other.claim(runs) == list(runs)


def test_all_runs_are_trained_once_and_then_found(store):
    study, trainer, again = small_study(), Trainer(), Trainer()
    first = run_study(study, store, train=trainer)
    assert sorted(run.digest for run in trainer.trained) == sorted(study.digests)
    second = run_study(study, store, train=again)
    assert again.calls == []
    pd.testing.assert_frame_equal(first.frame, second.frame)
    pd.testing.assert_frame_equal(first.curves, second.curves)


def test_only_what_is_missing_is_trained(store):
    small, large = small_study(2, (4, 5)), small_study(3, (4, 5, 6))
    run_study(small, store, train=Trainer())
    trainer = Trainer()
    run_study(large, store, train=trainer)
    assert {run.digest for run in trainer.trained} == set(large.digests) - set(small.digests)


def test_the_engine_gives_the_same_table_in_one_go_or_in_parts(store, tmp_path):
    study = Study(factorial(BASE, learning_rate=[0.1, 1e9], hidden_sizes=[(4,), (5, 3)]), 3, dataset())
    run_study(Study(study.arms[1:3], [2, 0], dataset()), store)
    resumed = run_study(study, store)
    with Store(tmp_path / "other.sqlite") as other:
        fresh = run_study(study, other)
    # float32 sums in another order for another number of models: rounding only.
    one, two = (results.frame.drop(columns="seconds") for results in (resumed, fresh))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)
    assert set(fresh.frame["status"]) == {"finished", "diverged"}
    assert fresh.frame["test_loss"].isna().sum() == (fresh.frame["status"] == "diverged").sum()


def test_a_chunk_is_in_the_store_before_the_next_one_starts(store):
    study = small_study()
    seen = []

    def look(run):
        with Store.open_readonly(store.path) as observer:
            seen.append(observer.count())

    run_study(study, store, train=Trainer(before=look))
    assert seen == [3 * (number // 3) for number in range(12)]  # three seeds to a chunk


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, InvalidInput("it", "must not be", 1)])
def test_whatever_ends_it_what_finished_is_kept_and_the_rest_is_free(store, error):
    study = small_study()
    trainer = Trainer(before=lambda run: fail() if len(trainer.trained) == 7 else None)

    def fail():
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        run_study(study, store, train=trainer)
    kept = store.stored(study.digests)
    assert kept == {run.digest for run in trainer.trained}  # also of the chunk that was cut short
    assert is_free(store, [run for run in study.runs if run.digest not in kept])
    rest = Trainer()
    run_study(study, store, train=rest)
    assert sorted(run.digest for run in trainer.trained + rest.trained) == sorted(study.digests)


def test_a_full_disk_is_told_and_keeps_what_was_saved(store):
    study = small_study(60)
    store._file.execute(f"PRAGMA max_page_count = {store._file.execute('PRAGMA page_count')[0][0] + 50}")
    with pytest.raises(StoreError, match="the disk is full"):
        run_study(study, store, train=Trainer(), chunks_at_once=1)
    with Store(store.path) as other:
        kept = other.stored(study.digests)
        assert len(kept) == 60
        rest = Trainer()
        run_study(study, other, train=rest)
    assert {run.digest for run in rest.trained} == set(study.digests) - kept


@pytest.mark.parametrize("fate", ["saves", "gives up", "dies"])
def test_what_another_process_trains_is_waited_for_or_taken_over(store, fate):
    study = small_study()
    other = Store(store.path)
    theirs = other.claim(study.runs[2:5])
    waited = []

    def on_progress(progress: Progress) -> None:
        if not progress.is_waiting:
            return
        waited.append(progress)
        if len(waited) == 2:
            if fate == "saves":
                other.save(map(made_up, theirs))
            elif fate == "gives up":
                other.release()
            else:
                other._owner._lock.close()

    trainer = Trainer()
    results = run_study(study, store, train=trainer, on_progress=on_progress)
    assert len(waited) >= 2
    assert waited[0].done == len(study.runs) - 3
    expected = set(study.digests) - ({run.digest for run in theirs} if fate == "saves" else set())
    assert sorted(run.digest for run in trainer.trained) == sorted(expected)
    assert len(results.frame) == len(study.runs)
    other.close()


def test_progress_goes_from_what_is_found_to_all(store):
    study = small_study()
    store.save(map(made_up, study.runs[:5]))
    seen: list[Progress] = []
    run_study(study, store, train=Trainer(), on_progress=seen.append)
    assert (seen[0].done, seen[0].found, seen[0].total) == (5, 5, 12)
    assert (seen[-1].done, seen[-1].chunk_runs, seen[-1].is_waiting, seen[-1].share) == (12, 0, False, 1.0)
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)


def test_progress_moves_within_a_chunk(store, monkeypatch):
    monkeypatch.setattr("mlplab.study.run.REPORT_SECONDS", 0.0)
    seen: list[Progress] = []
    run_study(small_study(2, (4,)), store, train=Trainer(), on_progress=seen.append)
    assert [(p.epochs, p.epochs_total) for p in seen if p.chunk_runs] == [(n, 4) for n in (0, 1, 2, 3, 4)]


def test_an_executor_may_take_several_chunks_and_answer_in_any_order(store, tmp_path):
    study = small_study()
    calls = []

    def backwards(runs, data):
        calls.append(len(runs))
        yield from (diverged(run) if run.seed == 1 else made_up(run) for run in reversed(runs))

    together = run_study(study, store, train=backwards, chunks_at_once=3)
    assert calls == [9, 3]
    with Store(tmp_path / "other.sqlite") as other:
        alone = run_study(study, other, train=backwards)
    pd.testing.assert_frame_equal(together.frame, alone.frame)
    assert set(together.frame.loc[together.frame["seed"] == 1, "status"]) == {"diverged"}


def test_an_executor_that_loses_a_run_is_caught(store):
    with pytest.raises(AssertionError, match="no result for 3 of 3 runs"):
        run_study(small_study(), store, train=lambda runs, data: map(made_up, runs[1:]), chunks_at_once=1)
    assert store.count() == 2


def test_an_executor_is_closed_when_it_is_left(store, monkeypatch):
    """Not when Python finds the time: its workers and tensors must be gone before what comes next."""
    monkeypatch.setattr("mlplab.study.run.REPORT_SECONDS", 0.0)
    made, closed = [], []

    def train(runs, data):
        try:
            yield from Trainer()(runs, data)
        finally:
            closed.append(True)

    def remembered(runs, data):
        made.append(train(runs, data))
        return made[-1]

    def interrupt(progress: Progress) -> None:
        if progress.epochs == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(), store, train=remembered, on_progress=interrupt)
    assert closed == [True]


def test_the_store_notes_the_device(store):
    run_study(small_study(1, (4,)), store, train=partial(engine.train, device="cpu"))
    assert store._file.execute("SELECT device FROM runs") == [("cpu",)]


def test_arms_share_the_draw_of_their_seed(store):
    study = Study(factorial(turn(BASE, epochs=1), learning_rate=[0.1, 0.2]), 2, dataset)
    results = run_study(study, store)
    held = {(run.seed, run.data) for run in study.runs}
    assert len(held) == 2
    assert len(results.frame) == 4
