"""A turned knob changes the run and never the book: what the section does is said of the section alone.

Nothing is trained: the published observations stand for a run whose settings were turned.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from mlplab.answers import Finding, Lab, Observations, Verdict, ours
from mlplab.answers import lab as lab_module
from mlplab.cli import options
from mlplab.inquiry.changes import Changes
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry, inquire
from mlplab.inquiry.texts import render
from mlplab.pages import machine as report
from mlplab.pages import terminal
from mlplab.spec import Setting
from mlplab.study import Store

from .cases import ANSWERED, EXERCISES, LANGUAGES, the_answer
from .prose import parts

chapter = ours().module("chapter")
WORDS = {
    (number, language): EXERCISES[number].words(language) for number in ANSWERED for language in LANGUAGES
}
either_language = pytest.mark.parametrize("language", LANGUAGES)
# Each answer with what it tells its reader to type, and some knobs that its sentences quote.
TURNED = [
    (number, vary.removeprefix("--set "))
    for number in ANSWERED
    if (vary := the_answer(number).vary).startswith("--set ")
] + [
    ("4.2.1", "initialization=normal(std=0.1)"),
    ("4.6.2", "learning_rate=0.4"),
    ("4.6.3", "learning_rate=0.4"),
    ("4.6.6", "activation=tanh"),
    ("4.10.1", "hidden_sizes=64"),
]
every_turned_knob = pytest.mark.parametrize(("number", "turn"), TURNED, ids=lambda value: value)

# Sentences that speak of the source.
SOURCE = re.compile(r"\b(?:[Tt]he|[Tt]his) section|\bas in section|\bas given|本节|所给|节那样")
# Those whose text speaks of it outside its question.
LONG = ("4.5.1", "4.10.2")  # claims that take seconds
SPEAKING = [
    pytest.param(number, turn, marks=[pytest.mark.slow] if number in LONG else [])
    for number, turn in TURNED
    if SOURCE.search("".join(list(parts(EXERCISES[number].text("en")).values())[1:-1]))
]
# What nobody may say of a run in which that knob was turned; '' stands for any knob.
FALSE_OF = {
    "": r"The section's network|section's set-up|本节的网络|本节的设置下",
    "learning_rate": r"section's learning rate|section's rate of learning|本节的学习率",
    "hidden_sizes": r"as in section 4\.2|4\.2 节那样的",
    "initialization": r"whatever the width, as in the section|照本节的做法",
    "batch_size": r"batches as in the section|批量大小与本节相同",
    "dropout": r"\bas given\b",
}


class Reached(Exception):
    """The study is about to be trained."""


@cache
def changes(number: str, turn: str) -> tuple:
    """What the laboratory tells of a turned knob, by the answer's own program, up to where it would train."""

    def reach(*args, **kwargs):
        raise Reached

    lab = Lab("quick", seeds=2, knobs=options.read_knobs([turn]))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lab_module, "run_study", reach)
        with pytest.raises(Reached):
            the_answer(number).observe(lab)
    return lab.changed


@cache
def held(number: str) -> Observations:
    """What was published, without a look at its claims, which takes longer than all that is asked here."""
    content = json.loads(EXERCISES[number].evidence_file.read_text("utf-8"))
    return Observations.from_dict(content["observations"])


@cache
def findings(number: str) -> dict[str, Finding]:
    return the_answer(number).findings(held(number))


def book(number: str) -> Evidence:
    """The published evidence of an answer."""
    controls: dict[str, Verdict] = {claim.name: "fails" for claim in the_answer(number).claims}
    inquiry = Inquiry(EXERCISES[number], held(number), Findings(number), controls)
    return Evidence(inquiry, {}, {}, Path())


class Findings(Mapping[str, Finding]):
    """The findings on what was published, looked for when somebody asks: verdicts are not what is looked at here."""

    def __init__(self, number: str) -> None:
        self.number = number

    def __getitem__(self, name: str) -> Finding:
        return findings(self.number)[name]

    def __iter__(self):
        return iter(findings(self.number))

    def __len__(self) -> int:
        return len(findings(self.number))


