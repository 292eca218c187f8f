"""4.3.1 How many hidden layers, at which learning rate?

Few seeds search for a rate for each depth, on validation images; fresh seeds then train each depth at its rate and at
the section's, and are judged on test images. All are read where the rate has fallen to 0: after the last step of a
constant rate, luck is a point or two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.knobs import turn
from mlplab.stats import mean_interval, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice
from ..choice import LOST

if TYPE_CHECKING:
    import altair

# Where the search for a rate begins; it goes on until the best has worse ones on both sides.
FIRST_RATE = 0.3
# Differences of less than half a point do not matter here.
MARGIN = 0.005
METRIC = "test_accuracy"
# From He's start, each depth at its own rate and at the section's; the section's one layer, from its own start, read
# quietly and at its constant rate; from first weights that are a millionth larger.
OWN, GIVEN, SECTION, CONSTANT, NUDGED = "own", "given", "section", "constant", "nudged"


def observe(lab: Lab) -> Observations:
    """Choose a rate for each depth, then train each depth at its rate and at the section's."""
    depths = (1, 2, 4)
    width = lab.take("hidden_sizes", chapter.MLP_SETTING)[0]
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    section = lab.setting(turn(chapter.scaled(chapter.MLP_SETTING, dataset), hidden_sizes=(width,)))
    quiet = chapter.read_at_the_end(section)
    # He's start, because exercise 4.2.2 shows that the section's start stalls depth whatever comes after.
    he = turn(quiet, initialization="kaiming_normal")
    of_depth = {depth: turn(he, hidden_sizes=(width,) * depth) for depth in depths}
    rates, tried = choice.best_rates(lab, of_depth, dataset, "depth", FIRST_RATE)
    own = [Arm(f"{OWN} {depth}", turn(of_depth[depth], learning_rate=rate)) for depth, rate in rates.items()]
    given = [Arm(f"{GIVEN} {depth}", setting) for depth, setting in of_depth.items()]
    seeds = lab.seeds(quick=3, full=6)
    some, few = (seeds[: lab.choose(quick=quick, full=full)] for quick, full in ((2, 3), (1, 3)))
    judged = lab.run(Study([*own, Arm(SECTION, quiet)], seeds, dataset))
    frames = [judged.frame, lab.run(Study(given, some, dataset)).frame]
    # Of whole batches, as exercise 4.2.3 publishes it.
    constant = Arm(CONSTANT, turn(section, drop_last=True))
    frames.append(lab.run(Study([constant], seeds, dataset)).frame)
    if (nudged := chapter.nudged(own[-1].setting)) is not None:
        frames.append(lab.run(Study([Arm(NUDGED, nudged)], few, dataset)).frame)
    contrasts = {"depth": (own[-1].name, own[0].name), "rate": (own[0].name, SECTION)}
    columns = ["arm", "seed", "digest", "status", "train_loss", "test_loss", METRIC, "seconds"]
    return lab.observations(
        runs=pd.concat(frames)[columns],
        rates=pd.DataFrame([{"depth": depth, "rate": rate} for depth, rate in rates.items()]),
        tried=tried,
        new_images=choice.on_new_images(judged, contrasts),
    )


def rates(observations: Observations) -> dict[int, float]:
    """Depth -> the rate that validation images chose."""
    return {int(row["depth"]): float(row["rate"]) for row in observations.rows("rates")}


def values(observations: Observations, arm: str, metric: str = METRIC) -> np.ndarray:
    """A metric of an arm, by seed."""
    return choice.values(observations, arm, metric)


def at_own_rate(observations: Observations, depth: int, metric: str = METRIC) -> np.ndarray:
    """A metric at a depth, at its own rate, by seed."""
    return values(observations, f"{OWN} {depth}", metric)


def losses_tried(observations: Observations) -> dict[str, dict[float, float]]:
    """Depth -> rate -> mean loss on validation images."""
    return choice.losses_by_rate(observations["tried"], "depth")


