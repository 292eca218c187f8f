"""4.1.1 What is the derivative of pReLU(x) = max(0, x) + α min(0, x)?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from torch import Tensor
from torch.nn import functional

from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

X, ALPHA, SLOPE = sympy.symbols("x alpha g", real=True)
POSITIVE = sympy.Symbol("t", positive=True)


def prelu(x: Any, alpha: Any) -> sympy.Expr:
    """pReLU as the section defines it."""
    return sympy.Max(0, x) + alpha * sympy.Min(0, x)


def is_derivative_in_x(candidate: tuple[Any, Any]) -> Finding:
    """Are these the derivatives for x > 0 and for x < 0?

    With t > 0 every point on a side is x = ±t, and the maximum and minimum resolve themselves.
    """
    right = sympy.diff(prelu(POSITIVE, ALPHA), POSITIVE)
    left = -sympy.diff(prelu(-POSITIVE, ALPHA), POSITIVE)  # x = -t, so d/dx = -d/dt
    residues = [sympy.simplify(found - said) for found, said in zip((right, left), candidate, strict=True)]
    return Finding.true_if(residues == [0, 0], f"x > 0: {right}; x < 0: {left}")


def has_one_sided_slopes(candidate: tuple[Any, Any]) -> Finding:
    """Are these the limits of (f(h) - f(0)) / h as h goes to 0 from the right and from the left?"""
    right = sympy.limit(prelu(POSITIVE, ALPHA) / POSITIVE, POSITIVE, 0)
    left = sympy.limit(prelu(-POSITIVE, ALPHA) / -POSITIVE, POSITIVE, 0)
    equal = sympy.solveset(sympy.Eq(right, left), ALPHA, sympy.S.Reals)
    residues = [sympy.simplify(found - said) for found, said in zip((right, left), candidate, strict=True)]
    return Finding.true_if(residues == [0, 0], f"right: {right}; left: {left}; equal for α in {equal}")


def is_subdifferential(candidate: sympy.Interval) -> Finding:
    """For α ≤ 1 pReLU is convex: are these exactly the slopes g of the lines g·x that stay below it everywhere?

    Both sides grow in proportion to t = |x|, so what is left between curve and line is t times an affine function
    of g, and its sign bounds g from above on the right and from below on the left.
    """
    right = sympy.simplify((prelu(POSITIVE, ALPHA) - SLOPE * POSITIVE) / POSITIVE)
    left = sympy.simplify((prelu(-POSITIVE, ALPHA) + SLOPE * POSITIVE) / POSITIVE)
    bounds_above = sympy.diff(right, SLOPE) == -1
    bounds_below = sympy.diff(left, SLOPE) == 1
    low, high = sympy.solve(left, SLOPE)[0], sympy.solve(right, SLOPE)[0]
    found = sympy.Interval(low, high)
    detail = f"{right} ≥ 0 on the right and {left} ≥ 0 on the left: g in [{low}, {high}]"
    return Finding.true_if(bounds_above and bounds_below and found == candidate, detail)


def is_derivative_in_alpha(candidate: sympy.Expr) -> Finding:
    """Is this the derivative in α, on both sides of 0 and at 0?"""
    found = sympy.diff(prelu(X, ALPHA), ALPHA)
    places = {"x > 0": POSITIVE, "x < 0": -POSITIVE, "x = 0": sympy.Integer(0)}
    wrong = [name for name, x in places.items() if sympy.simplify((found - candidate).subs(X, x)) != 0]
    return Finding.true_if(
        not wrong, f"∂/∂α = {found}" + (f"; differs at {', '.join(wrong)}" if wrong else "")
    )


def agrees_with_autograd(function: Callable[[Tensor, Tensor], Tensor]) -> Finding:
    """On random x and α: PyTorch's gradients of `function` against central differences of pReLU in float64."""
    stream = Stream(0, "data")
    x = torch.from_numpy(stream.normal(2000))
    x = x[x.abs() > 1e-3].requires_grad_()  # further from the kink than the difference quotient reaches
    alpha = torch.from_numpy(stream.uniform(1)).requires_grad_()
    in_x, in_alpha = torch.autograd.grad(function(x, alpha).sum(), (x, alpha))

    def value(x: Tensor, alpha: Tensor) -> Tensor:
        return x.clamp(min=0) + alpha * x.clamp(max=0)

    h = 1e-6
    with torch.no_grad():
        slope_x = (value(x + h, alpha) - value(x - h, alpha)) / (2 * h)
        slope_alpha = ((value(x, alpha + h) - value(x, alpha - h)) / (2 * h)).sum()
    worst_x = (in_x - slope_x).abs().max().item()
    worst_alpha = (in_alpha - slope_alpha).abs().item() / len(x)
    # pReLU is linear on each side, so the quotient errs by rounding alone: 1e-16 / 1e-6, with room for |x| up to 4.
    return Finding.true_if(
        max(worst_x, worst_alpha) < 1e-8, worst_x=worst_x, worst_alpha=worst_alpha, tries=len(x)
    )


def value_at_zero(candidate: Callable[[float], float]) -> Finding:
    """Does PyTorch return this slope at x = 0, for every α tried?"""
    worst = max(abs(slope - candidate(alpha)) for alpha, slope in slopes_at_zero().items())
    return Finding.true_if(worst == 0, worst_error=worst)


