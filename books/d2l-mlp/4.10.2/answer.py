"""4.10.2 What happens if the logarithm of the price is predicted, and not the price?

The same models learn prices and log prices on the same folds. The section's clamp hides what a model of prices does
when it predicts a price below 0; here such predictions are counted, and raised to the training rows' lowest price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import (
    Answer,
    Circulated,
    Claim,
    Finding,
    Lab,
    Observations,
    Table,
    WordList,
    recentred,
    rounded,
)
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import show
from mlplab.errors import import_extra
from mlplab.stats import resampled
from mlplab.study import Arm, Results, Study

from .. import houses as h

if TYPE_CHECKING:
    import altair

ARMS = (
    "ridge-price",
    "ridge-log",
    "mlp-price",
    "mlp-log",
)
CENTRED = 0.02  # a median off by less than 2% of the price is right for every purpose


def observe(lab: Lab) -> Observations:
    """Four models on every fold: their score, their error in dollars, impossible prices, and the way back."""
    houses = h.load(lab)
    splits = lab.seeds(quick=5, full=20)
    folds = {number: h.fold(houses, number) for number in splits}
    setting = lab.setting(h.MLP_SETTING)
    arm = Arm("mlp", setting)
    on_log = lab.run(Study([arm], splits, lambda n: folds[n].dataset("log")))
    on_price = lab.run(Study([arm], splits, lambda n: folds[n].dataset("scaled price")))
    rows, back = [], []
    for number, fold in folds.items():
        found: dict[str, np.ndarray] = {}
        both: list[tuple[str, Results, h.Target]] = [
            ("log", on_log, "log"),
            ("price", on_price, "scaled price"),
        ]
        for name, runs, target in both:
            mean, std = fold.scale(target)
            outputs = mean + std * h.predict(setting, runs.parameters("mlp", number), fold.held_x)
            found[f"mlp-{name}"] = np.exp(outputs) if name == "log" else outputs
        found["ridge-price"] = h.ridge(fold.train_x, np.exp(fold.train_y)).predict(fold.held_x)
        model = h.ridge(fold.train_x, fold.train_y)
        found["ridge-log"] = np.exp(model.predict(fold.held_x))
        rows += [{"arm": name, "seed": number} | measured(fold, found[name]) for name in ARMS]
        # Duan 1983: the mean of exp(residual) turns a median into a mean, whatever the residuals' distribution.
        factor = float(np.exp(fold.train_y - model.predict(fold.train_x)).mean())
        back.append({"seed": number} | way_back(fold, found["ridge-log"], factor))
    runs = pd.DataFrame(rows)
    runs = pd.concat([runs[runs["arm"] == name] for name in ARMS], ignore_index=True)
    return lab.observations(runs=runs, back=pd.DataFrame(back))


def measured(fold: h.Fold, prices: np.ndarray) -> dict[str, Any]:
    """Score, error in dollars and number of impossible prices; these are raised to the training rows' lowest price."""
    lowest = float(np.exp(fold.train_y.min()))
    possible = np.where(prices > 0, prices, lowest)
    sizes = np.abs(np.log(possible) - fold.held_y)
    return {
        "status": "finished",
        "log_rmse": rounded(fold.score(np.log(possible))),
        "median_error": rounded(float(np.median(sizes))),
        "worst_error": rounded(float(sizes.max())),
        "dollars": rounded(float(np.sqrt(np.mean((prices - np.exp(fold.held_y)) ** 2)))),
        "impossible": int((prices <= 0).sum()),
    }


def way_back(fold: h.Fold, prices: np.ndarray, factor: float) -> dict[str, float]:
    """How true prices lie around the predicted ones before and after they are multiplied by the smearing factor."""
    true = np.exp(fold.held_y)
    values = {
        "median": float(np.median(np.log(true / prices))),
        "shortfall": float(true.sum() / prices.sum() - 1),
        "factor": factor,
        "smeared_shortfall": float(true.sum() / (factor * prices).sum() - 1),
        "log_rmse": fold.score(np.log(prices)),
        "smeared_log_rmse": fold.score(np.log(factor * prices)),
    }
    return {name: rounded(value) for name, value in values.items()}


# Checks


def minimises(power: int) -> Finding:
    """Three prices: which constant c makes Σ(log yᵢ − log c)² least: their power mean, of power 0 or 1?"""
    prices = sympy.symbols("y1:4", positive=True)
    c = sympy.symbols("c", positive=True)
    slope = sympy.diff(sum((sympy.log(y) - sympy.log(c)) ** 2 for y in prices), c)
    mean = sympy.prod(prices) ** sympy.Rational(1, 3) if power == 0 else sum(prices) / sympy.Integer(3)
    left = sympy.simplify(sympy.expand_log(slope.subs(c, mean), force=True))
    return Finding.true_if(left == 0, "the slope is 0 there" if left == 0 else "the slope is not 0 there")


def is_mean_factor(half: sympy.Rational) -> Finding:
    """log y ~ N(μ, σ²): is the mean of y its median e^μ times e^(half σ²)?"""
    z, mu = sympy.symbols("z mu", real=True)
    sigma = sympy.symbols("sigma", positive=True)
    density = sympy.exp(-(z**2) / 2) / sympy.sqrt(2 * sympy.pi)
    mean = sympy.integrate(sympy.exp(mu + sigma * z) * density, (z, -sympy.oo, sympy.oo))
    ratio = sympy.simplify(mean / sympy.exp(mu + half * sigma**2))
    return Finding.true_if(ratio == 1, f"mean / (median · factor) = {ratio}")


