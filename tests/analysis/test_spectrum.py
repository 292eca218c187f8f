"""Bounds that no product may break, spectra that are known, and Jacobians written out by hand."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

from mlplab.analysis.spectrum import gaussian_edge, jacobian_spectrum, product_bounds
from mlplab.errors import InvalidInput, UnknownName

SIZES = [(4, 4, 4), (5, 3, 7), (3, 8, 4), (1, 5, 1), (6, 6, 6, 6), (2, 9, 3, 5), (1, 1, 1)]


def _factors(sizes, seed: int, kind: str) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = [rng.normal(size=shape) for shape in itertools.pairwise(sizes)]
    if kind == "graded":  # singular values over ten decades
        made = [m * 10.0 ** rng.uniform(-5, 5, size=m.shape[1]) for m in made]
    if kind == "singular":
        made = [np.outer(m[:, 0], m[0]) for m in made]
    if kind == "nilpotent":  # spectral radii 0, norms not: the spectral radius is not submultiplicative
        made = [np.triu(m, 1) if i % 2 else np.tril(m, -1) for i, m in enumerate(made)]
    return made


@pytest.mark.parametrize("kind", ["normal", "graded", "singular", "nilpotent"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_no_product_breaks_its_bounds(sizes, kind) -> None:
    for seed in range(10):
        found = product_bounds(*_factors(sizes, seed, kind))
        assert found.holds, found.table()
        assert len(found.rows) == min(sizes[0], sizes[-1])


def test_bounds_are_reached() -> None:
    """Diagonal factors in the same order reach every upper bound, in opposite orders the lower one."""
    a, b = np.diag([5.0, 3.0, 2.0]), np.diag([7.0, 4.0, 1.0])
    same = product_bounds(a, b).rows
    assert same["singular_value"].tolist() == pytest.approx([35, 12, 2])
    assert same["log10_product"].to_numpy() == pytest.approx(same["log10_horn_product"].to_numpy())
    assert same["horn_high"][0] == pytest.approx(35)
    assert same["horn_low"][2] == pytest.approx(2)
    assert same["log10_weyl"].to_numpy() == pytest.approx(same["log10_product"].to_numpy())
    opposite = product_bounds(a, b[::-1, ::-1]).rows["singular_value"]
    assert opposite.tolist() == pytest.approx([14, 12, 5])


def test_horn_is_never_wider_than_ostrowski_for_two_factors() -> None:
    for seed in range(20):
        rows = product_bounds(*_factors((6, 6, 6), seed, "normal")).rows
        assert (rows["horn_high"] <= rows["ostrowski_high"] * (1 + 1e-12)).all()
        assert (rows["horn_low"] >= rows["ostrowski_low"] * (1 - 1e-12)).all()


def test_a_wrong_product_is_told() -> None:
    """The control: singular values that are not the product's break the bounds."""
    found = product_bounds(*_factors((5, 5, 5), 0, "normal"))
    found.rows["singular_value"] *= 10
    assert not found.holds


def test_orthogonal_product_keeps_every_singular_value_at_one() -> None:
    rng = np.random.default_rng(0)
    found = product_bounds(*[np.linalg.qr(rng.normal(size=(20, 20)))[0] for _ in range(30)])
    assert np.abs(found.rows["singular_value"] - 1).max() <= 1e-12
    assert found.condition_number == pytest.approx(1)
    assert found.condition_bound == pytest.approx(1)


def test_condition_number_is_bounded_by_the_factors() -> None:
    for seed in range(20):
        found = product_bounds(*_factors((6, 6, 6), seed, "normal"))
        assert found.condition_number <= found.condition_bound * (1 + 1e-9)


@pytest.mark.parametrize(("depth", "edge"), [(1, 4), (2, 6.75), (5, 14.93)])
def test_gaussian_products_tend_to_the_known_edge(depth, edge) -> None:
    assert gaussian_edge(depth) == pytest.approx(edge, abs=0.005)
    rng, size = np.random.default_rng(0), 300
    product = np.eye(size)
    for _ in range(depth):
        product = product @ rng.normal(size=(size, size)) / size**0.5
    # At 300 rows the edge is met to about L * n^(-2/3).
    assert np.linalg.norm(product, 2) ** 2 == pytest.approx(edge, rel=0.15)


