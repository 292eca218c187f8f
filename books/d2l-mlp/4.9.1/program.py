"""A spam filter is retrained again and again while sites adapt to it."""

import numpy as np

from mlplab.answers import ours

q = ours().exercise("4.9.1").module

features, useful = q.pages(seed=0)
for reaction in (0.3, 1.0, 3.0):
    weights = q.logistic(features, useful)
    before = q.accuracy(weights, features, useful)
    print(f"reaction {reaction}: {before:.1%} right before sites react, then")
    for _ in range(8):
        now = q.adapted(features, useful, weights, reaction)
        right = q.accuracy(weights, now, useful)
        new = q.logistic(now, useful)
        moved = np.linalg.norm(new - weights)
        print(f"  {right:.1%} right, weights move by {moved:.4f}")
        weights = new
