"""A sigmoid network, rewritten as a tanh network."""

import sympy
import torch
from torch import nn

from mlplab.analysis.tanh_sigmoid import sigmoid_to_tanh

x = sympy.Symbol("x", real=True)
left = sympy.tanh(x).rewrite(sympy.exp) + 1
right = 2 / (1 + sympy.exp(-2 * x))
print("tanh(x) + 1 - 2 sigmoid(2x) =", sympy.simplify(left - right))

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 5), nn.Sigmoid(), nn.Linear(5, 1)).double()
twin = sigmoid_to_tanh(net)
data = torch.randn(1000, 3, dtype=torch.float64)
print(twin)
ratio = twin.state_dict()["0.weight"] / net.state_dict()["0.weight"]
print("weights, new/old:", ratio.unique().tolist())
print("largest difference:", (net(data) - twin(data)).abs().max().item())
