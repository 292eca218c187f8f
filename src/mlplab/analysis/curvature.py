"""Curvature of a model's loss on a batch: Hessian products, the edges of the spectrum, and the trace.

The Hessian H of a loss in P parameters has P² entries, but its product with a vector costs only a small multiple
of a gradient. Everything here is built on that product; H is never formed. Vectors are float64; products are
computed in the model's own precision.

Sources: Pearlmutter 1994, Fast exact multiplication by the Hessian; Lanczos 1950 (by ARPACK, through
`scipy.sparse.linalg.eigsh`); Hutchinson 1989; Meyer, Musco, Musco and Woodruff 2021, Hutch++: optimal stochastic
trace estimation, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from mlplab import stats
from mlplab.analysis.model_copy import refuse_scripts
from mlplab.analysis.model_failure import model_failures
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, UnknownName, import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float

Batch = tuple[Tensor | tuple[Tensor, ...], Tensor]
Loss = Callable[[Any, Tensor], Tensor]
TraceMethod = Literal["hutch++", "hutchinson"]
SMALL = 64  # up to this many parameters the Hessian is formed: Lanczos needs room, and P products are cheap


class LossOnBatch:
    """The loss of a model on one batch as a function of its trainable parameters alone.

    Arguments:
      batch: (inputs, targets); inputs are one tensor, or a tuple of those that the model's `forward` takes.
      loss: (what the model returns, targets) to a scalar, as `torch.nn.functional.cross_entropy` does.

    Buffers are copied for each call, so that BatchNorm's running statistics stay as they were. Raises InvalidInput
    for inputs or a loss that are not finite, no trainable parameter, a batch that the model or the loss does not
    accept, a loss that is no scalar, or one that changes from call to call (dropout in train mode).
    """

    def __init__(self, model: nn.Module, batch: Batch, loss: Loss) -> None:
        refuse_scripts(model)
        self.model, self.loss = model, loss
        self.inputs, self.targets = _checked_batch(batch)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not trained:
            raise InvalidInput("model", "needs a parameter with requires_grad=True", type(model).__name__)
        kinds = {p.dtype for p in trained.values()}
        if len(kinds) > 1 or not next(iter(kinds)).is_floating_point:
            raise InvalidInput("model", "needs real parameters of one precision", sorted(map(str, kinds)))
        self.names, self.parameters = tuple(trained), tuple(p.detach() for p in trained.values())
        self.num_parameters = sum(p.numel() for p in self.parameters)
        with torch.no_grad():
            self.value = float(self(*self.parameters))
            again = float(self(*self.parameters))
        if not np.isfinite(self.value):
            raise InvalidInput("loss", "must be finite on this batch", self.value)
        if abs(self.value - again) > 1e-5 * max(abs(self.value), 1e-30):
            hint = "Dropout draws anew at each call: call model.eval() first"
            raise InvalidInput("model", "must give the same loss twice", (self.value, again), hint)

    def __call__(self, *parameters: Tensor) -> Float[Tensor, ""]:
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        state = buffers | dict(zip(self.names, parameters, strict=True))
        inputs = tuple(x.clone() for x in self.inputs)  # a forward may write over what it is given
        with model_failures(self.model):
            output = torch.func.functional_call(self.model, state, inputs)
            value = self.loss(output, self.targets)
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InvalidInput("loss", "must return a scalar tensor", got, "Use reduction='mean'")
        return value.reshape(())

    def unflatten(self, vector: Float[np.ndarray, "parameter"]) -> tuple[Tensor, ...]:
        """A flat vector as tensors like the parameters."""
        like = self.parameters[0]
        flat = torch.as_tensor(np.ascontiguousarray(vector), dtype=like.dtype, device=like.device)
        pieces = flat.split([p.numel() for p in self.parameters])
        return tuple(v.view_as(p) for v, p in zip(pieces, self.parameters, strict=True))


def hessian(model: nn.Module, batch: Batch, loss: Loss) -> LinearOperator:
    """The Hessian of the loss on this batch as a SciPy operator: float64, symmetric, (parameter, parameter).

    `hessian(...) @ v` is a Hessian-vector product, reverse over reverse: the graph of the gradient is kept, so a
    product costs one pass back through it. Parameters follow one another in the order of `named_parameters()`,
    those without gradient left out. At kinks the derivative is what PyTorch takes there: ReLU has none of second
    order. Raises InvalidInput as `LossOnBatch` does, and names an operation that has no second derivative.
    """
    return _hessian(LossOnBatch(model, batch, loss))


def _hessian(function: LossOnBatch) -> LinearOperator:
    parameters = tuple(p.clone().requires_grad_() for p in function.parameters)
    with twice_differentiable(), torch.enable_grad(), model_failures(function.model):
        value = function(*parameters)
        gradients = named_derivative(torch.autograd.grad)(
            value, parameters, create_graph=True, allow_unused=True, materialize_grads=True
        )
    curved = [i for i, g in enumerate(gradients) if g.requires_grad]  # the others do not change: no curvature

    def product(vector: np.ndarray) -> np.ndarray:
        vectors = function.unflatten(vector.reshape(-1))
        if not curved:
            return np.zeros(function.num_parameters)
        with twice_differentiable(), model_failures(function.model):
            columns = named_derivative(torch.autograd.grad)(
                [gradients[i] for i in curved],
                parameters,
                [vectors[i] for i in curved],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        return torch.cat([c.detach().reshape(-1) for c in columns]).double().cpu().numpy()

    size = function.num_parameters
    return symmetric_operator(size, product)


def symmetric_operator(size: int, product: Callable[[np.ndarray], np.ndarray]) -> LinearOperator:
    """A SciPy operator of float64 from its product with a vector."""
    make: Any = LinearOperator  # its stub knows no constructor by keywords
    return make((size, size), matvec=product, rmatvec=product, dtype=np.dtype(np.float64))


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Plain kernels for attention and recurrent layers: the fused ones have no second derivative."""
    with ExitStack() as stack:
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        onednn: Any = torch.backends.mkldnn.flags  # its stub does not know that None leaves tf32 as it is
        stack.enter_context(onednn(enabled=False, allow_tf32=None))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


