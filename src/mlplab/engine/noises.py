"""Noise in training, by the names of `spec.Noise`. A kind of noise is one small class.

What a kind does to activations x (or, for `on = "weights"`, to the weights that lead into the layer) is

    x * factor + term

with a factor and a term that gradients do not pass through. To add one, say what it is called, what its options
are, which random numbers it draws, and its factor or its term:

    @register("salt", rate=0.1)
    class Salt(NoiseKind):
        draws = "normals"

        def term(self, x, drawn):
            return self.rate * drawn

It can then be asked for as `Noise("salt", rate=0.2)`, and both trainers know it. A run's digest holds the name and
the options, not the class: whoever changes the class gives it a new name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from mlplab.errors import InvalidInput
from mlplab.spec import Noise

if TYPE_CHECKING:
    from jaxtyping import Float, Int16

# 16 bits an activation: a rate is off by at most 2^-17, and the scale divides by the probability that really holds.
LEVELS = 65536


class NoiseKind:
    """One layer's noise. Options are attributes: tensors (model, 1, 1), so that each model has a strength of its own.

    `drawn` is `(model or 1, ...)` like x: standard normal numbers for `draws = "normals"`, 16 random bits as int16
    for `draws = "bits"`; models of one seed see the same numbers.
    """

    draws: ClassVar[Literal["bits", "normals"]]
    on: ClassVar[Literal["activations", "weights"]] = "activations"

    def __init__(self, options: Mapping[str, Float[Tensor, "model 1 1"]], dtype: torch.dtype) -> None:
        for name, value in options.items():
            setattr(self, name, value.to(dtype))

    def factor(self, x: Tensor, drawn: Tensor, out: Tensor | None = None) -> Tensor | None:
        """What x is multiplied by; None for 1. May be written to `out`, of x's shape."""
        return None

    def term(self, x: Tensor, drawn: Tensor) -> Tensor | None:
        """What is added then; None for 0."""
        return None

    def __call__(self, x: Tensor, drawn: Tensor) -> Tensor:
        """x with noise."""
        with torch.no_grad():
            factor, term = self.factor(x, drawn), self.term(x, drawn)
        y = x if factor is None else x * factor
        return y if term is None else y + term


KINDS: dict[str, type[NoiseKind]] = {}


def register(name: str, **options: float) -> Callable[[type[NoiseKind]], type[NoiseKind]]:
    """Make a class known under a name, with options and their defaults. Raises InvalidInput for a name that is
    in use or is no word."""
    if not name.isidentifier():
        raise InvalidInput("Noise kind", "must be a word of letters, digits and _", name)

    def known(kind: type[NoiseKind]) -> type[NoiseKind]:
        if name in KINDS or Noise.KINDS.get(name, options) != options:
            raise InvalidInput("Noise kind", "must be a new name", name)
        Noise.KINDS[name] = options
        KINDS[name] = kind
        return kind

    return known


@register("dropout", rate=0.5)
class Dropout(NoiseKind):
    """x·m/(1-rate), m ~ Bernoulli(1-rate). A higher rate drops a superset: arms that share a seed share luck."""

    draws = "bits"

    def __init__(self, options: Mapping[str, Float[Tensor, "model 1 1"]], dtype: torch.dtype) -> None:
        levels = (options["rate"].double() * LEVELS).round().clamp(max=LEVELS - 1)
        # int16 bits are signed: the lowest level is -32768.
        self.threshold = (levels - LEVELS // 2).to(torch.int16)
        self.scale = (LEVELS / (LEVELS - levels)).to(dtype)

    def factor(self, x: Tensor, drawn: Int16[Tensor, "..."], out: Tensor | None = None) -> Tensor:
        kept = torch.empty_like(x) if out is None else out
        return torch.ge(drawn, self.threshold, out=kept).mul_(self.scale)


@register("dropconnect", rate=0.5)
class DropConnect(Dropout):
    """The same for single weights, one mask a batch (Wan et al. 2013, section 3)."""

    on = "weights"


@register("gaussian_dropout", rate=0.5)
class GaussianDropout(NoiseKind):
    """x·N(1, rate/(1-rate)): mean and variance of dropout (Srivastava et al. 2014, section 10)."""

    draws = "normals"

    def __init__(self, options: Mapping[str, Float[Tensor, "model 1 1"]], dtype: torch.dtype) -> None:
        rate = options["rate"].double()
        self.std = (rate / (1 - rate)).sqrt().to(dtype)

    def factor(self, x: Tensor, drawn: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.mul(drawn, self.std, out=out).add_(1)


@register("gaussian_noise", std=0.1)
class GaussianNoise(NoiseKind):
    """x + N(0, std²) (Bishop 1995, Training with noise is equivalent to Tikhonov regularization)."""

    draws = "normals"
    std: Tensor

    def term(self, x: Tensor, drawn: Tensor) -> Tensor:
        return self.std * drawn


@register("layer_moment", scale=1.0)
class LayerMoment(NoiseKind):
    """x + scale·N(μ, σ²), with the moments of x over batch and units. It moves the mean, which evaluation does not."""

    draws = "normals"
    scale: Tensor

    def term(self, x: Float[Tensor, "model batch unit"], drawn: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(-2, -1), correction=0, keepdim=True)
        return self.scale * (mean + variance.sqrt() * drawn)


@register("shot_noise", scale=0.1)
class ShotNoise(NoiseKind):
    """x + scale·√|x|·N(0, 1): the variance grows with the activation, as that of counts. Ours, for exercise 4.6.7."""

    draws = "normals"
    scale: Tensor

    def term(self, x: Tensor, drawn: Tensor) -> Tensor:
        return self.scale * x.abs().sqrt() * drawn


@register("centred_dropout", rate=0.5)
class CentredDropout(Dropout):
    """μ + (x - μ)·m/(1-rate), with the mean μ of each unit over the batch. Ours, for exercise 4.6.7.

    Dropout takes an activation away; this takes away what it tells about the example. With μ = 0 it is dropout.
    """

    def term(self, x: Float[Tensor, "model batch unit"], drawn: Int16[Tensor, "..."]) -> Tensor:
        kept = self.factor(x, drawn)
        assert kept is not None
        return x.mean(-2, keepdim=True) * (1 - kept)


Learned = Mapping[str, tuple[Mapping[str, float], type[NoiseKind]]]


def added_kinds(names: Iterable[str]) -> Learned:
    """Options and class of those kinds that were registered elsewhere: another process must `learn` them."""
    known = {name: KINDS[name] for name in names if name in KINDS}
    return {name: (Noise.KINDS[name], kind) for name, kind in known.items() if kind.__module__ != __name__}


def learn(kinds: Learned) -> None:
    """Register what is not known yet. A class that came by reference has registered itself on its way."""
    for name, (options, kind) in kinds.items():
        if name not in KINDS:
            register(name, **options)(kind)


def noise_of(noises: list[Noise], dtype: torch.dtype, device: torch.device | str = "cpu") -> NoiseKind | None:
    """The noise of one layer of several models, all of one kind or without any; None where no model has any.

    A model without noise has the kind's strength 0.
    """
    kinds = {noise.kind for noise in noises} - {"none"}
    if not kinds:
        return None
    (kind,) = kinds
    names = Noise.KINDS[kind]
    options = {
        name: torch.tensor(
            [dict(noise.options).get(name, 0.0) for noise in noises], dtype=torch.float64, device=device
        )[:, None, None]
        for name in names
    }
    return KINDS[kind](options, dtype)
