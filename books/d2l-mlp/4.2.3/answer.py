"""4.2.3 What happens when the learning rate is changed, and which one is best?

Everything else stays as the section has it, the number of epochs too. At a constant rate the accuracy after the last
step is a matter of luck, so that a run counts with its mean over the last half of the epochs: what one gets there on
average. A few seeds choose the best rate, fresh ones judge it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.knobs import turn, written
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval, prediction_interval
from mlplab.study import Arm, Results, Study

from .. import chapter, choice
from ..choice import LOST, more_are_lost, scored

if TYPE_CHECKING:
    import altair

RATES = (0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0, 10.0)
QUICK_RATES = (0.001, 0.01, 0.1, 0.3, 1.0, 10.0)
LOW, CHAPTER, HIGH = 0.001, 0.1, 10.0
HUNDREDTH = 0.01  # said to be the best
BRIGHTEST = 255  # as the pixels are stored
# Differences in accuracy of less than 0.3 points do not matter here.
MARGIN = 0.003
# Of a run: the mean over the last half of its epochs on validation images, which judge and choose nothing but the rate.
LATE, LAST = "late_validation_accuracy", "test_accuracy"
LONGER = 3  # times as many epochs
# The section's loop at the highest rate, step by step: which hidden units are still on for some image?
STEPS = (1, 2, 3, 5, 10, 20)
WATCHED = 2_000


def observe(lab: Lab) -> Observations:
    """Try all rates on choosing seeds; judge the best other than the section's, the section's and both ends on fresh
    ones, and the best again with a rate that falls; the best and the section's for longer, too."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    scaled = turn(chapter.scaled(chapter.MLP_SETTING, dataset), drop_last=True)
    epochs = lab.take("epochs", scaled)
    base = turn(lab.setting(scaled), epochs=epochs)
    longer = turn(base, epochs=LONGER * epochs, evaluate_every=LONGER)
    rates = lab.choose(quick=QUICK_RATES, full=RATES)
    choosing = choice.choosing_seeds(lab, quick=2, full=6)
    tried = with_late(lab.run(Study([at(base, rate) for rate in rates], choosing, dataset)))
    means = {rate: tried.loc[tried["rate"] == rate, LATE].mean() for rate in rates if rate != CHAPTER}
    best = max(means, key=lambda rate: means[rate])
    judged = dict.fromkeys((LOW, CHAPTER, best, HIGH))
    arms = [at(base, rate) for rate in judged]
    arms.append(Arm("falling", turn(base, learning_rate=best, schedule="cosine")))
    arms += [at(longer, rate, "longer") for rate in dict.fromkeys((LOW, CHAPTER, best))]
    runs = with_late(lab.run(Study(arms, lab.seeds(quick=3, full=12), dataset)))
    columns = ["arm", "seed", "digest", "status", "train_accuracy", LATE, LAST, "seconds"]
    return lab.observations(
        runs=runs[columns],
        tried=tried[["rate", "seed", "status", "train_accuracy", LATE]],
        alive=units_left(dataset, base, range(lab.choose(quick=2, full=5))),
        given=pd.DataFrame([{"best": best, "epochs": epochs}]),
    )


def with_late(results: Results) -> pd.DataFrame:
    """The runs, each with its mean validation accuracy over the last half of its epochs; one that diverged guesses."""
    points = results.curves[results.curves["metric"] == "validation_accuracy"]
    ends = points.groupby("arm")["epoch"].transform("max")
    late = points[2 * points["epoch"] > ends].groupby(["arm", "seed"])["value"].mean().rename(LATE)
    frame = results.frame.merge(late, left_on=["arm", "seed"], right_index=True, how="left")
    frame[LATE] = scored(frame[LATE].where(frame["status"] == "finished"))
    # An arm is called by its kind and its rate.
    frame["rate"] = pd.to_numeric(frame["arm"].str.partition(" ")[2], errors="coerce")
    return frame


