"""Laws of the activations: values and slopes are PyTorch's, kinks and far tails included."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from mlplab.engine import Result, train
from mlplab.engine.activations import (
    activation_function,
    derivative_by_autograd,
    derivative_function,
    module_class,
)
from mlplab.engine.reference import train_one
from mlplab.spec import Activation

from .cases import CASES, largest_difference

BENT = {"leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 0.7}, "celu": {"alpha": 1.6}}
ACTIVATIONS = [Activation(kind) for kind in Activation.KINDS] + [Activation(k, **v) for k, v in BENT.items()]
ELEMENTWISE = [activation for activation in ACTIVATIONS if activation.kind != "prelu"]
MODULES = {name.lower(): module for name, module in vars(nn).items() if isinstance(module, type)}
# A grid through the kinks at -3, -1, 0, 1, 3 and 6, and numbers at which an exponential overflows.
GRID = torch.cat([torch.arange(-8, 8.01, 0.125), torch.tensor([-800.0, -90.0, 90.0, 800.0])]).double()

named = {"ids": str}


def of(activation: Activation, x: torch.Tensor) -> torch.Tensor:
    slope = [torch.tensor(activation["init"])] if activation.kind == "prelu" else []
    return activation_function(activation)(x, *slope)


@pytest.mark.parametrize("activation", ACTIVATIONS, **named)
def test_values_are_those_of_torchs_module(activation):
    if activation.kind == "prelu":
        module = nn.PReLU(init=activation["init"], dtype=torch.float64)
    elif activation.kind == "identity":
        module = nn.Identity()
    else:
        module = MODULES[activation.kind.replace("_", "")](**dict(activation.options))
    # Rounding alone: one unit in the last place at 800 is 1e-13.
    assert (of(activation, GRID) - module(GRID)).abs().max() <= 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS, **named)
def test_gradients(activation):
    """Against finite differences, away from the kinks."""
    x = (
        torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: of(activation, x), x)


def test_the_slope_of_prelu_has_a_gradient():
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slopes = torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64)[:, None, None].requires_grad_()
    function = activation_function(Activation("prelu"))
    assert torch.autograd.gradcheck(function, (x.requires_grad_(), slopes))
    gradient = torch.autograd.grad(function(x, slopes).sum(), slopes)[0].flatten()
    assert gradient == pytest.approx(x.detach().clamp(max=0).sum((1, 2)), abs=1e-12), "each model's its own"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("activation", ELEMENTWISE, **named)
def test_the_written_derivative_is_autograds(activation, dtype):
    """On a grid that hits every kink, where both take PyTorch's side, and where exponentials overflow."""
    x = GRID.to(dtype).requires_grad_()
    y = activation_function(activation)(x)
    above = torch.linspace(-1, 2, len(GRID), dtype=dtype)
    expected = torch.autograd.grad(y, x, above)[0]
    found = derivative_function(activation)(above.clone(), x.detach(), y.detach())
    assert found.dtype == dtype
    assert found.isfinite().all()
    assert (found - expected).abs().max() <= 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("activation", ELEMENTWISE, **named)
def test_an_activation_without_a_written_derivative_has_autograds(activation):
    x, above = GRID[:-4], torch.linspace(-1, 2, len(GRID) - 4, dtype=torch.float64)
    y = activation_function(activation)(x)
    written = derivative_function(activation)(above.clone(), x, y)
    assert (derivative_by_autograd(activation)(above, x, y) - written).abs().max() <= 1e-15


def test_an_activation_of_pytorch_is_trained_as_soon_as_its_name_is_known(monkeypatch):
    """One place: whoever adds a kind needs no other file."""
    monkeypatch.setattr(Activation, "KINDS", {**Activation.KINDS, "tanhshrink": {}})
    case = next(case for case in CASES if case.setting.model.activation[0].kind == "tanh")
    model = dataclasses.replace(case.setting.model, activation=Activation("tanhshrink"))
    run = dataclasses.replace(case, setting=case.setting.replace(model=model)).run(precision="float64")
    (found,) = (record for record in train([run], case.data()) if isinstance(record, Result))
    assert largest_difference(found, train_one(run, case.data())) < 1e-10
    assert module_class("tanhshrink") is nn.Tanhshrink


def test_prelu_has_no_written_derivative():
    with pytest.raises(NotImplementedError, match="prelu"):
        derivative_function(Activation("prelu"))
