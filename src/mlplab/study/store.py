"""Results by digest in one SQLite file, safe against a crash, a full disk and a second process.

    runs     one row for each result; written once, never changed
    claims   what living processes are training just now (see `owner`)

A run is trained by whoever claims it. To claim is one transaction and to save is one, so a run is stored
exactly once whatever happens in between. The file must lie on a disk of this machine: SQLite's write-ahead log
does not work over a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

import mlplab
from mlplab.engine import Result
from mlplab.errors import StoreError
from mlplab.spec import Run
from mlplab.study import owner
from mlplab.study.file import ELSEWHERE, StoreFile
from mlplab.study.owner import Owner
from mlplab.study.row import COLUMNS, PARAMETER_COLUMNS, StoredResult, from_row, to_row

SCHEMA_VERSION = 1
SCHEMA = (
    """CREATE TABLE runs (
    digest TEXT PRIMARY KEY NOT NULL,  -- spec.Run.digest
    spec TEXT NOT NULL,                -- what was trained, for people to read: JSON
    data TEXT NOT NULL,                -- the data set's fingerprint
    seed INTEGER NOT NULL,
    status TEXT NOT NULL,              -- finished | diverged
    diverged_step INTEGER,
    metrics TEXT NOT NULL,             -- JSON
    seconds REAL NOT NULL,
    precision TEXT NOT NULL,
    device TEXT NOT NULL,
    environment TEXT NOT NULL,         -- versions and processor: JSON
    created TEXT NOT NULL,             -- UTC
    checksum INTEGER NOT NULL,         -- CRC-32 of what the result consists of, without parameters
    parameters_checksum INTEGER NOT NULL,
    curves BLOB NOT NULL,              -- JSON, zlib
    parameters BLOB                    -- numpy.savez_compressed: weight0, bias0, ...; NULL for a large model
)""",
    "CREATE TABLE claims (digest TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL) WITHOUT ROWID",
)


def default_path() -> Path:
    """`$MLPLAB_CACHE/runs.sqlite`, else `$XDG_CACHE_HOME/mlplab/...`, else `~/.cache/mlplab/...`."""
    if own := os.environ.get("MLPLAB_CACHE"):
        return Path(own).expanduser().absolute() / "runs.sqlite"
    # The XDG standard says to ignore a path that is not absolute.
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        root = shared if shared.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise StoreError(f"There is no home folder for the results store: {ELSEWHERE}.") from error
    return root / "mlplab" / "runs.sqlite"


class Store:
    """The results store in a file, which is made where there is none. A context manager.

    Raises StoreError, with the file left untouched, for one that is another program's, no SQLite file,
    damaged, from a newer mlplab, or closed to this user; every method where the disk is full or fails.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._start(path, readonly=False)

    @classmethod
    def open_readonly(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """An observer of a store that is there, also in a folder that is closed to writing."""
        store = cls.__new__(cls)
        store._start(path, readonly=True)
        return store

    def _start(self, path: str | os.PathLike[str] | None, *, readonly: bool) -> None:
        self.path = Path(path).expanduser().absolute() if path is not None else default_path()
        self._file = StoreFile(self.path, SCHEMA, SCHEMA_VERSION, readonly=readonly)
        self._owner: Owner | None = None

    def count(self) -> int:
        """Number of results."""
        ((number,),) = self._file.execute("SELECT count(*) FROM runs")
        return number

    def stored(self, digests: Iterable[str]) -> set[str]:
        """Those of `digests` that have a result."""
        return {
            digest for (digest,) in self._file.select_in("SELECT digest FROM runs WHERE digest IN", digests)
        }

    def in_hand(self, digests: Iterable[str]) -> set[str]:
        """Those of `digests` that a living process is training just now."""
        claims = list(self._file.select_in("SELECT digest, owner FROM claims WHERE digest IN", digests))
        # Claims that can be read are committed, so their owners hold their locks already.
        living = {name for name in {name for _, name in claims} if owner.is_alive(self._file.real_path, name)}
        return {digest for digest, name in claims if name in living}

    def get(self, digests: Iterable[str], *, parameters: bool = True) -> dict[str, StoredResult]:
        """The results of those of `digests` that have one, in the order asked for.

        Arguments:
          parameters: False leaves the weights on the disk: results then say that there are none.

        Raises StoreError for a row that does not fit its checksum.
        """
        wanted = list(dict.fromkeys(digests))
        names = COLUMNS + PARAMETER_COLUMNS if parameters else COLUMNS
        found = {}
        for values in self._file.select_in(f"SELECT {', '.join(names)} FROM runs WHERE digest IN", wanted):
            held: dict[str, Any] = dict(zip(names, values, strict=True))
            try:
                found[held["digest"]] = from_row(held)
            except ValueError as error:
                raise self._file.damaged(f"run {held['digest']}: {error}") from error
        return {digest: found[digest] for digest in wanted if digest in found}

    def claim(self, runs: Sequence[Run]) -> list[Run]:
        """Claim those of `runs` that are neither stored nor claimed by another living owner.

        What a dead process had claimed is free. Returns what is ours now, each run once, in the order given;
        that includes what we had claimed before.
        """
        by_digest = {run.digest: run for run in runs}
        with self._file.transaction():
            self._bury_the_dead()
            missing = by_digest.keys() - self.stored(by_digest)
            if not missing:
                return []
            if self._owner is None:
                self._owner = Owner(self._file.real_path)
            claims = [(digest, self._owner.name) for digest in by_digest if digest in missing]
            self._file.execute_for_each("INSERT INTO claims VALUES (?, ?) ON CONFLICT DO NOTHING", claims)
            held = set(self._file.select_in("SELECT digest, owner FROM claims WHERE digest IN", missing))
        return [by_digest[digest] for digest, ours in claims if (digest, ours) in held]

    def save(self, results: Iterable[Result], *, device: str = "cpu") -> None:
        """Store results and let go of their claims, all or nothing. What is stored already stays as it is."""
        made = {
            "device": device,
            "environment": environment(),
            "created": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
        }
        # Packed before the transaction begins: others wait while it lasts.
        rows = [to_row(result.run.digest, result) | made for result in results]
        if not rows:
            return
        columns, values = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
        with self._file.transaction():
            self._file.execute_for_each(
                f"INSERT INTO runs ({columns}) VALUES ({values}) ON CONFLICT (digest) DO NOTHING", rows
            )
            self._file.execute_for_each(
                "DELETE FROM claims WHERE digest = ?", [(row["digest"],) for row in rows]
            )

    def release(self) -> None:
        """Let go of all that this store object has claimed."""
        if self._owner is None:
            return
        try:
            with self._file.transaction():
                self._file.execute("DELETE FROM claims WHERE owner = ?", (self._owner.name,))
        finally:
            # Also where the disk is too full to delete them: without its lock, a claim counts for nothing.
            self._owner.close()
            self._owner = None

    def close(self) -> None:
        """Release, and close the file."""
        with contextlib.suppress(StoreError):
            self.release()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bury_the_dead(self) -> None:
        names = {name for (name,) in self._file.execute("SELECT DISTINCT owner FROM claims")}
        for name in names.union(owner.leftovers(self._file.real_path)):
            if not owner.is_alive(self._file.real_path, name):
                self._file.execute("DELETE FROM claims WHERE owner = ?", (name,))
                owner.remove(self._file.real_path, name)


@cache
def environment() -> str:
    """JSON of the versions and the processor that results are made with."""
    return json.dumps(
        {
            "mlplab": mlplab.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "system": platform.platform(terse=True),
            "processor": platform.processor() or platform.machine(),
        }
    )
