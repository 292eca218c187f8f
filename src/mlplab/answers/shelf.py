"""Books as folders: a shelf holds books, a book holds exercises, an exercise holds its answer, texts and evidence.

    books/d2l-mlp/book.toml        title, languages, editions, sections, exercises in order
    books/d2l-mlp/4.6.1/answer.py  what is observed, claimed and drawn: no sentence of any language
                        text.en.md, words.en.toml (title, statements, heads), evidence.json,
                        program.py (what a reader copies), full_size.py (the same with mlplab),
                        output.json (what program.py prints and draws)

A book is code: whoever opens one runs what stands in it. So a book that is not ours is opened only where it is named:
`mlplab --book FOLDER`, or the folders of the variable MLPLAB_BOOKS.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import mlplab
from mlplab.answers import glossary
from mlplab.answers.answer import Answer
from mlplab.answers.claim import Circulated
from mlplab.answers.glossary import Term
from mlplab.answers.words import Language, WordList, read_toml
from mlplab.errors import BookError, InvalidInput, MLPLabError, UnknownName

FORMAT = 1
OURS = "d2l-mlp"
VARIABLE = "MLPLAB_BOOKS"
# Below which the modules of opened books stand: mlplab_books.d2l_mlp.<folder of an exercise>.answer
PACKAGE = "mlplab_books"
# What `book.toml` says in each language, beside the title.
TEXTS = ("subtitle", "textbook", "textbook_link", "subject", "full_title", "keywords", "closing")
NUMBER = r"[0-9A-Za-z]+(\.[0-9A-Za-z]+)*"


@dataclass(frozen=True)
class Section:
    """A section of the textbook: its number, and its title and address by language."""

    number: str
    title: Mapping[Language, str]
    link: Mapping[Language, str]


@dataclass(frozen=True)
class CirculatedSet:
    """A set of answers that circulates: its name, its title and what is said of it by language, and where it lies."""

    name: str
    title: Mapping[Language, str]
    about: Mapping[Language, str]
    link: str


class Exercise:
    """One exercise of a book: its number, and what lies in its folder. Nothing is read before it is asked for."""

    def __init__(self, book: Book, section: Section, number: str) -> None:
        self.book = book
        self.section = section
        self.number = number

    def __reduce__(self) -> tuple[Callable[..., Exercise], tuple[object, ...]]:
        """To another process as its place: what lies there is read anew."""
        return _exercise_of, (self.book.folder, self.number)

    def __repr__(self) -> str:
        return f"<Exercise {self.number} of {self.book.name}>"

    @property
    def folder(self) -> Path:
        """Where its answer, program and evidence lie."""
        return self.book.base.folder / self.number

    @cached_property
    def languages(self) -> tuple[Language, ...]:
        """The languages that it can be read in: those with a text and words."""
        return tuple(
            language
            for language in self.book.languages
            if all(self._find(name) for name in (f"text.{language}.md", f"words.{language}.toml"))
        )

    def is_told_in(self, language: Language) -> bool:
        """Whether the book has a page for it in a language: an open one has its place in all of them."""
        return language in self.languages or not self.is_answered

    def check(self) -> None:
        """Raises BookError for a folder that is missing, or lacks a text or words in one of the book's languages.

        A language that a translation adds may lack exercises: they are not in it yet.
        """
        if not self.folder.is_dir():
            raise BookError(self.folder, "", f"is missing, and {self.book.base.file} lists it")
        if not self.is_answered:
            return
        for language in self.book.base.languages:
            self.words(language)
            self.text(language)

    @property
    def problem(self) -> str:
        """Why it cannot be opened; nothing where it can."""
        try:
            self.check()
        except BookError as error:
            return str(error)
        return ""

    @property
    def is_answered(self) -> bool:
        """Whether somebody has written its answer."""
        return (self.folder / "answer.py").is_file()

    @cached_property
    def answer(self) -> Answer | None:
        """Its answer; None where nobody has written it yet.

        Raises BookError for a module that cannot be loaded, or has no ANSWER, or claims without a statement, and for
        a judgement of what circulates in a book that names no set of answers.
        """
        if not self.is_answered:
            return None
        answer = getattr(self.module, "ANSWER", None)
        if not isinstance(answer, Answer):
            raise BookError(self.folder / "answer.py", "ANSWER", "must be an Answer")
        if answer.circulated and not self.book.judges:
            raise BookError(
                self.folder / "answer.py",
                "ANSWER.circulated",
                f"judges what circulates, and {self.book.base.file} has no [[circulated]]",
            )
        for said in answer.circulated:
            if said.source and said.source not in self.book.sets:
                raise BookError(
                    self.folder / "answer.py",
                    f"ANSWER.circulated {said.name}",
                    f"has a source that {self.book.base.file} does not list: {said.source}",
                )
        for language in self.languages:
            self.words(language).require(answer.needed_words())
        return answer

    def written_answer(self) -> Answer:
        """Its answer. Raises InvalidInput where nobody has written it yet."""
        if self.answer is None:
            name = f"{self.number} {self.title(self.book.languages[0])}"
            raise InvalidInput("exercise", "has no answer yet", name, "mlplab list shows those that have")
        return self.answer

    @property
    def module(self) -> ModuleType:
        """The module of its answer, with the functions that the answer is made of."""
        return self.book.base.module(f"{self.number}.answer")

    def words(self, language: Language) -> WordList:
        """Title, statements, heads and labels; behind them those that the book has for all its exercises.

        Raises BookError for a file that is missing or damaged.
        """
        name = f"words.{language}.toml"
        shared = [book.folder / name for book in (self.book.base, self.book)]
        return WordList.read(
            self._find(name) or self.folder / name, language, self.book.frame(language), shared
        )

    def title(self, language: Language) -> str:
        """What it asks, in a few words; in the book's first language where nobody has translated it.

        The number alone where the folder is missing, or no file has a title: `check` says what is wrong.
        """
        for spoken in (language, *self.book.languages):
            with suppress(BookError):
                if self._find(f"words.{spoken}.toml"):
                    return self.words(spoken)["title"]
        return self.number

    def link(self, language: Language) -> str:
        """Where its section of the textbook can be read; nothing where the book does not say."""
        return self.book.spoken(self.section.link, language)

    def text(self, language: Language) -> str:
        """The template of its text, in Markdown. Raises BookError for a file that is missing or no UTF-8 text."""
        name = f"text.{language}.md"
        path = self._find(name)
        try:
            return (path or self.folder / name).read_text("utf-8")
        except FileNotFoundError as error:
            raise BookError(self.folder / name, "", "is missing") from error
        except UnicodeDecodeError as error:
            raise BookError(path or self.folder / name, "", "must be UTF-8 text") from error

    @property
    def program(self) -> str | None:
        """The lines that answer it, a program to be copied that runs as it stands; None where there is none yet."""
        return self._code("program.py")

    @property
    def full_size(self) -> str | None:
        """The same with mlplab, as large as the answer needs it; None where there is nothing to add."""
        return self._code("full_size.py")

    def _code(self, name: str) -> str | None:
        path = self.folder / name
        try:
            return path.read_text("utf-8") if path.is_file() else None
        except UnicodeDecodeError as error:
            raise BookError(path, "", "must be UTF-8 text") from error

    @property
    def evidence_file(self) -> Path:
        """Where its evidence is published."""
        return self.folder / "evidence.json"

    @property
    def output_file(self) -> Path:
        """Where it is recorded what its program prints and draws."""
        return self.folder / "output.json"

    @property
    def is_published(self) -> bool:
        """Whether it has evidence, which is not read."""
        return self.evidence_file.is_file()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While its own code runs: where that fails, a BookError names the file and the line.

        Ours is code of mlplab: what fails there is a defect like any other, and is left as it is.
        """
        try:
            yield
        except MLPLabError:
            raise
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            places = [
                path for frame in frames if self.book.base.folder in (path := Path(frame.filename)).parents
            ]
            if not (places and self.book.prefix):
                raise
            raise BookError(places[-1], "", f"fails: {_told(error, places[-1])}") from error

    def check_language(self, language: Language) -> None:
        """Raises UnknownName for a language that it cannot be read in, BookError as `check` does."""
        self.check()
        if language not in self.languages:
            raise UnknownName("--lang", language, self.languages)

    def _find(self, name: str) -> Path | None:
        places = (book.folder / self.number / name for book in (self.book, self.book.base))
        return next((place for place in places if place.is_file()), None)


