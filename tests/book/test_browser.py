"""The book in a real browser: it asks for nothing outside itself, answers, fits, and can be used by everybody."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlplab.answers import ours

pytestmark = pytest.mark.slow

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

EXERCISES = ours().exercises
PUBLISHED = [number for number, one in EXERCISES.items() if one.is_published]
UNPUBLISHED = [one.number for one in ours().answered if one.number not in PUBLISHED]
OPEN = [number for number, one in EXERCISES.items() if not one.is_answered]
# One page of each kind in both languages, and some answers: each has a figure, tables, formulas, code.
KINDS = ["index", "notes", "errata", "4.6.1", *PUBLISHED[:2], *UNPUBLISHED[:1], *OPEN[:1]]
PAGES = [f"{language}/{page}.html" for language in ("zh", "en") for page in dict.fromkeys(KINDS)]
every_page = pytest.mark.parametrize("page", PAGES)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="session")
def address(built_book: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(built_book))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(browser, address):
    """Opens a page, and at the end says whether anything went wrong on it: errors, or requests elsewhere."""
    faults: list[str] = []
    contexts = []

    def go(page: str, *, viewport=DESKTOP, scheme: str = "light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened = context.new_page()
        opened.on("console", lambda said: said.type == "error" and faults.append(said.text))
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("request", lambda asked: is_outside(asked.url) and faults.append(f"asked for {asked.url}"))
        opened.on("response", lambda got: got.status >= 400 and faults.append(f"{got.status} {got.url}"))
        opened.goto(address + page)
        opened.wait_for_load_state("networkidle")
        return opened

    def is_outside(url: str) -> bool:
        return not url.startswith((address, "data:", "blob:"))

    yield go
    for context in contexts:
        context.close()
    assert faults == []


def figure_of(page):
    """The figure, when it answers."""
    page.locator(".vega").scroll_into_view_if_needed()
    page.wait_for_selector('.vega[data-drawn="yes"] svg', timeout=60_000)
    return page.locator(".vega svg").first


def test_every_exercise_has_its_page_in_both_languages(built_book):
    for language in ("zh", "en"):
        assert {path.stem for path in (built_book / language).glob("4.*.html")} == set(EXERCISES)


def test_every_link_within_the_book_leads_somewhere(built_book):
    for page in built_book.glob("*/*.html"):
        text = page.read_text("utf-8")
        for link in re.findall(
            r'(?:href|src)="([^"]+)"', re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
        ):
            if link.startswith("http"):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{page}: {link}"
            if anchor:
                assert f'id="{anchor}"' in target.read_text("utf-8"), f"{page}: {link}"


@every_page
def test_a_page_loads_without_a_fault_and_asks_for_nothing_outside(visit, page):
    opened = visit(page)
    assert opened.locator("h1").count() == 1
    if opened.locator(".vega").count():
        figure_of(opened)
    assert opened.evaluate("[...document.fonts].filter(font => font.status === 'error').length") == 0


def look_for(page, words: str) -> list[str]:
    """The exercises that the search shows, in their order."""
    page.keyboard.press("/")
    page.fill("#search-words", words)
    page.wait_for_function("document.getElementById('search-state').textContent")
    links = page.locator("#search-results a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    return [link.removesuffix(".html") for link in links]


@pytest.mark.parametrize(
    ("language", "words", "first"),
    [
        ("zh", "暂退法", "4.6."), ("zh", "多项式", "4.4."), ("zh", "泛化误差", "4.4.4"),
        ("zh", "加入偏置", "4.7.2"), ("zh", "欠拟合", "4."),
        ("en", "dropuot", "4.6."), ("en", "5.6.1", "4.6.1"), ("en", "lambda", "4.5."),
    ],
)  # fmt: skip
def test_search_finds(visit, language, words, first):
    opened = visit(f"{language}/index.html")
    found = look_for(opened, words)
    assert found[0].startswith(first)
    assert str(len(found)) in opened.locator("#search-state").inner_text()
    opened.keyboard.press("ArrowDown")
    assert opened.evaluate("document.activeElement.getAttribute('href')") == f"{found[0]}.html"
    opened.keyboard.press("Enter")
    opened.wait_for_url(f"**/{found[0]}.html*")


def test_search_offers_what_the_other_language_has(visit):
    opened = visit("en/4.6.1.html")
    found = look_for(opened, "泛化误差")
    assert found[0] == "../zh/4.4.4"
    assert "found in 中文:" in opened.locator("#search-state").inner_text()
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/zh/4.4.4.html*")


def test_search_says_so_where_nothing_is_found(visit):
    opened = visit("en/index.html")
    assert look_for(opened, "ㄅㄆㄇ") == []
    assert opened.locator("#search-state").inner_text() == "Nothing found."


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_figure_responds_to_the_mouse(visit, viewport):
    opened = visit("en/4.6.1.html", viewport=viewport)
    figure_of(opened)
    mark = opened.locator(
        '.vega svg [role="graphics-symbol"] path, .vega svg .mark-rect path, .vega svg .mark-symbol path'
    )
    mark.first.hover(force=True)
    opened.wait_for_selector("#vg-tooltip-element.visible", timeout=30_000)
    assert opened.locator("#vg-tooltip-element").inner_text().strip()


def test_copy_copies_what_the_page_shows(visit):
    opened = visit("zh/4.6.1.html")
    shown = opened.locator(".program code").first.inner_text()
    opened.locator(".program .copy").first.click()
    opened.wait_for_function("document.querySelector('.program .copy').textContent === '已复制'")
    copied = opened.evaluate("navigator.clipboard.readText()")
    assert copied == shown
    assert copied == EXERCISES["4.6.1"].program.rstrip("\n")


@every_page
def test_nothing_overflows_a_phone(visit, page):
    opened = visit(page, viewport=PHONE)
    if opened.locator(".vega").count():
        figure_of(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_words_or_formulas_of_any_answer_overflow_a_phone(visit, language):
    """Figures are not waited for: they are the same for all, and the pages above have them."""
    wide = {}
    for number in (one.number for one in ours().answered):
        opened = visit(f"{language}/{number}.html", viewport=PHONE)
        width = opened.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[number] = width
        opened.close()
    assert wide == {}


def test_language_is_switched_in_place(visit):
    opened = visit("zh/4.6.1.html#evidence")
    opened.click("#language")
    opened.wait_for_url("**/en/4.6.1.html#evidence")
    assert opened.evaluate("document.documentElement.lang") == "en"
    opened.click("#language")
    opened.wait_for_url("**/zh/4.6.1.html#evidence")


def test_light_and_dark_are_chosen_and_kept(visit):
    opened = visit("en/index.html", scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(paper)
    opened.click("#theme")
    dark = opened.evaluate(paper)
    assert dark != light
    opened.goto(opened.url.replace("index", "notes"))
    assert opened.evaluate(paper) == dark


COLOURS = """() => [...document.querySelectorAll("body, main, main *")].map(element => {
  const { color, backgroundColor, filter } = getComputedStyle(element);
  return [element.tagName, color, backgroundColor, filter].join(" ");
})"""


@pytest.mark.parametrize("page", ["en/4.7.2.html", "zh/index.html"])
@pytest.mark.parametrize("dark", ["by the button", "by the system"])
def test_a_page_is_printed_in_the_colours_of_paper_whatever_the_screen_shows(visit, page, dark):
    opened = visit(page, scheme="dark" if dark == "by the system" else "light")
    shown = opened.evaluate(COLOURS)
    if dark == "by the button":
        opened.click("#theme")
        assert opened.evaluate(COLOURS) != shown
    opened.emulate_media(media="print")
    printed = opened.evaluate(COLOURS)
    opened.emulate_media(media="print", color_scheme="light")
    opened.evaluate("document.documentElement.dataset.theme = 'light'")
    assert printed == opened.evaluate(COLOURS)
    paper = "getComputedStyle(document.body).backgroundColor"
    assert opened.evaluate(paper) == "rgb(255, 255, 255)"


def test_a_printed_section_may_go_on_on_the_next_sheet(visit):
    """What is kept together moves to the next sheet whole, and leaves the rest of this one empty."""
    opened = visit("en/4.5.1.html")
    opened.emulate_media(media="print")
    kept = """[...document.querySelectorAll("section:not(.short), li:not(.circulated li)")]
      .filter(element => getComputedStyle(element).breakInside !== "auto").length"""
    assert opened.evaluate(kept) == 0


def test_the_keyboard_reaches_the_text_first(visit):
    opened = visit("en/4.6.1.html")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@every_page
def test_axe_finds_nothing_serious(visit, page, scheme):
    """Contrast in both themes, names, landmarks, order of headings."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe: pip install 'mlplab[test]'"
    )
    opened = visit(page, scheme=scheme)
    if opened.locator(".vega").count():
        figure_of(opened)
    results = axe.Axe().run(opened).response
    serious = [
        f"{found['id']}: {node['html'][:120]} {node.get('failureSummary', '')}"
        for found in results["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]
    assert serious == []


def test_axe_would_see_poor_contrast(visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = visit("en/index.html")
    opened.add_style_tag(content=".lede { color: #ddd !important }")
    assert "color-contrast" in {found["id"] for found in axe.Axe().run(opened).response["violations"]}


def test_a_page_opened_as_a_file_is_whole_with_its_search(built_book, browser):
    opened = browser.new_page(viewport=DESKTOP)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda asked: asked.url.startswith(("http:", "https:")) and faults.append(asked.url))
    opened.goto((built_book / "en/4.6.1.html").as_uri())
    figure_of(opened)
    assert look_for(opened, "dropout")[0].startswith("4.6.")
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/en/4.6.*.html")
    opened.close()
    assert faults == []
