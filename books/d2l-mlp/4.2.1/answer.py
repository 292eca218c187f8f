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
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mlplab.answers import Answer, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.rng import Stream
from mlplab.stats import Comparison, mean_interval, paired
from mlplab.study import Study, factorial

from .. import chapter
from ..choice import scored

if TYPE_CHECKING:
    import altair

CHAPTER_WIDTH = 256
# Half a point: what another choice of seed can move after the last epoch.
MARGIN = 0.005
METRIC = "test_accuracy"


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


def multiplications(width: int, *, input_needs_gradient: bool = False) -> float:
    """Multiplications of one step for one example, counted as PyTorch runs it, over the number of parameters."""
    in_features, batch = 784, 32
    net = nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, 10))
    x = torch.zeros(batch, in_features, requires_grad=input_needs_gradient)
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(net(x), torch.zeros(batch, dtype=torch.int64)).backward()
    # A multiplication and an addition are counted as two.
    return counter.get_total_flops() / 2 / batch / num_parameters(in_features, width)


def is_twice_the_parameters(count: Callable[[int], float]) -> Finding:
    """Widths from 8 to 4,096: are the multiplications of a step within 0.05 of two for each parameter?"""
    ratios = [count(width) for width in (8, 256, 4096)]
    return Finding.true_if(
        all(abs(ratio - 2) < 0.05 for ratio in ratios),
        ", ".join(f"{ratio:.3f}" for ratio in ratios),
        least=min(ratios),
        most=max(ratios),
    )


def tables(observations: Observations, words: WordList) -> list[Table]:
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
    title = words["titles.accuracy-in-mean-over-seeds"]
    heads = (
        words["heads.hidden-units"],
        words["heads.parameters"],
        words["heads.training"],
        words["heads.validation"],
        words["heads.test"],
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
        "widest_train": float(train[-1].mean()),
        "narrowest_gap": mean_interval(train[0] - test[0]),
        "widest_gap": mean_interval(train[-1] - test[-1]),
        "below": mean_interval(per_doubling(observations, beyond=False)),
        "epochs": observations.settings[0]["epochs"],
        "learning_rate": observations.settings[0]["learning_rate"],
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Training and test accuracy against width, beside what a doubling brings on either side of the section's."""
    rows = [
        {"group": name, "level": str(width)} | mean_interval(values).to_dict()
        for metric, name in words.group("groups").items()
        for width, values in zip(widths(observations), accuracies(observations, metric), strict=True)
    ]
    left = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.hidden-units"],
        value_title=words["titles.accuracy"],
        title=words["titles.accuracy-by-width"],
        value_format=".0%",
        notes=words.notes,
    )
    names = words["heads.up"], words["heads.beyond"]
    slopes: dict[str, Comparison] = {
        name.format(CHAPTER_WIDTH): paired(per_doubling(observations, beyond=beyond), margin=MARGIN)
        for name, beyond in zip(names, (False, True), strict=True)
    }
    right = plots.difference_plot(
        slopes,
        value_title=words["titles.change-test-accuracy-per-doubling"],
        title=words["titles.what-doubling-brings"],
        arm_title=words["titles.hidden-units-axis"],
        value_format=".1%",
        notes=words.notes,
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
            check=contains_the_narrower,
            subject=lambda o: pad_with(0.0),
            falsehood=lambda o: pad_with(1e-6),
        ),
        Claim(
            name="few-units-lose",
            kind="experiment",
            check=greater(),
            subject=lambda o: gain(o, wide=chapter_row(o)),
            falsehood=lambda o: -gain(o, wide=chapter_row(o)),
            unit="points",
        ),
        Claim(
            name="gains-fade",
            kind="experiment",
            check=greater(),
            subject=lambda o: per_doubling(o, beyond=False) - per_doubling(o, beyond=True),
            falsehood=lambda o: recentred(
                per_doubling(o, beyond=False) - per_doubling(o, beyond=True), -0.05
            ),
            unit="points",
        ),
        Claim(
            name="plateau",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: per_doubling(o, beyond=True),
            falsehood=lambda o: recentred(per_doubling(o, beyond=True), 0.02),
            unit="points",
        ),
        Claim(
            name="the-gap-grows",
            kind="experiment",
            check=greater(),
            subject=gap_growth,
            falsehood=lambda o: recentred(gap_growth(o), -0.05),
            unit="points",
        ),
        Claim(
            name="the-rule-costs-little",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=cost_of_choice,
            falsehood=lambda o: recentred(cost_of_choice(o), -0.05),
            unit="points",
        ),
        Claim(
            name="a-step-takes-two-multiplications-a-parameter",
            kind="calculation",
            check=is_twice_the_parameters,
            subject=lambda o: multiplications,
            # As if the gradient of the input were computed too: the usual three.
            falsehood=lambda o: lambda width: multiplications(width, input_needs_gradient=True),
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set learning_rate=0.3",
)