def turned(number: str, turn: str) -> Inquiry:
    """The published observations as those of a run with the knob turned."""
    seen, (knob, _, value) = held(number), turn.partition("=")
    settings = tuple({**setting, **({knob: value} if knob in setting else {})} for setting in seen.settings)
    tables = {name: table.copy() for name, table in seen.tables.items()}
    if knob == "dropout" and number == "4.6.1":
        rates = tables["pairs"][["first", "second"]]
        tables["pairs"][["first", "second"]] = rates.replace({0.2: 0.1, 0.5: 0.6})
        arms = tables["runs"]["arm"]
        tables["runs"]["arm"] = arms.replace({r"\b0\.2\b": "0.1", r"\b0\.5\b": "0.6"}, regex=True)
    if knob == "dropout" and number == "4.6.2":
        tables["given"]["dropout"] = value
    if knob == "learning_rate" and number == "4.6.2":
        tables["given"]["rate"] = float(value)
    if knob == "dropout" and number == "4.6.3":
        tables["layers"]["rate"] = [float(rate) for rate in value.split(",")]
    observed = dataclasses.replace(seen, tables=tables, settings=settings, changed=changes(number, turn))
    return dataclasses.replace(book(number).inquiry, observations=observed)


def told(inquiry: Inquiry, language) -> dict[str, str]:
    return render(inquiry, language)


def sentences(texts: dict[str, str]) -> list[str]:
    body = "\n".join(text for section, text in texts.items() if section != "references")
    return [sentence for sentence in re.split(r"(?<=[.!?])\s|(?<=[。！？])|\n", body) if sentence]


def shown(*renderables, width: int = 100) -> str:
    console = terminal.console()
    console.file, console.width = io.StringIO(), width
    for renderable in renderables:
        console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize("number", ANSWERED)
@either_language
def test_the_question_is_the_books_and_quotes_no_run(number, language):
    heading = "Question" if language == "en" else "问题"
    question = parts(EXERCISES[number].text(language))[heading]
    assert "{{" not in question
    assert "{%" not in question


@every_turned_knob
def test_the_laboratory_tells_which_knob_was_turned(number, turn):
    knob, _, value = turn.partition("=")
    (change,) = changes(number, turn)
    assert (change.knob, change.value) == (knob, value)
    assert change.own != value


@pytest.mark.parametrize(("number", "turn"), SPEAKING)
@either_language
def test_a_turned_knob_changes_no_sentence_about_the_source(number, turn, language):
    """Such a sentence stands as it stood, or says what was changed, or is gone; it is never filled from the run."""
    run = turned(number, turn)
    (change,) = run.observations.changed
    written, now = told(book(number).inquiry, language), told(run, language)
    assert now["question"] == written["question"]
    before = sentences(written)
    named = f"{change.knob} {change.value}"
    assert [s for s in sentences(now) if SOURCE.search(s) and s not in before and named not in s] == []
    body = "\n".join(text for section, text in now.items() if section != "question")
    for knob in ("", change.knob):
        assert not (knob in FALSE_OF and re.search(FALSE_OF[knob], body))


@every_turned_knob
@either_language
def test_a_turned_knob_is_named_in_the_first_lines_beside_the_published_value(number, turn, language):
    run = turned(number, turn)
    (change,) = run.observations.changed
    first = "".join(shown(terminal.header(run, book(number), (), language), width=200).split())
    named = f"{change.knob}{change.value}".replace(" ", "")
    assert (f"changed:{named}(published:" if language == "en" else f"改动：{named}（已发布的是") in first
    (for_machines,) = Changes.of(run, book(number)).to_list()
    assert for_machines["published"] not in (None, change.value)


@either_language
def test_an_answer_for_machines_names_the_turned_knobs_first(language):
    run = turned("4.6.1", "dropout=0.1,0.6")
    content = report.as_dict(run, book("4.6.1"), "no figure", language)
    assert list(content)[:3] == ["exercise", "language", "changed"]
    expected = {"knob": "dropout", "value": "0.1,0.6", "own": "0.2,0.5", "published": "0.2,0.5"}
    assert content["changed"] == [expected]


@either_language
def test_nothing_is_called_changed_where_nothing_was(language):
    held = book("4.6.1")
    assert report.as_dict(held.inquiry, None, "no figure", language)["changed"] == []
    assert ours().frame(language)["labels.changed"].split("{")[0] not in shown(
        terminal.header(held.inquiry, held, (), language),
        terminal.full_answer(held.inquiry, held, "no figure", language),
    )


