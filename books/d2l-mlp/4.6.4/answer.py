"""4.6.4 Why is dropout usually not used at test time?

Networks small enough for all their masks: the exact mean over masks is known, and so is how far the usual single pass
without masks ("weight scaling") is from it. The first network has one hidden layer, the second has two.
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
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import Comparison, mean_interval, paired, slope
from mlplab.study import Arm, Study

if TYPE_CHECKING:
    import altair

    from mlplab.study.row import Parameters

# Differences in accuracy of less than 0.3 points do not matter here.
MARGIN = 0.003
# Units of the hidden layers: 2^12 and 2^14 masks, and few enough weights for the store to keep.
NETWORKS = {"one": (12,), "two": (8, 6)}
IMAGES, QUICK_IMAGES = 1_000, 250  # of the test part
IMAGES_OF_MEANS = 100  # on which means of K masks are followed: every mask's outputs are held at once
NUM_MASKS = (1, 4, 16, 64, 256)
REPEATS = 40
ROUNDING = 1e-6  # a distance above it is more than that
WAYS = (
    "mask",
    "scaling",
    "exact",
)


def observe(lab: Lab) -> Observations:
    """Train both networks with dropout; run each through all its masks."""
    # Networks this narrow die at the section's rate and start.
    base = turn(
        Setting(),
        hidden_sizes=NETWORKS["one"],
        initialization="kaiming_normal",
        dropout="0.3",
        learning_rate=0.1,
    )
    rates = lab.take("dropout", base)
    if len(rates) != 1 or not rates[0]:
        raise InvalidInput("--set dropout", "must be one rate above 0", written(rates), "Try dropout=0.5")
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    if dataset.name != "fashion-mnist":
        base = turn(base, epochs=30)  # a tenth of the images
    base = lab.setting(base)
    arms = [Arm(name, turn(base, hidden_sizes=sizes, dropout=rates)) for name, sizes in NETWORKS.items()]
    runs = lab.run(Study(arms, lab.seeds(quick=4, full=20), dataset))
    assert dataset.test is not None
    num_images = lab.choose(quick=QUICK_IMAGES, full=IMAGES)
    x = dataset.test.features[:num_images].astype(np.float64)
    y = dataset.test.targets[:num_images]
    rows, errors = [], []
    for name in NETWORKS:
        finished = runs.frame[(runs.frame["arm"] == name) & (runs.frame["status"] == "finished")]
        for seed in finished["seed"]:
            row, of_means = through_all_masks(runs.parameters(name, seed), x, y, rates[0], seed)
            rows.append({"network": name, "seed": seed} | row)
            errors += [{"network": name, "seed": seed} | error for error in of_means]
    given = pd.DataFrame([{"rate": rates[0], "num_images": len(x)}])
    return lab.observations(
        runs=runs.frame, masks=pd.DataFrame(rows), errors=pd.DataFrame(errors), given=given
    )


def through_all_masks(
    layers: Parameters, x: np.ndarray, y: np.ndarray, rate: float, seed: int
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """What all masks together say about a network's outputs, and how far means of K masks are from their mean."""
    layers = tuple((w.astype(np.float64), b.astype(np.float64)) for w, b in layers)
    h = np.maximum(x @ layers[0][0].T + layers[0][1], 0)  # no mask reaches below the first hidden layer
    single = softmax(logits(layers, h, [np.ones(len(b)) for _, b in layers[:-1]]))
    mean, log_mean, correct, square = np.zeros_like(single), np.zeros_like(single), 0.0, np.zeros_like(single)
    shares, held = [], []
    for share, masks in all_masks([len(b) for _, b in layers[:-1]], rate):
        z = logits(layers, h, [mask / (1 - rate) for mask in masks])
        probabilities = softmax(z)
        mean += share * probabilities
        square += share * probabilities**2
        log_mean += share * (z - np.log(np.exp(z).sum(1, keepdims=True)))
        correct += share * float((z.argmax(1) == y).mean())
        shares.append(share)
        held.append(probabilities[:IMAGES_OF_MEANS].astype(np.float32))
    geometric = softmax(log_mean)
    spread = np.sqrt(np.maximum(square - mean**2, 0)).max(1)
    is_right = mean.argmax(1) == y
    exact = mean[:IMAGES_OF_MEANS]
    of_means = means_of_masks(np.stack(held), np.array(shares), exact, seed)
    row = {
        "mask_accuracy": correct,
        "scaling_accuracy": float((single.argmax(1) == y).mean()),
        "exact_accuracy": float(is_right.mean()),
        "agreement": float((single.argmax(1) == mean.argmax(1)).mean()),
        "off_geometric": float(np.abs(single - geometric).max()),
        "off_arithmetic": float(np.sqrt(np.square(single[:IMAGES_OF_MEANS] - exact).mean())),
        "arithmetic_off_geometric": float(np.abs(mean - geometric).max()),
        "spread_right": float(spread[is_right].mean()),
        "spread_wrong": float(spread[~is_right].mean()),
        "total_share": float(np.sum(shares)),
    }
    return row, of_means


