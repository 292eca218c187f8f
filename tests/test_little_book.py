"""Books of others: another textbook's in one language, and a translation of ours. Nothing is added but folders."""

from __future__ import annotations

import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlplab.answers import shelf
from mlplab.pages.build import build
from mlplab.pages.html import fonts

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def little(tmp_path, monkeypatch) -> Path:
    """The little book in a folder where it may be changed."""
    monkeypatch.delenv("MLPLAB_BOOKS", raising=False)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(EXAMPLES / "little-book", tmp_path / "little-book")


@pytest.fixture
def german(tmp_path, little) -> Path:
    """The German translation, beside the little book."""
    return shutil.copytree(EXAMPLES / "german", tmp_path / "german")


def test_a_book_of_others_stands_before_ours_in_the_list(little, mlplab):
    shown = mlplab("--book", str(little), "list")
    assert "2 / 2 answered" in shown
    assert shown.index("A network without a hidden layer") < shown.index("49 / 49 answered")


def test_a_variable_names_books_as_well_as_the_option(little, mlplab, monkeypatch):
    named = mlplab("--book", str(little), "list")
    monkeypatch.setenv("MLPLAB_BOOKS", str(little))
    assert mlplab("list") == named


@pytest.mark.slow
def test_a_proof_of_another_book_is_answered_verified_and_published(little, mlplab):
    shown = mlplab("--book", str(little), "answer", "2.1")
    assert "is 1 everywhere and goes" in shown
    assert "mlplab --book little-book verify 2.1" in shown
    assert "The published verdicts stand." in mlplab("--book", str(little), "verify", "2.1")
    (little / "2.1/evidence.json").unlink()
    written = [str(little / "2.1" / name) for name in ("evidence.json", "output.json")]
    assert mlplab("--book", str(little), "publish", "2.1").split() == written
    assert (little / "2.1/evidence.json").is_file()


@pytest.mark.slow
def test_an_experiment_of_another_book_is_answered_and_verified(little, mlplab):
    shown = mlplab("--book", str(little), "answer", "1.1", "--seeds", "3")
    assert "this run: digits (ships with scikit-learn) · 3 seeds" in shown
    assert "a quick look takes" not in shown  # the published evidence stands on the same data
    assert "stand" in mlplab("--book", str(little), "verify", "1.1", "--effort", "quick")


def test_an_exercise_of_ours_is_found_behind_another_book(little, mlplab):
    assert "squared norm of a matrix" in mlplab("--book", str(little), "answer", "4.5.4")


def test_a_translation_adds_a_language_to_ours(german, mlplab):
    assert "Die quadrierte Norm einer Matrix" in mlplab("--book", str(german), "list", "--lang", "de")
    shown = mlplab("--book", str(german), "answer", "4.5.4", "--lang", "de")
    assert "Ja, mit der Spur" in shown
    assert "Yes" not in shown


@pytest.mark.slow
def test_a_book_in_one_language_is_built_whole(little, mlplab, tmp_path):
    pytest.importorskip("typst", reason="needs typst: pip install 'mlplab[book]'")
    printed = mlplab("--book", str(little), "book", "build", "--out", str(tmp_path / "dist/book"))
    site = tmp_path / "dist/book"
    assert printed.split() == [str(site / "index.html"), str(tmp_path / "dist/little-book-en.pdf")]
    assert not (site / "en/notes.html").exists(), "no notes circulate"
    assert sorted(path.name for path in site.iterdir()) == [
        "assets",
        "en",
        "index.html",
        "little-book-en.pdf",
    ]
    pages = {path.name for path in (site / "en").iterdir()}
    assert {"index.html", "1.1.html", "2.1.html"} <= pages
    for page in pages_of(site):
        assert not page.languages, "a book in one language leads to no other"
    text = (site / "en/2.1.html").read_text("utf-8")
    assert "mlplab --book little-book verify 2.1" in text
    assert not re.search("Dive into Deep Learning|chapter 4", (site / "en/index.html").read_text("utf-8"))


@pytest.fixture
def two_of_ours(tmp_path, monkeypatch) -> None:
    """Our book with two exercises, of which one is translated: 49 in three languages take minutes to build."""
    ours = tmp_path / "books" / "d2l-mlp"
    for number in ("4.5.4", "4.5.6"):
        shutil.copytree(shelf.ours().folder / number, ours / number)
    for module in shelf.ours().folder.glob("*.py"):
        shutil.copy(module, ours)
    before, *sections = shelf.ours().file.read_text("utf-8").split("[[sections]]\n")
    (section,) = (section for section in sections if section.startswith('number = "4.5"'))
    section = re.sub("exercises = .*", 'exercises = ["4.5.4", "4.5.6"]', section)
    (ours / "book.toml").write_text(f"{before}[[sections]]\n{section}", "utf-8")
    monkeypatch.setattr(shelf, "home", lambda: ours.parent)
    # Letters are cut for every book alike, and that takes longer than all the rest.
    monkeypatch.setattr(fonts, "write", lambda font, letters, folder: "")


def test_of_two_translations_each_is_read_in_its_language(german, mlplab, monkeypatch, tmp_path):
    """Another tongue is the German one under another code: what is read hangs on the code alone."""
    other = shutil.copytree(german, tmp_path / "other")
    for path in sorted(other.rglob("*.de.*")):
        path.rename(path.with_name(path.name.replace(".de.", ".nds.")))
    (other / "languages/de.toml").rename(other / "languages/nds.toml")
    toml = other / "book.toml"
    text = re.sub(r'"de"', '"nds"', re.sub(r"\bde = ", "nds = ", toml.read_text("utf-8")))
    toml.write_text(text, "utf-8")
    monkeypatch.setenv("MLPLAB_BOOKS", os.pathsep.join(map(str, (german, other))))
    for language in ("de", "nds", "en"):
        assert "4.5.4" in mlplab("answer", "4.5.4", "--lang", language)


@pytest.mark.slow
def test_a_translation_is_built_whole_with_the_exercises_that_it_has(german, two_of_ours, tmp_path):
    """What a language lacks is no page, and nothing leads to it."""
    pytest.importorskip("typst", reason="needs typst: pip install 'mlplab[book]'")
    site, dist = tmp_path / "dist/book", tmp_path / "dist"
    dist.mkdir()
    paths = build(shelf.Book.open(german), site, workers=1)
    assert paths == [
        site / "index.html",
        *(dist / f"mlplab-answers-{language}.pdf" for language in ("zh", "en", "de")),
    ]
    names = {language: {path.name for path in (site / language).iterdir()} for language in ("en", "de")}
    assert names["en"] - names["de"] == {"4.5.6.html", "mlplab-4.5.6.ipynb"}
    assert "4.5.4.html" in names["de"]
    pages_of(site)
    index = (site / "de/index.html").read_text("utf-8")
    assert "Die quadrierte Norm einer Matrix" in index
    assert "Eine Sammlung von Notizen" in (site / "de/notes.html").read_text("utf-8")


def pages_of(site: Path) -> list[_Links]:
    """All pages of a book, whose links all lead somewhere."""
    pages = []
    for path in site.rglob("*.html"):
        page = _Links(path.read_text("utf-8"))
        for link in page.links:
            assert (path.parent / link).exists(), (path, link)
        pages.append(page)
    return pages


class _Links(HTMLParser):
    """The files that a page leads to, and the other languages that it names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.languages: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        held = dict(attrs)
        link = (held.get("href") or held.get("src") or "").partition("#")[0]
        if link and ":" not in link:
            self.links.append(link)
        if "hreflang" in held and link.startswith("../"):
            self.languages.append(held["hreflang"])
