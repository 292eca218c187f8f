"""Least squares and gradient descent, with and without standardisation."""
import numpy as np

from mlplab import data

houses = data.load_table("drawn-houses")
columns = ["LotArea", "OverallQual", "YearBuilt", "GrLivArea", "GarageArea"]
own = houses[columns].to_numpy()
y = np.log(houses["SalePrice"].to_numpy())

for name, x in (
    ("own units   ", own),
    ("standardised", (own - own.mean(0)) / own.std(0)),
):
    x = np.column_stack([np.ones(len(x)), x])
    sizes = np.linalg.eigvalsh(x.T @ x / len(x))
    best = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    w = np.zeros(x.shape[1])
    for _ in range(1000):
        w -= 1 / sizes[-1] * x.T @ (x @ w - y) / len(x)
    print(f"{name} λmax/λmin {sizes[-1] / sizes[0]:.1e},", end=" ")
    print(f"least squares leaves {np.std(y - best):.6f},", end=" ")
    print(f"1,000 steps leave {np.std(y - x @ w):.6f}")
