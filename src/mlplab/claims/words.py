"""The same words in the book's two languages."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


class Words(NamedTuple):
    """A short text in English and Chinese: `words["zh"]`-like by `words.of("zh")`."""

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """The text in that language."""
        return self.zh if language == "zh" else self.en
