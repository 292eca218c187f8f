"""The largest batch of which a step fits into a budget of memory."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor, nn

from mlplab.analysis.batch import as_batch, batch_size, resized
from mlplab.analysis.memory import named_optimizer, use_of
from mlplab.analysis.step import Loss, OptimizerFactory, fake_step
from mlplab.errors import InvalidInput

MOST = 2**40  # examples: where memory does not grow with the batch, the search ends


def largest_batch(
    model: nn.Module,
    inputs: Tensor | tuple[Any, ...],
    budget: int,
    targets: Tensor | None = None,
    loss: Loss | None = None,
    *,
    optimizer: str | OptimizerFactory | None = "adam",
    training: bool = True,
) -> int:
    """The largest batch of which a step's predicted peak is within `budget` bytes; 0 if one example is too many.

    The first axis of every tensor in `inputs` and of `targets` is the batch. Peak memory must not fall as it grows.
    Raises InvalidInput for a budget below 1 byte, and as `memory`.
    """
    if isinstance(budget, bool) or budget < 1:
        raise InvalidInput("budget", "must be a positive number of bytes", budget)
    batch, make = as_batch(inputs), named_optimizer(optimizer)
    batch_size(batch)

    @cache
    def peak(size: int) -> int:
        given, aims = resized(batch, size), resized(targets, size)
        return use_of(fake_step(model, given, aims, loss, training=training, optimizer=make)).peak

    if peak(2) > budget:  # BatchNorm cannot train on one example: 1 is asked for last
        try:
            return int(peak(1) <= budget)
        except InvalidInput:
            return 0
    low, high = 2, 4
    while peak(high) <= budget:
        if high >= MOST:
            return high
        # Peaks grow almost in proportion: go there at once.
        low, high = high, max(2 * high, _crossing(peak(low), peak(high), low, high, budget) + 1)
    bisect = False
    while high - low > 1:
        guess = _crossing(peak(low), peak(high), low, high, budget)
        # From one side alone a straight line may creep: every second guess halves what is left.
        middle = (low + high) // 2 if bisect else min(max(guess, low + 1), high - 1)
        low, high = (middle, high) if peak(middle) <= budget else (low, middle)
        bisect = not bisect
    return low


def _crossing(at_low: int, at_high: int, low: int, high: int, budget: int) -> int:
    """Where a straight line through two peaks reaches the budget."""
    rise = max(at_high - at_low, 1)
    return min(low + (budget - at_low) * (high - low) // rise, MOST)
