"""4.2.1 How does the number of hidden units change the result, and which number is best?

Every width is trained on the same seeds. Some of them choose a width on validation data by the one-standard-error rule;
the others say on test data what the choice costs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mlplab.answers import chapter, show
from mlplab.answers.answer import Answer, Table
from mlplab.answers.choice import scored
from mlplab.claims import Claim, Finding, Lab, Language, Observations, Words, recentred
from mlplab.rng import Stream
from mlplab.stats import Comparison, mean_interval, paired
from mlplab.study import Study, factorial, plots

if TYPE_CHECKING:
    import altair

CHAPTER_WIDTH = 256
# Half a point: what another choice of seed can move after the last epoch.
MARGIN = 0.005
METRIC = "test_accuracy"
GROUPS = {
    "train_accuracy": Words("training", "训练集"),
    "test_accuracy": Words("test", "测试集"),
}


def observe(lab: Lab) -> Observations:
    """Train the section's network at every width; with full effort 2³ to 2¹² units."""
    widths = lab.choose(quick=[8, 64, 256, 512], full=[2**power for power in range(3, 13)])
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = chapter.scaled(chapter.MLP_SETTING, dataset)
    arms = factorial(lab.setting(base), hidden_sizes=[(width,) for width in widths])
    seeds = lab.seeds(quick=6, full=20)
    runs = lab.run(Study(arms, seeds, dataset))
    described = [
        {"arm": arm.name, "width": width, "parameters": num_parameters(dataset.in_features, width)}
        for arm, width in zip(arms, widths, strict=True)
    ]
    # A quarter of the seeds choose. With one or two seeds there are no others to judge.
    num_choosing = max(2, len(seeds) // 4)
    roles = [{"seed": seed, "role": "chooses" if seed < num_choosing else "judges"} for seed in seeds]
    return lab.observations(runs=runs.frame, widths=pd.DataFrame(described), seeds=pd.DataFrame(roles))


def num_parameters(in_features: int, width: int, out_features: int = 10) -> int:
    """Weights and biases of a network with one hidden layer."""
    return (in_features + 1) * width + (width + 1) * out_features


def accuracies(observations: Observations, metric: str = METRIC) -> np.ndarray:
    """(width, seed)."""
    return np.stack([scored(observations.runs.values(metric, arm)) for arm in observations["widths"]["arm"]])


def widths(observations: Observations) -> list[int]:
    """The widths that were trained, ascending."""
    return [int(width) for width in observations["widths"]["width"]]


def one_standard_error(scores: np.ndarray) -> tuple[int, int]:
    """Row of the best mean, and the first row whose mean is at most one standard error of the best's below it.

    Source: Breiman et al. 1984, Classification and regression trees, section 3.4.3.
    """
    means = scores.mean(1)
    best = int(means.argmax())
    error = mean_interval(scores[best]).std_error or 0.0
    return best, int(np.flatnonzero(means >= means[best] - error)[0])


def choice(observations: Observations) -> tuple[int, int]:
    """The width with the best validation accuracy and the one that the rule picks, by the seeds that choose."""
    best, picked = one_standard_error(
        accuracies(observations, "validation_accuracy")[:, _chooses(observations)]
    )
    return widths(observations)[best], widths(observations)[picked]


def num_seeds_best(observations: Observations) -> int:
    """On how many seeds the width with the best mean on those that choose is the best on validation data."""
    best, _ = choice(observations)
    winners = accuracies(observations, "validation_accuracy").argmax(0)
    return int((winners == widths(observations).index(best)).sum())


def cost_of_choice(observations: Observations) -> np.ndarray:
    """Test accuracy at the picked width minus that at the best one, on the seeds that did not choose."""
    best, picked = (widths(observations).index(width) for width in choice(observations))
    judges = ~_chooses(observations)
    values = accuracies(observations)[:, judges if judges.any() else ~judges]
    return values[picked] - values[best]


def gain(observations: Observations, metric: str = METRIC, *, narrow: int = 0, wide: int = -1) -> np.ndarray:
    """How much more the wide network scores than the narrow one, for each seed."""
    values = accuracies(observations, metric)
    return values[wide] - values[narrow]


def chapter_row(observations: Observations) -> int:
    """Place of the section's own width."""
    return widths(observations).index(CHAPTER_WIDTH)


def per_doubling(observations: Observations, *, beyond: bool) -> np.ndarray:
    """Least-squares slope of test accuracy on log₂(width) up to the section's width or beyond it, for each seed."""
    at = chapter_row(observations)
    part = slice(at, None) if beyond else slice(None, at + 1)
    x = np.log2(widths(observations)[part])
    x = x - x.mean()
    return x @ accuracies(observations)[part] / (x @ x)


def gap_growth(observations: Observations) -> np.ndarray:
    """How much more the widest network's training accuracy exceeds its test accuracy than the narrowest's."""
    return gain(observations, "train_accuracy") - gain(observations)


def contains_the_narrower(pad: Callable[[Tensor, int], Tensor]) -> Finding:
    """Add units to random networks, with any weights in and `pad`'s weights out: are the outputs the same?"""
    worst, tries = 0.0, 0
    for seed, (width, extra) in enumerate(itertools.product((1, 3, 17), (1, 8, 64))):
        stream = Stream(seed, "data")
        hidden, bias = (
            torch.from_numpy(stream.normal((width + extra, 20))),
            torch.from_numpy(stream.normal(width + extra)),
        )
        out, x = torch.from_numpy(stream.normal((10, width))), torch.from_numpy(stream.normal((50, 20)))
        narrow = (x @ hidden[:width].T + bias[:width]).relu() @ out.T
        wide = (x @ hidden.T + bias).relu() @ pad(out, extra).T
        worst, tries = max(worst, (wide - narrow).abs().max().item()), tries + len(x)
    # Sums of up to 81 terms of size 10 in float64.
    return Finding.true_if(worst < 1e-12, worst_error=worst, tries=tries)


def pad_with(value: float) -> Callable[[Tensor, int], Tensor]:
    """Weights out of added units: all this value."""
    return lambda out, extra: torch.cat([out, out.new_full((len(out), extra), value)], 1)


def is_greater(differences: np.ndarray) -> Finding:
    """Is the mean above zero?"""
    return Finding.of(paired(differences, claim="greater"))


def is_small(differences: np.ndarray) -> Finding:
    """Two one-sided tests: does the mean lie within the margin?"""
    return Finding.of(paired(differences, claim="equivalent", margin=MARGIN), margin=MARGIN)


def tables(observations: Observations, language: Language) -> list[Table]:
    """One row for each width."""
    rows = []
    for row in observations.rows("widths"):
        values = [
            show.stacked(
                show.percent_interval(mean_interval(scored(observations.runs.values(metric, row["arm"]))))
            )
            for metric in ("train_accuracy", "validation_accuracy", METRIC)
        ]
        rows.append([f"{row['width']:,}", f"{row['parameters']:,}", *values])
    title = Words(
        "Accuracy in %: mean over seeds with its 95% t interval", "准确率（%）：各种子的均值与 95% t 区间"
    )
    heads = (
        Words("hidden units", "隐藏单元数"),
        Words("parameters", "参数个数"),
        Words("training", "训练集"),
        Words("validation", "验证集"),
        Words("test", "测试集"),
    )
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """The widths chosen, what they weigh, and the accuracies that the sentences quote."""
    best, picked = choice(observations)
    sizes = dict(zip(widths(observations), observations["widths"]["parameters"], strict=True))
    test, train = accuracies(observations), accuracies(observations, "train_accuracy")
    return {
        "best_width": best,
        "picked_width": picked,
        "num_seeds_best": num_seeds_best(observations),
        "seed_spread": float(test[chapter_row(observations)].std(ddof=1)) if test.shape[1] > 1 else 0.0,
        "picked_share": sizes[picked] / sizes[best],
        "narrowest": widths(observations)[0],
        "widest": widths(observations)[-1],
        "chapter_width": CHAPTER_WIDTH,
        "num_choosing": int(_chooses(observations).sum()),
        "num_widths": len(test),
        "narrowest_test": mean_interval(test[0]),
        "chapter_test": mean_interval(test[chapter_row(observations)]),
        "widest_test": mean_interval(test[-1]),
        "narrowest_gap": mean_interval(train[0] - test[0]),
        "widest_gap": mean_interval(train[-1] - test[-1]),
        "below": mean_interval(per_doubling(observations, beyond=False)),
        "epochs": observations.settings[0]["epochs"],
        "learning_rate": observations.settings[0]["learning_rate"],
    }


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Training and test accuracy against width, beside what a doubling brings on either side of the section's."""
    rows = [
        {"group": name.of(language), "level": str(width)} | mean_interval(values).to_dict()
        for metric, name in GROUPS.items()
        for width, values in zip(widths(observations), accuracies(observations, metric), strict=True)
    ]
    left = plots.level_plot(
        pd.DataFrame(rows),
        level_title=Words("Hidden units", "隐藏单元数").of(language),
        value_title=Words("Accuracy", "准确率").of(language),
        title=Words("Accuracy by width", "准确率随宽度的变化").of(language),
        value_format=".0%",
        language=language,
    )
    names = Words("up to {}", "不超过 {}"), Words("beyond {}", "超过 {}")
    slopes: dict[str, Comparison] = {
        name.of(language).format(CHAPTER_WIDTH): paired(
            per_doubling(observations, beyond=beyond), margin=MARGIN
        )
        for name, beyond in zip(names, (False, True), strict=True)
    }
    right = plots.difference_plot(
        slopes,
        value_title=Words("Change of test accuracy per doubling", "宽度每翻一倍，测试准确率的变化").of(
            language
        ),
        title=Words("What a doubling brings", "翻一倍带来多少").of(language),
        arm_title=Words("hidden units", "隐藏单元数").of(language),
        value_format=".1%",
        language=language,
        width=240,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


def _chooses(observations: Observations) -> np.ndarray:
    return (observations["seeds"]["role"] == "chooses").to_numpy()


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="a-wider-network-contains-a-narrower",
            kind="property",
            statement=Words(
                "Units whose outgoing weights are 0 change no output: a wider network can do all that a "
                "narrower one can.",
                "输出权重为 0 的单元不改变任何输出：窄网络能做的，宽网络都能做。",
            ),
            check=contains_the_narrower,
            subject=lambda o: pad_with(0.0),
            falsehood=lambda o: pad_with(1e-6),
        ),
        Claim(
            name="few-units-lose",
            kind="experiment",
            statement=Words(
                "256 hidden units reach a higher test accuracy than 8.",
                "256 个隐藏单元的测试准确率高于 8 个。",
            ),
            check=is_greater,
            subject=lambda o: gain(o, wide=chapter_row(o)),
            falsehood=lambda o: -gain(o, wide=chapter_row(o)),
            unit="points",
        ),
        Claim(
            name="gains-fade",
            kind="experiment",
            statement=Words(
                "A doubling of the width brings less beyond 256 units than up to 256.",
                "宽度翻一倍，超过 256 个单元之后的收益小于 256 个以内。",
            ),
            check=is_greater,
            subject=lambda o: per_doubling(o, beyond=False) - per_doubling(o, beyond=True),
            falsehood=lambda o: recentred(
                per_doubling(o, beyond=False) - per_doubling(o, beyond=True), -0.05
            ),
            unit="points",
        ),
        Claim(
            name="plateau",
            kind="experiment",
            statement=Words(
                "Beyond 256 units a doubling changes test accuracy by less than 0.5 points.",
                "超过 256 个单元之后，宽度翻一倍，测试准确率的变化不到 0.5 个百分点。",
            ),
            check=is_small,
            subject=lambda o: per_doubling(o, beyond=True),
            falsehood=lambda o: recentred(per_doubling(o, beyond=True), 0.02),
            unit="points",
        ),
        Claim(
            name="the-gap-grows",
            kind="experiment",
            statement=Words(
                "Training accuracy exceeds test accuracy by more in the widest network than in the narrowest.",
                "最宽的网络，训练准确率超出测试准确率的幅度大于最窄的网络。",
            ),
            check=is_greater,
            subject=gap_growth,
            falsehood=lambda o: recentred(gap_growth(o), -0.05),
            unit="points",
        ),
        Claim(
            name="the-rule-costs-little",
            kind="experiment",
            statement=Words(
                "The width that the one-standard-error rule picks is within 0.5 points of test accuracy of the one "
                "with the best validation accuracy.",
                "一个标准误规则选出的宽度，与验证准确率最高的宽度相比，测试准确率相差不到 0.5 个百分点。",
            ),
            check=is_small,
            subject=cost_of_choice,
            falsehood=lambda o: recentred(cost_of_choice(o), -0.05),
            unit="points",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set learning_rate=0.3",
)
