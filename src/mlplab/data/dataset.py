"""What a data set is: three parts, what they mean, where they came from, and a fingerprint of all of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from mlplab.errors import DataError, UnknownName

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

Task = Literal["classification", "regression"]


@dataclass(frozen=True, eq=False)
class Part:
    """The examples that one purpose sees: training, validation or test.

    Arguments:
      features: images are scaled to 0..1 and flattened.
      targets: class numbers from 0 (classification), or real values, one column an output (regression).
      weights: how much each example's loss counts, at least 0; None where all count 1. Losses are means of
        weight times loss: weights with mean 1 leave the scale of the loss as it is.
    """

    features: Float32[np.ndarray, "num_examples in_features"]
    targets: Int64[np.ndarray, "num_examples"] | Float32[np.ndarray, "num_examples out_features"]
    weights: Float32[np.ndarray, "num_examples"] | None = None

    @property
    def num_examples(self) -> int:
        return len(self.features)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set, checked once when it is made.

    Arguments:
      test: None where nobody may look yet. It answers once, after everything has been chosen on `validation`.
      out_features: number of classes, or of regression outputs.
      feature_shape: shape of one example before it was flattened.
      fingerprint: name, part sizes and the first 16 hex digits of the content's SHA-256. Computed where it is
        not given. Equal fingerprints mean equal numbers.
      source: one line for people: where these bytes came from.
      truth: what a synthetic problem was drawn from ("weights", "bias", "noise_std"); empty for real data.
      parameters: the choices that `load` was given, defaults included; empty where there are none.

    The arrays stay writable, because `torch.from_numpy` warns otherwise: whoever changes them copies them
    first.

    Raises DataError, naming data set, part and row, for content that no model could be trained on.
    """

    name: str
    title: str
    task: Task
    train: Part
    validation: Part
    test: Part | None
    out_features: int
    feature_shape: tuple[int, ...]
    class_names: tuple[str, ...] | None = None
    fingerprint: str = ""
    source: str = ""
    details: str = ""
    licence: str = ""
    citation: str = ""
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.name, self.parts))

    @property
    def in_features(self) -> int:
        return self.train.features.shape[1]

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that are there, by name, in the order train, validation, test."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in found.items() if part is not None}

    def part(self, name: str) -> Part:
        """The part of that name. Raises UnknownName where the data set has none such."""
        if name not in self.parts:
            raise UnknownName(f"part of data set {self.name!r}", name, self.parts)
        return self.parts[name]


def fingerprint(name: str, parts: Mapping[str, Part]) -> str:
    """`name:sizes:hash`, for example `digits:1197/200/400:0123456789abcdef`.

    The hash covers every number that a model can see, as little-endian bytes, with the shapes. Sixty-four
    bits tell any two data sets apart by accident; they are no defence against somebody who searches for a
    collision.
    """
    content = hashlib.sha256()
    for part_name, part in parts.items():
        arrays = [(part.features, "<f4"), (part.targets, f"<{part.targets.dtype.str[1:]}")]
        if part.weights is not None:
            arrays.append((part.weights, "<f4"))
        for array, stored_as in arrays:
            content.update(f"{part_name} {stored_as} {array.shape}\n".encode())
            content.update(np.ascontiguousarray(array, dtype=stored_as).data)
    sizes = "/".join(str(part.num_examples) for part in parts.values())
    return f"{name}:{sizes}:{content.hexdigest()[:16]}"


def _check(data: Dataset) -> None:
    of = f"Data set {data.name!r}"
    num_least = 2 if data.task == "classification" else 1
    if data.task not in ("classification", "regression"):
        raise UnknownName(f"task of data set {data.name!r}", data.task, ["classification", "regression"])
    if data.out_features < num_least:
        raise DataError(f"{of}: {data.task} needs {num_least} or more out_features; got {data.out_features}.")
    for part_name, part in data.parts.items():
        _check_part(f"{of}, part {part_name}", part, data)
    if math.prod(data.feature_shape) != data.in_features:
        raise DataError(f"{of}: feature_shape {data.feature_shape} is not {data.in_features} features.")
    if data.class_names is not None and len(data.class_names) != data.out_features:
        raise DataError(f"{of}: {len(data.class_names)} class names for {data.out_features} classes.")


def _check_part(of: str, part: Part, data: Dataset) -> None:
    features, targets = part.features, part.targets
    for name, array in (("features", features), ("targets", targets), ("weights", part.weights)):
        if not isinstance(array, np.ndarray) and not (name == "weights" and array is None):
            raise DataError(f"{of}: {name} must be a NumPy array; got a {type(array).__name__}.")
    if features.ndim != 2 or features.dtype != np.float32:
        raise DataError(f"{of}: features must be float32 (num_examples, in_features); got {_form(features)}.")
    if 0 in features.shape:
        raise DataError(f"{of} is empty: it has {features.shape[0]} rows of {features.shape[1]} features.")
    if features.shape[1] != data.in_features:
        raise DataError(f"{of} has {features.shape[1]} features; part train has {data.in_features}.")
    if len(targets) != len(features):
        raise DataError(f"{of}: {len(features)} rows of features but {len(targets)} targets.")

    # The extremes are not finite where any feature is not; a mask of every feature is made only to find it.
    if not np.isfinite([features.min(), features.max()]).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise DataError(
            f"{of}, row {row}: feature {column} is {features[row, column]}. Features must be finite: "
            "fill in or drop such rows first."
        )
    if part.weights is not None:
        _check_weights(of, part.weights, len(features))
    if data.task == "classification":
        _check_labels(of, targets, data.out_features)
    else:
        _check_values(of, targets, data.out_features)


def _check_weights(of: str, weights: np.ndarray, num_examples: int) -> None:
    if weights.shape != (num_examples,) or weights.dtype != np.float32:
        raise DataError(f"{of}: weights must be float32 ({num_examples},); got {_form(weights)}.")
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{of}, row {row}: weight {weights[row]} is not a finite number of at least 0.")
    if not weights.any():
        raise DataError(f"{of}: all weights are 0, so that no example counts.")


def _check_labels(of: str, labels: np.ndarray, num_classes: int) -> None:
    if labels.ndim != 1 or labels.dtype != np.int64:
        raise DataError(f"{of}: labels must be int64 (num_examples,); got {_form(labels)}.")
    bad = (labels < 0) | (labels >= num_classes)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{of}, row {row}: label {labels[row]} is not a class; 0 to {num_classes - 1} are.")


def _check_values(of: str, values: np.ndarray, num_outputs: int) -> None:
    if values.ndim != 2 or values.dtype != np.float32 or values.shape[1] != num_outputs:
        raise DataError(f"{of}: targets must be float32 (num_examples, {num_outputs}); got {_form(values)}.")
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{of}, row {row}: target {values[row].tolist()} is not finite.")


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
