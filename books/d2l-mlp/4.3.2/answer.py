"""4.3.2 Which activation function works best?

Each activation gets the learning rate that suits it: few seeds choose it on validation data, fresh seeds are judged on
test data. Compared at one rate, activations are compared by how well that rate happens to fit their slopes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from mlplab import stats
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, less
from mlplab.charts import plots, show
from mlplab.engine.activations import activation_function
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Activation
from mlplab.stats import Comparison, Verdict, mean_interval, paired
from mlplab.study import Arm, Study, factorial

from .. import chapter, choice
from ..choice import scored

if TYPE_CHECKING:
    import altair

ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid")
QUICK = ("relu", "gelu", "tanh", "sigmoid")
# Kin of ReLU: through 0, the identity far on the right, bounded or nearly so on the left.
RELU_FAMILY = ("relu", "leaky_relu", "elu", "gelu", "silu")
# Smooth, and further from ReLU than GELU or SiLU.
FURTHER_OFF = ("tanh", "softplus", "elu")
RATES = (0.03, 0.1, 0.3, 1.0)
CHAPTER_RATE = 0.1
MARGIN = 0.005
# What the notes promise, "will not disappoint", as a number: less than a point behind the best.
DISAPPOINTING = 0.01
METRIC = "test_accuracy"


def observe(lab: Lab) -> Observations:
    """Choose a rate for each activation, then train each at its rate on fresh seeds."""
    activations = lab.choose(quick=QUICK, full=ACTIVATIONS)
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    # Glorot's start favours none of them: it is the one between He's, for ReLU, and what tanh wants.
    start = turn(chapter.MLP_SETTING, initialization="xavier_uniform")
    base = lab.setting(chapter.scaled(start, dataset))
    grid = factorial(base, activation=activations, learning_rate=RATES)
    tried = lab.run(Study(grid, choice.choosing_seeds(lab, quick=1, full=3), dataset)).frame
    rates = {
        name: float(rate) for name, rate in choice.best(tried, "learning_rate", within="activation").items()
    }
    arms, roles = [], []
    for name in activations:
        (arm,) = factorial(base, activation=[name], learning_rate=[rates[name]])
        arms.append(Arm(name, arm.setting, arm.levels))
        roles.append({"arm": name, "rate": rates[name], "is_kin": name in RELU_FAMILY})
    runs = lab.run(Study(arms, lab.seeds(quick=5, full=20), dataset))
    kept = tried[["activation", "learning_rate", "seed", "status", "validation_accuracy"]]
    return lab.observations(runs=runs.frame, arms=pd.DataFrame(roles), choosing=kept)


def accuracies(observations: Observations) -> dict[str, np.ndarray]:
    """Activation -> test accuracy at its rate, by seed."""
    return {arm: scored(observations.runs.values(METRIC, arm)) for arm in observations["arms"]["arm"]}


def chosen(observations: Observations) -> str:
    """The activation that validation data prefer, each at its best rate."""
    table = choice.means(observations["choosing"], ["activation", "learning_rate"])
    return str(table["activation"].iloc[int(table["score"].argmax())])


def rival(observations: Observations) -> str:
    """The activation other than ReLU that validation data prefer."""
    table = choice.means(observations["choosing"], ["activation", "learning_rate"])
    others = table[table["activation"] != "relu"]
    return str(others["activation"].iloc[int(others["score"].argmax())])


def against_relu(observations: Observations) -> dict[str, np.ndarray]:
    """Activation -> its accuracy minus ReLU's, for each seed."""
    values = accuracies(observations)
    return {name: scores - values["relu"] for name, scores in values.items() if name != "relu"}


def rival_effect(observations: Observations) -> np.ndarray:
    """The rival minus ReLU, for each seed."""
    return against_relu(observations)[rival(observations)]


def sigmoid_effect(observations: Observations) -> np.ndarray:
    """Sigmoid minus ReLU, each at its own rate, for each seed."""
    return against_relu(observations)["sigmoid"]


def rate_effect(observations: Observations) -> float:
    """What sigmoid gains on validation data from its own rate in place of the section's: the choosing seeds' mean."""
    table = choice.means(observations["choosing"], ["activation", "learning_rate"])
    scores = {
        (row["activation"], float(row["learning_rate"])): row["score"] for row in table.to_dict("records")
    }
    return max(scores["sigmoid", rate] for rate in RATES) - scores["sigmoid", CHAPTER_RATE]


