"""4.2.3 What happens when the learning rate is changed?

One long training at each rate, evaluated after every epoch: what a shorter one would have found stands on its way, as
the rate is constant. So rates are crossed with numbers of epochs at the price of the longest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import Answer, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, less
from mlplab.charts import plots, show
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.rng import Stream
from mlplab.stats import mean_interval, proportion_interval
from mlplab.study import Results, Study, factorial

from .. import chapter
from ..choice import CHANCE, LOST, more_are_lost, scored

if TYPE_CHECKING:
    import altair

RATES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
LOW, CHAPTER, HIGH = 0.001, 0.1, 10.0
# A run is lost if its loss was no longer finite, or if it ends hardly better than guessing.
METRIC = "validation_accuracy"


def observe(lab: Lab) -> Observations:
    """Train the section's network at rates from 0.001 to 10, and keep its accuracy at some epochs on the way."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    longer = turn(chapter.MLP_SETTING, epochs=20)
    # On few images batches are small already: the same number of epochs is enough.
    scaled = turn(chapter.scaled(longer, dataset), epochs=lab.choose(quick=8, full=20))
    epochs = lab.take("epochs", scaled)
    if epochs < 2:
        raise InvalidInput("--set epochs", "must be at least 2: short and long training are compared", epochs)
    base = turn(lab.setting(scaled), epochs=epochs)
    arms = factorial(base, learning_rate=RATES)
    runs = lab.run(Study(arms, lab.seeds(quick=6, full=20), dataset))
    marks = sorted({max(1, round(epochs * share)) for share in (0.05, 0.1, 0.25, 0.5, 1.0)})
    return lab.observations(runs=runs.frame, curves=_at_epochs(runs, marks))


def _at_epochs(runs: Results, marks: list[int]) -> pd.DataFrame:
    """Validation accuracy of each rate and seed at some epochs; a run that has diverged scores as guessing."""
    curves = runs.curves[runs.curves["metric"] == METRIC].set_index(["arm", "seed", "epoch"])["value"]
    rows = [
        {
            "rate": float(row["learning_rate"]),
            "seed": row["seed"],
            "epoch": epoch,
            "accuracy": float(curves.get((row["arm"], row["seed"], epoch), CHANCE)),
        }
        for row in runs.frame.to_dict("records")
        for epoch in marks
    ]
    return pd.DataFrame(rows)


def epochs(observations: Observations) -> list[int]:
    """The numbers of epochs that are compared, ascending."""
    return sorted({int(epoch) for epoch in observations["curves"]["epoch"]})


def at_epoch(observations: Observations, epoch: int) -> np.ndarray:
    """Validation accuracy after so many epochs: (rate, seed)."""
    table = observations["curves"]
    wide = table[table["epoch"] == epoch].pivot(index="rate", columns="seed", values="accuracy")
    return wide.sort_index().to_numpy()


def final(observations: Observations, metric: str, rate: float) -> np.ndarray:
    """A metric after the last epoch, by seed; accuracies of diverged runs count as guessing."""
    return scored(observations.runs.values(metric, f"learning_rate={written(rate)}"))


def is_lost(observations: Observations, rate: float) -> np.ndarray:
    """Which runs at a rate learned nothing, by seed."""
    return final(observations, "train_accuracy", rate) < LOST


def low_rate_effect(observations: Observations) -> np.ndarray:
    """Training accuracy at the lowest rate minus that at the section's, for each seed."""
    return final(observations, "train_accuracy", LOW) - final(observations, "train_accuracy", CHAPTER)


def catching_up(observations: Observations) -> np.ndarray:
    """By how much the lowest rate's lag behind the section's shrinks from the first to the last epoch kept."""
    lags = [
        at_epoch(observations, epoch)[RATES.index(CHAPTER)] - at_epoch(observations, epoch)[RATES.index(LOW)]
        for epoch in (epochs(observations)[0], epochs(observations)[-1])
    ]
    return lags[0] - lags[1]


def best_rates(observations: Observations, epoch: int) -> np.ndarray:
    """For each seed, log₁₀ of the rate that is best after so many epochs."""
    return np.log10(RATES)[at_epoch(observations, epoch).argmax(0)]


def shift_of_the_best(observations: Observations) -> np.ndarray:
    """How many powers of ten the best rate moves from the fewest epochs to the most, for each seed."""
    few, many = epochs(observations)[0], epochs(observations)[-1]
    return best_rates(observations, many) - best_rates(observations, few)


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


