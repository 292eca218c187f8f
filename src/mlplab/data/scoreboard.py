"""Predictions for houses whose prices are sealed, scored once: all arms together, after all choices.

board = score("house-prices", {"ridge": log_prices, "perceptrons": others})
board.scores["ridge"], board.gap("ridge", "perceptrons")
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mlplab.errors import InvalidInput, UnknownName
from mlplab.rng import Stream

NUM_RESAMPLES = 10_000
_BATCH = 500  # resamples drawn at a time


@dataclass(frozen=True)
class Gap:
    """How much lower one arm scores than another, over houses.

    Arguments:
      ci_low: and `ci_high`, quantiles of the difference over resampled houses.
      p: twice the share of resamples on the rarer side of 0.
    """

    estimate: float
    ci_low: float
    ci_high: float
    ci_prob: float
    p: float


@dataclass(frozen=True, eq=False)
class Board:
    """What the sealed prices say of some arms. It holds scores, no prices and no errors of single houses.

    Arguments:
      name: of the sealed table; with its title, source and fingerprint.
      scores: root of the mean squared difference of log prices, the competition's.
      medians: median absolute difference of log prices.
      means: mean absolute difference of log prices.
      resampled: the score of each arm on each of 10,000 resamples of the houses, which all arms share.
      resampled_means: the same of the mean absolute difference.
    """

    name: str
    title: str
    source: str
    fingerprint: str
    num_houses: int
    scores: Mapping[str, float]
    medians: Mapping[str, float]
    means: Mapping[str, float]
    resampled: Mapping[str, np.ndarray]
    resampled_means: Mapping[str, np.ndarray]

    def interval(self, arm: str, ci_prob: float = 0.95) -> tuple[float, float]:
        """Where the score of an arm would lie on other houses of the kind: quantiles over resampled houses."""
        low, high = np.quantile(self._of(arm), [(1 - ci_prob) / 2, (1 + ci_prob) / 2])
        return float(low), float(high)

    def gap(self, arm: str, other: str, ci_prob: float = 0.95) -> Gap:
        """How much lower `other` scores than `arm`: positive where `other` is better. Paired by house."""
        return paired_gap(self.scores[arm] - self.scores[other], self._of(arm) - self._of(other), ci_prob)

    def mean_gap(self, arm: str, other: str, ci_prob: float = 0.95) -> Gap:
        """The same of the mean absolute difference, in which a few houses weigh little."""
        resampled = self.resampled_means[arm] - self.resampled_means[other]
        return paired_gap(self.means[arm] - self.means[other], resampled, ci_prob)

    def _of(self, arm: str) -> np.ndarray:
        if arm not in self.resampled:
            raise UnknownName("arm of the scoreboard", arm, self.resampled)
        return self.resampled[arm]


def paired_gap(estimate: float, resampled: np.ndarray, ci_prob: float) -> Gap:
    """A difference with its quantiles over resamples: the percentile bootstrap."""
    low, high = np.quantile(resampled, [(1 - ci_prob) / 2, (1 + ci_prob) / 2])
    rarer = min(np.mean(resampled <= 0), np.mean(resampled >= 0))
    # A resample in ten thousand is the least that can be told.
    return Gap(
        estimate, float(low), float(high), ci_prob, float(min(1.0, 2 * max(rarer, 1 / len(resampled))))
    )


def resampled_means(
    values: Mapping[str, np.ndarray],
    num_resamples: int = NUM_RESAMPLES,
    draw: int = 0,
    size: int | None = None,
) -> dict[str, np.ndarray]:
    """Means of each arm's values on resamples of the houses, the same for all arms.

    Arguments:
      values: one for each house, in the same order in every arm.
      draw: of which resamples.
      size: houses in each resample: as many as there are, unless another table is spoken of.
    """
    arms = list(values)
    table = np.array([values[arm] for arm in arms])  # arm house
    num_houses = table.shape[1]
    num_drawn = num_houses if size is None else size
    stream = Stream(draw, "data", layer=415)
    means = []
    for start in range(0, num_resamples, _BATCH):
        count = min(_BATCH, num_resamples - start)
        houses = (stream.uniform((count, num_drawn)) * num_houses).astype(np.int64)
        houses += np.arange(count)[:, None] * num_houses
        times = np.bincount(houses.ravel(), minlength=count * num_houses).reshape(count, num_houses)
        means.append(times @ table.T / num_drawn)
    return dict(zip(arms, np.concatenate(means).T, strict=True))


def resampled_scores(
    errors: Mapping[str, np.ndarray],
    num_resamples: int = NUM_RESAMPLES,
    draw: int = 0,
    size: int | None = None,
) -> dict[str, np.ndarray]:
    """Root mean squares of each arm's errors, differences of log prices, on resamples: as `resampled_means`."""
    squares = {arm: np.square(values) for arm, values in errors.items()}
    return {arm: np.sqrt(means) for arm, means in resampled_means(squares, num_resamples, draw, size).items()}


def score_sealed(
    predictions: Mapping[str, np.ndarray],
    prices: Callable[[], np.ndarray],
    *,
    name: str,
    title: str,
    source: str,
) -> Board:
    """Score the final predictions of all arms on prices that are unsealed here, and nowhere before.

    Arguments:
      predictions: log prices of each arm, a house each, in the order of the sealed table's houses.
      prices: unseals the true log prices. It is called after the predictions have been looked over.

    Raises InvalidInput for predictions that are not one finite number a house, and what `prices` raises.
    """
    if not predictions:
        raise InvalidInput("scoreboard", "needs the predictions of at least one arm", "none")
    made = {arm: np.array(values, dtype=np.float64) for arm, values in predictions.items()}
    for arm, values in made.items():
        if not np.isfinite(values).all():
            raise InvalidInput(
                f"predictions of {arm!r}", "must be finite log prices", values[~np.isfinite(values)][0]
            )
    true = prices()
    for arm, values in made.items():
        if values.shape != true.shape:
            raise InvalidInput(
                f"predictions of {arm!r}",
                f"must be one log price for each of {len(true):,} houses",
                values.shape,
            )
    errors = {arm: values - true for arm, values in made.items()}
    content = hashlib.sha256(np.ascontiguousarray(true, dtype="<f8").tobytes()).hexdigest()[:16]
    return Board(
        name=name,
        title=title,
        source=source,
        fingerprint=f"{name}:{len(true)}:{content}",
        num_houses=len(true),
        scores={arm: float(np.sqrt(np.mean(e**2))) for arm, e in errors.items()},
        medians={arm: float(np.median(np.abs(e))) for arm, e in errors.items()},
        means={arm: float(np.mean(np.abs(e))) for arm, e in errors.items()},
        resampled=resampled_scores(errors),
        resampled_means=resampled_means({arm: np.abs(e) for arm, e in errors.items()}),
    )
