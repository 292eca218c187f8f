"""4.7.4 Second derivatives: what becomes of the graph, and how long do they take?"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mlplab.analysis.curvature import LossOnBatch, gradient, hessian
from mlplab.analysis.derivative_cost import forward_over_reverse, reverse_over_reverse
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

WIDTHS = (2, 4, 8, 16, 32)  # hidden units of networks whose whole Hessian is formed
LIMIT = 4  # gradients that a product may cost
SECTION, BATCH = (784, 256, 10), 256  # the section's network with sizes, as an example
REPEATS = 100
STEP = 1e-5  # of differences, in the unit of a parameter
Product = Callable[[LossOnBatch, tuple[Tensor, ...]], tuple[Tensor, ...]]


def observe(lab: Lab) -> Observations:
    """Seconds of a gradient and of a Hessian-vector product of the section's network, in float32 on this machine."""
    net, (x, y) = problem(SECTION, BATCH)
    function = LossOnBatch(net.float(), (x.float(), y), nn.functional.cross_entropy)
    vector = tuple(torch.ones_like(p) for p in function.parameters)
    jobs = {"gradient": lambda: gradient(function), "product": lambda: reverse_over_reverse(function, vector)}
    rows = [{"job": job, "seconds": float(f"{seconds(run):.3g}")} for job, run in jobs.items()]
    return lab.observations(times=pd.DataFrame(rows))


def seconds(job: Callable[[], Any]) -> float:
    """The least of some repeats, after one that warms up: what else runs on the machine only adds."""
    job()
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        job()
        found.append(time.perf_counter() - start)
    return min(found)


def problem(sizes: tuple[int, ...], num_examples: int, *, seed: int = 0) -> tuple[nn.Module, Any]:
    """A tanh network of these sizes with weights from N(0, 1/inputs), and a random batch; float64."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(inputs, outputs, dtype=torch.float64)
        stream = Stream(seed, "init", layer=number)
        for tensor in linear.parameters():
            tensor.data = torch.from_numpy(stream.normal(tuple(tensor.shape))) / inputs**0.5
        layers += [linear, nn.Tanh()]
    stream = Stream(seed, "data")
    x = torch.from_numpy(stream.normal((num_examples, sizes[0])))
    y = torch.from_numpy(stream.normal((num_examples, sizes[-1]))).argmax(1)
    return nn.Sequential(*layers[:-1]), (x, y)


@cache
def function_of(sizes: tuple[int, ...], num_examples: int) -> LossOnBatch:
    """Cross-entropy on the batch as a function of the parameters."""
    return LossOnBatch(*problem(sizes, num_examples), nn.functional.cross_entropy)


def flop(job: Callable[[], Any]) -> int:
    """Floating-point operations of all matrix products that PyTorch runs, counted, not timed."""
    with FlopCounterMode(display=False) as counter:
        job()
    return counter.get_total_flops()


def random_vector(function: LossOnBatch, seed: int = 0) -> tuple[Tensor, ...]:
    """Of N(0, 1), in the shape of the parameters."""
    return function.unflatten(Stream(seed, "noise").normal(function.num_parameters))


def flat(pieces: tuple[Tensor, ...]) -> np.ndarray:
    """One vector of all parameters."""
    return torch.cat([piece.detach().reshape(-1) for piece in pieces]).numpy()


def gradient_at(function: LossOnBatch, shift: tuple[Tensor, ...], times: float) -> tuple[Tensor, ...]:
    """The gradient at parameters + times · shift."""
    at = [(p + times * s).requires_grad_() for p, s in zip(function.parameters, shift, strict=True)]
    return torch.autograd.grad(function(*at), at)


def by_differences(function: LossOnBatch, vector: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hv from six gradients around the parameters, an approximation of sixth order."""
    total = [torch.zeros_like(p) for p in function.parameters]
    for times, weight in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60)):
        for sign in (1, -1):
            slopes = gradient_at(function, vector, sign * times * 1e-3)
            total = [t + sign * weight / 1e-3 * s for t, s in zip(total, slopes, strict=True)]
    return tuple(total)


