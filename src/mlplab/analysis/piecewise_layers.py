"""A network read as a list of steps: affine maps, activations made of straight pieces, and sums.

The network is traced with torch.fx, so that any module whose forward is such a list can be read, with skip
connections. Anything else is refused by name. Weights become float64, or fractions equal to them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from torch import fx, nn
from torch.nn import functional as F

from mlplab.analysis.model_copy import copied
from mlplab.analysis.piecewise_activation import Kinked, pieces
from mlplab.analysis.tracing import reason
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from jaxtyping import Shaped

# A sum of n float64 products errs by about sqrt(n) * 1e-16 of the sum of their absolute values, and inherits the
# errors of the layers before. What is smaller than 2^-40 (1e-12) of that sum is rounding, and counts as 0.
TOLERANCE = 2.0**-40
MAX_ENTRIES = 2**27  # of the matrix of one convolution or pooling
MAX_EXACT_ENTRIES = 2**20

_SKIPPED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_BY_BASIS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_HINTS = {
    "Softmax": "Leave it out: the largest logit is the largest probability",
    "LogSoftmax": "Leave it out: the largest logit is the largest probability",
}


@dataclass(frozen=True)
class Affine:
    source: str
    target: str
    weight: Any  # (out, in): dense, or scipy's csr
    bias: Shaped[np.ndarray, "out"]


@dataclass(frozen=True)
class Sum:
    sources: tuple[str, str]
    target: str


Step = Affine | Kinked | Sum


@dataclass(frozen=True)
class Program:
    """Steps in order over named values; `exact` says that all numbers are fractions."""

    steps: tuple[Step, ...]
    source: str
    output: str
    in_features: int
    out_features: int
    exact: bool

    @property
    def tolerance(self) -> float | int:
        return 0 if self.exact else TOLERANCE

    def kinked(self) -> list[Kinked]:
        return [step for step in self.steps if isinstance(step, Kinked)]

    def last_use(self) -> dict[str, int]:
        """Of each value, the last step that reads it."""
        last = {self.output: len(self.steps)}
        for index, step in enumerate(self.steps):
            for source in step.sources if isinstance(step, Sum) else (step.source,):
                last[source] = max(last.get(source, 0), index)
        return last


def as_numbers(values: Any, exact: bool) -> np.ndarray:
    """An array of float64, or of fractions that equal the given numbers."""
    if exact:
        array = np.asarray(values, dtype=object)
        made: Any = np.empty(array.shape, dtype=object)
        made.flat = [Fraction(value) for value in array.flat]
        return made
    return np.asarray(values, dtype=np.float64)


def multiply(weight: Any, values: Shaped[np.ndarray, "row in *rest"]) -> Shaped[np.ndarray, "row out *rest"]:
    """`weight` times `values` over their second axis."""
    moved = np.moveaxis(values, 1, 0)
    product = weight @ moved.reshape(moved.shape[0], -1)
    return np.moveaxis(product.reshape(weight.shape[0], *moved.shape[1:]), 0, 1)


def read(net: nn.Module | Callable, shape: tuple[int, ...], *, exact: bool, owner: str) -> Program:
    """The steps of `net` for one input of this shape (without the batch).

    Raises InvalidInput, naming the module, where the network is not such a list of steps, where sizes do not
    fit, where a module is in training mode and acts differently there, and where a weight is not finite.
    """
    if not isinstance(net, nn.Module) and not callable(net):
        raise InvalidInput(owner, "needs a torch.nn.Module or a function of a tensor", net)
    if isinstance(net, nn.Module) and type(net).__module__.startswith("torch.nn"):
        net = nn.Sequential(net)  # fx looks into the module it is given
    try:
        traced = _traced(net)
    except (Exception, SystemExit) as error:  # whatever the user's forward raises on a symbolic tensor
        raise InvalidInput(owner, "needs a network that torch.fx can trace", reason(error)) from error
    with torch.no_grad():
        return _Reader(traced, shape, exact, owner).program()


class _Proxy(fx.Proxy):
    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _Tracer(fx.Tracer):
    """As torch.fx traces, but for `x += y`: there it is `x = x + y`, and other names of x keep what they had."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def _traced(net: nn.Module | Callable) -> fx.GraphModule:
    tracer = _Tracer()
    graph = tracer.trace(net)
    return fx.GraphModule(tracer.root, graph)


