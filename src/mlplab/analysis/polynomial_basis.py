"""Bases of polynomials, and the design matrix of their values.

All four span the same polynomials, so that exact fits agree; they differ in size and conditioning.

| basis     | column i                        |
|-----------|---------------------------------|
| monomial  | x^i                             |
| factorial | x^i / i!, the chapter's scaling |
| legendre  | P_i(x), orthogonal on [-1, 1]   |
| chebyshev | T_i(x) = cos(i arccos x)        |

Sources: Zhang et al., Dive into Deep Learning, section 4.4.4 (factorial); Abramowitz and Stegun 1964, table 22.7
(recurrences).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from torch import Tensor

from mlplab.data.synthetic import whole_number
from mlplab.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

Basis = Literal["monomial", "factorial", "legendre", "chebyshev"]
Domain = tuple[float, float]
BASES: tuple[Basis, ...] = get_args(Basis)
MAX_DEGREE = 100  # x^i leaves the range of float64 soon after


def design_matrix(
    x: Shaped[Any, "*batch example"],
    degree: int,
    basis: Basis = "monomial",
    *,
    domain: Domain | None = None,
) -> Shaped[np.ndarray, "*batch example {degree+1}"]:
    """Values of the basis polynomials 0 to `degree` at x: a column each.

    Arguments:
      x: numbers; an object array of `Fraction` stays exact.
      domain: an interval that is mapped on [-1, 1] first; None leaves x as it is. Legendre and Chebyshev are
        well-conditioned only there.

    Raises InvalidInput for x that is empty or not finite, a degree not in 0 to 100, a domain that is no interval,
    values that overflow; UnknownName for a basis that is not known.
    """
    if basis not in BASES:
        raise UnknownName("basis", basis, BASES)
    degree = whole_number("degree", degree, 0, MAX_DEGREE)
    x = _mapped(numbers("x", x), domain)
    with np.errstate(over="ignore", invalid="ignore"):
        columns = [x * 0 + 1, x]
        for i in range(1, degree):
            columns.append(_next(basis, i, x, columns[i], columns[i - 1]))
        design = np.stack(columns[: degree + 1], axis=-1)
    if design.dtype != object and not np.isfinite(design).all():
        hint = "Map x on [-1, 1] by `domain`"
        raise InvalidInput("design_matrix", "must stay in the range of float64", f"degree {degree}", hint)
    return design


def _next(basis: Basis, i: int, x: np.ndarray, last: np.ndarray, before: np.ndarray) -> np.ndarray:
    match basis:
        case "monomial":
            return last * x
        case "factorial":
            return last * x / (i + 1)
        case "legendre":
            return ((2 * i + 1) * x * last - i * before) / (i + 1)
        case "chebyshev":
            return 2 * x * last - before


def numbers(owner: str, values: Any, ndim: int | None = None) -> np.ndarray:
    """`values` as float64, or as they are where they are exact. Raises InvalidInput unless finite and not empty."""
    rule = "must be finite real numbers, at least one"
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
        floats = array.astype(np.float64, casting="unsafe" if array.dtype == object else "same_kind")
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(owner, rule, values) from error
    if array.size == 0 or not np.isfinite(floats).all():
        raise InvalidInput(owner, rule, values)
    if array.dtype != object or not all(isinstance(value, Fraction | int) for value in array.flat):
        array = floats
    if ndim is not None and array.ndim != ndim:
        raise InvalidInput(owner, f"must have {ndim} axis" + "es" * (ndim > 1), array.shape)
    return array


def rank_and_condition(design: Float[np.ndarray, "example feature"]) -> tuple[int, float]:
    """Rank in float64 by NumPy's rule, and condition number in the 2-norm: infinite where columns are dependent."""
    singular = np.linalg.svd(design, compute_uv=False)
    rank = int((singular > singular[0] * max(design.shape) * np.finfo(np.float64).eps).sum())
    return rank, float(singular[0] / singular[-1]) if rank == design.shape[1] else np.inf


def exact(values: np.ndarray) -> np.ndarray:
    """An object array of `Fraction`: of a float, exactly the binary number that it is."""
    return np.array([Fraction(value) for value in values.tolist()], dtype=object)


def _mapped(x: np.ndarray, domain: Domain | None) -> np.ndarray:
    if domain is None:
        return x
    ends = numbers("domain", domain)
    if ends.shape != (2,) or not ends[0] < ends[1]:
        raise InvalidInput("domain", "must be two numbers, the lower first", domain)
    low, high = exact(ends) if x.dtype == object else ends
    return (2 * x - low - high) / (high - low)
