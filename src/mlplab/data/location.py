"""Where files are looked for: the folder that MLPLAB_DATA names, then the user's cache.

Files in MLPLAB_DATA are the user's own, and are judged by what they hold. Files in the cache were downloaded
by mlplab, and must be the very bytes that were published.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlplab.errors import AbsentData, DataError


@dataclass(frozen=True)
class Place:
    """A folder that holds all files of a data set."""

    folder: Path
    is_cache: bool

    def __str__(self) -> str:
        return f"{'cache' if self.is_cache else 'local folder'} {self.folder}"


def cache_folder(name: str) -> Path:
    """Where downloads of data set `name` are kept; it may not exist yet.

    `$MLPLAB_CACHE`, else `$XDG_CACHE_HOME/mlplab`, else `~/.cache/mlplab`; under `data/` and the name.
    """
    if own := os.environ.get("MLPLAB_CACHE"):
        root = Path(own).expanduser()
    else:
        # The XDG standard says to ignore a path that is not absolute.
        shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
        root = (shared if shared.is_absolute() else _home() / ".cache") / "mlplab"
    return root.absolute() / "data" / name


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise DataError("There is no home folder for the cache: set MLPLAB_CACHE to a folder.") from error


def find_local(name: str, files: Sequence[str]) -> Place | None:
    """The folder `$MLPLAB_DATA/<name>`, or `$MLPLAB_DATA` itself, where it holds `files`; else None.

    Raises DataError where MLPLAB_DATA is no folder, and where it holds some of the files only: to pass on to
    the next place would hide a loss from its owner.
    """
    root = os.environ.get("MLPLAB_DATA")
    if not root:
        return None
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise DataError(f"MLPLAB_DATA is {root!r}, which is not a folder. Correct it, or unset it.")
    for place in (Place(folder / name, is_cache=False), Place(folder, is_cache=False)):
        missing = _missing(place, files)
        if not missing:
            return place
        if len(missing) < len(files):
            remedy = "Add what is missing, or move the others away"
            raise DataError(f"{name}: {place} lacks {', '.join(missing)}. {remedy}.")
    return None


def find_cached(name: str, files: Sequence[str]) -> Place | None:
    """The cache, where it holds `files`; else None. Raises AbsentData where it holds some of them only."""
    place = Place(cache_folder(name), is_cache=True)
    missing = _missing(place, files)
    if missing and len(missing) < len(files):
        # A fetch was interrupted: nothing of the user's is lost.
        remedy = f"mlplab data fetch {name} completes it"
        raise AbsentData(f"{name}: {place} lacks {', '.join(missing)}. {remedy}.")
    return None if missing else place


def _missing(place: Place, files: Sequence[str]) -> list[str]:
    # Not Path.is_file, which raises where a folder may not be entered.
    return [file for file in files if not os.path.isfile(place.folder / file)]  # noqa: PTH113
