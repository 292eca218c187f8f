"""Racing: all candidates on the same seeds, one seed after the other; who is shown to be worse drops out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats as distributions

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.study.design import Arm
from mlplab.study.tuning.bench import Bench

ALPHA = 0.05  # the best candidate drops out with at most this probability
FIRST_SEEDS = 3  # a paired t test with fewer has next to no power
TRAININGS_EACH = 5  # of the budget, for each candidate: the first seeds, and further ones for those that stay
LEAST = 2


def racing(bench: Bench, seed: int) -> None:
    """Race random settings; where budget is left, race the champion against new ones.

    Every candidate is trained to the end on the first seeds. Then whoever is worse than the leader by a paired t test
    on the shared seeds is dropped, Holm over the candidates, and the others get one more seed. Look k has the level
    alpha/2^k: over all looks of a race, the truly best candidate is dropped with probability at most alpha.

    Source: Maron and Moore 1994 (Hoeffding races); Birattari et al. 2002 (F-race), with a paired t test.
    Raises InvalidInput for a budget that does not pay for two candidates.
    """
    least = LEAST * TRAININGS_EACH * bench.epochs
    if bench.remaining < least:
        beside = f"{LEAST} candidates on {FIRST_SEEDS} seeds and more"
        rule = f"must be at least {LEAST * TRAININGS_EACH} trainings: {beside}"
        raise InvalidInput("budget", rule, bench.budget / bench.epochs)
    tried: list[Arm] = []
    champion: list[Arm] = []
    number, first = 0, seed
    while bench.remaining >= least:
        count = bench.remaining // (TRAININGS_EACH * bench.epochs) - len(champion)
        arms, number = bench.space.draws(seed, number, count, without=tried)
        if not arms:
            return
        tried += arms
        winner, seeds_used = _race(bench, [*champion, *arms], first)
        if bench.num_seeds is None:
            first += seeds_used  # the champion must win on new seeds again: its luck on the old ones is spent
        if winner is None:
            continue
        bench.lead(winner)
        champion = [winner]


def _race(bench: Bench, arms: Sequence[Arm], first_seed: int) -> tuple[Arm | None, int]:
    """The best candidate, and how many seeds were raced on."""
    standing = list(arms)
    scores = bench.scores(standing, bench.epochs, range(first_seed, first_seed + FIRST_SEEDS))
    look = 1
    while True:
        kept = survivors(scores, ALPHA / 2**look)
        standing, scores = [standing[i] for i in kept], scores[kept]
        if not standing:
            return None, scores.shape[1]
        if len(standing) == 1 or bench.remaining < len(standing) * bench.epochs:
            break
        if scores.shape[1] == bench.num_seeds:
            break
        bench.lead(standing[int(scores.mean(1).argmax())])
        following = first_seed + scores.shape[1]
        scores = np.hstack([scores, bench.scores(standing, bench.epochs, [following])])
        look += 1
    return standing[int(scores.mean(1).argmax())], scores.shape[1]


def survivors(scores: np.ndarray, alpha: float) -> list[int]:
    """Places of the candidates (candidate, seed) that are not shown to be worse than the leader, at family level alpha.

    One that diverged on any seed is out. By one-sided paired t tests against the leader, adjusted after Holm.
    """
    alive = np.flatnonzero(np.isfinite(scores).all(1))
    if len(alive) < 2:
        return alive.tolist()
    held = scores[alive]
    leader = int(held.mean(1).argmax())
    rivals = [place for place in range(len(alive)) if place != leader]
    p = stats.holm([_p_worse(held[leader] - held[place]) for place in rivals])
    out = {alive[place] for place, value in zip(rivals, p, strict=True) if value < alpha}
    return [int(place) for place in alive if place not in out]


def _p_worse(differences: np.ndarray) -> float:
    """One-sided p of 'the mean difference is not above 0'."""
    spread = differences.std(ddof=1)
    if spread == 0:
        # All seeds agree to the last digit: a sign test, as t is undefined.
        return 0.5 ** len(differences) if differences[0] > 0 else 1.0
    t = differences.mean() / (spread / math.sqrt(len(differences)))
    return float(distributions.t.sf(t, len(differences) - 1))
