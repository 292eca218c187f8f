"""Losses that a command line can name, with targets of the right shape where none are given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlplab.analysis.model_output import prediction_of
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
    """The loss of that name, on `prediction_of` an output; None for "mean", without targets. Raises UnknownName."""
    if name not in LOSSES:
        raise UnknownName("--loss", name, list(LOSSES))
    function = LOSSES[name]
    return None if function is None else lambda output, targets: function(prediction_of(output), targets)


def targets_like(name: str, output: Any) -> Tensor | None:
    """Targets for an output, of which only the shape matters: classes 0 on axis 1, or zeros.

    Raises InvalidInput as `prediction_of`, and where there is no axis of classes.
    """
    if name == "mean":
        return None
    found = prediction_of(output)
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
        return torch.randint(prediction_of(output).shape[1], like.shape, generator=generator)
    drawn = torch.randn(like.shape, generator=generator)
    return (drawn > 0).float() if name == "bce_with_logits" else drawn
