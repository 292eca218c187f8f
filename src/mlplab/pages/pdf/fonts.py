"""The letters of the printed book. All come out of wheels; no font of the system is looked at."""

from __future__ import annotations

from pathlib import Path

from mlplab.pages import typefaces

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


def folders() -> list[Path]:
    """Where the fonts lie that are used as they are. Raises MissingExtra without the extra `book`."""
    return [typefaces.home(package) / inner for package, inner in FOLDERS]
