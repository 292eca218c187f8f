"""Singular values of products: what the factors allow, what a product has, and a model's Jacobian over depth.

For matrices with singular values σ₁ ≥ σ₂ ≥ ... (0 beyond the last), and A with p columns, B with p rows:

    Horn, individual   σ_{i+j-1}(AB) ≤ σ_i(A) σ_j(B)         and        σ_{i+j-p}(AB) ≥ σ_i(A) σ_j(B)
    Horn, product      ∏_{i≤k} σ_i(AB) ≤ ∏_{i≤k} σ_i(A) σ_i(B)
    Ostrowski          σ_k(A) σ_p(B) ≤ σ_k(AB) ≤ σ_k(A) σ₁(B), and with A and B exchanged
    Weyl               ∏_{i≤k} |λ_i(M)| ≤ ∏_{i≤k} σ_i(M)

Sources: Horn 1950, On the singular values of a product of completely continuous operators; Weyl 1949; Ostrowski
1959, A quantitative formulation of Sylvester's law of inertia; Horn and Johnson, Topics in Matrix Analysis, section
3.3. Random products: Penson and Życzkowski 2011 (the edge of the Fuss-Catalan law).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mlplab.analysis.model_copy import refuse_scripts
from mlplab.analysis.model_failure import model_failures
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, UnknownName, import_extra

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float
    from numpy.typing import ArrayLike

JACOBIAN_ENTRIES = 2**22  # of one layer and example: 32 MiB in float64, whose singular values take seconds
BATCHED = 256  # rows of a Jacobian that are computed together


@dataclass(frozen=True)
class ProductBounds:
    """Singular values of a product beside what those of its factors allow.

    `rows`: a row for each k from 1: singular_value; horn_low, horn_high; ostrowski_low, ostrowski_high;
    log10_product (of the k largest) and log10_horn_product, its bound; for a square product eigenvalue_size |λ_k| and
    log10_weyl, the sum of log10 of the k largest |λ|, which log10_product bounds. A logarithm of 0 is -inf.
    `rounding`: differences up to this are rounding; a singular value below it is not known at all.
    """

    rows: pd.DataFrame
    num_factors: int
    condition_number: float
    condition_bound: float
    rounding: float

    @property
    def holds(self) -> bool:
        """Whether every measured value keeps within its bounds, to rounding. A theorem: False is a defect."""
        r, slack = self.rows, self.rounding
        inside = True
        for name in ("horn", "ostrowski"):
            inside &= bool((r["singular_value"] <= r[f"{name}_high"] + slack).all())
            inside &= bool((r["singular_value"] >= r[f"{name}_low"] - slack).all())
        known = r[r["singular_value"] > 1e3 * slack]  # logarithms of rounding say nothing
        inside &= bool((known["log10_product"] <= known["log10_horn_product"] + 1e-2).all())
        if "log10_weyl" in r:
            inside &= bool((known["log10_weyl"] <= known["log10_product"] + 1e-2).all())
        return inside

    def table(self) -> pd.DataFrame:
        """A row for each singular value."""
        return self.rows.copy()

    def plot(self, *, title: str = "Singular values of a product and their bounds") -> altair.LayerChart:
        """Measured values as points; Horn's bounds as band, Ostrowski's as lines; logarithmic."""
        alt = import_extra("altair", what="A figure", extra="book")
        floor = max(self.rounding, 1e-300)
        rows = self.rows.clip(lower=floor)
        note = f"{self.num_factors} factors; band: Horn's bounds, lines: Ostrowski's; cut at rounding, {floor:.1e}"
        base = alt.Chart(rows, width=460, height=300).encode(
            x=alt.X("k:Q", title="Index k", axis=alt.Axis(tickMinStep=1, format="d"))
        )
        axis = alt.Axis(format="~e", tickCount=6)
        y = alt.Y("horn_low:Q", title="Singular value σ_k", scale=alt.Scale(type="log"), axis=axis)
        band = base.mark_area(color=PALETTE[5], opacity=0.25).encode(y=y, y2="horn_high:Q")
        edges = [
            base.mark_line(color=PALETTE[1], strokeDash=[4, 3], strokeWidth=1).encode(y=f"ostrowski_{end}:Q")
            for end in ("low", "high")
        ]
        points = base.mark_point(color=PALETTE[0], filled=True, opacity=1).encode(y="singular_value:Q")
        heading = alt.TitleParams(title, subtitle=note, anchor="start")
        return alt.layer(band, *edges, points).properties(title=heading)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: what is infinite is None."""
        return {
            "rows": _plain(self.rows),
            "num_factors": self.num_factors,
            "condition_number": _finite(self.condition_number),
            "condition_bound": _finite(self.condition_bound),
            "rounding": self.rounding,
            "holds": self.holds,
        }


