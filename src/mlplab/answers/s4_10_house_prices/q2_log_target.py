"""4.10.2 What happens if the logarithm of the price is predicted, and not the price?

The same models learn prices and log prices on the same folds. The section's clamp hides what a model of prices does
when it predicts a price below 0; here such predictions are counted, and raised to the training rows' lowest price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import houses as h
from mlplab.answers import show
from mlplab.answers.answer import Answer, Table
from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words, recentred
from mlplab.errors import import_extra
from mlplab.stats import resampled
from mlplab.study import Arm, Results, Study

if TYPE_CHECKING:
    import altair

ARMS = {
    "ridge-price": Words("ridge regression, price", "岭回归，价格"),
    "ridge-log": Words("ridge regression, log price", "岭回归，对数价格"),
    "mlp-price": Words("perceptron, price", "MLP，价格"),
    "mlp-log": Words("perceptron, log price", "MLP，对数价格"),
}
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
        "log_rmse": _rounded(fold.score(np.log(possible))),
        "median_error": _rounded(float(np.median(sizes))),
        "worst_error": _rounded(float(sizes.max())),
        "dollars": _rounded(float(np.sqrt(np.mean((prices - np.exp(fold.held_y)) ** 2)))),
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
    return {name: _rounded(value) for name, value in values.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


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


def is_positive(differences: np.ndarray) -> Finding:
    """Is the mean over folds above zero, by the interval that knows that folds share rows?"""
    return Finding.of(resampled(differences, test_train_ratio=h.RATIO, claim="greater"))


def is_centred(medians: np.ndarray) -> Finding:
    """Two one-sided tests: is the mean over folds within 2%?"""
    found = resampled(medians, test_train_ratio=h.RATIO, claim="equivalent", margin=CENTRED)
    return Finding.of(found, margin=CENTRED)


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


def tables(observations: Observations, language: Language) -> list[Table]:
    """The four models; the way back."""
    runs, rows = observations.runs, []
    for arm, words in ARMS.items():
        dollars = h.score(runs.values("dollars", arm) / 1000)
        rows.append(
            [
                words.of(language),
                show.stacked(show.number_interval(h.score(runs.values("log_rmse", arm)))),
                show.stacked(show.number_interval(h.score(runs.values("median_error", arm)))),
                show.stacked(show.number_interval(dollars)),
                f"{int(runs.values('impossible', arm).sum())}",
            ]
        )
    heads = (
        Words("model, target", "模型与目标"),
        Words("log-RMSE", "对数 RMSE"),
        Words("median error in the logarithm", "对数误差的中位数"),
        Words("RMSE, thousand dollars", "RMSE（千美元）"),
        Words("predictions not above 0", "不大于 0 的预测个数"),
    )
    title = Words(
        f"{observations.num_seeds} held-out parts of repeated {h.NUM_FOLDS}-fold: mean with corrected 95% t interval",
        f"重复 {h.NUM_FOLDS} 折的 {observations.num_seeds} 个留出部分：均值与修正的 95% t 区间",
    )
    lines = {
        ("shortfall", "log_rmse"): Words("exp(prediction): a median", "exp(预测)：中位数"),
        ("smeared_shortfall", "smeared_log_rmse"): Words(
            "times the smearing factor: a mean", "再乘涂抹因子：均值"
        ),
    }
    back = [
        [words.of(language), *(_written(observations, name) for name in names)]
        for names, words in lines.items()
    ]
    back_heads = (
        Words("way back to dollars", "换算回美元"),
        Words("true total above the predicted, %", "真实总价超出预测总价（%）"),
        Words("log-RMSE", "对数 RMSE"),
    )
    back_title = Words(
        "Ridge regression on log prices: mean over held-out parts with corrected 95% t interval",
        "对数价格上的岭回归：各留出部分的均值与修正的 95% t 区间",
    )
    return [Table(title, heads, rows), Table(back_title, back_heads, back)]


def _written(observations: Observations, name: str) -> str:
    found = h.score(column(observations, name))
    return show.points_interval(found) if "shortfall" in name else show.number_interval(found)


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """The four models on every fold, and what the logarithm gains."""
    alt = import_extra("altair", what="A figure", extra="book")
    upper = h.fold_plot(
        observations.runs,
        ARMS,
        language,
        title=Words("The same models and folds, two targets", "同样的模型与折，两种目标"),
    )
    names = {"ridge": Words("ridge regression", "岭回归"), "mlp": Words("perceptron", "MLP")}
    found = {kind: is_positive(gain(observations, kind)).comparison for kind in names}
    lower = h.fold_differences(
        {kind: c for kind, c in found.items() if c is not None},
        names,
        language,
        title=Words("What the logarithm gains, fold by fold", "取对数的收益，逐折相减"),
        value=Words(
            "log-RMSE with prices minus log-RMSE with log prices",
            "以价格为目标减去以对数价格为目标（对数 RMSE）",
        ),
    )
    return alt.vconcat(upper, lower)


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="ridge-gains",
            kind="experiment",
            statement=Words(
                "Ridge regression scores lower (better) on log prices than on prices, on the same folds.",
                "在同样的折上，岭回归以对数价格为目标时得分低于（好于）以价格为目标。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, "ridge"),
            falsehood=lambda o: -np.abs(gain(o, "ridge")),
        ),
        Claim(
            name="the-mlp-gains",
            kind="experiment",
            statement=Words(
                "The perceptron scores lower (better) on log prices than on prices, on the same folds.",
                "在同样的折上，MLP 以对数价格为目标时得分低于（好于）以价格为目标。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, "mlp"),
            falsehood=lambda o: -np.abs(gain(o, "mlp")),
        ),
        Claim(
            name="the-typical-house-gains",
            kind="experiment",
            statement=Words(
                "Ridge regression has a smaller median error in the logarithm when it learns log prices than when it "
                "learns prices.",
                "岭回归以对数价格为目标时，对数误差的中位数小于以价格为目标时。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, "ridge", "median_error"),
            falsehood=lambda o: -np.abs(gain(o, "ridge", "median_error")),
        ),
        Claim(
            name="the-typical-house-gains-in-the-mlp",
            kind="experiment",
            statement=Words(
                "The perceptron has a smaller median error in the logarithm when it learns log prices than when it "
                "learns prices.",
                "MLP 以对数价格为目标时，对数误差的中位数小于以价格为目标时。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, "mlp", "median_error"),
            falsehood=lambda o: -np.abs(gain(o, "mlp", "median_error")),
        ),
        Claim(
            name="least-squares-of-logs-is-the-geometric-mean",
            kind="proof",
            statement=Words(
                "The constant with the least squared error in the logarithm is the geometric mean, not the mean.",
                "使对数平方误差最小的常数是几何平均，不是算术平均。",
            ),
            check=minimises,
            subject=lambda o: 0,
            falsehood=lambda o: 1,
        ),
        Claim(
            name="the-mean-is-above-the-median",
            kind="proof",
            statement=Words(
                "If log y is N(μ, σ²), exp(μ) is the median of y and its mean is exp(μ + σ²/2).",
                "若 log y 服从 N(μ, σ²)，则 exp(μ) 是 y 的中位数，而均值是 exp(μ + σ²/2)。",
            ),
            check=is_mean_factor,
            subject=lambda o: sympy.Rational(1, 2),
            falsehood=lambda o: sympy.Integer(1),
        ),
        Claim(
            name="the-way-back-is-the-median",
            kind="experiment",
            statement=Words(
                "On held-out houses, the median of true over predicted price, exp(prediction), is 1 to 2%.",
                "在留出的房子上，真实价格与 exp(预测) 之比的中位数等于 1，误差不超过 2%。",
            ),
            check=is_centred,
            subject=lambda o: column(o, "median"),
            falsehood=lambda o: recentred(column(o, "median"), 0.1),
        ),
    ),
    circulated=(Circulated(Words("The notes end before this section.", "笔记没有写到这一节。"), "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set activation=tanh",
)
