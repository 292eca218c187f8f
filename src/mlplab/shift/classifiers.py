"""Classifiers that tell current rows from reference rows: many fits, each scored on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from mlplab.data import Dataset, Part
from mlplab.engine import Result, train
from mlplab.errors import InvalidInput, UnknownName
from mlplab.shift import encoding, logistic
from mlplab.shift.tables import Pair
from mlplab.spec import MLP, Initialization, Optimizer, Penalty, Run, Setting, Training

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

ClassifierName = Literal["gradient_boosting", "logistic", "mlp"]
NAMES: tuple[ClassifierName, ...] = ("gradient_boosting", "logistic", "mlp")

NETWORK = Setting(
    MLP((32,), initialization=(Initialization("kaiming_uniform"),)),
    optimizer=Optimizer("adam", learning_rate=0.01),
    penalty=Penalty(weight_decay=0.01),
    training=Training(epochs=20, batch_size=64, evaluate_every=20),
)
MIN_UPDATES = 200  # a small sample is passed over more often


@dataclass(frozen=True, eq=False)
class Fit:
    """One fit: rows to learn from with their labels, and rows to score."""

    train: Int[np.ndarray, "train"]
    labels: Bool[np.ndarray, "train"]
    score: Int[np.ndarray, "score"]


def check(owner: str, classifier: Any) -> None:
    """Raises UnknownName for a name that is not known, InvalidInput for an object that is no classifier."""
    if isinstance(classifier, str):
        if classifier not in NAMES:
            raise UnknownName(owner, classifier, NAMES, "Or a scikit-learn classifier with predict_proba.")
    elif not (hasattr(classifier, "fit") and hasattr(classifier, "predict_proba")):
        rule = f"must be one of {', '.join(map(repr, NAMES))}, or a classifier with fit and predict_proba"
        raise InvalidInput(owner, rule, classifier)


class Scorer:
    """Fits on encoded rows. `again` scores rows that were changed with a classifier that was kept."""

    def __init__(self, classifier: Any, both: Pair, fitted_on: np.ndarray, seed: int) -> None:
        self._classifier, self._seed = classifier, seed
        self.is_tree = classifier == "gradient_boosting"
        if self.is_tree:
            self.features, self._is_code = encoding.for_trees(both)
            self.owners = np.arange(self.features.shape[1])
        else:
            self.features, self.owners = encoding.dense(both, fitted_on)
        self._kept: Any = None

    def scores(self, fits: Sequence[Fit]) -> list[Float[np.ndarray, "score"]]:
        """A score for each row to score, high where it looks current. The last classifier is kept."""
        if self._classifier == "mlp":
            return self._network_scores(fits)
        if self._classifier == "logistic" and len(fits) > 1 and self._is_small:
            return self._logistic_scores(fits)
        found = []
        for fit in fits:
            self._kept = self._model(len(fit.train)).fit(self.features[fit.train], fit.labels)
            found.append(self.again(self.features[fit.score]))
        return found

    def again(self, features: np.ndarray) -> Float[np.ndarray, "row"]:
        """Scores of other rows by the classifier that was kept."""
        if isinstance(self._kept, Result):
            return forward(self._kept, features)
        if hasattr(self._kept, "decision_function"):
            return np.asarray(self._kept.decision_function(features), dtype=np.float64)
        place = list(self._kept.classes_).index(True)
        return np.asarray(self._kept.predict_proba(features)[:, place], dtype=np.float64)

    def _model(self, num_rows: int) -> Any:
        if self._classifier == "logistic":
            return LogisticRegression(C=1.0, max_iter=1_000)
        if self.is_tree:
            options: dict[str, Any] = {
                "max_iter": 50,
                "max_leaf_nodes": 15,
                "min_samples_leaf": max(3, min(20, num_rows // 20)),
                "l2_regularization": 1.0,
                "categorical_features": self._is_code,
                "early_stopping": False,
                "random_state": self._seed,
            }
            return HistGradientBoostingClassifier(**options)
        return clone(self._classifier)

    @property
    def _is_small(self) -> bool:
        return len(self.features) * (self.features.shape[1] + 1) ** 2 <= logistic.MOST_CELLS

    def _logistic_scores(self, fits: Sequence[Fit]) -> list[np.ndarray]:
        """All regressions at once. None is kept: `scores` of one fit keeps that."""
        taught, labels = np.zeros((2, len(fits), len(self.features)), dtype=bool)
        for place, fit in enumerate(fits):
            taught[place, fit.train], labels[place, fit.train] = True, fit.labels
        found = logistic.fit_together(self.features, taught, labels)
        return [
            self.features[fit.score] @ slopes[:-1] + slopes[-1]
            for fit, slopes in zip(fits, found, strict=True)
        ]

    def _network_scores(self, fits: Sequence[Fit]) -> list[np.ndarray]:
        features = self.features.astype(np.float32)
        taught = [(features[fit.train], fit.labels, self._seed) for fit in fits]
        done = networks(taught)
        self._kept = done[-1]
        return [forward(trained, features[fit.score]) for trained, fit in zip(done, fits, strict=True)]


def networks(
    taught: Sequence[tuple[Float[np.ndarray, "row feature"], Bool[np.ndarray, "row"], int]],
) -> list[Result]:
    """A network for each (features, labels, seed): the engine trains all of them together."""
    data, runs = {}, []
    for features, labels, seed in taught:
        part = Part(features, labels.astype(np.int64))
        glimpse = Part(part.features[:1], part.targets[:1])  # nothing is chosen by it
        held = Dataset("shift", "", "classification", part, glimpse, None, 2, (features.shape[1],))
        data[held.fingerprint] = held
        runs.append(Run(_network(len(features)), held.fingerprint, seed))
    done = {item.run: item for item in train(list(dict.fromkeys(runs)), data) if isinstance(item, Result)}
    return [done[run] for run in runs]


def _network(num_rows: int) -> Setting:
    batches = -(-num_rows // 64)
    epochs = max(20, -(-MIN_UPDATES // batches))
    return Setting(
        NETWORK.model, optimizer=NETWORK.optimizer, penalty=NETWORK.penalty,
        training=Training(epochs=epochs, batch_size=64, evaluate_every=epochs),
    )  # fmt: skip


def forward(trained: Result, features: np.ndarray) -> np.ndarray:
    """Log odds of being current; 0 for all where training diverged."""
    if trained.status != "finished":
        return np.zeros(len(features))
    (first, first_bias), (last, last_bias) = trained.parameters
    hidden = np.maximum(features @ first.T + first_bias, 0)
    logits = hidden @ last.T + last_bias
    return (logits[:, 1] - logits[:, 0]).astype(np.float64)
