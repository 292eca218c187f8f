"""Detectors of covariate shift, and how often they alarm without one."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import ks_2samp, mannwhitneyu
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

# %% data
rng = np.random.default_rng(0)
num_rows, num_columns, repeats = 100, 10, 200


def draw(shift):
    """Reference rows, and current rows that may have shifted."""
    reference, current = rng.normal(size=(2, num_rows, num_columns))
    if shift == "one mean":
        current[:, 0] += 0.5
    elif shift == "dependence":  # each column by itself is as before
        current[:, 1] = 0.8 * current[:, 0] + 0.6 * current[:, 1]
    return reference, current


# %% model
def by_classifier(reference, current, degree, C):
    """Learn from half of the rows; test how the other half is ranked."""
    rows = np.concatenate([reference, current])
    label = np.repeat([0, 1], num_rows)
    seed = rng.integers(2**31)
    learn, judge, known, truth = train_test_split(
        rows, label, test_size=0.5, stratify=label, random_state=seed
    )
    features = PolynomialFeatures(degree, include_bias=False)
    model = make_pipeline(StandardScaler(), features, LogisticRegression(C=C))
    score = model.fit(learn, known).decision_function(judge)
    new, old = score[truth == 1], score[truth == 0]
    return mannwhitneyu(new, old, alternative="greater").pvalue


tests = {
    "linear": lambda old, new: by_classifier(old, new, 1, 1.0),
    "products": lambda old, new: by_classifier(old, new, 2, 0.1),
    # Kolmogorov and Smirnov's test of each column, with Holm's factor
    "columns": lambda old, new: num_columns * ks_2samp(old, new).pvalue.min(),
}

# %% result
p, alarms = {}, {}
for shift in ("none", "one mean", "dependence"):
    pairs = [draw(shift) for _ in range(repeats)]
    for name, test in tests.items():
        p[shift, name] = np.array([test(*pair) for pair in pairs])
        alarms[shift, name] = float((p[shift, name] < 0.05).mean())
    found = [f"{name} {alarms[shift, name]:.0%}" for name in tests]
    print(f"{shift:10} alarms: {', '.join(found)}")
linear_one_mean = alarms["one mean", "linear"]
columns_one_mean = alarms["one mean", "columns"]
products_dependence = alarms["dependence", "products"]
linear_dependence = alarms["dependence", "linear"]

# %% curve
for shift in ("none", "one mean"):
    share = np.arange(1, repeats + 1) / repeats
    plt.step(np.sort(p[shift, "linear"]), share, label=shift)
plt.plot([0, 1], [0, 1], "k:", label="as often as p says")
plt.xlabel("p of the linear classifier")
plt.ylabel("share of pairs with a p as small")
plt.legend()
plt.show()
