"""Laws of the oracle: it computes what `nn.Sequential` and `torch.optim` do, and its gradients are right."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from mlplab.engine import draws, reference
from mlplab.engine.reference import Memory, Model, train_one
from mlplab.spec import MLP, Activation, Noise, Optimizer, Penalty, Prior, Setting

from .cases import BY_NAME, CASES, in_precision

all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

MODULES = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU,
    "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "softplus": nn.Softplus, "softsign": nn.Softsign,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu6": nn.ReLU6, "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish, "identity": nn.Identity, "prelu": nn.PReLU,
}  # fmt: skip


# A run as a reader would write it, with our random numbers. `draws` is shared; nothing else of the engine is.


class Chance:
    """Where the noise modules of one network get their numbers: the seed and the update."""

    def __init__(self, seed: int) -> None:
        self.seed, self.step = seed, 0

    def keeps(self, rate: float, layer: int, shape: tuple[int, ...]) -> Tensor:
        """Dropout's factor: dropped with probability round(rate * 2^16) / 2^16."""
        level = round(rate * 2**16)
        bits = draws.noise_bits(self.seed, layer, self.step, shape).long() + 2**15
        return (bits >= level).double() / (1 - level / 2**16)

    def normals(self, layer: int, shape: tuple[int, ...]) -> Tensor:
        return draws.noise_normals(self.seed, layer, self.step, shape)


class KnownNoise(nn.Module):
    """Noise on activations, written from the equations of `spec.Noise`."""

    def __init__(self, noise: Noise, layer: int, chance: Chance) -> None:
        super().__init__()
        self.noise, self.layer, self.chance = noise, layer, chance

    def forward(self, x: Tensor) -> Tensor:
        shape = tuple(x.shape)
        if not self.training:
            return x
        match self.noise.kind:
            case "dropout":
                return x * self.chance.keeps(self.noise["rate"], self.layer, shape)
            case "gaussian_dropout":
                rate = self.noise["rate"]
                normal = self.chance.normals(self.layer, shape)
                return x * (1 + math.sqrt(rate / (1 - rate)) * normal)
            case "gaussian_noise":
                return x + self.noise["std"] * self.chance.normals(self.layer, shape)
            case "layer_moment":
                mean, std = x.detach().mean().item(), x.detach().std(correction=0).item()
                return x + self.noise["scale"] * (mean + std * self.chance.normals(self.layer, shape))
            case "shot_noise":
                std = self.noise["scale"] * x.detach().abs().sqrt()
                return x + std * self.chance.normals(self.layer, shape)
            case "centred_dropout":
                mean = x.detach().mean(0)
                kept = self.chance.keeps(self.noise["rate"], self.layer, shape)
                return mean * (1 - kept) + x * kept
        return x


class KnownLinear(nn.Linear):
    """A linear layer whose weights are dropped in training."""

    dropconnect: tuple[float, int, Chance] | None = None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.dropconnect and self.training:
            rate, layer, chance = self.dropconnect
            weight = weight * chance.keeps(rate, layer, (self.in_features, self.out_features)).T
        return nn.functional.linear(x, weight, self.bias)


