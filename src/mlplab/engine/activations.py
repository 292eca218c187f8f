"""Activation functions by the names of `spec.Activation`. Elementwise: one function serves one model or a thousand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab.spec import Activation


def activation_function(activation: Activation) -> Callable[..., Tensor]:
    """PyTorch's function of that name, with its options bound. `prelu` takes its slope as second argument."""
    if activation.kind == "identity":
        return lambda x: x
    if activation.kind == "prelu":
        return lambda x, slope: torch.where(x > 0, x, slope * x)
    function, options = getattr(functional, activation.kind), dict(activation.options)
    return (lambda x: function(x, **options)) if options else function


def derivative_function(activation: Activation) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The derivative in reverse mode: (gradient by the output, input, output) to gradient by the input.

    PyTorch's own backward operators, so that kinks have the derivative that PyTorch gives them; autograd, which is
    slower, for an activation that is not named here. Not for `prelu`, whose slope has a gradient too.
    """
    aten, options = torch.ops.aten, dict(activation.options)
    match activation.kind:
        case "identity":
            return lambda above, x, y: above
        case "relu":
            return lambda above, x, y: aten.threshold_backward(above, y, 0)
        case "leaky_relu":
            return lambda above, x, y: aten.leaky_relu_backward(above, x, options["negative_slope"], False)
        case "elu":
            return lambda above, x, y: aten.elu_backward(above, options["alpha"], 1, 1, False, x)
        case "selu":
            alpha, scale = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, as in PyTorch
            return lambda above, x, y: aten.elu_backward(above, alpha, scale, 1, False, x)
        case "celu":
            # PyTorch's own derivative takes 1/alpha of alpha rounded to float32.
            inverse = 1 / torch.tensor(options["alpha"], dtype=torch.float32).item()
            return lambda above, x, y: aten.elu_backward(above, options["alpha"], 1, inverse, False, x)
        case "gelu":
            return lambda above, x, y: aten.gelu_backward(above, x)
        case "silu":
            return lambda above, x, y: aten.silu_backward(above, x)
        case "mish":
            return lambda above, x, y: aten.mish_backward(above, x)
        case "softplus":
            return lambda above, x, y: aten.softplus_backward(above, x, 1, 20)
        case "softsign":
            return lambda above, x, y: above / (x.abs() + 1).square_()
        case "tanh":
            return lambda above, x, y: aten.tanh_backward(above, y)
        case "sigmoid":
            return lambda above, x, y: aten.sigmoid_backward(above, y)
        case "relu6":
            return lambda above, x, y: aten.hardtanh_backward(above, x, 0, 6)
        case "hardtanh":
            return lambda above, x, y: aten.hardtanh_backward(above, x, -1, 1)
        case "hardsigmoid":
            return lambda above, x, y: aten.hardsigmoid_backward(above, x)
        case "hardswish":
            return lambda above, x, y: aten.hardswish_backward(above, x)
        case "prelu":
            raise NotImplementedError("prelu")
    return derivative_by_autograd(activation)


def derivative_by_autograd(activation: Activation) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The same derivative for any activation without parameters: its value is computed once more."""
    function = activation_function(activation)

    def derivative(above: Tensor, x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            (found,) = torch.autograd.grad(function(at), at, above)
        return found

    return derivative


def module_class(kind: str) -> type[nn.Module]:
    """PyTorch's module of an activation: `LeakyReLU` of leaky_relu."""
    return _MODULES[kind.replace("_", "")]


_MODULES = {
    name.lower(): value
    for name, value in vars(nn).items()
    if isinstance(value, type) and issubclass(value, nn.Module)
}
