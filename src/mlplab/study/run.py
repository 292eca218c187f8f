"""Trains what a study lacks, chunk by chunk, and keeps each chunk before the next one starts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mlplab import engine
from mlplab.data import Dataset
from mlplab.engine import Epoch, Result, Retry
from mlplab.errors import StoreError
from mlplab.spec import Run
from mlplab.study.design import Study
from mlplab.study.results import Results
from mlplab.study.scalars import ScalarLog
from mlplab.study.store import Store

Record = Epoch | Result | Retry
Train = Callable[[Sequence[Run], Mapping[str, Dataset]], Iterable[Record]]

REPORT_SECONDS = 0.1  # a bar needs no more, and a chunk of small models ends thousands of epochs a second
# Enough that a core rarely waits for the others at the end of a batch; another process finds the rest unclaimed.
CHUNKS_AT_ONCE = 16
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.05, 1.0


class Stopped(KeyboardInterrupt):
    """Ctrl-C in the middle of a study.

    Arguments:
      kept: runs whose result is in the store.
      total: runs of the study; None where more would have been planned as it went on.
    """

    def __init__(self, kept: int, total: int | None = None) -> None:
        of = "" if total is None else f" of {total:,}"
        runs, are = ("run", "is") if kept == 1 and total is None else ("runs", "is" if kept == 1 else "are")
        text = f"{kept:,}{of} {runs} had finished and {are} kept: the same command goes on from there"
        if not kept:
            text = f"{'no run' if total is None else f'none of {total:,} runs'} had finished: nothing is kept"
        super().__init__(text)
        self.kept, self.total = kept, total


@dataclass(frozen=True)
class Progress:
    """How far a study has come.

    Arguments:
      done: runs whose result is in the store.
      total: runs of the study.
      found: of `done`, those that were there at the start.
      chunk_runs: runs being trained just now; 0 between chunks.
      epochs, epochs_total: of these runs, passed and asked for, all runs added up.
      is_waiting: there is nothing left but what other processes are training.
      note: what a person should know, for example that chunks were made smaller for lack of memory.
    """

    done: int
    total: int
    found: int
    chunk_runs: int = 0
    epochs: int = 0
    epochs_total: int = 0
    is_waiting: bool = False
    note: str = ""

    @property
    def share(self) -> float:
        """From 0 to 1, for a bar: runs, with those being trained by their epochs."""
        training = self.chunk_runs * self.epochs / self.epochs_total if self.epochs_total else 0.0
        return (self.done + training) / self.total


def run_study(
    study: Study,
    store: Store,
    *,
    train: Train = engine.train,
    on_progress: Callable[[Progress], None] | None = None,
    chunks_at_once: int = CHUNKS_AT_ONCE,
    log: ScalarLog | None = None,
) -> Results:
    """The results of all runs of a study: those in the store, and those missing, which are trained now.

    Another process may work on the same store: each run is trained by one of them, and both return the whole
    table. What another one is training is waited for, and taken over if it dies.

    Arguments:
      train: called with runs and data sets by fingerprint, yields what `engine.train` yields, in any order.
        `partial(engine.train, device="cuda")` trains elsewhere, and the store notes that device.
      on_progress: called at the start, after each chunk, and about every REPORT_SECONDS in between.
      chunks_at_once: chunks of the engine that `train` is given together, to spread over cores or workers. Each is
        stored as soon as it is complete.
      log: where curves are written, also of runs that the store held.

    Raises what `train` raises, StoreError, and Stopped for KeyboardInterrupt. Whatever ends it, finished results are
    kept and claims are given back.
    """
    device = str(train.keywords.get("device", "cpu")) if isinstance(train, partial) else "cpu"
    run_of = dict(zip(study.digests, study.runs, strict=True))
    missing = _missing(run_of, store)
    report = _Report(on_progress, len(run_of), found=len(run_of) - len(missing))
    wait = FIRST_WAIT_SECONDS
    try:
        while missing:
            is_idle = True
            chunks = engine.chunks(missing, study.datasets)
            for start in range(0, len(chunks), chunks_at_once):
                claimed = [_claim(chunk, store, report) for chunk in chunks[start : start + chunks_at_once]]
                if claimed := [chunk for chunk in claimed if chunk]:
                    is_idle = False
                    _train_chunks(claimed, study, store, train, device, report, log)
            missing = _missing(run_of, store)
            report.now(done=len(run_of) - len(missing), is_waiting=is_idle and bool(missing))
            if is_idle and missing:
                time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS) if is_idle else FIRST_WAIT_SECONDS
    except BaseException as error:
        with contextlib.suppress(StoreError):  # what went wrong first is what to tell
            store.release()
            if isinstance(error, KeyboardInterrupt):
                raise Stopped(len(run_of) - len(_missing(run_of, store)), len(run_of)) from error
        raise
    store.release()
    results = Results.of(study, store)
    if log is not None:
        log.results(results)
    return results


def _missing(run_of: Mapping[str, Run], store: Store) -> list[Run]:
    stored = store.stored(run_of)
    return [run for digest, run in run_of.items() if digest not in stored]


def _claim(chunk: Sequence[Run], store: Store, report: _Report) -> list[Run]:
    claimed = store.claim(chunk)
    if len(claimed) < len(chunk):
        others = set(chunk).difference(claimed)
        report.stored_elsewhere(len(store.stored(run.digest for run in others)))
    return claimed


def _train_chunks(
    chunks: Sequence[Sequence[Run]],
    study: Study,
    store: Store,
    train: Train,
    device: str,
    report: _Report,
    log: ScalarLog | None,
) -> None:
    """Train claimed chunks; save each in one transaction as soon as all its results are there."""
    runs = [run for chunk in chunks for run in chunk]
    waiting = [set(chunk) for chunk in chunks]
    results: dict[Run, Result] = {}
    report.begin(runs)
    try:
        with _closing(train(runs, study.datasets)) as records:
            for record in records:
                if isinstance(record, Retry):
                    report.now(
                        note=f"{len(record.runs)} runs did not fit into memory: {record.size} at once now"
                    )
                    continue
                if isinstance(record, Epoch):
                    report.epoch(len(record.runs))
                    if log is not None:
                        log.epoch(study, record)
                    continue
                results[record.run] = record
                for chunk in [chunk for chunk in waiting if record.run in chunk and chunk <= results.keys()]:
                    store.save([results[run] for run in runs if run in chunk], device=device)
                    waiting.remove(chunk)
                    results = {run: result for run, result in results.items() if run not in chunk}
                    report.saved(chunk)
        assert not waiting, f"train gave no result for {sum(map(len, waiting))} of {len(runs)} runs"
    except BaseException:
        # A chunk cut short: what of it has ended is kept.
        with contextlib.suppress(StoreError):
            store.save(results.values(), device=device)
        raise


@contextlib.contextmanager
def _closing(records: Iterable[Record]) -> Iterator[Iterable[Record]]:
    """Ends a generator where we leave it, so that its tensors and workers are gone before the next chunk."""
    try:
        yield records
    finally:
        if isinstance(records, Generator):
            records.close()


class _Report:
    """Tells the caller, now and then."""

    def __init__(self, tell: Callable[[Progress], None] | None, total: int, found: int) -> None:
        self._tell = tell
        self._progress = Progress(done=found, total=total, found=found)
        self._told = -REPORT_SECONDS
        self.now()

    def begin(self, runs: Sequence[Run]) -> None:
        epochs = sum(run.setting.training.epochs for run in runs)
        self.now(chunk_runs=len(runs), epochs=0, epochs_total=epochs, is_waiting=False)

    def epoch(self, runs: int) -> None:
        self._progress = replace(self._progress, epochs=self._progress.epochs + runs)
        if time.monotonic() - self._told >= REPORT_SECONDS:
            self.now()

    def saved(self, chunk: Iterable[Run]) -> None:
        epochs = [run.setting.training.epochs for run in chunk]
        before = self._progress
        self.now(
            done=before.done + len(epochs),
            chunk_runs=before.chunk_runs - len(epochs),
            epochs=max(before.epochs - sum(epochs), 0),  # a run that diverged passed fewer
            epochs_total=before.epochs_total - sum(epochs),
        )

    def stored_elsewhere(self, number: int) -> None:
        if number:
            self.now(done=self._progress.done + number)

    def now(self, **changes: int | bool | str) -> None:
        self._progress = replace(self._progress, **changes)
        self._told = time.monotonic()
        if self._tell is not None:
            self._tell(self._progress)