class BatchNorm(nn.BatchNorm1d):
    """PyTorch's, which refuses a batch of one example: its outputs are the shift, its variance is 0."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1 or not self.training:
            return super().forward(x)
        self.running_mean += self.momentum * (x.detach()[0] - self.running_mean)
        self.running_var *= 1 - self.momentum
        return self.bias.expand_as(x) + 0 * self.weight + 0 * x


class Lars(torch.optim.Optimizer):
    """You et al. 2017, algorithm 1 with the momentum of PyTorch; groups without `trust` are plain SGD."""

    def __init__(self, groups, lr, spec: Optimizer) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.spec = spec

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                g, decay = w.grad, group["weight_decay"]
                w_norm, g_norm = math.sqrt((w**2).sum()), math.sqrt((g**2).sum())
                ratio = 1.0
                if group["is_weight"] and w_norm and g_norm:
                    ratio = (
                        self.spec.trust_coefficient * w_norm / (g_norm + decay * w_norm + self.spec.epsilon)
                    )
                d = ratio * (g + decay * w)
                velocity = self.state[w]["v"] = self.spec.momentum * self.state[w].get("v", 0) + d
                w -= group["lr"] * (d + self.spec.momentum * velocity if self.spec.nesterov else velocity)


class Lamb(torch.optim.Optimizer):
    """You et al. 2020, algorithm 2, with φ(z) = z; weights only have a trust ratio."""

    def __init__(self, groups, lr, spec: Optimizer) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.spec, self.t = spec, 0

    @torch.no_grad()
    def step(self):
        self.t += 1
        b1, b2 = self.spec.beta1, self.spec.beta2
        for group in self.param_groups:
            for w in group["params"]:
                m = self.state[w]["m"] = b1 * self.state[w].get("m", 0) + (1 - b1) * w.grad
                v = self.state[w]["v"] = b2 * self.state[w].get("v", 0) + (1 - b2) * w.grad**2
                r = (m / (1 - b1**self.t)) / ((v / (1 - b2**self.t)) ** 0.5 + self.spec.epsilon)
                u = r + group["weight_decay"] * w
                w_norm, u_norm = math.sqrt((w**2).sum()), math.sqrt((u**2).sum())
                ratio = w_norm / u_norm if group["is_weight"] and w_norm and u_norm else 1.0
                w -= group["lr"] * ratio * u


def optimizer_of(setting: Setting, weights: list[Tensor], others: list[Tensor]) -> torch.optim.Optimizer:
    spec = setting.optimizer
    groups = [
        {"params": weights, "weight_decay": setting.penalty.weight_decay, "is_weight": True},
        {"params": others, "weight_decay": 0.0, "is_weight": False},
    ]
    adam = {"betas": (spec.beta1, spec.beta2), "eps": spec.epsilon}
    match spec.kind:
        case "sgd":
            sgd = {"momentum": spec.momentum, "nesterov": spec.nesterov}
            return torch.optim.SGD(groups, spec.learning_rate, **sgd)
        case "adam":
            return torch.optim.Adam(groups, spec.learning_rate, **adam)
        case "adamw":
            return torch.optim.AdamW(groups, spec.learning_rate, **adam)
        case "lars":
            return Lars(groups, spec.learning_rate, spec)
    return Lamb(groups, spec.learning_rate, spec)


def scheduler_of(optim, setting: Setting, steps_per_epoch: int):
    """PyTorch's schedulers, stepped after every update."""
    schedule, lr_scheduler = setting.optimizer.schedule, torch.optim.lr_scheduler
    warmup = round(schedule["warmup"] * steps_per_epoch)
    rising = lr_scheduler.LinearLR(optim, 1 / (warmup + 1), 1.0, total_iters=warmup) if warmup else None
    if schedule.kind == "cosine":
        total = steps_per_epoch * setting.training.epochs - warmup
        low = schedule["final"] * setting.optimizer.learning_rate
        falling = lr_scheduler.CosineAnnealingLR(optim, total, eta_min=low)
        return lr_scheduler.SequentialLR(optim, [rising, falling], [warmup]) if rising else falling
    every, factor = (schedule["every"], schedule["factor"]) if schedule.kind == "step" else (1, 1.0)
    after = lr_scheduler.StepLR(optim, int(every) * steps_per_epoch, factor)
    return lr_scheduler.ChainedScheduler([rising, after], optim) if rising else after


def minus_log_density(prior: Prior, w: Tensor) -> Tensor:
    """Up to a constant, from a textbook."""
    options = dict(prior.options)
    z = (w - options.get("loc", 0.0)) / options["scale"]
    match prior.kind:
        case "Laplace":
            return z.abs().sum()
        case "Normal":
            return (z**2 / 2).sum()
        case "StudentT":
            return ((options["df"] + 1) / 2 * torch.log(1 + z**2 / options["df"])).sum()
    raise NotImplementedError(prior.kind)


def hits(logits: Tensor, classes: Tensor) -> float:
    """How many have the largest logit at the right class; of k that tie, each is 1/k right."""
    found = 0.0
    for row, right in zip(logits.tolist(), classes.tolist(), strict=True):
        best = [i for i, logit in enumerate(row) if logit == max(row)]
        found += (right in best) / len(best)
    return found