class _Reader:
    """Walks over the traced graph once; keeps the shape of each value."""

    def __init__(self, traced: fx.GraphModule, shape: tuple[int, ...], exact: bool, owner: str) -> None:
        self.traced, self.exact, self.owner, self.input_shape = traced, exact, owner, shape
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.alias: dict[str, str] = {}  # of nodes that change nothing, or the shape only
        self.steps: list[Step] = []

    def program(self) -> Program:
        source = output = ""
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                if source:
                    raise InvalidInput(
                        self.owner, "needs a network with one input", f"a second one, {node.name!r}"
                    )
                source = node.name
                self._keep(node.name, node.name, self.input_shape)
            elif node.op == "call_module":
                self._module(node, self.traced.get_submodule(node.target))
            elif node.op in ("call_function", "call_method"):
                self._call(node)
            elif node.op == "output":
                output = self._value(node.args[0], "output")
            else:
                self._refuse(node.op, node.name)
        sizes = int(np.prod(self.input_shape)), int(np.prod(self.shapes[output]))
        return Program(tuple(self.steps), source, output, *sizes, self.exact)

    def _keep(self, name: str, value: str, shape: tuple[int, ...]) -> None:
        self.alias[name] = value
        # A value may be known by several names, each with a shape of its own.
        self.shapes[name] = shape
        self.shapes.setdefault(value, shape)

    def _value(self, node: Any, owner: str) -> str:
        if not isinstance(node, fx.Node) or node.name not in self.alias:
            self._refuse(f"{owner} of something else than one tensor", str(node))
        return self.alias[node.name]

    def _refuse(self, kind: str, where: str) -> None:
        rule = "needs a network of affine layers and piecewise linear activations"
        raise InvalidInput(self.owner, rule, f"{kind} ({where})", _HINTS.get(kind, ""))

    def _module(self, node: Any, module: nn.Module) -> None:
        kind, where = type(module).__name__, str(node.target)
        if not node.args or len(node.args) > 1 or node.kwargs:
            self._refuse(kind, where)
        source = self._value(node.args[0], kind)
        shape = self.shapes[node.args[0].name]
        if isinstance(module, _SKIPPED):
            if module.training and getattr(module, "p", 0):
                self._training(kind, where)
            self._keep(node.name, source, shape)
        elif isinstance(module, nn.Flatten):
            self._keep(node.name, source, (int(np.prod(shape)),))
        elif (found := pieces(module, shape)) is not None:
            self._kinked(node.name, source, shape, where, *found)
            if getattr(module, "inplace", False):
                self._write_over(source, node.name)
        elif isinstance(module, nn.MaxPool1d | nn.MaxPool2d):
            self._max_pool(node.name, source, module, shape, where)
        elif isinstance(module, (nn.Linear, *_NORMS, *_BY_BASIS)):
            self._affine(node.name, source, module, shape, where)
        else:
            self._refuse(kind, where)

    def _training(self, kind: str, where: str) -> None:
        raise InvalidInput(
            self.owner, "needs a network in evaluation mode", f"{kind} ({where})", "Call .eval()"
        )

    def _kinked(
        self,
        name: str,
        source: str,
        shape: tuple[int, ...],
        where: str,
        kinks: list,
        slopes: list,
        offsets: list,
    ) -> None:
        size = int(np.prod(shape))
        rows = [np.broadcast_to(np.asarray(row, dtype=object), (size,)) for row in (*slopes, *offsets)]
        lines = as_numbers(np.stack(rows), self.exact)
        step = Kinked(
            source, name, where, as_numbers(kinks, self.exact), lines[: len(slopes)], lines[len(slopes) :]
        )
        self.steps.append(step)
        self._keep(name, name, shape)

    def _affine(self, name: str, source: str, module: Any, shape: tuple[int, ...], where: str) -> None:
        kind = type(module).__name__
        if isinstance(module, _NORMS):
            if module.training or module.running_mean is None:
                self._training(kind, where)
            weight, bias, shape = *_norm(module, shape, self.owner, where), shape
        else:
            weight, bias, shape = _matrix(module, shape, self.exact, self.owner, where)
        stored = weight.data if sparse.issparse(weight) else weight
        if not (np.isfinite(stored).all() and np.isfinite(bias).all()):
            raise InvalidInput(self.owner, "needs finite weights", f"NaN or infinity in {kind} ({where})")
        if self.exact and sparse.issparse(weight):
            weight = weight.toarray()
        weight = as_numbers(weight, True) if self.exact else weight
        self.steps.append(Affine(source, name, weight, as_numbers(bias, self.exact)))
        self._keep(name, name, shape)

    def _max_pool(self, name: str, source: str, module: Any, shape: tuple[int, ...], where: str) -> None:
        """max(a, b) = a + relu(b - a), over the places of the window one after another."""
        windows, out = _windows(module, shape, self.owner, where)
        size, count = int(np.prod(shape)), len(windows[0])
        zero = as_numbers(np.zeros(count), self.exact)

        def picked(places: np.ndarray, target: str) -> str:
            weight = sparse.csr_matrix((np.ones(count), (np.arange(count), places)), shape=(count, size))
            self.steps.append(Affine(source, target, self._weight(weight), zero))
            return target

        most = picked(windows[0], f"{name}.0")
        for index, places in enumerate(windows[1:], 1):
            mark = f"{name}.{index}"
            other, minus = (
                picked(places, f"{mark}.other"),
                self._weight(-sparse.eye_array(count, format="csr")),
            )
            self.steps.append(Affine(most, f"{mark}.minus", minus, zero))
            self.steps.append(Sum((other, f"{mark}.minus"), f"{mark}.gap"))
            self._kinked(f"{mark}.more", f"{mark}.gap", out, where, [0], [0, 1], [0, 0])
            self.steps.append(Sum((most, f"{mark}.more"), mark))
            most = mark
        self._keep(name, most, out)

    def _weight(self, weight: Any) -> Any:
        return as_numbers(weight.toarray(), True) if self.exact else weight

    def _call(self, node: Any) -> None:
        name = (
            node.target
            if isinstance(node.target, str)
            else getattr(node.target, "__name__", str(node.target))
        )
        if name in ("size", "getattr", "getitem"):  # used by view only, which is read by its result
            return
        if name in ("flatten", "view", "reshape"):
            source = self._value(node.args[0], name)
            size = int(np.prod(self.shapes[node.args[0].name]))
            if name != "flatten" and node.args[-1] not in (-1, size):
                self._refuse(name, node.name)
            self._keep(node.name, source, (size,))
        elif node.target in (operator.add, operator.iadd, torch.add) or name in ("add", "add_"):
            self._sum(node)
        elif (module := _activation(node, name)) is not None:
            source, shape = self._value(node.args[0], name), self.shapes[node.args[0].name]
            found = pieces(module, shape)
            assert found is not None
            self._kinked(node.name, source, shape, node.name, *found)
            if _is_in_place(node, name):
                self._write_over(source, node.name)
        else:
            self._refuse(name, node.name)

    def _sum(self, node: Any) -> None:
        if len(node.args) != 2 or node.kwargs:
            self._refuse("add", node.name)
        sources = (self._value(node.args[0], "add"), self._value(node.args[1], "add"))
        shapes = [self.shapes[arg.name] for arg in node.args]
        if shapes[0] != shapes[1]:
            raise InvalidInput(self.owner, f"adds values of one shape ({node.name})", shapes)
        self.steps.append(Sum(sources, node.name))
        self._keep(node.name, node.name, shapes[0])
        if node.target is operator.iadd or node.target == "add_":
            self._write_over(sources[0], node.name)

    def _write_over(self, value: str, new: str) -> None:
        """An operation in place: whoever reads the value after it, by whatever name, reads the new one."""
        self.alias |= {name: new for name, known in self.alias.items() if known == value}