def gain(observations: Observations, kind: str, metric: str = "log_rmse") -> np.ndarray:
    """Price minus log price, by fold: positive where the logarithm is better."""
    return observations.runs.differences(metric, f"{kind}-price", f"{kind}-log")


def column(observations: Observations, name: str) -> np.ndarray:
    """A quantity of the way back, by fold."""
    return observations["back"][name].to_numpy(dtype=float)


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Scores, impossible prices and the way back."""
    runs = observations.runs
    return {
        "score": {arm.replace("-", "_"): h.score(runs.values("log_rmse", arm)) for arm in ARMS},
        "impossible": {
            kind: int(runs.values("impossible", f"{kind}-price").sum()) for kind in ("ridge", "mlp")
        },
        "median_error": h.score(runs.values("median_error", "ridge-log")),
        "worst": {
            kind: float(np.exp(runs.values("worst_error", f"{kind}-log").max())) for kind in ("ridge", "mlp")
        },
        "dollars": {kind: h.score(gain(observations, kind, "dollars")) for kind in ("ridge", "mlp")},
        "factor": float(column(observations, "factor").mean()),
        "shortfall": h.score(column(observations, "shortfall")),
        "smeared": h.score(column(observations, "smeared_shortfall")),
        "smearing_costs": h.score(
            column(observations, "smeared_log_rmse") - column(observations, "log_rmse")
        ),
        "num_splits": observations.num_seeds,
        "num_folds": h.NUM_FOLDS,
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The four models; the way back."""
    runs, rows = observations.runs, []
    for arm, label in words.group("arms").items():
        dollars = h.score(runs.values("dollars", arm) / 1000)
        rows.append(
            [
                label,
                show.stacked(show.number_interval(h.score(runs.values("log_rmse", arm)))),
                show.stacked(show.number_interval(h.score(runs.values("median_error", arm)))),
                show.stacked(show.number_interval(dollars)),
                f"{int(runs.values('impossible', arm).sum())}",
            ]
        )
    heads = (
        words["heads.model-target"],
        words["heads.log-rmse"],
        words["heads.median-error-in-logarithm"],
        words["heads.rmse-thousand-dollars"],
        words["heads.predictions-not-above-0"],
    )
    title = words("titles.held-out-parts-repeated-fold", num_seeds=observations.num_seeds, h=h.NUM_FOLDS)
    lines = {
        ("shortfall", "log_rmse"): words["labels.exp-prediction-median"],
        ("smeared_shortfall", "smeared_log_rmse"): words["labels.times-smearing-factor-mean"],
    }
    back = [[label, *(_written(observations, name) for name in names)] for names, label in lines.items()]
    back_heads = (
        words["heads.way-back-dollars"],
        words["heads.true-total-above-predicted"],
        words["heads.log-rmse"],
    )
    back_title = words["titles.ridge-regression-on-log-prices"]
    return [Table(title, heads, rows), Table(back_title, back_heads, back)]


def _written(observations: Observations, name: str) -> str:
    found = h.score(column(observations, name))
    return show.points_interval(found) if "shortfall" in name else show.number_interval(found)


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The four models on every fold, and what the logarithm gains."""
    alt = import_extra("altair", what="A figure", extra="book")
    upper = h.fold_plot(
        observations.runs,
        words.group("arms"),
        words,
        title=words["titles.same-models-and-folds-two"],
    )
    names = {"ridge": words["labels.ridge-regression"], "mlp": words["labels.perceptron"]}
    found = {
        kind: resampled(gain(observations, kind), test_train_ratio=h.RATIO, claim="greater") for kind in names
    }
    lower = h.fold_differences(
        {kind: c for kind, c in found.items() if c is not None},
        names,
        words,
        title=words["titles.what-logarithm-gains-fold-by"],
        value=words["labels.log-rmse-with-prices-minus"],
    )
    return alt.vconcat(upper, lower)


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="ridge-gains",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: gain(o, "ridge"),
            falsehood=lambda o: -np.abs(gain(o, "ridge")),
        ),
        Claim(
            name="the-mlp-gains",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: gain(o, "mlp"),
            falsehood=lambda o: -np.abs(gain(o, "mlp")),
        ),
        Claim(
            name="the-typical-house-gains",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: gain(o, "ridge", "median_error"),
            falsehood=lambda o: -np.abs(gain(o, "ridge", "median_error")),
        ),
        Claim(
            name="the-typical-house-gains-in-the-mlp",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: gain(o, "mlp", "median_error"),
            falsehood=lambda o: -np.abs(gain(o, "mlp", "median_error")),
        ),
        Claim(
            name="least-squares-of-logs-is-the-geometric-mean",
            kind="proof",
            check=minimises,
            subject=lambda o: 0,
            falsehood=lambda o: 1,
        ),
        Claim(
            name="the-mean-is-above-the-median",
            kind="proof",
            check=is_mean_factor,
            subject=lambda o: sympy.Rational(1, 2),
            falsehood=lambda o: sympy.Integer(1),
        ),
        Claim(
            name="the-way-back-is-the-median",
            kind="experiment",
            check=equivalent(margin=CENTRED, test_train_ratio=h.RATIO),
            subject=lambda o: column(o, "median"),
            falsehood=lambda o: recentred(column(o, "median"), 0.1),
        ),
    ),
    circulated=(Circulated("notes-end-before-this-section", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set activation=tanh",
)
