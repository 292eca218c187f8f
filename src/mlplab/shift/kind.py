"""Which kind of shift: covariate, label or concept. Only labels of the target can tell.

Each kind says what has stayed: p(y|x) under a covariate shift, p(x|y) under a label shift; under a concept shift
neither need have. So each kind is a hypothesis that labelled rows of both samples can reject: given x, does y
still tell the samples apart? Given y, does x? What is not rejected stays possible. A true covariate shift, say, is
ruled out with probability at most alpha: there is one truth, so nothing has to be adjusted for several tests.

Both are tests of conditional independence, of the sample's name D from what is asked about, given z. A classifier g
learns on one half of the rows to name the sample from (x, y); on the other half the products (g - E[g|z])(D -
E[D|z]) have mean 0 if the hypothesis holds, for any g. Without labels no test can do this, and
none is pretended.

Sources: Shah and Peters 2020, The hardness of conditional independence testing and the generalised covariance measure,
Ann. Stat. 48, 1514; Scheidegger, Hörrmann and Bühlmann 2022, The weighted generalised covariance measure, JMLR
23(273); Schölkopf et al. 2012, On causal and anticausal learning (ICML); Quiñonero-Candela et al. 2009, Dataset
shift in machine learning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtr
from scipy.stats import chi2_contingency, ks_2samp, mannwhitneyu
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.validation import check_array

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.shift.classifier_weights import CrossFit, candidate_classifiers, stratified_folds
from mlplab.shift.doubly_robust import FOLDS, candidate_regressors
from mlplab.shift.table_encoder import TableEncoder

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Kind = Literal["none", "covariate", "label", "concept", "undecided", "unknown"]
LEAST_LABELLED = 20  # labelled rows of the target, below which nothing is said
MOST_CLASSES = 20  # different whole numbers up to which labels are classes

SAYS: dict[Kind, str] = {
    "none": "No shift is found.",
    "covariate": "A covariate shift: the inputs changed, and what they mean did not. Weights of the inputs, "
    "p(target)/p(source), correct it.",
    "label": "A label shift: the shares of the labels changed, and what each looks like did not. Weights of the "
    "classes (BBSE, EM) correct it.",
    "concept": "A concept shift: neither p(y|x) nor p(x|y) stayed as it was. No weights correct that: train on "
    "labelled rows of the target.",
    "undecided": "Something changed, and both a covariate and a label shift explain it: more labelled rows of the "
    "target would tell, or knowledge of which causes which.",
    "unknown": "Covariate, label and concept shift can look the same without labels of the target: not told apart.",
}


@dataclass(frozen=True)
class ShiftKind:
    """The kind, what else is possible, and the four p-values behind it.

    `kind`: `none`; `covariate`, `label` or `concept`; `undecided` where two kinds are possible; `unknown` where
    there are too few labels of the target. `p_inputs` and `p_labels` test p(x) and p(y), `p_labels_given_inputs`
    what a covariate shift leaves as it was, `p_inputs_given_labels` what a label shift does. None where labels are
    missing.
    """

    kind: Kind
    possible: tuple[Kind, ...]
    p_inputs: float
    p_labels: float | None
    p_labels_given_inputs: float | None
    p_inputs_given_labels: float | None
    num_labelled: int
    alpha: float

    @property
    def says(self) -> str:
        """The answer in words."""
        if self.kind != "unknown":
            return SAYS[self.kind]
        seen = "The inputs changed." if self.p_inputs < self.alpha else "No change of the inputs is found."
        return f"{seen} {SAYS['unknown']} {LEAST_LABELLED} labelled rows are the least; there are {self.num_labelled}."

    def table(self) -> pd.DataFrame:
        """A row for each test."""
        rows = [
            ("p(x), the inputs", self.p_inputs),
            ("p(y), the labels", self.p_labels),
            ("p(y|x): a covariate shift keeps it", self.p_labels_given_inputs),
            ("p(x|y): a label shift keeps it", self.p_inputs_given_labels),
        ]
        told = [None if p is None else p < self.alpha for _, p in rows]
        return pd.DataFrame({"what": [name for name, _ in rows], "p": [p for _, p in rows], "changed": told})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self) | {"says": self.says}


def kind_of_shift(
    source: Any,
    source_labels: Any,
    target: Any,
    target_labels: Any = None,
    *,
    alpha: float = 0.05,
    classifier: Any = "auto",
    seed: int = 0,
) -> ShiftKind:
    """Tell covariate, label and concept shift apart.

    Arguments:
      source, target: arrays (row, feature) of finite numbers, or tables of the same columns.
      source_labels: one for each row: classes, or numbers.
      target_labels: the same; None, NaN or None in places where they are not known. Those known must be a random part.
      classifier: what names the sample, as in `ClassifierWeights`.
      seed: of splits and folds.

    Raises InvalidInput for samples or labels that do not fit each other.
    """
    stats._check_prob("kind_of_shift.alpha", alpha)
    x_source, x_target = _features(source, target)
    y_source = _labels("source_labels", source_labels, len(x_source))
    y_target = _labels("target_labels", target_labels, len(x_target))
    if y_source.isna().any():
        raise InvalidInput("kind_of_shift.source_labels", "must be known for every row", "some that are not")
    known = y_target.notna().to_numpy()
    p_inputs = _inputs_differ(x_source, x_target, classifier, seed)
    if known.sum() < LEAST_LABELLED:
        return ShiftKind("unknown", (), p_inputs, None, None, None, int(known.sum()), alpha)

    y = pd.concat([y_source, y_target[known]], ignore_index=True)
    x = np.concatenate([x_source, x_target[known]])
    is_target = np.repeat([False, True], [len(x_source), int(known.sum())])
    labels, is_class = _as_features(y)
    p_labels = _labels_differ(y, labels, is_target, is_class)
    both = np.concatenate([x, labels], axis=1)
    judge, named = _names_of_sample(both, is_target, classifier, seed)
    given_x = _conditional(named, judge, is_target, x, False, classifier, seed)
    given_y = _conditional(named, judge, is_target, labels, is_class, classifier, seed)
    return _judged(p_inputs, p_labels, given_x, given_y, int(known.sum()), alpha)


def _judged(
    p_inputs: float, p_labels: float, given_x: float, given_y: float, num_labelled: int, alpha: float
) -> ShiftKind:
    family = stats.holm([p_inputs, p_labels, given_x, given_y])
    left: list[Kind] = []
    if given_x >= alpha:
        left.append("covariate")
    if given_y >= alpha:
        left.append("label")
    possible: tuple[Kind, ...] = (*left, "concept")
    kind: Kind
    if family.min() >= alpha:
        kind, possible = "none", ("none", *possible)
    elif len(left) == 2:
        kind = "undecided"
    else:
        kind = left[0] if left else "concept"
    return ShiftKind(kind, possible, p_inputs, p_labels, given_x, given_y, num_labelled, alpha)


def _features(source: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(source, pd.DataFrame) and isinstance(target, pd.DataFrame):
        encoder = TableEncoder().fit(source, target)
        return encoder.transform(source, "source"), encoder.transform(target, "target")
    found = []
    for name, rows in (("source", source), ("target", target)):
        try:
            array = check_array(rows, dtype="numeric", ensure_min_samples=10, input_name=name)
            found.append(np.asarray(array, dtype=np.float64))
        except ValueError as error:
            rule = "must be an array (row, feature) of 10 finite rows or more"
            raise InvalidInput(f"kind_of_shift.{name}", rule, str(error).split(".\n")[0]) from error
    if found[0].shape[1] != found[1].shape[1]:
        rule = f"must have the source's {found[0].shape[1]} features"
        raise InvalidInput("kind_of_shift.target", rule, found[1].shape[1])
    return found[0], found[1]


def _labels(name: str, labels: Any, num_rows: int) -> pd.Series:
    if labels is None:
        return pd.Series([None] * num_rows, dtype=object)
    series = pd.Series(np.asarray(labels, dtype=object).ravel()).infer_objects()
    if len(series) != num_rows:
        raise InvalidInput(
            f"kind_of_shift.{name}", f"must be one for each of {num_rows:,} rows", f"{len(series):,}"
        )
    return series


def _as_features(y: pd.Series) -> tuple[Float[np.ndarray, "row feature"], bool]:
    """Labels as numbers: a column for each class, or the number itself."""
    numeric = pd.api.types.is_numeric_dtype(y) and not pd.api.types.is_bool_dtype(y)
    if numeric and (y.nunique() > MOST_CLASSES or bool((y % 1 != 0).any())):
        return y.to_numpy(dtype=np.float64)[:, None], False
    return pd.get_dummies(y.astype(str)).to_numpy(dtype=np.float64), True


def _inputs_differ(x_source: np.ndarray, x_target: np.ndarray, classifier: Any, seed: int) -> float:
    """A classifier trained on one half names the samples of the other: Mann and Whitney's test of its scores."""
    x = np.concatenate([x_source, x_target])
    is_target = np.repeat([False, True], [len(x_source), len(x_target)])
    learn, judge = _halves(is_target, seed)
    scores = _best(x[learn], is_target[learn], classifier, seed).log_odds(x[judge])
    ours, theirs = scores[~is_target[judge]], scores[is_target[judge]]
    test: Any = mannwhitneyu(theirs, ours, alternative="greater")
    return float(test.pvalue)


