"""What every answer keeps to, whoever writes it. A new one is a new file, held to all of this unasked."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import itertools
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from fontTools.ttLib import TTFont

from mlplab.answers import Book, Claim, Finding, Judgement, Lab, Shelf, Verdict, ours
from mlplab.answers import lab as lab_module
from mlplab.cli import options
from mlplab.errors import BookError, InvalidInput, UnknownName
from mlplab.inquiry.inquiry import conclude
from mlplab.inquiry.texts import PARTS, render
from mlplab.pages import pandoc, typefaces
from mlplab.pages.unicode_math import to_unicode
from mlplab.stats import Verdict as Decision

from .cases import ANSWERED, EXERCISES, LANGUAGES, inquiry, published, the_answer
from .prose import branches, expressions, formulas, numbers, parts, sentences, typed_figures

VERDICTS = get_args(Verdict)
every_answer = pytest.mark.parametrize("number", ANSWERED)
either_language = pytest.mark.parametrize("language", LANGUAGES)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("observed")


# The exercises


def test_the_chapter_has_49_exercises_in_ten_sections():
    counts: dict[str, int] = {}
    for number, exercise in EXERCISES.items():
        section = exercise.section.number
        counts[section] = counts.get(section, 0) + 1
        assert number == exercise.number == f"{section}.{counts[section]}"
    assert counts == dict(zip([f"4.{i}" for i in range(1, 11)], (4, 6, 3, 4, 6, 7, 5, 4, 4, 6), strict=True))
    assert len(EXERCISES) == 49


@either_language
def test_every_exercise_has_a_title_of_its_own(language):
    titles = [exercise.title(language) for exercise in EXERCISES.values()]
    assert all(titles)
    assert len(set(titles)) == 49


def test_links_lead_to_the_edition_of_the_language():
    section = EXERCISES["4.6.1"].section
    assert section.link["zh"] == "https://zh.d2l.ai/chapter_multilayer-perceptrons/dropout.html"
    assert section.link["en"] == "https://classic.d2l.ai/chapter_multilayer-perceptrons/dropout.html"


@pytest.mark.parametrize("number", ["4.6.8", "4.11.1", "foo", "", "4.6.1 ", "４.６.１", "../4.6.1"])
def test_no_exercise_is_an_unknown_name(number):
    with pytest.raises(UnknownName, match="exercise is not known"):
        Shelf.open().exercise(number)


def test_a_section_is_no_exercise_but_leads_to_them():
    with pytest.raises(InvalidInput, match=r"4\.6\.1 to 4\.6\.7"):
        ours().exercise("4.6")


# The file of an answer


@every_answer
def test_claims_are_stated_in_both_languages_with_the_same_figures(number):
    words = [EXERCISES[number].words(language) for language in LANGUAGES]
    for claim in the_answer(number).claims:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim.name)
        en, zh = (claim.statement(spoken) for spoken in words)
        assert en
        assert re.search("[\u4e00-\u9fff]", zh)
        figures = [re.findall(r"\d+(?:\.\d+)?", statement) for statement in (en, zh)]
        assert sorted(figures[0]) == sorted(figures[1])


@every_answer
def test_what_circulates_is_judged_whatever_the_verdict(number):
    found = the_answer(number)
    for said in found.circulated:
        assert all(EXERCISES[number].words(language)[said.key] for language in LANGUAGES)
        if isinstance(said.judgement, str):
            assert said.judgement in get_args(Judgement)
            continue
        for verdict in VERDICTS:
            forced = {claim.name: Finding(verdict) for claim in found.claims}
            assert said.judge(forced) in get_args(Judgement)


@every_answer
def test_a_suggested_variation_is_accepted(number, monkeypatch):
    """What an answer tells its reader to type must not be refused."""

    class Reached(Exception):
        """The study is about to be trained, or drawn."""

    def reach(*args, **kwargs):
        raise Reached

    found = the_answer(number)
    option, _, value = found.vary.partition(" ")
    assert option in ("", "--set", "--seeds")
    if option == "--set":
        monkeypatch.setattr(lab_module, "run_study", reach)
        with pytest.raises(Reached):
            found.observe(Lab("quick", seeds=2, knobs=options.read_knobs([value])))
    if option == "--seeds":
        monkeypatch.setattr(Lab, "seeds", reach)
        with pytest.raises(Reached):
            found.observe(Lab("quick", seeds=int(value)))


@every_answer
def test_what_repeats_can_be_varied(number):
    """An answer that trains or draws suggests a knob; one that is proved and calculated has none."""
    found = the_answer(number)
    source = inspect.getsource(found.observe)
    assert bool(found.vary) == ("lab.seeds(" in source or "lab.run(" in source)


# Its texts


@every_answer
@either_language
def test_a_text_has_the_six_sections_in_their_order(number, language):
    headings = ours().frame(language).group("headings")
    assert list(parts(EXERCISES[number].text(language))) == [headings[name] for name in PARTS]


@every_answer
def test_both_languages_quote_the_same_and_choose_by_the_same_verdicts(number):
    en, zh = (EXERCISES[number].text(language) for language in LANGUAGES)
    assert expressions(en) == expressions(zh)
    assert branches(en) == branches(zh)


@every_answer
@either_language
def test_no_tag_swallows_the_line_break_before_an_item(number, language):
    """A line break behind a tag is dropped: without an empty line, the next item stands behind this one's last word."""
    lines = EXERCISES[number].text(language).splitlines()
    assert not [
        line
        for line, below in itertools.pairwise(lines)
        if line.endswith("%}") and re.sub(r"\{%.*?%\}", "", line).strip() and re.match(r"\d+\. |- ", below)
    ]


