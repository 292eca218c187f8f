"""A spam filter is retrained again and again while sites adapt to it."""

import numpy as np

from mlplab.answers.s4_9_environment.q1_search_engine import (
    accuracy,
    adapted,
    logistic,
    pages,
)

features, useful = pages(seed=0)
for reaction in (0.3, 1.0, 3.0):
    weights = logistic(features, useful)
    before = accuracy(weights, features, useful)
    print(f"reaction {reaction}: {before:.1%} right before sites react, then")
    for _ in range(8):
        now = adapted(features, useful, weights, reaction)
        right = accuracy(weights, now, useful)
        new = logistic(now, useful)
        moved = np.linalg.norm(new - weights)
        print(f"  {right:.1%} right, weights move by {moved:.4f}")
        weights = new
