"""Successive halving and Hyperband: many settings for a few epochs, the better ones for longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlplab.errors import InvalidInput
from mlplab.study.design import Arm
from mlplab.study.tuning.bench import Bench

if TYPE_CHECKING:
    from jaxtyping import Float

ETA = 3


@dataclass(frozen=True)
class Rung:
    """So many settings are trained up to so many epochs, together."""

    num_settings: int
    epochs: int


@dataclass(frozen=True)
class Bracket:
    """Settings, and the rungs that they climb."""

    arms: list[Arm]
    ladder: list[Rung]


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


def cost(ladder: Sequence[Rung], *, goes_on: bool = True) -> int:
    """Epochs that a bracket takes where each rung goes on from the last one, or else begins anew."""
    total, passed = 0, 0
    for rung in ladder:
        total += rung.num_settings * (rung.epochs - passed)
        passed = rung.epochs if goes_on else 0
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
    count = eta**s
    _refuse_small(bench, rungs(count, s, bench.epochs, eta))
    while cost(rungs(count + 1, s, bench.epochs, eta), goes_on=bench.goes_on) <= bench.remaining:
        count += 1
    arms, _ = bench.space.draws(seed, 0, count)
    _climb(bench, [Bracket(arms, rungs(count, s, bench.epochs, eta))], seed)


def hyperband(bench: Bench, seed: int, eta: int = ETA) -> None:
    """Brackets from the most eager (many settings, one epoch at first) to plain random search, again and again.

    A bracket that the budget does not afford is left out, and the next smaller one tried. No bracket waits for another:
    all that the budget affords climb side by side, and are counted one after the other.

    Source: Li et al. 2018, Hyperband: a novel bandit-based approach to hyperparameter optimization (JMLR 18),
    algorithm 1.
    Raises InvalidInput for a budget below the first bracket.
    """
    highest = highest_bracket(bench.epochs, eta)
    ladders = [
        rungs(bracket_size(s, bench.epochs, eta), s, bench.epochs, eta) for s in range(highest, -1, -1)
    ]
    _refuse_small(bench, ladders[0])
    tried: list[Arm] = []
    number, best = 0, -math.inf
    # Where settings diverge, brackets cost less than was planned: what is left affords more of them.
    while planned := _affordable(ladders, bench):
        brackets = []
        for ladder in planned:
            arms, number = bench.space.draws(seed, number, ladder[0].num_settings, without=tried)
            tried += arms
            if arms:
                brackets.append(Bracket(arms, ladder))
        if not brackets:
            return  # the space has no other setting
        best = _climb(bench, brackets, seed, best)


def _affordable(ladders: Sequence[list[Rung]], bench: Bench) -> list[list[Rung]]:
    """The ladders in turn, again and again, without those that what is left of the budget does not afford."""
    costs = [cost(ladder, goes_on=bench.goes_on) for ladder in ladders]
    found, left = [], bench.remaining
    while min(costs) <= left:
        for ladder, needed in zip(ladders, costs, strict=True):
            if needed <= left:
                found.append(ladder)
                left -= needed
    return found


def _climb(bench: Bench, brackets: Sequence[Bracket], seed: int, best: float = -math.inf) -> float:
    """Train brackets; a setting that is better than `best` in a last rung leads. The best score now."""
    for bracket, steps in zip(brackets, _train(bench, brackets, seed), strict=True):
        for rung, (arms, scores) in zip(bracket.ladder, steps, strict=False):
            bench.book(arms, rung.epochs, [seed], scores)
            for place in promoted(scores[:, 0], 1):
                if rung is bracket.ladder[-1] and scores[place, 0] > best:
                    best = float(scores[place, 0])
                    bench.lead(arms[place])
                elif not bench.leads:
                    bench.lead(arms[place])  # better than nothing, until the first bracket has ended
    return best


def _train(
    bench: Bench, brackets: Sequence[Bracket], seed: int
) -> list[list[tuple[list[Arm], Float[np.ndarray, "arm 1"]]]]:
    """Settings and scores of each rung of each bracket. Rungs of as many epochs are one program."""
    steps: list[list[tuple[list[Arm], np.ndarray]]] = [[] for _ in brackets]
    standing = [bracket.arms for bracket in brackets]
    for epochs in sorted({rung.epochs for bracket in brackets for rung in bracket.ladder}):
        climbing = [
            place
            for place, bracket in enumerate(brackets)
            if standing[place] and bracket.ladder[len(steps[place])].epochs == epochs
        ]
        if not climbing:
            continue
        found = bench.evaluate([arm for place in climbing for arm in standing[place]], epochs, [seed])
        ends = np.cumsum([len(standing[place]) for place in climbing])
        for place, scores in zip(climbing, np.split(found, ends[:-1]), strict=True):
            arms = standing[place]
            steps[place].append((arms, scores))
            above = brackets[place].ladder[len(steps[place]) :]
            chosen = promoted(scores[:, 0], above[0].num_settings) if above else []
            standing[place] = [arms[number] for number in chosen]
    return steps


def _refuse_small(bench: Bench, ladder: Sequence[Rung]) -> None:
    least = cost(ladder, goes_on=bench.goes_on)
    if bench.remaining < least:
        rule = f"must be at least {-(-least // bench.epochs)} trainings of {bench.epochs} epochs for a first bracket"
        raise InvalidInput("budget", rule, bench.budget / bench.epochs)
