"""The loss after training, and where gradients are a million times as large."""

import torch
from torch.nn.functional import cross_entropy

from mlplab import data
from mlplab.optim import LARS

digits = data.load("digits").train
x, y = map(torch.from_numpy, (digits.features, digits.targets))


def train(kind, scale, clip=float("inf"), steps=100, **options):
    g = torch.Generator().manual_seed(0)
    w = [torch.randn(64, n, generator=g) / 8 for n in (64, 10)]
    optimizer = kind([v.requires_grad_() for v in w], lr=0.05, **options)
    loss = torch.tensor(torch.nan)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(torch.relu(x @ w[0]) @ w[1], y)
        (scale * loss).backward()
        torch.nn.utils.clip_grad_norm_(w, clip)
        optimizer.step()
    return loss.item()


for scale in (1, 1e6):
    print(f"x {scale:g}: SGD {train(torch.optim.SGD, scale):.3f}", end=", ")
    print(f"clipped {train(torch.optim.SGD, scale, clip=1.0):.3f}", end=", ")
    print(f"LARS {train(LARS, scale, trust_coefficient=1.0):.3f}")
