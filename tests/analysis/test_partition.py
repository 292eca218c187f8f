"""Stages of a sequential model: the split against all splits, and the stages against the model."""

from __future__ import annotations

import json
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import nn

from mlplab.analysis.partition import balance, layers_of, partition
from mlplab.errors import InvalidInput, UnknownName


def largest(costs, boundaries):
    return max(sum(costs[a:b]) for a, b in pairwise(boundaries))


def test_no_other_split_has_a_smaller_largest_stage():
    draws = np.random.default_rng(0)
    for _ in range(300):
        costs = draws.integers(0, 20, draws.integers(1, 10)).tolist()
        for stages in range(1, len(costs) + 1):
            found = balance(costs, stages)
            assert len(found) == stages + 1
            assert found[0] == 0
            assert found[-1] == len(costs)
            assert all(a < b for a, b in pairwise(found))
            splits = ((0, *cuts, len(costs)) for cuts in combinations(range(1, len(costs)), stages - 1))
            assert largest(costs, found) == min(largest(costs, split) for split in splits)


@pytest.mark.parametrize("flatten", [False, True])
def test_stages_one_after_another_are_the_model(flatten):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True)), nn.BatchNorm1d(8), nn.Linear(8, 2)
    )
    x, before = torch.randn(5, 4), {k: v.clone() for k, v in model.state_dict().items()}
    result = partition(model, 2, x, by="memory", flatten=flatten, repeats=1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())  # running statistics too
    model.eval()
    assert torch.equal(result.stages[1](result.stages[0](x)), model(x))
    assert result.names == (("0.0", "0.1", "1", "2") if flatten else ("0", "1", "2"))


def test_memory_of_a_linear_layer_is_the_known_one():
    result = partition(
        nn.Sequential(nn.Linear(784, 256, bias=False), nn.Sigmoid()), 2, torch.ones(4, 784), by="memory"
    )
    assert [layer.parameters for layer in result.layers] == [784 * 256 * 4, 0]
    assert [sum(layer.saved.values()) for layer in result.layers] == [4 * 784 * 4, 4 * 256 * 4]
    # Parameters, gradients and Adam's two; the input, which the weight's gradient needs, and the output, to be sent.
    assert result.state == (4 * 784 * 256 * 4, 0)
    assert result.held == (4 * 784 * 4 + 4 * 256 * 4, 2 * 4 * 256 * 4)
    assert result.memory == (result.state[0] + result.held[0], result.held[1]) == result.costs
    json.dumps(result.to_dict())
    pytest.importorskip("altair")
    result.plot().to_dict()


def test_time_covers_forward_and_backward():
    result = partition(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)), 2, torch.ones(4, 8))
    times = [t for layer in result.layers for t in (layer.forward, layer.backward)]
    assert all(t > 0 for t in times)
    assert result.table()["cost"].sum() == pytest.approx(sum(times))
    line = result.timeline()
    assert line.duration == pytest.approx(sum(times))  # one micro-batch: stages follow one another


