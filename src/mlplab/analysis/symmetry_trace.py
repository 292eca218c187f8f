"""A model as a graph of torch.fx, in float64, with the modules of PyTorch as its leaves and nothing random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from mlplab.analysis.model_copy import copied
from mlplab.analysis.tracing import reason
from mlplab.errors import InvalidInput


class _Tracer(fx.Tracer):
    """Modules of PyTorch, and the noise layers of mlplab.nn, are leaves."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m)


def is_leaf(module: nn.Module) -> bool:
    if isinstance(module, (nn.Sequential, nn.ModuleList)):
        return False
    home = type(module).__module__
    return home.startswith("torch.nn") or home == "mlplab.nn"


def arguments(batch: Tensor | tuple[Any, ...]) -> tuple[Any, ...]:
    given = batch if isinstance(batch, tuple) else (batch,)
    return tuple(x.detach().double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in given)


def traced(model: nn.Module, batch: Tensor | tuple[Any, ...]) -> fx.GraphModule:
    """A float64 copy of the model as a graph, in which nothing is random."""
    if not isinstance(model, nn.Module):
        raise InvalidInput("symmetry model", "must be a torch.nn.Module", type(model).__name__)
    named = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in named:
        if nn.parameter.is_lazy(tensor):
            raise InvalidInput(
                "symmetry model", "must have its weights", f"lazy {name!r}", "Run it once first"
            )
        if name in dict(model.named_parameters()) and not torch.isfinite(tensor).all():
            raise InvalidInput(f"symmetry parameter {name!r}", "must be finite", "NaN or infinity")
    for x in batch if isinstance(batch, tuple) else (batch,):
        if isinstance(x, Tensor) and (not x.numel() or not torch.isfinite(x).all()):
            raise InvalidInput("symmetry batch", "must be finite and not empty", f"shape {tuple(x.shape)}")
    net = copied(model).cpu().double()
    for parameter in net.parameters():
        parameter.data = parameter.data.contiguous()
    net.train()  # so that functional dropout shows in the graph
    try:
        if is_leaf(net):
            drawn = fx.Graph()
            inputs = [drawn.placeholder(f"x{index}") for index in range(len(arguments(batch)))]
            drawn.output(drawn.call_module("model", tuple(inputs)))
            graph = fx.GraphModule({"model": net}, drawn)
        else:
            graph = fx.GraphModule(net, _Tracer().trace(net))
    except (Exception, SystemExit) as error:
        rule = "must be traceable by torch.fx"
        raise InvalidInput("symmetry model", rule, reason(error), "See docs/symmetry.md") from error
    return graph.eval()
