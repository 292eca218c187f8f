"""4.6.5 Dropout and weight decay: each alone, both together. Do their gains add up, shrink, or cancel?

For a linear model dropout is a penalty, exactly. For the section's network it is a two by two experiment where there is
something to regularise: on few images, in test loss, at strengths that validation images chose.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, less
from mlplab.charts import plots, show
from mlplab.knobs import turn, value_of, written
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import Comparison, interaction_2x2, mean_interval, paired, prediction_interval
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

# Of the test loss: a seventh of what the better of the two gains. Smaller differences do not matter here.
MARGIN = 0.03
METRIC = "test_loss"
# Strengths that can be tried: the search goes on until its best has worse ones on all sides.
RATES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
DECAYS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ROLES = ("neither", "dropout", "decay", "both", "joint", "section")


def observe(lab: Lab) -> Observations:
    """Choose strengths on validation images, alone and together; train the chosen arms on fresh seeds."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = lab.setting(chapter.few_images_setting(dataset, epochs=lab.choose(quick=30, full=80)))
    problem = chapter.few_images(dataset)
    first = chapter.FIRST_TUNING_SEED
    seeds = range(first, first + lab.choose(quick=1, full=3))

    def losses(strengths: Sequence[tuple[float, ...]]) -> list[float]:
        arms = [Arm(f"{rate:g} {decay:g}", remedied(base, rate, decay)) for rate, decay in strengths]
        tuned = lab.run(Study(arms, seeds, problem))
        return [
            float(tuned.frame[tuned.frame["arm"] == arm.name]["validation_loss"].to_numpy().mean())
            for arm in arms
        ]

    every = lab.choose(quick=slice(1, None, 2), full=slice(None))
    rates, decays = RATES[every], DECAYS[every]
    middle = len(rates) // 2
    searches = {
        "dropout": choice.settled([rates, (0.0,)], (middle, 0), losses),
        "decay": choice.settled([(0.0,), decays], (0, middle), losses),
    }
    (rate, _), (_, decay) = (searches[name][0] for name in ("dropout", "decay"))
    searches["joint"] = choice.settled([rates, decays], (rates.index(rate), decays.index(decay)), losses)
    strengths = {
        "neither": (0.0, 0.0),
        "dropout": (rate, 0.0),
        "decay": (0.0, decay),
        "both": (rate, decay),
        "joint": searches["joint"][0],
    }
    # Two roles can have one setting: where tuning together changes nothing.
    arms = [Arm(role, remedied(base, *pair)) for role, pair in strengths.items()]
    arms = [arm for arm in arms if arm.name != "joint" or strengths["joint"] != strengths["both"]]
    given = value_of(chapter.DROPOUT_SETTING, "dropout")
    if len(given) == len(base.model.hidden_sizes):
        arms.append(Arm("section", turn(base, dropout=given)))
    runs = lab.run(Study(arms, lab.seeds(quick=4, full=40), problem))
    # A search passes over what another one has tried.
    tried = pd.DataFrame(
        [
            {"search": name, "dropout": rate, "weight_decay": decay, "validation_loss": loss}
            for name, (_, found) in searches.items()
            for (rate, decay), loss in found.items()
        ]
    )
    chosen = pd.DataFrame(
        [{"role": role, "dropout": rate, "weight_decay": decay} for role, (rate, decay) in strengths.items()]
    )
    sizes = pd.DataFrame([{part: held.num_examples for part, held in problem(0).parts.items()}])
    columns = [
        "arm",
        "seed",
        "digest",
        "status",
        "train_loss",
        "test_loss",
        "train_accuracy",
        "test_accuracy",
        "seconds",
    ]
    return lab.observations(runs=runs.frame[columns], chosen=chosen, tried=tried, sizes=sizes)


def remedied(base: Setting, rate: float, decay: float) -> Setting:
    """The network with dropout at one rate in every hidden layer, and weight decay; 0 is without."""
    return turn(base, dropout=(rate,), weight_decay=decay)


def values(observations: Observations, role: str, metric: str = METRIC) -> np.ndarray:
    """Test loss, or another metric, of the arm that plays a role, by seed."""
    arms = observations.runs.arms
    arm = "both" if role == "joint" and role not in arms else role
    return choice.values(observations, arm, metric)


def strengths(observations: Observations) -> dict[str, dict[str, float]]:
    """By role: its dropout rate and weight decay."""
    return {
        row["role"]: {"dropout": row["dropout"], "decay": row["weight_decay"]}
        for row in observations.rows("chosen")
    }


def better_single(observations: Observations) -> str:
    """Dropout or weight decay, whichever validation images prefer alone."""
    tried = observations["tried"]
    lowest = tried[tried["search"] != "joint"].groupby("search")["validation_loss"].min()
    return min(("dropout", "decay"), key=lambda role: float(lowest[role]))


