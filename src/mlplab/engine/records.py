"""What training yields: an `Epoch` as each one ends, a `Result` when a run has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlplab.spec import Run


@dataclass(frozen=True)
class Epoch:
    """One run has passed once over its training part. `number` counts from 1."""

    run: Run
    number: int


@dataclass(frozen=True, eq=False)
class Result:
    """How one run ended.

    Arguments:
      run: what was trained.
      status: `finished`, or `diverged` when a loss was no longer a finite number.
      diverged_step: the update, from 0, whose loss was not finite; None for a finished run. Where it was the loss of
        an evaluation that was not, the number of updates before it.
      metrics: at the end, without noise: `{train,validation,test}_{loss,accuracy}`; `accuracy` for classes only.
        Empty for a diverged run.
      curves: by epoch: `running_loss` (mean over the epoch's batches, with noise), `running_accuracy`;
        `validation_loss` and `validation_accuracy`, at the epochs in `evaluated_epoch`. Up to where it diverged:
        all numbers are finite, and a curve without a point is left out.
      parameters: (weight, bias) of each layer as in `torch.nn.Linear`; bias is 0 where the model has none.
        Empty for a diverged run.
      seconds: the run's share of the wall time of what it was trained with.
    """

    run: Run
    status: Literal["finished", "diverged"]
    diverged_step: int | None
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    parameters: tuple[tuple[np.ndarray, np.ndarray], ...]
    seconds: float