def costs_few_gradients(ways: tuple[Product, ...]) -> Finding:
    """Networks of 1 to 3 hidden layers: is each product right, and does it cost at most 4 gradients' operations?"""
    most, worst = 0.0, 0.0
    for sizes in ((8, 16, 3), (20, 64, 64, 10), (784, 256, 10), (16, 32, 32, 32, 4)):
        function = function_of(sizes, 64)
        v = random_vector(function)
        up, down = (flat(gradient_at(function, v, sign * STEP)) for sign in (1, -1))
        expected = (up - down) / (2 * STEP)
        for way in ways:
            error = np.abs(flat(way(function, v)) - expected).max() / np.abs(expected).max()
            worst = max(worst, float(error))
            ratio = flop(lambda f=function, v=v, way=way: way(f, v)) / flop(lambda f=function: gradient(f))
            most = max(most, ratio)
    return Finding.true_if(most <= LIMIT and worst < 1e-6, ratio=most, worst_error=worst, limit=LIMIT)


def loss_of_vector(function: LossOnBatch) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The loss as a function of one vector, and the vector where it stands."""
    sizes = [p.numel() for p in function.parameters]

    def loss(vector: Tensor) -> Tensor:
        pieces = vector.split(sizes)
        return function(*(v.view_as(p) for v, p in zip(pieces, function.parameters, strict=True)))

    return loss, torch.from_numpy(flat(function.parameters))


def whole_hessian(function: LossOnBatch) -> Any:
    """PyTorch's own, P x P."""
    return torch.autograd.functional.hessian(*loss_of_vector(function))


@cache
def costs() -> pd.DataFrame:
    """width -> parameters, and the operations of a gradient, of a product and of the whole Hessian."""
    rows = []
    for width in WIDTHS:
        function = function_of((8, width, 3), 16)
        v = random_vector(function)
        rows.append(
            {
                "width": width,
                "parameters": function.num_parameters,
                "gradient": flop(lambda f=function: gradient(f)),
                "product": flop(lambda f=function, v=v: reverse_over_reverse(f, v)),
                "hessian": flop(lambda f=function: whole_hessian(f)),
            }
        )
    return pd.DataFrame(rows)


def grows_like_parameters(column: str) -> Finding:
    """Operations, in gradients, against P on double logarithmic axes: is the slope 1?"""
    table = costs()
    ratio = table[column] / table["gradient"]
    slope = float(np.polyfit(np.log(table["parameters"]), np.log(ratio), 1)[0])
    share = ratio / table["parameters"]
    numbers = {"slope": slope, "least": float(share.min()), "most": float(share.max())}
    return Finding.true_if(abs(slope - 1) < 0.1, f"slope {slope:.3f}", **numbers)


def is_hessian(matrix_of: Callable[[LossOnBatch], np.ndarray]) -> Finding:
    """Small networks: is it P x P, symmetric, and each row what moving one parameter does to the gradient?"""
    worst = asymmetry = 0.0
    for seed in range(5):
        function = LossOnBatch(*problem((4, 5, 3), 16, seed=seed), nn.functional.cross_entropy)
        matrix = matrix_of(function)
        size = function.num_parameters
        rows = np.empty((size, size))
        for number, unit in enumerate(np.eye(size)):
            up, down = (flat(gradient_at(function, function.unflatten(unit), s * STEP)) for s in (1, -1))
            rows[number] = (up - down) / (2 * STEP)
        worst = max(worst, float(np.abs(matrix - rows).max() / np.abs(rows).max()))
        asymmetry = max(asymmetry, float(np.abs(matrix - matrix.T).max()))
    return Finding.true_if(worst < 1e-7 and asymmetry < 1e-12, worst_error=worst, asymmetry=asymmetry)


