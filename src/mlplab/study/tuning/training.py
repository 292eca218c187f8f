"""Trains what a strategy asks for: through the store, as one program, each setting from where its last rung ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlplab import engine
from mlplab.data import Dataset
from mlplab.engine import Result, State
from mlplab.errors import UnknownName
from mlplab.knobs import turn
from mlplab.spec import Run, Setting
from mlplab.study.design import Arm, Study
from mlplab.study.results import Results
from mlplab.study.run import Record, Train
from mlplab.study.tuning.bench import can_go_on

if TYPE_CHECKING:
    from jaxtyping import Float

# Scores are higher where better: a loss counts with its sign turned.
METRICS = {"validation_accuracy": 1.0, "validation_loss": -1.0}


def sign_of(metric: str, data: Dataset) -> float:
    """1 where the metric is to be high, -1 where it is to be low. Raises UnknownName for one the data have not."""
    held = [name for name in METRICS if data.task == "classification" or not name.endswith("accuracy")]
    if metric not in held:
        raise UnknownName("metric", metric, held)
    return METRICS[metric]


def without_test(data: Dataset) -> Dataset:
    """The same data set with nothing to peek at."""
    return replace(data, test=None, fingerprint="")


StatefulTrain = Callable[
    ..., Iterable[Record]
]  # called as `engine.train` is, with `states` and `keep_states`


class RunStudy(Protocol):
    """Gives the results of a study; what the store does not hold is trained by `train`."""

    def __call__(self, study: Study, *, train: Train) -> Results: ...


class StoredTraining:
    """Evaluates settings on the validation part.

    Arguments:
      run: runs a study with the trainer that it is given, as `run_study` does.
      metric: a key of METRICS.
      keep_states: whether settings will be asked for again with more epochs.
      train: `engine.train`, or what trains in its place.
    """

    def __init__(
        self,
        run: RunStudy,
        data: Dataset,
        metric: str,
        *,
        keep_states: bool,
        train: StatefulTrain = engine.train,
    ) -> None:
        self.sign = sign_of(metric, data)
        self.data, self.metric = without_test(data), metric
        self._run, self._keep_states = run, keep_states
        self._trainer = train
        # Beside what it does, a trainer may say where: the store notes that.
        self._train_there = partial(self._train, **(train.keywords if isinstance(train, partial) else {}))
        self._states: dict[tuple[Setting, int], State] = {}

    def __call__(
        self, arms: Sequence[Arm], epochs: int, seeds: Sequence[int]
    ) -> Float[np.ndarray, "arm seed"]:
        """Scores; what the store does not hold is trained, all together."""
        asked = [replace(arm, setting=_cut(arm.setting, epochs)) for arm in arms]
        study = Study(asked, list(seeds), self.data)
        going_on = {_lineage(run) for run in study.runs}
        self._states = {key: state for key, state in self._states.items() if key in going_on}
        results = self._run(study, train=self._train_there)
        return self.sign * np.stack([self._values(results, arm) for arm in asked])

    def _values(self, results: Results, arm: Arm) -> np.ndarray:
        values = results.values(self.metric, arm.name)
        return np.where(np.isfinite(values), values, -self.sign * np.inf)

    def _train(self, runs: Sequence[Run], data: Mapping[str, Dataset], **options: Any) -> Iterator[Record]:
        states = {run: self._states[_lineage(run)] for run in runs if _lineage(run) in self._states}
        for record in self._trainer(runs, data, states=states, keep_states=self._keep_states, **options):
            if isinstance(record, Result) and record.state is not None and can_go_on(record.run.setting):
                self._states[_lineage(record.run)] = record.state
                record = replace(record, state=None)  # the study keeps results, not what they go on from
            yield record


def _cut(setting: Setting, epochs: int) -> Setting:
    """The setting with fewer epochs, of which it averages and keeps what there is."""
    training = setting.training
    kept = tuple(epoch for epoch in training.keep_weights if epoch <= epochs)
    average_epochs = min(training.average_epochs, epochs)
    return turn(setting, epochs=epochs, keep_weights=kept, average_epochs=average_epochs)


def _lineage(run: Run) -> tuple[Setting, int]:
    """What runs share that differ in how long they are trained."""
    return turn(run.setting, epochs=1, keep_weights=(), average_epochs=0), run.seed
