"""What to train: frozen, validated once when made, each with a stable digest.

    Setting = MLP + Noise per hidden layer + Optimizer + Penalty + Training      what is trained, without the seed
    Run     = Setting + a data set's fingerprint + a seed                        the key of one stored result

The digest covers only fields that differ from their default, so that a field added later, with a default that
means the old behaviour, leaves every stored result valid. For the same reason a default here is never changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

import numpy as np
import torch
from torch.distributions import Distribution, constraints

from mlplab.errors import InvalidInput, UnknownName

# Raised when the meaning of a run changes (an update rule, a stream): results of older meanings are then left aside.
SEMANTICS = 2

Precision = Literal["float32", "float64", "bfloat16"]
Options = Mapping[str, float]
_N = TypeVar("_N", bound="Named")


def _set(spec: object, name: str, value: object) -> None:
    object.__setattr__(spec, name, value)  # frozen: a spec is normalised once, while it is made


def _tuple(value: object) -> tuple[Any, ...]:
    """The items of a sequence; anything else is one item: text, a mapping, an array without axes."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value) if getattr(value, "ndim", 1) else (value,)


def _name(owner: str, value: object, known: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in tuple(known):
        raise UnknownName(owner, value, known)
    return str(value)  # also of NumPy's text


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
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or _real(owner, value) < low:
        raise InvalidInput(owner, f"must be a whole number, at least {low}", value)
    if int(value) >= 2**63:  # what a tensor, NumPy and SQLite can hold
        raise InvalidInput(owner, "must be below 2**63", value)
    return int(value)


def _positive(owner: str, value: object, remedy: str = "") -> float:
    number = _real(owner, value)
    if number <= 0:
        raise InvalidInput(owner, "must be greater than 0", number, remedy)
    return number


def _share(owner: str, value: object, remedy: str = "") -> float:
    number = _real(owner, value)
    if not 0 <= number < 1:
        raise InvalidInput(owner, "must be in [0, 1)", number, remedy)
    return number


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
        kind = _name(owner, kind, self.KINDS)
        known = self.KINDS[kind]
        for name in options:
            if not known:
                raise InvalidInput(f"{owner}({kind!r})", "takes no options", name)
            _name(f"{owner}({kind!r}) option", name, known)
        merged = {
            name: _real(f"{owner}({kind!r}).{name}", value) for name, value in {**known, **options}.items()
        }
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
    """The nonlinearity of a hidden layer, by its name in `torch.nn.functional`, with PyTorch's defaults.

    `prelu` learns its negative slope, one number a layer that starts at `init`, as `torch.nn.PReLU` does (He et al.
    2015, Delving deep into rectifiers). No penalty reaches it.
    """

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
            "prelu": {"init": 0.25},
        }
    )

    def _check(self) -> None:
        if self.kind == "celu" and self["alpha"] == 0:
            raise InvalidInput("Activation('celu').alpha", "must not be 0", 0.0, "It is divided by")


