"""Laws of a run's random numbers: its start, its order of examples, its masks."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from mlplab.engine import Result, draws, train
from mlplab.engine.reference import train_one
from mlplab.engine.stacked import Batches
from mlplab.rng import Stream
from mlplab.spec import MLP, Activation, Initialization, Noise, Setting

from .cases import BY_NAME, CASES, dataset

RATES = [0, 1e-6, 0.001, 0.1, 0.25, 1 / 3, 0.5, 0.7, 0.9, 0.999]


# Pairing: runs of one seed see the same order and the same bits, whatever their setting


def _spied(monkeypatch, trainer, run, data) -> set[tuple]:
    """The names of the streams that a trainer drew from."""
    seen = set()

    class Spy(Stream):
        def __init__(self, seed, purpose, layer=0, step=0):
            seen.add((seed, purpose, layer, step))
            super().__init__(seed, purpose, layer, step)

    with monkeypatch.context() as patch:
        patch.setattr(draws, "Stream", Spy)
        trainer(run, data)
    return seen


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_trainers_draw_from_the_same_streams(monkeypatch, case):
    """The order is named by (seed, epoch), the noise by (seed, layer, update), the start by (seed, layer)."""
    run, data, setting = case.run(7), case.data(), case.setting
    updates = math.ceil(90 / (setting.training.batch_size or 90)) * setting.training.epochs
    expected = {(7, "order", 0, epoch) for epoch in range(setting.training.epochs)}
    expected |= {(7, "init", layer, 0) for layer in range(len(setting.model.hidden_sizes) + 1)}
    expected |= {
        (7, "noise", layer, step)
        for layer, noise in enumerate(setting.noises)
        for step in range(updates)
        if noise.rate
    }
    assert _spied(monkeypatch, train_one, run, data) == expected
    assert _spied(monkeypatch, lambda run, data: list(train([run], data)), run, data) == expected


def test_runs_of_one_seed_see_the_same_batches():
    """Whatever else differs; and another seed sees another order of the same examples."""
    names = ["dropout", "adam", "weight_decay", "two_hidden", "init_zeros"]
    data = dataset("classification")

    def batches(name, seed):
        run = BY_NAME[name].run(seed)
        found = list(Batches([run], {data.fingerprint: data}, torch.device("cpu")).epoch(1))
        return torch.cat([x[0] for x, _ in found]), torch.cat([y[0] for _, y in found])

    first_x, first_y = batches("act_relu", 5)
    for name in names:
        x, y = batches(name, 5)
        assert torch.equal(x, first_x)
        assert torch.equal(y, first_y)
    other_x, _ = batches("act_relu", 6)
    assert not torch.equal(other_x, first_x)
    assert torch.equal(other_x.sort(0).values, first_x.sort(0).values)


def test_an_epoch_visits_every_example_once_with_its_own_target():
    data = dataset("regression")
    run = BY_NAME["regression"].run(5)
    found = list(Batches([run, run], {data.fingerprint: data}, torch.device("cpu")).epoch(0))
    assert [x.shape[1] for x, _ in found] == [25, 25, 25, 15]
    rows = np.hstack([np.concatenate([pair[i][1].numpy() for pair in found]) for i in (0, 1)])
    expected = np.hstack([data.train.features, data.train.targets])
    assert not np.array_equal(rows, expected)
    assert np.array_equal(rows[rows[:, 0].argsort()], expected[expected[:, 0].argsort()])


def test_noise_bits_do_not_depend_on_the_batch_that_follows():
    """A smaller batch sees the beginning of what a larger one sees."""
    assert np.array_equal(draws.noise_bits(1, 0, 3, (8, 10)), draws.noise_bits(1, 0, 3, (20, 10))[:8])


# Masks


@pytest.mark.parametrize(("low", "high"), list(pairwise(RATES)))
def test_a_higher_rate_drops_a_superset(low, high):
    bits = draws.noise_bits(3, 1, 4, (200, 50))
    survives_low, survives_high = draws.dropout_mask(bits, low), draws.dropout_mask(bits, high)
    assert not (survives_high & ~survives_low).any()
    assert survives_low.sum() > survives_high.sum() or high - low < 1e-2


@pytest.mark.parametrize("rate", [r for r in RATES if r])
def test_dropout_keeps_the_expectation(rate):
    """The mean of mask * scale is 1 within 5 standard errors of 400,000 draws."""
    n = 400_000
    kept = draws.dropout_mask(draws.noise_bits(11, 0, 0, (n,)), rate)
    survival = 1 / draws.dropout_scale(rate)
    std_error = math.sqrt((1 - survival) / survival / n)
    assert abs(kept.double().mean().item() * draws.dropout_scale(rate) - 1) <= 5 * std_error


def test_dropout_scale_is_exact():
    """Over all 2^16 values of the bits: the probability to survive times the scale is 1, not about 1."""
    bits = np.arange(2**16).astype(np.uint16)
    for rate in [*RATES, 0.99999, 0.9999999]:
        assert draws.dropout_mask(bits, rate).double().mean().item() * draws.dropout_scale(rate) == 1


def test_rates_are_quantised_by_no_more_than_they_say():
    rates = np.linspace(0, 1 - 2**-17, 100_001)
    effective = np.array([draws.dropout_threshold(rate) for rate in rates]) / 2**16
    assert np.abs(effective - rates).max() <= 7.7e-6  # half of 2^-16
    assert draws.dropout_threshold(0) == 0
    assert draws.dropout_threshold(1 - 1e-12) == 2**16 - 1, "somebody always survives in the mean"


def test_masks_are_independent_between_updates_layers_and_seeds():
    """Correlations of 40,000 bits: 5 standard errors are 0.025."""
    names = [(1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)]
    masks = [
        draws.dropout_mask(draws.noise_bits(*name, (200, 200)), 0.5).flatten().double() for name in names
    ]
    off_diagonal = torch.corrcoef(torch.stack(masks)) - torch.eye(4)
    assert off_diagonal.abs().max() <= 0.025


# The start


def start(kind: str, *, fan_in=300, fan_out=200, seed=0, bias=True, **options):
    """Weight and bias of a single layer, float64."""
    setting = Setting(MLP((), initialization=Initialization(kind, **options), bias=bias))
    return draws.initial_parameters(setting, fan_in, fan_out, seed)[0]


def _truncated(mean, std, low, high):
    return stats.truncnorm((low - mean) / std, (high - mean) / std, loc=mean, scale=std)


# kind, options, the distribution of one weight for fan-in 300 and fan-out 200
DISTRIBUTIONS = [
    ("normal", {}, stats.norm(0, 0.01)),
    ("normal", {"mean": 0.5, "std": 2.0}, stats.norm(0.5, 2)),
    ("uniform", {}, stats.uniform(0, 1)),
    ("uniform", {"low": -0.3, "high": 0.1}, stats.uniform(-0.3, 0.4)),
    ("trunc_normal", {}, _truncated(0, 1, -2, 2)),
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
    setting = Setting(MLP((9, 9), initialization=kind))
    state = torch.random.get_rng_state()
    first = draws.initial_parameters(setting, 9, 9, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.rand(1)
        again = draws.initial_parameters(setting, 9, 9, seed=4)
    mixed = dataclasses.replace(setting.model, initialization=["ones", kind, "zeros"])
    beside = draws.initial_parameters(Setting(mixed), 9, 9, seed=4)
    assert all(
        torch.equal(a, b)
        for one, two in zip(first, again, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    assert torch.equal(first[1][0], beside[1][0])
    if kind not in ("constant", "zeros", "ones", "eye"):
        assert not torch.equal(first[0][0], first[1][0]), "layers differ"
        assert not torch.equal(first[0][0], draws.initial_parameters(setting, 9, 9, seed=5)[0][0]), (
            "seeds differ"
        )


def test_the_start_does_not_depend_on_the_rest_of_the_setting():
    """Arms that share seed and shape start at the same place."""
    base = Setting(MLP((7,), initialization="kaiming_normal"))
    other = Setting(MLP((7,), Activation("tanh"), "kaiming_normal", bias=False), noise=Noise("dropout"))
    pairs = zip(
        draws.initial_parameters(base, 5, 3, 1), draws.initial_parameters(other, 5, 3, 1), strict=True
    )
    assert all(torch.equal(a[0], b[0]) for a, b in pairs)


@pytest.mark.parametrize("kind", Initialization.KINDS)
def test_a_float32_run_starts_where_its_float64_twin_does(kind):
    """In both engines: at a rate of 1e-300 an update changes nothing, and the end is the start."""
    case = BY_NAME[f"init_{kind}"]
    setting = case.setting.replace(
        optimizer=dataclasses.replace(case.setting.optimizer, learning_rate=1e-300)
    )
    case, data = dataclasses.replace(case, setting=setting), case.data()
    expected = draws.initial_parameters(setting, data.in_features, data.out_features, seed=3)
    for precision, dtype in (("float64", np.float64), ("float32", np.float32)):
        run = case.run(precision=precision)
        (stacked,) = (r for r in train([run], data) if isinstance(r, Result))
        for result in (stacked, train_one(run, data)):
            for (weight, bias), (true_weight, true_bias) in zip(result.parameters, expected, strict=True):
                assert weight.dtype == bias.dtype == dtype
                # 1e-290: where a weight is 0, even steps of 1e-300 times the gradient leave a trace.
                assert np.abs(weight - true_weight.numpy().astype(dtype)).max() <= 1e-290
                assert np.abs(bias - true_bias.numpy().astype(dtype)).max() <= 1e-290
