"""The exact risk of exact fits: with and without noise, model and data."""

import math

import matplotlib.pyplot as plt
import numpy as np
from numpy.polynomial import hermite_e
from numpy.polynomial.polynomial import polyval

# %% data
true_w = np.array([5, 1.2, -3.4 / 2, 5.6 / 6])  # the section's cubic
rng = np.random.default_rng(0)


# %% model
def risk(n, degree, noise):
    """Expected squared error on a new example, after a fit to n of them."""
    x = rng.normal(size=n)
    y = polyval(x, true_w) + noise * rng.normal(size=n)
    A = np.vander(x, degree + 1, increasing=True)
    gap = -true_w
    gap[: degree + 1] += np.linalg.lstsq(A, y, rcond=None)[0]
    # Hermite polynomials are orthogonal under N(0, 1), with squares i!: the
    # expectation is a sum, and no new example has to be drawn.
    parts = hermite_e.poly2herme(gap)
    return noise**2 + sum(p**2 * math.factorial(i) for i, p in enumerate(parts))


# %% result
noisy = np.mean([risk(100, 3, 0.1) for _ in range(100)])
too_small = np.mean([risk(100, 2, 0.0) for _ in range(100)])
noiseless = max(risk(100, 3, 0.0) for _ in range(100))
print(f"noise, degree 3, 100 examples: {noisy:.4f}, of it noise {0.1**2:.4f}")
print(f"no noise, degree 2, 100 examples: {too_small:.2f}")
print(f"no noise, degree 3, 3 examples: {risk(3, 3, 0.0):.2g}")
print(f"no noise, degree 3, 100 examples: at most {noiseless:.0e}: rounding")

# %% curve
sizes = [2, 3, 4, 5, 8, 12, 20, 50, 100, 1000]
cases = {
    "no noise, degree 3": (3, 0.0),
    "no noise, degree 2": (2, 0.0),
    "noise 0.1, degree 3": (3, 0.1),
}
for name, case in cases.items():
    means = [
        np.exp(np.mean([np.log(risk(n, *case)) for _ in range(50)]))
        for n in sizes
    ]
    plt.loglog(sizes, means, "o-", label=name)
plt.xlabel("training examples")
plt.ylabel("risk (geometric mean)")
plt.legend()
plt.show()
