"""Pieces and regions are exactly those of the network: by theorems, by brute force, and in fractions."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mlplab.analysis.piecewise_function import PiecewiseLinear, to_network
from mlplab.analysis.piecewise_line import breakpoints, from_network
from mlplab.analysis.piecewise_regions import MAX_EXACT_UNITS, linear_regions
from mlplab.errors import InvalidInput


def drawn(*sizes: int, activation=nn.ReLU, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), activation()]
        nn.init.normal_(layers[-2].weight, std=(2 / before) ** 0.5)
        nn.init.normal_(layers[-2].bias, std=0.5)
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1])).double()


def sawtooth(depth: int) -> nn.Sequential:
    """Montúfar et al. 2014: layers of two units that fold [0, 1] in two each."""
    layers: list[nn.Module] = []
    for index in range(depth):
        hidden = nn.Linear(1 if index == 0 else 2, 2)
        with torch.no_grad():
            hidden.weight.copy_(
                torch.tensor([[2.0], [4.0]]) if index == 0 else torch.tensor([[2.0, -2.0], [4.0, -4.0]])
            )
            hidden.bias.copy_(torch.tensor([0.0, -2.0]))
        layers += [hidden, nn.ReLU()]
    last = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[1.0, -1.0]]))
    return nn.Sequential(*layers, last).double()


# The line


@pytest.mark.parametrize("exact", [False, True])
def test_the_sawtooth_of_k_layers_of_width_w_has_w_to_the_k_pieces(exact: bool):
    for depth in (1, 2, 3, 4):
        found = breakpoints(sawtooth(depth), [0.0], [1.0], exact=exact)
        assert found.num_pieces == 2**depth
        assert [float(t) for t in found.breakpoints] == [k / 2**depth for k in range(1, 2**depth)]


ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.2),
    "prelu": lambda: nn.PReLU(init=0.3),
    "relu6": nn.ReLU6,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "softshrink": nn.Softshrink,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_between_breakpoints_the_network_is_straight_and_at_them_it_bends(name: str, seed: int):
    net = drawn(1, 6, 5, 2, activation=ACTIVATIONS[name], seed=seed)
    f = from_network(net)
    reach = 3 + 2 * float(np.abs(f.breakpoints).max())
    x = np.sort(np.concatenate([np.linspace(-reach, reach, 4001), f.breakpoints]))
    with torch.no_grad():
        y = net(torch.from_numpy(x)[:, None]).numpy()
    np.testing.assert_allclose(f(x), y, rtol=1e-9, atol=1e-9 * np.abs(y).max())
    slopes = np.diff(f.slopes, axis=0)
    assert (np.abs(slopes).max(axis=1) > 1e-9 * np.abs(f.slopes).max()).all()


@pytest.mark.parametrize("seed", range(3))
def test_fractions_agree_with_floats(seed: int):
    net = drawn(1, 5, 4, 1, seed=seed)
    exact, rounded = from_network(net, exact=True), from_network(net)
    assert exact.is_exact
    assert exact.num_pieces == rounded.num_pieces
    np.testing.assert_allclose(exact.breakpoints.astype(float), rounded.breakpoints, rtol=1e-12, atol=1e-12)


def random_function(pieces: int, seed: int) -> PiecewiseLinear:
    generator = np.random.default_rng(seed)
    x = np.sort(generator.choice(np.arange(-500, 500), pieces - 1, replace=False)) / 16
    left, right = generator.normal(size=2)
    return PiecewiseLinear.through(x, generator.normal(size=pieces - 1), left_slope=left, right_slope=right)


@pytest.mark.parametrize("pieces", range(2, 51))
def test_any_p_piece_function_is_a_network_of_at_most_p_units_and_is_recovered(pieces: int):
    """Arora et al. 2018, theorem 2.2, and back."""
    f = random_function(pieces, pieces)
    net = to_network(f)
    assert net[0].out_features <= pieces
    found = from_network(net)
    assert found.num_pieces == pieces
    np.testing.assert_allclose(found.breakpoints, f.breakpoints, rtol=1e-12, atol=1e-12)
    assert found.max_difference(f) < 1e-10 * (1 + np.abs(f.values).max())


@pytest.mark.parametrize("pieces", [4, 10, 30])
def test_p_minus_2_units_are_too_few(pieces: int):
    """Known-false control: without one unit the function is another, and the check sees it."""
    f = random_function(pieces, pieces)
    net = to_network(f)
    keep = pieces - 2
    small = nn.Sequential(nn.Linear(1, keep), nn.ReLU(), nn.Linear(keep, 1)).double()
    with torch.no_grad():
        small[0].weight.copy_(net[0].weight[:keep])
        small[0].bias.copy_(net[0].bias[:keep])
        small[2].weight.copy_(net[2].weight[:, :keep])
        small[2].bias.copy_(net[2].bias)
    found = from_network(small)
    assert found.num_pieces < pieces
    assert found.max_difference(f) > 1e-3


def test_a_kink_that_another_unit_cancels_is_no_breakpoint():
    net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [1.0], [1.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0]))
        net[2].weight.copy_(torch.tensor([[1.0, -1.0, 2.0]]))
    assert from_network(net).breakpoints.tolist() == [1.0]
    found = breakpoints(net, [-2.0], [2.0])
    assert found.breakpoints.tolist() == [0.75]
    assert found.pattern_changes.tolist() == [0.5, 0.75]


def test_segments_of_many_inputs_agree_with_the_network():
    net = drawn(50, 16, 16, 3)
    generator = torch.Generator().manual_seed(1)
    start, end = (torch.randn(50, dtype=torch.float64, generator=generator) for _ in range(2))
    found = breakpoints(net, start, end)
    t = torch.linspace(0, 1, 501, dtype=torch.float64)[:, None]
    with torch.no_grad():
        y = net(start + t * (end - start)).numpy()
    np.testing.assert_allclose(found.function(t[:, 0].numpy()), y, rtol=1e-9, atol=1e-9)


# Regions


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("units", [0, 1, 2, 3, 10])
def test_lines_in_general_position_make_1_plus_m_plus_m_over_2_regions(units: int, exact: bool):
    torch.manual_seed(units)
    net = nn.Sequential(nn.Linear(2, max(units, 1)), nn.ReLU(), nn.Linear(max(units, 1), 1)).double()
    if not units:
        nn.init.zeros_(net[0].weight)
    with torch.no_grad():
        net[0].bias.mul_(0.1)
    found = linear_regions(net, extent=(-1e3, 1e3, -1e3, 1e3), exact=exact)
    assert found.num_patterns == found.num_regions == 1 + units + units * (units - 1) // 2
    assert float(found.areas.sum()) == pytest.approx(4e6, rel=1e-12)


def of_lines(rows: list[list[float]], out: list[float]) -> nn.Sequential:
    """Units relu(a s + b t + c), and the weight of each."""
    net = nn.Sequential(nn.Linear(2, len(rows)), nn.ReLU(), nn.Linear(len(rows), 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([row[:2] for row in rows]))
        net[0].bias.copy_(torch.tensor([row[2] for row in rows]))
        net[2].weight.copy_(torch.tensor([out]))
        net[2].bias.zero_()
    return net


DEGENERATE = {
    # units, output weights, patterns, regions
    "a unit twice": ([[1, 0, 0], [1, 0, 0]], [1, 1], 2, 2),
    "a unit and its opposite": ([[1, 0, 0], [-1, 0, 0]], [1, -1], 2, 1),
    "a unit that another cancels": ([[1, 0, 0], [1, 0, 0]], [1, -1], 2, 1),
    "parallel lines": ([[1, 0, 0], [1, 0, -0.5], [1, 0, 0.5]], [1, 1, 1], 4, 4),
    "three lines through a point": ([[1, 0, 0], [0, 1, 0], [1, 1, 0]], [1, 1, 1], 6, 6),
    "three lines through a point away from the origin": (
        [[1, 0, -0.125], [0, 1, -0.375], [3, -1, 0]],
        [1, 1, 1],
        6,
        6,
    ),
    "a dead unit": ([[1, 0, 0], [1, 1, -9]], [1, 1], 2, 2),
    "weights of zero": ([[1, 0, 0], [0, 0, 0]], [1, 1], 2, 2),
    "a line along the edge of the box": ([[1, 0, -1], [0, 1, 0]], [1, 1], 2, 2),
    "a line through a corner of the box": ([[1, 1, -2], [0, 1, 0]], [1, 1], 2, 2),
    "the diagonal": ([[1, -1, 0], [1, 1, 0]], [1, 1], 4, 4),
    "an output that ignores a unit": ([[1, 0, 0], [0, 1, 0]], [1, 0], 4, 2),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_cases_are_right(name: str, exact: bool):
    rows, out, patterns, regions = DEGENERATE[name]
    found = linear_regions(
        of_lines([[float(x) for x in row] for row in rows], [float(x) for x in out]), exact=exact
    )
    assert (found.num_patterns, found.num_regions) == (patterns, regions)
    assert float(found.areas.sum()) == pytest.approx(4, rel=1e-12)


@pytest.mark.parametrize(
    ("sizes", "activation"),
    [((2, 12, 12, 2), nn.ReLU), ((2, 8, 8, 8, 1), nn.LeakyReLU), ((2, 8, 6, 3), nn.Hardtanh)],
)
def test_every_point_lies_in_a_cell_whose_map_is_the_network(sizes, activation):
    """Brute force: on a grid, patterns found are those that run, and maps give the outputs."""
    net = drawn(*sizes, activation=activation)
    found = linear_regions(net, extent=(-2, 2, -2, 2))
    grid = np.stack(np.meshgrid(*[np.linspace(-1.99, 1.99, 61)] * 2), -1).reshape(-1, 2)
    with torch.no_grad():
        outputs = net(torch.from_numpy(grid)).numpy()
    covered = np.zeros(len(grid), dtype=int)
    for polygon, affine in zip(found.polygons, found.maps, strict=True):
        edge = np.roll(polygon, -1, axis=0) - polygon
        gap = grid[:, None] - polygon
        turn = edge[:, 0] * gap[..., 1] - edge[:, 1] * gap[..., 0]
        inside = (turn > 1e-9).all(axis=1) | (turn < -1e-9).all(axis=1)
        covered += inside
        predicted = affine[:, 0] + grid[inside] @ affine[:, 1:].T
        np.testing.assert_allclose(predicted, outputs[inside], rtol=1e-9, atol=1e-9)
    assert covered.max() == 1  # no two cells overlap
    assert (covered == 0).mean() < 0.02  # points on an edge
    assert found.areas.sum() == pytest.approx(16, rel=1e-12)


def test_fractions_and_floats_find_the_same_regions():
    net = drawn(2, 6, 6, 2)
    exact, rounded = linear_regions(net, exact=True), linear_regions(net)
    assert exact.num_regions == rounded.num_regions
    assert exact.areas.sum() == Fraction(4)
    assert len(exact.boundary) == len(rounded.boundary)


def test_regions_along_a_line_are_the_pieces_of_that_line():
    """Two tools, one network: a slice that contains a segment is cut by it at the segment's changes of pattern."""
    net = drawn(20, 10, 10, 2)
    generator = torch.Generator().manual_seed(3)
    a, b, c = (torch.randn(20, dtype=torch.float64, generator=generator) for _ in range(3))
    segment = breakpoints(net, a, a + b)
    found = linear_regions(net, a, b, c, extent=(0, 1, -0.5, 0.5))
    crossed = set()
    for polygon in found.polygons:
        for first, second in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if first[1] * second[1] < 0:
                crossed.add(
                    round(float(first[0] + first[1] / (first[1] - second[1]) * (second[0] - first[0])), 9)
                )
    inner = {t for t in crossed if 1e-9 < t < 1 - 1e-9}
    assert inner == {round(float(t), 9) for t in segment.pattern_changes}


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_the_decision_boundary_is_where_the_class_changes(outputs: int):
    net = drawn(2, 10, 10, outputs, seed=outputs)
    with torch.no_grad():
        net[-1].bias -= net(torch.zeros(2, dtype=torch.float64))  # all outputs are equal at the origin
    found = linear_regions(net, extent=(-3, 3, -3, 3))
    assert found.boundary
    for segment in found.boundary:
        middle = torch.from_numpy(segment.mean(axis=0))
        with torch.no_grad():
            y = net(middle)
        top = y.sort(descending=True).values
        gap = float(abs(y[0]) if outputs == 1 else top[0] - top[1])
        assert gap < 1e-9 * (1 + float(y.abs().max()))
        normal = torch.tensor([segment[0][1] - segment[1][1], segment[1][0] - segment[0][0]])
        sides = middle + torch.stack([normal, -normal]) / normal.norm() * 1e-6
        with torch.no_grad():
            classes = (net(sides) > 0)[:, 0] if outputs == 1 else net(sides).argmax(1)
        assert classes[0] != classes[1]


