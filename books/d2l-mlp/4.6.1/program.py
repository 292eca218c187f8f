"""Swap the two dropout rates, where there is something to regularise."""

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
torch.manual_seed(0)
few = torch.randperm(len(train_x))[:1000]  # few images: it overfits
train_x, train_y = train_x[few], train_y[few]


# %% model
def network(first, second):
    net = nn.Sequential(
        *(nn.Linear(train_x.shape[1], 256), nn.ReLU(), nn.Dropout(first)),
        *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(second)),
        nn.Linear(256, 10),
    )
    for w in net.parameters():
        nn.init.normal_(w, std=0.01 if w.dim() == 2 else 0)
    return net


# %% training
def train(net, epochs=80, lr=0.5):
    sgd = torch.optim.SGD(net.parameters(), lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 20 * epochs)
    for epoch in range(epochs):
        for batch in torch.randperm(1000).split(50):
            loss = cross_entropy(net.train()(train_x[batch]), train_y[batch])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            falling.step()
        if epoch % 8 == 7:
            outputs = net.eval()(test_x).detach()
            right = (outputs.argmax(1) == test_y).float().mean()
            yield epoch + 1, cross_entropy(outputs, test_y).item(), right


# %% result
losses = []
for rates in (0.2, 0.5), (0.5, 0.2), (0, 0):
    epochs, curve, right = zip(*train(network(*rates)), strict=True)
    losses.append(curve[-1])
    print(f"rates {rates}: loss {curve[-1]:.3f} on new images,", end=" ")
    print(f"{right[-1]:.1%} right")
    plt.plot(epochs, curve, label=f"rates {rates}")
given, swapped, without = losses
plt.legend(title="loss on new images, by epoch")
plt.show()
