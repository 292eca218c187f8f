"""Chunks of runs as tasks of a Ray cluster, in place of this machine's cores.

A result depends on its run's digest alone, so it does not matter where, how often or beside what a run is trained. The
driver, and it alone, writes the store: a worker that dies costs the chunk it had in hand, which Ray gives to another
one, and a driver that dies costs what was in hand everywhere. No run is lost, and none is stored twice.
"""

from __future__ import annotations

import copy
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Self

import torch

import mlplab
from mlplab import engine
from mlplab.data import Dataset
from mlplab.engine import Result
from mlplab.engine.noises import Learned, added_kinds, learn
from mlplab.errors import ClusterError, InvalidInput, MLPLabError, import_extra
from mlplab.spec import SEMANTICS, Run

if TYPE_CHECKING:
    from ray import ObjectRef

    from mlplab.engine import State

# Times that a chunk is given to another worker after its own has died. A run that kills every worker it meets, for
# lack of memory say, must come to an end.
RETRIES = 5
# Chunks in the hands of the cluster for each core: the next one is there when a core is done.
CHUNKS_A_CORE = 3
SECONDS_TO_ANSWER = 5.0


class Cluster:
    """Trains on a Ray cluster: `run_study(study, store, train=cluster, chunks_at_once=cluster.chunks_at_once)`.

    A context manager. Each task takes one core and computes with one thread. A Ray that this process has joined already
    is used as it is.

    Arguments:
      address: `host:port` of the cluster's head, `ray://host:port` of its client server, `auto` for one that runs on
        this machine; None starts one on this machine that ends with this process.
      workers: cores of a cluster that is started here; all by default.

    Raises MissingExtra without Ray, InvalidInput for an address that is none, ClusterError for a cluster that does not
    answer or whose workers have another version of mlplab.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._ray = import_extra("ray", what="A cluster", extra="ray")
        if workers is not None and workers < 1:
            raise InvalidInput("Cluster.workers", "must be at least 1", workers)
        if address is not None and workers is not None:
            raise InvalidInput(
                "Cluster.workers", "is for a cluster that is started here", workers, "Leave one out"
            )
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            _connect(self._ray, address, workers)
        try:
            self._task = self._ray.remote(num_cpus=1, max_retries=RETRIES)(_train_chunk)
            self.num_cores = int(self._ray.cluster_resources().get("CPU", 0))
            self._check_workers()
        except BaseException:
            self.close()
            raise

    @property
    def chunks_at_once(self) -> int:
        """Chunks that keep every core busy."""
        return max(CHUNKS_A_CORE * self.num_cores, 1)

    def __call__(
        self,
        runs: Sequence[Run],
        data: Mapping[str, Dataset],
        *,
        states: Mapping[Run, State] = MappingProxyType({}),
        keep_states: bool = False,
    ) -> Iterator[Result]:
        """Results as their chunks end. Whoever closes the generator ends the tasks.

        States travel as in `engine.train`, to the workers and back.

        Raises what training raises; ClusterError where a chunk's workers keep dying, or the cluster has gone.
        """
        ray = self._ray
        held = {fingerprint: ray.put(data[fingerprint]) for fingerprint in {run.data for run in runs}}
        kinds = ray.put(added_kinds({noise.kind for run in runs for noise in run.setting.noises}))
        pending: dict[ObjectRef, list[Run]] = {}
        try:
            for chunk in engine.chunks(runs, data, states=states, workers=max(self.num_cores, 1)):
                # In a list, Ray hands over the address, and not the data set itself.
                needed = {fingerprint: [held[fingerprint]] for fingerprint in {run.data for run in chunk}}
                before = {run: states[run] for run in chunk if run in states}
                pending[self._task.remote(chunk, needed, kinds, before, keep_states)] = chunk
            while pending:
                (ended, *_), _ = ray.wait(list(pending))
                chunk = pending.pop(ended)
                yield from self._results(ended, chunk)
        finally:
            for task in pending:
                ray.cancel(task, force=True)

    def _results(self, task: ObjectRef, chunk: Sequence[Run]) -> list[Result]:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, MLPLabError):
                raise error.cause from error
            if missing := re.search(r"No module named '[\w.]+'", str(error.cause)):
                raise ClusterError(
                    f"A worker lacks what these runs need: {missing[0]}. Install it there."
                ) from error
            raise
        except errors.RayError as error:
            why = str(error).strip().splitlines()[0]
            raise ClusterError(
                f"The cluster gave up on {len(chunk)} runs after {RETRIES + 1} tries ({type(error).__name__}: {why}). "
                "What had finished is kept."
            ) from error

    def _check_workers(self) -> None:
        try:
            found = self._ray.get(self._ray.remote(num_cpus=1)(_version).remote())
        except (self._ray.exceptions.RayError, ModuleNotFoundError) as error:
            why = str(error).strip().splitlines()[-1]
            raise ClusterError(
                f"A worker of the cluster cannot load mlplab ({why}). Install it on every node."
            ) from error
        if found != _version():
            raise ClusterError(
                f"The cluster's workers have mlplab {found[0]} (results of kind {found[1]}); "
                f"this is {mlplab.__version__} (kind {SEMANTICS}). Install the same version everywhere."
            )

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._is_ours:
            self._ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(ray: ModuleType, address: str | None, workers: int | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # says nothing of GPUs, which are not used
    if address is None:
        # "local" by name: a plain call may try to join a cluster that is dead.
        ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        return
    if address != "auto":
        _knock(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ClusterError(f"The Ray cluster at {address!r} cannot be joined: {why}") from error


def _knock(address: str) -> None:
    """Ray waits for minutes where nobody answers."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise InvalidInput(
            "Cluster.address", "must be host:port, ray://host:port or auto", address, "Ray's own port is 6379"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise ClusterError(
            f"The Ray cluster at {address!r} cannot be reached ({error.strerror or error}). "
            "`ray start --head` starts one."
        ) from error


# --- on a worker -------------------------------------------------------------------------------------------

_datasets: dict[str, Dataset] = {}


def _version() -> tuple[str, int]:
    return mlplab.__version__, SEMANTICS


def _train_chunk(
    chunk: Sequence[Run],
    data: Mapping[str, Sequence[ObjectRef]],
    kinds: Learned,
    states: Mapping[Run, State],
    keep_states: bool,
) -> list[Result]:
    learn(kinds)
    torch.set_num_threads(1)
    datasets = {fingerprint: _dataset(fingerprint, held) for fingerprint, (held,) in data.items()}
    records = engine.train(chunk, datasets, states=states, keep_states=keep_states)
    return [record for record in records if isinstance(record, Result)]


def _dataset(fingerprint: str, held: ObjectRef) -> Dataset:
    """A data set is fetched once by a worker, and copied: what lies in Ray's store cannot be written to."""
    import ray

    if fingerprint not in _datasets:
        if len(_datasets) >= 8:  # a study whose every seed has a draw of its own
            _datasets.clear()
        _datasets[fingerprint] = copy.deepcopy(ray.get(held))
    return _datasets[fingerprint]