class PlainRun:
    """One run in plain PyTorch, float64."""

    def __init__(self, run, data) -> None:
        self.setting, self.data, self.seed = run.setting, data, run.seed
        model = run.setting.model
        sizes = [data.in_features, *model.hidden_sizes, data.out_features]
        self.chance = Chance(run.seed)
        self.linears = [KnownLinear(a, b, bias=model.bias, dtype=torch.float64) for a, b in pairwise(sizes)]
        self.norms: dict[int, BatchNorm] = {}
        self.slopes: dict[int, nn.PReLU] = {}
        self.seen: dict[str, Tensor] = {}
        self.quiet: dict[str, Tensor] = {}  # of the last evaluation
        modules: list[nn.Module] = []
        for layer, (linear, activation) in enumerate(zip(self.linears[:-1], model.activations, strict=True)):
            noise, normalization = run.setting.noises[layer], model.normalizations[layer]
            if noise.kind == "dropconnect":
                linear.dropconnect = noise["rate"], layer, self.chance
            modules.append(linear)
            if normalization.kind == "batch":
                options = {"eps": normalization["epsilon"], "momentum": normalization["momentum"]}
                self.norms[layer] = BatchNorm(linear.out_features, **options, dtype=torch.float64)
                modules.append(self.norms[layer])
            f = MODULES[activation.kind](**dict(activation.options))
            if activation.kind == "prelu":
                self.slopes[layer] = f = nn.PReLU(init=activation["init"], dtype=torch.float64)
            modules += [f, KnownNoise(noise, layer, self.chance)]
            for name, module in (("activation", f), ("noisy", modules[-1])):
                module.register_forward_hook(self._see(f"{name}_{{}}_{layer}"))
        self.net = nn.Sequential(*modules, self.linears[-1])
        start = draws.initial_parameters(run.setting, *(sizes[0], sizes[-1]), run.seed, data.train.features)
        with torch.no_grad():
            for linear, (weight, bias) in zip(self.linears, start, strict=True):
                linear.weight.copy_(weight)
                if linear.bias is not None:
                    linear.bias.copy_(bias)

    def _see(self, name: str):
        def hook(module, inputs, output):
            x = output.detach().numpy()
            if module.training:
                self.seen |= {name.format("mean"): x.mean(), name.format("variance"): x.var()}
            elif name.startswith("activation"):
                quiet = name.replace("activation", "quiet")
                self.quiet |= {quiet.format("mean"): x.mean(), quiet.format("variance"): x.var()}

        return hook

    def loss(self, outputs: Tensor, y: Tensor, weights: Tensor | None, smoothing: float = 0.0) -> Tensor:
        training = self.setting.training
        if training.loss == "cross_entropy":
            each = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")(outputs, y)
        else:
            each = {
                "squared_error": lambda a, b: nn.MSELoss(reduction="none")(a, b) / 2,
                "absolute_error": nn.L1Loss(reduction="none"),
                "huber": nn.HuberLoss(reduction="none", delta=training.huber_delta),
            }[training.loss](outputs, y).sum(1)
        return each.mean() if weights is None else (each * weights).sum() / len(y)

    def loaded(self, part):
        y = torch.from_numpy(part.targets)
        weights = None if part.weights is None else torch.from_numpy(part.weights).double()
        return torch.from_numpy(part.features).double(), y.double() if y.is_floating_point() else y, weights

    def outputs(self, net: nn.Module, x: Tensor) -> Tensor:
        net.eval()
        found = net(x)
        net.train()
        return found

    @torch.no_grad()
    def evaluate(self, name: str, net: nn.Module | None = None) -> dict[str, float]:
        x, y, weights = self.loaded(self.data.parts[name])
        outputs = self.outputs(net or self.net, x)
        found = {f"{name}_loss": self.loss(outputs, y, weights).item()}
        if self.data.task == "classification":
            found[f"{name}_accuracy"] = hits(outputs, y) / len(y)
        return found

    @torch.no_grad()
    def train_mode(self) -> dict[str, float]:
        """The validation part as if it were a batch; running moments are put back."""
        x, y, weights = self.loaded(self.data.validation)
        before = {key: value.clone() for key, value in self.net.state_dict().items()}
        outputs = self.net(x)
        self.net.load_state_dict(before)
        found = {"train_mode_loss": self.loss(outputs, y, weights).item()}
        if self.data.task == "classification":
            found["train_mode_accuracy"] = hits(outputs, y) / len(y)
        return found

    def train(self) -> None:
        setting, training, penalty = self.setting, self.setting.training, self.setting.penalty
        weights = [linear.weight for linear in self.linears]
        others = [p for p in self.net.parameters() if all(p is not w for w in weights)]
        optim = optimizer_of(setting, weights, others)
        x, y, example_weights = self.loaded(self.data.train)
        batch_size = min(training.batch_size or len(x), len(x))
        sizes = [len(rows) for rows in DataLoader(range(len(x)), batch_size, drop_last=training.drop_last)]
        scheduler = scheduler_of(optim, setting, len(sizes))
        average = AveragedModel(self.net, use_buffers=True)
        self.curves: dict[str, list[float]] = {}
        self.kept, self.best_epoch, best, waited = {}, None, (math.inf, {}), 0
        for epoch in range(1, training.epochs + 1):
            total, total_hits, norms = 0.0, 0.0, {}
            for rows in draws.epoch_order(self.seed, epoch - 1, len(x))[: sum(sizes)].split(batch_size):
                self.seen = {}
                outputs = self.net(x[rows])
                of_rows = None if example_weights is None else example_weights[rows]
                loss = self.loss(outputs, y[rows], of_rows, training.label_smoothing)
                total += loss.item() * len(rows)
                total_hits += hits(outputs, y[rows]) if y.ndim == 1 else 0
                optim.zero_grad()
                loss.backward()
                norms = {
                    f"gradient_norm_{i}": w.grad.square().sum().item() ** 0.5 for i, w in enumerate(weights)
                }
                if setting.optimizer.clip_norm is not None:
                    nn.utils.clip_grad_norm_(self.net.parameters(), setting.optimizer.clip_norm)
                extra = 0.0 if penalty.proximal else penalty.l1 * sum(w.abs().sum() for w in weights)
                if penalty.prior is not None:
                    extra = extra + penalty.prior_weight * sum(
                        minus_log_density(penalty.prior, w) for w in weights
                    )
                if isinstance(extra, Tensor):
                    extra.backward()
                optim.step()
                if penalty.proximal:
                    with torch.no_grad():
                        for w in weights:
                            w.copy_(nn.functional.softshrink(w, optim.param_groups[0]["lr"] * penalty.l1))
                scheduler.step()
                self.chance.step += 1
                if training.epochs - epoch < training.average_epochs:
                    average.update_parameters(self.net)
            self._add({"running_loss": total / sum(sizes)})
            if self.data.task == "classification":
                self._add({"running_accuracy": total_hits / sum(sizes)})
            if epoch in training.keep_weights:
                self.kept[epoch] = self.parameters()
            if epoch % training.evaluate_every and epoch != training.epochs:
                continue
            point = {"evaluated_epoch": epoch, **self.evaluate("validation")}
            if "activations" in training.probes:
                point |= self.seen
            if "gradient_norms" in training.probes:
                point |= norms
            if "weight_norms" in training.probes:
                point |= {f"weight_norm_{i}": w.square().sum().item() ** 0.5 for i, w in enumerate(weights)}
            if "train_mode" in training.probes:
                point |= self.train_mode()
            if "quiet_activations" in training.probes:
                point |= self.quiet
            if "train_part" in training.probes:
                point |= self.evaluate("train")
            self._add(point)
            if training.patience is None:
                continue
            if point["validation_loss"] < best[0]:
                self.best_epoch, waited = epoch, 0
                best = point["validation_loss"], {k: v.clone() for k, v in self.net.state_dict().items()}
            else:
                waited += 1
            if waited == training.patience:
                break
        if training.patience:
            self.net.load_state_dict(best[1])
        self.metrics = {k: v for name in self.data.parts for k, v in self.evaluate(name).items()}
        read = self.net
        if training.average_epochs:
            read = average.module
            for name in self.data.parts:
                self.metrics |= {f"average_{k}": v for k, v in self.evaluate(name, read).items()}
        x, y, _ = self.loaded(self.data.test)
        self.hits = (self.outputs(read, x).argmax(1) == y) if "test_hits" in training.probes else None

    def _add(self, point: dict[str, float]) -> None:
        for name, value in point.items():
            self.curves.setdefault(name, []).append(value)

    def parameters(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            (
                linear.weight.detach().numpy().copy(),
                np.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().numpy().copy(),
            )
            for linear in self.linears
        ]

    def extras(self) -> dict[str, np.ndarray]:
        found = {f"prelu_slope_{layer}": f.weight[0] for layer, f in self.slopes.items()}
        for layer, norm in self.norms.items():
            found |= {f"norm_scale_{layer}": norm.weight, f"norm_shift_{layer}": norm.bias}
            found |= {f"norm_mean_{layer}": norm.running_mean, f"norm_variance_{layer}": norm.running_var}
        return {name: tensor.detach().numpy() for name, tensor in found.items()}


