"""The settings that every engine test runs, and the small data sets they run on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
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
    Normalization,
    Optimizer,
    Penalty,
    Precision,
    Prior,
    Run,
    Schedule,
    Setting,
    Start,
    Training,
)

Task = Literal["classification", "regression"]


@cache
def dataset(task: Task, draw: int = 0, *, test_part: bool = True, weighted: bool = False) -> Dataset:
    """A noisy problem that a small network can learn something of. Every `draw` has the same shapes.

    Weights of examples, where asked for, are between 0 and 2, and some are 0.
    """
    in_features, out_features = (8, 4) if task == "classification" else (6, 2)
    sizes = {"train": 90, "validation": 40, "test": 30}
    truth = Stream(draw, "data").normal((in_features, out_features))

    def part(index: int, size: int) -> Part:
        x = Stream(draw, "data", layer=1, step=index).normal((size, in_features)).astype(np.float32)
        scores = np.sin(2 * x) @ truth + 0.3 * Stream(draw, "data", layer=2, step=index).normal(
            (size, out_features)
        )
        weights = (2.2 * Stream(draw, "data", layer=3, step=index).uniform(size) - 0.2).clip(0)
        return Part(
            x,
            scores.argmax(1) if task == "classification" else scores.astype(np.float32),
            weights.astype(np.float32) if weighted else None,
        )

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
    """A named setting. `run` gives it a seed and, where needed, another precision or draw of the data.

    `weighted`: its data set's examples have weights.
    """

    name: str
    setting: Setting
    weighted: bool = False

    @property
    def task(self) -> Task:
        return "classification" if self.setting.training.loss == "cross_entropy" else "regression"

    def data(self, draw: int = 0) -> Dataset:
        return dataset(self.task, draw, weighted=self.weighted)

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
    weighted: bool = False,
    **training: object,
) -> Case:
    # 90 examples in batches of 25: the last batch of an epoch is smaller.
    training = {"epochs": 3, "batch_size": 25} | training
    return Case(name, Setting(model, noise, optimizer, penalty, Training(**training)), weighted)


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
_BENT = {
    "leaky_relu": {"negative_slope": 0.2},
    "elu": {"alpha": 0.7},
    "celu": {"alpha": 1.6},
    "prelu": {"init": 0.1},
}

_DROPOUT = Noise("dropout", rate=0.3)
_ADAM = Optimizer("adam", learning_rate=0.02, beta1=0.8, beta2=0.98, epsilon=1e-6)
_ADAMW = Optimizer("adamw", learning_rate=0.02)
_LAMB = Optimizer("lamb", learning_rate=0.05, beta1=0.8, beta2=0.98, epsilon=1e-6)


def _lars(**options: object) -> Optimizer:
    return Optimizer("lars", **({"learning_rate": 0.3, "trust_coefficient": 0.1} | options))


def _sgd(schedule: Schedule | None = None, **options: object) -> Optimizer:
    schedules = {"schedule": schedule} if schedule else {}
    return Optimizer(**({"learning_rate": 0.3} | schedules | options))


def _start(*sizes: int, bias: bool = True) -> Start:
    drawn = Stream(0, "data", layer=4)
    return Start(
        (0.4 * drawn.normal((b, a)), 0.2 * drawn.normal(b) if bias else None) for a, b in pairwise(sizes)
    )


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
    # Starts
    _case("start", model=MLP((5,), start=_start(8, 5, 4))),
    _case("start_without_bias_deep", model=MLP((5, 7), bias=False, start=_start(8, 5, 7, 4, bias=False))),
    _case("lsuv_deep", model=_deep(
        9, 8, 7, activation=("tanh", "prelu", "relu"), normalization=("batch", "none", "batch"),
        initialization=("linear", Initialization("lsuv", std=0.7), "orthogonal", "lsuv"))),
    # Learned slopes
    _case("prelu_deep_decay", model=_deep(9, 8, activation=("prelu", Activation("prelu", init=0.0))),
          penalty=Penalty(0.05, 0.003)),
    _case("prelu_beside_relu_adam", model=_deep(9, 8, activation=("relu", "prelu")), optimizer=_ADAM),
    # Noise
    _case("dropconnect", noise=Noise("dropconnect", rate=0.3)),
    _case("dropconnect_deep_adam", model=_deep(12, 9), noise="dropconnect", optimizer=_ADAM),
    _case("gaussian_dropout", noise=Noise("gaussian_dropout", rate=0.3)),
    _case("gaussian_noise", noise=Noise("gaussian_noise", std=0.4)),
    _case("layer_moment", noise=Noise("layer_moment", scale=0.3)),
    _case("shot_noise", noise=Noise("shot_noise", scale=0.4)),
    _case("centred_dropout", model=_deep(12, 9), noise=Noise("centred_dropout", rate=0.3)),
    _case("noise_by_layer", model=_deep(11, 9, 8, 7), batch_size=20,
          noise=("gaussian_noise", "dropconnect", "none", Noise("layer_moment", scale=0.5))),
    _case("noise_by_layer_momentum_decay", model=_deep(11, 9), noise=(_DROPOUT, "gaussian_dropout"),
          optimizer=_sgd(learning_rate=0.05, momentum=0.8), penalty=Penalty(0.02)),
    # Batch normalisation
    _case("batch_norm", model=_deep(10, normalization="batch")),
    _case("batch_norm_dropout_deep", model=_deep(12, 9, normalization="batch"), noise=_DROPOUT),
    _case("batch_norm_without_bias", model=_deep(10, bias=False, normalization="batch")),
    # Without bias: its gradient is rounding alone, and Adam would make steps of it.
    _case("batch_norm_adam", model=_deep(10, bias=False, normalization="batch"), optimizer=_ADAM),
    _case("batch_norm_by_layer", model=_deep(
        12, 9, 7, activation="tanh",
        normalization=("none", Normalization("batch", momentum=0.4, epsilon=0.01), "batch")),
        penalty=Penalty(0.05)),
    _case("batch_norm_last_batch_of_one", model=_deep(10, normalization="batch"), batch_size=89),
    _case("batch_norm_regression", model=_deep(10, normalization="batch"), loss="squared_error",
          optimizer=_sgd(learning_rate=0.03, momentum=0.5)),
    # Layer-wise rates
    _case("lars", optimizer=_lars()),
    _case("lars_momentum_decay", model=_deep(9, 8), optimizer=_lars(momentum=0.8, epsilon=0.01),
          penalty=Penalty(0.1)),
    _case("lars_nesterov_decay_l1", optimizer=_lars(momentum=0.7, nesterov=True), penalty=Penalty(0.1, 0.01)),
    _case("lamb", optimizer=_LAMB),
    _case("lamb_decay", optimizer=_LAMB, penalty=Penalty(0.2)),
    _case("lamb_decay_l1_dropout", model=_deep(9, 8), noise=_DROPOUT, optimizer=_LAMB, penalty=Penalty(0.2, 0.01)),
    # Clipping and schedules
    _case("clip", optimizer=_sgd(clip_norm=0.3)),
    _case("clip_prelu_momentum_decay_l1", model=_deep(10, activation="prelu", normalization="batch"),
          optimizer=_sgd(learning_rate=0.1, clip_norm=0.4, momentum=0.8), penalty=Penalty(0.1, 0.01)),
    _case("clip_adam", optimizer=Optimizer("adam", 0.02, clip_norm=0.2, epsilon=1e-3)),
    _case("clip_that_never_acts", optimizer=_sgd(clip_norm=1000.0)),
    _case("warmup", optimizer=_sgd(Schedule("constant", warmup=1.5))),
    _case("schedule_step", optimizer=_sgd(Schedule("step", every=2, factor=0.3)), epochs=5),
    _case("schedule_step_warmup_momentum", epochs=4,
          optimizer=_sgd(Schedule("step", every=1, factor=0.5, warmup=2), learning_rate=0.1, momentum=0.8)),
    _case("schedule_cosine", optimizer=_sgd(Schedule("cosine"))),
    _case("schedule_cosine_warmup_adamw_decay", penalty=Penalty(0.3), epochs=4,
          optimizer=Optimizer("adamw", 0.02, schedule=Schedule("cosine", final=0.1, warmup=1))),
    # Penalties
    _case("l1_proximal", penalty=Penalty(l1=0.03, proximal=True)),
    _case("elastic_net", penalty=Penalty(0.05, 0.02)),
    _case("elastic_net_proximal_momentum", model=_deep(9, 8), optimizer=_sgd(learning_rate=0.1, momentum=0.8),
          penalty=Penalty(0.05, 0.02, proximal=True)),
    _case("l1_proximal_adam_schedule", penalty=Penalty(l1=0.2, proximal=True),
          optimizer=Optimizer("adam", 0.02, epsilon=1e-3, schedule=Schedule("cosine"))),
    _case("prior_laplace", penalty=Penalty(prior=Prior("Laplace", loc=0.0, scale=0.1), prior_weight=1 / 90)),
    _case("prior_student_t_adam", optimizer=_ADAM,
          penalty=Penalty(prior=Prior("StudentT", df=3.0, scale=0.2), prior_weight=0.02)),
    _case("prior_normal_decay_l1", model=_deep(9, 8),
          penalty=Penalty(0.02, 0.003, prior=Prior("Normal", loc=0.1, scale=0.3), prior_weight=0.01)),
    # Losses and weights of examples
    _case("absolute_error", loss="absolute_error", optimizer=_sgd(learning_rate=0.05)),
    _case("huber", loss="huber", optimizer=_sgd(learning_rate=0.1)),
    _case("huber_delta_dropout", model=_deep(12, 9), noise=_DROPOUT, loss="huber", huber_delta=0.4,
          optimizer=_sgd(learning_rate=0.2)),
    _case("label_smoothing", label_smoothing=0.2),
    _case("label_smoothing_adam_decay", label_smoothing=0.1, optimizer=_ADAM, penalty=Penalty(0.05)),
    _case("weighted", weighted=True),
    _case("weighted_label_smoothing_dropout", weighted=True, label_smoothing=0.1, noise=_DROPOUT),
    _case("weighted_regression", weighted=True, loss="squared_error", optimizer=_sgd(learning_rate=0.03)),
    _case("weighted_absolute_error_adam", weighted=True, loss="absolute_error", optimizer=_ADAM),
    # Early stopping, probes, weights that are kept
    _case("patience", patience=2, epochs=12),
    _case("patience_2_every_2_norm_prelu_noise", patience=2, evaluate_every=2, epochs=15, noise=_DROPOUT,
          model=_deep(10, normalization="batch", activation="prelu"), optimizer=_sgd(learning_rate=0.8)),
    _case("patience_never_used_up", patience=50, epochs=4),
    _case("probes", probes=Training.PROBES),
    _case("probes_deep_norm_noise", model=_deep(12, 9, normalization=("batch", "none"), activation="prelu"),
          noise=(_DROPOUT, "dropconnect"), probes=Training.PROBES, evaluate_every=2, epochs=5),
    _case("probes_linear_model", model=_deep(), probes=Training.PROBES),
    _case("probes_clip_decay", optimizer=_sgd(clip_norm=0.3), penalty=Penalty(0.1),
          probes=("gradient_norms", "weight_norms")),
    _case("keep_weights", keep_weights=(1, 3)),
    _case("keep_weights_patience", keep_weights=(1, 3, 12), patience=1, epochs=12,
          optimizer=_sgd(learning_rate=0.1, momentum=0.9)),
    # Averaged weights, whole batches alone, hits
    _case("average", average_epochs=2),
    _case("average_all_epochs_regression_momentum", model=_deep(9, 8), loss="squared_error", average_epochs=3,
          optimizer=_sgd(learning_rate=0.03, momentum=0.8)),
    _case("average_norm_prelu_dropout_hits", model=_deep(12, 9, normalization="batch", activation=("prelu", "tanh")),
          noise=_DROPOUT, average_epochs=2, epochs=4, probes=("test_hits",)),
    _case("drop_last", drop_last=True),
    _case("drop_last_of_equal_batches", batch_size=30, drop_last=True),
    _case("drop_last_of_one_batch", batch_size=1000, drop_last=True),
    _case("drop_last_average_cosine_adamw_decay", drop_last=True, average_epochs=1, epochs=4, penalty=Penalty(0.3),
          optimizer=Optimizer("adamw", 0.02, schedule=Schedule("cosine", warmup=1))),
    # Mixed precision, and everything at once
    _case("bfloat16", precision="bfloat16"),
    _case("bfloat16_deep_norm_dropconnect", precision="bfloat16", noise="dropconnect",
          model=_deep(12, 9, normalization="batch"), optimizer=_sgd(learning_rate=0.1, momentum=0.5)),
    _case("everything", weighted=True, label_smoothing=0.1, patience=2, epochs=8, probes=Training.PROBES,
          keep_weights=(1, 2), noise=(_DROPOUT, "gaussian_noise", "dropconnect"),
          model=_deep(12, 9, 7, bias=False, activation=("prelu", "tanh", "relu"),
                      initialization=("lsuv", "linear", "kaiming_normal", Initialization("sparse", **_MILD["sparse"])),
                      normalization=("batch", "none", "batch")),
          optimizer=Optimizer("lamb", 0.1, epsilon=1e-3, clip_norm=0.5,
                              schedule=Schedule("cosine", final=0.2, warmup=0.5)),
          penalty=Penalty(0.02, 0.005, proximal=True, prior=Prior("Laplace", loc=0.0, scale=1.0), prior_weight=0.005)),
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}

# For laws of who is trained beside whom, of chunks, of rounding and of the store: each part of a
# training once. The others differ from these in one elementwise function, in one number, or in the
# way two of these meet. test_cases.py says which features must be here.
STRUCTURAL = """dropout dropout_by_layer gaussian_dropout shot_noise centred_dropout noise_by_layer
start_without_bias_deep lsuv_deep prelu_beside_relu_adam batch_norm_adam float64 bfloat16
regression_linear_full_batch batch_divides_the_data batch_larger_than_the_data absolute_error huber
clip_adam clip_prelu_momentum_decay_l1 lars_nesterov_decay_l1 lamb_decay_l1_dropout
schedule_step_warmup_momentum schedule_cosine_warmup_adamw_decay l1_proximal_adam_schedule
elastic_net_proximal_momentum prior_student_t_adam prior_normal_decay_l1
weighted_label_smoothing_dropout patience_2_every_2_norm_prelu_noise probes_clip_decay
probes_deep_norm_noise keep_weights average_norm_prelu_dropout_hits drop_last_average_cosine_adamw_decay
everything""".split()


def largest_difference(a: Result, b: Result) -> float:
    """The largest difference between two runs' numbers: weights, also those kept, extras, metrics, hits and curves."""
    assert (a.status, a.diverged_step, a.best_epoch) == (b.status, b.diverged_step, b.best_epoch)
    assert a.metrics.keys() == b.metrics.keys()
    assert {name: len(curve) for name, curve in a.curves.items()} == {n: len(c) for n, c in b.curves.items()}
    differences = [weight_difference(a, b)]
    differences += [abs(value - b.metrics[name]) for name, value in a.metrics.items()]
    assert (a.test_hits is None) == (b.test_hits is None)
    if a.test_hits is not None and b.test_hits is not None:
        differences.append(float(np.unpackbits(a.test_hits ^ b.test_hits).sum()))
    differences += [
        np.abs(np.subtract(curve, b.curves[name])).max(initial=0) for name, curve in a.curves.items()
    ]
    return float(np.max(differences))


def weight_difference(a: Result, b: Result) -> float:
    """The largest difference between what two runs learned: weights, biases and extras, and the weights kept."""
    first, second = _learned(a), _learned(b)
    assert {k: v.shape for k, v in first.items()} == {k: v.shape for k, v in second.items()}
    return max(
        (float(np.abs(x.astype(float) - second[k]).max(initial=0)) for k, x in first.items()), default=0.0
    )


def _learned(result: Result) -> dict[object, np.ndarray]:
    arrays: dict[object, np.ndarray] = {**result.extras}
    for epoch, layers in {"end": result.parameters, **result.kept}.items():
        arrays |= {
            (epoch, i, name): x for i, layer in enumerate(layers) for name, x in zip("wb", layer, strict=True)
        }
    return arrays