def saved_by(model, x):
    """Bytes that autograd keeps in one whole pass, each storage once: all are alive, so no address comes twice."""
    alive, known = {}, {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in known:
            alive[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = model(x)
    for tensor in (x, y):
        alive[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
    return sum(storage.nbytes() for storage in alive.values())


def lenet():
    """LeNet-5 (LeCun et al. 1998) with ReLU and batch norm in place of its squashing."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def encoder():
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(
        block, nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True), nn.Flatten()
    )


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh()), (4, 8)),
    "lenet": (lenet, (4, 1, 28, 28)),
    "encoder": (encoder, (4, 5, 8)),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
def test_a_stage_holds_what_autograd_keeps_of_a_real_pass_no_tensor_twice(make, shape):
    torch.manual_seed(0)
    model, x = make(), torch.randn(shape)
    for stages in (1, 2, 3):
        result = partition(model, stages, x, by="memory", num_microbatches=2, repeats=1)
        entry = x[:2].clone()
        for held, stage in zip(result.held, result.stages, strict=True):
            assert held == saved_by(stage, entry * 1)  # a copy: a stage may work in place on what arrives
            with torch.no_grad():
                entry = stage(entry.clone()).clone()
            entry.requires_grad_()  # every model here trains its first layer


def test_memory_is_balanced_for_the_microbatches_that_each_stage_has_in_flight():
    model = nn.Sequential(nn.Linear(100, 100, bias=False), *(nn.Tanh() for _ in range(11)))
    x = torch.randn(8000, 100)  # 400 kB a micro-batch and layer, beside 160 kB of state
    plans = {
        name: partition(model, 3, x, by="memory", num_microbatches=8, schedule=name, repeats=1)
        for name in ("gpipe", "1f1b")
    }
    assert plans["gpipe"].in_flight == (8, 8, 8)
    assert plans["1f1b"].in_flight == (3, 2, 1)
    sizes = {name: [b - a for a, b in pairwise(plan.boundaries)] for name, plan in plans.items()}
    assert max(sizes["gpipe"]) - min(sizes["gpipe"]) <= 1
    assert (
        sizes["1f1b"][0] < sizes["1f1b"][1] < sizes["1f1b"][2]
    )  # later stages hold fewer: they may be longer
    for plan in plans.values():
        line = plan.timeline()
        assert line.peak_microbatches == plan.in_flight
        held = [size - state for size, state in zip(plan.memory, plan.state, strict=True)]
        assert list(line.peak_bytes) == held

        # A Tanh keeps its output and a stage what comes in; the linear layer's output is only kept if it is sent.
        def fullest(cuts, plan=plan):
            lengths = [b - a for a, b in pairwise((0, *cuts, 12))]
            tensors = [max(lengths[0], 2), *(length + 1 for length in lengths[1:])]
            kept = [n * num * 400_000 for n, num in zip(plan.in_flight, tensors, strict=True)]
            return max(kept[0] + 160_000, *kept[1:])

        assert max(plan.memory) == min(fullest(cuts) for cuts in combinations(range(1, 12), 2))


def test_before_the_first_parameter_nothing_is_kept_for_a_backward():
    model = nn.Sequential(nn.Tanh(), nn.Tanh(), nn.Linear(10, 10), nn.Tanh())
    saved = [sum(layer.saved.values()) for layer in partition(model, 2, torch.ones(2, 10)).layers]
    assert saved == [0, 0, 80, 80]


def test_a_frozen_parameter_has_no_gradient_a_shared_one_counts_once_and_buffers_count():
    frozen, norm = nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3, affine=False)
    frozen.weight.requires_grad_(False)
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(frozen, norm, layer, layer)
    result = partition(model, 1, torch.randn(4, 3), by="memory", optimizer_states=1, repeats=1)
    assert result.state == (36 + (12 + 12 + 8) + 3 * 36,)


def test_a_slice_of_a_wide_tensor_arrives_as_a_small_one():
    class First(nn.Module):
        def forward(self, x):
            return x[:, :1]

    model = nn.Sequential(nn.Linear(100, 100), First(), nn.Tanh())
    result = partition(model, 3, torch.randn(2, 100), by="memory", repeats=1)
    assert result.sent == (800, 8)
    assert result.held == (1600, 800, 16)


def test_measuring_leaves_the_random_state_and_gradients():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
    state = torch.get_rng_state()
    partition(model, 2, torch.ones(2, 3), repeats=2)
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_a_forward_of_its_own_is_not_opened():
    class Doubled(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    assert len(layers_of(nn.Sequential(Doubled(nn.Linear(2, 2), nn.ReLU()), nn.ReLU()), flatten=True)) == 2
    with pytest.raises(InvalidInput, match=r"must be an nn\.Sequential"):
        layers_of(Doubled(nn.ReLU()))


def test_what_cannot_be_split_gets_one_line():
    x, model = torch.ones(2, 3), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied = nn.Sequential(model[0], model[0])
    for call, message in [
        (lambda: partition(tied, 2, x), "must not share a parameter"),
        (lambda: partition(model, 3, x), "num_stages must be a whole number from 1 to the 2 layers"),
        (
            lambda: partition(nn.Sequential(nn.LSTM(3, 3), nn.ReLU()), 2, x),
            "layer '0' must return one tensor",
        ),
        (lambda: partition(model, 2, torch.ones(2, 5)), "layer '0' must accept its input"),
        (lambda: partition(model, 2, x * float("nan")), "inputs must be a batch of finite"),
        (lambda: partition(model, 2, torch.ones(0, 3)), "inputs must be a batch of finite"),
        (lambda: partition(model, 2, [1.0]), "inputs must be a tensor"),
        (
            lambda: partition(model, 2, x, num_microbatches=3),
            "inputs must have a multiple of 3 examples; got 2",
        ),
        (lambda: partition(model, 2, x, num_microbatches=0), "num_microbatches must be a whole number"),
        (lambda: partition(model, 2, x, optimizer_states=-1), "optimizer_states must be a whole number"),
        (lambda: partition(model, 2, x, optimizer_states=True), "optimizer_states must be a whole number"),
        (lambda: partition(model, 2, x, repeats=0), "repeats must be a whole number"),
        (lambda: partition(model[0], 2, x), "model must be an nn.Sequential"),
        (lambda: balance([1, -1], 1), "costs must be"),
        (lambda: balance([], 1), "num_stages must be"),
    ]:
        with pytest.raises(InvalidInput, match=message) as found:
            call()
        assert "\n" not in str(found.value)
    with pytest.raises(UnknownName, match="'memory'"):
        partition(model, 2, x, by="memroy")
    with pytest.raises(UnknownName, match="Did you mean '1f1b'"):
        partition(model, 2, x, schedule="1f1")