def means_of_masks(
    outputs: np.ndarray, shares: np.ndarray, exact: np.ndarray, seed: int
) -> list[dict[str, float]]:
    """Root mean square error of the mean of K random masks, over images, classes and REPEATS draws."""
    cumulated = np.cumsum(shares)
    rows = []
    for index, num in enumerate(NUM_MASKS):
        uniform = Stream(seed, "noise", layer=index).uniform((REPEATS, num))
        drawn = np.searchsorted(cumulated / cumulated[-1], uniform)
        squares = [float(np.square(outputs[one].mean(0) - exact).mean()) for one in drawn]
        rows.append({"num_masks": num, "error": float(np.sqrt(np.mean(squares)))})
    return rows


def all_masks(sizes: list[int], rate: float) -> Any:
    """Every way in which units of the hidden layers can stay (1) or go (0), with its probability."""
    for bits in itertools.product((0.0, 1.0), repeat=sum(sizes)):
        kept = sum(bits)
        masks = np.split(np.array(bits), np.cumsum(sizes)[:-1])
        yield (1 - rate) ** kept * rate ** (len(bits) - kept), masks


def logits(
    layers: tuple[tuple[np.ndarray, np.ndarray], ...], h: np.ndarray, factors: list[np.ndarray]
) -> np.ndarray:
    """Outputs (image, class) from the first hidden layer on, `h`; hidden units are multiplied by `factors`."""
    h = h * factors[0]
    for (weight, bias), factor in zip(layers[1:-1], factors[1:], strict=True):
        h = np.maximum(h @ weight.T + bias, 0) * factor
    return h @ layers[-1][0].T + layers[-1][1]


def softmax(z: np.ndarray) -> np.ndarray:
    """Probabilities (image, class)."""
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


# Of SymPy's matrices W (class, unit), h (unit, 1), b (class, 1) and the rate: (class, 1).
TestLogits = Callable[[Any, Any, Any, Any], Any]


def scaled_logits(w: Any, h: Any, b: Any, p: Any) -> Any:
    """W h + b: no mask. Training divided by 1 - p, so nothing is left to scale."""
    return w * h + b


def scaled_twice(w: Any, h: Any, b: Any, p: Any) -> Any:
    """(1 - p)·W h + b: right for dropout that does not divide in training, wrong for the one that does."""
    return (1 - p) * w * h + b


def is_the_geometric_mean(test: TestLogits) -> Finding:
    """Sum over all masks of two units: have geometric means of probabilities the ratios that these logits give?"""
    p = sympy.Symbol("p")
    w: Any = sympy.Matrix(3, 2, sympy.symbols("w:3:2"))
    h: Any
    h, b = sympy.Matrix(sympy.symbols("h:2")), sympy.Matrix(sympy.symbols("b:3"))
    mean_log: Any = sympy.zeros(
        3, 1
    )  # the log of a softmax is its logit less a number that all classes share
    for mask in itertools.product((0, 1), repeat=2):
        share = sympy.prod([1 - p if m else p for m in mask])
        mean_log += share * (w * sympy.Matrix([m * a / (1 - p) for m, a in zip(mask, h, strict=True)]) + b)
    z = test(w, h, b, p)
    rest = [sympy.simplify((mean_log[k] - mean_log[0]) - (z[k] - z[0])) for k in (1, 2)]
    return Finding.true_if(rest == [0, 0], detail=f"left over in the logs of ratios: {rest}")


def column(observations: Observations, network: str, quantity: str) -> np.ndarray:
    """A quantity of a network, by seed."""
    table = observations["masks"]
    return table[table["network"] == network].sort_values("seed")[quantity].to_numpy(dtype=float)


def is_exact(distances: np.ndarray) -> Finding:
    """Is it the same to rounding, on every network?"""
    worst = float(np.max(distances))
    return Finding.true_if(worst < 1e-9, worst_distance=worst)  # sums over 4,096 masks, in float64


def slopes(observations: Observations) -> np.ndarray:
    """Of log error on log K, for the second network, by seed."""
    table = observations["errors"]
    table = table[table["network"] == "two"]
    return np.array(
        [
            slope(np.log(rows["num_masks"]), np.log(rows["error"])).estimate
            for _, rows in table.groupby("seed", sort=True)
        ]
    )


def scaling_minus_mask(observations: Observations) -> np.ndarray:
    """Accuracy without a mask minus the mean accuracy with one, second network."""
    return column(observations, "two", "scaling_accuracy") - column(observations, "two", "mask_accuracy")


def scaling_minus_exact(observations: Observations) -> np.ndarray:
    """Accuracy without a mask minus that of the mean over all masks, second network."""
    return column(observations, "two", "scaling_accuracy") - column(observations, "two", "exact_accuracy")


