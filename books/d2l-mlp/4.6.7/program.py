"""Noises for every hidden layer: dropout, and others that beat it."""

from pathlib import Path

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
torch.manual_seed(0)
few = torch.randperm(len(train_x))[:1000]  # few images: it overfits
train_x, train_y = train_x[few], train_y[few]


# %% model
def dropout(h, p):
    return h * (torch.rand_like(h) > p) / (1 - p)


def gaussian(h, p):
    return h * (1 + (p / (1 - p)) ** 0.5 * torch.randn_like(h))


def shot(h, s):  # ours: as uncertain as a count; no gradient through it
    return h + s * h.detach().abs().sqrt() * torch.randn_like(h)


# %% training
def train(noise, strengths, epochs=80, lr=0.5):
    sizes = (train_x.shape[1], 256), (256, 256), (256, 10)
    ws = [(torch.randn(size) * 0.01).requires_grad_() for size in sizes]
    bs = [torch.zeros(num, requires_grad=True) for _, num in sizes]

    def net(h, is_training):
        for w, b, strength in zip(ws[:2], bs[:2], strengths, strict=True):
            h = torch.relu(h @ w + b)
            h = noise(h, strength) if is_training else h
        return h @ ws[2] + bs[2]

    sgd = torch.optim.SGD(ws + bs, lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 20 * epochs)
    for _ in range(epochs):
        for batch in torch.randperm(1000).split(50):
            loss = cross_entropy(net(train_x[batch], True), train_y[batch])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            falling.step()
    return cross_entropy(net(test_x, False), test_y).item()


# %% result
with_dropout = train(dropout, (0.65, 0.35))  # as validation images chose
with_gaussian = train(gaussian, (0.65, 0.35))
with_shot = train(shot, (1.6, 0.4))
print(f"loss on new images: dropout {with_dropout:.3f},", end=" ")
print(f"Gaussian factor {with_gaussian:.3f}, shot noise {with_shot:.3f}")
