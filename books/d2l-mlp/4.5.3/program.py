"""L1 instead of L2: the sign's step, the proximal step, and the lasso."""

import matplotlib.pyplot as plt
import torch
from sklearn.linear_model import Lasso

# %% data
# The section's: 20 examples, 200 inputs, all true weights 0.01.
torch.manual_seed(0)
n, num_inputs = 20, 200
true_w = torch.full((num_inputs,), 0.01).double()
X = torch.randn(n, num_inputs).double()
y = X @ true_w + 0.05 + 0.01 * torch.randn(n).double()

# %% training
rate, strength, epochs = 0.02, 0.05, 5000


def train(kind):
    """Descent on full batches from zero; the loss is half the mean square."""
    w, b, losses = torch.zeros(num_inputs).double(), 0.0, []
    for _ in range(epochs):
        error = X @ w + b - y
        losses.append((error**2).mean() / 2 + strength * w.abs().sum())
        step = rate * X.T @ error / n
        if kind == "sign":
            w = w - step - rate * strength * w.sign()
        elif kind == "proximal":  # the loss first; then shorten, stop at 0
            w = w - step
            w = w.sign() * (w.abs() - rate * strength).clamp(min=0)
        else:  # weight decay, which is L2
            w = w - step - rate * strength * w
        b = b - rate * error.mean()
    return w, torch.stack(losses)


ends = {kind: train(kind) for kind in ("sign", "proximal", "decay")}

# %% result
zeros = {kind: (w == 0).sum().item() for kind, (w, _) in ends.items()}
for kind, (w, _) in ends.items():
    near = (w.abs() < 1e-3).sum().item()
    print(f"{kind:8}: {zeros[kind]:3d} weights exactly 0, {near:3d} near it")
zeros_proximal, zeros_sign = zeros["proximal"], zeros["sign"]

# %% check
lasso = Lasso(alpha=strength, tol=1e-12, max_iter=10**6).fit(X, y)
distance = abs(ends["proximal"][0].numpy() - lasso.coef_).max()
print(f"proximal against scikit-learn's Lasso: {distance:.0e}")

# %% curve
for kind in ("sign", "proximal"):
    plt.loglog(ends[kind][1], label=kind)
plt.xlabel("step")
plt.ylabel("loss with its L1 penalty")
plt.legend()
plt.show()
