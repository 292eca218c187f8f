"""4.10.6 What happens if the numbers are not standardised?

The same columns are given in their own units and standardised. Least squares cannot tell the two apart, and that is
proved; whatever penalises weights or descends along gradients can, and that is measured on the same folds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, rounded
from mlplab.answers.checks import all_below, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import MLP, Initialization, Setting
from mlplab.stats import prediction_interval
from mlplab.study import Results, Study, factorial

from .. import houses as h

if TYPE_CHECKING:
    import altair

UNITS = (
    "raw",
    "scaled",
)
OPTIMIZERS = ("sgd", "adam")
RATES = tuple(10.0**k for k in range(-10, 1))
ALPHA = 10.0  # the strength at which ridge regression is compared in both units
ROUNDING = 1e-6  # of a log price: float64 is good for 1e-16, times a condition number of 1e7
NOTICED = 1e-3  # a prediction that moves by a thousandth of the price
HUNDREDFOLD = 2.0  # in powers of ten

LINEAR = turn(
    Setting(MLP(hidden_sizes=(), initialization=(Initialization("zeros"),))),
    loss="squared_error", batch_size=64, epochs=20, evaluate_every=20,
)  # fmt: skip


def observe(lab: Lab) -> Observations:
    """Sizes of the Hessian, exact solutions, and gradient descent at every rate, in both units on every fold."""
    houses = h.load(lab)
    splits = lab.seeds(quick=5, full=10)
    pairs = {number: both_units(houses, number) for number in splits}
    rows = []
    for number, (raw, scaled) in pairs.items():
        row = {"arm": "exact", "seed": number, "status": "finished"} | exact(houses, raw, scaled)
        rows.append({name: rounded(value) for name, value in row.items()})
    arms = factorial(lab.setting(LINEAR), optimizer=OPTIMIZERS, learning_rate=RATES)
    descents, best = [], []
    for index, unit in enumerate(UNITS):

        def dataset(number: int, index: int = index) -> Dataset:
            return pairs[number][index].dataset("log")

        runs = lab.run(Study(arms, splits, dataset))
        descents += _scores(runs, unit, pairs)
        best += _best(runs, unit, pairs)
    return lab.observations(
        runs=pd.concat([pd.DataFrame(rows), pd.DataFrame(best)], ignore_index=True),
        descents=pd.DataFrame(descents),
    )


def both_units(houses: h.Houses, number: int) -> tuple[h.Fold, h.Fold]:
    """A fold with its numbers in their own units, gaps filled with the training mean, and standardised."""
    scaled = h.fold(houses, number, with_inner=True)
    train, held = h.parted(len(houses), number)
    table = houses.table[list(houses.columns.numeric)].to_numpy(dtype=np.float64)
    means = np.nanmean(table[train][scaled.trained], axis=0)
    table = np.where(np.isnan(table), means, table)
    count = table.shape[1]
    train_x, held_x = (
        np.hstack([table[rows], x[:, count:]]) for rows, x in ((train, scaled.train_x), (held, scaled.held_x))
    )
    return h.Fold(scaled.name, train_x, scaled.train_y, held_x, scaled.held_y, scaled.inner), scaled


def exact(houses: h.Houses, raw: h.Fold, scaled: h.Fold) -> dict[str, Any]:
    """The Hessians' sizes; how far the predictions of least squares, and of ridge regression, lie apart."""
    from sklearn.linear_model import Ridge

    found: dict[str, Any] = {}
    for unit, fold in (("raw", raw), ("scaled", scaled)):
        found |= {f"{name}_{unit}": value for name, value in hessian(fold.train_x[fold.trained]).items()}
    kept = independent(scaled.train_x[scaled.trained][:, : len(houses.columns.numeric)])
    least, penalised = [], []
    for fold in (raw, scaled):
        x, y = fold.train_x[fold.trained], fold.train_y[fold.trained]
        least.append(least_squares(x[:, kept], y, fold.held_x[:, kept]))
        penalised.append(Ridge(alpha=ALPHA).fit(x, y).predict(fold.held_x))
        unit = "raw" if fold is raw else "scaled"
        found[f"least_squares_{unit}"] = fold.score(least[-1])
        found[f"ridge_{unit}"] = fold.score(penalised[-1])
    found["least_squares_apart"] = float(np.abs(least[0] - least[1]).max())
    found["ridge_apart"] = float(np.sqrt(np.mean((penalised[0] - penalised[1]) ** 2)))
    return found