@pytest.mark.slow
def test_four_layers_of_64_units_are_exact():
    net = drawn(2, 64, 64, 64, 64, 3)
    found = linear_regions(net, extent=(-3, 3, -3, 3))
    assert found.num_patterns > 10_000
    assert found.areas.sum() == pytest.approx(36, rel=1e-10)
    centres = np.stack([polygon.mean(axis=0) for polygon in found.polygons])
    with torch.no_grad():
        y = net(torch.from_numpy(centres)).numpy()
    predicted = found.maps[:, :, 0] + np.einsum("coi,ci->co", found.maps[:, :, 1:], centres)
    np.testing.assert_allclose(predicted, y, rtol=1e-8, atol=1e-8)


# Results and bad input


def test_results_tell_themselves():
    net = drawn(2, 6, 2)
    found = linear_regions(net)
    assert len(found.table()) == found.num_patterns
    json.dumps(found.to_dict(), allow_nan=False)
    json.dumps(linear_regions(net, exact=True).to_dict(), allow_nan=False)
    line = breakpoints(net, [-1.0, -1.0], [1.0, 1.0])
    json.dumps(line.to_dict(), allow_nan=False)
    pytest.importorskip("altair")
    assert found.plot().to_dict()
    assert line.plot().to_dict()
    assert from_network(drawn(1, 4, 1)).plot().to_dict()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: from_network(nn.Sequential(nn.Linear(1, 2), nn.Sigmoid())), "Sigmoid"),
        (lambda: from_network(nn.Sequential(nn.Linear(1, 2), nn.Softmax(-1))), "Leave it out"),
        (lambda: linear_regions(nn.LSTM(2, 2)), "LSTM"),
        (lambda: from_network(nn.Linear(2, 1)), "takes 2 features"),
        (lambda: from_network(nn.Sequential(nn.Linear(1, 2), nn.Dropout(0.5))), ".eval()"),
        (lambda: breakpoints(drawn(2, 3, 1), [0, 0], [0, 0]), "two ends that differ"),
        (lambda: breakpoints(drawn(2, 3, 1), [0, 0], [1, np.nan]), "finite"),
        (lambda: linear_regions(drawn(2, 3, 1), [0, 0], [1, 0], [2, 0]), "parallel"),
        (lambda: linear_regions(drawn(2, 3, 1), extent=(1, 0, 0, 1)), "extent"),
        (lambda: linear_regions(drawn(2, MAX_EXACT_UNITS + 1, 1), exact=True), "at most"),
        (lambda: linear_regions(drawn(3, 3, 1)), "takes 3 features"),
        (lambda: to_network("f"), "PiecewiseLinear"),
        (lambda: PiecewiseLinear([1.0, 0.0], [0.0, 0.0], [0.0, 0.0, 0.0]), "increasing"),
    ],
)
def test_bad_input_gets_one_line(call, says: str):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        pytest.param(nn.MaxPool2d(3, 2, padding=1), marks=pytest.mark.slow),
        pytest.param(nn.MaxPool2d(2, 2, ceil_mode=True), marks=pytest.mark.slow),
        pytest.param(nn.MaxPool2d(2, 1, dilation=2), marks=pytest.mark.slow),
    ],
    ids=["plain", "padded", "ceiling", "dilated"],
)
def test_max_pooling_is_followed(pool: nn.Module):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), pool, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).double()
    start, end = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    net(start[None])
    found = breakpoints(net, start, end)
    t = np.linspace(0, 1, 501)
    points = start.numpy() + t[:, None, None, None] * (end - start).numpy()
    with torch.no_grad():
        expected = net(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(found.function(t), expected, atol=1e-12)
    assert found.num_pieces > 3
    fractions = breakpoints(net, start, end, exact=True)
    np.testing.assert_allclose(fractions.breakpoints.astype(float), found.breakpoints, atol=1e-12)


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced_is_told_by_its_line():
    with pytest.raises(InvalidInput, match=r"test_piecewise.py:\d+: return x if x.sum\(\) > 0 else -x"):
        from_network(Branches())


def test_more_regions_than_are_allowed_stop_the_search_before_they_are_made() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 2))
    count = linear_regions(net).num_patterns
    assert linear_regions(net, max_regions=count).num_patterns == count
    with pytest.raises(InvalidInput, match=f"at most {count - 1} regions.*--reach.*--max-regions"):
        linear_regions(net, max_regions=count - 1)
    with pytest.raises(InvalidInput, match="at least 1"):
        linear_regions(net, max_regions=0)


