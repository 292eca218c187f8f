"""Laws of a run's random numbers: its start, its order of examples, its masks."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from mlplab.engine import Result, draws, train
from mlplab.engine.activations import activation_function
from mlplab.engine.batches import Batches
from mlplab.engine.reference import train_one
from mlplab.rng import Stream, words
from mlplab.spec import MLP, Activation, Initialization, Noise, Setting, Start

from .cases import BY_NAME, dataset
from .test_stacked import structural_cases_at_once

# Pairing: runs of one seed see the same order and the same bits, whatever their setting


def _spied(monkeypatch, trainer, run, data) -> set[tuple]:
    """The names of the streams that a trainer drew from."""
    seen = set()

    class Spy(Stream):
        def __init__(self, seed, purpose, layer=0, step=0):
            seen.add((seed, purpose, layer, step))
            super().__init__(seed, purpose, layer, step)

    def spied_words(seeds, purpose, layer, step, n):
        seen.update((seed, purpose, layer, step) for seed in seeds)
        return words(seeds, purpose, layer, step, n)

    with monkeypatch.context() as patch:
        patch.setattr(draws, "Stream", Spy)
        patch.setattr(draws, "words", spied_words)
        trainer(run, data)
    return seen


@structural_cases_at_once
def test_both_trainers_draw_from_the_same_streams(monkeypatch, case):
    """The order is named by (seed, epoch), the noise by (seed, layer, update), the start by (seed, layer)."""
    run, data, setting = case.run(7), case.data(), case.setting
    updates = math.ceil(90 / (setting.training.batch_size or 90))
    epochs = range(setting.training.epochs)
    if setting.training.patience:
        epochs = range(len(train_one(run, data).curves["running_loss"]))
    expected = {(7, "order", 0, epoch) for epoch in epochs}
    if setting.model.start is None:
        expected |= {(7, "init", layer, 0) for layer in range(len(setting.model.hidden_sizes) + 1)}
    noisy = [layer for layer, noise in enumerate(setting.noises) if noise.kind != "none"]
    expected |= {(7, "noise", layer, step) for layer in noisy for step in range(updates * len(epochs))}
    if (
        "train_mode" in setting.training.probes
    ):  # it comes after an epoch: the stream of the update that would follow
        every = setting.training.evaluate_every
        evaluated = [epoch + 1 for epoch in epochs if (epoch + 1) % every == 0 or epoch + 1 == len(epochs)]
        expected |= {(7, "noise", layer, updates * epoch) for layer in noisy for epoch in evaluated}
    assert _spied(monkeypatch, train_one, run, data) == expected
    assert _spied(monkeypatch, lambda run, data: list(train([run], data)), run, data) == expected


def _epoch(run, data, epoch) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and targets of an epoch, one batch after the other."""
    found = Batches([run], {data.fingerprint: data}, torch.float32, torch.device("cpu")).epoch(epoch)
    pairs = [(batch.x[0].clone(), batch.y[0].clone()) for block in found for batch in block.batches]
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def test_runs_of_one_seed_see_the_same_batches():
    """Whatever else differs; and another seed sees another order of the same examples."""
    names = ["dropout", "adam", "weight_decay", "two_hidden", "init_zeros"]
    data = dataset("classification")
    first_x, first_y = _epoch(BY_NAME["act_relu"].run(5), data, 1)
    for name in names:
        x, y = _epoch(BY_NAME[name].run(5), data, 1)
        assert torch.equal(x, first_x)
        assert torch.equal(y, first_y)
    other_x, _ = _epoch(BY_NAME["act_relu"].run(6), data, 1)
    assert not torch.equal(other_x, first_x)
    assert torch.equal(other_x.sort(0).values, first_x.sort(0).values)


def test_an_epoch_visits_every_example_once_with_its_own_target():
    data = dataset("regression")
    rows = np.hstack([array.numpy() for array in _epoch(BY_NAME["regression"].run(5), data, 0)])
    expected = np.hstack([data.train.features, data.train.targets])
    assert not np.array_equal(rows, expected)
    assert np.array_equal(rows[rows[:, 0].argsort()], expected[expected[:, 0].argsort()])


