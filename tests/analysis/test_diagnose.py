"""Every planted illness is found, where it was planted; models in health are left alone, over many seeds."""

from __future__ import annotations

import json
import re

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from mlplab.analysis.diagnose import _percent, diagnose
from mlplab.errors import InvalidInput
from mlplab.stats import proportion_interval

CLASSES = 4


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)


def _glorot(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight, gain=nn.init.calculate_gain("tanh"))
        nn.init.zeros_(module.bias)


def _mlp(depth: int, activation=nn.ReLU, start=_he, width: int = 48, inputs: int = 12) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(depth):
        layers += [nn.Linear(inputs if index == 0 else width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, CLASSES))
    return model.apply(start) if start else model


def _zero_head() -> nn.Sequential:
    model = _mlp(3)
    nn.init.zeros_(model[-1].weight)
    return model


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM) -> None:
        super().__init__()
        self.body, self.head = kind(5, 16, batch_first=True), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[0][:, -1])


class Residual(nn.Module):
    """Branches that start at zero, as in Fixup and in many transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(12, 32), nn.Linear(32, CLASSES)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(4)
        )
        for branch in self.branches:
            nn.init.zeros_(branch[2].weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x)


def _cnn(normalised: bool) -> nn.Sequential:
    norm = (nn.BatchNorm2d) if normalised else (lambda n: nn.Identity())
    layers = [nn.Conv2d(1, 8, 3, padding=1), norm(8), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(8, 16, 3, padding=1), norm(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, CLASSES)]
    return nn.Sequential(*layers).apply(_he)


def _transformer() -> nn.Sequential:
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    return nn.Sequential(block, nn.Flatten(), nn.Linear(48, CLASSES))


HEALTHY = {
    "softmax regression from zero": (lambda: nn.Linear(12, CLASSES).apply(_zeros), (64, 12)),
    "one hidden layer, PyTorch's start": (lambda: _mlp(1, start=None), (64, 12)),
    "three hidden layers, PyTorch's start": (lambda: _mlp(3, start=None), (64, 12)),
    "ReLU with He's start, 8 deep": (lambda: _mlp(8), (64, 12)),
    "ReLU with He's start, 20 deep": (lambda: _mlp(20), (64, 12)),
    "narrow ReLU": (lambda: _mlp(2, width=6), (32, 12)),
    "tanh with Glorot's start, 10 deep": (lambda: _mlp(10, nn.Tanh, _glorot), (64, 12)),
    "GELU": (lambda: _mlp(4, nn.GELU), (64, 12)),
    "with dropout": (lambda: nn.Sequential(_mlp(2), nn.Dropout(0.5)), (64, 12)),
    "head from zero": (_zero_head, (64, 12)),
    "residual branches from zero": (Residual, (64, 12)),
    "CNN": (lambda: _cnn(False), (32, 1, 8, 8)),
    "CNN with BatchNorm": (lambda: _cnn(True), (32, 1, 8, 8)),
    "LSTM": (Recurrent, (32, 7, 5)),
    "GRU": (lambda: Recurrent(nn.GRU), (32, 7, 5)),
    "transformer block": (_transformer, (32, 6, 8)),
}


def _zeros(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _drawn(factory, shape, seed: int):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return factory(), (torch.randn(shape), torch.randint(CLASSES, shape[:1]))


def _alarms(name: str, num_seeds: int, **options) -> list[str]:
    factory, shape = HEALTHY[name]
    found = []
    for seed in range(num_seeds):
        model, batch = _drawn(factory, shape, seed)
        found += [str(f) for f in diagnose(model, batch, functional.cross_entropy, **options).findings]
    return found


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models_are_left_alone(name) -> None:
    assert _alarms(name, 8) == []
    assert _alarms(name, 1, learning_rate=0.01) == []


@pytest.mark.slow
def test_false_alarms_are_rare() -> None:
    """16 kinds of model, 100 seeds each: the upper end of the interval of their share stays below 1%."""
    alarms = sum(bool(_alarms(name, 100)) and len(_alarms(name, 100)) for name in HEALTHY)
    assert proportion_interval(alarms, 100 * len(HEALTHY)).ci_high < 0.01


def test_real_images_are_no_ill_conditioned_input() -> None:
    """Pixels that are rarely lit are sparse, not small; whole numbers up to 16 or 255 do not matter either."""
    images, labels = load_digits(return_X_y=True)
    for scale in (1, 1 / 16, 255 / 16):
        x = torch.as_tensor(images[:256] * scale, dtype=torch.float32)
        model, _ = _drawn(lambda: nn.Sequential(nn.Linear(64, 10)), (1, 1), 0)
        found = diagnose(model, (x, torch.as_tensor(labels[:256])), functional.cross_entropy)
        assert found.findings == ()


def _plant(name: str, seed: int):
    """A model with one illness: (model, batch, options, the cause, the layer it is in)."""
    model, (x, y) = _drawn(lambda: _mlp(3), (64, 12), seed)
    options: dict = {}
    where = ""
    generator = torch.Generator().manual_seed(seed)
    match name:
        case "zero start":
            model.apply(_zeros)
            where = "0"
        case "constant start":
            for p in model[:-1].parameters():
                nn.init.constant_(p, 0.1)
            where = "0"
        case "two twins":
            for layer in (model[2],):
                layer.weight.data[7] = layer.weight.data[3]
                layer.bias.data[7] = layer.bias.data[3]
            model[4].weight.data[:, 7] = model[4].weight.data[:, 3]
            where = "2"
        case "large negative biases":
            nn.init.constant_(model[2].bias, -50)
            where = "2"
        case "half the units dead":
            nn.init.constant_(model[2].bias[:24].data, -50)
            model[2].bias.data[:24] = -50
            where = "2"
        case "sigmoid, 8 deep":
            model, _ = _drawn(lambda: _mlp(8, nn.Sigmoid, _glorot), (64, 12), seed)
            where = "0"
        case "small weights":
            for layer in list(model)[:-1]:
                if isinstance(layer, nn.Linear):
                    layer.weight.data *= 0.01
            where = "0"
        case "PyTorch's start, 12 deep":
            model, _ = _drawn(lambda: _mlp(12, start=None), (64, 12), seed)
            where = "0"
        case "large weights":
            model, _ = _drawn(lambda: _mlp(6), (64, 12), seed)
            for layer in model:
                if isinstance(layer, nn.Linear):
                    layer.weight.data *= 6
            where = "0"
        case "weights so large that signals overflow":
            for layer in model:
                if isinstance(layer, nn.Linear):
                    layer.weight.data *= 1e15
            where = "4"  # 1e15, 1e30, overflow
        case "features of unlike units":
            x = x * torch.logspace(0, 4, 12)
            where = "input"
        case "features far from zero":
            x = x + 200
            where = "input"
        case "features that repeat others":
            x[:, 1] = x[:, 0] + 1e-4 * torch.randn(64, generator=generator)
            where = "input"
        case "rate far too large":
            options, where = {"learning_rate": 100.0}, "learning rate"
        case "rate above 2/λmax on least squares":
            model = nn.Linear(12, CLASSES)
            top = float(torch.linalg.eigvalsh(x.T @ x / 64)[-1])
            options, where = {"learning_rate": 1.3 * CLASSES / max(top, 1)}, "learning rate"
            y = torch.randn(64, CLASSES, generator=generator)
    return model, (x, y), options, where


PLANTED = {
    "zero start": "symmetric units",
    "constant start": "symmetric units",
    "two twins": "symmetric units",
    "large negative biases": "dead units",
    "half the units dead": "dead units",
    "sigmoid, 8 deep": "vanishing gradient",
    "small weights": "vanishing gradient",
    "PyTorch's start, 12 deep": "vanishing gradient",
    "large weights": "exploding gradient",
    "weights so large that signals overflow": "exploding signal",
    "features of unlike units": "ill-conditioned input",
    "features far from zero": "ill-conditioned input",
    "features that repeat others": "ill-conditioned input",
    "rate far too large": "learning rate too large",
    "rate above 2/λmax on least squares": "learning rate too large",
}
# What must follow from the planted illness, and is true of the model too.
FOLLOWS = {"large weights": {"exploding signal"}, "constant start": {"vanishing gradient"}}


@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_illness_is_named_where_it_is(name) -> None:
    for seed in range(6):
        model, batch, options, where = _plant(name, seed)
        loss = functional.mse_loss if batch[1].is_floating_point() else functional.cross_entropy
        found = diagnose(model, batch, loss, **options)
        assert found.findings, name
        first = found.findings[0]
        assert first.cause == PLANTED[name], found.findings
        assert first.where.startswith(where), first
        assert {f.cause for f in found.findings} <= {PLANTED[name]} | FOLLOWS.get(name, set())
        assert first.fix
        json.dumps(found.to_dict(), allow_nan=False)


def test_fixes_heal() -> None:
    """What the fix says, done: nothing is found any more."""
    for name in ("zero start", "large negative biases", "small weights", "large weights"):
        model, batch, options, _ = _plant(name, 0)
        model.apply(_he)
        assert diagnose(model, batch, functional.cross_entropy, **options).is_healthy
    for name in ("features of unlike units", "features far from zero"):
        model, (x, y), _, _ = _plant(name, 0)
        x = (x - x.mean(0)) / x.std(0)
        assert diagnose(model, (x, y), functional.cross_entropy).is_healthy


def test_the_stable_rate_in_the_fix_is_stable() -> None:
    model, batch, _, _ = _plant("rate above 2/λmax on least squares", 0)
    found = diagnose(model, batch, functional.mse_loss, learning_rate=10.0).findings[0]
    stable = float(re.findall(r"2/λmax = ([\d.e+-]+)", found.fix)[0])
    top = float(torch.linalg.eigvalsh(_with_bias(batch[0]).T @ _with_bias(batch[0]) / 64)[-1])
    assert stable == pytest.approx(2 / (2 / CLASSES * top), rel=0.02)
    assert diagnose(model, batch, functional.mse_loss, learning_rate=0.95 * stable).is_healthy


def _with_bias(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], 1)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_units_that_start_alike_are_named(kind) -> None:
    model, batch = _drawn(lambda: Recurrent(kind), (32, 7, 5), 0)
    for p in model.parameters():
        nn.init.constant_(p, 0.05)
    model.head.weight.data = torch.randn(CLASSES, 1).expand(CLASSES, 16).clone()
    assert diagnose(model, batch, functional.cross_entropy).findings[0].cause == "symmetric units"


def test_channels_that_start_alike_are_named() -> None:
    model, batch = _drawn(lambda: _cnn(False), (32, 1, 8, 8), 0)
    for p in model[:-1].parameters():
        nn.init.constant_(p, 0.05)
    model[-1].weight.data = model[-1].weight.data[:, :16].repeat(1, 16)
    causes = {(f.cause, f.where) for f in diagnose(model, batch, functional.cross_entropy).findings}
    assert ("symmetric units", "0") in causes


def test_model_and_generator_stay_as_they_were() -> None:
    model, batch = _drawn(lambda: _cnn(True), (32, 1, 8, 8), 0)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    diagnose(model, batch, functional.cross_entropy, learning_rate=0.1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks for m in model.modules())


def test_too_few_examples_are_said_not_guessed() -> None:
    model, (x, y) = _drawn(lambda: _mlp(2), (64, 12), 0)
    found = diagnose(model, (x[:4], y[:4]), functional.cross_entropy)
    assert "4 examples" in found.not_judged["dead units"]
    assert found.is_healthy


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, x, y: diagnose(m, (x, y), functional.cross_entropy, learning_rate=-1), "must be positive"),
        (lambda m, x, y: diagnose(m, (x[:0], y[:0]), functional.cross_entropy), "must not be empty"),
        (lambda m, x, y: diagnose(m, (x * torch.nan, y), functional.cross_entropy), "must be finite"),
        (lambda m, x, y: diagnose(m, (x[:, :2], y), functional.cross_entropy), "must accept its input"),
        (lambda m, x, y: diagnose(nn.BatchNorm1d(12), (x, y), functional.cross_entropy), "needs a layer"),
        (lambda m, x, y: diagnose(nn.Flatten(), (x, y), functional.cross_entropy), "requires_grad"),
    ],
)
def test_bad_input_gets_one_clear_line(call, says) -> None:
    model, (x, y) = _drawn(lambda: _mlp(1), (64, 12), 0)
    with pytest.raises(InvalidInput, match=says) as caught:
        call(model, x, y)
    assert "\n" not in str(caught.value)


def test_tables_and_charts_are_valid() -> None:
    model, batch, _, _ = _plant("large weights", 0)
    found = diagnose(model, batch, functional.cross_entropy)
    assert list(found.table()["cause"]) == ["exploding gradient", "exploding signal"]
    assert list(found.layers["layer"]) == ["0", "2", "4", "6", "8", "10", "12"]
    found.plot().to_dict()


# What hooks see is not what comes later


class InPlace(nn.Module):
    """Three layers, with operations in forward that write over what a layer has returned, or the like that do not."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(12, 48), nn.Linear(48, 48), nn.Linear(48, CLASSES)
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, mean = (x.sub_(1), 1) if self.inplace else (x - 1, 1)
        x = self.first(x)
        x = torch.relu_(x) if self.inplace else torch.relu(x)
        y = self.second(x)
        if self.inplace:
            y *= 2
            y += mean
            functional.relu(y, inplace=True)
        else:
            y = torch.relu(y * 2 + mean)
        return self.third(y)


