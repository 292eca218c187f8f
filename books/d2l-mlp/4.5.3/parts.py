"""What a reader hands in: the subgradient of |w|, and the proximal step."""

from collections.abc import Iterator

import numpy as np

from mlplab.workbook import Formula, Function, Part, Wrong


def tries(seed: int) -> Iterator[tuple[np.ndarray, float]]:
    """One weight, then several; inside the threshold, at it and outside."""
    for weight in (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 0.25):
        yield np.array([weight]), 0.5
    drawn = np.random.default_rng(seed)
    for _ in range(20):
        yield drawn.normal(size=5), float(drawn.uniform(0.1, 1))


def soft(v, threshold):
    """Ours."""
    return np.sign(v) * np.maximum(np.abs(v) - threshold, 0)


PARTS = (
    Part(
        "subgradient",
        Formula({"w": "real"}),
        claim="the-subgradient-is-the-sign",
        ours="sign(w)",
        subject=lambda formula: lambda w: formula.xreplace(dict.fromkeys(formula.free_symbols, w)),
        right=("w/|w|", r"\operatorname{sign}(w)", "|w|/w"),
        wrong=(Wrong("w", "quadratic"), Wrong("|w|", "penalty"), Wrong("1")),
    ),
    Part(
        "proximal_step",
        Function(("v", "threshold"), tries),
        claim="the-proximal-step-is-soft-thresholding",
        ours=soft,
        right=(
            lambda v, threshold: v - np.clip(v, -threshold, threshold),
            lambda v, threshold: np.maximum(v - threshold, 0) - np.maximum(-v - threshold, 0),
            lambda v, threshold: [np.copysign(max(abs(one) - threshold, 0), one) for one in v],
        ),
        wrong=(
            Wrong(lambda v, threshold: np.where(np.abs(v) > threshold, v, 0.0), "hard"),
            Wrong(lambda v, threshold: v - threshold * np.sign(v), "jumps"),
            Wrong(lambda v, threshold: (1 - threshold) * v, "decay"),
        ),
    ),
)
