"""How well-conditioned polynomial regression is in each basis, and how fast gradient descent may go.

The mean squared error |Aw - y|²/n of n examples (`nn.MSELoss`) has the Hessian H = 2AᵀA/n. Gradient descent multiplies
the error along an eigenvector of H by 1 - rate·λ: it converges for rate < 2/λ_max = n/σ_max(A)² and diverges above.
How many steps it takes is set by the condition number of H, that of A squared.

Source: Goodfellow et al. 2016, Deep learning, section 4.3.1; LeCun et al. 1998, Efficient backprop, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.analysis.polynomial_basis import BASES, Basis, Domain, design_matrix, numbers, rank_and_condition
from mlplab.charts.plots import DASHES, PALETTE
from mlplab.data.synthetic import whole_number
from mlplab.errors import InvalidInput, import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float


@dataclass(frozen=True)
class BasisCondition:
    """One basis at one degree. Condition numbers are None where float64 cannot tell them from infinite.

    `largest_rate` is the bound 2/λ_max on the learning rate of gradient descent on the mean squared error.
    """

    basis: Basis
    degree: int
    design_condition: float | None
    gram_condition: float | None
    largest_feature: float
    largest_rate: float


@dataclass(frozen=True)
class Conditioning:
    """Condition numbers and largest rates of some bases and degrees on the same inputs."""

    rows: tuple[BasisCondition, ...]
    num_examples: int
    domain: Domain | None

    def table(self) -> pd.DataFrame:
        """A row for each basis and degree, with the fields of `BasisCondition`."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def plot(self) -> altair.HConcatChart:
        """Condition number of the Gram matrix and largest stable rate against the degree, a line for each basis."""
        alt = import_extra("altair", what="A figure", extra="book")
        names = list(dict.fromkeys(row.basis for row in self.rows))
        legend = alt.Legend(title=None, symbolType="stroke", symbolSize=400, orient="top")
        colours = alt.Scale(domain=names, range=list(PALETTE[: len(names)]))
        dashes = alt.Scale(domain=names, range=[list(dash) for dash in DASHES[: len(names)]])
        base = alt.Chart(self.table(), width=260, height=220).mark_line(strokeWidth=2, point=True)
        base = base.encode(
            x=alt.X("degree:Q", title="Degree", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("basis:N", sort=names, scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("basis:N", sort=names, scale=dashes, legend=legend),
        )
        axis = alt.Axis(format=".0e", tickCount=6)
        panels = [
            base.transform_filter(f"isValid(datum.{field})").encode(
                y=alt.Y(f"{field}:Q", title=title, scale=alt.Scale(type="log"), axis=axis)
            )
            for field, title in (
                ("gram_condition", "Condition number of AᵀA"),
                ("largest_rate", "Largest stable learning rate"),
            )
        ]
        title = alt.TitleParams(f"Bases on {self.num_examples} inputs", anchor="start", fontSize=14)
        return alt.hconcat(*panels, title=title)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "num_examples": self.num_examples,
            "domain": None if self.domain is None else [float(end) for end in self.domain],
            "rows": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True)
class RateCheck:
    """Gradient descent just below and just above a rate: mean squared error above the least one, before and after."""

    rate: float
    margin: float
    num_steps: int
    start: float
    below: float
    above: float

    @property
    def holds(self) -> bool:
        """Below, the error fell; above, it grew."""
        return self.below < self.start < self.above


def conditioning(
    x: Any,
    degrees: int | Iterable[int],
    bases: Iterable[Basis] = BASES,
    *,
    domain: Domain | None = None,
) -> Conditioning:
    """Condition numbers and largest stable rates of polynomial regression on inputs x.

    Arguments:
      x: (n,), the inputs; one for each example.
      degrees: one degree or several.
      domain: an interval that is mapped on [-1, 1] first; None leaves x as it is.

    Raises InvalidInput and UnknownName as `design_matrix`, InvalidInput for no degree or no basis.
    """
    x = numbers("conditioning.x", x, 1).astype(np.float64)
    chosen = [degrees] if not isinstance(degrees, Iterable) else list(degrees)
    names: list[Any] = [bases] if isinstance(bases, str) else list(bases)
    if not chosen or not names:
        raise InvalidInput("conditioning", "needs a degree and a basis", (chosen, names))
    rows = [_condition(x, degree, basis, domain) for basis in names for degree in chosen]
    return Conditioning(tuple(rows), len(x), domain)


def _condition(x: np.ndarray, degree: int, basis: Basis, domain: Domain | None) -> BasisCondition:
    design = design_matrix(x, degree, basis, domain=domain)
    condition = rank_and_condition(design)[1]
    is_full = np.isfinite(condition)
    return BasisCondition(
        basis=basis,
        degree=int(degree),
        design_condition=condition if is_full else None,
        gram_condition=condition**2 if is_full else None,  # from A: AᵀA itself is rounded beyond 1e16
        largest_feature=float(np.abs(design).max()),
        largest_rate=largest_rate(design),
    )


def largest_rate(design: Float[np.ndarray, "example feature"]) -> float:
    """The largest learning rate for which gradient descent on the mean squared error is stable: n/σ_max².

    Raises InvalidInput for a design matrix that is empty, zero or not finite.
    """
    design = numbers("largest_rate.design", design, 2).astype(np.float64)
    largest = float(np.linalg.norm(design, 2))
    if largest == 0:
        raise InvalidInput(
            "largest_rate.design", "must not be zero", "only zeros", "Any rate is stable there"
        )
    return len(design) / largest / largest


def check_largest_rate(
    design: Float[np.ndarray, "example feature"],
    y: Float[np.ndarray, "example"],
    *,
    margin: float = 0.01,
    num_steps: int = 1000,
) -> RateCheck:
    """Run gradient descent at (1 - margin) and (1 + margin) times the largest rate, from weights N(0, 1).

    Raises InvalidInput for a design matrix and targets that do not fit or are not finite, and a margin not in (0, 1).
    """
    design = numbers("check_largest_rate.design", design, 2).astype(np.float64)
    y = numbers("check_largest_rate.y", y, 1).astype(np.float64)
    if len(y) != len(design):
        raise InvalidInput("check_largest_rate.y", f"must have {len(design)} numbers", len(y))
    if not 0 < margin < 1:
        raise InvalidInput("check_largest_rate.margin", "must be in (0, 1)", margin)
    num_steps = whole_number("check_largest_rate.num_steps", num_steps, 1, 10**7)
    # The error's own coordinates: A(w - w*) decides, and subtracting two large losses would round it away.
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    start = Stream(0, "init").normal(design.shape[1]) - best
    rate = largest_rate(design)
    ends = [_descend(design, start, rate * scale, num_steps) for scale in (0, 1 - margin, 1 + margin)]
    return RateCheck(rate, margin, num_steps, *ends)


def _descend(design: np.ndarray, gap: np.ndarray, rate: float, num_steps: int) -> float:
    """Mean squared A·gap after gradient steps; infinite where it overflows."""
    hessian = 2 * design.T @ design / len(design)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(num_steps if rate else 0):
            gap = gap - rate * (hessian @ gap)
        error = float(np.mean((design @ gap) ** 2))
    return error if np.isfinite(error) else float("inf")
