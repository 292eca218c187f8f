"""4.10.2 Minimise the logarithm directly, and predict the logarithm of the price.

The section's own model first: its loss of clamped logarithms minimised directly, where the clamp has no gradient below
1; and the same code on log prices, with its rate of 5 left and lowered. Then two better models learn prices and log
prices on the same folds. All are scored once on the prices that the competition keeps back.
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
from mlplab.answers.checks import equivalent
from mlplab.charts import show
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import prediction_interval
from mlplab.study import Arm, Results, Study

from .. import houses as h

if TYPE_CHECKING:
    import altair

ARMS = (
    "linear-price",
    "linear-log-left",
    "linear-log",
    "ridge-price",
    "ridge-log",
    "mlp-price",
    "mlp-log",
)
LOWERED = 0.01  # in place of the section's rate, on log prices; exercise 4.10.5 tunes it
STUCK = 10.0  # a log-RMSE that no house price explains: all prices at 1 score 12
# Claim -> the arm that it says is worse, and the better one
PAIRS = {
    "the-sections-model-scores-lower": h.Pair("linear-price", "linear-log"),
    "the-rate-must-be-lowered": h.Pair("linear-log-left", "linear-log"),
    "the-sections-model-gains": h.Pair("linear-price", "linear-log", of_means=True),
    "ridge-gains": h.Pair("ridge-price", "ridge-log", of_means=True),
    "the-mlp-changes-little": h.Pair("mlp-price", "mlp-log", h.scores_alike(h.ALIKE), of_means=True),
}
POST_HOC = ("the-mlp-changes-little",)  # asked after a look that had shown no gain
CENTRED = 0.02  # a median off by less than 2% of the price is right for every purpose
DEAD_FOLDS = 2.487  # what circulates as the log-RMSE of folds that stood still


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
        rows += [{"arm": name, "seed": number} | measured(fold, prices) for name, prices in found.items()]
        # Duan 1983: the mean of exp(residual) turns a median into a mean, whatever the residuals' distribution.
        factor = float(np.exp(fold.train_y - model.predict(fold.train_x)).mean())
        back.append({"seed": number} | way_back(fold, found["ridge-log"], factor))
    rows += section_rows(lab, houses, splits)
    runs = pd.DataFrame(rows)
    runs = pd.concat([runs[runs["arm"] == name] for name in ARMS], ignore_index=True)
    clamped = [
        direct(houses, seed, lab.choose(quick=20, full=100)) for seed in range(lab.choose(quick=2, full=8))
    ]
    final = asked_of_all(lab, houses, setting) | {
        f"direct {k}": one.pop("asked") for k, one in enumerate(clamped)
    }
    board = h.scoreboard(lab, houses, final)
    for k, one in enumerate(clamped):
        one["score"] = rounded(board.scores[f"direct {k}"])
    shown = [row for row in h.board_rows(board) if not row["arm"].startswith("direct")]
    return lab.observations(
        runs=runs,
        back=pd.DataFrame(back),
        direct=pd.DataFrame(clamped),
        board=pd.DataFrame(shown),
        gaps=pd.DataFrame(h.gap_rows(board, PAIRS, [p_of_the_way_back(back)])),
    )


def section_arms(lab: Lab, houses: h.Houses) -> dict[str, tuple[h.Target, Setting]]:
    """The section's model on prices, and on logs with its rate left and lowered."""
    section = lab.setting(h.linear_setting(houses))
    own = {"linear-log-left": section, "linear-log": turn(section, learning_rate=LOWERED)}
    targets: dict[str, tuple[h.Target, Setting]] = {"linear-price": ("price", section)}
    for name, setting in own.items():
        targets[name] = ("raw log", setting)
    return targets


def section_rows(lab: Lab, houses: h.Houses, splits: range) -> list[dict[str, Any]]:
    """The section's model on every fold, prepared as the section does it."""
    folds = {number: h.section_fold(houses, number) for number in splits}
    rows = []
    for name, (target, setting) in section_arms(lab, houses).items():
        datasets = {number: fold.dataset(target) for number, fold in folds.items()}
        runs = lab.run(Study([Arm(name, setting)], splits, datasets.__getitem__))
        for number, fold in folds.items():
            outputs = h.predict(setting, runs.parameters(name, number), fold.held_x)
            rows.append({"arm": name, "seed": number} | measured(fold, dollars(outputs, target)))
    return rows


