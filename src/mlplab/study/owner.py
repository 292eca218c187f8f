"""Who is at work on a store: a small file beside it, locked for as long as its process lives.

The lock is a SQLite lock on an empty database. It is the same on Linux, macOS and Windows; the system drops it
when the process ends, however it ends (SIGKILL, power), it does not depend on process numbers, which are given
out again, and a forked child does not inherit it. Whoever can take it knows that its owner is dead.

A file is made and looked for only inside a write transaction of the store, so nobody can find it between its
making and its locking and take it for a dead owner's. Whoever crashes later leaves a file that the next one
to claim removes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class Owner:
    """This process's mark on a store. Make it inside a write transaction of the store."""

    def __init__(self, store: Path) -> None:
        # Not from the pid: pids come again, and are the same in two containers that share a folder.
        self.name = secrets.token_hex(8)
        self._file = _file(store, self.name)
        self._lock = _lock(self._file, create=True)

    def close(self) -> None:
        """Let go. Claims that are still there can be taken over from now on."""
        self._lock.close()
        with contextlib.suppress(OSError):  # somebody may have swept it up already
            self._file.unlink()


def is_alive(store: Path, name: str) -> bool:
    """Whether a process holds that mark. Call it inside a write transaction of the store."""
    try:
        _lock(_file(store, name), create=False).close()
    except sqlite3.OperationalError:
        # Locked: alive. Not there: dead, for an owner removes its file after its claims. There but closed to
        # us, as another user's: to wait is safer than to train twice.
        return _file(store, name).exists()
    return False


def leftovers(store: Path) -> Iterator[str]:
    """Names of all marks beside the store, of the living and the dead."""
    prefix = f"{store.name}-owner-"
    with os.scandir(store.parent) as entries:
        yield from sorted(
            entry.name.removeprefix(prefix) for entry in entries if entry.name.startswith(prefix)
        )


def remove(store: Path, name: str) -> None:
    """Remove a dead owner's file."""
    with contextlib.suppress(OSError):
        _file(store, name).unlink()


def _file(store: Path, name: str) -> Path:
    return store.with_name(f"{store.name}-owner-{name}")


def _lock(file: Path, *, create: bool) -> sqlite3.Connection:
    """A connection that holds the file's lock. Raises sqlite3.OperationalError where somebody else does."""
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(f"{file.as_uri()}?mode={mode}", uri=True, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")  # a journal beside it would be one more leftover
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
