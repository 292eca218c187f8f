"""What the notes say, by what it is worth: what does not stand comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from mlplab.answers import Book, Judgement, Language, WordList
from mlplab.pages.document import Document, ShownStatement

ORDER: tuple[Judgement, ...] = (
    "wrong", "misread", "unsupported", "half-right", "incomplete", "untestable", "lost", "skipped", "right",
)  # fmt: skip

assert set(ORDER) == set(get_args(Judgement))

Entry = tuple[Document, Sequence[ShownStatement]]


def intro(book: Book, language: Language) -> str:
    """What the notes are, and what is listed of them."""
    about = book.about_circulated(language)
    return book.frame(language)("pages.notes_intro", about=about).strip()


def entries(documents: Sequence[Document], judgement: Judgement) -> list[Entry]:
    """The exercises with a statement so judged, and those statements: none where the notes skip the exercise."""
    found: list[Entry] = []
    for document in documents:
        said = [one for one in document.circulated if one.judgement == judgement]
        if said or (judgement == "skipped" and document.judgements == ["skipped"]):
            found.append((document, said))
    return found


def of_set(documents: Sequence[Document], name: str) -> list[Entry]:
    """The exercises of which a set of answers says something, and all that it says, in the order of the book."""
    found = [(d, [one for one in d.circulated if one.set_name == name]) for d in documents]
    return [(document, said) for document, said in found if said]


def num_statements(entries: Sequence[Entry]) -> int:
    """How many statements they are."""
    return sum(len(said) for _, said in entries)


def count(documents: Sequence[Document], judgement: Judgement) -> int:
    """How many statements are so judged; an exercise that the notes skip counts as one."""
    return sum(len(said) or 1 for _, said in entries(documents, judgement))


def counted(documents: Sequence[Document], judgement: Judgement, frame: WordList) -> str:
    """The same with its unit, as pages and the printed book say it."""
    num = count(documents, judgement)
    unit = "exercise" if judgement == "skipped" else "statement"
    return frame[f"units.{unit if num == 1 else f'{unit}s'}"].format(num)


def judged(documents: Sequence[Document]) -> tuple[int, int]:
    """How many statements do not stand as they are, and how many were judged: not those that cannot be tested."""
    counts = {name: count(documents, name) for name in ORDER if name not in ("untestable", "lost", "skipped")}
    return sum(counts.values()) - counts["right"], sum(counts.values())
