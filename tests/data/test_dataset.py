from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from mlplab.data import Dataset, Part
from mlplab.errors import DataError, UnknownName


def part(num_examples: int = 6, in_features: int = 4) -> Part:
    features = np.arange(num_examples * in_features, dtype=np.float32).reshape(num_examples, in_features)
    return Part(features, np.arange(num_examples, dtype=np.int64) % 3)


def dataset(**changes: object) -> Dataset:
    facts = {
        "name": "own", "title": "Own", "task": "classification", "train": part(6), "validation": part(3),
        "test": part(3), "out_features": 3, "feature_shape": (2, 2),
    }  # fmt: skip
    return Dataset(**(facts | changes))


def changed(row: int, feature: int, value: float) -> Part:
    altered = part()
    altered.features[row, feature] = value
    return altered


def test_parts_are_found_by_name_and_unknown_ones_refused() -> None:
    data = dataset()
    assert data.part("validation") is data.validation
    assert data.in_features == 4
    with pytest.raises(UnknownName, match="Did you mean 'train'"):
        data.part("trian")
    with pytest.raises(UnknownName, match="must be one of 'train', 'validation'; got 'test'"):
        dataset(test=None).part("test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": changed(4, 1, np.nan)}, "'own', part train, row 4: feature 1 is nan"),
        ({"validation": changed(0, 3, -np.inf)}, "part validation, row 0: feature 3 is -inf"),
        ({"test": part(3, 5)}, "part test has 5 features; part train has 4"),
        ({"test": Part(part(3).features, np.array([0, 1, 3]))}, "row 2: label 3 is not a class; 0 to 2 are"),
        ({"test": Part(part(3).features, np.array([0, -1, 2]))}, "part test, row 1: label -1"),
        ({"test": Part(part(3).features, np.zeros(3, np.int32))}, r"must be int64 .* got int32 \(3,\)"),
        ({"test": Part(part(3).features, np.zeros((3, 1), np.int64))}, r"got int64 \(3, 1\)"),
        ({"test": Part(part(3).features, np.zeros(2, np.int64))}, "3 rows of features but 2 targets"),
        ({"test": Part(part(3).features.astype(float), np.zeros(3, np.int64))}, "float32 .* got float64"),
        ({"test": Part(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))}, "part test is empty"),
        ({"feature_shape": (3, 2)}, r"feature_shape \(3, 2\) is not 4 features"),
        ({"class_names": ("a", "b")}, "2 class names for 3 classes"),
        ({"out_features": 1}, "classification needs 2 or more out_features"),
        ({"task": "regression"}, r"targets must be float32 \(num_examples, 3\)"),
    ],
)  # fmt: skip
def test_content_that_no_model_can_learn_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        dataset(**changes)
    assert "\n" not in str(error.value)


def weighted(*weights: float, num_examples: int = 6, dtype: type = np.float32) -> Part:
    held = np.array([*weights, *[1] * (num_examples - len(weights))], dtype)
    return dataclasses.replace(part(num_examples), weights=held)


def test_examples_may_have_weights() -> None:
    data = dataset(train=weighted(0, 2.5), validation=part(3))
    assert data.train.weights.tolist() == [0, 2.5, 1, 1, 1, 1]
    assert data.validation.weights is None
    assert pickle.loads(pickle.dumps(data)).train.weights.tolist() == data.train.weights.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": weighted(1, -0.5)}, "'own', part train, row 1: weight -0.5 is not a finite number of at least 0"),
        ({"train": weighted(1, 1, np.nan)}, "part train, row 2: weight nan"),
        ({"train": weighted(np.inf)}, "part train, row 0: weight inf"),
        ({"test": weighted(0, 0, 0, num_examples=3)}, "part test: all weights are 0"),
        ({"train": weighted(dtype=np.float64)}, r"weights must be float32 \(6,\); got float64 \(6,\)"),
        ({"train": weighted(dtype=bool)}, r"weights must be float32 \(6,\); got bool"),
        ({"train": Part(part().features, part().targets, np.ones(5, np.float32))}, r"\(6,\); got float32 \(5,\)"),
        ({"train": Part(part().features, part().targets, np.ones((6, 1), np.float32))}, r"float32 \(6, 1\)"),
        ({"train": Part(part().features, part().targets, [1.0] * 6)}, "weights must be a NumPy array; got a list"),
        ({"train": Part(part().features, part().targets, 1.0)}, "weights must be a NumPy array; got a float"),
        ({"train": Part(part().features, [0] * 6)}, "targets must be a NumPy array; got a list"),
        ({"test": Part([[1.0] * 4], part(1).targets)}, "part test: features must be a NumPy array; got a list"),
        ({"test": Part(part(3).features, None)}, "targets must be a NumPy array; got a NoneType"),
    ],
)  # fmt: skip
def test_weights_that_cannot_count_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        dataset(**changes)
    assert "\n" not in str(error.value)


def test_regression_targets_must_be_finite() -> None:
    values = Part(part().features, np.array([[1], [2], [np.nan], [4], [5], [6]], np.float32))
    with pytest.raises(DataError, match="part train, row 2: target"):
        dataset(task="regression", out_features=1, train=values, validation=values, test=None)


def test_an_unknown_task_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'regression'"):
        dataset(task="regresion")


def test_fingerprint_tells_name_and_sizes_and_depends_on_every_number() -> None:
    original = dataset().fingerprint
    assert original.startswith("own:6/3/3:")
    assert len(original.split(":")[2]) == 16
    relabelled = part()
    relabelled.targets[5] = 0
    others = [
        dataset(train=changed(5, 3, 22.999998)),  # one unit in the last place
        dataset(train=relabelled),
        dataset(test=None),
        dataset(validation=part(2), test=part(4)),
    ]
    fingerprints = {original, *(other.fingerprint for other in others)}
    assert len(fingerprints) == 5
    assert dataset().fingerprint == original
    assert dataset(title="Renamed", source="elsewhere").fingerprint == original


def test_fingerprint_depends_on_every_weight_and_on_nothing_where_there_are_none() -> None:
    """Stored results of data without weights are found by the fingerprint that they had before there were weights."""
    assert dataset().fingerprint == "own:6/3/3:cc1cedcc4bea1faa"
    same = weighted(1)
    data = [
        dataset(),
        dataset(train=same),
        dataset(train=weighted(1, np.nextafter(np.float32(1), np.float32(2)))),
    ]
    data += [
        dataset(train=weighted(2)),
        dataset(validation=weighted(num_examples=3)),
        dataset(test=weighted(num_examples=3)),
    ]
    assert len({each.fingerprint for each in data}) == 6
    strided = dataclasses.replace(same, weights=np.ones(12, np.float32)[::2])
    assert dataset(train=strided).fingerprint == dataset(train=same).fingerprint


def test_fingerprint_does_not_depend_on_memory_layout() -> None:
    turned = Part(np.asfortranarray(part().features), part().targets)
    assert dataset(train=turned).fingerprint == dataset().fingerprint


def test_a_dataset_survives_pickling_and_cannot_be_reassigned() -> None:
    data = dataset(truth={"weights": np.ones(2)})
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"
