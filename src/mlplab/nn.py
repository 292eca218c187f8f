"""Noise layers and an initialiser of the engine as ordinary PyTorch parts, for any model and any training loop.

Noise is drawn from PyTorch's default generator of the input's device, as in `torch.nn.Dropout`, and only in training
mode: `model.eval()` turns it off. None of it has state, so a model with and one without load each other's state dicts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mlplab.errors import InvalidInput

# Outputs are linear in the weight once the bias is 0: one division brings them to the standard deviation asked for.
LSUV_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class DropConnect(nn.Linear):
    """A linear layer that drops single weights in training: y = x·(W∘M)ᵀ/(1-p) + b, M ~ Bernoulli(1-p).

    One mask a forward pass, shared by the examples of the batch. The bias is kept. In evaluation it is `nn.Linear`: the
    mean over masks. Arguments and parameters are those of `nn.Linear`, and p, the chance of a weight to be dropped,
    in [0, 1). Input (..., in_features), output (..., out_features).

    Differences from the paper: masks are not drawn anew for each example (section 3 of the paper has both), and
    evaluation takes the mean weights rather than sample a Gaussian of moments matched (section 3.1).
    Source: Wan et al. 2013, Regularization of Neural Networks using DropConnect.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        p: float = 0.5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.p = _rate("DropConnect.p", p)
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, F.dropout(self.weight, self.p, self.training), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"


class GaussianDropout(nn.Module):
    """Multiplies by Gaussian noise in training: y = x·N(1, p/(1-p)), one number for each element.

    The noise has the mean and the variance of dropout's m/(1-p). p in [0, 1). Any shape, floating point.
    Source: Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting, section 10.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = _rate("GaussianDropout.p", p)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        _require_floating("GaussianDropout input", input)
        return input * (torch.randn_like(input) * math.sqrt(self.p / (1 - self.p)) + 1)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LayerMomentNoise(nn.Module):
    """Adds Gaussian noise with the layer's own moments in training: y = x + scale·N(μ, σ²).

    μ and σ² are the mean and the variance (divided by n) over all elements of x, batch and units alike; no gradient
    passes through them. The mean of y is (1 + scale)·μ: the noise moves it, and evaluation, y = x, does not.
    `scale` is a finite number. Any shape, floating point.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not math.isfinite(scale):
            raise InvalidInput("LayerMomentNoise.scale", "must be a finite number", scale)
        self.scale = float(scale)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.scale == 0 or input.numel() == 0:
            return input
        _require_floating("LayerMomentNoise input", input)
        with torch.no_grad():
            variance, mean = torch.var_mean(input, correction=0)
            noise = self.scale * (mean + variance.sqrt() * torch.randn_like(input))
        return input + noise

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


def lsuv_(
    model: nn.Module,
    batch: Tensor | tuple[Any, ...],
    *,
    std: float = 1.0,
    generator: torch.Generator | None = None,
) -> dict[str, float]:
    """Layer-sequential unit-variance initialisation, in place.

    Each linear and convolutional layer that `model(batch)` runs through gets bias 0 and an orthonormal weight, divided
    by a number such that its outputs, over batch, units and positions, have the standard deviation `std`. Layers go in
    the order in which they run, so each sees what the layers before it send by then. Noise is off, and batch
    normalisation uses the batch's own moments. Other parameters, buffers and the modes of modules stay as they are.

    Arguments:
      model: any module. Layers that run more than once are scaled at their first use; so are shared weights.
      batch: what the model takes; a tuple for several arguments.
      std: greater than 0.
      generator: of the orthonormal weights; PyTorch's default generator where it is None.

    Returns: layer's name -> what its orthonormal weight was multiplied by, in the order of the passes. A layer that is
    not there did not run as a module and is untouched (as the projections inside `nn.MultiheadAttention`).

    Raises InvalidInput, and leaves the model as it was, if a layer's outputs do not vary or are not finite, if the
    weight of a layer is computed from others (weight normalisation), or if the batch reaches no layer.

    Differences from the paper: the loop of algorithm 1 is one division, exact up to rounding, since the outputs are
    linear in the weight when the bias is 0. A layer whose outputs do not vary is an error.
    Source: Mishkin and Matas 2016, All You Need is a Good Init, algorithm 1.
    """
    if isinstance(std, bool) or not isinstance(std, (int, float)) or not 0 < std < math.inf:
        raise InvalidInput("lsuv_ std", "must be a finite number greater than 0", std)
    scales: dict[str, float] = {}
    done: set[int] = set()

    def orthogonal(name: str, layer: nn.Module, _: object) -> None:
        weight = layer._parameters.get("weight")
        if weight is None or nn.parameter.is_lazy(weight):
            rule, hint = (
                "must have a weight of its own",
                "Remove weight normalisation first, or run a lazy layer once",
            )
            raise InvalidInput(f"lsuv_ layer {name!r}", rule, type(layer).__name__, hint)
        if id(weight) not in done:
            # float32: there is no QR decomposition of 16-bit numbers.
            precision = torch.promote_types(weight.dtype, torch.float32)
            drawn = torch.empty_like(weight, dtype=precision, memory_format=torch.contiguous_format)
            weight.copy_(nn.init.orthogonal_(drawn, generator=generator))
            if layer.bias is not None:
                layer.bias.zero_()  # type: ignore[operator]

    def scaled(name: str, layer: nn.Module, _: object, output: Tensor) -> Tensor | None:
        weight = layer._parameters["weight"]
        assert weight is not None
        if id(weight) in done:
            return None
        done.add(id(weight))
        precision = torch.promote_types(output.dtype, torch.float32)
        found = output.to(precision).std(correction=0).item() if output.numel() else math.nan
        if not 0 < found < math.inf:
            rule, hint = (
                "must have outputs that vary and are finite",
                "Look at the batch and at the layers before it",
            )
            raise InvalidInput(f"lsuv_ layer {name!r}", rule, f"standard deviation {found:g}", hint)
        scales[name] = std / found
        weight.mul_(scales[name])
        return output * scales[name]  # the bias is 0

    with torch.no_grad(), _restored(model), _without_noise(model):
        hooks = []
        for name, layer in model.named_modules():
            if isinstance(layer, LSUV_LAYERS):
                hooks.append(layer.register_forward_pre_hook(_named(orthogonal, name)))
                hooks.append(layer.register_forward_hook(_named(scaled, name)))
        try:
            model(*batch) if isinstance(batch, tuple) else model(batch)
        finally:
            for hook in hooks:
                hook.remove()
        if not scales:
            rule = "must run a linear or convolutional layer"
            raise InvalidInput("lsuv_ model", rule, type(model).__name__)
    return scales


def _named(hook: Any, name: str) -> Any:
    return lambda *arguments: hook(name, *arguments)


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Buffers as they were, whatever happens; parameters too, if it fails."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    parameters = [(p, p.clone()) for p in model.parameters() if not nn.parameter.is_lazy(p)]
    try:
        yield
    except BaseException:
        for tensor, before in parameters:
            tensor.copy_(before)
        raise
    finally:
        for tensor, before in buffers:
            tensor.copy_(before)


@contextmanager
def _without_noise(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, but batch normalisation with the batch's own moments."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _rate(owner: str, p: float) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
        raise InvalidInput(owner, "must be in [0, 1)", p, "At 1 nothing is left to scale")
    return float(p)


def _require_floating(owner: str, x: Tensor) -> None:
    if not x.is_floating_point():
        raise InvalidInput(owner, "must be floating point", x.dtype)