def assert_same_layers(found, expected) -> None:
    assert len(found) == len(expected)
    for (weight, bias), (other_weight, other_bias) in zip(found, expected, strict=True):
        assert np.abs(weight - other_weight).max() <= 1e-10
        assert np.abs(bias - other_bias).max() <= 1e-10


# Equal weights make equal logits, up to rounding: which of them is the largest means nothing.
TIED = ["init_constant", "init_zeros", "init_ones"]


@all_cases
def test_reference_equals_plain_torch(case):
    """Law 7's other half: the oracle agrees with somebody else's arithmetic, in float64."""
    run, data = case.run(precision="float64"), case.data()
    result, plain = train_one(run, data), PlainRun(run, data)
    plain.train()
    # 1e-10: float64 rounding over some ten updates is below 1e-13; a wrong term shows at 1e-4.
    assert_same_layers(result.parameters, plain.parameters())
    assert result.extras.keys() == plain.extras().keys()
    for name, array in plain.extras().items():
        assert result.extras[name].shape == array.shape
        assert np.abs(result.extras[name] - array).max() <= 1e-10, name
    assert result.metrics == pytest.approx(plain.metrics, abs=1e-10)
    assert result.curves.keys() == plain.curves.keys()
    for name, curve in plain.curves.items():
        if name == "running_accuracy" and case.name in TIED:
            continue
        assert result.curves[name] == pytest.approx(curve, abs=1e-10), name
    assert result.best_epoch == plain.best_epoch
    assert (result.test_hits is None) == (plain.hits is None)
    if result.test_hits is not None:
        assert np.unpackbits(result.test_hits, count=len(plain.hits)).tolist() == plain.hits.tolist()
    assert result.kept.keys() == plain.kept.keys()
    for epoch, layers in plain.kept.items():
        assert_same_layers(result.kept[epoch], layers)


