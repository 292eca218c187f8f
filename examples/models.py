"""Models for the commands of docs/: `mlplab memory examples/models.py:perceptron --input 256,784`."""

from __future__ import annotations

import torch
from sklearn.datasets import make_moons
from torch import nn


def perceptron() -> nn.Sequential:
    """784-256-10 with ReLU: the chapter's perceptron with one hidden layer."""
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def deep_perceptron() -> nn.Sequential:
    """784-256-256-10 with dropout 0.2 and 0.5: that of section 4.6."""
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10),
    )  # fmt: skip


def lenet() -> nn.Sequential:
    """LeNet-5 (LeCun et al. 1998) with ReLU and batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def encoder() -> nn.TransformerEncoder:
    """Six layers of the size of BERT-base (Devlin et al. 2019)."""
    layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True)
    return nn.TransformerEncoder(layer, 6)


def encoder_block() -> nn.TransformerEncoderLayer:
    """One small layer of an encoder, with dropout."""
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)


def plain_deep() -> nn.Sequential:
    """Twenty sigmoid layers of 64 units as PyTorch starts them: too deep for that start."""
    layers = [layer for _ in range(20) for layer in (nn.Linear(64, 64), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def constant_lenet() -> nn.Sequential:
    """LeNet with every weight at 0.1, and dropout before the last layer: what symmetry does to it."""
    layers = list(lenet())
    model = nn.Sequential(*layers[:-1], nn.Dropout(0.5), layers[-1])
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    return model


def two_moons() -> nn.Sequential:
    """2-16-16-2, trained for a moment on two half moons."""
    x, y = make_moons(400, noise=0.15, random_state=0)
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return model
