"""What functions and tensor methods do to units: pass them on, join them, or lose sight of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from mlplab.analysis.symmetry_call import Call, carried_in
from mlplab.analysis.symmetry_units import Carried, Held, Mark, States


def _functions(names: str) -> set[Any]:
    """Functions of these names, and the names: a name alone is a tensor's method."""
    homes = (torch, F, operator)
    found = {getattr(home, name) for name in names.split() for home in homes if hasattr(home, name)}
    return found | set(names.split())


LINEAR = _functions("contiguous clone detach float double to neg pos")
POINTWISE = _functions(
    "relu relu_ relu6 gelu tanh tanh_ sigmoid sigmoid_ silu mish elu selu celu leaky_relu softplus softsign hardtanh "
    "hardswish hardsigmoid logsigmoid softmax log_softmax abs exp log square sqrt rsqrt sin cos clamp erf tanhshrink pow"
)
TWO = _functions("add sub mul truediv div add_ sub_ mul_ iadd isub imul maximum minimum")
RESHAPE = _functions("flatten view reshape squeeze unsqueeze unflatten")
REDUCE = _functions("mean sum amax")
ZEROS = _functions("new_zeros zeros_like zeros")
SHAPE = _functions("size dim getattr")
# The number of dimensions that each pools, or over which it draws one number.
POOLS = {
    getattr(F, f"{prefix}{n}d"): n
    for prefix in ("adaptive_avg_pool", "adaptive_max_pool", "avg_pool", "max_pool")
    for n in (1, 2, 3)
}
DROPOUTS: dict[Any, int] = {
    F.dropout: 0, F.alpha_dropout: 0, F.feature_alpha_dropout: 0, F.dropout1d: 1, F.dropout2d: 2, F.dropout3d: 3,
}  # fmt: skip


def function_rule(call: Call, target: Any) -> Any:
    """What the result of a function (a callable) or of a method (its name) carries."""
    if target is operator.getitem:
        return _item(call)
    if target in ZEROS:
        return Mark.ZERO
    parameters = [leaf for leaf in pytree.tree_leaves(call.args) if call.units.is_parameter(leaf)]
    if target is F.linear or target in _functions("matmul"):
        return _product(call, target)
    if not call.flows:
        # A parameter's view is found by its memory; anything else made of a parameter is lost sight of.
        is_view = isinstance(call.value, Tensor) and call.units.is_parameter(call.value)
        return Mark.LOST if parameters and isinstance(call.value, Tensor) and not is_view else None
    if target in SHAPE and not isinstance(call.value, Tensor):
        return None
    for targets, rule in _RULES:
        if target in targets:
            return rule(call, target)
    label = getattr(target, "__name__", target)
    return call.unknown(f"goes into {label}, which this tool does not know")


def _passed(call: Call, target: Any) -> Held:
    if not isinstance(call.first, Carried) or len(call.flows) > 1:
        return call.unknown("goes into a function in an unusual way")
    if target in POOLS:
        if call.first.axis != call.ndim - POOLS[target] - 1:
            return call.unknown("is pooled over its units")
        # The linear average mixes no units, yet a maximum does not commute with a rotation.
        call.units.mark(call.first)
    elif target in DROPOUTS:
        rate = call.argument(1, "p", 0.5)
        noisy = rate and draws_for_units(call.first, call.ndim, DROPOUTS[target])
        call.units.mark(call.first, f"{target.__name__} in forward" if noisy else None)
    elif target in POINTWISE:
        call.units.mark(call.first)
    return call.first


def draws_for_units(held: Carried, ndim: int, spatial: int) -> bool:
    """Dropout1d to 3d draw a number for a channel: noise of its own for each unit if channels are units."""
    return not spatial or held.axis == max(0, ndim - spatial - 1)


def _product(call: Call, target: Any) -> Held:
    """x·Wᵀ + b with parameters that belong to no nn.Linear."""
    weight, bias = call.args[1] if len(call.args) > 1 else None, None
    if target is F.linear:
        bias = call.argument(2, "bias")
    elif isinstance(weight, Tensor) and weight.ndim == 2:
        weight = weight.T
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not call.units.is_parameter(weight):
        return call.unknown("goes into a product with something that is no parameter") if call.flows else None
    if bias is not None and not call.units.is_parameter(bias):
        return call.unknown("gets a bias that is no parameter")
    name = call.units.names[weight.untyped_storage().data_ptr()]
    return dense(call, name, weight, bias)


def dense(call: Call, name: str, weight: Tensor, bias: Tensor | None) -> Held:
    """A linear map of the last dimension, weight (out, in)."""
    held, last = call.first, call.ndim - 1
    if isinstance(held, Carried) and held.axis != last:
        held = call.unknown(f"{name} runs along another dimension")
    out = call.units.new(name, "units", weight.shape[0])
    call.units.along(weight, 1, held, (0, out))
    if bias is not None:
        call.units.add(bias, (0, out))
    return Carried(last, ((out, 1),))


