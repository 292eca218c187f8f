"""Predicted memory is measured memory, and nothing is allocated to predict it."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mlplab.analysis.allocator import peak_bytes
from mlplab.analysis.memory import memory
from mlplab.analysis.memory_budget import largest_batch
from mlplab.analysis.memory_savings import SEGMENTS, checkpoint_blocks, checkpoint_segments, savings
from mlplab.errors import InvalidInput, UnknownName

from .models import made

EXACT = ("mlp", "lenet", "residual", "encoder")


def saved_by_autograd(model: nn.Module, x: torch.Tensor) -> int:
    """The plain way: every storage that a hook sees, but those of parameters, buffers and the batch."""
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), x)}
    held: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.train()(x).mean()
    sizes = [tensor.untyped_storage().nbytes() for tensor in held.values()]
    assert output.requires_grad
    return sum(sizes)


@pytest.mark.parametrize("name", EXACT)
def test_predicted_saved_bytes_equal_those_that_autograd_saves(name: str):
    model, x = made(name)
    assert memory(model, x).training.total["saved"] == saved_by_autograd(model, x)


@pytest.mark.parametrize("optimizer", ["none", "adam"])
@pytest.mark.parametrize("name", EXACT)
def test_predicted_peak_is_within_5_percent_of_the_profilers(name: str, optimizer: str):
    model, x = made(name)
    found = memory(model, x, optimizer=optimizer, measure=True)
    assert found.measured is not None
    assert found.training.peak == pytest.approx(found.measured.peak, rel=0.05)
    assert found.training.total["saved"] == found.measured.saved


def test_a_measured_peak_is_not_the_prediction_told_twice(monkeypatch: pytest.MonkeyPatch):
    """Known-false control: without the convolution's own memory the prediction misses."""
    monkeypatch.setattr("mlplab.analysis.step.kernel_bytes", lambda *_: 0)
    model, x = made("lenet")
    found = memory(model, x, optimizer="none", measure=True)
    assert found.measured is not None
    assert found.training.peak != pytest.approx(found.measured.peak, rel=0.05)


def test_the_chapters_perceptron_term_by_term():
    model, x = made("mlp")
    found = memory(model, x, optimizer="adam")
    parameters = 4 * 203_530
    steps = 4 * 4  # Adam counts the steps of each parameter in a float32
    total = found.training.total
    assert total["parameter"] == total["gradient"] == parameters
    assert total["optimizer state"] == 2 * parameters + steps
    assert total["input"] == 4 * 256 * 784
    assert total["saved"] == 4 * 256 * 256  # the hidden layer alone: its ReLU needs only its result
    assert found.prediction.at_peak["temporary"] == 2 * 4 * 256 * 256  # hidden layer before and after ReLU
    assert "saved" not in found.prediction.at_peak


def test_flop_are_those_of_pytorchs_counter():
    model, x = made("mlp")
    found = memory(model, x, optimizer="none")
    assert found.prediction.flop == 104_071_168
    with FlopCounterMode(display=False) as counter:
        model(x).mean().backward()
    assert found.training.flop == counter.get_total_flops()
    assert sum(row.forward_flop for row in found.modules) == found.prediction.flop


def test_modules_share_out_what_the_step_holds():
    model, x = made("encoder")
    found = memory(model, x)
    for field, role in (
        ("parameters", "parameter"),
        ("gradients", "gradient"),
        ("optimizer_state", "optimizer state"),
        ("saved", "saved"),
    ):
        assert sum(getattr(row, field) for row in found.modules) == found.training.total[role]


def test_a_model_of_400_gigabytes_is_asked_about_without_memory():
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(65536, 65536) for _ in range(8)))
    tracemalloc.start()
    found = memory(model, torch.empty(4, 65536, device="meta"))
    assert found.training.peak > 4 * 8 * 65536**2 * 4
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_nothing_of_the_users_model_changes():
    model, x = made("residual")
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    memory(model, x, measure=True)
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_frozen_parameters_have_no_gradient_and_no_state():
    model, x = made("mlp")
    for p in model[0].parameters():
        p.requires_grad_(requires_grad=False)
    found = memory(model, x)
    assert found.training.total["gradient"] == 4 * 2570
    assert {row.name: row.gradients for row in found.modules}["0"] == 0


@pytest.mark.parametrize(
    "name", ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lenet", "encoder"))]
)
def test_the_largest_batch_fits_and_one_more_does_not(name: str):
    model, x = made(name)
    budget = 3 * memory(model, x).training.peak
    size = largest_batch(model, x, budget)

    def peak(count: int) -> int:
        return memory(model, torch.empty((count, *x.shape[1:]), dtype=x.dtype, device="meta")).training.peak

    assert peak(size) <= budget < peak(size + 1)


def test_no_batch_fits_a_budget_below_the_parameters():
    model, x = made("mlp")
    assert largest_batch(model, x, 1000) == 0