def slopes_at_zero() -> dict[float, float]:
    """PyTorch's gradient of pReLU at exactly 0, for some α; the two one-sided slopes are α and 1."""
    slopes = {}
    for alpha in (-0.5, 0.0, 0.25, 1.0, 2.0):
        x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        functional.prelu(x, torch.tensor([alpha], dtype=torch.float64)).backward()
        assert x.grad is not None
        slopes[alpha] = x.grad.item()
    return slopes


def tables(observations: Observations, words: WordList) -> list[Table]:
    """What PyTorch returns at the kink."""
    title = words["titles.pytorch-at-x-0-where"]
    heads = (
        words["heads.alpha"],
        words["heads.slope-from-left"],
        words["heads.slope-from-right"],
        words["heads.pytorch-returns"],
    )
    rows = [
        [show.number(alpha), show.number(alpha), show.number(1.0), show.number(slope)]
        for alpha, slope in slopes_at_zero().items()
    ]
    return [Table(title, heads, rows)]


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """What PyTorch returns at the kink for α = 0.25, and no difference elsewhere."""
    slope = slopes_at_zero()[0.25]
    return {"at_zero": (slope, slope), "worst": (0.0, 0.0)}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """pReLU and its relatives, each with its derivative as autograd computes it."""
    alt = import_extra("altair", what="A figure", extra="book")
    kinds = {
        "value": words["labels.function"],
        "derivative": words["labels.derivative"],
    }
    table = drawn_functions().replace({"kind": kinds})
    names = list(kinds.values())
    legend = alt.Legend(orient="top")
    return (
        # The branch keeps a line from being drawn across a jump at the kink.
        alt.Chart(table, width=135, height=120)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("x:Q", title="x", axis=alt.Axis(values=[-3, 0, 3])),
            y=alt.Y("y:Q", title=None),
            detail="branch:N",
            color=alt.Color("kind:N", scale=plots.colour_scale(alt, names), title=None, legend=legend),
            strokeDash=alt.StrokeDash(
                "kind:N", scale=plots.dash_scale(alt, names), title=None, legend=legend
            ),
        )
        .facet(facet=alt.Facet("function:N", sort=list(FUNCTIONS), title=None), columns=4)
    )


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": functional.relu,
    "pReLU, α = 0.25": lambda x: functional.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "ELU": functional.elu,
    "GELU": functional.gelu,
    "SiLU": functional.silu,
    "softplus": functional.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def drawn_functions() -> pd.DataFrame:
    """Value and derivative of each function on a grid that comes close to the kink from both sides."""
    side = np.append(1e-9, np.linspace(0.04, 4, 100))
    x = torch.from_numpy(np.concatenate([-side[::-1], side])).requires_grad_()
    rows = []
    for name, function in FUNCTIONS.items():
        y = function(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        for kind, values in (("value", y.detach()), ("derivative", slope)):
            rows += [
                {"function": name, "kind": kind, "x": a, "y": b, "branch": "left" if a < 0 else "right"}
                for a, b in zip(x.tolist(), values.tolist(), strict=True)
            ]
    return pd.DataFrame(rows)


ANSWER = Answer(
    claims=(
        Claim(
            name="derivative-in-x",
            kind="proof",
            check=is_derivative_in_x,
            subject=lambda o: (1, ALPHA),
            falsehood=lambda o: (1, 0),  # ReLU's
        ),
        Claim(
            name="one-sided-slopes-at-zero",
            kind="proof",
            check=has_one_sided_slopes,
            subject=lambda o: (1, ALPHA),
            falsehood=lambda o: (ALPHA, 1),
        ),
        Claim(
            name="subdifferential-at-zero",
            kind="proof",
            check=is_subdifferential,
            subject=lambda o: sympy.Interval(ALPHA, 1),
            falsehood=lambda o: sympy.Interval(0, 1),  # right for ReLU alone
        ),
        Claim(
            name="derivative-in-alpha",
            kind="proof",
            check=is_derivative_in_alpha,
            subject=lambda o: sympy.Min(0, X),
            falsehood=lambda o: sympy.Max(0, X),
        ),
        Claim(
            name="autograd-agrees",
            kind="property",
            check=agrees_with_autograd,
            subject=lambda o: functional.prelu,
            falsehood=lambda o: lambda x, alpha: functional.relu(x) + 0 * alpha,
        ),
        Claim(
            name="pytorch-takes-the-left-slope",
            kind="calculation",
            check=value_at_zero,
            subject=lambda o: lambda alpha: alpha,
            falsehood=lambda o: lambda alpha: 1.0,
        ),
    ),
    circulated=(
        Circulated("two-cases-are-given-x", "lost"),
        Circulated(
            "right-beside-zero",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="derivative-in-x",
            source="datawhale",
        ),
        Circulated(
            "one-at-zero",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="one-sided-slopes-at-zero",
            source="datawhale",
        ),
        Circulated(
            "alpha-at-zero",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="pytorch-takes-the-left-slope",
            source="pandalabme",
        ),
        Circulated(
            "no-derivative-at-zero",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="one-sided-slopes-at-zero",
            source="forum",
        ),
    ),
    tables=tables,
    figure=figure,
    expected=expected,
)
