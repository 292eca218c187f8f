"""4.6.1 What happens when the dropout rates of the two hidden layers are changed, and when they are swapped?

Every pair of rates is trained on the same seeds: same images, same first weights, same random numbers behind the masks.
What differs between two arms is then the rates and nothing else. Twice: as the section trains, and on few images, where
there is overfitting for dropout to remedy.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater
from mlplab.charts import plots, show
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, value_of, written
from mlplab.spec import Setting
from mlplab.stats import mean_interval, paired, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

# Of accuracy as the section trains: differences of less than 0.3 points do not matter here.
MARGIN = 0.003
# Of the test loss on few images: half of what the section's rates gain there.
LOSS_MARGIN = 0.03
METRIC = "test_accuracy"
# As the section trains, the same with a rate that falls to 0, and on few images.
SECTION, FALLING, FEW = "section", "falling", "few"
# Arms of the same seeds from first weights that are a millionth larger.
NUDGED = "nudged"
NUM_NUDGED = 3
ROLES = ("given", "swapped", "none")


def observe(lab: Lab) -> Observations:
    """Train the given pair of rates, its swap and no dropout; with full effort the whole grid of their rates."""
    rates = lab.take("dropout", chapter.DROPOUT_SETTING)
    if len(rates) != 2 or rates[0] == rates[1] or 0 in rates:
        raise InvalidInput(
            "--set dropout", "must be two different rates above 0", written(rates), "Try dropout=0.1,0.6"
        )
    roles = {rates: "given", rates[::-1]: "swapped", (0.0, 0.0): "none"}
    grid = itertools.product((0.0, *sorted(rates)), repeat=2)
    others = [pair for pair in lab.choose(quick=(), full=tuple(grid)) if pair not in roles]
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    section = lab.setting(chapter.section_setting(dataset))
    few = lab.setting(chapter.few_images_setting(dataset, epochs=lab.choose(quick=30, full=80)))
    problem = chapter.few_images(dataset)
    seeds = lab.seeds(quick=4, full=40)
    half, some, nudges = (
        seeds[: lab.choose(quick=len(seeds), full=20)],
        seeds[: lab.choose(quick=2, full=6)],
        seeds[: lab.choose(quick=1, full=NUM_NUDGED)],
    )
    settings = {SECTION: section, FALLING: chapter.read_quietly(section), FEW: few}
    trained_on = {SECTION: dataset, FALLING: dataset, FEW: problem}
    # At full size the network is dear; read quietly it needs fewer seeds, and to show luck some will do.
    enough = {SECTION: some, FALLING: half, FEW: seeds}
    studies = [
        Study(arms(regime, settings[regime], list(roles)), enough[regime], trained_on[regime])
        for regime in (FEW, FALLING, SECTION)
    ]
    if others:
        studies.append(Study(arms(FEW, few, others), half, problem))
    for regime, setting in settings.items():
        if (moved := chapter.nudged(setting)) is not None:
            nudged = arms(f"{NUDGED} {regime}", moved, list(roles))
            studies.append(Study(nudged, nudges, trained_on[regime]))
    runs = pd.concat([lab.run(study).frame for study in studies])
    described = [
        {"first": pair[0], "second": pair[1], "role": roles.get(pair, "")} for pair in (*roles, *others)
    ]
    sizes = pd.DataFrame(
        [
            {"regime": regime, "train": data.train.num_examples, "test": data.parts["test"].num_examples}
            for regime, data in ((SECTION, dataset), (FEW, problem(0)))
        ]
    )
    columns = ["arm", "seed", "digest", "status", "train_loss", "test_loss", METRIC, "seconds"]
    return lab.observations(runs=runs[columns], pairs=pd.DataFrame(described), sizes=sizes)


def arms(regime: str, base: Setting, pairs: list[tuple[float, ...]]) -> list[Arm]:
    """One arm for each pair of rates."""
    return [Arm(arm_name(regime, pair), turn(base, dropout=pair)) for pair in pairs]


def arm_name(regime: str, pair: tuple[float, ...]) -> str:
    """What the arm of a pair is called."""
    return f"{regime} {written(pair)}"


def arm(observations: Observations, regime: str, role: str) -> str:
    """The arm that plays a role: `given`, `swapped` or `none`."""
    pair = _pair(observations, role)
    return arm_name(regime, (pair["first"], pair["second"]))


def values(observations: Observations, regime: str, role: str, metric: str) -> np.ndarray:
    """A metric of an arm, by seed."""
    return choice.values(observations, arm(observations, regime, role), metric)


def at_full_size(observations: Observations, role: str, baseline: str, regime: str = FALLING) -> np.ndarray:
    """On all images: accuracy of one arm minus another's, by seed."""
    one, other = (values(observations, regime, name, METRIC) for name in (role, baseline))
    return one - other


