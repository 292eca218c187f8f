"""The whole book as a folder of pages, with all that they need beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from mlplab.book import errata, processes
from mlplab.book.html import fonts, pages
from mlplab.book.making import Made
from mlplab.claims.words import LANGUAGES
from mlplab.errors import EvidenceError, import_extra

ASSETS = ("book.css", "book.js", "theme.js", "icon.svg")
# Of the search program; pages of its own look are not used.
SEARCH_LOOKS = ("pagefind-ui.*", "pagefind-modular-ui.*", "pagefind-component-ui.*", "pagefind-highlight.js")


def write(
    into: Path,
    made: Sequence[Made],
    corrections: Sequence[errata.Correction],
    on_progress: Callable[[str], None],
    *,
    workers: int | None = None,
) -> None:
    """Write the pages into an empty folder. `on_progress` is told what is being done."""
    on_progress("pages")
    (into / "assets/fonts").mkdir(parents=True)
    written = _write_pages(into, made, corrections)
    on_progress("fonts")
    _write_assets(into, written, workers)
    on_progress("search")
    _write_search(into)


def _write_pages(into: Path, made: Sequence[Made], corrections: Sequence[errata.Correction]) -> list[str]:
    written = []
    for index, language in enumerate(LANGUAGES):
        chapter = [one.documents[index] for one in made]
        html = {one.number: one.html[index] for one in made}
        titles = {document.number: document.title for document in chapter}
        folder = into / language
        folder.mkdir()
        contents = {
            f"{document.number}.html": pages.answer_page(document, html[document.number], before, after)
            for before, document, after in zip([None, *chapter], chapter, [*chapter[1:], None], strict=False)
        }
        contents["index.html"] = pages.index_page(chapter, language)
        contents["notes.html"] = pages.notes_page(chapter, html, language)
        contents["errata.html"] = pages.errata_page(corrections, titles, language)
        for name, page in contents.items():
            (folder / name).write_text(page, "utf-8")
        written += contents.values()
    landing = pages.landing_page()
    (into / "index.html").write_text(landing, "utf-8")
    return [*written, landing]


def _write_assets(into: Path, written: list[str], workers: int | None) -> None:
    for name in ASSETS:
        with as_file(files("mlplab.book.html") / "assets" / name) as path:
            shutil.copyfile(path, into / "assets" / name)
    vl_convert = import_extra("vl_convert", what="The book", extra="book")
    # As a script and not a module: it then works from a file too.
    program = f"(() => {{{vl_convert.javascript_bundle()}}})();"
    (into / "assets/vega.js").write_text(program, "utf-8")
    letters = fonts.letters_of(written)
    cut = partial(fonts.write, letters=letters, folder=into / "assets/fonts")
    rules = processes.each(cut, fonts.FONTS, workers=workers)
    (into / "assets/fonts.css").write_text("".join(rules), "utf-8")


def _write_search(into: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pagefind", "--site", str(into), "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EvidenceError(
            f"The search index was not made: {' '.join((done.stderr or done.stdout).split())}"
        )
    for path in _matching(into / "pagefind", SEARCH_LOOKS):
        path.unlink()


def _matching(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from folder.glob(pattern)
