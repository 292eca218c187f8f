"""The gradient of a scalar function has the shape of its input."""

import torch

torch.manual_seed(0)
for rows, columns in ((1, 4), (3, 2), (5, 1)):
    X = torch.randn(rows, columns, dtype=torch.float64, requires_grad=True)
    f = torch.logdet(torch.eye(rows, dtype=X.dtype) + X @ X.T)
    (G,) = torch.autograd.grad(f, X)

    E = 1e-6 * torch.randn_like(X)  # a small change, of the same shape
    changed = torch.logdet(torch.eye(rows, dtype=X.dtype) + (X + E) @ (X + E).T)
    print("X", tuple(X.shape), "gradient", tuple(G.shape))
    print("f changes by", (changed - f).item(), "tr(G'E)", (G * E).sum().item())
