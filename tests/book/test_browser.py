"""The book in a real browser: it asks for nothing outside itself, answers, fits, and can be used by everybody."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlplab import answers
from mlplab.answers import EXERCISES, answered
from mlplab.book import evidence

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

real_folder = evidence.folder()
PUBLISHED = [number for number in answered() if (real_folder / f"{number}.json").is_file()]
UNPUBLISHED = [number for number in answered() if number not in PUBLISHED]
OPEN = [number for number in EXERCISES if number not in answered()]
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


@pytest.fixture(scope="session")
def browser():
    pytest.importorskip("playwright", reason="needs playwright: pip install 'mlplab[test]'")
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        launched = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


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


@pytest.mark.parametrize(("page", "words"), [("zh/index.html", "暂退法"), ("en/index.html", "dropout")])
def test_search_finds(visit, page, words):
    opened = visit(page)
    opened.keyboard.press("/")
    opened.keyboard.type(words)
    opened.wait_for_selector("#search-results li", timeout=60_000)
    titles = " ".join(opened.locator("#search-results a").all_inner_texts())
    assert words in titles.lower()
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/4.*.html*")


def test_search_says_so_where_nothing_is_found(visit):
    opened = visit("en/index.html")
    opened.click("#open-search")
    # Pagefind shortens a word until something begins like it: letters that no page has leave nothing.
    opened.fill("#search-words", "ㄅㄆㄇ")
    opened.wait_for_function("document.getElementById('search-state').textContent === 'Nothing found.'")


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
    shown = opened.locator(".program code").inner_text()
    opened.locator(".program .copy").click()
    opened.wait_for_function("document.querySelector('.program .copy').textContent === '已复制'")
    copied = opened.evaluate("navigator.clipboard.readText()")
    assert copied == shown
    assert copied == answers.code("4.6.1").rstrip("\n")


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
    for number in answered():
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


def test_a_page_opened_as_a_file_is_whole_but_for_search(built_book, browser):
    opened = browser.new_page(viewport=DESKTOP)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda asked: asked.url.startswith(("http:", "https:")) and faults.append(asked.url))
    opened.goto((built_book / "en/4.6.1.html").as_uri())
    figure_of(opened)
    opened.keyboard.press("/")
    assert "mlplab book serve" in opened.locator("#search-state").inner_text()
    opened.close()
    assert faults == []
