"""Eigenvalues and singular values of a product, and of many factors."""

import matplotlib.pyplot as plt
import numpy as np

# %% result
shear = np.array([[1, 1.5], [0, 1]])
radius = np.abs(np.linalg.eigvals(shear)).max()
product = np.abs(np.linalg.eigvals(shear @ shear.T)).max()
bound = np.linalg.norm(shear, 2) ** 2
condition = np.linalg.cond(shear)
print(f"A is a shear, B its transpose: their eigenvalues are {radius:g},")
print(f"the largest of AB is {product:g}, within the bound {bound:g}.")
print(f"Eigenvalues of 1 only, and a condition number of {condition:g}.")

# %% check
rng = np.random.default_rng(0)
excess = 0.0
for _ in range(1000):
    a, b = rng.normal(size=(2, 4, 4))
    of_a, of_b, of_ab = (
        np.cumprod(np.linalg.svd(m, compute_uv=False)) for m in (a, b, a @ b)
    )
    sizes = np.sort(np.abs(np.linalg.eigvals(a @ b)))[::-1]
    excess = max(
        excess,
        (np.cumprod(sizes) / of_ab).max() - 1,  # Weyl
        (of_ab / (of_a * of_b)).max() - 1,  # Horn
    )
print(f"1000 random pairs exceed the bounds of Weyl and Horn by {excess:.0e}.")

# %% training
size, depths = 256, range(1, 13)
largest = {"Gaussian": [], "orthogonal": []}
gaussian, orthogonal = np.eye(size), np.eye(size)
for _ in depths:
    w = rng.normal(size=(size, size)) / np.sqrt(size)
    gaussian, orthogonal = w @ gaussian, np.linalg.qr(w)[0] @ orthogonal
    largest["Gaussian"].append(np.linalg.norm(gaussian, 2) ** 2)
    largest["orthogonal"].append(np.linalg.norm(orthogonal, 2) ** 2)
five_gaussian, five_orthogonal = (found[4] for found in largest.values())
print(
    f"Five Gaussian factors: largest squared singular value {five_gaussian:.2f}"
)
print(
    f"(infinitely wide: {6**6 / 5**5:.2f}), orthogonal {five_orthogonal:.2f}."
)

# %% curve
for name, values in largest.items():
    plt.plot(depths, values, "o-", label=name)
plt.plot(depths, [(d + 1) ** (d + 1) / d**d for d in depths], label="theory")
plt.xlabel("factors")
plt.ylabel("largest squared singular value")
plt.legend()
plt.show()
