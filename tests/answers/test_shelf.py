"""Books as folders: what is wrong with one is a line that names file and key, and the rest of it still opens."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mlplab import cli
from mlplab.answers import Book, Shelf, ours
from mlplab.answers.shelf import _check
from mlplab.errors import BookError, MLPLabError

SMALL = Path(__file__).parents[1] / "book" / "small"


@pytest.fixture
def folder(tmp_path) -> Path:
    """The small book where it may be changed. A folder that was opened once is not read again."""
    return shutil.copytree(SMALL, tmp_path / "small")


@pytest.fixture
def mlplab(capsys, monkeypatch):
    """Runs a command in this process: status, output, errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def ended(*words: str) -> tuple[Any, str, str]:
        monkeypatch.setattr("sys.argv", ["mlplab", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return ended


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


# A whole book that cannot be opened


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 2", "format must be 1"),
        ("format = 1", "format = = 1", "is no TOML"),
        ('name = "small-book"', "name = 3", "name must be words"),
        ('["zh", "en"]', '"zh"', "languages must be a list of codes"),
        ('number = "4.2"', "number = 4.2", "sections[0].number must be made of numbers"),
        ('"4.2.1", ', '"../4.2.1", ', "sections[0].exercises must be made of numbers"),
        ('"4.2.2", ', '"4.2.1", ', "sections[0].exercises must not list one twice"),
        ("format = 1", 'format = 1\npdf = "../x-{language}.pdf"', "pdf must be a file's name"),
        ("format = 1", 'format = 1\npdf = "{where}.pdf"', "pdf must be a file's name"),
        ("format = 1", 'format = 1\ntranslates = "nobody"', "translates must be one of our books: d2l-mlp"),
        ("format = 1", "format = 1\neditions = 3", "editions must be tables"),
        ('[subtitle]\nen = "Three exercises."', "[subtitle]\nen = 3", "subtitle.en must be a text in quotes"),
    ],
    ids=lambda part: part[:30].replace("\n", " "),
)  # fmt: skip
def test_a_wrong_book_is_one_line_with_its_key(folder, mlplab, old, new, said):
    change(folder / "book.toml", old, new)
    status, out, err = mlplab("--book", str(folder), "list")
    assert status == 2
    assert not out
    assert str(folder / "book.toml") in "".join(err.split("\n"))
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_a_folder_without_book_toml_is_no_book(tmp_path, mlplab):
    status, _, err = mlplab("--book", str(tmp_path), "list")
    assert status == 2
    assert "book.toml is missing" in err


OUR_CONTENT = tomllib.loads(ours().file.read_text("utf-8"))


