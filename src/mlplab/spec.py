"""What to train: frozen, validated once when made, each with a stable digest.

    Setting = MLP + Noise per hidden layer + Optimizer + Penalty + Training      what is trained, without the seed
    Run     = Setting + a data set's fingerprint + a seed                        the key of one stored result

The digest covers only fields that differ from their default, so that a field added later, with a default that
means the old behaviour, leaves every stored result valid. For the same reason a default here is never changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, TypeVar

from mlplab.errors import InvalidInput, UnknownName

# Raised when the meaning of a run changes (an update rule, a stream): results of older meanings are then left aside.
SEMANTICS = 1

Precision = Literal["float32", "float64"]
Options = Mapping[str, float]
_N = TypeVar("_N", bound="Named")


def _set(spec: object, name: str, value: object) -> None:
    object.__setattr__(spec, name, value)  # frozen: a spec is normalised once, while it is made


def _tuple(value: object) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def _per_layer(owner: str, value: Any, kind: type[_N], layers: int) -> tuple[_N, ...]:
    """One for each layer, or a single one where all are the same: one spec has one form, and one digest."""
    given = tuple(kind(item) if isinstance(item, str) else item for item in _tuple(value))
    for item in given:
        if not isinstance(item, kind):
            raise InvalidInput(owner, f"must be {kind.__name__} objects or names", item)
    if len(given) not in (1, layers):
        rule = f"must be one, or one for each of {layers} layers"
        raise InvalidInput(owner, rule, ", ".join(map(str, given)))
    return given[:1] if len(set(given)) == 1 else given


def _spread(given: tuple[_N, ...], layers: int) -> tuple[_N, ...]:
    return given * layers if len(given) == 1 else given


def _real(owner: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidInput(owner, "must be a number", value)
    try:
        number = float(value) + 0.0  # -0.0 equals 0.0, and has its digest too
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidInput(owner, "must be finite", number)
    return number


def written_number(value: float) -> str:
    """The shortest text that is read back as the same number: `1`, `0.05`, `1e-08`."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _whole(owner: str, value: object, *, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise InvalidInput(owner, f"must be a whole number, at least {low}", value)
    return int(value)


def _flag(owner: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(owner, "must be True or False", value)
    return value


@dataclass(frozen=True)
class Named:
    """A choice from a closed list, with its options: `Initialization("normal", std=0.01)`.

    Raises UnknownName for a kind or an option that is not in `KINDS`, InvalidInput for a value out of range.
    """

    KINDS: ClassVar[Mapping[str, Options]]  # name -> its options and their defaults

    kind: str
    options: tuple[tuple[str, float], ...]

    def __init__(self, kind: str, **options: float) -> None:
        owner = type(self).__name__
        if kind not in tuple(self.KINDS):  # a tuple: what cannot be hashed is refused like any other kind
            raise UnknownName(owner, kind, self.KINDS)
        merged = dict(self.KINDS[kind])
        for name, value in options.items():
            if not merged:
                raise InvalidInput(f"{owner}({kind!r})", "takes no options", name)
            if name not in merged:
                raise UnknownName(f"{owner}({kind!r}) option", name, merged)
            merged[name] = _real(f"{owner}({kind!r}).{name}", value)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "options", tuple(sorted(merged.items())))
        self._check()

    def _check(self) -> None:
        """Rules that go beyond 'a finite number'."""

    def __getitem__(self, option: str) -> float:
        return dict(self.options)[option]

    def __str__(self) -> str:
        changed = [f"{name}={written_number(value)}" for name, value in self.changed.items()]
        return f"{self.kind}({','.join(changed)})" if changed else self.kind

    @property
    def changed(self) -> dict[str, float]:
        """The options that are away from their default."""
        return {name: value for name, value in self.options if self.KINDS[self.kind][name] != value}


