"""Programs that answer an exercise: short enough for a page, whole as they stand, and true to their page."""

from __future__ import annotations

import ast
import gzip
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlplab.answers import Book, ours

from .cases import published

LITTLE = Path(__file__).parents[2] / "examples" / "little-book"
PROGRAMS = [
    path
    for book in (ours().folder, LITTLE)
    for name in ("program.py", "full_size.py")
    for path in sorted(book.glob(f"*/{name}"))
]
# Beside the standard library, all that somebody who reads the book has installed.
READERS_LIBRARIES = {"torch", "numpy", "scipy", "sklearn", "pandas", "matplotlib", "sympy"}
every_program = pytest.mark.parametrize(
    "path", PROGRAMS, ids=lambda path: f"{path.parents[1].name}-{path.parent.name}-{path.stem}"
)
OURS = [path for path in PROGRAMS if path.parents[1] == ours().folder and path.name == "program.py"]
LOADED = "../data/FashionMNIST"  # the section's images, where the book's own loader leaves them


def imported(path: Path) -> set[str]:
    """The libraries that a program imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@every_program
def test_a_program_fits_a_page_and_stands_beside_its_answer(path: Path):
    lines = path.read_text("utf-8").splitlines()
    assert 5 <= len(lines) <= (30 if path.name == "full_size.py" else 75)
    assert max(map(len, lines)) <= 80
    assert path.with_name("answer.py").is_file()


@every_program
def test_a_program_is_read_as_it_stands(path: Path):
    exercise = Book.open(path.parents[1]).exercise(path.parent.name)
    read = {"program.py": exercise.program, "full_size.py": exercise.full_size}
    assert read[path.name] == path.read_text("utf-8")


def test_all_programs_load_the_sections_images_by_the_same_lines():
    cells = {
        cell
        for path in OURS
        for cell in path.read_text("utf-8").split("# %% ")[1:]
        if LOADED in cell and cell.startswith("data\n")
    }
    named = [path for path in OURS if LOADED in path.read_text("utf-8")]
    assert len(cells) == bool(named)


@pytest.mark.slow
@every_program
def test_a_program_runs_as_it_stands_and_says_what_it_finds(path: Path, tmp_path: Path, monkeypatch, capsys):
    """Without the book's data: what stands in for it is said."""
    run(path, tmp_path / "work", monkeypatch)
    printed = capsys.readouterr()
    assert printed.out.strip()
    assert not printed.err
    assert ("stand in" in printed.out) == ("../data" in path.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("path", OURS, ids=lambda path: path.parent.name)
def test_a_program_reproduces_what_its_page_expects_of_it(path: Path, request, tmp_path, monkeypatch, capsys):
    evidence = published(path.parent.name)
    assert evidence is not None
    expected = evidence.inquiry.answer.expected(evidence.inquiry.observations)
    if not expected:
        pytest.skip("its page expects no number of it")
    if "../data" in path.read_text("utf-8"):
        lay_out_data(request.getfixturevalue("real_data"), tmp_path / "data")
    left = run(path, tmp_path / "work", monkeypatch)
    found = {name: float(left[name]) for name in expected}
    wrong = {name: value for name, value in found.items() if not is_within(value, *expected[name])}
    assert not wrong, expected


def run(path: Path, folder: Path, monkeypatch) -> dict[str, Any]:
    """Run a program in a folder of its own, in this process: to load torch takes longer than most programs.

    Returns the names that it leaves. What it draws is drawn, and shown to nobody.
    """
    folder.mkdir()
    monkeypatch.chdir(folder)
    if "matplotlib" in imported(path):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        pyplot.switch_backend("agg")
        monkeypatch.setattr(pyplot, "show", lambda: pyplot.close("all"))
    return runpy.run_path(str(path), run_name="__main__")


def lay_out_data(real: Path, folder: Path) -> None:
    """The book's data as its own loaders leave them: images unpacked, tables beside them."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (real / "fashion-mnist").glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    for table in (real / "house-prices").glob("*.csv"):
        shutil.copy(table, folder)


def is_within(value: float, low: float, high: float) -> bool:
    """To rounding: a number that is known exactly is expected between itself and itself."""
    slack = 1e-4 * max(abs(low), abs(high))
    return low - slack <= value <= high + slack
