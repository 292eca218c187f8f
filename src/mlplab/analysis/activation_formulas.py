"""Formulas of the activation functions of PyTorch, by the names of `torch.nn.functional`.

Only the formula is written down, in pieces from left to right. Derivatives, one-sided slopes and limits are found by
SymPy, values by its arithmetic to 120 digits.

Sources: He et al. 2015 (PReLU); Clevert et al. 2016 (ELU); Barron 2017 (CELU); Klambauer et al. 2017 (SELU); Hendrycks
and Gimpel 2016 (GELU and its tanh approximation, SiLU); Misra 2019 (Mish); Howard et al. 2019 (hardswish).
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import mpmath
import numpy as np
import sympy as sp

if TYPE_CHECKING:
    from jaxtyping import Float

X = sp.Symbol("x", real=True)
ALPHA, SLOPE, SCALE = (sp.Symbol(name, real=True) for name in ("alpha", "a", "lambda"))

Piece = tuple[sp.Expr, sp.Expr]  # an expression, and the largest x that it holds for
Pieces = tuple[Piece, ...]


def _formulas() -> dict[str, Pieces]:
    zero, one, end = sp.Integer(0), sp.Integer(1), sp.oo
    exp_piece = ALPHA * (sp.exp(X) - 1)
    inner = sp.sqrt(2 / sp.pi) * (X + sp.Rational("0.044715") * X**3)
    pieces = {
        "identity": ((X, end),),
        "relu": ((zero, zero), (X, end)),
        "leaky_relu": ((SLOPE * X, zero), (X, end)),
        "prelu": ((SLOPE * X, zero), (X, end)),
        "relu6": ((zero, zero), (X, sp.Integer(6)), (sp.Integer(6), end)),
        "elu": ((exp_piece, zero), (X, end)),
        "celu": ((ALPHA * (sp.exp(X / ALPHA) - 1), zero), (X, end)),
        "selu": ((SCALE * exp_piece, zero), (SCALE * X, end)),
        "gelu": ((X * sp.erfc(-X / sp.sqrt(2)) / 2, end),),
        "gelu_tanh": ((X * (1 + sp.tanh(inner)) / 2, end),),
        "silu": ((X / (1 + sp.exp(-X)), end),),
        "mish": ((X * sp.tanh(sp.log(1 + sp.exp(X))), end),),
        "softplus": ((sp.log(1 + sp.exp(X)), end),),
        "softsign": ((X / (1 - X), zero), (X / (1 + X), end)),
        "tanh": ((sp.tanh(X), end),),
        "sigmoid": ((1 / (1 + sp.exp(-X)), end),),
        "hardtanh": ((-one, -one), (X, one), (one, end)),
        "hardsigmoid": ((zero, sp.Integer(-3)), (X / 6 + sp.Rational(1, 2), sp.Integer(3)), (one, end)),
        "hardswish": ((zero, sp.Integer(-3)), (X * (X + 3) / 6, sp.Integer(3)), (X, end)),
    }
    return cast("dict[str, Pieces]", pieces)


FORMULAS = MappingProxyType(_formulas())
SYMBOLS = {"alpha": ALPHA, "negative_slope": SLOPE, "init": SLOPE}  # option -> its symbol in the formula
CONSTANTS = {  # Klambauer et al. 2017, to the digits in which their code gives them
    "selu": {
        SCALE: sp.Rational("1.0507009873554804934193349852946"),
        ALPHA: sp.Rational("1.6732632423543772848170429916717"),
    }
}


@cache
def derivative(pieces: Pieces, by: sp.Symbol = X) -> Pieces:
    """The derivative of each piece, by SymPy; quotients of polynomials are factored."""
    found = [(sp.diff(piece, by), end) for piece, end in pieces]
    factored = tuple((sp.factor(d) if d.is_rational_function(X) else d, end) for d, end in found)
    return cast("Pieces", factored)


def bind(pieces: Pieces, numbers: dict[Any, Any]) -> Pieces:
    """The pieces with numbers in place of symbols."""
    return tuple((piece.subs(numbers), end) for piece, end in pieces)


def one_sided(pieces: Pieces) -> dict[float, tuple[sp.Expr, sp.Expr]]:
    """Limits from the left and from the right where two pieces meet.

    Each piece extends smoothly to its ends, so its own value there is the limit.
    """
    return {
        float(x): (left.subs(X, x), right.subs(X, x)) for (left, x), (right, _) in itertools.pairwise(pieces)
    }


@cache
def limit(piece: sp.Expr, at: sp.Expr) -> sp.Expr:
    """The limit of a piece at -oo or oo. Exponentials in place of tanh take SymPy half the time."""
    return sp.limit(sp.together(piece.rewrite(sp.exp)), X, at)


def limits(pieces: Pieces, slopes: Pieces) -> dict[str, str]:
    """Value and slope at both infinities, exact where that is short."""
    found = {
        "value at -oo": limit(pieces[0][0], -sp.oo),
        "value at oo": limit(pieces[-1][0], sp.oo),
        "slope at -oo": limit(slopes[0][0], -sp.oo),
        "slope at oo": limit(slopes[-1][0], sp.oo),
    }
    return {name: str(at) if len(str(at)) < 10 else f"{float(at):.10g}" for name, at in found.items()}


def at_point(pieces: Pieces, x: float) -> tuple[float, float]:
    """The value from the left and from the right of x, which may be infinite (limits) or NaN (NaN)."""
    if math.isnan(x):
        return math.nan, math.nan
    if math.isinf(x):
        piece, at = (pieces[-1][0], sp.oo) if x > 0 else (pieces[0][0], -sp.oo)
        found = float(limit(piece, at))
        return found, found
    index = next(i for i, (_, end) in enumerate(pieces) if x <= float(end))
    left = _precise(pieces[index][0], x)
    right = _precise(pieces[index + 1][0], x) if x == float(pieces[index][1]) else left
    return left, right


def _precise(piece: sp.Expr, x: float) -> float:
    """To 120 digits, where 1 - tanh(100)² still has some, and exp(1e38) is a number."""
    with mpmath.workdps(120):
        return float(sp.lambdify(X, piece, "mpmath")(mpmath.mpf(x)))


def on_grid(pieces: Pieces, x: Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
    """Values in float64, of the left piece where two meet."""
    result, start = np.empty_like(x), -math.inf
    for piece, end in pieces:
        inside = (x > start) & (x <= float(end))
        result[inside] = sp.lambdify(X, piece, ["scipy", "numpy"])(x[inside])
        start = float(end)
    return result


def written(pieces: Pieces) -> str:
    """As "0 for x <= 0; x above"."""
    if len({piece for piece, _ in pieces}) == 1:
        return str(pieces[0][0])
    parts = [f"{piece} for x <= {end}" for piece, end in pieces[:-1]]
    return "; ".join([*parts, f"{pieces[-1][0]} above"])


def latex(pieces: Pieces) -> str:
    """LaTeX, with cases where there are several pieces."""
    if len({piece for piece, _ in pieces}) == 1:
        return sp.latex(pieces[0][0])
    conditions = [sp.Le(X, end) if end != sp.oo else sp.true for _, end in pieces]
    pairs = list(zip((piece for piece, _ in pieces), conditions, strict=True))
    return sp.latex(sp.Piecewise(*pairs, evaluate=False))
