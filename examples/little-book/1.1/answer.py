"""1.1 How accurate is a network that has an input and an output layer, and nothing between them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlplab.answers import Answer, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.charts import plots, show
from mlplab.knobs import turn
from mlplab.spec import MLP, Setting
from mlplab.stats import mean_interval, paired
from mlplab.study import Study, factorial

if TYPE_CHECKING:
    import altair

# The network of the book's first chapter has 30 hidden units of the logistic function.
BASE = turn(Setting(MLP((30,))), activation="sigmoid", epochs=60, batch_size=32, learning_rate=0.3)
METRIC = "test_accuracy"
ENOUGH = 0.9
# Two of the 400 test images: less than this does not matter here.
MARGIN = 0.005


def observe(lab: Lab) -> Observations:
    """Train both networks on the same seeds: same order of the images, same first weights where both have them."""
    hidden = lab.take("hidden_sizes", BASE)
    arms = factorial(lab.setting(BASE), hidden_sizes=[(), hidden])
    dataset = lab.dataset("digits", embedded="digits")
    runs = lab.run(Study(arms, lab.seeds(quick=8, full=20), dataset))
    return lab.observations(runs=runs.frame)


def without(observations: Observations) -> np.ndarray:
    """Test accuracy of the network without a hidden layer, for each seed."""
    return observations.runs.values(METRIC, observations.runs.arms[0])


def gain(observations: Observations) -> np.ndarray:
    """Test accuracy with the hidden layer minus that without, for each seed."""
    bare, hidden = observations.runs.arms
    return observations.runs.differences(METRIC, hidden, bare)


def is_enough(accuracies: np.ndarray) -> Finding:
    """Is the mean above nine tenths?"""
    return Finding.of(paired(accuracies, claim="greater", threshold=ENOUGH), enough=ENOUGH)


def is_greater(differences: np.ndarray) -> Finding:
    """Is the mean difference above zero? It fails, too, where it is shown to be too small to matter."""
    return Finding.of(paired(differences, claim="greater", margin=MARGIN), margin=MARGIN)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Training and test accuracy of both."""
    rows = []
    for arm, name in _names(observations, words).items():
        held = [observations.runs.values(metric, arm) for metric in ("train_accuracy", METRIC)]
        accuracies = [show.stacked(show.percent_interval(mean_interval(values))) for values in held]
        rows.append([name, *accuracies, str(len(held[0]))])
    heads = [words[f"heads.{name}"] for name in ("network", "train", "test", "seeds")]
    return [Table(words["titles.accuracy"], heads, rows)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test accuracy of both, each with its interval."""
    return plots.interval_plot(
        observations.runs.summary(METRIC),
        value_title=words["labels.test-accuracy"],
        title=words["labels.test-accuracy"],
        labels=_names(observations, words),
        value_format=".1%",
        notes=words.notes,
    )


def facts(observations: Observations) -> dict[str, Any]:
    """What the sentences quote beside the claims."""
    bare, hidden = observations.runs.arms
    setting = observations.settings[0]
    return {
        "accuracy": mean_interval(without(observations)),
        "hidden_accuracy": mean_interval(observations.runs.values(METRIC, hidden)),
        "train_accuracy": mean_interval(observations.runs.values("train_accuracy", bare)),
        "hidden": _hidden(observations),
        "epochs": setting["epochs"],
        "learning_rate": setting["learning_rate"],
    }


def _names(observations: Observations, words: WordList) -> dict[str, str]:
    bare, hidden = observations.runs.arms
    named = words("labels.hidden", sizes=_hidden(observations))
    return {bare: words["labels.bare"], hidden: named}


def _hidden(observations: Observations) -> str:
    """The sizes of the hidden layers, as the arm's name has them."""
    return observations.runs.arms[1].partition("=")[2]


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="nine-tenths-without-a-hidden-layer",
            kind="experiment",
            check=is_enough,
            subject=without,
            # The spread that was seen, around an accuracy of 85%: the same check must say so.
            falsehood=lambda o: recentred(without(o), 0.85),
        ),
        Claim(
            name="a-hidden-layer-helps",
            kind="experiment",
            check=is_greater,
            subject=gain,
            falsehood=lambda o: recentred(gain(o), -0.05),
            unit="points",
        ),
    ),
    tables=tables,
    facts=facts,
    figure=figure,
    vary="--set hidden_sizes=100",
)
