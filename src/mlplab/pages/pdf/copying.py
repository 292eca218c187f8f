"""Programs that can be copied out of a PDF and run.

Where text is copied, the space that a line begins with is lost: viewers take it for layout, and make one of many
spaces. A tab survives in Chrome's viewer (pdfium), as long as letters follow in the same run. So each level of
indentation is set as a letter that looks like a space, which the file then says is a tab, and three spaces behind it.

What keeps no indentation at all is poppler's `pdftotext` without `-layout`: to it every white letter is a gap.
"""

from __future__ import annotations

import io
import re

from mlplab.errors import import_extra

LEVEL = " " * 4
# White, as wide as all letters of a font of one width, a glyph of its own there, and in no text of the book.
WHITE = "\N{FIGURE SPACE}"
MAPPED = re.compile(rb"<2007>(?=\s)")


def indented(program: str) -> str:
    """A program as it is set: each level of its indentation begins with the letter that is copied as a tab."""
    lines = []
    for line in program.split("\n"):
        code = line.lstrip(" ")
        levels, rest = divmod(len(line) - len(code), len(LEVEL))
        lines.append((WHITE + LEVEL[1:]) * levels + " " * rest + code)
    return "\n".join(lines)


def with_tabs(pdf: bytes) -> bytes:
    """The PDF, in which that letter is copied as a tab. Raises MissingExtra without the extra `book`."""
    pikepdf = import_extra("pikepdf", what="The printed book", extra="book")
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        for held in opened.objects:
            if isinstance(held, pikepdf.Dictionary) and "/ToUnicode" in held:
                names = MAPPED.sub(b"<0009>", held["/ToUnicode"].read_bytes())
                held["/ToUnicode"] = opened.make_stream(names)
        written = io.BytesIO()
        opened.save(written, deterministic_id=True, object_stream_mode=pikepdf.ObjectStreamMode.preserve)
    return written.getvalue()
