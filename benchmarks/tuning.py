"""Search strategies beside plain Optuna that trains one model at a time: regret against budget, and wall time.

    python benchmarks/tuning.py

On `digits`, the same space for all, REPEATS searches of each. In a repeat all contenders search one after the other,
each with a store of its own, so that nothing is found that another has trained. Each winner is then trained anew on
seeds that no search has used; its regret is what its mean test accuracy lacks of the best winner of all.

Every repeat is kept: the same command goes on from there, on the same machine with the same versions.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from mlplab.data import Dataset, load
from mlplab.environment import environment
from mlplab.knobs import turn
from mlplab.spec import Setting
from mlplab.stats import mean_interval, paired
from mlplab.study import Arm, Store, Study, run_study
from mlplab.study.tuning import STRATEGIES, Space
from mlplab.study.tuning.training import StoredTraining
from mlplab.study.tuning.tuning import bench_for

REPEATS, BUDGETS, EPOCHS, BATCH_SIZE, FRESH = 20, (10, 30, 90), 9, 64, 5
FIRST_FRESH_SEED = 10_000
RATES, WIDTHS, DROPOUTS, MOMENTA = (0.001, 1.0), (32, 64, 128), (0.0, 0.2, 0.5), (0.0, 0.9)
PEER = "optuna, one model at a time"
RESULT = Path(__file__).parent / "results" / "tuning.json"


def base() -> Setting:
    """What is not searched."""
    return turn(Setting(), initialization="linear", batch_size=BATCH_SIZE, epochs=EPOCHS)


def space() -> Space:
    """What is searched."""
    return Space(
        base(),
        learning_rate=f"loguniform({RATES[0]},{RATES[1]})",
        hidden_sizes=[(width,) for width in WIDTHS],
        dropout=list(DROPOUTS),
        momentum=list(MOMENTA),
    )


def ours(name: str, data: Dataset, budget: int, seed: int) -> Arm:
    """A strategy of `mlplab tune`, in a fresh store."""
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/runs.sqlite") as store:
        run = partial(run_study, store=store)
        training = StoredTraining(run, data, "validation_accuracy", keep_states=True)
        bench = bench_for(space(), training, budget)
        STRATEGIES[name](bench, seed)
        return bench.winner


def plain_optuna(data: Dataset, budget: int, seed: int) -> Arm:
    """What one writes without mlplab: Optuna's TPE and an eager PyTorch loop over tensors in memory."""
    x, y = torch.from_numpy(data.train.features), torch.from_numpy(data.train.targets)
    x_valid, y_valid = torch.from_numpy(data.validation.features), torch.from_numpy(data.validation.targets)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", *RATES, log=True)
        width = trial.suggest_categorical("hidden_sizes", WIDTHS)
        dropout = trial.suggest_categorical("dropout", DROPOUTS)
        momentum = trial.suggest_categorical("momentum", MOMENTA)
        generator = torch.manual_seed(seed)
        layers = nn.Linear(data.in_features, width), nn.ReLU(), nn.Dropout(dropout)
        model = nn.Sequential(*layers, nn.Linear(width, data.out_features))
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x), generator=generator).split(BATCH_SIZE):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            return (model(x_valid).argmax(1) == y_valid).float().mean().item()

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=budget)
    best = study.best_params
    rate = float(f"{best['learning_rate']:.4g}")
    return space().arm(best | {"learning_rate": rate, "hidden_sizes": (best["hidden_sizes"],)})


def main() -> None:
    """Search, train the winners anew, print the table, write the JSON."""
    data = load("digits")
    contenders: dict[str, Callable[[Dataset, int, int], Arm]] = {n: partial(ours, n) for n in STRATEGIES}
    contenders[PEER] = plain_optuna
    for search in contenders.values():  # code is loaded
        search(data, max(10, BUDGETS[0]), 99)
    rows = kept()
    left = range(len({row["repeat"] for row in rows}), REPEATS)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/fresh.sqlite") as store:
        for repeat in track(left, console=console, disable=not console.is_terminal):
            rows += searches(contenders, data, repeat)
            if repeat:  # one repeat has no interval
                write(rows, fresh_accuracy([row["winner"] for row in rows], data, store))
    Console().print(table(json.loads(RESULT.read_text("utf-8"))["summary"]))


