"""4.3.2 Which activation function works best?

Twice: in the section's setting with nothing changed but the activation, and with the learning rate that suits each,
which few seeds choose on validation images. Compared at one rate, activations are compared by how well that rate
happens to fit their slopes. All are read where the rate has fallen to 0: after the last step of a constant rate, luck
is a point or two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab import stats
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, less
from mlplab.charts import plots, show
from mlplab.engine.activations import activation_function
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Activation
from mlplab.stats import Comparison, mean_interval, paired, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice
from ..choice import LOST

if TYPE_CHECKING:
    import altair

# What is tried, and what it is called.
NAMES = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "softplus": "softplus",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
QUICK = ("relu", "gelu", "tanh", "sigmoid")
# Kin of ReLU: through 0, the identity far on the right, nearly 0 on the left.
CLOSE_KIN = ("leaky_relu", "gelu", "silu")
RELU_FAMILY = ("relu", *CLOSE_KIN)
# Further from ReLU; ELU, which some count among the family, falls to -1 on the left.
FURTHER_OFF = ("tanh", "softplus", "elu")
# Where the search for a rate begins; it goes on until the best has worse ones on both sides.
FIRST_RATE = 0.5
# Differences of less than half a point do not matter here.
MARGIN = 0.005
# What the notes promise, "will not disappoint", as a number: less than a point behind the best.
DISAPPOINTING = 0.01
METRIC = "test_accuracy"
# Each at its own rate; in the section's setting; the same, read at the section's constant rate; from first weights that
# are a millionth larger.
OWN, SECTION, CONSTANT, NUDGED = "own", "section", "constant", "nudged"


def observe(lab: Lab) -> Observations:
    """Choose a rate for each activation; train each at it, and each at the section's, on fresh seeds."""
    activations = lab.choose(quick=QUICK, full=tuple(NAMES))
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    section = lab.setting(chapter.scaled(chapter.MLP_SETTING, dataset))
    quiet = {name: turn(chapter.read_at_the_end(section), activation=name) for name in activations}
    rates, tried = choice.best_rates(lab, quiet, dataset, "activation", FIRST_RATE)
    own = [Arm(f"{OWN} {name}", turn(quiet[name], learning_rate=rate)) for name, rate in rates.items()]
    # What the rate makes of a ranking, a few can show.
    shown = lab.choose(quick=("relu", "sigmoid"), full=QUICK)
    given = [Arm(f"{SECTION} {name}", quiet[name]) for name in shown]
    seeds = lab.seeds(quick=3, full=6)
    some, few = (seeds[: lab.choose(quick=quick, full=full)] for quick, full in ((2, 3), (1, 3)))
    judged = lab.run(Study(own, seeds, dataset))
    # ReLU at both rates as exercise 4.2.3 publishes it: evaluated after each epoch.
    relu = turn(chapter.read_quietly(section), activation="relu", learning_rate=rates["relu"])
    constant = turn(section, activation="relu", drop_last=True)
    frames = [judged.frame[judged.frame["arm"] != f"{OWN} relu"]]
    frames.append(
        lab.run(Study([Arm(f"{OWN} relu", relu), Arm(f"{CONSTANT} relu", constant)], seeds, dataset)).frame
    )
    frames.append(lab.run(Study(given, some, dataset)).frame)
    if (nudged := chapter.nudged(own[0].setting)) is not None:
        frames.append(lab.run(Study([Arm(f"{NUDGED} relu", nudged)], few, dataset)).frame)
    contrasts = {name: (f"{OWN} {name}", f"{OWN} relu") for name in activations if name != "relu"}
    columns = ["arm", "seed", "digest", "status", "train_loss", "test_loss", METRIC, "seconds"]
    return lab.observations(
        runs=pd.concat(frames)[columns],
        rates=pd.DataFrame([{"activation": name, "rate": rate} for name, rate in rates.items()]),
        tried=tried,
        new_images=choice.on_new_images(judged, contrasts),
    )


def rates(observations: Observations) -> dict[str, float]:
    """Activation -> the rate that validation images chose."""
    return {row["activation"]: float(row["rate"]) for row in observations.rows("rates")}


