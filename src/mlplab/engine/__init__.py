"""Many runs -> trained together. `train(runs, data)` yields an `Epoch` as each ends and a `Result` for each run."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence

import torch

from mlplab.data import Dataset
from mlplab.engine.records import Epoch, Result
from mlplab.engine.stacked import group_key, train_group
from mlplab.errors import InvalidInput
from mlplab.spec import Run

__all__ = ["Epoch", "Result", "chunks", "train"]

# Numbers (weights, gradients and memory of the optimiser) in a chunk: about two cores' share of a last-level cache.
CHUNK_PARAMETERS = 4_000_000


def train(
    runs: Sequence[Run], data: Dataset | Mapping[str, Dataset], *, device: str | torch.device = "cpu"
) -> Iterator[Epoch | Result]:
    """Train runs of any mix of settings; their results come in the order in which chunks end.

    A result depends on its run alone: not on the others, nor on their number or order (to rounding; masks exactly).

    Arguments:
      runs: what to train. Two equal runs give two equal results.
      data: the data set of all runs, or data sets by fingerprint: `run.data` names the one it is trained on.
      device: where tensors live.

    Raises InvalidInput, before anything is trained, for a run whose data set is not there or does not fit its loss.
    """
    datasets = {data.fingerprint: data} if isinstance(data, Dataset) else data
    for run in runs:
        _refuse_unfit(run, datasets)
    for chunk in chunks(runs, datasets):
        yield from train_group(chunk, datasets, torch.device(device))


def chunks(runs: Sequence[Run], data: Mapping[str, Dataset]) -> list[list[Run]]:
    """Runs that are trained together, in the order of their first member."""
    groups: dict[Hashable, list[Run]] = {}
    for run in runs:
        groups.setdefault(group_key(run, data[run.data]), []).append(run)
    parts = []
    for group in groups.values():
        size = max(CHUNK_PARAMETERS // _num_parameters(group[0], data[group[0].data]), 1)
        # Equal chunks: 9 runs at 8 a chunk would leave one to train alone.
        count = -(-len(group) // size)
        bounds = [len(group) * i // count for i in range(count + 1)]
        parts += [group[a:b] for a, b in itertools.pairwise(bounds)]
    return parts


def _num_parameters(run: Run, data: Dataset) -> int:
    sizes = (data.in_features, *run.setting.model.hidden_sizes, data.out_features)
    return sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def _refuse_unfit(run: Run, data: Mapping[str, Dataset]) -> None:
    if run.data not in data:
        raise InvalidInput("Run.data", "must be the fingerprint of a data set that was given", run.data)
    loss, task = run.setting.training.loss, data[run.data].task
    if run.setting.training.LOSSES[loss] != task:
        fitting = next(name for name, fits in run.setting.training.LOSSES.items() if fits == task)
        raise InvalidInput(
            "Training.loss", f"must fit {data[run.data].name}, a {task}", loss, f"{fitting!r} does"
        )
