"""Mean-field theory of a wide random perceptron: what its first weights do to signals and gradients over depth.

In the limit of wide layers with weights of variance σ_w²/n_in and biases of variance σ_b², every pre-activation is
Gaussian, and one number a layer says all:

    q_1 = σ_w² mean(x²) + σ_b²,     q_{l+1} = V(q_l) = σ_w² E[φ(√q_l z)²] + σ_b²,     z ~ N(0, 1)

A gradient's second moment is multiplied by χ(q) = σ_w² E[φ'(√q z)²] at each layer on its way down. At the fixed
point q* the slope χ₁ = χ(q*) decides: below 1 gradients vanish (ordered phase), above 1 they explode (chaotic
phase), as exp(±l/ξ) with depth scale ξ = 1/|log χ₁|.

Sources: Poole et al. 2016, Exponential expressivity in deep neural networks through transient chaos, eqs. 3 and
5-7; Schoenholz et al. 2017, Deep information propagation, eqs. 5 and 9 and section 4. Integrals by SciPy's adaptive
Gauss-Kronrod `cubature`, which finds kinks by itself; fixed Gauss-Hermite nodes do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from scipy.integrate import cubature
from scipy.optimize import brentq
from torch import Tensor

from mlplab.charts.plots import PALETTE
from mlplab.engine.activations import activation_function
from mlplab.errors import InvalidInput, import_extra
from mlplab.spec import Activation

if TYPE_CHECKING:
    import altair

Elementwise = str | Callable[[Tensor], Tensor]
Phase = Literal["ordered", "critical", "chaotic"]
BOUNDS = 1e-12, 1e12  # a variance beyond them counts as 0 or infinite
REACH = 10.0  # standard deviations that integrals cover: what lies beyond weighs 1e-23
CRITICAL = 1e-6  # |χ₁ - 1| up to this is 1: the quadrature is good to about 1e-9


@dataclass(frozen=True)
class MeanField:
    """Where the variance of pre-activations settles, and what that does to gradients.

    `fixed_point` is q*: 0 where signals die out, infinity where they grow without end. `slope` is χ₁; `depth_scale`
    ξ = 1/|log χ₁| in layers, infinite where critical. `variance_slope` is V'(q*): how fast q_l comes to q*, and 1
    where every variance stays as it is (`is_marginal`: ReLU with He's σ_w² = 2).
    """

    activation: str
    weight_variance: float
    bias_variance: float
    fixed_point: float
    slope: float
    variance_slope: float
    depth_scale: float
    phase: Phase
    is_marginal: bool

    def table(self) -> pd.DataFrame:
        """A row for each figure: quantity, value."""
        return pd.DataFrame(list(self.to_dict().items()), columns=["quantity", "value"])

    def plot(self, *, title: str = "Variance map") -> altair.LayerChart:
        """V(q) beside the diagonal: they cross at the fixed point q*."""
        alt = import_extra("altair", what="A figure", extra="book")
        top = 2 * self.fixed_point if BOUNDS[0] < self.fixed_point < math.inf else 2.0
        q = np.linspace(0.01, 1, 60) * top
        function = _activation(self.activation)
        mapped = [variance_map(function, value, self.weight_variance, self.bias_variance) for value in q]
        rows = pd.DataFrame(
            {"q": [*q, *q], "next": [*mapped, *q], "curve": ["V(q)"] * 60 + ["diagonal"] * 60}
        )
        note = f"q* = {self.fixed_point:.4g}, χ₁ = {self.slope:.4g}, {self.phase}"
        colour = alt.Color(
            "curve:N", title=None, scale=alt.Scale(domain=["V(q)", "diagonal"], range=[PALETTE[0], "#8a8a8a"])
        )
        lines = alt.Chart(rows, width=360, height=300).mark_line()
        lines = lines.encode(
            x=alt.X("q:Q", title="Variance q of a pre-activation"),
            y=alt.Y("next:Q", title="Variance one layer on"),
            color=colour,
        )
        return alt.layer(lines).properties(title=alt.TitleParams(title, subtitle=note, anchor="start"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: infinity is None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def mean_field(
    activation: Elementwise, weight_variance: float, bias_variance: float = 0.0, *, start: float = 1.0
) -> MeanField:
    """Fixed point, slope and depth scale of a random perceptron.

    Arguments:
      activation: a name as in `torch.nn.functional`, or any elementwise function of a tensor.
      weight_variance: σ_w², the variance of a weight times its fan-in (He: 2; Glorot at equal widths: 1).
      bias_variance: σ_b².
      start: the variance q of the first layer's pre-activations; the fixed point found is the nearest one that
        iteration of V moves towards from there, for a V that rises with q (all usual activations).

    Raises InvalidInput for variances that are negative or not finite, a start that is not positive, an activation
    that is not elementwise or not finite; UnknownName for a name that is not an activation.
    """
    _check_variances("mean_field", weight_variance, bias_variance)
    if not (math.isfinite(start) and BOUNDS[0] < start < BOUNDS[1]):
        raise InvalidInput("mean_field.start", "must be a positive variance", start)
    function = _activation(activation)

    def gain(q: float) -> float:
        return variance_map(function, q, weight_variance, bias_variance) / q - 1

    first = gain(start)
    is_marginal = False
    if abs(first) < 1e-8:
        fixed = start
        is_marginal = abs(gain(2 * start)) < 1e-8 and abs(gain(start / 2)) < 1e-8
    else:
        fixed = _crossing(gain, start, first)
    # ReLU and its like have no derivative at 0, and a bounded one none of use at infinity: one step inside.
    at = min(max(fixed, BOUNDS[0]), BOUNDS[1])
    slope = gradient_gain(function, at, weight_variance)
    rate = _variance_slope(function, at, weight_variance)
    phase: Phase = "critical" if abs(slope - 1) <= CRITICAL else "ordered" if slope < 1 else "chaotic"
    scale = math.inf if phase == "critical" else 0.0 if slope == 0 else 1 / abs(math.log(slope))
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))
    return MeanField(name, weight_variance, bias_variance, fixed, slope, rate, scale, phase, is_marginal)


def variance_map(
    activation: Elementwise, q: float, weight_variance: float, bias_variance: float = 0.0
) -> float:
    """V(q) = σ_w² E[φ(√q z)²] + σ_b²: the variance one layer on (Poole et al. 2016, eq. 3)."""
    function, root = _activation(activation), math.sqrt(q)
    return weight_variance * gaussian_mean(lambda z: function(root * z) ** 2) + bias_variance


def gradient_gain(activation: Elementwise, q: float, weight_variance: float) -> float:
    """χ(q) = σ_w² E[φ'(√q z)²], the factor on a gradient's second moment (Schoenholz et al. 2017, eq. 9).

    φ' is PyTorch's derivative, by autograd.
    """
    function, root = _activation(activation), math.sqrt(q)
    return weight_variance * gaussian_mean(lambda z: _derivative(function, root * z) ** 2)


def correlation_map(
    activation: Elementwise,
    correlation: float,
    weight_variance: float,
    bias_variance: float = 0.0,
    *,
    q: float = 1.0,
) -> float:
    """The correlation of two inputs one layer on, both of variance q (Poole et al. 2016, eq. 5), to about 1e-7.

    At a fixed point q it is C(c) = (σ_w² E[φ(√q z₁) φ(√q (c z₁ + √(1-c²) z₂))] + σ_b²) / V(q).
    Raises InvalidInput for a correlation that is not in [-1, 1].
    """
    _check_variances("correlation_map", weight_variance, bias_variance)
    if not -1 <= correlation <= 1:
        raise InvalidInput("correlation_map.correlation", "must be in [-1, 1]", correlation)
    function, root = _activation(activation), math.sqrt(q)
    other = math.sqrt(1 - correlation**2)

    def product(z: np.ndarray) -> np.ndarray:
        u, v = torch.from_numpy(z[:, 0].copy()), torch.from_numpy(z[:, 1].copy())
        values = function(root * u) * function(root * (correlation * u + other * v))
        return values.numpy() * np.exp(-(z**2).sum(axis=1) / 2) / (2 * math.pi)

    integrate: Any = cubature  # its stub asks for a whole number as tolerance
    found = integrate(product, [-REACH] * 2, [REACH] * 2, rtol=1e-8, atol=1e-9, max_subdivisions=3000)
    mixed = weight_variance * float(found.estimate) + bias_variance
    return mixed / variance_map(function, q, weight_variance, bias_variance)


def _activation(activation: Elementwise) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    chosen = Activation(activation)
    if activation == "prelu":
        return lambda x: torch.where(x > 0, x, dict(chosen.options)["init"] * x)
    return activation_function(chosen)


def _derivative(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    at = x.detach().requires_grad_()
    with torch.enable_grad():
        value = function(at)
        if not value.requires_grad:
            return torch.zeros_like(x)
        return torch.autograd.grad(value.sum(), at)[0]


def gaussian_mean(function: Callable[[Tensor], Tensor]) -> float:
    """E[f(z)] for z ~ N(0, 1), adaptively; cut at 0, where most activations have their kink."""

    def weighted(z: np.ndarray) -> np.ndarray:
        at = torch.from_numpy(z[:, 0].copy())
        with torch.no_grad():
            values = function(at)
        if values.shape != at.shape:
            raise InvalidInput(
                "activation", "must be elementwise", f"{tuple(at.shape)} to {tuple(values.shape)}"
            )
        if not values.isfinite().all():
            raise InvalidInput("activation", "must be finite", "NaN or infinity")
        return values.numpy() * np.exp(-(z[:, 0] ** 2) / 2) / math.sqrt(2 * math.pi)

    integrate: Any = cubature
    halves = (
        integrate(weighted, [low], [low + REACH], rtol=1e-10, atol=1e-300, max_subdivisions=500)
        for low in (-REACH, 0.0)
    )
    return float(sum(half.estimate for half in halves))


def _variance_slope(function: Callable[[Tensor], Tensor], q: float, weight_variance: float) -> float:
    """V'(q) = σ_w² E[z φ(√q z) φ'(√q z)] / √q, which needs no second derivative (by Stein's lemma)."""
    root = math.sqrt(q)
    mean = gaussian_mean(lambda z: z * function(root * z) * _derivative(function, root * z))
    return weight_variance * mean / root


def _crossing(gain: Callable[[float], float], start: float, first: float) -> float:
    """Where V(q) = q, from `start` in the direction in which V moves q; 0 or infinity where nowhere."""
    factor = 1.25 if first > 0 else 0.8
    here, there = start, start * factor
    while BOUNDS[0] < there < BOUNDS[1]:
        if gain(there) * first <= 0:
            solve: Any = brentq
            return float(solve(gain, min(here, there), max(here, there), xtol=1e-300, rtol=1e-12))
        here, there = there, there * factor
    return math.inf if first > 0 else 0.0


def _check_variances(owner: str, weight_variance: float, bias_variance: float) -> None:
    if not (math.isfinite(weight_variance) and weight_variance > 0):
        raise InvalidInput(f"{owner}.weight_variance", "must be positive and finite", weight_variance)
    if not (math.isfinite(bias_variance) and bias_variance >= 0):
        raise InvalidInput(f"{owner}.bias_variance", "must be at least 0 and finite", bias_variance)
