"""Fonts that come in wheels, and Source Sans at rest: figures are drawn by programs that cannot set a variable font."""

from __future__ import annotations

import io
import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from multiprocessing.util import Finalize
from pathlib import Path

from mlplab.errors import MissingExtra, import_extra

SANS = ("fontpkg_source_sans_3", "files/SourceSans3[wght].ttf")
# What measures the letters of a figure reads names without their quotes, and then no word of them may start with a
# digit: where "Source Sans 3" stands among them, all letters are taken to be of one width.
IN_FIGURES = "Source Sans in figures"
WEIGHTS = (400, 600)
# Latin, Greek, punctuation, superscripts, arrows, operators: Chinese letters are all of one width.
_MEASURED = ((0x20, 0x250), (0x370, 0x400), (0x2010, 0x2060), (0x2070, 0x20A0), (0x2190, 0x2270))


def home(package: str) -> Path:
    """The folder of a wheel of fonts, which is data: nothing of it runs. Raises MissingExtra where it is missing."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("The book", "book")
    return Path(found.submodule_search_locations[0])


def cut_for_figures(letters: str, into: Path) -> None:
    """Write the font `IN_FIGURES` in its two weights, with just these letters.

    In the text of a figure Typst sets a variable font as it is at rest, which for Source Sans is its thinnest.
    Raises MissingExtra without the extra `book`.
    """
    subset = import_extra("fontTools.subset", what="The book", extra="book")
    instancer = import_extra("fontTools.varLib.instancer", what="The book", extra="book")
    package, path = SANS
    source = (home(package) / path).read_bytes()
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


@cache
def register() -> None:
    """Once a process, so that letters are measured in the fonts that the book brings and labels get the room they need.

    The files stay until the process ends: they are read whenever a letter is measured. Raises MissingExtra without
    the extra `book`.
    """
    vl_convert = import_extra("vl_convert", what="A figure", extra="book")
    cut = tempfile.mkdtemp(prefix="mlplab-fonts-")
    Finalize(None, shutil.rmtree, (cut,), {"ignore_errors": True}, exitpriority=0)
    cut_for_figures("".join(chr(code) for part in _MEASURED for code in range(*part)), Path(cut))
    for folder in (cut, home("pylopdf_fonts_zh_cn")):
        vl_convert.register_font_directory(str(folder))
