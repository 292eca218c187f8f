"""The whole book, as pages and as PDF: made beside the old one, which stays until the new one is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from mlplab.answers import Book
from mlplab.errors import EvidenceError, InvalidInput, import_extra
from mlplab.inquiry import errata, processes
from mlplab.inquiry.contradictions import contradictions
from mlplab.outputs import whole
from mlplab.pages import typefaces
from mlplab.pages.html import fonts, site
from mlplab.pages.making import Made, make
from mlplab.pages.pdf import fonts as pdf_fonts
from mlplab.pages.pdf import printed

NEEDED = ("altair", "vl_convert", "pypandoc", "fontTools", "brotli", "typst", "nbformat", "pikepdf")
Progress = Callable[[str, float], None]
# Share of the time that a build takes after which a stage begins: what it says while it goes on.
BEGINS = {"pages": 0.84, "fonts": 0.87, "PDF": 0.95}


def build(
    book: Book, into: Path, *, workers: int | None = None, on_progress: Progress = lambda words, share: None
) -> list[Path]:
    """Write a book's pages, and beside their folder the PDFs; returns the first page and the PDFs.

    Every claim of published evidence is checked again. Raises EvidenceError that names each sentence that no longer
    holds and each two pages that contradict each other, MissingExtra without the extra `book`, InvalidInput for a
    folder that holds something else.

    Arguments:
      workers: processes; as many as there are cores by default, and none of its own for 1.
      on_progress: called with what is being done, and the share of all that is done.
    """
    for name in NEEDED:
        import_extra(name, what="The book", extra="book")
    for package in {*(font.package for font in fonts.FONTS), *pdf_fonts.PACKAGES}:
        typefaces.home(package)
    if (
        into.exists()
        and not (into / "assets/book.css").exists()
        and (not into.is_dir() or any(into.iterdir()))
    ):
        raise InvalidInput("the book's folder", "must be empty, new, or hold a book", str(into))
    into = into.resolve()  # the folder where one stands has a name too, and a link is not what is replaced
    corrections = errata.corrections(book)
    made: list[Made] = []
    exercises = list(book.exercises.values())
    for one in processes.each(make, exercises, workers=workers):
        made.append(one)
        on_progress(f"answers {len(made)}/{len(exercises)}", BEGINS["pages"] * len(made) / len(exercises))
    if broken := [line for one in made for line in one.broken] + contradictions(book):
        raise EvidenceError(f"The book is not built. {'. '.join(broken)}.")
    part, old = into.with_name(f".{into.name}.part"), into.with_name(f".{into.name}.old")
    for left in (part, old):  # by a build that was stopped
        shutil.rmtree(left, ignore_errors=True)
    try:
        site.write(
            part, book, made, corrections, lambda stage: on_progress(stage, BEGINS[stage]), workers=workers
        )
        on_progress("PDF", BEGINS["PDF"])
        pdfs = [printed.write(part, book, made, corrections, language) for language in book.languages]
        if into.exists():  # moved aside: to remove a folder takes longer than to be stopped does
            into.rename(old)
        part.rename(into)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    beside = [into.with_name(pdf.name) for pdf in pdfs]
    for path in beside:
        with whole(path) as copy:
            shutil.copyfile(into / path.name, copy)
    return [into / "index.html", *beside]
