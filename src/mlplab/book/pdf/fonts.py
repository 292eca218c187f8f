"""The letters of the printed book. All come out of wheels; no font of the system is looked at."""

from __future__ import annotations

import io
from pathlib import Path

from mlplab.book import figures
from mlplab.errors import import_extra

# Wheel and folder in it. Typst sets any weight of a variable font.
FOLDERS = (
    ("fontpkg_source_serif_4", "files"),
    ("fontpkg_source_sans_3", "files"),
    ("fontpkg_source_code_pro", "files"),
    ("pylopdf_fonts_zh_cn", "."),
    ("manimgx_fonts_cjk", "."),
    ("ziamath", "fonts"),
)
PACKAGES = tuple(package for package, _ in FOLDERS)
FAMILIES = "Source Serif 4, Source Sans 3, Source Code Pro, Noto Serif SC, Noto Sans CJK SC, STIX Two Math"

SANS = ("fontpkg_source_sans_3", "files/SourceSans3[wght].ttf")
IN_FIGURES = "Source Sans in figures"
WEIGHTS = (400, 600)


def folders() -> list[Path]:
    """Where the fonts lie that are used as they are. Raises MissingExtra without the extra `book`."""
    return [figures.home(package) / inner for package, inner in FOLDERS]


def cut_for_figures(letters: str, into: Path) -> None:
    """Write the font `IN_FIGURES` in its two weights, with just these letters.

    In the text of a figure Typst sets a variable font as it is at rest, which for Source Sans is its thinnest.
    """
    subset = import_extra("fontTools.subset", what="The book", extra="book")
    instancer = import_extra("fontTools.varLib.instancer", what="The book", extra="book")
    package, path = SANS
    source = (figures.home(package) / path).read_bytes()
    for weight in WEIGHTS:
        options = subset.Options(notdef_outline=True, layout_features=[])
        font = subset.load_font(io.BytesIO(source), options)
        cutter = subset.Subsetter(options)
        cutter.populate(text=letters)
        cutter.subset(font)
        still = instancer.instantiateVariableFont(font, {"wght": weight})
        still["name"].setName(IN_FIGURES, 1, 3, 1, 0x409)
        still["OS/2"].usWeightClass = weight
        still.save(into / f"{weight}.ttf")
