"""Chunks side by side: a thread for each core, each with one thread of its own for tensors."""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial

import torch
from threadpoolctl import ThreadpoolController

from mlplab.data import Dataset
from mlplab.engine.chunking import is_worth_a_thread
from mlplab.engine.group import multiplications, train_group
from mlplab.engine.records import Epoch, Result, Retry, State
from mlplab.spec import Run

Record = Epoch | Result | Retry
Chunks = Sequence[Sequence[Run]]
# Multiplications for each thread in one model's update: with fewer, threads that share a product wait for each other.
WORTH_SHARING = 5_000_000
WORKER_NAME = "mlplab-chunks"


def train_chunks(
    chunks: Chunks,
    data: Mapping[str, Dataset],
    device: torch.device,
    states: Mapping[Run, State],
    keep_states: bool,
) -> Iterator[Record]:
    """Records of all chunks, as they come. Whoever closes the generator ends training at the next update.

    Several threads are always PyTorch's, for products too (`SharedProducts`): whoever trains holds NumPy's BLAS to one.
    """
    cores = torch.get_num_threads()
    worth = sum(is_worth_a_thread(chunk, data) for chunk in chunks) if device.type == "cpu" else 0
    train = partial(_train, data=data, device=device, states=states, keep_states=keep_states)
    if (workers := min(cores, worth)) <= 1:
        for chunk in chunks:
            yield from _held_to(_useful(chunk, data, cores), train(chunk, threading.Event()))
        return
    beside, last = _beside(
        sorted(chunks, key=lambda chunk: _work(chunk, data), reverse=True), data, cores, workers
    )
    yield from _Pool(beside, train, workers, partial(_useful, data=data, most=cores // workers)).records()
    yield from train_chunks(last, data, device, states, keep_states)


def _beside(chunks: Chunks, data: Mapping[str, Dataset], cores: int, workers: int) -> tuple[Chunks, Chunks]:
    """Chunks, longest first, as those that are trained side by side and those for which cores would be idle then.

    The latter wait for the former where each is quicker on several threads.
    """
    left = len(chunks) % workers
    middle = len(chunks) - left
    if left and all(_useful(chunk, data, cores // left) > 1 for chunk in chunks[middle:]):
        return chunks[:middle], chunks[middle:]
    return chunks, []


def _work(chunk: Sequence[Run], data: Mapping[str, Dataset]) -> int:
    """Multiplications of a whole training."""
    setting = chunk[0].setting
    _, steps = setting.training.batches(data[chunk[0].data].train.num_examples)
    return len(chunk) * setting.training.epochs * steps * multiplications(setting, data[chunk[0].data])


def _useful(chunk: Sequence[Run], data: Mapping[str, Dataset], most: int) -> int:
    """How many threads a chunk is quickest on."""
    return max(min(most, multiplications(chunk[0].setting, data[chunk[0].data]) // WORTH_SHARING), 1)


def _held_to(number: int, records: Generator[Record]) -> Iterator[Record]:
    """Records that are made on so many threads. Between two of them, their reader has those that were there before."""
    with contextlib.closing(records):
        while True:
            with _blas().limit(limits=1), _torch_threads(number):
                record = next(records, None)
            if record is None:
                return
            yield record


@functools.cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries: looking for them takes a millisecond, which is an epoch of a small group."""
    return ThreadpoolController().select(user_api="blas")


def _train(
    chunk: Sequence[Run],
    stop: threading.Event,
    data: Mapping[str, Dataset],
    device: torch.device,
    states: Mapping[Run, State],
    keep_states: bool,
) -> Generator[Record]:
    """One chunk; where memory does not suffice, its halves."""
    try:
        yield from train_group(
            chunk, data, device, is_stopped=stop.is_set, states=states, keep_states=keep_states
        )
        return
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error) or len(chunk) == 1:
            raise
    # Outside the handler: the traceback holds the tensors that did not fit.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    yield Retry(tuple(chunk), len(chunk) // 2)
    middle = len(chunk) // 2
    for half in (chunk[:middle], chunk[middle:]):
        yield from _train(half, stop, data, device, states, keep_states)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error)  # PyTorch's CPU allocator


@contextlib.contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Pool:
    """Threads that take chunks from the left and put records where one reader finds them."""

    def __init__(
        self,
        chunks: Chunks,
        train: Callable[[Sequence[Run], threading.Event], Iterator[Record]],
        workers: int,
        threads_of: Callable[[Sequence[Run]], int],
    ) -> None:
        self.waiting: queue.SimpleQueue[Sequence[Run]] = queue.SimpleQueue()
        for chunk in chunks:
            self.waiting.put(chunk)
        self.train, self.threads_of = train, threads_of
        # Bounded: a reader that is slow holds training back, and not a growing heap of results.
        self.done: queue.Queue[Record | BaseException | None] = queue.Queue(maxsize=256)
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._work, name=WORKER_NAME, daemon=True) for _ in range(workers)
        ]

    def records(self) -> Iterator[Record]:
        """What the threads say, until all have ended. Raises what one of them raised."""
        # PyTorch's number is a thread's own, but the latest is what threads begin with that come after.
        with _blas().limit(limits=1), _torch_threads(torch.get_num_threads()):
            yield from self._records()

    def _records(self) -> Iterator[Record]:
        for thread in self.threads:
            thread.start()
        running = len(self.threads)
        try:
            while running:
                said = self.done.get()
                if said is None:
                    running -= 1
                elif isinstance(said, BaseException):
                    raise said
                else:
                    yield said
        finally:
            self.stop.set()
            while any(thread.is_alive() for thread in self.threads):
                with contextlib.suppress(queue.Empty):  # a thread may wait for room to speak
                    self.done.get(timeout=0.02)

    def _work(self) -> None:
        try:
            while not self.stop.is_set():
                try:
                    chunk = self.waiting.get_nowait()
                except queue.Empty:
                    break
                torch.set_num_threads(self.threads_of(chunk))
                for record in self.train(chunk, self.stop):
                    self.done.put(record)
            self.done.put(None)
        except BaseException as error:  # the reader raises it
            self.done.put(error)
