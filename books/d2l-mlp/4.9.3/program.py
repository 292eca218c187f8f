"""Correct a covariate shift: Shimodaira's line, with a classifier's weights."""

import numpy as np

from mlplab.shift.classifier_weights import ClassifierWeights

rng = np.random.default_rng(0)


def truth(x):
    return -x + x**3


source = rng.normal(0.5, 0.5, 1000)
y = truth(source) + rng.normal(0, 0.3, 1000)
target = rng.normal(0, 0.3, 1000)  # no labels

found = ClassifierWeights("quadratic").fit(source[:, None], target[:, None])
worth = found.correction_.effective_sample_size
print(f"1000 weighted rows are worth {worth:.0f}; {found.correction_.warnings}")

for name, weights in ("none", np.ones(1000)), ("classifier", found.weights_):
    slope, constant = np.polyfit(source, y, 1, w=np.sqrt(weights))
    x = rng.normal(0, 0.3, 100_000)
    error = np.mean((slope * x + constant - truth(x)) ** 2)
    print(f"weights {name}: line {constant:.2f} + {slope:.2f} x,", end=" ")
    print(f"error on the target {error:.4f}")
