"""4.9.3 Correction of covariate shift, from a classifier's weights.

Shimodaira's problem: a line is fitted to a cubic, on inputs unlike those of the target. All densities are known, so
that estimated weights stand beside true ones, and every risk is computed exactly. Then houses and images whose inputs
shift by a known ratio: models that are wrong for the target, and models that can be right everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab import data
from mlplab.answers import (
    Answer,
    Circulated,
    Claim,
    Finding,
    Lab,
    Observations,
    Table,
    WordList,
    recentred,
    rounded,
)
from mlplab.answers.checks import equivalent, greater, less
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import corrected
from mlplab.spec import Setting
from mlplab.stats import Interval, mean_interval, prediction_interval, two_way
from mlplab.study import Arm, Study

from .. import chapter, choice
from ..known_shift import CAP, HOUSE_MODELS, Method, ShiftedHouses, ShiftedImages

if TYPE_CHECKING:
    import altair

SOURCE_MEAN, SOURCE_STD, TARGET_STD, NOISE_STD = 0.5, 0.5, 0.3, 0.3
TARGET_MEANS = (0.5, 0.25, 0.0, -0.25, -0.5, -0.75)
SHIMODAIRA = 0.0  # the mean of the target in his problem
ROWS = 200  # labelled rows of the source, and as many unlabelled ones of the target
METHODS = ("none", "true", "estimated", "wrong", "target")
EVERYWHERE = ("none", "true", "estimated", "target")  # the methods that are tried on every target
FAR = -0.75  # the farthest target: hardly a row of the source is like it
PROGRAM_DRAWS = 20
CAPS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # times the mean of the weights
UNCUT = "none"
LINE, CUBIC = 1, 3
MARGIN = 0.02  # of what true weights gain: a share of the gain that does not matter
RISK_MARGIN = 0.1  # of a risk, relative
LOG_MARGIN = float(np.log(1 + RISK_MARGIN))

# Networks on images. In so small a network a rate of 0.1 lets single heavy images turn units off; with 4 units it is a
# matter of luck which classes are learned at all.
SMALL, FLEXIBLE = "small", "section"
UNITS = 8
NETWORKS = {SMALL: {"hidden_sizes": (UNITS,), "learning_rate": 0.03}, FLEXIBLE: {"learning_rate": 0.1}}
IMAGE_METHODS: tuple[Method, ...] = ("none", "true", "estimated", "clipped", "target")
WEIGHED: tuple[Method, ...] = ("true", "estimated", "blind", "clipped")  # in the figure
NUDGED = "nudged"
LOSS_MARGIN = 0.02  # of the test loss: half of what cut weights gained in the small network, on other seeds
FACTOR = 25.0
FACTOR_RATE, FACTOR_EPOCHS = 0.01, 10  # far too slow
ACCURACY_MARGIN = 0.005


def observe(lab: Lab) -> Observations:
    """Fit lines and cubics with no weights, true ones, estimated ones and others; then houses, and images."""
    seeds = lab.seeds(quick=6, full=200)
    rows = [row for mean, seed in itertools.product(TARGET_MEANS, seeds) for row in fits(mean, seed)]
    frame = pd.DataFrame(rows)
    kept = frame[frame["target_mean"] == SHIMODAIRA].drop(columns=["target_mean", "degree", "method"])
    groups = frame.groupby(["target_mean", "degree", "method"], sort=False)
    curve = []
    for (mean, degree, method), one in groups:
        found = mean_interval(one["excess"].to_numpy(dtype=float))
        ends = {"estimate": found.estimate, "ci_low": found.ci_low, "ci_high": found.ci_high}
        row = {"target_mean": mean, "degree": degree, "method": method, "warned": float(one["warned"].mean())}
        curve.append(
            row
            | {"worth": float(one["worth"].median())}
            | {name: rounded(value) for name, value in ends.items()}
        )
    cut = pd.DataFrame(
        [
            row
            for mean, degree, seed in itertools.product((SHIMODAIRA, FAR), (LINE, CUBIC), seeds)
            for row in cut_fits(mean, degree, seed)
        ]
    )
    houses = house_risks(lab, seeds)
    images, on_new_images = image_runs(lab, seeds)
    return lab.observations(
        runs=kept.reset_index(drop=True),
        curve=pd.DataFrame(curve),
        cut=cut,
        houses=houses,
        images=images,
        new_images=on_new_images,
    )


def cut_fits(target_mean: float, degree: int, seed: int) -> list[dict[str, Any]]:
    """Excess risk on the target with true weights that are cut at so many times their mean; with none cut last."""
    x, y = labelled(SOURCE_MEAN, SOURCE_STD, seed, 0)
    rows = []
    for cap in (*CAPS, None):
        weights = corrected(ratio(x, target_mean), "true", clip=cap)
        found = excess(fitted(x, y, weights.weights, degree), target_mean)
        named = {"target_mean": target_mean, "degree": degree, "cap": UNCUT if cap is None else f"{cap:g}"}
        row = {"seed": seed, "excess": rounded(found), "worth": rounded(weights.effective_sample_size, 4)}
        rows.append(named | row)
    return rows


def house_risks(lab: Lab, seeds: range) -> pd.DataFrame:
    """The risk on newer houses of models that were fitted to older ones: a row for each draw, model and method."""
    held = lab.dataset("house-prices", embedded="drawn-houses")
    problem = ShiftedHouses(data.load_table(held.name, "train"))
    lab.use(held)
    draws = seeds[: lab.choose(quick=2, full=16)]
    rows = [row for seed in draws for row in problem.risks(seed)]
    return pd.DataFrame([{name: rounded(value) for name, value in row.items()} for row in rows])


def image_runs(lab: Lab, seeds: range) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Networks that learn from darker images and are asked of brighter ones; and what holds for new images, too."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    lab.use(dataset)
    problem = ShiftedImages(dataset, most=lab.choose(quick=200, full=2000))
    some = seeds[: lab.choose(quick=2, full=8)]
    epochs = lab.choose(quick=10, full=40)
    read = chapter.read_at_the_end(turn(Setting(), batch_size=50, epochs=epochs))
    settings = {name: turn(read, **knobs) for name, knobs in NETWORKS.items()}
    frames: list[pd.DataFrame] = []
    hits: dict[str, np.ndarray] = {}
    for method in IMAGE_METHODS:
        arms = [Arm(f"{name} {method}", setting) for name, setting in settings.items()]
        results = lab.run(Study(arms, some, problem.problem(method)))
        worth = {seed: _worth(problem, method, seed) for seed in some}
        frames.append(results.frame.assign(worth=results.frame["seed"].map(worth)))
        if (results.frame["status"] == "finished").all():
            hits |= {arm.name: results.test_hits(arm.name) for arm in arms}
    nudges = some[: lab.choose(quick=1, full=3)]
    for method in ("none", "true"):
        arms = [
            Arm(f"{NUDGED} {name} {method}", moved)
            for name, setting in settings.items()
            if (moved := chapter.nudged(setting)) is not None
        ]
        frames.append(lab.run(Study(arms, nudges, problem.problem(method))).frame)
    slow = turn(read, learning_rate=FACTOR_RATE, epochs=FACTOR_EPOCHS)
    slow = turn(slow, evaluate_every=slow.training.epochs, probes=())
    for factor, weighted in itertools.product((1.0, FACTOR), (False, True)):
        arm = Arm(factor_arm(factor, weighted=weighted), slow)
        frames.append(lab.run(Study([arm], some, problem.unscaled(factor, weighted=weighted))).frame)
    new = []
    for name, method in itertools.product(NETWORKS, IMAGE_METHODS[1:]):
        one, other = f"{name} {method}", f"{name} none"
        if len(some) > 1 and {one, other} <= hits.keys():
            new.append({"contrast": one} | two_way(hits[one], hits[other]).to_dict())
    columns = ["arm", "seed", "digest", "status", "train_loss", "test_loss", "test_accuracy", "worth"]
    runs = pd.concat(frames)[columns].reset_index(drop=True)
    return runs, pd.DataFrame(new, columns=["contrast", *(one.name for one in fields(Interval))])


def _worth(problem: ShiftedImages, method: Method, seed: int) -> float:
    """How many rows the weighted ones are worth."""
    if method == "target":
        return float(len(problem.draw(seed).target))
    return rounded(problem.weights(method, seed).effective_sample_size, 4)


def factor_arm(factor: float, *, weighted: bool) -> str:
    """What the arm is called whose losses count so many times, with cut weights or without."""
    return f"times {factor:g} {'cut' if weighted else 'none'}"


def fits(target_mean: float, seed: int) -> list[dict[str, Any]]:
    """Excess risk on the target of every model: a row for each degree and method."""
    x, y = labelled(SOURCE_MEAN, SOURCE_STD, seed, 0)
    target, target_y = labelled(target_mean, TARGET_STD, seed, 1)
    fresh, fresh_y = labelled(SOURCE_MEAN, SOURCE_STD, seed, 2)
    held = {"true": corrected(ratio(x, target_mean), "true")}
    classifiers = {"estimated": "quadratic"}
    if target_mean == SHIMODAIRA:
        # The log ratio of two Gaussians of unlike width is a parabola; without the square no classifier expresses it.
        classifiers["wrong"] = "logistic"
    for method, classifier in classifiers.items():
        found = ClassifierWeights(classifier, random_state=seed).fit(x[:, None], target[:, None])
        held[method] = found.correction_
    rows = []
    for degree, method in itertools.product((LINE, CUBIC), ("none", *held, "target")):
        on_target, correction = method == "target", held.get(method)
        own = np.ones(ROWS) if correction is None else correction.weights
        w = fitted(*((target, target_y) if on_target else (x, y)), own, degree)
        risk = excess(w, target_mean) + NOISE_STD**2
        losses = (np.polynomial.polynomial.polyval(fresh, w) - fresh_y) ** 2
        weights = ratio(fresh, target_mean)
        row = {
            "excess": excess(w, target_mean),
            "plain": float(losses.mean()) / risk,
            "weighted": float(weights @ losses / weights.sum()) / risk,
            "worth": float(ROWS) if correction is None else correction.effective_sample_size,
        }
        named = {"arm": f"degree {degree}, {method}", "seed": seed, "status": "finished"}
        named |= {"target_mean": target_mean, "degree": degree, "method": method}
        rows.append(
            named
            | {"warned": int(correction is not None and correction.will_hurt)}
            | {name: rounded(value) for name, value in row.items()}
        )
    return rows


def labelled(mean: float, std: float, seed: int, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs from N(mean, std²) and y = -x + x³ + noise."""
    x = mean + std * Stream(seed, "data", layer=sample).normal(ROWS)
    return x, -x + x**3 + NOISE_STD * Stream(seed, "data", layer=sample, step=1).normal(ROWS)


