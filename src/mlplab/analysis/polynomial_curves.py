"""Training and test error of polynomial regression against degree and number of examples, over many draws.

Each draw is a data set of the chapter's cubic, y = 5 + 1.2x - 3.4x²/2! + 5.6x³/3! + noise with x ~ N(0, 1): the same
numbers as the data set `polynomial` of that draw, in float64. Draws are paired: sizes share their first examples.

One QR factorisation of a draw's design matrix serves all degrees, because its columns are nested: with A = QR the fit
of degree d takes the first d + 1 columns of Q. All draws are factored in one batch.

From degree 3 up, E[training error] = σ²(1 - (d+1)/n) on n examples: noise that d + 1 weights take up.

Source: Hastie et al. 2009, The elements of statistical learning, section 7.4 (eq. 7.24).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.special import factorial
from torch import Tensor

from mlplab import stats
from mlplab.analysis.polynomial_basis import MAX_DEGREE, design_matrix
from mlplab.charts.plots import PALETTE
from mlplab.data.synthetic import CUBIC, POLYNOMIAL, stream, whole_number
from mlplab.errors import InvalidInput, import_extra

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float

# Fixed, so that no draw changes another; narrower or wider, the Legendre polynomials are worse conditioned on N(0, 1).
DOMAIN = (-4.0, 4.0)
RESOLVED = 1e-13  # least ratio of the diagonal of R, at the median draw
MAX_NUMBERS = 2**25  # float64 in the largest array of a batch: 256 MiB; more draws are solved in several


@dataclass(frozen=True)
class ErrorCurves:
    """Mean squared errors, (draw, size, degree), in the square of y's unit.

    A degree of n or above on n examples interpolates them, and the weights are those of least norm in the Legendre
    basis on DOMAIN: another basis has other ones.
    """

    degrees: tuple[int, ...]
    sizes: tuple[int, ...]
    noise_std: float
    num_test: int
    ci_prob: float
    train: Float[np.ndarray, "draw size degree"]
    test: Float[np.ndarray, "draw size degree"]

    def table(self) -> pd.DataFrame:
        """A row for each size, degree, part and statistic, with the columns of `stats.Interval`.

        `statistic` is the mean over draws, and the geometric mean (the t interval of the logarithm), which is left out
        where an error is 0. Test errors at degrees near n have such long tails that their mean says little: read the
        geometric one. `expected` is σ²(1 - (d+1)/n), the mean of the training error from degree 3 up.
        """
        rows = []
        for i, size in enumerate(self.sizes):
            for j, degree in enumerate(self.degrees):
                for part, errors in (("train", self.train[:, i, j]), ("test", self.test[:, i, j])):
                    known = part == "train" and degree >= len(CUBIC) - 1
                    expected = self.noise_std**2 * max(0.0, 1 - (degree + 1) / size) if known else None
                    for statistic, interval in self._intervals(errors):
                        row = {"size": size, "degree": degree, "part": part, "statistic": statistic}
                        rows.append(row | interval | {"expected": expected})
        return pd.DataFrame(rows)

    def _intervals(self, errors: np.ndarray) -> list[tuple[str, dict[str, Any]]]:
        found = [("mean", stats.mean_interval(errors, ci_prob=self.ci_prob).to_dict())]
        if (errors > 0).all():
            logs = stats.mean_interval(np.log(errors), ci_prob=self.ci_prob).to_dict()
            for name in ("estimate", "ci_low", "ci_high"):
                logs[name] = None if logs[name] is None else float(np.exp(logs[name]))
            found.append(("geometric mean", logs | {"std_error": None}))  # that of the logarithm is no error
        return found

    def plot(self) -> altair.HConcatChart:
        """Geometric mean of training and test error against the degree, a line for each size, with its interval."""
        alt = import_extra("altair", what="A figure", extra="book")
        rows = self.table()
        rows = rows[rows["statistic"] == "geometric mean"].assign(size=lambda t: t["size"].astype(str))
        # Errors of interpolation are rounding: no room for them.
        floor = max(self.noise_std**2 * 1e-4, 1e-30)
        rows = rows[rows["estimate"] > floor].astype({"ci_low": "float64", "ci_high": "float64"})
        names = [str(size) for size in self.sizes]
        scale = (
            alt.Scale(domain=names, range=list(PALETTE[: len(names)]))
            if len(names) <= len(PALETTE)
            else alt.Scale(domain=names, scheme="viridis")
        )
        colour = alt.Color("size:N", sort=names, title="Training examples", scale=scale)
        x = alt.X("degree:Q", title="Degree", axis=alt.Axis(tickMinStep=1))
        panels = []
        for part, title in (("train", "Training error"), ("test", "Test error")):
            base = alt.Chart(rows[rows["part"] == part], title=title, width=230, height=240)
            axis = alt.Axis(format=".0e", tickCount=6)
            y = alt.Y("estimate:Q", title="Mean squared error", scale=alt.Scale(type="log"), axis=axis)
            bars = base.mark_rule().encode(x=x, y="ci_low:Q", y2="ci_high:Q", color=colour)
            panels.append(alt.layer(base.mark_line(point=True).encode(x=x, y=y, color=colour), bars))
        note = f"Geometric mean over {len(self.train)} draws with {100 * self.ci_prob:.3g}% t interval"
        title = alt.TitleParams("Polynomial regression", subtitle=note, anchor="start", fontSize=14)
        return alt.hconcat(*panels, title=title)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        rows = self.table().astype(object)
        return {
            "noise_std": self.noise_std,
            "num_draws": len(self.train),
            "num_test": self.num_test,
            "rows": rows.where(rows.notna(), None).to_dict("records"),
        }


def error_curves(
    degrees: Iterable[int] = range(13),
    sizes: Iterable[int] = (10, 20, 50, 100),
    *,
    num_draws: int = 1000,
    noise_std: float = 0.1,
    num_test: int = 100,
    ci_prob: float = 0.95,
) -> ErrorCurves:
    """Training and test error at every degree and size, over draws of the chapter's cubic problem.

    Arguments:
      degrees: each 0 to 100.
      sizes: numbers of training examples.
      noise_std: standard deviation of the normal noise on y; it is on the test targets too.
      num_test: test examples of each draw.

    Raises InvalidInput for values that are not allowed, repeated degrees or sizes, fewer than 2 draws.
    """
    degrees = _distinct("error_curves.degrees", degrees, 0, MAX_DEGREE)
    sizes = _distinct("error_curves.sizes", sizes, 1, 100_000)
    num_draws = whole_number("error_curves.num_draws", num_draws, 2, 10**6)
    num_test = whole_number("error_curves.num_test", num_test, 1, 100_000)
    if not (np.isfinite(noise_std) and noise_std >= 0):
        raise InvalidInput("error_curves.noise_std", "must be a finite number, 0 or above", noise_std)
    if not 0 < ci_prob < 1:
        raise InvalidInput("error_curves.ci_prob", "must be in (0, 1)", ci_prob)
    batch = max(1, MAX_NUMBERS // (max(*sizes, num_test) * (max(degrees) + 1)))
    parts = [
        _errors(range(start, min(start + batch, num_draws)), degrees, sizes, noise_std, num_test)
        for start in range(0, num_draws, batch)
    ]
    train, test = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
    return ErrorCurves(degrees, sizes, float(noise_std), num_test, ci_prob, train, test)


def draw_problems(
    part: str, draws: Iterable[int], size: int, noise_std: float
) -> tuple[Float[np.ndarray, "draw example"], Float[np.ndarray, "draw example"]]:
    """Inputs and targets of the chapter's cubic: those of the data set `polynomial`, before rounding to float32."""
    draws = list(draws)
    x = np.stack([stream(POLYNOMIAL, part, "inputs", draw).normal(size) for draw in draws])
    noise = np.stack([stream(POLYNOMIAL, part, "noise", draw).normal(size) for draw in draws])
    powers = np.arange(len(CUBIC))
    return x, (x[..., None] ** powers / factorial(powers)) @ np.array(CUBIC) + noise_std * noise


