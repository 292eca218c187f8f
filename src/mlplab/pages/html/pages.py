"""Documents -> pages: what stands on each, and the templates that set it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import jinja2
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from mlplab.answers import Book, CirculatedSet, Language
from mlplab.inquiry.errata import Correction
from mlplab.pages import labels, notebook, notes, terms
from mlplab.pages.document import Document

SECTIONS = "question short sure why evidence circulates limits code again references provenance".split()
SHOWN_ROWS = 60  # of a figure's data; the rest are in the evidence


def _lines(cell: str) -> Markup:
    """An estimate above its interval."""
    first, *rest = cell.split("\n")
    return escape(first) + Markup("").join(
        Markup('<span class="second">{}</span>').format(line) for line in rest
    )


def _code(line: str) -> Markup:
    """What stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(line)))


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("mlplab.pages.html"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {"lines": _lines, "code": _code}
ENVIRONMENT.globals["shapes"] = labels.SHAPES


def answer_page(
    book: Book,
    document: Document,
    html: Mapping[str, str],
    before: Document | None,
    after: Document | None,
    others: Sequence[Language],
) -> str:
    """The page of one exercise. `html` holds the sections of its text; `others` are the languages that have it too."""
    figure = document.figure
    heads, rows, left_out = _data(figure.spec) if figure else ([], [], 0)
    present = {"question", "short", "why", "again", "references", "provenance", "limits"} if html else set()
    present |= {"sure"} | ({"evidence"} if html else set()) | ({"circulates"} if document.judges else set())
    present |= {"code"} if document.code else set()
    return _page(
        "answer.html",
        book,
        document.language,
        f"{document.number}.html",
        others,
        kind="answer",
        description=document.title,
        d=document,
        html=SimpleNamespace(**{name: Markup(html.get(name, "")) for name in SECTIONS}),
        toc=[] if document.state == "open" else [name for name in SECTIONS if name in present],
        svg=Markup(figure.svg if figure else ""),
        spec=Markup(json.dumps(figure.spec, ensure_ascii=False).replace("</", "<\\/")) if figure else "",
        data_heads=heads,
        data_rows=rows,
        data_left_out=left_out,
        code=Markup(highlighted(document.code)) if document.code else "",
        notebook=notebook.file_name(document.number) if document.code else "",
        drawing=f"../drawings/{document.number}.svg" if document.output and document.output.drawing else "",
        full_size=Markup(highlighted(document.full_size)) if document.full_size else "",
        before=before,
        after=after,
    )


def index_page(book: Book, documents: Sequence[Document], language: Language) -> str:
    """All exercises, and at a glance what the circulated answers are worth."""
    counts = [
        (name, count, notes.counted(documents, name, book.frame(language)))
        for name in notes.ORDER
        if (count := notes.count(documents, name))
    ]
    return _page(
        "index.html",
        book,
        language,
        "index.html",
        kind="index",
        description=book.say("title", language),
        pdf=book.pdf_name(language),
        documents=documents,
        num_published=sum(document.state == "published" for document in documents),
        counts=counts,
        meanings=[(name, book.frame(language)[f"meanings.{name}"]) for name in notes.ORDER],
        sections=[
            SimpleNamespace(number=number, title=(held := list(group))[0].section_title, documents=held)
            for number, group in groupby(documents, key=lambda document: document.section)
        ],
    )


def notes_page(
    book: Book, documents: Sequence[Document], html: Mapping[str, Mapping[str, str]], language: Language
) -> str:
    """What the notes got wrong, with the reasons; `html` holds the sections of each exercise's text."""
    groups = [
        (name, held, notes.counted(documents, name, book.frame(language)))
        for name in notes.ORDER
        if (held := notes.entries(documents, name))
    ]
    wrong, total = notes.judged(documents)
    return _page(
        "notes.html",
        book,
        language,
        "notes.html",
        kind="plain",
        description=book.frame(language)["pages.notes"],
        groups=groups,
        reasons={number: Markup(sections.get("circulates", "")) for number, sections in html.items()},
        meanings=book.frame(language).group("meanings"),
        intro=notes.intro(book, language),
        total=total,
        wrong=wrong,
        sets=[
            (_set_in(book, one, language), notes.num_statements(notes.of_set(documents, one.name)))
            for one in book.sets.values()
        ],
    )


def set_page(book: Book, documents: Sequence[Document], one: CirculatedSet, language: Language) -> str:
    """All that one set of answers says, in the order of the book, and what each statement is worth."""
    entries, shown = notes.of_set(documents, one.name), _set_in(book, one, language)
    wrong, total = notes.judged([replace(document, circulated=said) for document, said in entries])
    return _page(
        "set.html",
        book,
        language,
        f"from-{one.name}.html",
        kind="plain",
        description=shown.title,
        set=shown,
        entries=entries,
        total=total,
        wrong=wrong,
    )


def _set_in(book: Book, one: CirculatedSet, language: Language) -> SimpleNamespace:
    title, about = (book.spoken(texts, language) for texts in (one.title, one.about))
    return SimpleNamespace(name=one.name, title=title, about=about, link=one.link)


def errata_page(book: Book, corrections: Sequence[Correction], language: Language) -> str:
    """Readers' corrections."""
    shown = [
        {
            "exercise": correction.exercise.number,
            "title": correction.exercise.title(language),
            "date": correction.date.isoformat(),
            "what": book.spoken(correction.what, language),
            "claim": correction.claim,
            "statement": correction.statement(language),
            "reported_by": correction.reported_by,
        }
        for correction in corrections
        if correction.exercise.is_told_in(language)
    ]
    return _page(
        "errata.html",
        book,
        language,
        "errata.html",
        kind="plain",
        description=book.frame(language)["pages.errata"],
        corrections=shown,
    )


def glossary_page(book: Book, documents: Sequence[Document], language: Language) -> str:
    """The book's terms, what each is called in its other languages, and the exercises that use it."""
    others = [other for other in book.languages if other != language]
    return _page(
        "glossary.html",
        book,
        language,
        terms.PAGE,
        [one for one in book.languages if book.glossary(one)],
        kind="plain",
        description=book.frame(language)["pages.glossary"],
        comma=book.frame(language)["printed.list_comma"],
        terms=[
            SimpleNamespace(
                name=term.name,
                term=term.term,
                means=term.means,
                elsewhere=[
                    SimpleNamespace(tag=book.frame(other)["tag"], term=book.glossary(other)[term.name].term)
                    for other in others
                    if term.name in book.glossary(other)
                ],
                exercises=[document.number for document in documents if term.name in document.terms],
            )
            for term in sorted(book.glossary(language).values(), key=lambda one: one.term.casefold())
        ],
    )


def landing_page(book: Book) -> str:
    """The way into the book's languages."""
    ways = [
        SimpleNamespace(
            code=language,
            tag=frame["tag"],
            words=frame("pages.landing_link", title=book.say("title", language), name=frame["name"]),
        )
        for language in book.languages
        for frame in [book.frame(language)]
    ]
    return ENVIRONMENT.get_template("landing.html").render(ways=ways)


def highlighted(program: str) -> str:
    """A program in the colours of the page."""
    return highlight(program.rstrip("\n"), PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n")


def _page(
    template: str,
    book: Book,
    language: Language,
    page: str,
    others: Sequence[Language] | None = None,
    **content: Any,
) -> str:
    frame = book.frame(language)
    words = {
        name: book.say(name, language)
        for name in ("title", "subtitle", "textbook", "textbook_link", "closing")
    }
    return ENVIRONMENT.get_template(template).render(
        w=SimpleNamespace(**frame.group("pages")),
        book=SimpleNamespace(**words, judges=book.judges, has_glossary=bool(book.glossary(language))),
        labels=SimpleNamespace(
            verdicts=frame.group("verdicts"),
            judgements=frame.group("judgements"),
            kinds=frame.group("kinds"),
        ),
        html_lang=frame["tag"],
        language=language,
        editions=json.dumps(
            [
                {"language": other, "tag": book.frame(other)["tag"], "name": book.frame(other)["name"]}
                for other in book.languages
                if other != language
            ],
            ensure_ascii=False,
        ),
        others=[
            SimpleNamespace(
                tag=book.frame(other)["tag"], name=book.frame(other)["name"], page=f"../{other}/{page}"
            )
            for other in (book.languages if others is None else others)
            if other != language
        ],
        page=page,
        root="../",
        **content,
    )


def _data(spec: Mapping[str, Any]) -> tuple[list[str], list[list[str]], int]:
    """The figure's first table as text: heads, rows, and how many rows are left out."""
    tables = [rows for rows in spec.get("datasets", {}).values() if rows]
    if not tables:
        return [], [], 0
    rows = max(tables, key=len)
    heads = list(rows[0])
    cells = [
        ["" if row.get(head) is None else str(row.get(head)) for head in heads] for row in rows[:SHOWN_ROWS]
    ]
    return heads, cells, max(0, len(rows) - SHOWN_ROWS)
