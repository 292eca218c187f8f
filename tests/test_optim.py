"""LARS in any training loop: the arithmetic of the engine's reference, and what PyTorch expects of an optimiser."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from mlplab.engine.reference import Memory, update
from mlplab.errors import InvalidInput
from mlplab.optim import LARS
from mlplab.spec import Optimizer, Penalty

OPTIONS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "decay": {"weight_decay": 0.3},
    "nesterov": {"momentum": 0.7, "nesterov": True, "weight_decay": 0.1},
    "large_eps": {"eps": 0.5, "momentum": 0.5},
}


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6, dtype=dtype), nn.Tanh(), nn.Linear(6, 3, dtype=dtype))


def batch(step: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(8, 4, dtype=dtype, generator=torch.Generator().manual_seed(step))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        model(batch(step, next(model.parameters()).dtype)).square().mean().backward()
        optimizer.step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ten_steps_are_those_of_the_reference(options: dict):
    model, twin = network(), network()
    rate = {"lr": 0.5, "trust_coefficient": 0.1} | options
    train(model, LARS(model.parameters(), **rate), range(10))
    words = {"lr": "learning_rate", "eps": "epsilon"}
    spec = Optimizer(
        "lars", **{words.get(name, name): value for name, value in rate.items() if name != "weight_decay"}
    )
    memory = [Memory(parameter) for parameter in twin.parameters()]
    for step in range(10):
        loss = twin(batch(step)).square().mean()
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        for parameter, gradient, kept in zip(twin.parameters(), gradients, memory, strict=True):
            penalty = Penalty(rate.get("weight_decay", 0.0)) if parameter.ndim == 2 else None
            update(parameter, gradient, kept, spec, penalty, step, rate["lr"])
    for ours, theirs in zip(weights(model), weights(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


def test_a_weights_first_step_is_a_fixed_share_of_its_norm_and_biases_step_as_in_sgd():
    model, plain = network(), network()
    before = weights(copy.deepcopy(model))
    train(model, LARS(model.parameters(), lr=2.0, trust_coefficient=0.01, eps=0.0), range(1))
    train(plain, torch.optim.SGD(plain.parameters(), lr=2.0), range(1))
    for old, new, sgd in zip(before, weights(model), weights(plain), strict=True):
        if old.ndim == 2:
            assert (new - old).norm().item() == pytest.approx(0.02 * old.norm().item(), rel=1e-12)
        else:
            torch.testing.assert_close(new, sgd, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_gradient_times_a_million_gives_the_same_step(dtype: torch.dtype):
    steps = []
    for scale in (1.0, 1e6):
        weight = nn.Parameter(torch.ones(3, 3, dtype=dtype))
        optimizer = LARS([weight], lr=0.5, trust_coefficient=0.5, eps=0.0)
        weight.grad = scale * torch.arange(9, dtype=dtype).reshape(3, 3)
        optimizer.step()
        steps.append(weight.detach())
    # bfloat16 holds 8 bits: 10^6 is rounded there.
    torch.testing.assert_close(*steps, rtol=0.01 if dtype == torch.bfloat16 else 1e-5, atol=0)


@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_a_zero_norm_is_the_plain_step(zero: str):
    weight = nn.Parameter(torch.zeros(2, 2) if zero == "weight" else torch.ones(2, 2))
    weight.grad = torch.zeros(2, 2) if zero == "gradient" else torch.ones(2, 2)
    expected = weight.detach() - 0.1 * (weight.grad + 0.5 * weight.detach())
    LARS([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-6, atol=0)


def test_float16_norms_do_not_overflow():
    weight = nn.Parameter(torch.full((300, 300), 300.0, dtype=torch.float16))
    weight.grad = torch.full_like(weight, 300.0)
    LARS([weight], lr=1.0, trust_coefficient=0.5).step()
    assert weight.detach().unique().tolist() == [150.0]


def test_groups_have_options_of_their_own():
    first, second = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = LARS([{"params": [first], "lr": 0.0}, {"params": [second]}], lr=1.0, trust_coefficient=0.5)
    first.grad, second.grad = torch.ones(2, 2), torch.ones(2, 2)
    optimizer.step()
    assert first.detach().unique().tolist() == [1.0]
    torch.testing.assert_close(second.detach(), torch.full((2, 2), 0.5))


@pytest.mark.parametrize("way", ["state_dict", "deepcopy"])
def test_training_goes_on_where_it_was_kept(way: str):
    model = network()
    optimizer = LARS(model.parameters(), lr=0.5, momentum=0.9, trust_coefficient=0.1)
    train(model, optimizer, range(5))
    if way == "deepcopy":
        twin, other = copy.deepcopy((model, optimizer))
    else:
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        kept = torch.load(file, weights_only=True)
        twin = network()
        twin.load_state_dict(kept["model"])
        other = LARS(twin.parameters(), lr=9.0)
        other.load_state_dict(kept["optimizer"])
    train(model, optimizer, range(5, 10))
    train(twin, other, range(5, 10))
    for ours, theirs in zip(weights(model), weights(twin), strict=True):
        assert torch.equal(ours, theirs)


def test_a_closure_and_a_schedule_work_as_in_torch():
    model = network()
    optimizer = LARS(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(batch(0)).square().mean()
        loss.backward()
        return loss

    before = weights(copy.deepcopy(model))
    assert optimizer.step(closure).item() > 0
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert not torch.equal(before[0], weights(model)[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lr": -0.1}, "LARS.lr must be a finite number of at least 0; got -0.1"),
        ({"lr": float("nan")}, "LARS.lr"),
        ({"lr": "0.1"}, "LARS.lr"),
        ({"momentum": 1.0}, r"LARS.momentum must be in \[0, 1\); got 1.0"),
        ({"weight_decay": -1.0}, "LARS.weight_decay"),
        ({"trust_coefficient": 0.0}, "LARS.trust_coefficient"),
        ({"eps": -1e-9}, "LARS.eps"),
        ({"nesterov": True}, "LARS.nesterov needs a momentum greater than 0; got 0.0"),
        ({"nesterov": 1}, "LARS.nesterov must be True or False"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(options: dict, says: str):
    parameters = list(network().parameters())
    with pytest.raises(InvalidInput, match=says):
        LARS(parameters, **({"lr": 0.1} | options))
    with pytest.raises(InvalidInput, match=says):
        LARS([{"params": parameters, **options}], lr=0.1)


def test_a_sparse_gradient_is_refused():
    weight = nn.Parameter(torch.ones(3, 2))
    weight.grad = torch.eye(3, 2).to_sparse()
    with pytest.raises(InvalidInput, match="LARS gradient must be dense"):
        LARS([weight], lr=0.1).step()
