"""Kinds of PyTorch modules that several tools tell apart: those with units of their own, and those that draw noise."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mlplab.nn import DropConnect, GaussianDropout, LayerMomentNoise

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, nn.RNNBase)


def seen_output(output: Any) -> tuple[Tensor | None, Any]:
    """For a forward hook: what a layer returned, and a copy for the hook to return, which goes on in its place.

    What comes next may work in place (`nn.ReLU(inplace=True)`, `x += y`). On the copy that neither changes the values
    that were seen, nor makes their gradient that of what was written over them. Of a tuple the first counts; of what
    is no tensor (a packed sequence) nothing is seen, and it goes on as it is.
    """
    value: Any = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(value, Tensor):
        return None, None
    if value is output:
        return value, value.clone()
    rest = (value.clone(), *output[1:])
    # A named tuple is made from its fields, a plain one from one tuple.
    return value, type(output)(*rest) if hasattr(output, "_fields") else rest


def without_noise(model: nn.Module) -> list[str]:
    """Switch dropout and its like off, in place, and nothing else: names of the modules that would have drawn."""
    found = []
    for name, module in model.named_modules():
        rate = 0.0
        if isinstance(module, nn.modules.dropout._DropoutNd | GaussianDropout | DropConnect):
            rate = module.p
        elif isinstance(module, LayerMomentNoise):
            rate = module.scale
        elif isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            rate = module.dropout
        if module.training and rate:
            module.training = False  # not .eval(): what lies within stays as it is
            found.append(name or type(module).__name__)
    return found
