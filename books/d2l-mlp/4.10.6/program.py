"""Gradient descent on house prices, in own units and standardised."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes

# %% data
file = Path("../data/kaggle_house_pred_train.csv")  # where the book puts it
if file.exists():
    table = pd.read_csv(file).drop(columns="Id")
    prices = table.pop("SalePrice")
else:
    print("No house prices in ../data: scikit-learn's diabetes stand in.")
    table, prices = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
numbers = table.select_dtypes("number")
numbers = numbers.fillna(numbers.mean())
units = {
    "own units": numbers,
    "standardised": (numbers - numbers.mean()) / numbers.std(),
}
y = torch.tensor(np.log(prices).to_numpy())


# %% training
def descend(x, rate, steps=1000):
    """The section's linear model; its error after each step."""
    w = torch.zeros(x.shape[1], 1, dtype=x.dtype, requires_grad=True)
    errors = []
    for _ in range(steps):
        loss = ((x @ w)[:, 0] - y).square().mean() / 2
        loss.backward()
        with torch.no_grad():
            w -= rate * w.grad
            w.grad.zero_()
        errors.append((2 * loss.item()) ** 0.5)
    return errors


predictions, curves = {}, {}
for name, columns in units.items():
    x = torch.tensor(columns.to_numpy(np.float64))
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1)  # the bias
    largest = torch.linalg.eigvalsh(x.T @ x / len(x))[-1].item()
    if name == "own units":
        largest_in_own_units = largest
    predictions[name] = x @ torch.linalg.pinv(x, rtol=1e-13) @ y
    errors = curves[name] = descend(x, 1 / largest)
    print(f"{name}: rates below {2 / largest:.2g} do not diverge;", end=" ")
    print(f"1,000 steps leave an error of {errors[-1]:.3f} in the logarithm")
apart = torch.sub(*predictions.values()).abs().max().item()
print(f"least squares, solved exactly, predicts the same: {apart:.1g} apart")

# %% curve
for name, errors in curves.items():
    plt.plot(errors, label=name)
plt.yscale("log")
plt.xlabel("step")
plt.ylabel("error in the logarithm")
plt.legend()
plt.show()