def tables(observations: Observations, words: WordList) -> list[Table]:
    """A row for each rate: accuracy by epochs, and the share of runs that were lost."""
    rows = []
    for index, rate in enumerate(RATES):
        lost = is_lost(observations, rate)
        share = proportion_interval(int(lost.sum()), len(lost))
        row = [
            show.percent_interval(mean_interval(at_epoch(observations, e)[index]))
            for e in epochs(observations)
        ]
        rows.append(
            [
                f"{rate:g}",
                *map(show.stacked, row),
                show.stacked(f"{lost.sum()} / {len(lost)} {_share(share)}"),
            ]
        )
    title = words["titles.validation-accuracy-in-by-learning"]
    heads = (
        words["heads.learning-rate"],
        *(words("labels.epochs", epoch=epoch) for epoch in epochs(observations)),
        words["heads.lost"],
    )
    return [Table(title, heads, rows)]


def _share(interval: Any) -> str:
    return f"[{show.percent(interval.ci_low, 0)}, {show.percent(interval.ci_high, 0)}]"


def facts(observations: Observations) -> dict[str, Any]:
    """Accuracies at the rates that the sentences speak of, and the best rates by epochs."""
    few, many = epochs(observations)[0], epochs(observations)[-1]
    mean_at = {epoch: at_epoch(observations, epoch).mean(1) for epoch in (few, many)}
    lost = {rate: float(is_lost(observations, rate).mean()) for rate in RATES}
    frame = observations.runs.frame
    return {
        "low": LOW,
        "chapter_rate": CHAPTER,
        "high": HIGH,
        "few": few,
        "many": many,
        "best_few": RATES[int(mean_at[few].argmax())],
        "best_many": RATES[int(mean_at[many].argmax())],
        "low_test": mean_interval(final(observations, "test_accuracy", LOW)),
        "chapter_test": mean_interval(final(observations, "test_accuracy", CHAPTER)),
        "low_train": mean_interval(final(observations, "train_accuracy", LOW)),
        "chapter_train": mean_interval(final(observations, "train_accuracy", CHAPTER)),
        "first_lost": next((rate for rate in RATES if lost[rate] > 0), None),
        "num_not_finite": int((frame["status"] == "diverged").sum()),
        "num_lost": int(sum(is_lost(observations, rate).sum() for rate in RATES)),
        "lost_level": LOST,
        "num_rates": len(RATES),
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Validation accuracy against the rate, a line for each number of epochs, beside the share of lost runs."""
    chosen = epochs(observations)[:: max(1, len(epochs(observations)) // 3)]
    rows = [
        {"group": words["labels.num-epochs"].format(epoch), "level": f"{rate:g}"}
        | mean_interval(at_epoch(observations, epoch)[index]).to_dict()
        for epoch in dict.fromkeys([*chosen, epochs(observations)[-1]])
        for index, rate in enumerate(RATES)
    ]
    shares = []
    for rate in RATES:
        lost = is_lost(observations, rate)
        shares.append(
            {"group": words["labels.share-lost"], "level": f"{rate:g}"}
            | proportion_interval(int(lost.sum()), len(lost)).to_dict()
        )
    left = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.learning-rate"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.accuracy-by-rate-and-epochs"],
        value_format=".0%",
        notes=words.notes,
        width=340,
    )
    right = plots.level_plot(
        pd.DataFrame(shares),
        level_title=words["titles.learning-rate"],
        value_title=words["titles.share-runs-learned-nothing"],
        title=words["titles.runs-lost"],
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
            name="too-low-underfits",
            kind="experiment",
            check=less(),
            subject=low_rate_effect,
            falsehood=lambda o: -low_rate_effect(o),
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
            name="the-best-rate-falls-with-epochs",
            kind="experiment",
            check=less(),
            subject=shift_of_the_best,
            falsehood=lambda o: recentred(shift_of_the_best(o), 1.0),
            unit="log10",
        ),
        Claim(
            name="too-high-is-lost",
            kind="experiment",
            check=more_are_lost,
            subject=lambda o: (is_lost(o, HIGH), is_lost(o, CHAPTER)),
            falsehood=lambda o: (is_lost(o, CHAPTER), is_lost(o, HIGH)),
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=64",
)
