"""Laws of the oracle: it computes what `nn.Sequential` and `torch.optim` do, and its gradients are right."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlplab.engine import draws, reference
from mlplab.engine.losses import LOSSES, accuracy
from mlplab.engine.reference import train_one
from mlplab.spec import MLP, Activation, Noise, Optimizer, Penalty, Setting

from .cases import BY_NAME, CASES, in_precision

all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

MODULES = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU,
    "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "softplus": nn.Softplus, "softsign": nn.Softsign,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu6": nn.ReLU6, "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish, "identity": nn.Identity,
}  # fmt: skip


class KnownDropout(nn.Module):
    """Dropout whose bits are given: an activation is dropped with probability round(rate * 2^16) / 2^16."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.threshold = round(rate * 2**16)
        self.bits: np.ndarray | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.bits is None:
            return x
        kept = torch.from_numpy((self.bits >= self.threshold).astype(float))
        return x * kept / (1 - self.threshold / 2**16)


def in_plain_torch(run, data) -> tuple[list[nn.Linear], dict[str, float], list[float]]:
    """The run as a reader would write it, with our random numbers: layers, metrics, running losses."""
    setting, training, optimizer = run.setting, run.setting.training, run.setting.optimizer
    sizes = [data.in_features, *setting.model.hidden_sizes, data.out_features]
    linears = [nn.Linear(a, b, bias=setting.model.bias, dtype=torch.float64) for a, b in pairwise(sizes)]
    noises = [KnownDropout(noise.rate) for noise in setting.noises]
    modules: list[nn.Module] = []
    for linear, activation, noise in zip(linears[:-1], setting.model.activations, noises, strict=True):
        modules += [linear, MODULES[activation.kind](**dict(activation.options)), noise]
    net = nn.Sequential(*modules, linears[-1])
    start = draws.initial_parameters(setting, data.in_features, data.out_features, run.seed)
    with torch.no_grad():
        for linear, (weight, bias) in zip(linears, start, strict=True):
            linear.weight.copy_(weight)
            if linear.bias is not None:
                linear.bias.copy_(bias)

    weights = [linear.weight for linear in linears]
    biases = [linear.bias for linear in linears if linear.bias is not None]
    groups = [
        {"params": weights, "weight_decay": setting.penalty.weight_decay},
        {"params": biases, "weight_decay": 0},
    ]
    adam = {"betas": (optimizer.beta1, optimizer.beta2), "eps": optimizer.epsilon}
    optim = {
        "sgd": lambda: torch.optim.SGD(
            groups, optimizer.learning_rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov
        ),
        "adam": lambda: torch.optim.Adam(groups, optimizer.learning_rate, **adam),
        "adamw": lambda: torch.optim.AdamW(groups, optimizer.learning_rate, **adam),
    }[optimizer.kind]()
    half_squares = lambda outputs, y: nn.MSELoss(reduction="sum")(outputs, y) / (2 * len(y))  # noqa: E731
    loss_of = {"cross_entropy": nn.CrossEntropyLoss(), "squared_error": half_squares}[training.loss]

    def loaded(part):
        targets = torch.from_numpy(part.targets)
        return torch.from_numpy(
            part.features
        ).double(), targets.double() if targets.is_floating_point() else targets

    x, y = loaded(data.train)
    running, step = [], 0
    for epoch in range(training.epochs):
        total = 0.0
        order = draws.epoch_order(run.seed, epoch, len(x))
        for rows in order.split(training.batch_size or len(x)):
            for layer, (noise, units) in enumerate(zip(noises, sizes[1:-1], strict=True)):
                noise.bits = draws.noise_bits(run.seed, layer, step, (len(rows), units))
            loss = loss_of(net(x[rows]), y[rows])
            total += loss.item() * len(rows)
            optim.zero_grad()
            (loss + setting.penalty.l1 * sum(w.abs().sum() for w in weights)).backward()
            optim.step()
            step += 1
        running.append(total / len(x))

    for noise in noises:
        noise.bits = None
    metrics = {}
    with torch.no_grad():
        for name, part in data.parts.items():
            x, y = loaded(part)
            metrics[f"{name}_loss"] = loss_of(net(x), y).item()
            if data.task == "classification":
                metrics[f"{name}_accuracy"] = (net(x).argmax(1) == y).double().mean().item()
    return linears, metrics, running


@all_cases
def test_reference_equals_plain_torch(case):
    """Law 7's other half: the oracle agrees with somebody else's arithmetic, in float64."""
    run, data = case.run(precision="float64"), case.data()
    result = train_one(run, data)
    linears, metrics, running = in_plain_torch(run, data)
    # 1e-10: float64 rounding over some ten updates is below 1e-13; a wrong term shows at 1e-4.
    for (weight, bias), linear in zip(result.parameters, linears, strict=True):
        assert np.abs(weight - linear.weight.detach().numpy()).max() <= 1e-10
        expected = np.zeros(len(bias)) if linear.bias is None else linear.bias.detach().numpy()
        assert np.abs(bias - expected).max() <= 1e-10
    assert result.metrics == pytest.approx(metrics, abs=1e-10)
    assert result.curves["running_loss"] == pytest.approx(running, abs=1e-10)


# Gradients. Random points: the kinks of ReLU and its kind have probability zero, and the seed is fixed.


def _normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