class Initialization(Named):
    """How a layer's weights start, by the name in `torch.nn.init` without its underscore.

    `normal` with std 0.01 is the chapter's. `linear` is what `torch.nn.Linear` does: weights and biases uniform
    on ±1/√fan_in. Biases start at 0 otherwise. `kaiming_*` uses fan-in and the gain of `nonlinearity` ReLU, scaled
    by `gain`. `lsuv` starts orthogonal and is scaled until the layer's outputs, before the activation and without
    noise, have standard deviation `std` over the first 1,000 examples of the first epoch (Mishkin and Matas 2016,
    All you need is a good init). Weights of your own: `MLP.start`.
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
            "lsuv": {"std": 1.0},
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
    """What disturbs a hidden layer in training; there is none in evaluation.

    - `dropout`: an activation is set to 0 with probability `rate`; what survives is divided by the probability to
      survive (Srivastava et al. 2014, section 10).
    - `dropconnect`: the same for the weights that lead into the layer, with one mask for each batch (Wan et al.
      2013 draw one for each example).
    - `gaussian_dropout`: activations times N(1, rate/(1-rate)), the variance of dropout (Srivastava et al. 2014,
      section 10).
    - `gaussian_noise`: activations plus N(0, std²) (Bishop 1995).
    - `layer_moment`: activations plus scale·N(μ, σ²), with mean and variance of the layer's activations over batch and
      units; no gradient passes through the moments.
    - `shot_noise`: activations plus scale·√|x|·N(0, 1), whose variance grows with the activation, between the two
      Gaussian noises above. Ours.
    - `centred_dropout`: a dropped activation becomes the mean of its unit over the batch, and what survives keeps its
      distance from that mean times 1/(1-rate); no gradient passes through the mean. Ours.

    A strength of 0 is no noise, and is the same spec as `none`. `engine.noises` says how to add a kind.
    """

    KINDS: ClassVar[dict[str, Options]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "none": {},
        "dropout": {"rate": 0.5},
        "dropconnect": {"rate": 0.5},
        "gaussian_dropout": {"rate": 0.5},
        "gaussian_noise": {"std": 0.1},
        "layer_moment": {"scale": 1.0},
        "shot_noise": {"scale": 0.1},
        "centred_dropout": {"rate": 0.5},
    }

    def _check(self) -> None:
        for name, value in self.options:
            owner = f"Noise({self.kind!r}).{name}"
            if name == "rate":
                _share(owner, value, "At 1 nothing is left to learn from; 0.5 is a common start")
            elif value < 0:
                raise InvalidInput(owner, "must be at least 0", value)
        if self.options and not any(value for _, value in self.options):
            object.__setattr__(self, "kind", "none")
            object.__setattr__(self, "options", ())

    @property
    def rate(self) -> float:
        """The rate of `dropout`; 0 for any other kind."""
        return self["rate"] if self.kind == "dropout" else 0.0


class Normalization(Named):
    """What is done to a hidden layer before its activation.

    `batch`: batch normalisation with a learned scale and shift, `torch.nn.BatchNorm1d` with its defaults: a batch's
    own moments in training, running moments (`momentum`) in evaluation (Ioffe and Szegedy 2015).
    """

    KINDS = MappingProxyType({"none": {}, "batch": {"momentum": 0.1, "epsilon": 1e-5}})

    def _check(self) -> None:
        if self.kind == "batch":
            _positive("Normalization('batch').epsilon", self["epsilon"], "1e-5 is PyTorch's")
            if not 0 < self["momentum"] <= 1:
                raise InvalidInput("Normalization('batch').momentum", "must be in (0, 1]", self["momentum"])


class Schedule(Named):
    """The learning rate over time, as a factor on `Optimizer.learning_rate`.

    `step` multiplies it by `factor` after every `every` epochs, a whole number. `cosine` falls to the share `final`,
    in [0, 1], along half a cosine over all updates. Over the first `warmup` epochs the factor also rises in equal
    steps from near 0 to 1; cosine begins after them (Goyal et al. 2017; Loshchilov and Hutter 2017).
    """

    KINDS = MappingProxyType(
        {
            "constant": {"warmup": 0.0},
            "step": {"every": 30.0, "factor": 0.1, "warmup": 0.0},
            "cosine": {"final": 0.0, "warmup": 0.0},
        }
    )

    def _check(self) -> None:
        for name, value in self.options:
            owner = f"Schedule({self.kind!r}).{name}"
            if name == "every" and (value < 1 or value % 1):
                raise InvalidInput(owner, "must be a whole number of epochs, at least 1", value)
            if name == "factor":
                _positive(owner, value, "0.1 divides the rate by 10")
            if name == "final" and not 0 <= value <= 1:
                raise InvalidInput(owner, "must be in [0, 1]", value, "It is a share of the learning rate")
            if value < 0:
                raise InvalidInput(owner, "must be at least 0", value)


class Start:
    """Weights to begin with, in place of an initialisation: (weight, bias) of each layer as in `torch.nn.Linear`.

    Arguments:
      layers: weight (out, in), bias (out,) or None for zeros; from the input on. Kept as float64 copies that cannot
        be written to.

    Equal numbers are equal starts. Raises InvalidInput where there is no layer, shapes do not follow each other, or
    a number is not finite.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    digest: str

    def __init__(self, layers: Iterable[tuple[Any, Any]]) -> None:
        held: list[tuple[np.ndarray, np.ndarray]] = []
        for index, pair in enumerate(_tuple(layers)):
            owner = f"Start, layer {index}"
            if len(given := _tuple(pair)) != 2:
                raise InvalidInput(owner, "must be a pair (weight, bias)", f"{len(given)} of them")
            weight = _array(f"{owner}, weight", given[0])
            bias = np.zeros(weight.shape[:1]) if given[1] is None else _array(f"{owner}, bias", given[1])
            if weight.ndim != 2 or not weight.size or bias.shape != weight.shape[:1]:
                rule = "must be a weight (out, in), both at least 1, with a bias (out,)"
                raise InvalidInput(owner, rule, f"{weight.shape}, {bias.shape}")
            if held and weight.shape[1] != len(held[-1][1]):
                rule = f"must take the {len(held[-1][1])} outputs of the layer before"
                raise InvalidInput(owner, rule, weight.shape[1])
            held.append((weight, bias))
        if not held:
            raise InvalidInput("Start", "needs at least one layer", 0)
        content = hashlib.sha256()
        for weight, bias in held:
            content.update(f"{weight.shape}".encode())
            for array in (weight, bias):
                content.update(array.astype("<f8").tobytes())
                array.setflags(write=False)
        _set(self, "layers", tuple(held))
        _set(self, "digest", content.hexdigest()[:32])

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __reduce__(self) -> tuple[type[Start], tuple[object]]:
        return Start, (self.layers,)  # made anew: NumPy forgets in a copy or a pickle that nobody may write

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Start) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Start({self.digest})"

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """The widths that these weights ask for."""
        return tuple(len(bias) for _, bias in self.layers[:-1])