def product_bounds(*factors: Float[ArrayLike, "row column"]) -> ProductBounds:
    """Bounds on the singular values of a product A₁A₂⋯A_L from those of its factors, beside its own.

    In float64. A singular value of the product that is smaller than eps·∏σ₁(A_i) is lost to rounding: see `rounding`.
    Raises InvalidInput for fewer than one factor, factors that are no finite matrices, and sizes that do not fit.
    """
    matrices = [_matrix(index, factor) for index, factor in enumerate(factors)]
    if not matrices:
        raise InvalidInput("product_bounds", "needs at least one matrix", ())
    for index, (left, right) in enumerate(itertools.pairwise(matrices)):
        if left.shape[1] != right.shape[0]:
            rule = f"needs as many columns in factor {index} as rows in factor {index + 1}"
            raise InvalidInput("product_bounds", rule, (left.shape, right.shape))
    with np.errstate(over="ignore", invalid="ignore"):
        product = reduce(np.matmul, matrices)
    if not np.isfinite(product).all():
        rule = "needs a product that float64 can hold; scale the factors"
        raise InvalidInput("product_bounds", rule, "infinity")
    size = min(product.shape)
    spectra = [np.linalg.svd(m, compute_uv=False) for m in matrices]
    low, high, inner = spectra[0], spectra[0], [m.shape[0] for m in matrices]
    length = max(max(m.shape) for m in matrices)
    for spectrum, p in zip(spectra[1:], inner[1:], strict=True):
        low, high = _horn_low(low, spectrum, p, length), _horn_high(high, spectrum, length)
    measured = np.linalg.svd(product, compute_uv=False)
    ostrowski_low, ostrowski_high = _ostrowski(matrices, spectra, size)
    with np.errstate(divide="ignore"):
        logs = np.log10([_padded(s, size) for s in spectra]).sum(axis=0)
        rows = pd.DataFrame(
            {
                "k": np.arange(1, size + 1),
                "singular_value": measured,
                "horn_low": _padded(low, size),
                "horn_high": _padded(high, size),
                "ostrowski_low": ostrowski_low,
                "ostrowski_high": ostrowski_high,
                "log10_product": np.cumsum(np.log10(measured)),
                "log10_horn_product": np.cumsum(logs),
            }
        )
        if product.shape[0] == product.shape[1]:
            sizes = np.sort(np.abs(np.linalg.eigvals(product)))[::-1]
            rows["eigenvalue_size"], rows["log10_weyl"] = sizes, np.cumsum(np.log10(sizes))
    rounding = float(np.finfo(float).eps * length * len(matrices) * math.prod(float(s[0]) for s in spectra))
    conditions = [_condition(s) for s in spectra]
    return ProductBounds(rows, len(matrices), _condition(measured), math.prod(conditions), rounding)


def gaussian_edge(num_factors: int) -> float:
    """(L+1)^(L+1)/L^L: where the largest squared singular value of a product of L wide matrices goes.

    For square matrices with independent entries of mean 0 and variance 1/n, n to infinity (Penson and Życzkowski
    2011). 4 for one factor, 6.75 for two. Raises InvalidInput unless num_factors is at least 1.
    """
    if isinstance(num_factors, bool) or not isinstance(num_factors, int) or num_factors < 1:
        raise InvalidInput("gaussian_edge.num_factors", "must be a whole number of at least 1", num_factors)
    return (num_factors + 1) * (1 + 1 / num_factors) ** num_factors


