"""4.2.1 How does the number of hidden units change the result, and which number is best?

As the section trains, every width is trained on the same seeds; some of them choose a width on validation data by the
one-standard-error rule, the others say on test data what the choice costs. So short a training compares how fast
networks learn. Therefore twice more: all images with a rate that falls to 0, where four times as wide is compared with
four times as long, which costs the same; and few images, where each width is trained at a rate of its own until more
epochs gain nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater, horizon_is_enough
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import Comparison, mean_interval, paired, prediction_interval
from mlplab.study import Arm, Study, factorial

from .. import chapter, choice
from ..choice import scored

if TYPE_CHECKING:
    import altair

CHAPTER_WIDTH = 256
# Half a point: what another choice of seed can move after the last epoch.
MARGIN = 0.005
METRIC = "test_accuracy"
# Widths of the other two trainings, each TIMES as wide as the one before it.
TIMES = 4
WIDTHS = (8, 32, 128, 512)
# Of which it is asked what more epochs are worth: in the narrowest so high a rate throws single runs back.
MIDDLE = WIDTHS[1:-1]
# The section's training with a rate that falls to 0, from so many times the section's.
FASTER = 5
# On few images: width -> so many times the section's epochs, of which twice as many should gain nothing on validation
# images; rates that can be tried, and where the search for one begins.
LENGTHS = {8: 16, 32: 8, 128: 8, 512: 4}
LADDER = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FIRST_RATE = 0.2
# All images, few images, few images for twice as many epochs; from first weights that are a millionth larger.
ALL, FEW, FURTHER, NUDGED = "all", "few", "further", "nudged"


def observe(lab: Lab) -> Observations:
    """Train the section's network at every width, with full effort 2³ to 2¹² units; some of them with a rate that
    falls, for the section's epochs and for TIMES as many; and on few images for as long as it takes."""
    widths = lab.choose(quick=[8, 64, 256, 512], full=[2**power for power in range(3, 13)])
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    given = chapter.scaled(chapter.MLP_SETTING, dataset)
    given = turn(given, epochs=lab.choose(quick=4, full=given.training.epochs))
    epochs, rate = (lab.take(name, given) for name in ("epochs", "learning_rate"))
    base = turn(lab.setting(given), epochs=epochs, learning_rate=rate)
    arms = factorial(base, hidden_sizes=[(width,) for width in widths])
    seeds = lab.seeds(quick=2, full=20)
    runs = lab.run(Study(arms, seeds, dataset))
    # A quarter of the seeds choose. With one or two seeds there are no others to judge.
    num_choosing = max(2, len(seeds) // 4)
    roles = [{"seed": seed, "role": "chooses" if seed < num_choosing else "judges"} for seed in seeds]
    described = [
        {"arm": arm.name, "width": width, "parameters": num_parameters(dataset.in_features, width)}
        for arm, width in zip(arms, widths, strict=True)
    ]
    some = seeds[: lab.choose(quick=2, full=6)]
    falling, over_images = on_all_images(lab, turn(base, learning_rate=FASTER * rate), dataset, some)
    problem = chapter.few_images(dataset, num_validation=10_000)
    lengths = {width: epochs * lab.choose(quick=2, full=times) for width, times in LENGTHS.items()}
    few = turn(lab.setting(chapter.few_images_setting(dataset, epochs=epochs)), probes=("test_hits",))
    trained_out, tried, over_few = on_few_images(lab, few, lengths, problem, seeds)
    images = [
        {"regime": regime, "train": data.train.num_examples, "test": data.parts["test"].num_examples}
        for regime, data in ((ALL, dataset), (FEW, problem(0)))
    ]
    columns = ["arm", "seed", "digest", "status", "train_accuracy", "validation_accuracy", METRIC]
    columns += ["train_loss", "test_loss", "seconds"]
    return lab.observations(
        runs=pd.concat([runs.frame, *falling, *trained_out])[columns],
        widths=pd.DataFrame(described),
        seeds=pd.DataFrame(roles),
        lengths=pd.DataFrame([{"width": width, "epochs": length} for width, length in lengths.items()]),
        tried=tried,
        images=pd.DataFrame(images),
        given=pd.DataFrame([{"epochs": epochs, "rate": rate}]),
        new_images=pd.concat([over_images, over_few]),
    )


def on_all_images(
    lab: Lab, base: Setting, dataset: Dataset, seeds: range
) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """Each width for the section's epochs, and all but the widest for TIMES as many: the runs, and what holds for new
    images where both cost the same."""
    quiet, epochs = chapter.read_quietly(base), base.training.epochs

    def at(width: int, times: int) -> Arm:
        length = times * epochs
        setting = turn(quiet, hidden_sizes=(width,), epochs=length, evaluate_every=length)
        return Arm(arm_name(ALL, width, times), turn(setting, probes=("test_hits",)))

    arms = [at(width, 1) for width in WIDTHS] + [at(width, TIMES) for width in WIDTHS[:-1]]
    results = lab.run(Study(arms, seeds, dataset))
    frames = [results.frame]
    shaken = at(WIDTHS[-2], 1)
    if (moved := chapter.nudged(shaken.setting)) is not None:
        few = seeds[: lab.choose(quick=1, full=3)]
        frames.append(lab.run(Study([Arm(f"{NUDGED} {shaken.name}", moved)], few, dataset)).frame)
    contrasts = {
        f"{ALL} {narrow}": (arm_name(ALL, narrow, TIMES), arm_name(ALL, wide, 1))
        for narrow, wide in itertools.pairwise(WIDTHS)
    }
    return frames, choice.on_new_images(results, contrasts)


def on_few_images(
    lab: Lab,
    base: Setting,
    lengths: Mapping[int, int],
    problem: Callable[[int], Dataset],
    seeds: range,
) -> tuple[list[pd.DataFrame], pd.DataFrame, pd.DataFrame]:
    """Each width for its epochs at the rate that suits it, then for twice as many: the runs, the rates that were tried,
    and what holds for new images."""
    ladder = lab.choose(quick=LADDER[1::3], full=LADDER)
    first = min(ladder, key=lambda rate: abs(rate - FIRST_RATE))
    choosing = choice.choosing_seeds(lab, quick=1, full=2)
    found, tried = {}, []
    for width in WIDTHS:
        length = lengths[width]
        setting = turn(base, hidden_sizes=(width,), epochs=length, evaluate_every=length)
        rate, rows = choice.best_rate(
            lab, setting, choosing, problem, ladder, first, metric="validation_accuracy"
        )
        found[width] = turn(setting, learning_rate=rate)
        tried.append(rows.assign(width=width))
    some = seeds[: lab.choose(quick=2, full=10)]
    arms = [Arm(arm_name(FEW, width), setting) for width, setting in found.items()]
    further = [
        Arm(
            arm_name(FURTHER, width),
            turn(setting, epochs=2 * lengths[width], evaluate_every=2 * lengths[width]),
        )
        for width, setting in found.items()
    ]
    results = lab.run(Study(arms, some, problem))
    frames = [results.frame, lab.run(Study(further, some, problem)).frame]
    nudged = [
        Arm(f"{NUDGED} {arm_name(FEW, width)}", moved)
        for width in (WIDTHS[0], WIDTHS[-2])
        if (moved := chapter.nudged(found[width])) is not None
    ]
    if nudged:
        few = some[: lab.choose(quick=1, full=3)]
        frames.append(lab.run(Study(nudged, few, problem)).frame)
    contrasts = {
        f"{FEW} {narrow}": (arm_name(FEW, wide), arm_name(FEW, narrow))
        for narrow, wide in itertools.pairwise(WIDTHS)
    }
    return frames, pd.concat(tried), choice.on_new_images(results, contrasts)


def arm_name(regime: str, width: int, times: int = 1) -> str:
    """What an arm of the other two trainings is called."""
    return f"{regime} {width} {times}"


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


def choice_of_width(observations: Observations) -> tuple[int, int]:
    """The width with the best validation accuracy and the one that the rule picks, by the seeds that choose."""
    best, picked = one_standard_error(
        accuracies(observations, "validation_accuracy")[:, _chooses(observations)]
    )
    return widths(observations)[best], widths(observations)[picked]


def num_seeds_best(observations: Observations) -> int:
    """On how many seeds the width with the best mean on those that choose is the best on validation data."""
    best, _ = choice_of_width(observations)
    winners = accuracies(observations, "validation_accuracy").argmax(0)
    return int((winners == widths(observations).index(best)).sum())


def cost_of_choice(observations: Observations) -> np.ndarray:
    """Test accuracy at the picked width minus that at the best one, on the seeds that did not choose."""
    best, picked = (widths(observations).index(width) for width in choice_of_width(observations))
    judges = ~_chooses(observations)
    values = accuracies(observations)[:, judges if judges.any() else ~judges]
    return values[picked] - values[best]


def values(
    observations: Observations, regime: str, width: int, times: int = 1, metric: str = METRIC
) -> np.ndarray:
    """A metric of a width in one of the other two trainings, by seed."""
    return choice.values(observations, arm_name(regime, width, times), metric)


def longer_over_wider(observations: Observations, narrow: int) -> np.ndarray:
    """On all images: accuracy of a width with TIMES the epochs minus that of TIMES the width, for each seed."""
    return values(observations, ALL, narrow, TIMES) - values(observations, ALL, TIMES * narrow)


def longer_gains(observations: Observations) -> np.ndarray:
    """On all images: what TIMES the epochs gain, at that of the MIDDLE widths that gains least, for each seed."""
    gains = [more_epochs(observations, width) for width in MIDDLE]
    return min(gains, key=lambda gained: float(gained.mean()))


def more_epochs(observations: Observations, width: int) -> np.ndarray:
    """On all images: what TIMES the epochs change at a width, for each seed."""
    return values(observations, ALL, width, TIMES) - values(observations, ALL, width)


def trained_out(observations: Observations, width: int) -> tuple[np.ndarray, np.ndarray]:
    """On few images: validation accuracies, and those with twice as many epochs, by seed."""
    at_horizon, with_more = (
        values(observations, regime, width, metric="validation_accuracy") for regime in (FEW, FURTHER)
    )
    return at_horizon, with_more


def still_gaining(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The same in a world where more epochs gain twice what does not matter: the control of `horizon_is_enough`."""
    at_horizon, with_more = pair
    return at_horizon, at_horizon + recentred(with_more - at_horizon, 2 * MARGIN)


def widening(observations: Observations, narrow: int, metric: str = METRIC) -> np.ndarray:
    """On few images: what TIMES the width changes, for each seed."""
    wide, before = (values(observations, FEW, w, metric=metric) for w in (TIMES * narrow, narrow))
    return wide - before


def scores_tried(observations: Observations) -> dict[str, dict[float, float]]:
    """Width -> rate -> what is best where it is lowest: minus the mean accuracy on validation images."""
    return choice.losses_by_rate(observations["tried"], "width", metric="validation_accuracy")


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


def one_doubling(observations: Observations) -> np.ndarray:
    """What twice the section's width changes, for each seed."""
    at = chapter_row(observations)
    return gain(observations, narrow=at, wide=at + 1)


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


def step(width: int, *, input_needs_gradient: bool = False) -> float:
    """Multiplications of one step for one example, counted as PyTorch runs it."""
    in_features, batch = 784, 32
    net = nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, 10))
    x = torch.zeros(batch, in_features, requires_grad=input_needs_gradient)
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(net(x), torch.zeros(batch, dtype=torch.int64)).backward()
    # A multiplication and an addition are counted as two.
    return counter.get_total_flops() / 2 / batch


