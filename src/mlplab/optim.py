"""Optimisers of the engine as ordinary PyTorch ones, for any training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from mlplab.errors import InvalidInput


class LARS(torch.optim.Optimizer):
    """SGD in which the step of each weight tensor follows that tensor's own norm.

    For a parameter W with at least two dimensions, gradient g and trust ratio r:

        r = trust_coefficient·‖W‖ / (‖g‖ + weight_decay·‖W‖ + eps), or 1 where ‖W‖ or ‖g‖ is 0
        v = momentum·v + r·(g + weight_decay·W)
        W = W - lr·v                  (nesterov: W = W - lr·(r·(g + weight_decay·W) + momentum·v))

    Parameters with fewer dimensions (biases, scales and shifts of norms) take r = 1 and no weight decay. A gradient
    that is multiplied by 10^6 gives the same step, as long as eps and weight decay are small beside it.

    Arguments:
      params: tensors, or parameter groups: dictionaries that may hold their own value of each argument below.
      lr: greater than or equal to 0. With momentum 0, a weight tensor moves by lr·trust_coefficient of its norm.
      momentum: in [0, 1).
      weight_decay: at least 0.
      nesterov: needs a momentum greater than 0.
      trust_coefficient: greater than 0.
      eps: at least 0.

    Raises InvalidInput for a value outside these ranges, and at `step` for a sparse gradient.

    Example:
      >>> optimizer = LARS(model.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)

    Differences from the paper: the paper puts lr inside the velocity; here, as in `torch.optim.SGD`, it multiplies the
    velocity, which is the same while lr is constant. eps is not in the paper.
    Source: You, Gitman and Ginsburg 2017, Large Batch Training of Convolutional Networks, eq. 6 and algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        trust_coefficient: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group with values of its own. Raises InvalidInput for a value that is not allowed."""
        _validate({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update. `closure` computes the loss anew and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if gradient.is_sparse:
            raise InvalidInput("LARS gradient", "must be dense", f"layout {gradient.layout}")
        momentum = group["momentum"]
        if parameter.ndim >= 2:
            decayed = gradient + group["weight_decay"] * parameter
            change = trust_ratio(parameter, gradient, group).to(parameter.dtype) * decayed
        else:
            change = gradient
        if momentum:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            velocity = state["momentum_buffer"].mul_(momentum).add_(change)
            change = change + momentum * velocity if group["nesterov"] else velocity
        parameter.sub_(group["lr"] * change)


def trust_ratio(parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """What LARS multiplies a weight tensor's gradient by: a tensor without dimensions, on the parameter's device.

    Norms of 16-bit tensors are summed in float32: in float16 a norm above 65,504 would be infinite.
    """
    precision = torch.promote_types(parameter.dtype, torch.float32)
    size = torch.linalg.vector_norm(parameter, dtype=precision)
    slope = torch.linalg.vector_norm(gradient, dtype=precision)
    ratio = group["trust_coefficient"] * size / (slope + group["weight_decay"] * size + group["eps"])
    # No branch on the values: that would make a GPU wait for the processor.
    return torch.where((size > 0) & (slope > 0), ratio, torch.ones_like(ratio))


def _validate(group: dict[str, Any]) -> None:
    for name, (low, rule) in {
        "lr": (0.0, "must be a finite number of at least 0"),
        "momentum": (0.0, "must be in [0, 1)"),
        "weight_decay": (0.0, "must be a finite number of at least 0"),
        "trust_coefficient": (0.0, "must be a finite number greater than 0"),
        "eps": (0.0, "must be a finite number of at least 0"),
    }.items():
        value = group[name]
        if isinstance(value, (bool, str)) or not _is_finite(value) or value < low:
            raise InvalidInput(f"LARS.{name}", rule, value)
        if (name == "momentum" and value >= 1) or (name == "trust_coefficient" and value == 0):
            raise InvalidInput(f"LARS.{name}", rule, value)
    if not isinstance(group["nesterov"], bool):
        raise InvalidInput("LARS.nesterov", "must be True or False", group["nesterov"])
    if group["nesterov"] and not group["momentum"]:
        raise InvalidInput("LARS.nesterov", "needs a momentum greater than 0", group["momentum"])


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
