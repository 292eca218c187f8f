"""Bayesian optimisation by Optuna's tree-structured Parzen estimator, asked in batches that are trained together."""

from __future__ import annotations

import math
import warnings
from typing import Any

from mlplab.errors import InvalidInput, import_extra
from mlplab.study.design import Arm, level_text
from mlplab.study.space import Levels, Space
from mlplab.study.tuning.bench import Bench

IDLE = 50  # asked in vain: what is asked for is known already, or no valid setting
BATCH = (
    8  # settings that are asked for together; each is chosen without knowing how the others of its batch do
)


def tpe(bench: Bench, seed: int) -> None:
    """Ask for a batch, train it as one program, tell how it went; the best setting leads.

    The first ten settings are random, as Optuna has it. A setting that diverged is told as failed.

    Source: Bergstra et al. 2011, Algorithms for hyper-parameter optimization; Optuna's TPESampler with
    `multivariate` and `constant_liar`.
    Raises InvalidInput for a budget below one training, MissingExtra without Optuna.
    """
    optuna = import_extra("optuna", what="The strategy 'tpe'", extra="tune")
    if bench.remaining < bench.epochs:
        raise InvalidInput("budget", "must be at least 1 training", bench.budget / bench.epochs)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = _distributions(optuna, bench.space)
    failed = optuna.trial.TrialState.FAIL
    known: dict[Any, float] = {}
    best, idle = -math.inf, 0
    while bench.remaining >= bench.epochs and idle < IDLE:
        asked: list[tuple[Any, Arm]] = []
        while len(asked) < min(BATCH, bench.remaining // bench.epochs) and idle < IDLE:
            trial = study.ask(distributions)
            try:
                arm = bench.space.arm(_values(bench.space, trial.params))
            except InvalidInput:
                study.tell(trial, state=failed)
                idle += 1
                continue
            if arm.setting in known or any(arm.setting == other.setting for _, other in asked):
                # What is known costs nothing; a space with few settings may have no other.
                study.tell(trial, known.get(arm.setting), state=None if arm.setting in known else failed)
                idle += 1
                continue
            asked.append((trial, arm))
        if not asked:
            return
        idle = 0
        before = bench.spent
        scores = bench.scores([arm for _, arm in asked], bench.epochs, [seed])[:, 0]
        for number, ((trial, arm), score) in enumerate(zip(asked, scores, strict=True), start=1):
            if not math.isfinite(score):
                study.tell(trial, state=failed)
                continue
            known[arm.setting] = float(score)
            study.tell(trial, float(score))
            if score > best:
                best = score
                bench.lead(arm, before + number * bench.epochs)


def _distributions(optuna: Any, space: Space) -> dict[str, Any]:
    kinds = optuna.distributions
    found: dict[str, Any] = {}
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Levels) and dimension.is_ordered:
            found[name] = kinds.IntDistribution(0, len(dimension.levels) - 1)
        elif isinstance(dimension, Levels):
            found[name] = kinds.CategoricalDistribution([level_text(level) for level in dimension.levels])
        elif dimension.is_whole:
            found[name] = kinds.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
        else:
            found[name] = kinds.FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)
    return found


def _values(space: Space, params: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Levels):
            places = range(len(dimension.levels))
            texts = places if dimension.is_ordered else [level_text(level) for level in dimension.levels]
            values[name] = dict(zip(texts, dimension.levels, strict=True))[params[name]]
        else:
            values[name] = dimension.rounded(params[name])
    return values
