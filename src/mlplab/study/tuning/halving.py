"""Successive halving and Hyperband: many settings for a few epochs, the better ones for longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlplab.errors import InvalidInput
from mlplab.study.design import Arm
from mlplab.study.tuning.bench import Bench

ETA = 3


@dataclass(frozen=True)
class Rung:
    """So many settings are trained up to so many epochs, together."""

    num_settings: int
    epochs: int


def highest_bracket(epochs: int, eta: int = ETA) -> int:
    """How often the epochs can be divided by eta: the largest s with eta^s at most `epochs`."""
    s = 0
    while eta ** (s + 1) <= epochs:
        s += 1
    return s


def bracket_size(s: int, epochs: int, eta: int = ETA) -> int:
    """Settings that bracket s of Hyperband starts with: ceil((B/R)·eta^s/(s+1)), with B = (s_max + 1)·R.

    The paper's algorithm 1 as in JMLR 2018: R = 81 and eta = 3 give 81, 34, 15, 8, 5. An older printing rounds
    B/R/(s+1) down first, and gives 81, 27, 9, 6, 5.
    """
    return -(-(highest_bracket(epochs, eta) + 1) * eta**s // (s + 1))


def rungs(num_settings: int, s: int, epochs: int, eta: int = ETA) -> list[Rung]:
    """Successive halving in s steps up to `epochs`: rung i has floor(n·eta^-i) settings and R·eta^(i-s) epochs.

    Where R is no power of eta, epochs are rounded; every rung has at least one setting and one epoch.
    """
    return [
        Rung(max(num_settings // eta**i, 1), max(round(epochs / eta ** (s - i)), 1)) for i in range(s + 1)
    ]


def cost(ladder: Sequence[Rung]) -> int:
    """Epochs that a bracket takes where each rung goes on from the last one."""
    total, passed = 0, 0
    for rung in ladder:
        total += rung.num_settings * (rung.epochs - passed)
        passed = rung.epochs
    return total


def promoted(scores: np.ndarray, count: int) -> list[int]:
    """Places of the `count` best scores, best first; of equal ones those that come first. None that diverged."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [int(place) for place in order if math.isfinite(scores[place])]


def halving(bench: Bench, seed: int, eta: int = ETA) -> None:
    """One bracket of successive halving with as many settings as the budget affords.

    Source: Jamieson and Talwalkar 2016, Non-stochastic best arm identification (AISTATS).
    Raises InvalidInput for a budget below eta^s settings, with which the last rung would have none to choose from.
    """
    s = highest_bracket(bench.epochs, eta)
    _refuse_small(bench, cost(rungs(eta**s, s, bench.epochs, eta)))
    count = eta**s
    while cost(rungs(count + 1, s, bench.epochs, eta)) <= bench.remaining:
        count += 1
    arms, _ = bench.space.draws(seed, 0, count)
    _climb(bench, arms, rungs(count, s, bench.epochs, eta), seed, -math.inf)


def hyperband(bench: Bench, seed: int, eta: int = ETA) -> None:
    """Brackets from the most eager (many settings, one epoch at first) to plain random search, again and again.

    A bracket that the budget does not afford is left out, and the next smaller one tried.

    Source: Li et al. 2018, Hyperband: a novel bandit-based approach to hyperparameter optimization (JMLR 18),
    algorithm 1.
    Raises InvalidInput for a budget below the first bracket.
    """
    highest = highest_bracket(bench.epochs, eta)
    ladders = {
        s: rungs(bracket_size(s, bench.epochs, eta), s, bench.epochs, eta) for s in range(highest, -1, -1)
    }
    _refuse_small(bench, cost(ladders[highest]))
    tried: list[Arm] = []
    number, best = 0, -math.inf
    while any(cost(ladder) <= bench.remaining for ladder in ladders.values()):
        for ladder in ladders.values():
            if cost(ladder) > bench.remaining:
                continue
            arms, number = bench.space.draws(seed, number, ladder[0].num_settings, without=tried)
            if not arms:
                return  # the space has no other setting
            tried += arms
            best = _climb(bench, arms, ladder, seed, best)


def _climb(bench: Bench, arms: list[Arm], ladder: Sequence[Rung], seed: int, best: float) -> float:
    """Train a bracket; the best setting of its last rung leads if it is better than `best`. The best score now."""
    for rung, after in zip(ladder, [*ladder[1:], None], strict=True):
        scores = bench.scores(arms, rung.epochs, [seed])[:, 0]
        places = promoted(scores, after.num_settings if after else 1)
        if not places:
            return best
        arms = [arms[place] for place in places]
        if after is None and scores[places[0]] > best:
            best = float(scores[places[0]])
            bench.lead(arms[0])
        elif not bench.leads:
            bench.lead(arms[0])  # better than nothing, until the first bracket has ended
    return best


def _refuse_small(bench: Bench, least: int) -> None:
    if bench.remaining < least:
        rule = f"must be at least {-(-least // bench.epochs)} trainings of {bench.epochs} epochs for a first bracket"
        raise InvalidInput("budget", rule, bench.budget / bench.epochs)
