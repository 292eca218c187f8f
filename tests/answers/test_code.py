"""Programs that answer an exercise: short enough for a page, whole as they stand, and true to their page."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from mlplab.answers import Book, ours
from mlplab.inquiry import output
from mlplab.pages.document import Document
from mlplab.pages.notebook import cells_of
from mlplab.pages.notebook import notebook as make_notebook

from .cases import EXERCISES, published

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


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.parent.name)
def test_a_program_needs_nothing_but_what_a_reader_of_the_book_has(path: Path):
    foreign = imported(path) - READERS_LIBRARIES - sys.stdlib_module_names
    assert foreign == set()


@every_program
def test_a_program_fits_a_page_and_stands_beside_its_answer(path: Path):
    lines = path.read_text("utf-8").splitlines()
    assert 5 <= len(lines) <= (30 if path.name == "full_size.py" else 75)
    assert max(map(len, lines)) <= 80
    assert path.with_name("answer.py").is_file()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.parent.name)
def test_a_figure_is_drawn_in_the_cell_that_shows_it(path: Path):
    """A notebook closes at the end of a cell what was drawn there."""
    for name, cell in cells_of(path.read_text("utf-8")):
        calls = re.findall(r"\bplt\.\w+|\bax(?:es)?[.\[]", cell)
        assert bool(calls) == ("plt.show()" in cell), name


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
    assert bool(cells) == bool(named)
    # A program may go on in this cell, and take some of the images only.
    loading = min(cells, key=len, default="").rstrip()
    assert "load_digits" in loading
    assert all(cell.startswith(loading) for cell in cells)
    assert len(named) == sum(loading in path.read_text("utf-8") for path in OURS)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[tuple[Any, Any]]:
    """One Jupyter kernel for all notebooks, in a folder without the book's data: each takes seconds to start."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(tmp_path_factory.mktemp("jupyter")))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", OURS, ids=lambda path: path.parent.name)
def test_a_notebook_runs_from_end_to_end_and_says_what_it_finds(path: Path, kernel):
    """Without the book's data: what stands in for it is said."""
    exercise = EXERCISES[path.parent.name]
    held = Document(exercise.number, "en", "", "", "", "", "unpublished", code=exercise.program)
    notebook = make_notebook(held, exercise.book.frame("en"))
    manager, client = kernel
    runner = NotebookClient(notebook, timeout=540, km=manager)
    runner.kc = client
    notebook.cells.insert(0, new_code_cell("%reset -f"))
    for index, cell in enumerate(notebook.cells):
        runner.execute_cell(cell, index)
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    printed = "".join(one.text for one in outputs if one.get("name") == "stdout")
    assert printed.strip()
    assert not [one.text for one in outputs if one.get("name") == "stderr"]
    assert ("stand in" in printed) == ("../data" in path.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [path for path in PROGRAMS if path not in OURS],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_program_of_mlplab_runs_as_it_stands(path: Path, tmp_path: Path, monkeypatch, capsys):
    run(path, tmp_path / "work", monkeypatch)
    printed = capsys.readouterr()
    assert printed.out.strip()
    assert not printed.err


@pytest.mark.slow
@pytest.mark.parametrize("path", OURS, ids=lambda path: path.parent.name)
def test_a_program_reproduces_what_its_page_expects_of_it(path: Path, request, tmp_path, monkeypatch, capsys):
    evidence = published(path.parent.name)
    assert evidence is not None
    expected = evidence.inquiry.answer.expected(evidence.inquiry.observations)
    if not expected:
        pytest.skip("its page expects no number of it")
    if "../data" in path.read_text("utf-8"):
        request.getfixturevalue("real_data")
        output.lay_out_data(path.read_text("utf-8"), tmp_path / "data")
    left = run(path, tmp_path / "work", monkeypatch)
    assert not output.unexpected({name: float(left[name]) for name in expected}, expected)


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
