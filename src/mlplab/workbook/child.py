"""In a process of its own: run a reader's file, judge its parts, and tell each outcome on a pipe of its own.

It guards against accidents: memory, processes, network, files elsewhere. It is no prison.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import runpy
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

MEMORY = 4 * 2**30  # bytes that may be written to
FILES = 64 * 2**20  # bytes of one file
NETWORK = ("socket.connect", "socket.bind", "socket.sendto")
PROCESSES = (
    "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.exec", "subprocess.Popen", "pty.spawn",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class OutOfTimeError(BaseException):
    """Not an Exception: a reader's `except Exception` must not swallow it."""


def main(job_text: str) -> None:
    """Do one job: {file, book, number, parts, seed, seconds, pipe}."""
    job = json.loads(job_text)
    pipe = os.fdopen(job["pipe"], "w", encoding="utf-8", buffering=1)

    def tell(**event: Any) -> None:
        pipe.write(json.dumps(event, ensure_ascii=False) + "\n")
        pipe.flush()

    from mlplab.answers import Book
    from mlplab.workbook import judging

    exercise = Book.open(Path(job["book"])).exercise(job["number"])
    parts = {part.name: part for part in judging.parts_of(exercise)}
    exercise.written_answer()  # with all that it loads, before anything is guarded
    path = Path(job["file"])
    guard(path)
    tell(event="ready")
    try:
        with limit(job["seconds"]):
            held = runpy.run_path(str(path), run_name="__mlplab__")
    except BaseException as error:
        tell(event="broken", why=why(error, path))
        return
    for name in job["parts"]:
        tell(event="begins", part=name)
        if name not in held:
            outcome = judging.Outcome(name, "unanswered")
        else:
            try:
                with limit(job["seconds"]):
                    outcome = judging.judge(exercise, parts[name], held[name], seed=job["seed"])
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcome = judging.Outcome(name, "failed", why(error, path))
        tell(event="outcome", outcome=outcome.to_dict())
    tell(event="done")


def guard(file: Path) -> None:
    """From here on, what is forbidden raises an error that says so."""
    for kind, most in (
        (resource.RLIMIT_DATA, MEMORY),
        (resource.RLIMIT_FSIZE, FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an OSError instead
    scratch = os.path.realpath(os.getcwd())  # noqa: PTH109

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event in PROCESSES:
            raise PermissionError("no other process may be started here")
        if event in NETWORK and not (event == "socket.connect" and isinstance(arguments[1], str)):
            raise PermissionError("no network may be used here")
        if event == "open" and _writes(arguments) and not _within(arguments[0], scratch):
            raise PermissionError(
                f"only files in the folder of this run may be written, and not {arguments[0]}"
            )

    sys.addaudithook(look)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(flags & WRITING) if isinstance(flags, int) else bool(mode and set("wax+") & set(mode))


def _within(path: Any, folder: str) -> bool:
    if isinstance(path, int):
        return True
    try:
        real = os.path.realpath(os.fsdecode(path))
    except TypeError:
        return True
    return real.startswith((folder + os.sep, "/dev/", "/proc/self/"))


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raises OutOfTimeError in the code that runs then; what does not listen is killed from outside."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def why(error: BaseException, file: Path) -> str:
    """One line: what was raised, and the last line of the reader's own file on the way there."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    place = f"line {own[-1].lineno}: " if own else ""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, OutOfTimeError):
        return f"{place}out of time"
    if isinstance(error, MemoryError):
        return f"{place}out of memory: at most {MEMORY // 2**30} GB may be used"
    if isinstance(error, SystemExit):
        return f"{place}ends the program (exit)"
    if isinstance(error, RecursionError):
        return f"{place}calls itself without end"
    told = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{place}{told[:300]}"


if __name__ == "__main__":
    main(sys.argv[1])
