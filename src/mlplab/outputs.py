"""Files that are written: whole or not at all.

What was there stays until the new file is complete: a full disk, Ctrl-C or a killed process leaves the old one as it
was, and no half file under the final name.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlplab.errors import OutputError


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write a file to, which takes that name in one step at the end of the block.

    An error in the block leaves what was there. A link is followed: the file that it names is replaced. A device or a
    pipe is written directly, since it holds nothing that could be kept.

    Raises OutputError where the file cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            yield target
            return
        if target.exists() and not os.access(target, os.W_OK):  # a rename would not ask
            raise PermissionError(0, "it is read-only")
        # A short name: the file's own may be as long as names can be. It is made as any file, so that umask holds.
        part = target.with_name(f".mlplab-{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error


def write_whole(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, as `whole` does. Raises OutputError."""
    with whole(path) as part:
        part.write_text(text, "utf-8")