def _item(call: Call) -> Any:
    held, index = call.first if not isinstance(call.held[0], tuple) else call.held[0], call.args[1]
    if isinstance(held, tuple):
        return held[index] if isinstance(index, int) else held
    if isinstance(held, States) and isinstance(index, int):
        return Carried(call.value.ndim - 1, ((held.members[index], 1),))
    if isinstance(held, Carried):
        parts = index if isinstance(index, tuple) else (index,)
        if all(isinstance(part, (int, slice)) for part in parts):
            own = parts[held.axis] if held.axis < len(parts) else slice(None)
            if own == slice(None):
                before = sum(isinstance(part, int) for part in parts[: held.axis])
                return Carried(held.axis - before, held.segments)
    return call.unknown("is taken apart by an index") if carried_in(held) else None


def _two(call: Call, target: Any) -> Held:
    label = getattr(target, "__name__", target)
    tensors = [(v, h) for v, h in zip(call.args, call.held, strict=True) if isinstance(v, Tensor)]
    if call.kwargs or len(call.args) != 2:
        return call.unknown(f"goes into {label} in an unusual way")
    values, held = zip(*tensors, strict=True)
    if len(values) == 1:  # and a number
        call.units.mark(held[0])
        return held[0]
    return call.units.same(values, held, f"goes into {label} with another tensor")


def _concatenated(call: Call, target: Any) -> Held:
    parts, axis = call.args[0], call.argument(1, "dim", 0)
    held = call.held[0]
    if not isinstance(parts, (list, tuple)) or not isinstance(axis, int):
        return call.unknown("goes into cat in an unusual way")
    axis %= parts[0].ndim
    known = [one for one in held if isinstance(one, Carried)]
    if len(known) + sum(one is None for one in held) < len(held):
        return call.unknown("goes into cat with something that is not known")
    if all(one.axis != axis for one in known):
        return call.units.same(parts, held, "goes into cat with another tensor")
    if any(one.axis != axis for one in known):
        return call.unknown("goes into cat along another dimension")
    segments: list[tuple[Any, int]] = []
    for part, one in zip(parts, held, strict=True):
        if one is None and call.units.is_parameter(part):
            return call.unknown("goes into cat with a parameter")
        segments += one.segments if one is not None else _outside(part.shape[axis])
    return Carried(axis, tuple(segments))


def _outside(size: int) -> list[tuple[Any, int]]:
    from mlplab.analysis.symmetry_units import Space

    return [(Space(["input"], "units", size, outside=True), 1)]


def reshaped(call: Call, target: Any = None) -> Held:
    """Units stay neighbours if what lies before their dimension is not mixed with it."""
    held, before = call.first, call.args[0]
    if isinstance(held, Carried) and isinstance(call.value, Tensor):
        size, outer = before.shape[held.axis], math.prod(before.shape[: held.axis])
        for axis, length in enumerate(call.value.shape):
            if math.prod(call.value.shape[:axis]) == outer and length >= size and length % size == 0:
                k = length // size
                return Carried(axis, tuple((space, old * k) for space, old in held.segments))
    return call.unknown("is reshaped across its units")


def _reduced(call: Call, target: Any) -> Held:
    held, dims = call.first, call.argument(1, "dim")
    dims = (dims,) if isinstance(dims, int) else dims
    if not isinstance(held, Carried) or not dims or held.axis in {dim % call.ndim for dim in dims}:
        return call.unknown("is summed over its units")
    call.units.mark(held)
    gone = sum(dim % call.ndim < held.axis for dim in dims)
    return Carried(held.axis - (0 if call.argument(2, "keepdim", False) else gone), held.segments)


def _permuted(call: Call, target: Any) -> Held:
    numbers = [n for n in pytree.tree_leaves(call.args[1:]) if isinstance(n, int)]
    if not isinstance(call.first, Carried) or call.kwargs:
        return call.unknown("is transposed in an unusual way")
    order = list(range(call.ndim))
    if getattr(target, "__name__", target) == "transpose":
        a, b = (number % call.ndim for number in numbers)
        order[a], order[b] = order[b], order[a]
    else:
        order = [number % call.ndim for number in numbers]
    return Carried(order.index(call.first.axis), call.first.segments)


_RULES: list[tuple[Any, Callable[[Call, Any], Any]]] = [
    (_functions("cat concat"), _concatenated),
    (TWO, _two),
    (RESHAPE, reshaped),
    (REDUCE, _reduced),
    (_functions("transpose permute"), _permuted),
    (LINEAR | POINTWISE | set(POOLS) | set(DROPOUTS), _passed),
]
