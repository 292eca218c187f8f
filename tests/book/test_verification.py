"""Verification says what does not stand, leaves nothing behind, and goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import json

import pytest

import mlplab
from mlplab.answers import Finding, Lab, Observations
from mlplab.answers import lab as lab_module
from mlplab.errors import EvidenceError, InvalidInput
from mlplab.inquiry import evidence, verification
from mlplab.study import Store, default_path, run_study

from . import cases

DECAY, ENDS = (claim.name for claim in cases.ANSWER.claims)
HOLDS = {DECAY: "holds", ENDS: "holds"}


# What stands, on constructed inquiries


@pytest.mark.parametrize("effort", ["full", "quick"])
def test_what_is_found_again_stands(effort):
    outcome = cases.verification(HOLDS, HOLDS, effort=effort)
    assert outcome.stands
    assert outcome.contradicted == outcome.unguarded == []


@pytest.mark.parametrize("effort", ["full", "quick"])
@pytest.mark.parametrize(("before", "now"), [("holds", "fails"), ("fails", "holds")])
def test_the_opposite_contradicts_at_any_effort(effort, before, now):
    outcome = cases.verification(HOLDS | {DECAY: before}, HOLDS | {DECAY: now}, effort=effort)
    assert outcome.contradicted == [DECAY]
    assert not outcome.stands


@pytest.mark.parametrize(("before", "now"), [("holds", "undecided"), ("undecided", "fails")])
def test_undecided_contradicts_after_full_effort_alone(before, now):
    """Fewer seeds may leave undecided what more have settled."""
    full, quick = (
        cases.verification(HOLDS | {DECAY: before}, HOLDS | {DECAY: now}, effort=effort)
        for effort in ("full", "quick")
    )
    assert full.contradicted == [DECAY]
    assert not full.stands
    assert quick.contradicted == []
    assert quick.stands


def test_a_published_verdict_that_this_code_does_not_reach_has_lapsed():
    outcome = cases.verification(HOLDS, HOLDS, judged=HOLDS | {ENDS: "fails"})
    assert outcome.published.lapsed == [ENDS]
    assert outcome.contradicted == []
    assert not outcome.stands


def test_a_published_claim_that_is_no_more_has_lapsed():
    outcome = cases.verification(HOLDS | {"older": "holds"}, HOLDS, judged=HOLDS)
    assert outcome.published.lapsed == ["older"]
    assert outcome.contradicted == []
    assert not outcome.stands


@pytest.mark.parametrize(
    ("effort", "control", "unguarded"),
    [
        ("full", "holds", [DECAY]),
        ("full", "undecided", [DECAY]),
        ("quick", "holds", [DECAY]),
        ("quick", "undecided", []),
        ("full", "fails", []),
        ("quick", "fails", []),
    ],
)
def test_law_3_a_check_that_lets_a_falsehood_pass_does_not_stand(effort, control, unguarded):
    outcome = cases.verification(HOLDS, HOLDS, effort=effort, controls={DECAY: control})
    assert outcome.unguarded == unguarded
    assert outcome.stands == (not unguarded)


def test_an_outcome_is_json(exercise):
    outcome = cases.verification(HOLDS, HOLDS | {DECAY: "fails"})
    told = json.loads(json.dumps(outcome.to_dict(), allow_nan=False))
    assert (told["exercise"], told["stands"], told["contradicted"]) == (cases.NUMBER, False, [DECAY])
    assert told["published"] == HOLDS


# Running again


def test_what_was_published_is_made_again_from_nothing(exercise):
    verification.publish(exercise)
    told = []
    outcome = verification.verify(exercise, "full", on_progress=told.append)
    assert outcome.stands
    assert outcome.again.observations.num_seeds == cases.FULL_SEEDS
    # The user's store holds all of them; not one was taken from there.
    assert (told[0].found, told[-1].done) == (0, 2 * cases.FULL_SEEDS)


def left_behind() -> set[str]:
    """What lies beside the user's store. SQLite's own files come and go with its connections."""
    return {path.name for path in default_path().parent.iterdir() if not path.name.endswith(("-wal", "-shm"))}


@pytest.mark.parametrize("effort", ["full", "quick"])
def test_verification_leaves_the_users_store_and_nothing_else(effort, exercise):
    verification.publish(exercise)
    before = left_behind()
    verification.verify(exercise, effort)
    assert left_behind() == before


def test_a_stopped_verification_goes_on_where_it_was(exercise):
    """Law 5: nothing is lost."""
    verification.publish(exercise)

    def stop(progress):
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verification.verify(exercise, "full", on_progress=stop)
    told = []
    assert verification.verify(exercise, "full", on_progress=told.append).stands
    assert told[0].found > 0


def test_verification_trains_as_many_seeds_as_were_published(exercise):
    """The answer may have grown since: what is repeated is what was published."""
    evidence.write(cases.inquiry(exercise), exercise.evidence_file)  # with 6 seeds, where full effort has 8
    assert verification.verify(exercise, "full").again.observations.num_seeds == 6


def test_what_is_observed_without_seeds_is_verified_too(monkeypatch, exercise):
    without = dataclasses.replace(cases.inquiry().observations, tables={})

    def observe(lab: Lab) -> Observations:
        assert lab.seeds(quick=2, full=3)
        return without

    answer = dataclasses.replace(cases.ANSWER, claims=(), circulated=(), observe=observe)
    monkeypatch.setitem(vars(exercise), "answer", answer)
    verification.publish(exercise)
    assert verification.verify(exercise, "full").stands


def test_a_changed_result_does_not_stand(exercise):
    path = verification.publish(exercise)
    content = json.loads(path.read_text("utf-8"))
    table = content["observations"]["tables"]["runs"]
    column = table["columns"].index("train_loss")
    for row in table["rows"]:
        row[column] *= -1
    for claim in content["claims"]:
        claim["verdict"] = "fails" if claim["name"] == DECAY else "holds"
    path.write_text(json.dumps(content), "utf-8")
    assert verification.verify(exercise, "full").contradicted == [DECAY]


def test_there_is_nothing_to_verify_where_nothing_was_published(exercise):
    with pytest.raises(EvidenceError, match=r"Nothing was published for 4\.2\.1"):
        verification.verify(exercise, "full")
    assert not default_path().parent.exists()


def test_an_exercise_without_an_answer_names_itself(book, exercise):
    for run in (lambda one: verification.verify(one, "full"), verification.publish):
        with pytest.raises(InvalidInput, match=r"has no answer yet; got '4\.2\.3 .*mlplab list"):
            run(book.exercise(cases.OPEN))


# Publishing


def test_published_evidence_is_of_full_effort_and_says_how_it_was_made(exercise):
    path = verification.publish(exercise)
    found = evidence.published(exercise)
    assert path == found.path
    assert found.inquiry.observations.num_seeds == cases.FULL_SEEDS
    assert found.verdicts == HOLDS
    assert {"mlplab", "revision", "python", "packages", "processor", "threads"} <= found.made_with.keys()


def in_looks(monkeypatch, exercise, *, effect: float = 1.0, first: int = 4) -> None:
    """The small answer, published in looks; its difference is `effect` of what it is."""
    module = exercise.module

    def observe(lab: Lab) -> Observations:
        seeds = lab.seeds(quick=3, full=20, first=first)
        frame = lab.run(module.the_study(seeds)).frame
        mean = frame.groupby("arm")["train_loss"].transform("mean")
        frame["train_loss"] += (effect - 1) * mean
        return lab.observations(runs=frame)

    answer = dataclasses.replace(exercise.written_answer(), observe=observe)
    monkeypatch.setitem(vars(exercise), "answer", answer)


def test_seeds_are_added_until_all_is_decided_and_no_further(monkeypatch, exercise):
    in_looks(monkeypatch, exercise)
    planned, found = [], []
    verification.publish(exercise, on_looks=planned.append, on_look=found.append)
    seen = evidence.published(exercise).inquiry.observations
    assert seen.looks == planned[-1] == found[-1].observations.looks
    assert seen.looks.planned == (4, 6, 10, 16, 20)
    assert seen.num_seeds == seen.looks.planned[seen.looks.taken - 1] < 20
    assert [bool(one.undecided) for one in found] == [True] * (len(found) - 1) + [False]
    # Each look tests at its part of the level.
    decided = found[-1].findings[DECAY].comparison.deciding
    assert decided.ci_prob > 1 - 0.05 / len(seen.looks.planned) - 1e-12


def test_looks_end_where_they_were_planned_to_end(monkeypatch, exercise):
    in_looks(monkeypatch, exercise, effect=0.0)
    found = []
    verification.publish(exercise, on_look=found.append)
    assert [one.observations.looks.taken for one in found] == [1, 2, 3, 4, 5]
    assert found[-1].undecided == [DECAY]
    assert evidence.published(exercise).inquiry.observations.num_seeds == 20


def test_what_was_published_in_looks_is_verified_at_the_same_look(monkeypatch, exercise):
    in_looks(monkeypatch, exercise)
    verification.publish(exercise)
    outcome = verification.verify(exercise, "full")
    assert outcome.again.observations.looks == outcome.published.inquiry.observations.looks
    assert outcome.stands
    assert verification.verify(exercise, "quick").again.observations.looks is None


def test_a_verdict_of_several_comparisons_is_not_published_in_looks(monkeypatch, exercise):
    """It would be reached more often, the more looks there are."""
    in_looks(monkeypatch, exercise)
    first, *others = exercise.written_answer().claims
    several = dataclasses.replace(first, check=lambda values: Finding.true_if(True))
    monkeypatch.setitem(
        vars(exercise),
        "answer",
        dataclasses.replace(exercise.written_answer(), claims=(several, *others)),
    )
    with pytest.raises(InvalidInput, match=f"check of {DECAY} must be one comparison"):
        verification.publish(exercise)
    assert not exercise.is_published


@pytest.mark.parametrize("control", ["holds", "undecided"])
def test_law_3_nothing_is_published_whose_falsehood_is_not_rejected(monkeypatch, control, exercise):
    made = cases.inquiry(controls={DECAY: control})
    monkeypatch.setattr(verification, "inquire", lambda exercise, lab: made)
    with pytest.raises(EvidenceError, match=f"control was not rejected for {DECAY}"):
        verification.publish(exercise)
    assert not exercise.is_published


def test_nothing_is_published_into_an_installed_package_nor_trained_for_it(exercise, monkeypatch):
    monkeypatch.setattr(mlplab, "__file__", str(exercise.folder.parents[1] / "__init__.py"))
    monkeypatch.setattr(lab_module, "run_study", lambda *a, **k: pytest.fail("it trains"))
    with pytest.raises(EvidenceError, match="published from a checkout"):
        verification.publish(exercise)


def test_a_second_look_finds_the_published_runs_in_the_users_store(exercise):
    verification.publish(exercise)
    with Store(default_path()) as store:
        told = []
        run_study(cases.the_study(cases.FULL_SEEDS), store, on_progress=told.append)
    assert told[0].found == 2 * cases.FULL_SEEDS