def loss_saved(observations: Observations, role: str, baseline: str) -> np.ndarray:
    """On few images: by how much one arm's test loss is lower than another's, by seed."""
    one, other = (values(observations, FEW, name, "test_loss") for name in (role, baseline))
    return other - one


def losses_without(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """On few images, without dropout: loss on new images, and that on the training images, by seed."""
    test, train = (values(observations, FEW, "none", metric) for metric in ("test_loss", "train_loss"))
    return test, train


def larger_first(observations: Observations) -> str:
    """The role of the pair with the larger rate in the first layer."""
    given = _pair(observations, "given")
    return "given" if given["first"] > given["second"] else "swapped"


def larger_first_costs(observations: Observations) -> np.ndarray:
    """On all images: by how much the accuracy is lower with the larger rate first than with it second, by seed."""
    larger = larger_first(observations)
    return at_full_size(observations, "swapped" if larger == "given" else "given", larger)


def larger_first_saves(observations: Observations) -> np.ndarray:
    """On few images: by how much the test loss is lower with the larger rate first than with it second, by seed."""
    larger = larger_first(observations)
    return loss_saved(observations, larger, "swapped" if larger == "given" else "given")


def moved(observations: Observations, regime: str, metric: str) -> float | None:
    """By how much a millionth of the first weights moves a metric of a run, at most; None where nothing was nudged."""
    names = [arm(observations, regime, role) for role in ROLES]
    if not {f"{NUDGED} {name}" for name in names} <= set(observations.runs.arms):
        return None
    return max(
        choice.most_moved(*(choice.values(observations, one, metric) for one in (f"{NUDGED} {name}", name)))
        for name in names
    )


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The section's training, and every pair of rates on few images."""
    full, few = [], []
    for pair in observations.rows("pairs"):
        rates = (pair["first"], pair["second"])
        role = words.group("roles")[_role(pair)] if pair["role"] else ""
        if pair["role"]:
            accuracies = [
                mean_interval(choice.values(observations, arm_name(regime, rates), METRIC))
                for regime in (FALLING, SECTION)
            ]
            cells = [f"{show.percent_interval(one)} ({one.num_replicates})" for one in accuracies]
            full.append([written(rates), role, *map(show.stacked, cells)])
        name = arm_name(FEW, rates)
        loss = mean_interval(choice.values(observations, name, "test_loss"))
        accuracy = mean_interval(choice.values(observations, name, METRIC))
        train = show.number(float(choice.values(observations, name, "train_loss").mean()))
        cells = [f"{show.number_interval(loss)} ({loss.num_replicates})", show.percent_interval(accuracy)]
        few.append([written(rates), role, train, *map(show.stacked, cells)])
    dropout = words["heads.dropout"]
    return [
        Table(
            words["titles.all-images"], (dropout, "", words["heads.falling"], words["heads.constant"]), full
        ),
        Table(
            words["titles.few-images"],
            (dropout, "", words["heads.training-loss"], words["heads.test-loss"], words["heads.accuracy"]),
            few,
        ),
    ]


def facts(observations: Observations) -> dict[str, Any]:
    """What was compared, how much chance alone moves, and where the larger rate does its work."""
    sizes = {row["regime"]: row for row in observations.rows("sizes")}
    larger = larger_first(observations)
    smaller = "swapped" if larger == "given" else "given"
    few, full = (observations.settings[place] for place in (0, 1))
    return {
        "hidden_size": full["hidden_sizes"].split(",")[-1],
        "epochs": {"full": full["epochs"], "few": few["epochs"]},
        "num_images": {"full": sizes[SECTION]["train"], "few": sizes[FEW]["train"]},
        "num_test": sizes[FEW]["test"],
        "full_seeds": len(at_full_size(observations, "given", "none")),
        "section_seeds": len(at_full_size(observations, "given", "none", SECTION)),
        "spread": {
            regime: choice.deviation(values(observations, regime, "given", METRIC))
            for regime in (SECTION, FALLING)
        },
        "moved": {
            SECTION: moved(observations, SECTION, METRIC),
            FALLING: moved(observations, FALLING, METRIC),
            FEW: moved(observations, FEW, "test_loss"),
        },
        "few_accuracy": paired(
            values(observations, FEW, larger, METRIC) - values(observations, FEW, smaller, METRIC)
        ),
        "train_loss": {
            "larger_first": float(values(observations, FEW, larger, "train_loss").mean()),
            "larger_second": float(values(observations, FEW, smaller, "train_loss").mean()),
        },
        "one_layer": _one_layer(observations),
        "margin": MARGIN,
        "loss_margin": LOSS_MARGIN,
    }


def _one_layer(observations: Observations) -> dict[str, float] | None:
    """Mean test loss with the larger rate in one layer and none in the other; None where that was not trained."""
    rate = max(_pair(observations, "given")["first"], _pair(observations, "given")["second"])
    names = {"first": arm_name(FEW, (rate, 0.0)), "second": arm_name(FEW, (0.0, rate))}
    if not set(names.values()) <= set(observations.runs.arms):
        return None
    found = {name: float(observations.runs.values("test_loss", arm).mean()) for name, arm in names.items()}
    return found | {"rate": rate}


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The test losses on few images after one run with the section's rates, with their swap and without dropout."""
    roles = {"given": "given", "swapped": "swapped", "without": "none"}
    return {
        name: prediction_interval(values(observations, FEW, role, "test_loss"))
        for name, role in roles.items()
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test loss of every pair on few images, beside the paired differences that the verdicts rest on."""
    swapped, given, none = (_pair(observations, role) for role in ("swapped", "given", "none"))
    labels = {
        ("swapped", "given"): f"{_name(swapped)} − {_name(given)}",
        ("given", "none"): f"{_name(given)} − {_name(none)}",
    }
    accuracy = plots.difference_plot(
        {label: paired(at_full_size(observations, *roles), margin=MARGIN) for roles, label in labels.items()},
        value_title=words["titles.difference-in-test-accuracy"],
        title=words["titles.all-images-differences"],
        value_format=".1%",
        notes=words.notes,
        width=260,
    )
    loss = plots.difference_plot(
        {
            label: paired(loss_saved(observations, *reversed(roles)), margin=LOSS_MARGIN)
            for roles, label in labels.items()
        },
        value_title=words["titles.difference-in-test-loss"],
        title=words["titles.few-images-differences"],
        value_format=".2f",
        notes=words.notes,
        width=260,
    )
    return (_losses(observations, words) | (accuracy & loss)).resolve_scale(color="independent")


def _losses(observations: Observations, words: WordList) -> altair.Chart | altair.LayerChart:
    pairs = pd.DataFrame(observations.rows("pairs"))
    names = [
        arm_name(FEW, (first, second)) for first, second in zip(pairs["first"], pairs["second"], strict=True)
    ]
    summary = observations.runs.summary("test_loss").merge(pairs.assign(arm=names), on="arm")
    summary = summary.sort_values(["first", "second"])
    title = words["labels.test-loss"]
    if len(summary) < 9:
        labels = {name: _name(pair) for name, pair in zip(names, observations.rows("pairs"), strict=True)}
        return plots.interval_plot(
            summary,
            value_title=title,
            title=title,
            labels=labels,
            value_format=".2f",
            notes=words.notes,
            width=260,
        )
    return plots.grid_plot(
        summary.assign(
            first=summary["first"].map("{:g}".format), second=summary["second"].map("{:g}".format)
        ),
        x="second",
        y="first",
        x_title=words["titles.dropout-second-layer"],
        y_title=words["titles.dropout-first-layer"],
        value_title=title,
        title=title,
        value_format=".3f",
        notes=words.notes,
    )


def _role(pair: dict[str, Any]) -> str:
    """What a pair is called: the section gives its own rates, and no others."""
    is_given = (pair["first"], pair["second"]) == value_of(chapter.DROPOUT_SETTING, "dropout")
    return "turned" if pair["role"] == "given" and not is_given else pair["role"]


def _name(pair: dict[str, Any]) -> str:
    return f"({pair['first']:g}, {pair['second']:g})"


def _pair(observations: Observations, role: str) -> dict[str, Any]:
    return next(pair for pair in observations.rows("pairs") if pair["role"] == role)


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="larger-rate-first-costs-on-all-images",
            kind="experiment",
            check=greater(),
            subject=larger_first_costs,
            # What one would see if the other order cost half as much as just matters.
            falsehood=lambda o: recentred(larger_first_costs(o), -MARGIN / 2),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="dropout-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: at_full_size(o, "given", "none"),
            falsehood=lambda o: recentred(at_full_size(o, "given", "none"), -2 * MARGIN),
            unit="points",
        ),
        choice.overfitting("overfits-on-few-images", losses_without),
        Claim(
            name="dropout-helps-on-few-images",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=lambda o: loss_saved(o, "given", "none"),
            falsehood=lambda o: recentred(loss_saved(o, "given", "none"), 0.0),
            requires=("overfits-on-few-images",),
        ),
        Claim(
            name="larger-rate-first-is-better",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=larger_first_saves,
            falsehood=lambda o: recentred(larger_first_saves(o), 0.0),
            requires=("overfits-on-few-images",),
        ),
    ),
    circulated=(
        Circulated(
            "there-little-difference-but-larger",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="larger-rate-first-is-better",
        ),
        Circulated(
            "swapping-costs-a-little",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="larger-rate-first-costs-on-all-images",
            source="forum",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.1,0.6",
)
