"""4.7.1 The inputs of a scalar function are a matrix: what shape has its gradient?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import sympy
import torch
from torch import Tensor

from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

STEP = 1e-5  # of central differences, in the unit of X
MAX_ROWS, MAX_COLUMNS, NUM_SEEDS = 4, 5, 3
Scalar = Callable[[Tensor, Tensor], Tensor]

# Functions of X (n, m), each with the help of a fixed matrix A (n, m).
FUNCTIONS: dict[str, Scalar] = {
    "half squared norm": lambda x, a: x.square().sum() / 2,
    "trace": lambda x, a: torch.trace(a.T @ x),
    "log-sum-exp": lambda x, a: torch.logsumexp(x.reshape(-1), 0),
    "log-determinant": lambda x, a: torch.logdet(torch.eye(len(x), dtype=x.dtype) + x @ x.T),
    "sum of tanh": lambda x, a: torch.tanh(x @ a.T).sum(),
}


def drawn(seed: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """X and A from N(0, 1), both (rows, columns)."""
    x, a = Stream(seed, "data").normal((2, rows, columns))
    return torch.from_numpy(x), torch.from_numpy(a)


def gradient(function: Scalar, x: Tensor, a: Tensor) -> Tensor:
    """By autograd."""
    at = x.clone().requires_grad_()
    return torch.autograd.grad(function(at, a), at)[0]


def differences(function: Scalar, x: Tensor, a: Tensor) -> Tensor:
    """Every entry of X moved alone, up and down: central differences, at the place of the entry."""
    slopes = torch.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            moved = torch.zeros_like(x)
            moved[i, j] = STEP
            slopes[i, j] = (function(x + moved, a) - function(x - moved, a)) / (2 * STEP)
    return slopes


def is_slope_of_each_entry(laid_out: Callable[[Tensor], Tensor]) -> Finding:
    """All shapes up to 4 x 5, random X: has it X's shape, and stands the slope of each entry at its place?"""
    worst, tries, wrong_shape, wrong_place = 0.0, 0, 0, 0
    for function in FUNCTIONS.values():
        for rows in range(1, MAX_ROWS + 1):
            for columns in range(1, MAX_COLUMNS + 1):
                for seed in range(NUM_SEEDS):
                    x, a = drawn(seed, rows, columns)
                    found = laid_out(gradient(function, x, a))
                    tries += 1
                    if found.shape != x.shape:
                        wrong_shape += 1
                        continue
                    error = float((found - differences(function, x, a)).abs().max())
                    worst, wrong_place = max(worst, error), wrong_place + (error > 1e-6)
    detail = f"{wrong_shape} of {tries} of another shape, {wrong_place} with numbers at other places"
    return Finding.true_if(not wrong_shape + wrong_place, detail, worst_error=worst, tries=tries)


def is_gradient_of_trace(candidate: Callable[[sympy.Matrix], Any]) -> Finding:
    """9 symbols each: is this the matrix of derivatives of tr(AX) by the entries of X?"""
    a = sympy.Matrix(3, 3, sympy.symbols("a:9"))
    x = sympy.Matrix(3, 3, sympy.symbols("x:9"))
    total = sympy.trace(a * x)
    gap = sympy.Matrix(3, 3, lambda i, j: sympy.diff(total, x[i, j])) - candidate(a)
    return Finding.true_if(bool(gap.is_zero_matrix), f"difference {gap.tolist()[0]}, ...")


def is_derivative_of_outputs(derivative: Callable[[Any, Tensor], Tensor]) -> Finding:
    """f(X) = tanh(Xb), n outputs, for all shapes: n x m numbers for each output that predict f(X + tE)?"""
    worst, tries = 0.0, 0
    for rows in range(2, MAX_ROWS + 1):
        for columns in range(1, MAX_COLUMNS + 1):
            x, e = drawn(0, rows, columns)
            b = torch.from_numpy(Stream(1, "data").normal(columns))

            def outputs(at: Tensor, b: Tensor = b) -> Tensor:
                return torch.tanh(at @ b) + at.square().sum()

            slopes = (outputs(x + STEP * e) - outputs(x - STEP * e)) / (2 * STEP)
            predicted = (derivative(outputs, x) * e).sum(dim=(-2, -1))
            worst = max(worst, float((predicted - slopes).abs().max()))
            tries += 1
    return Finding.true_if(worst < 1e-6, worst_error=worst, tries=tries)


def jacobian(outputs: Any, x: Tensor) -> Tensor:
    """(output, n, m)."""
    found = torch.autograd.functional.jacobian(outputs, x)
    assert isinstance(found, Tensor)
    return found