def multiplications(width: int, *, input_needs_gradient: bool = False) -> float:
    """Multiplications of one step for one example over the number of parameters."""
    return step(width, input_needs_gradient=input_needs_gradient) / num_parameters(784, width)


def is_twice_the_parameters(count: Callable[[int], float]) -> Finding:
    """Widths from 8 to 4,096: are the multiplications of a step within 0.05 of two for each parameter?"""
    ratios = [count(width) for width in (8, 256, 4096)]
    return Finding.true_if(
        all(abs(ratio - 2) < 0.05 for ratio in ratios),
        ", ".join(f"{ratio:.3f}" for ratio in ratios),
        least=min(ratios),
        most=max(ratios),
    )


def costs_follow_the_width(cost: Callable[[int], float]) -> Finding:
    """Is a step of a network that is TIMES as wide exactly TIMES as dear?"""
    ratios = [cost(wide) / cost(narrow) for narrow, wide in itertools.pairwise(WIDTHS)]
    worst = max(ratios, key=lambda ratio: abs(ratio - TIMES))
    return Finding.true_if(abs(worst - TIMES) < 1e-9, f"{worst:g}", ratio=worst)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """One row for each width: as the section trains, on all images with a rate that falls, on few images."""
    rows = []
    for row in observations.rows("widths"):
        found = [
            show.stacked(
                show.percent_interval(mean_interval(scored(observations.runs.values(metric, row["arm"]))))
            )
            for metric in ("train_accuracy", "validation_accuracy", METRIC)
        ]
        rows.append([f"{row['width']:,}", f"{row['parameters']:,}", *found])
    units, epochs = words["heads.hidden-units"], given(observations)["epochs"]
    heads = (
        units,
        words["heads.parameters"],
        words["heads.training"],
        words["heads.validation"],
        words["heads.test"],
    )
    return [
        Table(words["titles.accuracy-in-mean-over-seeds"], heads, rows),
        Table(
            words["titles.all-images"],
            (
                units,
                *(words("heads.epochs", epochs=times * epochs) for times in (1, TIMES)),
                words["heads.longer-over-wider"],
                *(words("heads.loss", epochs=times * epochs) for times in (1, TIMES)),
            ),
            [_row_of_all(observations, width) for width in WIDTHS],
        ),
        Table(
            words["titles.few-images"],
            (
                units,
                words["heads.rate-and-epochs"],
                words["heads.training"],
                words["heads.test"],
                words["heads.further"],
                words["heads.test-loss"],
            ),
            [_row_of_few(observations, width) for width in WIDTHS],
        ),
    ]