def _is_in_place(node: fx.Node, name: str) -> bool:
    """`relu_`, `inplace=True`, or a True by place: no other argument of an activation is one."""
    return name.endswith("_") or bool(node.kwargs.get("inplace")) or any(arg is True for arg in node.args)


def _activation(node: fx.Node, name: str) -> nn.Module | None:
    """The module that does what this call does; None where there is none."""
    options = dict(node.kwargs)
    options.pop("inplace", None)
    if node.target in (torch.relu, F.relu, torch.relu_) or name in ("relu", "relu_"):
        return nn.ReLU()
    if node.target is F.relu6:
        return nn.ReLU6()
    if node.target is F.leaky_relu:
        return nn.LeakyReLU(*node.args[1:2], **options)  # pyright: ignore[reportArgumentType]
    if node.target is F.hardtanh:
        return nn.Hardtanh(*node.args[1:3], **options)  # pyright: ignore[reportArgumentType]
    return None


def _norm(module: Any, shape: tuple[int, ...], owner: str, where: str) -> tuple[Any, np.ndarray]:
    """Batch norm with its running statistics: a scale and a shift for each channel."""
    if module.num_features != shape[0]:
        got = f"an input of {shape[0]} channels"
        raise InvalidInput(owner, f"{type(module).__name__} ({where}) takes {module.num_features}", got)
    scale = torch.rsqrt(module.running_var.double() + module.eps)
    shift = -module.running_mean.double() * scale
    if module.affine:
        gain = module.weight.double()
        scale, shift = gain * scale, gain * shift + module.bias.double()
    rest = int(np.prod(shape[1:]))
    return sparse.diags(np.repeat(scale.numpy(), rest)).tocsr(), np.repeat(shift.numpy(), rest)


