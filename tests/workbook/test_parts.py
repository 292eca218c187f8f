"""Every exercise that takes an answer: ours passes, other right ones pass, wrong ones are refuted by name."""

from __future__ import annotations

import pytest

from mlplab.answers import ours
from mlplab.workbook import judging
from mlplab.workbook.part import Wrong

EXERCISES = [one for one in ours().exercises.values() if (one.folder / "parts.py").is_file()]
PARTS = [
    pytest.param(exercise, part, id=f"{exercise.number}-{part.name}")
    for exercise in EXERCISES
    for part in judging.parts_of(exercise)
]
each_part = pytest.mark.parametrize(("exercise", "part"), PARTS)


@pytest.mark.slow
@each_part
def test_our_answer_and_other_right_ones_pass(exercise, part):
    for answer in (part.ours, *part.right):
        outcome = judging.judge(exercise, part, answer)
        assert outcome.passed, (answer, outcome)


@pytest.mark.slow
@each_part
def test_wrong_answers_are_refuted_and_their_mistake_is_named(exercise, part):
    for wrong in part.wrong:
        outcome = judging.judge(exercise, part, wrong.answer)
        assert (outcome.verdict, outcome.mistake) == ("refuted", wrong.mistake), (wrong, outcome)


@each_part
def test_what_is_left_empty_is_not_wrong(exercise, part):
    assert judging.judge(exercise, part, ...).verdict == "unanswered"


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.number)
def test_an_exercise_keeps_three_right_and_three_wrong_answers_and_has_words_for_all(exercise):
    parts = judging.parts_of(exercise)
    assert sum(len(part.right) for part in parts) >= 3
    assert sum(len(part.wrong) for part in parts) >= 3
    claims = {claim.name for claim in exercise.written_answer().claims}
    assert {part.claim for part in parts} <= claims
    for language in exercise.languages:
        words = exercise.words(language)
        assert list(words.group("hints"))
        for part in parts:
            assert words[f"parts.{part.name}.asks"]
            assert all(
                words[f"mistakes.{w.mistake}"] for w in part.wrong if isinstance(w, Wrong) and w.mistake
            )
