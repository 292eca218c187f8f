"""Lose 40% of a column in three ways, fill in the mean, and look."""
import numpy as np

rng = np.random.default_rng(0)
n = 100_000
x2 = rng.normal(size=n)
x1 = 0.6 * x2 + 0.8 * rng.normal(size=n)  # mean 0, variance 1
y = x1 + x2 + rng.normal(size=n)  # both slopes are 1
noise = rng.normal(size=n)
cause = {
    "by chance (MCAR)": noise,
    "where x2 is large (MAR)": x2 + noise,
    "where x1 is large (MNAR)": x1 + noise,
}
for name, pressure in cause.items():
    lost = pressure > np.quantile(pressure, 0.6)
    filled = np.where(lost, x1[~lost].mean(), x1)
    design = np.column_stack([np.ones(n), filled, x2])
    _, slope, other = np.linalg.lstsq(design, y, rcond=None)[0]
    correlation = np.corrcoef(filled, x2)[0, 1]
    print(f"{name}: mean {filled.mean():.2f} (0),", end=" ")
    print(f"variance {filled.var():.2f} (1),", end=" ")
    print(f"correlation {correlation:.2f} (0.60),", end=" ")
    print(f"slopes {slope:.2f} and {other:.2f} (1 and 1)")