class Activation(Named):
    """The nonlinearity of a hidden layer, by its name in `torch.nn.functional`, with PyTorch's defaults."""

    KINDS = MappingProxyType(
        {
            "relu": {},
            "leaky_relu": {"negative_slope": 0.01},
            "elu": {"alpha": 1.0},
            "selu": {},
            "celu": {"alpha": 1.0},
            "gelu": {},
            "silu": {},
            "mish": {},
            "softplus": {},
            "softsign": {},
            "tanh": {},
            "sigmoid": {},
            "relu6": {},
            "hardtanh": {},
            "hardsigmoid": {},
            "hardswish": {},
            "identity": {},
        }
    )


class Initialization(Named):
    """How a layer's weights start, by the name in `torch.nn.init` without its underscore.

    `normal` with std 0.01 is the chapter's. `linear` is what `torch.nn.Linear` does: weights and biases uniform
    on ±1/√fan_in. Biases start at 0 otherwise. `kaiming_*` uses fan-in and the gain of `nonlinearity` ReLU, scaled
    by `gain`.
    """

    KINDS = MappingProxyType(
        {
            "normal": {"mean": 0.0, "std": 0.01},
            "uniform": {"low": 0.0, "high": 1.0},
            "trunc_normal": {"mean": 0.0, "std": 1.0, "low": -2.0, "high": 2.0},
            "constant": {"value": 0.0},
            "zeros": {},
            "ones": {},
            "eye": {},
            "xavier_uniform": {"gain": 1.0},
            "xavier_normal": {"gain": 1.0},
            "kaiming_uniform": {"gain": 1.0},
            "kaiming_normal": {"gain": 1.0},
            "orthogonal": {"gain": 1.0},
            "sparse": {"sparsity": 0.1, "std": 0.01},
            "linear": {},
        }
    )

    def _check(self) -> None:
        options = dict(self.options)
        if options.get("std", 1.0) < 0:
            raise InvalidInput(f"Initialization({self.kind!r}).std", "must be at least 0", options["std"])
        if not 0 <= options.get("sparsity", 0.0) < 1:
            raise InvalidInput("Initialization('sparse').sparsity", "must be in [0, 1)", options["sparsity"])
        if "low" in options and options["low"] >= options["high"]:
            raise InvalidInput(
                f"Initialization({self.kind!r}).low",
                f"must be below high, {options['high']:g}",
                options["low"],
            )


