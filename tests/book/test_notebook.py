"""An answer as a notebook: valid, whole, alike in every build, and never in place of somebody's own."""

from __future__ import annotations

import nbformat
import pytest

from mlplab.answers import ours
from mlplab.inquiry import evidence
from mlplab.pages import document
from mlplab.pages.notebook import cells_of, notebook, written

from . import cases

LANGUAGES = cases.LANGUAGES
PROGRAMS = {e.number: e.program for e in ours().exercises.values() if e.program}


@pytest.fixture(params=LANGUAGES)
def published(exercise, request):
    """A document, and what the frame says in its language."""
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    (exercise.folder / "program.py").write_text('"""It."""\n\nimport torch\n\n# %% data\nx = 1\n', "utf-8")
    found, _ = document.documents(exercise, [request.param])
    return found[0], exercise.book.frame(request.param)


def test_a_notebook_is_valid_and_has_the_parts_of_a_page_in_their_order(published):
    made, frame = published
    held = notebook(made, frame)
    nbformat.validate(held)
    text = "\n".join(cell.source for cell in held.cells)
    titles = [frame["headings.short"], frame["labels.code"], frame["steps.data"], frame["labels.sure"]]
    places = [text.index(f"# {title}") for title in (*titles, frame["labels.vary"])]
    assert places == sorted(places)
    assert made.text["question"] in text
    assert all(claim.statement in text for claim in made.claims)
    assert [cell.source for cell in held.cells if cell.cell_type == "code"][1] == "x = 1"


def test_two_notebooks_of_one_answer_are_the_same_file(published):
    made, frame = published
    assert written(made, frame) == written(made, frame)


@pytest.mark.parametrize("number", PROGRAMS)
def test_cells_are_the_program_and_have_names_in_every_language(number):
    cells = cells_of(PROGRAMS[number])
    kept = [line for line in PROGRAMS[number].splitlines() if line.strip() and not line.startswith("# %%")]
    assert [line for _, code in cells for line in code.splitlines() if line.strip()] == kept
    frames = [ours().frame(language) for language in LANGUAGES]
    assert all(frame[f"steps.{name}"] for name, _ in cells[1:] for frame in frames)


def test_a_notebook_never_replaces_a_file_of_its_answer(exercise, monkeypatch, capsys):
    from mlplab import cli

    (exercise.folder / "program.py").write_text("x = 1", "utf-8")
    book = str(exercise.book.folder)
    words = ["mlplab", "--book", book, "notebook", exercise.number, "-o", f"{exercise.folder}/program.py"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "a file of the answer" in capsys.readouterr().err
    assert (exercise.folder / "program.py").read_text("utf-8") == "x = 1"


def test_a_notebook_that_was_worked_in_is_not_written_over(tmp_path, monkeypatch, capsys):
    from mlplab import cli

    monkeypatch.chdir(tmp_path)
    own = tmp_path / "mlplab-4.1.1.ipynb"
    own.write_text("mine")
    monkeypatch.setattr("sys.argv", ["mlplab", "notebook", "4.1.1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "must not be there yet" in capsys.readouterr().err
    assert own.read_text() == "mine"


def test_no_notebook_is_written_of_a_verdict_that_no_longer_stands(exercise, tmp_path, monkeypatch, capsys):
    from mlplab import cli

    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    held = exercise.evidence_file.read_text("utf-8")
    observed, claims = held.rsplit('"claims"', 1)
    exercise.evidence_file.write_text(f'{observed}"claims"{claims.replace("holds", "fails", 1)}', "utf-8")
    (exercise.folder / "program.py").write_text("x = 1", "utf-8")
    words = ["mlplab", "--book", str(exercise.book.folder), "notebook", exercise.number, "-o"]
    monkeypatch.setattr("sys.argv", [*words, str(tmp_path / "a.ipynb")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "The notebook is not written" in capsys.readouterr().err
    assert not (tmp_path / "a.ipynb").exists()
