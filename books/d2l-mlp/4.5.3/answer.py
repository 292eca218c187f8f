"""4.5.3 What does the update look like when the penalty is the sum of absolute weights?

On the section's own problem, 200 weights and 20 examples, the same L1 penalty is minimised three ways: by its
subgradient, by the proximal step, and by scikit-learn's coordinate descent. The optimum is known by its conditions
(KKT), so it can be said which of them arrive, and how many weights are exactly zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from mlplab import data
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.answers.checks import all_below, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.stats import prediction_interval
from mlplab.study import Arm, Study

from .. import chapter

if TYPE_CHECKING:
    import altair

L1 = 0.05
METHODS = (
    "subgradient",
    "proximal",
    "lasso",
    "ridge",
)
NUM_WEIGHTS, NUM_EXAMPLES = 200, 20
TOLERANCE = 1e-5  # of the KKT conditions, in units of the gradient


def observe(lab: Lab) -> Observations:
    """Train the section's problem from zero on full batches with each penalty, and solve it with scikit-learn."""
    seeds = lab.seeds(quick=5, full=30)
    problems = {seed: data.load("linear-high-dim", draw=seed) for seed in seeds}
    strength = lab.take("l1", turn(chapter.LINEAR_SETTING, l1=L1))
    base = lab.setting(
        turn(
            chapter.LINEAR_SETTING, initialization="zeros", batch_size=None, learning_rate=0.02, epochs=5_000,
            evaluate_every=100_000, precision="float64",
        )
    )  # fmt: skip
    arms = (
        Arm("subgradient", turn(base, l1=strength)),
        Arm("proximal", turn(base, l1=strength, proximal=True)),
        Arm("ridge", turn(base, weight_decay=strength)),
    )
    runs = lab.run(Study(arms, seeds, problems.__getitem__))
    rows, weights = [], []
    for seed, problem in problems.items():
        found = {arm.name: runs.parameters(arm.name, seed)[0] for arm in arms}
        solved = {name: (np.asarray(w)[0], float(np.asarray(b)[0])) for name, (w, b) in found.items()}
        solved["lasso"] = by_scikit_learn(problem, strength)
        for name in METHODS:
            measured = _measured(problem, *solved[name], strength, solved["lasso"][0])
            rows.append({"arm": name, "seed": seed, "status": "finished"} | measured)
            if seed == seeds[0]:
                order = np.argsort(-np.abs(solved["lasso"][0]), kind="stable")
                weights += [
                    {"arm": name, "rank": rank, "size": float(f"{abs(w):.4g}")}
                    for rank, w in enumerate(np.abs(solved[name][0][order]), start=1)
                ]
    return lab.observations(
        runs=pd.DataFrame(rows), weights=pd.DataFrame(weights), strength=pd.DataFrame([{"l1": strength}])
    )


def by_scikit_learn(problem: Dataset, strength: float) -> tuple[np.ndarray, float]:
    """scikit-learn minimises 1/(2n) |y - Xw - b|² + α |w|₁: the section's mean of half squared errors, with α = λ."""
    model = Lasso(alpha=strength, tol=1e-12, max_iter=1_000_000)
    x, y = problem.train.features.astype(np.float64), problem.train.targets[:, 0].astype(np.float64)
    model.fit(x, y)
    return model.coef_, float(model.intercept_)


def gradient(problem: Dataset, w: np.ndarray, b: float) -> np.ndarray:
    """The gradient of the mean of half the squared error in the weights."""
    x, y = problem.train.features.astype(np.float64), problem.train.targets[:, 0].astype(np.float64)
    return x.T @ (x @ w + b - y) / len(y)


def kkt_violation(g: np.ndarray, w: np.ndarray, strength: float) -> float:
    """How far w is from an optimum of L + λ|w|₁, where g is the gradient of L.

    g = -λ sign(w) where w is not 0, and |g| ≤ λ where it is: the largest deviation from that.
    """
    moved = np.abs(g + strength * np.sign(w))
    resting = np.maximum(np.abs(g) - strength, 0)
    return float(np.where(w == 0, resting, moved).max())


def _measured(
    problem: Dataset, w: np.ndarray, b: float, strength: float, lasso: np.ndarray
) -> dict[str, Any]:
    return {
        "zeros": int(np.sum(w == 0)),
        "nearly_zero": int(np.sum(np.abs(w) < 1e-3)),
        "violation": float(f"{kkt_violation(gradient(problem, w, b), w, strength):.4g}"),
        "distance": float(f"{np.abs(w - lasso).max():.4g}"),
    }


# Checks


def is_subgradient(candidate: Callable[[Any], Any]) -> Finding:
    """Is this the derivative of |w| on both sides of 0?"""
    t = sympy.Symbol("t", positive=True)
    right, left = sympy.diff(sympy.Abs(t), t), -sympy.diff(sympy.Abs(-t), t)
    gaps = [sympy.simplify(right - candidate(t)), sympy.simplify(left - candidate(-t))]
    return Finding.true_if(gaps == [0, 0], f"w > 0: {right}, w < 0: {left}")


