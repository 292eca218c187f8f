"""Commands on several books: each under its title, and what two of them share is told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mlplab.answers import Book, Shelf, ours, shelf
from mlplab.inquiry import audit, conflicts, verification
from mlplab.pages import figures, machine
from mlplab.study import Store

from . import cases


@pytest.fixture
def two(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Two copies of the small book, with one name and one title, beside a small one in the place of ours."""
    monkeypatch.delenv("MLPLAB_BOOKS", raising=False)
    monkeypatch.setattr(audit, "audit", lambda book, effort, **_: map(_stands, book.exercises))
    monkeypatch.setattr(conflicts, "conflicts", lambda book: [])
    one, other = (shutil.copytree(cases.SMALL, tmp_path / place / "small") for place in "ab")
    return one, other


def _stands(number: str) -> audit.Audited:
    return audit.Audited(number, "stands")


def test_all_books_that_are_open_are_verified_each_under_its_title(two, mlplab, monkeypatch):
    one, other = two
    monkeypatch.setenv("MLPLAB_BOOKS", str(other))
    shown = mlplab("--book", str(one), "verify", "--all").splitlines()
    titles = [f"A small book ({one})", f"A small book ({other})", "The answer book that proves itself"]
    places = [shown.index(title) for title in titles]
    assert places == sorted(places)
    assert [line.split()[0] for line in shown[places[0] + 1 : places[1]]] == ["4.2.1", "4.2.2", "4.2.3"]
    assert len(shown[places[2] + 1 : -1]) == len(ours().exercises)
    assert shown[-1].startswith("55 of 55 published answers stand")


def test_the_audit_for_machines_names_the_book_where_there_are_several(two, mlplab):
    one, other = two
    told = json.loads(mlplab("--book", str(one), "--book", str(other), "verify", "--all", "--json"))
    books = [entry["book"] for entry in told if entry["number"] == "4.2.1"]
    assert books == [f"small-book ({one})", f"small-book ({other})", "d2l-mlp"]
    assert not any("book" in entry for entry in json.loads(mlplab("verify", "--all", "--json")))


def test_the_list_for_machines_has_a_number_that_two_books_share_twice(two, mlplab):
    one, _ = two
    told = json.loads(mlplab("--book", str(one), "list", "--json"))
    assert [entry["book"] for entry in told if entry["exercise"] == "4.2.1"] == ["small-book", "d2l-mlp"]


def test_a_book_that_is_named_twice_is_open_once(two, monkeypatch):
    one, _ = two
    monkeypatch.setenv("MLPLAB_BOOKS", str(one))
    assert [book.folder for book in Shelf.open(one).books] == [one, shelf.home() / shelf.OURS]


def test_the_answers_of_a_book_with_two_translations_are_verified_once(tmp_path, monkeypatch):
    monkeypatch.delenv("MLPLAB_BOOKS", raising=False)
    german = Path(__file__).parents[2] / "examples" / "german"
    again = shutil.copytree(german, tmp_path / "again")
    assert [book.folder for book in Shelf.open(german, again).answering] == [german]


def test_two_books_with_one_number_share_no_store_and_no_drawing(two, monkeypatch):
    stores, drawings = [], []
    monkeypatch.setattr(verification, "Store", lambda path: stores.append(path.name) or Store(path))
    monkeypatch.setattr(figures, "save", lambda chart, name: drawings.append(name) or (Path(), Path()))
    for folder in two:
        exercise = Book.open(folder).exercise(cases.NUMBER)
        verification.publish(exercise)
        now = verification.verify(exercise, "quick").again
        machine.draw(now, None, "en")
    assert len(set(stores)) == len(set(drawings)) == 2
    assert all(name.startswith("verify-small-book-") for name in stores)


def test_the_store_and_drawings_of_ours_keep_their_names():
    assert ours().prefix == ""
    assert Book.open(Path(__file__).parents[2] / "examples" / "german").prefix == ""


def test_a_copy_of_ours_is_named_by_its_folder(tmp_path):
    copy = shutil.copytree(ours().folder, tmp_path / "mine", ignore=shutil.ignore_patterns("*.*.*"))
    book = Book.open(copy)
    assert book.command == "mlplab --book mine"
    assert book.prefix.startswith("d2l-mlp-")
    assert ours().command == "mlplab"
