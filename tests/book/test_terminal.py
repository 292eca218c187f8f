"""What a reader sees, at any width and in both languages."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from mlplab.answers import Lab, Looks, Shelf, ours
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import conclude
from mlplab.pages import labels, terminal
from mlplab.pages import machine as report
from mlplab.pages.terminal_markdown import Markdown
from mlplab.pages.terminal_text import CLOSING, OPENING, Prose, breaks

from . import cases


class Said:
    """A note that says the same in all languages."""

    def of(self, words) -> str:
        return "digits stands in."


SAID = Said()
DECAY, ENDS = (claim.name for claim in cases.ANSWER.claims)
widths = pytest.mark.parametrize("width", [60, 80, 120])
languages = pytest.mark.parametrize("language", ["en", "zh"])
WORDS = {language: cases.EXERCISE.words(language) for language in cases.LANGUAGES}
FRAMES = {language: words.frame for language, words in WORDS.items()}


def shown(*renderables, width: int = 100) -> str:
    """What the command line would print."""
    console = terminal.console()
    console.file = io.StringIO()
    console.width = width
    for renderable in renderables:
        console.print(renderable)
    return console.file.getvalue()


def without_spaces(text: str) -> str:
    return "".join(text.split())


@widths
@languages
@pytest.mark.parametrize("verdict", ["holds", "fails", "undecided", "untestable"])
@pytest.mark.parametrize("is_published", [False, True])
def test_an_answer_is_shown_with_its_verdicts(width, language, verdict, is_published):
    now = cases.inquiry(verdicts={DECAY: verdict})
    held = Evidence(cases.inquiry(), {}, {}, Path("x.json")) if is_published else None
    text = shown(
        terminal.header(now, held, [SAID], language),
        terminal.full_answer(now, held, (Path("/cache/a.svg"), Path("/cache/a.html")), language),
        width=width,
    )
    assert max(map(len, text.splitlines())) <= width
    joined = without_spaces(text)
    # In a narrow column a verdict of several words takes several lines.
    assert all(word in joined for word in FRAMES[language][f"verdicts.{verdict}"].split())
    assert labels.SHAPES[verdict] in text
    assert "digitsstandsin." in joined
    assert "/cache/a.svg" in text
    # What was published decides about what circulates.
    judged = cases.ANSWER.circulated[0].judge((now if held is None else held.inquiry).findings)
    assert (judged == "untestable") == (verdict == "untestable" and not is_published)
    assert without_spaces(f"→ {FRAMES[language][f'judgements.{judged}']}") in joined


@languages
@pytest.mark.parametrize("is_published", [False, True])
def test_how_sure_it_is_follows_the_answer_and_the_answer_ends_what_scrolls_by(language, is_published):
    held = Evidence(cases.inquiry(), {}, {}, Path("x.json")) if is_published else None
    lines = shown(terminal.full_answer(cases.inquiry(), held, "no figure", language)).splitlines()
    frame = FRAMES[language]
    titles = {
        frame[f"headings.{name}"]: name for name in ("question", "short", "why", "circulates", "limits")
    }
    titles |= {frame["labels.sure"]: "sure"}
    found = [titles[line.strip()] for line in lines if line.strip() in titles]
    assert found == ["question", "short", "sure", "why", "circulates", "limits", "short"]


@languages
def test_brackets_are_printed_as_they_are(language):
    """Rich would read them as markup: an interval, a folder and a pip command must survive."""
    now = cases.inquiry()
    why = "A figure needs an optional part of mlplab: pip install 'mlplab[book]' brings it."
    text = shown(terminal.full_answer(now, None, why, language))
    assert "pip install 'mlplab[book]'" in text
    assert "87.12 [86.98, 87.26]" in text
    figures = (Path("/a[b]/[/c]/:smile:.svg"), Path("/a[red].html"))
    text = shown(terminal.full_answer(now, None, figures, language))
    assert "/a[b]/[/c]/:smile:.svg" in text
    assert "/a[red].html" in text


@languages
def test_a_proof_is_shown_without_seeds(language):
    now = conclude(ours().exercise("4.1.1"), Lab().observations())
    text = shown(terminal.full_answer(now, None, "no figure", language))
    assert FRAMES[language]["verdicts.holds"] in text
    assert FRAMES[language]["labels.seeds"] not in text


@languages
def test_what_needs_neither_data_nor_seeds_stands_on_nothing(language):
    assert terminal.stands_on(Lab().observations(), FRAMES[language]) == ""
    assert FRAMES[language]["labels.seeds"] in terminal.stands_on(
        cases.inquiry().observations, FRAMES[language]
    )


@widths
@languages
def test_all_exercises_are_listed(width, language):
    text = shown(terminal.list_of_exercises(Shelf.open(), language), width=width)
    assert sum(line.strip().startswith("4.") for line in text.splitlines()) == 49


@widths
@languages
def test_a_verification_says_what_does_not_stand(width, language):
    holds = {DECAY: "holds", ENDS: "holds"}
    good = shown(terminal.verification(cases.verification(holds, holds), language), width=width)
    assert without_spaces(FRAMES[language]["labels.stands"]) in without_spaces(good)
    bad = cases.verification(
        holds | {"older": "holds"}, holds | {DECAY: "fails"}, judged=holds, controls={ENDS: "holds"}
    )
    text = without_spaces(shown(terminal.verification(bad, language), width=width))
    for key, name in (("contradicted", DECAY), ("lapsed", "older"), ("unguarded", ENDS)):
        assert without_spaces(FRAMES[language][f"labels.{key}"].format(name)) in text
    assert without_spaces(FRAMES[language]["labels.stands"]) not in text


def test_undecided_says_how_many_seeds_are_needed():
    now = cases.inquiry()
    observed = now.observations.tables["runs"].copy()
    observed.loc[observed["arm"] == "weight_decay=5", "train_loss"] -= 0.99 + 0.005 * observed["seed"]
    later = conclude(cases.EXERCISE, type(now.observations)({"runs": observed}, now.observations.data))
    finding = later.findings[DECAY]
    assert finding.verdict == "undecided"
    text = shown(terminal.full_answer(later, None, "no figure", "en"))
    assert f"needs about {finding.replicates_needed} seeds" in text


def test_a_closed_pipe_is_told_and_ends_nothing_by_itself():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = terminal.console()
    console.file = Closed()
    assert isinstance(console, Console)
    with pytest.raises(BrokenPipeError):
        console.print("anything")


# For machines


@languages
def test_an_answer_for_machines_has_texts_claims_and_judgements(language):
    now = cases.inquiry()
    told = report.as_dict(now, None, "no figure", language)
    assert told["published"] is None
    assert told["circulated"] == [
        {"says": WORDS[language][cases.ANSWER.circulated[0].key], "judgement": "wrong", "source": "notes"}
    ]
    assert [claim["name"] for claim in told["this_run"]["claims"]] == [DECAY, ENDS]
    assert told["figures"] == "no figure"


@languages
def test_the_list_for_machines_has_every_exercise(language):
    rows = report.list_as_dict(Shelf.open(), language)
    assert len(rows) == 49
    assert {row["exercise"] for row in rows if row["answered"]} >= {"4.1.1", "4.5.1", "4.6.1"}
    assert len({row["title"] for row in rows}) == 49
    assert {row["exercise"] for row in rows if row["published"]} == {
        number for number, one in ours().exercises.items() if one.is_published
    }


CHINESE = (
    "激活函数会改变梯度的大小，因而改变最合适的学习率。sigmoid 的斜率处处不超过 0.25："
    "在“同一个”学习率下（见上），步子小得多。"
)


def prose(text: str) -> Group:
    """A console joins bare texts into one of its own kind before it breaks lines."""
    return Group(Prose(text))


@pytest.mark.parametrize("width", range(10, 60))
@pytest.mark.parametrize("kind", [prose, Markdown])
def test_lines_of_chinese_are_filled_and_none_begins_with_a_comma(width, kind):
    lines = [line.strip() for line in shown(kind(CHINESE), width=width).splitlines()]
    assert without_spaces("".join(lines)) == without_spaces(CHINESE)
    assert max(map(cell_len, lines)) <= width
    assert not [line for line in lines if line[0] in CLOSING or line[-1] in OPENING]
    # What is missing at the end of a line is less than its next unit: a word, or a character with its punctuation.
    assert all(width - cell_len(line) < cell_len("sigmoid ") + 1 for line in lines[:-1])


def test_words_are_broken_where_rich_breaks_them():
    text = (
        "Wide networks don't forget; the 20-seed mean is 0.31 (see https://example.org/a-very-long-address)."
    )
    for width in range(12, 60):
        assert shown(prose(text), width=width) == shown(Text(text), width=width)


def test_an_interval_stays_on_a_line():
    lines = shown(prose("+0.28 [−0.16, +0.73]"), width=15).splitlines()
    assert [line.strip() for line in lines] == ["+0.28", "[−0.16, +0.73]"]


def test_a_claim_is_never_cut_short():
    """A column breaks a sentence that has no spaces; Rich alone would end it with an ellipsis."""
    table = Table(width=24)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(Prose(CHINESE), "")
    assert "…" not in shown(table)
    table.add_row(CHINESE, "")
    assert "…" in shown(table)


def test_no_text_needs_no_break():
    assert breaks("", 10) == breaks("   ", 10) == []


def test_a_look_says_what_is_open_and_what_the_rest_may_cost():
    found = cases.inquiry()
    looks = Looks((6, 10, 20), taken=1)
    seen = dataclasses.replace(found.observations, looks=looks)  # 12 runs of 0.1 s
    at_first = dataclasses.replace(found, observations=seen)
    assert terminal.plan(looks) == "Look 1 of 3: 6 seeds of 20 at most, each look at 1/3 of the level."
    assert terminal.look(at_first) == "All is decided. Trained for 1 s."
    name = next(iter(found.findings))
    open_ = {name: dataclasses.replace(found.findings[name], verdict="undecided")}
    undecided = dataclasses.replace(at_first, findings={**found.findings, **open_})
    assert terminal.look(undecided) == f"1 of 2 undecided: {name}. Trained for 1 s. At most about 3 s more."
    last = dataclasses.replace(seen, looks=Looks((6,), taken=1))
    assert "more" not in terminal.look(dataclasses.replace(undecided, observations=last))
