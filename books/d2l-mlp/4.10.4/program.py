"""The section's model on house prices, tuned knob by knob by 5 folds."""

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


# %% training
def curve(rate, batch, decay, epochs=100):
    """The section's training, five folds at once: log-RMSE after each epoch."""
    bound = x.shape[1] ** -0.5
    w = torch.empty(5, x.shape[1], 1).uniform_(-bound, bound).requires_grad_()
    adam = torch.optim.Adam([w], lr=rate, weight_decay=decay)
    errors = []
    for _ in range(epochs):
        order = rows[:, torch.randperm(rows.shape[1])]
        for a, b in zip(x[order].split(batch, 1), y[order].split(batch, 1)):
            loss = (a @ w - b).square().mean(dim=1).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
        logs = (x[folds] @ w).detach().clamp(min=1).log()
        off = (logs - y[folds].log()).square().mean(dim=1)
        errors.append(off.sqrt().mean().item())
    return errors


curves = {}


def score(knobs):
    """The last error, mean over the folds; each setting is trained once."""
    name = ", ".join(f"{knob} {value:g}" for knob, value in knobs.items())
    if name not in curves:
        curves[name] = curve(**knobs)
        print(f"{name}: log-RMSE {curves[name][-1]:.4f}")
    return curves[name][-1]


# %% result
best = {"rate": 5, "batch": 64, "decay": 0}  # the section's own
before = score(best)
ladders = {"rate": (2.5, 10), "decay": (1,), "batch": (16, 32)}
for knob, values in ladders.items():
    tried = [best, *({**best, knob: value} for value in values)]
    best = min(tried, key=score)
gain = float(before - score(best))
print(f"tuned: {best}, lower by {gain:.4f} on houses held out;")
print("picked for being low: expect a little less of other houses")

# %% curve
pd.DataFrame(curves).plot(logy=True, xlabel="epoch", ylabel="log-RMSE")
plt.show()