def _array(owner: str, value: object) -> np.ndarray:
    """A float64 copy, from a list, an array or a tensor wherever it lies."""
    found = np.empty(0, dtype=object)
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            value = (value.double() if value.is_floating_point() else value).numpy()  # NumPy has no bfloat16
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # rows of different lengths, a sparse tensor
        pass
    if found.dtype.kind not in "iuf":
        raise InvalidInput(
            owner, "must be an array of real numbers", f"{type(value).__name__} of {found.dtype}"
        )
    if not np.isfinite(found).all():
        raise InvalidInput(owner, "must be finite", found[~np.isfinite(found)].tolist()[0])
    return found.astype(np.float64) + 0.0  # -0.0 equals 0.0, and has its digest too


@dataclass(frozen=True, init=False)
class Prior:
    """A distribution of the weights, by its name in `torch.distributions`: `Prior("Laplace", loc=0, scale=0.1)`.

    Any whose values are single real numbers: KINDS. Options are PyTorch's, and so are their defaults. Raises
    UnknownName for another name or option, InvalidInput for an option that is missing or that PyTorch refuses.
    """

    KINDS: ClassVar[Mapping[str, Callable[..., Distribution]]] = MappingProxyType(
        {
            name: getattr(torch.distributions, name)
            for name in torch.distributions.__all__
            if getattr(getattr(torch.distributions, name), "support", None) is constraints.real
        }
    )

    kind: str
    options: tuple[tuple[str, float], ...]

    def __init__(self, kind: str, **options: float) -> None:
        kind = _name("Prior", kind, self.KINDS)
        owner = f"Prior({kind!r})"
        known = {
            name: parameter.default
            for name, parameter in inspect.signature(self.KINDS[kind]).parameters.items()
            if name != "validate_args"
        }
        for name in options:
            _name(f"{owner} option", name, known)
        held = {}
        for name, value in {**known, **options}.items():
            if value is inspect.Parameter.empty:
                raise InvalidInput(owner, f"needs {' and '.join(known)}", ", ".join(options) or "none")
            held[name] = _real(f"{owner}.{name}", value)
        _set(self, "kind", kind)
        _set(self, "options", tuple(sorted(held.items())))
        try:
            self.KINDS[kind](**held, validate_args=True)
        except ValueError as error:
            raise InvalidInput(owner, "must have options that PyTorch takes", str(self)) from error

    def distribution(self, **options: torch.Tensor) -> Distribution:
        """The distribution; `options` may replace the numbers by tensors of them.

        It checks nothing: the density of a weight that is no number is no number, and no error.
        """
        return self.KINDS[self.kind](**(dict(self.options) | options), validate_args=False)

    def __str__(self) -> str:
        return f"{self.kind}({','.join(f'{name}={written_number(value)}' for name, value in self.options)})"


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron. Its first and last size are the data's: `in_features`, `out_features`.

    Arguments:
      hidden_sizes: units of each hidden layer, from the input on. Empty for a linear model.
      activation: one for all hidden layers, or one for each.
      initialization: one for all layers, or one for each (hidden layers and the last).
      bias: whether layers have one.
      normalization: one for all hidden layers, or one for each.
      start: weights to begin with, in place of `initialization`.
    """

    hidden_sizes: tuple[int, ...] = (256,)
    activation: tuple[Activation, ...] = (Activation("relu"),)
    initialization: tuple[Initialization, ...] = (Initialization("normal"),)
    bias: bool = True
    normalization: tuple[Normalization, ...] = (Normalization("none"),)
    start: Start | None = None

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
        given = _per_layer("MLP.normalization", self.normalization, Normalization, depth)
        _set(self, "normalization", given if depth else MLP.normalization)
        if self.start is not None:
            self._check_start(self.start)

    def _check_start(self, start: object) -> None:
        if not isinstance(start, Start):
            rule, remedy = "must be of type Start", "Start(layers) makes one of (weight, bias) pairs"
            raise InvalidInput("MLP.start", rule, type(start).__name__, remedy)
        if start.hidden_sizes != self.hidden_sizes:
            raise InvalidInput("MLP.start", f"must have hidden sizes {self.hidden_sizes}", start.hidden_sizes)
        if self.initialization != MLP.initialization:
            beside = ", ".join(map(str, self.initialization))
            raise InvalidInput("MLP.start", "must stand without an initialization", beside)
        if not self.bias and any(bias.any() for _, bias in start.layers):
            raise InvalidInput("MLP.start", "must have biases of 0 where MLP.bias is False", "others")

    @property
    def normalizations(self) -> tuple[Normalization, ...]:
        """One for each hidden layer."""
        return _spread(self.normalization, len(self.hidden_sizes))

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
      kind: `sgd` (with `momentum`, and `nesterov`), `adam`, `adamw` (weight decay beside the gradient, not in it),
        `lars` (`sgd` whose step follows each weight matrix's norm), `lamb` (the same for `adamw`).
      learning_rate: greater than 0.
      momentum: in [0, 1), for `sgd` and `lars`: velocity = momentum * velocity + gradient, as in PyTorch.
      beta1, beta2, epsilon: of `adam`, `adamw` and `lamb`; PyTorch's defaults. `lars` adds epsilon to its divisor.
      trust_coefficient: of `lars`: a weight matrix's gradient is multiplied by
        trust_coefficient·‖W‖ / (‖gradient‖ + weight_decay·‖W‖). `lamb` multiplies its step by ‖W‖ / ‖step‖. Both
        leave biases alone, and use 1 where a norm is 0.
      clip_norm: gradients of a model are scaled down to this norm, taken over all its parameters, where they exceed
        it, before penalties are added. None for no clipping.
      schedule: how the rate changes over time.

    Source: Zhang et al., Dive into Deep Learning, sections 12.5, 12.6, 12.10; Loshchilov and Hutter 2019 (AdamW);
    You et al. 2017 (LARS), eq. 6; You et al. 2020 (LAMB), algorithm 2.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("sgd", "adam", "adamw", "lars", "lamb")

    kind: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    trust_coefficient: float = 0.001
    clip_norm: float | None = None
    schedule: Schedule = Schedule("constant")  # noqa: RUF009 - it is frozen

    def __post_init__(self) -> None:
        _set(self, "kind", _name("Optimizer.kind", self.kind, self.KINDS))
        rate = _positive("Optimizer.learning_rate", self.learning_rate, "0.1 is the chapter's")
        _set(self, "learning_rate", rate)
        for name in ("momentum", "beta1", "beta2"):
            remedy = "At 1, past gradients never fade; 0.9 is a common start"
            _set(self, name, _share(f"Optimizer.{name}", getattr(self, name), remedy))
        _set(self, "epsilon", _positive("Optimizer.epsilon", self.epsilon, "1e-8 is PyTorch's"))
        coefficient = _positive("Optimizer.trust_coefficient", self.trust_coefficient, "0.001 is the paper's")
        _set(self, "trust_coefficient", coefficient)
        if self.clip_norm is not None:
            _set(self, "clip_norm", _positive("Optimizer.clip_norm", self.clip_norm, "None switches it off"))
        if isinstance(self.schedule, str):
            _set(self, "schedule", Schedule(self.schedule))
        if not isinstance(self.schedule, Schedule):
            raise InvalidInput("Optimizer.schedule", "must be a Schedule or a name", self.schedule)
        _set(self, "nesterov", _flag("Optimizer.nesterov", self.nesterov))
        if self.kind not in ("sgd", "lars") and (self.momentum or self.nesterov):
            raise InvalidInput(
                "Optimizer.momentum", "belongs to kinds 'sgd' and 'lars'", self.kind, "Adam's memory is beta1"
            )
        if self.nesterov and not self.momentum:
            raise InvalidInput("Optimizer.nesterov", "needs a momentum greater than 0", self.momentum)


@dataclass(frozen=True)
class Penalty:
    """What the loss adds for the size of the weights; biases are not penalised.

    Arguments:
      weight_decay: λ of λ/2 ‖W‖², the squared Frobenius norm over all weight matrices. At least 0.
      l1: λ of λ Σ|W|, with subgradient sign(0) = 0. At least 0. With `weight_decay` it is the elastic net.
      proximal: take the L1 term not by its subgradient but by soft thresholding after the step, at
        learning rate·l1: small weights become exactly 0 (Parikh and Boyd 2014, section 4.2).
      prior: adds -prior_weight·log p(W), summed over all weights. For the maximum a posteriori estimate
        `prior_weight` is 1/n for cross-entropy on n examples, σ²/n for squared error with noise variance σ².
      prior_weight: at least 0; greater than 0 where there is a prior.

    With `Optimizer("adamw")` and `"lamb"` weight decay acts beside the gradient; the others stay in it.
    """

    weight_decay: float = 0.0
    l1: float = 0.0
    proximal: bool = False
    prior: Prior | None = None
    prior_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("weight_decay", "l1", "prior_weight"):
            value = _real(f"Penalty.{name}", getattr(self, name))
            if value < 0:
                raise InvalidInput(f"Penalty.{name}", "must be at least 0", value, "0 switches it off")
            _set(self, name, value)
        _set(self, "proximal", _flag("Penalty.proximal", self.proximal))
        if self.proximal and not self.l1:
            raise InvalidInput("Penalty.proximal", "needs an l1 greater than 0", self.l1)
        if self.prior is not None and not isinstance(self.prior, Prior):
            remedy = "Prior('Laplace', loc=0, scale=0.1) is one"
            raise InvalidInput("Penalty.prior", "must be of type Prior", self.prior, remedy)
        if (self.prior is None) != (self.prior_weight == 0):
            rule = "must be greater than 0 with a prior, and 0 without one"
            raise InvalidInput("Penalty.prior_weight", rule, self.prior_weight)


@dataclass(frozen=True)
class Training:
    """What is minimised, for how long, on what, and what is recorded on the way.

    Arguments:
      loss: `cross_entropy` (nats, for classes); `squared_error` (half the squared error), `absolute_error` and
        `huber` (quadratic up to `huber_delta`, linear beyond), summed over outputs. All are means over the batch.
        An example's loss counts as often as its weight says, where the data set has weights.
      epochs: passes over the training part; the most where `patience` may end training.
      batch_size: examples an update; the last batch of an epoch may be smaller. None for the full part.
      drop_last: leave out that smaller batch, as `torch.utils.data.DataLoader` does: other examples in each epoch.
        All examples at once are no smaller batch.
      evaluate_every: epochs between two evaluations on the validation part.
      precision: of weights and arithmetic. `bfloat16` is mixed: matrix products of bfloat16 numbers summed in
        float32; weights, their memory and the loss are float32.
      huber_delta: of `huber`; PyTorch's default.
      label_smoothing: in [0, 1), of `cross_entropy`, as in `torch.nn.CrossEntropyLoss`. It is trained on; every
        evaluation is to the labels themselves, so that arms that smooth by different amounts can be compared.
      patience: stop after so many evaluations without a lower validation loss, and go back to the weights of the
        lowest. None for no early stopping.
      probes: what is recorded beside losses, at the last update before each evaluation; `test_hits`, for classes, at
        the end: names of PROBES.
      keep_weights: epochs after which a copy of the parameters is kept.
      average_epochs: average what is learned over all updates of so many last epochs, and evaluate the average beside
        the last weights: a reading that does not hang on the last step (Polyak-Ruppert averaging; Polyak and Juditsky
        1992). It is `torch.optim.swa_utils.AveragedModel` with `use_buffers=True`: the running moments of batch
        normalisation are averaged too. Training itself does not notice. 0 for none; not with `patience`, which goes
        back to one epoch.
    """

    LOSSES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "cross_entropy": "classification",
            "squared_error": "regression",
            "absolute_error": "regression",
            "huber": "regression",
        }
    )
    PROBES: ClassVar[tuple[str, ...]] = (
        "activations",
        "gradient_norms",
        "weight_norms",
        "train_mode",
        "quiet_activations",
        "train_part",
        "test_hits",
    )

    loss: str = "cross_entropy"
    epochs: int = 10
    batch_size: int | None = 256
    evaluate_every: int = 1
    precision: Precision = "float32"
    huber_delta: float = 1.0
    label_smoothing: float = 0.0
    patience: int | None = None
    probes: tuple[str, ...] = ()
    keep_weights: tuple[int, ...] = ()
    average_epochs: int = 0
    drop_last: bool = False

    def __post_init__(self) -> None:
        _set(self, "loss", _name("Training.loss", self.loss, self.LOSSES))
        _set(self, "precision", _name("Training.precision", self.precision, get_args(Precision)))
        _set(self, "epochs", _whole("Training.epochs", self.epochs, low=1))
        _set(self, "evaluate_every", _whole("Training.evaluate_every", self.evaluate_every, low=1))
        if self.batch_size is not None:
            _set(self, "batch_size", _whole("Training.batch_size", self.batch_size, low=1))
        _set(self, "huber_delta", _positive("Training.huber_delta", self.huber_delta, "1 is PyTorch's"))
        smoothing = _share("Training.label_smoothing", self.label_smoothing, "0.1 is a common start")
        _set(self, "label_smoothing", smoothing)
        if smoothing and self.loss != "cross_entropy":
            raise InvalidInput("Training.label_smoothing", "belongs to loss 'cross_entropy'", self.loss)
        if self.huber_delta != 1 and self.loss != "huber":
            raise InvalidInput("Training.huber_delta", "belongs to loss 'huber'", self.loss)
        if self.patience is not None:
            _set(self, "patience", _whole("Training.patience", self.patience, low=1))
        probes = {_name("Training.probes", probe, self.PROBES) for probe in _tuple(self.probes)}
        _set(self, "probes", tuple(name for name in self.PROBES if name in probes))
        if "test_hits" in probes and self.loss != "cross_entropy":
            rule = "must be without 'test_hits' where there are no classes"
            raise InvalidInput("Training.probes", rule, self.loss, "It belongs to loss 'cross_entropy'")
        kept = {_whole("Training.keep_weights", epoch, low=1) for epoch in _tuple(self.keep_weights)}
        if kept and max(kept) > self.epochs:
            raise InvalidInput("Training.keep_weights", f"must be at most epochs, {self.epochs}", max(kept))
        _set(self, "keep_weights", tuple(sorted(kept)))
        _set(self, "average_epochs", _whole("Training.average_epochs", self.average_epochs, low=0))
        if self.average_epochs > self.epochs:
            rule = f"must be at most epochs, {self.epochs}"
            raise InvalidInput("Training.average_epochs", rule, self.average_epochs)
        if self.average_epochs and self.patience is not None:
            rule, remedy = "must be 0 with patience", "Early stopping goes back to the weights of one epoch"
            raise InvalidInput("Training.average_epochs", rule, self.average_epochs, remedy)
        # Without batches there is no last one to drop: one meaning has one form.
        dropping = _flag("Training.drop_last", self.drop_last) and self.batch_size is not None
        _set(self, "drop_last", dropping)

    def batches(self, num_examples: int) -> tuple[int, int]:
        """Examples in a whole batch, and batches in an epoch, of so many training examples."""
        size = min(self.batch_size or num_examples, num_examples)
        return size, num_examples // size if self.drop_last else -(-num_examples // size)


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

    @property
    def digest(self) -> str:
        """32 hexadecimal digits: the key of this run's result."""
        # Semantics is part of the key whatever its default is, or a new meaning would find the old results.
        run = dataclasses.replace(self, semantics=SEMANTICS)
        held: dict[str, object] = {"run": run, "semantics": self.semantics}
        if self.setting.training.label_smoothing:
            held["evaluated_to"] = "labels"  # and once to the smoothed targets
        return digest(held)


def digest(spec: object) -> str:
    """32 hexadecimal digits of a spec, or of a mapping or sequence of specs, that do not change between releases."""
    text = json.dumps(_canonical(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _canonical(value: object) -> object:
    """JSON that names types and leaves out what is at its default."""
    if isinstance(value, Start):
        return ["Start", value.digest]
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
