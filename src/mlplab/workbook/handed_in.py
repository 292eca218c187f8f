"""The file that a reader hands in: written with empty parts, and read again without running it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlplab.answers import Exercise, Language
from mlplab.errors import InvalidInput
from mlplab.inquiry import texts
from mlplab.workbook.part import Part

MARK = "EXERCISE"
LARGEST = 1_000_000  # bytes


@dataclass(frozen=True)
class HandedIn:
    """What can be said of a file without running it.

    Arguments:
      exercise: number.
      answered: names of the parts that are not empty.
    """

    path: Path
    exercise: str
    answered: frozenset[str]


def file_name(number: str) -> str:
    """4.5.3 -> 4_5_3.py, which Python can import."""
    return f"{number.replace('.', '_')}.py"


def empty(exercise: Exercise, parts: Sequence[Part], language: Language) -> str:
    """A new file: the question, and for each part what to hand in; nothing of the answer."""
    words = exercise.words(language)
    frame = words.frame
    own = texts.sections(exercise.text(language), frame, texts.parts_of(exercise.book))["question"]
    told = [f"{exercise.number} {words['title']}", own, frame("work.how", file=file_name(exercise.number))]
    wrapped = [piece for line in "\n\n".join(told).split("\n") for piece in _wrapped(line)]
    opening = "\n".join(wrapped).replace('"""', "'''")
    lines = [f'r"""{opening}', '"""', "", "import numpy as np", ""]
    lines += [f'{MARK} = "{exercise.number}"', ""]
    for place, part in enumerate(parts, start=1):
        asked = words[f"parts.{part.name}.asks"]

        def say(key: str, part: Part = part) -> str:
            own_key = f"parts.{part.name}.{key}"
            return words[own_key] if own_key in words else frame[f"work.{key}"]

        heading = _wrapped(f"{place}. {asked}")
        stub = part.kind.stub(part.name, say)
        lines += ["", *(f"# {line}" for line in heading), stub.rstrip("\n"), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _wrapped(text: str, width: int = 76) -> list[str]:
    """Lines of a comment. Chinese has no spaces to break at."""
    lines, line, size = [], "", 0
    for word in text.split(" "):
        wide = sum(2 if ord(letter) > 0x2E80 else 1 for letter in word)
        if line and size + 1 + wide > width:
            lines.append(line)
            line, size = "", 0
        line, size = (f"{line} {word}", size + 1 + wide) if line else (word, wide)
    lines.append(line)
    return [piece for one in lines for piece in _cut(one, width)]


def _cut(line: str, width: int) -> list[str]:
    pieces, piece, size = [], "", 0
    for letter in line:
        wide = 2 if ord(letter) > 0x2E80 else 1
        if size + wide > width:
            pieces.append(piece)
            piece, size = "", 0
        piece, size = piece + letter, size + wide
    return [*pieces, piece]


def read(path: Path) -> HandedIn:
    """What a file hands in, from its syntax alone.

    Raises InvalidInput for what is no such file, with the line where Python stumbles.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidInput("the file", f"must have at most {LARGEST:,} bytes", f"{path.stat().st_size:,}")
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise InvalidInput("the file", "must be there", str(path), "mlplab start 4.5.3 writes one") from error
    except IsADirectoryError as error:
        raise InvalidInput(
            "the file", "must be a file", str(path), "mlplab check FOLDER takes all in it"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput("the file", "must be UTF-8 text", str(path)) from error
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        raise InvalidInput(str(path), "must be Python", line) from error
    numbers = _numbers(tree)
    if not numbers:
        remedy = "mlplab start 4.5.3 writes a file that is"
        raise InvalidInput(str(path), f'must say which exercise it answers: {MARK} = "4.5.3"', "none", remedy)
    if len(set(numbers)) > 1:
        raise InvalidInput(str(path), "must answer one exercise", ", ".join(numbers), "Take a file for each")
    return HandedIn(path, numbers[0], frozenset(_answered(tree)))


def _numbers(tree: ast.Module) -> list[str]:
    return [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == MARK for target in node.targets)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def _answered(tree: ast.Module) -> list[str]:
    names = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if not all(_is_empty(statement) for statement in node.body):
                names.append(node.name)
        elif isinstance(node, ast.Assign):
            elements = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            if not any(isinstance(one, ast.Constant) and one.value is ... for one in elements):
                names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names += [alias.asname or alias.name for alias in node.names]
    return names


def _is_empty(statement: ast.stmt) -> bool:
    """A docstring, `...` or pass."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or is_text
