"""Laws of the noises: what each does to the moments, in which bits it sees chance, and how one is added."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from mlplab.engine import Result, draws, train
from mlplab.engine.noises import KINDS, LEVELS, NoiseKind, noise_of, register
from mlplab.engine.reference import train_one
from mlplab.errors import InvalidInput
from mlplab.spec import Noise

from .cases import BY_NAME, largest_difference

RATES = [0, 1e-6, 0.001, 0.1, 0.25, 1 / 3, 0.5, 0.7, 0.9, 0.999]
ALL_BITS = torch.arange(-(2**15), 2**15).to(torch.int16)


def kind_of(noises: list[Noise], dtype: torch.dtype = torch.float64) -> NoiseKind:
    """The noise of models of which at least one has some."""
    kind = noise_of(noises, dtype)
    assert kind is not None
    return kind


def noisy(noise: Noise, x: Tensor, drawn: Tensor | None = None, seed: int = 3) -> Tensor:
    """x (batch, unit) with the noise of one model, float64."""
    kind = kind_of([noise])
    if drawn is None:
        drawn = draws.noise_draws(kind.draws, seed, 0, 0, tuple(x.shape))
    return kind(x[None], drawn[None])[0]


def survivors(rate: float, bits: Tensor) -> Tensor:
    """Where dropout lets an activation through."""
    if rate == 0:
        return torch.ones(bits.shape, dtype=torch.bool)
    return (
        noisy(Noise("dropout", rate=rate), torch.ones(bits.shape, dtype=torch.float64)[None], bits[None])[0]
        != 0
    )


# Dropout


@pytest.mark.parametrize(("low", "high"), list(pairwise(RATES)))
def test_a_higher_rate_drops_a_superset(low, high):
    survives_low, survives_high = (survivors(rate, ALL_BITS) for rate in (low, high))
    assert not (survives_high & ~survives_low).any()
    assert survives_low.sum() > survives_high.sum() or high - low < 1e-5


def test_dropout_scale_is_exact():
    """Over all 2^16 values of the bits: the probability to survive times the scale is 1, not about 1."""
    for rate in [*RATES[1:], 0.99999, 0.9999999]:
        x = torch.ones(1, LEVELS, dtype=torch.float64)
        factor = noisy(Noise("dropout", rate=rate), x, ALL_BITS[None])
        assert (factor != 0).double().mean().item() * factor.max().item() == 1


def test_rates_are_quantised_by_no_more_than_they_say():
    for rate in np.linspace(1e-4, 1 - 2**-17, 301).tolist():
        assert abs((~survivors(rate, ALL_BITS)).double().mean().item() - rate) <= 2**-17
    assert survivors(1 - 1e-12, ALL_BITS).sum() == 1, "somebody always survives in the mean"


def test_masks_are_independent_between_updates_layers_and_seeds():
    """Correlations of 40,000 bits: 5 standard errors are 0.025."""
    names = [(1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)]
    masks = [survivors(0.5, draws.noise_bits(*name, (40_000,))).double() for name in names]
    off_diagonal = torch.corrcoef(torch.stack(masks)) - torch.eye(4)
    assert off_diagonal.abs().max() <= 0.025


@pytest.mark.parametrize("rate", [r for r in RATES if r])
def test_dropout_keeps_the_expectation(rate):
    """The mean of mask · scale is 1 within 5 standard errors of 400,000 draws."""
    n = 400_000
    factor = noisy(Noise("dropout", rate=rate), torch.ones(1, n, dtype=torch.float64), seed=11)
    assert abs(factor.mean().item() - 1) <= 5 * math.sqrt((factor.max().item() - 1) / n)


# Moments. x varies over examples, so that a factor and a term are told apart.

NUM = 400_000


def expected_moments(noise: Noise, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of x with noise, from the equations."""
    match noise.kind:
        case "dropout" | "dropconnect" | "gaussian_dropout":
            rate = noise["rate"]
            return x, x**2 * rate / (1 - rate)
        case "gaussian_noise":
            return x, torch.full_like(x, noise["std"] ** 2)
        case "layer_moment":
            return x + noise["scale"] * x.mean(), torch.full_like(
                x, (noise["scale"] * x.std(correction=0)) ** 2
            )
        case "shot_noise":
            return x, noise["scale"] ** 2 * x.abs()
        case "centred_dropout":
            rate = noise["rate"]
            return x, (x - x.mean(0)) ** 2 * rate / (1 - rate)
    raise NotImplementedError(noise.kind)


