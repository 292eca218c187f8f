"""Softmax regression from equal weights, and a hidden layer from equal ones."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy

# %% data
folder = Path("../data/FashionMNIST/raw")  # where the book's loader leaves it
if folder.is_dir():
    train_x, train_y, test_x, test_y = (
        np.fromfile(folder / f"{part}-{kind}-ubyte", np.uint8)[skip:]
        for part in ("train", "t10k")
        for kind, skip in (("images-idx3", 16), ("labels-idx1", 8))
    )
    train_x = train_x.reshape(-1, 784) / np.float32(255)
    test_x = test_x.reshape(-1, 784) / np.float32(255)
else:
    print("No Fashion-MNIST in ../data: scikit-learn's digits stand in.")
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, random_state=0)
    train_x, test_x, train_y, test_y = parts
train_x, test_x = torch.tensor(train_x).float(), torch.tensor(test_x).float()
train_y, test_y = torch.tensor(train_y).long(), torch.tensor(test_y).long()
train_x, test_x = train_x.double(), test_x.double()


# %% training
def output(x, weights):
    for w in weights[:-1]:
        x = torch.relu(x @ w)
    return x @ weights[-1]


def train(*weights, lr=0.1, epochs=2):
    torch.manual_seed(0)  # the same batches for every start
    weights = [w.double().requires_grad_() for w in weights]
    losses = []
    for batch in torch.cat([torch.randperm(len(train_x))] * epochs).split(256):
        x, y = train_x[batch], train_y[batch]
        loss = cross_entropy(output(x, weights), y)
        losses.append(loss.item())
        for w, g in zip(weights, torch.autograd.grad(loss, weights)):
            w.data -= lr * g
    right = output(test_x, weights).argmax(1) == test_y
    return weights[0].detach(), losses, right.double().mean().item()


# %% result
size = train_x.shape[1]
arms = {
    "all 0": [torch.zeros(size, 10)],
    "all 0.5": [torch.full((size, 10), 0.5)],
}
arms["hidden, all 0.1"] = torch.full((size, 32), 0.1), torch.full((32, 10), 0.1)
arms["hidden, random"] = torch.randn(size, 32) / 10, torch.randn(32, 10) / 10
ends = {}
for name, start in arms.items():
    ends[name], losses, right = train(*start)
    print(f"{name}: {right:.1%} right")
    plt.plot(losses, label=name)
gap = (ends["all 0.5"] - ends["all 0"] - 0.5).abs().max().item()
print(f"The end from 0.5 is that from 0, shifted by 0.5, to {gap:.0e}.")
hidden = ends["hidden, all 0.1"].T
apart = (hidden - hidden[0]).abs().max().item()
print(f"Hidden units that start equal end {apart:.0e} apart.")

plt.legend(title="training loss by update")
plt.ylim(0, 5)
plt.show()
