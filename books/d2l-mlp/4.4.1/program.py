"""The section's cubic, solved by linear algebra instead of descent."""

import math

import matplotlib.pyplot as plt
import numpy as np
import sympy

# %% data
true_w = np.array([5, 1.2, -3.4, 5.6])
factorials = np.array([math.factorial(i) for i in range(4)])
rng = np.random.default_rng(0)


def draw(n):
    """Features x^i / i! of n inputs, and targets with noise."""
    A = rng.normal(size=n)[:, None] ** np.arange(4) / factorials
    return A, A @ true_w + 0.1 * rng.normal(size=n)


# %% training
A, y = draw(100)
Q, R = np.linalg.qr(A)
w = np.linalg.solve(R, Q.T @ y)
print("true weights   ", true_w)
print("normal equation", np.linalg.solve(A.T @ A, A.T @ y).round(4))
print("QR             ", w.round(4))

# %% check
# In fractions nothing rounds: without noise the weights are the true ones.
points = [sympy.Rational(k, 4) for k in (-5, -1, 0, 2, 3, 7)]
exact = sympy.Matrix(6, 4, lambda i, j: points[i] ** j)
truth = sympy.Matrix([5, 2, -1, 3])
solved = (exact.T * exact).LUsolve(exact.T * exact * truth)
print("in fractions exactly the truth:", solved == truth)

# Fewer than 4 distinct inputs do not fix 4 weights, however often they come.
rank = np.linalg.matrix_rank(np.vander([0.0, 1.0, 2.0] * 10, 4))
print("rank with 3 distinct inputs:", rank, "of 4")

# %% result
distances, train, new = [], [], []
for _ in range(200):
    A, y = draw(100)
    fit = np.linalg.lstsq(A, y, rcond=None)[0]
    new_A, new_y = draw(1000)
    distances.append(np.linalg.norm(fit - true_w))
    train.append(((A @ fit - y) ** 2).mean())
    new.append(((new_A @ fit - new_y) ** 2).mean())
weight_error, train_error, new_error = map(np.mean, (distances, train, new))
print(f"with noise, over 200 draws: {weight_error:.3f} from the true weights,")
print(f"error {train_error:.4f} on the examples, {new_error:.4f} on new ones")

# %% curve
x = A[:, 1]
order = x.argsort()
plt.plot(x, y, ".", label="examples")
plt.plot(x[order], (A @ fit)[order], label="exact fit")
plt.xlabel("x")
plt.legend()
plt.show()
