"""Work on many items in processes of their own, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")
MAX_WORKERS = 8


def each(
    work: Callable[[Item], Done], items: Sequence[Item], *, workers: int | None = None
) -> Iterator[Done]:
    """The work on each item, in the order of the items, as it is done.

    Arguments:
      work: a function at the top of a module, so that it can travel.
      workers: processes; as many as there are cores by default, and none of its own for 1.
    """
    count = min(workers or os.cpu_count() or 1, MAX_WORKERS, max(len(items), 1))
    if count == 1:
        yield from map(work, items)
        return
    # Fresh processes: a forked one would hang in torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()  # whoever pressed Ctrl-C waits
            raise


def _begin() -> None:
    """A worker computes with one thread, and leaves Ctrl-C to the process that started it."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    if "torch" in sys.modules:  # else it reads them, and not all work needs it
        sys.modules["torch"].set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