@dataclass(frozen=True)
class Book:
    """A book: a folder with `book.toml` and a folder for each exercise.

    Arguments:
      name: unique among those that are opened: `d2l-mlp`.
      languages: codes, the first one leads.
      content: all of `book.toml`.
      base: the book that this one translates; itself where it is no translation.
    """

    folder: Path
    name: str
    languages: tuple[Language, ...]
    content: Mapping[str, Any] = field(repr=False)
    translates: Book | None = None

    @classmethod
    @cache
    def open(cls, folder: Path) -> Book:
        """Read `book.toml`. Raises BookError that names file and key for what is missing or wrong."""
        file = folder / "book.toml"
        if not folder.is_dir():
            raise BookError(folder, "", "is no folder: a book is a folder with book.toml")
        content = read_toml(file)
        _check(content, file)
        translates = None
        languages = tuple(content["languages"])
        if name := content.get("translates"):
            translates = _translated(name, file)
            languages = tuple(dict.fromkeys((*translates.languages, *languages)))
        return cls(folder, content["name"], languages, content, translates)

    @property
    def base(self) -> Book:
        """The book whose answers these are: itself, or the one that it translates."""
        return self.translates or self

    @property
    def file(self) -> Path:
        """`book.toml`."""
        return self.folder / "book.toml"

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """In the order of the book."""
        translated = {s["number"]: s for s in self.content.get("sections", ())} if self.translates else {}
        return tuple(
            Section(
                section["number"],
                section["title"] | translated.get(section["number"], {}).get("title", {}),
                section.get("link", {}) | translated.get(section["number"], {}).get("link", {}),
            )
            for section in self.base.content["sections"]
        )

    @cached_property
    def exercises(self) -> Mapping[str, Exercise]:
        """By number, in the order of the book."""
        return {
            number: Exercise(self, section, number)
            for section, listed in zip(self.sections, self.base.content["sections"], strict=True)
            for number in listed["exercises"]
        }

    def exercise(self, number: str) -> Exercise:
        """The exercise of that number. Raises UnknownName, naming the nearest; BookError for an unlisted folder."""
        self.check_listed(number)
        return _exercise(number, self.exercises)

    @cached_property
    def unlisted(self) -> list[Path]:
        """Folders with an answer, texts or words that are no exercise of the book."""
        patterns = ("answer.py", "text.*.md", "words.*.toml")
        return [
            folder
            for folder in sorted(self.folder.iterdir())
            if folder.is_dir() and folder.name not in self.exercises
            if any(next(folder.glob(pattern), None) for pattern in patterns)
        ]

    def check_listed(self, number: str) -> None:
        """Raises BookError for the name of a folder that is no exercise of the book."""
        for folder in self.unlisted:
            if folder.name == number:
                raise BookError(folder, "", f"is no exercise: sections of {self.base.file} do not list it")

    @property
    def answered(self) -> list[Exercise]:
        """The exercises that have an answer, in the order of the book."""
        return [exercise for exercise in self.exercises.values() if exercise.is_answered]

    def say(self, key: str, language: Language) -> str:
        """A text of `book.toml`, as `spoken` chooses it."""
        return self.spoken({**self.base.content.get(key, {}), **self.content.get(key, {})}, language)

    def spoken(self, texts: Mapping[Language, str], language: Language) -> str:
        """One of texts by language: in this one, else in the first of the book's that has it, else nothing."""
        return next((texts[one] for one in (language, *self.languages) if one in texts), "")

    @property
    def judges(self) -> bool:
        """Whether sets of answers circulate, that the book judges: `[[circulated]]`."""
        return bool(self.base.content.get("circulated"))

    @cached_property
    def sets(self) -> Mapping[str, CirculatedSet]:
        """The sets of answers that it judges, by name."""
        translated = {one["name"]: one for one in self.content.get("circulated", ())}
        return {
            name: CirculatedSet(
                name,
                one.get("title", {}) | translated.get(name, {}).get("title", {}),
                one.get("about", {}) | translated.get(name, {}).get("about", {}),
                one.get("link", ""),
            )
            for one in self.base.content.get("circulated", ())
            for name in [one["name"]]
        }

    def set_of(self, said: Circulated) -> CirculatedSet:
        """The set of answers that says it."""
        return self.sets[said.source or next(iter(self.sets))]

    def about_circulated(self, language: Language) -> str:
        """What the book says of the sets that it judges, each in its words; nothing where it says nothing."""
        return " ".join(filter(None, (self.spoken(one.about, language) for one in self.sets.values())))

    @property
    def elsewhere(self) -> Mapping[str, str]:
        """Exercise -> its numbers in the textbook's other editions, with spaces between them."""
        numbers: dict[str, list[str]] = {}
        for edition in self.base.content.get("editions", ()):
            for number, other in edition.get("exercises", {}).items():
                numbers.setdefault(number, []).append(other)
        return {number: " ".join(others) for number, others in numbers.items()}

    def in_other_editions(self, number: str, language: Language) -> list[tuple[str, str]]:
        """The titles of the textbook's other editions that ask an exercise, each with its number there."""
        return [
            (self.spoken(edition.get("title", {}), language), edition["exercises"][number])
            for edition in self.base.content.get("editions", ())
            if number in edition.get("exercises", {})
        ]

    def glossary(self, language: Language) -> Mapping[str, Term]:
        """Its terms in a language, by name; a translation adds its own. Raises BookError as `glossary.read`."""
        folders = dict.fromkeys((self.base.folder, self.folder))
        return {
            name: term
            for folder in folders
            for name, term in glossary.read(folder / f"glossary.{language}.toml").items()
        }

    def pdf_name(self, language: Language) -> str:
        """What the printed book in a language is called."""
        return self.base.content.get("pdf", f"{self.name}-{{language}}.pdf").format(language=language)

    @property
    def command(self) -> str:
        """What a command on this book begins with: a book that is not ours is named by its folder."""
        is_ours = self.folder.resolve() == (home() / OURS).resolve()
        return "mlplab" if is_ours else f"mlplab --book {shlex.quote(self.folder.name)}"

    @property
    def prefix(self) -> str:
        """What files of this book outside its folder begin with: nothing for ours, which was there first.

        Two books may have one name as well as one number.
        """
        if self.base.folder.resolve() == (home() / OURS).resolve():
            return ""
        return f"{self.base.name}-{_place(self.base.folder)}-"

    def nearest(self, language: Language) -> Language:
        """The language; the book's first one where it lacks it."""
        return language if language in self.languages else self.languages[0]

    def frame(self, language: Language) -> WordList:
        """What the frame of the book says in a language: headings, verdicts, labels.

        Raises BookError where neither mlplab nor the book has a file `languages/CODE.toml`, or it lacks a key.
        """
        ours = Path(str(files("mlplab.languages")))
        places = [folder / f"{language}.toml" for folder in (ours, self.folder / "languages")]
        path = next((place for place in places if place.is_file()), places[-1])
        frame = WordList.read(path, language)
        frame.require(WordList.read(ours / "en.toml", "en"))
        return frame

    def module(self, name: str) -> ModuleType:
        """A module of the book: `chapter`, or `4.6.1.answer`. Raises BookError where it cannot be loaded."""
        *folders, last = name.rsplit(".", 1)
        path = self.folder.joinpath(*folders, f"{last}.py")
        package = _package(self.folder)
        for inner in folders:
            package = _subpackage(package, inner, self.folder / inner)
        try:
            return importlib.import_module(f"{package}.{last}")
        except MLPLabError:
            raise
        except Exception as error:
            raise BookError(path, "", f"cannot be loaded: {_told(error, path)}") from error


