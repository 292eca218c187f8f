"""Noise layers and LSUV in any model: the arithmetic of the engine, and what PyTorch expects of a module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mlplab.engine import draws
from mlplab.engine.noises import KINDS, noise_of
from mlplab.errors import InvalidInput
from mlplab.nn import DropConnect, GaussianDropout, LayerMomentNoise, lsuv_
from mlplab.spec import MLP, Initialization, Noise

RATES = (0.0, 0.25, 0.5, 0.875)  # the engine's 16 bits hold these exactly
LAYERS = {
    "drop_connect": lambda: DropConnect(5, 5, p=0.25),
    "gaussian": lambda: GaussianDropout(0.25),
    "layer_moment": lambda: LayerMomentNoise(0.5),
}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def engine_noise(noise: Noise, x: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    kind = noise_of([noise], x.dtype)
    return x if kind is None else kind(x[None], drawn[None])[0]  # a rate of 0 is no noise


@pytest.mark.parametrize("p", RATES)
def test_drop_connect_is_the_engines(p: float):
    layer, x = DropConnect(7, 4, p=p, dtype=torch.float64), normal(5, 7)
    torch.manual_seed(3)
    y = layer(x)
    torch.manual_seed(3)
    kept = F.dropout(torch.ones_like(layer.weight), p).T != 0
    assert p == 0 or 0 < kept.sum() < 28
    bits = torch.where(kept, 32767, -32768).to(torch.int16)
    expected = x @ engine_noise(Noise("dropconnect", rate=p), layer.weight.T, bits) + layer.bias
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("p", RATES)
def test_gaussian_dropout_is_the_engines(p: float):
    x = normal(5, 7)
    torch.manual_seed(3)
    y = GaussianDropout(p)(x)
    torch.manual_seed(3)
    expected = engine_noise(Noise("gaussian_dropout", rate=p), x, torch.randn_like(x))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("scale", [0.5, 1.0, -2.0])
def test_layer_moment_noise_is_the_engines(scale: float):
    x = normal(5, 7) + 3
    torch.manual_seed(3)
    y = LayerMomentNoise(scale)(x)
    torch.manual_seed(3)
    kind = KINDS["layer_moment"]({"scale": torch.full((1, 1, 1), scale)}, x.dtype)
    torch.testing.assert_close(y, kind(x[None], torch.randn_like(x)[None])[0], rtol=0, atol=1e-13)


def test_noise_has_the_moments_that_its_formula_says():
    """200,000 draws: a mean is within 5 standard errors."""
    torch.manual_seed(0)
    x = torch.full((200_000,), 2.0, dtype=torch.float64)
    y = GaussianDropout(0.2)(x)
    assert y.mean().item() == pytest.approx(2.0, abs=5 * 1.0 / 200_000**0.5)
    assert y.var().item() == pytest.approx(4 * 0.25, rel=0.02)
    layer = DropConnect(200_000, 1, bias=False, p=0.2, dtype=torch.float64)
    nn.init.ones_(layer.weight)
    assert layer(x[None]).item() / 400_000 == pytest.approx(1.0, abs=5 * 0.5 / 200_000**0.5)
    moved = LayerMomentNoise(1.0)(normal(200_000) + 2)
    assert moved.mean().item() == pytest.approx(4.0, abs=0.02)
    assert moved.var().item() == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_noise_is_fresh_in_training_and_absent_in_evaluation(make):
    layer, x = make(), torch.randn(6, 5)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    expected = F.linear(x, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else x
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_noise_is_copied_kept_shown_and_differentiated(make):
    layer = make()
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    twin = copy.deepcopy(layer).double()
    twin.load_state_dict(layer.state_dict())
    assert repr(twin) == repr(layer)
    assert "0.25" in repr(layer) or "0.5" in repr(layer)

    def frozen(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return twin(x)

    if isinstance(layer, LayerMomentNoise):
        # No gradient passes through the moments.
        (gradient,) = torch.autograd.grad(frozen(x).sum(), x)
        assert torch.equal(gradient, torch.ones_like(x))
    else:
        assert torch.autograd.gradcheck(frozen, (x,))


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noise_keeps_the_type_and_other_shapes(make, dtype: torch.dtype):
    x = torch.randn(2, 3, 5, dtype=dtype)
    y = make().to(dtype)(x)
    assert (y.dtype, y.shape) == (dtype, x.shape)


def test_drop_connect_loads_what_a_linear_layer_saved_and_trains_every_weight():
    layer = DropConnect(3, 2, bias=False, p=0.5, dtype=torch.float64)
    layer.load_state_dict(nn.Linear(3, 2, bias=False, dtype=torch.float64).state_dict())
    torch.manual_seed(0)
    assert layer.bias is None
    (gradient,) = torch.autograd.grad(layer(torch.ones(1, 3, dtype=torch.float64)).sum(), layer.weight)
    assert set(gradient.unique().tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan"), "0.5", True])
@pytest.mark.parametrize("make", [lambda p: DropConnect(2, 2, p=p), GaussianDropout])
def test_a_rate_outside_its_range_is_named(make, p: object):
    with pytest.raises(InvalidInput, match=r"\.p must be in \[0, 1\)"):
        make(p)


def test_other_bad_input_is_named():
    with pytest.raises(InvalidInput, match=r"LayerMomentNoise.scale must be a finite number; got inf"):
        LayerMomentNoise(float("inf"))
    for layer in (GaussianDropout(), LayerMomentNoise()):
        with pytest.raises(InvalidInput, match=r"input must be floating point; got torch.int64"):
            layer(torch.arange(3))


# LSUV


def perceptron(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    sizes = [nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 20), nn.Tanh(), nn.Linear(20, 3)]
    return nn.Sequential(*sizes).to(dtype)


@pytest.mark.parametrize("std", [1.0, 0.3])
def test_lsuv_scales_as_the_engine_does(std: float):
    model, x = perceptron(), 5 * normal(40, 6) + 1
    scales = lsuv_(model, x, std=std)
    assert list(scales) == ["0", "2", "4"]
    parameters = []
    for name, scale in scales.items():
        weight = model.get_submodule(name).weight.detach()
        parameters.append((weight / scale, torch.zeros(len(weight), dtype=x.dtype)))
        gram = parameters[-1][0] @ parameters[-1][0].T
        if len(weight) > weight.shape[1]:
            gram = parameters[-1][0].T @ parameters[-1][0]
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=x.dtype), rtol=0, atol=1e-12)
    spec = MLP((9, 20), activation=("relu", "tanh"), initialization=Initialization("lsuv", std=std))
    draws._scale_to_unit_variance(spec, parameters, x)
    for name, (weight, _) in zip(scales, parameters, strict=True):
        torch.testing.assert_close(model.get_submodule(name).weight.detach(), weight, rtol=1e-12, atol=0)
        assert not model.get_submodule(name).bias.any()


class Convolutional(nn.Module):
    """Layers in another order than they run in, and one that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)
        self.second = nn.ConvTranspose2d(6, 8, 3, bias=False)
        self.first = nn.Conv2d(2, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.noise = nn.Dropout(0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.noise(self.norm(self.first(x)).relu())
        return self.head(self.second(x).relu().mean((-2, -1)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_lsuv_gives_every_layer_that_runs_unit_variance(dtype: torch.dtype):
    torch.manual_seed(0)
    model = Convolutional().to(dtype)
    before = copy.deepcopy(model.state_dict())
    batch = 100 * normal(10, 2, 7, 7).to(dtype)
    assert list(lsuv_(model, batch)) == ["first", "second", "head"]
    for name in ("unused.weight", "unused.bias", "norm.weight", "norm.running_mean", "norm.running_var"):
        assert torch.equal(model.state_dict()[name], before[name]), name
    assert model.norm.num_batches_tracked == 0
    assert all(module.training for module in model.modules())
    seen = {}
    for name in ("first", "second", "head"):
        model.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: seen.update({name: output.double().std(correction=0).item()})
        )
    model.noise.eval()
    model(batch)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    assert seen == pytest.approx(dict.fromkeys(seen, 1.0), rel=tolerance)


def test_lsuv_on_a_transformer_block_leaves_what_is_no_layer_alone():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    kept = block.self_attn.in_proj_weight.clone()
    scales = lsuv_(block, torch.randn(4, 5, 8))
    assert list(scales) == ["linear1", "linear2"]
    assert torch.equal(block.self_attn.in_proj_weight, kept)


def test_lsuv_uses_the_generator_it_is_given_and_tuples_are_arguments():
    model = nn.Bilinear(2, 2, 2)
    with pytest.raises(InvalidInput, match="must run a linear or convolutional layer; got 'Bilinear'"):
        lsuv_(model, (torch.randn(3, 2), torch.randn(3, 2)))
    first, second = perceptron(), perceptron()
    state = torch.get_rng_state()
    for twin in (first, second):
        lsuv_(twin, normal(9, 6), generator=torch.Generator().manual_seed(5))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_shared_weight_is_scaled_once():
    layer = nn.Linear(6, 6, dtype=torch.float64)
    tied = nn.Linear(6, 6, dtype=torch.float64)
    tied.weight = layer.weight
    model, x = nn.Sequential(layer, nn.ReLU(), layer, tied), normal(30, 6)
    assert list(lsuv_(model, x)) == ["0"]
    assert layer(x).std(correction=0).item() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("spoil", "batch", "says"),
    [
        ("", torch.zeros(4, 6), "lsuv_ layer '0' must have outputs that vary and are finite"),
        ("", torch.full((4, 6), float("nan")), "lsuv_ layer '0' must have outputs that vary and are finite"),
        ("", torch.empty(0, 6), "lsuv_ layer '0'"),
        ("parametrized", torch.randn(4, 6), "lsuv_ layer '2' must have a weight of its own"),
    ],
)
def test_what_cannot_be_scaled_is_named_and_left_as_it_was(spoil: str, batch: torch.Tensor, says: str):
    model = perceptron(torch.float32)
    if spoil:
        nn.utils.parametrizations.weight_norm(model[2])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidInput, match=says):
        lsuv_(model, batch)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not model[0]._forward_hooks
    with pytest.raises(InvalidInput, match="lsuv_ std must be a finite number greater than 0"):
        lsuv_(model, batch, std=0)