@pytest.mark.slow
def test_ways_to_save_compute_the_same_and_save_what_they_say():
    model, x = made("encoder")
    rows = savings(model, x).table().set_index("name").T
    plain = rows["plain step"]
    assert rows["accumulation, 2 micro-batches"]["flop"] == plain["flop"]
    assert rows["accumulation, 2 micro-batches"]["saved"] == pytest.approx(plain["saved"] / 2, rel=0.01)
    assert rows["checkpointing each block"]["saved"] < plain["saved"] / 2
    assert rows["checkpointing each block"]["flop"] > plain["flop"]
    assert rows["bfloat16 autocast"]["saved"] < plain["saved"]
    assert (rows.loc["peak"] <= plain["peak"]).all()


@pytest.mark.parametrize("name", ["mlp", "residual", pytest.param("encoder", marks=pytest.mark.slow)])
def test_an_accumulated_micro_batch_takes_what_is_predicted(name: str):
    """A later one: gradients are there, and are added to."""
    model, x = made(name)
    part = x[: len(x) // 2].clone()
    step = lambda: model(part).mean().backward()  # noqa: E731
    step()
    held = (*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters()), part)
    resident = sum(t.nbytes for t in held)
    measured = resident + peak_bytes(step, torch.device("cpu"))
    rows = {row.name: row for row in savings(model, x, optimizer="none").rows}
    assert rows["accumulation, 2 micro-batches"].peak == pytest.approx(measured, rel=0.05)


class InPlace(nn.Module):
    """As torchvision's networks are: features with ReLU(inplace=True) in a Sequential, then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


@pytest.mark.parametrize("wrapped", [False, True], ids=["nested", "sequential"])
def test_layers_that_work_in_place_can_be_checkpointed(wrapped: bool):
    model = InPlace()
    net = nn.Sequential(*model.features, nn.Flatten(), model.head) if wrapped else model
    x = torch.randn(4, 3, 8, 8)
    found = savings(net, x, optimizer="none")
    assert found.notes == ()
    rows = found.table().set_index("name")["saved"]
    assert rows[rows.index.str.startswith("checkpointing")].item() < rows["plain step"]
    # Segments compute the same gradient: what an in-place layer writes over is not read again.
    net.train()
    net(x).mean().backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    again = checkpoint_segments(net, 3) if wrapped else checkpoint_blocks(net)
    again(x).mean().backward()
    for p, grad in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, grad)


def measured_checkpointing(name: str, count: int) -> int:
    """The profiler's peak of a step in segments."""
    model, x = made(name)
    resident = sum(t.nbytes for t in (*model.parameters(), *model.buffers(), x))
    net = checkpoint_segments(model, count)
    return resident + peak_bytes(lambda: net(x).mean().backward(), torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "lenet"])
def test_checkpointing_as_predicted_is_the_best_of_what_is_run(name: str):
    model, x = made(name)
    rows = savings(model, x, optimizer="none").table()
    found = rows[rows["name"].str.startswith("checkpointing")]
    measured = min(measured_checkpointing(name, count) for count in range(2, min(len(model), SEGMENTS) + 1))
    assert len(found) == 1
    assert found["peak"].item() == pytest.approx(measured, rel=0.05)


def test_recurrent_layers_say_what_is_not_known():
    model, x = made("lstm")
    assert any("recurrent" in note.lower() for note in memory(model, x).notes)


def test_a_result_tells_itself():
    model, x = made("mlp")
    found = memory(model, x, measure=True)
    assert list(found.table()["part"])[-1] == "peak"
    assert found.table()["training"].iloc[:-1].sum() == found.training.peak
    json.dumps(found.to_dict(), allow_nan=False)
    json.dumps(savings(model, x).to_dict(), allow_nan=False)
    pytest.importorskip("altair")
    assert found.plot().to_dict()
    assert savings(model, x).plot().to_dict()


class DependsOnNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) if x.sum().item() > 0 else x


@pytest.mark.parametrize(
    ("model", "x", "says"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 4)), torch.zeros(2, 4), "layer '1' (Linear)"),
        (DependsOnNumbers(), torch.zeros(2, 4), "_local_scalar_dense"),
        (nn.Linear(4, 4), torch.zeros(0, 4), "must be a batch that is not empty"),
        (nn.ReLU(), torch.zeros(2, 4), "needs a parameter with requires_grad=True"),
        (nn.LazyLinear(4), torch.zeros(2, 4), "lazy"),
    ],
)
def test_bad_input_gets_one_line(model: nn.Module, x: torch.Tensor, says: str):
    with pytest.raises(InvalidInput) as caught:
        memory(model, x)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_optimizers_and_budgets_are_refused():
    model, x = made("mlp")
    with pytest.raises(UnknownName, match="'adam'"):
        memory(model, x, optimizer="adm")
    with pytest.raises(InvalidInput, match="budget"):
        largest_batch(model, x, 0)
    with pytest.raises(InvalidInput, match="meta device"), torch.device("meta"):
        memory(nn.Linear(2, 2), torch.zeros(1, 2), measure=True)
