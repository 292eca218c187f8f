"""4.6.4 Why is dropout usually not used at test time?

Networks small enough for all their masks: the exact mean over masks is known, and so is how far the usual single pass
without masks ("weight scaling") is from it. Then the section's own network, whose masks are drawn: as the section
trains it, with a rate that falls to 0, and on few images, where it is too sure of itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from scipy.stats import rankdata

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater, less
from mlplab.charts import plots, show
from mlplab.engine import Result, draws
from mlplab.engine.noises import noise_of
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, written
from mlplab.rng import Stream
from mlplab.spec import Noise, Setting
from mlplab.stats import Comparison, mean_interval, paired, prediction_interval, slope, two_way
from mlplab.study import Arm, Study

from .. import chapter

if TYPE_CHECKING:
    import altair
    from torch import Tensor

    from mlplab.study.row import Parameters

# Differences in accuracy of less than 0.3 points do not matter here.
MARGIN = 0.003
# Of the test loss on few images: half of what dropout itself gains there (exercise 4.6.1). On all images, where one
# mask costs 0.03, a sixth of that.
FEW_LOSS_MARGIN, LOSS_MARGIN = 0.03, 0.005
# An area under the curve of 0.5 is a guess: one within 0.05 of it tells next to nothing.
AUC_MARGIN = 0.05
# Units of the hidden layers: 2^12 and 2^14 masks, and few enough weights for the store to keep.
NETWORKS = {"one": (12,), "two": (8, 6)}
SMALL_RATE = 0.3
IMAGES, QUICK_IMAGES = 1_000, 100  # of the test part, through all masks
IMAGES_OF_MEANS = 100  # on which means of K masks are followed: every mask's outputs are held at once
NUM_MASKS = (1, 4, 16, 64, 256)
REPEATS = 40
ROUNDING = 1e-6  # a distance above it is more than that
# The section's network as the section trains it, with a rate that falls to 0; and on few images.
FALLING, FEW = "falling", "few"
REGIMES = (FALLING, FEW)
DRAWN = 64  # masks that are drawn for it, a power of 2
TEST_IMAGES, QUICK_TEST_IMAGES = 10_000, 1_000
MASK_SEED = 1_000_000  # masks at test time are none of those of training
BINS = 15  # of confidence, as Guo et al. have them
WAYS = (
    "mask",
    "scaling",
    "mean",
)
SCORES = ("accuracy", "loss", "brier", "calibration")


def observe(lab: Lab) -> Observations:
    """Train the small networks and run each through all its masks; train the section's and draw masks for it."""
    rates = lab.take("dropout", chapter.DROPOUT_SETTING)
    if not all(rates):
        raise InvalidInput(
            "--set dropout", "must be above 0 in each layer", written(rates), "Try dropout=0.5,0.5"
        )
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    # Networks this narrow die at the section's rate and start.
    base = turn(
        Setting(),
        hidden_sizes=NETWORKS["one"],
        initialization="kaiming_normal",
        learning_rate=0.1,
    )
    if dataset.name != "fashion-mnist":
        base = turn(base, epochs=30)  # a tenth of the images
    base = turn(lab.setting(base), dropout=SMALL_RATE)
    arms = [Arm(name, turn(base, hidden_sizes=sizes)) for name, sizes in NETWORKS.items()]
    seeds = lab.seeds(quick=3, full=6)
    runs = lab.run(Study(arms, seeds, dataset))
    assert dataset.test is not None
    num_images = lab.choose(quick=QUICK_IMAGES, full=IMAGES)
    x = dataset.test.features[:num_images].astype(np.float64)
    y = dataset.test.targets[:num_images]
    rows, errors = [], []
    for name in NETWORKS:
        finished = runs.frame[(runs.frame["arm"] == name) & (runs.frame["status"] == "finished")]
        for seed in finished["seed"]:
            row, of_means = through_all_masks(runs.parameters(name, seed), x, y, SMALL_RATE, seed)
            rows.append({"network": name, "seed": seed} | row)
            errors += [{"network": name, "seed": seed} | error for error in of_means]
    section = chapter.read_quietly(lab.setting(chapter.section_setting(dataset)))
    few = lab.setting(chapter.few_images_setting(dataset, epochs=lab.choose(quick=30, full=80)))
    studies = {
        FALLING: Study([Arm(FALLING, turn(section, dropout=rates))], seeds, dataset),
        FEW: Study([Arm(FEW, turn(few, dropout=rates))], seeds, chapter.few_images(dataset)),
    }
    found = [drawn(lab, regime, study) for regime, study in studies.items()]
    scores_by_seed, averaged, images = (
        pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True)
    )
    given = pd.DataFrame([{"rates": written(rates), "num_images": len(x)}])
    return lab.observations(
        runs=runs.frame,
        masks=pd.DataFrame(rows),
        errors=pd.DataFrame(errors),
        given=given,
        drawn=scores_by_seed,
        averaged=averaged,
        images=images,
    )


