"""Elementwise functions on tensors: which one is meant, its value and slope by autograd, and where these jump."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab.analysis.activation_formulas import FORMULAS
from mlplab.engine.activations import activation_function, module_class
from mlplab.errors import InvalidInput, UnknownName
from mlplab.spec import Activation

if TYPE_CHECKING:
    from jaxtyping import Float

Elementwise = Callable[[Tensor], Tensor]
Options = dict[str, float]

KNOWN_MODULES: dict[type[nn.Module], str] = {module_class(kind): kind for kind in Activation.KINDS}
DEFAULTS = {"softplus": {"beta": 1, "threshold": 20}, "hardtanh": {"min_val": -1, "max_val": 1}}  # no others
KNOWN_FUNCTIONS = {
    getattr(home, name): name
    for home in (functional, torch)
    for name in FORMULAS
    if name != "prelu" and hasattr(home, name)
}
REACH = 30.0  # functions are tried on [-REACH, REACH]
ROW = 64  # numbers in a row that PyTorch works on with vector instructions, whatever the processor


def resolve(activation: Any, options: Options) -> tuple[str, Options, Elementwise]:
    """Name, options and function of what was given: a name, an `Activation`, a module or a callable.

    Raises UnknownName and InvalidInput as `examine_activation` says.
    """
    if isinstance(activation, str):
        return _named(activation, options)
    if options:
        raise InvalidInput("examine_activation", "takes options for a name only", options)
    if isinstance(activation, Activation):
        return _named(activation.kind, dict(activation.options))
    if not callable(activation) or isinstance(activation, type):
        hint = "Of a class, give an instance" if isinstance(activation, type) else ""
        rule = "must be a name, a module or a callable on tensors"
        raise InvalidInput("activation", rule, activation, hint)
    if isinstance(activation, nn.Module):
        if (known := _of_module(activation)) is not None:
            return known
    elif isinstance(activation, Hashable) and activation in KNOWN_FUNCTIONS:
        return _named(KNOWN_FUNCTIONS[activation], {})
    name = getattr(activation, "__name__", type(activation).__name__)
    function: Any = _in_each_precision(activation) if isinstance(activation, nn.Module) else activation
    _check_elementwise(name, function)
    return name, {}, function


def _named(name: str, options: Options) -> tuple[str, Options, Elementwise]:
    if name not in FORMULAS and name not in Activation.KINDS:
        raise UnknownName("activation", name, FORMULAS)
    if name == "gelu_tanh":
        if options:
            raise InvalidInput("Activation('gelu_tanh')", "takes no options", next(iter(options)))
        return name, {}, lambda x: functional.gelu(x, approximate="tanh")
    chosen = Activation(name, **options)
    if chosen.kind == "prelu":
        slope = dict(chosen.options)["init"]
        return name, dict(chosen.options), lambda x: functional.prelu(x, x.new_tensor([slope]))
    return name, dict(chosen.options), activation_function(chosen)


def _of_module(module: nn.Module) -> tuple[str, Options, Elementwise] | None:
    """None where the catalogue has no formula for it: another module, or options that it does not know."""
    name = KNOWN_MODULES.get(type(module))
    if name is None:
        return None
    if isinstance(module, nn.PReLU):
        if module.num_parameters > 1:
            hint = "Examine the slopes one by one: examine_activation('prelu', init=...)"
            raise InvalidInput("nn.PReLU", "must have one slope", module.num_parameters, hint)
        return _named("prelu", {"init": float(module.weight.item())})
    if isinstance(module, nn.GELU) and module.approximate == "tanh":
        return _named("gelu_tanh", {})
    if any(getattr(module, option) != value for option, value in DEFAULTS.get(name, {}).items()):
        return None
    return _named(name, {option: float(getattr(module, option)) for option in Activation.KINDS[name]})


def _in_each_precision(module: nn.Module) -> Elementwise:
    """Copies in float32 and float64: the caller's module is left alone."""
    copies = {dtype: copy.deepcopy(module).to(dtype) for dtype in (torch.float32, torch.float64)}
    return lambda x: copies[x.dtype](x)


