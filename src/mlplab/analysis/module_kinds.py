"""Kinds of PyTorch modules that several tools tell apart: those with units of their own, and those that draw noise."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from mlplab.nn import DropConnect, GaussianDropout, LayerMomentNoise

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, nn.RNNBase, nn.MultiheadAttention)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_HOLDERS = (nn.ParameterList, nn.ParameterDict, ParametrizationList)


def layers_in(model: nn.Module) -> list[nn.Module]:
    """Modules with units of their own: LAYERS, and whatever else owns a weight (real numbers on two axes or more), as
    an embedding or a module of the user's. One that holds other layers is no layer: what it returns is theirs.
    """
    found: list[nn.Module] = []
    within: dict[nn.Module, bool] = {}

    def visit(module: nn.Module) -> bool:
        if module not in within:
            parts = [visit(child) for child in module.children() if not _holds_parameters(module, child)]
            owns = not isinstance(module, NORMS) and any(
                p.ndim > 1 and p.is_floating_point() for p in own_parameters(module)
            )
            is_layer = isinstance(module, LAYERS) or (owns and not any(parts))
            if is_layer:
                found.append(module)
            within[module] = is_layer or any(parts)
        return within[module]

    visit(model)
    return found


def own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Those that belong to no module within it; those in its lists and under its parametrisations are its own."""
    held = [child for child in module.children() if _holds_parameters(module, child)]
    return [*module.parameters(recurse=False), *(p for child in held for p in child.parameters())]


def _holds_parameters(module: nn.Module, child: nn.Module) -> bool:
    return isinstance(child, _HOLDERS) or child is getattr(module, "parametrizations", None)


def unit_axis(module: nn.Module, output: Tensor) -> int | None:
    """The axis of a layer's output that its units lie along, from the end; None where that cannot be told."""
    if not output.is_floating_point():
        return None
    if isinstance(module, CONVOLUTIONS):
        return -1 - int(type(module).__name__[-2])
    if isinstance(module, LAYERS):
        return -1
    weights = [p for p in own_parameters(module) if p.ndim > 1]
    for weight in weights:  # of a convolution of the user's own
        if 2 < weight.ndim == output.ndim and output.shape[1] in weight.shape[:2]:
            return 1 - output.ndim
    fits = output.ndim > 1 and any(output.shape[-1] in weight.shape for weight in weights)
    return -1 if fits else None


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
