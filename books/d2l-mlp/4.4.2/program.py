"""Training and test error against the degree, and against the data."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from torch import nn

# %% data
degrees, draws, sizes = range(13), 100, (15, 20, 30, 50, 100, 200)
rng = np.random.default_rng(0)


def draw(n):
    """n examples of the section's cubic, with its noise."""
    x = rng.normal(size=n)
    true_w = enumerate((5, 1.2, -3.4, 5.6))
    y = sum(w * x**i / math.factorial(i) for i, w in true_w)
    return x, y + 0.1 * rng.normal(size=n)


# %% model
def errors(n, degree):
    """Mean squared errors of one exact fit to n examples."""
    (x, y), (new_x, new_y) = draw(n), draw(1000)
    # Legendre polynomials span the same as powers, and float64 bears them.
    A, new_A = legvander(x / 4, degree), legvander(new_x / 4, degree)
    w = np.linalg.lstsq(A, y, rcond=None)[0]
    return ((A @ w - y) ** 2).mean(), ((new_A @ w - new_y) ** 2).mean()


# %% result
found = np.array([[errors(20, d) for _ in range(draws)] for d in degrees])
typical = np.exp(np.log(found).mean(1))  # geometric means: tails are long
train_12, log_test_3 = found[12, :, 0].mean(), math.log(typical[3, 1])
for d in degrees:
    train, test = typical[d]
    print(f"degree {d:2d}: training error {train:7.2g}, test {test:7.2g}")
print(f"degree 9 on 10 examples: training error {errors(10, 9)[0]:.0e}")
at_12 = [[errors(n, 12) for _ in range(draws)] for n in sizes]
by_size = np.exp(np.log(at_12).mean(1))

# %% training
# The section's own descent: 400 epochs over 100 examples, batches of 10.
torch.manual_seed(0)
(x, y), (new_x, new_y) = draw(100), draw(100)
descent = []
for d in degrees:
    powers = np.arange(d + 1)
    scale = [math.factorial(i) for i in powers]
    tables = [v[:, None] ** powers / scale for v in (x, new_x)]
    A, new_A, t, new_t = (torch.tensor(v).float() for v in (*tables, y, new_y))
    w = nn.Linear(d + 1, 1, bias=False).weight.detach()[0]  # its first weights
    for _ in range(400):
        for rows in torch.randperm(100).split(10):
            w = w - 0.01 * 2 / 10 * A[rows].T @ (A[rows] @ w - t[rows])
    losses = ((A @ w - t) ** 2).mean(), ((new_A @ w - new_t) ** 2).mean()
    descent.append([loss.item() for loss in losses])
log_descent = math.log(descent[12][1])
print("the section's descent, test error at degrees 3 and 12:", end=" ")
print(f"{descent[3][1]:.3f}, {descent[12][1]:.3f}")

# %% curve
figure, axes = plt.subplots(1, 3, figsize=(13, 4))
curves = (degrees, typical), (sizes, by_size), (degrees, descent)
for axis, (x, y), name in zip(axes, curves, ("degree", "examples", "descent")):
    axis.semilogy(x, y, "o-", label=("training", "test"))
    axis.set_xlabel(name)
    axis.legend()
plt.show()
