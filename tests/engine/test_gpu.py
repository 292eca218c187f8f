"""A GPU draws what a CPU draws, and computes what the reference computes.

The kernel is run on a CPU too, by Triton's interpreter, where Triton is installed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mlplab.engine import Epoch, Result, draws, gpu_draws, train
from mlplab.engine.reference import train_one
from mlplab.rng import Stream

from .cases import BY_NAME, largest_difference
from .test_stacked import ROUNDING_MIXED, all_cases

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton comes with PyTorch's CUDA builds alone"
)
SEEDS = [0, 3, 12345678901, 2**62 + 17]


def check_draws(device: str) -> None:
    """Words, noise and orders of the kernel beside those of `Stream`."""
    seeds = gpu_draws.seed_tensor(SEEDS, torch.device(device))
    for n in (1, 1030):
        words = gpu_draws.stream_words(seeds, "noise", 2, 77, n).cpu().numpy().view(np.uint64)
        for row, seed in zip(words, SEEDS, strict=True):
            assert np.array_equal(row, Stream(seed, "noise", 2, 77).bits(n))
    for kind, tolerance in (("bits", 0), ("normals", 1e-14)):
        found = gpu_draws.noise_draws(kind, seeds, 1, 5, (7, 9)).cpu()
        expected = draws.noise_of_seeds(kind, SEEDS, 1, 5, (7, 9))
        assert found.dtype == expected.dtype
        assert (found.double() - expected.double()).abs().max() <= tolerance
    orders = gpu_draws.epoch_orders(seeds, 3, 101).cpu()
    assert torch.equal(orders, draws.epoch_orders(SEEDS, 3, 101))


@needs_triton
def test_the_kernel_draws_the_words_of_the_streams():
    """In a process of its own: Triton reads the switch to its interpreter when it is imported."""
    code = "from tests.engine.test_gpu import check_draws; check_draws('cpu')"
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_a_gpu_draws_the_words_of_the_streams():
    check_draws("cuda")


def on_gpu(run, data) -> Result:
    (result,) = [record for record in train([run], data, device="cuda") if isinstance(record, Result)]
    return result


@pytest.mark.gpu
@all_cases
def test_a_gpu_computes_what_the_reference_computes(case):
    """In float64, by the rounding of a CPU."""
    run, data = case.run(precision="float64"), case.data()
    assert largest_difference(on_gpu(run, data), train_one(run, data)) <= 1e-9


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dropout", "two_hidden", "adam", "regression"])
def test_a_gpu_rounds_as_the_reference_rounds(name):
    case = BY_NAME[name]
    run, data = case.run(precision="bfloat16"), case.data()
    assert largest_difference(on_gpu(run, data), train_one(run, data)) <= ROUNDING_MIXED


@pytest.mark.gpu
def test_a_thousand_models_on_a_gpu_are_those_of_a_cpu():
    case = BY_NAME["dropout"]
    runs, data = [case.run(seed, "float64") for seed in range(1000)], case.data()
    records = list(train(runs, data, device="cuda"))
    found = {record.run: record for record in records if isinstance(record, Result)}
    assert len(found) == 1000
    assert any(isinstance(record, Epoch) for record in records)
    for run in runs[::100]:
        assert largest_difference(found[run], train_one(run, data)) <= 1e-9
