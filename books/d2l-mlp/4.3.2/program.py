"""Three activations at the section's learning rate, and each at its own."""

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
def new_net(activation):
    inputs = nn.Linear(train_x.shape[1], 256)
    net = nn.Sequential(inputs, activation(), nn.Linear(256, 10))
    for linear in net[::2]:
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
    return net


# %% training
num_epochs, num = 10, min(50_000, len(train_x))  # the page keeps the rest
batch = min(256, num // 40)  # smaller only for the few digits


def train(net, rate):
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    loss, curve = nn.CrossEntropyLoss(), []
    steps = num_epochs * (num // batch)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(num_epochs):
        for rows in torch.randperm(num)[: num // batch * batch].split(batch):
            optimizer.zero_grad()
            loss(net(train_x[rows]), train_y[rows]).backward()
            optimizer.step()
            scheduler.step()
        curve.append((net(test_x).argmax(1) == test_y).float().mean().item())
    return curve


# %% result
# %% result
torch.manual_seed(0)
reached = []
for kind, own in ((nn.ReLU, 0.5), (nn.Tanh, 0.5), (nn.Sigmoid, 1.5)):
    for rate in (0.1, own):
        name = f"{kind.__name__}, rate {rate}"
        curve = train(new_net(kind), rate)
        print(f"{name}: {curve[-1]:.1%} of the test images")
        plt.plot(range(1, num_epochs + 1), curve, label=name)
        reached.append(curve[-1])
relu_given, relu, tanh_given, tanh, sigmoid_given, sigmoid = reached
plt.gca().set(xlabel="epoch", ylabel="test accuracy")
plt.legend()
plt.show()