def losses_without(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """With neither remedy: loss on new images, and that on the training images, by seed."""
    return values(observations, "neither"), values(observations, "neither", "train_loss")


def gain(observations: Observations, role: str) -> np.ndarray:
    """By how much test loss is lower than with neither, by seed."""
    return values(observations, "neither") - values(observations, role)


def over_single(observations: Observations, role: str) -> np.ndarray:
    """By how much test loss is lower than with the better single remedy, by seed."""
    return values(observations, better_single(observations)) - values(observations, role)


def interaction(observations: Observations) -> np.ndarray:
    """What dropout gains with weight decay minus what it gains without, by seed."""
    both, dropout, decay = (gain(observations, role) for role in ("both", "dropout", "decay"))
    return both - dropout - decay


# Of SymPy's matrices X (example, input) and w (input, 1), and the rate.
Penalty = Callable[[Any, Any, Any], Any]


def dropout_penalty(x: Any, w: Any, p: Any) -> Any:
    """p/(1 - p)·wᵀ diag(XᵀX) w."""
    gram = x.T * x
    return p / (1 - p) * sum(gram[j, j] * w[j] ** 2 for j in range(len(w)))


def whole_gram_penalty(x: Any, w: Any, p: Any) -> Any:
    """With all of XᵀX in place of its diagonal: as if one mask dropped all inputs together."""
    return p / (1 - p) * (w.T * x.T * x * w)[0]


def is_the_expected_loss(penalty: Penalty) -> Finding:
    """Sum over all masks of two examples with three inputs: is the mean squared error that without noise plus it?"""
    p = sympy.Symbol("p")
    x: Any = sympy.Matrix(2, 3, sympy.symbols("x:2:3"))
    w: Any
    y: Any
    w, y = sympy.Matrix(sympy.symbols("w:3")), sympy.Matrix(sympy.symbols("y:2"))
    expected = 0
    for row in range(2):  # masks of different examples are independent, and the loss is a sum over examples
        for mask in itertools.product((0, 1), repeat=3):
            share = sympy.prod([1 - p if m else p for m in mask])
            output = sum(m * x[row, j] * w[j] / (1 - p) for j, m in enumerate(mask))
            expected += share * (y[row] - output) ** 2
    plain = sum(e**2 for e in y - x * w)
    rest = sympy.simplify(expected - plain - penalty(x, w, p))
    return Finding.true_if(rest == 0, detail=f"expected loss minus formula = {rest}")


def scaled_ridge(x: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    """Weights of ridge regression on inputs scaled to length 1, with λ = p/(1 - p), scaled back."""
    length = np.sqrt(np.square(x).sum(0))
    u = x / length
    return np.linalg.solve(u.T @ u + rate / (1 - rate) * np.eye(x.shape[1]), u.T @ y) / length


def plain_ridge(x: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    """Weights of ridge regression on the inputs as they are, with the same mean penalty."""
    strength = rate / (1 - rate) * np.square(x).sum(0).mean()
    return np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)


def minimises_over_masks(solve: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> Finding:
    """Is it the least-squares solution over all masks, each with its probability? Ten random problems."""
    worst = 0.0
    for seed in range(10):
        stream, rate = Stream(seed, "data"), (seed + 1) / 12
        x = stream.normal((12, 5)) * (1 + np.arange(5)) + 1
        y = stream.normal(12)
        masks = np.array(list(itertools.product((0, 1), repeat=5)))
        shares = np.prod(np.where(masks == 1, 1 - rate, rate), axis=1)
        rows = (x[:, None] * masks / (1 - rate)).reshape(-1, 5)  # each example under each mask
        root = np.sqrt(np.tile(shares, 12))
        w = np.linalg.lstsq(root[:, None] * rows, root * np.repeat(y, len(masks)), rcond=None)[0]
        worst = max(worst, float(np.abs(w - solve(x, y, rate)).max() / np.abs(w).max()))
    # Least squares on 384 rows, in float64.
    return Finding.true_if(worst < 1e-9, worst_error=worst)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The arms that were compared."""
    pairs = strengths(observations)
    rows = []
    for role in ROLES:
        if role not in (*pairs, *observations.runs.arms):
            continue  # the section's rates are two, and the network may have another number of layers
        loss, accuracy = (
            mean_interval(values(observations, role, name)) for name in (METRIC, "test_accuracy")
        )
        of_role = (
            f"{pairs[role]['dropout']:g} / {pairs[role]['decay']:g}"
            if role in pairs
            else f"{written(value_of(chapter.DROPOUT_SETTING, 'dropout'))} / 0"
        )
        versus = "" if role == "neither" else show.number_interval(paired(gain(observations, role)))
        train = show.number(float(values(observations, role, "train_loss").mean()))
        cells = [show.number_interval(loss), versus, show.percent_interval(accuracy)]
        rows.append([words.group("roles")[role], of_role, train, *map(show.stacked, cells)])
    heads = (
        "",
        words["heads.dropout"],
        words["heads.training-loss"],
        words["heads.test-loss"],
        words["heads.gain"],
        words["heads.accuracy"],
    )
    return [Table(words["titles.losses"], heads, rows)]


def contrasts(observations: Observations) -> dict[str, Comparison]:
    """The gains and the interaction, each with its interval."""
    found = {role: paired(gain(observations, role), margin=MARGIN) for role in ROLES[1:5]}
    four = (-values(observations, role) for role in ("both", "dropout", "decay", "neither"))
    return found | {"interaction": interaction_2x2(*four, margin=MARGIN)}


def facts(observations: Observations) -> dict[str, Any]:
    """The strengths that were chosen, the gains, and the interaction."""
    pairs, found = strengths(observations), contrasts(observations)
    tried = observations["tried"]
    # Below the weakest strength lies none at all, which is an arm of its own.
    at_edge = [
        name
        for name, ladder in (("dropout", RATES), ("decay", DECAYS))
        if any(pairs[role][name] == ladder[-1] for role in (name, "joint"))
    ]
    sizes = observations.rows("sizes")[0]
    return {
        "strengths": pairs,
        "gains": {role: found[role] for role in ROLES[1:5]},
        "interaction": found["interaction"],
        "is_dropout_better": better_single(observations) == "dropout",
        "better_gain": found[better_single(observations)].estimate,
        "num_settings": len(tried.drop_duplicates(["dropout", "weight_decay"])),
        "at_edge": at_edge,
        "epochs": observations.settings[-1]["epochs"],
        "num_images": sizes["train"],
        "num_test": sizes["test"],
        "margin": MARGIN,
        "least_gap": choice.LEAST_GAP,
        "accuracy": {
            role: paired(
                values(observations, role, "test_accuracy") - values(observations, "neither", "test_accuracy")
            )
            for role in ROLES[1:5]
        },
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The test losses after one run of each arm."""
    roles = {"neither": "neither", "dropout": "dropout", "decay": "decay", "both": "joint"}
    return {name: prediction_interval(values(observations, role)) for name, role in roles.items()}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """What each remedy gains alone and with the other, and the interaction."""
    labels = dict(words.group("roles").items())
    labels["interaction"] = words["labels.interaction"]
    return plots.difference_plot(
        contrasts(observations),
        value_title=words["titles.fall-in-test-loss"],
        title=words["titles.against-neither-and-interaction"],
        labels=labels,
        value_format=".2f",
        notes=words.notes,
        width=320,
    )


# In a world where a remedy gains nothing: the spread that was seen, about 0.
ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="dropout-is-a-penalty-in-the-linear-case",
            kind="proof",
            check=is_the_expected_loss,
            subject=lambda o: dropout_penalty,
            falsehood=lambda o: whole_gram_penalty,
        ),
        Claim(
            name="it-is-ridge-on-scaled-inputs",
            kind="property",
            check=minimises_over_masks,
            subject=lambda o: scaled_ridge,
            falsehood=lambda o: plain_ridge,
        ),
        choice.overfitting("overfits-with-neither", losses_without),
        Claim(
            name="dropout-alone-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "dropout"),
            falsehood=lambda o: recentred(gain(o, "dropout"), 0.0),
            requires=("overfits-with-neither",),
        ),
        Claim(
            name="decay-alone-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "decay"),
            falsehood=lambda o: recentred(gain(o, "decay"), 0.0),
            requires=("overfits-with-neither",),
        ),
        Claim(
            name="returns-diminish",
            kind="experiment",
            check=less(margin=MARGIN),
            subject=interaction,
            falsehood=lambda o: recentred(interaction(o), 0.0),
            requires=("dropout-alone-helps", "decay-alone-helps"),
        ),
        Claim(
            name="both-beat-the-better-one",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: over_single(o, "both"),
            falsehood=lambda o: recentred(over_single(o, "both"), 0.0),
            requires=("overfits-with-neither",),
        ),
        Claim(
            name="tuned-together-they-beat-the-better-one",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: over_single(o, "joint"),
            falsehood=lambda o: recentred(over_single(o, "joint"), 0.0),
            requires=("overfits-with-neither",),
        ),
    ),
    circulated=(
        Circulated(
            "together-result-better-since-two",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="tuned-together-they-beat-the-better-one",
        ),
        Circulated(
            "both-are-better-and-add-up",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="returns-diminish",
            source="datawhale",
        ),
        Circulated("weight-decay-alone-is-worst", "unsupported", source="datawhale"),
        Circulated(
            "not-always-additive",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="returns-diminish",
            source="pandalabme",
        ),
        Circulated(
            "no-better-than-decay-alone",
            {"holds": "half-right", "fails": "right", "undecided": "unsupported"},
            by="tuned-together-they-beat-the-better-one",
            source="forum",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=128,128",
)