@every_answer
@either_language
def test_law_2_no_figure_is_typed_into_prose(number, language):
    assert typed_figures(EXERCISES[number].text(language)) == []


def some_verdicts(claims: tuple[Claim, ...]) -> list[dict[str, Verdict]]:
    """All combinations for up to four claims; for more, all alike and every pair of claims in every way.

    Each once. Untestable are those alone that require another.
    """
    can = {claim.name: VERDICTS if claim.requires else get_args(Decision) for claim in claims}
    if len(can) <= 4:
        return [dict(zip(can, chosen, strict=True)) for chosen in itertools.product(*can.values())]
    some = [
        dict.fromkeys(can, base) | {one: v, other: w}
        for base, (one, other) in itertools.product(get_args(Decision), itertools.combinations(can, 2))
        for v, w in itertools.product(can[one], can[other])
    ]
    return list({tuple(verdicts.values()): verdicts for verdicts in some}.values())


@pytest.mark.slow
@every_answer
@either_language
def test_an_answer_is_two_plain_sentences_with_at_most_two_numbers(number, language):
    """In the learner's words; how sure it is stands in the table below it."""
    held = published(number)
    assert held is not None
    short = render(held.inquiry, language)["short"]
    said = sentences(short)
    length = len(short.split()) if language == "en" else len(short) / 2
    is_plain = len(said) == 2 and len(numbers(" ".join(said))) <= 2 and length <= 75
    assert is_plain, (said, numbers(" ".join(said)), length)


@pytest.mark.slow
@every_answer
@either_language
def test_every_sentence_has_its_numbers_whatever_the_verdicts(number, language, folder):
    made, found = inquiry(number, folder), the_answer(number)
    facts = found.facts(made.observations)
    exercise = copy.copy(EXERCISES[number])
    vars(exercise)["answer"] = dataclasses.replace(found, facts=lambda observations: facts)
    made = dataclasses.replace(made, exercise=exercise)
    # A claim whose verdict no sentence asks for changes none.
    source = EXERCISES[number].text(language)
    asked = tuple(claim for claim in found.claims if claim.name.replace("-", "_") in source)
    for verdicts in some_verdicts(asked):
        forced = made.findings | {
            name: dataclasses.replace(made.findings[name], verdict=v) for name, v in verdicts.items()
        }
        sections = render(dataclasses.replace(made, findings=forced), language)
        assert all(sections.values()), [name for name, text in sections.items() if not text]
        assert not re.search(r"\bnan\b|\bNone\b|\binf\b|\{\{|%\}", "".join(sections.values()))


@every_answer
@either_language
def test_a_section_of_the_textbook_has_the_number_of_each_edition(number, language):
    """What the answers call 4.7, as the Chinese edition does, is 5.3 in English."""
    exercise = EXERCISES[number]
    here = number.rpartition(".")[0]
    there = exercise.book.base.content["editions"][0]["sections"][here]
    for line in exercise.text(language).splitlines():
        if re.match("- .*(Dive into Deep Learning|动手学深度学习)", line):
            named = re.findall(r"\d+(?:\.\d+)+", line.replace(" 1.0 ", " "))
            [place] = [one for one in named if f"{one}.".startswith(f"{here}.")]
            assert sorted(named) == sorted([place, place.replace(here, there, 1)])


