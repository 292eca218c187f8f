"""Which weight decay do 20 validation examples choose, and at what cost?"""

import matplotlib.pyplot as plt
import torch

# %% data
torch.manual_seed(0)
n_train, n_valid, num_inputs, noise = 100, 20, 200, 0.1  # more noise
true_w = torch.full((num_inputs,), 0.01, dtype=torch.float64)
true_b = 0.05


def synthetic_data(n):
    X = torch.randn(n, num_inputs, dtype=torch.float64)
    errors = noise * torch.randn(n, dtype=torch.float64)
    return X, X @ true_w + true_b + errors


# %% model
def ridge(X, y, lambd):
    """The minimum of the section's objective, exactly."""
    center, mean = X.mean(0), y.mean()  # the bias does not decay
    X = X - center
    gram = X @ X.T + len(X) * lambd * torch.eye(len(X), dtype=X.dtype)
    w = X.T @ torch.linalg.solve(gram, y - mean)
    return w, mean - center @ w


def risk(w, b):  # the expected loss on new data: inputs are N(0, I)
    return (((w - true_w) ** 2).sum() + (b - true_b) ** 2 + noise**2) / 2


# %% result
lambdas = 10.0 ** torch.linspace(-3, 3, 61, dtype=torch.float64)
distances, regrets = [], []
for _ in range(40):
    train, (X, y) = synthetic_data(n_train), synthetic_data(n_valid)
    models = [ridge(*train, lambd) for lambd in lambdas]
    valid = torch.stack([((X @ w + b - y) ** 2).mean() / 2 for w, b in models])
    risks = torch.stack([risk(w, b) for w, b in models])
    chosen, best = valid.argmin(), risks.argmin()
    distances.append(abs(chosen - best).item() * 0.1)  # in powers of ten
    regrets.append((risks[chosen] / risks[best] - 1).item())
mean_distance = sum(distances) / len(distances)
mean_regret = sum(regrets) / len(regrets)
print(f"The chosen lambda is off by {mean_distance:.2f} powers of ten,")
print(f"and costs {mean_regret:.1%} of the best risk, on average.")

# %% curve
plt.semilogx(lambdas, risks, label="risk, the last draw")
plt.semilogx(lambdas, valid, "--", label="loss on 20 validation examples")
plt.plot(lambdas[chosen], valid[chosen], "o", label="chosen")
plt.plot(lambdas[best], risks[best], "s", label="best")
plt.xlabel("lambda")
plt.ylabel("half squared error")
plt.legend()
plt.show()