def takes_the_step(update: Callable[[Tensor, float, float], Tensor]) -> Finding:
    """Random weights, rates and λ: is this what SGD makes of λ|w|₁, by autograd?"""
    worst = 0.0
    for number in range(20):
        stream = Stream(number, "data", step=1)
        rate, strength = (float(value) for value in stream.uniform(2))
        w = torch.from_numpy(stream.normal(8)).requires_grad_()
        (strength * w.abs().sum()).backward()
        said = update(w.detach(), rate, strength)
        torch.optim.SGD([w], lr=rate).step()
        worst = max(worst, float((w.detach() - said).abs().max()))
    return Finding.true_if(worst < 1e-12, worst_error=worst)


def soft_threshold(v: np.ndarray, threshold: float) -> np.ndarray:
    """sign(v) max(|v| - threshold, 0)."""
    return np.sign(v) * np.maximum(np.abs(v) - threshold, 0)


def hard_threshold(v: np.ndarray, threshold: float) -> np.ndarray:
    """v, or 0 where it is small: that is the step of the number of weights that are not 0, not of their sum."""
    return np.where(np.abs(v) > threshold, v, 0.0)


def minimises(step: Callable[[np.ndarray, float], np.ndarray]) -> Finding:
    """Random v and thresholds: is no other w better for (w - v)²/2 + threshold |w|?"""
    worst, tries = 0.0, 200
    for number in range(tries):
        stream = Stream(number, "data")
        v, threshold = 2 * stream.normal(1), float(stream.uniform(1)[0])
        grid = np.append(np.linspace(-6, 6, 4001), [0.0])

        def objective(w: np.ndarray, v: np.ndarray = v, threshold: float = threshold) -> np.ndarray:
            return (w - v) ** 2 / 2 + threshold * np.abs(w)

        worst = max(worst, float(objective(step(v, threshold))[0] - objective(grid).min()))
    return Finding.true_if(worst < 1e-12, worst_loss=worst, tries=tries)


def values(observations: Observations, method: str, quantity: str) -> np.ndarray:
    """A quantity of every draw."""
    return observations.runs.values(quantity, method)


def have_zeros(counts: np.ndarray) -> Finding:
    """Are at least 180 of the 200 weights exactly 0 in every draw? At most 20 examples can hold others."""
    least = NUM_WEIGHTS - NUM_EXAMPLES
    return Finding.true_if(bool((counts >= least).all()), fewest=int(counts.min()), most=int(counts.max()))


def have_none(counts: np.ndarray) -> Finding:
    """Is no weight of any draw exactly 0?"""
    return Finding.true_if(bool((counts == 0).all()), most=int(counts.max()))


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Exact zeros of the two steps, and that the proximal one ends at the lasso."""
    zeros = values(observations, "proximal", "zeros").astype(float)
    return {
        "zeros_proximal": prediction_interval(zeros),
        "zeros_sign": (0.0, 0.0),
        "distance": (0.0, 1e-4),
    }


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    return {
        "num_draws": observations.num_seeds,
        "num_weights": NUM_WEIGHTS,
        "num_examples": NUM_EXAMPLES,
        "l1": observations.rows("strength")[0]["l1"],
        "nearly": {name: float(values(observations, name, "nearly_zero").mean()) for name in METHODS},
        "off": float(values(observations, "subgradient", "violation").max()),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Zeros, conditions and distances of each method."""
    rows = []
    for name, label in words.group("methods").items():
        zeros, nearly = (
            _range(values(observations, name, quantity)) for quantity in ("zeros", "nearly_zero")
        )
        violation, distance = (
            show.number(float(values(observations, name, quantity).max()))
            for quantity in ("violation", "distance")
        )
        rows.append([label, zeros, nearly, violation if name != "ridge" else "", distance])
    heads = (
        "",
        words["heads.weights-exactly-0"],
        words["heads.weights-below-0-001"],
        words["heads.kkt-violation-largest"],
        words["heads.distance-scikit-learn-largest"],
    )
    title = words(
        "titles.weights-examples-fewest-and-most", num_weights=NUM_WEIGHTS, num_examples=NUM_EXAMPLES
    )
    return [Table(title, heads, rows)]


