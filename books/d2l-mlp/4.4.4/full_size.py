"""The risk of the exact fit with and without noise, computed exactly."""

from mlplab.analysis.polynomial_curves import draw_problems
from mlplab.answers import ours

q = ours().exercise("4.4.4").module

for noise_std in (0.0, 0.1):
    for degree in (2, 3):
        for size in (3, 4, 100):
            x, y = draw_problems("train", [0], size, noise_std)
            found = q.risk(q.fit(x[0], y[0], degree), noise_std)
            print(f"noise {noise_std}, degree {degree}, n={size:3d}:", end=" ")
            print(f"risk {found:.3g}, of it noise {noise_std**2:.3g}")