def by_products(function: LossOnBatch) -> np.ndarray:
    """The Hessian, row by row: one product with each unit vector."""
    operator = hessian(function.model, (function.inputs, function.targets), function.loss)
    return np.stack([operator.matvec(unit) for unit in np.eye(function.num_parameters)])


def layer_by_layer(function: LossOnBatch) -> np.ndarray:
    """Without the entries that couple two tensors of parameters."""
    kind = np.repeat(np.arange(len(function.parameters)), [p.numel() for p in function.parameters])
    return by_products(function) * (kind[:, None] == kind)


def is_the_trace(vectors: np.ndarray) -> Finding:
    """Is the mean of vᵀHv over these vectors the trace of H, on a network of 12 parameters?"""
    function = LossOnBatch(*problem((2, 2, 2), 16), nn.functional.cross_entropy)
    matrix = by_products(function)
    size = function.num_parameters
    operator = hessian(function.model, (function.inputs, function.targets), function.loss)
    mean = float(np.mean([v[:size] @ operator.matvec(v[:size]) for v in vectors]))
    error = abs(mean - float(np.trace(matrix)))
    return Finding.true_if(error < 1e-10, f"{error:.2g} apart", error=error, vectors=len(vectors))


def all_signs(first: int = -1) -> np.ndarray:
    """Every vector of twelve entries that are 1 or `first`."""
    return np.array(list(itertools.product((first, 1), repeat=12)), dtype=float)


def graph_size(root: Tensor | tuple[Tensor, ...]) -> int:
    """Nodes of autograd's graph from which this was computed."""
    tensors = root if isinstance(root, tuple) else (root,)
    seen: set[Any] = set()
    ahead = [t.grad_fn for t in tensors if t.grad_fn is not None]
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead += [following for following, _ in node.next_functions if following is not None]
    return len(seen)


def has_larger_graph(create_graph: bool) -> Finding:
    """A network of 784, 256, 10: has the gradient a graph, and more nodes in it than the loss?"""
    function = function_of((784, 256, 10), 64)
    parameters = [p.clone().requires_grad_() for p in function.parameters]
    loss = function(*parameters)
    slopes = torch.autograd.grad(loss, parameters, create_graph=create_graph)
    before, after = graph_size(loss), graph_size(slopes)
    return Finding.true_if(after > before, f"{before} nodes, then {after}", before=before, after=after)