def spread_of_errors(observations: Observations) -> np.ndarray:
    """Spread over masks on images that are classified wrongly minus that on the others, second network."""
    return column(observations, "two", "spread_wrong") - column(observations, "two", "spread_right")


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Accuracy of the three ways, and how far one pass is from the means."""
    networks = {
        "one": words["labels.one-hidden-layer"],
        "two": words["labels.two-hidden-layers"],
    }
    rows = [
        [
            way,
            *(
                show.percent_interval(mean_interval(column(observations, n, f"{name}_accuracy")))
                for n in networks
            ),
        ]
        for name, way in words.group("ways").items()
    ]
    distances = {
        "off_geometric": words["labels.largest-distance-one-pass-from"],
        "off_arithmetic": words["labels.root-mean-square-distance-one"],
    }
    for quantity, label in distances.items():
        cells = [show.number_interval(mean_interval(column(observations, n, quantity))) for n in networks]
        rows.append([label, *cells])
    title = words["titles.accuracy-in-and-distances-probabilities"]
    return [Table(title, ["", *networks.values()], rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """How many masks there are, and how far what is usual is from what is wanted."""
    errors = observations["errors"]
    of_two = errors[errors["network"] == "two"].groupby("num_masks")["error"].mean()
    one_pass = float(column(observations, "two", "off_arithmetic").mean())
    enough = [num for num in NUM_MASKS if of_two[num] < one_pass]
    distance: Comparison = paired(column(observations, "two", "off_arithmetic"))
    return {
        "rate": float(observations["given"]["rate"].item()),
        "num_masks": {name: 2 ** sum(sizes) for name, sizes in NETWORKS.items()},
        "sizes": {name: "-".join(map(str, sizes)) for name, sizes in NETWORKS.items()},
        "num_images": int(observations["given"]["num_images"].item()),
        "distance": distance,
        "agreement": float(column(observations, "two", "agreement").mean()),
        "beats_scaling": enough[0] if enough else None,
        "most_masks": NUM_MASKS[-1],
        "accuracy": {way: mean_interval(column(observations, "two", f"{way}_accuracy")) for way in WAYS},
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """How far means of K masks are from the mean over all, beside the single pass; and accuracies."""
    errors = observations["errors"]
    rows = []
    for num, of_num in errors[errors["network"] == "two"].groupby("num_masks"):
        name = words["labels.mean-k-random-masks"]
        rows.append({"group": name, "level": str(num)} | mean_interval(of_num["error"].to_numpy()).to_dict())
    for num in NUM_MASKS:
        single = mean_interval(column(observations, "two", "off_arithmetic")).to_dict()
        rows.append({"group": words.group("ways")["scaling"], "level": str(num)} | single)
    left = plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.number-masks-k"],
        value_title=words["titles.distance-probabilities-root-mean-square"],
        title=words["titles.distance-from-mean-over-all"],
        log_scale=True,
        notes=words.notes,
        width=280,
        height=220,
    )
    summary = pd.DataFrame(
        [
            {"arm": name, "num_diverged": 0}
            | mean_interval(column(observations, "two", f"{name}_accuracy")).to_dict()
            for name in WAYS
        ]
    )
    right = plots.interval_plot(
        summary,
        value_title=words["titles.test-accuracy"],
        title=words["titles.three-ways-predict"],
        labels=dict(words.group("ways").items()),
        value_format=".1%",
        notes=words.notes,
        width=240,
    )
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="one-pass-is-a-geometric-mean",
            kind="proof",
            check=is_the_geometric_mean,
            subject=lambda o: scaled_logits,
            falsehood=lambda o: scaled_twice,
        ),
        Claim(
            name="so-it-is-on-trained-networks",
            kind="property",
            check=is_exact,
            subject=lambda o: column(o, "one", "off_geometric"),
            # The arithmetic mean, which is what one wants, is another one.
            falsehood=lambda o: column(o, "one", "arithmetic_off_geometric"),
        ),
        Claim(
            name="deep-it-is-an-approximation",
            kind="experiment",
            check=greater(ROUNDING),
            subject=lambda o: column(o, "two", "off_geometric"),
            falsehood=lambda o: column(o, "one", "off_geometric"),
        ),
        Claim(
            name="but-as-accurate",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=scaling_minus_exact,
            falsehood=lambda o: recentred(scaling_minus_exact(o), -0.02),
            unit="points",
        ),
        Claim(
            name="a-mask-costs-accuracy",
            kind="experiment",
            check=greater(),
            subject=scaling_minus_mask,
            # What one mask costs differs by several points from seed to seed: a gain of ten shows through it.
            falsehood=lambda o: recentred(scaling_minus_mask(o), -0.1),
            unit="points",
        ),
        Claim(
            name="means-of-masks-converge",
            kind="experiment",
            check=equivalent(-0.5, margin=0.05),
            subject=slopes,
            falsehood=lambda o: recentred(slopes(o), -0.4),
        ),
        Claim(
            name="masks-disagree-on-errors",
            kind="experiment",
            check=greater(),
            subject=spread_of_errors,
            falsehood=lambda o: recentred(spread_of_errors(o), -0.05),
        ),
    ),
    circulated=(
        Circulated(
            "at-test-time-network-fixed",
            "incomplete",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5",
)