def _range(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low}–{high}"


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The steps as functions of a weight; the weights that each method ends with."""
    alt = import_extra("altair", what="A figure", extra="book")
    return (_steps(alt, words) | _weights(alt, observations, words)).resolve_scale(
        color="independent", strokeDash="independent"
    )


def _steps(alt: Any, words: WordList) -> Any:
    v, threshold = np.linspace(-1, 1, 401), 0.3
    steps = {
        words["labels.no-penalty"]: v,
        words["labels.proximal-l1-max-v-0"]: soft_threshold(v, threshold),
        words["labels.subgradient-l1-v-jumps-over"]: v - threshold * np.sign(v),
        words["labels.weight-decay-1-v"]: (1 - threshold) * v,
    }
    rows = pd.concat([pd.DataFrame({"v": v, "w": w, "name": name}) for name, w in steps.items()])
    rows["side"] = np.where(rows["v"] < 0, "left", "right")  # no line across the jump
    title = words["labels.what-one-step-does-weight"]
    return _lines(alt, rows, list(steps), title).encode(
        x=alt.X("v:Q", title=words["titles.v"]),
        y=alt.Y("w:Q", title=words["titles.new-weight"]),
        detail="side:N",
    )


def _weights(alt: Any, observations: Observations, words: WordList) -> Any:
    names = dict(words.group("methods").items())
    rows = observations["weights"]
    rows = rows[rows["rank"] <= 60]
    rows = rows.assign(name=rows["arm"].map(names), size=rows["size"].clip(lower=1e-7))
    title = words["labels.weights-one-draw-by-lassos"]
    axis = alt.Axis(format=".0e", tickCount=8)
    return _lines(alt, rows, list(names.values()), title).encode(
        x=alt.X("rank:Q", title=words["titles.rank-weight-200"]),
        y=alt.Y("size:Q", scale=alt.Scale(type="log"), axis=axis,
                title=words["titles.sizes-and-exact-zeros"]),
    )  # fmt: skip


def _lines(alt: Any, rows: pd.DataFrame, names: list[str], title: str) -> Any:
    legend = alt.Legend(
        title=None, orient="bottom", columns=1, symbolType="stroke", symbolSize=300, labelLimit=300
    )
    return (
        alt.Chart(rows, width=320, height=260, title=title)
        .mark_line(strokeWidth=2)
        .encode(
            color=alt.Color("name:N", sort=names, legend=legend,
                            scale=plots.colour_scale(alt, names)),
            strokeDash=alt.StrokeDash("name:N", sort=names, legend=legend,
                                      scale=plots.dash_scale(alt, names)),
        )
    )  # fmt: skip


ANSWER = Answer(
    observe=observe,
    takes=("seeds", "knobs"),
    claims=(
        Claim(
            name="the-subgradient-is-the-sign",
            kind="proof",
            check=is_subgradient,
            subject=lambda o: sympy.sign,
            falsehood=lambda o: lambda w: w,  # the derivative of w²/2
        ),
        Claim(
            name="the-update-follows-the-penalty",
            kind="property",
            check=takes_the_step,
            subject=lambda o: lambda w, rate, strength: w - rate * strength * w.sign(),
            falsehood=lambda o: lambda w, rate, strength: (1 + strength * w.sign()) * w,
        ),
        Claim(
            name="the-proximal-step-is-soft-thresholding",
            kind="property",
            check=minimises,
            subject=lambda o: soft_threshold,
            falsehood=lambda o: hard_threshold,
        ),
        Claim(
            name="the-proximal-step-meets-the-conditions",
            kind="calculation",
            check=all_below(TOLERANCE),
            subject=lambda o: values(o, "proximal", "violation"),
            falsehood=lambda o: values(o, "ridge", "violation"),
        ),
        Claim(
            name="the-same-as-scikit-learn",
            kind="calculation",
            check=all_below(1e-4),
            subject=lambda o: values(o, "proximal", "distance"),
            falsehood=lambda o: values(o, "ridge", "distance"),
        ),
        Claim(
            name="exact-zeros",
            kind="calculation",
            figures={"num_examples": NUM_WEIGHTS - NUM_EXAMPLES, "num_weights": NUM_WEIGHTS},
            check=have_zeros,
            subject=lambda o: values(o, "proximal", "zeros"),
            falsehood=lambda o: values(o, "subgradient", "zeros"),
        ),
        Claim(
            name="the-subgradient-is-never-exactly-0",
            kind="calculation",
            check=have_none,
            subject=lambda o: values(o, "subgradient", "zeros"),
            falsehood=lambda o: values(o, "proximal", "zeros"),
        ),
        Claim(
            name="the-subgradient-comes-near",
            kind="experiment",
            check=greater(),
            subject=lambda o: values(o, "subgradient", "nearly_zero") - values(o, "ridge", "nearly_zero"),
            falsehood=lambda o: values(o, "ridge", "nearly_zero") - values(o, "subgradient", "nearly_zero"),
        ),
    ),
    circulated=(
        Circulated("update-was-formula-lost", "lost"),
        Circulated(
            "the-step-of-the-sign",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-update-follows-the-penalty",
            source="datawhale",
        ),
        Circulated(
            "a-factor-with-the-sign",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="the-update-follows-the-penalty",
            source="pandalabme",
        ),
        Circulated(
            "half-the-sum",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="the-update-follows-the-penalty",
            source="forum",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set l1=0.01",
)
