"""Long training with and without dropout, where the network overfits."""

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


# %% training
def train(rates, epochs, lr=0.5):
    net = nn.Sequential(
        *(nn.Linear(train_x.shape[1], 256), nn.ReLU(), nn.Dropout(rates[0])),
        *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(rates[1])),
        nn.Linear(256, 10),
    )
    for w in net.parameters():
        nn.init.normal_(w, std=0.01 if w.dim() == 2 else 0)
    sgd = torch.optim.SGD(net.parameters(), lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 20 * epochs)
    for _ in range(epochs):
        for batch in torch.randperm(1000).split(50):
            loss = cross_entropy(net.train()(train_x[batch]), train_y[batch])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            falling.step()
    net.eval()  # both losses without noise
    own, new = cross_entropy(net(train_x), train_y), net(test_x).detach()
    return own.item(), cross_entropy(new, test_y).item()


# %% result
lengths = (20, 40, 80, 160)  # each a training of its own
ends = {}
for name, rates in {"with dropout": (0.2, 0.5), "without": (0, 0)}.items():
    for epochs in lengths:
        ends[name, epochs] = own, new = train(rates, epochs)
        print(f"{name}, {epochs} epochs: training {own:.3f}, new {new:.3f}")
    plt.plot(lengths, [ends[name, one][1] for one in lengths], label=name)
with_dropout, without = ends["with dropout", 80][1], ends["without", 80][1]
plt.legend(title="loss on new images, by the number of epochs")
plt.show()
