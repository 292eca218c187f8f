"""4.6.5 Dropout and weight decay: each alone, both together. Do their gains add up, shrink, or cancel?

For a linear model dropout is a penalty, exactly. For the section's network it is a two by two experiment at strengths
that validation images chose.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.knobs import written
from mlplab.rng import Stream
from mlplab.stats import Comparison, interaction_2x2, mean_interval, paired
from mlplab.study import Arm, Results, Study, factorial

from .. import chapter

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
METRIC = "test_accuracy"
DROPOUTS = ((0.0,), (0.1,), (0.2,), (0.3,), (0.5,), (0.2, 0.5))
DECAYS = (0.0, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
ROLES = (
    "neither",
    "dropout",
    "decay",
    "both",
    "joint",
)


def observe(lab: Lab) -> Observations:
    """Choose strengths on validation images, alone and together; train the chosen arms on fresh seeds."""
    dataset = lab.dataset("fashion-mnist", embedded="digits")
    base = lab.setting(chapter.dropout_comparison(dataset.name))
    which = lab.choose(quick=slice(0, 5, 2), full=slice(None))
    grid = factorial(base, dropout=DROPOUTS[which], weight_decay=DECAYS[which])
    first = chapter.FIRST_TUNING_SEED
    tuned = lab.run(Study(grid, range(first, first + 2), dataset))
    roles = choose(grid, tuned)
    # Two roles can have one setting: where tuning together changes nothing.
    arms = [Arm(role, arm.setting, arm.levels) for role, arm in roles.items()]
    arms = [arm for arm in arms if arm.name != "joint" or arm.setting != roles["both"].setting]
    runs = lab.run(Study(arms, lab.seeds(quick=5, full=20), dataset))
    chosen = pd.DataFrame(
        [
            {
                "role": role,
                "arm": "both" if role == "joint" and arm.setting == roles["both"].setting else role,
                "dropout": written(arm.levels["dropout"]),
                "weight_decay": arm.levels["weight_decay"],
                "validation_accuracy": float(tuned.values("validation_accuracy", arm.name).mean()),
            }
            for role, arm in roles.items()
        ]
    )
    return lab.observations(
        runs=runs.frame, chosen=chosen, selection=tuned.summary("validation_accuracy").drop(columns="arm")
    )


def choose(grid: tuple[Arm, ...], tuned: Results) -> dict[str, Arm]:
    """The arms that are compared, as validation images prefer: each alone, both at these strengths, and jointly."""
    by_levels = {(arm.levels["dropout"], arm.levels["weight_decay"]): arm for arm in grid}
    none, by_name = (0.0,), {arm.name: arm for arm in grid}

    def best(fits: Callable[[tuple[float, ...], float], bool]) -> Arm:
        names = [arm.name for (rates, decay), arm in by_levels.items() if fits(rates, decay)]
        return by_name[tuned.best("validation_accuracy", arms=names)]

    dropout = best(lambda rates, decay: rates != none and decay == 0)
    decay = best(lambda rates, decay: rates == none and decay != 0)
    return {
        "neither": by_levels[none, 0.0],
        "dropout": dropout,
        "decay": decay,
        "both": by_levels[dropout.levels["dropout"], decay.levels["weight_decay"]],
        "joint": best(lambda rates, decay: rates != none and decay != 0),
    }


def values(observations: Observations, role: str) -> np.ndarray:
    """Test accuracy of the arm that plays a role, by seed."""
    return observations.runs.values(METRIC, chosen_arms(observations)[role]["arm"])


def chosen_arms(observations: Observations) -> dict[str, dict[str, Any]]:
    """By role: the arm that plays it, its strengths, and its validation accuracy."""
    return {row["role"]: row for row in observations.rows("chosen")}


def better_single(observations: Observations) -> str:
    """Dropout or weight decay, whichever validation images prefer alone."""
    chosen = chosen_arms(observations)
    return max(("dropout", "decay"), key=lambda role: chosen[role]["validation_accuracy"])


def gain(observations: Observations, role: str) -> np.ndarray:
    """Test accuracy minus that with neither, by seed."""
    return values(observations, role) - values(observations, "neither")


def over_single(observations: Observations, role: str) -> np.ndarray:
    """Test accuracy minus that of the better single remedy, by seed."""
    return values(observations, role) - values(observations, better_single(observations))


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
    rows = []
    for chosen in observations.rows("chosen"):
        role, accuracy = chosen["role"], mean_interval(values(observations, chosen["role"]))
        versus = "" if role == "neither" else show.points_interval(paired(gain(observations, role)))
        strengths = f"{chosen['dropout']} / {chosen['weight_decay']:g}"
        cells = [show.stacked(cell) for cell in (show.percent_interval(accuracy), versus)]
        rows.append([words.group("roles")[role], strengths, *cells])
    title = words["titles.test-accuracy-mean-over-seeds"]
    heads = (
        "",
        words["heads.dropout"],
        words["heads.accuracy"],
        words["heads.gain-points"],
    )
    return [Table(title, heads, rows)]


def contrasts(observations: Observations) -> dict[str, Comparison]:
    """The gains and the interaction, each with its interval."""
    found = {role: paired(gain(observations, role), margin=MARGIN) for role in list(ROLES)[1:]}
    four = (values(observations, role) for role in ("both", "dropout", "decay", "neither"))
    return found | {"interaction": interaction_2x2(*four, margin=MARGIN)}


def facts(observations: Observations) -> dict[str, Any]:
    """The strengths that were chosen, the gains, and the interaction."""
    chosen, found = chosen_arms(observations), contrasts(observations)
    return {
        "strengths": {
            role: {"dropout": chosen[role]["dropout"], "decay": chosen[role]["weight_decay"]}
            for role in ROLES
        },
        "gains": {role: found[role] for role in list(ROLES)[1:]},
        "interaction": found["interaction"],
        "is_dropout_better": better_single(observations) == "dropout",
        "num_settings": len(observations["selection"]),
        "epochs": observations.settings[-1]["epochs"],
        "margin": MARGIN,
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Validation accuracy over both strengths, beside gains and interaction on test images."""
    selection = observations["selection"]
    left = plots.grid_plot(
        selection,
        x="weight_decay",
        y="dropout",
        x_title=words["titles.weight-decay"],
        y_title=words["titles.dropout-rate"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.how-strengths-were-chosen"],
        value_format=".1%",
        notes=words.notes,
        cell=52,
    )
    labels = dict(words.group("roles").items())
    labels["interaction"] = words["labels.interaction"]
    right = plots.difference_plot(
        contrasts(observations),
        value_title=words["titles.difference-in-test-accuracy"],
        title=words["titles.minus-neither-and-interaction"],
        labels=labels,
        value_format=".1%",
        notes=words.notes,
        width=220,
    )
    return (left | right).resolve_scale(color="independent")


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
        Claim(
            name="dropout-alone-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "dropout"),
            falsehood=lambda o: recentred(gain(o, "dropout"), -0.02),
            unit="points",
        ),
        Claim(
            name="decay-alone-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "decay"),
            falsehood=lambda o: recentred(gain(o, "decay"), -0.02),
            unit="points",
        ),
        Claim(
            name="gains-add-up",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=interaction,
            falsehood=lambda o: recentred(interaction(o), -0.02),
            unit="points",
        ),
        Claim(
            name="both-beat-the-better-one",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: over_single(o, "both"),
            falsehood=lambda o: recentred(over_single(o, "both"), -0.02),
            unit="points",
        ),
        Claim(
            name="tuned-together-they-beat-the-better-one",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: over_single(o, "joint"),
            falsehood=lambda o: recentred(over_single(o, "joint"), -0.02),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "together-result-better-since-two",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="tuned-together-they-beat-the-better-one",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=128,128",
)
