"""What the program of an exercise prints and draws, recorded beside it: what a reader sees who copies it.

The record names the program that it is of, so that another one is not shown with it, and holds the numbers that the
page expects of the program: whether they lie where the evidence expects them can be asked without running it again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplab import data
from mlplab.answers import Exercise
from mlplab.environment import environment
from mlplab.errors import EvidenceError
from mlplab.inquiry import evidence
from mlplab.outputs import write_whole

FORMAT = 1
TIME_LIMIT = 900  # seconds
SLACK = 1e-4  # rounding, relative: a number that is known exactly is expected between itself and itself
# What a program reads in ../data, and the data set that the textbook's loaders leave there.
READ = {"FashionMNIST": "fashion-mnist", "kaggle_house_pred": "house-prices"}


@dataclass(frozen=True)
class Output:
    """What a program did when it was recorded.

    Arguments:
      program: digest of the program.
      printed: what it printed.
      drawing: its figure as SVG, letters as outlines; empty where it draws none.
      left: the numbers that its page expects of it.
    """

    program: str
    printed: str
    drawing: str
    left: Mapping[str, float]

    def is_of(self, program: str | None) -> bool:
        """Whether it was recorded of these very lines."""
        return program is not None and self.program == digest(program)


def recorded(exercise: Exercise) -> Output | None:
    """The record of an exercise's program; None where there is none. Raises EvidenceError for a damaged file."""
    path = exercise.output_file
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text("utf-8"))
        if held["format"] != FORMAT:
            raise EvidenceError(f"{path}: format must be {FORMAT}; got {held['format']}: publish it again.")
        left = {name: float(value) for name, value in held["left"].items()}
        return Output(held["program"], "\n".join(held["printed"]), "\n".join(held["drawing"]), left)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EvidenceError(
            f"{path} cannot be read as what a program printed: {error}. Restore it or publish it again."
        ) from error


def digest(program: str) -> str:
    """Of the lines of a program."""
    return hashlib.sha256(program.encode()).hexdigest()[:16]


def unexpected(left: Mapping[str, float], expected: Mapping[str, tuple[float, float]]) -> list[str]:
    """What lies elsewhere than the evidence expects it, a clause for each number."""
    said = []
    for name, (low, high) in expected.items():
        slack = SLACK * max(abs(low), abs(high))
        if name not in left:
            said.append(f"{name} was not recorded")
        elif not low - slack <= left[name] <= high + slack:
            said.append(f"{name} is {left[name]:.6g}, and is expected between {low:.6g} and {high:.6g}")
    return said


def record(exercise: Exercise) -> Path | None:
    """Run the program of an exercise, and write what it prints and draws beside it; None where there is no program.

    It runs where a reader of the textbook runs it: in a folder beside `data`, which holds what the textbook's loaders
    leave there.

    Raises EvidenceError where it fails, where its data are not at hand, and where it does not reproduce what the
    published evidence expects of it.
    """
    program = exercise.program
    if program is None:
        return None
    held = evidence.published(exercise)
    expected = held.inquiry.answer.expected(held.inquiry.observations) if held else {}
    with tempfile.TemporaryDirectory() as folder:
        lay_out_data(program, Path(folder) / "data")
        done = _run(exercise.folder / "program.py", list(expected), Path(folder) / "work")
    if wrong := unexpected(done["left"], expected):
        raise EvidenceError(f"The program of {exercise.number} is not recorded: {'; '.join(wrong)}.")
    content = {
        "format": FORMAT,
        "program": digest(program),
        "made_with": environment(),
        "left": done["left"],
        "printed": done["printed"].rstrip("\n").split("\n"),
        "drawing": "\n".join(done["drawings"][:1]).rstrip("\n").split("\n"),
    }
    write_whole(exercise.output_file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    return exercise.output_file


def lay_out_data(program: str, folder: Path) -> None:
    """What a program reads in ../data, as the textbook's own loaders leave it: images unpacked, tables beside them.

    Raises EvidenceError where it is not at hand.
    """
    for mark, name in READ.items():
        if "../data" not in program or mark not in program:
            continue
        files = data.files(name)
        if not files:
            raise EvidenceError(
                f"The program reads {name}, which is not at hand: set MLPLAB_DATA, or mlplab data fetch {name}."
            )
        raw = folder / "FashionMNIST" / "raw" if name == "fashion-mnist" else folder
        raw.mkdir(parents=True, exist_ok=True)
        for path in files:
            if path.suffix == ".gz":
                with gzip.open(path) as source, (raw / path.stem).open("wb") as target:
                    shutil.copyfileobj(source, target)
            else:
                shutil.copy(path, raw)


def _run(program: Path, names: list[str], folder: Path) -> dict[str, Any]:
    folder.mkdir()
    runner = Path(__file__).with_name("run_program.py")
    try:
        done = subprocess.run(
            [sys.executable, str(runner), str(program), *names],
            cwd=folder, capture_output=True, text=True, timeout=TIME_LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EvidenceError(f"{program} ran for longer than {TIME_LIMIT} seconds.") from error
    if done.returncode:
        last = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise EvidenceError(f"{program} fails: {last}")
    return json.loads(done.stdout)
