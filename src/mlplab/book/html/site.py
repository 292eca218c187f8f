"""The whole book as a folder of pages: made beside the old one, which stays until the new one is whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import jinja2

from mlplab.answers import EXERCISES
from mlplab.book import errata, figures, pandoc, processes
from mlplab.book.document import Document, documents
from mlplab.book.html import fonts, pages
from mlplab.claims.words import LANGUAGES
from mlplab.errors import EvidenceError, InvalidInput, MLPLabError, import_extra

NEEDED = ("altair", "vl_convert", "pypandoc", "pagefind", "fontTools", "brotli")
ASSETS = ("book.css", "book.js", "theme.js", "icon.svg")
# Of the search program; pages of its own look are not used.
SEARCH_LOOKS = ("pagefind-ui.*", "pagefind-modular-ui.*", "pagefind-component-ui.*", "pagefind-highlight.js")

Progress = Callable[[str, float], None]
# Shares of the time that a build takes: what it says while it goes on.
ANSWERS, FONTS = 0.85, 0.97


@dataclass(frozen=True)
class Made:
    """One exercise in all languages, with the HTML of its texts; or what stands in the way of it."""

    number: str
    documents: Sequence[Document] = ()
    html: Sequence[dict[str, str]] = ()
    broken: Sequence[str] = ()


def build(
    into: Path, *, workers: int | None = None, on_progress: Progress = lambda words, share: None
) -> Path:
    """Write the book's pages; returns its first page.

    Every claim of published evidence is checked again. Raises EvidenceError that names each sentence that no longer
    holds, MissingExtra without the extra `book`, InvalidInput for a folder that holds something else.

    Arguments:
      workers: processes; as many as there are cores by default, and none of its own for 1.
      on_progress: called with what is being done, and the share of all that is done.
    """
    for name in NEEDED:
        import_extra(name, what="The book", extra="book")
    for font in fonts.FONTS:
        figures.home(font.package)
    if (
        into.exists()
        and not (into / "assets/book.css").exists()
        and (not into.is_dir() or any(into.iterdir()))
    ):
        raise InvalidInput("the book's folder", "must be empty, new, or hold a book", str(into))
    corrections = errata.corrections()
    made: list[Made] = []
    for one in processes.each(make, list(EXERCISES), workers=workers):
        made.append(one)
        on_progress(f"answers {len(made)}/{len(EXERCISES)}", ANSWERS * len(made) / len(EXERCISES))
    if broken := [line for one in made for line in one.broken]:
        raise EvidenceError(f"The book is not built. {'. '.join(broken)}.")
    part = into.with_name(f".{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "assets/fonts").mkdir(parents=True)
        written = _write_pages(part, made, corrections)
        _write_assets(part, written, on_progress)
        on_progress("search", FONTS)
        _write_search(part)
        shutil.rmtree(into, ignore_errors=True)
        part.rename(into)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return into / "index.html"


def make(number: str) -> Made:
    """One exercise. What a person must mend comes back as lines: errors do not travel between processes."""
    try:
        found, broken = documents(number, LANGUAGES)
        html = [pandoc.to_html(d.pandoc_version, d.sections) if d.sections else {} for d in found]
    except jinja2.UndefinedError as error:
        return Made(number, broken=[f"{number}: a sentence quotes what nobody found: {error}"])
    except MLPLabError as error:
        return Made(number, broken=[f"{number}: {str(error).rstrip('.')}"])
    return Made(number, found, html, broken)


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


def _write_assets(into: Path, written: list[str], on_progress: Progress) -> None:
    for name in ASSETS:
        with as_file(files("mlplab.book.html") / "assets" / name) as path:
            shutil.copyfile(path, into / "assets" / name)
    vl_convert = import_extra("vl_convert", what="The book", extra="book")
    # As a script and not a module: it then works from a file too.
    program = f"(() => {{{vl_convert.javascript_bundle()}}})();"
    (into / "assets/vega.js").write_text(program, "utf-8")
    letters = fonts.letters_of(written)
    rules = []
    for font in fonts.FONTS:
        on_progress("fonts", ANSWERS + (FONTS - ANSWERS) * len(rules) / len(fonts.FONTS))
        rules.append(fonts.write(font, letters[font.letters], into / "assets/fonts"))
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