# Gradients. Random points: the kinks of ReLU and its kind have probability zero, and the seed is fixed.


def _normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


def _model(setting: Setting, in_features: int = 4, out_features: int = 3) -> Model:
    sizes = [in_features, *setting.model.hidden_sizes, out_features]
    layers = [(_normal(b, a, seed=i), _normal(b, seed=i + 50)) for i, (a, b) in enumerate(pairwise(sizes))]
    extras = {}
    for layer, units in enumerate(setting.model.hidden_sizes):
        if setting.model.activations[layer].kind == "prelu":
            extras[f"prelu_slope_{layer}"] = _normal(seed=layer + 90)
        if setting.model.normalizations[layer].kind == "batch":
            extras |= {f"norm_{name}_{layer}": _normal(units, seed=layer + 70) for name in ("scale", "shift")}
            extras[f"norm_mean_{layer}"] = _normal(units, seed=layer + 80).detach()
            extras[f"norm_variance_{layer}"] = _normal(units, seed=layer + 85).detach().square()
    return Model(layers, extras)


def _gradcheck(setting: Setting, noise=None) -> bool:
    model, x = _model(setting), _normal(5, 4, seed=9)
    parameters = model.trained
    names = [name for name, tensor in model.extras.items() if tensor.requires_grad]
    depth = len(model.layers)

    def outputs(x, *parameters):
        layers = list(zip(parameters[:depth], parameters[depth : 2 * depth], strict=True))
        extras = model.extras | dict(zip(names, parameters[2 * depth :], strict=True))
        return reference.forward(x, Model(layers, extras), setting, noise)

    return torch.autograd.gradcheck(outputs, (x, *parameters))


@pytest.mark.parametrize("kind", Activation.KINDS)
def test_gradients_through_every_activation(kind):
    assert _gradcheck(Setting(MLP((3, 2), activation=kind)))


NOISES = [
    (Noise("dropout", rate=0.5), Noise("dropout", rate=0.3)),
    (Noise("dropout", rate=0.0), Noise("dropout", rate=0.8)),
    (Noise("dropconnect", rate=0.3), Noise("gaussian_noise", std=0.5)),
    (Noise("gaussian_dropout", rate=0.3), Noise("dropconnect", rate=0.6)),
]


@pytest.mark.parametrize("noises", NOISES, ids=lambda noises: "+".join(map(str, noises)))
def test_gradients_through_frozen_noise(noises):
    setting = Setting(MLP((6, 5), activation="tanh"), noise=noises)
    noise = reference.noise_at(setting, seed=1, step=2)
    assert _gradcheck(setting, noise)
    x, model = _normal(5, 4, seed=9), _model(setting)
    assert not torch.equal(
        reference.forward(x, model, setting, noise), reference.forward(x, model, setting)
    ), "the noise is there"


def test_no_gradient_passes_through_the_moments_of_the_layer():
    """`layer_moment` adds a number that depends on the layer; its gradient is that of a sum all the same."""
    setting = Setting(MLP((6,), activation="identity"), noise=Noise("layer_moment", scale=0.7))
    model, x = _model(setting), _normal(5, 4, seed=9)
    outputs = reference.forward(x, model, setting, reference.noise_at(setting, seed=1, step=2))
    silent = reference.forward(x, model, setting)
    assert not torch.equal(outputs, silent)
    weights = model.layers[0][0]
    assert torch.equal(*(torch.autograd.grad(y.sum(), weights)[0] for y in (outputs, silent)))


