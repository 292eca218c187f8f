"""One run, two results: found wherever two exercises publish the same run, and nowhere else."""

from __future__ import annotations

import json
import shutil

import pytest

from mlplab.answers import Book, ours
from mlplab.answers.lab import identity, shared_knobs
from mlplab.data import load
from mlplab.inquiry import conflicts, evidence
from mlplab.knobs import turn
from mlplab.pages import terminal
from mlplab.spec import Run, Setting
from mlplab.study import Study, factorial

BASE = turn(Setting(), epochs=3)
PRINT = "data:0"


def plant(folder, number: str, rows: dict[int, dict], *, processor="one", base=BASE, data=(PRINT,), **other):
    """Evidence with a row for each seed: two rates of learning, of which the second is in its table."""
    study = Study(factorial(base, learning_rate=[0.1, 0.2]), 1, load("digits"))
    table = [
        {"arm": f"arm of {number}", "learning_rate": "0.2", "seed": seed, "status": "finished"} | row
        for seed, row in rows.items()
    ]
    content = {
        "made_with": {"processor": processor},
        "observations": {
            "data": [{"fingerprints": list(data)}],
            "settings": [shared_knobs(study) | other],
            "tables": {"runs": {"columns": list(table[0]), "rows": [list(row.values()) for row in table]}},
        },
    }
    (folder / number).mkdir(exist_ok=True)
    (folder / number / "evidence.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    """Of a book like ours, without evidence."""
    shutil.copy(ours().file, tmp_path)
    return tmp_path


@pytest.fixture
def book(folder) -> Book:
    return Book.open(folder)


def test_a_run_with_two_results_is_found_and_named(folder, book):
    plant(folder, "4.6.1", {6: {"test_accuracy": 0.8}, 7: {"test_accuracy": 0.817}})
    plant(folder, "4.10.2", {7: {"test_accuracy": 0.1}, 8: {"test_accuracy": 0.9}}, processor="another")
    (common,) = conflicts.conflicts(book)
    assert common.exercises == ("4.6.1", "4.10.2")
    assert common.num_runs == 1
    (conflict,) = common.conflicts
    study = Study(factorial(BASE, learning_rate=[0.2]), [7], load("digits"))
    assert conflict.digest == type(study.runs[0])(study.arms[0].setting, PRINT, 7).digest
    assert (conflict.seed, conflict.metric) == (7, "test_accuracy")
    assert conflict.results == {"4.6.1": 0.817, "4.10.2": 0.1}
    for language, words in (("en", "test accuracy"), ("zh", "测试准确率")):
        head, line = terminal.two_results([common], book.frame(language))
        assert "4.6.1" in head
        assert "4.10.2" in head
        for part in (words, "0.817", "0.1", conflict.digest[:8], "7"):
            assert part in line


def test_a_digest_that_is_published_says_it_where_no_setting_does(folder, book):
    """Data drawn anew for each seed, studies of many settings: newer evidence names its runs."""
    many = {"data": (PRINT, "data:1")}
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.8, "digest": "a" * 32}}, **many)
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.7, "digest": "b" * 32}}, **many)
    assert conflicts.in_common(book) == []
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.7, "digest": "a" * 32}}, **many)
    assert [conflict.digest for common in conflicts.conflicts(book) for conflict in common.conflicts] == [
        "a" * 32
    ]


def test_a_digest_is_that_of_the_run_with_nothing_watched():
    run, watched = (
        Run(turn(BASE, **knobs), PRINT, 7)
        for knobs in ({}, {"probes": ("activations",), "evaluate_every": 3, "keep_weights": (1,)})
    )
    assert run.digest != watched.digest
    assert identity(run) == identity(watched) == run.digest
    stopped = Run(turn(BASE, patience=2), PRINT, 7)  # how often it is evaluated decides when it stops
    assert identity(stopped) == stopped.digest


def test_equal_results_are_none(folder, book):
    rows = {seed: {"test_accuracy": 0.8 + seed / 100} for seed in range(3)}
    plant(folder, "4.6.1", rows)
    plant(folder, "4.6.3", rows)
    assert conflicts.conflicts(book) == []
    assert [(common.exercises, common.num_runs) for common in conflicts.in_common(book)] == [
        (("4.6.1", "4.6.3"), 3)
    ]


def test_what_rounding_does_to_a_figure_is_no_other_result(folder, book):
    """Older evidence has all digits of a float32, newer evidence seven."""
    value = 0.8783800072538853
    plant(folder, "4.6.1", {0: {"test_accuracy": value, "test_loss": 0.39417184056937693}})
    rounded = {"test_accuracy": float(f"{value:.{evidence.DIGITS}g}"), "test_loss": 0.3941718}
    plant(folder, "4.6.3", {0: rounded})
    assert conflicts.conflicts(book) == []
    plant(folder, "4.6.3", {0: rounded | {"test_loss": 0.39427}})
    assert len(conflicts.conflicts(book)) == 1


def test_an_example_on_the_border_is_no_other_result(folder, book):
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.8783}})
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.8783 + 2e-5}})
    assert conflicts.conflicts(book) == []
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.8793}})
    assert len(conflicts.conflicts(book)) == 1


def test_a_run_that_diverged_in_one_place_has_two_results(folder, book):
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.8}})
    plant(folder, "4.6.3", {0: {"test_accuracy": None, "status": "diverged"}})
    ((conflict,),) = [common.conflicts for common in conflicts.conflicts(book)]
    assert (conflict.metric, conflict.size) == ("status", float("inf"))
    assert "发散" in terminal.two_results(conflicts.conflicts(book), book.frame("zh"))[1]


def test_what_only_watches_a_training_makes_no_other_run(folder, book):
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.8}})
    watched = turn(BASE, probes=("activations",), evaluate_every=3, average_epochs=1)
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.7}}, base=watched)
    assert len(conflicts.conflicts(book)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"base": turn(BASE, momentum=0.9)},  # another setting
        {"data": ("data:1",)},  # other data
        {"data": (PRINT, "data:1")},  # drawn anew for each seed
        {"patience": "2"},  # how often it is evaluated decides when it stops
    ],
    ids=str,
)
def test_other_runs_are_not_compared(folder, book, other):
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.8}})
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.7}}, **other)
    assert conflicts.in_common(book) == []


def test_evidence_that_is_older_than_a_knob_is_compared_too(folder, book):
    """What it cannot name stood at its default. Newer evidence names it, unless its arms differ by it."""
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.8}})
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.7}})
    path = folder / "4.6.1" / "evidence.json"
    content = json.loads(path.read_text())
    (settings,) = content["observations"]["settings"]
    del settings["drop_last"]
    path.write_text(json.dumps(content))
    assert conflicts.in_common(book) == []
    del settings["average_epochs"]
    path.write_text(json.dumps(content))
    assert len(conflicts.conflicts(book)) == 1


def test_a_file_that_was_written_anew_is_read_anew(folder, book):
    plant(folder, "4.6.1", {0: {"test_accuracy": 0.8}})
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.7}})
    assert conflicts.conflicts(book, "4.6.3")
    assert conflicts.conflicts(book, "4.6.2") == []
    plant(folder, "4.6.3", {0: {"test_accuracy": 0.8}})
    assert conflicts.conflicts(book) == []
