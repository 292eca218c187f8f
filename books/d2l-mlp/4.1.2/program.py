"""Where a ReLU network is linear: patterns in the plane, pieces on a line."""

import matplotlib.pyplot as plt
import torch
from torch import nn

torch.manual_seed(0)

# %% model
net = nn.Sequential(
    nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 1)
).double()
for layer in net[::2]:
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)


def pattern(x):
    """Which of the hidden units are on, as one number for each x."""
    bits = []
    for module in net:
        x = module(x)
        if isinstance(module, nn.ReLU):
            bits.append(x > 0)
    bits = torch.cat(bits, 1).long()
    return (bits << torch.arange(bits.shape[1])).sum(1)


# %% check
side = torch.linspace(-4, 4, 400).double()
plane = torch.cartesian_prod(side, side)
regions, region = pattern(plane).unique(return_inverse=True)
print(f"{len(regions)} patterns of 10 units on this grid, of {2**10} at most")

# Where the pattern stays, the gradient must stay: the network is affine.
plane.requires_grad_()
net(plane).sum().backward()
one = region == region.mode().values
spread = plane.grad[one].std(0).max().item()
print(f"in the largest region the gradient varies by {spread:.0e}")

# %% data
# Two units fold [0, 1] onto itself: up to the middle and back. Do it 6 times.
x = torch.linspace(0, 1, 2**9 + 1).double()  # holds every breakpoint exactly
y = x
for _ in range(6):
    y = 2 * torch.relu(y) - 4 * torch.relu(y - 0.5)
slope = y.diff()
num_pieces = 1 + (slope[1:] != slope[:-1]).sum().item()
print(f"6 layers of 2 units fold [0, 1] into {num_pieces} pieces")

# %% curve
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
colours = torch.randperm(len(regions))[region].view(400, 400).T.numpy()
left.imshow(colours, extent=(-4, 4, -4, 4), origin="lower", cmap="tab20")
left.set(title="one colour for each pattern", xlabel="x1", ylabel="x2")
right.plot(x, y)
right.set(title="layers that fold", xlabel="x")
plt.show()