STRENGTHS = [
    Noise("dropout", rate=0.3),
    Noise("dropconnect", rate=0.3),
    Noise("gaussian_dropout", rate=0.3),
    Noise("gaussian_dropout", rate=0.75),
    Noise("gaussian_noise", std=0.4),
    Noise("layer_moment", scale=0.7),
    Noise("shot_noise", scale=0.6),
    Noise("centred_dropout", rate=0.3),
]


@pytest.mark.parametrize("noise", STRENGTHS, ids=str)
def test_noise_has_the_moments_that_its_equation_says(noise):
    """Two values of x, 400,000 draws of each: mean and variance within 5 standard errors."""
    x = torch.tensor([[-0.5], [2.0]], dtype=torch.float64).expand(2, NUM)
    y = noisy(noise, x)
    means, variances = expected_moments(noise, x)
    for row in range(2):
        mean, variance = means[row, 0].item(), variances[row, 0].item()
        fourth = ((y[row] - mean) ** 4).mean().item()
        assert abs(y[row].mean().item() - mean) <= 5 * math.sqrt(variance / NUM)
        assert abs(((y[row] - mean) ** 2).mean().item() - variance) <= 5 * math.sqrt(
            (fourth - variance**2) / NUM
        )


def test_every_kind_has_its_moments_tested():
    assert {noise.kind for noise in STRENGTHS} == set(KINDS)


def test_gaussian_noises_are_normal_numbers_times_their_strength():
    x, drawn = torch.full((4, 5), 3.0, dtype=torch.float64), draws.noise_normals(1, 0, 0, (4, 5))
    assert torch.equal(noisy(Noise("gaussian_noise", std=0.4), x, drawn), x + 0.4 * drawn)
    rate = Noise("gaussian_dropout", rate=0.2)
    assert torch.allclose(noisy(rate, x, drawn), x * (1 + 0.5 * drawn), rtol=1e-15)


def test_layer_moments_are_those_of_each_models_own_layer():
    """Two models side by side: no moment crosses the model axis."""
    x = torch.stack([torch.arange(12.0).view(3, 4), 100 + torch.arange(12.0).view(3, 4) ** 2]).double()
    noise, drawn = Noise("layer_moment", scale=0.5), draws.noise_normals(1, 0, 0, (3, 4))
    kind = kind_of([noise, noise])
    together = kind(x, drawn[None])
    for model in range(2):
        assert torch.equal(together[model], noisy(noise, x[model], drawn))


# Many models


@pytest.mark.parametrize("noise", STRENGTHS, ids=str)
def test_models_have_strengths_of_their_own_and_those_without_noise_have_none(noise):
    weak = Noise(noise.kind, **{name: value / 3 for name, value in noise.options})
    kind = kind_of([noise, Noise("none"), weak])
    drawn = draws.noise_draws(kind.draws, 3, 0, 0, (6, 5))
    x = draws.noise_normals(4, 0, 0, (6, 5))
    together = kind(x.expand(3, 6, 5), drawn[None])
    assert torch.equal(together[0], noisy(noise, x, drawn))
    assert torch.equal(together[1], x)
    assert torch.equal(together[2], noisy(weak, x, drawn))
    assert not torch.equal(together[0], together[2])


