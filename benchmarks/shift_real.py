"""The detectors on real data: house prices by year built, Fashion-MNIST changed in known ways.

MLPLAB_DATA=... python benchmarks/shift.py real
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression

from mlplab import data
from mlplab.rng import Stream
from mlplab.shift import BBSDDetector, C2STDetector, FeatureDetector, MMDDetector

RESULTS = Path(__file__).parent / "results" / "shift-real.json"
ROWS = 500  # images of a sample
STRENGTHS = (1, 2, 3, 4, 5)


def house_prices() -> Iterator[tuple[str, Any, Any]]:
    """Halves by a coin (nothing has shifted), and by year built, without that year and its like."""
    table = data.load_table("house-prices").drop(columns=["Id", "SalePrice"])
    coin = Stream(0, "split").uniform(len(table)) < 0.5
    yield "house prices, halves by a coin", table[coin], table[~coin]
    old = (table["YearBuilt"] <= table["YearBuilt"].median()).to_numpy()
    rest = table.drop(columns=["YearBuilt", "YearRemodAdd", "GarageYrBlt"])
    yield "house prices, old and new houses (years left out)", rest[old], rest[~old]


def images() -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Name, reference, current, and the reference for a model's predictions: test images in all cases."""
    held = data.load("fashion-mnist")
    test = held.part("test")
    pixels, labels = test.features.reshape(-1, 28, 28), test.targets
    order = Stream(0, "split").permutation(len(labels))
    first, rest = order[:ROWS], order[ROWS:]
    reference, plain = pixels[first], pixels[rest[:ROWS]]
    yield "Fashion-MNIST, nothing changed", reference, plain, labels[rest[:ROWS]]
    few = rest[labels[rest] != 3][:ROWS]
    yield "Fashion-MNIST, no dresses", reference, pixels[few], labels[few]
    share = np.where(labels[rest] < 5, 0.6, 1.0)
    tilted = rest[Stream(1, "split").uniform(len(rest)) < share][:ROWS]
    yield "Fashion-MNIST, classes 0 to 4 at 0.6 of their share", reference, pixels[tilted], labels[tilted]
    for strength in STRENGTHS:
        blurred = gaussian_filter(plain, sigma=(0, 0.15 * strength, 0.15 * strength))
        yield f"Fashion-MNIST, blur of {0.15 * strength:.2f} pixels", reference, blurred, labels[rest[:ROWS]]
    for strength in STRENGTHS:
        bright = np.clip(plain * (1 + 0.05 * strength), 0, 1)
        yield f"Fashion-MNIST, {5 * strength}% brighter", reference, bright, labels[rest[:ROWS]]


def run() -> None:
    rows = []
    warnings.simplefilter("ignore")
    for name, before, now in house_prices():
        rows.append(compared(name, before, now, {}))
    held = data.load("fashion-mnist")
    train = held.part("train")
    model = LogisticRegression(max_iter=60, tol=1e-2).fit(train.features[:6_000], train.targets[:6_000])
    for name, before, now, _ in images():
        flat = [side.reshape(len(side), -1) for side in (before, now)]
        bbsd = BBSDDetector(model).fit(flat[0]).test(flat[1])
        rows.append(compared(name, before, now, {"BBSD": (bbsd.p_value, bbsd.drivers[0].name)}))
    RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n", "utf-8")


def compared(name: str, before: Any, now: Any, more: dict[str, tuple[float, str]]) -> dict[str, Any]:
    found = {}
    for who, detector in {
        "features": FeatureDetector(),
        "C2ST": C2STDetector(),
        "MMD": MMDDetector(),
    }.items():
        result = detector.fit(before).test(now)
        found[who] = (result.p_value, result.drivers[0].name)
    found |= more
    print(name, found, flush=True)
    return {"case": name, "rows": [len(before), len(now)], "found": found}


def table() -> str:
    """The p-value of each detector; bold where below .05, with the strongest driver."""
    held = json.loads(RESULTS.read_text("utf-8"))["rows"]
    who = ["features", "C2ST", "MMD", "BBSD"]
    lines = [f"| data | rows | {' | '.join(who)} |", "|---|---|" + "---|" * len(who)]
    for row in held:
        cells = []
        for name in who:
            if name not in row["found"]:
                cells.append("")
                continue
            p, driver = row["found"][name]
            written = f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
            cells.append(f"**{written}** {driver}" if p <= 0.05 else written)
        lines.append(f"| {row['case']} | {row['rows'][0]} + {row['rows'][1]} | {' | '.join(cells)} |")
    return "\n".join(lines)
