"""Bias-corrected temperature scaling: probabilities of a classifier made to say what they mean.

p_j ∝ exp(log q_j / T + b_j), with one temperature and a bias for each class that make held-out labels most likely. At
that maximum the mean probability of each class is its frequency, which estimating a label shift needs.

Sources: Guo, Pleiss, Sun and Weinberger 2017, On calibration of modern neural networks (ICML); Alexandari, Kundaje and
Shrikumar 2020, Maximum likelihood with bias-corrected calibration is hard-to-beat at label shift adaptation (ICML).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

if TYPE_CHECKING:
    from jaxtyping import Float, Int

LEAST_SHARE = 1e-12  # a probability of 0 has no logarithm
STIFFNESS = 1e-6  # classes that never err would ask for infinite numbers


@dataclass(frozen=True, eq=False)
class Temperature:
    """The inverse temperature 1/T, and the bias of each class."""

    inverse: float
    biases: Float[np.ndarray, "class"]

    def __call__(self, scores: Float[np.ndarray, "row class"]) -> Float[np.ndarray, "row class"]:
        """Calibrated probabilities."""
        return softmax(_logs(scores) * self.inverse + self.biases, axis=1)


def fit_temperature(
    scores: Float[np.ndarray, "row class"],
    labels: Int[np.ndarray, "row"],
    counts: Float[np.ndarray, "row"] | None = None,
    start: Temperature | None = None,
) -> Temperature:
    """The temperature and biases under which the labels are most likely.

    Arguments:
      scores: probabilities of rows that did not train the classifier.
      labels: places of the classes, from 0.
      counts: how often each row counts; None for once.
      start: where to look from, for speed.
    """
    logs, num_classes = _logs(scores), scores.shape[1]
    counts = np.ones(len(logs)) if counts is None else counts
    share = counts / counts.sum()
    hot = np.eye(num_classes)[labels]

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(logs * at[0] + at[1:], axis=1)
        slope = (np.exp(log_p) - hot) * share[:, None]
        value = -float(share @ log_p[np.arange(len(labels)), labels])
        pull = at - np.r_[1.0, np.zeros(num_classes)]
        gradient = np.r_[(slope * logs).sum(), slope.sum(0)]
        return value + STIFFNESS / 2 * float(pull @ pull), gradient + STIFFNESS * pull

    first = np.r_[1.0, np.zeros(num_classes)] if start is None else np.r_[start.inverse, start.biases]
    bounds = [(0.0, None)] + [
        (None, None)
    ] * num_classes  # a negative temperature would turn the ranking round
    best = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Temperature(float(best[0]), best[1:] - best[1:].mean())


def floored(scores: Float[np.ndarray, "row class"]) -> Float[np.ndarray, "row class"]:
    """The same probabilities, with none at 0."""
    return np.maximum(scores, LEAST_SHARE)


def _logs(scores: np.ndarray) -> np.ndarray:
    return np.log(floored(scores))
