"""Detectors that are measured, ours and the literature's, and one that is known to be false."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from mlplab.shift import BBSDDetector, C2STDetector, FeatureDetector, MMDDetector

Test = Callable[[np.ndarray, np.ndarray, int], float]  # reference, current, seed -> p-value

ALPHA = 0.05
PERMUTATIONS = 99
REFITS = 19  # the fewest that a level of .05 allows: it is as exact with them, and only its power is less
NUM_FOLDS = 5


def _ours(make: Callable[[int], object]) -> Test:
    def p_value(reference: np.ndarray, current: np.ndarray, seed: int) -> float:
        return make(seed).fit(reference).test(current).p_value  # type: ignore[attr-defined]

    return p_value


def literature_c2st(reference: np.ndarray, current: np.ndarray, seed: int) -> float:
    """Lopez-Paz and Oquab 2017, section 3: nearest neighbours learn from half, accuracy on the rest is N(1/2, 1/4n)."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([reference, current])
    labels = np.repeat([0, 1], [len(reference), len(current)])
    order = rng.permutation(len(points))
    learn, judge = order[: len(order) // 2], order[len(order) // 2 :]
    model = KNeighborsClassifier(max(1, round(math.sqrt(len(learn))))).fit(points[learn], labels[learn])
    accuracy = float((model.predict(points[judge]) == labels[judge]).mean())
    return float(stats.norm.sf((accuracy - 0.5) * math.sqrt(4 * len(judge))))


def pooled_out_of_fold(reference: np.ndarray, current: np.ndarray, seed: int) -> float:
    """Known to be false: scores of five folds in one Mann-Whitney test, as if they were independent."""
    points = np.concatenate([reference, current])
    labels = np.repeat([0, 1], [len(reference), len(current)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    scores = np.asarray(
        cross_val_predict(LogisticRegression(), points, labels, cv=folds, method="predict_proba")
    )[:, 1]
    return float(stats.mannwhitneyu(scores[labels == 1], scores[labels == 0], alternative="greater").pvalue)


CONTENDERS: dict[str, Test] = {
    "features": _ours(lambda seed: FeatureDetector(num_drivers=0, seed=seed)),
    "C2ST logistic": _ours(lambda seed: C2STDetector("logistic", num_drivers=0, seed=seed)),
    "MMD": _ours(lambda seed: MMDDetector(num_permutations=PERMUTATIONS, num_drivers=0, seed=seed)),
    "BBSD classes": _ours(lambda seed: BBSDDetector(num_drivers=0, seed=seed)),
    "BBSD scores": _ours(lambda seed: BBSDDetector(on="scores", num_drivers=0, seed=seed)),
    "C2ST gradient boosting": _ours(lambda seed: C2STDetector(num_drivers=0, seed=seed)),
    "C2ST mlp": _ours(lambda seed: C2STDetector("mlp", num_drivers=0, seed=seed)),
    "C2ST logistic, refit": _ours(
        lambda seed: C2STDetector(
            "logistic", null="refit", num_permutations=REFITS, num_folds=NUM_FOLDS, num_drivers=0, seed=seed
        )
    ),
    "literature's C2ST": literature_c2st,
    "false: pooled folds": pooled_out_of_fold,
}
