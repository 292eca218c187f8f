"""4.5.4 What is the matrix equation that corresponds to |w|² = wᵀw?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch

from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

TRIES = 200
W = sympy.Matrix(3, 3, sympy.symbols("w:9", real=True))
ANGLE = sympy.Symbol("theta", real=True)


def squares(matrix: sympy.MatrixBase) -> sympy.Expr:
    """The sum of the squares of all entries: the squared Frobenius norm by definition."""
    return sympy.Add(*(entry**2 for entry in matrix.tolist() for entry in entry))


def is_squared_norm(candidate: Callable[[Any], Any]) -> Finding:
    """For 9 symbols: is this function of W the sum of the squares of its entries?"""
    gap = sympy.expand(squares(W) - candidate(W))
    return Finding.true_if(gap == 0, f"difference {gap}")


def is_sum_over_spectrum(spectrum: Callable[[np.ndarray], np.ndarray]) -> Finding:
    """Random matrices of all shapes: is the squared norm the sum of the squared sizes of these numbers?"""
    worst = 0.0
    for matrix in random_matrices(square=True):
        total = float(np.sum(np.abs(spectrum(matrix)) ** 2))
        worst = max(worst, abs(total / np.sum(matrix**2) - 1))
    return Finding.true_if(worst < 1e-12, worst_error=worst, tries=TRIES)


def random_matrices(*, square: bool) -> list[np.ndarray]:
    """Of N(0, 1), with 1 to 6 rows and columns."""
    made = []
    for number in range(TRIES):
        rows = 1 + number % 6
        shape = (rows, rows if square else 1 + number // 6 % 6)
        made.append(Stream(number, "data").normal(shape))
    return made


def lies_between(upper: Callable[[np.ndarray], float]) -> Finding:
    """Random matrices: is the Frobenius norm at least the largest singular value, and at most this many times it?"""
    wrong = 0
    for matrix in random_matrices(square=False):
        share = float(np.linalg.norm(matrix) / np.linalg.norm(matrix, 2))
        wrong += not 1 - 1e-12 <= share <= upper(matrix) + 1e-12
    return Finding.true_if(wrong == 0, f"{wrong} of {TRIES} matrices lie outside", tries=TRIES)


def survives_rotation(size: Callable[[sympy.MatrixBase], Any]) -> Finding:
    """A 2 x 2 matrix of symbols, turned by any angle from the left: does its size stay?"""
    matrix = sympy.Matrix(2, 2, sympy.symbols("w:4", real=True))
    turn = sympy.Matrix([[sympy.cos(ANGLE), -sympy.sin(ANGLE)], [sympy.sin(ANGLE), sympy.cos(ANGLE)]])
    gap = sympy.simplify(size(turn * matrix) - size(matrix))
    return Finding.true_if(gap == 0, "no difference" if gap == 0 else "the size changes")


def absolute_sum(matrix: sympy.MatrixBase) -> Any:
    """The sum of absolute values, which another penalty is made of."""
    return sympy.Add(*(sympy.Abs(entry) for row in matrix.tolist() for entry in row))


def is_gradient(factor: int) -> Finding:
    """Is the gradient of half of tr(WᵀW) that factor times W?"""
    half = sympy.trace(W.T * W) / 2
    gap = sympy.Matrix(3, 3, lambda i, j: sympy.diff(half, W[i, j]) - factor * W[i, j])
    return Finding.true_if(bool(gap.is_zero_matrix), f"gradient - {factor} W = {gap.tolist()[0]}, ...")


def decays_like(weight_decay: float) -> Finding:
    """One step of SGD on 0.3/2 · tr(WᵀW), by autograd: the step that torch.optim.SGD takes with this weight decay?"""
    worst = 0.0
    for number in range(20):
        start = torch.from_numpy(Stream(number, "data").normal((4, 3)))
        by_trace, by_option = start.clone().requires_grad_(), start.clone().requires_grad_()
        (0.3 / 2 * torch.trace(by_trace.T @ by_trace)).backward()
        by_option.grad = torch.zeros_like(start)
        torch.optim.SGD([by_trace], lr=0.1).step()
        torch.optim.SGD([by_option], lr=0.1, weight_decay=weight_decay).step()
        worst = max(worst, float((by_trace - by_option).detach().abs().max()))
    return Finding.true_if(worst < 1e-14, worst_error=worst, tries=20)


def shown() -> np.ndarray:
    """The matrix of the figure and the table."""
    return np.array([[2.0, -1.0, 0.5], [1.0, 1.5, -0.5]])


def tables(observations: Observations, words: WordList) -> list[Table]:
    """One matrix, its norm by four ways, and other norms beside it."""
    w = shown()
    sizes = np.linalg.svd(w, compute_uv=False)
    ways = [
        (words["heads.sum-squared-entries"], float(np.sum(w**2))),
        (words["heads.trace-by-columns"], float(np.trace(w.T @ w))),
        (words["heads.trace-by-rows"], float(np.trace(w @ w.T))),
        (words["heads.sum-squared-singular-values"], float(np.sum(sizes**2))),
        (
            words["heads.not-same-largest-singular-value"],
            float(sizes[0] ** 2),
        ),
        (words["heads.not-same-sum-absolute-entries"], float(np.abs(w).sum())),
    ]
    title = words["titles.the-matrix"]
    rows = [[label, show.number(value, 6)] for label, value in ways]
    return [Table(title, (words["heads.quantity"], words["heads.value"]), rows)]


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The squared norm of the table's matrix, by four ways."""
    total = float(np.sum(shown() ** 2))
    return dict.fromkeys(("trace", "by_entries", "by_rows", "by_spectrum"), (total, total))


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Three ways to add up to the same total; beside it what the matrix does to the unit circle."""
    alt = import_extra("altair", what="A figure", extra="book")
    w = shown()
    sizes = np.linalg.svd(w, compute_uv=False)
    ways = {
        words["labels.entries-squared"]: (w**2).ravel(),
        words["labels.diagonal-by-columns"]: np.diag(w.T @ w),
        words["labels.diagonal-by-rows"]: np.diag(w @ w.T),
        words["labels.singular-values-squared"]: sizes**2,
    }
    rows = pd.DataFrame(
        [
            {"way": way, "part": str(i + 1), "value": v}
            for way, held in ways.items()
            for i, v in enumerate(held)
        ]
    )
    total = words["labels.squared-frobenius-norm"]
    bars = (
        alt.Chart(rows, width=300, height=alt.Step(38))
        .mark_bar(stroke="white", strokeWidth=1.5)
        .encode(
            y=alt.Y("way:N", sort=list(ways), title=None, axis=alt.Axis(labelLimit=240)),
            x=alt.X("value:Q", stack="zero", title=total),
            color=alt.Color("part:N", scale=alt.Scale(range=list(plots.PALETTE)), legend=None),
            order="part:N",
        )
        .properties(title=words["titles.one-total-four-ways"])
    )  # fmt: skip
    return bars | _ellipse(alt, words)


def _ellipse(alt: Any, words: WordList) -> Any:
    """Rows of unit vectors in the plane of the two input directions that count."""
    left, sizes, _ = np.linalg.svd(shown(), full_matrices=False)
    angle = np.linspace(0, 2 * np.pi, 201)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    image = left @ (sizes[:, None] * circle)
    rows = pd.DataFrame({"x": image[0], "y": image[1], "order": angle})
    ends = left * sizes
    axes = pd.DataFrame(
        [
            {"x": 0.0, "y": 0.0, "x2": ends[0, i], "y2": ends[1, i], "label": f"σ{'₁₂'[i]} = {sizes[i]:.3g}"}
            for i in (0, 1)
        ]
    )
    scale = alt.Scale(domain=[-3, 3])
    x, y = alt.X("x:Q", scale=scale, title=None), alt.Y("y:Q", scale=scale, title=None)
    title = words["labels.w-maps-unit-vectors-into"]
    outline = alt.Chart(rows, width=230, height=230, title=title)
    return (
        outline.mark_line(color=plots.PALETTE[0], strokeWidth=2).encode(x=x, y=y, order="order:Q")
        + alt.Chart(axes).mark_rule(color=plots.PALETTE[1], strokeWidth=3).encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
        + alt.Chart(axes)
        .mark_text(align="left", dx=5, dy=-5, color=plots.INK)
        .encode(x=alt.X("x2:Q", scale=scale), y=alt.Y("y2:Q", scale=scale), text="label:N")
    )  # fmt: skip


ANSWER = Answer(
    claims=(
        Claim(
            name="the-norm-is-a-trace",
            kind="proof",
            check=is_squared_norm,
            subject=lambda o: lambda w: sympy.trace(w.T * w),
            falsehood=lambda o: lambda w: sympy.trace(w * w),
        ),
        Claim(
            name="the-norm-of-all-entries",
            kind="proof",
            check=is_squared_norm,
            subject=lambda o: lambda w: (sympy.Matrix(w.vec()).T * sympy.Matrix(w.vec()))[0],
            falsehood=lambda o: lambda w: (sympy.ones(1, 9) * sympy.Matrix(w.vec()))[0] ** 2 / 9,
        ),
        Claim(
            name="sum-of-squared-singular-values",
            kind="property",
            check=is_sum_over_spectrum,
            subject=lambda o: lambda w: np.linalg.svd(w, compute_uv=False),
            falsehood=lambda o: np.linalg.eigvals,  # the same for symmetric matrices, not for others
        ),
        Claim(
            name="rotations-leave-it",
            kind="proof",
            check=survives_rotation,
            subject=lambda o: squares,
            falsehood=lambda o: absolute_sum,
        ),
        Claim(
            name="between-spectral-norm-and-root-of-rank",
            kind="property",
            check=lies_between,
            subject=lambda o: lambda w: float(np.sqrt(min(w.shape))),
            falsehood=lambda o: lambda w: float(np.sqrt(min(w.shape) - 1)),
        ),
        Claim(
            name="its-gradient-is-w",
            kind="proof",
            check=is_gradient,
            subject=lambda o: 1,
            falsehood=lambda o: 2,
        ),
        Claim(
            name="weight-decay-is-this-penalty",
            kind="property",
            check=decays_like,
            subject=lambda o: 0.3,
            falsehood=lambda o: 0.15,
        ),
    ),
    circulated=(
        Circulated(
            "frobenius-norm-amounts-square-root",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="the-norm-of-all-entries",
        ),
        Circulated("the-norm-of-a-vector", "misread", source="datawhale"),
        Circulated(
            "trace-of-the-product",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-norm-is-a-trace",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    expected=expected,
)
