"""The list of cases leaves nothing out: a name added to the spec fails here until a case covers it."""

from __future__ import annotations

import dataclasses

import pytest

from mlplab.engine.noises import KINDS as NOISE_KINDS
from mlplab.engine.reference import train_one
from mlplab.spec import (
    Activation,
    Initialization,
    Named,
    Noise,
    Normalization,
    Optimizer,
    Schedule,
    Setting,
    Training,
)

from .cases import BY_NAME, CASES, STRUCTURAL, Case, dataset

SETTINGS = [case.setting for case in CASES]


def test_names_are_unique():
    assert len(BY_NAME) == len(CASES)


NAMED = {  # each kind of name, and those that the cases use
    Activation: [a for s in SETTINGS for a in s.model.activations],
    Initialization: [i for s in SETTINGS for i in s.model.initializations],
    Normalization: [n for s in SETTINGS for n in s.model.normalizations],
    Noise: [n for s in SETTINGS for n in s.noises],
    Schedule: [s.optimizer.schedule for s in SETTINGS],
}


def test_every_name_in_the_spec_has_a_case():
    for owner, used in NAMED.items():
        assert {name.kind for name in used} == set(owner.KINDS), owner
    assert set(NOISE_KINDS) == set(Noise.KINDS) - {"none"}
    assert {s.optimizer.kind for s in SETTINGS} == set(Optimizer.KINDS)
    assert {s.training.loss for s in SETTINGS} == set(Training.LOSSES)
    assert {s.training.precision for s in SETTINGS} == {"float32", "float64", "bfloat16"}
    assert {probe for s in SETTINGS for probe in s.training.probes} == set(Training.PROBES)
    assert {dataset(case.task).task for case in CASES} == set(Training.LOSSES.values())


@pytest.mark.parametrize("owner", NAMED, ids=lambda owner: owner.__name__)
def test_every_option_is_away_from_its_default_in_some_case(owner: type[Named]):
    """An option that is dropped on the way would not be noticed at its default."""
    given = {(name.kind, option) for name in NAMED[owner] for option in name.changed}
    wanted = {(kind, option) for kind, options in owner.KINDS.items() for option in options}
    if (
        owner is Initialization
    ):  # moved in test_draws, for the starts are drawn in one place for both trainers
        wanted = {(kind, option) for kind, option in wanted if kind == "lsuv"}
    assert wanted <= given


@pytest.mark.parametrize("part", ["model", "optimizer", "penalty", "training"])
def test_every_field_is_away_from_its_default_in_some_case(part):
    default = getattr(Setting(), part)
    moved = {
        field.name
        for s in SETTINGS
        for field in dataclasses.fields(default)
        if getattr(getattr(s, part), field.name) != getattr(default, field.name)
    }
    assert moved == {field.name for field in dataclasses.fields(default)}


def test_every_branch_of_the_engine_has_a_case():
    assert {len(s.model.hidden_sizes) for s in SETTINGS} == {0, 1, 2, 3, 4}
    assert {s.model.bias for s in SETTINGS} == {True, False}
    assert {s.optimizer.nesterov for s in SETTINGS} == {True, False}
    for kind in Optimizer.KINDS:
        mine = [s for s in SETTINGS if s.optimizer.kind == kind]
        assert {s.penalty.weight_decay > 0 for s in mine} == {True, False}, kind
        assert {s.penalty.l1 > 0 for s in mine} == {True, False}, kind
    rates = [[noise.rate for noise in s.noises] for s in SETTINGS]
    assert any(0 in r and any(r) for r in rates), "a layer without dropout beside one with it"
    sizes = {s.training.batch_size for s in SETTINGS}
    assert None in sizes
    assert {90 % size == 0 for size in sizes if size} == {True, False}
    assert {s.training.evaluate_every > 1 for s in SETTINGS} == {True, False}


