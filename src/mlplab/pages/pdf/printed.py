"""The book as one PDF in one language. Typst comes inside a wheel (extra `book`); nothing of the system is used."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from mlplab.answers import Book, Language
from mlplab.environment import environment
from mlplab.errors import EvidenceError, import_extra
from mlplab.inquiry.errata import Correction
from mlplab.pages import typefaces
from mlplab.pages.making import Made
from mlplab.pages.pdf import copying, fonts
from mlplab.pages.pdf.contents import contents, full_size_name, program_name

TEMPLATE = ("book.typ", "style.typ", "front.typ", "exercise.typ", "back.typ", "program.tmTheme")
# Accessible, and kept: such a PDF has its fonts in it, tags, words for each figure, and no letter without a glyph.
STANDARDS = ["a-3a", "ua-1"]


def write(
    into: Path,
    book: Book,
    made: Sequence[Made],
    corrections: Sequence[Correction],
    language: Language,
) -> Path:
    """Write the book; returns its path. Raises EvidenceError that names the exercise and line that cannot be set."""
    path = into / book.pdf_name(language)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lay_out(root, book, made, corrections, language)
        path.write_bytes(compile_book(root))
    return path


def lay_out(
    root: Path,
    book: Book,
    made: Sequence[Made],
    corrections: Sequence[Correction],
    language: Language,
) -> None:
    """Write all that Typst reads: template, data, texts, figures, programs, fonts."""
    for name in TEMPLATE:
        with as_file(files("mlplab.pages.pdf") / "template" / name) as path:
            shutil.copyfile(path, root / name)
    for name in ("texts", "figures", "drawings", "programs", "fonts"):
        (root / name).mkdir()
    documents, drawings = [], {}
    for one in made:
        spoken = one.of(language)
        if spoken is None:
            continue  # nobody has translated it
        document = spoken.document
        documents.append(document)
        _write_texts(root / "texts" / one.number, spoken.typst)
        if document.figure:
            drawings[one.number] = document.figure.paper_svg
        if (done := document.output) and done.drawing:
            (root / "drawings" / f"{one.number}.svg").write_text(done.drawing, "utf-8")
        if document.code is not None:
            (root / "programs" / program_name(one.number)).write_text(document.code, "utf-8")
        if document.full_size is not None:
            (root / "programs" / full_size_name(one.number)).write_text(document.full_size, "utf-8")
    held = contents(book, documents, corrections, language, environment(), fonts.FAMILIES)
    (root / "book.json").write_text(json.dumps(held, ensure_ascii=False), "utf-8")
    for number, drawing in drawings.items():
        (root / "figures" / f"{number}.svg").write_text(drawing, "utf-8")
    typefaces.cut_for_figures("".join(drawings.values()), root / "fonts")


def compile_book(root: Path, standards: Sequence[str] = STANDARDS) -> bytes:
    """Set what was laid out. Raises EvidenceError that names the exercise, what is wrong, and the line that says it."""
    typst = import_extra("typst", what="The book", extra="book")
    letters = typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=[str(folder) for folder in (root / "fonts", *fonts.folders())],
    )
    compiler = typst.Compiler(str(root / "book.typ"), root=str(root), font_paths=letters)
    try:
        made, warnings = compiler.compile_with_warnings(format="pdf", pdf_standards=list(standards))
    except typst.TypstError as error:
        raise EvidenceError(f"The book is not built. {_told(error, root)}") from error
    if warnings:
        raise EvidenceError(f"The book is not built. {_told(warnings[0], root)}")
    return copying.with_tabs(made)


def _told(problem: Any, root: Path) -> str:
    """One line: the exercise, what Typst says of it, and the line where it says so."""
    first, *_ = problem.diagnostic.strip().split("\n\n")
    said = f"{problem.message}{f' ({problem.hints[0]})' if problem.hints else ''}"
    place = re.search(r"(texts/([^/]+)/\w+\.typ):(\d+):", first)
    if place is None:
        drawn = _figures_with(problem.message, root)
        return f"{f'Figure of {drawn}: ' if drawn else ''}{' '.join(said.split())}."
    path, number, line = place.groups()
    source = (root / path).read_text("utf-8").splitlines()[int(line) - 1]
    return f"{number}: {said}, in “{source.strip()}”."


def _figures_with(message: str, root: Path) -> str:
    """The exercises whose figure has the text that a message quotes: Typst names no place within a drawing."""
    quoted = re.search(r'"(.+?)"', message)
    if quoted is None:
        return ""
    drawings = sorted((root / "figures").glob("*.svg"))
    return ", ".join(path.stem for path in drawings if quoted[1] in path.read_text("utf-8"))


def _write_texts(folder: Path, sections: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, markup in sections.items():
        (folder / f"{name}.typ").write_text(f"{markup}\n", "utf-8")
