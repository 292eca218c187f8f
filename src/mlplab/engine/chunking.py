"""Which runs are trained together, and how many at once."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType

import torch

from mlplab.data import Dataset
from mlplab.engine.group import bytes_of_run, group_key, multiplications
from mlplab.engine.records import State
from mlplab.errors import InvalidInput
from mlplab.spec import Run

# About a core's share of the last cache: a bigger chunk waits for memory, a smaller one for Python.
CACHE_BYTES = 32 * 2**20
# Multiplications in an update of a chunk. With fewer, the steps between them are so short that threads mostly wait for
# each other's turn at the interpreter, and two chunks side by side take longer than one after the other.
WORTH_A_THREAD = 16_000_000
# A GPU is slow at small work: as much as fits.
SHARE_OF_GPU = 0.6


def chunks(
    runs: Sequence[Run],
    data: Mapping[str, Dataset],
    memory: int | None = None,
    device: torch.device | None = None,
    states: Mapping[Run, State] = MappingProxyType({}),
    workers: int | None = None,
) -> list[list[Run]]:
    """Runs that are trained together, in the order of their first member. Those that go on do so from one epoch.

    Raises InvalidInput where not even one run fits into `memory` bytes.

    Arguments:
      workers: processes that chunks are spread over; by default this process's threads, which wait for each other
        where chunks are small.
    """
    are_threads = workers is None
    if workers is None:
        workers = torch.get_num_threads() if device is None or device.type == "cpu" else 1
    groups: dict[Hashable, list[Run]] = {}
    for run in runs:
        passed = states[run].epoch if run in states else 0
        groups.setdefault((group_key(run, data[run.data]), passed), []).append(run)
    parts = []
    for group in groups.values():
        most = _most(group[0], data[group[0].data], memory, workers, device)
        # Runs of one seed see the same batches, and draw them once if they sit in one chunk; beside each other, those
        # of one rate are updated by one call.
        feeds: dict[tuple[str, int], list[Run]] = {}
        for run in group:
            feeds.setdefault((run.data, run.seed), []).append(run)
        for feed in feeds.values():
            feed.sort(key=lambda run: run.setting.optimizer.learning_rate)
        group = list(itertools.chain.from_iterable(feeds.values()))
        # Equal chunks: 9 runs at 8 a chunk would leave one to train alone; 3 chunks would leave one of two cores idle.
        count = -(-len(group) // most)
        spread = -(-count // workers) * workers
        if not are_threads:
            count = min(spread, len(group))
        elif is_worth_a_thread(group[: len(group) // spread], data):
            count = spread
        bounds = [len(group) * i // count for i in range(count + 1)]
        parts += [group[a:b] for a, b in itertools.pairwise(bounds)]
    return parts


def is_worth_a_thread(chunk: Sequence[Run], data: Mapping[str, Dataset]) -> bool:
    """Whether runs that are trained together are quicker beside another chunk than after it."""
    return (
        len(chunk) > 0
        and len(chunk) * multiplications(chunk[0].setting, data[chunk[0].data]) >= WORTH_A_THREAD
    )


def _most(run: Run, data: Dataset, memory: int | None, workers: int, device: torch.device | None) -> int:
    """Runs in a chunk at most."""
    each = bytes_of_run(run.setting, data)
    if device is not None and device.type == "cuda":
        free = int(SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0])
        room, most = memory or free, free // each
    else:
        room, most = memory, CACHE_BYTES // each
    if room is not None:
        if each > room:
            raise InvalidInput(
                "memory",
                f"must be at least {each / 2**20:.0f} MiB, what one of these runs takes",
                f"{room / 2**20:.0f} MiB",
            )
        most = min(most, room // workers // each)
    return max(int(most), 1)