def dollars(outputs: np.ndarray, target: h.Target) -> np.ndarray:
    """Prices from outputs; an exponential that no float holds is the largest that one does."""
    return np.exp(np.minimum(outputs, 700.0)) if target.endswith("log") else outputs


def asked_of_all(lab: Lab, houses: h.Houses, setting: Setting) -> dict[str, np.ndarray]:
    """Log prices of the competition's houses by each arm, trained on all labelled ones; clamped as in the section."""
    own, own_asked = h.refitted(houses, as_section=True)
    final = {}
    for name, (target, section) in section_arms(lab, houses).items():
        dataset = own.dataset(target)
        runs = lab.run(Study([Arm(name, section)], range(1), lambda _, dataset=dataset: dataset))
        final[name] = h.log_prices(own, section, runs, name, range(1), own_asked, target)
    whole, asked = h.refitted(houses)
    prices = h.ridge(whole.train_x, np.exp(whole.train_y)).predict(asked)
    final["ridge-price"] = h.clamped_logs(prices)
    final["ridge-log"] = h.ridge(whole.train_x, whole.train_y).predict(asked)
    seeds = range(lab.choose(quick=1, full=5))
    made: dict[str, h.Target] = {"mlp-price": "scaled price", "mlp-log": "log"}
    for name, target in made.items():
        dataset = whole.dataset(target)
        runs = lab.run(Study([Arm("mlp", setting)], seeds, lambda _, dataset=dataset: dataset))
        final[name] = h.log_prices(whole, setting, runs, "mlp", seeds, asked, target)
    return final


def direct(houses: h.Houses, seed: int, epochs: int) -> dict[str, Any]:
    """The section's model, trained on the squared difference of logarithms of clamped prices: its own score, directly.

    Adam at rate 5, batches of 64, PyTorch's first weights. What is measured: the share of training houses whose
    prediction lies below 1 before and after, and the largest gradient at the end.
    """
    import torch

    whole, asked = h.refitted(houses, as_section=True)
    x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in (whole.train_x, whole.train_y))
    bound = x.shape[1] ** -0.5
    drawn = bound * (2 * Stream(seed, "init", layer=417).uniform(x.shape[1] + 1) - 1)
    weight, bias = (torch.tensor(part, requires_grad=True) for part in (drawn[:-1], drawn[-1]))
    optimizer = torch.optim.Adam([weight, bias], lr=float(h.LINEAR_SETTING.optimizer.learning_rate))

    def loss(rows: Any) -> torch.Tensor:
        return ((torch.log(torch.clamp(x[rows] @ weight + bias, min=1.0)) - y[rows]) ** 2).mean()

    def below() -> float:
        return float((x @ weight + bias < 1.0).double().mean())

    start = below()
    for epoch in range(epochs):
        order = Stream(seed, "order", layer=417, step=epoch).permutation(len(y))
        for k in range(0, len(y), 64):
            optimizer.zero_grad()
            loss(order[k : k + 64]).backward()
            optimizer.step()
    optimizer.zero_grad()
    loss(slice(None)).backward()
    assert weight.grad is not None
    with torch.no_grad():
        outputs = (torch.from_numpy(asked) @ weight + bias).numpy()
    return {
        "seed": seed,
        "below_before": rounded(start),
        "below_after": rounded(below()),
        "gradient": rounded(float(weight.grad.abs().max())),
        "asked": h.clamped_logs(outputs),
    }


