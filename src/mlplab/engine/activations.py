"""Activation functions by the names of `spec.Activation`. Elementwise: one function serves one model or a thousand."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from mlplab.spec import Activation


def activation_function(activation: Activation) -> Callable[[Tensor], Tensor]:
    """PyTorch's function of that name, with its options bound."""
    if activation.kind == "identity":
        return lambda x: x
    function, options = getattr(functional, activation.kind), dict(activation.options)
    return (lambda x: function(x, **options)) if options else function
