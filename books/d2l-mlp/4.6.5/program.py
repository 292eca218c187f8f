"""Dropout of a linear model's inputs is a penalty: all masks summed."""

import itertools

import numpy as np

rng = np.random.default_rng(0)
x, y, w = (rng.normal(size=size) for size in [(20, 6), 20, 6])
p = 0.3

expected = 0.0
for mask in itertools.product((0, 1), repeat=6):
    share = np.prod(np.where(mask, 1 - p, p))
    expected += share * np.sum((y - x @ (w * mask) / (1 - p)) ** 2)

plain = np.sum((y - x @ w) ** 2)
penalty = p / (1 - p) * np.sum(w**2 * np.diag(x.T @ x))
print(f"squared error, mean over all 64 masks:  {expected:.10f}")
print(f"squared error without noise, + penalty: {plain + penalty:.10f}")
