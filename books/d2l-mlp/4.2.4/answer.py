"""4.2.4 The best result over all hyperparameters jointly, and how much of it is left with fresh seeds.

Hyperband searches rate, depth and width several times over, each time with another seed, on validation images alone.
Each winner is trained again with fresh seeds; the best of them by that is trained once more with other seeds, beside
the section's setting, and only now is the test set looked at.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.spec import Setting
from mlplab.stats import mean_interval
from mlplab.study import Arm, Study
from mlplab.study.space import Space
from mlplab.study.tuning import Bench
from mlplab.study.tuning.halving import bracket_size, cost, highest_bracket, hyperband, rungs
from mlplab.study.tuning.training import StoredTraining, without_test
from mlplab.study.tuning.tuning import search_score

from .. import chapter

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
# Validation and test images are different ones: their accuracies differ by chance, by a point at most.
SAME = 0.01
EPOCHS = 18  # at most; Hyperband's shorter trainings take a third and a ninth of it
RATES, SHAPES = "loguniform(0.01,1)", "64|128|256|512|256,256|256,256,256"
FRESH, FINAL = 1_000, 2_000  # where seeds begin that no search has used, and those that nobody has
ARMS = (
    "winner",
    "section",
    "longer",
)


def observe(lab: Lab) -> Observations:
    """Search several times; train the winners again with fresh seeds; compare the best with the section's setting."""
    dataset = lab.dataset("fashion-mnist", embedded="digits")
    section = chapter.MLP_SETTING
    if dataset.name == "digits":  # a fiftieth of the images: smaller batches, or there are too few updates
        section = turn(section, batch_size=32)
    epochs = lab.take("epochs", turn(section, epochs=EPOCHS))
    section = lab.setting(section)
    space = Space(
        turn(section, initialization="kaiming_normal", epochs=epochs),
        learning_rate=RATES,
        hidden_sizes=SHAPES,
    )
    found = [search(lab, space, dataset, seed) for seed in range(lab.choose(quick=3, full=6))]
    winners = list({bench.winner.setting: bench.winner for bench in found}.values())
    seeds = range(FRESH, FRESH + lab.choose(quick=3, full=4))
    fresh = lab.run(Study(winners, seeds, without_test(dataset)))
    rows = []
    for number, bench in enumerate(found, start=1):
        again = fresh.values("validation_accuracy", bench.winner.name)
        score = search_score(bench.trials, bench.winner)
        row = {"search": number, "winner": bench.winner.name, "score": score, "num_trials": len(bench.trials)}
        rows.append(
            row
            | {
                "num_fresh": len(seeds),
                "fresh": float(np.mean(again)),
                "std": float(np.std(again, ddof=1)),
                "spent": bench.spent,
            }
        )
    best = max(winners, key=lambda arm: _worth(fresh.values("validation_accuracy", arm.name)))
    arms = [
        Arm("winner", best.setting),
        Arm("section", section),
        Arm("longer", turn(section, epochs=max(epochs, section.training.epochs + 1))),
    ]
    runs = lab.run(Study(arms, [FINAL + seed for seed in lab.seeds(quick=6, full=20)], dataset))
    values = [{"arm": arm.name, "setting": _written(arm.setting)} for arm in arms]
    return lab.observations(runs=runs.frame, searches=pd.DataFrame(rows), arms=pd.DataFrame(values))


def search(lab: Lab, space: Space, dataset: Dataset, seed: int) -> Bench:
    """One pass of Hyperband over all its brackets; what it draws and trains on hangs on the seed."""
    epochs = space.base.training.epochs
    ladders = (rungs(bracket_size(s, epochs), s, epochs) for s in range(highest_bracket(epochs) + 1))
    training = StoredTraining(lab.run, dataset, "validation_accuracy", keep_states=True)
    bench = Bench(space, training, epochs=epochs, budget=sum(map(cost, ladders)))
    hyperband(bench, seed)
    return bench


def _worth(values: np.ndarray) -> float:
    """The mean; a setting that diverges on a seed is worth nothing."""
    return float(values.mean()) if np.isfinite(values).all() else -math.inf


def _written(setting: Setting) -> str:
    sizes = "-".join(map(str, setting.model.hidden_sizes))
    training = setting.training
    return f"{sizes}, η = {setting.optimizer.learning_rate:g}, {setting.model.initialization[0]}, {training.epochs}"


def gain(observations: Observations, over: str) -> np.ndarray:
    """Test accuracy of the winner minus that of another arm, by seed."""
    return observations.runs.differences("test_accuracy", "winner", over)


def optimism(observations: Observations) -> np.ndarray:
    """What each search saw of its winner less the mean over fresh seeds, both on validation images."""
    table = observations["searches"]
    return (table["score"] - table["fresh"]).to_numpy(dtype=float)


def gap(observations: Observations) -> np.ndarray:
    """Validation minus test accuracy of the winner, by fresh seed."""
    runs = observations.runs
    return runs.values("validation_accuracy", "winner") - runs.values("test_accuracy", "winner")


def departures(observations: Observations) -> str:
    """Where the section's setting was trained otherwise than in the section, as `batch_size 32`; mostly nowhere."""
    return chapter.departures(chapter.MLP_SETTING, observations.settings[-1])


