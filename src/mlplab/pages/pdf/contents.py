"""What the printed book holds in one language, as data that its template reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from mlplab.answers import Book, Language, WordList
from mlplab.inquiry.errata import Correction
from mlplab.pages import labels, notes
from mlplab.pages.document import Document, ShownClaim, ShownTable
from mlplab.pages.pdf import copying

Pair = tuple[str, str]


def contents(
    book: Book,
    documents: Sequence[Document],
    corrections: Sequence[Correction],
    language: Language,
    made_with: Mapping[str, Any],
    families: str,
) -> dict[str, Any]:
    """All of it but texts, figures and programs, which lie in files of their own."""
    frame = book.frame(language)
    words = {**frame.group("pages"), **frame.group("printed")}
    words |= {"book": book.say("title", language), "subtitle": book.say("subtitle", language)}
    words |= {"cover_above": book.say("subject", language), "authors": book.base.content.get("authors", "")}
    wrong, total = notes.judged(documents)
    published = sum(document.state == "published" for document in documents)
    words["notes_count"] = words["notes_count"].format(count=wrong, total=total)
    words["notes_intro"] = notes.intro(book, language)
    words["glance_intro"] = words["glance_intro"].format(answered=published, total=len(documents))
    revision = made_with.get("revision") or "–"
    colophon = [
        words[name].format(
            version=made_with["mlplab"],
            revision=revision,
            python=made_with["python"],
            typst="{typst}",  # Typst says which one it is, here and in the file's properties
            fonts=families,
            closing=book.say("closing", language),
        )
        for name in ("colophon_made", "colophon_set", "colophon_again", "colophon_license")
    ]
    return {
        "language": language,
        "judges": book.judges,
        "tag": frame["tag"],
        "title": book.say("full_title", language) or book.say("title", language),
        "keywords": book.say("keywords", language).split(", "),
        "version": made_with["mlplab"],
        "words": words,
        "shapes": labels.SHAPES,
        "labels": {
            "verdicts": dict(frame.group("verdicts")),
            "judgements": dict(frame.group("judgements")),
        },
        "meanings": dict(frame.group("meanings")),
        "counts": [(name, notes.counted(documents, name, frame)) for name in notes.ORDER],
        "sections": [
            {
                "number": number,
                "title": (held := list(group))[0].section_title,
                "exercises": [_exercise(document, words, frame) for document in held],
            }
            for number, group in groupby(documents, key=lambda document: document.section)
        ],
        "total": total,
        "notes": [
            (
                name,
                notes.counted(documents, name, frame),
                [
                    {
                        "number": d.number,
                        "title": d.title,
                        "says": [(one.says, one.source) for one in said],
                        "has-reason": d.state == "published",
                    }
                    for d, said in held
                ],
            )
            for name in notes.ORDER
            if (held := notes.entries(documents, name))
        ],
        "glossary": [
            {
                "name": term.name,
                "term": term.term,
                "means": term.means,
                "elsewhere": " · ".join(
                    book.glossary(other)[term.name].term
                    for other in book.languages
                    if other != language and term.name in book.glossary(other)
                ),
            }
            for term in sorted(book.glossary(language).values(), key=lambda one: one.term.casefold())
        ],
        "errata": [
            _correction(correction, language, words)
            for correction in corrections
            if correction.exercise.is_told_in(language)
        ],
        "colophon": colophon,
    }


def _exercise(document: Document, words: Mapping[str, str], frame: WordList) -> dict[str, Any]:
    figure = document.figure
    width, height = size(figure.paper_svg) if figure else (0.0, 0.0)
    number = document.number
    return {
        "number": number,
        "title": document.title,
        "link": document.link,
        "editions": [f"{title}: {number}" for title, number in document.editions],
        "state": document.state,
        "judgements": document.judgements,
        "claims": [
            {
                "statement": claim.statement,
                "verdict": claim.verdict,
                "facts": _facts(claim, words, frame),
                "detail": claim.detail,
            }
            for claim in document.claims
        ],
        "circulated": document.circulated,
        "tables": [_table(table, index, document) for index, table in enumerate(document.tables)],
        "figure": figure
        and {
            "width": width,
            "height": height,
            "words": f"{document.title}: {figure.words}",
            "caption": document.title,
        },
        "code": copying.indented((document.code or "").rstrip("\n")),
        "program": program_name(number),
        "full-size": copying.indented((document.full_size or "").rstrip("\n")),
        "full-size-program": full_size_name(number),
        "output": document.output.printed if document.output else "",
        "drawing": _drawing(document),
        "expected": document.expected,
        "trains": document.trains,
        "commands": _commands(document, words),
        "provenance": _provenance(document, words) if document.state == "published" else [],
    }


def program_name(number: str) -> str:
    """The name under which an answer's program is attached."""
    return f"mlplab-{number}.py"