def _row_of_all(observations: Observations, width: int) -> list[str]:
    lengths = [1] if width == WIDTHS[-1] else [1, TIMES]
    reached, losses = (
        [mean_interval(values(observations, ALL, width, times, metric)) for times in lengths]
        for metric in (METRIC, "test_loss")
    )
    accuracies_shown = [show.stacked(show.percent_interval(one)) for one in reached]
    losses_shown = [show.number(one.estimate) for one in losses]
    if width == WIDTHS[-1]:
        return [str(width), *accuracies_shown, "", "", *losses_shown, ""]
    ahead = show.points_interval(mean_interval(longer_over_wider(observations, width)))
    return [str(width), *accuracies_shown, show.stacked(ahead), *losses_shown]


def _row_of_few(observations: Observations, width: int) -> list[str]:
    at_horizon, with_more = trained_out(observations, width)
    further = mean_interval(with_more - at_horizon)
    cells = [
        show.percent_interval(mean_interval(values(observations, FEW, width))),
        show.points_interval(further),
        show.number_interval(mean_interval(values(observations, FEW, width, metric="test_loss"))),
    ]
    train = show.percent(float(values(observations, FEW, width, metric="train_accuracy").mean()))
    how = f"{rates(observations)[width]:g} / {few_epochs(observations)[width]}"
    return [str(width), how, train, *map(show.stacked, cells)]


