"""The factor on the learning rate at each update, by the names of `spec.Schedule`."""

from __future__ import annotations

import math

import numpy as np

from mlplab.spec import Schedule


def rate_factor(schedule: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The factor at an update (from 0).

    After warm-up, `cosine` is `torch.optim.lr_scheduler.CosineAnnealingLR` stepped after each update, and `step` is
    `StepLR` stepped after each epoch.
    """
    warmup = round(schedule["warmup"] * steps_per_epoch)
    rising = min((step + 1) / (warmup + 1), 1.0)
    match schedule.kind:
        case "step":
            # NumPy's power overflows to infinity: a rate that grows without end is a divergence, and no error.
            with np.errstate(over="ignore"):
                grown = np.float64(schedule["factor"]) ** (step // steps_per_epoch // schedule["every"])
            return rising * float(grown)
        case "cosine":
            total = max(steps_per_epoch * epochs - warmup, 1)
            falling = (1 + math.cos(math.pi * min(max(step - warmup, 0) / total, 1.0))) / 2
            return rising * (schedule["final"] + (1 - schedule["final"]) * falling)
        case _:
            return rising
