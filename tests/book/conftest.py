"""The small answer of `cases.py` stands for an exercise; evidence lies in the test's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplab.book import evidence, inquiry, texts

from . import cases


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