@dataclass(frozen=True)
class JacobianSpectrum:
    """Singular values of the Jacobian of each layer's output by the model's input.

    `rows`: a row for each layer and example: depth (from 1), layer (its name), example, rank_full (number of singular
    values), largest, median, smallest, mean_square (of all of them), condition_number. `left_out`: layers of which the
    Jacobian has more than JACOBIAN_ENTRIES entries.
    """

    rows: pd.DataFrame
    left_out: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """A row for each layer: medians over the examples, and how many these are."""
        figures = ["rank_full", "largest", "median", "smallest", "mean_square", "condition_number"]
        groups = self.rows.groupby(["depth", "layer"], sort=False)
        return groups[figures].median().assign(num_examples=groups.size()).reset_index()

    def plot(self, *, title: str = "Singular values of the input-output Jacobian") -> altair.LayerChart:
        """Largest, median and smallest over depth: a point an example, a line through the medians; logarithmic."""
        alt = import_extra("altair", what="A figure", extra="book")
        names = ["largest", "median", "smallest"]
        keep = ["depth", "layer", "example"]
        rows = self.rows.melt(keep, names, "value", "singular_value")
        rows = rows[rows["singular_value"] > 0]
        colour = alt.Color("value:N", title=None, scale=alt.Scale(domain=names, range=list(PALETTE[:3])))
        base = alt.Chart(rows, width=460, height=300).encode(
            x=alt.X("depth:Q", title="Depth (layers passed)", axis=alt.Axis(tickMinStep=1, format="d")),
            color=colour,
        )
        scale, axis = alt.Scale(type="log"), alt.Axis(format="~e", tickCount=6)
        y_title = "Singular value (output per input)"
        points = base.mark_point(filled=True, opacity=0.35, size=20)
        points = points.encode(y=alt.Y("singular_value:Q", title=y_title, scale=scale, axis=axis))
        lines = base.mark_line().encode(y="median(singular_value):Q")
        count = self.rows["example"].nunique()
        note = f"point: one of {count} examples; line: median. Values of exactly 0 are left out"
        heading = alt.TitleParams(title, subtitle=note, anchor="start")
        return alt.layer(lines, points).properties(title=heading)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {"rows": _plain(self.rows), "left_out": list(self.left_out)}


def jacobian_spectrum(
    model: nn.Module, inputs: Float[Tensor, "batch ..."], *, layers: list[str] | None = None
) -> JacobianSpectrum:
    """Singular values of the input-output Jacobian after each layer, an example at a time.

    Arguments:
      inputs: a batch of real numbers, examples first; a few examples are enough.
      layers: names of submodules as `named_modules()` gives them; by default every module without children that is
        called once and returns a tensor (of a tuple, as of an LSTM, the first).

    The model is evaluated as it stands (its mode included) and left as it was. Raises InvalidInput for inputs that
    are not real, finite and non-empty or do not fit, for a Jacobian of more than JACOBIAN_ENTRIES entries (of a layer
    that was named, or of all), and where there is no layer; UnknownName for a name that is not a submodule.
    """
    if inputs.numel() == 0 or not inputs.is_floating_point() or not inputs.isfinite().all():
        got = f"{tuple(inputs.shape)} {inputs.dtype}"
        raise InvalidInput("jacobian_spectrum.inputs", "must be finite real numbers, at least one", got)
    modules = dict(model.named_modules())
    for name in layers or ():
        if name not in modules:
            raise UnknownName("jacobian_spectrum.layers", name, [n for n in modules if n])
    watched = {
        modules[name]: name
        for name in (layers if layers is not None else modules)
        if layers is not None or not list(modules[name].children())
    }
    rows = []
    large: dict[str, str] = {}
    for example in range(len(inputs)):
        x = inputs[example : example + 1].detach().clone().requires_grad_()
        outputs = _outputs(model, x, watched)
        if not outputs:
            rule = "needs a submodule that is called once and depends on the input"
            raise InvalidInput("jacobian_spectrum", rule, type(model).__name__)
        for depth, (name, output) in enumerate(outputs, 1):
            if output.numel() * x.numel() > JACOBIAN_ENTRIES:
                large[name] = f"{output.numel():,} outputs by {x.numel():,} inputs at {name!r}"
                continue
            values = torch.linalg.svdvals(_jacobian(output, x).double()).cpu().numpy()
            row = {"depth": depth, "layer": name, "example": example, "rank_full": len(values)}
            row |= {"largest": values[0], "median": float(np.median(values)), "smallest": values[-1]}
            row |= {"mean_square": float(np.mean(values**2)), "condition_number": _condition(values)}
            rows.append(row)
        if large and (layers is not None or not rows):
            rule = f"needs at most {JACOBIAN_ENTRIES:,} Jacobian entries at a layer"
            raise InvalidInput("jacobian_spectrum", rule, next(iter(large.values())), "Give smaller inputs")
    return JacobianSpectrum(pd.DataFrame(rows), tuple(large))


