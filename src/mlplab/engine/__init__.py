"""Many runs -> trained together. `train(runs, data)` yields an `Epoch` as each ends and a `Result` for each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch

from mlplab.data import Dataset
from mlplab.engine.chunking import chunks
from mlplab.engine.records import Epoch, Result, Retry, State
from mlplab.engine.workers import train_chunks
from mlplab.errors import InvalidInput
from mlplab.spec import Run

__all__ = ["Epoch", "Result", "Retry", "State", "chunks", "train"]


def train(
    runs: Sequence[Run],
    data: Dataset | Mapping[str, Dataset],
    *,
    device: str | torch.device = "cpu",
    memory: int | None = None,
    states: Mapping[Run, State] = MappingProxyType({}),
    keep_states: bool = False,
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
      states: by run, the `Result.state` of the same run with fewer epochs: it is not trained again from the beginning,
        and its result is the one that it would have had. Runs that are not named start at the beginning.
      keep_states: give each result a state, from which more epochs can go on. It is as large as the model.

    Raises InvalidInput, before anything is trained, for a run whose data set is not there or does not fit it, and for
    a state that it cannot go on from.
    """
    datasets = {data.fingerprint: data} if isinstance(data, Dataset) else data
    for run in runs:
        _refuse_unfit(run, datasets)
        if run in states:
            _refuse_other(run, states[run])
    place = torch.device(device)
    parts = chunks(runs, datasets, memory, place, states)
    yield from train_chunks(parts, datasets, place, states, keep_states)


def _refuse_other(run: Run, state: State) -> None:
    """A run's result must be the one that it has by itself (law 1)."""
    before, training = state.run, run.setting.training
    passed = before.setting.training.epochs
    same = before.setting.replace(training=replace(before.setting.training, epochs=training.epochs))
    if replace(before, setting=same) != run or passed > training.epochs:
        rule = "must be of the same run with no more epochs"
        raise InvalidInput("state", rule, f"{before.digest}, {passed} epochs, for {run.digest}")
    if passed != training.epochs and run.setting.optimizer.schedule.kind == "cosine":
        remedy = "Its rates depend on how many epochs there will be: train from the beginning"
        raise InvalidInput("Optimizer.schedule", "must not be 'cosine' where a run goes on", "cosine", remedy)
    if passed != training.epochs and passed > training.epochs - training.average_epochs:
        rule = f"must leave its average to epochs after the {passed} that a run goes on from"
        raise InvalidInput("Training.average_epochs", rule, training.average_epochs)
    if passed != training.epochs and passed % training.evaluate_every:
        rule = f"must divide the {passed} epochs that a run goes on from"
        raise InvalidInput("Training.evaluate_every", rule, training.evaluate_every)


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
