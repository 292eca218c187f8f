"""LARS in six lines, against SGD on a loss a thousand times as large."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import Parameter
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
torch.manual_seed(0)
train_x, train_y = train_x[:6000], train_y[:6000]


# %% model
def lars(weights, gradients, rate):
    for w, g in zip(weights, gradients):  # a layer moves by rate * its norm
        w -= rate * w.norm() / (g.norm() + 1e-8) * g


def sgd(weights, gradients, rate):
    for w, g in zip(weights, gradients):
        w -= rate * g


# %% training
def outputs(x, weights):
    for w in weights[:-1]:
        x = torch.relu(x @ w)
    return x @ weights[-1]


def train(step, rate, scale):
    shapes = (train_x.shape[1], 64), (64, 64), (64, 64), (64, 10)
    weights = [Parameter(torch.randn(s) * (2 / s[0]) ** 0.5) for s in shapes]
    for batch in torch.randint(len(train_x), (280, 64)):
        loss = cross_entropy(outputs(train_x[batch], weights), train_y[batch])
        gradients = torch.autograd.grad(scale * loss, weights)
        with torch.no_grad():
            step(weights, gradients, rate)
        yield loss.item(), weights


# %% result
right = {}
for step, rate in (sgd, 0.1), (lars, 0.01):
    for scale in 1, 1000:
        losses, (*_, weights) = zip(*train(step, rate, scale))
        name = f"{step.__name__}, loss times {scale}"
        hits = outputs(test_x, weights).argmax(1) == test_y
        right[name] = hits.float().mean()
        print(f"{name}: {right[name]:.1%} of new images right")
        plt.semilogy(losses, label=name)
sgd_right, sgd_loud, lars_right, lars_loud = right.values()
plt.legend(title="training loss by update")
plt.show()
