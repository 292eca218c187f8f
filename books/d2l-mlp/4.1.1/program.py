"""The derivatives of pReLU, as PyTorch computes them."""

import torch
from torch.nn.functional import prelu

x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
alpha = torch.tensor([0.25], requires_grad=True)
in_x, in_alpha = torch.autograd.grad(prelu(x, alpha).sum(), (x, alpha))

print("x          ", x.tolist())
print("in x       ", in_x.tolist())  # alpha on the left, 1 on the right
print("in alpha   ", in_alpha.item())  # the sum of min(0, x)
