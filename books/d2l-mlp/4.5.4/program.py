"""The squared Frobenius norm, four times."""

import sympy
import torch

W = torch.tensor([[2.0, -1.0, 0.5], [1.0, 1.5, -0.5]], requires_grad=True)
print("sum of squares        ", (W**2).sum().item())
print("tr(W'W)               ", torch.trace(W.T @ W).item())
print("tr(WW')               ", torch.trace(W @ W.T).item())
print("squared singular values", (torch.linalg.svdvals(W) ** 2).sum().item())

(gradient,) = torch.autograd.grad(torch.trace(W.T @ W) / 2, W)
print("gradient of the half is W:", torch.equal(gradient, W))

w = sympy.MatrixSymbol("w", 4, 3).as_explicit()
total = sum(w.multiply_elementwise(w))
print("difference, in symbols:", sympy.expand(sympy.trace(w.T * w) - total))