def values(observations: Observations, name: str, regime: str = OWN, metric: str = METRIC) -> np.ndarray:
    """A metric of an activation, by seed."""
    return choice.values(observations, f"{regime} {name}", metric)


def losses_tried(observations: Observations) -> dict[str, dict[float, float]]:
    """Activation -> rate -> mean loss on validation images."""
    return choice.losses_by_rate(observations["tried"], "activation")


def chosen(observations: Observations, *, among: Collection[str]) -> str:
    """Of some activations the one that leaves the lowest loss on validation images, each at its best rate."""
    lowest = {name: min(found.values()) for name, found in losses_tried(observations).items()}
    return min((name for name in lowest if name in among), key=lambda name: lowest[name])


def against_relu(observations: Observations, metric: str = METRIC) -> dict[str, np.ndarray]:
    """Activation -> its accuracy minus ReLU's, each at its own rate, for each seed."""
    relu = values(observations, "relu", metric=metric)
    return {
        name: values(observations, name, metric=metric) - relu
        for name in rates(observations)
        if name != "relu"
    }


def rival_effect(observations: Observations) -> np.ndarray:
    """The activation other than ReLU that validation images prefer minus ReLU, for each seed."""
    others = against_relu(observations)
    return others[chosen(observations, among=others)]


def sigmoid_effect(observations: Observations) -> np.ndarray:
    """Sigmoid minus ReLU, each at its own rate, for each seed."""
    return against_relu(observations)["sigmoid"]


def sigmoid_lag(observations: Observations) -> np.ndarray:
    """Sigmoid minus ReLU in the section's setting, both at its rate, for each seed."""
    return values(observations, "sigmoid", SECTION) - values(observations, "relu", SECTION)


def misjudged(observations: Observations) -> np.ndarray:
    """By how much of sigmoid's lag at the section's rate its own rate makes up, for each seed that both saw."""
    lag = sigmoid_lag(observations)
    return sigmoid_effect(observations)[: len(lag)] - lag


def compared(
    differences: Mapping[str, np.ndarray], claim: stats.ClaimKind = "greater"
) -> dict[str, Comparison]:
    """Each activation against ReLU, with Holm over them; a difference within the margin does not matter."""
    zeros = np.zeros_like(next(iter(differences.values())))
    return stats.compare_arms({"relu": zeros, **differences}, "relu", claim=claim, margin=MARGIN)


def some_beats_relu(differences: Mapping[str, np.ndarray]) -> Finding:
    """Is any activation better than ReLU, with Holm over all? Fails where each is shown not to be by the margin."""
    found = compared(differences)
    winners = [name for name, comparison in found.items() if comparison.verdict == "holds"]
    is_settled = all(comparison.verdict == "fails" for comparison in found.values())
    best = max(winners or found, key=lambda name: found[name].estimate)
    numbers = {"num_better": len(winners), "num_arms": len(found), "margin": MARGIN}
    verdict: stats.Verdict = "holds" if winners else "fails" if is_settled else "undecided"
    return Finding(verdict, found[best], numbers, ", ".join(winners))


def are_behind(differences: Mapping[str, np.ndarray]) -> Finding:
    """Are those that are further off than ReLU's close kin all behind it, with Holm over all activations?"""
    found = compared(differences, "less")
    off = {name: found[name] for name in FURTHER_OFF if name in found}
    sizes = [-comparison.estimate for comparison in off.values()]
    verdict, comparison, name = _weakest(off)
    return Finding(
        verdict, comparison, {"least": min(sizes), "most": max(sizes), "num_behind": len(off)}, name
    )


def are_level(differences: Mapping[str, np.ndarray]) -> Finding:
    """Are ReLU's close kin all within the margin of it? All must pass, so each is tested at the full level."""
    found = {
        name: paired(differences[name], claim="equivalent", margin=MARGIN)
        for name in CLOSE_KIN
        if name in differences
    }
    verdict, comparison, name = _weakest(found)
    return Finding(verdict, comparison, {"margin": MARGIN, "num_kin": len(found)}, name)


def family_effects(observations: Observations) -> dict[str, np.ndarray]:
    """Member of the ReLU family -> its accuracy minus that of the one that validation images prefer."""
    best = chosen(observations, among=RELU_FAMILY)
    return {
        name: values(observations, name) - values(observations, best)
        for name in rates(observations)
        if name in RELU_FAMILY and name != best
    }


