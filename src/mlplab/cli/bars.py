"""Progress bars with time left, on standard error: what is printed can still be piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mlplab.study import Progress as StudyProgress


@contextmanager
def training_bar() -> Iterator[Callable[[StudyProgress], None]]:
    """A bar for each study; it moves by epochs and counts runs."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[runs]} runs", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with _bars(*columns) as bar:
        task: TaskID | None = None
        note = ""

        def tell(progress: StudyProgress) -> None:
            nonlocal task, note
            if progress.note != note:
                note = progress.note
                bar.console.print(note, markup=False)
            before = progress.found / progress.total
            if task is None:
                if progress.done == progress.total:
                    return  # everything was in the store: there is nothing to wait for
                # What was found took no time: it must not make the rest look fast.
                task = bar.add_task("", total=1.0 - before, runs="")
            found = f" ({progress.found} found)" if progress.found else ""
            words = "waiting for another process" if progress.is_waiting else "training"
            runs = f"{progress.done}/{progress.total}{found}"
            bar.update(task, completed=progress.share - before, description=words, runs=runs)
            if progress.done == progress.total:
                task = None  # the next study has a bar of its own

        yield tell


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that counts bytes."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with _bars(*columns) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stage_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar over all stages of one piece of work: what is being done, and the share of all that is done."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with _bars(*columns) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda words, share: bar.update(task, description=words, completed=share)


def _bars(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    # Into a file, a bar that moves would only leave empty lines.
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