def _labels_differ(y: pd.Series, labels: np.ndarray, is_target: np.ndarray, is_class: bool) -> float:
    if not is_class:
        alike: Any = ks_2samp(labels[is_target, 0], labels[~is_target, 0])
        return float(alike.pvalue)
    counts = np.stack([labels[~is_target].sum(0), labels[is_target].sum(0)])
    if counts.shape[1] == 1:
        return 1.0
    test: Any = chi2_contingency(counts, correction=False)
    return float(test.pvalue)


def _names_of_sample(
    both: np.ndarray, is_target: Bool[np.ndarray, "row"], classifier: Any, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one half, and how much each (x, y) of them looks like the target to a classifier of the other half.

    Halves must not change places: what chance made alike in both would then count twice, and the level be missed.
    """
    learn, judge = _halves(is_target, seed)
    odds = _best(both[learn], is_target[learn], classifier, seed).log_odds(both[judge])
    return judge, (odds - odds.mean()) / max(odds.std(), 1e-12)


def _conditional(
    named: np.ndarray,
    judge: np.ndarray,
    is_target: np.ndarray,
    given: np.ndarray,
    is_class: bool,
    classifier: Any,
    seed: int,
) -> float:
    """One-sided p of the hypothesis that, given these columns, nothing else tells the samples apart."""
    if is_class:
        group = given[judge].argmax(1)
        of_sample = is_target[judge] - _group_mean(is_target[judge].astype(np.float64), group)
        of_name = named - _group_mean(named, group)
    else:
        of_sample = (is_target - _shares(given, is_target, classifier, seed))[judge]
        of_name = named - _expected(given[judge], named, seed)
    products = of_sample * of_name
    spread = products.std(ddof=1)
    if spread < 1e-12:
        return 1.0
    return float(1 - ndtr(np.sqrt(len(products)) * products.mean() / spread))


def _group_mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return (np.bincount(group, values) / np.maximum(np.bincount(group), 1))[group]


def _shares(given: np.ndarray, is_target: np.ndarray, classifier: Any, seed: int) -> np.ndarray:
    """Probability that a row is the target's, by a classifier that did not see it."""
    return 1 / (1 + np.exp(-_best(given, is_target, classifier, seed).unseen))


def _expected(given: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """E[values | given] at each row, by the better of two regressions that did not see it."""
    folds, tried = list(KFold(FOLDS, shuffle=True, random_state=seed).split(given)), []
    for candidate in candidate_regressors(given.shape[1], seed):
        unseen = np.empty(len(values))
        for seen, held in folds:
            model: Any = clone(candidate)
            unseen[held] = model.fit(given[seen], values[seen]).predict(given[held])
        tried.append((float(np.mean((values - unseen) ** 2)), unseen))
    return min(tried, key=lambda one: one[0])[1]


def _best(rows: np.ndarray, is_target: np.ndarray, classifier: Any, seed: int) -> CrossFit:
    marks = is_target.astype(np.int64)
    folds = stratified_folds(marks, FOLDS, seed)
    fits = [
        CrossFit(c, rows, marks, folds)
        for c in candidate_classifiers(classifier, rows.shape[1], seed).values()
    ]
    return min(fits, key=lambda fit: fit.log_loss)


def _halves(is_target: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    splitter = StratifiedKFold(2, shuffle=True, random_state=seed)
    first, second = next(iter(splitter.split(is_target, is_target)))
    return first, second
