"""Variance of each hidden layer over time, with dropout and without."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
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


# %% training
def train(rates, epochs=10, lr=0.5):
    net = nn.Sequential(
        *(nn.Linear(train_x.shape[1], 256), nn.ReLU(), nn.Dropout(rates[0])),
        *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(rates[1])),
        nn.Linear(256, 10),
    )
    seen = {}  # layer -> variance of its last outputs
    for layer in net:
        layer.register_forward_hook(lambda a, _, y: seen.update({a: y.var()}))
    for w in net.parameters():
        nn.init.normal_(w, std=0.01 if w.dim() == 2 else 0)
    size = min(256, len(train_x) // 50)
    steps = len(train_x) // size
    sgd = torch.optim.SGD(net.parameters(), lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps * epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(train_x)).split(size)[:steps]:
            loss = cross_entropy(net.train()(train_x[batch]), train_y[batch])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            falling.step()
        masked = seen[net[2]].item(), seen[net[5]].item()
        net.eval()(test_x)
        yield seen[net[1]].item(), seen[net[4]].item(), *masked


# %% result
torch.manual_seed(0)
names = "layer 1", "layer 2", "layer 1 after its mask", "layer 2 after its mask"
late = []
for label, rates in ("with dropout", (0.2, 0.5)), ("without", (0, 0)):
    curves = np.array(list(train(rates)))
    late.append(np.exp(np.log(curves[5:]).mean(0)))
    plt.semilogy(range(1, 11), curves, label=[f"{n}, {label}" for n in names])
first, second, first_masked, second_masked = late[0] / late[1]
for name, ratio in zip(names, late[0] / late[1], strict=True):
    print(f"{name}: variance {ratio:.2f} times that without dropout")
plt.legend(title="variance of activations, by epoch")
plt.show()
