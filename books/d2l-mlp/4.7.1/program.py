"""The gradient of a scalar function has the shape of its input."""

import torch

# %% data
torch.manual_seed(0)
X = torch.randn(3, 4, dtype=torch.float64)


# %% model
def f(X):  # one number from a matrix
    return torch.logdet(torch.eye(len(X), dtype=X.dtype) + X @ X.T)


# %% result
X.requires_grad_()
(G,) = torch.autograd.grad(f(X), X)
num_rows, num_columns = G.shape
print("X has the shape", tuple(X.shape), "and the gradient", tuple(G.shape))
print(G)

# %% check
step = 1e-5
slopes = torch.zeros(3, 4, dtype=X.dtype)
with torch.no_grad():
    for i in range(3):
        for j in range(4):
            E = torch.zeros_like(X)
            E[i, j] = step  # move one entry of X alone
            slopes[i, j] = (f(X + E) - f(X - E)) / (2 * step)
largest_difference = (G - slopes).abs().max().item()
print(f"Each entry moved alone gives the same: to {largest_difference:.1e}")
