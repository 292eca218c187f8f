"""Curves as TensorBoard reads them: `tensorboard --logdir FOLDER` shows a study while it is trained."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Self

import numpy as np

from mlplab.engine import Epoch
from mlplab.errors import InvalidInput, StoreError, import_extra
from mlplab.spec import digest
from mlplab.study.design import Study
from mlplab.study.results import Results

EXTRA = "tensorboard"
# What is kept back at most, so that a file is opened once in a while and not for each epoch of each run.
FLUSH_SECONDS = 2.0
# Of a folder's name; most file systems end at 255 bytes.
LONGEST_NAME = 120
_number = count()


class ScalarLog:
    """Writes the curves of runs below a folder, in a sub-folder for each arm and in it one for each seed.

    Points are written as epochs pass, and what the store held already when its study ends. The final metrics are not
    among them: the test part is not for looking at while one chooses. No file stays open: a thousand runs need no more
    handles than one. A run that is trained again replaces what its folder held. A context manager.

    Raises MissingExtra without TensorBoard, InvalidInput for a folder that cannot be made, StoreError for one that
    cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self._events = import_extra(
            "tensorboard.compat.proto.event_pb2", what="A log for TensorBoard", extra=EXTRA
        )
        self._summaries = import_extra("tensorboard.compat.proto.summary_pb2", what="A log", extra=EXTRA)
        self._format = import_extra("tensorboard.summary.writer.record_writer", what="A log", extra=EXTRA)
        self.folder = Path(folder).expanduser()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(
                "ScalarLog.folder",
                "must be a folder that can be made",
                f"{folder}: {error.strerror}",
            ) from error
        self._files: dict[Path, _File] = {}
        self._flushed = time.monotonic()

    def epoch(self, study: Study, record: Epoch) -> None:
        """An epoch of some runs has passed."""
        points = {name: _array(values) for name, values in record.values.items()}
        is_training = None if record.is_training is None else _array(record.is_training)
        for m, run in enumerate(record.runs):
            if is_training is None or is_training[m]:
                file = self._file(study.arm_of(run).name, run.seed)
                self._add(file, record.number, {name: float(values[m]) for name, values in points.items()})
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def results(self, results: Results) -> None:
        """Curves that have ended: those of which not every epoch has come by are written whole."""
        curves: dict[tuple[str, int], dict[int, dict[str, float]]] = {}
        for arm, seed, epoch, metric, value in results.curves.to_numpy().tolist():
            curves.setdefault((arm, seed), {}).setdefault(epoch, {})[metric] = value
        for (arm, seed), points in curves.items():
            file = self._file(arm, seed)
            if file.last < max(points):
                file.begin()
                for epoch in sorted(points):
                    self._add(file, epoch, points[epoch])
                self.flush()

    def flush(self) -> None:
        """Write what is kept back."""
        self._flushed = time.monotonic()
        for file in self._files.values():
            file.flush()

    def _file(self, arm: str, seed: int) -> _File:
        path = self.folder / _name(arm) / f"seed={seed}"
        if path not in self._files:
            self._files[path] = _File(
                path, self._format.RecordWriter, self._event(file_version="brain.Event:2")
            )
        return self._files[path]

    def _add(self, file: _File, epoch: int, values: Mapping[str, float]) -> None:
        if epoch <= file.last:
            file.begin()  # for lack of memory, or on another worker, it starts again
        of = self._summaries.Summary
        finite = [
            of.Value(tag=name, simple_value=value) for name, value in values.items() if math.isfinite(value)
        ]
        file.add(epoch, self._event(step=epoch, summary=of(value=finite)))

    def _event(self, **fields: Any) -> bytes:
        return self._events.Event(wall_time=time.time(), **fields).SerializeToString()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


class _File:
    """The events of one run: a buffer, and the file that it is added to. What this process did not write goes."""

    def __init__(self, folder: Path, writer: Any, head: bytes) -> None:
        self.folder, self._head = folder, head
        self._buffer = bytearray()
        self._records = writer(self)
        self.begin()

    def begin(self) -> None:
        """Start again, in a new file."""
        self.path = self.folder / f"events.out.tfevents.{int(time.time())}.mlplab.{next(_number)}"
        self.last = 0
        self._buffer.clear()
        self._is_new = True
        self._records.write(self._head)

    def add(self, epoch: int, event: bytes) -> None:
        """An event after all that are there."""
        self.last = epoch
        self._records.write(event)

    def write(self, part: bytes) -> None:
        """Where the writer of records puts its bytes."""
        self._buffer += part

    def flush(self) -> None:
        """Add the buffer to the file. Raises StoreError."""
        if not self.last or not self._buffer:
            return
        try:
            if self._is_new:
                self.folder.mkdir(parents=True, exist_ok=True)
                for old in self.folder.glob("events.out.tfevents.*.mlplab.*"):
                    old.unlink()
                self._is_new = False
            with self.path.open("ab") as file:
                file.write(self._buffer)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}.") from error
        self._buffer.clear()


def _name(arm: str) -> str:
    """A folder's name, on any file system."""
    name = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", arm)
    return name if name == arm and len(name.encode()) <= LONGEST_NAME else f"{name[:80]} {digest(arm)[:8]}"


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
