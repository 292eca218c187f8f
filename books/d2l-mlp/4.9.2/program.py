"""Detectors of covariate shift: a classifier, and a test for each column."""

import numpy as np
from scipy.stats import ks_2samp, mannwhitneyu
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PolynomialFeatures


def by_classifier(reference, current, rng, degree=1):
    """Learn from half of the rows; judge the scores of the other half."""
    rows = np.concatenate([reference, current])
    rows = PolynomialFeatures(degree, include_bias=False).fit_transform(rows)
    label = np.repeat([0, 1], [len(reference), len(current)])
    learn, judge = np.split(rng.permutation(len(rows)), 2)
    model = LogisticRegression(C=0.1).fit(rows[learn], label[learn])
    score, label = model.decision_function(rows[judge]), label[judge]
    new, old = score[label == 1], score[label == 0]
    return mannwhitneyu(new, old, alternative="greater").pvalue


rng = np.random.default_rng(1)
for shift in ("none", "one mean", "dependence"):
    reference, x = rng.normal(size=(2, 400, 10))
    x[:, 0] += 0.5 * (shift == "one mean")
    x[:, 1] = 0.6 * x[:, 1] + 0.8 * x[:, 0] if shift[0] == "d" else x[:, 1]
    columns = min(1.0, 10 * ks_2samp(reference, x).pvalue.min())  # Holm
    linear, products = (by_classifier(reference, x, rng, d) for d in (1, 2))
    print(f"{shift}: columns p = {columns:.2g}, linear classifier", end=" ")
    print(f"p = {linear:.2g}, on products p = {products:.2g}")
