"""Any prior of torch.distributions as a penalty: training finds the MAP."""

import torch
from torch import distributions

torch.manual_seed(0)
X = torch.randn(50, 4)
y = X @ torch.tensor([2.0, 0.0, -1.0, 0.0]) + 0.5 * torch.randn(50)
priors = {
    "flat": None,
    "Normal": distributions.Normal(0.0, 0.3),
    "Laplace": distributions.Laplace(0.0, 0.05),
    "StudentT": distributions.StudentT(1.0, 0.0, 0.05),
}
for name, prior in priors.items():
    w = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.002)
    for _ in range(2000):
        optimizer.zero_grad()
        loss = ((X @ w - y) ** 2).sum() / (2 * 0.5**2)  # -log P(y|w)
        if prior is not None:
            loss = loss - prior.log_prob(w).sum()  # -log P(w)
        loss.backward()
        optimizer.step()
    print(f"{name:9s}", [round(value, 3) for value in w.tolist()])

ridge = torch.linalg.solve(X.T @ X + 0.5**2 / 0.3**2 * torch.eye(4), X.T @ y)
print("ridge    ", [round(value, 3) for value in ridge.tolist()])
