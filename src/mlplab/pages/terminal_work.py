"""What became of a reader's own answer, as lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from mlplab.answers import Exercise, Language
from mlplab.workbook.checking import Report

SIGNS = {
    "proved": ("●", "green"), "holds": ("●", "green"), "refuted": ("✗", "red"), "undecided": ("?", "yellow"),
    "unanswered": ("○", "dim"), "unreadable": ("!", "yellow"), "failed": ("!", "yellow"),
}  # fmt: skip


def report_lines(exercise: Exercise, report: Report, language: Language) -> Iterator[Text]:
    """For each part its verdict, and where it is refuted the counterexample and the mistake; then what to do next."""
    words = exercise.words(language)
    frame = words.frame
    yield Text(f"{exercise.number} {words['title']}", style="bold")
    for place, outcome in enumerate(report.outcomes, start=1):
        sign, colour = SIGNS[outcome.verdict]
        line = Text.assemble(
            (f"{sign} ", colour), f"{place}. {outcome.part}: ", (frame[f"work.{outcome.verdict}"], colour)
        )
        yield line
        if outcome.difference is not None:
            told = outcome.difference
            for key, value in (("at", told.at), ("yours", told.yours), ("ours", told.ours)):
                if value and not (key == "ours" and outcome.confidence is None and not told.at):
                    yield Text(f"     {frame(f'work.{key}', **{key: value})}")
        elif outcome.detail and outcome.verdict not in ("proved", "holds"):
            yield Text(f"     {outcome.detail}")
        if outcome.mistake:
            yield Text(f"     {words[f'mistakes.{outcome.mistake}']}")
        if outcome.confidence is not None:
            yield Text(f"     {frame('work.sure', sure=f'{outcome.confidence:.0f}')}", style="dim")
    if report.broken:
        yield Text(frame("work.broken", why=report.broken), style="yellow")
    if report.printed.strip() and (report.broken or not report.passed):
        yield Text(frame["work.printed"], style="dim")
        yield from (Text(f"  | {line}", style="dim") for line in report.printed.strip().splitlines()[:20])
    passed = sum(outcome.passed for outcome in report.outcomes)
    if report.passed:
        yield Text(frame("work.all", number=exercise.number), style="bold green")
        yield Text(frame("work.page", number=exercise.number), style="dim")
    else:
        yield Text(frame("work.some", passed=passed, total=len(report.outcomes)))
        yield Text(frame("work.hint", number=exercise.number), style="dim")