class Shelf:
    """The books at hand, those that were named first: a number is looked for in one after the other."""

    def __init__(self, books: Sequence[Book]) -> None:
        self.books = tuple(books)

    @classmethod
    def open(cls, *folders: Path | str) -> Shelf:
        """The books in `folders`, those of the variable MLPLAB_BOOKS, and ours behind them.

        A translation of ours stands in its place. Raises BookError for a folder that is no book.
        """
        named = [*folders, *filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))]
        places = dict.fromkeys(Path(folder).expanduser().resolve() for folder in named)
        books = [Book.open(place) for place in places]
        if not any(book.base.name == OURS for book in books):
            books.append(Book.open(home() / OURS))
        return cls(books)

    @property
    def first(self) -> Book:
        """The book that was named, or ours."""
        return self.books[0]

    @property
    def answering(self) -> list[Book]:
        """The books with answers of their own: of translations of one book, the one that was named first."""
        bases: dict[Path, Book] = {}
        for book in self.books:
            bases.setdefault(book.base.folder, book)
        return list(bases.values())

    def name(self, book: Book) -> str:
        """The name of a book, with its folder where another one has that name too."""
        return _apart(book, [one.name for one in self.books], book.name)

    def title(self, book: Book, language: Language) -> str:
        """The title of a book, with its folder where another one has that title too."""
        return _apart(book, [one.say("title", language) for one in self.books], book.say("title", language))

    @property
    def languages(self) -> tuple[Language, ...]:
        """Of all books."""
        return tuple(dict.fromkeys(language for book in self.books for language in book.languages))

    @cached_property
    def exercises(self) -> Mapping[str, Exercise]:
        """Of all books, by number; of two with the same number the one of the book that was named first."""
        numbers: dict[str, Exercise] = {}
        for book in self.books:
            for number, exercise in book.exercises.items():
                numbers.setdefault(number, exercise)
        return numbers

    def exercise(self, number: str) -> Exercise:
        """The exercise of that number. Raises UnknownName, naming the nearest; BookError for an unlisted folder."""
        if number not in self.exercises:
            for book in self.books:
                book.check_listed(number)
        return _exercise(number, self.exercises)

    def exercise_in(self, number: str, language: Language) -> Exercise:
        """The exercise as a book tells it in that language: of several translations, any may have it.

        Raises as `exercise` does, and UnknownName for a language that none of them has.
        """
        exercise = self.exercise(number)
        same = (book.exercises[number] for book in self.books if number in book.exercises)
        told = (one for one in same if one.folder == exercise.folder and language in one.languages)
        exercise = next(told, exercise)
        exercise.check_language(language)
        return exercise