@cache
def letters_of_figures() -> set[str]:
    """What the fonts of a figure can show. Subscripts such as ᵢ are not among it, and break the printed book."""
    package, path = typefaces.SANS
    latin = TTFont(typefaces.home(package) / path)
    chinese = TTFont(typefaces.home("manimgx_fonts_cjk") / "NotoSansCJK-VF.otf.ttc", fontNumber=2)
    return {chr(code) for font in (latin, chinese) for code in font.getBestCmap()}


@pytest.mark.slow
@every_answer
@either_language
def test_tables_and_figure_are_drawn_in_both_languages(number, language, folder):
    seen, found = inquiry(number, folder).observations, the_answer(number)
    words = EXERCISES[number].words(language)
    for table in found.tables(seen, words):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert all(isinstance(cell, str) for row in table.rows for cell in row)
    drawn = found.figure(seen, words).to_dict()
    assert set(json.dumps(drawn, ensure_ascii=False)) <= letters_of_figures()


@every_answer
@either_language
def test_every_formula_can_be_read_in_a_terminal(number, language):
    for formula in formulas(EXERCISES[number].text(language)):
        assert not re.search(r"[\\$]", to_unicode(formula)), formula


@either_language
def test_every_formula_can_be_set_on_a_page(language):
    """All at once: pandoc takes longest to start, and names the one that it cannot read."""
    found = [formula for number in ANSWERED for formula in formulas(EXERCISES[number].text(language))]
    version, parts = pandoc.parse(
        {"all": "\n\n".join(f"$${formula.strip()}$$" for formula in found)}, language
    )
    (html,) = pandoc.to_html(version, [parts])
    assert html["all"].count("<math") == len(found)


# Its claims (law 3: every checker is shown a falsehood)


@pytest.mark.slow
@every_answer
def test_law_3_every_falsehood_is_rejected_and_every_proof_holds(number, folder):
    """Experiments are held to it where they were published: a small one has too few seeds to reject."""
    made = inquiry(number, folder)
    for claim in the_answer(number).claims:
        if claim.kind == "experiment" and published(number) is None:
            continue
        assert made.controls[claim.name] == "fails", f"{claim.name}: its falsehood is not rejected"
        if claim.kind in ("proof", "property"):
            assert made.findings[claim.name].verdict == "holds", claim.name


@pytest.mark.slow
@every_answer
def test_published_verdicts_are_those_of_this_code(number):
    held = published(number)
    if held is None:
        pytest.skip("nothing was published for it")
    assert held.lapsed == []


# Finding answers


@pytest.fixture
def copied(tmp_path) -> Book:
    """A copy of the book with its first exercise alone, to be changed."""
    for name in ("book.toml", "4.1.1"):
        source = ours().folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return Book.open(tmp_path)


def test_a_text_that_lacks_a_heading_fails(copied):
    exercise = copied.exercise("4.1.1")
    text = exercise.folder / "text.en.md"
    text.write_text(text.read_text("utf-8").replace("## Limits\n", ""), "utf-8")
    with pytest.raises(BookError, match="Question, Short answer, Why, What circulates, Limits, References"):
        render(conclude(exercise, Lab().observations()), "en")


@pytest.mark.parametrize(
    "quoted",
    ["nobody", "nobody | number", "autograd_agrees.nobody", "derivative_in_x.estimate", "nobody or 'x'"],
)
def test_a_sentence_that_quotes_what_nobody_found_fails(copied, quoted):
    exercise = copied.exercise("4.1.1")
    text = exercise.folder / "text.en.md"
    text.write_text(text.read_text("utf-8").replace("## Why\n", "## Why\n{{ " + quoted + " }}\n"), "utf-8")
    with pytest.raises(BookError, match=r"nobody|estimate"):
        render(conclude(exercise, Lab().observations()), "en")


def test_an_answer_refuses_two_claims_of_one_name_and_a_judge_that_is_no_claim():
    found = the_answer("4.1.1")
    with pytest.raises(InvalidInput, match="must have different names"):
        dataclasses.replace(found, claims=found.claims + found.claims[:1])
    with pytest.raises(InvalidInput, match=r"Circulated\.by"):
        dataclasses.replace(found, claims=found.claims[:1])
