"""`tune`: search on validation data, refit the winner with fresh seeds, look at the test part once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab import engine, stats
from mlplab.data import Dataset
from mlplab.errors import InvalidInput, UnknownName
from mlplab.study.agreement import plain
from mlplab.study.design import Arm, Study, level_text, refuse_own_measures
from mlplab.study.results import Results
from mlplab.study.run import CHUNKS_AT_ONCE, Progress, Stopped, run_study
from mlplab.study.scalars import ScalarLog
from mlplab.study.space import Space
from mlplab.study.store import Store
from mlplab.study.tuning.bench import Bench, Evaluate, Trial
from mlplab.study.tuning.figure import search_plot
from mlplab.study.tuning.halving import halving, hyperband
from mlplab.study.tuning.racing import racing
from mlplab.study.tuning.random_search import random_search
from mlplab.study.tuning.tpe import tpe
from mlplab.study.tuning.training import RunStudy, StatefulTrain, StoredTraining, sign_of

if TYPE_CHECKING:
    import altair

Strategy = Callable[[Bench, int], None]

STRATEGIES: dict[str, Strategy] = {
    "random": random_search,
    "tpe": tpe,
    "halving": halving,
    "hyperband": hyperband,
    "racing": racing,
}
# They train each setting for all epochs: no state is kept to go on from. Others choose the number of epochs.
AT_ONE_GO = ("random", "tpe", "racing")
BASELINE = "as given"
SEEDS = 10
BUDGET = 60  # random draws that reach the best 5% of a space with probability 1 - 0.95^60 = 95%


@dataclass(frozen=True)
class Tuning:
    """What a search found, and what is left of it with fresh seeds.

    Arguments:
      trials: all that was trained in the search, in order.
      leads: (epochs spent, setting that would be chosen then).
      winner: the setting that was chosen.
      search_value: its metric in the search, the one that it was chosen by.
      fresh: the winner and the setting as given, trained on seeds that the search did not use.
      metric, test_metric: what was searched on, and the same on the test part; None where the data have none.
      spent, budget: in epochs of one model.
      epochs: of one whole training.
    """

    strategy: str
    space: Space
    data: Dataset
    trials: tuple[Trial, ...]
    leads: tuple[tuple[int, Arm], ...]
    winner: Arm
    search_value: float
    fresh: Results
    metric: str
    test_metric: str | None
    spent: int
    budget: int
    epochs: int
    seed: int

    @property
    def sign(self) -> float:
        """1 where the metric is to be high."""
        return sign_of(self.metric, self.data)

    def optimism(self, *, ci_prob: float = 0.95) -> stats.Interval:
        """What the search saw of its winner less its mean with fresh seeds; positive where it was flattered."""
        fresh = self.fresh.values(self.metric, self.winner.name)
        return stats.mean_interval(self.sign * (self.search_value - fresh), ci_prob=ci_prob)

    def value(self, metric: str, *, ci_prob: float = 0.95) -> stats.Interval:
        """A metric of the winner over the fresh seeds. Raises UnknownName, InvalidInput where a seed diverged."""
        return stats.mean_interval(self.fresh.values(metric, self.winner.name), ci_prob=ci_prob)

    def gain(self, metric: str) -> stats.Comparison | None:
        """How much better the winner is than the setting as given, paired by fresh seed; negative where it is worse.

        None where they are the same setting, or a run of either diverged.
        """
        if BASELINE not in self.fresh.arms:
            return None
        differences = self.fresh.differences(metric, self.winner.name, BASELINE)
        return stats.paired(self.sign * differences) if np.isfinite(differences).all() else None

    @property
    def num_diverged(self) -> int:
        """Trials that diverged."""
        return sum(not math.isfinite(trial.score) for trial in self.trials)

    def ranking(self) -> pd.DataFrame:
        """A row for each setting: hyperparameters, epochs, seeds, the mean metric. The winner comes first."""
        groups: dict[str, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.arm.name, []).append(trial)
        rows: list[dict[str, Any]] = []
        for name, trials in groups.items():
            longest = max(trial.epochs for trial in trials)
            last = [trial for trial in trials if trial.epochs == longest]
            value = float(np.mean([self.sign * trial.score for trial in last]))
            levels = {knob: level_text(level) for knob, level in last[0].arm.levels.items()}
            kept = {knob: levels.get(knob, "") for knob in self.space.dimensions}
            rows.append(
                {"winner": name == self.winner.name}
                | kept
                | {
                    "epochs": longest,
                    "seeds": len(last),
                    self.metric: value if math.isfinite(value) else math.nan,
                }
            )
        table = pd.DataFrame(rows)
        order = ["winner", "epochs", "seeds", self.metric]
        rising = [False, False, False, self.sign < 0]
        return table.sort_values(order, ascending=rising, kind="stable", ignore_index=True)

    def path(self) -> pd.DataFrame:
        """How the search went, a row for each trial: what was spent up to it, in whole trainings, and its metric."""
        rows = [
            {
                "number": trial.number,
                "arm": trial.arm.name,
                "seed": trial.seed,
                "epochs": trial.epochs,
                "spent": trial.spent / self.epochs,
                self.metric: self.sign * trial.score if math.isfinite(trial.score) else None,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows)

    def plot(self) -> altair.LayerChart:
        """`figure.search_plot`. Raises MissingExtra without the extra `book`."""
        return search_plot(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        gain = self.gain(self.test_metric or self.metric)
        return {
            "strategy": self.strategy,
            "space": {name: str(dimension) for name, dimension in self.space.dimensions.items()},
            "data": self.data.fingerprint,
            "metric": self.metric,
            "epochs": self.epochs,
            "budget": self.budget / self.epochs,
            "spent": self.spent / self.epochs,
            "seed": self.seed,
            "num_trials": len(self.trials),
            "num_diverged": self.num_diverged,
            "winner": {name: level_text(level) for name, level in self.winner.levels.items()},
            "search_value": self.search_value,
            "validation": _interval(self, self.metric),
            "optimism": None if not self.is_whole else plain(self.optimism()),
            "test": None if self.test_metric is None else _interval(self, self.test_metric),
            "gain": None if gain is None else plain(gain),
            "fresh": self.fresh.to_records()[0],
            "trials": [
                {str(k): None if pd.isna(v) else v for k, v in row.items()}
                for row in self.path().to_dict("records")
            ],
        }

    @property
    def is_whole(self) -> bool:
        """Whether the winner finished on every fresh seed."""
        return bool(np.isfinite(self.fresh.values(self.metric, self.winner.name)).all())


def _interval(found: Tuning, metric: str) -> dict[str, Any] | None:
    return plain(found.value(metric)) if found.is_whole else None


def tune(
    space: Space,
    data: Dataset,
    store: Store,
    *,
    strategy: str | Strategy = "hyperband",
    budget: float = BUDGET,
    seeds: int = SEEDS,
    metric: str | None = None,
    seed: int = 0,
    train: StatefulTrain = engine.train,
    on_progress: Callable[[Progress], None] | None = None,
    chunks_at_once: int = CHUNKS_AT_ONCE,
    log: ScalarLog | None = None,
) -> Tuning:
    """Search a space, then train the winner anew, beside the setting as given, on seeds that the search did not use.

    The search sees no test part. What it trains is kept in the store: the same call goes on where it was stopped, and
    comes to the same end.

    Arguments:
      strategy: a key of STRATEGIES, or a function of your own that is given the bench and the seed: it asks
        `bench.scores` to train settings and tells `bench.lead` which one it would choose (docs/extend.md).
      budget: what the search may cost, in whole trainings of `space.base`'s epochs; the refit comes on top.
      seeds: fresh ones, for the refit.
      metric: `validation_accuracy` (the default for classes) or `validation_loss`.
      seed: of the search: what is drawn, and the first seed that is trained on.
      train, on_progress, chunks_at_once, log: as of `run_study`; the trainer carries states as `engine.train` does.

    Raises UnknownName, InvalidInput for a budget too small and for what does not go together, MissingExtra, StoreError.
    """
    ended = 0

    def run(study: Study, *, train: StatefulTrain) -> Results:
        nonlocal ended
        how = {"on_progress": on_progress, "chunks_at_once": chunks_at_once, "log": log}
        try:
            results = run_study(study, store, train=train, **how)
        except Stopped as stop:
            raise Stopped(ended + stop.kept) from stop
        ended += len(study.runs)
        return results

    return tune_by(
        run,
        space,
        data,
        strategy=strategy,
        budget=budget,
        seeds=seeds,
        metric=metric,
        seed=seed,
        train=train,
    )


def tune_by(
    run: RunStudy,
    space: Space,
    data: Dataset,
    *,
    strategy: str | Strategy = "hyperband",
    budget: float = BUDGET,
    seeds: int = SEEDS,
    metric: str | None = None,
    seed: int = 0,
    train: StatefulTrain = engine.train,
) -> Tuning:
    """`tune`, with studies that are run by somebody else."""
    name, search = named_strategy(strategy)
    metric = metric or ("validation_accuracy" if data.task == "classification" else "validation_loss")
    refuse_own_measures(space.dimensions, metric)
    if seeds < 2:
        raise InvalidInput("seeds", "must be at least 2 for the refit", seeds, "One seed has no interval")
    evaluate = StoredTraining(run, data, metric, keep_states=name not in AT_ONE_GO, train=train)
    bench = bench_for(space, evaluate, budget)
    search(bench, seed)
    winner = bench.winner
    arms = [winner] if winner.setting == space.base else [winner, Arm(BASELINE, space.base)]
    first = max(trial.seed for trial in bench.trials) + 1
    fresh = run(Study(arms, range(first, first + seeds), data), train=train)
    return Tuning(
        strategy=name,
        space=space,
        data=data,
        trials=tuple(bench.trials),
        leads=tuple(bench.leads),
        winner=winner,
        search_value=sign_of(metric, data) * search_score(bench.trials, winner),
        fresh=fresh,
        metric=metric,
        test_metric=None if data.test is None else metric.replace("validation", "test"),
        spent=bench.spent,
        budget=bench.budget,
        epochs=bench.epochs,
        seed=seed,
    )


def named_strategy(strategy: str | Strategy) -> tuple[str, Strategy]:
    """A strategy with its name. Raises UnknownName, and InvalidInput for what is no function.

    A function of one's own may not take the name of another: a result says by whom it was found.
    """
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            raise UnknownName("strategy", strategy, STRATEGIES)
        return strategy, STRATEGIES[strategy]
    if not callable(strategy):
        rule = f"must be a name ({', '.join(STRATEGIES)}) or a function of a bench and a seed"
        raise InvalidInput("strategy", rule, strategy)
    name = getattr(strategy, "__name__", type(strategy).__name__)
    if name in STRATEGIES and strategy is not STRATEGIES[name]:
        raise InvalidInput("strategy", "must have a name of its own", name, "Rename the function")
    return name, strategy


def bench_for(space: Space, evaluate: Evaluate, budget: float) -> Bench:
    """A bench with a budget in whole trainings. Raises InvalidInput."""
    if "epochs" in space.dimensions:
        remedy = (
            "Set it for all: the budget counts in whole trainings, and halving chooses shorter ones itself"
        )
        raise InvalidInput("hyperparameter epochs", "cannot be searched", space.dimensions["epochs"], remedy)
    if not (math.isfinite(budget) and budget > 0):
        raise InvalidInput(
            "budget", "must be a number of trainings above 0", budget, f"{BUDGET} is a common start"
        )
    epochs = space.base.training.epochs
    return Bench(space, evaluate, epochs=epochs, budget=int(budget * epochs))


def search_score(trials: Sequence[Trial], arm: Arm) -> float:
    """The score by which a setting was chosen: where it was trained longest, the mean over seeds."""
    own = [trial for trial in trials if trial.arm.setting == arm.setting]
    longest = max(trial.epochs for trial in own)
    return float(np.mean([trial.score for trial in own if trial.epochs == longest]))