def hessian(x: np.ndarray) -> dict[str, float]:
    """Largest and smallest eigenvalue above 0 of the Hessian of half the mean squared error, bias included."""
    sizes = np.linalg.svd(np.column_stack([x, np.ones(len(x))]), compute_uv=False)
    kept = sizes[sizes > sizes[0] * len(x) * np.finfo(float).eps]  # a category's columns add up to the bias
    return {"largest": float(kept[0] ** 2 / len(x)), "smallest": float(kept[-1] ** 2 / len(x))}


def independent(x: np.ndarray) -> np.ndarray:
    """Columns of which none is a sum of the others: a floor area may be the sum of two that are there."""
    from scipy.linalg import qr

    found: Any = qr(x - x.mean(0), mode="economic", pivoting=True)
    _, triangle, order = found
    sizes = np.abs(np.diag(triangle))
    return np.sort(order[sizes > 1e-8 * sizes[0]])


def least_squares(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predictions of unpenalised least squares with a bias."""
    design = np.column_stack([np.ones(len(x)), x])
    weights = np.linalg.lstsq(design, y, rcond=None)[0]
    return np.column_stack([np.ones(len(asked)), asked]) @ weights


def _log_rmse(runs: Results, metric: str, arm: str, pairs: dict[int, tuple[h.Fold, h.Fold]]) -> np.ndarray:
    """By fold; NaN where the run diverged."""
    stds = np.array([fold.scale()[1] for _, fold in pairs.values()])
    return stds * np.sqrt(2 * runs.values(metric, arm))


def _scores(runs: Results, unit: str, pairs: dict[int, tuple[h.Fold, h.Fold]]) -> list[dict[str, Any]]:
    """Test score of each optimiser at each rate: its mean, where no fold diverged."""
    rows = []
    for optimizer in OPTIMIZERS:
        for rate in RATES:
            values = _log_rmse(runs, "test_loss", _arm(runs, optimizer, rate), pairs)
            row = {
                "unit": unit,
                "optimizer": optimizer,
                "rate": rate,
                "diverged": int(np.isnan(values).sum()),
            }
            whole = len(values) > 1 and not np.isnan(values).any()
            found = h.score(values).to_dict() if whole else {}
            kept = ("estimate", "ci_low", "ci_high")
            rows.append(row | {name: rounded(found.get(name)) for name in kept})
    return rows


def _best(runs: Results, unit: str, pairs: dict[int, tuple[h.Fold, h.Fold]]) -> list[dict[str, Any]]:
    """For each fold the rate with the lowest loss on the houses that choose, and its score on those held out."""
    rows = []
    for optimizer in OPTIMIZERS:
        arms = [_arm(runs, optimizer, rate) for rate in RATES]
        chosen = np.array([_log_rmse(runs, "validation_loss", arm, pairs) for arm in arms])
        scores = np.array([_log_rmse(runs, "test_loss", arm, pairs) for arm in arms])
        for column, number in enumerate(pairs):
            at = int(np.nanargmin(chosen[:, column]))
            row = {"arm": f"{optimizer} {unit}", "seed": number, "status": "finished"}
            rows.append(row | {"log_rmse": rounded(scores[at, column]), "rate": RATES[at]})
    return rows


def _arm(runs: Results, optimizer: str, rate: float) -> str:
    frame = runs.frame
    chosen = (frame["optimizer"] == optimizer) & (frame["learning_rate"].astype(float) == rate)
    return str(frame.loc[chosen, "arm"].iloc[0])


# Checks


def does_not_care(penalty: sympy.Rational) -> Finding:
    """Random fractions: is a prediction the same, exactly, after every column is shifted and scaled?

    The penalty is ridge regression's, on all weights but the bias.
    """
    worst, tries = sympy.Integer(0), 12
    for number in range(tries):
        drawn = (Stream(number, "data", layer=416).bits(40) % np.uint64(19)).astype(int) - 9
        x = sympy.Matrix(7, 3, drawn[:21].tolist()) + sympy.Matrix(7, 3, lambda i, j: (i + 1) ** (j + 1))
        y = sympy.Matrix(7, 1, drawn[21:28].tolist())
        scales = [sympy.Rational(int(abs(v)) + 1, 7) for v in drawn[28:31]]
        shifts = [sympy.Rational(int(v), 3) for v in drawn[31:34]]
        asked = sympy.Matrix(1, 3, drawn[34:37].tolist())

        def moved(of: sympy.Matrix, scales: Any = scales, shifts: Any = shifts) -> sympy.Matrix:
            return sympy.Matrix(of.rows, 3, lambda i, j: scales[j] * of[i, j] + shifts[j])

        gap = _prediction(x, y, asked, penalty) - _prediction(moved(x), y, moved(asked), penalty)
        worst = sympy.Max(worst, abs(gap))
    return Finding.true_if(worst == 0, f"largest difference {worst}"[:60], tries=tries)


def _prediction(x: sympy.Matrix, y: sympy.Matrix, asked: sympy.Matrix, penalty: Any) -> sympy.Rational:
    design, row = x.row_join(sympy.ones(x.rows, 1)), asked.row_join(sympy.ones(1, 1))
    ridge = sympy.diag(*[penalty] * x.cols, 0)
    return (row * (design.T * design + ridge).LUsolve(design.T * y))[0]


def is_largest_rate(factor: float) -> Finding:
    """Drawn houses in both units: does full-batch descent shrink at 1% below factor · 2/λmax, and grow at 1% above?"""
    houses = h.load(Lab("quick", data_name="drawn-houses"))
    holds, tries = True, 0
    for fold in both_units(houses, 0):
        x = np.column_stack([fold.train_x, np.ones(len(fold.train_x))])
        left, sizes, _ = np.linalg.svd(x, full_matrices=False)
        curvature = sizes**2 / len(x)
        start = left.T @ fold.train_y  # what is wrong at weights of 0, along each direction
        ends = [(1 - scale * factor * 2 / curvature[0] * curvature) ** 400 * start for scale in (0.99, 1.01)]
        holds &= bool(np.linalg.norm(ends[0]) < np.linalg.norm(start) < np.linalg.norm(ends[1]))
        tries += 1
    return Finding.true_if(holds, tries=tries)


def quantity(observations: Observations, name: str) -> np.ndarray:
    """A quantity of the exact solutions, by fold."""
    return observations.runs.values(name, "exact")


def powers(observations: Observations, name: str) -> np.ndarray:
    """Powers of ten between the two units: of the condition number or of the largest eigenvalue, by fold."""
    sizes = [quantity(observations, f"largest_{unit}") for unit in UNITS]
    if name == "condition":
        sizes = [s / quantity(observations, f"smallest_{u}") for s, u in zip(sizes, UNITS, strict=True)]
    return np.log10(sizes[0] / sizes[1])


def loss_of(observations: Observations, optimizer: str) -> np.ndarray:
    """Own units minus standardised at each one's best rate: log-RMSE, by fold."""
    return observations.runs.differences("log_rmse", f"{optimizer} raw", f"{optimizer} scaled")


def factor(exponents: np.ndarray) -> float:
    """The geometric mean of powers of ten."""
    return float(10 ** exponents.mean())


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote: sizes as geometric means over folds."""

    def typical(name: str) -> float:
        return float(np.exp(np.log(quantity(observations, name)).mean()))

    largest, smallest = ({u: typical(f"{name}_{u}") for u in UNITS} for name in ("largest", "smallest"))
    held = observations["descents"]
    frame = observations["runs"]
    return {
        "largest": largest,
        "condition": {unit: largest[unit] / smallest[unit] for unit in UNITS},
        "stable": {unit: 2 / largest[unit] for unit in UNITS},
        "score": {
            optimizer: {u: h.score(observations.runs.values("log_rmse", f"{optimizer} {u}")) for u in UNITS}
            for optimizer in OPTIMIZERS
        },
        "ridge": h.score(quantity(observations, "ridge_raw") - quantity(observations, "ridge_scaled")),
        "rate": {
            optimizer: {
                u: float(frame.loc[frame["arm"] == f"{optimizer} {u}", "rate"].median()) for u in UNITS
            }
            for optimizer in OPTIMIZERS
        },
        "num_diverged": int(held["diverged"].sum()),
        "alpha": ALPHA,
        "epochs": int(observations.settings[0]["epochs"]) if observations.settings else 0,
        "num_splits": int(frame["seed"].nunique()),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Both units: the Hessian, and what each method makes of them."""
    known, sizes, scores = facts(observations), [], []
    for unit, label in words.group("units").items():
        name = label
        sizes.append([name, *(show.number(known[size][unit]) for size in ("largest", "condition", "stable"))])
        found = [h.score(quantity(observations, f"{method}_{unit}")) for method in ("least_squares", "ridge")]
        found += [known["score"][optimizer][unit] for optimizer in OPTIMIZERS]
        scores.append([name, *(show.stacked(show.number_interval(one)) for one in found)])
    unit_head = words["labels.numbers-in"]
    size_heads = (
        unit_head,
        words["heads.max"],
        words["heads.max-min"],
        words["heads.stable-rate"],
    )
    score_heads = (
        unit_head,
        words["heads.least-squares"],
        words("heads.ridge", alpha=ALPHA),
        words["heads.sgd-best-rate"],
        words["heads.adam-best-rate"],
    )
    first = words["labels.hessian"]
    second = words["labels.scores"]
    return [Table(first, size_heads, sizes), Table(second, score_heads, scores)]


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The largest eigenvalue in own units, of all houses where the evidence has those of a fold."""
    return {"largest_in_own_units": prediction_interval(quantity(observations, "largest_raw"))}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Score against the learning rate in both units, for SGD and Adam."""
    alt = import_extra("altair", what="A figure", extra="book")
    held = observations["descents"].astype({"estimate": float, "ci_low": float, "ci_high": float})
    rows = held[held["estimate"].notna()].assign(
        unit=[words.group("units")[u] for u in held.loc[held["estimate"].notna(), "unit"]],
        optimizer=[
            {"sgd": "SGD", "adam": "Adam"}[o] for o in held.loc[held["estimate"].notna(), "optimizer"]
        ],
    )
    names = list(words.group("units").values())
    x = alt.X(
        "rate:Q",
        title=words["titles.learning-rate"],
        scale=alt.Scale(type="log", domain=[min(RATES), max(RATES)]),
        axis=alt.Axis(format="~e", gridColor="#ededed", values=[1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]),
    )
    y = alt.Y(
        "estimate:Q",
        title=words["titles.scores"],
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(values=[0.1, 0.2, 0.5, 1, 10, 100, 1000], format="~g", gridColor="#ededed"),
    )
    colour = alt.Color(
        "unit:N",
        scale=alt.Scale(domain=names, range=list(plots.PALETTE[1::-1])),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    shape = alt.Shape("unit:N", scale=alt.Scale(domain=names), legend=alt.Legend(title=None, orient="bottom"))
    base = alt.Chart(rows[["unit", "optimizer", "rate", "estimate", "ci_low", "ci_high"]])
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y="ci_low:Q", y2="ci_high:Q", color=colour)
    lines = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour)
    points = base.mark_point(size=40, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    number = facts(observations)["num_splits"]
    head = words["labels.title"]
    note = words("labels.interval", value=number)
    chart = alt.layer(bars.transform_filter("datum.ci_low > 0"), lines, points).properties(
        width=300, height=260
    )
    return chart.facet(column=alt.Column("optimizer:N", sort=["SGD", "Adam"], title=None)).properties(
        title=alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11)
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="least-squares-does-not-care",
            kind="property",
            check=does_not_care,
            subject=lambda o: sympy.Integer(0),
            falsehood=lambda o: sympy.Rational(1, 10),
        ),
        Claim(
            name="least-squares-on-the-table",
            kind="calculation",
            check=all_below(ROUNDING),
            subject=lambda o: quantity(o, "least_squares_apart"),
            falsehood=lambda o: quantity(o, "ridge_apart"),
        ),
        Claim(
            name="ridge-cares",
            kind="experiment",
            check=greater(NOTICED, test_train_ratio=h.RATIO, numbers={"threshold": NOTICED}),
            subject=lambda o: quantity(o, "ridge_apart"),
            falsehood=lambda o: quantity(o, "ridge_apart") / 1000,
        ),
        Claim(
            name="the-condition-number-grows",
            kind="experiment",
            check=greater(HUNDREDFOLD, test_train_ratio=h.RATIO, numbers={"factor": factor}),
            subject=lambda o: powers(o, "condition"),
            falsehood=lambda o: -powers(o, "condition"),
            unit="log10",
        ),
        Claim(
            name="the-largest-rate",
            kind="property",
            check=is_largest_rate,
            subject=lambda o: 1.0,
            falsehood=lambda o: 1.1,
        ),
        Claim(
            name="sgd-loses",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: loss_of(o, "sgd"),
            falsehood=lambda o: -loss_of(o, "sgd"),
        ),
        Claim(
            name="adam-loses",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: loss_of(o, "adam"),
            falsehood=lambda o: -np.abs(loss_of(o, "adam")),
        ),
    ),
    circulated=(
        Circulated(
            "unequal-attention",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="ridge-cares",
            source="datawhale",
        ),
        Circulated(
            "unstable",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="sgd-loses",
            source="datawhale",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=100",
)