def kept() -> list[dict[str, Any]]:
    """Searches of earlier calls: none where they are of other versions, another machine or another space."""
    if not RESULT.exists():
        return []
    held, here = json.loads(RESULT.read_text("utf-8")), environment()
    held["environment"]["revision"] = here["revision"]
    if (held["environment"], held["space"], held["epochs"]) != (here, str(space()), EPOCHS):
        return []

    def winner(levels: dict[str, Any]) -> Arm:
        return space().arm({k: tuple(v) if isinstance(v, list) else v for k, v in levels.items()})

    return [row | {"winner": winner(row["winner"])} for row in held["searches"]]


def searches(
    contenders: dict[str, Callable[[Dataset, int, int], Arm]], data: Dataset, repeat: int
) -> list[dict[str, Any]]:
    """A search of each contender with each budget."""
    rows = []
    names = list(contenders)
    # Whoever comes first meets a cold cache: everybody does in turn.
    for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
        for budget in BUDGETS:
            started = time.perf_counter()
            winner = contenders[name](data, budget, repeat)
            seconds = time.perf_counter() - started
            rows.append(
                {"name": name, "budget": budget, "repeat": repeat, "seconds": seconds, "winner": winner}
            )
    return rows


def fresh_accuracy(winners: list[Arm], data: Dataset, store: Store) -> dict[Setting, float]:
    """Mean test accuracy of each setting over fresh seeds; a run that diverged counts as a guess."""
    arms = list({arm.setting: arm for arm in winners}.values())
    seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + FRESH)
    results = run_study(Study(arms, seeds, data), store)
    return {
        arm.setting: float(np.nan_to_num(results.values("test_accuracy", arm.name), nan=0.1).mean())
        for arm in arms
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each contender and budget: regret with its interval, seconds, and both beside the peer's."""

    def of(name: str, budget: int, quantity: str) -> list[float]:
        found = [row for row in rows if (row["name"], row["budget"]) == (name, budget)]
        return [row[quantity] for row in sorted(found, key=lambda row: row["repeat"])]

    entries = []
    for name in [*STRATEGIES, PEER]:
        for budget in BUDGETS:
            regrets, seconds = of(name, budget, "regret"), of(name, budget, "seconds")
            ratios = [a / b for a, b in zip(of(PEER, budget, "seconds"), seconds, strict=True)]
            ahead = paired(np.subtract(of(PEER, budget, "regret"), regrets)) if name != PEER else None
            entries.append(
                {
                    "name": name,
                    "budget": budget,
                    "regret": mean_interval(regrets).to_dict(),
                    "ahead_of_peer": None if ahead is None else ahead.to_dict(),
                    "seconds": statistics.median(seconds),
                    "times_as_fast": {
                        "median": statistics.median(ratios),
                        "low": min(ratios),
                        "high": max(ratios),
                    },
                }
            )
    return entries


def table(entries: list[dict[str, Any]]) -> Table:
    """The summary for a terminal."""
    shown = Table("search", "budget", "regret, points", "less than the peer's", "seconds", "peer / it")
    for entry in entries:
        regret, ahead = entry["regret"], entry["ahead_of_peer"]
        cells = [f"{100 * regret[key]:.2f}" for key in ("estimate", "ci_low", "ci_high")]
        shown.add_row(
            entry["name"],
            str(entry["budget"]),
            f"{cells[0]} [{cells[1]}, {cells[2]}]",
            "" if ahead is None else f"{100 * ahead['estimate']:+.2f} ({ahead['verdict']})",
            f"{entry['seconds']:.2f}",
            f"{entry['times_as_fast']['median']:.1f}",
        )
    return shown


def write(rows: list[dict[str, Any]], worth: dict[Setting, float]) -> None:
    """The JSON, after each repeat: whoever stops it keeps what there is."""
    best = max(worth.values())
    rows = [row | {"regret": best - worth[row["winner"].setting]} for row in rows]
    content = {
        "environment": environment(),
        "threads": torch.get_num_threads(),
        "space": str(space()),
        "epochs": EPOCHS,
        "repeats": len({row["repeat"] for row in rows}),
        "fresh_seeds": FRESH,
        "best_test_accuracy": best,
        "summary": summary(rows),
        "searches": [{**row, "winner": row["winner"].levels} for row in rows],
    }
    fresh = RESULT.with_suffix(".part")
    fresh.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    fresh.replace(RESULT)


if __name__ == "__main__":
    sys.exit(main())
