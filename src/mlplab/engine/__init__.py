"""Many runs -> trained together. `train(runs, data)` yields an `Epoch` as each ends and a `Result` for each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from mlplab.data import Dataset
from mlplab.engine.chunking import chunks
from mlplab.engine.records import Epoch, Result, Retry
from mlplab.engine.workers import train_chunks
from mlplab.errors import InvalidInput
from mlplab.spec import Run

__all__ = ["Epoch", "Result", "Retry", "chunks", "train"]


def train(
    runs: Sequence[Run],
    data: Dataset | Mapping[str, Dataset],
    *,
    device: str | torch.device = "cpu",
    memory: int | None = None,
) -> Iterator[Epoch | Result | Retry]:
    """Train runs of any mix of settings; their results come in the order in which chunks end.

    A result depends on its run alone: not on the others, nor on their number or order (to rounding; masks exactly).
    On a CPU, chunks are trained side by side on `torch.get_num_threads()` threads.

    Arguments:
      runs: what to train. Two equal runs give two equal results.
      data: the data set of all runs, or data sets by fingerprint: `run.data` names the one it is trained on.
      device: where tensors live.
      memory: bytes that training may take beside the data. None for chunks that suit the caches (on a CPU) or most
        of the free memory (on a GPU).

    Raises InvalidInput, before anything is trained, for a run whose data set is not there or does not fit it.
    """
    datasets = {data.fingerprint: data} if isinstance(data, Dataset) else data
    for run in runs:
        _refuse_unfit(run, datasets)
    place = torch.device(device)
    yield from train_chunks(chunks(runs, datasets, memory, place), datasets, place)


def _refuse_unfit(run: Run, data: Mapping[str, Dataset]) -> None:
    if run.data not in data:
        raise InvalidInput("Run.data", "must be the fingerprint of a data set that was given", run.data)
    held, setting = data[run.data], run.setting
    loss = setting.training.loss
    if setting.training.LOSSES[loss] != held.task:
        fitting = [name for name, fits in setting.training.LOSSES.items() if fits == held.task]
        raise InvalidInput(
            "Training.loss",
            f"must fit {held.name}, a {held.task}",
            loss,
            f"{' or '.join(map(repr, fitting))} does",
        )
    if (start := setting.model.start) is not None:
        ends = start.layers[0][0].shape[1], len(start.layers[-1][1])
        if ends != (held.in_features, held.out_features):
            rule = f"must lead from {held.in_features} to {held.out_features} features, those of {held.name}"
            raise InvalidInput("MLP.start", rule, f"from {ends[0]} to {ends[1]}")
