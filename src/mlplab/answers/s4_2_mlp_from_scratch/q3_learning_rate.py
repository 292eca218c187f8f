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

from mlplab.answers import chapter, show
from mlplab.answers.answer import Answer, Table
from mlplab.answers.choice import CHANCE, LOST, more_are_lost, scored
from mlplab.claims import Claim, Finding, Lab, Language, Observations, Words, recentred
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.rng import Stream
from mlplab.stats import mean_interval, paired, proportion_interval
from mlplab.study import Results, Study, factorial, plots

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


def is_less(differences: np.ndarray) -> Finding:
    """Is the mean below zero?"""
    return Finding.of(paired(differences, claim="less"))


def is_greater(differences: np.ndarray) -> Finding:
    """Is the mean above zero?"""
    return Finding.of(paired(differences, claim="greater"))


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


def tables(observations: Observations, language: Language) -> list[Table]:
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
    title = Words(
        "Validation accuracy in % by learning rate and epochs: mean with its 95% t interval; runs lost at the end, "
        "with the 95% Clopper-Pearson interval of their share in %",
        "各学习率与轮数的验证准确率（%）：均值与 95% t 区间；最后失败的次数，及其比例（%）的 95% Clopper-Pearson 区间",
    )
    heads = (
        Words("learning rate", "学习率"),
        *(Words(f"{epoch} epochs", f"{epoch} 轮") for epoch in epochs(observations)),
        Words("lost", "失败"),
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


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Validation accuracy against the rate, a line for each number of epochs, beside the share of lost runs."""
    chosen = epochs(observations)[:: max(1, len(epochs(observations)) // 3)]
    rows = [
        {"group": Words("{} epochs", "{} 轮").of(language).format(epoch), "level": f"{rate:g}"}
        | mean_interval(at_epoch(observations, epoch)[index]).to_dict()
        for epoch in dict.fromkeys([*chosen, epochs(observations)[-1]])
        for index, rate in enumerate(RATES)
    ]
    shares = []
    for rate in RATES:
        lost = is_lost(observations, rate)
        shares.append(
            {"group": Words("share lost", "失败比例").of(language), "level": f"{rate:g}"}
            | proportion_interval(int(lost.sum()), len(lost)).to_dict()
        )
    left = plots.level_plot(
        pd.DataFrame(rows),
        level_title=Words("Learning rate", "学习率").of(language),
        value_title=Words("Validation accuracy", "验证准确率").of(language),
        title=Words("Accuracy by rate and epochs", "准确率随学习率与轮数的变化").of(language),
        value_format=".0%",
        language=language,
        width=340,
    )
    right = plots.level_plot(
        pd.DataFrame(shares),
        level_title=Words("Learning rate", "学习率").of(language),
        value_title=Words("Share of runs that learned nothing", "什么也没学到的训练所占比例").of(language),
        title=Words("Runs lost", "失败的训练").of(language),
        value_format=".0%",
        language=language,
        width=300,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="two-over-the-curvature",
            kind="proof",
            statement=Words(
                "On a parabola of curvature c, gradient descent shrinks the error if and only if the rate is below "
                "2/c.",
                "在曲率为 c 的抛物线上，梯度下降使误差缩小，当且仅当学习率小于 2/c。",
            ),
            check=follows_the_bound,
            subject=lambda o: lambda c: 2 / c,
            falsehood=lambda o: lambda c: 1 / c,  # the rate that jumps to the minimum in one step
        ),
        Claim(
            name="the-largest-curvature-decides",
            kind="property",
            statement=Words(
                "In several dimensions the largest eigenvalue of the Hessian takes the place of c.",
                "在多维情形，海森矩阵的最大特征值取代 c 的位置。",
            ),
            check=largest_curvature_decides,
            subject=lambda o: 1.0,
            falsehood=lambda o: 0.95,
        ),
        Claim(
            name="too-low-underfits",
            kind="experiment",
            statement=Words(
                "At rate 0.001 the training accuracy in the end is lower than at 0.1.",
                "学习率为 0.001 时，最后的训练准确率低于 0.1。",
            ),
            check=is_less,
            subject=low_rate_effect,
            falsehood=lambda o: -low_rate_effect(o),
            unit="points",
        ),
        Claim(
            name="more-epochs-make-up-for-it",
            kind="experiment",
            statement=Words(
                "With more epochs the lag of rate 0.001 behind 0.1 shrinks.",
                "轮数增加时，学习率 0.001 落后于 0.1 的差距缩小。",
            ),
            check=is_greater,
            subject=catching_up,
            falsehood=lambda o: recentred(catching_up(o), -0.1),
            unit="points",
        ),
        Claim(
            name="the-best-rate-falls-with-epochs",
            kind="experiment",
            statement=Words(
                "The more epochs, the lower the best rate: its power of ten falls from the fewest epochs to the most.",
                "轮数越多，最好的学习率越小：从最少的轮数到最多的轮数，它的数量级（以十为底的对数）下降。",
            ),
            check=is_less,
            subject=shift_of_the_best,
            falsehood=lambda o: recentred(shift_of_the_best(o), 1.0),
        ),
        Claim(
            name="too-high-is-lost",
            kind="experiment",
            statement=Words(
                "At rate 10 most runs learn nothing; at 0.1 few or none.",
                "学习率为 10 时，多数训练什么也学不到；为 0.1 时很少或没有。",
            ),
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
