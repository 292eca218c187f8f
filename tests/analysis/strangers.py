"""Models as the world writes them: they return what they like, and fail as they like."""

from __future__ import annotations

import sys
import warnings
from collections import OrderedDict
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn


@dataclass
class Plain:
    logits: Tensor
    loss: Tensor | None = None


@dataclass
class ModelOutput(OrderedDict):
    """As that of transformers: a dataclass that is a mapping of what is not None."""

    logits: Tensor | None = None
    hidden: Tensor | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                self[field.name] = value


class Net(nn.Module):
    def __init__(self, end) -> None:
        super().__init__()
        self.body, self.head, self.end = nn.Linear(8, 16), nn.Linear(16, 4), end

    def forward(self, x: Tensor):
        return self.end(self.head(torch.relu(self.body(x))))


OUTPUTS = {
    "dict": lambda y: {"logits": y},
    "ordered dict": lambda y: OrderedDict(logits=y),
    "dataclass": Plain,
    "ModelOutput": ModelOutput,
    "ModelOutput of two": lambda y: ModelOutput(y, 2 * y),
    "logits and a dict of a tuple": lambda y: {"logits": y, "past": {"layer": (y + 1,)}},
}


class Unforeseen(Exception):
    pass


class Failing(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = nn.Linear(8, 8), kind

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        match self.kind:
            case "KeyError":
                return {}["absent"]
            case "AttributeError":
                return self.no_such_thing(y)
            case "ZeroDivisionError":
                return y * (1 // 0)
            case "SystemExit":
                sys.exit(1)
            case "NotImplementedError":
                raise NotImplementedError
            case "UnboundLocalError":
                if not self.kind:
                    z = y
                return z  # pyright: ignore[reportPossiblyUnboundVariable]
            case _:
                raise Unforeseen("the first line\nthe second")


FAILURES = (
    "KeyError",
    "AttributeError",
    "ZeroDivisionError",
    "SystemExit",
    "NotImplementedError",
    "UnboundLocalError",
    "Unforeseen",
)


def failing(kind: str = "KeyError") -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), Failing(kind), nn.Linear(8, 4))


class _NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, slope: Tensor) -> Tensor:
        return {}["absent"]


def failing_backward() -> Net:
    return Net(_NoWayBack.apply)


def weight_normalised() -> nn.Sequential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch: it is the old one
        first = torch.nn.utils.weight_norm(nn.Linear(8, 16))
    return nn.Sequential(first, nn.ReLU(), nn.Linear(16, 4))


def scripted() -> nn.Sequential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch: it is the old one
        return nn.Sequential(torch.jit.script(nn.Linear(8, 16)), nn.ReLU(), nn.Linear(16, 4))
