"""The printed book, looked at as a reader's program reads it: nothing is missing, and all of it can be found."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from mlplab.answers import ours
from mlplab.pages.pdf import printed

playa = pytest.importorskip("playa", reason="needs playa: pip install 'mlplab[test]'")
pytest.importorskip("typst", reason="needs the extra: pip install 'mlplab[book]'")
pytestmark = pytest.mark.slow

EXERCISES, LANGUAGES = ours().exercises, ours().languages
A4 = (595, 842)
# The book's own, less half a letter: a full stop may hang into it.
MARGIN = 27 / 25.4 * 72 - 6


@pytest.fixture(scope="module", params=LANGUAGES)
def book(request, built_book):
    """A PDF of the whole book, and its language."""
    with playa.open(built_book.with_name(ours().pdf_name(request.param))) as opened:
        yield opened, request.param


@pytest.fixture(scope="module")
def pages(book) -> list[list]:
    """The glyphs of each page."""
    return [[glyph.finalize() for glyph in page.glyphs] for page in book[0].pages]


def without_glyph(glyphs) -> list[str]:
    return [glyph.text for glyph in glyphs if glyph.cid == 0]


def not_embedded(opened) -> list[str]:
    fonts = {font.fontname: font for page in opened.pages for font in page.fonts.values()}
    return [name for name, font in fonts.items() if not {"FontFile2", "FontFile3"} & set(font.descriptor)]


def outside(glyphs) -> list[str]:
    """What stands in a margin; spaces at the end of a line may."""
    seen = (glyph for glyph in glyphs if glyph.text and not glyph.text.isspace())
    return [glyph.text for glyph in seen if glyph.bbox[0] < MARGIN or glyph.bbox[2] > A4[0] - MARGIN]


def leads_to_a_page(opened, target) -> bool:
    target = playa.resolve(target)
    if isinstance(target, bytes):
        return (
            target.decode() in opened.destinations and opened.destinations[target.decode()].page is not None
        )
    return playa.resolve(target[0])["Type"].name == "Page"


def text_of(glyphs) -> str:
    return unicodedata.normalize("NFKC", "".join(glyph.text or "" for glyph in glyphs))


def test_every_font_is_embedded(book):
    assert not not_embedded(book[0])


def test_no_glyph_is_missing(pages):
    assert not [letter for page in pages for letter in without_glyph(page)]


def test_the_text_of_every_page_can_be_read(pages):
    assert all(len(text_of(page).strip()) > 20 for page in pages)
    assert not [g for page in pages for g in page if g.text is None or "\ufffd" in g.text]


def test_no_line_runs_over_the_margin(pages):
    assert {number: held for number, page in enumerate(pages, 1) if (held := outside(page))} == {}


def test_every_page_is_a4(book):
    sizes = {tuple(round(side) for side in sorted((page.width, page.height))) for page in book[0].pages}
    assert sizes == {A4}


def test_it_says_what_it_is_and_how_to_read_it_aloud(book):
    opened, language = book
    assert opened.is_tagged
    assert opened.catalog["Lang"].decode() == {"zh": "zh-CN", "en": "en-GB"}[language]
    metadata = playa.resolve(opened.catalog["Metadata"]).buffer.decode()
    assert "mlplab developers" in metadata
    assert ours().say("full_title", language) in metadata


def test_it_names_the_typst_that_set_it(book, pages):
    """The wheel and the Typst in it are of different versions: what the file's properties say is the one source."""
    metadata = playa.resolve(book[0].catalog["Metadata"]).buffer.decode()
    (version,) = set(re.findall(r"Typst (\d[\d.]*\d)", metadata))
    told = set(re.findall(r"Typst(\d[\d.]*\d)", "".join("".join(map(text_of, pages)).split())))
    assert told == {version}


def test_every_exercise_is_in_the_outline_on_the_page_that_it_is_on(book, pages):
    opened, language = book
    titles: dict[str, int] = {}

    def walk(items) -> None:
        for item in items:
            titles[" ".join(item.title.split())] = item.destination.page.page_idx
            walk(item)

    walk(opened.outline)
    for number, exercise in EXERCISES.items():
        (found,) = (title for title in titles if title.startswith(f"{number} "))
        assert found == f"{number} {exercise.title(language)}"
        assert number in text_of(pages[titles[found]])
    for name in ("glance", "colophon"):
        assert ours().frame(language)[f"printed.{name}"] in titles
    for name in ("notes", "errata"):
        assert ours().frame(language)[f"pages.{name}"] in titles