def given(observations: Observations) -> dict[str, Any]:
    """The section's epochs and rate."""
    return observations.rows("given")[0]


def few_epochs(observations: Observations) -> dict[int, int]:
    """On few images: width -> epochs."""
    return {row["width"]: row["epochs"] for row in observations.rows("lengths")}


def rates(observations: Observations) -> dict[int, float]:
    """On few images: the rate that validation images chose for each width."""
    return {
        int(width): min(found, key=found.__getitem__) for width, found in scores_tried(observations).items()
    }


def facts(observations: Observations) -> dict[str, Any]:
    """The widths chosen, what they weigh, and the accuracies that the sentences quote."""
    best, picked = choice_of_width(observations)
    sizes = dict(zip(widths(observations), observations["widths"]["parameters"], strict=True))
    test, train = accuracies(observations), accuracies(observations, "train_accuracy")
    images = {row["regime"]: row for row in observations.rows("images")}
    epochs = given(observations)["epochs"]
    return {
        "best_width": best,
        "picked_width": picked,
        "num_seeds_best": num_seeds_best(observations),
        "num_section_seeds": test.shape[1],
        "seed_spread": choice.deviation(test[chapter_row(observations)]),
        "quiet_spread": choice.deviation(values(observations, ALL, WIDTHS[-2])),
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
        "epochs": epochs,
        "longer": TIMES * epochs,
        "few_epochs": {
            "narrow": few_epochs(observations)[WIDTHS[0]],
            "wide": few_epochs(observations)[WIDTHS[-1]],
        },
        "times": TIMES,
        "learning_rate": given(observations)["rate"],
        "fast_rate": FASTER * given(observations)["rate"],
        "all_seeds": len(values(observations, ALL, WIDTHS[0])),
        "few_seeds": len(values(observations, FEW, WIDTHS[0])),
        "images": images,
        "trades": {str(width): mean_interval(longer_over_wider(observations, width)) for width in MIDDLE},
        "thrown_back": -float(more_epochs(observations, WIDTHS[0]).min()),
        "widenings": {str(width): mean_interval(widening(observations, width)) for width in WIDTHS[:-1]},
        "widening_loss": mean_interval(widening(observations, WIDTHS[-2], "test_loss")),
        "few_train": float(values(observations, FEW, WIDTHS[-2], metric="train_accuracy").mean()),
        "new_images": choice.for_new_images(observations),
        "moved": _moved(observations),
        "w": dict(zip(("first", "second", "third", "fourth"), WIDTHS, strict=True)),
        "margin": MARGIN,
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """What the program should leave: for one price, 128 units and 32 that are trained TIMES as long."""
    found = {"wider": values(observations, ALL, 128), "longer": values(observations, ALL, 32, TIMES)}
    return {name: prediction_interval(reached) for name, reached in found.items()}


def _moved(observations: Observations) -> Mapping[str, float | None]:
    """By how much a millionth of the first weights moves the accuracy of a run, at most, by arm."""
    arms = [arm for arm in observations.runs.arms if arm.startswith(NUDGED)]
    found = {}
    for arm in arms:
        own = arm.removeprefix(f"{NUDGED} ")
        found[own] = choice.most_moved(
            choice.values(observations, arm, METRIC), choice.values(observations, own, METRIC)
        )
    return {
        "all": max((moved for own, moved in found.items() if own.startswith(ALL)), default=None),
        "few_narrow": found.get(arm_name(FEW, WIDTHS[0])),
        "few_wide": found.get(arm_name(FEW, WIDTHS[-2])),
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test accuracy against width in all trainings; what TIMES the width brings at equal cost and trained out."""
    names = words.group("trainings")
    section = zip(widths(observations), accuracies(observations), strict=True)
    curves = {
        "section": dict(section),
        "falling": {width: values(observations, ALL, width) for width in WIDTHS},
        "longer": {width: values(observations, ALL, width, TIMES) for width in WIDTHS[:-1]},
        "few": {width: values(observations, FEW, width) for width in WIDTHS},
    }
    epochs = given(observations)["epochs"]
    lengths = {"section": epochs, "falling": epochs, "longer": TIMES * epochs}
    images = {row["regime"]: row["train"] for row in observations.rows("images")}
    rows = [
        {
            "group": names[name].format(epochs=lengths.get(name), images=f"{images[FEW]:,}"),
            "level": str(width),
        }
        | mean_interval(found).to_dict()
        for name, curve in curves.items()
        for width, found in curve.items()
    ]
    order = sorted({int(row["level"]) for row in rows})
    rows.sort(key=lambda row: order.index(int(row["level"])))
    left = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.hidden-units"],
        value_title=words["titles.accuracy"],
        title=words["titles.accuracy-by-width"],
        value_format=".0%",
        notes=words.notes,
    )
    equal_cost: dict[str, Comparison] = {
        words("labels.trade", narrow=narrow, wide=TIMES * narrow): paired(
            -longer_over_wider(observations, narrow), margin=MARGIN
        )
        for narrow in MIDDLE
    }
    out: dict[str, Comparison] = {
        words("labels.trade", narrow=narrow, wide=TIMES * narrow): paired(
            widening(observations, narrow), margin=MARGIN
        )
        for narrow in WIDTHS[:-1]
    }
    upper, lower = (
        plots.difference_plot(
            found,
            value_title=words["titles.wider-minus-narrower"],
            title=words[title],
            arm_title=words["titles.hidden-units-axis"],
            value_format=".1%",
            notes=words.notes,
            width=240,
        )
        for found, title in ((equal_cost, "titles.at-equal-cost"), (out, "titles.trained-out"))
    )
    return (left | (upper & lower)).resolve_scale(color="independent", strokeDash="independent")


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
            falsehood=lambda o: per_doubling(o, beyond=True) - per_doubling(o, beyond=False),
            unit="points",
        ),
        Claim(
            name="plateau",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: per_doubling(o, beyond=True),
            falsehood=lambda o: recentred(per_doubling(o, beyond=True), 2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="the-widest-beats-the-sections",
            kind="experiment",
            check=greater(),
            subject=lambda o: gain(o, narrow=chapter_row(o)),
            falsehood=lambda o: -gain(o, narrow=chapter_row(o)),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="a-doubling-of-the-sections-changes-little",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=one_doubling,
            falsehood=lambda o: recentred(one_doubling(o), 2 * MARGIN),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="the-gap-grows",
            kind="experiment",
            check=greater(),
            subject=gap_growth,
            falsehood=lambda o: -gap_growth(o),
            unit="points",
        ),
        Claim(
            name="the-rule-costs-little",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=cost_of_choice,
            falsehood=lambda o: recentred(cost_of_choice(o), -2 * MARGIN),
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
        Claim(
            name="a-step-costs-as-the-width",
            kind="calculation",
            check=costs_follow_the_width,
            subject=lambda o: step,
            # As if biases were multiplied, too.
            falsehood=lambda o: lambda width: num_parameters(784, width),
        ),
        Claim(
            name="four-times-the-epochs-still-gain",
            kind="experiment",
            check=greater(MARGIN),
            subject=longer_gains,
            falsehood=lambda o: recentred(longer_gains(o), 0.0),
            unit="points",
            post_hoc=True,  # the narrowest was left out after a look
        ),
        *(
            Claim(
                name=f"longer-beats-wider-at-{narrow}",
                kind="experiment",
                check=greater(margin=MARGIN),
                subject=lambda o, narrow=narrow: longer_over_wider(o, narrow),
                falsehood=lambda o, narrow=narrow: recentred(longer_over_wider(o, narrow), -MARGIN),
                unit="points",
                requires=("a-step-costs-as-the-width",),
            )
            for narrow in MIDDLE
        ),
        Claim(
            name="every-best-rate-is-inside",
            kind="experiment",
            check=choice.is_inside,
            subject=scores_tried,
            falsehood=lambda o: choice.up_to_the_lowest(scores_tried(o)),
        ),
        *(
            Claim(
                name=f"trained-out-at-{width}",
                kind="experiment",
                check=horizon_is_enough(MARGIN, less_is_better=False),
                subject=lambda o, width=width: trained_out(o, width),
                falsehood=lambda o, width=width: still_gaining(trained_out(o, width)),
                unit="points",
            )
            for width in WIDTHS
        ),
        Claim(
            name="trained-out-eight-are-too-few",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: widening(o, 8),
            falsehood=lambda o: recentred(widening(o, 8), 0.0),
            unit="points",
            # More epochs would have to help the one that is behind.
            requires=("every-best-rate-is-inside", "trained-out-at-8"),
        ),
        Claim(
            # What is gained there is shown, and less than what matters.
            name="trained-out-beyond-32-nothing-matters",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: widening(o, 32),
            falsehood=lambda o: recentred(widening(o, 32), 2 * MARGIN),
            unit="points",
            requires=("every-best-rate-is-inside", "trained-out-at-32", "trained-out-at-128"),
            post_hoc=True,
        ),
        Claim(
            name="trained-out-beyond-128-nothing-matters",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: widening(o, 128),
            falsehood=lambda o: recentred(widening(o, 128), 2 * MARGIN),
            unit="points",
            requires=("every-best-rate-is-inside", "trained-out-at-128", "trained-out-at-512"),
        ),
    ),
    circulated=(
        Circulated(
            "alike-from-256-on",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="a-doubling-of-the-sections-changes-little",
            source="datawhale",
        ),
        Circulated(
            "so-256-is-best",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="the-widest-beats-the-sections",
            source="datawhale",
        ),
        Circulated(
            "up-to-4096-and-down-again",
            {"holds": "half-right", "fails": "unsupported", "undecided": "unsupported"},
            by="the-widest-beats-the-sections",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set learning_rate=0.3",
)
