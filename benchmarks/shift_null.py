"""How often each detector raises a false alarm, by sizes and features: python benchmarks/shift.py null.

Both samples are drawn from N(0, I). For BBSD these are a model's scores of d classes: predicted classes are equally
frequent. Every finished hundred repeats is kept: the same command goes on from there, and more repeats can be added.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlplab import stats
from mlplab.rng import Stream
from shift_contenders import CONTENDERS

RESULTS = Path(__file__).parent / "results" / "shift-null.json"
ALPHA = 0.05
STEP = 100
SIZES, FEATURES = (50, 200, 1_000), (2, 10, 100)


def drawn(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of n rows from one law: the repeat's own, the same for every detector."""
    points = Stream(seed, "data").normal((2 * n, d))
    return points[:n], points[n:]


def run(names: Sequence[str], sizes: Sequence[int], features: Sequence[int], repeats: int) -> None:
    """Fill the table, the cheapest cells first; what is there stays."""
    cells = [(name, n, d) for n in sizes for d in features for name in names]
    for name, n, d in sorted(cells, key=lambda cell: (names.index(cell[0]), cell[1] * cell[2])):
        while True:
            found = kept().get(key(name, n, d), {"repeats": 0, "rejected": 0, "seconds": 0.0})
            start = int(found["repeats"])
            if start >= repeats:
                break
            begin, rejected = time.process_time(), 0
            stop = min(repeats, start + STEP)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for seed in range(start, stop):
                    rejected += CONTENDERS[name](*drawn(seed, n, d), seed) <= ALPHA
            seconds = found["seconds"] + time.process_time() - begin
            row = {"repeats": stop, "rejected": found["rejected"] + rejected, "seconds": round(seconds, 2)}
            keep(key(name, n, d), row)
            print(
                f"{name:24} n={n:5} d={d:4} {row['rejected'] / stop:.4f} of {stop:,}, {seconds:.0f} s",
                flush=True,
            )


def key(name: str, n: int, d: int) -> str:
    return f"{name} | {n} | {d}"


def kept() -> dict[str, dict[str, float]]:
    return json.loads(RESULTS.read_text("utf-8"))["cells"] if RESULTS.exists() else {}


def keep(name: str, row: dict[str, float]) -> None:
    """Another process may be filling other cells: read, change one, replace the file at once."""
    cells = kept() | {name: row}
    fresh = RESULTS.with_suffix(".part")
    fresh.write_text(json.dumps({"alpha": ALPHA, "cells": cells}, indent=1, sort_keys=True) + "\n", "utf-8")
    fresh.replace(RESULTS)


def table() -> str:
    """Share of false alarms with its exact 95% interval (Clopper and Pearson), for the page."""
    lines = [
        "| detector | n | d | false alarms | 95% interval | repeats | CPU seconds a test |",
        "|---|---|---|---|---|---|---|",
    ]
    cells = kept()
    for name in CONTENDERS:
        for n in SIZES:
            for d in FEATURES:
                row = cells.get(key(name, n, d))
                if row is None:
                    continue
                share = stats.proportion_interval(int(row["rejected"]), int(row["repeats"]))
                lines.append(
                    f"| {name} | {n} + {n} | {d} | {share.estimate:.3f} | {share.ci_low:.3f} to {share.ci_high:.3f} "
                    f"| {int(row['repeats']):,} | {row['seconds'] / row['repeats']:.3f} |"
                )
    return "\n".join(lines)
