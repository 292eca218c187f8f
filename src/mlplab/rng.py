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
from typing import Literal

import numpy as np
import torch
from scipy.special import ndtri

Purpose = Literal["init", "order", "noise", "split", "data"]

# The numbers stand in every stored result: append, never renumber.
_PURPOSES: dict[str, int] = {"init": 1, "order": 2, "noise": 3, "split": 4, "data": 5}


class Stream:
    """The random numbers of one (seed, purpose, layer, step). Each call draws on from where the last one stopped.

    Arguments:
      seed: 0 <= seed < 2**63; the replicate.
      purpose: what the numbers are for. `init` weights, `order` of the examples, `noise` in training,
        `split` of a data set, `data` of a synthetic problem.
      layer: index of the layer, from 0, where each layer has numbers of its own.
      step: index of the update (or of the epoch, for `order`), from 0.
    """

    def __init__(self, seed: int, purpose: Purpose, layer: int = 0, step: int = 0) -> None:
        # Counter words, least significant first. The first counts blocks of four 64-bit numbers in the stream.
        # `index`: Philox would cut 1.5 to 1, and take None for a key from the system's entropy.
        counter = [0, operator.index(step), operator.index(layer), _PURPOSES[purpose]]
        self._bits = np.random.Philox(key=operator.index(seed), counter=counter)

    def bits(self, n: int) -> np.ndarray:
        """`n` words of 64 random bits: uint64 (n,)."""
        return self._bits.random_raw(n)

    def bits16(self, n: int) -> np.ndarray:
        """`n` words of 16 random bits: uint16 (n,). A mask needs no more, and these cost a quarter."""
        return self.bits(math.ceil(n / 4)).astype("<u8", copy=False).view("<u2")[:n]

    def uniform(self, shape: int | tuple[int, ...]) -> np.ndarray:
        """Uniform on the open interval (0, 1): float64, 52 bits."""
        n = math.prod(shape) if isinstance(shape, tuple) else shape
        # Centred in its cell, so that 0 and 1 never occur and `normal` stays finite. 52 bits, not 53: with 53
        # the last cell's centre rounds to 1.
        words = (self.bits(n) >> np.uint64(12)).astype(np.float64)
        return ((words + 0.5) * 2.0**-52).reshape(shape)

    def normal(self, shape: int | tuple[int, ...]) -> np.ndarray:
        """Standard normal by inversion of the distribution function: float64."""
        return ndtri(self.uniform(shape))

    def permutation(self, n: int) -> np.ndarray:
        """A random order of 0..n-1: int64 (n,)."""
        return np.argsort(self.bits(n), kind="stable")

    def torch_generator(self) -> torch.Generator:
        """A CPU generator for library code that wants one (`torch.nn.init`), seeded from this stream."""
        return torch.Generator().manual_seed(int(self.bits(1)[0] >> np.uint64(1)))