def _has(setting: Setting) -> set[str]:
    """What about a setting makes another branch of a trainer run."""
    optimizer, penalty, training = setting.optimizer, setting.penalty, setting.training
    found = {optimizer.kind, training.loss, *(a.kind for a in setting.model.activations if a.kind == "prelu")}
    found |= {n.kind for n in (*setting.noises, *setting.model.normalizations)} - {"none"}
    present = {
        "l1": penalty.l1 > 0 and not penalty.proximal,
        "proximal": penalty.proximal,
        "decay": penalty.weight_decay > 0,
        "prior": penalty.prior is not None,
        "clip": optimizer.clip_norm is not None,
        "schedule": optimizer.schedule != Schedule("constant"),
        "momentum": optimizer.momentum > 0,
        "without bias": not setting.model.bias,
        "patience": training.patience is not None,
        "probes": bool(training.probes),
        "evaluate_every": training.evaluate_every > 1,
        "average": training.average_epochs > 0,
        "drop_last": training.drop_last,
    }
    return found | {name for name, is_there in present.items() if is_there}


# Features that meet in the code of a trainer, where the order of two lines matters.
PAIRS = """
clip+l1 clip+decay clip+prelu clip+momentum clip+adam clip+prior proximal+momentum proximal+decay
proximal+adam proximal+schedule prior+decay prior+adam lars+decay lars+momentum lars+l1 lamb+decay
lamb+l1 lamb+proximal adamw+schedule schedule+momentum prelu+decay prelu+adam batch+dropout batch+decay
batch+adam batch+momentum batch+dropconnect batch+prelu patience+batch patience+prelu
patience+evaluate_every probes+clip probes+decay probes+dropout probes+dropconnect probes+batch
average+batch average+prelu average+schedule average+drop_last drop_last+schedule
""".split()


@pytest.mark.parametrize("pair", PAIRS)
def test_features_that_meet_have_a_case(pair):
    assert any(set(pair.split("+")) <= _has(setting) for setting in SETTINGS)


def _parts(case: Case) -> set[str]:
    """What `_has` names, and what a run is made of besides."""
    setting, training = case.setting, case.setting.training
    size = training.batch_size
    found = _has(setting) | {pair for pair in PAIRS if set(pair.split("+")) <= _has(setting)}
    found |= {f"{len(setting.model.hidden_sizes)} hidden layers", training.precision}
    found |= {setting.optimizer.schedule.kind, *training.probes}
    found.add("one batch" if size is None or size >= 90 else f"equal batches: {90 % size == 0}")
    present = {
        "weighted": case.weighted,
        "start": setting.model.start is not None,
        "lsuv": any(i.kind == "lsuv" for i in setting.model.initializations),
        "label smoothing": training.label_smoothing > 0,
        "kept weights": bool(training.keep_weights),
        "nesterov": setting.optimizer.nesterov,
        "noises of several kinds": len(set(setting.noises)) > 2,
    }
    return found | {name for name, is_there in present.items() if is_there}


def test_structural_cases_have_every_part_of_a_training():
    """Apart from the case that has everything at once, in which one part could hide another."""
    assert "everything" in STRUCTURAL
    parts = {case.name: _parts(case) for case in CASES if case.name != "everything"}
    structural = {name: parts[name] for name in STRUCTURAL if name != "everything"}
    assert set().union(*structural.values()) == set().union(*parts.values())


def test_some_cases_have_weights_of_examples():
    weighted = [case for case in CASES if case.weighted]
    assert {case.task for case in weighted} == {"classification", "regression"}
    for case in weighted:
        assert all(
            (part.weights == 0).any() and part.weights.max() > 1 for part in case.data().parts.values()
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_learns_something(case):
    """Two engines that do nothing agree: comparing them is worth something where training moves weights."""
    run = case.run(precision="float64")
    result = train_one(run, case.data())
    assert result.status == "finished"
    losses = result.curves["running_loss"]
    assert len(losses) == run.setting.training.epochs or run.setting.training.patience
    if len(losses) > 1:
        assert abs(losses[-1] - losses[0]) > 1e-3


def test_early_stopping_ends_some_cases_and_goes_back_to_an_earlier_epoch():
    stopping = [case for case in CASES if case.setting.training.patience]
    ends = {}
    for case in stopping:
        result = train_one(case.run(precision="float64"), case.data())
        ends[case.name] = len(result.curves["running_loss"]) - result.best_epoch
        if len(result.curves["running_loss"]) < case.setting.training.epochs:
            assert ends[case.name] == case.setting.training.patience * case.setting.training.evaluate_every
    assert min(ends.values()) == 0
    assert max(ends.values()) > 1
