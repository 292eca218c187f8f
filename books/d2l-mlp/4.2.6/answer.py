"""4.2.6 A smart strategy to search several hyperparameters: which one, and by how much is it smarter?

Every combination of a grid is trained once for each seed, with its validation accuracy after every epoch that a
strategy may ask for. Then each strategy searches that table many times over, at no cost: what it would have chosen is
compared with the best there is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import beats, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.data.dataset import Part
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.stats import compare_arms, mean_interval, proportion_interval
from mlplab.study import Arm, Results, Study
from mlplab.study.space import Levels
from mlplab.study.tuning import STRATEGIES, Bench, Space
from mlplab.study.tuning.halving import highest_bracket

from .. import chapter
from ..choice import scored

if TYPE_CHECKING:
    import altair

# Regrets that differ by less than 0.2 points do not matter: another seed moves the accuracy by more.
MARGIN = 0.002
NUM_IMAGES, NUM_VALIDATION = 6_000, 2_000
GRIDS: dict[str, dict[str, list[Any]]] = {
    "full": {
        "learning_rate": [0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6],
        "hidden_sizes": [(64,), (128,), (256,)],
        "momentum": [0.0, 0.9],
        "dropout": [0.0, 0.25, 0.5],
        "weight_decay": [0.0, 0.001],
    },
    "quick": {
        "learning_rate": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
        "hidden_sizes": [(16,), (64,)],
        "momentum": [0.0, 0.9],
        "dropout": [0.0, 0.5],
    },
}
BUDGETS = {"full": (10, 20, 40, 80), "quick": (10, 20)}
COMPARED_AT = 20  # trainings: where most of a grid has not been seen
NAMES = (
    "random",
    "halving",
    "hyperband",
    "tpe",
    "racing",
)
RIVALS = tuple(NAMES)[1:]
DRAWS, TOP = 60, Fraction(1, 20)
# Where whoever tunes one after the other begins: as the section has it, as far as the grid does.
SECTION = ("learning_rate=0.1", "hidden_sizes=256", "momentum=0", "dropout=0", "weight_decay=0")


def observe(lab: Lab) -> Observations:
    """Train the whole grid; let every strategy search it again and again."""
    dataset = lab.dataset("fashion-mnist", embedded="digits")
    size = "full" if dataset.name == "fashion-mnist" and lab.effort == "full" else "quick"
    base = turn(chapter.MLP_SETTING, initialization="kaiming_normal", epochs=27)
    if dataset.name == "digits":
        base = turn(base, batch_size=64)
    base = lab.setting(base)
    space = Space(base, **GRIDS[size])
    arms = grid(space)
    seeds = lab.seeds(quick=3, full=5)
    runs = lab.run(Study(arms, seeds, part_of(dataset)))
    board = Board(arms, runs, seeds)
    regrets = pd.DataFrame(
        [
            {"strategy": name, "budget": budget, "repeat": repeat, "regret": board.regret(winner)}
            for name in NAMES
            for budget in BUDGETS[size]
            for repeat in range(lab.choose(quick=12, full=100))
            for winner in [search(board, space, name, budget, repeat)]
        ]
    )
    kept = runs.frame[["arm", "seed", "status", "validation_accuracy", "test_accuracy"]].round(4)
    names = {arm.name: f"setting {number}" for number, arm in enumerate(arms)}
    described = [{"setting": names[arm.name], "name": arm.name, "regret": board.regret(arm)} for arm in arms]
    return lab.observations(
        runs=kept.assign(arm=kept["arm"].map(names)),
        settings=pd.DataFrame(described).round(5),
        regrets=regrets.round(5),
        problem=pd.DataFrame(
            [{"images": len(part_of(dataset).train.features), "epochs": base.training.epochs}]
        ),
    )


def part_of(dataset: Dataset) -> Dataset:
    """The first images of a large data set: a grid of all of them would take days."""
    if dataset.train.num_examples <= NUM_IMAGES:
        return dataset
    train, validation = (
        Part(held.features[:count], held.targets[:count])
        for held, count in ((dataset.train, NUM_IMAGES), (dataset.validation, NUM_VALIDATION))
    )
    return Dataset(
        name=f"{dataset.name} (first {NUM_IMAGES:,})",
        title=dataset.title,
        task=dataset.task,
        train=train,
        validation=validation,
        test=dataset.test,
        out_features=dataset.out_features,
        feature_shape=dataset.feature_shape,
        class_names=dataset.class_names,
        source=dataset.source,
    )


def grid(space: Space) -> list[Arm]:
    """Every setting of a space of levels."""
    lists = [dimension.levels for dimension in space.dimensions.values() if isinstance(dimension, Levels)]
    points = itertools.product(*lists)
    return [space.arm(dict(zip(space.dimensions, point, strict=True))) for point in points]


class Board:
    """The grid as a game: scores are looked up, not trained. What it hides is the accuracy on test images."""

    def __init__(self, arms: Sequence[Arm], runs: Results, seeds: Sequence[int]) -> None:
        epochs = arms[0].setting.training.epochs
        points = runs.curves.query("metric == 'validation_accuracy'").set_index(["arm", "seed", "epoch"])[
            "value"
        ]
        self.seeds = list(seeds)
        self._place = {arm.setting: index for index, arm in enumerate(arms)}
        # A run that diverged has no value from there on.
        self._scores = np.full((len(arms), len(self.seeds), epochs), -np.inf)
        order = {arm.name: index for index, arm in enumerate(arms)}
        for (name, seed, epoch), value in points.items():  # pyright: ignore[reportGeneralTypeIssues]
            self._scores[order[name], self.seeds.index(seed), epoch - 1] = value
        lost = (runs.frame["status"] != "finished").to_numpy().reshape(len(arms), len(self.seeds))
        self._scores[lost, -1] = -np.inf
        test = np.stack([runs.values("test_accuracy", arm.name) for arm in arms])
        # A setting that diverges on a seed is worth what guessing is worth there.
        self._truth = np.where(np.isfinite(test), test, 0.1).mean(1)

    def regret(self, arm: Arm) -> float:
        """How much mean test accuracy over the seeds a setting gives away."""
        return float(self._truth.max() - self._truth[self._place[arm.setting]])

    def is_top(self, arm: Arm, share: float) -> bool:
        """Whether a setting belongs to this share of the best ones."""
        better = int((self._truth > self._truth[self._place[arm.setting]]).sum())
        return better < share * len(self._truth)

    def evaluate(self, repeat: int) -> Any:
        """Looks scores up; each repeat takes the seeds in an order of its own."""
        order = Stream(repeat, "search", layer=1).permutation(len(self.seeds))

        def scores(arms: Sequence[Arm], epochs: int, seeds: Sequence[int]) -> np.ndarray:
            places = [self._place[arm.setting] for arm in arms]
            columns = [order[(seed - repeat) % len(order)] for seed in seeds]
            return self._scores[np.ix_(places, columns, [epochs - 1])][:, :, 0]

        return scores


def search(board: Board, space: Space, name: str, budget: int, repeat: int) -> Arm:
    """The setting that a strategy chooses. Repeats differ in what is drawn, strategies of one repeat draw alike."""
    epochs = space.base.training.epochs
    bench = Bench(
        space, board.evaluate(repeat), epochs=epochs, budget=budget * epochs, num_seeds=len(board.seeds)
    )
    STRATEGIES[name](bench, repeat)
    return bench.winner


def least_draws(top: Fraction, sureness: Fraction) -> int:
    """The least number of random draws of which one is among the best, with at least this probability."""
    draws = 1
    while 1 - (1 - top) ** draws < sureness:
        draws += 1
    return draws


def reaches_the_top(draws: int) -> Finding:
    """Is one of so many draws among the best twentieth with a probability of at least 19/20? In exact fractions."""
    probability = 1 - (1 - TOP) ** draws
    least = least_draws(TOP, 1 - TOP)
    return Finding.true_if(probability >= 1 - TOP, probability=float(probability), least=float(least))


def regret_of(observations: Observations, strategy: str, budget: int) -> np.ndarray:
    """By repeat."""
    table = observations["regrets"]
    chosen = table[(table["strategy"] == strategy) & (table["budget"] == budget)]
    return chosen.sort_values("repeat")["regret"].to_numpy(dtype=float)


def gains(observations: Observations) -> dict[str, np.ndarray]:
    """Minus the regret of each strategy at the budget of the comparison, by repeat: higher is better."""
    return {name: -regret_of(observations, name, COMPARED_AT) for name in NAMES}


def one_at_a_time(observations: Observations) -> np.ndarray:
    """Random search's regret minus that of tuning one hyperparameter after the other from SECTION, by repeat.

    As in the other searches a trial is looked at by its validation accuracy alone. Which seed it gets and the order of
    the hyperparameters are drawn; they cost fewer trainings than random search has.
    """
    rows = observations.rows("settings")
    places = {tuple(row["name"].split()): row["setting"] for row in rows}
    regret = {row["setting"]: row["regret"] for row in rows}
    levels = [list(dict.fromkeys(column)) for column in zip(*places, strict=True)]
    wide = observations["runs"].pivot(index="arm", columns="seed", values="validation_accuracy")
    scores = dict(zip(wide.index, scored(wide.to_numpy()), strict=True))
    regrets = []
    for repeat in range(observations["regrets"]["repeat"].nunique()):
        stream = Stream(repeat, "order")

        def score(setting: tuple[str, ...], stream: Stream = stream) -> float:
            seen = scores[places[setting]]
            return float(seen[stream.permutation(len(seen))[0]])

        best = tuple(next((one for one in held if one in SECTION), held[-1]) for held in levels)
        reached = score(best)
        for place in stream.permutation(len(levels)):
            begun = best
            for level in levels[place]:
                trial = (*begun[:place], level, *begun[place + 1 :])
                if trial != begun and (found := score(trial)) > reached:
                    best, reached = trial, found
        regrets.append(regret[places[best]])
    return regret_of(observations, "random", COMPARED_AT) - np.array(regrets)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Exactly: how likely one of DRAWS random draws is among the best."""
    chance = float(1 - (1 - TOP) ** DRAWS)
    return {"chance": (chance, chance)}


