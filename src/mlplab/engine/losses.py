"""Losses of many models side by side. No reduction crosses the model axis, so models never share a gradient.

Each is a mean over the batch of one number an example, times the example's weight where it has one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from mlplab.spec import Training

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Loss:
    """A loss with its derivative. `outputs` are (model, batch, output)."""

    def examples(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch"]:
        """The loss of each example."""
        raise NotImplementedError

    def slope(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch output"]:
        """The derivative of each example's loss by its outputs."""
        raise NotImplementedError

    def __call__(
        self, outputs: Tensor, targets: Tensor, weights: Float[Tensor, "model batch"] | None = None
    ) -> Float[Tensor, "model"]:
        """The mean of each model. The sum of weights is not divided by: equal weights of 2 double the loss."""
        losses = self.examples(outputs, targets)
        return losses.mean(1) if weights is None else (losses * weights).mean(1)


class CrossEntropy(Loss):
    """Cross-entropy in nats; with smoothing s, targets are (1-s)·onehot + s/classes.

    Source: Zhang et al., Dive into Deep Learning, eq. 3.4.8; Szegedy et al. 2016, section 7 (smoothing).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.smoothing = label_smoothing

    def examples(
        self, outputs: Float[Tensor, "model batch class"], targets: Int[Tensor, "model batch"]
    ) -> Float[Tensor, "model batch"]:
        # PyTorch's softmax over the last axis is an order of magnitude slower than over any other.
        logits = outputs.transpose(1, 2)
        return functional.cross_entropy(logits, targets, reduction="none", label_smoothing=self.smoothing)

    def slope(
        self, outputs: Float[Tensor, "model batch class"], targets: Int[Tensor, "model batch"]
    ) -> Float[Tensor, "model batch class"]:
        slope = torch.softmax(outputs.transpose(1, 2), 1)
        right = slope.new_full((1, 1, 1), self.smoothing - 1).expand(len(slope), 1, slope.shape[2])
        slope.scatter_add_(1, targets.unsqueeze(1), right)
        if self.smoothing:
            slope.sub_(self.smoothing / slope.shape[1])
        return slope.transpose(1, 2)


class SquaredError(Loss):
    """Half the squared error, summed over outputs.

    Half of what `torch.nn.MSELoss` gives for one output: its gradient is the plain error, as in the chapter.
    Source: Zhang et al., Dive into Deep Learning, eq. 3.1.5.
    """

    def examples(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch"]:
        return (outputs - targets).square().sum(2) / 2

    def slope(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch output"]:
        return outputs - targets


class AbsoluteError(Loss):
    """The absolute error, summed over outputs; the subgradient at 0 is 0."""

    def examples(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch"]:
        return (outputs - targets).abs().sum(2)

    def slope(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch output"]:
        return (outputs - targets).sign()


class Huber(Loss):
    """e²/2 up to |e| = delta, delta·(|e| - delta/2) beyond, summed over outputs (Huber 1964)."""

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def examples(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch"]:
        return functional.huber_loss(
            outputs, targets.expand_as(outputs), reduction="none", delta=self.delta
        ).sum(2)

    def slope(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "model batch output"]:
        return (outputs - targets).clamp(-self.delta, self.delta)


def loss_of(training: Training) -> Loss:
    """The loss that `training.loss` names, with its options."""
    match training.loss:
        case "cross_entropy":
            return CrossEntropy(training.label_smoothing)
        case "huber":
            return Huber(training.huber_delta)
        case "absolute_error":
            return AbsoluteError()
        case _:
            return SquaredError()


def evaluated_loss_of(training: Training) -> Loss:
    """What a network is evaluated by: the loss that it trains on, to the labels themselves where targets are smoothed.

    Arms that smooth by different amounts have different targets: held to their own, none could be compared.
    """
    return loss_of(dataclasses.replace(training, label_smoothing=0.0))


def accuracy(
    logits: Float[Tensor, "model batch class"], targets: Int[Tensor, "model batch"]
) -> Float[Tensor, "model"]:
    """Share of each model's examples whose largest logit is the right class. Of k that tie, each is 1/k right."""
    # Along any axis but the last PyTorch compares many at once, and a maximum is quicker than its place.
    logits = logits.transpose(1, 2)
    is_best = (logits == logits.amax(1, keepdim=True)).to(logits.dtype)
    right = is_best.gather(1, targets.unsqueeze(1)).squeeze(1)
    return (right / is_best.sum(1)).mean(1)
