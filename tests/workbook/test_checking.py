"""A reader's file, run apart: whatever it does ends in one line, and nothing is lost or left running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlplab.answers import ours
from mlplab.errors import InvalidInput
from mlplab.workbook import checking, handed_in, judging

EXERCISE = ours().exercise("4.5.3")
RIGHT = "v - np.clip(v, -threshold, threshold)"
HEAD = 'import numpy as np\nEXERCISE = "4.5.3"\nsubgradient = "sign(w)"\n'


@pytest.fixture
def file(tmp_path):
    """Writes a file of 4.5.3: its proximal step, and what stands above it."""

    def write(step: str = f"return {RIGHT}", above: str = "") -> Path:
        path = tmp_path / "4_5_3.py"
        body = "\n".join(f"    {line}" for line in step.split("\n"))
        path.write_text(f"{HEAD}{above}\ndef proximal_step(v, threshold):\n{body}\n", "utf-8")
        return path

    return write


def step_of(path: Path, **options):
    """The outcome of the proximal step; the other part must have been judged, whatever that one does."""
    report = checking.check(EXERCISE, path, **options)
    assert not report.broken, report.broken
    first, second = report.outcomes
    assert first.passed
    return second


def test_a_new_file_asks_for_all_parts_and_answers_none(tmp_path):
    for language in EXERCISE.languages:
        parts = judging.parts_of(EXERCISE)
        path = tmp_path / handed_in.file_name("4.5.3")
        path.write_text(handed_in.empty(EXERCISE, parts, language), "utf-8")
        held = handed_in.read(path)
        assert (held.exercise, held.answered & {part.name for part in parts}) == ("4.5.3", set())
        text = path.read_text("utf-8")
        assert "np.sign(v) * np.maximum" not in text
        assert max(len(line) for line in text.splitlines()) <= 80
        report = checking.check(EXERCISE, path)
        assert [outcome.verdict for outcome in report.outcomes] == ["unanswered"] * len(parts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "must say which exercise"), ("def f(:\n", "line 1"),
        ("EXERCISE = 4.5\n", "must say which exercise"),
        ('EXERCISE = "4.5.3"\nEXERCISE = "4.1.1"\n', "must answer one exercise"), ("\0", "must be Python"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_an_exercise_is_one_line(tmp_path, text, said):
    path = tmp_path / "4_5_3.py"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidInput, match=said):
        handed_in.read(path)


def test_a_file_that_is_missing_binary_or_a_folder_is_one_line(tmp_path):
    for path, said in ((tmp_path / "none.py", "must be there"), (tmp_path, "must be a file")):
        with pytest.raises(InvalidInput, match=said):
            handed_in.read(path)
    path = tmp_path / "x.py"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="UTF-8"):
        handed_in.read(path)


@pytest.mark.slow
def test_a_right_file_passes_and_a_wrong_one_is_refuted_at_the_smallest_input(file):
    assert step_of(file()).passed
    outcome = step_of(file("return np.where(np.abs(v) > threshold, v, 0.0)"))
    assert (outcome.verdict, outcome.mistake) == ("refuted", "hard")
    assert outcome.difference.at == "v = [1.], threshold = 0.5"
    assert (outcome.difference.yours, outcome.difference.ours) == ("[1.]", "[0.5]")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "verdict", "said"),
    [
        ("while True: pass", "failed", "line 6: out of time"),
        ("return np.ones(10**10)", "failed", "line 6:"),
        ("import sys; sys.exit(0)", "failed", "ends the program"),
        ("import os; os.fork(); return v", "failed", "no other process"),
        ("import subprocess; subprocess.run(['ls'])", "failed", "no other process"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "failed", "no network"),
        (f"open('/tmp/of-a-reader', 'w'); return {RIGHT}", "failed", "may be written"),
        ("return proximal_step(v, threshold)", "failed", "without end"),
        ("return 1 / 0", "failed", "line 6: ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "SIGSEGV"),
        ("return (v - np.clip(v, -threshold, threshold))[:, None]", "refuted", ""),
        ("return v * np.nan", "refuted", ""),
        (f"out = {RIGHT}; v[:] = out; return v", "refuted", ""),
        ("pass; x = 1", "refuted", ""),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_whatever_a_function_does_ends_in_one_line_and_the_other_part_stands(file, step, verdict, said):
    outcome = step_of(file(step), seconds=2.0)
    assert outcome.verdict == verdict, outcome
    assert said in outcome.detail
    assert "\n" not in outcome.detail
    assert not Path("/tmp/of-a-reader").exists()


@pytest.mark.slow
def test_a_function_that_sleeps_is_ended_by_the_clock(file):
    assert step_of(file("import time; time.sleep(1000)"), seconds=1.0).detail == "out of time"


@pytest.mark.slow
def test_a_wrong_shape_is_said_with_both_shapes(file):
    outcome = step_of(file("return v[:, None]"))
    assert "shape (1, 1)" in outcome.difference.yours
    assert "shape (1,)" in outcome.difference.ours


@pytest.mark.slow
def test_a_file_that_cannot_be_run_says_where(file):
    report = checking.check(EXERCISE, file(above="1 / 0"))
    assert report.broken.startswith("line 4: ZeroDivisionError")
    assert not report.passed


@pytest.mark.slow
def test_output_without_end_is_cut_and_the_process_is_gone(file, monkeypatch):
    monkeypatch.setattr(checking, "TOO_MUCH", 1_000_000)
    outcome = step_of(file("while True: print('x' * 1000)"))
    assert "prints without end" in outcome.detail


@pytest.mark.slow
def test_what_a_file_prints_is_kept_and_seeds_that_it_sets_change_nothing(file):
    report = checking.check(EXERCISE, file(f"np.random.seed(0); print('hello'); return {RIGHT}"))
    assert report.passed
    assert report.printed.startswith("hello")


@pytest.mark.slow
def test_a_class_is_one_table_and_a_crash_spoils_no_other(file, tmp_path):
    folder = tmp_path / "class"
    for name, text in (
        ("a", file().read_text("utf-8")),
        ("b", "1 +"),
        ("c", file("raise SystemExit").read_text("utf-8")),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "4_5_3.py").write_text(text, "utf-8")
    command = [sys.executable, "-m", "mlplab", "check", "--json", str(folder)]
    environment = os.environ | {"MLPLAB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)
    assert [row["passed"] for row in rows] == [True, False, False]
    assert rows[0]["checks"] == "public"
    assert "must be Python" in rows[1]["broken"]
