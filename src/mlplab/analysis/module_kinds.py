"""Kinds of PyTorch modules that several tools tell apart: those with units of their own, and those that draw noise."""

from __future__ import annotations

from torch import nn

from mlplab.nn import DropConnect, GaussianDropout, LayerMomentNoise

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, nn.RNNBase)


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
