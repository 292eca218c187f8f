"""Activation functions: what SymPy says of them is what PyTorch does, and where not, the table says so."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sympy as sp
import torch
from torch import nn
from torch.nn import functional

from mlplab.analysis.activation_formulas import (
    ALPHA,
    FORMULAS,
    SLOPE,
    X,
    at_point,
    bind,
    derivative,
    limit,
    on_grid,
)  # fmt: skip
from mlplab.analysis.activations import catalogue, examine_activation
from mlplab.analysis.elementwise import KNOWN_MODULES
from mlplab.analysis.tanh_sigmoid import sigmoid_to_tanh, tanh_to_sigmoid
from mlplab.errors import InvalidInput, MissingExtra, UnknownName
from mlplab.rng import Stream
from mlplab.spec import Activation

# PyTorch's own approximations: softplus is x above 20, off by log(1 + e^-20) = 2.1e-9; hardsigmoid's slope is 1/6 in
# float32, off by 5e-9.
LOOSE = {"softplus": 3e-9, "hardsigmoid": 6e-9}
RANDOM = torch.from_numpy(8 * Stream(0, "data").normal(4000))
NAN, INF = math.nan, math.inf


def point(facts, x, where=None):
    """The row at x; -0 and 0 are told apart by `where`."""
    same = [p for p in facts.points if p.x == x or (math.isnan(x) and math.isnan(p.x))]
    return next(p for p in same if where in (None, p.where))


@pytest.fixture(scope="module")
def every():
    return {facts.name: facts for facts in catalogue().facts}


def test_the_catalogue_names_what_the_engine_can_train():
    assert set(FORMULAS) - {"gelu_tanh"} == set(Activation.KINDS)
    assert set(KNOWN_MODULES.values()) == set(Activation.KINDS)


def test_an_activation_without_a_formula_is_measured(monkeypatch):
    monkeypatch.setattr(Activation, "KINDS", {**Activation.KINDS, "tanhshrink": {}})
    assert examine_activation("tanhshrink").formula is None


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "gelu_tanh")) for n in FORMULAS]
)
def test_formula_and_derivative_are_those_of_torch_on_random_points(name):
    facts = examine_activation(name)
    x = RANDOM.clone().requires_grad_()
    if name == "prelu":
        value = functional.prelu(x, torch.tensor([0.25], dtype=x.dtype))
    elif name == "gelu_tanh":
        value = functional.gelu(x, approximate="tanh")
    else:
        value = x * 1 if name == "identity" else getattr(functional, name)(x)
    slope = torch.autograd.grad(value.sum(), x)[0]
    numbers = {SLOPE: 0.25 if name == "prelu" else 0.01, ALPHA: 1}
    if name == "selu":
        numbers = {ALPHA: 1.6732632423543772, sp.Symbol("lambda", real=True): 1.0507009873554805}
    pieces = FORMULAS[name]
    exact, exact_slope = (on_grid(bind(p, numbers), RANDOM.numpy()) for p in (pieces, derivative(pieces)))
    tolerance = LOOSE.get(name, 2e-14)  # |x| up to 30, a few roundings
    np.testing.assert_allclose(value.detach().numpy(), exact, rtol=0, atol=tolerance)
    np.testing.assert_allclose(slope.numpy(), exact_slope, rtol=0, atol=tolerance)
    assert facts.value_error <= tolerance
    assert facts.slope_error <= tolerance


@pytest.mark.parametrize("name", FORMULAS)
def test_the_derivative_is_the_slope_of_the_formula(name):
    numbers = {SLOPE: 0.25, ALPHA: 1.5, sp.Symbol("lambda", real=True): 1.1}
    pieces = bind(FORMULAS[name], numbers)
    for x in (-4.1, -2.3, -0.7, 0.6, 1.9, 4.3):
        step = 1e-5
        quotient = (at_point(pieces, x + step)[0] - at_point(pieces, x - step)[0]) / (2 * step)
        assert at_point(derivative(pieces), x)[0] == pytest.approx(quotient, abs=1e-8)


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.25, 1.0, 2.0])
def test_prelu_has_no_derivative_at_zero_but_for_slope_one(alpha):
    facts = examine_activation("prelu", init=alpha)
    at_zero = next(p for p in facts.points if p.x == 0 and math.copysign(1, p.x) > 0)
    assert facts.kinks == (() if alpha == 1 else (0.0,))
    assert (at_zero.left_slope, at_zero.right_slope) == (alpha, 1)
    assert at_zero.torch_slope == at_zero.alone_slope == alpha  # PyTorch takes the left side
    assert facts.parameter_derivatives == {"a": "x for x <= 0; 0 above"}  # min(0, x)


@pytest.mark.parametrize(
    ("name", "kinks"),
    [
        ("relu", {0: (0, 1, 0)}),
        ("relu6", {0: (0, 1, 0), 6: (1, 0, 0)}),
        ("hardtanh", {-1: (0, 1, 0), 1: (1, 0, 0)}),
        ("hardsigmoid", {-3: (0, 1 / 6, 0), 3: (1 / 6, 0, 0)}),
        ("hardswish", {-3: (0, -0.5, 0), 3: (1.5, 1, 1)}),
        ("selu", {0: (1.7580993, 1.0507010, 1.7580993)}),
        ("elu", {}),
        ("softsign", {}),
        ("gelu", {}),
    ],
)
def test_kinks_their_one_sided_slopes_and_the_one_that_torch_takes(every, name, kinks):
    assert every[name].kinks == tuple(kinks)
    for x, slopes in kinks.items():
        found = point(every[name], x, "kink")
        assert (found.left_slope, found.right_slope, found.torch_slope) == pytest.approx(slopes, abs=1e-6)


def test_options_move_the_kink():
    assert examine_activation("elu", alpha=2.0).kinks == (0.0,)
    assert examine_activation("celu", alpha=2.0).kinks == ()  # what CELU was made for
    assert examine_activation("celu", alpha=2.0).limits["value at -oo"] == "-2"


@pytest.mark.parametrize(
    ("name", "limits"),
    [("elu", "-1 oo 0 1"), ("softsign", "-1 1 0 0"), ("tanh", "-1 1 0 0"), ("sigmoid", "0 1 0 0"),
     ("gelu", "0 oo 0 1"), ("gelu_tanh", "0 oo 0 1"), ("silu", "0 oo 0 1"), ("mish", "0 oo 0 1"),
     ("softplus", "0 oo 0 1"), ("relu6", "0 6 0 0"), ("hardswish", "0 oo 0 1"), ("leaky_relu", "-oo oo 1/100 1")],
)  # fmt: skip
def test_limits(every, name, limits):
    assert list(every[name].limits.values()) == limits.split()


def test_a_limit_is_that_of_plain_sympy():
    piece = FORMULAS["silu"][0][0]
    assert limit(piece, -sp.oo) == sp.limit(piece, X, -sp.oo) == 0


def test_far_out_the_exact_slope_does_not_cancel(every):
    # 1 - tanh(100)² = 4 exp(-200) to first order; float64 gives 0.
    assert point(every["tanh"], 100).left_slope == pytest.approx(4 * math.exp(-200), rel=1e-10)


def test_torch_is_called_wrong_exactly_where_it_is(every):
    """Only a limit at infinity, or a float32 overflow on the way, is missed; never a kink, a zero or ±100."""
    wrong = {name: [p.x for p in facts.points if p.agrees is False] for name, facts in every.items()}
    assert [-INF, INF] == wrong["silu"] == wrong["mish"] == wrong["softsign"]
    assert -INF in wrong["gelu"]
    assert all(abs(x) > 1e38 for places in wrong.values() for x in places)
    exact = "identity relu leaky_relu prelu relu6 elu celu selu softplus tanh sigmoid hardtanh hardsigmoid".split()
    assert not any(wrong[name] for name in exact)


def test_every_function_passes_nan_on(every):
    for facts in every.values():
        found = point(facts, NAN)
        assert math.isnan(found.torch_value)
        assert math.isnan(found.alone_value)
        assert found.agrees is True


def test_points_hold_both_zeros_and_what_torch_makes_of_them(every):
    zeros = [p for p in every["relu"].points if p.x == 0]
    assert [math.copysign(1, p.x) for p in zeros] == [-1, 1]
    assert [p.torch_slope for p in zeros] == [0, 0]


@pytest.mark.parametrize(
    ("given", "name", "options"),
    [
        (nn.ReLU(inplace=True), "relu", {}),
        (nn.LeakyReLU(0.2), "leaky_relu", {"negative_slope": 0.2}),
        (nn.PReLU(init=0.5), "prelu", {"init": 0.5}),
        (nn.GELU("tanh"), "gelu_tanh", {}),
        (nn.Softplus(), "softplus", {}),
        (nn.Hardtanh(), "hardtanh", {}),
        (Activation("elu", alpha=2.0), "elu", {"alpha": 2.0}),
        (functional.silu, "silu", {}),
        (torch.tanh, "tanh", {}),
    ],
)
def test_modules_and_functions_of_torch_are_recognised(given, name, options):
    facts = examine_activation(given)
    assert (facts.name, facts.options) == (name, options)
    assert facts.formula is not None


@pytest.mark.parametrize(
    ("given", "kinks", "jumps"),
    [
        (nn.Softshrink(0.7), (-0.7, 0.7), ()),
        (nn.Hardshrink(0.5), (-0.5, 0.5), (-0.5, 0.5)),
        (nn.Hardtanh(-2.0, 3.0), (-2.0, 3.0), ()),
        (nn.Softplus(beta=2.0), (), ()),  # at 2x = 20 it leaves the curve for the line: a jump of 1e-9
        (nn.Threshold(0.1, 20.0), (0.1,), (0.1,)),
        (lambda x: (x - 1 / 3).abs() + torch.sin(x), (1 / 3,), ()),
        (nn.LogSigmoid(), (), ()),
    ],
    ids=["softshrink", "hardshrink", "hardtanh(-2,3)", "softplus(2)", "threshold", "lambda", "logsigmoid"],
)
def test_kinks_and_jumps_of_any_function_are_found(given, kinks, jumps):
    facts = examine_activation(given)
    assert facts.kinks == pytest.approx(kinks, abs=1e-9)
    assert facts.jumps == pytest.approx(jumps, abs=1e-9)
    assert facts.formula is None
    assert facts.slope_error < 1e-6
    assert {p.agrees for p in facts.points} == {None}


def test_a_backward_that_is_not_the_slope_shows_in_the_error():
    def straight_through(x):  # rounds forward, and lets the gradient pass
        return x + (x.tanh() - x).detach()

    assert examine_activation(straight_through).slope_error > 0.9


class LeNet5(nn.Sequential):
    """LeCun et al. 1998, section II.B, on 28x28 images padded by 2."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
            nn.Linear(84, 10),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("rellu", "Did you mean 'relu'"),
        (nn.ReLU, "Of a class, give an instance"),
        (3, "must be a name, a module or a callable"),
        (LeNet5(), "must take a row of numbers"),
        (nn.TransformerEncoderLayer(8, 2), "must take a row of numbers"),
        (nn.LSTM(101, 4), "must take a row of numbers"),
        (nn.PReLU(3), "must have one slope"),
        (nn.Dropout(), "must give the same output twice"),
        (lambda x: torch.softmax(x, 0), "must be elementwise"),
        (lambda x: x.cumsum(0), "must be elementwise"),
        (torch.log, "NaN at x = -30"),
        (lambda x: torch.where(x > 0, x.sqrt(), 0.0), "slope by autograd"),
        (lambda x: (x > 0).double(), "an output without a gradient"),
        (lambda x: x.sum(), "must return the shape of its input"),
    ],
    ids=["typo", "class", "number", "cnn", "transformer", "lstm", "prelu3", "dropout", "softmax", "cumsum",
         "log", "sqrt", "step", "sum"],
)  # fmt: skip
def test_what_is_no_activation_is_refused_in_one_line(given, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        examine_activation(given)
    assert "\n" not in str(caught.value)


def test_bad_options_and_names_are_refused():
    with pytest.raises(UnknownName, match="negative_slope"):
        examine_activation("leaky_relu", slope=1.0)
    with pytest.raises(InvalidInput, match="takes no options"):
        examine_activation("relu", slope=1.0)
    with pytest.raises(InvalidInput, match="takes options for a name only"):
        examine_activation(nn.ReLU(), alpha=1.0)
    with pytest.raises(InvalidInput, match="takes no options"):
        examine_activation("gelu_tanh", alpha=1.0)
    for names, message in (([], "at least one"), (["relu", "relu"], "once"), (["relu", "gleu"], "gelu")):
        with pytest.raises(InvalidInput, match=message):
            catalogue(names)
    with pytest.raises(InvalidInput, match="low below high"):
        examine_activation("relu").curve(1.0, 1.0)


def test_a_module_is_left_as_it_was():
    module = nn.Softshrink().float()
    module.register_buffer("kept", torch.ones(1))
    examine_activation(module)
    assert module.kept.dtype == torch.float32


def test_results_are_json_and_tables(every):
    chosen = catalogue(["relu", "gelu"])
    assert list(json.loads(json.dumps(chosen.to_dict(), allow_nan=False))) == ["relu", "gelu"]
    assert chosen.table()["activation"].tolist() == ["relu", "gelu"]
    assert chosen.table()["kinks"].tolist() == ["0: 0 | 1", ""]
    assert len(every["hardtanh"].table()) == 11
    assert every["prelu"].derivative_latex == sp.latex(
        sp.Piecewise((SLOPE, sp.Le(X, 0)), (sp.Integer(1), True))
    )


def test_the_picture_breaks_where_the_slope_jumps(every):
    curve = every["hardtanh"].curve()
    assert curve["piece"].nunique() == 3
    for (_, quantity), rows in curve.groupby(["piece", "quantity"]):
        assert quantity == "function" or rows["y"].nunique() == 1
    try:
        drawn = every["hardtanh"].plot().to_dict(), catalogue(["relu", "tanh"]).plot().to_dict()
    except MissingExtra:
        pytest.skip("altair is not installed")
    assert drawn[0]["title"]["text"] == "hardtanh and its derivative"
    assert drawn[1]["columns"] == 4


# tanh and sigmoid


def test_tanh_is_a_sigmoid_moved_and_scaled():
    sigmoid, tanh = FORMULAS["sigmoid"][0][0], FORMULAS["tanh"][0][0]
    gap = tanh + 1 - 2 * sigmoid.subs(X, 2 * X)
    assert sp.simplify(gap.rewrite(sp.exp)) == 0
    wrong = tanh + 1 - 2 * sigmoid  # without the 2 inside: must not vanish
    assert sp.simplify(wrong.rewrite(sp.exp)) != 0


@pytest.mark.parametrize(("old", "new", "exchange"), [
    (nn.Sigmoid, nn.Tanh, sigmoid_to_tanh), (nn.Tanh, nn.Sigmoid, tanh_to_sigmoid),
])  # fmt: skip
@pytest.mark.parametrize("bias", [True, False])
def test_a_network_of_one_kind_equals_one_of_the_other(old, new, exchange, bias):
    torch.manual_seed(0)
    layers = [
        nn.Flatten(),
        nn.Linear(12, 7, bias=bias),
        old(),
        nn.Linear(7, 5, bias=bias),
        old(),
        nn.Linear(5, 3),
    ]
    net = nn.Sequential(*layers).double()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    other = exchange(net)
    x = 10 * torch.randn(50, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(other(x), net(x), rtol=0, atol=1e-13)
    assert not any(isinstance(layer, old) for layer in other)
    assert sum(isinstance(layer, new) for layer in other) == 2
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def shared():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Sigmoid(), layer)


def tied():
    net = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.LSTM(3, 4), "must be an nn.Sequential"),
        (nn.TransformerEncoderLayer(8, 2), "must be an nn.Sequential"),
        (LeNet5(), "must stand between two nn.Linear; got 'Conv2d and AvgPool2d"),
        (nn.Sequential(nn.Linear(3, 2), nn.Tanh()), "got 'Linear and nothing"),
        (nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Dropout(), nn.Linear(2, 1)), "Linear and Dropout"),
        (nn.Sequential(nn.Linear(3, 2)), "must hold its nn"),
        (nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))), "must hold its nn"),
        (shared(), "must hold each layer once"),
        (tied(), "must not share weights"),
    ],
    ids=["lstm", "transformer", "cnn", "last", "dropout", "none", "nested", "shared", "tied"],
)
def test_where_layers_cannot_take_it_up_the_exchange_is_refused(model, message):
    exchange = sigmoid_to_tanh if any(isinstance(m, nn.Sigmoid) for m in model.modules()) else tanh_to_sigmoid
    with pytest.raises(InvalidInput, match=message):
        exchange(model)
