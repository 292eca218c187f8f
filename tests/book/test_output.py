"""What a program prints and draws, recorded beside it: of these very lines, and true to the evidence."""

from __future__ import annotations

import dataclasses

import pytest

from mlplab.answers import ours
from mlplab.errors import EvidenceError
from mlplab.inquiry import evidence, output
from mlplab.pages import document
from mlplab.pages.notebook import notebook

from . import cases

PROGRAM = '"""It."""\n\n# %% result\nloss = 1 / 4\nprint(f"loss {loss}")\n'
DRAWING = "import matplotlib.pyplot as plt\n\nplt.plot([1, 2], [3, 4])\nplt.show()\n"


# Programs that are yet to be recorded: each that is done leaves the list.
UNRECORDED: frozenset[str] = frozenset()


@pytest.fixture
def programmed(exercise, monkeypatch):
    """An exercise with evidence, whose program leaves a number that the evidence expects."""
    answer = dataclasses.replace(exercise.written_answer(), expected=lambda seen: {"loss": (0.2, 0.3)})
    monkeypatch.setitem(vars(exercise), "answer", answer)
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    write_program(exercise, PROGRAM)
    return exercise


def write_program(exercise, text):
    (exercise.folder / "program.py").write_text(text, "utf-8")


def test_every_program_of_ours_is_recorded_as_it_stands():
    """That its numbers lie where the evidence expects them is asked whenever the book is built."""
    missing, another = set(), []
    for exercise in ours().exercises.values():
        done = output.recorded(exercise)
        if done is None:
            missing.add(exercise.number)
            continue
        if not done.is_of(exercise.program):
            another.append(exercise.number)
        assert "stand in" not in done.printed, exercise.number
        assert bool(done.drawing) == ("plt.show()" in exercise.program), exercise.number
    assert (missing, another) == (set(UNRECORDED), []), "mlplab publish N --program"


def test_a_program_is_recorded_with_what_it_prints_draws_and_leaves(programmed):
    assert output.record(programmed) == programmed.output_file
    done = output.recorded(programmed)
    assert (done.printed, done.drawing, dict(done.left)) == ("loss 0.25", "", {"loss": 0.25})
    (made,), broken = document.documents(programmed, ["en"])
    assert not broken
    assert made.output == done
    held = notebook(made, programmed.book.frame("en"))
    assert [cell.outputs for cell in held.cells if cell.cell_type == "code"][-1][0].text == "loss 0.25\n"


def test_a_drawing_is_recorded_as_it_is_shown(programmed):
    pytest.importorskip("matplotlib")
    write_program(programmed, PROGRAM + DRAWING)
    output.record(programmed)
    assert output.recorded(programmed).drawing.rstrip().endswith("</svg>")


def test_a_program_that_does_not_reproduce_its_page_is_not_recorded(programmed):
    output.record(programmed)
    before = programmed.output_file.read_text("utf-8")
    for text, said in ((PROGRAM.replace("1 / 4", "1 / 2"), r"loss is 0\.5, and is expected between 0\.2 and"),
                       (PROGRAM + "1 / 0\n", "fails: ZeroDivisionError")):  # fmt: skip
        write_program(programmed, text)
        with pytest.raises(EvidenceError, match=said):
            output.record(programmed)
    assert programmed.output_file.read_text("utf-8") == before


def test_a_page_shows_no_output_of_another_program_and_no_number_that_the_evidence_refutes(
    programmed, monkeypatch
):
    output.record(programmed)
    write_program(programmed, PROGRAM + "# and more\n")
    _, broken = document.documents(programmed, ["en"])
    assert [line for line in broken if "another program" in line]
    write_program(programmed, PROGRAM)
    answer = dataclasses.replace(programmed.written_answer(), expected=lambda seen: {"loss": (0.3, 0.4)})
    monkeypatch.setitem(vars(programmed), "answer", answer)
    _, broken = document.documents(programmed, ["en"])
    assert [line for line in broken if "loss is 0.25" in line]


def test_a_damaged_record_is_one_line_that_names_the_file(programmed):
    programmed.output_file.write_text("{", "utf-8")
    with pytest.raises(EvidenceError, match=r"output\.json cannot be read"):
        output.recorded(programmed)


def test_a_program_whose_data_are_not_at_hand_is_not_recorded(programmed, monkeypatch, tmp_path):
    monkeypatch.delenv("MLPLAB_DATA", raising=False)
    monkeypatch.setenv("MLPLAB_CACHE", str(tmp_path))
    write_program(programmed, PROGRAM + "# ../data/FashionMNIST\n")
    with pytest.raises(EvidenceError, match="set MLPLAB_DATA"):
        output.record(programmed)