def test_jacobian_is_the_product_of_weights_and_slopes() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 4), nn.Tanh()).double()
        x = torch.randn(3, 5, dtype=torch.float64)
    found = jacobian_spectrum(model, x)
    w1, w2 = (model[i].weight.detach() for i in (0, 2))
    for i in range(3):
        z = model[0](x[i : i + 1])[0].detach()
        relu = (z > 0).double()[:, None] * w1
        second = w2 @ relu
        out = torch.tanh(w2 @ z.clamp(min=0) + model[2].bias.detach())
        by_hand = [w1, relu, second, (1 - out**2)[:, None] * second]
        rows = found.rows[found.rows["example"] == i].sort_values("depth")
        for row, matrix in zip(rows.itertuples(), by_hand, strict=True):
            values = np.linalg.svd(matrix.numpy(), compute_uv=False)
            assert row.largest == pytest.approx(values[0], rel=1e-9)
            assert row.smallest == pytest.approx(values[-1], rel=1e-9, abs=1e-12)
            assert row.mean_square == pytest.approx(np.mean(values**2), rel=1e-9)


def test_orthogonal_linear_net_is_an_isometry_at_every_depth() -> None:
    model = nn.Sequential(*[nn.Linear(8, 8, bias=False) for _ in range(6)]).double()
    for layer in model:
        nn.init.orthogonal_(layer.weight)
    rows = jacobian_spectrum(model, torch.randn(2, 8, dtype=torch.float64)).rows
    assert np.abs(rows[["largest", "median", "smallest"]].to_numpy() - 1).max() <= 1e-10


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten()), (2, 1, 5, 5)),
        (nn.LSTM(3, 4, batch_first=True), (2, 4, 3)),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (2, 3, 4)),
    ],
    ids=["cnn", "lstm", "transformer"],
)
def test_any_module_will_do(model, shape) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = jacobian_spectrum(model.eval(), torch.randn(shape))
    assert (found.table()["num_examples"] == 2).all()
    assert np.isfinite(found.rows["largest"]).all()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    json.dumps(found.to_dict(), allow_nan=False)
    found.plot().to_dict()


def test_layers_too_large_are_left_out_and_said() -> None:
    model = nn.Sequential(nn.Linear(1000, 5000), nn.ReLU(), nn.Linear(5000, 3))
    found = jacobian_spectrum(model, torch.randn(1, 1000))
    assert found.left_out == ("0", "1")
    assert list(found.table()["layer"]) == ["2"]
    with pytest.raises(InvalidInput, match="5,000 outputs by 1,000 inputs at '0'"):
        jacobian_spectrum(model, torch.randn(1, 1000), layers=["0"])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (product_bounds, "at least one matrix"),
        (lambda: product_bounds(np.eye(2), np.eye(3)), "as many columns in factor 0 as rows in factor 1"),
        (lambda: product_bounds(np.ones(3)), "must be a real matrix"),
        (lambda: product_bounds(np.ones((0, 3))), "must be a real matrix"),
        (lambda: product_bounds([[np.nan]]), "must be finite"),
        (lambda: product_bounds([[1e200]], [[1e200]]), "float64 can hold"),
        (lambda: gaussian_edge(0), "at least 1"),
        (lambda: jacobian_spectrum(nn.Linear(2, 2), torch.ones(0, 2)), "at least one"),
        (lambda: jacobian_spectrum(nn.Linear(2, 2), torch.ones(1, 2, dtype=torch.long)), "real numbers"),
        (lambda: jacobian_spectrum(nn.Linear(2, 2), torch.ones(1, 3)), "must accept its input"),
        (lambda: jacobian_spectrum(nn.Linear(5000, 5000), torch.ones(1, 5000)), "Jacobian entries"),
    ],
)
def test_bad_input_gets_one_clear_line(call, says) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_unknown_layer_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'body'"):
        jacobian_spectrum(nn.ModuleDict({"body": nn.Linear(2, 2)}), torch.ones(1, 2), layers=["bdy"])


def test_product_chart_is_valid() -> None:
    product_bounds(np.eye(3), np.diag([1.0, 0, 2])).plot().to_dict()
    json.dumps(product_bounds(np.zeros((2, 2))).to_dict(), allow_nan=False)
