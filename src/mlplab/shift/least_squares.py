"""uLSIF and RuLSIF: the ratio of two densities by regularised least squares, with its leave-one-out error in closed
form.

The ratio r = p(target)/(α p(target) + (1-α) p(source)) is a sum of Gaussian kernels, r(x) = θ'φ(x), that minimises
½ E_mix[r²] - E_target[r] + λ/2 |θ|²: a linear system (H + λI)θ = h, with H = α E_target[φφ'] + (1-α) E_source[φφ'] and
h = E_target[φ]. α = 0 is uLSIF. Width and λ are those of the least leave-one-out error.

Sources: Kanamori, Hido and Sugiyama 2009, A least-squares approach to direct importance estimation, JMLR 10, 1391,
section 4; Yamada, Suzuki, Kanamori, Hachiya and Sugiyama 2013, Relative density-ratio estimation, Neural Comp. 25,
1324.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from mlplab.errors import InvalidInput
from mlplab.shift.kernel import WIDTHS, kernels, place_kernels
from mlplab.shift.ratio import RatioEstimator

if TYPE_CHECKING:
    from jaxtyping import Float

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
SELECTION_ROWS = 5_000  # of each sample, that choose width and penalty
LEFT_OUT = 1_000  # pairs of a source and a target row that are left out in turn


class RULSIF(RatioEstimator):
    """Relative unconstrained least-squares importance fitting: weights p(target)/(α p(target) + (1-α) p(source)).

    They are at most 1/α, so that no row can dominate. The price: weighted means over the source are those of the
    target only for α = 0; greater values give up some of the correction for a larger effective sample size.

    Arguments:
      alpha: in [0, 1).
      widths: of the kernels, in median distances between rows; the best is chosen.
      penalties: values of λ; the best is chosen.
      num_centres: kernels, at most.
      random_state: picks centres and the pairs that are left out.

    After `fit`: `width_`, `penalty_`, `error_` (the least leave-one-out error), and what `RatioEstimator` has.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        widths: tuple[float, ...] = WIDTHS,
        penalties: tuple[float, ...] = PENALTIES,
        num_centres: int = 100,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.alpha = alpha
        self.widths = widths
        self.penalties = penalties
        self.num_centres = num_centres
        self.random_state = random_state

    def _fit(self, source: np.ndarray, target: np.ndarray, random: np.random.RandomState) -> None:
        alpha = check_share(f"{type(self).__name__}.alpha", self._relative())
        widths = positive(f"{type(self).__name__}.widths", self.widths)
        penalties = positive(f"{type(self).__name__}.penalties", self.penalties)
        num_centres = at_least_one(f"{type(self).__name__}.num_centres", self.num_centres)
        self.kernels_ = place_kernels(source, target, num_centres, random)
        some = [rows[random.permutation(len(rows))[:SELECTION_ROWS]] for rows in (source, target)]
        distances = [self.kernels_.squared_distances(rows) for rows in some]
        tried = []
        for width in widths:
            of_source, of_target = (kernels(d, width * self.kernels_.median) for d in distances)
            for penalty in penalties:
                tried.append((leave_one_out(of_source, of_target, penalty, alpha), width, penalty))
        self.error_, self.width_, self.penalty_ = min(tried)
        self.coefficients_ = self._coefficients(source, target, alpha)

    def _coefficients(self, source: np.ndarray, target: np.ndarray, alpha: float) -> np.ndarray:
        (square_t, mean_t), (square_s, _) = self._moments(target), self._moments(source)
        gram = alpha * square_t + (1 - alpha) * square_s
        gram[np.diag_indices_from(gram)] += self.penalty_
        # Negative coefficients are noise: without them the ratio is one everywhere (Kanamori et al., eq. 17).
        return np.maximum(cho_solve(cho_factor(gram), mean_t), 0)

    def _moments(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        phi = self.kernels_.at(rows, self.width_)
        return phi.T @ phi / len(rows), phi.mean(0)

    def _ratio(self, rows: np.ndarray) -> np.ndarray:
        return self.kernels_.at(rows, self.width_) @ self.coefficients_

    def _relative(self) -> float:
        return self.alpha


class ULSIF(RULSIF):
    """Unconstrained least-squares importance fitting: weights p(target)/p(source). Arguments as of `RULSIF`."""

    def __init__(
        self,
        *,
        widths: tuple[float, ...] = WIDTHS,
        penalties: tuple[float, ...] = PENALTIES,
        num_centres: int = 100,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.widths = widths
        self.penalties = penalties
        self.num_centres = num_centres
        self.random_state = random_state

    def _relative(self) -> float:
        return 0.0


def leave_one_out(
    source: Float[np.ndarray, "source centre"],
    target: Float[np.ndarray, "target centre"],
    penalty: float,
    alpha: float = 0.0,
) -> float:
    """Mean error of the ratio at pairs of a source and a target row, each found without its pair; in closed form.

    Without row j, H + λI is one matrix for all j, less a multiple of ψψ' and one of φφ': its inverse is a formula
    (Woodbury). All rows count in H and h; the first LEFT_OUT pairs are left out in turn.
    """
    num_s, num_t = len(source), len(target)
    num = min(num_s, num_t, LEFT_OUT)
    a, b = alpha / (num_t - 1), (1 - alpha) / (num_s - 1)
    gram = a * target.T @ target + b * source.T @ source
    gram[np.diag_indices_from(gram)] += penalty
    factor = cho_factor(gram)
    phi, psi = source[:num], target[:num]
    inverse_phi, inverse_psi = cho_solve(factor, phi.T).T, cho_solve(factor, psi.T).T
    mean = target.mean(0) * num_t / (num_t - 1) - psi / (num_t - 1)  # of the target without its row j
    free = cho_solve(factor, mean.T).T

    # C = A - bφφ' - aψψ' for each pair: C⁻¹m = A⁻¹m + A⁻¹[φ ψ] · K⁻¹ · [φ ψ]'A⁻¹m, with K = diag(1/b, 1/a) - [φ
    # ψ]'A⁻¹[φ ψ].
    ff, pp, fp = (phi * inverse_phi).sum(1), (psi * inverse_psi).sum(1), (phi * inverse_psi).sum(1)
    f, p = (phi * free).sum(1), (psi * free).sum(1)
    # Scaled by b and a, so that a = 0 needs no case of its own.
    k11, k22, k12 = 1 - b * ff, 1 - a * pp, np.sqrt(a * b) * fp
    determinant = k11 * k22 - k12**2
    x = np.sqrt(b) * (k22 * np.sqrt(b) * f + k12 * np.sqrt(a) * p) / determinant
    y = np.sqrt(a) * (k12 * np.sqrt(b) * f + k11 * np.sqrt(a) * p) / determinant
    theta = np.maximum(free + x[:, None] * inverse_phi + y[:, None] * inverse_psi, 0)
    at_source, at_target = (theta * phi).sum(1), (theta * psi).sum(1)
    error = (1 - alpha) / 2 * at_source**2 + alpha / 2 * at_target**2 - at_target
    return float(error.mean())


def check_share(owner: str, value: object) -> float:
    """A number in [0, 1). Raises InvalidInput for another."""
    if not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise InvalidInput(owner, "must be in [0, 1)", value, "0 is the plain ratio; 0.1 a common choice")
    return float(value)


def positive(owner: str, values: object) -> list[float]:
    """One or more numbers above 0. Raises InvalidInput for others."""
    try:
        numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if not numbers.size or not ((numbers > 0) & np.isfinite(numbers)).all():
        raise InvalidInput(owner, "must be numbers above 0", values)
    return numbers.ravel().tolist()


def at_least_one(owner: str, value: object) -> int:
    """A whole number of at least 1. Raises InvalidInput for another."""
    if not isinstance(value, Integral) or int(value) < 1:
        raise InvalidInput(owner, "must be a whole number of at least 1", value)
    return int(value)
