"""A detector of covariate shift: can a classifier tell the samples apart?"""

import numpy as np
from scipy.stats import mannwhitneyu
from sklearn.linear_model import LogisticRegression

from mlplab.shift import C2STDetector


def detect(reference, current, rng):
    """Learn from half of the rows; judge the scores of the other half."""
    rows = np.concatenate([reference, current])
    label = np.repeat([0, 1], [len(reference), len(current)])
    order = rng.permutation(len(rows))
    learn, judge = order[::2], order[1::2]
    model = LogisticRegression().fit(rows[learn], label[learn])
    score = model.decision_function(rows[judge])
    new, old = score[label[judge] == 1], score[label[judge] == 0]
    return mannwhitneyu(new, old, alternative="greater").pvalue


rng = np.random.default_rng(0)
for shift in (0.0, 0.25, 0.5, 1.0):
    reference = rng.normal(size=(200, 10))
    current = rng.normal(size=(200, 10))
    current[:, 0] += shift
    found = C2STDetector("logistic").fit(reference).test(current)
    print(f"shift {shift}: p = {detect(reference, current, rng):.2g};", end=" ")
    print(f"mlplab: p = {found.p_value:.2g}, AUC {found.statistic:.2f}")