def density(x: Any, mean: float, std: float) -> Any:
    """Of N(mean, std²)."""
    return np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))


def ratio(x: Any, target_mean: float) -> Any:
    """p(target)/p(source), known here."""
    return density(x, target_mean, TARGET_STD) / density(x, SOURCE_MEAN, SOURCE_STD)


def fitted(x: np.ndarray, y: np.ndarray, weights: np.ndarray, degree: int) -> np.ndarray:
    """Weighted least squares: coefficients, constant first."""
    root = np.sqrt(weights)
    powers = np.vander(x, degree + 1, increasing=True)
    return np.linalg.lstsq(powers * root[:, None], y * root, rcond=None)[0]


NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(10)  # exact up to degree 19


def excess(w: np.ndarray, target_mean: float) -> float:
    """The risk on the target above that of the truth, exactly."""
    x = target_mean + TARGET_STD * NODES
    gaps = np.polynomial.polynomial.polyval(x, w) - (-x + x**3)
    return float(NODE_WEIGHTS @ gaps**2 / NODE_WEIGHTS.sum())


# Proofs and properties


def is_best_line(problem: tuple[str, str]) -> Finding:
    """Is (constant, slope) the least-squares line of -x + x³ under N(mean, std²), exactly?

    Arguments:
      problem: whose inputs, and whose line: `source` or `target`.
    """
    half = sympy.Rational(1, 2)
    inputs = {"source": (half, half), "target": (sympy.Integer(0), sympy.Rational(3, 10))}
    lines = {"source": (-half / 2, half), "target": (sympy.Integer(0), sympy.Rational(-73, 100))}
    mean, std = inputs[problem[0]]
    z, constant, slope = sympy.symbols("z a b", real=True)
    x = mean + std * z
    gap = sympy.Poly(sympy.expand((-x + x**3 - constant - slope * x) ** 2), z)
    # E z^k of a standard normal: 1, 0, 1, 0, 3, 0, 15
    moments = [1 if k == 0 else (0 if k % 2 else sympy.factorial2(k - 1)) for k in range(7)]
    risk = sum(gap.coeff_monomial(z**k) * moments[k] for k in range(7))
    found = sympy.solve([sympy.diff(risk, constant), sympy.diff(risk, slope)], [constant, slope])
    line = (found[constant], found[slope])
    truth = line == lines[problem[1]]
    return Finding.true_if(truth, f"the line is {line}", constant=float(line[0]), slope=float(line[1]))


