"""4.5.1 How do training and test loss depend on λ?

The section fits 200 weights to 20 examples. Its weights start at N(0, 1), 70 times as long a vector as the true one.
No gradient reaches the 180 directions in which the examples do not lie; only the decay does. So the same curve is
drawn three times: from the section's start, from zero, and for the exact solution, which has no start at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab import data
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.engine import reference
from mlplab.knobs import turn, written
from mlplab.spec import Run
from mlplab.stats import mean_interval, prediction_interval
from mlplab.study import Study, factorial

from .. import chapter

if TYPE_CHECKING:
    import altair

LAMBDAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
CHAPTER_LAMBDA = 3.0
STARTS = {"section": "normal(std=1)", "zero": "zeros"}
PATHS = (
    "section",
    "zero",
    "exact",
)

ROUNDING = 1e-10  # a float32 training loss below this is zero to rounding
# A change of the risk by less than this share of it is called flat.
FLAT = 0.1
# Learning less than this share of the risk of knowing nothing is called nearly nothing.
LITTLE = 0.2


def observe(lab: Lab) -> Observations:
    """Train both starts on every λ, one draw of the problem a seed, and solve the same problems exactly."""
    seeds = lab.seeds(quick=20, full=100)
    problems = {seed: data.load("linear-high-dim", draw=seed) for seed in seeds}
    base = lab.setting(chapter.LINEAR_SETTING)
    study = Study(
        factorial(base, initialization=list(STARTS.values()), weight_decay=LAMBDAS),
        seeds,
        problems.__getitem__,
    )
    runs = lab.run(study)
    rows = []
    for arm in study.arms:
        path = next(path for path, start in STARTS.items() if start == written(arm.levels["initialization"]))
        for seed in seeds:
            ((weight, bias),) = runs.parameters(arm.name, seed)
            rows.append(
                _row(path, arm.setting.penalty.weight_decay, seed, problems[seed], weight[0], bias[0])
            )
    for seed, problem in problems.items():
        for weight_decay in LAMBDAS:
            rows.append(_row("exact", weight_decay, seed, problem, *solve_exactly(problem, weight_decay)))
    return lab.observations(runs=runs.frame, paths=pd.DataFrame(rows), nothing=knowing_nothing(problems))


def knowing_nothing(problems: Mapping[int, Dataset]) -> pd.DataFrame:
    """For each draw the risk of predicting the mean of the training targets, and that of the true weights."""
    rows = []
    for seed, problem in problems.items():
        truth, bias = problem.truth["weights"].ravel(), float(problem.truth["bias"].item())
        risks = {
            name: _row(name, 0.0, seed, problem, w, b)["risk"]
            for name, w, b in (
                ("mean", np.zeros_like(truth), float(problem.train.targets[:, 0].astype(np.float64).mean())),
                ("truth", truth, bias),
            )
        }
        rows.append({"seed": seed, **risks})
    return pd.DataFrame(rows)


def solve_exactly(problem: Dataset, weight_decay: float) -> tuple[np.ndarray, float]:
    """The minimum of the mean of half the squared error plus λ/2 ‖w‖²; at λ = 0 the solution of least norm."""
    x, y = problem.train.features.astype(np.float64), problem.train.targets[:, 0].astype(np.float64)
    centre, middle = x.mean(0), y.mean()  # the intercept is not penalised: it takes the means away
    left, sizes, right = np.linalg.svd(x - centre, full_matrices=False)
    # Centring takes one direction away and leaves its size at 1e-15: scikit-learn's Ridge divides by it at λ = 0.
    kept = sizes > 1e-10 * sizes[0]
    shrunk = sizes[kept] / (sizes[kept] ** 2 + len(x) * weight_decay)
    w = right[kept].T @ (shrunk * (left[:, kept].T @ (y - middle)))
    return w, float(middle - centre @ w)


def project_out(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The part of w that no example sees: orthogonal to every row of x (n, d)."""
    rows = np.linalg.svd(x, full_matrices=False)[2]
    return w - rows.T @ (rows @ w)


