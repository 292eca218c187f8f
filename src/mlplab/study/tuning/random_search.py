"""Random search: as many random settings as the budget has whole trainings."""

from __future__ import annotations

import math

from mlplab.errors import InvalidInput
from mlplab.study.tuning.bench import Bench


def random_search(bench: Bench, seed: int) -> None:
    """Train random settings as one program; the best one leads.

    Source: Bergstra and Bengio 2012, Random search for hyper-parameter optimization (JMLR 13).
    Raises InvalidInput for a budget below one training.
    """
    before, count = bench.spent, bench.remaining // bench.epochs
    if count < 1:
        raise InvalidInput("budget", "must be at least 1 training", bench.budget / bench.epochs)
    arms, _ = bench.space.draws(seed, 0, count)
    best = -math.inf
    for number, score in enumerate(bench.scores(arms, bench.epochs, [seed])[:, 0], start=1):
        if score > best:
            best = score
            bench.lead(arms[number - 1], before + number * bench.epochs)
