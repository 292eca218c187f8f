"""Where the memory of 784-256-10 goes, term by term, by mlplab."""

import torch
from torch import nn

from mlplab.analysis.memory import memory

first, second = nn.Linear(784, 256, bias=False), nn.Linear(256, 10, bias=False)
net = nn.Sequential(first, nn.ReLU(), second)
x, y = torch.randn(256, 784), torch.randint(10, (256,))
loss = nn.CrossEntropyLoss()

use = memory(net, x, y, loss, optimizer="momentum", measure=True)
print(use.table().to_string(index=False))
print(use.measured)
