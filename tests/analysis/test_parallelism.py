"""The same step in seven ways: what changes the gradient and what does not, and its variance against tr(Σ)/B."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mlplab.analysis.parallelism import compare_parallelism, gradient_errors, gradient_variance
from mlplab.errors import InvalidInput

CROSS_ENTROPY = nn.functional.cross_entropy
WAYS = ["gradient accumulation", "activation checkpointing", "data parallel", "pipeline"]


def network(*extra: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), *extra, nn.Tanh(), nn.Linear(8, 3)).double()


def problem(num: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(1)
    return torch.randn(num, 6, generator=stream).double(), torch.randint(3, (num,), generator=stream)


def errors(model, loss=CROSS_ENTROPY):
    x, y = problem(16)
    return gradient_errors(
        model, x, y, loss, boundaries=(0, 2, len(model)), num_workers=2, num_microbatches=4
    )


def test_no_strategy_changes_the_gradient():
    found = errors(network())
    assert list(found) == WAYS
    assert max(found.values()) < 1e-14


@pytest.mark.parametrize(
    "extra",
    [
        (nn.BatchNorm1d(8),),
        (nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.5)),
    ],  # two: one draws the same masks in parts
    ids=["batch norm", "dropout"],
)
def test_batch_norm_and_dropout_in_train_mode_are_exceptions_but_for_checkpointing(extra):
    found = errors(network(*extra))
    # The whole batch passes, and dropout's random state is kept: the recomputed pass is the first.
    assert found["activation checkpointing"] < 1e-14
    assert all(found[way] > 0.01 for way in WAYS if way != "activation checkpointing")
    assert max(errors(network(*extra).eval()).values()) < 1e-14


def test_a_summed_loss_is_divided_where_it_must_not_be():
    found = errors(network(), lambda a, b: CROSS_ENTROPY(a, b, reduction="sum"))
    assert found["gradient accumulation"] == pytest.approx(3 / 4)  # a quarter is left
    assert found["data parallel"] == pytest.approx(1 / 2)


def test_the_expected_variance_is_the_trace_over_the_batch_size():
    """One linear unit with squared error: gradient 2 (w x - t) x by hand."""
    x = torch.tensor([[1.0], [2.0], [-1.0], [0.5]], dtype=torch.float64)
    t = torch.tensor([[0.0], [1.0], [2.0], [0.0]], dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 0.5)
    by_hand = (2 * (0.5 * x - t) * x).flatten()
    found = gradient_variance(model, x, t, nn.functional.mse_loss, 2, num_batches=2000)
    assert found.expected == pytest.approx(float(by_hand.var(correction=0)) / 2, rel=1e-12)
    # A 99.99% interval: of many correct seeds hardly one would fail.
    low, high = (found.measured.estimate + side * 4 * found.measured.std_error for side in (-1, 1))
    assert low < found.expected < high


def test_measured_and_expected_variance_agree_and_fall_as_one_over_the_batch_size():
    model, (x, y) = network(), problem()
    found = {
        size: gradient_variance(model, x, y, CROSS_ENTROPY, size, num_batches=400) for size in (1, 4, 16)
    }
    for size, variance in found.items():
        assert variance.expected == pytest.approx(found[1].expected / size)
        assert abs(variance.measured.estimate - variance.expected) < 4 * variance.measured.std_error
        assert variance.measured.std_error < 0.1 * variance.expected
        assert variance.measured.num_replicates == 400


@pytest.mark.slow
def test_the_interval_covers_the_trace():
    """At least 88 of 100 intervals of 95% cover: the seeds are fixed, and squares are skewed, so not all of 95."""
    model, (x, y) = network(), problem(12)
    covered = 0
    for seed in range(100):
        found = gradient_variance(model, x, y, CROSS_ENTROPY, 4, num_batches=40, seed=seed)
        covered += found.measured.ci_low <= found.expected <= found.measured.ci_high
    assert covered >= 88


def test_equal_examples_have_no_variance():
    x, y = problem(1)
    found = gradient_variance(network(), x.repeat(5, 1), y.repeat(5), CROSS_ENTROPY, 2, num_batches=5)
    assert found.expected < 1e-28
    assert found.measured.estimate < 1e-28


@pytest.mark.parametrize("extra", [nn.BatchNorm1d(8), nn.Dropout(0.5)], ids=["batch norm", "dropout"])
def test_a_variance_of_examples_that_are_not_alone_is_refused(extra):
    model, (x, y) = network(extra), problem(8)
    state, before = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InvalidInput, match=r"must treat each example alone.*eval"):
        gradient_variance(model, x, y, CROSS_ENTROPY, 4)
    result = compare_parallelism(model, x, y, CROSS_ENTROPY, batch_size=8)
    assert "must treat each example alone" in result.note
    assert result.table()["variance"].isna().all()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_memory_and_communication_are_those_counted_by_hand():
    """Tanh layers 10 -> 10, 8 bytes a number; a Linear keeps its input, a Tanh its output, a stage both ends."""
    torch.manual_seed(0)
    model = nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(10, 10), nn.Tanh()))).double()
    x = torch.randn(32, 10).double()
    result = compare_parallelism(model, x, x, nn.functional.mse_loss, batch_size=16, num_batches=5)
    rows = result.table().set_index("name")
    parameters, one = 4 * 110 * 8, 10 * 8  # bytes; of one example's activation
    assert (rows["state_bytes"].iloc[:5] == 4 * parameters).all()
    assert (rows["state_bytes"].iloc[5:] == 2 * parameters).all()
    held = rows["activation_bytes"] / one
    assert held["one device"] == 5 * 16
    assert held["smaller batch"] == held["data parallel"] == 5 * 8
    assert held["gradient accumulation"] == 5 * 4
    assert held["activation checkpointing"] == (1 + 1 + 2) * 16  # two inputs, and one segment's two others
    assert held["pipeline, GPipe"] == 4 * 3 * 4
    assert held["pipeline, 1F1B"] == 2 * 3 * 4
    sent = rows["communication_bytes"]
    assert sent["data parallel"] == 2 * parameters
    assert sent["pipeline, GPipe"] == sent["pipeline, 1F1B"] == 2 * 16 * one
    assert (sent[["one device", "gradient accumulation", "activation checkpointing"]] == 0).all()
    assert rows["idle"]["pipeline, GPipe"] == pytest.approx(1 / 5)
    assert rows["recomputed"].tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_only_the_smaller_batch_has_another_variance():
    model, (x, y) = network(), problem()
    result = compare_parallelism(model, x, y, CROSS_ENTROPY, batch_size=16, num_batches=20)
    rows = result.table().set_index("name")
    assert result.note == ""
    others = rows["expected_variance"].drop("smaller batch")
    assert others.nunique() == 1
    assert rows["expected_variance"]["smaller batch"] == pytest.approx(2 * others.iloc[0])
    assert rows["gradient_error"].drop(["one device", "smaller batch"]).max() < 1e-14
    assert json.loads(json.dumps(result.to_dict()))["batch_size"] == 16
    pytest.importorskip("altair")
    result.plot().to_dict()


def test_models_of_other_kinds():
    torch.manual_seed(0)
    convolutional = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )
    encoder = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(40, 3)
    )
    for model, shape in [(convolutional, (8, 1, 8, 8)), (encoder.eval(), (8, 5, 8))]:
        y = torch.arange(8) % 3
        result = compare_parallelism(model, torch.randn(shape), y, CROSS_ENTROPY, batch_size=8, num_batches=5)
        assert result.table()["gradient_error"].max() < 1e-5
        assert result.note == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"batch_size": 64}, "batch_size must be at most the 48 examples"),
        ({"batch_size": 10, "num_devices": 2}, "inputs must have a multiple of 4 examples; got 10"),
        ({"batch_size": 16, "num_devices": 3}, "inputs must have a multiple of 3 examples; got 16"),
        ({"num_devices": 9}, "num_stages must be a whole number from 1 to the 3 layers"),
        ({"optimizer_states": -1}, "optimizer_states must be"),
        ({"loss": lambda a, b: a}, "loss must return one finite number"),
        ({"targets": torch.zeros(3)}, "targets must be as many as the 48 inputs"),
        ({"model": nn.Sequential(nn.LSTM(6, 3), nn.Tanh()).double()}, "layer '0' must return one tensor"),
        ({"model": nn.Sequential(nn.Tanh())}, "model must have a parameter that requires a gradient"),
    ],
)
def test_what_cannot_be_compared_gets_one_line(change, message):
    x, y = problem()
    given = {"model": network(), "inputs": x, "targets": y, "loss": CROSS_ENTROPY, "batch_size": 16} | change
    with pytest.raises(InvalidInput, match=message) as found:
        compare_parallelism(**given)
    assert "\n" not in str(found.value)