def home() -> Path:
    """Where our own books lie: inside an installed package, or at the root of a checkout."""
    inside = Path(mlplab.__file__).parent / "books"
    return inside if inside.is_dir() else Path(mlplab.__file__).parents[2] / "books"


def ours() -> Book:
    """The book that mlplab brings."""
    return Book.open(home() / OURS)


def _apart(book: Book, names: Sequence[str], name: str) -> str:
    return f"{name} ({book.folder})" if names.count(name) > 1 else name


def _exercise(number: str, exercises: Mapping[str, Exercise]) -> Exercise:
    if number not in exercises:
        remedy = f"mlplab list shows all {len(exercises)}."
        siblings = [n for n in exercises if n.startswith(f"{number}.")]
        if siblings and "." in number:
            rule = f"must name one of the section's, {siblings[0]} to {siblings[-1]}"
            raise InvalidInput("exercise", rule, number, remedy)
        raise UnknownName("exercise", number, exercises, remedy)
    return exercises[number]


def _exercise_of(folder: Path, number: str) -> Exercise:
    return Book.open(folder).exercise(number)


def _told(error: Exception, path: Path) -> str:
    """What an error says, and the line of the book's file where it was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = f" (line {frames[-1].lineno})" if frames else ""  # a syntax error names its own
    return f"{type(error).__name__}: {' '.join(str(error).split())}{line}"


def _translated(name: str, file: Path) -> Book:
    folder = home() / name
    if not (folder / "book.toml").is_file():
        raise BookError(file, "translates", f"must be one of our books: {OURS}")
    return Book.open(folder)


def _check(content: Mapping[str, Any], file: Path) -> None:
    """Raises BookError for the first key that is missing or is not what it should be."""
    if content.get("format") != FORMAT:
        raise BookError(file, "format", f"must be {FORMAT}")
    for key in ("name", "languages", "title"):
        if key not in content:
            raise BookError(file, key, "is missing")
    _check_name(content["name"], file, "name")
    languages = content["languages"]
    if not (isinstance(languages, list) and languages and all(_is_code(code) for code in languages)):
        raise BookError(file, "languages", 'must be a list of codes, as ["en", "zh"]')
    _check_texts(content["title"], languages, file, "title")
    for key in TEXTS:
        _check_texts(content.get(key, {}), (), file, key)
    for key in ("authors", "submission", "translates"):
        if not isinstance(content.get(key, ""), str):
            raise BookError(file, key, "must be a text in quotes")
    _check_pdf(content.get("pdf", "{language}.pdf"), file)
    _check_circulated(content.get("circulated", []), languages, file)
    _check_editions(content.get("editions", []), file)
    sections = content.get("sections", [] if "translates" in content else None)
    if not (isinstance(sections, list) and all(isinstance(s, Mapping) for s in sections)):
        raise BookError(file, "sections", "must be one or more tables [[sections]]")
    for index, section in enumerate(sections):
        place = f"sections[{index}]"
        if "number" not in section:
            raise BookError(file, f"{place}.number", "is missing")
        _check_numbers([section["number"]], file, f"{place}.number")
        _check_texts(section.get("title", {}), (), file, f"{place}.title")
        _check_texts(section.get("link", {}), (), file, f"{place}.link")
    if "translates" in content:
        return
    if not sections:
        raise BookError(file, "sections", "must be one or more tables [[sections]]")
    seen: set[str] = set()
    for index, section in enumerate(sections):
        place = f"sections[{index}]"
        for key in ("title", "exercises"):
            if key not in section:
                raise BookError(file, f"{place}.{key}", "is missing")
        _check_texts(section["title"], languages, file, f"{place}.title")
        _check_numbers(section["exercises"], file, f"{place}.exercises")
        if twice := seen.intersection(section["exercises"]):
            raise BookError(file, f"{place}.exercises", f"lists {min(twice)} a second time")
        seen.update(section["exercises"])


def _check_name(name: object, file: Path, key: str) -> None:
    # It becomes part of the names of files.
    if not (isinstance(name, str) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)):
        raise BookError(file, key, "must be words in lower case with hyphens between them")


def _is_code(code: object) -> bool:
    return isinstance(code, str) and re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)?", code) is not None


def _check_texts(texts: object, languages: Iterable[Language], file: Path, key: str) -> None:
    """Texts by language: those of `languages` must be there, and whatever is there must be a text."""
    if not isinstance(texts, Mapping):
        raise BookError(file, key, 'must be texts by language, as en = "..."')
    for language in dict.fromkeys((*languages, *texts)):
        if not isinstance(texts.get(language), str):
            raise BookError(file, f"{key}.{language}", "must be a text in quotes")


def _check_pdf(name: object, file: Path) -> None:
    # A file beside the pages: nothing that leads elsewhere, and one for each language.
    if not (isinstance(name, str) and re.fullmatch(r"[\w.-]*\{language\}[\w.-]*\.pdf", name)):
        raise BookError(
            file, "pdf", 'must be a file\'s name with the place {language}, as "book-{language}.pdf"'
        )


def _check_circulated(sets: object, languages: Iterable[Language], file: Path) -> None:
    if not (isinstance(sets, list) and all(isinstance(one, Mapping) for one in sets)):
        raise BookError(file, "circulated", "must be tables [[circulated]]")
    for index, one in enumerate(sets):
        place = f"circulated[{index}]"
        if not isinstance(one.get("name"), str):
            raise BookError(file, f"{place}.name", "must be a text in quotes")
        _check_name(one["name"], file, f"{place}.name")
        if not isinstance(one.get("link", ""), str):
            raise BookError(file, f"{place}.link", "must be a text in quotes")
        _check_texts(one.get("title", {}), languages, file, f"{place}.title")
        _check_texts(one.get("about", {}), (), file, f"{place}.about")


def _check_editions(editions: object, file: Path) -> None:
    if not (isinstance(editions, list) and all(isinstance(e, Mapping) for e in editions)):
        raise BookError(file, "editions", "must be tables [[editions]]")
    for index, edition in enumerate(editions):
        for key in ("sections", "exercises"):
            numbers, place = edition.get(key, {}), f"editions[{index}].{key}"
            if not isinstance(numbers, Mapping):
                raise BookError(file, place, 'must be a table of numbers, as "4.6.1" = "5.6.1"')
            for number, other in numbers.items():
                if not isinstance(other, str):
                    raise BookError(file, f"{place}.{number}", "must be a text in quotes")


def _check_numbers(numbers: object, file: Path, key: str) -> None:
    # A number is a folder's name too: nothing that leads out of the book.
    if not (
        isinstance(numbers, list) and all(isinstance(n, str) and re.fullmatch(NUMBER, n) for n in numbers)
    ):
        raise BookError(file, key, 'must be made of numbers or letters with dots between them, as "4.6.1"')
    if len(set(numbers)) < len(numbers):
        raise BookError(file, key, "must not list one twice")


def _package(folder: Path) -> str:
    """The package that stands for a book's folder: its modules import each other as `from ..chapter import ...`."""
    root = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    root.__path__ = []
    name = re.sub(r"\W", "_", folder.name)
    return _subpackage(PACKAGE, f"{name}_{_place(folder)}", folder)


def _place(folder: Path) -> str:
    """A few letters that tell folders of one name apart."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:8]


def _subpackage(package: str, name: str, folder: Path) -> str:
    # A dot parts the names of packages: folder 4.6.1 is package 4_6_1.
    full = f"{package}.{name.replace('.', '_')}"
    if full not in sys.modules:
        module = ModuleType(full)
        module.__path__ = [str(folder)]
        sys.modules[full] = module
    return full
