"""What estimators of p(target)/p(source) share: `fit(source, target)`, `predict(rows)`, and what they must be given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from mlplab.errors import InvalidInput
from mlplab.shift import tables
from mlplab.shift.correction import Correction, corrected
from mlplab.shift.notices import Notice
from mlplab.shift.table_encoder import TableEncoder

if TYPE_CHECKING:
    from jaxtyping import Float

FIT_ROWS = 50_000  # of each sample, that an estimator learns from; every row is weighed
CHUNK = 65_536  # rows that are looked at together: what they need is bounded however many there are


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a sample. Those of a table become numbers only where they are looked at."""

    held: np.ndarray | pd.DataFrame
    encoder: TableEncoder | None = None

    def __len__(self) -> int:
        return len(self.held)

    def take(self, places: np.ndarray) -> Float[np.ndarray, "row feature"]:
        """Some of the rows, as numbers."""
        if isinstance(self.held, np.ndarray):
            return self.held[places]
        assert self.encoder is not None
        return self.encoder.transform(self.held.iloc[places])

    def chunks(self) -> Iterator[Float[np.ndarray, "row feature"]]:
        """All rows in order, in pieces."""
        for start in range(0, len(self), CHUNK):
            yield self.take(np.arange(start, min(start + CHUNK, len(self))))


class RatioEstimator(BaseEstimator):
    """The ratio p(target)/p(source) of two samples.

    After `fit`: `weights_`, of the source's rows; `correction_`, the same with its diagnosis; `notices_`, what
    is odd about the samples. `predict(rows)` is the ratio at other rows, before it is cut and scaled.
    """

    random_state: int | np.random.RandomState | None
    weights_: Float[np.ndarray, "row"]
    correction_: Correction
    notices_: tuple[Notice, ...]

    def fit(self, X: Any, y: Any) -> Self:
        """Find the weights of the source's rows.

        Arguments:
          X: the source: an array (row, feature) of finite numbers, or a table with numbers, categories, truth values,
            dates and gaps.
          y: the target, of the same columns. Or one number for each row of X, of two different values: rows with the
            greater one are the target, the others the source.

        Raises InvalidInput for samples that do not fit each other, or too few rows.
        """
        source, target = self._samples(X, y)
        random = check_random_state(self.random_state)
        # Which rows teach, in their order: where all do, none is moved.
        self._taught = [np.sort(random.permutation(len(rows))[:FIT_ROWS]) for rows in (source, target)]
        self._fit(source.take(self._taught[0]), target.take(self._taught[1]), random)
        self.correction_ = self._correct(source, target)
        self.weights_ = self.correction_.weights
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "row"]:
        """The ratio at rows of either kind, at least 0. Raises InvalidInput for rows unlike those of `fit`."""
        return self._ratios(self.rows(X))

    def rows(self, X: Any) -> Rows:
        """Rows of either kind, as `predict` takes them. Raises InvalidInput for rows unlike those of `fit`."""
        check_is_fitted(self, "weights_")
        if self._encoder is not None:
            if not isinstance(X, pd.DataFrame):
                raise InvalidInput(f"{type(self).__name__}", "needs a table as `fit` had", type(X).__name__)
            return Rows(X, self._encoder)
        rows: Any = validate_data(self, X, dtype=np.float64, reset=False)
        return Rows(rows)

    def correction_of(
        self, source_ratios: Float[np.ndarray, "row"], target_ratios: Float[np.ndarray, "row"]
    ) -> Correction:
        """Ratios of the source's rows, as `predict` gives them, made weights; those of the target tell of overlap."""
        return corrected(source_ratios, type(self).__name__, target_ratios=target_ratios)

    def _fit(self, source: np.ndarray, target: np.ndarray, random: np.random.RandomState) -> None:
        raise NotImplementedError

    def _ratio(self, rows: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row"]:
        raise NotImplementedError

    def _correct(self, source: Rows, target: Rows) -> Correction:
        return self.correction_of(self._ratios(source), self._ratios(target))

    def _ratios(self, rows: Rows) -> np.ndarray:
        return np.concatenate([self._ratio(chunk) for chunk in rows.chunks()])

    def _samples(self, X: Any, y: Any) -> tuple[Rows, Rows]:
        if y is None:
            rule = "requires y to be passed, but the target y is None"
            raise InvalidInput(
                f"{type(self).__name__}.fit", rule, None, "Give the rows of the target, or marks"
            )
        self.notices_ = ()
        self._encoder = None
        if isinstance(X, pd.DataFrame) and (isinstance(y, pd.DataFrame) or _is_mixed(X)):
            source, target = self._tables(X, y)
        else:
            given: Any = X
            validated: Any = validate_data(self, given, dtype=np.float64)
            source, target = map(Rows, self._arrays(validated, y))
        for name, rows in (("source", source), ("target", target)):
            if len(rows) < 2:
                raise InvalidInput(
                    f"{type(self).__name__}.fit", f"needs 2 rows of the {name}", f"{len(rows)} sample"
                )
        hashes = [_hashes(rows) for rows in (source, target)]
        self.notices_ += tuple(tables.shared_rows(*hashes, names=("source", "target")))
        return source, target

    def _tables(self, X: pd.DataFrame, y: Any) -> tuple[Rows, Rows]:
        if isinstance(y, pd.DataFrame):
            source, target = X, y
        else:
            is_target = _marked(type(self).__name__, y, len(X))
            source, target = X[~is_target], X[is_target]
        self._encoder = TableEncoder().fit(source, target)
        self.notices_ += tuple(self._encoder.notices)
        self.feature_names_in_ = np.asarray(self._encoder.columns, dtype=object)
        self.n_features_in_ = len(self._encoder.columns)
        return Rows(source, self._encoder), Rows(target, self._encoder)

    def _arrays(self, X: np.ndarray, y: Any) -> tuple[np.ndarray, np.ndarray]:
        if np.ndim(y) == 1 or (np.ndim(y) == 2 and np.shape(y) == (len(X), 1) != X.shape):
            is_target = _marked(type(self).__name__, np.ravel(y), len(X))
            return X[~is_target], X[is_target]
        target: Any = validate_data(self, y, dtype=np.float64, reset=False)
        return X, target

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        # Rows marked as source or target are two classes, and never more.
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def _hashes(rows: Rows) -> np.ndarray:
    hashed = [pd.util.hash_pandas_object(pd.DataFrame(chunk), index=False) for chunk in rows.chunks()]
    return np.concatenate([part.to_numpy() for part in hashed])


def _is_mixed(table: pd.DataFrame) -> bool:
    return not all(pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes) or bool(
        table.isna().any(axis=None)
    )


def _marked(owner: str, y: Any, num_rows: int) -> np.ndarray:
    """Which rows are the target's. Raises InvalidInput unless y is one of two values for each row."""
    marks = np.asarray(y)
    if len(marks) != num_rows:
        raise InvalidInput(f"{owner}.fit", f"needs a mark for each of {num_rows} rows", f"{len(marks)} marks")
    if marks.dtype.kind in "fc" and not np.isfinite(marks).all():
        raise InvalidInput(f"{owner}.fit", "needs marks that are not NaN or inf", "one that is")
    values = np.unique(marks)
    if len(values) != 2:
        rule = "needs the target's rows, or marks of two values for source and target"
        raise InvalidInput(f"{owner}.fit", rule, f"marks of {len(values)} class{'es' * (len(values) != 1)}")
    return marks == values[1]
