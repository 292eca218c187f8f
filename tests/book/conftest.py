"""The small book of `cases.py`, in the test's own folder. The real book is built once for all that look at it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from mlplab.answers import Book, Exercise

from . import cases

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
def book(tmp_path) -> Book:
    """The small book, without evidence."""
    return cases.copied(tmp_path)


@pytest.fixture
def exercise(book) -> Exercise:
    """The answered exercise of the small book."""
    return book.exercise(cases.NUMBER)


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
