"""The file of a results store: opened without harm to whatever it is, with errors in plain words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from mlplab.errors import StoreError

APPLICATION_ID = 0x4D4C506C  # "MLPl", in the header: tells our files from other programs'
PATIENCE_SECONDS = 30  # for another process's transaction, which takes milliseconds
CHECKED_BYTES = 256 * 2**20  # a larger file is not read through each time it is opened
VARIABLES = 900  # in one statement; older SQLite allows 999

ELSEWHERE = "set MLPLAB_CACHE to another folder"
UNTOUCHED = f"It was left as it is: move it away, or {ELSEWHERE}."


class StoreFile:
    """A SQLite file with our mark in its header, which is made where there is none.

    Arguments:
      path: where it is, or is to be.
      schema: the statements that make its tables.
      version: of the schema; a file with a later one is refused.
      readonly: look only. The file must be there; its folder may be closed to writing.

    Raises StoreError, here and wherever the file is used, with one line that says what to do.
    """

    def __init__(self, path: Path, schema: Sequence[str], version: int, *, readonly: bool = False) -> None:
        self.path = path
        # Through links: all processes must look for owners and SQLite's log beside the same file.
        self.real_path = Path(os.path.realpath(path))
        self._process = os.getpid()
        if self.real_path in _inherited:
            raise self._forked()
        is_new = self._is_new()
        if is_new and readonly:
            raise StoreError(f"{path}: there is no results store here.")
        if is_new:
            self._make_folder()
        else:
            self._refuse_foreign(version)
            self._refuse_damaged(schema)
        self._connection = self._open_readonly() if readonly else self._open(is_new)
        _open_files.add(self)
        if is_new:
            self._create(schema, version)
        if not readonly:
            self._begin_log()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        _open_files.discard(self)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; all rows it gives."""
        with self._explained():
            return self._own.execute(statement, values).fetchall()

    def execute_for_each(self, statement: str, rows: Iterable[Any]) -> None:
        """Run one statement with each row of values."""
        with self._explained():
            self._own.executemany(statement, rows)

    def select_in(self, statement: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of a statement that ends in `IN`, for any number of keys."""
        wanted = list(keys)
        for start in range(0, len(wanted), VARIABLES):
            some = wanted[start : start + VARIABLES]
            yield from self.execute(f"{statement} ({', '.join('?' * len(some))})", some)

    @contextlib.contextmanager
    def transaction(self, kind: Literal["IMMEDIATE", "EXCLUSIVE"] = "IMMEDIATE") -> Iterator[None]:
        """All or nothing, and nobody else writes meanwhile."""
        with self._explained():
            if self._own.in_transaction:  # Ctrl-C came between BEGIN and what follows it
                self._own.execute("ROLLBACK")
            self._own.execute(f"BEGIN {kind}")
            try:
                yield
                self._own.execute("COMMIT")
            except BaseException:
                if self._own.in_transaction:  # a full disk may have ended it already
                    self._own.execute("ROLLBACK")
                raise

    def damaged(self, detail: str) -> StoreError:
        """The error for content that cannot be right."""
        return StoreError(
            f"{self.path}: this results store is damaged ({' '.join(detail.split())}). {UNTOUCHED}"
        )

    # What is it? Nothing here writes.

    def _is_new(self) -> bool:
        try:
            if self.real_path.is_dir():
                raise StoreError(
                    f"{self.path}: this is a folder; a results store is a file. {ELSEWHERE[0].upper()}{ELSEWHERE[1:]}."
                )
            if not self.real_path.exists():
                return True
            # An empty file may become a store, unless a log beside it says that it was one.
            return self.real_path.stat().st_size == 0 and not self._log_size()
        except OSError as error:
            raise self._closed(error.strerror or str(error)) from error

    def _refuse_foreign(self, version: int) -> None:
        # Immutable: SQLite locks nothing, replays no log and writes nothing, whosever file it is. The header is
        # not read by hand: to close a file drops all locks that this process holds on it (POSIX).
        with self._explained():
            try:
                application, found = self._marks("ro&immutable=1")
            except sqlite3.DatabaseError:
                if not self._log_size():
                    raise
                # A log that is being copied into the file, or was when the disk became full: only both make sense.
                application, found = self._marks("ro")
        if application != APPLICATION_ID:
            raise StoreError(
                f"{self.path}: this SQLite file is another program's, or its header is damaged. {UNTOUCHED}"
            )
        if found > version:
            raise StoreError(
                f"{self.path}: this store is from a newer mlplab (schema {found}; this one knows {version})."
                f" Upgrade mlplab, or {ELSEWHERE}."
            )
        if found < 1:
            raise self.damaged("its header has no schema version")

    def _marks(self, mode: str) -> tuple[int, int]:
        with self._connected(mode) as connection:
            ((application,),) = connection.execute("PRAGMA application_id").fetchall()
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        return application, version

    def _refuse_damaged(self, schema: Sequence[str]) -> None:
        before = self._state()
        if _found_whole.get(self.real_path) == before:
            return
        if before[-1] is None:
            # No log: nobody has it open, and a look that locks nothing leaves no files beside it. What it finds
            # counts unless somebody wrote in the meantime.
            damage = self._damage(schema, "ro&immutable=1")
            if self._state() == before:
                if damage:
                    raise self.damaged(damage)
                _found_whole[self.real_path] = before
                return
        try:
            damage = self._damage(schema, "ro")
        except StoreError:
            if self._log_size():
                raise
            # A folder closed to writing has no place for the log's index. The log is empty: do without.
            damage = self._damage(schema, "ro&immutable=1")
        if damage:
            raise self.damaged(damage)

    def _damage(self, schema: Sequence[str], mode: str) -> str:
        """What is wrong with the content; empty where nothing is seen."""
        try:
            with self._connected(mode) as connection:
                found = {statement for (statement,) in connection.execute("SELECT sql FROM sqlite_master")}
                if not found >= set(schema):
                    return "its tables are not those of a results store"
                ((size,),) = connection.execute(
                    "SELECT page_size * page_count FROM pragma_page_size, pragma_page_count"
                )
                if "immutable" in mode and size != self.real_path.stat().st_size:
                    return "it is shorter or longer than its header says"
                if size > CHECKED_BYTES:
                    return ""
                ((verdict,),) = connection.execute("PRAGMA quick_check(1)")
                return "" if verdict == "ok" else verdict.removeprefix("*** in database main ***")
        except sqlite3.DatabaseError as error:
            if _code(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")):
                return str(error)
            raise self._explain(error) from error

    def _state(self) -> tuple[int, int, int | None]:
        """Time of the last change, size, and size of the log, which is None where there is none."""
        seen, log = self.real_path.stat(), self._log
        return seen.st_mtime_ns, seen.st_size, log.stat().st_size if log.exists() else None

    @property
    def _log(self) -> Path:
        return self.real_path.with_name(f"{self.real_path.name}-wal")

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    # Opening

    def _make_folder(self) -> None:
        folder = self.real_path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(
                f"{self.path}: its folder cannot be made ({reason}). Make it, or {ELSEWHERE}."
            ) from error

    def _open(self, is_new: bool) -> sqlite3.Connection:
        with self._explained():
            return self._connect("rwc" if is_new else "rw")

    def _open_readonly(self) -> sqlite3.Connection:
        # First as a writer would, so that the log's files are tidied away at the end; it becomes read-only by itself
        # where the file is. Last for a folder that is closed to writing.
        for mode in ("rw", "ro&immutable=1"):
            with self._explained():
                connection = self._connect(mode)
                try:
                    connection.execute("PRAGMA query_only = ON")
                    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
                    return connection
                except sqlite3.OperationalError:
                    connection.close()
                    if "immutable" in mode or self._log_size():
                        raise
        raise AssertionError("the last mode returns or raises")

    def _create(self, schema: Sequence[str], version: int) -> None:
        # One transaction with a rollback journal: a crash leaves an empty file or a whole store.
        with self.transaction("EXCLUSIVE"):
            if self.execute("PRAGMA application_id") == [(APPLICATION_ID,)]:
                return  # another process was faster
            self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.execute(f"PRAGMA user_version = {version}")
            for statement in schema:
                self.execute(statement)

    def _begin_log(self) -> None:
        # Every commit is flushed to the disk, so that a result survives a power cut too; with NORMAL the last ones
        # would not. A flush takes milliseconds, and a chunk of runs takes seconds.
        self.execute("PRAGMA synchronous = FULL")
        # With the write-ahead log, readers and a writer do not wait for each other. Two processes that open a new
        # file together can find it locked here, and SQLite then does not wait by itself.
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._own.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if not _code(error).startswith("SQLITE_BUSY") or time.monotonic() > until:
                    raise self._explain(error) from error
                time.sleep(0.01)

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"{self.real_path.as_uri()}?mode={mode}"
        connection = sqlite3.connect(address, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None)
        # Damaged text is for the checksum to find, not a defect of ours.
        connection.text_factory = lambda text: text.decode(errors="replace")
        return connection

    def _connected(self, mode: str) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(self._connect(mode))

    @property
    def _own(self) -> sqlite3.Connection:
        if self._process != os.getpid():
            raise self._forked()
        return self._connection

    # What went wrong

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if not _code(error):  # raised by Python's module, not by SQLite: a defect of ours
                raise
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        code, at = _code(error), self.path
        if code.startswith("SQLITE_NOTADB"):
            return StoreError(f"{at}: this is no results store, or its header is damaged. {UNTOUCHED}")
        if code.startswith("SQLITE_CORRUPT"):
            return self.damaged(str(error))
        if code.startswith("SQLITE_FULL"):
            kept = "What was saved before can still be read"
            return StoreError(f"{at}: the disk is full. {kept}; free some space, or {ELSEWHERE}.")
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            return self._closed(str(error))
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            held = f"another process has kept this store locked for {PATIENCE_SECONDS} s"
            return StoreError(f"{at}: {held}. Try again when that one ends.")
        return StoreError(
            f"{at}: the disk refused to read or write ({error}, {code}). What was saved before can"
            f" still be read; check space and quota, or {ELSEWHERE}."
        )

    def _closed(self, detail: str) -> StoreError:
        remedy = f"Check the permissions of {self.real_path.parent}, or {ELSEWHERE}."
        return StoreError(f"{self.path}: this results store cannot be opened ({detail}). {remedy}")

    def _forked(self) -> StoreError:
        remedy = "Start workers with the 'spawn' method"
        return StoreError(f"{self.path}: this process was forked from one that has the store open. {remedy}.")


def _code(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "")


# What was read through without finding damage, as it was then: a program that opens it again need not wait again.
_found_whole: dict[Path, tuple[int, int, int | None]] = {}

# SQLite keeps its locks in memory too. A forked child inherits that memory but not the locks: with it, even a
# connection that the child opens itself would write where it must not.
_open_files: weakref.WeakSet[StoreFile] = weakref.WeakSet()
_inherited: dict[Path, StoreFile] = {}  # holds on to them: to close their connections would do harm as well


def _after_fork() -> None:
    _inherited.update((file.real_path, file) for file in _open_files)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
