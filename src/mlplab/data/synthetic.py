"""The chapter's synthetic regression problems: every draw is a data set of its own, from a known truth.

Draws are paired: two problems of the same `draw` that differ in degree, noise or number of examples share
their inputs and the noise's signs and ranks, and a smaller training part is the beginning of a larger one.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Literal

import numpy as np
from scipy.special import factorial

from mlplab.data.dataset import Dataset, Part
from mlplab.errors import InvalidInput
from mlplab.rng import Stream

Quantity = Literal["inputs", "noise", "places", "scales", "shears"]

LICENCE = "Drawn by mlplab, free to use as mlplab is"
SOURCE = "drawn by mlplab"

# The numbers name random streams, and stored results depend on them: append, never renumber.
_PROBLEMS = {"polynomial": 1, "linear-high-dim": 2, "signals-1d": 3, "drawn-houses": 4}
_PARTS = {"train": 0, "validation": 1, "test": 2}
_QUANTITIES: dict[Quantity, int] = {"inputs": 0, "noise": 1, "places": 2, "scales": 3, "shears": 4}

POLYNOMIAL = "polynomial"
POLYNOMIAL_TITLE = "Noisy cubic polynomial, for model selection"
POLYNOMIAL_CITATION = "Zhang et al., Dive into Deep Learning, section 4.4.4"
CUBIC = (5.0, 1.2, -3.4, 5.6)  # the coefficients of x^i / i!

LINEAR = "linear-high-dim"
LINEAR_TITLE = "Linear problem with more inputs than examples, for weight decay"
LINEAR_CITATION = "Zhang et al., Dive into Deep Learning, section 4.5.3"


def polynomial(
    num_train: int = 100,
    num_test: int = 100,
    degree: int = 19,
    noise_std: float = 0.1,
    draw: int = 0,
    scaled: bool = True,
) -> Dataset:
    r"""y = 5 + 1.2 x - 3.4 x^2/2! + 5.6 x^3/3! + noise, with x ~ N(0, 1), seen through the powers of x.

    Arguments:
      num_test: size of the test part, and of the validation part.
      degree: the highest power, 0 to 40: degree + 1 features, the constant first. 19 gives the chapter's 20
      features.
      noise_std: standard deviation of the normal noise on y.
      draw: which of the problems; all parts are drawn anew.
      scaled: features are x^i/i!; otherwise x^i. The targets are the same.

    `truth["weights"]` are the cubic's coefficients in the features' basis, (max(degree, 3) + 1,): below
    degree 3 the features cannot express all of it. Raises InvalidInput for a value that is not allowed.
    Source: Zhang et al., Dive into Deep Learning, section 4.4.4.
    """
    owner = POLYNOMIAL
    sizes = part_sizes(owner, num_train, num_test)
    degree = whole_number(f"{owner}.degree", degree, 0, 40, "Higher powers leave the range of float32")
    noise_std = _noise_std(owner, noise_std)
    draw = draw_number(owner, draw)
    if not isinstance(scaled, bool | np.bool_):
        raise InvalidInput(f"{owner}.scaled", "must be true or false", scaled)

    powers = np.arange(max(degree, len(CUBIC) - 1) + 1)
    units = factorial(powers) if scaled else np.ones(len(powers))
    weights = np.zeros(len(powers))
    weights[: len(CUBIC)] = np.divide(CUBIC, factorial(np.arange(len(CUBIC)))) * units[: len(CUBIC)]

    def part(name: str) -> Part:
        x = stream(owner, name, "inputs", draw).normal((sizes[name], 1))
        noise = stream(owner, name, "noise", draw).normal((sizes[name], 1))
        features = x**powers / units
        targets = features[:, : len(CUBIC)] @ weights[: len(CUBIC), None] + noise_std * noise
        return Part(features[:, : degree + 1].astype(np.float32), targets.astype(np.float32))

    return Dataset(
        name=owner,
        title=POLYNOMIAL_TITLE,
        task="regression",
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        out_features=1,
        feature_shape=(degree + 1,),
        source=SOURCE,
        details=f"x^i{'/i!' if scaled else ''}, i = 0 to {degree}, x ~ N(0, 1); noise N(0, {noise_std:g}²).",
        licence=LICENCE,
        citation=POLYNOMIAL_CITATION,
        truth={"weights": weights, "bias": np.zeros(1), "noise_std": np.array(noise_std)},
        parameters={
            "num_train": sizes["train"], "num_test": sizes["test"], "degree": degree,
            "noise_std": noise_std, "draw": draw, "scaled": bool(scaled),
        },
    )  # fmt: skip


def linear_high_dim(
    num_train: int = 20,
    in_features: int = 200,
    num_test: int = 100,
    noise_std: float = 0.01,
    draw: int = 0,
) -> Dataset:
    r"""y = 0.05 + sum_i 0.01 x_i + noise, with x ~ N(0, I) and more inputs than examples.

    Arguments:
      in_features: number of inputs, 1 to 10,000.
      num_test, noise_std, draw: as for `polynomial`.

    Raises InvalidInput for a value that is not allowed.
    Source: Zhang et al., Dive into Deep Learning, section 4.5.3.
    """
    owner = LINEAR
    sizes = part_sizes(owner, num_train, num_test)
    in_features = whole_number(f"{owner}.in_features", in_features, 1, 10_000)
    if in_features * sum(sizes.values()) > 2**28:
        raise InvalidInput(f"{owner}.in_features", "times all examples must be at most 2**28", in_features)
    noise_std = _noise_std(owner, noise_std)
    draw = draw_number(owner, draw)
    weights, bias = np.full(in_features, 0.01), np.array([0.05])

    def part(name: str) -> Part:
        features = stream(owner, name, "inputs", draw).normal((sizes[name], in_features))
        noise = stream(owner, name, "noise", draw).normal((sizes[name], 1))
        targets = features @ weights[:, None] + bias + noise_std * noise
        return Part(features.astype(np.float32), targets.astype(np.float32))

    return Dataset(
        name=owner,
        title=LINEAR_TITLE,
        task="regression",
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        out_features=1,
        feature_shape=(in_features,),
        source=SOURCE,
        details=f"{in_features} inputs x ~ N(0, I); all weights 0.01, bias 0.05; noise N(0, {noise_std:g}²).",
        licence=LICENCE,
        citation=LINEAR_CITATION,
        truth={"weights": weights, "bias": bias, "noise_std": np.array(noise_std)},
        parameters={
            "num_train": sizes["train"], "in_features": in_features, "num_test": sizes["test"],
            "noise_std": noise_std, "draw": draw,
        },
    )  # fmt: skip


def stream(problem: str, part: str, quantity: Quantity, draw: int) -> Stream:
    """The random numbers of one quantity in one part of one draw. No two share a number."""
    layer = _PARTS[part] * 16 + _QUANTITIES[quantity]
    return Stream(draw, "data", layer=layer, step=_PROBLEMS[problem])


def part_sizes(owner: str, num_train: object, num_test: object) -> dict[str, int]:
    """Part sizes; validation is as large as test. Raises InvalidInput unless both are 1 to 1,000,000."""
    train = whole_number(f"{owner}.num_train", num_train, 1, 1_000_000)
    test = whole_number(f"{owner}.num_test", num_test, 1, 1_000_000)
    return {"train": train, "validation": test, "test": test}


def draw_number(owner: str, draw: object) -> int:
    """Raises InvalidInput unless it can be a seed."""
    return whole_number(f"{owner}.draw", draw, 0, 2**63 - 1, "Draws are numbered 0, 1, 2")


def whole_number(owner: str, value: object, low: int, high: int, remedy: str = "") -> int:
    """`value` as an int. Raises InvalidInput unless it is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise InvalidInput(owner, f"must be a whole number from {low:,} to {high:,}", value, remedy)
    return int(value)


def _noise_std(owner: str, value: object) -> float:
    rule = "must be a finite number, 0 or above"
    if isinstance(value, bool | str) or not isinstance(value, int | float | np.number):
        raise InvalidInput(f"{owner}.noise_std", rule, value)
    # Above, targets leave the range of float32.
    if not (math.isfinite(value) and 0 <= value <= 1e30):
        raise InvalidInput(f"{owner}.noise_std", rule, value, "0 draws without noise")
    return float(value)
