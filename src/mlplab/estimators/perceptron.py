"""`MLPClassifier` and `MLPRegressor` with scikit-learn's names, trained by the engine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from mlplab import engine
from mlplab.data import Dataset, Part
from mlplab.data.split import random_split, stratified_split
from mlplab.engine import Result
from mlplab.errors import InvalidInput
from mlplab.estimators.parameters import setting_of
from mlplab.spec import Run, Setting

# What layers hold of so many examples stays in a cache.
EXAMPLES_AT_ONCE = 1_024
ACTIVATION = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}


@dataclass(frozen=True)
class Job:
    """One training that is to be done: a run, and the data set that it names."""

    run: Run
    dataset: Dataset


class Perceptron(BaseEstimator):
    """What classifier and regressor share.

    Parameters are scikit-learn's, with its defaults. What is not the same here:

    - `tol` and `n_iter_no_change` end training only with `early_stopping`; else it goes on for `max_iter` epochs. What
      is watched is then the loss on the part that was held out, not the score.
    - `solver="lbfgs"`, `learning_rate` other than constant, `shuffle=False`, `warm_start=True`, more than one label for
      an example, `partial_fit` and `sample_weight` are not there.
    - Weights start with other random numbers, and biases at 0. A classifier has one output a class, also for two.
    - float32, whatever the input is.

    Attributes: `coefs_`, `intercepts_`, `n_iter_`, `loss_`, `loss_curve_`, `n_layers_`, `n_outputs_`, `n_features_in_`,
    `feature_names_in_`; `classes_` of a classifier.
    """

    loss: str
    n_outputs_: int
    feature_names_in_: np.ndarray

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

    def fit(self, X: Any, y: Any) -> Self:
        """Train on examples X (n, features) and targets y. Raises InvalidInput, and ValueError as scikit-learn does.

        Training that diverges raises InvalidInput: there is nothing to predict with.
        """
        x, targets = self.examples(X, y)
        job = self.job(x, targets, self.seed(), "fit")
        (result,) = (r for r in engine.train([job.run], job.dataset) if isinstance(r, Result))
        if result.status == "diverged":
            owner = f"{type(self).__name__}.learning_rate_init"
            raise InvalidInput(
                owner,
                f"is too high: training diverged at update {result.diverged_step}",
                self.learning_rate_init,
            )
        return self.take(result)

    def seed(self) -> int:
        """A seed of the engine's from `random_state`."""
        if isinstance(self.random_state, int | np.integer) and self.random_state >= 0:
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def setting(self, num_examples: int) -> Setting:
        """What is trained on so many examples. Raises InvalidInput."""
        return setting_of(type(self).__name__, self.get_params(deep=False), num_examples, self.loss)

    def job(self, x: np.ndarray, targets: np.ndarray, seed: int, name: str) -> Job:
        """The training on these examples, float32 (n, features) and as `examples` gives them.

        Arguments:
          name: tells data sets apart that are trained together.
        """
        train, held_out = self._parts(x, targets)
        dataset = Dataset(
            name=name,
            title=name,
            task="classification" if self.loss == "cross_entropy" else "regression",
            train=train,
            validation=held_out,
            test=None,
            out_features=self.n_outputs_,
            feature_shape=(x.shape[1],),
            fingerprint=name,  # never stored: nobody needs to know the content by it
        )
        return Job(Run(self.setting(train.num_examples), name, seed), dataset)

    def _parts(self, x: np.ndarray, targets: np.ndarray) -> tuple[Part, Part]:
        if not self.early_stopping:
            # The engine evaluates something at the end: a single example costs nothing.
            return Part(x, targets), Part(x[:1], targets[:1])
        share = self.validation_fraction
        if not 0 < share < 1:
            raise InvalidInput(f"{type(self).__name__}.validation_fraction", "must be in (0, 1)", share)
        count = max(round(share * len(x)), 1)
        if count >= len(x):
            raise InvalidInput(f"{type(self).__name__}.early_stopping", "needs 2 examples", len(x))
        is_classifier = self.loss == "cross_entropy"
        sizes = [len(x) - count, count]
        kept, held = stratified_split(targets, sizes) if is_classifier else random_split(len(x), sizes)
        return Part(x[kept], targets[kept]), Part(x[held], targets[held])

    def take(self, result: Result) -> Self:
        """Become the model that was trained."""
        self.coefs_ = [weight.T.astype(np.float64) for weight, _ in result.parameters]
        self.intercepts_ = [bias.astype(np.float64) for _, bias in result.parameters]
        self.loss_curve_ = result.curves["running_loss"]
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_)
        self.n_layers_ = len(self.coefs_) + 1
        return self

    def outputs(self, X: Any) -> np.ndarray:
        """Of the last layer, before anything is made of them: float64 (n, outputs)."""
        check_is_fitted(self)
        x: Any = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        x = x if isinstance(x, np.ndarray) else x.tocsr()
        # float32 examples in float32, as they were learned from.
        number = np.float32 if x.dtype == np.float32 else np.float64
        layers = [
            (w.astype(number), b.astype(number)) for w, b in zip(self.coefs_, self.intercepts_, strict=True)
        ]
        found = np.empty((x.shape[0], layers[-1][0].shape[1]))
        for start in range(0, x.shape[0], EXAMPLES_AT_ONCE):
            part = x[start : start + EXAMPLES_AT_ONCE]
            part = part if isinstance(part, np.ndarray) else part.toarray()
            found[start : start + EXAMPLES_AT_ONCE] = self._outputs(part, layers)
        return found

    def _outputs(self, x: np.ndarray, layers: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        function = ACTIVATION[self.activation]
        with np.errstate(over="ignore"):  # of exp, for a unit that is off
            for coef, intercept in layers[:-1]:
                x = function(x @ coef + intercept)
        return x @ layers[-1][0] + layers[-1][1]

    @abstractmethod
    def examples(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Checked examples as the engine takes them; notes what a fitted estimator knows of its data."""

    def _checked(self, X: Any, y: Any, **checks: Any) -> tuple[np.ndarray, Any]:
        x: Any
        x, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], dtype=np.float32, **checks)
        return np.array(x if isinstance(x, np.ndarray) else x.toarray(), order="C"), y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class MLPClassifier(ClassifierMixin, Perceptron):
    __doc__ = f"A classifier: softmax and cross-entropy.\n{(Perceptron.__doc__ or '').partition(chr(10))[2]}"

    loss = "cross_entropy"

    def examples(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = self._checked(X, y)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InvalidInput("MLPClassifier", "needs at least 2 classes", f"1 class, {self.classes_[0]!r}")
        self.n_outputs_ = len(self.classes_)
        self.out_activation_ = "softmax"
        return x, targets.astype(np.int64)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example."""
        outputs = self.outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes), in the order of `classes_`."""
        return softmax(self.outputs(X), axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Their logarithms."""
        return np.log(self.predict_proba(X))


class MLPRegressor(RegressorMixin, Perceptron):
    __doc__ = f"A regressor: half the squared error.\n{(Perceptron.__doc__ or '').partition(chr(10))[2]}"

    loss = "squared_error"

    def examples(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = self._checked(X, y, multi_output=True, y_numeric=True)
        targets = np.array(y, dtype=np.float32)
        if not np.isfinite(targets).all():
            raise ValueError("Input y contains infinity or a value too large for dtype('float32').")
        self._is_column = targets.ndim == 2
        targets = targets.reshape(len(targets), -1)
        self.n_outputs_ = targets.shape[1]
        self.out_activation_ = "identity"
        return x, targets

    def predict(self, X: Any) -> np.ndarray:
        """The output for each example: (n,), or (n, outputs) where y had two axes."""
        found = self.outputs(X)
        return (
            found
            if self._is_column and self.n_outputs_ > 1
            else found[:, 0]
            if self.n_outputs_ == 1
            else found
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