def arm_names(observations: Observations, words: WordList) -> dict[str, str]:
    """How arms are named; one that is not trained as in the section says so."""
    departs = departures(observations)
    return {
        arm: words("labels.departs", arm=label, departs=departs) if departs and arm != "winner" else label
        for arm, label in words.group("arms").items()
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The three arms on test images; the searches and what was left of them."""
    settings = {row["arm"]: row["setting"] for row in observations.rows("arms")}
    rows = []
    for arm, label in arm_names(observations, words).items():
        means = [
            mean_interval(observations.runs.values(metric, arm))
            for metric in ("test_accuracy", "validation_accuracy")
        ]
        cells = [show.stacked(show.percent_interval(mean)) for mean in means]
        rows.append([label, settings[arm], *cells])
    title = words["titles.accuracy-in-fresh-seeds-mean"]
    heads = [
        words["heads.setting"],
        words["heads.units-rate-start-epochs"],
        words["heads.test"],
        words["heads.validation"],
    ]
    found = [
        [str(row["search"]), row["winner"], *(show.percent(row[name]) for name in ("score", "fresh"))]
        for row in observations.rows("searches")
    ]
    searches = words["labels.winners-searches-validation-accuracy-in"]
    columns = [
        words["heads.search"],
        words["heads.winner"],
        words["heads.in-search"],
        words["heads.fresh-seeds"],
    ]
    return [Table(title, heads, rows), Table(searches, columns, found)]


def facts(observations: Observations) -> dict[str, Any]:
    """The arms' accuracies, the winner, and what the searches cost."""
    searches = observations["searches"]
    settings = {row["arm"]: row["setting"] for row in observations.rows("arms")}
    runs = observations.runs
    test = {arm: mean_interval(runs.values("test_accuracy", arm)) for arm in ARMS}
    spread = runs.values("validation_accuracy", "winner")
    return {
        "winner": settings["winner"],
        "section": settings["section"],
        "departs": departures(observations),
        "test": test,
        "num_searches": len(searches),
        "num_trials": int(searches["num_trials"].sum()),
        "spent": int(searches["spent"].sum()),
        "least_score": float(searches["score"].min()),
        "most_score": float(searches["score"].max()),
        "fresh_range": float(searches["fresh"].max() - searches["fresh"].min()),
        "num_fresh": int(searches["num_fresh"].iloc[0]),
        "seed_std": float(np.std(spread, ddof=1)) if len(spread) > 1 else 0.0,
        "first_fresh": FRESH,
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The arms on test images, beside what the searches saw and what was left of it."""
    summary = observations.runs.summary("test_accuracy")
    left = plots.interval_plot(
        summary,
        value_title=words["titles.test-accuracy"],
        title=words["titles.fresh-seeds-one-look-at"],
        labels=arm_names(observations, words),
        value_format=".1%",
        notes=words.notes,
        width=300,
    )
    return left | _searches(observations, words)


def _searches(observations: Observations, words: WordList) -> altair.LayerChart:
    """A row for each search: the score of its winner, and what fresh seeds left of it."""
    alt: Any = import_extra("altair", what="A figure", extra="book")
    names = {
        "score": words["labels.in-search"],
        "fresh": words["labels.fresh-seeds"],
    }
    table = observations["searches"][["search", "score", "fresh", "winner"]]
    points = table.melt(
        id_vars=["search", "winner"], value_vars=list(names), var_name="seen", value_name="accuracy"
    )
    points["seen"] = points["seen"].map(names)
    num_fresh = int(observations["searches"]["num_fresh"].iloc[0])
    subtitle = words("titles.search-one-seed-fresh-seeds", num_fresh=num_fresh)
    title = words["titles.what-search-saw-and-what"]
    colours = alt.Scale(domain=list(names.values()), range=[plots.PALETTE[1], plots.PALETTE[0]])
    y = alt.Y("search:O", title=words["titles.search"])
    x_title = words["labels.validation-accuracy-its-winner"]
    axis = alt.Axis(format=".1%")
    rules = alt.Chart(table).mark_rule(color=plots.GREY).encode(x="score:Q", x2="fresh:Q", y=y)
    dots = (
        alt.Chart(points)
        .mark_point(filled=True, size=70, opacity=1)
        .encode(
            x=alt.X("accuracy:Q", title=x_title, scale=alt.Scale(zero=False), axis=axis),
            y=y,
            color=alt.Color("seen:N", title=None, scale=colours),
            shape=alt.Shape("seen:N", title=None, scale=alt.Scale(domain=list(names.values()))),
            tooltip=["winner:N", "seen:N", alt.Tooltip("accuracy:Q", format=".2%")],
        )
    )
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", subtitleColor="#555555")
    return alt.layer(rules, dots).properties(width=300, height=alt.Step(26), title=heading)


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="search-beats-the-section",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "section"),
            falsehood=lambda o: recentred(gain(o, "section"), -0.01),
            unit="points",
        ),
        Claim(
            name="search-beats-longer-training",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "longer"),
            falsehood=lambda o: recentred(gain(o, "longer"), -0.01),
            unit="points",
        ),
        Claim(
            name="a-search-flatters-its-winner",
            kind="experiment",
            check=greater(),
            subject=optimism,
            falsehood=lambda o: -np.abs(optimism(o)) - 0.01,
            unit="points",
        ),
        Claim(
            name="fresh-validation-agrees-with-test",
            kind="experiment",
            check=equivalent(margin=SAME),
            subject=gap,
            falsehood=lambda o: recentred(gap(o), 0.03),
            unit="points",
        ),
    ),
    circulated=(Circulated("notes-skip-this-exercise", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set batch_size=128",
)