def named_derivative(function: Callable[..., Any]) -> Callable[..., Any]:
    """Says which operation has no second derivative, in one line."""

    def named(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (RuntimeError, NotImplementedError) as error:
            if "not implemented" not in str(error) and "does not require grad" not in str(error):
                raise
            line = str(error).strip().splitlines()[0]
            raise InvalidInput("model", "must be twice differentiable by PyTorch", line) from error

    return named


@dataclass(frozen=True)
class Edges:
    """Outermost eigenvalues of a symmetric operator.

    `eigenvalues` rise. `errors`: each lies within its error of a true eigenvalue, the norm of Hv - λv (v of norm 1).
    `vectors`: columns. `num_products` is what it took.
    """

    eigenvalues: Float[np.ndarray, "edge"]
    errors: Float[np.ndarray, "edge"]
    vectors: Float[np.ndarray, "parameter edge"]
    num_products: int


def spectrum_edges(
    operator: LinearOperator,
    k: int = 1,
    *,
    seed: int = 0,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> Edges:
    """The `k` smallest and `k` largest eigenvalues of a symmetric operator, by Lanczos' method with restarts.

    Up to SMALL rows, or where 2k edges are most of the spectrum, the matrix is formed and solved whole.
    Raises InvalidInput for a k that is not in 1..P/2 (1 where P = 1), for products that are not finite, and where
    Lanczos does not converge.
    """
    size = operator.shape[0]
    if not 1 <= k <= max(size // 2, 1):
        raise InvalidInput("spectrum_edges.k", f"must be in 1..{max(size // 2, 1)}", k)
    count = 0

    def product(vector: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        image = np.asarray(operator.matvec(vector)).reshape(-1)
        if not np.isfinite(image).all():
            raise InvalidInput("operator", "must give finite products", "NaN or infinity")
        return image

    start = Stream(seed, "noise").normal(size)
    if size <= max(SMALL, 4 * k):
        matrix = np.stack([product(row) for row in np.eye(size)])
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        ends = sorted({*range(k), *range(size - k, size)})
        values, vectors = values[ends], vectors[:, ends]
    elif not product(start).any():
        # A random vector lies in no null space but the whole one; ARPACK stops at a zero operator.
        values, vectors = np.zeros(2 * k), np.eye(size, 2 * k)
    else:
        counted = symmetric_operator(size, product)
        try:
            solve: Any = eigsh  # its stub asks for a whole number as tolerance
            values, vectors = solve(
                counted, 2 * k, which="BE", v0=start, tol=tolerance, maxiter=max_iterations
            )
        except ArpackNoConvergence as error:
            rule = f"must converge within max_iterations={max_iterations}"
            found = f"{len(error.eigenvalues)} of {2 * k} edges"
            raise InvalidInput("spectrum_edges", rule, found, "Allow more, or a larger tolerance") from error
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
    used = count
    errors = np.array(
        [np.linalg.norm(product(v) - value * v) for value, v in zip(values, vectors.T, strict=True)]
    )
    return Edges(values, errors, vectors, used + len(values))


def trace(
    operator: LinearOperator,
    num_products: int = 60,
    *,
    method: TraceMethod = "hutch++",
    seed: int = 0,
    ci_prob: float = 0.95,
) -> stats.Interval:
    """The trace of a symmetric operator from `num_products` products with random signs, with a t interval.

    `hutch++` spends a third on a sketch of the range, a third on its exact trace, and a third on Hutchinson's
    estimate of the rest, whose spread over probes is what the interval shows; `hutchinson` spends all on the last.
    With at least P products the trace is exact, and the interval a point. Raises InvalidInput for fewer than 6
    products, UnknownName for another method.
    """
    if method not in get_args(TraceMethod):
        raise UnknownName("trace.method", method, get_args(TraceMethod))
    if isinstance(num_products, bool) or not isinstance(num_products, int) or num_products < 6:
        raise InvalidInput("trace.num_products", "must be a whole number of at least 6", num_products)
    size = operator.shape[0]
    if size <= num_products:
        exact = float(np.trace(operator.matmat(np.eye(size))))
        if not np.isfinite(exact):
            raise InvalidInput("operator", "must give finite products", "NaN or infinity")
        return stats.Interval(exact, 0.0, exact, exact, ci_prob, "exact", size)
    rank = num_products // 3 if method == "hutch++" else 0
    signs = np.sign(Stream(seed, "noise", layer=1).normal((size, num_products - rank)))
    basis, known = np.zeros((size, 0)), 0.0
    if rank:
        basis, _ = np.linalg.qr(operator.matmat(signs[:, :rank]))
        known = float(np.sum(basis * operator.matmat(basis)))
    probes = signs[:, rank : num_products - rank]
    probes = probes - basis @ (basis.T @ probes)
    images = operator.matmat(probes)
    samples = np.sum(probes * images, axis=0)
    if not np.isfinite(samples).all() or not np.isfinite(known):
        raise InvalidInput("operator", "must give finite products", "NaN or infinity")
    if np.abs(images - basis @ (basis.T @ images)).max(initial=0.0) <= 1e-12 * np.abs(known):
        # What the sketch left out is zero: the rank is at most that of the sketch, and nothing is estimated.
        return stats.Interval(known, 0.0, known, known, ci_prob, "exact", samples.size)
    return stats.mean_interval(samples + known, ci_prob=ci_prob)


@dataclass(frozen=True)
class Curvature:
    """What the Hessian of a loss on a batch looks like. `loss` in the loss's unit, the rest per squared parameter.

    `largest_stable_rate` is 2/λmax: plain gradient descent with a larger rate leaves the minimum of the quadratic
    that fits here. None where no eigenvalue is positive.
    """

    loss: float
    gradient_norm: float
    num_parameters: int
    edges: Edges
    trace: stats.Interval

    @property
    def largest_stable_rate(self) -> float | None:
        top = float(self.edges.eigenvalues[-1])
        return 2 / top if top > 0 else None

    def table(self) -> pd.DataFrame:
        """A row for each figure: quantity, value, low, high. An edge lies between low and high, the trace likewise."""
        rows: list[dict[str, Any]] = [
            {"quantity": "loss", "value": self.loss},
            {"quantity": "gradient norm", "value": self.gradient_norm},
        ]
        half = (len(self.edges.eigenvalues) + 1) // 2
        for i, (value, error) in enumerate(zip(self.edges.eigenvalues, self.edges.errors, strict=True)):
            end, place = ("smallest", i + 1) if i < half else ("largest", len(self.edges.eigenvalues) - i)
            name = f"{end} eigenvalue" if place == 1 else f"{end} eigenvalue, number {place}"
            rows.append({"quantity": name, "value": value, "low": value - error, "high": value + error})
        t = self.trace
        rows.append({"quantity": "trace", "value": t.estimate, "low": t.ci_low, "high": t.ci_high})
        mean = [None if v is None else v / self.num_parameters for v in (t.estimate, t.ci_low, t.ci_high)]
        rows.append({"quantity": "mean eigenvalue", "value": mean[0], "low": mean[1], "high": mean[2]})
        rows.append({"quantity": "largest stable rate 2/λmax", "value": self.largest_stable_rate})
        table = pd.DataFrame(rows, columns=["quantity", "value", "low", "high"])
        return table.astype(dict.fromkeys(("value", "low", "high"), "float64"))

    def plot(self, *, title: str = "Edges of the Hessian's spectrum") -> altair.LayerChart:
        """The edges and the mean eigenvalue on one axis."""
        alt = import_extra("altair", what="A figure", extra="book")
        table = self.table()
        rows = table[table["quantity"].str.contains("eigenvalue")].copy()
        y = alt.Y("quantity:N", sort=list(rows["quantity"]), title=None, axis=alt.Axis(labelLimit=320))
        note = f"P = {self.num_parameters:,} parameters; trace: {100 * self.trace.ci_prob:.3g}% interval"
        base = alt.Chart(rows, width=420, height=alt.Step(26)).encode(y=y)
        base = base.properties(title=alt.TitleParams(title, subtitle=note, anchor="start"))
        x = alt.X("value:Q", title="Eigenvalue (loss per squared parameter)")
        zero = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(color="#8a8a8a", strokeDash=[2, 2])
        lines = base.mark_rule(color=PALETTE[0], strokeWidth=2).encode(x="low:Q", x2="high:Q")
        points = base.mark_point(color=PALETTE[0], filled=True, size=60, opacity=1).encode(x=x)
        return alt.layer(zero.encode(x="at:Q"), lines.transform_filter("isValid(datum.low)"), points)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; eigenvectors are left out."""
        return {
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "num_parameters": self.num_parameters,
            "eigenvalues": self.edges.eigenvalues.tolist(),
            "errors": self.edges.errors.tolist(),
            "trace": asdict(self.trace),
            "largest_stable_rate": self.largest_stable_rate,
        }


def curvature(
    model: nn.Module, batch: Batch, loss: Loss, *, k: int = 1, num_products: int = 60, seed: int = 0
) -> Curvature:
    """Edges of the spectrum (k at each end) and trace of the Hessian of a model's loss on a batch.

    `num_products` are spent on the trace; Lanczos takes what it needs. Raises InvalidInput as `LossOnBatch`,
    `spectrum_edges` and `trace` do.
    """
    function = LossOnBatch(model, batch, loss)
    operator = _hessian(function)
    gradients = gradient(function)
    norm = float(torch.sqrt(sum((g.double() ** 2).sum() for g in gradients)))  # type: ignore[arg-type]
    edges = spectrum_edges(operator, k, seed=seed)
    return Curvature(
        function.value, norm, function.num_parameters, edges, trace(operator, num_products, seed=seed)
    )


def gradient(function: LossOnBatch) -> tuple[Tensor, ...]:
    """The gradient of the loss, a tensor for each parameter; zeros for one that the loss does not touch."""
    parameters = tuple(p.clone().requires_grad_() for p in function.parameters)
    with torch.enable_grad(), model_failures(function.model):
        return torch.autograd.grad(
            function(*parameters), parameters, allow_unused=True, materialize_grads=True
        )


def _checked_batch(batch: Batch) -> tuple[tuple[Tensor, ...], Tensor]:
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise InvalidInput("batch", "must be (inputs, targets)", type(batch).__name__)
    inputs = batch[0] if isinstance(batch[0], tuple | list) else (batch[0],)
    for name, values in [*(("inputs", x) for x in inputs), ("targets", batch[1])]:
        if not isinstance(values, Tensor):
            raise InvalidInput(f"batch {name}", "must be tensors", type(values).__name__)
        if values.numel() == 0:
            raise InvalidInput(f"batch {name}", "must not be empty", tuple(values.shape))
        if values.is_floating_point() and not values.isfinite().all():
            bad = int((~values.isfinite()).sum())
            raise InvalidInput(f"batch {name}", "must be finite", f"{bad} values that are NaN or infinite")
    return tuple(inputs), batch[1]
