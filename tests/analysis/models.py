"""Models that nobody designed for this project, each written from its paper or taken from torch.nn, with a batch."""

from __future__ import annotations

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """He et al. 2016, figure 2, with batch norm after each convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return torch.relu(x + self.body(x))


class Encoder(nn.Module):
    """Token embedding, two encoder layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 50)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens)))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def lenet() -> nn.Sequential:
    """LeCun et al. 1998, with average pooling and sigmoids."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


def residual() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        ResidualBlock(16),
        ResidualBlock(16),
        nn.Flatten(),
        nn.Linear(3136, 10),
    )


def encoder() -> Encoder:
    return Encoder()


def lstm() -> nn.LSTM:
    return nn.LSTM(16, 32, batch_first=True)


BATCHES = {
    "mlp": (mlp, (256, 784), torch.float32),
    "lenet": (lenet, (32, 1, 28, 28), torch.float32),
    "residual": (residual, (16, 1, 14, 14), torch.float32),
    "encoder": (encoder, (8, 16), torch.int64),
    "lstm": (lstm, (4, 7, 16), torch.float32),
}


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A model and a batch of zeros or random numbers."""
    factory, shape, dtype = BATCHES[name]
    torch.manual_seed(0)
    x = torch.zeros(shape, dtype=dtype) if dtype == torch.int64 else torch.randn(shape)
    return factory(), x
