"""A copy of a model that is not ours, whatever hangs on it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mlplab.errors import InvalidInput


def copied(
    model: nn.Module,
    *,
    memo: dict[int, Any] | None = None,
    replace: Callable[[Tensor], Tensor] = Tensor.clone,
) -> nn.Module:
    """A deep copy. Tensors that a module has computed and keeps as an attribute, as `torch.nn.utils.weight_norm`
    does with `weight`, have no deep copy of their own: what stands for them is `replace` of them.

    Raises InvalidInput for a ScriptModule, and where a part of the model cannot be copied.
    """
    refuse_scripts(model)
    known = {} if memo is None else memo
    for module in model.modules():
        own = {k: v for k, v in vars(module).items() if k not in ("_parameters", "_buffers", "_modules")}
        for tensor in tree_leaves(own):
            if isinstance(tensor, Tensor) and not tensor.is_leaf:
                known[id(tensor)] = replace(tensor.detach())
    try:
        return copy.deepcopy(model, known)
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        rule = f"must be one that copy.deepcopy can copy ({type(error).__name__}: {line})"
        raise InvalidInput("model", rule, type(model).__name__) from error


def refuse_scripts(model: nn.Module) -> None:
    """Raises InvalidInput for a model of TorchScript, or one with such a part: no hook sees into it."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"a ScriptModule at {name!r}" if name else "a ScriptModule"
            hint = "Take the nn.Module that torch.jit was given"
            raise InvalidInput("model", "must be made of Python modules", where, hint)
