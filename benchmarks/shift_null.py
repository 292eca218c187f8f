"""How often each detector raises a false alarm, by sizes and features: python benchmarks/shift.py null.

Both samples are drawn from N(0, I), anew for each setting. For BBSD these are a model's scores of d classes: predicted
classes are equally frequent. Every finished hundred repeats is kept: the same command goes on from there, and more
repeats can be added. Detectors that `shift_batched` has are not run one by one.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mlplab import stats
from mlplab.rng import Stream
from shift_batched import BATCHES
from shift_contenders import ALPHA, CONTENDERS

RESULTS = Path(__file__).parent / "results" / "shift-null.json"
STEP = 100
SIZES, FEATURES = (50, 200, 1_000), (2, 10, 100)


def drawn(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of n rows from one law: the repeat's own, the same for every detector."""
    setting = len(FEATURES) * SIZES.index(n) + FEATURES.index(d) + 1
    points = Stream(seed, "data", layer=setting).normal((2 * n, d))
    return points[:n], points[n:]


def run(names: Sequence[str], sizes: Sequence[int], features: Sequence[int], repeats: int) -> None:
    """Fill the table, the cheapest cells first; what is there stays."""
    cells = [(name, n, d) for n in sizes for d in features for name in names]
    for name, n, d in sorted(cells, key=lambda cell: (names.index(cell[0]), cell[1] * cell[2])):
        while True:
            # Twins go on together, from where the first of them is.
            held = [kept().get(key(same, n, d), {}) for same in twins(name)]
            row = max(held, key=lambda row: row.get("repeats", 0))
            done, rejected = int(row.get("repeats", 0)), int(row.get("rejected", 0))
            if done < repeats:
                seeds = range(done, min(repeats, done + STEP))
                rejected += int((np.asarray(p_values(name, n, d, seeds)) <= ALPHA).sum())
                done = seeds.stop
            for same in twins(name):
                keep(key(same, n, d), {"repeats": done, "rejected": rejected})
            print(f"{name:24} n={n:5} d={d:4} {rejected / done:.4f} of {done:,}", flush=True)
            if done >= repeats:
                break


def twins(name: str) -> list[str]:
    """Detectors that are the same test where all features are numbers: counted once, on the same draws."""
    if name not in BATCHES:
        return [name]
    return [other for other, batch in BATCHES.items() if batch is BATCHES[name]]


def p_values(name: str, n: int, d: int, seeds: Sequence[int]) -> list[float]:
    draws = [drawn(seed, n, d) for seed in seeds]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in BATCHES:
            return BATCHES[name](draws, seeds)
        return [CONTENDERS[name](*draw, seed) for draw, seed in zip(draws, seeds, strict=True)]


def clock(rounds: int = 7) -> None:
    """The processor's seconds of one test, pictures and power with it: the median of rounds over all detectors."""
    for n in SIZES:
        for d in FEATURES:
            taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
            for seed in range(rounds):
                draw = drawn(seed, n, d)
                for name, test in CONTENDERS.items():
                    begin = time.process_time()
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        test(*draw, seed)
                    taken[name].append(time.process_time() - begin)
            for name, seconds in taken.items():
                keep(key(name, n, d), {"seconds": round(statistics.median(seconds), 4)})


def key(name: str, n: int, d: int) -> str:
    return f"{name} | {n} | {d}"


def kept() -> dict[str, dict[str, float]]:
    return json.loads(RESULTS.read_text("utf-8"))["cells"] if RESULTS.exists() else {}


def keep(name: str, row: Mapping[str, float]) -> None:
    """Another process may be filling other cells: read, change one, replace the file at once."""
    cells = kept()
    cells[name] = cells.get(name, {}) | dict(row)
    fresh = RESULTS.with_suffix(".part")
    fresh.write_text(json.dumps({"alpha": ALPHA, "cells": cells}, indent=1, sort_keys=True) + "\n", "utf-8")
    fresh.replace(RESULTS)


def table() -> str:
    """Share of false alarms with its exact 95% interval (Clopper and Pearson), for the page."""
    cells = kept()
    lines, ours = [], []
    for name in CONTENDERS:
        for n in SIZES:
            for d in FEATURES:
                row = cells.get(key(name, n, d), {})
                if not row.get("repeats"):
                    continue
                share = stats.proportion_interval(int(row["rejected"]), int(row["repeats"]))
                if not name.startswith(("false", "literature")):
                    ours.append((name, n, d, share))
                seconds = f"{row['seconds']:.3f}" if "seconds" in row else ""
                lines.append(
                    f"| {name} | {n} + {n} | {d} | {share.estimate:.3f} | {share.ci_low:.3f} to {share.ci_high:.3f} "
                    f"| {int(row['repeats']):,} | {seconds} |"
                )
    above = [f"{name} at {n} + {n}, d = {d}" for name, n, d, share in ours if share.ci_low > ALPHA]
    which = f" ({'; '.join(above)})" if above else ""
    worst = max(ours, key=lambda cell: cell[3].estimate)
    where = f"{worst[0]}, {worst[1]} + {worst[1]}, d = {worst[2]}"
    told = (
        f"Settings of our detectors: {len(ours)}. With an interval wholly above .05: {len(above)}{which}; chance "
        f"alone puts one in forty there. The largest share is {worst[3].estimate:.3f} ({where})."
    )
    head = [
        "| detector | n | d | false alarms | 95% interval | repeats | CPU seconds a test |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([told, "", *head, *lines])
