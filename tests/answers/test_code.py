"""The few lines that answer an exercise: short enough for a page, and they run as they stand there."""

from __future__ import annotations

import runpy
from importlib.resources import files
from pathlib import Path

import pytest

import mlplab.answers

PROGRAMS = sorted(Path(str(files(mlplab.answers))).glob("s4_*/q*.code.py"))
every_program = pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name.removesuffix(".code.py"))


@every_program
def test_a_program_fits_a_page_and_stands_beside_its_answer(path: Path):
    lines = path.read_text("utf-8").splitlines()
    assert 5 <= len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert path.with_name(path.name.replace(".code.py", ".py")).is_file()


@every_program
def test_a_program_is_read_as_it_stands(path: Path):
    section, name = path.parent.name.split("_")[1], path.name.split("_")[0].removeprefix("q")
    assert mlplab.answers.code(f"4.{section}.{name}") == path.read_text("utf-8")


@pytest.mark.slow
@every_program
def test_a_program_runs_as_it_stands_and_says_what_it_finds(path: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(
        str(path), run_name="__main__"
    )  # in this process: to load torch takes longer than most programs
    printed = capsys.readouterr()
    assert printed.out.strip()
    assert not printed.err
