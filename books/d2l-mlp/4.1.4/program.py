"""Who moves whom: ReLU and batch normalisation on a batch of three."""

import torch
from torch import nn
from torch.autograd.functional import jacobian

torch.manual_seed(0)
x = torch.randn(3, 1, dtype=torch.float64)
norm = nn.BatchNorm1d(1, affine=False).double()
for name, layer in (("ReLU", torch.relu), ("batch norm", norm)):
    print(name, "dy_i/dx_j:")
    print(torch.as_tensor(jacobian(layer, x))[:, 0, :, 0])

print("two examples:", norm(torch.tensor([[1.0], [1000.0]]).double()).T)
try:
    norm(x[:1])
except ValueError as error:
    print("one example:", error)
norm.eval()
print("in evaluation mode a single one will do:", norm(x[:1]).item())