@pytest.mark.parametrize("own_moments", [True, False])
def test_gradients_through_batch_normalisation(own_moments):
    setting = Setting(MLP((6, 5), activation="tanh", normalization="batch"))
    assert _gradcheck(setting, reference.noise_at(setting, seed=1, step=2) if own_moments else None)


# Updates


def _updated(weight: Tensor, gradient: Tensor, optimizer: Optimizer, penalty: Penalty | None, steps: int = 1):
    """The weight after updates with one gradient, multiplied by 1, 2, 3 and so on."""
    weight, memory = weight.detach().clone(), Memory(weight.detach())
    for step in range(steps):
        rate = optimizer.learning_rate
        reference.update(weight, (step + 1) * gradient.detach(), memory, optimizer, penalty, step, rate)
    return weight


PENALTIES = [
    Penalty(),
    Penalty(0.7),
    Penalty(l1=0.4),
    Penalty(0.7, 0.4),
    Penalty(prior=Prior("Laplace", loc=0.1, scale=0.3), prior_weight=0.2),
    Penalty(prior=Prior("Normal", loc=0.1, scale=0.3), prior_weight=0.2),
    Penalty(prior=Prior("StudentT", df=3.0, scale=0.3), prior_weight=0.2),
    Penalty(prior=Prior("Cauchy", loc=0.0, scale=0.3), prior_weight=0.2),
    Penalty(prior=Prior("Gumbel", loc=0.0, scale=0.3), prior_weight=0.2),
    Penalty(0.7, 0.4, prior=Prior("Laplace", loc=0.0, scale=0.3), prior_weight=0.2),
]


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_the_update_descends_the_gradient_of_the_penalised_loss(penalty):
    """At rate 1 the step of SGD is the gradient of loss + λ/2 |W|² + l1 |W| - weight·log p, by finite differences."""
    fixed = _normal(3, 4, seed=1).detach()

    class Objective(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight):
            ctx.save_for_backward(weight)
            loss = (weight * fixed).sin().sum()
            if penalty.prior is not None:
                options = {k: torch.tensor(v, dtype=torch.float64) for k, v in penalty.prior.options}
                distribution = getattr(torch.distributions, penalty.prior.kind)(**options)
                loss = loss - penalty.prior_weight * distribution.log_prob(weight).sum()
            return loss + penalty.weight_decay / 2 * weight.square().sum() + penalty.l1 * weight.abs().sum()

        @staticmethod
        def backward(ctx, above):
            (weight,) = ctx.saved_tensors
            gradient = fixed * (weight * fixed).cos()
            after = _updated(weight, gradient, Optimizer("sgd", learning_rate=1.0), penalty)
            return above * (weight - after)

    assert torch.autograd.gradcheck(Objective.apply, _normal(3, 4))


def test_a_laplace_prior_is_an_l1_penalty_and_a_normal_one_is_weight_decay():
    weight, gradient = _normal(3, 4), _normal(3, 4, seed=1)
    twins = [
        (Penalty(prior=Prior("Laplace", loc=0.0, scale=0.2), prior_weight=0.03), Penalty(l1=0.15)),
        (Penalty(prior=Prior("Normal", loc=0.0, scale=0.2), prior_weight=0.03), Penalty(0.75)),
    ]
    for twin in twins:
        one, other = (_updated(weight, gradient, Optimizer(learning_rate=0.5), penalty) for penalty in twin)
        assert (one - other).abs().max() <= 1e-14


def test_l1_leaves_a_zero_weight_where_it_is():
    """The subgradient of |W| at 0 is 0."""
    weight = torch.zeros(2, 2, dtype=torch.float64)
    assert not _updated(weight, weight, Optimizer(), Penalty(0.5, 0.5)).any()


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


@pytest.mark.parametrize("kind", Optimizer.KINDS)
def test_what_is_no_weight_matrix_has_neither_penalty_nor_trust_ratio(kind):
    """LARS steps it as SGD, LAMB as AdamW without decay."""
    bias, gradient = _normal(5), _normal(5, seed=1)
    plain = {"lars": "sgd", "lamb": "adamw"}.get(kind, kind)
    found = _updated(bias, gradient, Optimizer(kind, 0.1), None, steps=3)
    expected = _updated(bias, gradient, Optimizer(plain, 0.1), Penalty(), steps=3)
    assert (found - expected).abs().max() <= 1e-15


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_lars_does_not_notice_the_scale_of_the_gradient(momentum):
    """A gradient a million times as large gives the same steps."""
    weight, gradient = _normal(3, 4), _normal(3, 4, seed=1)
    lars = Optimizer("lars", 0.1, momentum=momentum, epsilon=1e-30)
    small, large = (_updated(weight, scale * gradient, lars, Penalty(), steps=3) for scale in (1.0, 1e6))
    assert (small - large).abs().max() <= 1e-12
    assert (small - weight).abs().max() > 1e-5


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_the_first_lars_step_has_the_length_that_the_paper_says(epsilon):
    """Without decay: rate · trust coefficient · |W|, but for epsilon."""
    weight, gradient = _normal(3, 4), _normal(3, 4, seed=1)
    lars = Optimizer("lars", 0.5, trust_coefficient=0.02, epsilon=epsilon)
    length = (_updated(weight, gradient, lars, Penalty()) - weight).norm().item()
    size = gradient.norm().item()
    assert length == pytest.approx(0.5 * 0.02 * weight.norm().item() * size / (size + epsilon), rel=1e-12)