@pytest.mark.parametrize("kind", ["bits", "normals"])
def test_noise_does_not_depend_on_the_batch_that_follows(kind):
    """A smaller batch sees the beginning of what a larger one sees."""
    small, large = (draws.noise_draws(kind, 1, 0, 3, (batch, 7)) for batch in (9, 20))
    # Normals: a vector of eight and a single number may be rounded differently.
    assert (small.double() - large[:9].double()).abs().max() <= (0 if kind == "bits" else 1e-14)


def test_noise_has_the_shape_that_is_asked_for():
    for kind, dtype in (("bits", torch.int16), ("normals", torch.float64)):
        drawn = draws.noise_draws(kind, 1, 0, 3, (5, 7))
        assert (drawn.shape, drawn.dtype) == ((5, 7), dtype)
    assert torch.equal(draws.noise_draws("bits", 1, 2, 3, (5, 7)), draws.noise_bits(1, 2, 3, (5, 7)))
    assert torch.equal(draws.noise_draws("normals", 1, 2, 3, (5, 7)), draws.noise_normals(1, 2, 3, (5, 7)))


# The start


def start(kind: str, *, fan_in=300, fan_out=200, seed=0, bias=True, **options):
    """Weight and bias of a single layer, float64."""
    setting = Setting(MLP((), initialization=Initialization(kind, **options), bias=bias))
    return draws.initial_parameters(setting, fan_in, fan_out, seed, _features(fan_in))[0]


def _features(in_features: int, num_examples: int = 1500) -> np.ndarray:
    return Stream(9, "data").normal((num_examples, in_features)).astype(np.float32)


def _truncated(mean, std, low, high):
    return stats.truncnorm((low - mean) / std, (high - mean) / std, loc=mean, scale=std)


# kind, options, the distribution of one weight for fan-in 300 and fan-out 200
DISTRIBUTIONS = [
    ("normal", {}, stats.norm(0, 0.01)),
    ("normal", {"mean": 0.5, "std": 2.0}, stats.norm(0.5, 2)),
    ("uniform", {}, stats.uniform(0, 1)),
    ("uniform", {"low": -0.3, "high": 0.1}, stats.uniform(-0.3, 0.4)),
    ("trunc_normal", {}, _truncated(0, 1, -2, 2)),
    ("trunc_normal", {"std": 0.1, "low": 0.35, "high": 0.5}, _truncated(0, 0.1, 0.35, 0.5)),
    ("trunc_normal", {"mean": 0.2, "std": 0.5, "low": -0.6, "high": 0.9}, _truncated(0.2, 0.5, -0.6, 0.9)),
    ("xavier_uniform", {}, stats.uniform(-math.sqrt(6 / 500), 2 * math.sqrt(6 / 500))),
    ("xavier_normal", {"gain": 1.5}, stats.norm(0, 1.5 * math.sqrt(2 / 500))),
    ("kaiming_uniform", {}, stats.uniform(-math.sqrt(6 / 300), 2 * math.sqrt(6 / 300))),
    ("kaiming_normal", {}, stats.norm(0, math.sqrt(2 / 300))),
    ("kaiming_normal", {"gain": 0.5}, stats.norm(0, 0.5 * math.sqrt(2 / 300))),
    ("linear", {}, stats.uniform(-1 / math.sqrt(300), 2 / math.sqrt(300))),
]


@pytest.mark.parametrize(("kind", "options", "theory"), DISTRIBUTIONS, ids=lambda value: str(value)[:20])
def test_weights_have_the_distribution_that_their_name_says(kind, options, theory):
    """60,000 weights: moments within 5 standard errors; Kolmogorov-Smirnov with a fixed seed."""
    weight = start(kind, **options)[0].numpy().ravel()
    n = weight.size
    assert abs(weight.mean() - theory.mean()) <= 5 * theory.std() / math.sqrt(n)
    kurtosis = float(theory.stats("k")) + 3
    assert abs(weight.var() / theory.var() - 1) <= 5 * math.sqrt((kurtosis - 1) / n)
    assert stats.kstest(weight, theory.cdf).pvalue > 1e-3