def _check_elementwise(name: str, function: Elementwise) -> None:
    owner, x = f"activation {name!r}", torch.linspace(-REACH, REACH, 101, dtype=torch.float64)
    try:
        with torch.no_grad():
            whole, again, alone = function(x.clone()), function(x.clone()), function(x[40:41].clone())
    except Exception as error:  # whatever a stranger's function raises is the answer
        raise InvalidInput(owner, "must take a row of numbers", f"{type(error).__name__}: {error}") from error
    if not isinstance(whole, Tensor) or whole.shape != x.shape:
        got = tuple(whole.shape) if isinstance(whole, Tensor) else type(whole).__name__
        raise InvalidInput(owner, f"must return the shape of its input, {tuple(x.shape)}", got)
    if whole.isnan().any():
        raise InvalidInput(owner, "must be a number on [-30, 30]", f"NaN at x = {x[whole.isnan()][0]:.3g}")
    if not torch.equal(whole, again):
        raise InvalidInput(owner, "must give the same output twice", "a random one", "Call .eval() first")
    if not torch.allclose(whole[40:41], alone, rtol=1e-6, atol=1e-9):
        hint = "Softmax and normalisations couple their inputs"
        raise InvalidInput(owner, "must be elementwise", "outputs that change with the other inputs", hint)
    slope = value_and_slope(function, x)[1]
    if np.isnan(slope).any():
        rule = "must have a slope by autograd on [-30, 30]"
        raise InvalidInput(owner, rule, f"NaN at x = {x[int(np.isnan(slope).argmax())]:.3g}")


def value_and_slope(
    function: Elementwise, x: Any, dtype: torch.dtype = torch.float64
) -> tuple[Float[np.ndarray, "point"], Float[np.ndarray, "point"]]:
    """Value and slope by autograd, computed in `dtype`, returned as float64. Raises InvalidInput without a gradient."""
    at = torch.tensor(np.asarray(x, dtype=np.float64), dtype=dtype, requires_grad=True)
    with torch.enable_grad():
        value = function(at.clone())  # some work in place
        if not value.requires_grad:
            rule = "must be differentiable by autograd"
            raise InvalidInput("activation", rule, "an output without a gradient")
        slope = torch.autograd.grad(value.sum(), at)[0]
    return value.detach().double().numpy(), slope.double().numpy()


def in_float32(function: Elementwise, x: float) -> tuple[float, float, float, float]:
    """Value and slope at x as in a row of equal numbers, then of x alone.

    Vector and scalar instructions are different programs in PyTorch, and they differ at NaN, infinity and the largest
    numbers.
    """
    row, alone = (value_and_slope(function, [x] * num, torch.float32) for num in (ROW, 1))
    return float(row[0][0]), float(row[1][0]), float(alone[0][0]), float(alone[1][0])


def find_jumps(function: Elementwise) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Where the value jumps and where the slope does, on [-30, 30].

    Cells of 1/80 are halved, towards the larger change, until they are 1e-12 wide: a smooth change fades with the
    width, a jump stays. One of less than 1e-6 is not seen, nor are two in one cell.
    """
    # The irrational offset keeps a jump at a round number off the grid.
    grid = np.linspace(-REACH, REACH, 4801) + math.sqrt(2) * 1e-4
    ends = value_and_slope(function, grid)
    value, slope = (_jumps(function, grid, ends[which], which) for which in (0, 1))
    return value, slope


def _jumps(function: Elementwise, grid: np.ndarray, at_grid: np.ndarray, which: int) -> tuple[float, ...]:
    low, high, at_low, at_high = grid[:-1], grid[1:], at_grid[:-1], at_grid[1:]
    for _ in range(36):
        middle = (low + high) / 2
        at_middle = value_and_slope(function, middle)[which]
        left = np.abs(at_middle - at_low) >= np.abs(at_high - at_middle)
        low, high = np.where(left, low, middle), np.where(left, middle, high)
        at_low, at_high = np.where(left, at_low, at_middle), np.where(left, at_middle, at_high)
    found = (np.abs(at_high - at_low) > 1e-6).nonzero()[0]
    # + 0.0: a jump found a hair left of 0 would be written as -0.
    return tuple(float(np.round((low[i] + high[i]) / 2, 10)) + 0.0 for i in found)
