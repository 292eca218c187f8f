"""Random streams named by (seed, purpose, layer, step).

A stream is a place in the output of one counter-based generator, Philox-4x64-10: the seed is its key, and
purpose, layer and step are words of its counter. So a stream is found without drawing those before it, no two
names share a number, and a run draws the same numbers alone, beside a thousand others, or on another machine.

Only the generator's raw 64-bit words are used. Everything else is derived from them here, because the
distributions of `numpy.random.Generator` may change between releases of NumPy, and stored results must not.

Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (SC'11), section 3.3.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from scipy.special import ndtri

Purpose = Literal["init", "order", "noise", "split", "data", "search"]

# The numbers stand in every stored result: append, never renumber.
_PURPOSES: dict[str, int] = {"init": 1, "order": 2, "noise": 3, "split": 4, "data": 5, "search": 6}


class _Generator(threading.local):
    """One generator a thread, sent from place to place: making a new one takes ten times as long."""

    def __init__(self) -> None:
        self._philox = np.random.Philox(0)
        # Counter words, least significant first. The first counts blocks of four 64-bit numbers in the stream.
        self._counter, self._key = np.zeros(4, dtype=np.uint64), np.zeros(2, dtype=np.uint64)
        place = {"counter": self._counter, "key": self._key}
        self._state: Any = self._philox.state | {"state": place, "buffer_pos": 4, "has_uint32": 0}

    def at(self, counter: list[int]) -> _Generator:
        self._counter[:] = counter
        return self

    def draw(self, seed: int, n: int) -> np.ndarray:
        self._key[0] = seed
        self._philox.state = self._state
        return self._philox.random_raw(n)


_GENERATORS = _Generator()


class Stream:
    """The random numbers of one (seed, purpose, layer, step). Each call draws on from where the last one stopped.

    Arguments:
      seed: 0 <= seed < 2**63; the replicate.
      purpose: what the numbers are for. `init` weights, `order` of the examples, `noise` in training,
        `split` of a data set, `data` of a synthetic problem, `search` for what hyperparameters are tried.
      layer: index of the layer, from 0, where each layer has numbers of its own.
      step: index of the update (or of the epoch, for `order`), from 0.
    """

    def __init__(self, seed: int, purpose: Purpose, layer: int = 0, step: int = 0) -> None:
        # `index`: an array would cut 1.5 to 1.
        words = (operator.index(word) for word in (seed, step, layer, _PURPOSES[purpose]))
        self._seed, *self._name = words
        if min(self._seed, *self._name) < 0:
            raise ValueError(
                f"seed, layer and step of a stream must be at least 0; got {seed}, {layer}, {step}"
            )
        self._drawn = 0

    def bits(self, n: int) -> np.ndarray:
        """`n` words of 64 random bits: uint64 (n,)."""
        block, skipped = divmod(self._drawn, 4)
        generator = _GENERATORS.at([block, *self._name])
        self._drawn += n
        return generator.draw(self._seed, skipped + n)[skipped:]

    def bits16(self, n: int) -> np.ndarray:
        """`n` words of 16 random bits: int16 (n,). A mask needs no more, and these cost a quarter.

        Least significant first. Signed, because PyTorch compares no unsigned ones; the order of values is that of
        the signed numbers.
        """
        return self.bits(math.ceil(n / 4)).astype("<u8", copy=False).view("<i2")[:n]

    def uniform(self, shape: int | tuple[int, ...]) -> np.ndarray:
        """Uniform on the open interval (0, 1): float64, 52 bits."""
        n = math.prod(shape) if isinstance(shape, tuple) else shape
        # Centred in its cell, so that 0 and 1 never occur and `normal` stays finite. 52 bits, not 53: with 53
        # the last cell's centre rounds to 1.
        words = (self.bits(n) >> np.uint64(12)).astype(np.float64)
        return ((words + 0.5) * 2.0**-52).reshape(shape)

    def normal(self, shape: int | tuple[int, ...]) -> np.ndarray:
        """Standard normal by inversion of the distribution function: float64. For weights and data."""
        return ndtri(self.uniform(shape))

    def normals(self, n: int) -> np.ndarray:
        """`n` standard normal numbers for noise: float64 (n,), two from each word, twice as fast as `normal`.

        √(-2 ln u)·cos(2πv) and √(-2 ln u)·sin(2πv), with u = (high half + 1/2)/2^32 and v = low half/2^32: none is
        larger than 6.77 in size. Bits of the words are the same everywhere, the numbers to rounding.

        Source: Box and Muller 1958, A note on the generation of random normal deviates.
        """
        words = torch.from_numpy(self.bits(math.ceil(n / 2)).view(np.int64))
        return box_muller(words)[:n].numpy()

    def permutation(self, n: int) -> np.ndarray:
        """A random order of 0..n-1: int64 (n,)."""
        # Words of 64 bits do not tie: NumPy's quickest sort gives the order that any other gives.
        return np.argsort(self.bits(n))


def words(seeds: Sequence[int], purpose: Purpose, layer: int, step: int, n: int) -> np.ndarray:
    """The first `n` words of the stream of each seed: uint64 (seed, n), as `Stream.bits` gives them."""
    generator = _GENERATORS.at([0, step, layer, _PURPOSES[purpose]])
    drawn = np.empty((len(seeds), n), dtype=np.uint64)
    for row, seed in enumerate(seeds):
        drawn[row] = generator.draw(seed, n)
    return drawn


def box_muller(words: torch.Tensor) -> torch.Tensor:
    """Two standard normal numbers from each word of 64 bits (`Stream.normals`): int64 (..., n) to float64 (..., 2n)."""
    low, high = (words & 0xFFFFFFFF).double(), ((words >> 32) & 0xFFFFFFFF).double()
    radius = high.add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    angle = low.mul_(2 * math.pi * 2.0**-32)
    drawn = torch.empty(*words.shape, 2, dtype=torch.float64, device=words.device)
    torch.mul(radius, angle.cos(), out=drawn[..., 0])
    torch.mul(radius, angle.sin_(), out=drawn[..., 1])
    return drawn.flatten(-2)


def purpose_number(purpose: str) -> int:
    """The counter word that stands for a purpose."""
    return _PURPOSES[purpose]