# kind, options of ours; the function of `torch.nn.init` and its options
TWINS = [
    ("normal", {"mean": 0.5, "std": 2.0}, nn.init.normal_, {"mean": 0.5, "std": 2.0}),
    ("uniform", {"low": -0.3, "high": 0.1}, nn.init.uniform_, {"a": -0.3, "b": 0.1}),
    ("trunc_normal", {"mean": 0.2, "std": 0.5, "low": -0.6, "high": 0.9}, nn.init.trunc_normal_,
     {"mean": 0.2, "std": 0.5, "a": -0.6, "b": 0.9}),
    ("xavier_uniform", {"gain": 1.5}, nn.init.xavier_uniform_, {"gain": 1.5}),
    ("xavier_normal", {}, nn.init.xavier_normal_, {}),
    ("kaiming_uniform", {}, nn.init.kaiming_uniform_, {"nonlinearity": "relu"}),
    ("kaiming_normal", {}, nn.init.kaiming_normal_, {"nonlinearity": "relu"}),
    ("orthogonal", {"gain": 2.0}, nn.init.orthogonal_, {"gain": 2.0}),
    ("sparse", {"sparsity": 0.3, "std": 0.5}, nn.init.sparse_, {"sparsity": 0.3, "std": 0.5}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "function", "theirs"), TWINS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
def test_weights_are_distributed_as_those_of_torch(kind, options, function, theirs, shape):
    """Standard deviation and Kolmogorov-Smirnov of 5,400 weights each, with fixed seeds."""
    mine = start(kind, fan_out=shape[0], fan_in=shape[1], **options)[0].flatten().numpy()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = function(torch.empty(shape, dtype=torch.float64), **theirs).flatten().numpy()
    assert mine.std() == pytest.approx(other.std(), rel=0.05)
    assert stats.ks_2samp(mine, other).pvalue > 1e-3


@pytest.mark.parametrize(("low", "high"), [(5.0, 6.0), (-6.0, -5.0), (30.0, 31.0), (-41.0, -40.0)])
def test_a_normal_truncated_to_its_tail_stays_inside_and_is_no_point(low, high):
    """There the density falls like exp(-a·x): the mean is 1/a above the end, to a share of about 2/a²."""
    weight = start("trunc_normal", low=low, high=high, std=1.0)[0]
    assert (weight >= low).all()
    assert (weight <= high).all()
    near = min(abs(low), abs(high))
    assert (weight.abs() - near).mean().item() == pytest.approx(1 / near, rel=0.1)


def test_a_truncated_normal_without_spread_is_its_mean_inside_the_interval():
    assert (start("trunc_normal", mean=0.3, std=0.0)[0] == 0.3).all()
    assert (start("trunc_normal", mean=5.0, std=0.0)[0] == 2).all()


def test_weights_that_are_not_drawn():
    assert (start("zeros")[0] == 0).all()
    assert (start("ones")[0] == 1).all()
    assert (start("constant", value=-0.3)[0] == -0.3).all()
    assert torch.equal(start("eye", fan_in=5, fan_out=3)[0], torch.eye(3, 5, dtype=torch.float64))


@pytest.mark.parametrize(("fan_in", "fan_out"), [(20, 12), (12, 20), (15, 15)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(fan_in, fan_out):
    weight = start("orthogonal", fan_in=fan_in, fan_out=fan_out, gain=2.0)[0] / 2
    small = weight @ weight.T if fan_out <= fan_in else weight.T @ weight
    assert torch.allclose(small, torch.eye(len(small), dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(("fan_in", "fan_out"), [(3, 2), (2, 3), (3, 3)])
def test_orthogonal_weights_favour_no_direction(fan_in, fan_out):
    """Every entry is as often positive: over 400 seeds within 5 standard errors. QR alone would fix the signs."""
    weights = torch.stack(
        [start("orthogonal", fan_in=fan_in, fan_out=fan_out, seed=seed)[0] for seed in range(400)]
    )
    assert (weights.sign().mean(0)).abs().max() <= 5 / math.sqrt(400)


def test_sparse_weights_have_their_zeros_in_every_column():
    """As in `torch.nn.init.sparse_`: of each column a share of the rows, rounded up; the rest is normal."""
    weight = start("sparse", sparsity=0.25, std=0.5, fan_in=300, fan_out=201)[0]
    zeros = weight == 0
    assert (zeros.sum(0) == 51).all()
    expected = 300 * 51 / 201
    # Rows are chosen evenly: 5 standard deviations of a binomial count.
    assert (zeros.sum(1) - expected).abs().max() <= 5 * math.sqrt(expected * (1 - 51 / 201))
    assert stats.kstest(weight[~zeros].numpy(), stats.norm(0, 0.5).cdf).pvalue > 1e-3


def test_linear_starts_like_torch_linear():
    """Weights and biases, against PyTorch's own: two-sample Kolmogorov-Smirnov with fixed seeds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = [nn.Linear(40, 50) for _ in range(40)]
    ours = [start("linear", fan_in=40, fan_out=50, seed=seed) for seed in range(40)]
    for i, name in enumerate(("weight", "bias")):
        mine = torch.cat([layer[i].flatten() for layer in ours]).numpy()
        other = torch.cat([getattr(layer, name).detach().flatten() for layer in theirs]).numpy()
        assert stats.ks_2samp(mine, other).pvalue > 1e-3
        assert np.abs(mine).max() <= 1 / math.sqrt(40)


@pytest.mark.parametrize("kind", Initialization.KINDS)
def test_biases_start_at_zero_but_for_linear(kind):
    """And where the model has no biases, there is nothing that acts like one."""
    assert bool(start(kind, fan_in=20, fan_out=10)[1].any()) == (kind == "linear")
    assert not start(kind, fan_in=20, fan_out=10, bias=False)[1].any()


@pytest.mark.parametrize("kind", Initialization.KINDS)
def test_the_start_depends_on_seed_and_layer_alone(kind):
    """Not on the global generator, which it leaves where it was, nor on the other layers."""
    setting, features = Setting(MLP((9, 9), initialization=kind)), _features(9)
    state = torch.random.get_rng_state()
    first = draws.initial_parameters(setting, 9, 9, 4, features)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.rand(1)
        again = draws.initial_parameters(setting, 9, 9, 4, features)
    mixed = dataclasses.replace(setting.model, initialization=["ones", kind, "zeros"])
    beside = draws.initial_parameters(Setting(mixed), 9, 9, 4, features)
    assert all(
        torch.equal(a, b)
        for one, two in zip(first, again, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    if kind != "lsuv":  # which looks at what the layers before it make of the data
        assert torch.equal(first[1][0], beside[1][0])
    if kind not in ("constant", "zeros", "ones", "eye"):
        assert not torch.equal(first[0][0], first[1][0]), "layers differ"
        others = [
            draws.initial_parameters(setting, 9, 9, seed, features)[0][0]
            for seed in (5, 4 + 2**32, 4 + 2**62)
        ]
        assert all(not torch.equal(first[0][0], other) for other in others), "seeds differ, in all their bits"


def test_the_start_does_not_depend_on_the_rest_of_the_setting():
    """Arms that share seed and shape start at the same place."""
    base = Setting(MLP((7,), initialization="kaiming_normal"))
    other = Setting(MLP((7,), Activation("tanh"), "kaiming_normal", bias=False), noise=Noise("dropout"))
    pairs = zip(
        draws.initial_parameters(base, 5, 3, 1), draws.initial_parameters(other, 5, 3, 1), strict=True
    )
    assert all(torch.equal(a[0], b[0]) for a, b in pairs)


# LSUV


def _outputs(model: MLP, parameters, x: torch.Tensor) -> list[torch.Tensor]:
    """What each layer computes before normalisation and activation, batch moments and no noise."""
    found = []
    for layer, (weight, bias) in enumerate(parameters):
        found.append(x @ weight.T + bias)
        if layer < len(model.hidden_sizes):
            z = found[-1]
            if model.normalizations[layer].kind == "batch":
                z = nn.functional.batch_norm(
                    z, None, None, training=True, eps=model.normalizations[layer]["epsilon"]
                )
            activation = model.activations[layer]
            slope = [torch.tensor(activation["init"])] if activation.kind == "prelu" else []
            x = activation_function(activation)(z, *slope)
    return found


MODELS = [
    MLP((), initialization="lsuv"),
    MLP((20, 15, 12), initialization=Initialization("lsuv", std=0.6)),
    MLP(
        (20, 15),
        activation=("prelu", "tanh"),
        initialization=("lsuv", "linear", Initialization("lsuv", std=2.0)),
    ),
    MLP((20, 15), normalization=("batch", "none"), initialization=("kaiming_normal", "lsuv", "lsuv")),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_lsuv_gives_each_layers_outputs_the_standard_deviation_asked_for(model):
    """Over the first 1,000 examples of the first epoch, in float64, exactly; other layers are as without it."""
    features = _features(10)
    parameters = draws.initial_parameters(Setting(model), 10, 4, 6, features)
    seen = torch.from_numpy(features)[draws.epoch_order(6, 0, len(features))[:1000]].double()
    for layer, (how, z) in enumerate(
        zip(model.initializations, _outputs(model, parameters, seen), strict=True)
    ):
        weight, bias = parameters[layer]
        if how.kind == "lsuv":
            assert z.std(correction=0).item() == pytest.approx(how["std"], rel=1e-12)
            assert not bias.any()
            small = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
            size = small.diagonal().mean()
            assert torch.allclose(small / size, torch.eye(len(small), dtype=torch.float64), atol=1e-12)
        else:
            plain = dataclasses.replace(model, initialization=how)
            assert torch.equal(weight, draws.initial_parameters(Setting(plain), 10, 4, 6)[layer][0])


def test_lsuv_takes_what_there_is_of_a_small_part_and_leaves_dead_outputs_alone():
    setting = Setting(MLP((5,), initialization="lsuv"))
    few = _features(10, 30)
    assert len(draws.initial_parameters(setting, 10, 4, 6, few)) == 2
    orthogonal = draws.initial_parameters(Setting(MLP((5,), initialization="orthogonal")), 10, 4, 6)
    for dead in (np.zeros_like(few), np.full_like(few, np.inf)):
        for (weight, _), (expected, _) in zip(
            draws.initial_parameters(setting, 10, 4, 6, dead), orthogonal, strict=True
        ):
            assert torch.equal(weight, expected)


def test_only_lsuv_needs_the_features():
    assert draws.needs_features(MLP((5,), initialization=("linear", "lsuv")))
    for kind in set(Initialization.KINDS) - {"lsuv"}:
        assert not draws.needs_features(MLP((5,), initialization=kind))
    assert not draws.needs_features(
        MLP((5,), start=Start([(np.ones((5, 3)), None), (np.ones((2, 5)), None)]))
    )


# Weights of one's own


def test_a_start_is_where_the_run_starts_whatever_the_seed():
    layers = [(Stream(1, "data").normal((5, 3)), np.arange(5.0)), (Stream(2, "data").normal((2, 5)), None)]
    setting = Setting(MLP((5,), start=Start(layers)))
    for seed in (0, 1):
        found = draws.initial_parameters(setting, 3, 2, seed)
        for (weight, bias), (own_weight, own_bias) in zip(found, layers, strict=True):
            assert np.array_equal(weight.numpy(), own_weight)
            assert np.array_equal(bias.numpy(), np.zeros(len(bias)) if own_bias is None else own_bias)
        found[0][0].zero_()  # a copy: training must not change the spec


@pytest.mark.parametrize("kind", Initialization.KINDS)
def test_a_float32_run_starts_where_its_float64_twin_does(kind):
    """In both engines: at a rate of 1e-300 an update changes nothing, and the end is the start."""
    case = BY_NAME[f"init_{kind}"]
    setting = case.setting.replace(
        optimizer=dataclasses.replace(case.setting.optimizer, learning_rate=1e-300)
    )
    case, data = dataclasses.replace(case, setting=setting), case.data()
    sizes = data.in_features, data.out_features
    expected = draws.initial_parameters(setting, *sizes, 3, data.train.features)
    for precision, dtype in (("float64", np.float64), ("float32", np.float32)):
        run = case.run(precision=precision)
        (stacked,) = (r for r in train([run], data) if isinstance(r, Result))
        for result in (stacked, train_one(run, data)):
            for (weight, bias), (true_weight, true_bias) in zip(result.parameters, expected, strict=True):
                assert weight.dtype == bias.dtype == dtype
                # 1e-290: where a weight is 0, even steps of 1e-300 times the gradient leave a trace.
                assert np.abs(weight - true_weight.numpy().astype(dtype)).max() <= 1e-290
                assert np.abs(bias - true_bias.numpy().astype(dtype)).max() <= 1e-290


# Many seeds at once


@pytest.mark.parametrize("seeds", [[0], [3, 2**62 + 5, 3, 12345678901]])
def test_drawn_for_many_seeds_at_once_is_what_each_draws_alone(seeds):
    orders = draws.epoch_orders(seeds, 4, 33)
    assert torch.equal(orders, torch.stack([draws.epoch_order(seed, 4, 33) for seed in seeds]))
    for kind in ("bits", "normals"):
        together = draws.noise_of_seeds(kind, seeds, 1, 5, (7, 9))
        assert torch.equal(together, torch.stack([draws.noise_draws(kind, s, 1, 5, (7, 9)) for s in seeds]))
