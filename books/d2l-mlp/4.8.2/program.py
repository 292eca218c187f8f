"""Softmax regression on digits: an equal start is that from 0, shifted."""

import torch
from torch.nn.functional import cross_entropy

from mlplab import data

digits = data.load("digits")
x = torch.from_numpy(digits.train.features).double()
y = torch.from_numpy(digits.train.targets)


def train(start, steps=150):
    w = torch.full((10, 64), start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(x @ w.T, y)
        loss.backward()
        optimizer.step()
    return w.detach(), cross_entropy(x @ w.T, y).item()


zero, _ = train(0.0)
for start in (0.0, 0.5, -3.0):
    w, loss = train(start)
    gap = (w - zero - start).abs().max().item()
    print(f"start {start:4}: loss {loss:.12f}, off W(0) + c by {gap:.1e}")
