"""Correct a covariate shift by the odds of a classifier."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

# %% data
rng = np.random.default_rng(0)
n, num_draws = 200, 20


def draw(mean, std):
    x = rng.normal(mean, std, n)
    return x, -x + x**3 + rng.normal(0, 0.3, n)


fresh = rng.normal(0, 0.3, 100_000)  # inputs of the target, to measure on


# %% model
def true_ratio(x):  # of the densities: target over source, up to a factor
    return np.exp(((x - 0.5) / 0.5) ** 2 / 2 - (x / 0.3) ** 2 / 2)


def odds(source, target):
    """Of "target", by a classifier that has not seen the row."""
    x = np.concatenate([source, target])
    is_target = np.repeat([0, 1], n)
    p = cross_val_predict(
        LogisticRegression(C=100),
        np.stack([x, x**2], axis=1),  # two Gaussians differ by a parabola
        is_target,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        method="predict_proba",
    )[:n, 1]
    return p / (1 - p)  # with as many rows of both, that is the ratio


# %% training
errors = {"no weights": [], "true weights": [], "a classifier's": []}
for _ in range(num_draws):
    source, y = draw(0.5, 0.5)
    target, _ = draw(0, 0.3)  # its labels are not used
    weights = np.ones(n), true_ratio(source), odds(source, target)
    lines = []
    for name, w in zip(errors, weights, strict=True):
        lines.append(np.polyfit(source, y, 1, w=np.sqrt(w)))
        miss = np.polyval(lines[-1], fresh) - (-fresh + fresh**3)
        errors[name].append(np.mean(miss**2))
none, true, estimated = (float(np.mean(found)) for found in errors.values())

# %% result
worth = weights[2].sum() ** 2 / (weights[2] @ weights[2])
print(f"Weighted, {n} rows are worth {worth:.0f}.")
for name, found in errors.items():
    print(f"{name}: squared error on the target {np.mean(found):.4f}")
x = np.linspace(-1, 1.5, 100)
plt.scatter(source, y, s=8, color="grey", label="source")
plt.plot(x, -x + x**3, "k:", label="truth")
for name, line in zip(errors, lines, strict=True):
    plt.plot(x, np.polyval(line, x), label=name)
plt.axvspan(-0.6, 0.6, alpha=0.1, label="95 % of the target")
plt.gca().set(xlabel="x", ylabel="y", ylim=(-1.5, 1.5))
plt.legend()
plt.show()
