"""One and four hidden layers, from the section's start and from He's."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

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
def new_params(depth, start):
    sizes, params = [train_x.shape[1], *[256] * depth, 10], []
    for n_in, n_out in zip(sizes, sizes[1:]):
        std = 0.01 if start == "small" else (2 / n_in) ** 0.5
        params += [std * torch.randn(n_in, n_out), torch.zeros(n_out)]
    return [p.requires_grad_() for p in params]


def net(x, params):
    for W, b in zip(params[:-2:2], params[1:-2:2]):
        x = torch.relu(x @ W + b)
    return x @ params[-2] + params[-1]


# %% training
num_epochs, num = 10, min(50_000, len(train_x))  # the page keeps the rest
batch = min(256, num // 40)  # smaller only for the few digits


def train(params):
    steps, step, curve = num_epochs * (num // batch), 0, []
    for _ in range(num_epochs):
        for rows in torch.randperm(num)[: num // batch * batch].split(batch):
            loss = F.cross_entropy(net(train_x[rows], params), train_y[rows])
            rate = 0.1 * (1 + np.cos(np.pi * step / steps)) / 2  # 0.1 to 0
            step += 1
            for p, gradient in zip(params, torch.autograd.grad(loss, params)):
                p.data -= rate * gradient
        curve.append((net(test_x, params).argmax(1) == test_y).float().mean())
    return curve


# %% result
# %% result
torch.manual_seed(0)
reached = []
for depth, start in ((1, "small"), (4, "small"), (4, "He's")):
    curve = train(new_params(depth, start))
    print(f"{depth} hidden, {start} start: {curve[-1]:.1%} of the test images")
    plt.plot(range(1, num_epochs + 1), curve, label=f"{depth}, {start} start")
    reached.append(curve[-1])
one_small, four_small, four_he = reached
plt.gca().set(xlabel="epoch", ylabel="test accuracy")
plt.legend()
plt.show()
