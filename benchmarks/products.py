"""The limit: a step's matrix products and nothing else, and on a GPU the step's roofline."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cases import Case
from rounds import Contender, Measure, Sample, Skipped, repeated, threads, time_of

# Bare steps are repeated until so many seconds have passed.
AT_LEAST = 0.25
# Bytes for the measured copy: far beyond the caches.
COPIED = 2**30

Product = tuple[tuple[int, int], tuple[int, int]]


def step_products(case: Case) -> list[Product]:
    """Shapes of the factors of every product of a step: forward, weight gradients, input gradients past layer 1."""
    batch = case.batch_size
    products: list[Product] = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(case.sizes)):
        products += [((batch, inputs), (inputs, outputs)), ((inputs, batch), (batch, outputs))]
        products += [((batch, outputs), (outputs, inputs))] if layer else []
    return products


def products_contenders(case: Case, num_threads: int, models: int = 1) -> list[Contender]:
    """The products of a step of one model (or batched over several), in each way there is to do them on a CPU."""
    return [
        _products_contender(case, library, one_each, num_threads, models)
        for library in ("torch", "numpy")
        for one_each in (True, False)
    ]


def products_names(case: Case, num_threads: int, models: int = 1) -> list[str]:
    return [contender.name for contender in products_contenders(case, num_threads, models)]


def _products_contender(case: Case, library: str, one_each: bool, num_threads: int, models: int) -> Contender:
    """`one_each`: a model a core, each with one thread; otherwise one model at a time on all cores."""
    how = f"{num_threads} x 1 thread" if one_each else f"1 x {num_threads} threads"
    many = f", {models} models" if models > 1 else ""

    def prepare() -> Measure:
        if library == "numpy" and case.precision == "bfloat16":
            raise Skipped("NumPy has no bfloat16")
        workers = num_threads if one_each else 1
        make = _torch_step if library == "torch" else _numpy_step
        steps = [make(case, models) for _ in range(workers)]

        def work() -> None:
            list(pool.map(_ten_times, steps))

        def measure() -> Sample:
            with threads(1 if one_each else num_threads):
                sample = repeated(work, AT_LEAST)
            return Sample(sample.seconds / (10 * workers * models) * case.num_steps, calls=sample.calls)

        # A thread of one's own takes its number of threads from the environment, not from the one that made it.
        pool = ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(1 if one_each else num_threads,)
        )
        measure()
        return measure

    return Contender(f"bare products {case.precision}{many}, {library}, {how}", prepare)


def _ten_times(step: Callable[[], object]) -> None:
    for _ in range(10):
        step()


def _torch_step(case: Case, models: int, device: str = "cpu") -> Callable[[], None]:
    dtype = getattr(torch, case.precision)
    lead = () if models == 1 else (models,)
    factors: list[tuple[Tensor, Tensor, Tensor]] = []
    for a, b in step_products(case):
        left = torch.randn(*lead, *a, device=device).to(dtype)
        right = torch.randn(*lead, *b, device=device).to(dtype)
        factors.append((left, right, left @ right))

    def step() -> None:
        for left, right, out in factors:
            torch.matmul(left, right, out=out)

    return step


def _numpy_step(case: Case, models: int) -> Callable[[], None]:
    lead = () if models == 1 else (models,)
    generator = np.random.default_rng(0)
    factors: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for a, b in step_products(case):
        left = generator.standard_normal((*lead, *a), dtype=np.float32)
        right = generator.standard_normal((*lead, *b), dtype=np.float32)
        factors.append((left, right, left @ right))

    def step() -> None:
        for left, right, out in factors:
            np.matmul(left, right, out=out)

    return step


def roofline_contender(case: Case, models: int, device: str) -> Contender:
    """A step of all models on a GPU: its products at the GPU's own rate, and the bytes that no product moves.

    The products are timed as `torch.bmm` of the same shapes in the same precision, so that reading their factors
    and writing their results is in it. Activation, noise and loss can ride on a product. What is left is the update:
    gradient and weight are read, the weight is written, all float32; in bfloat16 its copy is written too. The rate
    is that of a copy, measured. A roofline with fewer bytes is the harder one to come near.
    """

    def prepare() -> Measure:
        # In parts: factors and results of a thousand models at once need not fit.
        part = min(models, 250)
        step = _torch_step(case, part, device)
        source = torch.empty(COPIED, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        moved = update_bytes(case) * models

        def measure() -> Sample:
            products = time_of(lambda: _ten_times(step), device) / 10 * models / part
            copy = time_of(lambda: _ten_times(lambda: target.copy_(source)), device) / 10
            bytes_a_second = 2 * COPIED / copy
            seconds = products + moved / bytes_a_second
            calls = {
                "products of a step": products,
                "bytes a second": bytes_a_second,
                "bytes of a step": moved,
            }
            return Sample(seconds * case.num_steps / models, calls=calls)

        measure()
        return measure

    return Contender(f"roofline {case.precision}", prepare)


def update_bytes(case: Case) -> int:
    """What the update of one model moves: 12 bytes a parameter, 14 with a bfloat16 copy."""
    parameters = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(case.sizes))
    return parameters * (14 if case.precision == "bfloat16" else 12)
