"""The few lines that answer an exercise: short enough for a page, and they run as they stand there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from mlplab.answers import Book, ours

LITTLE = Path(__file__).parents[2] / "examples" / "little-book"
PROGRAMS = [path for book in (ours().folder, LITTLE) for path in sorted(book.glob("*/program.py"))]
every_program = pytest.mark.parametrize(
    "path", PROGRAMS, ids=lambda path: f"{path.parents[1].name}-{path.parent.name}"
)


@every_program
def test_a_program_fits_a_page_and_stands_beside_its_answer(path: Path):
    lines = path.read_text("utf-8").splitlines()
    assert 5 <= len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert path.with_name("answer.py").is_file()


@every_program
def test_a_program_is_read_as_it_stands(path: Path):
    assert Book.open(path.parents[1]).exercise(path.parent.name).program == path.read_text("utf-8")


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