def compared(differences: dict[str, np.ndarray]) -> dict[str, Comparison]:
    """Each activation against ReLU, with Holm over them; a difference within the margin does not matter."""
    zeros = np.zeros_like(next(iter(differences.values())))
    return stats.compare_arms({"relu": zeros, **differences}, "relu", claim="greater", margin=MARGIN)


def some_beats_relu(differences: dict[str, np.ndarray]) -> Finding:
    """Is any activation better than ReLU, with Holm over all? Fails where each is shown not to be by the margin."""
    found = compared(differences)
    verdicts = {comparison.verdict for comparison in found.values()}
    verdict: Verdict = "holds" if "holds" in verdicts else "fails" if verdicts == {"fails"} else "undecided"
    best = max(found.values(), key=lambda comparison: comparison.estimate)
    winners = [name for name, comparison in found.items() if comparison.verdict == "holds"]
    numbers = {"num_better": len(winners), "num_arms": len(found), "margin": MARGIN}
    return Finding(verdict, best, numbers, ", ".join(winners))


def are_behind(differences: dict[str, np.ndarray]) -> Finding:
    """Are those that are further off than ReLU's close kin all behind it, with Holm over all activations?"""
    found = stats.compare_arms(
        {"relu": np.zeros_like(next(iter(differences.values()))), **differences},
        "relu",
        claim="less",
        margin=MARGIN,
    )
    off = {name: found[name] for name in FURTHER_OFF if name in found}
    verdicts = [comparison.verdict for comparison in off.values()]
    verdict: Verdict = "fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds"
    nearest = max(off, key=lambda name: off[name].estimate)
    numbers = {
        "least": -max(c.estimate for c in off.values()),
        "most": -min(c.estimate for c in off.values()),
    }
    return Finding(verdict, off[nearest], numbers | {"num_behind": len(off)}, nearest)


def family_effects(observations: Observations) -> dict[str, np.ndarray]:
    """Member of the ReLU family -> its accuracy minus that of the activation that validation data prefer."""
    values, best = accuracies(observations), chosen(observations)
    return {
        name: scores - values[best] for name, scores in values.items() if name in RELU_FAMILY and name != best
    }


def none_disappoints(differences: dict[str, np.ndarray]) -> Finding:
    """Is every member less than a point behind? All must pass, so each is tested at the full level."""
    found = {
        name: paired(values, claim="greater", threshold=-DISAPPOINTING)
        for name, values in differences.items()
    }
    verdicts = [comparison.verdict for comparison in found.values()]
    verdict: Verdict = "fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds"
    lows = {name: -math.inf if c.ci_low is None else c.ci_low for name, c in found.items()}
    worst = min(lows, key=lambda name: lows[name])
    return Finding(verdict, found[worst], {"bound": DISAPPOINTING, "num_members": len(found)}, worst)