def _matrix(
    module: Any, shape: tuple[int, ...], exact: bool, owner: str, where: str
) -> tuple[Any, np.ndarray, tuple[int, ...]]:
    """Matrix, bias and output shape. A convolution or pooling is applied to each unit vector in turn."""
    module = copied(module).double().cpu()
    size = int(np.prod(shape))
    bias_of = getattr(module, "bias", None)
    if isinstance(module, nn.Linear) and len(shape) == 1:
        if module.in_features != size:
            got = f"an input of {size}"
            raise InvalidInput(owner, f"Linear ({where}) takes {module.in_features} features", got)
        bias = np.zeros(module.out_features) if bias_of is None else bias_of.numpy()
        return module.weight.numpy(), bias, (module.out_features,)
    try:
        origin = module(torch.zeros(1, *shape, dtype=torch.float64))
    except RuntimeError as error:
        rule = f"{type(module).__name__} ({where}) does not take an input of this shape"
        raise InvalidInput(owner, rule, shape, str(error).splitlines()[0]) from error
    if origin.numel() * size > (MAX_EXACT_ENTRIES if exact else MAX_ENTRIES):
        got = f"{type(module).__name__} ({where}), {origin.numel()} x {size}"
        raise InvalidInput(owner, "needs convolutions whose matrix is smaller", got)
    if bias_of is not None:
        module.register_parameter("bias", None)
    blocks = []
    for start in range(0, size, 256):
        count = min(256, size - start)
        basis = torch.zeros(count, size, dtype=torch.float64)
        basis[torch.arange(count), start + torch.arange(count)] = 1
        blocks.append(sparse.csr_array(module(basis.reshape(count, *shape)).reshape(count, -1).numpy()))
    matrix = sparse.csr_matrix(sparse.vstack(blocks).T)
    return matrix, origin.reshape(-1).numpy(), tuple(origin.shape[1:])


def _windows(
    module: Any, shape: tuple[int, ...], owner: str, where: str
) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """For each place of a pooling window, which input each output looks at there; and the shape of the output."""
    spatial = len(shape) - 1
    try:
        out = tuple(module(torch.zeros(1, *shape)).shape[1:])
    except RuntimeError as error:
        rule = f"{type(module).__name__} ({where}) does not take an input of this shape"
        raise InvalidInput(owner, rule, shape, str(error).splitlines()[0]) from error

    def each(value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, tuple) else (value,) * spatial

    kernel, stride, padding, dilation = map(
        each, (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    # Padding is no input: -1 there, and ample room behind for windows that stick out (ceil_mode).
    room = [(0, 0), *((p, k * d) for p, k, d in zip(padding, kernel, dilation, strict=True))]
    places = np.pad(np.arange(int(np.prod(shape))).reshape(shape), room, constant_values=-1)
    looked = []
    for offset in np.ndindex(*kernel):
        steps = zip(offset, dilation, stride, out[1:], strict=True)
        cut = tuple(slice(o * d, o * d + s * (n - 1) + 1, s) for o, d, s, n in steps)
        looked.append(places[(slice(None), *cut)].reshape(-1))
    inside = np.max(looked, axis=0)  # some input of the window, in place of padding
    return [np.where(row < 0, inside, row) for row in looked], out
