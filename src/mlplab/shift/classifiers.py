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
from mlplab.shift import encoding
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
        found = []
        for fit in fits:
            self._kept = self._model(len(fit.train)).fit(self.features[fit.train], fit.labels)
            found.append(self.again(self.features[fit.score]))
        return found

    def again(self, features: np.ndarray) -> Float[np.ndarray, "row"]:
        """Scores of other rows by the classifier that was kept."""
        if isinstance(self._kept, Result):
            return _forward(self._kept, features)
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

    def _network_scores(self, fits: Sequence[Fit]) -> list[np.ndarray]:
        """All networks at once: the engine trains them together."""
        data, runs = {}, []
        features = self.features.astype(np.float32)
        for fit in fits:
            part = Part(features[fit.train], fit.labels.astype(np.int64))
            glimpse = Part(part.features[:1], part.targets[:1])  # nothing is chosen by it
            held = Dataset("shift", "", "classification", part, glimpse, None, 2, (features.shape[1],))
            data[held.fingerprint] = held
            runs.append(Run(_network(len(fit.train)), held.fingerprint, self._seed))
        done = {item.run: item for item in train(list(dict.fromkeys(runs)), data) if isinstance(item, Result)}
        self._kept = done[runs[-1]]
        return [_forward(done[run], features[fit.score]) for run, fit in zip(runs, fits, strict=True)]


def _network(num_rows: int) -> Setting:
    batches = -(-num_rows // 64)
    epochs = max(20, -(-MIN_UPDATES // batches))
    return Setting(
        NETWORK.model, optimizer=NETWORK.optimizer, penalty=NETWORK.penalty,
        training=Training(epochs=epochs, batch_size=64, evaluate_every=epochs),
    )  # fmt: skip


def _forward(trained: Result, features: np.ndarray) -> np.ndarray:
    """Log odds of being current; 0 for all where training diverged."""
    if trained.status != "finished":
        return np.zeros(len(features))
    (first, first_bias), (last, last_bias) = trained.parameters
    hidden = np.maximum(features @ first.T + first_bias, 0)
    logits = hidden @ last.T + last_bias
    return (logits[:, 1] - logits[:, 0]).astype(np.float64)
