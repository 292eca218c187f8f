from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mlplab import data
from mlplab.errors import InvalidInput


def test_polynomial_is_the_chapters() -> None:
    loaded = data.load("polynomial", num_train=4000, noise_std=0.0)
    x = loaded.train.features[:, 1].astype(float)
    wanted = 5 + 1.2 * x - 3.4 * x**2 / 2 + 5.6 * x**3 / 6
    assert np.allclose(loaded.train.targets[:, 0], wanted, rtol=1e-5, atol=1e-5)  # float32
    for i in (0, 2, 5, 19):
        assert np.allclose(loaded.train.features[:, i], x**i / math.factorial(i), rtol=1e-5)
    assert loaded.in_features == 20
    assert abs(x.mean()) < 4 / math.sqrt(4000)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / 4000)


@pytest.mark.parametrize("name", ["polynomial", "linear-high-dim"])
@pytest.mark.parametrize("noise_std", [0.0, 0.1, 3.0])
def test_targets_are_the_truth_and_noise_of_the_announced_size(name: str, noise_std: float) -> None:
    loaded = data.load(name, num_train=2000, noise_std=noise_std)
    residuals = loaded.train.targets[:, 0] - (
        loaded.train.features @ loaded.truth["weights"] + loaded.truth["bias"]
    )
    if noise_std == 0:
        assert np.abs(residuals).max() < 1e-4  # float32 of values up to 100
    else:
        assert abs(residuals.mean()) < 4 * noise_std / math.sqrt(2000)
        assert abs(residuals.std() / noise_std - 1) < 4 / math.sqrt(4000)
        assert abs(np.corrcoef(residuals, loaded.train.features[:, 1])[0, 1]) < 4 / math.sqrt(2000)
    assert loaded.truth["noise_std"] == noise_std


def test_linear_problem_is_the_chapters() -> None:
    loaded = data.load("linear-high-dim")
    assert {name: part.features.shape for name, part in loaded.parts.items()} == {
        "train": (20, 200), "validation": (100, 200), "test": (100, 200),
    }  # fmt: skip
    assert (loaded.truth["weights"] == 0.01).all()
    assert loaded.truth["bias"] == 0.05
    assert abs(loaded.test.features.mean()) < 4 / math.sqrt(20_000)
    # Independent inputs: the largest of 19,900 correlations of 100 examples.
    correlations = np.corrcoef(loaded.test.features.T) - np.eye(200)
    assert np.abs(correlations).max() < 0.5


@pytest.mark.parametrize("name", ["polynomial", "linear-high-dim", "signals-1d"])
class TestDraws:
    def test_the_same_draw_is_the_same_and_another_is_another(self, name: str) -> None:
        small = {"num_train": 30, "num_test": 30}
        first, again, other = (data.load(name, draw=draw, **small) for draw in (3, 3, 4))
        assert first.fingerprint == again.fingerprint
        assert first.fingerprint != other.fingerprint
        for part_name, part in first.parts.items():
            assert part.features.shape == other.part(part_name).features.shape
            assert not np.isin(part.features[:, 1], other.part(part_name).features[:, 1]).any()

    def test_parts_share_no_number(self, name: str) -> None:
        parts = list(data.load(name, num_train=50, num_test=50).parts.values())
        values = np.concatenate([part.features[:, 1] for part in parts])
        assert len(np.unique(values)) > 148  # two of 150 may round to one float32

    def test_fewer_examples_are_the_first_of_more(self, name: str) -> None:
        few, many = (data.load(name, num_train=n, num_test=20) for n in (20, 60))
        assert np.allclose(few.train.features, many.train.features[:20], rtol=1e-6)
        assert np.allclose(few.train.targets, many.train.targets[:20], rtol=1e-5)
        assert (few.test.features == many.test.features).all()

    def test_no_global_generator_is_touched(self, name: str) -> None:
        numpy_before, torch_before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
        data.load(name, num_train=10, num_test=10)
        assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
        assert (torch.random.get_rng_state() == torch_before).all()

    def test_what_was_asked_for_is_recorded(self, name: str) -> None:
        loaded = data.load(name, num_train=np.int64(10), draw=2)
        assert loaded.parameters == data.info(name).parameters | {"num_train": 10, "draw": 2}
        assert loaded.source == "drawn by mlplab"

    @pytest.mark.parametrize("value", [0, -1, 2.5, "10", None, True, 10**9, float("nan")])
    def test_impossible_sizes_are_refused(self, name: str, value: object) -> None:
        for parameter in ("num_train", "num_test"):
            with pytest.raises(InvalidInput, match=rf"{name}\.{parameter} must be a whole number from 1 to"):
                data.load(name, **{parameter: value})

    @pytest.mark.parametrize("value", [-1, 2**63, 0.5, "first"])
    def test_impossible_draws_are_refused(self, name: str, value: object) -> None:
        with pytest.raises(InvalidInput, match=rf"{name}\.draw must be a whole number"):
            data.load(name, draw=value)


def test_polynomials_of_one_draw_share_inputs_and_noise() -> None:
    low, high = data.load("polynomial", degree=2), data.load("polynomial", degree=12)
    assert (low.train.features == high.train.features[:, :3]).all()
    assert (low.train.targets == high.train.targets).all()
    plain, loud = data.load("polynomial", noise_std=0.0), data.load("polynomial", noise_std=1.0)
    half = data.load("polynomial", noise_std=0.5)
    noise = loud.train.targets - plain.train.targets
    assert np.allclose(half.train.targets, plain.train.targets + noise / 2, atol=1e-4)  # float32


def test_unscaled_powers_carry_the_same_targets_and_the_same_truth() -> None:
    scaled, raw = data.load("polynomial", noise_std=0.0), data.load("polynomial", noise_std=0.0, scaled=False)
    assert (scaled.train.targets == raw.train.targets).all()
    factorials = np.array([math.factorial(i) for i in range(20)], dtype=float)
    assert np.allclose(raw.train.features / factorials, scaled.train.features, rtol=1e-6)
    assert np.allclose(
        raw.train.features @ raw.truth["weights"], raw.train.targets[:, 0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("degree", [0, 1, 3, 40])
def test_every_allowed_degree_can_be_drawn(degree: int) -> None:
    for scaled in (True, False):
        loaded = data.load("polynomial", degree=degree, num_train=1000, scaled=scaled)
        assert loaded.in_features == degree + 1
        assert len(loaded.truth["weights"]) == max(degree, 3) + 1


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("polynomial", "degree", -1), ("polynomial", "degree", 41), ("polynomial", "degree", 3.0),
        ("polynomial", "noise_std", -0.1), ("polynomial", "noise_std", math.inf),
        ("polynomial", "noise_std", math.nan), ("polynomial", "noise_std", "loud"),
        ("polynomial", "scaled", "yes"), ("polynomial", "scaled", 1),
        ("linear-high-dim", "in_features", 0), ("linear-high-dim", "in_features", 10_001),
        ("linear-high-dim", "noise_std", -1),
    ],
)  # fmt: skip
def test_impossible_values_are_refused_by_name(name: str, parameter: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=rf"{name}\.{parameter} must be .*; got ") as error:
        data.load(name, **{parameter: value})
    assert "\n" not in str(error.value)


def test_a_problem_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(InvalidInput, match="times all examples must be at most"):
        data.load("linear-high-dim", num_train=1_000_000, in_features=10_000)
