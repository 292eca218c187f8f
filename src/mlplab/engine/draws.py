"""The random numbers of a run: its first weights, its order of examples, its masks. Both trainers draw them here."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mlplab.rng import Stream
from mlplab.spec import Initialization, Setting

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def initial_parameters(
    setting: Setting, in_features: int, out_features: int, seed: int
) -> list[tuple[Float[Tensor, "out in"], Float[Tensor, "out"]]]:
    """Weights and biases of each layer in float64, from the input on; the shapes of `torch.nn.Linear`.

    Drawn in float64 whatever the precision of training, so that a float32 run starts where its float64 twin does.
    """
    sizes = [in_features, *setting.model.hidden_sizes, out_features]
    parameters = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        generator = Stream(seed, "init", layer).torch_generator()
        weight = torch.empty(fan_out, fan_in, dtype=torch.float64)
        bias = torch.zeros(fan_out, dtype=torch.float64)
        _initialize(weight, bias, setting.model.initializations[layer], generator)
        if not setting.model.bias:
            bias.zero_()
        parameters.append((weight, bias))
    return parameters


def _initialize(weight: Tensor, bias: Tensor, how: Initialization, generator: torch.Generator) -> None:
    init, options = nn.init, dict(how.options)
    match how.kind:
        case "constant":
            init.constant_(weight, options["value"])
        case "zeros" | "ones" | "eye":
            getattr(init, f"{how.kind}_")(weight)
        case "uniform":
            init.uniform_(weight, options["low"], options["high"], generator=generator)
        case "trunc_normal":
            low, high = options["low"], options["high"]
            init.trunc_normal_(weight, options["mean"], options["std"], low, high, generator=generator)
        case "kaiming_uniform" | "kaiming_normal":
            getattr(init, f"{how.kind}_")(weight, nonlinearity="relu", generator=generator)
            weight.mul_(options["gain"])
        case "linear":
            bound = 1 / math.sqrt(weight.shape[1])
            init.uniform_(weight, -bound, bound, generator=generator)
            init.uniform_(bias, -bound, bound, generator=generator)
        case "sparse":
            init.normal_(weight, 0.0, options["std"], generator=generator)
            # torch.nn.init.sparse_ takes the rows of its zeros from the global generator.
            rows = torch.rand(weight.shape, dtype=weight.dtype, generator=generator).argsort(0)
            weight.scatter_(0, rows[: math.ceil(options["sparsity"] * len(weight))], 0.0)
        case _:  # normal, xavier_*, orthogonal: their options are PyTorch's
            getattr(init, f"{how.kind}_")(weight, **options, generator=generator)


def epoch_order(seed: int, epoch: int, num_examples: int) -> Int[Tensor, "example"]:
    """The order in which an epoch (from 0) visits the examples."""
    return torch.from_numpy(Stream(seed, "order", step=epoch).permutation(num_examples))


def noise_bits(seed: int, layer: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """16 random bits for each activation of a hidden layer at an update (from 0): uint16."""
    return Stream(seed, "noise", layer, step).bits16(math.prod(shape)).reshape(shape)


def dropout_threshold(rate: float) -> int:
    """An activation survives when its 16 bits are at least this number.

    The rate is therefore a multiple of 2^-16, off by at most 7.6e-6; `dropout_scale` divides by the probability
    that really holds, so that the expectation is exact.
    """
    return min(round(rate * 65536), 65535)


def dropout_scale(rate: float) -> float:
    """What survivors are multiplied by."""
    return 65536 / (65536 - dropout_threshold(rate))


def dropout_mask(bits: np.ndarray, rate: float) -> Bool[Tensor, "*shape"]:
    """True where an activation survives. A higher rate drops a superset: arms that share a seed share luck."""
    return torch.from_numpy(bits >= np.uint16(dropout_threshold(rate)))
