"""A prior is a penalty: any of torch.distributions, and what MAP leaves out."""

import matplotlib.pyplot as plt
import torch
from torch import distributions

# %% data
torch.manual_seed(0)
X = torch.randn(50, 4).double()
sigma, tau = 0.5, 0.3
true_w = torch.tensor([2.0, 0.0, -1.0, 0.0]).double()
y = X @ true_w + sigma * torch.randn(50).double()

# %% training
priors = {
    "flat": None,
    "Normal": distributions.Normal(0.0, tau),
    "Laplace": distributions.Laplace(0.0, 0.05),
    "StudentT": distributions.StudentT(1.0, 0.0, 0.05),
}
ends = {}
for name, prior in priors.items():
    w = torch.zeros(4).double().requires_grad_()
    for _ in range(2000):
        loss = ((X @ w - y) ** 2).sum() / (2 * sigma**2)  # -log P(y|w)
        if prior is not None:
            loss = loss - prior.log_prob(w).sum()  # -log P(w)
        (gradient,) = torch.autograd.grad(loss, w)
        w.data -= 0.002 * gradient
    ends[name] = w.detach()
    print(f"{name:9s}", [round(value, 3) for value in w.tolist()])

# %% check
eye = torch.eye(4).double()
ridge = torch.linalg.solve(X.T @ X + sigma**2 / tau**2 * eye, X.T @ y)
worst = (ridge - ends["Normal"]).abs().max().item()
print(f"Normal against ridge with sigma^2 / tau^2: {worst:.0e}")

# %% result
# One weight, seen once: y = w + N(0, 1), priors of variance 1.
w = torch.linspace(-12, 14, 260001).double()
one = {
    "Normal": distributions.Normal(0.0, 1.0),
    "Laplace": distributions.Laplace(0.0, 0.5**0.5),
}
estimates = {}
for name, prior in one.items():
    log_posterior = -((2 - w) ** 2) / 2 + prior.log_prob(w)
    share = log_posterior.softmax(0)
    estimates[name] = w[share.argmax()].item(), (share * w).sum().item()
    print("{}, y = 2: mode {:.3f}, mean {:.3f}".format(name, *estimates[name]))
laplace_mode, laplace_mean = estimates["Laplace"]

# %% curve
w = torch.linspace(-3, 3, 301)
for name, prior in (*one.items(), ("Cauchy", distributions.Cauchy(0.0, 1.0))):
    penalty = -prior.log_prob(w)
    plt.plot(w, penalty - penalty.min(), label=name)
plt.xlabel("weight")
plt.ylabel("penalty, -log P(w)")
plt.legend()
plt.show()
