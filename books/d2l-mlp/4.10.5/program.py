"""Layers, weight decay and dropout on house prices, by 5-fold validation."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes
from torch import nn

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
x = torch.tensor(table.to_numpy(np.float32))
logs = torch.tensor(np.log(prices).to_numpy(np.float32))[:, None]
y = (logs - logs.mean()) / logs.std()
torch.manual_seed(0)
folds = torch.randperm(len(x)).chunk(5)


# %% model
def network(hidden, dropout):
    layers, width = [], x.shape[1]
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
        nn.init.kaiming_normal_(layers[-3].weight)
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 1))


# %% training
def log_rmse(net, decay, fold, epochs=60):  # after each epoch
    rows = torch.cat([other for other in folds if other is not fold])
    adam = torch.optim.Adam(net.parameters(), lr=0.003, weight_decay=decay)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs)
    errors = []
    for _ in range(epochs):
        net.train()
        for part in rows[torch.randperm(len(rows))].split(64):
            loss = (net(x[part]) - y[part]).square().mean() / 2
            adam.zero_grad()
            loss.backward()
            adam.step()
        slower.step()
        error = logs.std() * (net.eval()(x[fold]).detach() - y[fold])
        errors.append(error.square().mean().sqrt().item())
    return errors


curves = {}
for name, hidden, dropout, decay in (
    ("one layer", [32], 0, 0),
    ("dropout", [32], 0.2, 0),
    ("weight decay", [32], 0, 0.01),
    ("two layers, weight decay", [24, 24], 0, 0.01),
):
    runs = [log_rmse(network(hidden, dropout), decay, f) for f in folds]
    curves[name] = np.mean(runs, axis=0)
    print(f"{name}: log-RMSE {curves[name][-1]:.4f} on houses held out")
decay_score = float(curves["weight decay"][-1])
layer_gain = decay_score - float(curves["two layers, weight decay"][-1])

# %% curve
pd.DataFrame(curves).plot(logy=True, xlabel="epoch", ylabel="log-RMSE")
plt.show()
