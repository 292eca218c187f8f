"""What training yields: an `Epoch` as each one ends, a `Result` when a run has ended, a `Retry` for lack of memory.
A `State` is what a later training goes on from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import Tensor

from mlplab.spec import Run

Parameters = tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclass(frozen=True)
class Epoch:
    """The runs of a chunk have passed once over their training part.

    Arguments:
      number: counts from 1.
      values: this epoch's points of the curves of `Result`, a number for each run.
      is_training: for each run, whether it had neither diverged nor stopped before this epoch: what the others measure
        is no part of their results.
    """

    runs: tuple[Run, ...]
    number: int
    values: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)
    is_training: Tensor | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Retry:
    """The runs of a chunk did not fit into memory together: they start again, at most `size` at once."""

    runs: tuple[Run, ...]
    size: int


@dataclass(frozen=True, eq=False)
class Result:
    """How one run ended.

    Arguments:
      run: what was trained.
      status: `finished`, or `diverged` when a loss was no longer a finite number.
      diverged_step: the update, from 0, whose loss was not finite; None for a finished run. Where it was the loss of
        an evaluation that was not, the number of updates before it.
      metrics: at the end, without noise: `{train,validation,test}_{loss,accuracy}`; `accuracy` for classes only. With
        `Training.average_epochs` the same of the averaged weights: `average_test_loss`. Empty for a diverged run.
      curves: by epoch: `running_loss` (mean over the epoch's batches, with noise), `running_accuracy`;
        `validation_loss` and `validation_accuracy`, at the epochs in `evaluated_epoch`, and there, where
        `Training.probes` asks: `activation_mean_0`, `activation_variance_0`, `noisy_mean_0`, `noisy_variance_0`
        (hidden layers from 0, over batch and units of the last update), `gradient_norm_0` (of the loss without
        penalties, by the weight matrix of a layer), `weight_norm_0` (after the update), `train_mode_loss` and
        `train_mode_accuracy` (the validation part with noise and with its own batch moments), `quiet_mean_0` and
        `quiet_variance_0` (hidden layers without noise, over the validation part and units, after the update),
        `train_loss` and `train_accuracy` (the training part without noise). Up to where it diverged: all numbers are
        finite, and a curve without a point is left out.
      parameters: (weight, bias) of each layer as in `torch.nn.Linear`; bias is 0 where the model has none.
        Empty for a diverged run.
      extras: what a model learns beside weights and biases, by name and hidden layer (from 0): `prelu_slope_0`;
        `norm_scale_0`, `norm_shift_0` and the running moments `norm_mean_0`, `norm_variance_0` of batch
        normalisation.
      best_epoch: with early stopping, the epoch whose parameters and metrics these are.
      kept: (weight, bias) of each layer after each epoch of `Training.keep_weights`.
      test_hits: with the probe of this name, which examples of the test part are classified right, in its order, 8 a
        byte (`numpy.packbits`); of the averaged weights where there are any. Of classes that tie the first is taken.
        None without the probe, without a test part, and for a diverged run.
      seconds: the run's share of the wall time of what it was trained with, and of what it went on from.
      state: what more epochs go on from, where `train` was asked to keep it.
    """

    run: Run
    status: Literal["finished", "diverged"]
    diverged_step: int | None
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    parameters: Parameters
    seconds: float
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    best_epoch: int | None = None
    kept: dict[int, Parameters] = field(default_factory=dict)
    state: State | None = field(default=None, repr=False)
    test_hits: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class State:
    """Where a run stood when its last epoch had passed, before early stopping went back to its best weights.

    Arguments:
      run: what had been trained.
      epoch: epochs that had passed; fewer than asked for where every run beside it had ended early.
      learned: what training changes in the model.
      memory: the optimiser's, for each parameter.
      best: the weights of the lowest validation loss, where early stopping asks for them.
      average: the averaged weights, where training has come to the epochs that are averaged.
      curves: all points so far.
      counts: `diverged`, `stopped`, `best_epoch`, `best_loss`, `num_worse` of `History`.
      kept: as in `Result`.
      seconds: as in `Result`.
    """

    run: Run
    epoch: int
    learned: tuple[Tensor, ...]
    memory: tuple[tuple[Tensor, ...], ...]
    best: tuple[Tensor, ...]
    average: tuple[Tensor, ...]
    curves: dict[str, Tensor]
    counts: dict[str, Tensor]
    kept: dict[int, Parameters]
    seconds: float