def _outputs(model: nn.Module, x: Tensor, watched: dict[nn.Module, str]) -> list[tuple[str, Tensor]]:
    """What the watched modules return, in the order of their calls."""
    seen: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        value = output[0] if isinstance(output, tuple) else output
        if isinstance(value, Tensor) and value.requires_grad:
            # A copy: ReLU(inplace=True) may write over what came before.
            seen.append((module, value.clone()))

    refuse_scripts(model)
    hooks = [module.register_forward_hook(keep) for module in watched]
    # Copies of parameters and buffers: nothing of the model's own is touched.
    state = {k: v.detach().clone() for k, v in (*model.named_parameters(), *model.named_buffers())}
    try:
        with torch.enable_grad(), model_failures(model):
            torch.func.functional_call(model, state, (x.clone(),))  # no leaf: it may be written over
    finally:
        for hook in hooks:
            hook.remove()
    calls = Counter(module for module, _ in seen)
    return [(watched[module], output) for module, output in seen if calls[module] == 1]


def _jacobian(output: Tensor, x: Tensor) -> Float[Tensor, "output input"]:
    flat = output.reshape(-1)
    rows = []
    for start in range(0, len(flat), BATCHED):
        units = flat.new_zeros(min(BATCHED, len(flat) - start), len(flat))
        units.diagonal(start).fill_(1)
        try:
            (found,) = torch.autograd.grad(flat, x, units, retain_graph=True, is_grads_batched=True)
        except RuntimeError:  # an operation whose backward takes one gradient at a time
            found = torch.stack([torch.autograd.grad(flat, x, unit, retain_graph=True)[0] for unit in units])
        rows.append(found.reshape(len(units), -1))
    return torch.cat(rows)


def _matrix(index: int, factor: ArrayLike) -> np.ndarray:
    values = factor.detach().cpu().numpy() if isinstance(factor, Tensor) else np.asarray(factor)
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "biuf":
        got = f"shape {values.shape}, {values.dtype}"
        raise InvalidInput(f"product_bounds factor {index}", "must be a real matrix that is not empty", got)
    if not np.isfinite(values).all():
        raise InvalidInput(f"product_bounds factor {index}", "must be finite", "NaN or infinity")
    return values.astype(np.float64)


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([values, np.zeros(max(length - len(values), 0))])[:length]


def _horn_high(a: np.ndarray, b: np.ndarray, length: int) -> np.ndarray:
    """For each k the least σ_i(A) σ_j(B) with i + j - 1 = k."""
    a, b = _padded(a, length), _padded(b, length)
    return np.array([np.min(a[:k] * b[:k][::-1]) for k in range(1, length + 1)])


def _horn_low(a: np.ndarray, b: np.ndarray, p: int, length: int) -> np.ndarray:
    """For each k the greatest σ_i(A) σ_j(B) with i + j - p = k, i and j up to p, the inner size."""
    a, b = _padded(a, p), _padded(b, p)
    return _padded(np.array([np.max(a[k - 1 :] * b[k - 1 :][::-1]) for k in range(1, p + 1)]), length)


def _ostrowski(
    matrices: list[np.ndarray], spectra: list[np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keep one factor's σ_k and let the others stretch by their least or most; the best over the factors."""
    lows, highs = [], []
    for kept, spectrum in enumerate(spectra):
        low = high = 1.0
        for index, (matrix, other) in enumerate(zip(matrices, spectra, strict=True)):
            if index != kept:
                # Left of the kept factor the least stretch of all its columns counts, right of it of all its rows.
                side = matrix.shape[1] if index < kept else matrix.shape[0]
                low, high = low * float(_padded(other, side)[side - 1]), high * float(other[0])
        lows.append(low * _padded(spectrum, size))
        highs.append(high * _padded(spectrum, size))
    return np.max(lows, axis=0), np.min(highs, axis=0)


def _condition(values: np.ndarray) -> float:
    return float(values[0] / values[-1]) if values[-1] > 0 else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(k): None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        for row in rows.to_dict("records")
    ]