def drawn(lab: Lab, regime: str, study: Study) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """What drawn masks do to the section's network: by seed; by seed and number of masks; over seeds and images."""
    num_images = lab.choose(quick=QUICK_TEST_IMAGES, full=TEST_IMAGES)
    num_masks = lab.choose(quick=DRAWN // 2, full=DRAWN)

    def look(result: Result) -> tuple[dict[str, float], list[dict[str, float]], dict[str, np.ndarray]]:
        test = study.datasets[result.run.data].test
        assert test is not None
        rates = [noise.rate for noise in result.run.setting.noises]
        x, y = test.features[-num_images:], test.targets[-num_images:]
        return through_drawn_masks(result.parameters, x, y, rates, result.run.seed, num_masks)

    looks = chapter.with_weights(lab, study, look)
    rows, curves = [], []
    for (_, seed), (row, of_means, _) in looks.items():
        rows.append({"regime": regime, "seed": seed} | row)
        curves += [{"regime": regime, "seed": seed} | point for point in of_means]
    hits = {way: np.stack([hits[way] for _, _, hits in looks.values()]) for way in WAYS}
    images = []
    for other in ("mask", "mean") if len(looks) > 1 else ():
        found = two_way(hits["scaling"], hits[other])
        images.append({"regime": regime, "other": other, "num_images": num_images} | found.to_dict())
    return pd.DataFrame(rows), pd.DataFrame(curves), pd.DataFrame(images)


def through_drawn_masks(
    layers: Parameters, x: np.ndarray, y: np.ndarray, rates: Sequence[float], seed: int, num_masks: int
) -> tuple[dict[str, float], list[dict[str, float]], dict[str, np.ndarray]]:
    """How good one mask is, the pass without masks, and the mean of all that are drawn; and what their spread tells.

    Each image has a mask of its own, as in training. Means of K masks are over as many groups of K as there are.
    """
    single = plain_pass(layers, x)
    named = single.argmax(1)
    is_right = named == y
    chosen = np.arange(len(y)), named
    sums: dict[int, np.ndarray] = {}
    scores_of: dict[int, list[dict[str, float]]] = {}
    hits, first, second = np.zeros(len(y)), np.zeros(len(y)), np.zeros(len(y))
    for index, p in enumerate(masked_passes(layers, x, rates, seed, num_masks), start=1):
        first += p[chosen]
        second += p[chosen] ** 2
        hits += p.argmax(1) == y
        for power in range(num_masks.bit_length()):
            num = 2**power
            sums[num] = sums.get(num, 0) + p
            if index % num == 0:
                scores_of.setdefault(num, []).append(scores(sums[num] / num, y))
                if num < num_masks:
                    del sums[num]
    mean = sums[num_masks] / num_masks
    spread = np.sqrt(np.maximum(second - first**2 / num_masks, 0) / (num_masks - 1))
    of_means = [
        {"num_masks": num, **{name: float(np.mean([one[name] for one in found])) for name in SCORES}}
        for num, found in scores_of.items()
    ]
    of_ways = {"mask": of_means[0], "scaling": scores(single, y), "mean": of_means[-1]}
    row = {f"{way}_{name}": found[name] for way, found in of_ways.items() for name in SCORES}
    row |= {
        "agreement": float((named == mean.argmax(1)).mean()),
        "off_mean": float(np.sqrt(np.square(single - mean).mean())),
        "spread_right": float(spread[is_right].mean()),
        "spread_wrong": float(spread[~is_right].mean()),
        "auc_spread": area(spread, ~is_right),
        "auc_confidence": area(-single[chosen], ~is_right),
    }
    return row, of_means, {"mask": hits / num_masks, "scaling": is_right, "mean": mean.argmax(1) == y}


def plain_pass(layers: Parameters, x: np.ndarray) -> np.ndarray:
    """Probabilities (image, class) without masks."""
    (p,) = masked_passes(layers, x, [0.0] * (len(layers) - 1), 0, 1)
    return p


def masked_passes(
    layers: Parameters, x: np.ndarray, rates: Sequence[float], seed: int, num: int
) -> Iterator[np.ndarray]:
    """Probabilities (image, class) under so many random masks, drawn and scaled as the engine does in training."""
    maps = [(torch.from_numpy(weight).T, torch.from_numpy(bias)) for weight, bias in layers]
    # No mask reaches below the first hidden layer.
    below = torch.relu(torch.addmm(maps[0][1], torch.from_numpy(x), maps[0][0]))
    for step in range(num):
        h = dropped(below, rates[0], seed, 0, step)
        for layer, (weight, bias) in enumerate(maps[1:-1], start=1):
            h = dropped(torch.relu(torch.addmm(bias, h, weight)), rates[layer], seed, layer, step)
        z = torch.addmm(maps[-1][1], h, maps[-1][0])
        yield torch.softmax(z.double(), 1).numpy()


def dropped(h: Tensor, rate: float, seed: int, layer: int, step: int) -> Tensor:
    """Activations (image, unit) behind a random mask."""
    kind = noise_of([Noise("dropout", rate=rate)], h.dtype)
    if kind is None:
        return h
    return kind(h[None], draws.noise_bits(MASK_SEED + seed, layer, step, tuple(h.shape))[None])[0]


def scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracy, mean log loss, Brier score, and expected calibration error of probabilities (image, class)."""
    right = p[np.arange(len(y)), y]
    confidence, is_right = p.max(1), p.argmax(1) == y
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, is_right - confidence, minlength=BINS)
    return {
        "accuracy": float(is_right.mean()),
        "loss": float(-np.log(np.maximum(right, 1e-30)).mean()),
        "brier": float((np.square(p).sum(1) - 2 * right + 1).mean()),
        "calibration": float(np.abs(gaps).sum() / len(y)),
    }


def area(signal: np.ndarray, is_error: np.ndarray) -> float:
    """The area under the ROC curve: how often an error has more of the signal than what is right; ties count half."""
    num, ranks = int(is_error.sum()), rankdata(signal)
    if num in (0, len(signal)):
        return 0.5  # nothing to tell apart
    return float((ranks[is_error].sum() - num * (num + 1) / 2) / (num * (len(signal) - num)))


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
    """A quantity of a small network, by seed."""
    table = observations["masks"]
    return table[table["network"] == network].sort_values("seed")[quantity].to_numpy(dtype=float)


def value(observations: Observations, regime: str, quantity: str) -> np.ndarray:
    """A quantity of the section's network, by seed."""
    table = observations["drawn"]
    return table[table["regime"] == regime].sort_values("seed")[quantity].to_numpy(dtype=float)


def is_exact(distances: np.ndarray) -> Finding:
    """Is it the same to rounding, on every network?"""
    worst = float(np.max(distances))
    return Finding.true_if(worst < 1e-9, worst_distance=worst)  # sums over 4,096 masks, in float64


def slopes(observations: Observations) -> np.ndarray:
    """Of log error on log K, for the second small network, by seed."""
    table = observations["errors"]
    table = table[table["network"] == "two"]
    return np.array(
        [
            slope(np.log(rows["num_masks"]), np.log(rows["error"])).estimate
            for _, rows in table.groupby("seed", sort=True)
        ]
    )


def scaling_minus(
    observations: Observations, way: str, regime: str = FALLING, score: str = "accuracy"
) -> np.ndarray:
    """A score of the pass without masks minus that of another way, by seed."""
    return value(observations, regime, f"scaling_{score}") - value(observations, regime, f"{way}_{score}")


def confidence_minus_spread(observations: Observations) -> np.ndarray:
    """How much better the confidence of the single pass tells errors from the rest than the spread over masks does."""
    return value(observations, FALLING, "auc_confidence") - value(observations, FALLING, "auc_spread")


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Scores of the three ways in both regimes, and how far one pass is from the means of small networks."""
    found = [_ways(observations, regime, words) for regime in REGIMES]
    networks = {
        "one": words["labels.one-hidden-layer"],
        "two": words["labels.two-hidden-layers"],
    }
    distances = {
        "off_geometric": words["labels.largest-distance-one-pass-from"],
        "off_arithmetic": words["labels.root-mean-square-distance-one"],
    }
    rows = []
    for quantity, label in distances.items():
        cells = [show.number_interval(mean_interval(column(observations, n, quantity))) for n in networks]
        rows.append([label, *cells])
    return [*found, Table(words["titles.distances-of-small-networks"], ["", *networks.values()], rows)]


def _ways(observations: Observations, regime: str, words: WordList) -> Table:
    rows = []
    for way, label in words.group("ways").items():
        cells = []
        for score in SCORES:
            form = show.percent_interval if score == "accuracy" else show.number_interval
            cells.append(show.stacked(form(mean_interval(value(observations, regime, f"{way}_{score}")))))
        rows.append([label, *cells])
    return Table(words[f"titles.{regime}"], ["", *words.group("scores").values()], rows)


def facts(observations: Observations) -> dict[str, Any]:
    """How many masks there are, and how far what is usual is from what is wanted."""
    errors = observations["errors"]
    of_two = errors[errors["network"] == "two"].groupby("num_masks")["error"].mean()
    one_pass = float(column(observations, "two", "off_arithmetic").mean())
    enough = [num for num in NUM_MASKS if of_two[num] < one_pass]
    distance: Comparison = paired(column(observations, "two", "off_arithmetic"))
    given, images = observations.rows("given")[0], observations.rows("images")
    return {
        "rates": given["rates"],
        "small_rate": SMALL_RATE,
        "num_masks": {name: 2 ** sum(sizes) for name, sizes in NETWORKS.items()},
        "sizes": {name: "-".join(map(str, sizes)) for name, sizes in NETWORKS.items()},
        "num_images": given["num_images"],
        "distance": distance,
        "beats_scaling": enough[0] if enough else None,
        "most_masks": NUM_MASKS[-1],
        "drawn": int(observations["averaged"]["num_masks"].max()),
        "num_test": images[0]["num_images"] if images else 0,
        "seeds_of": {regime: len(value(observations, regime, "agreement")) for regime in REGIMES},
        "on_images": {f"{row['regime']} {row['other']}": row for row in images},
        "agreement": {regime: float(value(observations, regime, "agreement").mean()) for regime in REGIMES},
        "auc": {
            regime: {
                name: float(value(observations, regime, f"auc_{name}").mean())
                for name in ("spread", "confidence")
            }
            for regime in REGIMES
        },
        "calibration": {
            regime: {way: float(value(observations, regime, f"{way}_calibration").mean()) for way in WAYS}
            for regime in REGIMES
        },
        "loss": {
            regime: {way: float(value(observations, regime, f"{way}_loss").mean()) for way in WAYS}
            for regime in REGIMES
        },
        "margin": MARGIN,
        "loss_margins": {FALLING: LOSS_MARGIN, FEW: FEW_LOSS_MARGIN},
        "auc_margin": AUC_MARGIN,
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The losses of a network trained on few images: with one mask, with none, and with the mean over many."""
    names = {"one_mask": "mask", "no_mask": "scaling", "many_masks": "mean"}
    return {name: prediction_interval(value(observations, FEW, f"{way}_loss")) for name, way in names.items()}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test loss of means of K masks beside that of the single pass, in both regimes."""
    return (_losses(observations, FALLING, words) | _losses(observations, FEW, words)).resolve_scale(
        color="shared", strokeDash="shared"
    )


def _losses(observations: Observations, regime: str, words: WordList) -> altair.LayerChart:
    averaged = observations["averaged"]
    rows = []
    for num, of_num in averaged[averaged["regime"] == regime].groupby("num_masks"):
        for name, losses in (
            (words["labels.mean-k-random-masks"], of_num["loss"].to_numpy(dtype=float)),
            (words.group("ways")["scaling"], value(observations, regime, "scaling_loss")),
        ):
            rows.append({"group": name, "level": str(num)} | mean_interval(losses).to_dict())
    return plots.level_plot(
        pd.DataFrame(rows).sort_values("group", kind="stable"),
        level_title=words["titles.number-masks-k"],
        value_title=words["titles.test-loss"],
        title=words[f"titles.figure-{regime}"],
        value_format=".3f",
        notes=words.notes,
        width=280,
        height=220,
    )


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
            name="means-of-masks-converge",
            kind="experiment",
            check=equivalent(-0.5, margin=0.05),
            subject=slopes,
            falsehood=lambda o: recentred(slopes(o), -0.4),
        ),
        Claim(
            name="a-mask-costs-accuracy",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: scaling_minus(o, "mask"),
            falsehood=lambda o: recentred(scaling_minus(o, "mask"), 0.0),
            unit="points",
        ),
        Claim(
            name="but-as-accurate",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: scaling_minus(o, "mean"),
            falsehood=lambda o: recentred(scaling_minus(o, "mean"), -2 * MARGIN),
            unit="points",
        ),
        Claim(
            name="masks-disagree-on-errors",
            kind="experiment",
            check=greater(0.5, margin=AUC_MARGIN),
            subject=lambda o: value(o, FALLING, "auc_spread"),
            falsehood=lambda o: recentred(value(o, FALLING, "auc_spread"), 0.5),
        ),
        Claim(
            name="confidence-tells-errors-better",
            kind="experiment",
            check=greater(margin=AUC_MARGIN / 2),
            subject=confidence_minus_spread,
            falsehood=lambda o: recentred(confidence_minus_spread(o), 0.0),
        ),
        Claim(
            name="averaging-saves-no-loss-on-all-images",
            kind="experiment",
            check=less(LOSS_MARGIN, numbers={"margin": LOSS_MARGIN}),
            subject=lambda o: scaling_minus(o, "mean", FALLING, "loss"),
            falsehood=lambda o: recentred(scaling_minus(o, "mean", FALLING, "loss"), 2 * LOSS_MARGIN),
        ),
        Claim(
            name="the-mean-has-a-lower-loss-on-few-images",
            kind="experiment",
            check=greater(margin=FEW_LOSS_MARGIN),
            subject=lambda o: scaling_minus(o, "mean", FEW, "loss"),
            falsehood=lambda o: recentred(scaling_minus(o, "mean", FEW, "loss"), 0.0),
        ),
    ),
    circulated=(
        Circulated(
            "at-test-time-network-fixed",
            "incomplete",
        ),
        Circulated(
            "all-parameters-are-wanted",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="a-mask-costs-accuracy",
            source="datawhale",
        ),
        Circulated("predictions-should-not-be-random", "right", source="pandalabme"),
        Circulated(
            "magnitudes-do-not-fit",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="one-pass-is-a-geometric-mean",
            source="pandalabme",
        ),
        Circulated(
            "it-distorts-at-test-time",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="a-mask-costs-accuracy",
            source="forum",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set dropout=0.5,0.5",
)
