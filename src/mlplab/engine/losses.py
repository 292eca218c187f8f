"""Losses of many models side by side. No reduction crosses the model axis, so models never share a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def cross_entropy(
    logits: Float[Tensor, "model batch class"], targets: Int[Tensor, "model batch"]
) -> Float[Tensor, "model"]:
    """Mean cross-entropy of each model, in nats.

    Source: Zhang et al., Dive into Deep Learning, eq. 3.4.8.
    """
    models, batch, classes = logits.shape
    losses = functional.cross_entropy(logits.reshape(-1, classes), targets.reshape(-1), reduction="none")
    return losses.view(models, batch).mean(1)


def squared_error(
    outputs: Float[Tensor, "model batch output"], targets: Float[Tensor, "model batch output"]
) -> Float[Tensor, "model"]:
    """Half the squared error of each model, summed over outputs, averaged over the batch.

    Half of what `torch.nn.MSELoss` gives for one output: its gradient is the plain error, as in the chapter.
    Source: Zhang et al., Dive into Deep Learning, eq. 3.1.5.
    """
    return (outputs - targets).square().sum(2).mean(1) / 2


LOSSES = {"cross_entropy": cross_entropy, "squared_error": squared_error}


def accuracy(
    logits: Float[Tensor, "model batch class"], targets: Int[Tensor, "model batch"]
) -> Float[Tensor, "model"]:
    """Share of each model's examples whose largest logit is the right class."""
    return (logits.argmax(2) == targets).to(logits.dtype).mean(1)
