"""Channels, cells and heads that start equal: how many differ in the end?"""

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
side = int(train_x.shape[1] ** 0.5)
images, labels = train_x[:2000].reshape(-1, 1, side, side), train_y[:2000]


# %% model
class Net(nn.Module):
    def __init__(self, part, width):
        super().__init__()
        self.part, self.last = part, nn.Linear(width, 10)

    def forward(self, x):
        if isinstance(self.part, nn.Conv2d):
            return self.last(self.part(x).relu().mean((2, 3)))
        rows = x[:, 0].transpose(0, 1)  # the rows of an image, one by one
        if isinstance(self.part, nn.GRU):
            return self.last(self.part(rows)[0][-1])
        return self.last(self.part(rows, rows, rows)[0].mean(0))


# %% result
apart = {}
for start in "equal", "random":
    for part, width, copies in (
        (nn.Conv2d(1, 8, 3), 8, 8),  # 8 channels
        (nn.GRU(side, 8), 8, 8),  # 8 cells
        (nn.MultiheadAttention(side, 2), side, 2),  # 2 heads
    ):
        name, net = f"{type(part).__name__}, {start} start", Net(part, width)
        for w in net.parameters() if start == "equal" else ():
            nn.init.constant_(w, 0.1)
        sgd, losses = torch.optim.SGD(net.parameters(), lr=0.1), []
        for batch in torch.randint(len(images), (200, 50)):
            sgd.zero_grad()
            losses.append(cross_entropy(net(images[batch]), labels[batch]))
            losses[-1].backward()
            sgd.step()
        first = next(part.parameters()).detach()[:width]
        rows = first.reshape(copies, -1)  # one row a copy
        apart[name] = (rows - rows[0]).abs().max().item()
        print(f"{name}: its copies end {apart[name]:.0e} apart")
        plt.plot(torch.stack(losses).detach(), label=name)
channels, cells, heads, *_ = apart.values()
plt.legend(title="training loss by update")
plt.show()
