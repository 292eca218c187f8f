"""What a group has lived through: curves, and for each run where it diverged, stopped, or was best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mlplab.engine.records import Parameters, Result, State
from mlplab.spec import Run

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


# What is counted for each model, and carried on to more epochs.
COUNTS = ("diverged", "stopped", "best_epoch", "best_loss", "num_worse")


class History:
    """Curves of each run, and the update at which its loss was no longer finite."""

    def __init__(self, runs: Sequence[Run], steps_per_epoch: int, device: torch.device) -> None:
        self.runs, self.steps_per_epoch = runs, steps_per_epoch
        self.patience = runs[0].setting.training.patience
        self.curves: dict[str, list[Tensor]] = {}
        self.diverged = torch.full((len(runs),), -1, device=device)
        self.stopped = torch.full((len(runs),), -1, device=device)
        self.best_epoch = torch.full((len(runs),), -1, device=device)
        self.best_loss = torch.full((len(runs),), float("inf"), dtype=torch.float64, device=device)
        self.num_worse = torch.zeros(len(runs), dtype=torch.int64, device=device)
        self.kept: dict[int, list[Parameters]] = {}

    def go_on(self, states: Sequence[State]) -> None:
        """Take up what each run had lived through before."""
        for name in COUNTS:
            setattr(
                self, name, torch.stack([state.counts[name] for state in states]).to(self.diverged.device)
            )
        for name in states[0].curves:
            points = torch.stack([state.curves[name] for state in states], dim=1).to(self.diverged.device)
            self.curves[name] = list(points)
        self.kept = {epoch: [state.kept[epoch] for state in states] for epoch in states[0].kept}

    def of_model(self, model: int) -> dict[str, dict[str, Tensor] | dict[int, Parameters]]:
        """What one run has lived through: `curves`, `counts` and `kept` of its `State`."""
        return {
            "curves": {name: torch.stack([p[model] for p in points]) for name, points in self.curves.items()},
            "counts": {name: getattr(self, name)[model].clone() for name in COUNTS},
            "kept": {epoch: kept[model] for epoch, kept in self.kept.items()},
        }

    def watch_updates(self, losses: Float[Tensor, "step model"], first_step: int) -> None:
        """Note the models of which a loss is not finite, and the update where it first was not."""
        is_lost = ~losses.isfinite()
        self._lose(is_lost.any(0), first_step + is_lost.byte().argmax(0))

    def watch_evaluation(self, values: Sequence[Float[Tensor, "model"]], step: int) -> None:
        """Note the models of which a number is not finite after so many updates."""
        is_lost = ~torch.stack([value.double() for value in values]).isfinite().all(0)
        self._lose(is_lost, torch.full_like(self.diverged, step))

    def _lose(self, is_lost: Bool[Tensor, "model"], step: Tensor) -> None:
        self.diverged = torch.where(self.is_training & is_lost, step, self.diverged)

    def judge(self, losses: Float[Tensor, "model"], epoch: int) -> Bool[Tensor, "model"]:
        """Early stopping after an evaluation: which models have their lowest validation loss now."""
        is_best = self.is_training & (losses < self.best_loss)
        self.best_loss = torch.where(is_best, losses.double(), self.best_loss)
        self.best_epoch.masked_fill_(is_best, epoch)
        self.num_worse = torch.where(is_best, 0, self.num_worse + 1)
        assert self.patience is not None
        self.stopped.masked_fill_(self.is_training & (self.num_worse >= self.patience), epoch)
        return is_best

    def append(self, values: Mapping[str, Tensor]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self.curves.setdefault(name, []).append(value)

    @property
    def is_training(self) -> Bool[Tensor, "model"]:
        """The models that have neither diverged nor stopped."""
        return (self.diverged < 0) & (self.stopped < 0)

    def results(
        self,
        metrics: Mapping[str, Tensor],
        parameters: Sequence[Parameters],
        extras: Sequence[dict[str, np.ndarray]],
        seconds: Sequence[float],
        states: Sequence[State | None],
        hits: np.ndarray | None = None,
    ) -> Iterator[Result]:
        """One result a run; what a diverged run measured from then on is left out."""
        curves = {name: torch.stack(points).double().cpu().numpy() for name, points in self.curves.items()}
        final = {name: value.double().cpu().numpy() for name, value in metrics.items()}
        ends = zip(self.diverged.tolist(), self.stopped.tolist(), self.best_epoch.tolist(), strict=True)
        for model, (run, (diverged, stopped, best)) in enumerate(zip(self.runs, ends, strict=True)):
            finished = diverged < 0
            passed = stopped if stopped >= 0 else None if finished else diverged // self.steps_per_epoch
            yield Result(
                run,
                "finished" if finished else "diverged",
                None if finished else diverged,
                {name: float(value[model]) for name, value in final.items()} if finished else {},
                self._until(passed, {name: value[:, model] for name, value in curves.items()}),
                parameters[model] if finished else (),
                seconds[model],
                extras[model] if finished else {},
                best if finished and self.patience is not None else None,
                {
                    epoch: kept[model]
                    for epoch, kept in self.kept.items()
                    if passed is None or epoch <= passed
                },
                states[model],
                hits[model].copy() if finished and hits is not None else None,
            )

    def _until(self, passed: int | None, curves: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
        """One run's curves, up to its last whole epoch where it ended early. A curve without a point is left out."""
        if passed is None:
            passed = len(curves["running_loss"])
        num_evaluated = 0
        if "evaluated_epoch" in curves:
            # An accuracy is finite whatever it is made of: the loss and the epoch say which points count.
            counts = (curves["evaluated_epoch"] <= passed) & np.isfinite(curves["validation_loss"])
            num_evaluated = int(np.sum(counts))
        by_epoch = ("running_loss", "running_accuracy")
        cut = {
            name: values[: passed if name in by_epoch else num_evaluated].tolist()
            for name, values in curves.items()
        }
        return {name: values for name, values in cut.items() if values}
