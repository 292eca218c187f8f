"""The tensors in what a model returns: one, several, or a mapping, dataclass or ModelOutput that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from mlplab.errors import InvalidInput


def tensors_in(output: Any) -> list[Tensor]:
    """All tensors in an output, in order: of tuples, lists, mappings, dataclasses, and what PyTorch knows as a tree."""
    return list(_named(output).values())


def prediction_of(output: Any) -> Tensor:
    """The tensor that a loss with targets is about: the only one of real numbers, or the one that is named `logits`.

    Raises InvalidInput for an output with none, or with several of which none has that name.
    """
    if isinstance(output, Tensor):
        return output
    found = {path: x for path, x in _named(output).items() if x.is_floating_point()}
    if len(found) == 1:
        return next(iter(found.values()))
    if ("logits",) in found:
        return found["logits",]
    raise InvalidInput(
        "--loss",
        "needs a model that returns one tensor of real numbers, or one that is named logits",
        f"{len(found)} tensors" if found else type(output).__name__,
        "Take mean",
    )


def _named(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Tensor]:
    if isinstance(value, Tensor):
        return {path: value}
    if isinstance(value, Mapping):  # before dataclasses: a ModelOutput is both, and leaves out what is None
        parts = list(value.items())
    elif isinstance(value, tuple | list):
        parts = list(enumerate(value))
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [(field.name, getattr(value, field.name)) for field in fields(value)]
    else:
        leaves = tree_leaves(value)
        parts = [] if len(leaves) == 1 and leaves[0] is value else list(enumerate(leaves))
    return {key: x for name, part in parts for key, x in _named(part, (*path, name)).items()}