def _sequence(inplace: bool) -> nn.Sequential:
    first, second = nn.Linear(12, 48), nn.Linear(48, 48)
    middle = [nn.ReLU(inplace), second, nn.Hardtanh(-3, 3, inplace), nn.Dropout(0.2, inplace)]
    return nn.Sequential(first, *middle, nn.Linear(48, CLASSES))


def _convolutions(inplace: bool) -> nn.Sequential:
    layers = [
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(inplace),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(inplace),
    ]
    return nn.Sequential(nn.Unflatten(1, (1, 3, 4)), *layers, nn.Flatten(), nn.Linear(192, CLASSES))


@pytest.mark.parametrize("make", [InPlace, _sequence, _convolutions])
@pytest.mark.parametrize("ill", [False, True])
def test_work_in_place_changes_nothing_that_is_told(make, ill: bool) -> None:
    told = []
    for inplace in (False, True):
        model, batch = _drawn(lambda inplace=inplace: make(inplace), (64, 12), 0)
        layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        if ill:
            layers[1].bias.data[: len(layers[1].bias) * 3 // 4] = -50
        before = batch[0].clone()
        told.append(diagnose(model, batch, functional.cross_entropy))
        assert torch.equal(batch[0], before)
    plain, inplace = told
    assert plain.layers.equals(inplace.layers)
    assert [f.where for f in plain.findings] == [f.where for f in inplace.findings]
    assert bool(plain.findings) == ill


# What was looked at


class OwnLinear(nn.Module):
    """`x @ w + b`, as many write it; `weight` (in, out) as transformers.Conv1D has it."""

    def __init__(self, inputs: int, units: int, *, active: bool = False) -> None:
        super().__init__()
        self.w, self.b = (
            nn.Parameter(torch.randn(inputs, units) / inputs**0.5),
            nn.Parameter(torch.zeros(units)),
        )
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.w + self.b
        return torch.relu(y) if self.active else y


def _own(active: bool = False, width: int = 48) -> nn.Sequential:
    layers = [OwnLinear(12, 48, active=active), nn.ReLU(), OwnLinear(48, width, active=active), nn.ReLU()]
    return nn.Sequential(*layers, OwnLinear(width, CLASSES))


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("width", [48, 32])
def test_layers_of_the_users_own_are_judged_like_any_other(active: bool, width: int) -> None:
    cause = {"nothing": None, "constant": "symmetric units", "zero": "symmetric units", "dead": "dead units"}
    cause |= {"three quarters dead": "dead units", "large": "exploding gradient"}
    for illness, expected in cause.items():
        model, batch = _drawn(lambda: _own(active, width), (64, 12), 0)
        if illness in ("constant", "zero"):
            for p in model.parameters():
                nn.init.constant_(p, 0.1 if illness == "constant" else 0)
        if "dead" in illness:
            model[2].b.data[: width if illness == "dead" else width * 3 // 4] = -50
        if illness == "large":
            model[2].w.data *= 1e4
        found = diagnose(model, batch, functional.cross_entropy)
        assert found.unseen == ()
        first = found.findings[0] if found.findings else None
        assert (first and first.cause) == expected, (illness, found.findings)
        if "dead" in illness:
            assert first is not None
            assert first.where == "2"


class Partial(nn.Module):
    """Something of each kind that cannot be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(12))
        self.cut, self.norm, self.unused = nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Linear(100, 10)
        self.twice, self.head = nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.cut(x + self.place)).detach()
        return self.head(self.twice(self.twice(x)))


def test_what_was_not_looked_at_is_told_with_its_share_and_why() -> None:
    model, batch = _drawn(Partial, (64, 12), 0)
    found = diagnose(model, batch, functional.cross_entropy)
    total = sum(p.numel() for p in model.parameters())
    told = {part.name: (part.reason, round(part.share * total)) for part in found.unseen}
    assert told == {
        "place": ("which no layer owns", 12),
        "cut": ("no gradient of the loss reaches it", 208),
        "norm": ("scale and shift of a norm", 32),
        "unused": ("never called", 1010),
        "twice": ("called 2 times", 272),
    }
    assert found.share_seen == pytest.approx(68 / total)
    assert found.coverage()[0] == "Looked at 1 layer, with 4.2% of the parameters."
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["share_seen"] == found.share_seen
    assert [part["name"] for part in plain["unseen"]] == [part.name for part in found.unseen]


def test_shared_and_computed_weights_count_once_and_count() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.attention = nn.Embedding(30, 8), nn.MultiheadAttention(8, 2, batch_first=True)
            self.mix = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
            self.head = nn.Linear(8, 30, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.table(x)
            return self.head(self.mix(self.attention(x, x, x)[0])).mean(1)

    model, _ = _drawn(Tied, (1, 1), 0)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(30, (32, 6), generator=generator), torch.randint(30, (32,), generator=generator)
    found = diagnose(model, (x, y), functional.cross_entropy)
    assert found.unseen == ()
    assert list(found.layers["layer"]) == ["table", "attention", "mix", "head"]


def test_a_share_is_told_as_whole_only_where_it_is() -> None:
    assert [_percent(x) for x in (1.0, 0.99999, 0.5, 0.001, 1e-6)] == [
        "100%",
        "99.9%",
        "50%",
        "0.1%",
        "less than 0.1%",
    ]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_stacked_recurrent_units_that_start_alike_are_named_with_their_own_remedy(
    kind, bidirectional: bool
) -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = kind(5, 8, 2, batch_first=True, bidirectional=bidirectional)
            self.head = nn.Linear(8 * (1 + bidirectional), CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x)[0][:, -1])

    model, batch = _drawn(Stacked, (32, 7, 5), 0)
    assert diagnose(model, batch, functional.cross_entropy).is_healthy
    for p in model.body.parameters():
        nn.init.constant_(p, 0.05)
    found = diagnose(model, batch, functional.cross_entropy)
    assert [f.cause for f in found.findings] == ["symmetric units"]
    assert found.findings[0].value == 8 * (1 + bidirectional)  # the head tells the upper ones apart


def test_a_vanishing_gradient_of_recurrent_layers_has_their_remedy() -> None:
    model, batch = _drawn(lambda: nn.Sequential(nn.Linear(5, 5), Recurrent(nn.RNN)), (32, 7, 5), 0)
    model[1].body.weight_ih_l0.data *= 1e-5
    (found,) = diagnose(model, batch, functional.cross_entropy).findings
    assert found.cause == "vanishing gradient"
    assert "orthogonal" in found.fix
    assert "sigmoid" not in found.fix