def none_disappoints(differences: Mapping[str, np.ndarray]) -> Finding:
    """Is every member less than a point behind? All must pass, so each is tested at the full level."""
    found = {
        name: paired(values, claim="greater", threshold=-DISAPPOINTING)
        for name, values in differences.items()
    }
    verdict, comparison, name = _weakest(found)
    return Finding(verdict, comparison, {"bound": DISAPPOINTING, "num_members": len(found)}, name)


def _weakest(found: Mapping[str, Comparison]) -> tuple[stats.Verdict, Comparison, str]:
    """Of claims that must all hold: the verdict on all, and the one that is furthest from holding."""
    order = ("fails", "undecided", "holds")

    def strength(name: str) -> tuple[int, float]:
        one = found[name]
        p = one.equivalence.p if one.claim == "equivalent" and one.equivalence else one.p
        return order.index(one.verdict), -p if one.verdict == "holds" else p

    name = min(found, key=strength)
    return found[name].verdict, found[name], name


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


def ignores_its_activation(uses_it: bool) -> Finding:
    """A network that is given an activation: does it compute the same with each?"""

    class Net(nn.Module):
        def __init__(self, activation: nn.Module) -> None:
            super().__init__()
            middle = activation if uses_it else nn.ReLU()
            self.net = nn.Sequential(nn.Linear(4, 3), middle, nn.Linear(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    nets = [Net(activation) for activation in (nn.ReLU(), nn.Sigmoid(), nn.Tanh())]
    for net in nets:
        for parameter in net.parameters():
            nn.init.constant_(parameter, 0.1)
    x = torch.linspace(-2, 2, 20).reshape(5, 4)
    return Finding.true_if(all(torch.equal(net(x), nets[0](x)) for net in nets))


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Test accuracy of single runs: three activations at the section's rate, and each at its own."""
    reached = {name: values(observations, name) for name in ("relu", "tanh", "sigmoid")}
    reached |= {f"{name}_given": values(observations, name, SECTION) for name in tuple(reached)}
    return {name: prediction_interval(found) for name, found in reached.items()}


def moved(observations: Observations) -> float | None:
    """By how much a millionth of the first weights moves ReLU's accuracy, at most; None where none was nudged."""
    if f"{NUDGED} relu" not in observations.runs.arms:
        return None
    return choice.most_moved(values(observations, "relu", NUDGED), values(observations, "relu"))


def tables(observations: Observations, words: WordList) -> list[Table]:
    """A row for each activation: in the section's setting, and at its own rate with its difference from ReLU."""
    differences = compared(against_relu(observations))
    losses = against_relu(observations, "test_loss")
    own, rows = rates(observations), []
    for name in sorted(own, key=lambda name: -values(observations, name).mean()):
        accuracies = [
            show.stacked(show.percent_interval(mean_interval(values(observations, name, regime))))
            if f"{regime} {name}" in observations.runs.arms
            else ""
            for regime in (SECTION, OWN)
        ]
        versus = ["", ""]
        if name in differences:
            versus = [
                show.stacked(show.points_interval(differences[name])),
                f"{losses[name].mean():+.3f}".replace("-", show.MINUS),
            ]
        rows.append([NAMES[name], accuracies[0], show.number(own[name]), accuracies[1], *versus])
    heads = ("activation", "at-the-sections-rate", "rate", "test", "minus-relu", "loss-minus-relu")
    return [Table(words["titles.judged"], [words[f"heads.{head}"] for head in heads], rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """At which rates, how far apart, how much of it is luck, and whether it holds for new images."""
    own = rates(observations)
    means = {name: float(values(observations, name).mean()) for name in own}
    lost = {name: int((values(observations, name) < LOST).sum()) for name in own}
    loss = {name: mean_interval(found) for name, found in against_relu(observations, "test_loss").items()}
    return {
        "num_activations": len(own),
        "num_choosing": int(observations["tried"]["seed"].nunique()),
        "num_tried": len(observations["tried"].drop_duplicates(["activation", "learning_rate"])),
        "num_section": len(sigmoid_lag(observations)),
        "chosen": NAMES[chosen(observations, among=RELU_FAMILY)],
        "rival": NAMES[chosen(observations, among=[name for name in own if name != "relu"])],
        "names": NAMES,
        "elu": mean_interval(against_relu(observations)["elu"]) if "elu" in own else None,
        "rates": own,
        "section_rate": chapter.MLP_SETTING.optimizer.learning_rate,
        "relu_test": mean_interval(values(observations, "relu")),
        "relu_section": mean_interval(values(observations, "relu", SECTION)),
        "relu_constant": mean_interval(values(observations, "relu", CONSTANT)),
        "sigmoid_section": mean_interval(values(observations, "sigmoid", SECTION)),
        "sigmoid_test": mean_interval(values(observations, "sigmoid")),
        "sigmoid_lag": mean_interval(sigmoid_lag(observations)),
        "spread": max(means.values()) - min(means.values()),
        "loss": loss,
        "lost": [
            {"name": NAMES[name], "num": num, "of": observations.num_seeds}
            for name, num in lost.items()
            if num
        ],
        "luck": {
            "constant": choice.deviation(values(observations, "relu", CONSTANT)),
            "falling": choice.deviation(values(observations, "relu")),
        },
        "moved": moved(observations),
        "new_images": choice.for_new_images(observations),
        "epochs": observations.settings[0]["epochs"],
        "margin": MARGIN,
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Validation accuracy by rate, beside the paired differences from ReLU on fresh seeds."""
    left = plots.grid_plot(
        choice.grid_of_rates(observations["tried"].replace({"activation": NAMES}), "activation"),
        x="rate",
        y="activation",
        x_title=words["titles.learning-rate"],
        y_title=words["titles.activation"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.choosing-rate"],
        value_format=".1%",
        notes=words.notes,
        cell=54,
    )
    right = plots.difference_plot(
        compared(against_relu(observations)),
        value_title=words["titles.test-accuracy-minus-relus"],
        title=words["titles.each-at-its-rate-against"],
        margin=MARGIN,
        labels=NAMES,
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
            name="close-kin-tie",
            kind="experiment",
            check=are_level,
            subject=against_relu,
            falsehood=lambda o: _spread(o, 2 * MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="those-further-off-are-behind",
            kind="experiment",
            check=are_behind,
            subject=against_relu,
            falsehood=lambda o: _spread(o, MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="sigmoid-is-worse",
            kind="experiment",
            check=less(margin=MARGIN),
            subject=sigmoid_effect,
            falsehood=lambda o: recentred(sigmoid_effect(o), MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="one-rate-misjudges-sigmoid",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=misjudged,
            falsehood=lambda o: recentred(misjudged(o), -2 * MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="another-beats-relu",
            kind="experiment",
            check=some_beats_relu,
            subject=against_relu,
            falsehood=lambda o: _spread(o, -2 * MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="the-chosen-rival-beats-relu",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=rival_effect,
            falsehood=lambda o: recentred(rival_effect(o), -MARGIN),
            unit="points",
            requires=INSIDE,
        ),
        Claim(
            name="the-family-is-safe",
            kind="experiment",
            check=none_disappoints,
            subject=family_effects,
            falsehood=lambda o: {
                name: recentred(found, -2 * DISAPPOINTING) for name, found in family_effects(o).items()
            },
            unit="points",
            requires=INSIDE,
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
        Claim(
            name="an-activation-that-is-not-used-changes-nothing",
            kind="calculation",
            check=ignores_its_activation,
            subject=lambda o: False,
            falsehood=lambda o: True,
        ),
    ),
    circulated=(
        Circulated(
            "if-you-do-not-know",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="the-family-is-safe",
        ),
        Circulated(
            "relu-is-best",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="another-beats-relu",
            source="datawhale",
        ),
        Circulated(
            "sigmoid-is-worst",
            {"holds": "half-right", "fails": "unsupported", "undecided": "unsupported"},
            by="one-rate-misjudges-sigmoid",
            source="datawhale",
        ),
        Circulated(
            "five-activations-are-compared",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="an-activation-that-is-not-used-changes-nothing",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set hidden_sizes=64,64,64",
)
