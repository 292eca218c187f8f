"""How often the interval of a corrected risk holds the target's risk, where weights are known.

python benchmarks/shift_weights.py coverage. Beside it, a plain t interval of the same estimate and standard error: what
skewness costs where nothing corrects it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import stdtrit
from scipy.stats import norm

from mlplab import stats
from mlplab.rng import Stream
from mlplab.shift.correction import corrected

RESULTS = Path(__file__).parent / "results" / "shift-coverage.json"
SIZES = (30, 100, 300, 1_000)
LEVEL = 0.95


@dataclass(frozen=True)
class Problem:
    """Weights and losses of n source rows, and the mean loss on the target."""

    title: str
    draw: Callable[[Stream, int], tuple[np.ndarray, np.ndarray]]
    risk: float


def _shimodaira(stream: Stream, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = 0.5 + 0.5 * stream.normal(n)
    y = -x + x**3 + 0.3 * stream.normal(n)
    return 5 / 3 * np.exp(-(x**2) / 0.18 + (x - 0.5) ** 2 / 0.5), (y + 0.25 - 0.5 * x) ** 2


def _shimodaira_risk() -> float:
    at, weights = np.polynomial.hermite_e.hermegauss(20)
    x = 0.3 * at
    return float(weights @ ((-x + x**3 + 0.25 - 0.5 * x) ** 2 + 0.09) / weights.sum())


def _errors(stream: Stream, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = stream.normal(n)
    return np.exp(0.7 * x - 0.245), (stream.uniform(n) < norm.cdf(0.5 * x - 1.2)).astype(np.float64)


def _apart(stream: Stream, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = stream.normal((n, 2))
    return np.exp((0.6 * x - 0.18).sum(1)), -np.log(stream.uniform(n))


def _heavy(stream: Stream, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = stream.normal(n)
    return np.exp(x - 0.5), (x - 0.5) ** 2 + stream.normal(n) ** 2


PROBLEMS = {
    "Shimodaira": Problem("squared errors of Shimodaira's first line", _shimodaira, _shimodaira_risk()),
    "errors": Problem(
        "0 or 1: a classifier's errors, N(0, 1) to N(.7, 1)", _errors, float(norm.cdf(-0.85 / np.sqrt(1.25)))
    ),
    "apart": Problem(
        "losses that hang together with no weight: N(0, I) to N(.6, I) in 2 features", _apart, 1.0
    ),
    "heavy": Problem("losses that are largest where weights are: N(0, 1) to N(1, 1)", _heavy, 2.25),
}


def covered(problem: Problem, n: int, repeats: int) -> dict[str, float]:
    """How many of the repeats' intervals hold the risk, and the plain t interval's; how many are warned of."""
    found = {"repeats": repeats, "covered": 0, "plain": 0, "warned": 0, "covered_unwarned": 0}
    worth = []
    for seed in range(repeats):
        weights, losses = problem.draw(Stream(seed, "data"), n)
        correction = corrected(weights, "known")
        at = correction.risk(losses, ci_prob=LEVEL).corrected
        worth.append(correction.effective_sample_size)
        is_warned = bool({"few-rows", "heavy-tail"} & set(correction.warnings))
        found["warned"] += is_warned
        if at.ci_low is None or at.ci_high is None or at.std_error is None:
            found["covered"] += 1  # without an end
            found["covered_unwarned"] += not is_warned
            continue
        holds = at.ci_low <= problem.risk <= at.ci_high
        found["covered"] += holds
        found["covered_unwarned"] += holds and not is_warned
        squares = (weights / weights.max()) ** 2
        degrees = squares.sum() ** 2 / (squares @ squares) - 1
        half = stdtrit(degrees, (1 + LEVEL) / 2) * at.std_error
        found["plain"] += abs(at.estimate - problem.risk) <= half
    return {name: int(value) for name, value in found.items()} | {"worth": round(float(np.median(worth)), 1)}


def run(repeats: int) -> None:
    cells = {
        f"{name} | {n}": covered(problem, n, repeats) for name, problem in PROBLEMS.items() for n in SIZES
    }
    RESULTS.write_text(json.dumps({"level": LEVEL, "cells": cells}, indent=1) + "\n", "utf-8")


def table() -> str:
    """Coverage of both intervals, for the page."""
    cells = json.loads(RESULTS.read_text("utf-8"))["cells"]
    lines = [
        "| losses | rows | worth | covers (95% interval) | a plain t would | warned of | where nothing warns |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, problem in PROBLEMS.items():
        for n in SIZES:
            row = cells[f"{name} | {n}"]
            share = stats.proportion_interval(row["covered"], row["repeats"])
            silent = row["repeats"] - row["warned"]
            rest = f"{row['covered_unwarned'] / silent:.3f}" if silent >= 100 else ""
            lines.append(
                f"| {problem.title} | {n:,} | {row['worth']:.0f} | {share.estimate:.3f} ({share.ci_low:.3f} to "
                f"{share.ci_high:.3f}) | {row['plain'] / row['repeats']:.3f} | {row['warned'] / row['repeats']:.0%} "
                f"| {rest} |"
            )
    return "\n".join(lines)
