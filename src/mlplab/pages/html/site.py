"""The whole book as a folder of pages, with all that they need beside them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from mlplab.answers import Book, Language
from mlplab.errors import import_extra
from mlplab.inquiry import errata, processes
from mlplab.pages import notebook
from mlplab.pages.html import fonts, pages, search
from mlplab.pages.making import Made

ASSETS = ("book.css", "book.js", "search.js", "theme.js", "icon.svg")


def write(
    into: Path,
    book: Book,
    made: Sequence[Made],
    corrections: Sequence[errata.Correction],
    on_progress: Callable[[str], None],
    *,
    workers: int | None = None,
) -> None:
    """Write the pages into an empty folder. `on_progress` is told what is being done."""
    on_progress("pages")
    (into / "assets/fonts").mkdir(parents=True)
    landing = pages.landing_page(book)
    (into / "index.html").write_text(landing, "utf-8")
    written = _write_pages(into, book, made, corrections)
    _write_search(into, book, written)
    on_progress("fonts")
    shown = [page for contents in written.values() for page in contents.values()]
    _write_assets(into, [*shown, landing], workers)


def _write_pages(
    into: Path, book: Book, made: Sequence[Made], corrections: Sequence[errata.Correction]
) -> dict[Language, dict[str, str]]:
    """Language -> name of a page -> what is written there."""
    written: dict[Language, dict[str, str]] = {}
    for language in book.languages:
        # A language that a translation adds may lack exercises.
        pairs = [pair for one in made if (pair := one.of(language))]
        chapter = [pair.document for pair in pairs]
        html = {pair.document.number: pair.html for pair in pairs}
        languages = {one.number: [document.language for document in one.documents] for one in made}
        folder = into / language
        folder.mkdir()
        contents = {
            f"{document.number}.html": pages.answer_page(
                book, document, html[document.number], before, after, languages[document.number]
            )
            for before, document, after in zip([None, *chapter], chapter, [*chapter[1:], None], strict=False)
        }
        contents["index.html"] = pages.index_page(book, chapter, language)
        if book.judges:
            contents["notes.html"] = pages.notes_page(book, chapter, html, language)
            contents |= {
                f"from-{one.name}.html": pages.set_page(book, chapter, one, language)
                for one in book.sets.values()
            }
        contents["errata.html"] = pages.errata_page(book, corrections, language)
        if book.glossary(language):
            contents["glossary.html"] = pages.glossary_page(book, chapter, language)
        for pair in pairs:
            if pair.notebook:
                (folder / notebook.file_name(pair.document.number)).write_text(pair.notebook, "utf-8")
            if (done := pair.document.output) and done.drawing:
                drawings = into / "drawings"
                drawings.mkdir(exist_ok=True)
                (drawings / f"{pair.document.number}.svg").write_text(done.drawing, "utf-8")
        for name, page in contents.items():
            (folder / name).write_text(page, "utf-8")
        written[language] = contents
    return written


def _write_assets(into: Path, written: list[str], workers: int | None) -> None:
    for name in ASSETS:
        with as_file(files("mlplab.pages.html") / "assets" / name) as path:
            shutil.copyfile(path, into / "assets" / name)
    vl_convert = import_extra("vl_convert", what="The book", extra="book")
    # As a script and not a module: it then works from a file too.
    program = f"(() => {{{vl_convert.javascript_bundle()}}})();"
    (into / "assets/vega.js").write_text(program, "utf-8")
    letters = fonts.letters_of(written)
    cut = partial(fonts.write, letters=letters, folder=into / "assets/fonts")
    rules = processes.each(cut, fonts.FONTS, workers=workers)
    (into / "assets/fonts.css").write_text("".join(rules), "utf-8")


def _write_search(into: Path, book: Book, written: Mapping[Language, Mapping[str, str]]) -> None:
    for language, contents in written.items():
        script = search.script(contents, language, book.elsewhere)
        (into / f"assets/search-{language}.js").write_text(script, "utf-8")
