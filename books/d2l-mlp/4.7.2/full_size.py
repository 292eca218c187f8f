"""The graph and the equations of a network with biases, by mlplab."""

import torch
from torch import nn

from mlplab.analysis.equations import equations
from mlplab.analysis.graph import graph

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
x, y = torch.randn(1, 4), torch.randn(1, 2)

program = graph(net, x, y, nn.MSELoss())
print(program.table()[["phase", "name", "shape", "inputs"]].to_string())
print(equations(net, loss="mse", weight_decay=0.1).latex())
