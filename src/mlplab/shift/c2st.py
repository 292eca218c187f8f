"""Classifier two-sample test: a shift is what a classifier can tell the samples apart by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from mlplab.errors import UnknownName
from mlplab.rng import Stream
from mlplab.shift import classifiers, distances, result
from mlplab.shift.classifiers import ClassifierName, Fit, Scorer
from mlplab.shift.detector import Detector
from mlplab.shift.mmd import permuted
from mlplab.shift.result import Driver, Power, ShiftResult
from mlplab.shift.tables import Pair

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

EXACT = 200  # rows up to which the law of ranks is counted
SMALL = 20  # held-out rows of a sample below which the normal law of ranks is not trusted


class C2STDetector(Detector):
    """A classifier learns which sample a row is of. If it beats chance on rows it has not seen, the samples differ.

    `null="held-out"`: it learns from half of each sample, and the area under the ROC curve (AUC) on the other half is
    judged by the law of ranks (Mann-Whitney, one-sided). The held-out rows are independent of the classifier, so the
    law holds. `null="refit"`: AUC of cross-validated scores of all rows, beside that of classifiers fitted anew to
    permuted labels: dearer, sees a little more. Cross-validated scores in an ordinary test would be wrong: they are
    not independent, and the false alarms are then nearly twice alpha.

    Arguments:
      classifier: `gradient_boosting` (scikit-learn's histogram trees: categories and missing values as they are),
        `logistic`, `mlp` (the engine's, all refits together), or any scikit-learn classifier with `predict_proba`.
      null: as above.
      num_permutations: of `refit`; at most MOST_PERMUTATIONS; the p-value is never below 1/(num_permutations + 1).
      num_folds: of `refit`.
      alpha: chance of a false alarm.
      num_drivers: how many features the result names: by the AUC that is lost where a feature is shuffled among the
        held-out rows. The 2·num_drivers features that differ most on their own are tried. 0 for none.
      seed: of splits, permutations and the classifier.

    Sources: Lopez-Paz and Oquab 2017, Revisiting classifier two-sample tests; Kim et al. 2021, Classification accuracy
    as a proxy for two-sample testing; Hanley and McNeil 1982 (variance of AUC).
    Attributes after `fit`: `reference_`, `n_features_in_`, `feature_names_in_`.
    """

    def __init__(
        self,
        classifier: ClassifierName | Any = "gradient_boosting",
        *,
        null: Literal["held-out", "refit"] = "held-out",
        num_permutations: int = 199,
        num_folds: int = 5,
        alpha: float = 0.05,
        num_drivers: int = 10,
        seed: int = 0,
    ) -> None:
        self.classifier = classifier
        self.null = null
        self.num_permutations = num_permutations
        self.num_folds = num_folds
        self.alpha = alpha
        self.num_drivers = num_drivers
        self.seed = seed

    def _smallest_p(self) -> float:
        return 1 / (self.num_permutations + 1) if self.null == "refit" else 0.0

    def _check_options(self) -> None:
        super()._check_options()
        classifiers.check("C2STDetector.classifier", self.classifier)
        if self.null not in ("held-out", "refit"):
            raise UnknownName("C2STDetector.null", self.null, ("held-out", "refit"))

    def _compare(self, both: Pair) -> ShiftResult:
        label = both.is_current
        if self.null == "held-out":
            fold = folds_of(label, 2, Stream(self.seed, "split"))
            learn, judge = np.flatnonzero(fold == 0), np.flatnonzero(fold == 1)
            scorer = Scorer(self.classifier, both, learn, self.seed)
            (score,) = scorer.scores([Fit(learn, label[learn], judge)])
            area = auc(score, label[judge])
            p_value = rank_p_value(score, label[judge], self.seed)
            method = f"{self._named()}, learnt from {len(learn):,} rows, judged on {len(judge):,}"
            null = None
        else:
            learn = judge = np.arange(both.num_rows)
            scorer = Scorer(self.classifier, both, learn, self.seed)
            labels, streams = refit_labels(label, self.num_permutations, self.seed)
            areas, score = out_of_fold(scorer, labels, streams, self.num_folds)
            area, null = float(areas[0]), areas[1:]
            p_value = refit_p_value(areas, self.num_permutations)
            method = f"{self._named()}, {self.num_folds} folds, fitted anew to {self.num_permutations} permutations"
            scorer.scores([Fit(learn, label, judge[:1])])  # kept: the one that drivers are asked of
        current = label[judge]
        spread = (
            auc_std_error(area, int((~current).sum()), int(current.sum()))
            if null is None
            else float(null.std())
        )
        return ShiftResult(
            detector="C2ST",
            method=method,
            statistic_name="AUC",
            statistic=area,
            p_value=p_value,
            alpha=self.alpha,
            num_reference=both.num_reference,
            num_current=both.num_current,
            ci_low=max(0.0, area - 1.96 * spread),
            ci_high=min(1.0, area + 1.96 * spread),
            driver_measure="AUC lost where the feature is shuffled",
            drivers=self._drivers(both, scorer, judge),
            power=_power(self.alpha, current, area, null),
            distribution=result.histogram(
                "Scores of rows not learnt from", "score: high where a row looks current", score, current
            ),
        )

    def _named(self) -> str:
        return self.classifier if isinstance(self.classifier, str) else type(self.classifier).__name__

    def _drivers(self, both: Pair, scorer: Scorer, judge: np.ndarray) -> tuple[Driver, ...]:
        if not self.num_drivers:
            return ()
        held = both.take(judge)
        tried = np.argsort(-distances.screen(held), kind="stable")[: 2 * self.num_drivers]
        features, stream = scorer.features[judge], Stream(self.seed, "split", layer=2)
        whole = auc(scorer.again(features), held.is_current)
        found = []
        for place in tried:
            columns = np.flatnonzero(scorer.owners == place)
            kept = features[:, columns].copy()
            features[:, columns] = kept[stream.permutation(len(judge))]
            found.append(Driver(both.names[place], whole - auc(scorer.again(features), held.is_current)))
            features[:, columns] = kept
        found.sort(key=lambda driver: -driver.score)
        return tuple(found[: self.num_drivers])


def refit_labels(
    label: Bool[np.ndarray, "row"], num_permutations: int, seed: int
) -> tuple[list[np.ndarray], list[Stream]]:
    """The labels, then permutations of them; and for each the stream that draws its folds."""
    labels = [label, *permuted(label, num_permutations, Stream(seed, "order"))]
    anew = (Stream(seed, "split", layer=1, step=number) for number in range(num_permutations))
    return labels, [Stream(seed, "split"), *anew]


def out_of_fold(
    scorer: Scorer, labels: Sequence[Bool[np.ndarray, "row"]], streams: Sequence[Stream], num_folds: int
) -> tuple[Float[np.ndarray, "labelling"], Float[np.ndarray, "row"]]:
    """For each labelling the AUC of cross-validated scores, the mean over folds; and the scores under the first.

    The mean, because scores of two classifiers are not on one scale.
    """
    fits = []
    for each, stream in zip(labels, streams, strict=True):
        fold = folds_of(each, num_folds, stream)
        fits += [
            Fit(np.flatnonzero(fold != k), each[fold != k], np.flatnonzero(fold == k))
            for k in range(num_folds)
        ]
    found = scorer.scores(fits)
    areas = [
        auc(score, labels[place // num_folds][fit.score])
        for place, (fit, score) in enumerate(zip(fits, found, strict=True))
    ]
    first = np.empty(len(labels[0]))
    for fit, score in zip(fits[:num_folds], found[:num_folds], strict=True):
        first[fit.score] = score
    return np.reshape(areas, (len(labels), num_folds)).mean(axis=1), first


def refit_p_value(areas: Float[np.ndarray, "labelling"], num_permutations: int) -> float:
    """From the AUC of the labels and of permutations; a bound from below where not all of these are there yet."""
    return (1 + int((areas[1:] >= areas[0] - 1e-12).sum())) / (1 + num_permutations)


def folds_of(labels: Bool[np.ndarray, "row"], count: int, stream: Stream) -> np.ndarray:
    """A fold for each row: each has its share of both samples."""
    fold = np.empty(len(labels), dtype=np.int64)
    for side in (False, True):
        rows = np.flatnonzero(labels == side)
        fold[rows[stream.permutation(len(rows))]] = np.arange(len(rows)) % count
    return fold


def auc(score: Float[np.ndarray, "row"], current: Bool[np.ndarray, "row"]) -> float:
    """How often a current row has a higher score than a reference row; a tie counts half."""
    ranks = scipy_stats.rankdata(score)
    m = int(current.sum())
    return float((ranks[current].sum() - m * (m + 1) / 2) / (m * (len(score) - m)))


def rank_p_value(score: Float[np.ndarray, "row"], current: Bool[np.ndarray, "row"], seed: int = 0) -> float:
    """One-sided p-value of an AUC above 1/2, by Mann-Whitney's law of ranks.

    Counted exactly for up to 200 rows without ties; by permutations where there are ties and a sample has fewer than
    20 rows; by the normal law with ties and continuity corrected otherwise.
    """
    if np.ptp(score) == 0:
        return 1.0
    method: Any = "asymptotic"
    if len(np.unique(score)) == len(score) and len(score) <= EXACT:
        method = "exact"
    elif min(current.sum(), (~current).sum()) < SMALL:
        method = scipy_stats.PermutationMethod(
            n_resamples=9_999, rng=np.random.Generator(np.random.Philox(key=seed))
        )
    found = scipy_stats.mannwhitneyu(score[current], score[~current], alternative="greater", method=method)
    return float(found.pvalue)


def auc_std_error(area: float | Float[np.ndarray, "area"], num_reference: int, num_current: int) -> Any:
    """Of an AUC, by Hanley and McNeil 1982, eqs. 1 and 2."""
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (num_current - 1) * (first - area**2) + (num_reference - 1) * (second - area**2)
    )
    return np.sqrt(np.maximum(variance, 0) / (num_reference * num_current))


def _power(alpha: float, current: np.ndarray, observed: float, null: np.ndarray | None) -> Power:
    """Of the AUC that the classifier must reach."""
    m = int(current.sum())
    n = len(current) - m
    sizes = np.linspace(0.5, 0.999, 200)
    if null is None:
        critical = 0.5 - special.ndtri(alpha) * math.sqrt((n + m + 1) / (12 * n * m))
    else:
        critical = float(np.quantile(null, 1 - alpha))
    spread = np.maximum(auc_std_error(sizes, n, m), 1e-9)
    return result.power_curve(
        "AUC of the classifier", sizes, special.ndtr((sizes - critical) / spread), observed
    )
