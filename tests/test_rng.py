"""Laws of the random streams. What is pinned stands in every stored result: change it, and all are wrong."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats

from mlplab import rng
from mlplab.rng import Purpose, Stream

PURPOSES = list(rng._PURPOSES)
LARGEST = 2**63 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox-4x64-10, written from Salmon et al. 2011, section 3.3: one block of four words."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [b >> 64 ^ c[1] ^ k[0], b % 2**64, a >> 64 ^ c[3] ^ k[1], a % 2**64]
        k = [(k[0] + 0x9E3779B97F4A7C15) % 2**64, (k[1] + 0xBB67AE8584CAA73B) % 2**64]
    return c


# Pinned: stored results depend on them


def test_this_philox_is_the_published_one():
    """The known answer of the Random123 library for counter and key zero."""
    published = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox([0, 0, 0, 0], [0, 0]) == published


@pytest.mark.parametrize("seed", [0, 1, 12345, LARGEST])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_stream_is_philox_at_the_place_its_name_says(seed, purpose):
    """Key: the seed. Counter: block (from 1), step, layer, purpose."""
    for layer, step in [(0, 0), (0, 7), (3, 0), (2, 10**6)]:
        expected = [
            word
            for block in (1, 2, 3)
            for word in philox([block, step, layer, rng._PURPOSES[purpose]], [seed, 0])
        ]
        assert Stream(seed, purpose, layer, step).bits(12).tolist() == expected


@pytest.mark.parametrize(
    ("purpose", "first", "second"),
    [
        ("init", 0xAEB3FE18FFF39998, 0x7E9DDDBDF7D45265),
        ("order", 0x2EE60EB1A96A592A, 0xCFE0482B2C8AB3C9),
        ("noise", 0xBCE276B8182DE001, 0xCD65CCA231426960),
        ("split", 0x55FA9E9FA69126EE, 0x71BE3A48C862E3A7),
        ("data", 0xDF2953149F6BA7DB, 0x6CDAB31B0244A282),
        ("search", 0xA8448E7B21BA6C8B, 0x96981F89432F284B),
    ],
)
def test_first_words_of_each_purpose_are_pinned(purpose, first, second):
    """Seed 0, layer 1, step 2. They stand in stored results: append purposes, never renumber."""
    assert Stream(0, purpose, 1, 2).bits(2).tolist() == [first, second]


def test_what_is_derived_from_the_words_is_pinned():
    """These too stand in stored results. To 1e-15: the inverse of the normal distribution is SciPy's."""
    uniform = Stream(0, "data").uniform(3)
    assert uniform == pytest.approx(
        [(w // 2**12 + 0.5) / 2**52 for w in philox([1, 0, 0, 5], [0, 0])[:3]], abs=0
    )
    assert Stream(0, "data").normal(3) == pytest.approx(stats.norm.ppf(uniform), rel=1e-15)
    assert Stream(1, "order").permutation(8).tolist() == np.argsort(Stream(1, "order").bits(8)).tolist()
    words = Stream(0, "noise").bits(2).tolist()
    pieces = [word >> 16 * i & 0xFFFF for word in words for i in range(4)]
    found = [piece % 2**16 for piece in Stream(0, "noise").bits16(8).tolist()]
    assert found == pieces, "least significant first, on any machine"


def test_normals_are_box_muller_of_the_halves_of_each_word():
    """Written here with Python's own functions. To 1e-14: the last digits are the machine's."""
    expected = []
    for word in Stream(0, "noise").bits(50).tolist():
        radius = math.sqrt(-2 * math.log(((word >> 32) + 0.5) / 2**32))
        angle = 2 * math.pi * (word % 2**32) / 2**32
        expected += [radius * math.cos(angle), radius * math.sin(angle)]
    assert Stream(0, "noise").normals(100) == pytest.approx(expected, rel=0, abs=1e-14)


def test_every_purpose_has_its_number():
    assert set(PURPOSES) == set(get_args(Purpose))
    assert len(set(rng._PURPOSES.values())) == len(PURPOSES)


# Names


def test_no_two_names_share_a_block():
    """10,080 names and the first two blocks of each: their counters differ, and so do all of their words."""
    names = list(
        itertools.product([0, 1, 2, LARGEST], PURPOSES, range(6), [*range(80), 2**31, 2**32, 2**40, 2**62])
    )
    words = np.concatenate([Stream(*name).bits(8) for name in names])
    # 80,640 words of 64 bits coincide by chance with probability 2e-10: a repeated word is a shared block.
    assert len(np.unique(words)) == len(words) == 8 * len(names)


def test_the_same_name_has_the_same_numbers():
    for name in itertools.product([0, 5], PURPOSES, [0, 2], [0, 9]):
        assert np.array_equal(Stream(*name).bits(9), Stream(*name).bits(9))


def test_layer_and_step_are_zero_where_not_given():
    assert np.array_equal(Stream(3, "init").bits(4), Stream(3, "init", 0, 0).bits(4))
    assert not np.array_equal(Stream(3, "init", 1, 0).bits(4), Stream(3, "init", 0, 1).bits(4))


@pytest.mark.parametrize("integer", [np.int64, np.uint64, np.int8, torch.tensor])
def test_an_integer_of_any_kind_is_the_same_seed(integer):
    assert np.array_equal(
        Stream(integer(5), "noise", integer(1), integer(2)).bits(4), Stream(5, "noise", 1, 2).bits(4)
    )


@pytest.mark.parametrize("bad", [1.0, 1.5, "3", None, [1], (1, 2), math.nan, np.float64(2)])
@pytest.mark.parametrize("place", ["seed", "layer", "step"])
def test_a_name_is_made_of_integers(bad, place):
    """None above all: it would draw a key from the system, and no result could be had again."""
    with pytest.raises(TypeError):
        Stream(**({"seed": 0, "purpose": "noise"} | {place: bad}))


def test_an_unknown_purpose_and_a_negative_number_are_refused():
    with pytest.raises(KeyError):
        Stream(0, "nose")
    for name in ((-1, "noise"), (0, "noise", -1), (0, "noise", 0, -1)):
        with pytest.raises(ValueError, match="at least 0"):
            Stream(*name)


def test_streams_leave_the_global_generators_alone():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    stream = Stream(0, "noise")
    stream.normal(10)
    stream.permutation(10)
    stream.normals(10)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


# Drawing on


@pytest.mark.parametrize("draw", ["bits", "uniform", "normal"])
def test_drawn_in_pieces_as_at_once(draw):
    whole, pieces = Stream(2, "data"), Stream(2, "data")
    expected = getattr(whole, draw)(23)
    found = np.concatenate([getattr(pieces, draw)(n) for n in (1, 0, 5, 2, 15)])
    assert np.array_equal(found, expected)


def test_normals_are_drawn_in_whole_words():
    """Pieces of two continue each other, to rounding; what is left of the last word is not used again."""
    expected = Stream(2, "noise").normals(12)
    stream = Stream(2, "noise")
    assert np.concatenate([stream.normals(2), stream.normals(10)]) == pytest.approx(expected, abs=1e-14)
    stream = Stream(2, "noise")
    assert stream.normals(3) == pytest.approx(expected[:3], abs=1e-14)
    assert stream.normals(2) == pytest.approx(expected[4:6], abs=1e-14)


def test_16_bits_are_drawn_in_whole_words():
    """Pieces of four 16-bit words continue each other; what is left of the last word is not used again."""
    expected = Stream(2, "noise").bits16(12)
    stream = Stream(2, "noise")
    assert np.array_equal(np.concatenate([stream.bits16(4), stream.bits16(8)]), expected)
    stream = Stream(2, "noise")
    assert np.array_equal(stream.bits16(3), expected[:3])
    assert np.array_equal(stream.bits16(4), expected[4:8])


@pytest.mark.parametrize("shape", [0, 1, 7, (), (3,), (2, 5), (0, 4)])
def test_shapes(shape):
    expected = (shape,) if isinstance(shape, int) else shape
    for draw in ("uniform", "normal"):
        found = getattr(Stream(0, "data"), draw)(shape)
        assert found.shape == expected
        assert found.dtype == np.float64
    assert Stream(0, "data").bits(3).dtype == np.uint64
    assert Stream(0, "data").bits16(3).dtype == np.int16
    for n in (0, 1, 7):
        found = Stream(0, "data").normals(n)
        assert (found.shape, found.dtype) == ((n,), np.float64)


# Distributions. Kolmogorov-Smirnov tests of 100,000 draws with a fixed seed: they pass always, or never.


def test_uniform_is_uniform():
    assert stats.kstest(Stream(1, "data").uniform(100_000), "uniform").pvalue > 1e-3


def test_normal_is_normal():
    assert stats.kstest(Stream(1, "data").normal(100_000), "norm").pvalue > 1e-3


def test_normals_are_normal_and_the_two_of_a_word_independent():
    drawn = Stream(1, "noise").normals(100_000)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    one, other = drawn[::2], drawn[1::2]
    # 5 standard errors of 50,000 pairs; squares show a dependence that the numbers themselves would hide.
    for x, y in ((one, other), (one**2, other**2), (np.abs(one), other)):
        assert abs(np.corrcoef(x, y)[0, 1]) <= 5 / math.sqrt(50_000)


def test_bits16_are_uniform():
    counts = np.bincount(Stream(1, "noise").bits16(100_000) // 1024 + 32, minlength=64)
    assert len(counts) == 64
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("word", [0, 1, 2**12 - 1, 2**63, 2**64 - 2**12, 2**64 - 1])
def test_uniform_is_on_the_open_interval_and_normal_finite(monkeypatch, word):
    """At the words where rounding could reach 0 or 1: the least and the largest."""
    stream = Stream(0, "data")
    monkeypatch.setattr(stream, "bits", lambda n: np.full(n, word, dtype=np.uint64))
    assert 0 < stream.uniform(1)[0] < 1
    assert math.isfinite(stream.normal(1)[0])
    assert np.abs(stream.normals(2)).max() < 6.77


def test_steps_layers_and_seeds_are_uncorrelated():
    """Correlations of 10,000 draws: 5 standard errors are 0.05."""
    names = [(0, "noise", 0, step) for step in range(8)]
    names += [(0, "noise", 1, 0), (1, "noise", 0, 0), (0, "order", 0, 0), (2**62, "noise", 0, 0)]
    correlations = np.corrcoef([Stream(*name).normal(10_000) for name in names]) - np.eye(len(names))
    assert np.abs(correlations).max() <= 0.05


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_is_a_permutation(n):
    order = Stream(4, "order").permutation(n)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))


def test_permutations_are_even_handed():
    """All 24 orders of four, over 4,800 epochs: a chi-squared test with a fixed seed."""
    found = [tuple(Stream(0, "order", step=epoch).permutation(4)) for epoch in range(4800)]
    counts = [found.count(order) for order in itertools.permutations(range(4))]
    assert sum(counts) == 4800
    assert stats.chisquare(counts).pvalue > 1e-3
