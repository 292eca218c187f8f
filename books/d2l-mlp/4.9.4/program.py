"""Three ways to fool oneself without any shift of the distribution."""

import numpy as np

from mlplab.answers import ours

q = ours().exercise("4.9.4").module

rng = np.random.default_rng(0)
print("Too few examples: how far the mean of n squared errors is off")
for n in (100, 400, 1600):
    gaps = np.abs((rng.normal(size=(500, n)) ** 2).mean(1) - 1)
    gap = gaps.mean()
    print(f"  n = {n}: {gap:.4f}, times the root of n {gap * n**0.5:.2f}")

print("A test set of 1000 rows that scores guesses, which then vote")
found = [q.attack(seed) for seed in range(3)]
for place, queries in enumerate(q.QUERIES):
    reused = np.mean([one[place]["reused"] for one in found])
    fresh = np.mean([one[place]["fresh"] for one in found])
    print(f"  {queries} queries: {reused:.1%} on it, {fresh:.1%} on fresh rows")

print("The best 20 of 1000 features of noise: cross-validated accuracy")
for name, outside in ("before the folds", True), ("inside them", False):
    right = np.mean([q.leaky(seed, outside=outside) for seed in range(20)])
    print(f"  chosen {name}: {right:.1%}")
