"""Few images: three remedies for overfitting, and none."""

from copy import deepcopy
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
few, held = torch.randperm(len(train_x))[:2000].split(1000)  # it overfits
valid_x, valid_y = train_x[held], train_y[held]
train_x, train_y = train_x[few], train_y[few]


# %% training
def train(rate=0.0, epochs=100, lr=0.1, patience=15):
    layers = nn.Linear(train_x.shape[1], 256), nn.ReLU(), nn.Dropout(rate)
    net, valid, best = nn.Sequential(*layers, nn.Linear(256, 10)), [], 0
    for w in net.parameters():
        nn.init.normal_(w, std=0.01 if w.dim() == 2 else 0)
    sgd = torch.optim.SGD(net.parameters(), lr)
    for epoch in range(epochs):
        for batch in torch.randperm(1000).split(50):
            loss = cross_entropy(net.train()(train_x[batch]), train_y[batch])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        valid.append(cross_entropy(net.eval()(valid_x), valid_y).item())
        if valid[-1] <= valid[best] and epoch - best <= patience:
            best, kept = epoch, deepcopy(net)
    return valid, best, *(each(test_x).detach() for each in (kept, net))


# %% result
runs = [train() for _ in range(5)]
curve, best, stopped, last = runs[0]
noisy_curve, _, _, noisy = train(rate=0.8)  # as validation chose it
mean = torch.stack([run[-1].softmax(1) for run in runs]).mean(0).log()
none, early_stopping, dropout, ensemble = (
    cross_entropy(z, test_y).item() for z in (last, stopped, noisy, mean)
)
print(f"The loss on new images is {none:.3f} without a remedy,")
print(f"{early_stopping:.3f} stopped early, after epoch {best + 1},")
print(f"{dropout:.3f} with dropout, {ensemble:.3f} for five networks' mean.")

# %% curve
plt.plot(curve, label="no remedy")
plt.plot(noisy_curve, label="dropout")
plt.plot(best, curve[best], "o", label="stopped early")
plt.legend(title="loss on validation images, by epoch")
plt.show()
