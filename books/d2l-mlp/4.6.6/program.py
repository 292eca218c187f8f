"""DropConnect: moments of a unit, and dropout as a shared mask."""

import torch

from mlplab.nn import DropConnect

torch.manual_seed(0)
p, layer = 0.5, DropConnect(8, 4, bias=False, p=0.5)
weight, v = layer.weight.detach(), torch.rand(8)
with torch.no_grad():
    u = torch.stack([layer(v) for _ in range(20_000)])
print("mean    ", *(f"{x:8.4f}" for x in u.mean(0)))
print("  theory", *(f"{x:8.4f}" for x in weight @ v))
print("variance", *(f"{x:8.4f}" for x in u.var(0)))
theory = p / (1 - p) * (weight**2 @ v**2)
print("  theory", *(f"{x:8.4f}" for x in theory))

kept = (torch.rand(8) > p).float()  # one bit for each input: all rows alike
print("a mask with equal rows is dropout of the inputs:")
print(torch.allclose((weight * kept) @ v, weight @ (kept * v)))