GRID = np.linspace(-4, 5, 200_001)


def weighted_means_are_the_targets(cap: float) -> Finding:
    """Random cubics f: is the mean of w f under the source that of f under the target, with w cut at the cap?"""
    worst = 0.0
    weights = np.minimum(ratio(GRID, SHIMODAIRA), cap)
    for number in range(50):
        f = np.polynomial.polynomial.polyval(GRID, Stream(number, "data").normal(4))
        ours = np.trapezoid(weights * f * density(GRID, SOURCE_MEAN, SOURCE_STD), GRID)
        theirs = np.trapezoid(f * density(GRID, SHIMODAIRA, TARGET_STD), GRID)
        worst = max(worst, abs(float(ours - theirs)))
    return Finding.true_if(worst < 1e-9, worst_error=worst, tries=50)


def mean_square(exponent: Callable[[float, float], float]) -> Callable[[], float]:
    """E[w²] of two Gaussians: σp²/(σq √(2σp² - σq²)) · exp(exponent(Δ², 2σp² - σq²)), Δ the distance of the means."""

    def value() -> float:
        left = 2 * SOURCE_STD**2 - TARGET_STD**2
        factor = SOURCE_STD**2 / (TARGET_STD * left**0.5)
        return float(factor * np.exp(exponent((SOURCE_MEAN - SHIMODAIRA) ** 2, left)))

    return value


