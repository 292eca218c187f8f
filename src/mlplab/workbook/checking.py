"""A file put to the checks, from outside: the process that runs it is watched, and ended with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mlplab.answers import Exercise
from mlplab.workbook import handed_in, judging
from mlplab.workbook.judging import Outcome
from mlplab.workbook.part import Part

SECONDS = 20.0  # of processor time for one part
PATIENCE = 3.0  # times that, by the clock, until it is killed
START = 120.0  # seconds until the process must be ready
KEPT = 20_000  # letters of what it prints
TOO_MUCH = 50_000_000  # letters after which it is ended


@dataclass(frozen=True)
class Report:
    """What became of a file.

    Arguments:
      outcomes: of each part, in order.
      broken: why the file itself could not be run; empty where it could.
      printed: what it printed, the first KEPT letters.
    """

    exercise: str
    path: Path
    outcomes: tuple[Outcome, ...]
    broken: str = ""
    printed: str = ""
    seed: int = 0

    @property
    def passed(self) -> bool:
        """Whether every part is answered rightly."""
        return not self.broken and all(outcome.passed for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """JSON. Without a seed of the teacher's own, public checks alone were run."""
        return {
            "exercise": self.exercise,
            "file": str(self.path),
            "passed": self.passed,
            "checks": "hidden" if self.seed else "public",
            "broken": self.broken,
            "parts": [outcome.to_dict() for outcome in self.outcomes],
        }


@dataclass
class _Run:
    """One process: what it has told so far."""

    events: list[dict[str, Any]] = field(default_factory=list)
    printed: str = ""
    ended: str = ""


def check(
    exercise: Exercise,
    path: Path,
    *,
    seed: int = 0,
    seconds: float = SECONDS,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """Judge all parts of a file. What was judged stays where a later one takes too long; the rest goes on anew.

    Arguments:
      seed: that hidden inputs are drawn from; 0 for the public ones.
      seconds: processor time for each part.

    Raises InvalidInput as `handed_in.read`.
    """
    held = handed_in.read(path)
    parts = judging.parts_of(exercise)
    outcomes: dict[str, Outcome] = {}
    printed, broken = "", ""

    def add(outcome: Outcome) -> None:
        outcomes[outcome.part] = outcome
        on_outcome(outcome)

    left = list(parts)
    while left and not broken:
        if left[0].name not in held.answered:
            add(Outcome(left.pop(0).name, "unanswered"))
            continue
        asked = [part for part in left if part.name in held.answered]
        run = _run(exercise, path, asked, seed, seconds)
        printed = printed or run.printed
        begun = ""
        for event in run.events:
            if event["event"] == "begins":
                begun = event["part"]
            elif event["event"] == "outcome":
                add(Outcome.from_dict(event["outcome"]))
                begun = ""
            elif event["event"] == "broken":
                broken = event["why"]
        if run.ended and not broken:
            if begun:
                add(Outcome(begun, "failed", run.ended))
            else:
                broken = run.ended
        left = [part for part in left if part.name not in outcomes]
    ordered = tuple(outcomes.get(part.name) or Outcome(part.name, "unanswered") for part in parts)
    if broken:
        ordered = tuple(outcomes[part.name] for part in parts if part.name in outcomes)
    return Report(exercise.number, path, ordered, broken, printed, seed)


def _run(exercise: Exercise, path: Path, parts: Sequence[Part], seed: int, seconds: float) -> _Run:
    out_end, in_end = os.pipe()
    job = {
        "file": str(path.resolve()), "book": str(exercise.book.folder), "number": exercise.number,
        "parts": [part.name for part in parts], "seed": seed, "seconds": seconds, "pipe": in_end,
    }  # fmt: skip
    run = _Run()
    with tempfile.TemporaryDirectory() as scratch, os.fdopen(out_end, encoding="utf-8") as told:
        environment = (
            os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {"TMPDIR": scratch}
        )
        child = subprocess.Popen(
            [sys.executable, "-m", "mlplab.workbook.child", json.dumps(job)],
            cwd=scratch, env=environment, pass_fds=(in_end,), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        os.close(in_end)
        try:
            assert child.stdout is not None
            _listen(run, child.stdout, told, seconds)
        finally:
            end(child)
    if not run.ended and not any(event["event"] in ("done", "broken") for event in run.events):
        run.ended = _last_words(child.returncode, run.printed)
    return run


def _listen(run: _Run, printed: IO[bytes], told: IO[str], seconds: float) -> None:
    """Until the process closes its pipe, or takes too long, or prints too much."""
    deadline = time.monotonic() + START
    num_printed, rest = 0, ""
    with selectors.DefaultSelector() as waiting:
        waiting.register(printed, selectors.EVENT_READ)
        waiting.register(told, selectors.EVENT_READ)
        open_pipe = True
        while open_pipe:
            ready = waiting.select(max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                run.ended = "out of time"
                return
            for key, _ in ready:
                piece = os.read(key.fd, 65_536).decode("utf-8", "replace")
                if key.fileobj is printed:
                    num_printed += len(piece)
                    run.printed = (run.printed + piece)[:KEPT]
                    if num_printed > TOO_MUCH:
                        run.ended = f"prints without end: more than {TOO_MUCH // 1_000_000} million letters"
                        return
                    if not piece:
                        waiting.unregister(printed)
                    continue
                if not piece:
                    open_pipe = False
                    continue
                *lines, rest = (rest + piece).split("\n")
                run.events += [json.loads(line) for line in lines]
                if lines:
                    deadline = time.monotonic() + PATIENCE * seconds + 5


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _last_words(status: int | None, printed: str) -> str:
    if status is not None and status < 0 and status != -signal.SIGKILL:
        return f"the process was ended by {signal.Signals(-status).name}"
    lines = printed.strip().splitlines()
    return f"the process ended too early{f': {lines[-1][:200]}' if lines else ''}"


def files_of(folder: Path) -> Iterator[Path]:
    """The Python files of a folder, as a class hands them in; each below its own name."""
    yield from sorted(path for path in folder.rglob("*.py") if path.is_file())
