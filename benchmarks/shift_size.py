"""How long `mlplab shift check` takes on large files, and how much memory: python benchmarks/shift.py size.

Two CSV files of so many rows, with a number for each and 20 columns, are made in a folder that is deleted after.
One process, one thread; the processor's seconds, since other work on the machine only makes one wait.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mlplab.rng import Stream

RESULTS = Path(__file__).parent / "results" / "shift-size.json"
COLUMNS, STEP = 20, 50_000


def write(path: Path, rows: int, seed: int) -> None:
    """A number for each row, and 20 columns of noise that repeat after 50,000 rows: no two rows are equal."""
    stream = Stream(seed, "data")
    frame = pd.DataFrame(np.round(stream.normal((STEP, COLUMNS - 3)) + 0.02 * seed, 4))
    frame = frame.add_prefix("x")
    frame["city"] = np.array(["Aachen", "Bergen", "Cork"])[(3 * stream.uniform(STEP)).astype(int)]
    frame["member"] = stream.uniform(STEP) < 0.4
    frame["visits"] = np.floor(-6 * np.log(stream.uniform(STEP))).astype(int)
    header, *lines = frame.to_csv(index=False).splitlines()
    with path.open("w", encoding="utf-8") as file:
        file.write(f"id,{header}\n")
        for start in range(0, rows, STEP):
            first = start + seed * rows  # an id is of one file alone
            file.writelines(f"{first + place},{line}\n" for place, line in enumerate(lines[: rows - start]))


def run(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("old.csv", "new.csv")]
        for seed, path in enumerate(paths):
            write(path, rows, seed)
        megabytes = sum(path.stat().st_size for path in paths) / 1e6
        begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(
            [sys.executable, "-m", "mlplab", "shift", "check", *map(str, paths)],
            check=False, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stderr)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(done.stdout)
        kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        kept[str(rows)] = {
            "megabytes": round(megabytes),
            "user_seconds": round(used.ru_utime - before, 1),
            "wall_seconds": round(time.perf_counter() - begin, 1),
            "peak_megabytes": round(used.ru_maxrss / 1e3),
        }
        RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")


def table() -> str:
    lines = [
        "| rows of each file | both files, MB | processor, s | on the clock, s | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    for rows, row in sorted(json.loads(RESULTS.read_text("utf-8")).items(), key=lambda item: int(item[0])):
        figures = (row["megabytes"], row["user_seconds"], row["wall_seconds"], row["peak_megabytes"])
        lines.append(f"| {int(rows):,} | " + " | ".join(f"{figure:,.0f}" for figure in figures) + " |")
    return "\n".join(lines)
