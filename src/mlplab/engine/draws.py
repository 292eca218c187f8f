"""The random numbers of a run: its first weights, its order of examples, its noise. Both trainers draw them here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy.special import log_ndtr, ndtri_exp
from torch import Tensor

from mlplab.engine.activations import activation_function
from mlplab.rng import Stream, box_muller, words
from mlplab.spec import MLP, Initialization, Setting

if TYPE_CHECKING:
    from jaxtyping import Float64, Int, Int16

# Examples that `lsuv` looks at.
LSUV_EXAMPLES = 1000


def initial_parameters(
    setting: Setting,
    in_features: int,
    out_features: int,
    seed: int,
    features: np.ndarray | Tensor | None = None,
) -> list[tuple[Float64[Tensor, "out in"], Float64[Tensor, "out"]]]:
    """Weights and biases of each layer in float64, from the input on; the shapes of `torch.nn.Linear`.

    Drawn in float64 whatever the precision of training, so that a float32 run starts where its float64 twin does.

    Arguments:
      features: of the training part, (example, in_features); needed where `needs_features` says so.
    """
    model = setting.model
    if model.start is not None:
        return [(torch.tensor(weight), torch.tensor(bias)) for weight, bias in model.start.layers]
    sizes = [in_features, *model.hidden_sizes, out_features]
    parameters = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        stream = Stream(seed, "init", layer)
        weight = _weight(model.initializations[layer], fan_out, fan_in, stream)
        bias = np.zeros(fan_out)
        if model.initializations[layer].kind == "linear":
            bound = 1 / math.sqrt(fan_in)
            drawn = _between(-bound, bound, stream.uniform(fan_out))
            bias = drawn if model.bias else bias
        parameters.append((torch.from_numpy(weight), torch.from_numpy(bias)))
    if needs_features(model):
        assert features is not None, "lsuv looks at the training part"
        first = epoch_order(seed, 0, len(features))[:LSUV_EXAMPLES]
        _scale_to_unit_variance(model, parameters, torch.as_tensor(features)[first].double())
    return parameters


def needs_features(model: MLP) -> bool:
    """Whether the first weights depend on the data."""
    return model.start is None and any(how.kind == "lsuv" for how in model.initializations)


def _weight(how: Initialization, rows: int, columns: int, stream: Stream) -> np.ndarray:
    """One layer's weights, of the distribution that `torch.nn.init` documents for the name."""
    options, shape = dict(how.options), (rows, columns)
    match how.kind:
        case "normal":
            return options["mean"] + options["std"] * stream.normal(shape)
        case "uniform":
            return _between(options["low"], options["high"], stream.uniform(shape))
        case "trunc_normal":
            return _truncated_normal(**options, uniform=stream.uniform(shape))
        case "constant":
            return np.full(shape, options["value"])
        case "zeros":
            return np.zeros(shape)
        case "ones":
            return np.ones(shape)
        case "eye":
            return np.eye(*shape)
        case "xavier_uniform":
            bound = options["gain"] * math.sqrt(6 / (rows + columns))
            return _between(-bound, bound, stream.uniform(shape))
        case "xavier_normal":
            return options["gain"] * math.sqrt(2 / (rows + columns)) * stream.normal(shape)
        case "kaiming_uniform":
            bound = options["gain"] * math.sqrt(6 / columns)
            return _between(-bound, bound, stream.uniform(shape))
        case "kaiming_normal":
            return options["gain"] * math.sqrt(2 / columns) * stream.normal(shape)
        case "orthogonal":
            return options["gain"] * _orthogonal(shape, stream)
        case "lsuv":
            return _orthogonal(shape, stream)
        case "sparse":
            weight = options["std"] * stream.normal(shape)
            lowest = stream.uniform(shape).argsort(0)[: math.ceil(options["sparsity"] * rows)]
            np.put_along_axis(weight, lowest, 0.0, axis=0)
            return weight
        case "linear":
            bound = 1 / math.sqrt(columns)
            return _between(-bound, bound, stream.uniform(shape))
    raise NotImplementedError(how.kind)


def _between(low: float, high: float, uniform: np.ndarray) -> np.ndarray:
    return low + (high - low) * uniform


