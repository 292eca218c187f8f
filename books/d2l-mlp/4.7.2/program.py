"""The graph and the equations of a network with biases."""

import torch
from torch import nn

from mlplab.analysis.equations import equations
from mlplab.analysis.graph import graph

decay = 0.1
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
x, y = torch.randn(4), torch.randn(2)

program = graph(net, x[None], y[None], nn.MSELoss())
print(program.table()[["phase", "name", "shape", "inputs"]].to_string())
print(equations(net, loss="mse", weight_decay=decay).latex())

W1, b1, W2, b2 = net.parameters()
z = W1 @ x + b1
h = torch.tanh(z)
o = W2 @ h + b2
squares = W1.square().sum() + W2.square().sum()
J = nn.functional.mse_loss(o, y) + decay / 2 * squares
of_W1, of_b1 = torch.autograd.grad(J, (W1, b1))

delta = (W2.T @ (o - y)) * (1 - h**2)  # 2 outputs: dL/do = o - y
print("b1 differs by", (delta - of_b1).abs().max().item())
slope = torch.outer(delta, x) + decay * W1
print("W1 differs by", (slope - of_W1).abs().max().item())
