"""Hidden units against epochs: what is the same cost better spent on?"""

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
def new_params(width):
    W1, W2 = torch.randn(train_x.shape[1], width), torch.randn(width, 10)
    params = [0.01 * W1, torch.zeros(width), 0.01 * W2, torch.zeros(10)]
    return [p.requires_grad_() for p in params]


def net(x, params):
    W1, b1, W2, b2 = params
    return torch.relu(x @ W1 + b1) @ W2 + b2


# %% training
num = min(50_000, len(train_x))  # the page keeps the rest to choose on
batch = min(256, num // 40)  # smaller only for the few digits


def train(width, num_epochs):
    torch.manual_seed(0)
    params, step = new_params(width), 0
    steps = num_epochs * (num // batch)
    for _ in range(num_epochs):
        for rows in torch.randperm(num)[: num // batch * batch].split(batch):
            loss = F.cross_entropy(net(train_x[rows], params), train_y[rows])
            rate = 0.5 * (1 + np.cos(np.pi * step / steps)) / 2  # 0.5 to 0
            step += 1
            gradients = torch.autograd.grad(loss, params)
            for p, gradient in zip(params, gradients, strict=True):
                p.data -= rate * gradient
    return (net(test_x, params).argmax(1) == test_y).float().mean().item()


# %% result
widths = (8, 32, 128)  # so high a rate may throw 8 units back
reached = {width: train(width, 10) for width in widths}
longer = train(32, 40)  # as many multiplications as 128 units for 10 epochs
few, some, wider = reached.values()
for width, accuracy in reached.items():
    print(f"{width:3} units, 10 epochs: {accuracy:.1%} of the test images")
print(f" 32 units, 40 epochs: {longer:.1%}, for the price of 128 units")
plt.plot(list(map(str, widths)), reached.values(), "o-")
plt.plot("128", longer, "s", label="32 units for 40 epochs: same cost")
plt.gca().set(xlabel="hidden units (10 epochs)", ylabel="test accuracy")
plt.legend()
plt.show()