@pytest.mark.parametrize("tool", ["regions", "pieces"])
def test_memory_has_a_budget_that_is_known_before_it_is_taken(tool: str, monkeypatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 40), nn.ReLU(), nn.Linear(40, 2)
    )
    first, second = torch.randn(2, 1, 12, 12)
    monkeypatch.setattr("mlplab.analysis.piecewise_values.MAX_BYTES", 2**20)
    search = {
        "regions": lambda: linear_regions(net, torch.zeros(1, 12, 12), first, second),
        "pieces": lambda: breakpoints(net, first, second),
    }
    tracemalloc.start()
    with pytest.raises(InvalidInput, match=r"GiB, which is .* of this network.*--reach"):
        search[tool]()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20  # the matrix of the convolution is in it; unbounded, regions take 300 MiB


def test_maps_made_in_blocks_are_those_made_at_once(monkeypatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    whole = linear_regions(net)
    monkeypatch.setattr("mlplab.analysis.piecewise_values.BLOCK_BYTES", 1)
    blocks = linear_regions(net)
    np.testing.assert_allclose(blocks.maps, whole.maps, rtol=1e-12, atol=1e-14)
    assert (blocks.region_of == whole.region_of).all()


class InPlace(nn.Module):
    """Reads a value again after it was written over, in each of the ways that are read here."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.way = nn.Linear(1, 6), nn.Linear(6, 1), way
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        kept = h.flatten(1)  # another name of the same numbers
        match self.way:
            case "module":
                self.act(h)
            case "function":
                functional.relu(h, inplace=True)
            case "by place":
                functional.relu(h, True)
            case "relu_":
                torch.relu_(h)
            case "method":
                h.relu_()
            case "add_":
                h.relu_()
                kept.add_(h)
            case "+=":
                h.relu_()
                h += kept
        return self.last(h + kept)


@pytest.mark.parametrize("way", ["module", "function", "by place", "relu_", "method", "add_", "+="])
def test_a_value_that_was_written_over_is_read_as_it_is_then(way: str) -> None:
    net = InPlace(way).double()
    found = from_network(net)
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    np.testing.assert_allclose(found(x[:, 0].numpy()).reshape(-1), net(x).detach().numpy()[:, 0], atol=1e-12)
