"""4.2.4 The best result over all hyperparameters jointly, epochs among them, and how sure one can be of it.

Successive halving searches rate, batch size, depth, width and whether the rate falls, on validation images alone. Its
winner is trained again with fresh seeds, for so many epochs that twice as many no longer help, beside the section's
setting; and only now the test set is looked at.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, horizon_is_enough, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.knobs import turn, value_of, written
from mlplab.spec import Setting
from mlplab.stats import Interval, mean_interval, prediction_interval, two_way
from mlplab.study import Arm, Results, Study
from mlplab.study.space import Space
from mlplab.study.tuning import Bench
from mlplab.study.tuning.halving import cost, halving, highest_bracket, rungs
from mlplab.study.tuning.training import StoredTraining

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here, nor in loss of less than 0.01.
MARGIN, LOSS_MARGIN = 0.003, 0.01
MANUALS_BEST = 0.8865  # test accuracy of the best setting in the tables of Datawhale's manual
# Validation and test images are different ones, and one part is harder. What choosing adds to that is small if it is
# below half a point.
SAME = 0.005
# The search's longest trainings; its winner is then trained for twice as many epochs, and for twice as many again.
EPOCHS = 9
RATES, BATCHES, SCHEDULES = "loguniform(0.02,1)", "32,64,128,256", "constant,cosine"
SHAPES = "128|256|512|128,128|256,256|128,128,128|256,256,256"
QUICK_SHAPES = "32|128|64,64"
FINAL = 2_000  # where seeds begin that no search has used
NUM_NUDGED = 3
# The winner of the search, the same for twice the epochs, the section's setting, and the section's with as many epochs
# as the winner and a rate that falls.
ARMS = ("winner", "further", "section", "longer")


def observe(lab: Lab) -> Observations:
    """Search; train the winner with fresh seeds for more epochs; compare it with the section's setting."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    given = chapter.scaled(chapter.MLP_SETTING, dataset)
    epochs = lab.take("epochs", turn(given, epochs=lab.choose(quick=3, full=EPOCHS)))
    section = lab.setting(given)
    found = search(lab, space_around(section, epochs, lab.choose(quick=QUICK_SHAPES, full=SHAPES)), dataset)
    winner = smallest_of_the_best(found, dataset).setting
    arms = [
        Arm("winner", at_end(winner, 2 * epochs)),
        Arm("further", at_end(winner, 4 * epochs)),
        Arm("section", at_end(section, section.training.epochs)),
        Arm("longer", at_end(chapter.read_quietly(section), 2 * epochs)),
    ]
    seeds = [FINAL + seed for seed in lab.seeds(quick=3, full=6, first=4)]
    nudged = seeds[: lab.choose(quick=1, full=NUM_NUDGED)]
    moved = chapter.nudged(arms[0].setting)
    studies = [] if moved is None else [Study([Arm("nudged", moved)], nudged, dataset)]
    # What is compared comes last: its settings are what the page speaks of.
    *others, runs = [lab.run(study) for study in (*studies, Study(arms, seeds, dataset))]
    columns = ["arm", "seed", "digest", "status", "train_accuracy", "validation_accuracy", "test_accuracy"]
    columns += ["train_loss", "validation_loss", "test_loss", "seconds"]
    return lab.observations(
        runs=pd.concat([results.frame for results in (runs, *others)])[columns],
        crossed=crossed(runs),
        trials=trials(found, winner),
        arms=pd.DataFrame([{"arm": arm.name} | described(arm.setting) for arm in arms]),
    )


def space_around(section: Setting, epochs: int, shapes: str) -> Space:
    """What is searched: all else is as in the section, but for whole batches and He's start."""
    start = turn(section, initialization="kaiming_normal", epochs=epochs, evaluate_every=epochs)
    return Space(
        turn(start, drop_last=True),
        learning_rate=RATES,
        batch_size=BATCHES,
        hidden_sizes=shapes,
        schedule=SCHEDULES,
    )


def at_end(setting: Setting, epochs: int) -> Setting:
    """The setting for so many epochs, looked at after the last alone: which test examples it then gets right, too."""
    return turn(setting, epochs=epochs, evaluate_every=epochs, probes=("test_hits",))


def search(lab: Lab, space: Space, dataset: Dataset) -> Bench:
    """One bracket of successive halving, from many settings for an epoch to a few for all of them.

    As many begin as leave three for the last rung: its best is then a choice.
    """
    epochs = space.base.training.epochs
    steps = highest_bracket(epochs)
    ladder = rungs(3 ** (steps + 1), steps, epochs)
    training = StoredTraining(lab.run, dataset, "validation_accuracy", keep_states=False)
    bench = Bench(space, training, epochs=epochs, budget=cost(ladder, goes_on=False))
    halving(bench, 0)
    return bench


