"""What is said never to become different stays equal in real training, and nothing else does."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mlplab.analysis import symmetry as module
from mlplab.analysis.symmetry import symmetry
from mlplab.analysis.symmetry_flow import Flow
from mlplab.analysis.symmetry_trace import arguments, traced
from mlplab.errors import InvalidInput

from .models import made


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.back = nn.Linear(5, 6), nn.Linear(6, 7), nn.Linear(7, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.head(h + self.back(torch.relu(self.inner(h))))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(5, 4), nn.Linear(5, 3), nn.Linear(7, 2)

    def forward(self, x):
        return self.head(torch.cat([torch.relu(self.left(x)), torch.tanh(self.right(x))], dim=1))


class Recurrent(nn.Module):
    def __init__(self, kind) -> None:
        super().__init__()
        self.cells, self.head = kind(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(3, 8)
        self.attend = nn.MultiheadAttention(8, 4, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        h = torch.tanh(self.enter(x))
        return self.head(self.attend(h, h, h, need_weights=False)[0].mean(1))


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.Tanh(),
        nn.Flatten(), nn.Linear(20, 2),
    )  # fmt: skip


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))


KINDS = {
    "MLP": (mlp, (8, 5)),
    "CNN with batch norm": (cnn, (8, 1, 10, 10)),
    "LSTM": (lambda: Recurrent(nn.LSTM), (8, 4, 3)),
    "GRU": (lambda: Recurrent(nn.GRU), (8, 4, 3)),
    "RNN": (lambda: Recurrent(nn.RNN), (8, 4, 3)),
    "attention": (Attention, (8, 4, 3)),
    "residual": (Residual, (8, 5)),
    "branches": (Branches, (8, 5)),
}
STARTS = ("constant", "zero", "twins", "random")


def started(name: str, start: str) -> tuple[nn.Module, torch.Tensor]:
    factory, shape = KINDS[name]
    torch.manual_seed(0)
    model = factory().double()
    if start in ("constant", "zero"):
        for p in model.parameters():
            nn.init.constant_(p, 0.3 if start == "constant" else 0.0)
    if start == "twins":
        flow = Flow(traced(model, torch.zeros(shape)))
        flow.follow(arguments(torch.zeros(shape)))
        own = dict(model.named_parameters())
        for space in {s.root() for s in flow.spaces if not s.root().outside}:
            for piece in [p for p in flow.pieces if p.axes_of(space)]:
                # The pieces are views of a copy; the copy's parameters go back into the model.
                for axis in piece.axes_of(space):
                    index = [slice(None)] * piece.view.ndim
                    index[axis] = 1
                    source = [slice(None)] * piece.view.ndim
                    source[axis] = 0
                    piece.view.data[tuple(index)] = piece.view.data[tuple(source)]
        for key, p in flow.graph_module.named_parameters():
            own[flow.shown(key)].data.copy_(p.data)
    return model, torch.randn(shape, dtype=torch.float64)


def trained(model: nn.Module, x: torch.Tensor, kind: str) -> None:
    """Thirty steps of plain gradient descent or Adam on random targets."""
    make = {"sgd": lambda p: torch.optim.SGD(p, 0.1, 0.9), "adam": lambda p: torch.optim.Adam(p, 0.01)}[kind]
    optimizer = make(model.parameters())
    y = torch.randint(2, (len(x),), generator=torch.Generator().manual_seed(1))
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def pieces_of(model: nn.Module, x: torch.Tensor):
    flow = Flow(traced(model, x))
    flow.follow(arguments(x))
    return flow


def largest_gap(flow, space, classes) -> float:
    """How far units of one class are apart, at most, in weights to which no order of other units matters."""
    gap = 0.0
    for units in classes:
        for piece in flow.pieces:
            axes = piece.axes_of(space)
            if len(axes) != 1:
                continue
            rows = piece.view.detach().movedim(axes[0], 0).reshape(space.count, -1)
            gap = max(gap, float((rows[list(units)] - rows[units[0]]).abs().max()))
    return gap


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", KINDS)
def test_units_that_can_never_part_do_not_and_all_others_do(name: str, start: str, optimizer: str):
    model, x = started(name, start)
    found = symmetry(model, x)
    trained(model, x, optimizer)
    flow = pieces_of(model, x)
    spaces = {space.root().name: space.root() for space in flow.spaces}
    for group in found.groups:
        space = spaces[group.name]
        # float64: sums in another order differ by 1e-16, and training may double that each step.
        assert largest_gap(flow, space, group.classes) < 1e-6, group.name
        if start == "random":
            assert group.classes == ()
        if start == "twins":
            # The known-false side: two units of different classes have parted.
            firsts = [0, *range(2, group.num_units)]
            assert (0, 1) in group.classes
            assert largest_gap(flow, space, [tuple(firsts[:2])]) > 1e-6


@pytest.mark.parametrize("name", ["lenet", "encoder", "lstm", "residual"])
def test_models_as_pytorch_starts_them_have_nothing_stuck(name: str):
    model, x = made(name)
    found = symmetry(model, x[:2])
    assert found.stuck == ()


@pytest.mark.parametrize("name", KINDS)
def test_constant_weights_leave_one_unit_of_each_layer(name: str):
    model, x = started(name, "constant")
    found = symmetry(model, x)
    assert found.groups
    assert found.stuck == found.groups
    assert all(group.num_different == 1 for group in found.groups)


def test_permutations_leave_the_outputs_and_their_errors_are_rounding():
    """TOLERANCE lies between what rounding does and what a wrong exchange does."""
    errors = [group.error for name in KINDS for group in symmetry(*started(name, "random")).groups]
    assert max(errors) < module.TOLERANCE / 1e3


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_exchange_is_found(name: str, monkeypatch: pytest.MonkeyPatch):
    """Known-false control: with one parameter forgotten, outputs move, and the group is not judged."""

    def forgetful(space, pieces, order):
        for piece in pieces[1:]:
            for axis in piece.axes_of(space):
                piece.view.copy_(piece.view.index_select(axis, order))

    monkeypatch.setattr(module, "_exchange", forgetful)
    found = symmetry(*started(name, "random"))
    assert found.groups == ()
    assert all("misreads" in why for why in found.not_judged.values())


def test_noise_breaks_a_symmetry_and_is_named():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2))
    for p in model.parameters():
        nn.init.constant_(p, 0.3)
    found = symmetry(model, torch.randn(2, 4))
    assert found.groups[0].broken_by == ("2 (Dropout)",)
    assert found.stuck == ()
    model[2].p = 0.0
    assert len(symmetry(model, torch.randn(2, 4)).stuck) == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_dropout_makes_equal_units_part(optimizer: str):
    """What `broken_by` says: the same training with noise parts them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)).double()
    for p in model.parameters():
        nn.init.constant_(p, 0.3)
    trained(model, torch.randn(8, 5, dtype=torch.float64), optimizer)
    assert (model[0].weight[1:] - model[0].weight[0]).abs().max() > 1e-3


