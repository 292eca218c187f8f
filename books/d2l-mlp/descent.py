"""The training loop of section 4.4, for many draws at once: minibatches of 10, rate 0.01, 400 epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlplab.rng import Stream

if TYPE_CHECKING:
    from jaxtyping import Float

RATE, EPOCHS, BATCH = 0.01, 400, 10


def weights(
    design: Float[np.ndarray, "draw example feature"],
    targets: Float[np.ndarray, "draw example"],
    draws: Sequence[int],
) -> Float[np.ndarray, "draw feature"]:
    """The weights after the section's loop on the mean squared error; not finite where it blew up.

    Every draw has its own first weights, PyTorch's default for a linear layer, and its own order of examples.
    """
    num_draws, num_examples, num_features = design.shape
    bound = num_features**-0.5
    w = np.stack([bound * (2 * Stream(draw, "init").uniform(num_features) - 1) for draw in draws])
    rows = np.arange(num_draws)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(EPOCHS):
            order = np.stack([Stream(draw, "order", step=epoch).permutation(num_examples) for draw in draws])
            for start in range(0, num_examples, BATCH):
                chosen = order[:, start : start + BATCH]
                x, y = design[rows, chosen], targets[rows, chosen]
                errors = np.einsum("dbf,df->db", x, w) - y
                w = w - RATE * 2 / chosen.shape[1] * np.einsum("dbf,db->df", x, errors)
    return w


def error(
    design: Float[np.ndarray, "draw example feature"],
    targets: Float[np.ndarray, "draw example"],
    w: Float[np.ndarray, "draw feature"],
) -> Float[np.ndarray, "draw"]:
    """Mean squared error of each draw; infinite where the loop blew up."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = ((np.einsum("def,df->de", design, w) - targets) ** 2).mean(1)
    return np.where(np.isfinite(errors), errors, np.inf)
