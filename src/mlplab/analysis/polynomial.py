"""Polynomial regression, solved exactly.

The least-squares weights of a design matrix A solve AᵀA w = Aᵀy, and are the only ones when at least degree + 1 of the
x are distinct. In floating point QR and SVD work on A itself: AᵀA has its condition number squared. In rational
arithmetic the equations are solved as they stand, without any rounding.

Sources: Golub and Van Loan 2013, Matrix computations, section 5.3 (QR), 5.5 (SVD, least norm).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

from mlplab.analysis.polynomial_basis import Basis, Domain, design_matrix, exact, numbers, rank_and_condition
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, UnknownName, import_extra

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float

Method = Literal["qr", "svd", "rational"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class PolynomialFit:
    """A least-squares polynomial.

    `weights` are coefficients in `basis`, `Fraction` if solved in rationals. `rank` is that of the design matrix in
    float64, and `condition_number` its own in the 2-norm: infinite where float64 cannot tell it from singular.
    `train_error` is the mean squared error on the examples, in the square of y's unit.
    """

    basis: Basis
    degree: int
    method: Method
    domain: Domain | None
    weights: tuple[float, ...] | tuple[Fraction, ...]
    rank: int
    train_error: float
    condition_number: float
    x: Float[np.ndarray, "example"]
    y: Float[np.ndarray, "example"]

    def predict(self, x: Any) -> Float[np.ndarray, "*batch example"]:
        """Values of the polynomial at x, in float64. Raises InvalidInput for x that is not finite."""
        design = design_matrix(
            numbers("x", x).astype(np.float64), self.degree, self.basis, domain=self.domain
        )
        return design @ np.array(self.weights, dtype=np.float64)

    def table(self) -> pd.DataFrame:
        """A row for each basis polynomial: degree, weight, and the exact weight where there is one."""
        rows = pd.DataFrame({"degree": range(self.degree + 1), "weight": [float(w) for w in self.weights]})
        return rows.assign(exact=[str(w) for w in self.weights]) if self.method == "rational" else rows

    def plot(self) -> altair.LayerChart:
        """The examples and the polynomial through them."""
        alt = import_extra("altair", what="A figure", extra="book")
        at = np.linspace(self.x.min(), self.x.max(), 300)
        x, y = (alt.X("x:Q", title="Input x"), alt.Y("y:Q", title="Target y", scale=alt.Scale(zero=False)))
        points = alt.Chart(pd.DataFrame({"x": self.x, "y": self.y}), width=480, height=300)
        line = alt.Chart(pd.DataFrame({"x": at, "y": self.predict(at)}))
        note = f"{len(self.x)} examples, mean squared error {self.train_error:.3g}"
        title = alt.TitleParams(f"Polynomial of degree {self.degree}", subtitle=note, anchor="start")
        return alt.layer(
            points.mark_point(color=PALETTE[0], filled=True).encode(x=x, y=y),
            line.mark_line(color=PALETTE[1], strokeWidth=2).encode(x=x, y=y),
        ).properties(title=title)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: an exact weight as "p/q", an infinite condition number as None."""
        plain = {name: getattr(self, name) for name in ("basis", "degree", "method", "rank", "train_error")}
        weights = [str(w) if isinstance(w, Fraction) else w for w in self.weights]
        condition = self.condition_number if np.isfinite(self.condition_number) else None
        domain = None if self.domain is None else [float(end) for end in self.domain]
        return plain | {
            "weights": weights, "domain": domain, "condition_number": condition, "num_examples": len(self.x),
        }  # fmt: skip


def fit_polynomial(
    x: Any,
    y: Any,
    degree: int,
    basis: Basis = "monomial",
    *,
    method: Method = "qr",
    domain: Domain | None = None,
) -> PolynomialFit:
    """Fit a polynomial by least squares.

    Arguments:
      x, y: one number for each example; with `method="rational"` also `Fraction`.
      method: `qr`; `svd`, which also solves where the weights are not unique, and then takes those of least norm;
        `rational`, without rounding: a float is the binary number that it is.
      domain: an interval that is mapped on [-1, 1] before the basis is applied.

    Raises InvalidInput for x and y that are empty, not finite or of different lengths, and, for `qr` and `rational`,
    when the weights are not unique; UnknownName for a basis or method that is not known.
    """
    if method not in METHODS:
        raise UnknownName("fit_polynomial.method", method, METHODS)
    x, y = numbers("fit_polynomial.x", x, 1), numbers("fit_polynomial.y", y, 1)
    if len(x) != len(y):
        raise InvalidInput("fit_polynomial", "needs an x for each y", f"{len(x)} and {len(y)}")
    floats = x.astype(np.float64), y.astype(np.float64)
    design = design_matrix(floats[0], degree, basis, domain=domain)
    rank, condition = rank_and_condition(design)
    if method == "rational":
        weights, error = _rational(x, y, degree, basis, domain)
    else:
        weights = _by_qr(design, floats[1], rank) if method == "qr" else _by_svd(design, floats[1])
        error = float(np.mean((design @ weights - floats[1]) ** 2))
        weights = tuple(weights.tolist())
    return PolynomialFit(basis, degree, method, domain, weights, rank, error, condition, *floats)


def _by_qr(design: np.ndarray, y: np.ndarray, rank: int) -> np.ndarray:
    if rank < design.shape[1]:
        raise InvalidInput(
            f"fit_polynomial of degree {design.shape[1] - 1}",
            f"needs a design matrix of rank {design.shape[1]} for unique weights",
            rank,
            "More distinct x, a smaller degree or a better basis; method='svd' takes the least norm",
        )
    q, r = np.linalg.qr(design)
    return solve_triangular(r, q.T @ y)


def _by_svd(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(design, y, rcond=None)[0]


def _rational(
    x: np.ndarray, y: np.ndarray, degree: int, basis: Basis, domain: Domain | None
) -> tuple[tuple[Fraction, ...], float]:
    inputs, targets = exact(x), exact(y)
    if (distinct := len(set(inputs.tolist()))) <= degree:
        raise InvalidInput(
            f"fit_polynomial of degree {degree}",
            f"needs {degree + 1} distinct x for unique weights",
            distinct,
            "method='svd' takes those of least norm",
        )
    design = design_matrix(inputs, degree, basis, domain=domain)
    matrix, column = _over_rationals(design), _over_rationals(targets[:, None])
    solved = (matrix.transpose() * matrix).lu_solve(matrix.transpose() * column)
    weights = tuple(Fraction(int(w.numerator), int(w.denominator)) for w in solved.to_list_flat())
    residuals = design @ np.array(weights, dtype=object) - targets
    return weights, float(sum(r * r for r in residuals) / len(y))


def _over_rationals(rows: np.ndarray) -> DomainMatrix:
    return DomainMatrix([[QQ(f.numerator, f.denominator) for f in row] for row in rows], rows.shape, QQ)
