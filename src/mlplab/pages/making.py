"""An exercise made ready to be set: in both languages, its texts as HTML and as Typst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlplab.answers import Exercise, Language
from mlplab.errors import MLPLabError
from mlplab.pages import notebook, pandoc
from mlplab.pages.document import Document, documents


@dataclass(frozen=True)
class InLanguage:
    """One exercise in one language, with the sections of its text as HTML and as Typst."""

    document: Document
    html: Mapping[str, str]
    typst: Mapping[str, str]
    notebook: str


@dataclass(frozen=True)
class Made:
    """One exercise in all languages, with the sections of its texts; or what stands in the way of it.

    Arguments:
      html, typst: a mapping from section to markup for each of `documents`.
      notebooks: what its notebook's file holds, for each of them; empty where it has no program.
      broken: a line for each thing that a person must mend.
    """

    number: str
    documents: Sequence[Document] = ()
    html: Sequence[Mapping[str, str]] = ()
    typst: Sequence[Mapping[str, str]] = ()
    notebooks: Sequence[str] = ()
    broken: Sequence[str] = ()

    def of(self, language: Language) -> InLanguage | None:
        """It in one language; None where nobody has translated it."""
        notebooks = self.notebooks or [""] * len(self.documents)
        for one in zip(self.documents, self.html, self.typst, notebooks, strict=True):
            if one[0].language == language:
                return InLanguage(*one)
        return None


def make(exercise: Exercise) -> Made:
    """One exercise. What a person must mend comes back as lines: errors do not travel between processes."""
    number = exercise.number
    try:
        with exercise.running():
            found, broken = documents(exercise, exercise.book.languages)
        texts = [d.sections for d in found]
        version = found[0].pandoc_version
        html, typst = (pandoc.to_html(version, texts), pandoc.to_typst(version, texts))
        frames = [exercise.book.frame(document.language) for document in found]
        notebooks = [notebook.written(d, f) if d.code else "" for d, f in zip(found, frames, strict=True)]
    except MLPLabError as error:
        return Made(number, broken=[f"{number}: {str(error).rstrip('.')}"])
    return Made(number, found, html, typst, notebooks, broken)
