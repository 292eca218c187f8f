"""Kernel mean matching: weights under which the source's mean in the kernel's feature space is the target's.

min |Σ β_i φ(x_i)/n - mean φ(target)|² over 0 <= β <= B and |mean β - 1| <= ε: a quadratic programme, solved by
Clarabel's interior-point method. The features φ are those of Nyström's method, from landmarks of both samples: with
a landmark at each row the kernel is exact; with fewer, the cost is that of n·landmarks² and no n·n matrix is ever
made.

Sources: Huang, Smola, Gretton, Borgwardt and Schölkopf 2007, Correcting sample selection bias by unlabeled data
(NIPS 19); Gretton, Smola, Huang, Schmittfull, Borgwardt and Schölkopf 2009, Covariate shift by kernel mean
matching; Williams and Seeger 2001 (Nyström); Goulart and Chen 2024, Clarabel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.kernel_approximation import Nystroem

from mlplab.errors import InvalidInput, import_extra
from mlplab.shift.correction import Correction, of_mean_one
from mlplab.shift.kernel import place_kernels
from mlplab.shift.least_squares import at_least_one, positive
from mlplab.shift.ratio import FIT_ROWS, RatioEstimator, Rows

NEGLIGIBLE = 1e-12  # of the features' variance


class KMM(RatioEstimator):
    """Kernel mean matching (needs the extra `[shift]`). There is no `predict`: it weighs the rows at hand, and no
    others.

    Arguments:
      width: of the Gaussian kernel, in median distances between rows.
      largest: B, the largest weight.
      slack: ε, how far the mean weight may be from 1; None for (√n - 1)/√n, Gretton et al.'s choice.
      num_landmarks: of Nyström's method; as many as there are rows of both make the kernel exact.
      random_state: picks landmarks.

    After `fit`: `discrepancy_` and `discrepancy_before_` (the distance of the two means in feature space with the
    weights, and without), and what `RatioEstimator` has.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        largest: float = 1_000.0,
        slack: float | None = None,
        num_landmarks: int = 200,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.width = width
        self.largest = largest
        self.slack = slack
        self.num_landmarks = num_landmarks
        self.random_state = random_state

    predict = property(doc="Not there: see the class.")  # type: ignore[assignment]

    def _samples(self, X: Any, y: Any) -> tuple[Rows, Rows]:
        source, target = super()._samples(X, y)
        if len(source) > FIT_ROWS:  # the programme has an unknown for each
            remedy = (
                "Take a sample of the rows, or another method: uLSIF, KLIEP and the classifier have no limit"
            )
            raise InvalidInput(
                "KMM.fit", f"weighs at most {FIT_ROWS:,} source rows", f"{len(source):,}", remedy
            )
        return source, target

    def _fit(self, source: np.ndarray, target: np.ndarray, random: np.random.RandomState) -> None:
        (width,) = positive("KMM.width", self.width)
        (largest,) = positive("KMM.largest", self.largest)
        placed = place_kernels(source, target, 1, random)
        near, far = placed.standardised(source), placed.standardised(target)
        both = np.concatenate([near, far])
        num = min(at_least_one("KMM.num_landmarks", self.num_landmarks), len(both))
        gamma = 1 / (2 * (width * placed.median) ** 2)
        features = Nystroem(gamma=gamma, n_components=num, random_state=random).fit(both)
        phi, of_target = np.asarray(features.transform(near)), np.asarray(features.transform(far))
        turn = _directions(phi, of_target)
        phi, aim = phi @ turn, of_target.mean(0) @ turn
        n = len(source)
        slack = (math.sqrt(n) - 1) / math.sqrt(n) if self.slack is None else float(self.slack)
        self.beta_ = match_means(phi, aim, largest, slack)
        self.discrepancy_before_ = float(np.linalg.norm(phi.mean(0) - aim))
        self.discrepancy_ = float(np.linalg.norm(self.beta_ @ phi / n - aim))

    def _correct(self, source: Rows, target: Rows) -> Correction:
        # The mean of the weights is held near 1 by the programme: it says nothing of overlap.
        return Correction(of_mean_one(self.beta_), "KMM")


def _directions(phi: np.ndarray, of_target: np.ndarray) -> np.ndarray:
    """Orthonormal directions (feature, direction) in which features differ by more than rounding."""
    values, vectors = np.linalg.eigh(phi.T @ phi / len(phi) + of_target.T @ of_target / len(of_target))
    return vectors[:, values > NEGLIGIBLE * values[-1]]


def match_means(phi: np.ndarray, aim: np.ndarray, largest: float, slack: float) -> np.ndarray:
    """Weights β (row,) of the rows of phi (row, feature) whose mean is nearest to aim (feature,).

    Raises InvalidInput for bounds that no weights can keep, MissingExtra without Clarabel.
    """
    clarabel = import_extra("clarabel", what="KMM", extra="shift")
    n, r = phi.shape
    if not slack >= 0 or largest < 1 - slack:
        raise InvalidInput(
            "KMM.largest", f"must be at least 1 - slack = {1 - slack:g}, and slack at least 0", largest
        )
    # Unknowns: β, and z = phi'β/n, so that the objective ½|z|² - aim'z is that of r numbers.
    quadratic = sparse.block_diag([sparse.csc_matrix((n, n)), sparse.identity(r)], format="csc")
    linear = np.concatenate([np.zeros(n), -aim])
    ones, none = np.full((1, n), 1 / n), sparse.csc_matrix((1, r))
    rows = [
        sparse.hstack([sparse.csc_matrix(phi.T / n), -sparse.identity(r)]),
        sparse.hstack([sparse.csc_matrix(ones), none]),
        sparse.hstack([sparse.csc_matrix(-ones), none]),
        sparse.hstack([-sparse.identity(n), sparse.csc_matrix((n, r))]),
        sparse.hstack([sparse.identity(n), sparse.csc_matrix((n, r))]),
    ]
    bounds = np.concatenate([np.zeros(r), [1 + slack, slack - 1], np.zeros(n), np.full(n, largest)])
    cones = [clarabel.ZeroConeT(r), clarabel.NonnegativeConeT(2 + 2 * n)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    found = clarabel.DefaultSolver(
        quadratic, linear, sparse.vstack(rows, format="csc"), bounds, cones, settings
    ).solve()
    if "Solved" not in str(found.status):
        raise InvalidInput("KMM.fit", "needs data whose quadratic programme can be solved", str(found.status))
    return np.clip(np.asarray(found.x)[:n], 0, largest)