def measured(fold: h.Fold, prices: np.ndarray) -> dict[str, Any]:
    """Score, error in dollars and number of impossible prices; these are raised to the training rows' lowest price."""
    lowest = float(np.exp(fold.train_y.min()))
    possible = np.where(prices > 0, prices, lowest)
    sizes = np.abs(np.log(possible) - fold.held_y)
    with np.errstate(over="ignore"):  # where the rate is left, dollars may have no square
        dollars_off = float(np.sqrt(np.mean((prices - np.exp(fold.held_y)) ** 2)))
    return {
        "status": "finished",
        "log_rmse": rounded(fold.score(np.log(possible))),
        "median_error": rounded(float(np.median(sizes))),
        "worst_error": rounded(float(sizes.max())),
        "dollars": rounded(dollars_off),
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


def has_no_gradient(outputs: np.ndarray) -> Finding:
    """Is the derivative of the squared difference of clamped logarithms exactly 0 at each of these outputs?"""
    import torch

    o = torch.tensor(outputs, dtype=torch.float64, requires_grad=True)
    ((torch.log(torch.clamp(o, min=1.0)) - 12.0) ** 2).sum().backward()
    assert o.grad is not None
    return Finding.true_if(bool((o.grad == 0).all()), f"{int((o.grad == 0).sum())} / {len(outputs)}")


def is_stuck_where_dead(rows: list[dict[str, Any]]) -> Finding:
    """Do those runs, and only those, end with a hopeless score whose predictions all lie below 1, with no gradient?"""
    stuck = [row["score"] > STUCK for row in rows]
    dead = [row["below_after"] == 1 and row["gradient"] == 0 for row in rows]
    return Finding.true_if(stuck == dead, f"{sum(dead)} / {len(rows)}", stuck=sum(stuck), runs=len(rows))


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


def is_what_circulates(error: float) -> Finding:
    """Is this the error that is reported of folds that stood still, to rounding and the choice of houses?"""
    return Finding.true_if(abs(error - DEAD_FOLDS) < 0.01, f"{error:.4f}", error=error)


def stuck_at(observations: Observations) -> float:
    """Log-RMSE of a run whose predictions all lie below 1; 1 where there is none."""
    return _direct_facts(observations.rows("direct"))["stuck_at"] or 1.0


def gain(observations: Observations, kind: str, metric: str = "log_rmse") -> np.ndarray:
    """Price minus log price, by fold: positive where the logarithm is better."""
    return observations.runs.differences(metric, f"{kind}-price", f"{kind}-log")


def column(observations: Observations, name: str) -> np.ndarray:
    """A quantity of the way back, by fold."""
    return observations["back"][name].to_numpy(dtype=float)


def p_of_the_way_back(rows: list[dict[str, Any]]) -> float:
    """Of the claim on the median, which is of one family with the gaps."""
    comparison = centred(np.array([row["median"] for row in rows])).comparison
    assert comparison is not None
    assert comparison.equivalence is not None
    return comparison.equivalence.p


centred = equivalent(margin=CENTRED, test_train_ratio=h.RATIO)


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Scores, impossible prices and the way back."""
    runs, board = observations.runs, h.scored_arms(observations)
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
        "sealed": {arm.replace("-", "_"): row["score"] for arm, row in board.items()},
        "houses": int(board["linear-log"]["houses"]),
        "left": {
            "least": float(runs.values("log_rmse", "linear-log-left").min()),
            "most": float(runs.values("log_rmse", "linear-log-left").max()),
        },
        "own_rate": float(h.LINEAR_SETTING.optimizer.learning_rate),
        "lowered": LOWERED,
        "dead_folds": DEAD_FOLDS,
        "alike": h.ALIKE,
        "direct": _direct_facts(observations.rows("direct")),
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Means over five folds of the section's model, on prices and on log prices at the lowered rate."""
    return {
        name: prediction_interval(observations.runs.values("log_rmse", arm), num_new=h.NUM_FOLDS)
        for name, arm in (("price_score", "linear-price"), ("log_score", "linear-log"))
    }


def _direct_facts(rows: list[dict[str, Any]]) -> dict[str, float]:
    dead = [row["score"] for row in rows if row["below_after"] == 1]
    alive = [row["score"] for row in rows if row["below_after"] < 1]
    return {
        "runs": len(rows),
        "dead": len(dead),
        "stuck_at": max(dead, default=0.0),
        "least": min(alive, default=0.0),
        "most": max(alive, default=0.0),
        "before": float(np.mean([row["below_before"] for row in rows])),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The models; the direct way, run by run; the way back."""
    runs, rows = observations.runs, []
    board = h.scored_arms(observations)
    for arm, label in words.group("arms").items():
        rows.append(
            [
                label,
                h.sealed_cells(board[arm])[0],
                show.stacked(show.number_interval(h.score(runs.values("log_rmse", arm)))),
                show.stacked(show.number_interval(h.score(runs.values("median_error", arm)))),
                f"{int(runs.values('impossible', arm).sum())}",
            ]
        )
    heads = (
        words["heads.model"],
        words["heads.sealed"],
        words["heads.log-rmse"],
        words["heads.median"],
        words["heads.impossible"],
    )
    title = words("titles.models", num_seeds=observations.num_seeds, h=h.NUM_FOLDS)
    lines = {
        ("shortfall", "log_rmse"): words["labels.as-median"],
        ("smeared_shortfall", "smeared_log_rmse"): words["labels.as-mean"],
    }
    back = [[label, *(_written(observations, name) for name in names)] for names, label in lines.items()]
    back_heads = (
        words["heads.way-back"],
        words["heads.shortfall"],
        words["heads.log-rmse"],
    )
    back_title = words["titles.way-back"]
    run_heads = tuple(
        words[f"heads.{name}"] for name in ("run", "below-before", "below-after", "gradient", "sealed")
    )
    lines_of_runs = [
        [f"{row['seed']}", show.percent(row["below_before"], 1), show.percent(row["below_after"], 1),
         show.number(row["gradient"]), f"{row['score']:.3f}"]
        for row in observations.rows("direct")
    ]  # fmt: skip
    return [
        Table(title, heads, rows),
        Table(words["titles.direct"], run_heads, lines_of_runs),
        Table(back_title, back_heads, back),
    ]


def _written(observations: Observations, name: str) -> str:
    found = h.score(column(observations, name))
    return show.points_interval(found) if "shortfall" in name else show.number_interval(found)


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """All models on every fold, but for the one whose rate was left: its scores leave the page."""
    arms = {arm: name for arm, name in words.group("arms").items() if arm != "linear-log-left"}
    return h.fold_plot(observations.runs, arms, words, title=words["titles.figure"])


ANSWER = Answer(
    observe=observe,
    claims=(
        *(h.judged(name, pair, post_hoc=name in POST_HOC) for name, pair in PAIRS.items()),
        Claim(
            name="the-clamp-has-no-gradient",
            kind="property",
            check=has_no_gradient,
            subject=lambda o: np.linspace(-50, 0.99, 200),
            falsehood=lambda o: np.linspace(-50, 1.5, 200),
        ),
        Claim(
            name="stuck-runs-are-dead-runs",
            kind="experiment",
            check=is_stuck_where_dead,
            subject=lambda o: o.rows("direct"),
            # a run that ends as badly while most of its predictions lie above 1: another cause
            falsehood=lambda o: [*o.rows("direct"), {"score": 12.0, "below_after": 0.4, "gradient": 0.1}],
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
            check=centred,
            subject=lambda o: column(o, "median"),
            falsehood=lambda o: recentred(column(o, "median"), 0.1),
            unit="log",
        ),
        Claim(
            name="the-error-that-circulates-is-a-log-of-a-log",
            kind="calculation",
            figures={"said": DEAD_FOLDS},
            check=is_what_circulates,
            subject=lambda o: float(np.log(stuck_at(o))),
            falsehood=stuck_at,  # with one logarithm
        ),
    ),
    circulated=(
        Circulated(
            "log-prices-are-no-good",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="the-sections-model-gains",
            source="datawhale",
        ),
        Circulated(
            "no-gradient-below-1",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-clamp-has-no-gradient",
            source="datawhale",
        ),
        Circulated(
            "the-folds-errors",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="the-error-that-circulates-is-a-log-of-a-log",
            source="datawhale",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set activation=tanh",
)