def is_mean_square(said: Callable[[], float]) -> Finding:
    """Is this E[w²], by numerical integration? `share`: what n weighted rows are worth, over n."""
    weights = ratio(GRID, SHIMODAIRA)
    found = float(np.trapezoid(weights**2 * density(GRID, SOURCE_MEAN, SOURCE_STD), GRID))
    return Finding.true_if(abs(said() - found) < 1e-8, mean_square=found, share=1 / found)


# Comparisons


def values(observations: Observations, degree: int, method: str, metric: str = "excess") -> np.ndarray:
    """A metric of each seed, on Shimodaira's target."""
    return observations.runs.values(metric, f"degree {degree}, {method}")


def gain(observations: Observations, degree: int, method: str) -> np.ndarray:
    """Excess risk without weights, minus with these."""
    return values(observations, degree, "none") - values(observations, degree, method)


def gain_left(observations: Observations, method: str = "estimated") -> np.ndarray:
    """What estimated weights cost beside true ones, as a share of what true ones gain, for each seed."""
    lost = values(observations, LINE, method) - values(observations, LINE, "true")
    return lost / gain(observations, LINE, "true").mean()


def added(observations: Observations) -> np.ndarray:
    """How much higher the excess risk is with estimated weights than with true ones, as a share of its mean."""
    true = values(observations, LINE, "true")
    return (values(observations, LINE, "estimated") - true) / true.mean()


def cut_risks(observations: Observations, target_mean: float, degree: int, cap: str) -> np.ndarray:
    """Excess risk by seed with true weights cut at so many times their mean; `none` for uncut."""
    held = observations["cut"]
    at = (held["target_mean"] == target_mean) & (held["degree"] == degree) & (held["cap"] == cap)
    return held[at].sort_values("seed")["excess"].to_numpy(dtype=float)


def cut_against_uncut(observations: Observations, degree: int) -> np.ndarray:
    """On the farthest target: log of the excess risk with cut weights over that with uncut ones, by seed."""
    cut, uncut = (cut_risks(observations, FAR, degree, cap) for cap in (f"{CAP:g}", UNCUT))
    return np.log(cut / uncut)


def house_logs(observations: Observations, model: str, method: str, than: str = "none") -> np.ndarray:
    """Log of the risk on newer houses with a method over that without weights, by draw."""
    held = observations["houses"]
    one, other = (
        held[(held["model"] == model) & (held["method"] == name)].sort_values("seed")["risk"].to_numpy(float)
        for name in (method, than)
    )
    return np.log(one / other)


def line_over_trees(observations: Observations) -> np.ndarray:
    """Log of the factor by which weights change the risk of trees over that by which they change a line's, by draw."""
    return house_logs(observations, "trees", "estimated") - house_logs(observations, "line", "estimated")


def images_of(observations: Observations, arm: str, metric: str) -> np.ndarray:
    """A metric of an arm by seed; a run that diverged counts as one that guesses."""
    held = observations["images"]
    return choice.counted(metric, held[held["arm"] == arm].sort_values("seed")[metric])


def loss_saved(observations: Observations, network: str, method: str) -> np.ndarray:
    """By how much the loss on the target is lower than without weights, by seed."""
    without, found = (images_of(observations, f"{network} {one}", "test_loss") for one in ("none", method))
    return without - found


def factor_gain(observations: Observations, *, weighted: bool) -> np.ndarray:
    """By how much FACTOR before the loss raises the accuracy on the target, by seed, with cut weights or without,
    against no weights and no factor."""
    found = images_of(observations, factor_arm(FACTOR, weighted=weighted), "test_accuracy")
    return found - images_of(observations, factor_arm(1.0, weighted=False), "test_accuracy")


