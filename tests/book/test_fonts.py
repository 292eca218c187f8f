"""The fonts of the pages hold every letter that is shown, those too that no text says."""

from __future__ import annotations

import pytest

from mlplab.pages.html import fonts

ROOTS = "<p>Divide by <math><msqrt><mi>n</mi></msqrt></math>.</p>"


def test_a_root_has_its_sign(tmp_path):
    """MathML draws it, and no text says it: without its glyph 1/√n is read as 1/n."""
    reader = pytest.importorskip("fontTools.ttLib", reason="needs the extra book")
    (font,) = (font for font in fonts.FONTS if font.letters == "formulas")
    fonts.write(font, fonts.letters_of([ROOTS]), tmp_path)
    held = reader.TTFont(tmp_path / font.file)
    assert ord("√") in held.getBestCmap()
    assert held.getGlyphSet()[held.getBestCmap()[ord("√")]].width > 0
    # Taller ones stand over fractions.
    tall = held["MATH"].table.MathVariants.VertGlyphCoverage.glyphs
    assert held.getBestCmap()[ord("√")] in tall
