"""What a strategy may do: train settings for some epochs on some seeds, as long as the budget lasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mlplab.errors import InvalidInput
from mlplab.spec import Setting
from mlplab.study.design import Arm
from mlplab.study.space import Space

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Trial:
    """A setting that was trained on one seed.

    Arguments:
      number: in the order in which they were asked for, from 0.
      epochs: how long, from the beginning.
      score: on the validation part, higher is better; minus infinity where it diverged.
      spent: epochs of all trials up to this one.
    """

    number: int
    arm: Arm
    seed: int
    epochs: int
    score: float
    spent: int


class Evaluate(Protocol):
    """Trains settings: their scores on the validation part, higher is better, minus infinity where one diverged."""

    def __call__(
        self, arms: Sequence[Arm], epochs: int, seeds: Sequence[int]
    ) -> Float[np.ndarray, "arm seed"]: ...


class Bench:
    """Trains what a strategy asks for and counts what it costs, in epochs of one model.

    Arguments:
      evaluate: trains; `training.StoredTraining` for real.
      epochs: of one whole training.
      budget: how many epochs may be spent.
      num_seeds: how many there are; None for as many as are asked for.

    A setting that is asked for with more epochs on the same seed goes on from where it was, and only what is new is
    counted.
    """

    def __init__(
        self, space: Space, evaluate: Evaluate, *, epochs: int, budget: int, num_seeds: int | None = None
    ) -> None:
        self.space, self.evaluate, self.epochs, self.budget = space, evaluate, epochs, budget
        self.num_seeds = num_seeds
        self.spent = 0
        self.trials: list[Trial] = []
        self.leads: list[tuple[int, Arm]] = []
        self._passed: dict[tuple[Setting, int], int] = {}

    @property
    def remaining(self) -> int:
        """Epochs that may still be spent."""
        return self.budget - self.spent

    @property
    def goes_on(self) -> bool:
        """Whether more epochs cost only what is new, whatever is drawn from the space."""
        hindering = {"schedule", "evaluate_every", "average_epochs"}
        return can_go_on(self.space.base) and not hindering & self.space.dimensions.keys()

    def scores(self, arms: Sequence[Arm], epochs: int, seeds: Sequence[int]) -> Float[np.ndarray, "arm seed"]:
        """Train settings, all as one program."""
        found = self.evaluate(arms, epochs, seeds)
        self.book(arms, epochs, seeds, found)
        return np.where(np.isfinite(found), found, -np.inf)

    def book(
        self, arms: Sequence[Arm], epochs: int, seeds: Sequence[int], found: Float[np.ndarray, "arm seed"]
    ) -> None:
        """Count trainings whose scores are there."""
        for row, arm in zip(found, arms, strict=True):
            for score, seed in zip(row, seeds, strict=True):
                self.spent += epochs - self._carried(arm, epochs, seed)
                self._passed[arm.setting, seed] = max(epochs, self._passed.get((arm.setting, seed), 0))
                score = float(score) if math.isfinite(score) else -math.inf
                self.trials.append(Trial(len(self.trials), arm, seed, epochs, score, self.spent))

    def lead(self, arm: Arm, spent: int | None = None) -> None:
        """Note that a setting would be chosen now."""
        self.leads.append((self.spent if spent is None else spent, arm))

    @property
    def winner(self) -> Arm:
        """The setting that is chosen.

        Raises InvalidInput where every training diverged, and where a strategy named none that it trained.
        """
        if not self.leads and any(math.isfinite(trial.score) for trial in self.trials):
            raise InvalidInput(
                "strategy",
                "must say which setting leads",
                f"{len(self.trials)} trials and no leader",
                "Call bench.lead(arm)",
            )
        if self.leads and self.leads[-1][1].setting not in {trial.arm.setting for trial in self.trials}:
            rule = "must be led by a setting that it trained"
            raise InvalidInput("strategy", rule, self.leads[-1][1].name)
        if not self.leads:
            raise InvalidInput(
                "every setting that was tried",
                "diverged",
                len(self.trials),
                "Lower the learning rates of the space",
            )
        return self.leads[-1][1]

    def _carried(self, arm: Arm, epochs: int, seed: int) -> int:
        """Epochs that need not be trained again."""
        passed = self._passed.get((arm.setting, seed), 0)
        return passed if passed == epochs or can_go_on(arm.setting) else 0


def can_go_on(setting: Setting) -> bool:
    """Whether a training with more epochs begins like one with fewer."""
    training = setting.training
    is_whole = training.evaluate_every == 1 and not training.average_epochs
    return is_whole and setting.optimizer.schedule.kind != "cosine"
