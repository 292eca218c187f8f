"""Where the memory of 784-256-10 goes, term by term, by mlplab."""

import torch
from torch import nn

from mlplab.analysis.memory import memory

net = nn.Sequential(nn.Linear(784, 256, bias=False), nn.ReLU(), nn.Linear(256, 10, bias=False))
x, y = torch.randn(256, 784), torch.randint(10, (256,))
loss = nn.CrossEntropyLoss()

found = memory(net, x, y, loss, optimizer="momentum", measure=True)
print(found.table().to_string(index=False))
print(found.measured)
