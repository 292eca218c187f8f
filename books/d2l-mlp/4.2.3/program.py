"""Four learning rates for the section's network, and one that falls."""

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

# %% training
num_epochs = 10
# The page keeps 10,000 images to choose rates on. Few digits: small batches.
num = min(50_000, len(train_x))
batch = min(256, num // 40)


def train(rate, falls=False):
    W1 = 0.01 * torch.randn(train_x.shape[1], 256)
    W2 = 0.01 * torch.randn(256, 10)
    b1, b2 = torch.zeros(256), torch.zeros(10)
    params = [p.requires_grad_() for p in (W1, b1, W2, b2)]

    def net(x):
        return torch.relu(x @ W1 + b1) @ W2 + b2

    updater = torch.optim.SGD(params, rate)
    steps = num_epochs * (num // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(updater, steps)
    curve = []
    for _ in range(num_epochs):
        for rows in torch.randperm(num)[: num // batch * batch].split(batch):
            updater.zero_grad()
            cross_entropy(net(train_x[rows]), train_y[rows]).backward()
            updater.step()  # this moves the weights
            if falls:
                schedule.step()  # this moves the rate, and nothing else
        with torch.no_grad():
            right = net(test_x).argmax(1) == test_y
        curve.append(right.float().mean().item())
    return curve


torch.manual_seed(0)
curves = {f"rate {rate:g}": train(rate) for rate in (0.001, 0.1, 0.5, 10)}
curves["rate 0.5, falling to 0"] = train(0.5, falls=True)

# %% result
tiny, section, half, ten, falling = (c[-1] for c in curves.values())
for name, curve in curves.items():
    late = np.mean(curve[num_epochs // 2 :])
    print(f"{name}: {curve[-1]:.1%} at the end, {late:.1%} over the last half")
    plt.plot(range(1, num_epochs + 1), curve, label=name)
plt.gca().set(xlabel="epoch", ylabel="test accuracy")
plt.legend()
plt.show()
