"""KLIEP: the ratio of two densities whose product with the source's density is nearest to the target's, by
Kullback-Leibler.

The ratio is a sum of Gaussian kernels with coefficients θ >= 0. It maximises the target's mean log ratio, with mean
1 over the source. Here: max E_target[log θ'φ] - E_source[θ'φ] over θ >= 0, which has the same solution, since at its
maximum the derivative along θ itself, 1 - E_source[θ'φ], is 0. SciPy's L-BFGS-B finds it. The width is that of the
greatest mean log ratio on parts of both samples that were held out.

Source: Sugiyama, Suzuki, Nakajima, Kashima, von Bünau and Kawanabe 2008, Direct importance estimation for covariate
shift adaptation, Ann. Inst. Stat. Math. 60, 699. (There: gradient steps, each followed by a projection, and only the
target is held out.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from mlplab.shift.kernel import WIDTHS, kernels, place_kernels
from mlplab.shift.least_squares import at_least_one, positive
from mlplab.shift.ratio import RatioEstimator

if TYPE_CHECKING:
    from jaxtyping import Float

TARGET_ROWS = 5_000  # whose likelihood is maximised
FOLDS = 5
LEAST_RATIO = 1e-12  # where no kernel reaches, the log stays finite


class KLIEP(RatioEstimator):
    """Kullback-Leibler importance estimation procedure: weights p(target)/p(source).

    Arguments:
      widths: of the kernels, in median distances between rows; the best is chosen by likelihood cross-validation.
      num_centres: kernels, at most.
      random_state: picks centres and folds.

    After `fit`: `width_`, `likelihood_` (mean log ratio of held-out rows), and what `RatioEstimator` has.
    """

    def __init__(
        self,
        *,
        widths: tuple[float, ...] = WIDTHS,
        num_centres: int = 100,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.widths = widths
        self.num_centres = num_centres
        self.random_state = random_state

    def _fit(self, source: np.ndarray, target: np.ndarray, random: np.random.RandomState) -> None:
        widths = positive("KLIEP.widths", self.widths)
        num_centres = at_least_one("KLIEP.num_centres", self.num_centres)
        self.kernels_ = place_kernels(source, target, num_centres, random)
        some = target[random.permutation(len(target))[:TARGET_ROWS]]
        of_source = source[random.permutation(len(source))[:TARGET_ROWS]]
        far, near = self.kernels_.squared_distances(of_source), self.kernels_.squared_distances(some)
        tried = []
        for width in widths:
            of_target, at_source = (kernels(d, width * self.kernels_.median) for d in (near, far))
            tried.append((_held_out(of_target, at_source), width))
        self.likelihood_, self.width_ = max(tried)
        mean = self.kernels_.at(source, self.width_).mean(0)
        self.coefficients_ = most_likely(kernels(near, self.width_ * self.kernels_.median), mean)

    def _ratio(self, rows: np.ndarray) -> np.ndarray:
        return self.kernels_.at(rows, self.width_) @ self.coefficients_


def most_likely(
    target: Float[np.ndarray, "target centre"], source_mean: Float[np.ndarray, "centre"]
) -> Float[np.ndarray, "centre"]:
    """The coefficients that maximise the target's mean log ratio, with mean 1 over the source."""
    # In units of each kernel's mean over the source all coefficients are of one size: they are shares of a whole.
    scale = np.maximum(source_mean, 1e-300)
    usable = target / scale
    usable[:, source_mean < LEAST_RATIO] = 0  # a kernel that no source row feels would give any ratio
    reaches = source_mean >= LEAST_RATIO

    def loss(share: np.ndarray) -> tuple[float, np.ndarray]:
        ratio = np.maximum(usable @ share, LEAST_RATIO)
        slope = reaches - (usable / ratio[:, None]).mean(0)
        return float(share[reaches].sum() - np.log(ratio).mean()), slope

    num = int(reaches.sum())
    if num == 0:
        return np.zeros(len(source_mean))
    start = reaches / num
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start)).x
    return np.where(reaches, best / best.sum() / scale, 0.0)


def _held_out(target: np.ndarray, source: np.ndarray) -> float:
    """Mean log ratio of target rows less the log of its mean over source rows, both held out.

    The paper holds out the target alone. Then narrow kernels win that stand where chance put few of the source's rows:
    the ratio is too large there, and only other source rows can tell.
    """
    total = 0.0
    for fold in range(FOLDS):
        in_target, in_source = (np.arange(len(rows)) % FOLDS == fold for rows in (target, source))
        if not (in_target.any() and in_source.any() and (~in_target).any() and (~in_source).any()):
            continue
        theta = most_likely(target[~in_target], source[~in_source].mean(0))
        ratio = np.maximum(target[in_target] @ theta, LEAST_RATIO)
        mean = max(float((source[in_source] @ theta).mean()), LEAST_RATIO)
        total += float(np.log(ratio).mean()) - np.log(mean)
    return total / FOLDS
