"""The squared Frobenius norm is a trace: in numbers, symbols and gradients."""

import sympy
import torch

# %% data
W = torch.tensor([[2.0, -1.0, 0.5], [1.0, 1.5, -0.5]], requires_grad=True)

# %% result
trace = torch.trace(W.T @ W).item()
by_entries = (W**2).sum().item()
by_rows = torch.trace(W @ W.T).item()
by_spectrum = (torch.linalg.svdvals(W) ** 2).sum().item()
print("sum of squared entries        ", by_entries)
print("tr(W'W)                       ", trace)
print("tr(WW')                       ", by_rows)
print("sum of squared singular values", round(by_spectrum, 5))
print("the square of torch's norm    ", round(W.norm().item() ** 2, 5))

# %% check
w = sympy.MatrixSymbol("w", 4, 3).as_explicit()
total = sum(w.multiply_elementwise(w))
print("the difference, in symbols:", sympy.expand(sympy.trace(w.T * w) - total))

(gradient,) = torch.autograd.grad(torch.trace(W.T @ W) / 2, W)
print("the gradient of half of it is W:", torch.equal(gradient, W))

# So weight decay is the step of this penalty.
rate, decay = 0.1, 0.3
by_trace, by_option = (W.detach().clone().requires_grad_() for _ in range(2))
(decay / 2 * torch.trace(by_trace.T @ by_trace)).backward()
by_option.grad = torch.zeros_like(by_option)
torch.optim.SGD([by_trace], lr=rate).step()
torch.optim.SGD([by_option], lr=rate, weight_decay=decay).step()
worst = (by_trace - by_option).detach().abs().max().item()
print(f"against SGD's weight_decay: {worst:.0e}")