def test_lamb_steps_have_the_length_of_rate_times_weight():
    weight, gradient = _normal(3, 4), _normal(3, 4, seed=1)
    for penalty in (Penalty(), Penalty(0.3)):
        length = (_updated(weight, gradient, Optimizer("lamb", 0.01), penalty) - weight).norm().item()
        assert length == pytest.approx(0.01 * weight.norm().item(), rel=1e-12)


def test_lamb_with_trust_ratio_1_is_adamw():
    """The step of LAMB is AdamW's, stretched: at the rate that undoes the stretching they are equal."""
    weight, gradient = _normal(3, 4), _normal(3, 4, seed=1)
    penalty = Penalty(0.3)
    lamb = _updated(weight, gradient, Optimizer("lamb", 0.01), penalty)
    ratio = (weight - lamb).norm() / (
        weight - _updated(weight, gradient, Optimizer("adamw", 0.01), penalty)
    ).norm()
    adamw = _updated(weight, gradient, Optimizer("adamw", 0.01 * ratio.item()), penalty)
    assert (lamb - adamw).abs().max() <= 1e-14
    assert abs(ratio.item() - 1) > 0.1
    # Where a norm is 0 the ratio is 1.
    zero = torch.zeros(3, 4, dtype=torch.float64)
    steps = [_updated(zero, gradient, Optimizer(kind, 0.01), penalty) for kind in ("lamb", "adamw")]
    assert torch.equal(*steps)
    assert steps[0].any()


@pytest.mark.parametrize("kind", ["lars", "lamb"])
def test_trust_ratios_are_1_where_a_norm_is_0(kind):
    """No division by zero: weights that start at 0 move, those without a gradient are decayed or stay."""
    zero, normal = torch.zeros(3, 4, dtype=torch.float64), _normal(3, 4)
    optimizer, plain = Optimizer(kind, 0.1), Optimizer({"lars": "sgd", "lamb": "adamw"}[kind], 0.1)
    moved = _updated(zero, normal, optimizer, Penalty(0.5))
    assert torch.equal(moved, _updated(zero, normal, plain, Penalty(0.5)))
    assert torch.equal(_updated(normal, zero, optimizer, Penalty()), normal)
    if kind == "lars":
        assert torch.equal(
            _updated(normal, zero, optimizer, Penalty(0.5)), _updated(normal, zero, plain, Penalty(0.5))
        )


# Soft thresholding


@pytest.mark.parametrize("kind", Optimizer.KINDS)
def test_soft_thresholding_makes_exact_zeros_and_the_subgradient_none(kind):
    weight, gradient = _normal(30, 40), 0.1 * _normal(30, 40, seed=1)
    optimizer = Optimizer(kind, 0.1)
    proximal = _updated(weight, gradient, optimizer, Penalty(l1=0.5, proximal=True), steps=3)
    assert 0.02 < (proximal == 0).double().mean() < 0.5
    assert (_updated(weight, gradient, optimizer, Penalty(l1=0.5), steps=3) != 0).all()


def test_soft_thresholding_solves_its_problem():
    """It minimises 1/2 |V - W|² + rate·l1·|V|: no other number is better."""
    weight, threshold = _normal(50).detach(), 0.1 * 4.0
    v = _updated(weight, torch.zeros(50), Optimizer(learning_rate=0.1), Penalty(l1=4.0, proximal=True))

    def objective(v):
        return (v - weight).square() / 2 + threshold * v.abs()

    for other in torch.linspace(-3, 3, 601, dtype=torch.float64):
        assert (objective(v) <= objective(other.expand(50)) + 1e-15).all()
    assert (v == 0).any()
    assert (v != 0).any()


# Clipping