def _orthogonal(shape: tuple[int, int], stream: Stream) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer; uniform over all such (Mezzadri 2007, section 4)."""
    normal = stream.normal(shape)
    q, r = np.linalg.qr(normal if shape[0] >= shape[1] else normal.T)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q.T if shape[0] < shape[1] else q)


def _truncated_normal(mean: float, std: float, low: float, high: float, uniform: np.ndarray) -> np.ndarray:
    """By inversion, with logarithms of probabilities: right however far in a tail the interval is."""
    if std == 0:
        return np.full(uniform.shape, min(max(mean, low), high))
    a, b = (low - mean) / std, (high - mean) / std
    sign = 1.0
    if a + b > 0:  # the lower tail is the one whose logarithm is precise
        sign, a, b = -1.0, -b, -a
    below = np.logaddexp(log_ndtr(a) + np.log1p(-uniform), log_ndtr(b) + np.log(uniform))
    return (mean + sign * std * ndtri_exp(below)).clip(low, high)


def _scale_to_unit_variance(
    model: MLP, parameters: list[tuple[Tensor, Tensor]], x: Float64[Tensor, "example in"]
) -> None:
    """Divide `lsuv` weights, layer by layer, until the layer's outputs have the standard deviation asked for.

    Outputs are those before normalisation and activation. Where they do not vary, the weights stay as they are.
    """
    for layer, (weight, bias) in enumerate(parameters):
        how, z = model.initializations[layer], x @ weight.T + bias
        if how.kind == "lsuv":
            scale = how["std"] / std if (std := z.std(correction=0).item()) else 1.0
            if math.isfinite(scale) and math.isfinite(std):
                weight.mul_(scale)
                z = z * scale  # the bias of an `lsuv` layer is 0
        if layer == len(parameters) - 1:
            return
        normalization, activation = model.normalizations[layer], model.activations[layer]
        if normalization.kind == "batch":
            variance, mean = torch.var_mean(z, 0, correction=0)
            z = (z - mean) / (variance + normalization["epsilon"]).sqrt()
        slope = (activation["init"],) if activation.kind == "prelu" else ()
        x = activation_function(activation)(z, *slope)


def epoch_order(seed: int, epoch: int, num_examples: int) -> Int[Tensor, "example"]:
    """The order in which an epoch (from 0) visits the examples."""
    return torch.from_numpy(Stream(seed, "order", step=epoch).permutation(num_examples))


def noise_bits(seed: int, layer: int, step: int, shape: tuple[int, ...]) -> Int16[Tensor, "*shape"]:
    """16 random bits for each number that a hidden layer's noise disturbs at an update (from 0).

    Activations have the shape (batch, unit), the weights that lead into the layer (in, out).
    """
    return torch.from_numpy(Stream(seed, "noise", layer, step).bits16(math.prod(shape))).view(shape)


def noise_normals(seed: int, layer: int, step: int, shape: tuple[int, ...]) -> Float64[Tensor, "*shape"]:
    """The same as standard normal numbers."""
    return torch.from_numpy(Stream(seed, "noise", layer, step).normals(math.prod(shape))).view(shape)


def noise_draws(
    draws: Literal["bits", "normals"], seed: int, layer: int, step: int, shape: tuple[int, ...]
) -> Tensor:
    """What a kind of noise with these `draws` is made from."""
    return {"bits": noise_bits, "normals": noise_normals}[draws](seed, layer, step, shape)


# The same for many seeds at once


def epoch_orders(seeds: Sequence[int], epoch: int, num_examples: int) -> Int[Tensor, "seed example"]:
    """`epoch_order` of each seed."""
    return torch.from_numpy(np.argsort(words(seeds, "order", 0, epoch, num_examples), axis=1))


def noise_of_seeds(
    draws: Literal["bits", "normals"], seeds: Sequence[int], layer: int, step: int, shape: tuple[int, ...]
) -> Tensor:
    """`noise_draws` of each seed: (seed, *shape)."""
    size = math.prod(shape)
    if draws == "bits":
        drawn = torch.from_numpy(words(seeds, "noise", layer, step, -(-size // 4)).view("<i2"))
    else:
        drawn = box_muller(torch.from_numpy(words(seeds, "noise", layer, step, -(-size // 2)).view(np.int64)))
    return drawn[:, :size].unflatten(1, shape)