def _errors(
    draws: range, degrees: tuple[int, ...], sizes: tuple[int, ...], noise_std: float, num_test: int
) -> tuple[np.ndarray, np.ndarray]:
    x, y = draw_problems("train", draws, max(sizes), noise_std)
    test_x, test_y = draw_problems("test", draws, num_test, noise_std)
    designs = [
        torch.from_numpy(design_matrix(at, max(degrees), "legendre", domain=DOMAIN)) for at in (x, test_x)
    ]
    targets = torch.from_numpy(y), torch.from_numpy(test_y)
    train, test = [], []
    for size in sizes:
        design, target = designs[0][:, :size], targets[0][:, :size]
        found = fit_all_degrees(design, target, designs[1], degrees)
        for errors, fitted, true in zip((train, test), found, (target, targets[1]), strict=True):
            errors.append((fitted - true[..., None]).square().mean(1).numpy())
    return np.stack(train, 1), np.stack(test, 1)


def fit_all_degrees(
    design: Float[Tensor, "draw example feature"],
    y: Float[Tensor, "draw example"],
    test_design: Float[Tensor, "draw test feature"],
    degrees: tuple[int, ...],
) -> tuple[Float[Tensor, "draw example degree"], Float[Tensor, "draw test degree"]]:
    """Fitted values on training and test inputs of the least-squares fit of each degree, for all draws at once.

    Degree d uses features 0 to d. By QR as far as the weights are unique; from degree n up the least norm.
    Raises InvalidInput where float64 cannot tell the features of most draws apart.
    """
    num_nested = min(design.shape[1], design.shape[2])
    q, r = torch.linalg.qr(design[..., :num_nested])
    _check_resolved(r, design.shape[1])
    weights = q.mT @ y[..., None]
    # Leading blocks of a triangular inverse are the inverses of leading blocks: sums up to d are the fit of degree d.
    at_test = torch.linalg.solve_triangular(r, test_design[..., :num_nested], upper=True, left=False)
    train, test = ((part * weights.mT).cumsum(-1) for part in (q, at_test))
    fitted: list[tuple[Tensor, Tensor]] = []
    for degree in degrees:
        if degree < num_nested:
            fitted.append((train[..., degree], test[..., degree]))
            continue
        fitted.append(_interpolate(design[..., : degree + 1], y, test_design[..., : degree + 1]))
    return torch.stack([pair[0] for pair in fitted], -1), torch.stack([pair[1] for pair in fitted], -1)