def facts(observations: Observations) -> dict[str, Any]:
    """The network of the section: parameters, what its Hessian would take in float32, what products cost."""
    function = function_of((784, 256, 10), 64)
    v, once = random_vector(function), flop(lambda: gradient(function))
    size = function.num_parameters
    times = dict(zip(observations["times"]["job"], observations["times"]["seconds"], strict=True))
    return {
        "parameters": size,
        "gigabytes": 4 * size**2 / 1e9,
        "reverse": flop(lambda: reverse_over_reverse(function, v)) / once,
        "forward": flop(lambda: forward_over_reverse(function, v)) / once,
        "limit": LIMIT,
        "sizes": "-".join(map(str, SECTION)),
        "batch": BATCH,
        "milliseconds": {job: 1000 * seconds for job, seconds in times.items()},
        "hessian_minutes": size * times["product"] / 60,
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Operations in units of one gradient."""
    rows = [
        [
            str(row["width"]), str(row["parameters"]), f"{row['gradient']:,}",
            show.number(row["product"] / row["gradient"]), show.number(row["hessian"] / row["gradient"]),
            show.number(row["hessian"] / row["gradient"] / row["parameters"]),
        ]
        for row in costs().to_dict("records")
    ]  # fmt: skip
    columns = (
        words["heads.hidden-units"], words["heads.p"], words["heads.operations-gradient"],
        words["heads.one-product-gradient"], words["heads.hessian-gradient"],
        words["heads.operations-per-parameter"],
    )  # fmt: skip
    return [Table(words["titles.counted-operations"], columns, rows)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """What a product and the whole Hessian cost against the number of parameters."""
    alt = import_extra("altair", what="A figure", extra="book")
    names = {
        "hessian": words["labels.whole-hessian"],
        "product": words["labels.one-hessian-vector-product"],
        "twice": words["labels.notes-twice-gradient"],
    }
    table = costs().assign(twice=lambda t: 2 * t["gradient"])
    rows = pd.DataFrame(
        [
            {"parameters": row["parameters"], "ratio": row[key] / row["gradient"], "what": name}
            for row in table.to_dict("records")
            for key, name in names.items()
        ]
    )
    colour = alt.Color(
        "what:N",
        sort=list(names.values()),
        scale=plots.colour_scale(alt, list(names.values())),
        title=None,
        legend=alt.Legend(orient="bottom", labelLimit=260),
    )
    base = alt.Chart(rows, width=420, height=280).encode(
        x=alt.X(
            "parameters:Q",
            scale=alt.Scale(type="log", domain=[20, 500]),
            title=words["titles.parameters-p"],
        ),
        y=alt.Y(
            "ratio:Q",
            scale=alt.Scale(type="log"),
            title=words["titles.operations-in-gradients"],
        ),
        color=colour,
    )
    title = words["labels.second-derivatives-in-gradients"]
    return (base.mark_line() + base.mark_point(filled=True, size=60)).properties(title=title)


def expected(seen: Observations) -> dict[str, tuple[float, float]]:
    """Rows of a Hessian cost a few gradients each, whatever P is: the slope against P is 1, to the claim's tenth."""
    return {"slope": (0.9, 1.1), "dearest_row": (0, LIMIT)}


ANSWER = Answer(
    observe=observe,
    takes=(),
    claims=(
        Claim(
            name="the-gradient-has-a-graph-too",
            kind="calculation",
            check=has_larger_graph,
            subject=lambda o: True,
            falsehood=lambda o: False,  # an ordinary backward leaves none
        ),
        Claim(
            name="a-product-is-a-few-gradients",
            kind="calculation",
            check=costs_few_gradients,
            subject=lambda o: (reverse_over_reverse, forward_over_reverse),
            falsehood=lambda o: (by_differences,),
        ),
        Claim(
            name="the-hessian-takes-p-products",
            kind="calculation",
            check=grows_like_parameters,
            subject=lambda o: "hessian",
            falsehood=lambda o: "product",  # a fixed number of gradients, as the notes expect
        ),
        Claim(
            name="the-products-make-the-hessian",
            kind="property",
            check=is_hessian,
            subject=lambda o: by_products,
            falsehood=lambda o: layer_by_layer,
        ),
        Claim(
            name="signs-give-the-trace",
            kind="calculation",
            check=is_the_trace,
            subject=lambda o: all_signs(),
            falsehood=lambda o: all_signs(0),  # random units switched on and off: their entries correlate
        ),
    ),
    circulated=(
        Circulated(
            "graph-first-derivative-must-be",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-gradient-has-a-graph-too",
        ),
        Circulated(
            "it-should-take-about-twice",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="the-hessian-takes-p-products",
        ),
        *(
            Circulated(
                name,
                {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
                by="the-gradient-has-a-graph-too",
                source=source,
            )
            for name, source in (
                ("a-graph-of-the-first-derivative", "datawhale"),
                ("a-deeper-graph", "pandalabme"),
            )
        ),
        *(
            Circulated(
                name,
                {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
                by="the-hessian-takes-p-products",
                source=source,
            )
            for name, source in (
                ("twice-the-first-derivative", "datawhale"),
                ("exponential-in-the-parameters", "pandalabme"),
            )
        ),
    ),
    figure=figure,
    tables=tables,
    facts=facts,
    expected=expected,
)