def is_steepest(direction: Callable[[Tensor], Tensor]) -> Finding:
    """No random direction of the same length raises log det(I + XXᵀ) faster: is that so of this one?"""
    function = list(FUNCTIONS.values())[3]
    beaten, tries = 0, 0
    for seed in range(20):
        x, a = drawn(seed, 3, 4)
        slope = gradient(function, x, a)
        own = direction(slope)
        reached = float((slope * own).sum() / own.norm())
        others = torch.from_numpy(Stream(seed, "noise").normal((500, 3, 4)))
        rises = (others * slope).sum(dim=(1, 2)) / others.norm(dim=(1, 2))
        beaten += int((rises > reached).sum())
        tries += len(others)
    return Finding.true_if(beaten == 0, f"{beaten} of {tries} directions rise faster", tries=tries)


def same_shape_other_places(slopes: Tensor) -> Tensor:
    """The transpose's numbers read into n x m: the right shape, but each slope at another entry's place."""
    return slopes.T.reshape(slopes.shape)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """For each function: shapes, and how far autograd is from differences."""
    rows = []
    for name, function in FUNCTIONS.items():
        x, a = drawn(0, 3, 4)
        found = gradient(function, x, a)
        error = float((found - differences(function, x, a)).abs().max())
        of_x, of_gradient = (" × ".join(map(str, tensor.shape)) for tensor in (x, found))
        rows.append(
            [
                words[f"functions.{name}"],
                of_x,
                str(function(x, a).numel()),
                of_gradient,
                show.number(error, 2),
            ]
        )
    columns = (
        words["heads.function"], words["heads.argument"], words["heads.outputs"],
        words["heads.gradient"], words["heads.error"],
    )  # fmt: skip
    return [Table(words["titles.shapes"], columns, rows)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """One X, its gradient by autograd and by moving each entry: three grids of one shape."""
    alt = import_extra("altair", what="A figure", extra="book")
    x, a = drawn(0, 3, 4)
    function = list(FUNCTIONS.values())[3]
    grids = {
        words["labels.argument"]: x,
        words["labels.by-autograd"]: gradient(function, x, a),
        words["labels.by-differences"]: differences(function, x, a),
    }
    domain = [-2.5, 2.5]
    charts = []
    for title, grid in grids.items():
        cells = pd.DataFrame(
            [
                {"row": i + 1, "column": j + 1, "value": float(grid[i, j]), "text": show.number(float(grid[i, j]))}
                for i in range(3) for j in range(4)
            ]
        )  # fmt: skip
        base = alt.Chart(cells, width=190, height=140, title=title).encode(
            x=alt.X("column:O", title=words["titles.column"], axis=alt.Axis(labelAngle=0)),
            y=alt.Y("row:O", title=words["titles.row"]),
        )
        colour = alt.Color(
            "value:Q",
            scale=alt.Scale(scheme="blueorange", domain=domain, clamp=True),
            title=words["titles.value"],
        )
        charts.append(
            base.mark_rect().encode(color=colour) + base.mark_text(color=plots.INK).encode(text="text:N")
        )
    heading = words["labels.slopes-of-the-log-determinant"]
    return alt.hconcat(*charts).properties(title=heading)


def facts(observations: Observations) -> dict[str, Any]:
    """How large the shapes went."""
    return {"max_rows": MAX_ROWS, "max_columns": MAX_COLUMNS, "num_functions": len(FUNCTIONS)}


def expected(seen: Observations) -> dict[str, tuple[float, float]]:
    """The shape of its gradient, and no more than rounding between autograd and entries moved alone."""
    return {"num_rows": (3, 3), "num_columns": (4, 4), "largest_difference": (0, 1e-6)}


ANSWER = Answer(
    claims=(
        Claim(
            name="one-slope-for-each-entry",
            kind="property",
            check=is_slope_of_each_entry,
            subject=lambda o: lambda slopes: slopes,
            falsehood=lambda o: same_shape_other_places,
        ),
        Claim(
            name="gradient-of-a-trace",
            kind="proof",
            check=is_gradient_of_trace,
            subject=lambda o: lambda a: a.T,
            falsehood=lambda o: lambda a: a,  # numerator layout: the transpose
        ),
        Claim(
            name="it-points-up-most-steeply",
            kind="property",
            check=is_steepest,
            subject=lambda o: lambda slopes: slopes,
            falsehood=lambda o: same_shape_other_places,
        ),
        Claim(
            name="each-output-has-its-own",
            kind="property",
            check=is_derivative_of_outputs,
            subject=lambda o: jacobian,
            falsehood=lambda o: lambda f, x: jacobian(f, x).mean(0, keepdim=True),  # one gradient for all
        ),
    ),
    circulated=(
        Circulated(
            "shape-of-x",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="one-slope-for-each-entry",
        ),
        *(
            Circulated(
                name,
                {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
                by="one-slope-for-each-entry",
                source=source,
            )
            for name, source in (("n-by-m", "datawhale"), ("same-as-x", "pandalabme"))
        ),
    ),
    figure=figure,
    tables=tables,
    facts=facts,
    expected=expected,
)