def smallest_of_the_best(bench: Bench, dataset: Dataset) -> Arm:
    """Of the settings whose longest training came within MARGIN of the best score, the one with the fewest weights:
    what one seed cannot tell apart is told apart by its price."""
    longest = max(trial.epochs for trial in bench.trials)
    last = [trial for trial in bench.trials if trial.epochs == longest]
    best = max(trial.score for trial in last)

    def num_weights(arm: Arm) -> int:
        sizes = (dataset.in_features, *arm.setting.model.hidden_sizes, dataset.out_features)
        return sum(one * other for one, other in itertools.pairwise(sizes))

    return min((trial.arm for trial in last if trial.score >= best - MARGIN), key=num_weights)


def trials(bench: Bench, winner: Setting) -> pd.DataFrame:
    """A row for each training of the search, and whether its setting won."""
    rows = [
        described(trial.arm.setting)
        | {"epochs": trial.epochs, "score": trial.score, "won": trial.arm.setting == winner}
        for trial in bench.trials
    ]
    return pd.DataFrame(rows)


def described(setting: Setting) -> dict[str, Any]:
    """What is searched of a setting, and how its weights start."""
    return {
        "units": "-".join(map(str, setting.model.hidden_sizes)),
        "rate": setting.optimizer.learning_rate,
        "schedule": setting.optimizer.schedule.kind,
        "batch": written(value_of(setting, "batch_size")),
        "start": setting.model.initialization[0].kind,
        "epochs": setting.training.epochs,
    }


def crossed(runs: Results) -> pd.DataFrame:
    """Test accuracy of the winner, and by how much it is ahead: intervals over seeds and test images."""
    finished = runs.frame["status"] == "finished"
    if not finished.all() or runs.frame["seed"].nunique() < 2:
        return pd.DataFrame(columns=pd.Index(["over", "estimate", "ci_low", "ci_high"]))
    hits = {arm: runs.test_hits(arm) for arm in ("winner", "section", "longer")}
    found = {"": two_way(hits["winner"])} | {
        over: two_way(hits["winner"], hits[over]) for over in ("section", "longer")
    }
    return pd.DataFrame(
        [
            {"over": over, "estimate": one.estimate, "ci_low": one.ci_low, "ci_high": one.ci_high}
            for over, one in found.items()
        ]
    )


def over_images(observations: Observations) -> dict[str, Interval]:
    """The intervals over seeds and test images, by what the winner is compared with."""
    return {
        row["over"] or "nothing": Interval(
            row["estimate"], None, row["ci_low"], row["ci_high"], 0.95, "two-way", observations.num_seeds
        )
        for row in observations.rows("crossed")
    }


def values(observations: Observations, arm: str, metric: str = "test_accuracy") -> np.ndarray:
    """A metric of an arm by fresh seed; what diverged guesses."""
    return choice.values(observations, arm, metric)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Test accuracy of single runs: of the winner, and of the section's setting for as long."""
    return {name: prediction_interval(values(observations, name)) for name in ("winner", "longer")}


def gain(observations: Observations, over: str, metric: str = "test_accuracy") -> np.ndarray:
    """A metric of the winner minus that of another arm, by seed."""
    return values(observations, "winner", metric) - values(observations, over, metric)


def loss_saved(observations: Observations) -> np.ndarray:
    """By how much the winner's test loss is lower than that of the section's setting trained as long, by seed."""
    return -gain(observations, "longer", "test_loss")


def horizons(
    observations: Observations, metric: str = "validation_accuracy"
) -> tuple[np.ndarray, np.ndarray]:
    """A metric of the winner on validation images, and with twice the epochs, by seed."""
    winner, further = (values(observations, arm, metric) for arm in ("winner", "further"))
    return winner, further


def gaining(both: tuple[np.ndarray, np.ndarray], by: float) -> tuple[np.ndarray, np.ndarray]:
    """The same with the spread that was seen, in a world where twice the epochs still gain: the control."""
    winner, further = both
    return winner, winner + recentred(further - winner, by)


def wear(observations: Observations) -> np.ndarray:
    """By how much more validation accuracy exceeds test accuracy for the winner than for the section's setting trained
    as long, on which nothing was chosen, by seed."""
    chosen, other = (
        values(observations, arm, "validation_accuracy") - values(observations, arm)
        for arm in ("winner", "longer")
    )
    return chosen - other


def departures(observations: Observations) -> str:
    """Where the section's setting was trained otherwise than in the section, as `weight_decay 0.001`; mostly nowhere.

    Of what all arms share; what was searched stands beside each.
    """
    beside = {"hidden_sizes", "learning_rate", "batch_size", "schedule", "initialization", "epochs"}
    beside |= {"evaluate_every", "probes", "drop_last"}
    shared = {name: value for name, value in observations.settings[-1].items() if name not in beside}
    return chapter.departures(chapter.MLP_SETTING, shared)