def _row(
    path: str, weight_decay: float, seed: int, problem: Dataset, w: np.ndarray, b: float
) -> dict[str, Any]:
    # Inputs are N(0, I), so the risk is known without test examples: half of what is wrong in each direction.
    wrong = w - problem.truth["weights"].ravel()
    unseen = project_out(problem.train.features.astype(np.float64), wrong)
    offset, noise = float(b - problem.truth["bias"].item()), float(problem.truth["noise_std"].item())
    return {
        "path": path,
        "weight_decay": weight_decay,
        "seed": seed,
        "train_loss": _loss(problem.train, w, b),
        "test_loss": _loss(problem.test, w, b),
        "risk": float(wrong @ wrong + offset**2 + noise**2) / 2,
        "unseen_risk": float(unseen @ unseen) / 2,
    }


def _loss(part: data.Part | None, w: np.ndarray, b: float) -> float:
    assert part is not None
    return float(np.square(part.features @ w + b - part.targets[:, 0]).mean() / 2)


def column(observations: Observations, path: str, weight_decay: float, quantity: str) -> np.ndarray:
    """A quantity of one path at one λ, by seed."""
    table = observations["paths"]
    chosen = table[(table["path"] == path) & (table["weight_decay"] == weight_decay)]
    return chosen.sort_values("seed")[quantity].to_numpy(dtype=float)


def gain(observations: Observations, path: str, quantity: str = "risk") -> np.ndarray:
    """How much the section's λ lowers a quantity, for each seed."""
    return column(observations, path, 0.0, quantity) - column(observations, path, CHAPTER_LAMBDA, quantity)


def share_of_start(observations: Observations) -> np.ndarray:
    """Share of the gain that lies in directions that no example sees, for each seed."""
    return gain(observations, "section", "unseen_risk") / gain(observations, "section")


def relative_gain(observations: Observations, path: str) -> np.ndarray:
    """By what share of its value without decay the section's λ lowers the risk, for each seed."""
    return gain(observations, path) / column(observations, path, 0.0, "risk")


def learned(observations: Observations, risk: np.ndarray) -> np.ndarray:
    """By what share a risk is below that of predicting the mean of y, for each seed."""
    return 1 - risk / observations["nothing"].sort_values("seed")["mean"].to_numpy(dtype=float)


def best_lambda(observations: Observations) -> float:
    """The λ at which the exact solution has the lowest mean risk."""
    return min(LAMBDAS, key=lambda decay: column(observations, "exact", decay, "risk").mean())


def narrowing(observations: Observations, path: str) -> np.ndarray:
    """How much the section's λ narrows the gap between test and training loss, for each seed."""
    return gain(observations, path, "test_loss") - gain(observations, path, "train_loss")


def moves_unseen(weight_decay: float) -> Finding:
    """Train in float64 on five problems: does the unseen part of the weights stay where it started?"""
    worst = max(
        float(np.abs(end - start).max())
        for start, end in (_unseen_start_and_end(weight_decay, s) for s in range(5))
    )
    # 400 updates of size below 1, each rounded to 1e-16.
    return Finding.true_if(worst < 1e-12, worst_move=worst)


def shrinks_unseen(updates: int) -> Finding:
    """Is the unseen part multiplied by (1 - ηλ) in every one of that many updates, and changed by nothing else?"""
    factor = (1 - chapter.LINEAR_SETTING.optimizer.learning_rate * CHAPTER_LAMBDA) ** updates
    pairs = [_unseen_start_and_end(CHAPTER_LAMBDA, seed) for seed in range(5)]
    worst = max(float(np.abs(end - factor * start).max()) for start, end in pairs)
    return Finding.true_if(worst < 1e-12, worst_error=worst, factor=factor)


