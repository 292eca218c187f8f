"""Losses that a command line can name, with targets of the right shape where none are given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mlplab.analysis.step import Loss
from mlplab.errors import InvalidInput, UnknownName

LOSSES: dict[str, Any] = {
    "mean": None,
    "cross_entropy": nn.functional.cross_entropy,
    "mse": nn.functional.mse_loss,
    "l1": nn.functional.l1_loss,
    "bce_with_logits": nn.functional.binary_cross_entropy_with_logits,
}


def named_loss(name: str) -> Loss | None:
    """The loss of that name; None for "mean", which needs no targets. Raises UnknownName."""
    if name not in LOSSES:
        raise UnknownName("--loss", name, list(LOSSES))
    return LOSSES[name]


def targets_like(name: str, output: Any) -> Tensor | None:
    """Targets for an output, of which only the shape matters: classes 0 on axis 1, or zeros.

    Raises InvalidInput where the model returns several tensors, or no axis of classes.
    """
    if name == "mean":
        return None
    leaves = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
    if len(leaves) != 1:
        raise InvalidInput(
            "--loss", "needs a model that returns one tensor", f"{len(leaves)} tensors", "Take mean"
        )
    found = leaves[0]
    if name != "cross_entropy":
        return torch.zeros_like(found)
    if found.ndim < 2:
        raise InvalidInput(
            "--loss cross_entropy", "needs an output of (batch, class, ...)", tuple(found.shape)
        )
    return torch.zeros((found.shape[0], *found.shape[2:]), dtype=torch.int64, device=found.device)


def random_targets(name: str, output: Any) -> Tensor:
    """Targets drawn for an output of this shape: classes with equal odds, or standard normal numbers.

    Raises as `targets_like`.
    """
    like = targets_like(name, output)
    generator = torch.Generator().manual_seed(1)
    if like is None:
        return torch.zeros(1)
    if name == "cross_entropy":
        return torch.randint(output.shape[1], like.shape, generator=generator)
    drawn = torch.randn(like.shape, generator=generator)
    return (drawn > 0).float() if name == "bce_with_logits" else drawn
