"""Fetching published files: resumed where they were interrupted, checked, and put in place in one move.

A file arrives beside its target, in `<target>.part`. Only when all of it is there and its checksum is right
does it take the target's name, in one atomic step. So a target is whole or absent, and a failed download
leaves a good copy as it was.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from mlplab.errors import AbsentData

try:
    import fcntl
except ImportError:  # Windows. Without the lock two downloads at once may fail, but never pass the checksum.
    fcntl = None

Progress = Callable[[int, int], None]

_BLOCK = 1 << 18  # bytes between two reports of progress
_TIMEOUT = 30  # seconds without a byte
_RESUME = "Fetch again: it goes on from there."


@dataclass(frozen=True)
class RemoteFile:
    """A published file: the checksum that its publisher states, and its size in bytes."""

    name: str
    algorithm: Literal["md5", "sha1", "sha256"]
    checksum: str
    num_bytes: int

    def checksum_of(self, path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest()

    def is_at(self, path: Path) -> bool:
        """Whether exactly this file is there."""
        return path.is_file() and self.checksum_of(path) == self.checksum


def fetch_files(
    files: Sequence[RemoteFile],
    base_url: str,
    folder: Path,
    *,
    instead: str = "",
    progress: Progress | None = None,
) -> None:
    """Bring all `files` into `folder`. Those that are there already, unchanged, are not fetched again.

    Arguments:
      base_url: the files' address, up to and with the last slash.
      instead: what to do where there is no network, for the error message.
      progress: called with (bytes done, bytes in all), over all files.

    Raises AbsentData, in one line with what to do, where the network, the server or the disk does not deliver.
    What has arrived is kept, and the next call goes on from there.
    """
    all_bytes = sum(file.num_bytes for file in files)
    earlier_bytes = 0
    for file in files:
        target = folder / file.name

        def report(bytes_done: int, earlier_bytes: int = earlier_bytes) -> None:
            if progress is not None:
                progress(earlier_bytes + bytes_done, all_bytes)

        with _disk_errors(target):
            # A good copy is good, even in a folder that may not be written to.
            if not file.is_at(target):
                folder.mkdir(parents=True, exist_ok=True)
                with _lock(target):
                    # Asked again under the lock: another process may just have brought it.
                    if not file.is_at(target):
                        _Transfer(file, base_url + file.name, target, instead, report).complete()
        earlier_bytes += file.num_bytes
        report(0, earlier_bytes)


@dataclass(frozen=True)
class _Transfer:
    """One file on its way."""

    file: RemoteFile
    url: str
    target: Path
    instead: str
    report: Callable[[int], None]

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def bytes_here(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def complete(self) -> None:
        """Receive the file, check it, and give it its name."""
        was_resumed = self.bytes_here > 0
        self.receive()
        if was_resumed and not self.file.is_at(self.part):
            # The old beginning may belong to another file: one attempt from the start.
            self.part.unlink()
            self.receive()
        if not self.file.is_at(self.part):
            found = self.file.checksum_of(self.part)
            self.part.unlink()
            raise AbsentData(
                f"{self.url} did not send the published file: {self.file.algorithm.upper()} {found}, "
                f"not {self.file.checksum}. It was thrown away. Fetch again, or from another network."
            )
        with self.part.open("rb") as whole:
            os.fsync(whole.fileno())
        self.part.replace(self.target)

    def receive(self) -> None:
        """Fill `part`. What it holds already is not asked for again, where the server allows that."""
        offset = self.bytes_here
        response = self.ask_from(offset)
        if response is None:
            return
        with response, self.part.open("r+b" if self.part.exists() else "wb") as file:
            # A server that knows no ranges sends everything, from the start.
            bytes_done = offset if _starts_at(response, offset) else 0
            file.seek(bytes_done)
            file.truncate()
            length = response.headers.get("Content-Length", "")
            expected = bytes_done + int(length) if length.isdigit() else None
            for block in self.blocks(response):
                _write(file, block)
                bytes_done += len(block)
                self.report(bytes_done)
        if expected is not None and bytes_done < expected:
            raise AbsentData(f"{self.url} ended after {bytes_done:,} of {expected:,} bytes. {_RESUME}")

    def ask_from(self, offset: int) -> http.client.HTTPResponse | None:
        """The server's answer, or None where it has nothing beyond `offset`."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        request = urllib.request.Request(self.url, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
                return None
            raise AbsentData(f"{self.url} answered {error.code} {error.reason}. {self.instead}") from error
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            reason = getattr(error, "reason", error)
            raise AbsentData(f"{self.url} cannot be reached ({reason}). {self.instead}") from error

    def blocks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                block = response.read(_BLOCK)
            except http.client.IncompleteRead as error:
                yield error.partial
                return
            except (OSError, http.client.HTTPException) as error:
                raise AbsentData(f"The connection to {self.url} broke ({error}). {_RESUME}") from error
            if not block:
                return
            yield block


def _starts_at(response: http.client.HTTPResponse, offset: int) -> bool:
    sent_range = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
    return response.status == http.client.PARTIAL_CONTENT and sent_range


def _write(file: BinaryIO, block: bytes) -> None:
    file.write(block)


@contextlib.contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = f"Make room. {_RESUME}"
        else:
            remedy = "Set MLPLAB_CACHE to a folder that you may write to."
        raise AbsentData(f"{target} could not be written: {error.strerror or error}. {remedy}") from error


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """One process at a time fetches `target`; others wait here, then find it whole."""
    with target.with_name(target.name + ".lock").open("wb") as file:
        if fcntl is not None:
            # Some network file systems have no locks. The checksum then still refuses a mixture of two
            # downloads.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
