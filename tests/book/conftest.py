"""The small answer of `cases.py` stands for an exercise; evidence lies in the test's own folder.

The real book is built once for all tests that look at it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from mlplab.book import evidence, inquiry, texts

from . import cases

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(autouse=True)
def small_answer(monkeypatch):
    """`cases.ANSWER` answers `cases.NUMBER`; the others are as they are."""
    real_answer, real_text = inquiry.answer, texts.text
    monkeypatch.setattr(inquiry, "answer", lambda n: cases.ANSWER if n == cases.NUMBER else real_answer(n))
    monkeypatch.setattr(
        texts,
        "text",
        lambda n, language: cases.TEXTS[language] if n == cases.NUMBER else real_text(n, language),
    )


@pytest.fixture(autouse=True)
def checkout(tmp_path, monkeypatch) -> Path:
    """A checkout with an empty folder of evidence."""
    root = tmp_path / "checkout"
    (root / ".git").mkdir(parents=True)
    monkeypatch.setattr(evidence, "folder", lambda: root / "evidence")
    return root


@pytest.fixture(scope="session")
def built_book(tmp_path_factory) -> Path:
    """The folder of the book as a reader builds it; the PDFs lie beside it."""
    base = tmp_path_factory.getbasetemp()
    # All processes of a run share one folder: who comes first builds.
    shared = base.parent if base.name.startswith("popen-") else base
    folder = shared / "dist" / "book"
    with FileLock(shared / "book.lock"):
        if not folder.exists():
            command = [sys.executable, "-m", "mlplab", "book", "build", "--out", str(folder)]
            folder.parent.mkdir()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            names = ["book/index.html", "mlplab-answers-zh.pdf", "mlplab-answers-en.pdf"]
            assert done.stdout.split() == [str(folder.parent / name) for name in names]
    return folder


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
