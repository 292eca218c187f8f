"""The risk of the exact fit with and without noise, computed exactly."""

from mlplab.analysis.polynomial_curves import draw_problems
from mlplab.answers.s4_4_model_selection import q4_zero_generalisation as q

for noise_std in (0.0, 0.1):
    for degree in (2, 3):
        for size in (3, 4, 100):
            x, y = draw_problems("train", [0], size, noise_std)
            found = q.risk(q.fit(x[0], y[0], degree), noise_std)
            print(f"noise {noise_std}, degree {degree}, n={size:3d}:", end=" ")
            print(f"risk {found:.3g}, of it noise {noise_std**2:.3g}")
