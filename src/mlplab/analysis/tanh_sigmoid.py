"""The same network with tanh in place of sigmoid, and the converse.

    tanh(x) + 1 = 2 sigmoid(2x)

so one is an affine function of the other, before and after: the linear layers around it take that up, and perceptrons
of either kind compute the same functions. Halving and doubling are exact in floating point; only the moved bias rounds.

Source: Zhang et al., Dive into Deep Learning, section 4.1, exercise 3.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from mlplab.errors import InvalidInput


def sigmoid_to_tanh(model: nn.Sequential) -> nn.Sequential:
    """A copy that computes the same with `nn.Tanh` in place of every `nn.Sigmoid`: sigmoid(z) = (1 + tanh(z/2))/2.

    Raises InvalidInput unless it is an `nn.Sequential` with a sigmoid, and each stands between two `nn.Linear` that
    occur once.
    """
    return _exchange(model, nn.Sigmoid, nn.Tanh, inner=0.5, outer=0.5, offset=0.5)


def tanh_to_sigmoid(model: nn.Sequential) -> nn.Sequential:
    """A copy that computes the same with `nn.Sigmoid` in place of every `nn.Tanh`: tanh(z) = 2 sigmoid(2z) - 1.

    Raises as `sigmoid_to_tanh`.
    """
    return _exchange(model, nn.Tanh, nn.Sigmoid, inner=2.0, outer=2.0, offset=-1.0)


def _exchange(
    model: nn.Sequential,
    old: type[nn.Module],
    new: type[nn.Module],
    *,
    inner: float,
    outer: float,
    offset: float,
) -> nn.Sequential:
    """old(z) = outer·new(inner·z) + offset, taken up by the layers before and after."""
    layers = _checked(model, old)
    for index, layer in enumerate(layers):
        if not isinstance(layer, old):
            continue
        before, after = layers[index - 1], layers[index + 1]
        assert isinstance(before, nn.Linear)
        assert isinstance(after, nn.Linear)
        with torch.no_grad():
            before.weight.mul_(inner)
            if before.bias is not None:
                before.bias.mul_(inner)
            moved = offset * after.weight.sum(1)
            after.bias = nn.Parameter(moved if after.bias is None else after.bias + moved)
            after.weight.mul_(outer)
        layers[index] = new()
    result = nn.Sequential(*layers)
    return result.train(model.training)


def _checked(model: nn.Sequential, old: type[nn.Module]) -> list[nn.Module]:
    owner, name = "model", f"nn.{old.__name__}"
    if not isinstance(model, nn.Sequential):
        raise InvalidInput(owner, "must be an nn.Sequential", type(model).__name__)
    if len({id(layer) for layer in model}) < len(model):
        raise InvalidInput(owner, "must hold each layer once", "a layer that comes back", "Copy it first")
    tied = sum(parameter.numel() for layer in model for parameter in layer.parameters())
    if tied > sum(parameter.numel() for parameter in model.parameters()):
        raise InvalidInput(owner, "must not share weights between layers", "tied weights")
    layers = list(copy.deepcopy(model))
    places = [index for index, layer in enumerate(layers) if isinstance(layer, old)]
    if not places or len(places) < sum(isinstance(module, old) for module in model.modules()):
        raise InvalidInput(owner, f"must hold its {name} layers itself", [type(m).__name__ for m in layers])
    for index in places:
        around = [layers[at] if 0 <= at < len(layers) else None for at in (index - 1, index + 1)]
        if not all(isinstance(layer, nn.Linear) for layer in around):
            names = [type(layer).__name__ if layer is not None else "nothing" for layer in around]
            raise InvalidInput(f"{name} at {index}", "must stand between two nn.Linear", " and ".join(names))
    return layers
