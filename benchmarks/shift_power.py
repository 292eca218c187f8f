"""How often a shift is found, by its size, beside alibi-detect and the literature: python benchmarks/shift.py power.

All detectors see the same samples: 100 + 100 rows of 10 features, level .05. The size 0 is the false-alarm rate.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mlplab import stats
from mlplab.rng import Stream
from shift_contenders import CONTENDERS

RESULTS = Path(__file__).parent / "results" / "shift-power.json"
ALPHA, ROWS, FEATURES = 0.05, 100, 10
OURS = ("features", "C2ST logistic", "C2ST gradient boosting", "MMD", "literature's C2ST")
SHIFTS = {
    "mean of one feature, in SD": (0.0, 0.25, 0.5, 0.75, 1.0),
    "mean of all features, in SD": (0.1, 0.2, 0.3),
    "SD of all features, as a factor": (1.15, 1.3, 1.5),
    "correlation of two features": (0.5, 0.9),
}


def moved(points: np.ndarray, shift: str, size: float) -> np.ndarray:
    points = points.copy()
    if shift.startswith("mean of one"):
        points[:, 0] += size
    elif shift.startswith("mean of all"):
        points += size
    elif shift.startswith("SD"):
        points *= size
    else:
        points[:, 1] = size * points[:, 0] + np.sqrt(1 - size**2) * points[:, 1]
    return points


def run(repeats: int, alibi: str | None) -> None:
    """Fill the table, a cell at a time; what is there stays."""
    for rank in range(max(map(len, SHIFTS.values()))):  # one size of each shift, the middle first
        for shift, sizes in SHIFTS.items():
            if rank >= len(sizes):
                continue
            size = sizes[(len(sizes) // 2 + rank) % len(sizes)]
            cells = kept()["cells"]
            name = f"{shift} | {size:g}"
            have = cells.get(name, {})
            draws = [Stream(seed, "data", layer=1).normal((2 * ROWS, FEATURES)) for seed in range(repeats)]
            pairs = [(points[:ROWS], moved(points[ROWS:], shift, size)) for points in draws]
            for ours in OURS:
                if have.get(ours, {}).get("repeats", 0) < repeats:
                    begin = time.process_time()
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        p = [CONTENDERS[ours](*pair, seed) for seed, pair in enumerate(pairs)]
                    keep(name, ours, p, time.process_time() - begin)
            if alibi and have.get("alibi-detect MMDDrift", {}).get("repeats", 0) < repeats:
                version, found, seconds = ask(alibi, pairs)
                for theirs, p in found.items():
                    keep(name, f"alibi-detect {theirs}", p, seconds / len(found), version)
            print(
                name,
                {who: round(row["found"] / row["repeats"], 3) for who, row in kept()["cells"][name].items()},
                flush=True,
            )


def ask(python: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[str, dict[str, list[float]], float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.npz"
        np.savez(path, reference=np.stack([a for a, _ in pairs]), current=np.stack([b for _, b in pairs]))
        begin = time.perf_counter()
        done = subprocess.run(
            [python, str(Path(__file__).parent / "shift_peer.py"), str(path)],
            capture_output=True, text=True, check=True,
            env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": folder},
        )  # fmt: skip
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        return answer["version"], answer["p_values"], time.perf_counter() - begin


def kept() -> dict:
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"alpha": ALPHA, "cells": {}}


def keep(cell: str, who: str, p: list[float], seconds: float, version: str | None = None) -> None:
    held = kept()
    found = int((np.asarray(p) <= ALPHA).sum())
    held["cells"].setdefault(cell, {})[who] = {
        "found": found,
        "repeats": len(p),
        "seconds": round(seconds, 2),
    }
    if version:
        held["alibi-detect"] = version
    fresh = RESULTS.with_suffix(".part")
    fresh.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", "utf-8")
    fresh.replace(RESULTS)


def table() -> str:
    """Share of repeats in which the shift was found, with an exact 95% interval."""
    held = kept()
    who = [
        *OURS,
        *sorted({name for cell in held["cells"].values() for name in cell if name.startswith("alibi")}),
    ]
    lines = [f"| shift | size | {' | '.join(who)} |", "|---|---|" + "---|" * len(who)]
    for shift, sizes in SHIFTS.items():
        for size in sizes:
            row = held["cells"].get(f"{shift} | {size:g}", {})
            cells = []
            for name in who:
                if name not in row:
                    cells.append("")
                    continue
                share = stats.proportion_interval(row[name]["found"], row[name]["repeats"])
                cells.append(f"{share.estimate:.2f} ({share.ci_low:.2f} to {share.ci_high:.2f})")
            lines.append(f"| {shift} | {size:g} | {' | '.join(cells)} |")
    repeats = sorted({row["repeats"] for cell in held["cells"].values() for row in cell.values()})
    version = f", alibi-detect {held['alibi-detect']}" if "alibi-detect" in held else ""
    return "\n".join([f"{' or '.join(map(str, repeats))} repeats a cell{version}.", "", *lines])


def plot() -> Any:
    """Share found against size, a panel for each kind of shift; bars are exact 95% intervals."""
    import altair as alt
    import pandas as pd

    from mlplab.charts import plots

    rows = []
    for cell, found in kept()["cells"].items():
        shift, size = cell.split(" | ")
        for who, row in found.items():
            share = stats.proportion_interval(row["found"], row["repeats"])
            ends = {"low": share.ci_low, "high": share.ci_high}
            rows.append({"shift": shift, "size": float(size), "test": who, "found": share.estimate} | ends)
    names = sorted({row["test"] for row in rows}, key=lambda name: (name.startswith("alibi"), name))
    colours = alt.Scale(domain=names, range=[*plots.PALETTE, plots.GREY, plots.INK])
    dashes = alt.Scale(domain=names, range=[[4, 3] if name.startswith("alibi") else [1, 0] for name in names])
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=300, title=None, symbolType="stroke")
    shared = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("size:Q", scale=alt.Scale(zero=False), title="size of the shift", axis=alt.Axis(tickCount=5)),
        color=alt.Color("test:N", scale=colours, legend=legend),
    )
    lines = shared.mark_line(point=True).encode(
        y=alt.Y("found:Q", title="share found", scale=alt.Scale(domain=[0, 1])),
        strokeDash=alt.StrokeDash("test:N", scale=dashes, legend=legend),
    )
    bars = shared.mark_rule().encode(y="low:Q", y2="high:Q")
    panels = (lines + bars).properties(width=300, height=200)
    return panels.facet(facet=alt.Facet("shift:N", sort=list(SHIFTS), title=None), columns=2).resolve_scale(
        x="independent"
    )