def test_a_factorisation_keeps_its_rank_under_gradient_descent():
    """Exercise 4.8.1: W = UV with equal columns stays of rank one for ever."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 5, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.ones(4, 1) * torch.randn(1, 6))
        model[1].weight.copy_(torch.randn(5, 1) * torch.ones(1, 4))
    x = torch.randn(20, 6, dtype=torch.float64)
    found = symmetry(model, x)
    assert found.groups[0].num_different == 1
    trained(model, x, "sgd")
    assert int(torch.linalg.matrix_rank(model[1].weight @ model[0].weight, rtol=1e-8)) == 1


def test_linear_units_without_twins_may_still_lack_rank():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 5, bias=False)).double()
    with torch.no_grad():
        mixing, first, last = (torch.randn(*shape, dtype=torch.float64) for shape in ((4, 2), (2, 6), (5, 2)))
        model[0].weight.copy_(mixing @ first)
        model[1].weight.copy_(last @ mixing.T)
    group = symmetry(model, torch.randn(3, 6)).groups[0]
    assert group.classes == ()
    assert group.rank == 2
    trained(model, torch.randn(20, 6, dtype=torch.float64), "sgd")
    assert int(torch.linalg.matrix_rank(model[1].weight @ model[0].weight, rtol=1e-8)) == 2


def test_softmax_regression_has_no_hidden_units_to_be_stuck():
    """Exercise 4.8.2: equal weights do no harm where nothing can be exchanged."""
    model = nn.Linear(5, 3)
    nn.init.constant_(model.weight, 0.3)
    assert symmetry(model, torch.randn(2, 5)).groups == ()


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.ones(6, 4)), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(torch.relu(x @ self.weight.T))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        nn.init.constant_(self.one.weight, 0.3)

    def forward(self, x):
        return self.head(torch.relu(torch.nn.functional.linear(torch.relu(self.one(x)), self.one.weight)))


@pytest.mark.parametrize("factory", [Functional, Tied])
def test_what_the_tool_does_not_know_is_not_judged(factory):
    found = symmetry(factory(), torch.randn(2, 4))
    assert found.not_judged
    assert found.stuck == ()


def test_a_result_tells_itself():
    found = symmetry(*started("MLP", "constant"))
    assert list(found.table()["num_different"]) == [1, 1]
    json.dumps(found.to_dict(), allow_nan=False)
    pytest.importorskip("altair")
    assert found.plot().to_dict()


def test_the_model_stays_as_it_was():
    model, x = started("CNN with batch norm", "random")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    symmetry(model, x)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize(
    ("model", "x", "says"),
    [
        (Branching(), torch.randn(2, 4), "traceable"),
        (mlp(), torch.randn(2, 4), "must run on the batch"),
        (mlp(), torch.full((2, 5), torch.nan), "finite"),
        (mlp(), torch.zeros(0, 5), "not empty"),
        (nn.Sequential(nn.LazyLinear(3)), torch.randn(2, 4), "lazy"),
        ("model", torch.randn(2, 4), "torch.nn.Module"),
    ],
)
def test_bad_input_gets_one_line(model, x: torch.Tensor, says: str):
    with pytest.raises(InvalidInput) as caught:
        symmetry(model, x)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
