"""What a run costs on a Ray cluster: training, scaling from 1 to 2 workers, driver, store, memory.

    python benchmarks/cluster.py

On each cluster, rounds on it and rounds in this process come in turn; scaling is the ratio of the two ratios: what else
the machine does harms both alike. Where it leaves less than two cores free, two workers cannot show what they can.
Needs the extra `ray`.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import torch

from mlplab.data import Dataset, load
from mlplab.environment import environment
from mlplab.knobs import turn
from mlplab.spec import Run, Setting
from mlplab.study import Store, Study, factorial, run_study
from mlplab.study.cluster import Cluster

SEEDS, ROUNDS, EPOCHS, PLANNED = 60, 3, 20, 40_000
RESULT = Path(__file__).parent / "results" / "cluster.json"


def main() -> None:
    """Measure, write the JSON."""
    torch.set_num_threads(1)
    data = load("digits")
    base = turn(Setting(), hidden_sizes=64, epochs=EPOCHS, batch_size=32)
    study = Study(factorial(base, learning_rate=[0.02, 0.05, 0.1, 0.2]), SEEDS, data)
    content: dict[str, Any] = {
        "environment": environment(),
        "setting": f"digits, 64-64-10, {EPOCHS} epochs of batches of 32",
        "runs": len(study.runs),
        "rounds": ROUNDS,
        "here": cost_here(study),
        "plan": cost_of_planning(base, data),
    }
    ratios: dict[str, list[float]] = {}
    driver = []
    for workers in (1, 2):
        with Cluster(workers=workers) as cluster:
            there = {"train": cluster, "chunks_at_once": cluster.chunks_at_once}
            once(study, there)  # code is loaded, data are handed over
            pairs = []
            for _ in range(ROUNDS):
                started = time.process_time()
                far = once(study, there)
                driver.append((time.process_time() - started) / len(study.runs))
                pairs.append((far, once(study, {})))
        ratios[str(workers)] = [here / far for far, here in pairs]
        content["seconds"] = content.get("seconds", {}) | {str(workers): pairs}
    content["beside_one_process"] = {
        workers: {"median": statistics.median(found), "low": min(found), "high": max(found)}
        for workers, found in ratios.items()
    }
    content["driver_seconds"] = statistics.median(driver)
    content["scaling"] = statistics.median(ratios["2"]) / statistics.median(ratios["1"])
    RESULT.write_text(json.dumps(content, indent=1, default=str) + "\n")
    print(
        json.dumps(
            {
                name: content[name]
                for name in ("here", "plan", "beside_one_process", "driver_seconds", "scaling")
            },
            indent=1,
        )
    )


def once(study: Study, how: dict[str, Any]) -> float:
    """Wall seconds of a study with an empty store."""
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/runs.sqlite") as store:
        started = time.perf_counter()
        run_study(study, store, **how)
        return time.perf_counter() - started


def cost_here(study: Study) -> dict[str, float]:
    """Of a run: processor seconds in all and of reading it back, bytes in the store and of its result in memory."""
    with tempfile.TemporaryDirectory() as folder:
        with Store(f"{folder}/runs.sqlite") as store:
            started = time.process_time()
            run_study(study, store)
            trained = time.process_time() - started
            started = time.process_time()
            run_study(study, store)  # all found: planning and reading
            read = time.process_time() - started
            tracemalloc.start()
            results = run_study(study, store)
            rows = len(results.frame) + len(results.curves)  # made when asked for
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert rows
        size = Path(f"{folder}/runs.sqlite").stat().st_size
    num = len(study.runs)
    return {
        "train_seconds": (trained - read) / num,
        "read_seconds": read / num,
        "store_bytes": size / num,
        "result_bytes": held / num,
    }


def cost_of_planning(base: Setting, data: Dataset) -> dict[str, float]:
    """Of a planned run, in the driver: processor seconds and bytes, before anything is trained."""

    def plan() -> dict[str, Run]:
        study = Study(factorial(base, learning_rate=[0.1, 0.2]), PLANNED // 2, data)
        return dict(zip(study.digests, study.runs, strict=True))

    started = time.process_time()
    plan()
    spent = time.process_time() - started
    tracemalloc.start()
    planned = plan()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"seconds": spent / len(planned), "bytes": taken / len(planned)}


if __name__ == "__main__":
    main()
