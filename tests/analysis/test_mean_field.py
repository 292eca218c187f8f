"""Mean-field theory against closed forms, Monte Carlo and networks that were drawn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from mlplab.analysis.mean_field import correlation_map, gradient_gain, mean_field, variance_map
from mlplab.analysis.signal_propagation import signal_propagation
from mlplab.errors import InvalidInput, UnknownName
from mlplab.spec import Activation

from .models import BATCHES, made


@pytest.mark.parametrize(("correlation", "mapped"), [(0, 0.31831), (0.5, 0.60900), (0.9, 0.90954)])
def test_he_relu_maps_correlations_as_published(correlation, mapped) -> None:
    assert correlation_map("relu", correlation, 2.0) == pytest.approx(mapped, abs=5e-6)


def test_relu_follows_the_arc_cosine_kernel() -> None:
    """Cho and Saul 2009: C(c) = (√(1-c²) + (π - arccos c) c)/π."""
    for c in (-1.0, -0.6, 0.2, 0.99, 1.0):
        exact = (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / math.pi
        assert correlation_map("relu", c, 2.0, q=3.0) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("weight_variance", [0.5, 1.9, 2.0, 2.1, 6.0])
def test_relu_multiplies_signals_and_gradients_alike(weight_variance) -> None:
    found = mean_field("relu", weight_variance)
    assert found.slope == pytest.approx(weight_variance / 2, rel=1e-8)
    assert found.variance_slope == pytest.approx(weight_variance / 2, rel=1e-8)
    if weight_variance == 2:
        assert (found.phase, found.depth_scale, found.is_marginal) == ("critical", math.inf, True)
        assert found.fixed_point == 1.0
    else:
        assert found.fixed_point == (0 if weight_variance < 2 else math.inf)
        assert found.depth_scale == pytest.approx(1 / abs(math.log(weight_variance / 2)), rel=1e-6)


def test_relu_with_biases_settles_where_the_line_crosses() -> None:
    """q = σ_w²/2 q + σ_b²."""
    assert mean_field("relu", 1.0, 0.3).fixed_point == pytest.approx(0.6, rel=1e-9)


def test_selu_keeps_mean_zero_and_variance_one() -> None:
    """Klambauer et al. 2017: with σ_w² = 1 the fixed point is q* = 1, and it attracts."""
    found = mean_field("selu", 1.0, start=2.0)
    assert found.fixed_point == pytest.approx(1, abs=1e-6)
    assert found.variance_slope == pytest.approx(0.7828, abs=1e-3)


@pytest.mark.parametrize(
    ("weight_variance", "phase"), [(0.5, "ordered"), (0.99, "ordered"), (1.01, "chaotic"), (2.0, "chaotic")]
)
def test_tanh_without_biases_changes_phase_at_one(weight_variance, phase) -> None:
    """Poole et al. 2016, figure 1: the fixed point at 0 loses its hold at σ_w = 1, and there χ₁ = σ_w²."""
    found = mean_field("tanh", weight_variance)
    assert found.phase == phase
    if weight_variance < 1:
        assert found.fixed_point == 0
        assert found.slope == pytest.approx(weight_variance, rel=1e-9)
    else:
        assert found.fixed_point > 0


def test_tanh_on_the_published_critical_line_is_critical() -> None:
    """The line itself: σ_b² and σ_w² such that σ_w² E[φ'²] = 1 at q; then q is the fixed point, and χ₁ is 1."""
    for q in (0.2, 1.0, 3.0):
        weight_variance = 1 / gradient_gain("tanh", q, 1.0)
        bias_variance = q - variance_map("tanh", q, weight_variance)
        assert bias_variance > 0
        found = mean_field("tanh", weight_variance, bias_variance, start=5.0)
        assert found.fixed_point == pytest.approx(q, rel=1e-6)
        assert found.slope == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", sorted(Activation.KINDS))
def test_quadrature_agrees_with_a_plain_sum(kind) -> None:
    """400,000 equal steps: no rule, no adaptation."""
    from mlplab.analysis.mean_field import _activation

    # The midpoints of cells: none of them lies on a kink at 0.
    z = ((torch.arange(400_000, dtype=torch.float64) + 0.5) / 20_000 - 10).requires_grad_()
    weight = torch.exp(-(z.detach() ** 2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0]).detach()
    value = _activation(kind)(1.7 * z)
    slope = torch.autograd.grad(value.sum(), z)[0] / 1.7 if value.requires_grad else torch.zeros_like(z)
    assert variance_map(kind, 1.7**2, 1.3, 0.2) == pytest.approx(
        1.3 * float((value.detach() ** 2 * weight).sum()) + 0.2, abs=1e-6
    )
    # The slope jumps within a cell of width 5e-5, at a density below 0.4, up to twice.
    plain = 1.3 * float((slope**2 * weight).sum())
    assert gradient_gain(kind, 1.7**2, 1.3) == pytest.approx(plain, abs=1.3 * 2 * 0.4 * 5e-5)


def test_fixed_point_is_one() -> None:
    for kind in ("hardtanh", "silu", "softplus", "sigmoid", "leaky_relu"):
        found = mean_field(kind, 1.4, 0.1)
        if 0 < found.fixed_point < math.inf:
            assert variance_map(kind, found.fixed_point, 1.4, 0.1) == pytest.approx(
                found.fixed_point, rel=1e-9
            )


def test_own_activations_are_welcome_and_their_kinks_found() -> None:
    """A step at 0.3, where no rule has a node: E[step²] is the normal tail."""
    found = variance_map(lambda x: (x > 0.3).to(x.dtype), 1.0, 1.0)
    assert found == pytest.approx(0.5 * math.erfc(0.3 / math.sqrt(2)), abs=1e-10)
    assert mean_field(torch.sin, 1.2, 0.1).fixed_point > 0


def _net(activation, gain: float, bias: float, depth: int, width: int = 300):
    def draw() -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for index in range(depth):
            linear = nn.Linear(10 if index == 0 else width, width)
            nn.init.normal_(linear.weight, std=(gain / linear.in_features) ** 0.5)
            nn.init.normal_(linear.bias, std=bias**0.5)
            layers += [linear] if index == depth - 1 else [linear, activation()]
        return nn.Sequential(*layers)

    return draw


@pytest.mark.parametrize(
    ("activation", "gain", "bias"),
    [(nn.ReLU, 2.0, 0.0), (nn.Tanh, 1.5, 0.05), (nn.Tanh, 0.8, 0.0), (nn.GELU, 2.0, 0.1)],
    ids=["he-relu", "tanh", "tanh-ordered", "gelu"],
)
def test_drawn_networks_follow_the_prediction(activation, gain, bias) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        inputs = torch.randn(32, 10)
    found = signal_propagation(_net(activation, gain, bias, depth=8), inputs, seeds=range(12), ci_prob=0.999)
    table = found.table()
    assert len(table) == 16
    # 16 intervals at .999 of a width that is finite: 10% beside for what is left of 1/width.
    slack = 0.1 * table["predicted"]
    assert (table["ci_low"] - slack <= table["predicted"]).all(), table
    assert (table["ci_high"] + slack >= table["predicted"]).all(), table
    assert np.allclose(table["estimate"], table["predicted"], rtol=0.5)


def test_wrong_theory_is_told_from_the_measured_variances() -> None:
    """The control: what theory says of weights a quarter smaller lies far below the measured interval."""
    inputs = torch.ones(8, 10)
    he = signal_propagation(_net(nn.ReLU, 2.0, 0.0, 8), inputs, seeds=range(5)).table()
    small = signal_propagation(_net(nn.ReLU, 1.2, 0.0, 8), inputs, seeds=range(2)).table()
    last = (he["layer"] == 8) & (he["direction"] == "forward")
    assert small[last]["predicted"].item() < he[last]["ci_low"].item()


@pytest.mark.parametrize("name", ["residual", "encoder", "lstm"])
def test_models_without_a_theory_are_measured(name) -> None:
    _, x = made(name)
    table = signal_propagation(BATCHES[name][0], x, seeds=range(3)).table()
    assert table["predicted"].isna().all()
    assert (table["estimate"] > 0).all()


def test_what_is_measured_does_not_hang_on_how_the_model_is_written() -> None:
    """The same perceptron as a module of its own: measured alike, without the theory."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(10, 20), nn.Linear(20, 5)

        def forward(self, x):
            return self.b(self.a(x).relu_())

    inputs = torch.randn(16, 10, generator=torch.Generator().manual_seed(0))
    plain = lambda: nn.Sequential(nn.Linear(10, 20), nn.ReLU(inplace=True), nn.Linear(20, 5))  # noqa: E731
    own, sequential = (signal_propagation(f, inputs, seeds=range(3)).table() for f in (Own, plain))
    assert np.allclose(own["estimate"], sequential["estimate"], rtol=1e-12)
    assert sequential["predicted"].notna().all()


def test_drawing_leaves_the_generator_where_it_was() -> None:
    before = torch.get_rng_state()
    signal_propagation(_net(nn.ReLU, 2.0, 0.0, 2, width=8), torch.ones(4, 10), seeds=[1])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_field("tanh", -1.0), "weight_variance must be positive"),
        (lambda: mean_field("tanh", 1.0, math.nan), "bias_variance must be at least 0"),
        (lambda: mean_field("tanh", 1.0, start=0.0), "start must be a positive"),
        (lambda: mean_field(lambda x: x.sum(), 1.0), "must be elementwise"),
        (lambda: mean_field(lambda x: x / 0, 1.0), "must be finite"),
        (lambda: correlation_map("relu", 1.5, 2.0), r"must be in \[-1, 1\]"),
        (
            lambda: signal_propagation(nn.ReLU, torch.ones(1, 2)),
            "needs a layer with a weight",
        ),
        (
            lambda: signal_propagation(lambda: nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 3)),
            r"layer '0' \(Linear\) must accept its input",
        ),
        (
            lambda: signal_propagation(lambda: nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 2), seeds=[]),
            "at least one seed",
        ),
        (
            lambda: signal_propagation(lambda: nn.Sequential(nn.Linear(2, 2)), torch.ones(0, 2)),
            "must be finite numbers",
        ),
    ],
)
def test_bad_input_gets_one_clear_line(call, says) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tanh'"):
        mean_field("tahn", 1.0)


def test_results_are_json_and_charts_are_valid() -> None:
    found = mean_field("relu", 2.0)
    json.dumps(found.to_dict(), allow_nan=False)
    found.plot().to_dict()
    run = signal_propagation(_net(nn.ReLU, 2.0, 0.0, 3, width=20), torch.ones(4, 10), seeds=[1])
    json.dumps(run.to_dict(), allow_nan=False)
    run.plot().to_dict()
