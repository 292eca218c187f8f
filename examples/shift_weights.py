"""Weights of a covariate shift at work, in scikit-learn and in our engine: python examples/shift_weights.py [FIGURE]

Shimodaira's problem: y = -x + x³ + noise; the source's x lie about 0.5, the target's about 0. The best line on the
source is not the best on the target. Weights of the source's rows find the target's line without one of its labels.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.linear_model import LinearRegression

from mlplab.data import Dataset, Part
from mlplab.engine import Result, train
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.spec import MLP, Initialization, Optimizer, Run, Setting, Training


def samples(num_rows: int, stream: Stream) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Source and target (row, 1), and the labels of each (row,)."""
    source, target = 0.5 + 0.5 * stream.normal((num_rows, 1)), 0.3 * stream.normal((num_rows, 1))
    y, y_target = ((-x + x**3)[:, 0] + 0.3 * stream.normal(num_rows) for x in (source, target))
    return source, target, y, y_target


def line(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Intercept and slope, by scikit-learn."""
    fitted = LinearRegression().fit(x, y, sample_weight=weights)
    return float(fitted.intercept_), float(fitted.coef_[0])


def line_by_engine(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The same by our engine: a perceptron without a hidden layer, on a weighted part."""
    part = Part(x.astype(np.float32), y[:, None].astype(np.float32), weights.astype(np.float32))
    data = Dataset(
        name="weighted", title="Weighted rows", task="regression", train=part, validation=part, test=None,
        out_features=1, feature_shape=(1,),
    )  # fmt: skip
    setting = Setting(
        model=MLP(hidden_sizes=(), initialization=(Initialization("zeros"),)),
        optimizer=Optimizer(learning_rate=0.5),
        training=Training(loss="squared_error", epochs=200, batch_size=None, evaluate_every=200),
    )
    (done,) = (
        found for found in train([Run(setting, data.fingerprint, 0)], data) if isinstance(found, Result)
    )
    ((weight, bias),) = done.parameters
    return float(bias[0]), float(weight[0, 0])


def draw(
    path: str, source: np.ndarray, y: np.ndarray, weights: np.ndarray, lines: dict[str, tuple[float, float]]
) -> None:
    """Rows with their weights as areas, and the lines."""
    import altair as alt
    import pandas as pd

    from mlplab.charts.plots import DASHES, PALETTE

    rows = pd.DataFrame({"x": source[:400, 0], "y": y[:400], "weight": weights[:400]})
    at = np.array([-1.0, 1.6])
    curves = pd.concat(
        [pd.DataFrame({"x": at, "y": a + b * at, "line": name}) for name, (a, b) in lines.items()]
    )
    names = list(lines)
    x = alt.X("x:Q", title="x", scale=alt.Scale(domain=[-1, 1.6]))
    y_axis = alt.Y("y:Q", title="y", scale=alt.Scale(domain=[-1.5, 1.5]))
    colours = alt.Scale(domain=names, range=list(PALETTE[: len(names)]))
    dashes = alt.Scale(domain=names, range=[list(dash) for dash in DASHES[: len(names)]])
    what = "Line of least squares"
    points = alt.Chart(rows).mark_point(filled=True, opacity=0.45, color="#777777", clip=True)
    points = points.encode(x=x, y=y_axis, size=alt.Size("weight:Q", title="Weight of a source row"))
    drawn = alt.Chart(curves).mark_line(strokeWidth=3, clip=True)
    drawn = drawn.encode(
        x=x,
        y=y_axis,
        color=alt.Color("line:N", title=what, sort=names, scale=colours),
        strokeDash=alt.StrokeDash("line:N", title=what, sort=names, scale=dashes),
    )
    title = alt.TitleParams("Source rows weighed for a target about x = 0", anchor="start", fontSize=14)
    (points + drawn).properties(width=460, height=320, title=title).save(path)


def main(words: list[str]) -> None:
    source, target, y, y_target = samples(20_000, Stream(0, "data"))
    found = ClassifierWeights().fit(source, target)
    lines = {
        "on the source": line(source, y),
        "on the source, weighed": line(source, y, found.weights_),
        "on the target": line(target, y_target),
    }
    for name, (intercept, slope) in lines.items():
        print(f"{name:24} {intercept:+.3f} {slope:+.3f} x")
    print(
        "{:24} {:+.3f} {:+.3f} x".format("weighed, by the engine", *line_by_engine(source, y, found.weights_))
    )
    rows = found.correction_.effective_sample_size
    print(f"{len(source):,} weighted rows are worth {rows:,.0f}; classifier: {found.chosen_}")

    losses = (y - lines["on the source"][0] - lines["on the source"][1] * source[:, 0]) ** 2
    risk = found.correction_.risk(losses)
    corrected, plain = risk.corrected, risk.uncorrected.estimate
    print("squared error of the first line:")
    print(f"on the source {plain:.3f}, on the target", end=" ")
    print(
        f"{corrected.estimate:.3f} ({corrected.ci_low:.3f} to {corrected.ci_high:.3f}); advice: {risk.advice}"
    )
    if words:
        draw(words[0], source, y, found.weights_, lines)


if __name__ == "__main__":
    main(sys.argv[1:])
