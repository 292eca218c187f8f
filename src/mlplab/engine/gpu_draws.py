"""The words of `rng.Stream` for many seeds at once, drawn on a GPU: bit for bit those that a CPU draws.

Drawn on the CPU and copied, the masks of a thousand models would take twenty times as long as their products.
Triton comes with PyTorch's CUDA builds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from mlplab.rng import box_muller, purpose_number

if TYPE_CHECKING:
    from jaxtyping import Int

try:
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError:  # a CPU build of PyTorch has no Triton, and no use for it
    triton = tl = cast(Any, None)

# Blocks of four words that one program makes.
BLOCKS = 256


def _philox(words, seeds, step, layer, purpose, num_blocks, BLOCKS: tl.constexpr):  # pyright: ignore
    """Philox-4x64-10. Salmon et al. 2011, section 3.3; the key is (seed, 0)."""
    feed = tl.program_id(1)
    block = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    c0 = (block + 1).to(tl.uint64)  # NumPy counts before it draws
    zero = c0 * 0
    c1 = zero + step.to(tl.uint64)
    c2 = zero + layer.to(tl.uint64)
    c3 = zero + purpose.to(tl.uint64)
    k0 = zero + tl.load(seeds + feed).to(tl.uint64)
    k1 = zero
    m0 = zero + 0xD2E7470EE14C6C93
    m1 = zero + 0xCA5A826395121157
    for _ in tl.static_range(10):  # pyright: ignore[reportGeneralTypeIssues]
        high0, low0 = tl.umulhi(m0, c0), m0 * c0
        high1, low1 = tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = k0 + 0x9E3779B97F4A7C15
        k1 = k1 + 0xBB67AE8584CAA73B
    at = words + feed.to(tl.int64) * num_blocks * 4 + block * 4
    fits = block < num_blocks
    tl.store(at, c0.to(tl.int64, bitcast=True), mask=fits)
    tl.store(at + 1, c1.to(tl.int64, bitcast=True), mask=fits)
    tl.store(at + 2, c2.to(tl.int64, bitcast=True), mask=fits)
    tl.store(at + 3, c3.to(tl.int64, bitcast=True), mask=fits)


_KERNEL = None if triton is None else triton.jit(_philox)


def stream_words(
    seeds: Int[Tensor, "seed"], purpose: str, layer: int, step: int, n: int
) -> Int[Tensor, "seed n"]:
    """The first `n` words of 64 bits of the stream of each seed, as signed numbers."""
    num_blocks = -(-n // 4)
    words = torch.empty(len(seeds), num_blocks * 4, dtype=torch.int64, device=seeds.device)
    grid = (-(-num_blocks // BLOCKS), len(seeds))
    numbers = (step, layer, purpose_number(purpose))
    assert _KERNEL is not None
    _KERNEL[grid](words, seeds, *numbers, num_blocks, BLOCKS=BLOCKS)
    return words[:, :n]


def noise_draws(
    draws: Literal["bits", "normals"], seeds: Tensor, layer: int, step: int, shape: tuple[int, int]
) -> Tensor:
    """What `draws.noise_draws` gives, for each seed: (seed, *shape)."""
    size = shape[0] * shape[1]
    if draws == "bits":
        words = stream_words(seeds, "noise", layer, step, -(-size // 4))
        return words.contiguous().view(torch.int16)[:, :size].unflatten(1, shape)
    words = stream_words(seeds, "noise", layer, step, -(-size // 2))
    return box_muller(words)[:, :size].unflatten(1, shape)


def epoch_orders(seeds: Tensor, epoch: int, num_examples: int) -> Int[Tensor, "seed example"]:
    """The orders in which an epoch (from 0) visits the examples."""
    words = stream_words(seeds, "order", 0, epoch, num_examples)
    # The words are unsigned: flipping the highest bit puts signed numbers in that order.
    return (words ^ torch.iinfo(torch.int64).min).argsort(1)


def seed_tensor(seeds: Sequence[int], device: torch.device) -> Int[Tensor, "seed"]:
    """Seeds where the kernel finds them."""
    return torch.tensor(seeds, dtype=torch.int64, device=device)
