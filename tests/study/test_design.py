"""Laws of designs: what is trained is said once, whoever wrote it and in whatever form."""

from __future__ import annotations

import itertools

import pytest

from mlplab.errors import InvalidInput, UnknownName
from mlplab.knobs import turn
from mlplab.spec import Run, Setting
from mlplab.study import Arm, Study, factorial

from .cases import BASE, arms, dataset


def test_factorial_is_every_combination_with_the_last_factor_fastest():
    made = factorial(Setting(), learning_rate=[0.1, 0.5], weight_decay=[0, 1e-3, 1e-2])
    expected = itertools.product([0.1, 0.5], [0, 1e-3, 1e-2])
    assert [arm.setting for arm in made] == [
        turn(Setting(), learning_rate=a, weight_decay=b) for a, b in expected
    ]
    assert made[1].name == "learning_rate=0.1 weight_decay=0.001"
    assert made[1].levels == {"learning_rate": 0.1, "weight_decay": 0.001}


@pytest.mark.parametrize(
    ("text", "value", "name"),
    [
        ({"learning_rate": "0.10"}, {"learning_rate": 0.1}, "learning_rate=0.1"),
        ({"dropout": "0.5"}, {"dropout": (0.5, 0.5)}, "dropout=0.5"),
        ({"dropout": "0.2,0.5"}, {"dropout": (0.2, 0.5)}, "dropout=0.2,0.5"),
        ({"activation": "tanh"}, {"activation": ("tanh", "tanh")}, "activation=tanh"),
        ({"batch_size": "full"}, {"batch_size": None}, "batch_size=none"),
        ({"hidden_sizes": "()"}, {"hidden_sizes": ()}, "hidden_sizes=()"),
    ],
)
def test_an_arm_is_the_same_from_text_and_from_values(text, value, name):
    base = turn(Setting(), hidden_sizes=(8, 8))
    (read,) = factorial(base, **{k: [v] for k, v in text.items()})
    (given,) = factorial(base, **{k: [v] for k, v in value.items()})
    assert read == given
    assert read.name == name


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({}, "factorial needs at least one factor; got 'none'. Try learning_rate=[0.05, 0.1]."),
        ({"dropout": []}, "factor dropout needs at least 1 level; got 0."),
        (
            {"dropout": "0.2,0.5"},
            "factor dropout needs a list of levels; got '0.2,0.5'. Write dropout=['0.2,0.5'].",
        ),
        ({"dropout": 0.5}, "factor dropout needs a list of levels; got 0.5. Write dropout=[0.5]."),
        (
            {"dropout": ["0.5", (0.5,)]},
            "arms must differ in what they train; got 'dropout=0.5'. 'dropout=0.5' is the same setting: leave one out.",
        ),
        (
            {"learning_rate": [-1]},
            "Optimizer.learning_rate must be greater than 0; got -1.0. 0.1 is the chapter's.",
        ),
    ],
)
def test_an_impossible_design_gets_one_line(factors, message):
    with pytest.raises(InvalidInput) as caught:
        factorial(BASE, **factors)
    assert str(caught.value) == message


def test_an_unknown_factor_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'dropout'"):
        factorial(BASE, dropuot=[0.5])


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (0, "a study needs at least 1 seed; got 0."),
        (-3, "a study needs at least 1 seed; got -3."),
        ([], "a study needs at least 1 seed; got 0."),
        ([0, -1], "a study needs seeds that are whole numbers from 0; got -1."),
        ([0, 0.5], "a study needs seeds that are whole numbers from 0; got 0.5."),
        ([4, 4], "a study needs each seed once; got 4. A repeated run is no new replicate."),
        ("12", "a study needs seeds as whole numbers, or how many; got '12'."),
        (True, "a study needs seeds as whole numbers, or how many; got True."),
    ],
)
def test_impossible_seeds_get_one_line(seeds, message):
    with pytest.raises(InvalidInput) as caught:
        Study(arms("a"), seeds, dataset())
    assert str(caught.value) == message


def test_arms_must_be_there_and_differ():
    with pytest.raises(InvalidInput, match="at least 1 arm"):
        Study([], 1, dataset())
    with pytest.raises(InvalidInput, match="different names"):
        Study(arms("a", "a"), 1, dataset())
    with pytest.raises(InvalidInput, match="same setting"):
        Study([Arm("a", BASE), Arm("b", BASE)], 1, dataset())


def test_runs_have_seeds_outermost_and_know_their_arm():
    study = Study(arms("a", "b"), [7, 3], dataset())
    assert [(run.seed, study.arm_of(run).name) for run in study.runs] == [
        (7, "a"),
        (7, "b"),
        (3, "a"),
        (3, "b"),
    ]
    assert study.digests == tuple(run.digest for run in study.runs)
    with pytest.raises(InvalidInput, match="a run of this study"):
        study.arm_of(Run(turn(BASE, epochs=9), "x", 0))


def test_with_a_function_each_seed_has_its_own_data_and_arms_share_it():
    study = Study(arms("a", "b"), [2, 5], dataset)
    assert list(study.datasets) == [dataset(2).fingerprint, dataset(5).fingerprint]
    assert [run.data for run in study.runs] == [dataset(seed).fingerprint for seed in (2, 2, 5, 5)]


def test_the_digest_says_what_is_trained_and_nothing_else():
    study = Study(arms("a", "b"), [0, 1], dataset())
    renamed = [Arm(f"{arm.name}!", arm.setting) for arm in reversed(study.arms)]
    assert Study(renamed, [1, 0], dataset()).digest == study.digest
    others = [
        Study(arms("a", "b", "c"), [0, 1], dataset()),
        Study(arms("a", "b"), [0, 2], dataset()),
        Study(arms("a", "b"), [0, 1], dataset(1)),
        Study(arms("a", "b"), [0, 1], dataset),
    ]
    assert len({study.digest, *(other.digest for other in others)}) == 5
