"""The letters of the pages: subsets of fonts that come in wheels, with just the letters that the pages use."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

from mlplab.errors import import_extra
from mlplab.pages import typefaces

LATIN = "".join(map(chr, range(0x20, 0x7F)))
# What a formula shows: MathML sets a letter alone in italics, which are letters of their own.
MATH_ITALICS = "".join(map(chr, (*range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C), 0x210E)))
# What a formula draws and no text says: the sign of `msqrt` and `mroot`, of which the font has taller ones.
ROOT = "√"
# Beside what every text needs: figures of one width for tables, and a formula's own letters for indices.
FEATURES = ("tnum", "ssty")
# In Chinese these are as wide as a character; the Latin font, which comes first, has narrow ones.
PUNCTUATION = "U+2014, U+2018-2019, U+201C-201D, U+2026"


@dataclass(frozen=True)
class Font:
    """A family as style sheets name it, the wheel it lies in, its weights, and its place in a collection."""

    family: str
    package: str
    path: str
    weight: str = "400"
    style: str = "normal"
    letters: str = "all"
    index: int = -1

    @property
    def file(self) -> str:
        """The name of its subset."""
        slope = "-italic" if self.style == "italic" else ""
        return f"{self.family.lower().replace(' ', '-')}{slope}.woff2"


FONTS = (
    Font("Source Serif 4", "fontpkg_source_serif_4", "files/SourceSerif4[opsz,wght].ttf", "200 900"),
    Font(
        "Source Serif 4",
        "fontpkg_source_serif_4",
        "files/SourceSerif4-Italic[opsz,wght].ttf",
        "200 900",
        "italic",
    ),
    Font("Source Sans 3", *typefaces.SANS, "200 900"),
    Font("Source Code Pro", "fontpkg_source_code_pro", "files/SourceCodePro[wght].ttf", "200 900"),
    Font(
        "Source Code Pro",
        "fontpkg_source_code_pro",
        "files/SourceCodePro-Italic[wght].ttf",
        "200 900",
        "italic",
    ),
    # Of the collection's five, the one for simplified Chinese. It has every weight: bold is no smeared regular.
    Font("Noto Sans SC", "manimgx_fonts_cjk", "NotoSansCJK-VF.otf.ttc", "100 900", index=2),
    Font("Noto Serif SC", "pylopdf_fonts_zh_cn", "NotoSerifSC-Regular.otf", letters="headings"),
    Font("STIX Two Math", "ziamath", "fonts/STIXTwoMath-Regular.ttf", letters="formulas"),
)


def letters_of(pages: list[str]) -> dict[str, str]:
    """The letters that pages show: all of them, those of headings, those of formulas."""
    # A page's figure is drawn by a program from what stands in a script.
    everything = "".join(html.unescape(page) for page in pages)
    headings = "".join(
        re.sub(r"<[^>]+>", "", h)
        for page in pages
        for h in re.findall(r"<h[123].*?</h[123]>", page, re.DOTALL)
    )
    formulas = "".join(
        re.sub(r"<[^>]+>", "", m) for page in pages for m in re.findall(r"<math.*?</math>", page, re.DOTALL)
    )
    return {
        "all": "".join(sorted({*everything, *LATIN})),
        "headings": "".join(sorted(set(html.unescape(headings)))),
        "formulas": "".join(sorted({*html.unescape(formulas), *MATH_ITALICS, *LATIN, *ROOT})),
    }


def write(font: Font, letters: dict[str, str], folder: Path) -> str:
    """Write the subset of a font with its share of `letters_of` the pages; returns its rule for a style sheet.

    Raises MissingExtra without the extra `book`.
    """
    import_extra("brotli", what="The book", extra="book")
    subset = import_extra("fontTools.subset", what="The book", extra="book")
    options = subset.Options(
        flavor="woff2",
        hinting=False,
        layout_features=[*subset.Options().layout_features, *FEATURES],
        notdef_outline=True,
        font_number=font.index,
    )
    options.drop_tables += ["meta"]
    source = typefaces.home(font.package) / font.path
    with subset.load_font(str(source), options) as opened:
        cutter = subset.Subsetter(options)
        cutter.populate(text=letters[font.letters])
        cutter.subset(opened)
        subset.save_font(opened, str(folder / font.file), options)
    rule = _rule(font, font.family)
    if font.family == "Noto Sans SC":
        rule += _rule(font, "Chinese punctuation", PUNCTUATION)
    if (font.package, font.path) == typefaces.SANS:
        rule += _rule(font, typefaces.IN_FIGURES)
    return rule


def _rule(font: Font, family: str, letters: str = "") -> str:
    some = f" unicode-range: {letters};" if letters else ""
    return (
        f'@font-face {{ font-family: "{family}"; src: url("fonts/{font.file}") format("woff2"); '
        f"font-weight: {font.weight}; font-style: {font.style}; font-display: swap;{some} }}\n"
    )
