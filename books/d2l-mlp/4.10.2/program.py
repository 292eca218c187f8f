"""House prices, their logarithm, and the logarithm minimised directly."""

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
scaled = ((numbers - numbers.mean()) / numbers.std()).fillna(0)
rest = table.drop(columns=numbers.columns)
table = pd.get_dummies(scaled.join(rest), dummy_na=True)
x = torch.tensor(table.assign(bias=1).to_numpy(np.float32))
y = torch.tensor(prices.to_numpy(np.float32))[:, None]
torch.manual_seed(0)
folds = torch.randperm(len(x))[: len(x) // 5 * 5].view(5, -1)
rows = torch.stack([folds.roll(-k, 0)[1:].flatten() for k in range(5)])


# %% model
def clamped_log(price):  # the section's: what lies below 1 counts as 1
    return price.clamp(min=1).log()


# what the outputs are compared to; what is done to them before, and after
ways = {
    "price, rate 5": (y, lambda o: o, clamped_log, 5),
    "clamped log minimised, rate 5": (y.log(), clamped_log, clamped_log, 5),
    "log price, rate 5": (y.log(), lambda o: o, lambda o: o, 5),
    "log price, rate 0.01": (y.log(), lambda o: o, lambda o: o, 0.01),
}


# %% training
def curves(target, before, after, rate, epochs=100):
    """The section's training, five folds at once: log-RMSE by epoch, fold."""
    torch.manual_seed(0)
    bound = x.shape[1] ** -0.5
    w = torch.empty(5, x.shape[1], 1).uniform_(-bound, bound).requires_grad_()
    adam = torch.optim.Adam([w], lr=rate)
    errors = []
    for _ in range(epochs):
        order = rows[:, torch.randperm(rows.shape[1])]
        for a, b in zip(x[order].split(64, 1), target[order].split(64, 1)):
            loss = (before(a @ w) - b).square().mean(dim=1).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
        off = (after((x[folds] @ w).detach()) - y[folds].log()).square()
        errors.append(off.mean(dim=1).sqrt()[:, 0].tolist())
    return np.array(errors)


# %% result
found = {name: curves(*way) for name, way in ways.items()}
for name, errors in found.items():
    print(f"{name}: log-RMSE of each fold", errors[-1].round(3))
price_score = float(found["price, rate 5"][-1].mean())
log_score = float(found["log price, rate 0.01"][-1].mean())

# %% curve
pd.DataFrame({n: e.mean(axis=1) for n, e in found.items()}).plot(logy=True)
plt.xlabel("epoch")
plt.ylabel("log-RMSE, mean over the folds")
plt.show()