def test_clipping_bounds_the_norm_over_all_parameters_and_leaves_small_gradients_alone():
    gradients = (_normal(3, 4), _normal(5, seed=1), _normal(seed=2))
    total = math.sqrt(sum(g.square().sum().item() for g in gradients))
    assert reference.clip_coefficient(gradients, None) == 1
    assert reference.clip_coefficient(gradients, total * 1.01).item() == 1
    assert reference.clip_coefficient(gradients, 0.5).item() * total == pytest.approx(0.5, rel=1e-6)


# Batch normalisation, probes, precision


def test_the_probe_of_train_mode_leaves_the_run_as_it_is():
    """Neither running moments nor the weights know of it."""
    case = BY_NAME["probes_deep_norm_noise"]
    run, data = case.run(precision="float64"), case.data()
    quiet = dataclasses.replace(run.setting.training, probes=())
    plain = train_one(dataclasses.replace(run, setting=run.setting.replace(training=quiet)), data)
    probed = train_one(run, data)
    assert all(np.array_equal(a, b) for x, y in zip(plain.parameters, probed.parameters, strict=True)
               for a, b in zip(x, y, strict=True))  # fmt: skip
    assert all(np.array_equal(array, probed.extras[name]) for name, array in plain.extras.items())
    assert probed.curves["train_mode_loss"] != probed.curves["validation_loss"]


def test_activation_probes_tell_the_noise_apart():
    """Dropout leaves the mean and raises the variance, by about the second moment times rate/(1-rate)."""
    case = BY_NAME["probes_deep_norm_noise"]
    curves = train_one(case.run(precision="float64"), case.data()).curves
    for before, after in zip(curves["activation_variance_0"], curves["noisy_variance_0"], strict=True):
        assert after > before * 1.1
    assert curves["activation_mean_1"] == curves["noisy_mean_1"], "dropconnect is not on activations"


def test_early_stopping_returns_the_best_epochs_model():
    """Its metrics are those of the evaluation at that epoch, and a run that long ends with the same weights."""
    case = BY_NAME["patience_2_every_2_norm_prelu_noise"]
    run, data = case.run(precision="float64"), case.data()
    result = train_one(run, data)
    curves, best = result.curves, result.best_epoch
    assert best < len(curves["running_loss"]) < run.setting.training.epochs
    position = curves["evaluated_epoch"].index(best)
    assert (
        curves["validation_loss"][position]
        == min(curves["validation_loss"])
        == result.metrics["validation_loss"]
    )
    training = dataclasses.replace(run.setting.training, patience=None, epochs=best)
    shorter = train_one(dataclasses.replace(run, setting=run.setting.replace(training=training)), data)
    assert_same_layers(result.parameters, shorter.parameters)
    assert all(np.array_equal(array, shorter.extras[name]) for name, array in result.extras.items())
    assert shorter.best_epoch is None


def test_weights_of_examples_count_as_copies_do():
    """An example of weight 2 beside one of weight 0 is the same as twice the first: one full-batch epoch."""
    data = BY_NAME["regression"].data()
    part = data.train
    weights = np.tile(np.array([2, 0], dtype=np.float32), 45)
    twice = np.arange(90) // 2 * 2
    weighted = dataclasses.replace(part, weights=weights)
    copied = dataclasses.replace(part, features=part.features[twice], targets=part.targets[twice])
    found = []
    for train in (weighted, copied):
        held = dataclasses.replace(data, train=train, fingerprint="")
        run = BY_NAME["regression"].run(precision="float64")
        training = dataclasses.replace(run.setting.training, batch_size=None, epochs=2)
        run = dataclasses.replace(run, setting=run.setting.replace(training=training), data=held.fingerprint)
        found.append(train_one(run, held))
    assert_same_layers(found[0].parameters, found[1].parameters)
    assert found[0].metrics["train_loss"] == pytest.approx(found[1].metrics["train_loss"], abs=1e-12)


def test_bfloat16_rounds_the_operands_of_products_and_nothing_else():
    """Parameters are float32, and move by less than bfloat16 could show; the run stays near its float32 twin."""
    case = BY_NAME["bfloat16"]
    mixed, full = (train_one(case.run(precision=p), case.data()) for p in ("bfloat16", "float32"))
    (weight, _), (other, _) = mixed.parameters[0], full.parameters[0]
    assert weight.dtype == np.float32
    assert not np.array_equal(weight, torch.from_numpy(weight).bfloat16().float().numpy())
    assert 1e-6 < np.abs(weight - other).max() < 0.02
    x, w = _normal(5, 8).float(), _normal(8, 3, seed=1).float()
    exact = x.bfloat16().double() @ w.bfloat16().double()
    # bfloat16 has 8 bits: a result is off by at most 2^-8 of itself, and sums in float32 by much less.
    assert ((reference.rounded_product(x, w) - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all()