def at(base: Setting, rate: float, name: str = "rate") -> Arm:
    """The arm of a rate."""
    return Arm(f"{name} {written(rate)}", turn(base, learning_rate=rate))


def units_left(dataset: Dataset, setting: Setting, seeds: range) -> pd.DataFrame:
    """Share of the hidden units that are on for some image after so many steps of the section's loop, at HIGH."""
    x, y = dataset.train.features, dataset.train.targets
    width, size = setting.model.hidden_sizes[0], min(setting.training.batch_size or len(x), len(x))
    rows = []
    for seed in seeds:
        stream = Stream(seed, "init")
        w1, w2 = (
            0.01 * stream.normal(shape) for shape in ((x.shape[1], width), (width, dataset.out_features))
        )
        b1, b2 = np.zeros(width), np.zeros(dataset.out_features)
        order = Stream(seed, "order").permutation(len(x))
        for step in range(1, STEPS[-1] + 1):
            batch = order[np.arange((step - 1) * size, step * size) % len(x)]
            images = x[batch].astype(np.float64)
            z = images @ w1 + b1
            hidden = np.maximum(z, 0)
            logits = hidden @ w2 + b2
            odds = np.exp(logits - logits.max(1, keepdims=True))
            error = odds / odds.sum(1, keepdims=True)
            error[np.arange(size), y[batch]] -= 1
            error /= size
            back = (error @ w2.T) * (z > 0)
            w2, b2 = w2 - HIGH * hidden.T @ error, b2 - HIGH * error.sum(0)
            w1, b1 = w1 - HIGH * images.T @ back, b1 - HIGH * back.sum(0)
            if step in STEPS:
                is_on = ((x[:WATCHED] @ w1 + b1) > 0).any(0)
                rows.append({"seed": seed, "step": step, "alive": float(is_on.mean())})
    return pd.DataFrame(rows)


def given(observations: Observations) -> dict[str, Any]:
    """The best rate other than the section's, by the choosing seeds, and what stayed fixed."""
    return observations.rows("given")[0]


def final(observations: Observations, metric: str, rate: float, name: str = "rate") -> np.ndarray:
    """A metric at the end, by seed; accuracies of diverged runs count as guessing."""
    return scored(observations.runs.values(metric, f"{name} {written(rate)}"))


def is_lost(observations: Observations, rate: float) -> np.ndarray:
    """Which runs at a rate learned nothing, by seed."""
    return final(observations, "train_accuracy", rate) < LOST


def tried(observations: Observations, column: str = LATE) -> dict[float, np.ndarray]:
    """What the choosing seeds reached at each rate, ascending, by seed."""
    rows = observations["tried"].sort_values(["rate", "seed"])
    rates = dict.fromkeys(rows["rate"].tolist())
    return {rate: rows.loc[rows["rate"] == rate, column].to_numpy(dtype=np.float64) for rate in rates}


def best_is_inside(accuracies: Mapping[float, np.ndarray]) -> Finding:
    """Is the best rate by the mean over choosing seeds better than both ends of the grid on every one of them?"""
    best = max(accuracies, key=lambda rate: accuracies[rate].mean())
    ends = min(accuracies), max(accuracies)
    if best in ends:
        return Finding.true_if(False, f"{best:g} is at the edge")
    return Finding.true_if(all(bool((accuracies[best] > accuracies[end]).all()) for end in ends), best=best)


def up_to_the_best(accuracies: Mapping[float, np.ndarray]) -> dict[float, np.ndarray]:
    """The same on a grid that ends at its best."""
    best = max(accuracies, key=lambda rate: accuracies[rate].mean())
    return {rate: values for rate, values in accuracies.items() if rate <= best}


def low_rate_effect(observations: Observations) -> np.ndarray:
    """Training accuracy at the lowest rate minus that at the section's, for each seed."""
    return final(observations, "train_accuracy", LOW) - final(observations, "train_accuracy", CHAPTER)


