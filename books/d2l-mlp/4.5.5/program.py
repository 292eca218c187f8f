"""An ensemble on few images: the mean prediction against its members."""

import torch
from torch import nn

from mlplab.data import load

torch.manual_seed(0)
train, test = map(load("digits").part, ("train", "test"))
x = torch.from_numpy(train.features[:200])
y = torch.from_numpy(train.targets[:200])
test_x, test_y = map(torch.from_numpy, (test.features, test.targets))


def trained_member() -> torch.Tensor:
    """Probabilities of a network with a start of its own."""
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(200):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net(test_x).softmax(1).detach()


members = [trained_member() for _ in range(7)]
hits = [(p.argmax(1) == test_y).double().mean() for p in members]
mean = (torch.stack(members).mean(0).argmax(1) == test_y).double().mean()
print(f"members {torch.stack(hits).mean():.3f} on average, ensemble {mean:.3f}")
