"""Laws that are cited can be read: each number stands in docs/laws.md, with tests that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAWS = {
    int(number): text
    for number, text in re.findall(
        r"^## Law (\d+): (.*?)(?=^## |\Z)",
        (ROOT / "docs/laws.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
}


def cited(text: str) -> set[int]:
    """Numbers of the laws that a text cites, also in names of tests."""
    lists = re.findall(r"\b(?:test_)?laws?[ _](\d+(?:(?:, | and )\d+)*)", text, re.IGNORECASE)
    return {int(number) for numbers in lists for number in re.findall(r"\d+", numbers)}


@cache
def sources() -> dict[str, str]:
    files = [path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")]
    files += [*ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md"]
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in files}


def names_of_tests() -> set[str]:
    return set(re.findall(r"^def (test_\w+)\(", "\n".join(sources().values()), re.MULTILINE))


def test_laws_are_numbered_from_one():
    assert list(LAWS) == list(range(1, len(LAWS) + 1))


def test_each_law_that_is_cited_can_be_read():
    unknown = {name: numbers for name, text in sources().items() if (numbers := cited(text) - set(LAWS))}
    assert unknown == {}


@pytest.mark.parametrize("number", LAWS)
def test_a_law_has_a_reason_names_of_tests_and_a_control(number):
    parts = dict(
        re.findall(r"^- \*\*(\w+)\.\*\* (.*?)(?=^- \*\*|\Z)", LAWS[number], re.DOTALL | re.MULTILINE)
    )
    assert list(parts) == ["Reason", "Tests", "Control"]
    for part in ("Tests", "Control"):
        named = set(re.findall(r"`(test_\w+)`", parts[part]))
        assert named, f"law {number} names no test under {part}"
        assert named <= names_of_tests(), named - names_of_tests()


def test_tests_that_docs_name_exist():
    """On the page of extensions too."""
    named = set(re.findall(r"`(test_\w+)`", sources()["docs/extend.md"]))
    assert named
    assert named <= names_of_tests()


def test_a_citation_is_seen_however_it_is_written():
    law = "law"  # so that these are no citations
    text = f"({law} 10), {law}s 11 and 12; def test_{law}_13_that: {law.title()} 14's other half"
    assert cited(text) == {10, 11, 12, 13, 14}
    assert cited("the law of large numbers, outlaw 3, a test_lawn_7") == set()