def catching_up(observations: Observations) -> np.ndarray:
    """By how much the lowest rate's lag behind the section's shrinks with LONGER times the epochs."""
    lags = [
        final(observations, LATE, CHAPTER, name) - final(observations, LATE, LOW, name)
        for name in ("rate", "longer")
    ]
    return lags[0] - lags[1]


def lead(observations: Observations, name: str = "rate") -> np.ndarray:
    """Accuracy at the chosen rate minus that at the section's, for each seed."""
    best = given(observations)["best"]
    return final(observations, LATE, best, name) - final(observations, LATE, CHAPTER, name)


def steadying(observations: Observations) -> np.ndarray:
    """After the last step: test accuracy with a rate that falls from the chosen one to 0 minus that at it, by seed."""
    falling = scored(observations.runs.values(LAST, "falling"))
    return falling - final(observations, LAST, given(observations)["best"])


def alive(observations: Observations) -> dict[int, np.ndarray]:
    """Shares of units that are on after so many steps, by seed."""
    rows = observations["alive"]
    return {step: rows.loc[rows["step"] == step, "alive"].to_numpy(dtype=np.float64) for step in STEPS}


def units_go_out_step_by_step(shares: Mapping[int, np.ndarray]) -> Finding:
    """Are most units still on after one step, and most off after the last, for every seed?"""
    first, last = shares[min(shares)], shares[max(shares)]
    truth = bool((first > 0.5).all() and (last < 0.5).all())
    return Finding.true_if(truth, first=float(first.mean()), last=float(last.mean()))


def follows_the_bound(bound: Callable[[sympy.Expr], sympy.Expr]) -> Finding:
    """Is `bound` of the curvature c exactly where gradient descent on c/2 w² turns from shrinking w to growing it?"""
    rate, curvature, w = sympy.symbols("eta c w", positive=True)
    step = w - rate * sympy.diff(curvature / 2 * w**2, w)
    factor: Any = sympy.factor(step / w)  # w is multiplied by it in every step
    edges = sympy.solve(sympy.Eq(factor**2, 1), rate)
    inside = (factor**2 - 1).subs(rate, bound(curvature) * sympy.Rational(99, 100))
    outside = (factor**2 - 1).subs(rate, bound(curvature) * sympy.Rational(101, 100))
    is_edge = any(sympy.simplify(edge - bound(curvature)) == 0 for edge in edges)
    truth = is_edge and bool(sympy.simplify(inside).is_negative) and bool(sympy.simplify(outside).is_positive)
    return Finding.true_if(truth, f"each step multiplies w by {factor}; its size is 1 at η = {edges}")


def largest_curvature_decides(power: float) -> Finding:
    """Least squares on random data: does descent shrink just below 2/c^power and grow just above, c the largest?"""
    wrong, tries = 0, 0
    for seed in range(20):
        x = Stream(seed, "data").normal((30, 8)) * np.linspace(1, 3, 8)
        hessian = x.T @ x / len(x)
        largest = float(np.linalg.eigvalsh(hessian)[-1])
        for share, shrinks in ((0.97, True), (1.03, False)):
            w = Stream(seed, "init").normal(8)
            step = np.eye(len(hessian)) - share * 2 / largest**power * hessian
            end = np.linalg.matrix_power(step, 500) @ w
            wrong += int((np.linalg.norm(end) < np.linalg.norm(w)) != shrinks)
            tries += 1
    return Finding.true_if(wrong == 0, wrong=wrong, tries=tries)


def hundredth_effect(observations: Observations) -> np.ndarray:
    """Accuracy at HUNDREDTH minus that at the section's, for each choosing seed."""
    accuracies = tried(observations)
    return accuracies[HUNDREDTH] - accuracies[CHAPTER]


