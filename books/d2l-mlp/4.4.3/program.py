"""The polynomial fit without the factorial: rates, losses, remedies."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from torch import nn

# %% data
true_w = [5, 1.2, -3.4, 5.6]
rng = np.random.default_rng(0)


def features(x, degree, kind):
    """A column for each power of x, made in one of four ways."""
    powers = x[:, None] ** np.arange(degree + 1)
    if kind == "x^i / i!":
        powers /= [math.factorial(i) for i in range(degree + 1)]
    elif kind == "standardised":
        powers[:, 1:] -= powers[:, 1:].mean(0)
        powers[:, 1:] /= powers[:, 1:].std(0)
    elif kind == "Legendre":
        powers = legvander(x / abs(x).max(), degree)
    return powers


# %% result
# Descent on the mean squared error is stable up to this rate: 2 over the
# largest eigenvalue of the Hessian, 2 A'A / n. The section uses 0.01.
inputs = rng.normal(size=(100, 100))  # 100 draws of the section's 100
logs = {}
for kind in ("x^i", "x^i / i!", "standardised", "Legendre"):
    for degree in (3, 5, 19):
        tops = [np.linalg.norm(features(x, degree, kind), 2) for x in inputs]
        logs[kind, degree] = float(np.mean(np.log(100 / np.square(tops))))
    rates = [f"{math.exp(logs[kind, d]):.2g}" for d in (3, 5, 19)]
    print(f"{kind:13} largest rate, degree 3, 5, 19: {', '.join(rates)}")
log_rate_3, log_rate_5 = logs["x^i", 3], logs["x^i", 5]
log_standardised = logs["standardised", 19]

rank = np.linalg.matrix_rank(np.log(abs(inputs[0][:, None]) ** range(1, 6)))
print("rank of the logarithms of five powers:", rank)

# %% training
torch.manual_seed(0)
x = inputs[1]
y = sum(w * x**i / math.factorial(i) for i, w in enumerate(true_w))
y = torch.tensor(y + 0.1 * rng.normal(size=100)).float()
curves = {}
for kind, degree in (("x^i", 3), ("x^i", 5), ("x^i / i!", 5)):
    A = torch.tensor(features(x, degree, kind)).float()
    w = nn.Linear(degree + 1, 1, bias=False).weight.detach()[0]
    losses = []
    for _ in range(400):
        for rows in torch.randperm(100).split(10):
            w = w - 0.01 * 2 / 10 * A[rows].T @ (A[rows] @ w - y[rows])
        losses.append(((A @ w - y) ** 2).mean().item())
    curves[f"{kind}, degree {degree}"] = losses
    print(f"{kind}, degree {degree}: loss {losses[-1]:.3g}")

# %% curve
for name, losses in curves.items():
    plt.semilogy(losses, label=name)  # a lost run breaks off
plt.xlabel("epoch")
plt.ylabel("training loss")
plt.legend()
plt.show()