def test_every_link_within_the_book_leads_to_a_page(book):
    opened, _ = book
    led = Counter()
    for number, page in enumerate(opened.pages, 1):
        for note in page.annotations:
            if note.type == "Link" and "Dest" in note.props:
                assert leads_to_a_page(opened, note.props["Dest"])
                led[number] += 1
    assert led[2] + led[3] >= len(EXERCISES) + 10  # the contents


def test_every_program_is_attached_byte_for_byte(book):
    opened, _ = book
    flat = playa.resolve(opened.names["EmbeddedFiles"])["Names"]
    held = {
        flat[i].decode(): playa.resolve(playa.resolve(flat[i + 1])["EF"])["F"] for i in range(0, len(flat), 2)
    }
    programs = {f"mlplab-{one.number}.py": one.program for one in ours().answered}
    programs |= {f"mlplab-{one.number}-full-size.py": one.full_size for one in ours().answered}
    kept = {name: program for name, program in programs.items() if program is not None}
    assert set(held) == set(kept)
    for name, program in kept.items():
        assert playa.resolve(held[name]).buffer == program.encode()


def test_a_program_that_is_copied_out_of_the_book_is_the_same_program(built_book, book):
    """As Chrome's viewer copies it: what is lost is spaces within a line and lines that are empty."""
    pdfium = pytest.importorskip("pypdfium2", reason="needs pypdfium2: pip install 'mlplab[test]'")
    opened = pdfium.PdfDocument(built_book.with_name(ours().pdf_name(book[1])))
    copied = [line for page in opened for line in page.get_textpage().get_text_range().splitlines()]
    for number, exercise in EXERCISES.items():
        program = exercise.program
        assert program is not None
        found = copied_program(copied, program)
        assert meaning(found) == meaning(program), number


def copied_program(copied: list[str], program: str) -> str:
    """A program's lines as they are found one behind the other in a text, with at most a few of a page between two."""
    lines = [line for line in program.splitlines() if line.strip()]
    words = [line.split() for line in copied]
    at = words.index(lines[0].split())
    found = []
    for line in lines:
        at = words.index(line.split(), at, at + 8)
        found.append(copied[at])
        at += 1
    return "\n".join(found)


def meaning(program: str) -> str:
    """The tree of a program, with one space for several in its texts."""
    return re.sub(r" +", " ", ast.dump(ast.parse(program)))


def test_words_are_found_in_it(pages, book):
    text = re.sub(r"\s+", "", "".join(map(text_of, pages)))
    for word in {"zh": ["暂退法", "权重衰减", "流传的答案错在哪里"], "en": ["dropout", "weightdecay"]}[
        book[1]
    ]:
        assert word.lower() in text.lower()


# The same looks at a page with everything wrong


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """A page where a letter has no glyph and a line runs over the margin."""
    root: Path = tmp_path_factory.mktemp("wrong")
    (root / "fonts").mkdir()
    (root / "book.typ").write_text(
        '#set text(font: "Source Serif 4", fallback: false)\n#box("unbroken" * 12)\n\n𓀀 ends here', "utf-8"
    )
    path = root / "wrong.pdf"
    path.write_bytes(printed.compile_book(root, standards=[]))
    with playa.open(path) as opened:
        yield opened


def test_a_missing_glyph_would_be_seen(wrong):
    assert len(without_glyph(glyph.finalize() for glyph in wrong.pages[0].glyphs)) == 1


def test_a_line_over_the_margin_would_be_seen(wrong):
    assert outside([glyph.finalize() for glyph in wrong.pages[0].glyphs])


def test_a_font_that_is_not_embedded_would_be_seen(wrong):
    for font in wrong.pages[0].fonts.values():
        font.descriptor = {}
    assert not_embedded(wrong)


def test_a_link_that_leads_nowhere_would_be_seen(wrong):
    assert not leads_to_a_page(wrong, b"ex-4.6.9")