def moves_no_weight(kind: str) -> Finding:
    """The section's loop over one batch: what of this kind, in the updater's place, leaves each weight as it was?

    The loop steps an optimiser, and calls anything else with the number of examples.
    """
    weight = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    updater: Any = optimizer
    if kind == "scheduler":
        updater = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.98)
    (weight**2).sum().backward()
    detail = ""
    try:
        updater.step() if isinstance(updater, torch.optim.Optimizer) else updater(len(weight))
    except TypeError as error:
        detail = str(error)
    return Finding.true_if(bool((weight == 1).all()), detail)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Test accuracy after the last epoch: single runs at three constant rates, and of one that falls."""
    rows = {"tiny": LOW, "section": CHAPTER, "half": given(observations)["best"]}
    reached = {name: final(observations, LAST, rate) for name, rate in rows.items()}
    reached["falling"] = scored(observations.runs.values(LAST, "falling"))
    guessing = (0.09, 0.11)  # one class of ten, whichever rounding leaves a few images to another
    return {name: prediction_interval(values) for name, values in reached.items()} | {"ten": guessing}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """A row for each rate on choosing seeds; then what was judged on fresh seeds."""
    reached, trained = tried(observations), tried(observations, "train_accuracy")
    rows = []
    for rate, accuracies in reached.items():
        lost = int((scored(trained[rate]) < LOST).sum())
        interval = show.percent_interval(mean_interval(accuracies))
        rows.append([f"{rate:g}", show.stacked(interval), f"{lost} / {len(accuracies)}"])
    judged = []
    runs, details = observations.runs, given(observations)
    epochs = {"rate": details["epochs"], "longer": LONGER * details["epochs"], "falling": details["epochs"]}
    for arm in runs.arms:
        name, _, rate = arm.partition(" ")
        shown = words("labels.falling-from", rate=f"{details['best']:g}") if name == "falling" else rate
        cells = [
            show.percent_interval(mean_interval(scored(runs.values(metric, arm)))) for metric in (LATE, LAST)
        ]
        judged.append([shown, str(epochs[name]), *map(show.stacked, cells)])
    rate = words["heads.learning-rate"]
    return [
        Table(words["titles.tried"], (rate, words["heads.validation"], words["heads.lost"]), rows),
        Table(
            words["titles.judged"],
            (rate, words["heads.epochs"], words["heads.late"], words["heads.last"]),
            judged,
        ),
    ]


def facts(observations: Observations) -> dict[str, Any]:
    """Accuracies at the rates that the sentences speak of, and what is as good as the best."""
    details = given(observations)
    means = {rate: float(values.mean()) for rate, values in tried(observations).items()}
    trained = tried(observations, "train_accuracy")
    lost = [rate for rate, accuracies in trained.items() if (scored(accuracies) < LOST).any()]
    best = details["best"]
    spread = {
        name: float(np.std(values, ddof=1)) if len(values) > 1 else None
        for name, values in (
            ("last", final(observations, LAST, best)),
            ("late", final(observations, LATE, best)),
            ("falling", scored(observations.runs.values(LAST, "falling"))),
        )
    }
    return {
        "hundredth": HUNDREDTH,
        "brightest": BRIGHTEST,
        "low": LOW,
        "chapter_rate": CHAPTER,
        "high": HIGH,
        "best": best,
        "epochs": details["epochs"],
        "longer": LONGER * details["epochs"],
        "plateau": [rate for rate, mean in means.items() if max(means.values()) - mean < MARGIN],
        "best_reached": mean_interval(final(observations, LATE, best)),
        "low_train": mean_interval(final(observations, "train_accuracy", LOW)),
        "chapter_train": mean_interval(final(observations, "train_accuracy", CHAPTER)),
        "first_lost": min(lost, default=None),
        "spread": spread,
        "alive": {step: float(values.mean()) for step, values in alive(observations).items()},
        "last_step": STEPS[-1],
        "lead_longer": mean_interval(lead(observations, "longer")),
        "lost_level": LOST,
        "num_rates": len(means),
        "num_choosing": len(trained[LOW]),
        "margin": MARGIN,
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Validation accuracy against the rate, beside the units that are left, step by step."""
    reached, shares = tried(observations), alive(observations)
    rows = [
        {"group": words["labels.accuracy"], "level": f"{rate:g}"} | mean_interval(values).to_dict()
        for rate, values in reached.items()
    ]
    left = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.learning-rate"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.accuracy-by-rate"],
        value_format=".0%",
        notes=words.notes,
        width=340,
    )
    rows = [
        {"group": words("labels.alive", rate=f"{HIGH:g}"), "level": str(step)}
        | mean_interval(values).to_dict()
        for step, values in shares.items()
    ]
    right = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.steps"],
        value_title=words["titles.share-alive"],
        title=words["titles.units-left"],
        value_format=".0%",
        notes=words.notes,
        width=300,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="two-over-the-curvature",
            kind="proof",
            check=follows_the_bound,
            subject=lambda o: lambda c: 2 / c,
            falsehood=lambda o: lambda c: 1 / c,  # the rate that jumps to the minimum in one step
        ),
        Claim(
            name="the-largest-curvature-decides",
            kind="property",
            check=largest_curvature_decides,
            subject=lambda o: 1.0,
            falsehood=lambda o: 0.95,
        ),
        Claim(
            name="the-best-rate-is-inside",
            kind="experiment",
            check=best_is_inside,
            subject=tried,
            falsehood=lambda o: up_to_the_best(tried(o)),  # a grid that ends at its best
        ),
        Claim(
            name="the-best-beats-the-sections",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lead,
            falsehood=lambda o: recentred(lead(o), -MARGIN),
            unit="points",
            requires=("the-best-rate-is-inside",),
        ),
        Claim(
            name="too-low-underfits",
            kind="experiment",
            check=less(),
            subject=low_rate_effect,
            falsehood=lambda o: recentred(low_rate_effect(o), 0.05),
            unit="points",
        ),
        Claim(
            name="more-epochs-make-up-for-it",
            kind="experiment",
            check=greater(),
            subject=catching_up,
            falsehood=lambda o: recentred(catching_up(o), -0.1),
            unit="points",
        ),
        Claim(
            name="the-lead-shrinks-with-epochs",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: lead(o) - lead(o, "longer"),
            falsehood=lambda o: recentred(lead(o) - lead(o, "longer"), -MARGIN),
            unit="points",
            requires=("the-best-beats-the-sections",),
        ),
        Claim(
            name="a-falling-rate-steadies",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=steadying,
            falsehood=lambda o: recentred(steadying(o), -0.02),
            unit="points",
        ),
        Claim(
            name="too-high-is-lost",
            kind="experiment",
            check=more_are_lost,
            subject=lambda o: (is_lost(o, HIGH), is_lost(o, CHAPTER)),
            falsehood=lambda o: (is_lost(o, CHAPTER), is_lost(o, HIGH)),
        ),
        Claim(
            name="units-go-out-step-by-step",
            kind="calculation",
            check=units_go_out_step_by_step,
            subject=alive,
            # As if the first step did what all of them do.
            falsehood=lambda o: {step: alive(o)[STEPS[-1]] for step in STEPS},
        ),
        Claim(
            name="a-hundredth-is-behind",
            kind="experiment",
            check=less(margin=MARGIN),
            subject=hundredth_effect,
            falsehood=lambda o: recentred(hundredth_effect(o), MARGIN),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="a-scheduler-moves-no-weight",
            kind="calculation",
            check=moves_no_weight,
            subject=lambda o: "scheduler",
            falsehood=lambda o: "optimizer",
        ),
    ),
    circulated=(
        Circulated(
            "fast-or-slow",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="more-epochs-make-up-for-it",
            source="datawhale",
        ),
        Circulated(
            "the-ideal-rate-falls",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="a-falling-rate-steadies",
            source="datawhale",
        ),
        Circulated(
            "scheduler-as-updater",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="a-scheduler-moves-no-weight",
            source="datawhale",
        ),
        Circulated(
            "a-hundredth-is-best",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="a-hundredth-is-behind",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set hidden_sizes=64",
)
