"""Chunks side by side: a thread for each core, each with one thread of its own for tensors."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from threadpoolctl import threadpool_limits

from mlplab.data import Dataset
from mlplab.engine.chunking import is_worth_a_thread
from mlplab.engine.group import multiplications, train_group
from mlplab.engine.records import Epoch, Result, Retry, State
from mlplab.spec import Run

Record = Epoch | Result | Retry
# Multiplications in one model's update: below it, cores that share a product wait for each other.
WORTH_SHARING = 5_000_000
WORKER_NAME = "mlplab-chunks"


def train_chunks(
    chunks: Sequence[Sequence[Run]],
    data: Mapping[str, Dataset],
    device: torch.device,
    states: Mapping[Run, State],
    keep_states: bool,
) -> Iterator[Record]:
    """Records of all chunks, as they come. Whoever closes the generator ends training at the next update."""
    cores = torch.get_num_threads()
    worth = sum(is_worth_a_thread(chunk, data) for chunk in chunks) if device.type == "cpu" else 0
    if (workers := min(cores, worth)) > 1:
        with threadpool_limits(cores // workers, user_api="blas"):
            train = partial(_train, data=data, device=device, states=states, keep_states=keep_states)
            yield from _Pool(chunks, train, workers, cores // workers).records()
        return
    for chunk in chunks:
        shared = cores if multiplications(chunk[0].setting, data[chunk[0].data]) >= WORTH_SHARING else 1
        with threadpool_limits(shared, user_api="blas"), _torch_threads(shared):
            yield from _train(chunk, threading.Event(), data, device, states, keep_states)


def _train(
    chunk: Sequence[Run],
    stop: threading.Event,
    data: Mapping[str, Dataset],
    device: torch.device,
    states: Mapping[Run, State],
    keep_states: bool,
) -> Iterator[Record]:
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
        chunks: Sequence[Sequence[Run]],
        train: Callable[[Sequence[Run], threading.Event], Iterator[Record]],
        workers: int,
        threads: int,
    ) -> None:
        self.waiting: queue.SimpleQueue[Sequence[Run]] = queue.SimpleQueue()
        for chunk in chunks:
            self.waiting.put(chunk)
        self.train, self.num_threads = train, threads
        # Bounded: a reader that is slow holds training back, and not a growing heap of results.
        self.done: queue.Queue[Record | BaseException | None] = queue.Queue(maxsize=256)
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._work, name=WORKER_NAME, daemon=True) for _ in range(workers)
        ]

    def records(self) -> Iterator[Record]:
        """What the threads say, until all have ended. Raises what one of them raised."""
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
        torch.set_num_threads(self.num_threads)
        try:
            while not self.stop.is_set():
                try:
                    chunk = self.waiting.get_nowait()
                except queue.Empty:
                    break
                for record in self.train(chunk, self.stop):
                    self.done.put(record)
            self.done.put(None)
        except BaseException as error:  # the reader raises it
            self.done.put(error)