def weights_beyond_factor(observations: Observations) -> np.ndarray:
    """By how much cut weights with FACTOR are better than FACTOR alone, in accuracy, by seed."""
    return factor_gain(observations, weighted=True) - factor_gain(observations, weighted=False)


# What is shown


def curve(observations: Observations, degree: int) -> pd.DataFrame:
    """Excess risk by target and method."""
    held = observations["curve"]
    return held[held["degree"] == degree]


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    line = curve(observations, LINE).set_index(["target_mean", "method"])
    houses = observations["houses"]
    images = observations["images"]
    worth = houses.groupby("method")["worth"].median()
    new_images = choice.for_new_images(observations)
    return {
        "rows": ROWS,
        "far": FAR,
        "units": UNITS,
        "trees": mean_interval(house_logs(observations, "trees", "estimated")),
        "cap": CAP,
        "excess": {m: mean_interval(values(observations, LINE, m)) for m in METHODS},
        "cubic": {m: mean_interval(values(observations, CUBIC, m)) for m in METHODS},
        "plain": mean_interval(values(observations, LINE, "none", "plain")),
        "far_excess": {m: float(line.loc[(FAR, m), "estimate"]) for m in EVERYWHERE},  # pyright: ignore
        "far_worth": float(line.loc[(FAR, "true"), "worth"]),  # pyright: ignore[reportArgumentType]
        "far_warned": float(line.loc[(FAR, "estimated"), "warned"]),  # pyright: ignore[reportArgumentType]
        "near_warned": float(line.loc[(SHIMODAIRA, "estimated"), "warned"]),  # pyright: ignore
        "margin": MARGIN,
        "gain": mean_interval(gain(observations, LINE, "true")),
        "risk_margin": RISK_MARGIN,
        "draws": int(houses["seed"].nunique()),
        "num_houses": int(houses[houses["method"] == "none"]["rows"].median()),
        "houses_worth": {m: float(worth[m]) for m in worth.index},
        "image_seeds": int(images["seed"].nunique()),
        "images_worth": {
            m: float(images[images["arm"] == f"{SMALL} {m}"]["worth"].median()) for m in IMAGE_METHODS
        },
        "loss_margin": LOSS_MARGIN,
        "saved": {
            name: {m: mean_interval(loss_saved(observations, name, m)) for m in IMAGE_METHODS[1:]}
            for name in NETWORKS
        },
        "new_images": {name.replace(" ", "_"): interval for name, interval in new_images.items()},
        "moved": {
            name: max(
                choice.most_moved(
                    *(
                        images_of(observations, arm, "test_loss")
                        for arm in (f"{NUDGED} {name} {m}", f"{name} {m}")
                    )
                )
                for m in ("none", "true")
            )
            for name in NETWORKS
        },
        "factor": FACTOR,
        "unscaled": mean_interval(
            images_of(observations, factor_arm(1.0, weighted=True), "test_accuracy")
            - images_of(observations, factor_arm(1.0, weighted=False), "test_accuracy")
        ),
        "factor_gain": {
            name: mean_interval(factor_gain(observations, weighted=weighted))
            for name, weighted in (("cut", True), ("alone", False))
        },
        "accuracy_margin": ACCURACY_MARGIN,
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The line's excess risk on Shimodaira's target, in the mean of the program's draws."""
    shown = ("none", "true", "estimated")
    return {m: prediction_interval(values(observations, LINE, m), num_new=PROGRAM_DRAWS) for m in shown}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Excess risk by model and weights; where weights are cut; houses; images; by target."""
    note = words("labels.draws", num_seeds=observations.num_seeds)
    names = words.group("names")
    rows = [
        [names[m]]
        + [show.number_interval(mean_interval(values(observations, degree, m))) for degree in (LINE, CUBIC)]
        for m in METHODS
    ]
    cut = []
    for cap in (*(f"{cap:g}" for cap in CAPS), UNCUT):
        cells = [
            show.number(float(cut_risks(observations, mean, degree, cap).mean()))
            for mean in (SHIMODAIRA, FAR)
            for degree in (LINE, CUBIC)
        ]
        cut.append([words["labels.uncut"] if cap == UNCUT else cap, *cells])
    by_target = []
    for mean in TARGET_MEANS:
        held = curve(observations, LINE)
        held = held[held["target_mean"] == mean].set_index("method")
        cells = [show.stacked(show.number_interval(_Row(held.loc[m].to_dict()))) for m in EVERYWHERE]
        worth = show.number(float(held.loc["true", "worth"]))  # pyright: ignore[reportArgumentType]
        by_target.append([f"{mean:g}".replace("-", show.MINUS), worth, *cells])
    return [
        _of_houses(observations, words),
        _of_images(observations, words),
        Table(
            words("titles.excess", note=note),
            (words["heads.weights"], words["heads.line"], words["heads.cubic"]),
            rows,
        ),
        Table(
            words("titles.cut", num_seeds=observations.num_seeds, far=f"{FAR:g}".replace("-", show.MINUS)),
            (words["heads.cap"], *(words[f"heads.{name}"] for name in CUT_HEADS)),
            cut,
        ),
        Table(
            words("titles.by-target", note=note),
            (
                words["heads.mean"],
                words("heads.worth", rows=ROWS),
                *(names[m] for m in EVERYWHERE),
            ),
            by_target,
        ),
    ]


CUT_HEADS = ("line-near", "cubic-near", "line-far", "cubic-far")


def _of_houses(observations: Observations, words: WordList) -> Table:
    """The risk on newer houses against that without weights, and what the weighted houses are worth."""
    held = observations["houses"]
    rows = []
    for method, label in words.group("methods").items():
        worth = show.number(float(held[held["method"] == method]["worth"].median()))
        cells = ["1"] * len(HOUSE_MODELS)
        if method != "none":
            found = (mean_interval(house_logs(observations, model, method)) for model in HOUSE_MODELS)
            cells = [show.stacked(show.ratio_interval(one)) for one in found]
        rows.append([label, worth, *cells])
    return Table(
        words("titles.houses", draws=int(held["seed"].nunique())),
        (words["heads.weights"], words["heads.rows"], *words.group("house_models").values()),
        rows,
    )


def _of_images(observations: Observations, words: WordList) -> Table:
    """Loss and accuracy on brighter images by network and weights."""
    held = observations["images"]
    rows = []
    for method in IMAGE_METHODS:
        worth = float(held[held["arm"] == f"{SMALL} {method}"]["worth"].median())
        cells = []
        for name in NETWORKS:
            loss, accuracy = (
                mean_interval(images_of(observations, f"{name} {method}", metric))
                for metric in ("test_loss", "test_accuracy")
            )
            cells += [show.stacked(show.number_interval(loss)), show.stacked(show.percent_interval(accuracy))]
        rows.append([words[f"methods.{method}"], f"{worth:.0f}", *cells])
    heads = [words[f"heads.{name}-{what}"] for name in NETWORKS for what in ("loss", "accuracy")]
    return Table(
        words("titles.images", seeds=int(held["seed"].nunique())),
        (words["heads.weights"], words["heads.rows"], *heads),
        rows,
    )


class _Row:
    """A row of a table as an interval."""

    def __init__(self, row: dict[Any, Any]) -> None:
        self.estimate, self.ci_low, self.ci_high = (float(row[n]) for n in ("estimate", "ci_low", "ci_high"))


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """What weights change on houses and images; excess risk of line and cubic against the mean of the target."""
    alt = import_extra("altair", what="A figure", extra="book")
    heads = {LINE: words["labels.line"], CUBIC: words["labels.cubic"]}
    panels = [
        _panel(alt, curve(observations, d), head, observations.num_seeds, words) for d, head in heads.items()
    ]
    return alt.vconcat(
        alt.hconcat(_house_panel(observations, words), _image_panel(observations, words)),
        alt.hconcat(*panels),
    ).resolve_scale(color="independent", strokeDash="independent")


def _house_panel(observations: Observations, words: WordList) -> Any:
    """By how many per cent weights change the risk on newer houses, for each model."""
    return _bars(
        {
            (words[f"house_models.{model}"], words[f"methods.{method}"]): _in_per_cent(
                mean_interval(house_logs(observations, model, method))
            )
            for model in HOUSE_MODELS
            for method in WEIGHED
        },
        [words[f"methods.{method}"] for method in WEIGHED],
        words["labels.houses"],
        words["labels.risk-change"],
        ".0%",
    )


def _image_panel(observations: Observations, words: WordList) -> Any:
    """By how much weights change the loss on brighter images, for each network."""
    found = {}
    for name, method in itertools.product(NETWORKS, ("true", "estimated", "clipped")):
        one = mean_interval(-loss_saved(observations, name, method))
        key = words[f"labels.{name}"], words[f"methods.{method}"]
        found[key] = one.estimate, one.ci_low, one.ci_high
    names = [words[f"methods.{method}"] for method in WEIGHED]  # one colour for each in both panels
    return _bars(found, names, words["labels.images"], words["labels.loss-change"], ".2f")


Ends = tuple[float, float | None, float | None]


def _in_per_cent(log: Interval) -> Ends:
    """A log ratio as a change."""
    low, high = (None if end is None else float(np.expm1(end)) for end in (log.ci_low, log.ci_high))
    return float(np.expm1(log.estimate)), low, high


def _bars(
    found: dict[tuple[str, str], Ends], names: list[str], title: str, axis: str, value_format: str
) -> Any:
    """Intervals in groups, a colour for each method, beside a line at 0."""
    alt = import_extra("altair", what="A figure", extra="book")
    rows = pd.DataFrame(
        [
            {"group": group, "name": name, "value": one[0], "low": one[1], "high": one[2]}
            for (group, name), one in found.items()
        ]
    )
    groups = list(dict.fromkeys(rows["group"]))
    colour = alt.Color(
        "name:N", title=None, scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", columns=2, labelLimit=260),
    )  # fmt: skip
    base = alt.Chart(
        rows, width=230, height=alt.Step(14), title=alt.TitleParams(title, anchor="start")
    ).encode(
        y=alt.Y("group:N", sort=groups, title=None, axis=alt.Axis(labelLimit=150)),
        yOffset=alt.YOffset("name:N", sort=names),
        color=colour,
    )
    x = alt.X("value:Q", title=axis, axis=alt.Axis(format=value_format))
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=plots.GREY, strokeDash=[6, 3])
    kept = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
    return (
        zero.encode(x="zero:Q")
        + kept.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
        + base.mark_point(filled=True, size=55, opacity=1).encode(x=x)
    )


def _panel(alt: Any, held: Any, head: str, draws: int, words: WordList) -> Any:
    labels = words.group("names")
    names = [labels[method] for method in EVERYWHERE]
    rows = held[held["method"].isin(EVERYWHERE)]
    rows = rows.assign(name=[labels[str(method)] for method in rows["method"]])
    note = words["labels.mean"]
    colour = alt.Color(
        "name:N", title=None, scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", columns=2, labelLimit=260, symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    dash = alt.StrokeDash("name:N", title=None, scale=plots.dash_scale(alt, names))
    base = alt.Chart(
        rows, width=310, height=280,
        title=alt.TitleParams(
            head, subtitle=note.format(draws, SOURCE_MEAN), anchor="start",
            subtitleFontSize=11,
        ),
    ).encode(
        x=alt.X("target_mean:Q", title=words["labels.target-mean"]),
        color=colour,
    )  # fmt: skip
    y = alt.Y(
        "estimate:Q", title=words["labels.excess"],
        scale=alt.Scale(type="log", nice=False, padding=10),
    )  # fmt: skip
    kept = base.transform_filter("datum.ci_low > 0")
    return (
        kept.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=alt.Y("ci_low:Q"), y2="ci_high:Q")
        + base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
        + base.mark_point(filled=True, size=40, opacity=1).encode(y=y)
    )


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="the-sources-line",
            kind="proof",
            check=is_best_line,
            subject=lambda o: ("source", "source"),
            falsehood=lambda o: ("target", "source"),
        ),
        Claim(
            name="the-targets-line",
            kind="proof",
            check=is_best_line,
            subject=lambda o: ("target", "target"),
            falsehood=lambda o: ("source", "target"),
        ),
        Claim(
            name="weighted-means-are-the-targets",
            kind="property",
            check=weighted_means_are_the_targets,
            subject=lambda o: np.inf,
            falsehood=lambda o: 3.0,  # clipping costs exactness
        ),
        Claim(
            name="what-weighted-rows-are-worth",
            kind="calculation",
            check=is_mean_square,
            subject=lambda o: mean_square(lambda distance, left: distance / left),
            falsehood=lambda o: mean_square(lambda distance, left: distance / SOURCE_STD**2),  # for equal variances
        ),
        Claim(
            name="true-weights-help",
            kind="experiment",
            check=greater(),
            subject=lambda o: gain(o, LINE, "true"),
            falsehood=lambda o: -gain(o, LINE, "true"),
        ),
        Claim(
            name="estimated-weights-help",
            kind="experiment",
            check=greater(),
            subject=lambda o: gain(o, LINE, "estimated"),
            falsehood=lambda o: -gain(o, LINE, "estimated"),
        ),
        Claim(
            name="estimated-weights-do-as-well",
            kind="experiment",
            figures={"margin": 100 * MARGIN},
check=equivalent(margin=MARGIN, numbers={}),
            subject=gain_left,
            # Twice the excess risk of true weights: what an absolute margin of 0.01 let pass.
            falsehood=lambda o: values(o, LINE, "true") / gain(o, LINE, "true").mean(),
        ),
        Claim(
            name="estimating-costs-something",
            kind="experiment",
            check=greater(numbers={}),
            subject=added,
            falsehood=lambda o: -added(o),
            unit="points",
        ),
        Claim(
            name="a-wrong-ratio-still-helps",
            kind="experiment",
            check=greater(),
            subject=lambda o: gain(o, LINE, "wrong"),
            falsehood=lambda o: -gain(o, LINE, "wrong"),
        ),
        Claim(
            name="a-wrong-ratio-loses-some",
            kind="experiment",
            figures={"margin": 100 * MARGIN},
            check=greater(MARGIN, numbers={}),
            subject=lambda o: gain_left(o, "wrong"),
            falsehood=gain_left,
            unit="points",
        ),
        Claim(
            name="weights-hurt-a-right-model",
            kind="experiment",
            check=greater(),
            subject=lambda o: -gain(o, CUBIC, "true"),
            falsehood=lambda o: gain(o, CUBIC, "true"),
        ),
        Claim(
            name="weighted-risk-tells-the-targets",
            kind="experiment",
            check=equivalent(1.0, margin=RISK_MARGIN, numbers={}),
            subject=lambda o: values(o, LINE, "none", "weighted"),
            falsehood=lambda o: values(o, LINE, "none", "plain"),
        ),
        Claim(
            name="cutting-saves-a-right-model",
            kind="experiment",
            figures={"cap": f"{CAP:g}"},
            check=less(numbers={}),
            subject=lambda o: cut_against_uncut(o, CUBIC),
            falsehood=lambda o: cut_against_uncut(o, LINE),
            unit="log",
        ),
        Claim(
            name="cutting-costs-a-wrong-one",
            kind="experiment",
            figures={"cap": f"{CAP:g}"},
            check=greater(numbers={}),
            subject=lambda o: cut_against_uncut(o, LINE),
            falsehood=lambda o: cut_against_uncut(o, CUBIC),
            unit="log",
        ),
        Claim(
            name="weights-help-a-line-on-houses",
            kind="experiment",
            figures={"factor": f"{1 + RISK_MARGIN:g}"},
            # Draws share houses: as for folds, with as many judges as source rows.
            check=less(-LOG_MARGIN, test_train_ratio=1.0, numbers={}),
            subject=lambda o: house_logs(o, "line", "estimated"),
            falsehood=lambda o: -house_logs(o, "line", "estimated"),
            unit="log",
        ),
        Claim(
            name="weights-help-trees-less-than-the-line",
            kind="experiment",
            check=greater(test_train_ratio=1.0, numbers={}),
            subject=line_over_trees,
            falsehood=lambda o: -line_over_trees(o),
            unit="log",
            post_hoc=True,  # that trees gain nothing at all these houses are too few to decide
        ),
        Claim(
            name="cut-weights-help-a-small-network",
            kind="experiment",
            figures={"units": UNITS, "cap": f"{CAP:g}"},
            check=greater(margin=LOSS_MARGIN),
            subject=lambda o: loss_saved(o, SMALL, "clipped"),
            falsehood=lambda o: -loss_saved(o, SMALL, "clipped"),
            post_hoc=True,  # uncut weights vary too much for so few seeds to decide
        ),
        Claim(
            name="weights-do-not-help-the-section-network",
            kind="experiment",
            figures={"margin": LOSS_MARGIN},
            check=greater(-LOSS_MARGIN, numbers={}),
            subject=lambda o: -loss_saved(o, FLEXIBLE, "true"),
            falsehood=lambda o: -recentred(loss_saved(o, FLEXIBLE, "true"), 2 * LOSS_MARGIN),
        ),
        Claim(
            name="the-factor-alone-gains",
            kind="experiment",
            figures={"factor": f"{FACTOR:g}"},
            check=greater(margin=ACCURACY_MARGIN),
            subject=lambda o: factor_gain(o, weighted=False),
            falsehood=lambda o: -factor_gain(o, weighted=False),
            unit="points",
        ),
        Claim(
            name="weights-add-nothing-to-the-factor",
            kind="experiment",
            figures={"factor": f"{FACTOR:g}", "margin": 100 * ACCURACY_MARGIN},
            check=less(ACCURACY_MARGIN, numbers={}),
            subject=weights_beyond_factor,
            falsehood=lambda o: recentred(weights_beyond_factor(o), 2 * ACCURACY_MARGIN),
            unit="points",
        ),
    ),
    circulated=(
        Circulated("only-a-dead-link", "skipped"),
        Circulated(
            "small-weights-need-a-factor",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="weights-add-nothing-to-the-factor",
            source="datawhale",
        ),
        Circulated(
            "weights-make-distributions-match",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="weighted-means-are-the-targets",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--seeds 100",
)  # fmt: skip
