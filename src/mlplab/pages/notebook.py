"""An exercise as a Jupyter notebook: question, answer, its program in cells, how sure, what to vary."""

from __future__ import annotations

import re
from typing import Any

from mlplab.answers import WordList
from mlplab.errors import import_extra
from mlplab.pages import labels
from mlplab.pages.document import Document

# What begins a cell of a program; editors know it as well.
MARK = re.compile(r"^# %% (.+)\n", re.MULTILINE)


def file_name(number: str) -> str:
    """What the notebook of an exercise is called."""
    return f"mlplab-{number}.ipynb"


def cells_of(program: str) -> list[tuple[str, str]]:
    """A program parted at its marks: the name of each cell, empty for the first one, and its lines."""
    first, *rest = MARK.split(program)
    return [
        ("", first.strip()),
        *((n.strip(), c.strip()) for n, c in zip(rest[::2], rest[1::2], strict=True)),
    ]


def notebook(document: Document, frame: WordList) -> Any:
    """The notebook, a `NotebookNode`. Where nothing is published it holds the program alone.

    Raises MissingExtra without the extra `book`.
    """
    v4 = import_extra("nbformat.v4", what="A notebook", extra="book")
    told: list[tuple[str, str]] = [("markdown", _heading(document, frame))]
    if document.state == "published":
        told += [
            ("markdown", f"## {frame['headings.short']}\n{document.text['short']}"),
        ]
    for name, code in cells_of(document.code or ""):
        title = frame[f"steps.{name}"] if name else frame["labels.code"]
        told += [("markdown", f"{'###' if name else '##'} {title}"), ("code", code)]
    if document.expected:
        told.append(("markdown", "\n\n".join(document.expected)))
    if document.state == "published":
        told.append(("markdown", f"## {frame['labels.sure']}\n{_sure(document, frame)}"))
    told.append(("markdown", _vary(document, frame)))
    cells = []
    for index, (kind, text) in enumerate(told):
        cell = (v4.new_code_cell if kind == "code" else v4.new_markdown_cell)(text)
        cell["id"] = f"cell-{index}"  # nbformat draws one, and no two builds would be alike
        cells.append(cell)
    if document.output:
        # Of the whole program, below its last cell: where it prints and draws.
        last = [cell for cell in cells if cell.cell_type == "code"][-1]
        last.outputs = [v4.new_output("stream", name="stdout", text=document.output.printed + "\n")]
        if document.output.drawing:
            last.outputs.append(
                v4.new_output("display_data", data={"image/svg+xml": document.output.drawing})
            )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def written(document: Document, frame: WordList) -> str:
    """The notebook as its file holds it."""
    nbformat = import_extra("nbformat", what="A notebook", extra="book")
    return nbformat.writes(notebook(document, frame)) + "\n"


def _heading(document: Document, frame: WordList) -> str:
    lines = [f"# {document.number} {document.title}"]
    if document.state == "published":
        lines.append(document.text["question"])
    if document.link:
        lines.append(f"{frame['labels.section']} <{document.link}>")
    return "\n\n".join(lines)


def _sure(document: Document, frame: WordList) -> str:
    """The claims as a table in Markdown."""
    heads = [frame[f"pages.{name}"] for name in ("verdict", "claim", "effect")]
    rows = [heads, ["---"] * len(heads)]
    for claim in document.claims:
        assert claim.verdict is not None
        verdict = f"{labels.SHAPES[claim.verdict]} {frame[f'verdicts.{claim.verdict}']}"
        effect = f"{claim.estimate}<br>{claim.interval}" if claim.estimate else ""
        rows.append([verdict, claim.statement, effect])
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _vary(document: Document, frame: WordList) -> str:
    lines = [f"## {frame['labels.vary']}", frame["labels.vary_cells"]]
    commands = [f"{document.command} answer {document.number} {document.vary}".rstrip()]
    if document.trains:
        commands.append(f"{document.command} answer {document.number} --effort full")
    lines.append("```sh\n" + "\n".join(commands) + "\n```")
    if document.full_size:
        lines += [f"## {frame['labels.full_size']}", f"```python\n{document.full_size.strip()}\n```"]
    return "\n\n".join(lines)