def arm_names(observations: Observations, words: WordList) -> dict[str, str]:
    """How arms are named; the section's say where they are not trained as in the section."""
    apart = departures(observations)
    return {
        arm: words("labels.departs", arm=label, departs=apart) if apart and arm in ARMS[2:] else label
        for arm, label in words.group("arms").items()
    }


def settings(observations: Observations) -> dict[str, dict[str, Any]]:
    """What was searched, of each arm."""
    return {row["arm"]: row for row in observations.rows("arms")}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The arms on test images; what the search tried for all epochs."""
    held, rows = settings(observations), []
    for arm, label in arm_names(observations, words).items():
        test, loss, validation = (
            mean_interval(values(observations, arm, metric))
            for metric in ("test_accuracy", "test_loss", "validation_accuracy")
        )
        cells = [
            show.percent_interval(test),
            show.number_interval(loss),
            show.percent_interval(validation),
        ]
        rows.append([label, *_cells(held[arm], words), *map(show.stacked, cells)])
    common = [words[f"heads.{name}"] for name in ("units", "rate", "batch", "start", "epochs")]
    heads = ["", *common, words["heads.test"], words["heads.loss"], words["heads.validation"]]
    last = observations["trials"]
    best = last[last["epochs"] >= last["epochs"].max() / 3].sort_values(
        ["epochs", "score"], ascending=False, kind="stable"
    )
    found = [[*_cells(row, words), show.percent(row["score"])] for row in best.to_dict("records")]
    return [
        Table(words["titles.accuracy-in-fresh-seeds-mean"], heads, rows),
        Table(words["titles.last-rungs"], [*common, words["heads.validation"]], found),
    ]


def _cells(setting: Any, words: WordList) -> list[str]:
    """Units, rate, batch, start and epochs of a setting, for a table."""
    rate = words(f"schedules.{setting['schedule']}", rate=f"{setting['rate']:g}")
    start = words.group("starts")[setting["start"]]
    return [setting["units"], rate, setting["batch"], start, str(setting["epochs"])]


def facts(observations: Observations) -> dict[str, Any]:
    """The arms' accuracies and losses, the winner, and what the search cost."""
    held, searched = settings(observations), observations["trials"]
    winner, rungs_ = held["winner"], searched.groupby("epochs").size()
    last = searched[searched["epochs"] == searched["epochs"].max()]
    layers = [[int(width) for width in row["units"].split("-")] for row in observations.rows("trials")]
    widest, own = max(map(max, layers)), [int(width) for width in winner["units"].split("-")]
    return {
        "manuals_best": MANUALS_BEST,
        "winner": winner,
        "falls": winner["schedule"] == "cosine",
        "further": held["further"]["epochs"],
        "section": held["section"],
        "departs": departures(observations),
        "test": {arm: mean_interval(values(observations, arm)) for arm in ARMS},
        "loss": {arm: mean_interval(values(observations, arm, "test_loss")) for arm in ARMS},
        "over_images": over_images(observations),
        "num_settings": int(rungs_.iloc[0]),
        "rungs": [{"epochs": int(str(epochs)), "settings": int(number)} for epochs, number in rungs_.items()],
        "by_epochs": {
            "search": int(last["epochs"].iloc[0]),
            "winner": float(horizons(observations)[0].mean()),
            "further": float(horizons(observations)[1].mean()),
        },
        "next_doubling": mean_interval(np.subtract(*horizons(observations)[::-1])),
        "next_loss": mean_interval(np.subtract(*horizons(observations, "validation_loss")[::-1])),
        "batches": sorted({int(row["batch"]) for row in observations.rows("trials")}),
        "num_alike": int((last["score"] >= last["score"].max() - MARGIN).sum()),
        "best_score": float(last["score"].max()),
        "score": float(last.loc[last["won"], "score"].iloc[0]),
        "spent": int((searched["epochs"]).sum()),
        "widest": widest,
        "most_layers": max(map(len, layers)),
        "is_widest": max(own) == widest,
        "is_deepest": len(own) == max(map(len, layers)),
        "seed_std": choice.deviation(values(observations, "winner")),
        "section_std": choice.deviation(values(observations, "section")),
        "moved": moved(observations),
        "train": float(values(observations, "winner", "train_accuracy").mean()),
        "gaps": {
            arm: float((values(observations, arm, "validation_accuracy") - values(observations, arm)).mean())
            for arm in ("winner", "longer")
        },
        "margin": MARGIN,
        "loss_margin": LOSS_MARGIN,
    }