def full_size_name(number: str) -> str:
    """The name under which the same with mlplab is attached."""
    return f"mlplab-{number}-full-size.py"


def size(svg: str) -> tuple[float, float]:
    """Width and height of a drawing, in its own unit: pixels, or points."""
    found = re.search(r'<svg[^>]*\bwidth="([\d.]+)(?:pt)?"[^>]*\bheight="([\d.]+)(?:pt)?"', svg)
    assert found, "a drawing says how large it is"
    return float(found[1]), float(found[2])


def _drawing(document: Document) -> dict[str, float] | None:
    if document.output is None or not document.output.drawing:
        return None
    width, height = size(document.output.drawing)
    return {"width": width, "height": height}


def _facts(claim: ShownClaim, words: Mapping[str, str], frame: WordList) -> list[str]:
    facts = [frame[f"kinds.{claim.kind}"]]
    if claim.reading:
        facts.append(claim.reading)
    if claim.estimate:
        facts += [claim.estimate, claim.interval]
    if claim.unmet:
        facts.append(claim.unmet)
    if claim.needed:
        facts.append(words["needs"].format(claim.needed))
    if claim.verdict:
        facts.append(words["control" if claim.is_control_rejected else "no_control"])
    return facts


def _table(table: ShownTable, index: int, document: Document) -> dict[str, Any]:
    letter = "abcdefghijklmnopqrstuvwxyz"[index] if len(document.tables) > 1 else ""
    return {
        "number": f"{document.number}{letter}",
        "title": table.title,
        "heads": table.heads,
        "rows": table.rows,
        "numeric": table.numeric,
    }


def _commands(document: Document, words: Mapping[str, str]) -> list[Pair]:
    number = document.number
    if document.state == "open":
        return []
    quick = words["answer_command" if document.state == "published" else "quick_command"]
    commands = [(quick, f"{document.command} answer {number} --lang {document.language}")]
    if document.state == "unpublished":
        return commands
    if document.vary:
        commands.append((words["vary_command"], f"{document.command} answer {number} {document.vary}"))
    if document.trains:
        commands.append((words["full_command"], f"{document.command} answer {number} --effort full"))
    return [*commands, (words["verify_command"], f"{document.command} verify {number}")]


def _provenance(document: Document, words: Mapping[str, str]) -> list[Pair]:
    made, rows = document.made_with, []
    for used in document.data:
        prints = used.fingerprints
        marks = (
            f"{words['fingerprint']} {prints[0]}" if len(prints) == 1 else words["draws"].format(len(prints))
        )
        rows.append((words["data"], f"{used.title} ({used.name}), {marks}"))
    if document.num_seeds:
        rows.append((words["seeds"], document.seeds_text(words["looks"])))
    if document.studies:
        rows.append((words["studies"], ", ".join(document.studies)))
    packages = (f"{name} {version}" for name, version in (made.get("packages") or {}).items())
    return [
        *rows,
        (words["revision"], made.get("revision") or "–"),
        (words["versions"], ", ".join([f"Python {made.get('python')}", *packages])),
        (words["processor"], f"{made.get('processor')}, {made.get('system')}"),
        (words["evidence_file"], document.evidence_file),
    ]


def _correction(correction: Correction, language: Language, words: Mapping[str, str]) -> dict[str, str]:
    return {
        "number": correction.exercise.number,
        "title": correction.exercise.title(language),
        "date": correction.date.isoformat(),
        "what": correction.exercise.book.spoken(correction.what, language),
        "statement": correction.statement(language),
        "by": words["errata_by"].format(correction.reported_by) if correction.reported_by else "",
    }
