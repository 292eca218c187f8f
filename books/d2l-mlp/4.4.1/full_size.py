"""Polynomial regression, solved: in float64, and without any rounding."""

import numpy as np

from mlplab import data
from mlplab.analysis.polynomial import fit_polynomial

problem = data.load("polynomial", degree=3, draw=0)  # features x^i / i!
A, y = problem.train.features, problem.train.targets[:, 0]
print("true weights   ", problem.truth["weights"])
print("least squares  ", np.linalg.lstsq(A, y, rcond=None)[0])
print("normal equation", np.linalg.solve(A.T @ A, A.T @ y))

x = A[:, 1]  # the feature of degree 1 is x itself
clean = 5 + 1.5 * x.astype(float) - 0.75 * x.astype(float) ** 2
exact = fit_polynomial(x, clean, 2, method="rational")
print("in fractions   ", [float(w) for w in exact.weights])

print("rank with 3 distinct x, degree 3:", end=" ")
print(np.linalg.matrix_rank(np.vander([0.0, 1.0, 2.0] * 10, 4)))