@cache  # three checks and the published evidence ask for the same ten trainings
def _unseen_start_and_end(weight_decay: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    problem = data.load("linear-high-dim", draw=seed)
    setting = turn(chapter.LINEAR_SETTING, weight_decay=weight_decay, precision="float64")
    start = turn(setting, epochs=1, learning_rate=1e-300)  # a rate that moves nothing shows the start
    x = problem.train.features.astype(np.float64)
    ends = [reference.train_one(Run(s, problem.fingerprint, seed), problem) for s in (start, setting)]
    before, after = (project_out(x, result.parameters[0][0][0]) for result in ends)
    return before, after


def forgets_more(carried: bool) -> Finding:
    """Of 150 values of λ from 0 to 100, the last below the section's: how much of its unseen start has a net left?

    Arguments:
      carried: whether one net is trained on from each λ to the next, or a fresh one for this λ.
    """
    sweep = np.linspace(0.0, 100.0, 150)
    before = sweep[sweep <= CHAPTER_LAMBDA]
    rate = chapter.LINEAR_SETTING.optimizer.learning_rate
    left = (1 - rate * before) ** num_updates()
    times = float(left[-1] / (left.prod() if carried else left[-1]))
    return Finding.true_if(times > 10, f"{times:.3g} times", times=times)


def num_updates() -> int:
    """Updates of one run in the section."""
    training = chapter.LINEAR_SETTING.training
    return training.epochs * -(-20 // (training.batch_size or 20))


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Training and test loss of the three paths for every λ."""
    heads = [words["heads.lambda"], *words.group("paths").values()]
    titles = {
        "train_loss": words["labels.training-loss-mean-over-seeds"],
        "test_loss": words["labels.test-loss-mean-over-seeds"],
    }
    return [Table(title, heads, _loss_rows(observations, quantity)) for quantity, title in titles.items()]


def _loss_rows(observations: Observations, quantity: str) -> list[list[str]]:
    rows = []
    for decay in LAMBDAS:
        means = [mean_interval(column(observations, path, decay, quantity)) for path in PATHS]
        rows.append([f"{decay:g}", *(show.stacked(show.number_interval(mean)) for mean in means)])
    return rows


def facts(observations: Observations) -> dict[str, Any]:
    """Mean test losses with and without decay, for each path."""
    return {
        "num_draws": observations["paths"]["seed"].nunique(),
        "chapter_lambda": CHAPTER_LAMBDA,
        "num_updates": num_updates(),
        "nothing": mean_interval(observations["nothing"]["mean"].to_numpy(dtype=float)),
        "best_lambda": best_lambda(observations),
        "best_risk": mean_interval(column(observations, "exact", best_lambda(observations), "risk")),
        "truth": float(observations["nothing"]["truth"].mean()),
        "gap": {
            name: float(
                (
                    column(observations, "section", decay, "test_loss")
                    - column(observations, "section", decay, "train_loss")
                ).mean()
            )
            for name, decay in (("without", 0.0), ("with", CHAPTER_LAMBDA))
        },
        "test_loss": {
            path: {
                "without": mean_interval(column(observations, path, 0.0, "test_loss")),
                "with": mean_interval(column(observations, path, CHAPTER_LAMBDA, "test_loss")),
            }
            for path in PATHS
        },
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Training and test loss against λ, the three paths in one picture each."""
    return _panel(observations, "train_loss", words) | _panel(observations, "test_loss", words)


def _panel(observations: Observations, quantity: str, words: WordList) -> altair.LayerChart:
    rows = [
        {"group": name, "level": f"{decay:g}"}
        | mean_interval(column(observations, path, decay, quantity)).to_dict()
        for path, name in words.group("paths").items()
        for decay in LAMBDAS
    ]
    return plots.level_plot(
        pd.DataFrame(rows),
        level_title="λ",
        value_title=words.group("losses")[quantity],
        title=words.group("losses")[quantity],
        log_scale=True,
        lowest=ROUNDING,
        notes=words.notes,
    )


def expected(seen: Observations) -> dict[str, tuple[float, float]]:
    """Mean test losses over ten more draws of the problem, with the section's λ and without."""
    places = {"section_without": ("section", 0.0), "section_with": ("section", CHAPTER_LAMBDA)}
    places |= {"zero_without": ("zero", 0.0), "zero_with": ("zero", CHAPTER_LAMBDA)}
    return {
        name: prediction_interval(column(seen, path, decay, "test_loss"), num_new=10)
        for name, (path, decay) in places.items()
    }


ANSWER = Answer(
    observe=observe,
    takes=("seeds", "knobs"),
    claims=(
        Claim(
            name="decay-lowers-test-loss",
            kind="experiment",
            check=greater(),
            subject=lambda o: gain(o, "section", "test_loss"),
            falsehood=lambda o: -gain(o, "section", "test_loss"),
        ),
        Claim(
            name="decay-raises-training-loss",
            kind="experiment",
            check=greater(),
            subject=lambda o: -gain(o, "section", "train_loss"),
            falsehood=lambda o: gain(o, "section", "train_loss"),
        ),
        Claim(
            name="data-never-move-the-unseen-part",
            kind="property",
            check=moves_unseen,
            subject=lambda o: 0.0,
            falsehood=lambda o: CHAPTER_LAMBDA,
        ),
        Claim(
            name="decay-shrinks-the-unseen-part",
            kind="property",
            check=shrinks_unseen,
            subject=lambda o: num_updates(),
            falsehood=lambda o: num_updates() // 2,
        ),
        Claim(
            name="the-gain-is-the-forgotten-start",
            kind="experiment",
            check=greater(0.9),
            subject=share_of_start,
            falsehood=lambda o: recentred(share_of_start(o), 0.5),
        ),
        Claim(
            name="flat-from-zero",
            kind="experiment",
            check=equivalent(margin=FLAT, numbers={}),
            subject=lambda o: relative_gain(o, "zero"),
            falsehood=lambda o: recentred(relative_gain(o, "zero"), 0.5),
        ),
        Claim(
            name="flat-for-the-exact-solution",
            kind="experiment",
            check=equivalent(margin=FLAT, numbers={}),
            subject=lambda o: relative_gain(o, "exact"),
            falsehood=lambda o: recentred(relative_gain(o, "exact"), 0.5),
        ),
        Claim(
            name="nearly-nothing-is-learned",
            kind="experiment",
            check=less(LITTLE, numbers={}),
            subject=lambda o: learned(o, column(o, "exact", best_lambda(o), "risk")),
            # What there is to be learned: the true weights.
            falsehood=lambda o: learned(o, o["nothing"].sort_values("seed")["truth"].to_numpy(dtype=float)),
        ),
        Claim(
            name="decay-narrows-the-gap",
            kind="experiment",
            check=greater(),
            subject=lambda o: narrowing(o, "section"),
            falsehood=lambda o: -narrowing(o, "section"),
        ),
        Claim(
            name="one-net-forgets-once",
            kind="calculation",
            check=forgets_more,
            subject=lambda o: True,
            falsehood=lambda o: False,
        ),
    ),
    circulated=(
        Circulated(
            "as-grows-training-result-gets",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="decay-lowers-test-loss",
        ),
        Circulated(
            "reason-larger-relieves-overfitting",
            {"holds": "incomplete", "fails": "right", "undecided": "unsupported"},
            by="the-gain-is-the-forgotten-start",
        ),
        Circulated(
            "the-curves-come-closer",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="decay-narrows-the-gap",
            source="datawhale",
        ),
        Circulated(
            "one-net-for-all-lambdas",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="one-net-forgets-once",
            source="datawhale",
        ),
        Circulated(
            "falls-and-rises-again",
            {"holds": "incomplete", "fails": "unsupported", "undecided": "unsupported"},
            by="flat-from-zero",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set epochs=400",
)