class Noise(Named):
    """What disturbs a hidden layer's activations in training. `rate` is the probability to be set to 0.

    Dropout is the inverted kind: what survives is divided by the probability to survive (Srivastava et al. 2014,
    section 10). At rate 0 it is no noise, and is the same spec as `none`.
    """

    KINDS = MappingProxyType({"none": {}, "dropout": {"rate": 0.5}})

    def _check(self) -> None:
        if self.kind != "dropout":
            return
        if not 0 <= self["rate"] < 1:
            remedy = "At 1 every activation is dropped and nothing is learned; 0.5 is a common start"
            raise InvalidInput("Noise('dropout').rate", "must be in [0, 1)", self["rate"], remedy)
        if self["rate"] == 0:
            object.__setattr__(self, "kind", "none")
            object.__setattr__(self, "options", ())

    @property
    def rate(self) -> float:
        """The dropout rate; 0 without dropout."""
        return dict(self.options).get("rate", 0.0)


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron. Its first and last size are the data's: `in_features`, `out_features`.

    Arguments:
      hidden_sizes: units of each hidden layer, from the input on. Empty for a linear model.
      activation: one for all hidden layers, or one for each.
      initialization: one for all layers, or one for each (hidden layers and the last).
      bias: whether layers have one.
    """

    hidden_sizes: tuple[int, ...] = (256,)
    activation: tuple[Activation, ...] = (Activation("relu"),)
    initialization: tuple[Initialization, ...] = (Initialization("normal"),)
    bias: bool = True

    def __post_init__(self) -> None:
        sizes = _tuple(self.hidden_sizes)
        _set(self, "hidden_sizes", tuple(_whole("MLP.hidden_sizes", size, low=1) for size in sizes))
        depth = len(sizes)
        _set(self, "activation", _per_layer("MLP.activation", self.activation, Activation, depth))
        if depth == 0:  # a linear model has no activation to differ by
            _set(self, "activation", MLP.activation)
        _set(
            self,
            "initialization",
            _per_layer("MLP.initialization", self.initialization, Initialization, depth + 1),
        )
        _set(self, "bias", _flag("MLP.bias", self.bias))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """One for each hidden layer."""
        return _spread(self.activation, len(self.hidden_sizes))

    @property
    def initializations(self) -> tuple[Initialization, ...]:
        """One for each hidden layer and the last."""
        return _spread(self.initialization, len(self.hidden_sizes) + 1)


@dataclass(frozen=True)
class Optimizer:
    """How a gradient becomes a step.

    Arguments:
      kind: `sgd` (with `momentum`, and `nesterov`), `adam`, or `adamw` (weight decay beside the gradient, not in it).
      learning_rate: greater than 0.
      momentum: in [0, 1), for `sgd`: velocity = momentum * velocity + gradient, as in PyTorch.
      beta1, beta2, epsilon: of `adam` and `adamw`; PyTorch's defaults.

    Source: Zhang et al., Dive into Deep Learning, sections 12.5, 12.6, 12.10; Loshchilov and Hutter 2019 (AdamW).
    """

    KINDS: ClassVar[tuple[str, ...]] = ("sgd", "adam", "adamw")

    kind: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise UnknownName("Optimizer.kind", self.kind, self.KINDS)
        rate = _real("Optimizer.learning_rate", self.learning_rate)
        if rate <= 0:
            raise InvalidInput(
                "Optimizer.learning_rate", "must be greater than 0", rate, "0.1 is the chapter's"
            )
        _set(self, "learning_rate", rate)
        for name in ("momentum", "beta1", "beta2"):
            value = _real(f"Optimizer.{name}", getattr(self, name))
            if not 0 <= value < 1:
                remedy = "At 1, past gradients never fade; 0.9 is a common start"
                raise InvalidInput(f"Optimizer.{name}", "must be in [0, 1)", value, remedy)
            _set(self, name, value)
        epsilon = _real("Optimizer.epsilon", self.epsilon)
        if epsilon <= 0:
            raise InvalidInput("Optimizer.epsilon", "must be greater than 0", epsilon, "1e-8 is PyTorch's")
        _set(self, "epsilon", epsilon)
        _set(self, "nesterov", _flag("Optimizer.nesterov", self.nesterov))
        if self.kind != "sgd" and (self.momentum or self.nesterov):
            raise InvalidInput(
                "Optimizer.momentum", "belongs to kind 'sgd'", self.kind, "Adam's memory is beta1"
            )
        if self.nesterov and not self.momentum:
            raise InvalidInput("Optimizer.nesterov", "needs a momentum greater than 0", self.momentum)


@dataclass(frozen=True)
class Penalty:
    """What the loss adds for the size of the weights; biases are not penalised.

    Arguments:
      weight_decay: λ of λ/2 ‖W‖², the squared Frobenius norm over all weight matrices. At least 0.
      l1: λ of λ Σ|W|, with subgradient sign(0) = 0. At least 0.

    With `Optimizer("adamw")` weight decay acts beside the gradient; L1 stays in it.
    """

    weight_decay: float = 0.0
    l1: float = 0.0

    def __post_init__(self) -> None:
        for name in ("weight_decay", "l1"):
            value = _real(f"Penalty.{name}", getattr(self, name))
            if value < 0:
                raise InvalidInput(f"Penalty.{name}", "must be at least 0", value, "0 switches it off")
            _set(self, name, value)


@dataclass(frozen=True)
class Training:
    """What is minimised, for how long, on what.

    Arguments:
      loss: `cross_entropy` (nats, for classes) or `squared_error` (half the squared error, summed over outputs).
        Both are means over the batch.
      epochs: passes over the training part.
      batch_size: examples an update; the last batch of an epoch may be smaller. None for the full part.
      evaluate_every: epochs between two evaluations on the validation part.
      precision: of weights and arithmetic.
    """

    LOSSES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"cross_entropy": "classification", "squared_error": "regression"}
    )

    loss: str = "cross_entropy"
    epochs: int = 10
    batch_size: int | None = 256
    evaluate_every: int = 1
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.loss not in tuple(self.LOSSES):
            raise UnknownName("Training.loss", self.loss, self.LOSSES)
        if self.precision not in ("float32", "float64"):
            raise UnknownName("Training.precision", self.precision, ("float32", "float64"))
        _set(self, "epochs", _whole("Training.epochs", self.epochs, low=1))
        _set(self, "evaluate_every", _whole("Training.evaluate_every", self.evaluate_every, low=1))
        if self.batch_size is not None:
            _set(self, "batch_size", _whole("Training.batch_size", self.batch_size, low=1))


@dataclass(frozen=True)
class Setting:
    """What is trained, without the seed. `noise` is one for all hidden layers, or one for each."""

    model: MLP = MLP()
    noise: tuple[Noise, ...] = (Noise("none"),)
    optimizer: Optimizer = Optimizer()
    penalty: Penalty = Penalty()
    training: Training = Training()

    def __post_init__(self) -> None:
        for name, kind in (
            ("model", MLP),
            ("optimizer", Optimizer),
            ("penalty", Penalty),
            ("training", Training),
        ):
            if not isinstance(getattr(self, name), kind):
                raise InvalidInput(f"Setting.{name}", f"must be of type {kind.__name__}", getattr(self, name))
        depth = len(self.model.hidden_sizes)
        _set(self, "noise", _per_layer("Setting.noise", self.noise, Noise, depth))
        if depth == 0:
            _set(self, "noise", Setting.noise)

    @property
    def noises(self) -> tuple[Noise, ...]:
        """One for each hidden layer."""
        return _spread(self.noise, len(self.model.hidden_sizes))

    def replace(self, **parts: Any) -> Self:
        """A copy with other parts: `setting.replace(optimizer=Optimizer(learning_rate=0.5))`."""
        return dataclasses.replace(self, **parts)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that two settings share exactly when they train the same."""
        return digest(self)