@either_language
def test_an_arm_that_nobody_gave_is_not_called_as_given(language):
    words = WORDS["4.6.1", language]
    given, tables = words["roles.given"], the_answer("4.6.1").tables
    run = turned("4.6.1", "dropout=0.1,0.6")
    rows = {row[0]: row[1] for row in tables(run.observations, words)[0].rows}
    assert rows["0.1,0.6"] == words["roles.turned"]
    assert given not in rows.values()
    rows = {row[0]: row[1] for row in tables(held("4.6.1"), words)[0].rows}
    assert rows["0.2,0.5"] == given


@either_language
def test_the_sections_setting_says_where_it_was_trained_otherwise(language):
    run = turned("4.2.4", "weight_decay=0.0001")
    names = [row[0] for row in the_answer("4.2.4").tables(run.observations, WORDS["4.2.4", language])[0].rows]
    assert ["weight_decay 0.0001" in name for name in names] == [False, False, True, True]
    book = [row[0] for row in the_answer("4.2.4").tables(held("4.2.4"), WORDS["4.2.4", language])[0].rows]
    assert book == list(WORDS["4.2.4", language].group("arms").values())


@either_language
def test_a_turned_model_is_not_called_the_sections(language):
    run = turned("4.10.1", "hidden_sizes=64")
    names = "".join(
        row[0] for row in the_answer("4.10.1").tables(run.observations, WORDS["4.10.1", language])[0].rows
    )
    assert not re.search("section|本节|32", names)


def test_departures_are_the_knobs_that_stand_elsewhere():
    section = Setting()
    assert chapter.departures(section, {"batch_size": "256", "learning_rate": "0.1"}) == ""
    assert (
        chapter.departures(section, {"batch_size": "32", "momentum": "0.9"}) == "batch_size 32, momentum 0.9"
    )
    both = {"dropout": "0.5,0.5", "noise": "dropout(rate=0.5)"}
    assert chapter.departures(section, both) == "noise dropout(rate=0.5)"


@either_language
def test_published_figures_stand_under_their_own_setting(language):
    """Two columns with one name and two settings would be read as one comparison made twice."""
    run = turned("4.6.1", "dropout=0.1,0.6")
    text = shown(terminal.full_answer(run, book("4.6.1"), "no figure", language), width=160)
    lines = text.splitlines()
    heads = [i for i, line in enumerate(lines) if "dropout 0.1,0.6" in line and "dropout 0.2,0.5" in line]
    assert len(heads) == 1  # of the table of claims
    for label, knobs in (("this_run", "0.1,0.6"), ("published", "0.2,0.5")):
        stands = [line for line in lines if line.startswith(f"{ours().frame(language)[f'labels.{label}']}: ")]
        # Above the short answer, and above each table.
        assert len(stands) == 2 + len(the_answer("4.6.1").tables(run.observations, WORDS["4.6.1", language]))
        assert all(f"dropout {knobs}" in line for line in stands)


@pytest.mark.slow
@pytest.mark.parametrize("number, knobs", [  # noqa: PT006
    ("4.6.1", {"dropout": "0.1,0.6", "hidden_sizes": "8,8", "epochs": "2"}),
    ("4.6.2", {"dropout": "0.5,0.5", "learning_rate": "0.4", "hidden_sizes": "8,8", "epochs": "10"}),
])  # fmt: skip
@either_language
def test_a_run_that_is_really_trained_keeps_the_question_and_names_its_knobs(
    number, knobs, language, tmp_path
):
    with Store(tmp_path / "runs.sqlite") as store:
        run = inquire(EXERCISES[number], Lab("quick", seeds=2, knobs=knobs, store=store))
    written = book(number)
    assert {change.knob: change.value for change in run.observations.changed} == knobs
    assert told(run, language)["question"] == told(written.inquiry, language)["question"]
    text = shown(terminal.full_answer(run, written, "no figure", language), width=160)
    this_run = text.split(f"{ours().frame(language)['labels.published']}: ")[0]
    assert WORDS["4.6.1", language]["roles.given"] not in this_run
    first = shown(terminal.header(run, written, (), language), width=400)
    assert all(f"{knob} {value}" in first for knob, value in knobs.items())


@either_language
def test_a_figure_of_a_turned_run_names_the_knob_and_replaces_no_other(language):
    run = turned("4.6.1", "dropout=0.1,0.6")
    svg, html = report.draw(run, book("4.6.1"), language)
    plain, _ = report.draw(book("4.6.1").inquiry, book("4.6.1"), language)
    assert "dropout 0.1,0.6" in svg.read_text("utf-8")
    assert "dropout 0.1,0.6" in html.read_text("utf-8")
    assert "dropout 0.1,0.6" not in plain.read_text("utf-8")
