"""The pieces of a ReLU network, exactly; and a network for given pieces."""

import torch
from torch import nn

from mlplab.analysis.piecewise_function import PiecewiseLinear, to_network
from mlplab.analysis.piecewise_line import from_network

torch.manual_seed(0)
layers = [nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 3), nn.PReLU()]
net = nn.Sequential(*layers, nn.Linear(3, 1))
f = from_network(net, exact=True)  # in fractions: no rounding anywhere
print(f"{f.num_pieces} pieces; slope and intercept of each:")
print(f.table().astype(float).to_string(index=False))

x = torch.linspace(-5, 5, 1001)
with torch.no_grad():
    y = net(x[:, None])[:, 0].double().numpy()
print("largest difference:", abs(f(x.tolist())[:, 0].astype(float) - y).max())

hat = PiecewiseLinear.through([0, 1, 2], [0, 1, 0], left_slope=0, right_slope=0)
built = to_network(hat)
print("a hat of", hat.num_pieces, "pieces from", built[0].out_features, "units")
print("recovered:", from_network(built).breakpoints.tolist())