def _interpolate(
    design: Float[Tensor, "draw example feature"],
    y: Float[Tensor, "draw example"],
    test_design: Float[Tensor, "draw test feature"],
) -> tuple[Float[Tensor, "draw example"], Float[Tensor, "draw test"]]:
    """The fit of least norm, w = Q R⁻ᵀ y with Aᵀ = QR, on both inputs."""
    q, r = torch.linalg.qr(design.mT)
    inner = torch.linalg.solve_triangular(r.mT, y[..., None], upper=False)
    # Aw = Rᵀ(R⁻ᵀ y): through w itself, which may be 1e10 times y, rounding would pass for an error.
    return (r.mT @ inner)[..., 0], (test_design @ (q @ inner))[..., 0]


def _check_resolved(r: Float[Tensor, "draw feature feature"], size: int) -> None:
    sizes = r.diagonal(dim1=-2, dim2=-1).abs()
    share = (sizes.amin(-1) / sizes.amax(-1)).median().item()
    # What is left of 16 digits after this is not worth drawing.
    if not share > RESOLVED:
        raise InvalidInput(
            "error_curves.degrees",
            f"must be such that float64 resolves them on {size} examples",
            r.shape[-1] - 1,
            "Give a smaller largest degree",
        )


def _distinct(owner: str, values: Iterable[int], low: int, high: int) -> tuple[int, ...]:
    chosen = list(values) if isinstance(values, Iterable) else [values]
    if not chosen or len(set(chosen)) < len(chosen):
        raise InvalidInput(owner, "must be different whole numbers, at least one", chosen)
    return tuple(whole_number(owner, value, low, high) for value in chosen)
