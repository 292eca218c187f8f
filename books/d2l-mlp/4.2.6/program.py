"""Successive halving by hand: train all a little, go on with the better."""

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

# %% model
def net(x, W1, b1, W2, b2):
    return torch.relu(x @ W1 + b1) @ W2 + b2


def draw():
    width, n_in = 2 ** int(torch.randint(5, 9, ())), train_x.shape[1]
    W1 = (2 / n_in) ** 0.5 * torch.randn(n_in, width)
    W2 = (2 / width) ** 0.5 * torch.randn(width, 10)
    params = [W1, torch.zeros(width), W2, torch.zeros(10)]
    rate = 10 ** (4 * torch.rand(()).item() - 3)  # 0.001 to 10, log scale
    return {"rate": rate, "params": [p.requires_grad_() for p in params]}


num = min(6_000, len(train_x) * 3 // 4)  # as on the page, a part is enough
valid_x, valid_y = train_x[num : num + 2_000], train_y[num : num + 2_000]


def train(setting, num_epochs):
    params = setting["params"]
    for _ in range(num_epochs):
        for rows in torch.randperm(num).split(64):
            loss = cross_entropy(net(train_x[rows], *params), train_y[rows])
            for p, gradient in zip(params, torch.autograd.grad(loss, params)):
                p.data -= setting["rate"] * gradient
    right = (net(valid_x, *params).argmax(1) == valid_y).float()
    setting["score"] = right.mean().item()


# %% result
torch.manual_seed(0)
standing, done, spent = [draw() for _ in range(27)], 0, 0
for total in (1, 3, 9, 27):  # epochs; each goes on where it stopped
    for setting in standing:
        train(setting, total - done)
    spent, done = spent + len(standing) * (total - done), total
    plt.semilogx(*zip(*((s["rate"], s["score"]) for s in standing)), "o")
    standing = sorted(standing, key=lambda s: -s["score"])
    print(f"{len(standing)} settings after {total} epochs, best "
          f"{standing[0]['score']:.1%} at rate {standing[0]['rate']:.3g}")
    standing = standing[: max(len(standing) // 3, 1)]
print(f"{spent} epochs in all; training each to the end costs {27 * 27}.")
chance = 1 - 0.95**60  # that one of 60 draws is among the best 5 %
print(f"60 random draws reach the best 5 % with probability {chance:.3f}.")
plt.gca().set(xlabel="learning rate", ylabel="validation accuracy")
plt.show()
