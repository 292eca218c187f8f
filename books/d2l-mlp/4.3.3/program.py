"""Ten ReLU layers from four starts, and one layer from two of them."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

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

# %% model
starts = {
    "the section's": lambda weight: nn.init.normal_(weight, std=0.01),
    "nn.Linear's": lambda weight: None,  # as it comes
    "Xavier's": nn.init.xavier_normal_,
    "He's": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}


def new_net(start, depth, width):
    sizes, layers = [train_x.shape[1], *[width] * depth], []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(width, 10))
    for linear in net[::2]:
        starts[start](linear.weight)
        if start != "nn.Linear's":
            nn.init.zeros_(linear.bias)
    return net

# %% training
num_epochs, num = 10, min(50_000, len(train_x))  # the page keeps the rest
batch = min(256, num // 40)  # smaller only for the few digits

# %% result
torch.manual_seed(0)
runs = [(10, 64, start) for start in starts]
reached = []
for depth, width, start in [*runs, (1, 256, "the section's"), (1, 256, "He's")]:
    net, curve, loss = new_net(start, depth, width), [], nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    steps = num_epochs * (num // batch)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(num_epochs):
        for rows in torch.randperm(num)[: num // batch * batch].split(batch):
            optimizer.zero_grad()
            loss(net(train_x[rows]), train_y[rows]).backward()
            optimizer.step()
            scheduler.step()
        curve.append((net(test_x).argmax(1) == test_y).float().mean().item())
    print(f"{depth} hidden, {start} start: {curve[-1]:.1%} of the test images")
    plt.plot(range(1, num_epochs + 1), curve, label=f"{depth} hidden, {start}")
    reached.append(curve[-1])
small, default, xavier, he, one_small, one_he = reached
plt.legend(title="test accuracy by epoch")
plt.show()