def in_another_world(observations: Observations, rival: str) -> dict[str, np.ndarray]:
    """The same spread, in a world where the rival gives away a point more than random search."""
    values = gains(observations)
    differences = values[rival] - values["random"]
    return values | {rival: values["random"] + differences - differences.mean() - 0.01}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Mean regret by strategy and budget."""
    budgets = sorted(int(budget) for budget in observations["regrets"]["budget"].unique())
    rows = []
    for name, label in words.group("names").items():
        means = [mean_interval(regret_of(observations, name, budget)) for budget in budgets]
        cells = [show.stacked(show.percent_interval(mean)) for mean in means]
        rows.append([label, *cells])
    title = words["titles.regret-in-points-test-accuracy"]
    heads = [words["heads.strategy"], *map(str, budgets)]
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Sizes of the problem; regrets at the budget of the comparison; which strategies were told from random search."""
    found = compare_arms(gains(observations), "random", claim="greater", margin=MARGIN)
    by_verdict = {
        verdict: [name for name in RIVALS if found[name].verdict == verdict]
        for verdict in ("holds", "fails", "undecided")
    }
    regrets = {name: mean_interval(regret_of(observations, name, COMPARED_AT)) for name in NAMES}
    settings, problem = observations["settings"], observations.rows("problem")[0]
    lost = observations["runs"]["status"] != "finished"
    order = sorted(NAMES, key=lambda name: regrets[name].estimate)
    return {
        "num_settings": len(settings),
        "num_repeats": observations["regrets"]["repeat"].nunique(),
        "compared_at": COMPARED_AT,
        "images": problem["images"],
        "epochs": problem["epochs"],
        "best_setting": settings["name"].iloc[int(settings["regret"].argmin())],
        "median_regret": float(settings["regret"].median()),
        "share_diverged": proportion_interval(int(lost.sum()), len(lost)),
        "regrets": regrets,
        "winners": by_verdict["holds"],
        "not_better": by_verdict["fails"],
        "open": by_verdict["undecided"],
        "best": order[0],
        "best_regret": regrets[order[0]],
        "draws": DRAWS,
        "top": float(TOP),
        "num_rungs": highest_bracket(problem["epochs"]) + 1,
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Regret against the budget."""
    rows = []
    for name, label in words.group("names").items():
        for budget in sorted(int(b) for b in observations["regrets"]["budget"].unique()):
            found = mean_interval(100 * regret_of(observations, name, budget)).to_dict()
            rows.append({"group": label, "level": str(budget)} | found)
    return plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.budget-whole-trainings"],
        value_title=words["titles.regret-points-test-accuracy"],
        title=words["titles.what-chosen-setting-gives-away"],
        notes=words.notes,
    )


def _claim(rival: str, name: str) -> Claim:
    return Claim(
        name=name,
        kind="experiment",
        figures={"compared_at": COMPARED_AT},
        check=beats(rival, "random", margin=MARGIN),
        subject=gains,
        falsehood=lambda o: in_another_world(o, rival),
        unit="points",
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="sixty-draws-reach-the-top",
            kind="proof",
            figures={"draws": DRAWS},
            check=reaches_the_top,
            subject=lambda o: DRAWS,
            falsehood=lambda o: least_draws(TOP, 1 - TOP) - 1,
        ),
        _claim("halving", "halving-beats-random"),
        _claim("hyperband", "hyperband-beats-random"),
        _claim("tpe", "bayesian-optimisation-beats-random"),
        _claim("racing", "racing-beats-random"),
        Claim(
            name="one-at-a-time-beats-random",
            kind="experiment",
            figures={"compared_at": COMPARED_AT},
            check=greater(margin=MARGIN),
            subject=one_at_a_time,
            falsehood=lambda o: recentred(one_at_a_time(o), -0.01),
            unit="points",
            post_hoc=True,
        ),
    ),
    circulated=(
        Circulated("heuristic-search", "incomplete"),
        Circulated(
            "one-after-the-other",
            {"holds": "right", "fails": "incomplete", "undecided": "unsupported"},
            by="one-at-a-time-beats-random",
            source="datawhale",
        ),
        Circulated(
            "bayesian-optimisation-is-efficient",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="bayesian-optimisation-beats-random",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set label_smoothing=0.1",
)