def _network(setting: Setting, in_features: int = 4, out_features: int = 3) -> list[Tensor]:
    sizes = [in_features, *setting.model.hidden_sizes, out_features]
    shapes = [shape for a, b in pairwise(sizes) for shape in ((b, a), (b,))]
    return [_normal(*shape, seed=i) for i, shape in enumerate(shapes)]


def _layers(parameters) -> list[tuple[Tensor, Tensor]]:
    return list(zip(parameters[::2], parameters[1::2], strict=True))


@pytest.mark.parametrize("kind", Activation.KINDS)
def test_gradients_through_every_activation(kind):
    setting = Setting(MLP((3, 2), activation=kind))
    x = _normal(5, 4, seed=9)
    assert torch.autograd.gradcheck(
        lambda x, *parameters: reference.forward(x, _layers(parameters), setting), (x, *_network(setting))
    )


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.3, 0.0), (0.0, 0.8)])
def test_gradients_through_frozen_noise(rates):
    setting = Setting(MLP((6, 5), activation="tanh"), noise=[Noise("dropout", rate=rate) for rate in rates])
    x, mask = _normal(5, 4, seed=9), reference.masks(setting, seed=1, step=2)
    parameters = _network(setting)
    assert torch.autograd.gradcheck(
        lambda x, *parameters: reference.forward(x, _layers(parameters), setting, mask), (x, *parameters)
    )
    with_noise = reference.forward(x, _layers(parameters), setting, mask)
    assert not torch.equal(with_noise, reference.forward(x, _layers(parameters), setting)), (
        "the noise is there"
    )


def test_gradients_of_cross_entropy():
    """Of every model by itself: the full Jacobian is checked, so models that share a gradient would fail."""
    targets = torch.tensor([[0, 1, 2, 2], [1, 1, 0, 2]])
    assert torch.autograd.gradcheck(lambda logits: LOSSES["cross_entropy"](logits, targets), _normal(2, 4, 3))


def test_gradients_of_squared_error():
    targets = _normal(2, 4, 3, seed=1).detach()
    assert torch.autograd.gradcheck(
        lambda outputs: LOSSES["squared_error"](outputs, targets), _normal(2, 4, 3)
    )


def test_losses_agree_with_torch_and_numpy():
    logits, outputs = _normal(2, 4, 3).detach(), _normal(2, 4, 3, seed=1).detach()
    targets = torch.tensor([[0, 1, 2, 2], [1, 1, 0, 2]])
    for model in range(2):
        odds = np.exp(logits[model].numpy())
        expected = -np.log(odds / odds.sum(1, keepdims=True))[np.arange(4), targets[model].numpy()].mean()
        assert LOSSES["cross_entropy"](logits, targets)[model].item() == pytest.approx(
            expected.item(), abs=1e-12
        )
        half = np.square(logits[model].numpy() - outputs[model].numpy()).sum(1).mean() / 2
        assert LOSSES["squared_error"](logits, outputs)[model].item() == pytest.approx(half.item(), abs=1e-12)
    hits = torch.stack([nn.functional.one_hot(row, 3) for row in targets]).double()
    assert accuracy(hits, targets).tolist() == [1, 1]
    assert accuracy(hits.roll(1, 2), targets).tolist() == [0, 0]


@pytest.mark.parametrize("penalty", [Penalty(), Penalty(0.7), Penalty(l1=0.4), Penalty(0.7, 0.4)], ids=str)
def test_the_update_descends_the_gradient_of_the_penalised_loss(penalty):
    """At rate 1 the step of SGD is the gradient of loss + lambda/2 |W|^2 + l1 |W|, by finite differences."""
    fixed = _normal(3, 4, seed=1).detach()

    class Objective(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight):
            ctx.save_for_backward(weight)
            loss = (weight * fixed).sin().sum()
            return loss + penalty.weight_decay / 2 * weight.square().sum() + penalty.l1 * weight.abs().sum()

        @staticmethod
        def backward(ctx, above):
            (weight,) = ctx.saved_tensors
            after = weight.clone()
            gradient = fixed * (weight * fixed).cos()
            sgd = Optimizer("sgd", learning_rate=1.0)
            reference.update(after, gradient, reference.Memory(after), sgd, penalty, step=0)
            return above * (weight - after)

    assert torch.autograd.gradcheck(Objective.apply, _normal(3, 4))


def test_l1_leaves_a_zero_weight_where_it_is():
    """The subgradient of |W| at 0 is 0."""
    weight = torch.zeros(2, 2, dtype=torch.float64)
    reference.update(
        weight, torch.zeros(2, 2), reference.Memory(weight), Optimizer(), Penalty(0.5, 0.5), step=0
    )
    assert not weight.any()


def test_biases_are_not_penalised():
    """Equal data gradients: with a crushing decay the weights shrink, the biases are trained as before."""
    case = BY_NAME["linear_model"]
    run, data = case.run(precision="float64"), case.data()
    one_step = in_precision(run.setting, "float64").replace(penalty=Penalty(2.0))
    one_step = one_step.replace(
        training=type(one_step.training)(epochs=1, batch_size=None, precision="float64")
    )
    free = one_step.replace(penalty=Penalty())
    (decayed,), (plain,) = (
        train_one(type(run)(s, run.data, run.seed), data).parameters for s in (one_step, free)
    )
    assert np.abs(decayed[0] - plain[0]).max() > 0.01
    assert np.abs(decayed[1] - plain[1]).max() == 0
