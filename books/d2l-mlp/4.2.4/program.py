"""The winner of the page's search, and the section's net for as long."""

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
def new_params(hidden, he):
    sizes, params = [train_x.shape[1], *hidden, 10], []
    for n_in, n_out in zip(sizes, sizes[1:]):
        std = (2 / n_in) ** 0.5 if he else 0.01
        params += [std * torch.randn(n_in, n_out), torch.zeros(n_out)]
    return [p.requires_grad_() for p in params]


def net(x, params):
    for W, b in zip(params[:-2:2], params[1:-2:2]):
        x = torch.relu(x @ W + b)
    return x @ params[-2] + params[-1]


# %% training
num_epochs, num = 18, min(50_000, len(train_x))  # the rest has chosen


def train(params, lr, batch):
    batch = min(batch, num // 40)  # smaller for the few digits
    steps, step, curve = num_epochs * (num // batch), 0, []
    for _ in range(num_epochs):
        for rows in torch.randperm(num)[: num // batch * batch].split(batch):
            loss = cross_entropy(net(train_x[rows], params), train_y[rows])
            rate = lr * (1 + np.cos(np.pi * step / steps)) / 2  # lr to 0
            step += 1
            for p, gradient in zip(params, torch.autograd.grad(loss, params)):
                p.data -= rate * gradient
        curve.append((net(test_x, params).argmax(1) == test_y).float().mean())
    return curve


# %% result
torch.manual_seed(0)
curves = {
    "winner of the search": train(new_params([128, 128], he=True), 0.2038, 32),
    "the section's, as long": train(new_params([256], he=False), 0.1, 256),
}
winner, longer = (curve[-1] for curve in curves.values())
for name, curve in curves.items():
    print(f"{name}: {curve[-1]:.1%} of the test images")
    plt.plot(range(1, num_epochs + 1), curve, label=name)
plt.gca().set(xlabel="epoch", ylabel="test accuracy")
plt.legend()
plt.show()