def places(content: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every key, and of the first entry of every list."""
    inner = content.items() if isinstance(content, dict) else list(enumerate(content))[:1]
    held = []
    for key, value in inner:
        held.append((*before, key))
        if isinstance(value, dict | list):
            held += places(value, (*before, key))
    return held


@pytest.mark.parametrize("wrong", [None, 3, [], ["x"], {}, {"x": 1}, "x/../y", True], ids=str)
def test_no_key_of_book_toml_can_crash_what_reads_it(wrong):
    file, said = ours().file, []
    for *way, last in places(OUR_CONTENT):
        content = copy.deepcopy(OUR_CONTENT)
        place: Any = content
        for key in way:
            place = place[key]
        if wrong is None:
            del place[last]
        else:
            place[last] = wrong
        try:
            _check(content, file)
            book = Book(file.parent, content["name"], tuple(content["languages"]), content)
            for section in book.sections:
                assert all(
                    isinstance(text, str) for text in (*section.title.values(), *section.link.values())
                )
            assert all(isinstance(number, str) for number in book.exercises)
            assert all(isinstance(other, str) for other in book.elsewhere.values())
            for language in book.languages:
                for key in ("title", "subtitle", "closing", "keywords", "textbook", "full_title"):
                    assert isinstance(book.say(key, language), str)
                assert "/" not in book.pdf_name(language)
        except MLPLabError as error:
            said.append(str(error))
    assert said
    assert all(line.startswith(str(file)) for line in said)


# One exercise that cannot be opened


def broken_answer(folder: Path, text: str) -> None:
    (folder / "4.2.1/answer.py").write_text(text, "utf-8")


def evidence_of(folder: Path, **changes: Any) -> None:
    """The evidence of an exercise of the little book, put where that of the small book's should be."""
    little = SMALL.parents[2] / "examples/little-book/1.1/evidence.json"
    content = json.loads(little.read_text("utf-8")) | {"exercise": "4.2.1"} | changes
    (folder / "4.2.1/evidence.json").write_text(json.dumps(content), "utf-8")


BREAKS = {
    "raises": (lambda f: broken_answer(f, "x = 1\ny = 1 / 0\n"), "ZeroDivisionError: division by zero (line 2)"),
    "syntax": (lambda f: broken_answer(f, "x = 1\ny = = 2\n"), "line 2"),
    "no answer": (lambda f: broken_answer(f, "x = 1\n"), "ANSWER must be an Answer"),
    "no statement": (
        lambda f: change(f / "4.2.1/words.en.toml", "all-runs-end = ", "other = "),
        "statements.all-runs-end is missing",
    ),
    "a number for a word": (
        lambda f: change(f / "4.2.1/words.en.toml", 'loss = "Loss"', "loss = 3"),
        "labels.loss must be a text in quotes",
    ),
    "no text": (lambda f: (f / "4.2.1/text.en.md").unlink(), "text.en.md is missing"),
    "no heading": (
        lambda f: change(f / "4.2.1/text.en.md", "## Limits", "Limits"),
        "must have the headings",
    ),
    "a place that nobody fills": (
        lambda f: change(f / "4.2.1/text.en.md", "Little.", "{{ nobody }}"),
        "nobody",
    ),
    "a template that is none": (
        lambda f: change(f / "4.2.1/text.en.md", "Little.", "{% if %}"),
        "text.en.md",
    ),
    "fails at work": (
        lambda f: change(f / "4.2.1/answer.py", "    arms = factorial(lab.setting(BASE)", "    arms = factorial(1 / 0"),
        "answer.py fails: ZeroDivisionError: division by zero (line 31)",
    ),
    "fails at drawing": (
        lambda f: change(f / "4.2.1/answer.py", "mark_point()", "mark_nothing()"),
        "answer.py fails: AttributeError:",
    ),
    "a program that is no text": (
        lambda f: (f / "4.2.1/program.py").write_bytes(b"\xff"),
        "program.py must be UTF-8 text",
    ),
    "the same at full size is no text": (
        lambda f: (f / "4.2.1/full_size.py").write_bytes(b"\xff"),
        "full_size.py must be UTF-8 text",
    ),
    "a set of answers that the book does not list": (
        lambda f: change(f / "4.2.1/answer.py", 'by="decay', 'source="nobody", by="decay'),
        "has a source that",
    ),
    "evidence of another exercise": (
        lambda f: evidence_of(f, exercise="1.1"),
        "evidence.json: exercise must be 4.2.1; got 1.1",
    ),
    "evidence of another book": (evidence_of, "evidence.json: claims are those of another answer"),
    "no folder": (lambda f: shutil.rmtree(f / "4.2.1"), "is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_exercise_is_one_line_and_the_others_still_open(folder, mlplab, name):
    break_it, said = BREAKS[name]
    break_it(folder)
    status, _, err = mlplab("--book", str(folder), "answer", "4.2.1")
    assert status == 2, err
    assert said in " ".join(err.split())
    assert str(folder / "4.2.1") in "".join(err.split())
    assert "Traceback" not in err
    status, out, _ = mlplab("--book", str(folder), "list")
    assert status == 0
    assert "What decay does again" in out
    assert Book.open(folder).exercise("4.2.2").answer is not None


@pytest.mark.parametrize("is_translation", [False, True])
def test_a_folder_that_is_no_exercise_is_one_line_and_the_others_still_open(folder, mlplab, is_translation):
    if is_translation:
        folder = shutil.copytree(SMALL.parents[2] / "examples/german", folder.with_name("german"))
    shutil.copytree(SMALL / "4.2.1", folder / "9.9.9")
    file = ours().file if is_translation else folder / "book.toml"
    status, out, err = mlplab("--book", str(folder), "answer", "9.9.9")
    assert (status, out) == (2, "")
    assert f"{folder}/9.9.9 is no exercise: sections of {file} do not list it" in " ".join(err.split())
    status, out, _ = mlplab("--book", str(folder), "list")
    assert status == 0
    assert "9.9.9" in out
    assert "cannot be opened" in out
    assert Book.open(folder).exercise("4.2.2").answer is not None


def test_what_fails_in_an_answer_of_ours_is_a_defect_of_mlplab():
    with pytest.raises(ZeroDivisionError), ours().exercise("4.1.1").running():
        exec(compile("1 / 0", str(ours().folder / "4.1.1/answer.py"), "exec"))


def test_the_book_that_was_named_first_has_the_number(folder):
    shelf = Shelf.open(folder)
    assert shelf.exercise("4.2.1").book.name == "small-book"
    assert shelf.exercise("4.5.4").book.name == "d2l-mlp"
    assert [book.name for book in shelf.books] == ["small-book", "d2l-mlp"]


def test_an_exercise_travels_and_is_the_same(folder):
    exercise = Book.open(folder).exercise("4.2.1")
    there = pickle.loads(pickle.dumps(exercise))
    assert there.book is exercise.book
    assert (there.number, there.folder) == (exercise.number, exercise.folder)
    assert there.module is exercise.module


def test_two_books_in_folders_of_one_name_have_modules_of_their_own(tmp_path):
    one, other = (Book.open(shutil.copytree(SMALL, tmp_path / place / "small")) for place in "ab")
    assert one.exercise("4.2.1").module is not other.exercise("4.2.1").module


def test_nothing_is_read_before_it_is_asked_for(folder):
    for path in filter(Path.is_file, folder.glob("*/*")):
        path.write_bytes(b"\xff not text")
    assert list(Book.open(folder).exercises) == ["4.2.1", "4.2.2", "4.2.3"]
    with pytest.raises(BookError, match="must be UTF-8 text"):
        Book.open(folder).exercise("4.2.1").check()
