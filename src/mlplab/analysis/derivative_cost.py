"""What first and second derivatives of a loss cost on a model and a batch, in time and memory, measured side by side.

Source: Pearlmutter 1994, Fast exact multiplication by the Hessian.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mlplab.analysis.allocator import peak_bytes
from mlplab.analysis.curvature import (
    Batch,
    Loss,
    LossOnBatch,
    gradient,
    named_derivative,
    twice_differentiable,
)
from mlplab.analysis.model_failure import model_failures
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float

FORMED = (
    100  # up to this many parameters the whole Hessian is formed and timed; beyond, P products are reckoned
)


@dataclass(frozen=True)
class DerivativeCost:
    """Time and memory of a loss, its gradient and its second derivatives, measured side by side on one batch.

    `rows`: a row for each computation: computation, how ("measured", "predicted" or why not), seconds (median over
    rounds), peak_bytes (allocated beyond what was there before), time_ratio and memory_ratio to the gradient's, with
    time_ratio_low and _high, the quartiles of the ratio over rounds. Every round times all, one after the other.
    """

    rows: pd.DataFrame
    num_parameters: int
    num_rounds: int

    def table(self) -> pd.DataFrame:
        """A row for each computation."""
        return self.rows.copy()

    def plot(self, *, title: str = "Cost of first and second derivatives") -> altair.HConcatChart:
        """Time and memory relative to the gradient, logarithmic."""
        alt = import_extra("altair", what="A figure", extra="book")
        charts = []
        for name, x_title in (
            ("time_ratio", "Time (gradient = 1)"),
            ("memory_ratio", "Memory (gradient = 1)"),
        ):
            rows = self.rows[self.rows[name] > 0]
            axis = alt.Axis(labelLimit=320) if name == "time_ratio" else None
            y = alt.Y("computation:N", sort=list(self.rows["computation"]), title=None, axis=axis)
            x = alt.X(f"{name}:Q", title=x_title, scale=alt.Scale(type="log"))
            domain = ["measured", "predicted"]
            colour = alt.Color(
                "how:N", title=None, scale=alt.Scale(domain=domain, range=[PALETTE[0], PALETTE[1]])
            )
            chart = alt.Chart(rows, width=170, height=alt.Step(26)).encode(x=x, y=y, color=colour)
            charts.append(chart.mark_point(filled=True, size=70, opacity=1))
        note = f"P = {self.num_parameters:,} parameters; medians of {self.num_rounds} rounds"
        heading = alt.TitleParams(title, subtitle=note, anchor="start")
        return alt.hconcat(*charts).properties(title=heading)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        rows = self.rows.astype(object).where(self.rows.notna(), None).to_dict("records")
        return {"rows": rows, "num_parameters": self.num_parameters, "num_rounds": self.num_rounds}


def derivative_cost(model: nn.Module, batch: Batch, loss: Loss, *, num_rounds: int = 10) -> DerivativeCost:
    """Measure what a gradient, a Hessian-vector product and the whole Hessian cost on this model and batch.

    Two products are measured: reverse over reverse (the gradient of gradient·v) and forward over reverse (a forward
    derivative of the gradient), each from nothing, as an optimiser calls it. The whole Hessian is P products, one a
    row, and P² numbers; beyond FORMED parameters both are reckoned, not measured. The peak is what is asked of the
    allocator. Raises InvalidInput as `LossOnBatch` and for fewer than 3 rounds.
    """
    if isinstance(num_rounds, bool) or not isinstance(num_rounds, int) or num_rounds < 3:
        raise InvalidInput("derivative_cost.num_rounds", "must be a whole number of at least 3", num_rounds)
    function = LossOnBatch(model, batch, loss)
    size = function.num_parameters
    vector = function.unflatten(np.sign(Stream(0, "noise").normal(size)))
    jobs: dict[str, Callable[[], Any]] = {
        "loss": lambda: function(*function.parameters).item(),
        "gradient": lambda: gradient(function),
        "Hessian-vector product, reverse over reverse": lambda: reverse_over_reverse(function, vector),
        "Hessian-vector product, forward over reverse": lambda: forward_over_reverse(function, vector),
    }
    whole = f"Hessian, {size:,} products"
    if size <= FORMED:
        jobs[whole] = lambda: torch.stack(
            [_flat(reverse_over_reverse(function, v)) for v in _units(function)]
        )
    device, how = function.parameters[0].device, {}
    for name, job in list(jobs.items()):
        try:
            job()  # once before the clock runs
            how[name] = "measured"
        except (RuntimeError, NotImplementedError, InvalidInput) as error:
            if name == "gradient":
                raise  # all others are told as multiples of it
            how[name] = f"not possible: {str(error).strip().splitlines()[0]}"
            del jobs[name]
    seconds = pd.DataFrame(
        [{name: _seconds(job, device) for name, job in jobs.items()} for _ in range(num_rounds)]
    )
    bytes_ = {name: peak_bytes(job, device) for name, job in jobs.items()}
    ratios = seconds.div(seconds["gradient"], axis=0)
    rows: list[dict[str, Any]] = []
    for name, word in how.items():
        row: dict[str, Any] = {"computation": name, "how": word}
        if name in jobs:
            low, middle, high = np.quantile(ratios[name], [0.25, 0.5, 0.75])
            row |= {"seconds": float(seconds[name].median()), "time_ratio": middle}
            row |= {"time_ratio_low": low, "time_ratio_high": high, "peak_bytes": bytes_[name]}
            row["memory_ratio"] = bytes_[name] / bytes_["gradient"]
        rows.append(row)
    if size > FORMED and how["Hessian-vector product, reverse over reverse"] == "measured":
        product = next(r for r in rows if r["computation"] == "Hessian-vector product, reverse over reverse")
        held = product["peak_bytes"] + size**2 * function.parameters[0].element_size()
        row = {"computation": whole, "how": "predicted", "peak_bytes": held}
        row |= {n: size * product[n] for n in ("seconds", "time_ratio", "time_ratio_low", "time_ratio_high")}
        rows.append(row | {"memory_ratio": held / bytes_["gradient"]})
    names = ["computation", "how", "seconds", "time_ratio", "time_ratio_low", "time_ratio_high"]
    table = pd.DataFrame(rows, columns=[*names, "peak_bytes", "memory_ratio"])
    return DerivativeCost(table.astype(dict.fromkeys(table.columns[2:], "float64")), size, num_rounds)


def _flat(pieces: tuple[Tensor, ...]) -> Float[Tensor, "parameter"]:
    return torch.cat([piece.reshape(-1) for piece in pieces])


def _units(function: LossOnBatch) -> Iterator[tuple[Tensor, ...]]:
    unit = np.zeros(function.num_parameters)
    for i in range(len(unit)):
        unit[i] = 1
        yield function.unflatten(unit)
        unit[i] = 0


def reverse_over_reverse(function: LossOnBatch, vector: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    parameters = tuple(p.detach().requires_grad_() for p in function.parameters)
    options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
    with twice_differentiable(), torch.enable_grad(), model_failures(function.model):
        value = function(*parameters)
        gradients = torch.autograd.grad(value, parameters, create_graph=True, **options)
        pairs = [(g, v) for g, v in zip(gradients, vector, strict=True) if g.requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(p) for p in parameters)
        ends, weights = zip(*pairs, strict=True)
        return named_derivative(torch.autograd.grad)(ends, parameters, weights, **options)


def forward_over_reverse(function: LossOnBatch, vector: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    slopes = torch.func.grad(function, argnums=tuple(range(len(vector))))
    with twice_differentiable(), warnings.catch_warnings(), model_failures(function.model):
        # PyTorch's own: loading its forward derivatives calls a function that it has deprecated.
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
        return torch.func.jvp(slopes, function.parameters, vector)[1]


def _seconds(job: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    job()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