def chosen_depth(observations: Observations) -> int:
    """The depth that leaves the lowest loss on validation images, each at its best rate."""
    lowest = {int(depth): min(found.values()) for depth, found in losses_tried(observations).items()}
    return min(lowest, key=lambda depth: lowest[depth])


def depth_effect(observations: Observations) -> np.ndarray:
    """The chosen depth minus one hidden layer, or two minus one where one was chosen; each at its own rate."""
    return at_own_rate(observations, max(chosen_depth(observations), 2)) - at_own_rate(observations, 1)


def rate_gain(observations: Observations, depth: int) -> np.ndarray:
    """A depth at its own rate minus the same at the section's, by seed that both saw."""
    given = values(observations, f"{GIVEN} {depth}")
    return at_own_rate(observations, depth)[: len(given)] - given


def start_gain(observations: Observations) -> np.ndarray:
    """One layer from He's start minus the section's setting, both at its rate, by seed that both saw."""
    given = values(observations, f"{GIVEN} 1")
    return given - values(observations, SECTION)[: len(given)]


def tuning_effect(observations: Observations) -> np.ndarray:
    """Each depth at its own rate minus the same at the section's, the mean over the depths, by seed that both saw."""
    return np.mean([rate_gain(observations, depth) for depth in rates(observations)], axis=0)


def setting_effect(observations: Observations) -> np.ndarray:
    """The chosen depth and rate minus the section's setting, for each seed."""
    return at_own_rate(observations, chosen_depth(observations)) - values(observations, SECTION)


def deepest_against_two(observations: Observations) -> np.ndarray:
    """The most layers minus two, each at its own rate, for each seed."""
    return at_own_rate(observations, max(rates(observations))) - at_own_rate(observations, 2)


