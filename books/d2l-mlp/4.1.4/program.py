"""A nonlinearity of a whole batch: who moves whom, and what it costs."""

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

# %% model
norm, x = nn.BatchNorm1d(1, affine=False), torch.tensor([[-1.0], [0.2], [1.0]])
for name, layer in (("ReLU", torch.relu), ("batch norm", norm)):
    print(name, "dy_i/dx_j:")
    print(torch.autograd.functional.jacobian(layer, x)[:, 0, :, 0])


# %% training
def train(layers, rate, num_epochs=20):
    torch.manual_seed(0)
    few = torch.randperm(len(train_x))[:1000]  # few images, in pairs
    hidden, out = nn.Linear(train_x.shape[1], 256), nn.Linear(256, 10)
    nn.init.xavier_uniform_(hidden.weight)
    nn.init.xavier_uniform_(out.weight)
    net = nn.Sequential(hidden, *layers, nn.ReLU(), out)
    sgd = torch.optim.SGD(net.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 500 * num_epochs)
    for _ in range(num_epochs):
        for pair in few[torch.randperm(1000)].split(2):
            sgd.zero_grad()
            cross_entropy(net(train_x[pair]), train_y[pair]).backward()
            sgd.step()
            falling.step()
    return net.eval().requires_grad_(False)


# %% result
def answers_in_pairs():  # in train mode the moments are the batch's own
    said = torch.zeros_like(test_y)
    for pair in torch.randperm(len(test_y) // 2 * 2).split(2):
        said[pair] = normed.train()(test_x[pair]).argmax(1)
    return said


plain, normed = train([], 0.05), train([nn.BatchNorm1d(256)], 0.02)
without = (plain(test_x).argmax(1) == test_y).float().mean()
running = (normed(test_x).argmax(1) == test_y).float().mean()
one, other = answers_in_pairs(), answers_in_pairs()
pairs, moved = (one == test_y).float().mean(), (one != other).float().mean()
print(f"trained in pairs: {without:.1%} without, {running:.1%} with batch norm")
print(f"asked in pairs: {pairs:.1%}; new pairs change {moved:.1%} of answers")
plt.title("test accuracy, trained in pairs")
bars = {"without": without, "running moments": running, "in pairs": pairs}
plt.bar(list(bars), [share.item() for share in bars.values()])
plt.show()
