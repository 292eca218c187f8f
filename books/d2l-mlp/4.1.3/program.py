"""tanh(x) + 1 = 2 sigmoid(2x), and a sigmoid network as a tanh network."""

import matplotlib.pyplot as plt
import sympy
import torch

# %% check
u = sympy.Symbol("x", real=True)
tanh = (sympy.exp(u) - sympy.exp(-u)) / (sympy.exp(u) + sympy.exp(-u))
sigmoid = 1 / (1 + sympy.exp(-2 * u))  # at 2x
residue = sympy.simplify(tanh + 1 - 2 * sigmoid)
print("tanh(x) + 1 - 2 sigmoid(2x) =", residue)

# %% model
torch.manual_seed(0)
W1, b1 = torch.randn(1, 8).double(), torch.randn(8).double()
W2, b2 = torch.randn(8, 1).double(), torch.randn(1).double()
# sigmoid(z) = (1 + tanh(z/2)) / 2: halve the weights, move the constant.
V1, c1 = W1 / 2, b1 / 2
V2, c2 = W2 / 2, b2 + W2.sum(0) / 2

x = torch.linspace(-3, 3, 121).double()[:, None]
one = torch.sigmoid(x @ W1 + b1) @ W2 + b2
other = torch.tanh(x @ V1 + c1) @ V2 + c2
worst = (one - other).abs().max().item()
print(f"largest difference of the two networks: {worst:.1e}")

# %% training
y, lr = torch.sin(2 * x), 0.1


def train(params, activation):
    """200 steps of gradient descent from these weights."""
    params = [p.clone().requires_grad_() for p in params]
    for _ in range(200):
        W, b, U, c = params
        loss = ((activation(x @ W + b) @ U + c - y) ** 2).mean()
        for p, g in zip(params, torch.autograd.grad(loss, params)):
            p.data -= lr * g
    W, b, U, c = params
    return (activation(x @ W + b) @ U + c).detach()


ends = (
    train([W1, b1, W2, b2], torch.sigmoid),
    train([V1, c1, V2, c2], torch.tanh),
)
parted = (ends[0] - ends[1]).abs().max().item()
print(f"after 200 steps at rate {lr} they differ by up to {parted:.2f}")

# %% curve
plt.plot(x, one, "k:", label="both, at the start")
plt.plot(x, ends[0], label="sigmoid, trained")
plt.plot(x, ends[1], "--", label="tanh, trained")
plt.xlabel("x")
plt.legend()
plt.show()
