"""pReLU and its derivative: by the formulas, by autograd, and as a picture."""

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import prelu

# %% data
alpha = torch.tensor([0.25], dtype=torch.float64, requires_grad=True)
x = torch.linspace(-3, 3, 241, dtype=torch.float64, requires_grad=True)
y = prelu(x, alpha)  # max(0, x) + alpha min(0, x)
in_x, in_alpha = torch.autograd.grad(y.sum(), (x, alpha))

# %% check
by_hand = torch.where(x > 0, 1.0, alpha)
worst = (in_x - by_hand)[x != 0].abs().max().item()
print(f"in x: 1 on the right, {alpha.item()} on the left")
print(f"largest difference from autograd, except at 0: {worst}")
gap = (in_alpha - x.clamp(max=0).sum()).abs().item()
print(f"in alpha: the sum of min(0, x), but for {gap:.0e}")

h = 1e-6
beside = torch.tensor([-h, h], dtype=torch.float64)
slopes = (prelu(beside, alpha) / beside).tolist()
zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
prelu(zero, alpha).backward()
at_zero = zero.grad.item()
print(f"at 0: {slopes[0]:.2f} from the left, {slopes[1]:.2f} from the right;")
print(f"PyTorch returns {at_zero}")

# %% curve
left = x.detach() <= 0
plt.plot(x.detach(), y.detach(), label="pReLU")
for side in (left, ~left):  # no line across the jump
    plt.plot(x.detach()[side], in_x[side], "C1--")
plt.plot([], [], "C1--", label="its derivative")
plt.xlabel("x")
plt.legend()
plt.show()
