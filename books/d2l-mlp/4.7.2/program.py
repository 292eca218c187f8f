"""Forward and backward by hand, with a bias in the hidden layer."""

import torch

# %% data
torch.manual_seed(0)
x = torch.randn(4, dtype=torch.float64)  # one example
y = torch.randn(2, dtype=torch.float64)

# %% model
W1, b1, W2 = (
    torch.randn(shape, dtype=torch.float64).requires_grad_()
    for shape in ((3, 4), (3,), (2, 3))
)
lambd = 0.1

z = W1 @ x + b1  # the bias: one node, and one "+"
h = torch.tanh(z)
o = W2 @ h
L = ((o - y) ** 2).sum() / 2
s = lambd / 2 * ((W1**2).sum() + (W2**2).sum())  # without the bias
J = L + s

# %% result
with torch.no_grad():
    dJ_do = o - y
    dJ_dW2 = torch.outer(dJ_do, h) + lambd * W2
    dJ_dh = W2.T @ dJ_do
    dJ_dz = dJ_dh * (1 - h**2)  # the slope of tanh at z
    dJ_dW1 = torch.outer(dJ_dz, x) + lambd * W1
    dJ_db1 = dJ_dz
print("dJ/db1 =", dJ_db1.numpy().round(4))
print("dJ/dh  =", dJ_dh.numpy().round(4), "is another: the slope is missing")

# %% check
J.backward()
pairs = ((dJ_dW1, W1), (dJ_db1, b1), (dJ_dW2, W2))
largest_difference = max((g - p.grad).abs().max().item() for g, p in pairs)
print(f"Autograd agrees with the equations to {largest_difference:.1e}.")