@dataclass(frozen=True)
class Run:
    """A setting, a data set and one seed: everything its result depends on.

    Arguments:
      setting: what is trained.
      data: fingerprint of the data set.
      seed: names the run's random streams. Runs with the same seed see the same data order and the same noise
        numbers whatever their settings, so that comparisons are paired.
    """

    setting: Setting
    data: str
    seed: int
    semantics: int = SEMANTICS

    def __post_init__(self) -> None:
        _set(self, "seed", _whole("Run.seed", self.seed, low=0))
        if self.seed >= 2**63:
            raise InvalidInput("Run.seed", "must be below 2**63", self.seed)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits: the key of this run's result."""
        # Semantics is part of the key whatever its default is, or a new meaning would find the old results.
        return digest({"run": self, "semantics": self.semantics})


def digest(spec: object) -> str:
    """32 hexadecimal digits of a spec, or of a mapping or sequence of specs, that do not change between releases."""
    text = json.dumps(_canonical(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _canonical(value: object) -> object:
    """JSON that names types and leaves out what is at its default."""
    if isinstance(value, Named):
        return [type(value).__name__, value.kind, {k: v.hex() for k, v in value.changed.items()}]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {}
        for field in dataclasses.fields(value):
            held = getattr(value, field.name)
            if held != field.default:
                fields[field.name] = _canonical(held)
        return [type(value).__name__, fields]
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in value.items()}
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Iterable):
        return [_canonical(v) for v in value]
    raise TypeError(f"no digest for {type(value).__name__}")
