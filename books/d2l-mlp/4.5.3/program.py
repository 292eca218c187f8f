"""The lasso by proximal steps: scikit-learn's weights, with exact zeros."""

import numpy as np
from sklearn.linear_model import Lasso

from mlplab import data

problem = data.load("linear-high-dim", draw=0).train
X = problem.features.astype(float)
y = problem.targets[:, 0].astype(float)
n, rate, strength = len(y), 0.02, 0.05

w, b, v = np.zeros(200), 0.0, np.zeros(200)
for _ in range(5000):
    error = X @ w + b - y
    w = w - rate * X.T @ error / n  # the step of the loss, then of the penalty
    w = np.sign(w) * np.maximum(np.abs(w) - rate * strength, 0)
    b = b - rate * error.mean()
    # The subgradient step, without bias: it jumps over 0.
    v = v - rate * (X.T @ (X @ v - y) / n + strength * np.sign(v))

lasso = Lasso(alpha=strength, tol=1e-12, max_iter=10**6).fit(X, y)
print("largest difference from scikit-learn:", np.abs(w - lasso.coef_).max())
print("weights exactly 0, proximal:   ", (w == 0).sum(), "of", len(w))
print("weights exactly 0, subgradient:", (v == 0).sum(), "of", len(v))
