"""Bars move from nothing to all, whatever was found, study after study, and write nothing into a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mlplab.cli import bars
from mlplab.study import Progress


@pytest.fixture
def drawn(monkeypatch):
    """The bar that was made, on a terminal that nobody sees."""
    made = []
    real = bars.Progress

    def record(*columns, console, **options):
        watched = Console(file=io.StringIO(), force_terminal=True, width=100)
        made.append(real(*columns, console=watched, **options | {"disable": False}))
        return made[-1]

    monkeypatch.setattr(bars, "Progress", record)
    return made


def study(total: int, found: int = 0, chunk: int = 2, epochs: int = 5) -> list[Progress]:
    """What `run_study` tells: at the start, as epochs pass, and after each chunk."""
    told = [Progress(found, total, found)]
    for start in range(found, total, chunk):
        size = min(chunk, total - start)
        for epoch in range(size * epochs + 1):
            told.append(Progress(start, total, found, size, epoch, size * epochs))
        told.append(Progress(start + size, total, found))
    return told


def shares(tell, bar, told: list[Progress]) -> list[float]:
    seen = []
    for progress in told:
        tell(progress)
        seen.append(bar.tasks[-1].percentage if bar.tasks else 0.0)
    return seen


@pytest.mark.parametrize("found", [0, 1, 3, 5])
def test_a_bar_goes_from_nothing_to_all(drawn, found):
    """Also where some was found: that took no time, and must not make the rest look fast."""
    with bars.training_bar() as tell:
        seen = shares(tell, drawn[0], study(6, found))
    assert seen[0] == 0
    assert seen[-1] == pytest.approx(100)
    assert seen == sorted(seen)
    assert len(drawn[0].tasks) == 1
    assert drawn[0].tasks[0].finished
    assert drawn[0].tasks[0].fields["runs"] == "6/6" + (f" ({found} found)" if found else "")


def test_where_all_is_found_there_is_no_bar(drawn):
    with bars.training_bar() as tell:
        tell(Progress(6, 6, 6))
        tell(Progress(6, 6, 6))
    assert drawn[0].tasks == []


@pytest.mark.parametrize("first", [0, 3, 6], ids=["trained", "partly found", "all found"])
def test_each_study_has_a_bar_of_its_own(drawn, first):
    with bars.training_bar() as tell:
        for progress in study(6, first) + study(4):
            tell(progress)
    assert [task.fields["runs"].split()[0] for task in drawn[0].tasks] == (["6/6"] if first < 6 else []) + [
        "4/4"
    ]
    assert all(task.finished for task in drawn[0].tasks)


def test_a_study_of_which_all_epochs_have_passed_is_not_yet_another(drawn):
    """Two chunks at once: the second ends its epochs before the first is stored."""
    with bars.training_bar() as tell:
        for progress in (
            Progress(0, 4, 0, 4, 0, 8),
            Progress(0, 4, 0, 4, 8, 8),
            Progress(2, 4, 0, 2, 4, 4),
            Progress(4, 4, 0),
        ):
            tell(progress)
    assert len(drawn[0].tasks) == 1


def test_waiting_is_said(drawn):
    with bars.training_bar() as tell:
        tell(Progress(2, 4, 2))
        tell(Progress(2, 4, 2, is_waiting=True))
        assert drawn[0].tasks[0].description == "waiting for another process"


def test_a_download_is_counted_in_bytes(drawn):
    with bars.download_bar("fashion-mnist") as tell:
        tell(10, 40)
        assert drawn[0].tasks[0].percentage == 25


def test_nothing_is_drawn_where_nobody_looks(capsys):
    """Standard error in a file holds errors, each on a line, and nothing else."""
    with bars.training_bar() as tell:
        for progress in study(4):
            tell(progress)
    with bars.download_bar("fashion-mnist") as tell:
        tell(10, 40)
    assert capsys.readouterr() == ("", "")
