"""4.3.1 How many hidden layers, at which learning rate?

Two stages. Few seeds train every depth at every rate and choose a rate for each depth by validation accuracy. Fresh
seeds then train each depth at its rate, and are judged on test data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.knobs import turn
from mlplab.spec import Setting
from mlplab.stats import mean_interval
from mlplab.study import Arm, Study, factorial

from .. import chapter, choice
from ..choice import LOST, scored

if TYPE_CHECKING:
    import altair

RATES = (0.03, 0.1, 0.3, 1.0)
CHAPTER_RATE = 0.1
MARGIN = 0.005
METRIC = "test_accuracy"


def observe(lab: Lab) -> Observations:
    """Choose a rate for each depth, then train each depth at its rate and at the section's."""
    depths = lab.choose(quick=[1, 2, 4], full=[1, 2, 3, 4])
    width = lab.take("hidden_sizes", chapter.MLP_SETTING)[0]
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    # He's start, because exercise 4.2.2 shows that the section's start stalls depth whatever comes after.
    start = turn(chapter.MLP_SETTING, initialization="kaiming_normal")
    base = lab.setting(chapter.scaled(start, dataset))
    sizes = {depth: (width,) * depth for depth in depths}
    grid = factorial(base, hidden_sizes=list(sizes.values()), learning_rate=RATES)
    tried = lab.run(Study(grid, choice.choosing_seeds(lab, quick=1, full=3), dataset)).frame
    tried["depth"] = [len(name.split(",")) for name in tried["hidden_sizes"]]
    rates = {int(d): float(rate) for d, rate in choice.best(tried, "learning_rate", within="depth").items()}
    arms, roles = [], []
    for depth in depths:
        for rate in dict.fromkeys((rates[depth], CHAPTER_RATE)):
            arms.append(_arm(base, sizes[depth], rate))
            roles.append(
                {"arm": arms[-1].name, "depth": depth, "rate": rate, "is_tuned": rate == rates[depth]}
            )
    runs = lab.run(Study(arms, lab.seeds(quick=3, full=20), dataset))
    kept = tried[["depth", "learning_rate", "seed", "status", "validation_accuracy"]]
    return lab.observations(runs=runs.frame, arms=pd.DataFrame(roles), choosing=kept)


def _arm(base: Setting, sizes: tuple[int, ...], rate: float) -> Arm:
    (arm,) = factorial(base, hidden_sizes=[sizes], learning_rate=[rate])
    return arm


def accuracies(
    observations: Observations, depth: int, *, rate: float | None = None, metric: str = METRIC
) -> np.ndarray:
    """A metric at a depth, at its tuned rate or at `rate`, by seed."""
    arms = observations["arms"]
    at_rate = arms["is_tuned"] if rate is None else arms["rate"] == rate
    return scored(observations.runs.values(metric, arms[(arms["depth"] == depth) & at_rate]["arm"].item()))


def depths(observations: Observations) -> list[int]:
    """The numbers of hidden layers that were trained, ascending."""
    return [int(depth) for depth in dict.fromkeys(observations["arms"]["depth"])]


def tuned_rates(observations: Observations) -> dict[int, float]:
    """Depth -> the rate that validation data chose."""
    arms = observations["arms"]
    return {int(row["depth"]): float(row["rate"]) for row in arms[arms["is_tuned"]].to_dict("records")}


def chosen_depth(observations: Observations) -> int:
    """The depth that validation data prefer, each at its rate."""
    table = observations["choosing"]
    best = choice.means(table.astype({"depth": str}), ["depth", "learning_rate"])
    return int(best["depth"].iloc[int(best["score"].argmax())])


def depth_effect(observations: Observations) -> np.ndarray:
    """The chosen depth minus one hidden layer, or two minus one where one was chosen; each at its own rate."""
    return accuracies(observations, max(chosen_depth(observations), 2)) - accuracies(observations, 1)


def tuning_effect(observations: Observations) -> np.ndarray:
    """Each depth at its own rate minus the same at the section's, the mean over the depths, for each seed."""
    gains = [
        accuracies(observations, depth) - accuracies(observations, depth, rate=CHAPTER_RATE)
        for depth in depths(observations)
    ]
    return np.mean(gains, axis=0)


def lost_runs(observations: Observations) -> list[dict[str, Any]]:
    """Depths and their own rates at which some of the fresh runs end no better than guessing, and how many."""
    scores = {depth: accuracies(observations, depth) for depth in depths(observations)}
    rates = tuned_rates(observations)
    return [
        {"depth": depth, "rate": rates[depth], "num": int((values < LOST).sum()), "of": len(values)}
        for depth, values in scores.items()
        if (values < LOST).any()
    ]


def setting_effect(observations: Observations) -> np.ndarray:
    """The chosen depth and rate minus one layer at the section's rate, for each seed."""
    return accuracies(observations, chosen_depth(observations)) - accuracies(
        observations, 1, rate=CHAPTER_RATE
    )