def has_steepest_slope(candidate: tuple[Callable[[Tensor], Tensor], float]) -> Finding:
    """Is this the steepest slope of the function, to four digits, on a fine grid from -20 to 20?"""
    function, said = candidate
    x = torch.linspace(-20, 20, 400_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(function(x).sum(), x)
    found = slopes.abs().max().item()
    return Finding.true_if(abs(found - said) < 1e-4, found=found)


def positive_scaling(function: Callable[[Tensor], Tensor]) -> Finding:
    """On random inputs and factors c > 0: is φ(c x) = c φ(x)?"""
    stream = Stream(0, "data")
    x = torch.from_numpy(stream.normal((1000, 1)))
    factor = torch.from_numpy(np.exp(stream.normal((1, 20))))
    worst = (function(factor * x) - factor * function(x)).abs().max().item()
    return Finding.true_if(worst < 1e-12, worst_error=worst, tries=x.numel() * factor.numel())


def tables(observations: Observations, words: WordList) -> list[Table]:
    """A row for each activation: its rate, its accuracy, and its difference from ReLU."""
    differences = compared(against_relu(observations))
    rates = {row["arm"]: row["rate"] for row in observations.rows("arms")}
    rows = []
    for name, values in sorted(accuracies(observations).items(), key=lambda item: -item[1].mean()):
        difference, p = "", ""
        if name in differences:
            difference = show.stacked(show.points_interval(differences[name]))
            p = show.number(differences[name].p_holm)
        rows.append(
            [
                name,
                show.number(rates[name]),
                show.stacked(show.percent_interval(mean_interval(values))),
                difference,
                p,
            ]
        )
    title = words["titles.fresh-seeds-test-accuracy-in"]
    heads = (
        words["heads.activation"],
        words["heads.rate"],
        words["heads.test"],
        words["heads.minus-relu"],
        words["heads.p-holm"],
    )
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Who was chosen, at which rates, and how far apart all are."""
    rates = {row["arm"]: row["rate"] for row in observations.rows("arms")}
    means = {name: values.mean() for name, values in accuracies(observations).items()}
    kin = [mean for name, mean in means.items() if name in RELU_FAMILY]
    return {
        "num_activations": len(means),
        "num_rates": len(RATES),
        "num_choosing": int(observations["choosing"]["seed"].nunique()),
        "chosen": chosen(observations),
        "rival": rival(observations),
        "at_edge": [name for name, rate in rates.items() if choice.is_at_edge(rate, RATES)],
        "relu_rate": rates["relu"],
        "sigmoid_rate": rates["sigmoid"],
        "chapter_rate": CHAPTER_RATE,
        "sigmoid_gain": rate_effect(observations),
        "relu_test": mean_interval(accuracies(observations)["relu"]),
        "spread": max(means.values()) - min(means.values()),
        "kin_spread": max(kin) - min(kin),
        "epochs": observations.settings[0]["epochs"],
        "initialization": observations.settings[0]["initialization"],
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Validation accuracy by rate, beside the paired differences from ReLU on fresh seeds."""
    table = choice.means(observations["choosing"], ["activation", "learning_rate"])
    summary = table.rename(columns={"score": "estimate", "num_seeds": "num_replicates"}).assign(
        num_diverged=0
    )
    left = plots.grid_plot(
        summary,
        x="learning_rate",
        y="activation",
        x_title=words["titles.learning-rate"],
        y_title=words["titles.activation"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.choosing-rate"],
        value_format=".1%",
        notes=words.notes,
    )
    right = plots.difference_plot(
        compared(against_relu(observations)),
        value_title=words["titles.test-accuracy-minus-relus"],
        title=words["titles.each-at-its-rate-against"],
        value_format=".1%",
        notes=words.notes,
        width=280,
    )
    return (left | right).resolve_scale(color="independent")


def _spread(observations: Observations, mean: float) -> dict[str, np.ndarray]:
    return {name: recentred(values, mean) for name, values in against_relu(observations).items()}


def _all(findings: list[Finding]) -> Finding:
    numbers = {
        f"{name}_{place}": value
        for place, found in enumerate(findings)
        for name, value in found.numbers.items()
    }
    return Finding("holds" if all(found.verdict == "holds" for found in findings) else "fails", None, numbers)


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="another-beats-relu",
            kind="experiment",
            check=some_beats_relu,
            subject=against_relu,
            falsehood=lambda o: _spread(o, -0.05),
            unit="points",
        ),
        Claim(
            name="those-further-off-are-behind",
            kind="experiment",
            check=are_behind,
            subject=against_relu,
            falsehood=lambda o: _spread(o, 0.02),
            unit="points",
            post_hoc=True,
        ),
        Claim(
            name="the-chosen-rival-beats-relu",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=rival_effect,
            falsehood=lambda o: recentred(rival_effect(o), -0.05),
            unit="points",
        ),
        Claim(
            name="the-family-is-safe",
            kind="experiment",
            check=none_disappoints,
            subject=family_effects,
            falsehood=lambda o: {
                name: recentred(values, -0.05) for name, values in family_effects(o).items()
            },
            unit="points",
        ),
        Claim(
            name="sigmoid-is-worse",
            kind="experiment",
            check=less(margin=MARGIN),
            subject=sigmoid_effect,
            falsehood=lambda o: recentred(sigmoid_effect(o), 0.05),
            unit="points",
        ),
        Claim(
            name="sigmoid-is-four-times-flatter",
            kind="property",
            check=lambda pairs: _all([has_steepest_slope(pair) for pair in pairs]),
            subject=lambda o: ((torch.sigmoid, 0.25), (torch.tanh, 1.0)),
            falsehood=lambda o: ((torch.sigmoid, 0.25), (functional.gelu, 1.0)),  # GELU overshoots 1
        ),
        Claim(
            name="relu-has-no-scale",
            kind="property",
            check=lambda names: _all(
                [positive_scaling(activation_function(Activation(name))) for name in names]
            ),
            subject=lambda o: ("relu", "leaky_relu"),
            falsehood=lambda o: ("relu", "elu"),
        ),
    ),
    circulated=(
        Circulated(
            "if-you-do-not-know",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="the-family-is-safe",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=64,64,64",
)