def moved(observations: Observations) -> float | None:
    """By how much a millionth of the first weights moves the winner's test accuracy, at most; None if none was."""
    if "nudged" not in observations.runs.arms:
        return None
    return choice.most_moved(values(observations, "nudged"), values(observations, "winner"))


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The arms on test images, beside all that the search tried."""
    summary = observations.runs.summary("test_accuracy")
    names = arm_names(observations, words)
    left = plots.interval_plot(
        summary[summary["arm"].isin(names)],
        value_title=words["titles.test-accuracy"],
        title=words["titles.fresh-seeds-one-look-at"],
        labels=names,
        value_format=".1%",
        notes=words.notes,
        width=300,
    )
    return (left | _tried(observations, words)).resolve_scale(color="independent", shape="independent")


def _tried(observations: Observations, words: WordList) -> altair.LayerChart:
    """A point for each training of the search: what its setting reached on validation images by then."""
    alt: Any = import_extra("altair", what="A figure", extra="book")
    table = observations["trials"]
    kinds = {kind: words[f"kinds.{kind}"] for kind in dict.fromkeys(table["schedule"])}
    points = table.assign(kind=table["schedule"].map(kinds)).dropna(subset=["score"])
    lowest = float(points["score"].quantile(0.25)) - 0.02
    shown = points[points["score"] > lowest]
    colours = alt.Scale(domain=list(kinds.values()), range=[plots.PALETTE[0], plots.PALETTE[1]])
    base = alt.Chart(shown)
    x = alt.X("epochs:O", title=words["titles.epochs"], axis=alt.Axis(labelAngle=0))
    y = alt.Y(
        "score:Q",
        title=words["titles.validation-accuracy"],
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=".1%"),
    )
    dots = base.mark_point(filled=True, size=45, opacity=0.7).encode(
        x=x,
        y=y,
        color=alt.Color("kind:N", title=None, scale=colours),
        shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=list(kinds.values()))),
        tooltip=["units:N", "batch:N", "rate:Q", alt.Tooltip("score:Q", format=".2%")],
    )
    way = base.transform_filter("datum.won").mark_line(color=plots.INK, strokeWidth=1).encode(x=x, y=y)
    subtitle = words("titles.left-out", count=len(table) - len(shown))
    heading = alt.TitleParams(
        words["titles.what-was-tried"], subtitle=subtitle, anchor="start", subtitleColor="#555555"
    )
    return alt.layer(way, dots).properties(width=300, height=240, title=heading)


ANSWER = Answer(
    observe=observe,
    claims=(
        # Loss decides with fewer seeds than accuracy: another seed hardly moves it.
        Claim(
            name="more-epochs-no-longer-help",
            kind="experiment",
            check=horizon_is_enough(LOSS_MARGIN, less_is_better=True),
            subject=lambda o: horizons(o, "validation_loss"),
            falsehood=lambda o: gaining(horizons(o, "validation_loss"), -3 * LOSS_MARGIN),
            post_hoc=True,
        ),
        Claim(
            name="more-epochs-gain-no-accuracy",
            kind="experiment",
            check=horizon_is_enough(MARGIN, less_is_better=False),
            subject=horizons,
            falsehood=lambda o: gaining(horizons(o), 2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="search-beats-the-section",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "section"),
            falsehood=lambda o: recentred(gain(o, "longer"), -0.01),
            unit="points",
        ),
        Claim(
            name="search-beats-longer-training",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "longer"),
            falsehood=lambda o: recentred(gain(o, "longer"), 0.0),
            unit="points",
        ),
        Claim(
            name="its-loss-is-lower-too",
            kind="experiment",
            check=greater(margin=LOSS_MARGIN),
            subject=loss_saved,
            falsehood=lambda o: recentred(loss_saved(o), 0.0),
        ),
        Claim(
            name="validation-images-are-not-worn-out",
            kind="experiment",
            check=less(SAME, numbers={"margin": SAME}),
            subject=wear,
            falsehood=lambda o: recentred(wear(o), 3 * SAME),
            unit="points",
        ),
        Claim(
            name="the-winner-beats-the-manuals-best",
            kind="experiment",
            check=greater(),
            subject=lambda o: values(o, "winner") - MANUALS_BEST,
            falsehood=lambda o: recentred(values(o, "winner"), -0.01),
            unit="points",
            post_hoc=True,
        ),
    ),
    circulated=(
        Circulated("notes-skip-this-exercise", "skipped"),
        Circulated(
            "best-of-its-tables",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="the-winner-beats-the-manuals-best",
            source="datawhale",
        ),
        # The test images chose, and judged what they had chosen: 4.2.5 measures how much that flatters.
        Circulated("test-images-choose", "unsupported", source="datawhale"),
        Circulated("no-universal-answer", "incomplete", source="pandalabme"),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set weight_decay=0.0001",
    best=lambda o: float(values(o, "winner").mean()),
)
