"""`MLPSearchCV` beside `GridSearchCV(MLPClassifier(...), n_jobs=2)`: the same grid, the same folds of `digits`.

    python benchmarks/search_cv.py

One after the other, in turn over the rounds; the times are of `fit` without the refit, and what is told is their ratio.
Beside it the limit: scikit-learn's processor time for such fits over that of their matrix products alone, in stacks
and by the library that the engine uses. No program that computes the same products is faster than that.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import mlplab
from mlplab.environment import environment
from mlplab.stats import mean_interval

GRID = {
    "hidden_layer_sizes": [(32,), (64,)],
    "learning_rate_init": [0.001, 0.003, 0.01, 0.03],
    "alpha": [0.0001, 0.01, 1.0],
}
MAX_ITER, FOLDS, ROUNDS, N_JOBS, BATCH = 50, 5, 3, 2, 200
RESULT = Path(__file__).parent / "results" / "search_cv.json"


STACK = 30  # models whose products are computed together, about as many as the engine puts into a chunk
STACKS = 20  # of products that are timed


def limit(x: Any, y: Any) -> dict[str, float]:
    """Processor seconds of scikit-learn's fits, and of the products of the same steps, by one thread each."""
    spent, bare = 0.0, 0.0
    rows = len(x) * (FOLDS - 1) // FOLDS
    draws = np.random.default_rng(0)
    with threadpool_limits(1):
        for (width,) in GRID["hidden_layer_sizes"]:
            fit = MLPClassifier(
                (width,), max_iter=MAX_ITER, tol=0.0, n_iter_no_change=MAX_ITER, random_state=0
            )
            started = time.process_time()
            fit.fit(x[:rows], y[:rows])
            spent += time.process_time() - started
            shapes = (BATCH, x.shape[1]), (x.shape[1], width), (width, 10), (BATCH, width), (BATCH, 10)
            inputs, first, last, hidden, slopes = (
                draws.random((STACK, *shape), dtype=np.float32) for shape in shapes
            )
            started = time.process_time()
            for _ in range(STACKS):
                np.matmul(np.matmul(inputs, first), last)
                np.matmul(hidden.transpose(0, 2, 1), slopes)
                np.matmul(inputs.transpose(0, 2, 1), np.matmul(slopes, last.transpose(0, 2, 1)))
            steps = MAX_ITER * -(-rows // BATCH)
            bare += (time.process_time() - started) * steps / (STACK * STACKS)
    return {"scikit_learn": spent, "products": bare, "ratio": spent / bare}


def main() -> None:
    """Measure, print, write the JSON."""
    torch.set_num_threads(N_JOBS)
    os.environ["PYTHONWARNINGS"] = "ignore"  # also of scikit-learn's workers: they say that 50 epochs are few
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = load_digits(return_X_y=True)
    x = x / 16
    searches: dict[str, Any] = {
        # tol=0: both train for as many epochs.
        "GridSearchCV": lambda seed: GridSearchCV(
            MLPClassifier(max_iter=MAX_ITER, tol=0.0, n_iter_no_change=MAX_ITER, random_state=seed),
            GRID,
            cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed),
            n_jobs=N_JOBS,
            refit=False,
        ),
        "MLPSearchCV": lambda seed: mlplab.MLPSearchCV(
            mlplab.MLPClassifier(max_iter=MAX_ITER, random_state=seed),
            GRID,
            cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed),
            refit=False,
        ),
    }
    for search in searches.values():  # workers are started, code is loaded
        small = search(0)
        small.param_grid = {"alpha": [0.1]}
        small.fit(x[:200], y[:200])
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    best: dict[str, list[float]] = {name: [] for name in searches}
    mean: dict[str, list[float]] = {name: [] for name in searches}
    limits = []
    for seed in range(ROUNDS):
        limits.append(limit(x, y))
        for name, search in searches.items():
            started = time.perf_counter()
            found = search(seed).fit(x, y)
            seconds[name].append(time.perf_counter() - started)
            scores = found.cv_results_["mean_test_score"]
            best[name].append(float(scores.max()))
            mean[name].append(float(scores.mean()))
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    difference = np.subtract(best["MLPSearchCV"], best["GridSearchCV"])
    content = {
        "environment": environment(),
        "threads": N_JOBS,
        "grid": {name: [str(level) for level in levels] for name, levels in GRID.items()},
        "fits": FOLDS * int(np.prod([len(levels) for levels in GRID.values()])),
        "max_iter": MAX_ITER,
        "rounds": ROUNDS,
        "seconds": seconds,
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "limits": limits,
        "limit": statistics.median(found["ratio"] for found in limits),
        "best_score": best,
        "mean_score": mean,
        "best_score_difference": mean_interval(difference).to_dict(),
    }
    RESULT.write_text(json.dumps(content, indent=1, default=str) + "\n")
    console = Console()
    console.print(f"{content['fits']} fits of {MAX_ITER} epochs: {content['ratio']} times as fast")
    console.print(f"seconds {seconds}\nbest score {best}\nmean score {mean}")


if __name__ == "__main__":
    main()