def test_no_noise_is_none():
    assert noise_of([Noise("none"), Noise("dropout", rate=0.0)], torch.float32) is None


@pytest.mark.parametrize("noise", STRENGTHS, ids=str)
def test_float32_noise_is_float64_noise_rounded(noise):
    """Bits are compared as they are: the same activations survive, exactly."""
    x = draws.noise_normals(4, 0, 0, (60, 50))
    drawn = draws.noise_draws(KINDS[noise.kind].draws, 3, 0, 0, (60, 50))
    single = drawn if drawn.dtype == torch.int16 else drawn.float()
    found = kind_of([noise], torch.float32)(x.float()[None], single[None])[0]
    expected = noisy(noise, x, drawn)
    assert found.dtype == torch.float32
    assert (found.double() - expected).abs().max() <= 1e-5
    assert torch.equal(found == 0, expected == 0)


@pytest.mark.parametrize("noise", [n for n in STRENGTHS if KINDS[n.kind].draws == "bits"], ids=str)
def test_a_factor_written_to_a_given_place_is_the_same(noise):
    kind, x = kind_of([noise]), torch.ones(1, 6, 5, dtype=torch.float64)
    drawn, place = draws.noise_bits(3, 0, 0, (6, 5))[None], torch.empty(1, 6, 5, dtype=torch.float64)
    assert torch.equal(kind.factor(x, drawn, place), kind.factor(x, drawn))
    assert torch.equal(place, kind.factor(x, drawn))


@pytest.mark.parametrize("noise", STRENGTHS, ids=str)
def test_no_gradient_passes_through_what_noise_is_made_of(noise):
    """The gradient by x is the factor, or 1."""
    x = draws.noise_normals(4, 0, 0, (6, 5)).requires_grad_()
    kind = kind_of([noise])
    drawn = draws.noise_draws(kind.draws, 3, 0, 0, (6, 5))
    noisy(noise, x, drawn).sum().backward()
    factor = kind.factor(x.detach()[None], drawn[None])
    assert torch.equal(x.grad, torch.ones(6, 5, dtype=torch.float64) if factor is None else factor[0])


# A new kind


@pytest.fixture
def salt():
    """A kind of one's own, gone after the test."""

    @register("salt", rate=0.1)
    class Salt(NoiseKind):
        """x + rate·|N|·x², which no other kind does."""

        draws = "normals"
        rate: Tensor

        def term(self, x: Tensor, drawn: Tensor) -> Tensor:
            return self.rate * drawn.abs() * x.square()

    yield Salt
    del KINDS["salt"], Noise.KINDS["salt"]


def test_a_new_kind_is_known_to_the_spec_and_to_both_trainers(salt):
    case = BY_NAME["two_hidden"]
    run, data = case.run(precision="float64"), case.data()
    salted = dataclasses.replace(run, setting=run.setting.replace(noise=("none", Noise("salt", rate=0.3))))
    reference = train_one(salted, data)
    (result,) = [record for record in train([salted], data) if isinstance(record, Result)]
    assert largest_difference(reference, result) <= 1e-10
    assert abs(reference.metrics["train_loss"] - train_one(run, data).metrics["train_loss"]) > 1e-3
    x = torch.full((2, 3), 2.0, dtype=torch.float64)
    assert (noisy(Noise("salt"), x) > x).all()


@pytest.mark.parametrize("name", ["dropout", "none"])
def test_a_kind_does_not_take_the_name_of_another(name):
    with pytest.raises(InvalidInput, match="must be a new name"):
        register(name, rate=0.2)(NoiseKind)


@pytest.mark.parametrize("name", ["", "two words", "rate=1", "3rd"])
def test_a_kind_is_called_by_a_word(name):
    """It stands in `--set noise=` and in digests."""
    with pytest.raises(InvalidInput, match="must be a word"):
        register(name, rate=0.2)(NoiseKind)
    assert name not in Noise.KINDS
