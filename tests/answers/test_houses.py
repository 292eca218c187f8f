"""Folds of the house tables: nothing held out shapes what is trained, and the score is the competition's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mlplab.answers import Lab, ours
from mlplab.engine import reference
from mlplab.errors import DataError, InvalidInput, UnknownName
from mlplab.knobs import turn
from mlplab.spec import Run
from mlplab.study import Store

q1_submission = ours().exercise("4.10.1").module
h = ours().module("houses")


@pytest.fixture(scope="module")
def houses() -> h.Houses:
    return h.load(Lab("quick"))


def test_five_folds_hold_out_every_row_once_and_another_repeat_parts_them_otherwise() -> None:
    held = [h.parted(53, number)[1] for number in range(10)]
    for repeat in (held[:5], held[5:]):
        assert sorted(np.concatenate(repeat).tolist()) == list(range(53))
    assert not any(np.array_equal(a, b) for a, b in zip(held[:5], held[5:], strict=True))
    train, out = h.parted(53, 3)
    assert set(train) | set(out) == set(range(53))
    assert not set(train) & set(out)


@pytest.mark.parametrize("with_inner", [False, True])
def test_no_cell_of_a_house_held_out_or_choosing_moves_a_training_feature(
    houses: h.Houses, with_inner: bool
) -> None:
    fold = h.fold(houses, 2, with_inner=with_inner)
    train, held = h.parted(len(houses), 2)
    spoilt = held if fold.inner is None else np.concatenate([held, train[fold.inner]])
    table = houses.table.copy()
    table.loc[spoilt, "LotArea"] = 1e9
    table.loc[spoilt, "Neighborhood"] = "Nowhere"
    other = h.fold(dataclasses.replace(houses, table=table), 2, with_inner=with_inner)
    assert np.array_equal(fold.train_x[fold.trained], other.train_x[other.trained])
    assert not np.array_equal(fold.held_x, other.held_x)


def test_the_engines_test_loss_is_the_competitions_score(houses: h.Houses) -> None:
    fold = h.fold(houses, 1)
    setting = turn(h.MLP_SETTING, epochs=2, precision="float64", activation="tanh")
    dataset = fold.dataset("log")
    result = reference.train_one(Run(setting, dataset.fingerprint, 0), dataset)
    mean, std = fold.scale("log")
    outputs = h.predict(setting, result.parameters, dataset.test.features.astype(float))
    score = fold.score(mean + std * outputs)
    # float32 targets of size 1
    assert score == pytest.approx(std * np.sqrt(2 * result.metrics["test_loss"]), rel=1e-5)


def test_only_tables_of_houses_are_taken() -> None:
    with pytest.raises(UnknownName, match="table must be one of 'house-prices', 'drawn-houses'"):
        h.load(Lab("quick", data_name="digits"))
    with pytest.raises(InvalidInput, match="normalization"):
        h.predict(turn(h.MLP_SETTING, normalization="batch"), [], np.zeros((1, 1)))


def test_a_submission_is_written_where_it_was_asked_for(tmp_path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        lab = Lab("quick", knobs={"epochs": "2"}, store=store)
        path = q1_submission.submit(tmp_path / "mine.csv", lab)
    lines = path.read_text().splitlines()
    assert lines[0] == "Id,SalePrice"
    assert [line.partition(",")[0] for line in lines[1:]] == [str(i) for i in range(1, 601)]
    expected, scored = (note for note in lab.notes if note.key in ("notes.expected", "notes.scored"))
    assert float(expected.values["low"]) < float(expected.values["score"]) < float(expected.values["high"])
    assert float(scored.values["score"]) > 0
    for language in ("en", "zh"):
        assert "{" not in expected.of(ours().exercise("4.10.1").words(language))
    with pytest.raises(DataError, match="it is a folder"):
        q1_submission.submit(tmp_path, Lab("quick"))
    with pytest.raises(DataError, match="there is no folder"):
        q1_submission.submit(tmp_path / "nowhere/mine.csv", Lab("quick"))
