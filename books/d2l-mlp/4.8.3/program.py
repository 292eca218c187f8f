"""Bounds on the eigenvalues of a product, and on random products by depth."""

import numpy as np

from mlplab.analysis.spectrum import gaussian_edge, product_bounds

shear = np.array([[1, 1.5], [0, 1]])
radius = np.abs(np.linalg.eigvals(shear)).max()
of_product = np.abs(np.linalg.eigvals(shear @ shear.T)).max()
print(f"largest eigenvalues: A {radius:g}, B {radius:g}, AB {of_product:g}")
print(f"product of the norms: {np.linalg.norm(shear, 2) ** 2:g}")

rng = np.random.default_rng(0)
found = product_bounds(rng.normal(size=(4, 4)), rng.normal(size=(4, 4)))
columns = ["eigenvalue_size", "singular_value", "horn_low", "horn_high"]
print(found.table()[["k", *columns]].round(3).to_string(index=False))
print("all bounds hold:", found.holds)

n = 400
product, orthogonal = np.eye(n), np.eye(n)
for depth in range(1, 6):
    w = rng.normal(size=(n, n)) / np.sqrt(n)
    product, orthogonal = w @ product, np.linalg.qr(w)[0] @ orthogonal
    largest = np.linalg.norm(product, 2) ** 2
    other = np.linalg.norm(orthogonal, 2) ** 2
    print(
        f"{depth} factors: largest squared singular value {largest:.2f}, "
        f"theory {gaussian_edge(depth):.2f}, orthogonal {other:.2f}"
    )
