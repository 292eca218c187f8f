"""The list of cases leaves nothing out: a name added to the spec fails here until a case covers it."""

from __future__ import annotations

import pytest

from mlplab.engine.reference import train_one
from mlplab.spec import Activation, Initialization, Noise, Optimizer, Training

from .cases import BY_NAME, CASES, dataset

SETTINGS = [case.setting for case in CASES]


def test_names_are_unique():
    assert len(BY_NAME) == len(CASES)


def test_every_name_in_the_spec_has_a_case():
    assert {a.kind for s in SETTINGS for a in s.model.activations} == set(Activation.KINDS)
    assert {i.kind for s in SETTINGS for i in s.model.initializations} == set(Initialization.KINDS)
    assert {n.kind for s in SETTINGS for n in s.noises} == set(Noise.KINDS)
    assert {s.optimizer.kind for s in SETTINGS} == set(Optimizer.KINDS)
    assert {s.training.loss for s in SETTINGS} == set(Training.LOSSES)
    assert {s.training.precision for s in SETTINGS} == {"float32", "float64"}
    assert {dataset(case.task).task for case in CASES} == set(Training.LOSSES.values())


def test_every_option_of_an_activation_is_away_from_its_default_in_some_case():
    given = {
        (a.kind, k)
        for s in SETTINGS
        for a in s.model.activations
        for k, v in a.options
        if v != a.KINDS[a.kind][k]
    }
    assert given == {(kind, option) for kind, options in Activation.KINDS.items() for option in options}


def test_every_branch_of_the_engine_has_a_case():
    assert {len(s.model.hidden_sizes) for s in SETTINGS} == {0, 1, 2, 3}
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_learns_something(case):
    """Two engines that do nothing agree: comparing them is worth something where training moves weights."""
    run = case.run(precision="float64")
    result = train_one(run, case.data())
    assert result.status == "finished"
    losses = result.curves["running_loss"]
    assert len(losses) == run.setting.training.epochs
    if len(losses) > 1:
        assert abs(losses[-1] - losses[0]) > 1e-3
