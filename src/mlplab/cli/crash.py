"""What is said of an error that nobody foresaw: its kind, where it came up, and whose defect it is."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

OURS = f"{Path(__file__).parents[1]}{os.sep}"
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
# Of a RuntimeError of PyTorch: its allocators have no class of their own for it on every device.
NO_MEMORY = ("allocate memory", "not enough memory", "out of memory")
LONGEST = 200  # characters of what an error says
DEBUG = "The same command with --debug shows the traceback."


def line(error: BaseException) -> str:
    """One line."""
    kind, said = type(error).__name__, _said(error)
    place, is_ours = _place(error)
    what = f"{kind}{f': {said}' if said else ''} ({place})"
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in NO_MEMORY)
    ):
        return f"The memory does not suffice: {what}. Take fewer rows, a smaller batch or model. {DEBUG}"
    if isinstance(error, RecursionError):
        return f"Calls were nested deeper than Python allows, as in what holds itself: {what}. {DEBUG}"
    whose = "mlplab" if is_ours else "the code that mlplab was given"
    return f"{what}. This is a defect of {whose}, and no verdict. {DEBUG}"


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split()).rstrip(".")
    except Exception:  # an error of a stranger may fail even at that
        return ""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _place(error: BaseException) -> tuple[str, bool]:
    """The innermost line outside Python and what is installed beside mlplab, and whether it is one of mlplab's."""
    found = ("mlplab", True)
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        is_ours = file.startswith(OURS)
        if is_ours:
            found = (f"{frame.f_globals.get('__name__', 'mlplab')}, line {number}", True)
        elif not file.startswith((*LIBRARIES, "<")):
            found = (f"{Path(file).name}, line {number}", False)
    return found
