"""The settings that every engine test runs, and the small data sets they run on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from mlplab.data import Dataset, Part
from mlplab.engine import Result
from mlplab.rng import Stream
from mlplab.spec import (
    MLP,
    Activation,
    Initialization,
    Noise,
    Optimizer,
    Penalty,
    Precision,
    Run,
    Setting,
    Training,
)

Task = Literal["classification", "regression"]


@cache
def dataset(task: Task, draw: int = 0, *, test_part: bool = True) -> Dataset:
    """A noisy problem that a small network can learn something of. Every `draw` has the same shapes."""
    in_features, out_features = (8, 4) if task == "classification" else (6, 2)
    sizes = {"train": 90, "validation": 40, "test": 30}
    truth = Stream(draw, "data").normal((in_features, out_features))

    def part(index: int, size: int) -> Part:
        x = Stream(draw, "data", layer=1, step=index).normal((size, in_features)).astype(np.float32)
        scores = np.sin(2 * x) @ truth + 0.3 * Stream(draw, "data", layer=2, step=index).normal(
            (size, out_features)
        )
        return Part(x, scores.argmax(1) if task == "classification" else scores.astype(np.float32))

    parts = {name: part(index, size) for index, (name, size) in enumerate(sizes.items())}
    if not test_part:
        parts["test"] = None
    return Dataset(
        name=f"test-{task}",
        title="",
        task=task,
        **parts,
        out_features=out_features,
        feature_shape=(in_features,),
    )


@dataclass(frozen=True)
class Case:
    """A named setting. `run` gives it a seed and, where needed, another precision or draw of the data."""

    name: str
    setting: Setting

    @property
    def task(self) -> Task:
        return "classification" if self.setting.training.loss == "cross_entropy" else "regression"

    def data(self, draw: int = 0) -> Dataset:
        return dataset(self.task, draw)

    def run(self, seed: int = 3, precision: Precision | None = None, draw: int = 0) -> Run:
        setting = in_precision(self.setting, precision) if precision else self.setting
        return Run(setting, self.data(draw).fingerprint, seed)


def in_precision(setting: Setting, precision: Precision) -> Setting:
    return setting.replace(training=dataclasses.replace(setting.training, precision=precision))


def _case(
    name: str,
    *,
    model: MLP = MLP((10,), initialization="xavier_normal"),  # noqa: B008  frozen
    noise: object = "none",
    optimizer: Optimizer = Optimizer(learning_rate=0.3),  # noqa: B008
    penalty: Penalty = Penalty(),  # noqa: B008
    **training: object,
) -> Case:
    # 90 examples in batches of 25: the last batch of an epoch is smaller.
    training = {"epochs": 3, "batch_size": 25} | training
    return Case(name, Setting(model, noise, optimizer, penalty, Training(**training)))


def _deep(*sizes: int, **model: object) -> MLP:
    return MLP(sizes, **({"initialization": "xavier_normal"} | model))


# Initialisations whose defaults would leave this small network dead, or make it diverge.
_MILD = {
    "normal": {"std": 0.3},
    "uniform": {"low": -0.4, "high": 0.5},
    "trunc_normal": {"std": 0.5, "low": -0.6, "high": 0.9},
    "constant": {"value": 0.2},
    "sparse": {"sparsity": 0.3, "std": 0.5},
}
# Options other than PyTorch's defaults: a default that is dropped on the way would not be noticed.
_BENT = {"leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 0.7}, "celu": {"alpha": 1.6}}

_DROPOUT = Noise("dropout", rate=0.3)
_ADAM = Optimizer("adam", learning_rate=0.02, beta1=0.8, beta2=0.98, epsilon=1e-6)
_ADAMW = Optimizer("adamw", learning_rate=0.02)

CASES = [
    *(_case(f"act_{kind}", model=_deep(10, activation=Activation(kind, **_BENT.get(kind, {}))))
      for kind in Activation.KINDS),
    *(_case(f"init_{kind}", model=_deep(10, initialization=Initialization(kind, **_MILD.get(kind, {}))))
      for kind in Initialization.KINDS),
    _case("linear_model", model=_deep()),
    _case("linear_model_without_bias", model=_deep(bias=False)),
    _case("two_hidden", model=_deep(12, 7)),
    _case("three_hidden_mixed", model=_deep(
        9, 8, 7, activation=("tanh", "relu", "gelu"),
        initialization=("orthogonal", "linear", "kaiming_normal", "xavier_uniform"))),
    _case("without_bias", model=_deep(10, bias=False)),
    _case("without_bias_linear_init", model=_deep(10, bias=False, initialization="linear")),
    _case("dropout", noise=_DROPOUT),
    _case("dropout_half_default", noise="dropout", batch_size=7),
    _case("dropout_by_layer", model=_deep(12, 9, 7), noise=(_DROPOUT, "none", Noise("dropout", rate=0.6))),
    _case("dropout_adam_decay", model=_deep(12, 9), noise=_DROPOUT, optimizer=_ADAM, penalty=Penalty(0.02)),
    _case("momentum", optimizer=Optimizer(learning_rate=0.1, momentum=0.9)),
    _case("nesterov", optimizer=Optimizer(learning_rate=0.1, momentum=0.8, nesterov=True)),
    _case("nesterov_decay_l1", optimizer=Optimizer(learning_rate=0.1, momentum=0.8, nesterov=True),
          penalty=Penalty(0.03, 0.004)),
    _case("adam", optimizer=_ADAM),
    _case("adam_decay_l1", optimizer=_ADAM, penalty=Penalty(0.05, 0.004)),
    _case("adamw", optimizer=_ADAMW),
    _case("adamw_decay", optimizer=_ADAMW, penalty=Penalty(0.3)),
    _case("adamw_decay_l1_dropout", noise=_DROPOUT, optimizer=_ADAMW, penalty=Penalty(0.3, 0.01)),
    _case("weight_decay", penalty=Penalty(0.05)),
    _case("l1", penalty=Penalty(l1=0.01)),
    _case("weight_decay_and_l1_deep", model=_deep(9, 8), penalty=Penalty(0.02, 0.003)),
    _case("full_batch", batch_size=None, epochs=6),
    _case("batch_divides_the_data", batch_size=30),
    _case("batch_larger_than_the_data", batch_size=1000, epochs=6),
    _case("batch_of_one", batch_size=1, epochs=1, optimizer=Optimizer(learning_rate=0.02)),
    _case("evaluate_every_2", evaluate_every=2, epochs=5),
    _case("evaluate_every_more_than_epochs", evaluate_every=9),
    _case("float64", precision="float64"),
    _case("regression", loss="squared_error", optimizer=Optimizer(learning_rate=0.03)),
    _case("regression_linear_full_batch", model=_deep(), loss="squared_error", batch_size=None,
          optimizer=Optimizer(learning_rate=0.1)),
    _case("regression_dropout_momentum_decay", model=_deep(12, 9, activation="tanh"), noise=_DROPOUT,
          optimizer=Optimizer(learning_rate=0.01, momentum=0.9), penalty=Penalty(0.02), loss="squared_error"),
    _case("regression_adam_float64", optimizer=_ADAM, loss="squared_error", precision="float64"),
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}


def largest_difference(a: Result, b: Result) -> float:
    """The largest difference between two runs' numbers: weights, metrics and curves."""
    assert (a.status, a.diverged_step) == (b.status, b.diverged_step)
    assert a.metrics.keys() == b.metrics.keys()
    assert {name: len(curve) for name, curve in a.curves.items()} == {n: len(c) for n, c in b.curves.items()}
    differences = [weight_difference(a, b)]
    differences += [abs(value - b.metrics[name]) for name, value in a.metrics.items()]
    differences += [
        np.abs(np.subtract(curve, b.curves[name])).max(initial=0) for name, curve in a.curves.items()
    ]
    return float(np.max(differences))


def weight_difference(a: Result, b: Result) -> float:
    """The largest difference between two runs' weights and biases."""
    pairs = zip(_flat(a), _flat(b), strict=True)
    return max((float(np.abs(x.astype(float) - y).max(initial=0)) for x, y in pairs), default=0.0)


def _flat(result: Result) -> list[np.ndarray]:
    return [array for layer in result.parameters for array in layer]