def moved(observations: Observations) -> float | None:
    """By how much a millionth of the first weights moves the deepest network's accuracy, at most; None where none was
    nudged."""
    if NUDGED not in observations.runs.arms:
        return None
    deepest = at_own_rate(observations, max(rates(observations)))
    return choice.most_moved(values(observations, NUDGED), deepest)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Test accuracy of single runs from He's start: one layer at the section's rate, and each depth at its own."""
    rows = {"given": f"{GIVEN} 1", "one": f"{OWN} 1", "two": f"{OWN} 2", "four": f"{OWN} 4"}
    return {name: prediction_interval(values(observations, arm)) for name, arm in rows.items()}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """What chose, and what was judged."""
    tried = losses_tried(observations)
    ladder = sorted({rate for found in tried.values() for rate in found})
    choosing = [
        [depth, *(show.number(found[rate]) if rate in found else "" for rate in ladder)]
        for depth, found in tried.items()
    ]
    layers = words["heads.hidden-layers"]
    arms = [(SECTION, "1", chapter.MLP_SETTING.optimizer.learning_rate, words["labels.section"])]
    arms += [(f"{GIVEN} {depth}", str(depth), arms[0][2], "") for depth in rates(observations)]
    arms += [
        (f"{OWN} {depth}", str(depth), rate, words["labels.tuned"])
        for depth, rate in rates(observations).items()
    ]
    judged = []
    for arm, depth, rate, label in arms:
        accuracies, losses = values(observations, arm), values(observations, arm, "test_loss")
        cells = [
            show.percent_interval(mean_interval(accuracies)),
            show.number_interval(mean_interval(losses)),
        ]
        lost = f"{int((accuracies < LOST).sum())} / {len(accuracies)}"
        judged.append([depth, show.number(rate), label, *map(show.stacked, cells), lost])
    heads = [words[f"heads.{head}"] for head in ("learning-rate", "from", "test", "loss", "lost")]
    return [
        Table(words["titles.tried"], [layers, *map(show.number, ladder)], choosing),
        Table(words["titles.judged"], [layers, *heads], judged),
    ]


def facts(observations: Observations) -> dict[str, Any]:
    """The chosen depth and rates, runs that were lost, how much is luck, and whether it holds for new images."""
    own, depth = rates(observations), chosen_depth(observations)
    lost = {one: int((at_own_rate(observations, one) < LOST).sum()) for one in own}
    seeds = len(at_own_rate(observations, depth))
    return {
        "depth": depth,
        "compared_depth": max(depth, 2),
        "rate": own[depth],
        "rates": [{"depth": one, "rate": rate} for one, rate in own.items()],
        "section_rate": chapter.MLP_SETTING.optimizer.learning_rate,
        "deepest": max(own),
        "lost": [
            {"depth": one, "rate": own[one], "num": num, "of": seeds} for one, num in lost.items() if num
        ],
        "num_choosing": int(observations["tried"]["seed"].nunique()),
        "num_tried": len(observations["tried"].drop_duplicates(["depth", "learning_rate"])),
        "start": mean_interval(start_gain(observations)),
        "gains": [{"depth": one, "gain": mean_interval(rate_gain(observations, one))} for one in own],
        "chosen_test": mean_interval(at_own_rate(observations, depth)),
        "section_test": mean_interval(values(observations, SECTION)),
        "constant_test": mean_interval(values(observations, CONSTANT)),
        "over_constant": mean_interval(at_own_rate(observations, depth) - values(observations, CONSTANT)),
        "loss": {
            "depth": mean_interval(
                at_own_rate(observations, max(depth, 2), "test_loss")
                - at_own_rate(observations, 1, "test_loss")
            ),
            "setting": mean_interval(
                at_own_rate(observations, depth, "test_loss") - values(observations, SECTION, "test_loss")
            ),
        },
        "luck": {
            "constant": choice.deviation(values(observations, CONSTANT)),
            "falling": choice.deviation(values(observations, SECTION)),
        },
        "moved": moved(observations),
        "new_images": choice.for_new_images(observations),
        "epochs": observations.settings[0]["epochs"],
        "margin": MARGIN,
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """What was tried to choose the rates, beside what fresh seeds say of each depth at its rate."""
    left = plots.grid_plot(
        choice.grid_of_rates(observations["tried"], "depth"),
        x="rate",
        y="depth",
        x_title=words["titles.learning-rate"],
        y_title=words["titles.hidden-layers"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.choosing"],
        value_format=".1%",
        notes=words.notes,
    )
    rows = [
        {"group": words[f"labels.{kind}"], "level": str(depth)}
        | mean_interval(values(observations, f"{arm} {depth}")).to_dict()
        for kind, arm in (("own", OWN), ("given", GIVEN))
        for depth in rates(observations)
    ]
    right = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.hidden-layers"],
        value_title=words["titles.test-accuracy"],
        title=words["titles.judging"],
        value_format=".1%",
        notes=words.notes,
        width=280,
        height=220,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


INSIDE = ("every-best-rate-is-inside",)

# Controls lie as far on the wrong side as would matter.
ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="every-best-rate-is-inside",
            kind="calculation",
            check=choice.is_inside,
            subject=losses_tried,
            falsehood=lambda o: choice.up_to_the_lowest(losses_tried(o)),
        ),
        Claim(
            name="the-chosen-setting-beats-the-sections",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=setting_effect,
            falsehood=lambda o: recentred(setting_effect(o), -MARGIN),
            unit="points",
        ),
        Claim(
            name="tuning-the-rate-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=tuning_effect,
            falsehood=lambda o: recentred(tuning_effect(o), -2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="depth-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=depth_effect,
            falsehood=lambda o: recentred(depth_effect(o), -MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="beyond-two-layers-nothing-changes",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=deepest_against_two,
            falsehood=lambda o: recentred(deepest_against_two(o), 2 * MARGIN),
            unit="points",
            requires=INSIDE,
        ),
    ),
    circulated=(
        Circulated("ellipsis", "skipped"),
        Circulated("layers-are-widths", "misread", source="datawhale"),
        Circulated(
            "a-tenth-is-best",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="tuning-the-rate-helps",
            source="datawhale",
        ),
        Circulated(
            "a-layer-improves-accuracy",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="depth-helps",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set hidden_sizes=64",
)