def deepest_against_two(observations: Observations) -> np.ndarray:
    """The most layers minus two, each at its own rate, for each seed."""
    return accuracies(observations, depths(observations)[-1]) - accuracies(observations, 2)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """What chose, and what was judged."""
    grid = choice.means(observations["choosing"].astype({"depth": str}), ["depth", "learning_rate"])
    rates = list(dict.fromkeys(grid["learning_rate"]))
    score = {(row["depth"], row["learning_rate"]): row["score"] for row in grid.to_dict("records")}
    choosing = [
        [depth, *(show.percent(score[depth, rate]) for rate in rates)]
        for depth in dict.fromkeys(grid["depth"])
    ]
    title = words["titles.choosing-mean-validation-accuracy-in"]
    heads = (words["heads.hidden-layers"], *rates)
    judged = [
        [
            str(row["depth"]),
            show.number(row["rate"]),
            {True: words["labels.tuned"], False: words["labels.sections"]}[bool(row["is_tuned"])],
            show.stacked(
                show.percent_interval(mean_interval(scored(observations.runs.values(METRIC, row["arm"]))))
            ),
        ]
        for row in observations.rows("arms")
    ]
    judged_title = words["titles.judging-on-fresh-seeds-test"]
    judged_heads = (
        words["heads.hidden-layers"],
        words["heads.learning-rate"],
        "",
        words["heads.test"],
    )
    return [Table(title, heads, choosing), Table(judged_title, judged_heads, judged)]


def facts(observations: Observations) -> dict[str, Any]:
    """The chosen depth and rates."""
    rates = tuned_rates(observations)
    tried = depths(observations)
    return {
        "depth": chosen_depth(observations),
        "compared_depth": max(chosen_depth(observations), 2),
        "rate": rates[chosen_depth(observations)],
        "rates": [{"depth": depth, "rate": rate} for depth, rate in rates.items()],
        "chapter_rate": CHAPTER_RATE,
        "deepest": tried[-1],
        "deepest_rate": rates[tried[-1]],
        "lost": lost_runs(observations),
        "num_choosing": int(observations["choosing"]["seed"].nunique()),
        "num_rates": len(RATES),
        "chosen_test": mean_interval(accuracies(observations, chosen_depth(observations))),
        "one_test": mean_interval(accuracies(observations, 1, rate=CHAPTER_RATE)),
        "epochs": observations.settings[0]["epochs"],
        "is_on_the_edge": choice.is_at_edge(rates[chosen_depth(observations)], RATES),
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The grid that chose, beside what fresh seeds say of each depth at its rate."""
    grid = choice.means(observations["choosing"].astype({"depth": str}), ["depth", "learning_rate"])
    lost = observations["choosing"].assign(depth=observations["choosing"]["depth"].astype(str))
    diverged = lost[lost["status"] == "diverged"].groupby(["depth", "learning_rate"]).size()
    grid["num_diverged"] = [
        int(diverged.get((d, r), 0)) for d, r in zip(grid["depth"], grid["learning_rate"], strict=True)
    ]
    summary = grid.rename(columns={"score": "estimate", "num_seeds": "num_replicates"})
    summary["num_replicates"] -= summary["num_diverged"]
    left = plots.grid_plot(
        summary,
        x="learning_rate",
        y="depth",
        x_title=words["titles.learning-rate"],
        y_title=words["titles.hidden-layers"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.choosing"],
        value_format=".1%",
        notes=words.notes,
    )
    rows = []
    names = words["heads.rate-tuned"], words["heads.rate"]
    for depth in depths(observations):
        for name, rate in zip(names, (None, CHAPTER_RATE), strict=True):
            values = mean_interval(accuracies(observations, depth, rate=rate)).to_dict()
            rows.append({"group": name.format(CHAPTER_RATE), "level": str(depth)} | values)
    right = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.hidden-layers-axis"],
        value_title=words["titles.test-accuracy"],
        title=words["titles.judging-on-fresh-seeds"],
        value_format=".1%",
        notes=words.notes,
        width=280,
        height=220,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="depth-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=depth_effect,
            falsehood=lambda o: recentred(depth_effect(o), -0.05),
            unit="points",
        ),
        Claim(
            name="tuning-the-rate-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=tuning_effect,
            falsehood=lambda o: recentred(tuning_effect(o), -0.05),
            unit="points",
        ),
        Claim(
            name="the-chosen-setting-beats-the-sections",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=setting_effect,
            falsehood=lambda o: recentred(setting_effect(o), -0.05),
            unit="points",
        ),
        Claim(
            name="beyond-two-layers-nothing-changes",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=deepest_against_two,
            falsehood=lambda o: recentred(deepest_against_two(o), -0.05),
            unit="points",
        ),
    ),
    circulated=(Circulated("ellipsis", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=64",
)
