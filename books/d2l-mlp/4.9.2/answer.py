"""4.9.2 A detector of covariate shift, from a classifier.

A classifier learns to tell reference rows from current rows, and is judged on rows that it has not seen. Beside it
stand the usual tests: one for each column, one in a kernel's space, and one on what a model predicts. Whether an alarm
can be trusted is asked of thousands of pairs of samples without a shift; what each test finds, of known shifts.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.shift import BBSDDetector, C2STDetector, DataWarning, FeatureDetector, MMDDetector
from mlplab.shift.c2st import auc, rank_p_value
from mlplab.shift.detector import Detector
from mlplab.stats import Comparison, Interval, Verdict, paired, prediction_interval, proportion_interval

if TYPE_CHECKING:
    import altair

ALPHA = 0.05
TOLERATED = 0.065  # alpha, and what some thousand repeats cannot tell from it
NUM_FEATURES, NULL_ROWS = 10, 50
SIZES = (25, 50, 100, 200, 400)
SHIFTS = (0.25, 0.5, 1.0)  # of the mean of one feature, in standard deviations
FEW, MANY, SHIFT = 50, 400, 0.5
# All claims of this page together err in 5% of cases: half of it for the shares that claims read against a number, in
# equal parts (Bonferroni), half for comparisons of tests (Holm, as everywhere).
NUM_SHARES = 14
SHARE_PROB = 1 - ALPHA / 2 / NUM_SHARES

# What shifts in the drawn rows -> how many columns they have.
KINDS = {"one-mean": NUM_FEATURES, "one-of-many": 50} | dict.fromkeys(
    ("all-means", "spread", "dependence"), NUM_FEATURES
)
KIND_ROWS, CORRELATION, SPREAD = 100, 0.8, 1.6
LARGEST_SHARE = 0.1  # of alarms, twice alpha: a test that alarms less often does not see a shift

IMAGE_ROWS = 200
CHANGES = {
    "none": lambda images: images,
    "darker-10": lambda images: 0.90 * images,
    "blurred-half": lambda images: blurred(images, 0.5),
    "one-class": lambda images: images,  # which has more images than a tenth
}
SMALL_CHANGE = "darker-10"
ONE_CLASS, CLASS_SHARE = "one-class", 0.3
TAUGHT = 2000  # images that the model behind the predictions has learned from
PERMUTATIONS = 199

# A test gets reference rows, current rows and a seed, and gives a p-value.
Test = Callable[[np.ndarray, np.ndarray, int], float]


def observe(lab: Lab) -> Observations:
    """Alarms without a shift, with shifts of known kind and size, and with changed images."""
    images = lab.dataset("fashion-mnist", embedded="mnist-5k")
    lab.use(images)
    repeats = lab.seeds(quick=30, full=2000)
    rows = _alarms("null", NULL_ROWS, "", chosen(ON_NULL), repeats, partial(samples, size=NULL_ROWS))
    fewer = repeats[: lab.choose(quick=4, full=100)]
    for shift, size in itertools.product(SHIFTS, SIZES):
        pairs = partial(samples, size=size, shift=shift)
        rows += _alarms("power", size, f"{shift:g}", chosen(["logistic"]), fewer, pairs)
    some = repeats[: lab.choose(quick=3, full=250)]
    for kind in KINDS:
        rows += _alarms("kinds", KIND_ROWS, kind, chosen(ON_ROWS), some, partial(shifted, kind=kind))
    predictions = {"predictions": on_predictions(images)}
    for change in CHANGES:
        pairs = partial(image_samples, images=images, change=change)
        # More where there is little to find: small shares are told from each other by many.
        many = lab.choose(quick=2, full=200 if change in ("none", ONE_CLASS) else 100)
        dear = repeats[: lab.choose(quick=1, full=34)]
        found = _alarms("images", IMAGE_ROWS, change, chosen(DEAR), dear, pairs)
        cheap = chosen(["logistic", "kernel"]) | predictions
        rows += found + _alarms("images", IMAGE_ROWS, change, cheap, repeats[:many], pairs)
    pairs = partial(image_samples, images=images, change="none")
    level = repeats[: lab.choose(quick=20, full=1000)]
    rows += _alarms("null", IMAGE_ROWS, "", predictions, level, pairs)
    return lab.observations(shares=pd.DataFrame(rows))


# Draws reference rows and current rows of a seed.
Drawn = Callable[[int], tuple[np.ndarray, np.ndarray]]


def _alarms(
    part: str, size: int, change: str, tests: Mapping[str, Test], seeds: range, drawn: Drawn
) -> list[dict[str, Any]]:
    """A row for each test, on the same pairs of samples: how often it alarms, and at which seeds (1 for an alarm)."""
    found: dict[str, list[bool]] = {name: [] for name in tests}
    for seed in seeds:
        reference, current = drawn(seed)
        for name, test in tests.items():
            found[name].append(test(reference, current, seed) < ALPHA)
    return [
        {"part": part, "test": name, "rows": size, "change": change, "alarms": sum(alarms)}
        | {"repeats": len(seeds), "by_seed": "" if part == "null" else "".join("01"[a] for a in alarms)}
        for name, alarms in found.items()
    ]


def samples(
    seed: int, size: int, shift: float = 0.0, num_features: int = NUM_FEATURES
) -> tuple[np.ndarray, np.ndarray]:
    """Reference and current rows from N(0, I); the mean of the current rows' first feature is moved."""
    reference, current = (
        Stream(seed, "data", layer=i, step=size).normal((size, num_features)) for i in (0, 1)
    )
    current[:, 0] += shift
    return reference, current


def shifted(seed: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Reference rows from N(0, I), and current rows that have shifted in one of KINDS."""
    shift = SHIFT if kind in ("one-mean", "one-of-many") else 0.0
    reference, current = samples(seed, KIND_ROWS, shift, KINDS[kind])
    if kind == "all-means":  # as far from the reference as the one mean, in all directions a little
        current += SHIFT / NUM_FEATURES**0.5
    elif kind == "spread":
        current[:, 0] *= SPREAD
    elif kind == "dependence":  # two features hang together; each for itself is as before
        current[:, 1] = CORRELATION * current[:, 0] + (1 - CORRELATION**2) ** 0.5 * current[:, 1]
    return reference, current


# The tests


def classifier(kind: Any) -> Test:
    """mlplab's detector: a classifier of one half of the rows, judged on the other."""
    return lambda *pair: p_value(C2STDetector(kind, num_drivers=0, seed=pair[2]), *pair[:2])


def p_value(detector: Detector, reference: Any, current: Any) -> float:
    """Of a detector, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of pixels that are black in all images
        return detector.fit(reference).test(current).p_value


def pooled(reference: np.ndarray, current: np.ndarray, seed: int) -> float:
    """Not valid: cross-validated scores of all rows in one ordinary test, as if they were independent."""
    rows = np.concatenate([reference, current])
    label = np.repeat([False, True], [len(reference), len(current)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    scores = cross_val_predict(LogisticRegression(), rows, label, cv=folds, method="decision_function")
    return rank_p_value(np.asarray(scores), label, seed)


def products() -> Any:
    """A logistic classifier on features, their squares and products."""
    squares = PolynomialFeatures(2, include_bias=False)
    return make_pipeline(StandardScaler(), squares, LogisticRegression(C=0.1))


def columns(reference: np.ndarray, current: np.ndarray, seed: int) -> float:
    """Kolmogorov and Smirnov's test of each column, Holm over all."""
    return p_value(FeatureDetector(num_drivers=1, seed=seed), reference, current)


def kernel(reference: np.ndarray, current: np.ndarray, seed: int) -> float:
    """The maximum mean discrepancy (MMD), by permutations."""
    return p_value(MMDDetector(num_permutations=PERMUTATIONS, num_drivers=0, seed=seed), reference, current)


TESTS: dict[str, Test] = {
    "pooled": pooled,
    "logistic": classifier("logistic"),
    "products": classifier(products()),
    "trees": classifier("gradient_boosting"),
    "columns": columns,
    "kernel": kernel,
}
ON_NULL = ("pooled", "logistic", "products", "columns", "kernel")
ON_ROWS = ("logistic", "products", "trees", "columns", "kernel")
DEAR = ("trees", "columns")  # with 784 columns
ON_IMAGES = ("logistic", "trees", "columns", "kernel", "predictions")


def chosen(names: Sequence[str]) -> dict[str, Test]:
    """Some of the tests, by name."""
    return {name: TESTS[name] for name in names}


def on_predictions(images: Dataset) -> Test:
    """Black-box shift detection (BBSD): the columns' test on the probabilities that a model gives to the classes.

    The model has learned from training images, and is compared on test images.
    """
    x, y = images.train.features[:TAUGHT], images.train.targets[:TAUGHT]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200)).fit(x, y)
    return lambda *pair: p_value(BBSDDetector(model, on="scores", num_drivers=1, seed=pair[2]), *pair[:2])


def image_samples(seed: int, images: Dataset, change: str) -> tuple[np.ndarray, np.ndarray]:
    """Test images, and other test images that were changed."""
    assert images.test is not None
    # Not of the stream `split`, from which the detector of this seed draws its halves.
    order = Stream(seed, "data", layer=2).permutation(images.test.num_examples)
    first, others = order[:IMAGE_ROWS], order[IMAGE_ROWS:]
    if change == ONE_CLASS:
        is_first, most = images.test.targets[others] == 0, round(CLASS_SHARE * IMAGE_ROWS)
        others = np.concatenate([others[is_first][:most], others[~is_first][: IMAGE_ROWS - most]])
    reference, current = (
        images.test.features[rows].astype(np.float64) for rows in (first, others[:IMAGE_ROWS])
    )
    # To 256 levels again, as a camera's file has them: what lies between gives every change away.
    return reference, np.round(255 * CHANGES[change](current)) / 255


def blurred(images: np.ndarray, width: float) -> np.ndarray:
    """By a Gaussian of this standard deviation, in pixels."""
    side = round(images.shape[1] ** 0.5)
    return gaussian_filter(images.reshape(-1, side, side), (0, width, width)).reshape(images.shape)


# Checks

# Number of alarms, and of repeats
Counted = tuple[int, int]


def cell(observations: Observations, part: str, test: str, size: int, change: str) -> dict[str, Any]:
    """The row of a test."""
    held = observations["shares"]
    at = (held["part"] == part) & (held["test"] == test) & (held["rows"] == size) & (held["change"] == change)
    (row,) = held[at].to_dict("records")
    return {str(name): value for name, value in row.items()}


def alarms(observations: Observations, part: str, test: str, size: int, change: str) -> Counted:
    """Number of alarms and of repeats."""
    row = cell(observations, part, test, size, change)
    return int(row["alarms"]), int(row["repeats"])


def by_seed(observations: Observations, part: str, test: str, size: int, change: str) -> np.ndarray:
    """1 for each seed with an alarm, 0 for the others."""
    return np.array(list(cell(observations, part, test, size, change)["by_seed"]), dtype=float)


def deciding(counted: Counted) -> Interval:
    """The share of alarms with the interval that claims are read off."""
    return proportion_interval(*counted, ci_prob=SHARE_PROB)


def is_below(limit: float) -> Callable[[Counted], Finding]:
    """Is the true share below the limit? Read off the exact binomial interval."""
    return lambda counted: _judged(counted, limit, below=True)


def is_above(limit: float) -> Callable[[Counted], Finding]:
    """Is the true share above the limit?"""
    return lambda counted: _judged(counted, limit, below=False)


def all_are_below(limit: float) -> Callable[[Sequence[Counted]], Finding]:
    """Are all of several shares below the limit? It carries the highest."""

    def check(each: Sequence[Counted]) -> Finding:
        findings = [is_below(limit)(counted) for counted in each]
        highest = max(findings, key=lambda finding: finding.numbers["ci_high"])
        return Finding(_weakest(*(finding.verdict for finding in findings)), None, highest.numbers)

    return check


def _judged(counted: Counted, limit: float, *, below: bool) -> Finding:
    found = deciding(counted)
    low, high = float(found.ci_low or 0.0), float(found.ci_high or 0.0)
    verdict: Verdict = "undecided"
    if high < limit or low > limit:
        verdict = "holds" if (high < limit) == below else "fails"
    numbers = {"estimate": found.estimate, "ci_low": low, "ci_high": high, "repeats": counted[1]}
    return Finding(verdict, None, numbers)


def _weakest(*verdicts: Any) -> Verdict:
    """Of a statement that holds where all of its parts do."""
    return "fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds"


def first_finds_it_more(counted: tuple[Counted, Counted]) -> Finding:
    """Does the first find the shift more often than not, and the second less often than not?"""
    first, second = is_above(0.5)(counted[0]), is_below(0.5)(counted[1])
    verdict = _weakest(first.verdict, second.verdict)
    return Finding(verdict, None, {"first": first.numbers["estimate"], "second": second.numbers["estimate"]})


def finds_more(found: Sequence[np.ndarray]) -> Finding:
    """Does the first test find the shift more often than each of the others, on the seeds that they share?

    Each is compared at the full level, since all must be shown (Berger 1982). The finding is the hardest comparison,
    and carries the share of the first and the highest share of the others.
    """
    first, *others = found
    level = ALPHA / 2
    each: list[Comparison] = [
        paired(
            *(test[: min(len(first), len(other))] for test in (first, other)), claim="greater", alpha=level
        )
        for other in others
    ]
    order = ("fails", "undecided", "holds")
    hardest = min(each, key=lambda one: (order.index(one.verdict), one.estimate))
    return Finding.of(
        hardest, share=float(first.mean()), next_best=max(float(other.mean()) for other in others)
    )


def never_alarms_too_often(counts_ties: bool) -> Finding:
    """Four rows of each sample, without a shift: all 70 orders of the scores are equally likely. Count the alarms.

    Is the share of orders with p at most a itself at most a, for every a?

    Arguments:
      counts_ties: whether p counts the orders as extreme as the one seen, or only those that are more so.
    """
    score = np.arange(8.0)
    orders = [np.isin(np.arange(8), chosen) for chosen in itertools.combinations(range(8), 4)]
    areas = np.array([auc(score, order) for order in orders])
    extreme = (
        areas[None, :] >= areas[:, None] - 1e-12 if counts_ties else areas[None, :] > areas[:, None] + 1e-12
    )
    p = extreme.mean(1)
    agrees = all(np.isclose(rank_p_value(score, o), q) for o, q in zip(orders, p, strict=True))
    valid = all((p <= level + 1e-12).mean() <= level + 1e-12 for level in p)
    return Finding.true_if(
        valid and agrees, "the detector's own p-values" if agrees else "other p-values", orders=70
    )


# What is shown


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Shares of alarms over the program's 200 pairs of samples of KIND_ROWS rows."""
    rows = {
        "linear_one_mean": ("logistic", "one-mean"),
        "columns_one_mean": ("columns", "one-mean"),
        "products_dependence": ("products", "dependence"),
        "linear_dependence": ("logistic", "dependence"),
    }
    return {
        name: prediction_interval(by_seed(observations, "kinds", test, KIND_ROWS, kind), num_new=200)
        for name, (test, kind) in rows.items()
    }


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""

    def share(part: str, test: str, size: int, change: str) -> float:
        count, repeats = alarms(observations, part, test, size, change)
        return count / repeats

    def by_test(change: str) -> dict[str, float]:
        return {test: share("images", test, IMAGE_ROWS, change) for test in ON_IMAGES}

    return {
        "alpha": ALPHA,
        "tolerated": TOLERATED,
        "features": NUM_FEATURES,
        "many_features": KINDS["one-of-many"],
        "null_rows": NULL_ROWS,
        "few": FEW,
        "many": MANY,
        "shift": SHIFT,
        "kind_rows": KIND_ROWS,
        "kinds": {
            kind.replace("-", "_"): {test: share("kinds", test, KIND_ROWS, kind) for test in ON_ROWS}
            for kind in KINDS
        },
        "correlation": CORRELATION,
        "taught": TAUGHT,
        "class_share": CLASS_SHARE,
        "share_prob": SHARE_PROB,
        "image_rows": IMAGE_ROWS,
        "pixels": 28**2,
        "dark": by_test(SMALL_CHANGE),
        "blur": by_test("blurred-half"),
        "one_class": by_test(ONE_CLASS),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """What each test finds, of drawn rows and of images; false alarms; power by rows."""

    def share(*key: Any) -> str:
        return show.percent_interval(proportion_interval(*alarms(observations, *key)))

    def repeats(*key: Any) -> int:
        return alarms(observations, *key)[1]

    def grid(part: str, tests: Sequence[str], size: int, changes: Mapping[str, str]) -> list[list[str]]:
        return [
            [label, *(show.stacked(share(part, test, size, change)) for test in tests)]
            for change, label in changes.items()
        ]

    names = words.group("tests")
    kinds = words.group("kinds", shift=SHIFT, small=SHIFT / NUM_FEATURES**0.5, spread=SPREAD, r=CORRELATION)
    null = [[names[test], share("null", test, NULL_ROWS, "")] for test in ON_NULL]
    null.append([words["labels.on-images"], share("null", "predictions", IMAGE_ROWS, "")])
    power = [
        [str(size), *(share("power", "logistic", size, f"{shift:g}") for shift in SHIFTS)] for size in SIZES
    ]
    drawn = repeats("kinds", "columns", KIND_ROWS, "one-mean")
    cheap, dear = (repeats("images", test, IMAGE_ROWS, SMALL_CHANGE) for test in ("kernel", "trees"))
    no_shift = repeats("null", "logistic", NULL_ROWS, "")
    predicted = repeats("null", "predictions", IMAGE_ROWS, "")
    moved = repeats("power", "logistic", FEW, f"{SHIFT:g}")
    return [
        Table(
            words("titles.kinds", rows=KIND_ROWS, n=drawn),
            (words["heads.shift"], *(names[test] for test in ON_ROWS)),
            grid("kinds", ON_ROWS, KIND_ROWS, kinds),
        ),
        Table(
            words("titles.images", rows=IMAGE_ROWS, n=dear, cheap=cheap),
            (words["heads.change"], *(names[test] for test in ON_IMAGES)),
            grid("images", ON_IMAGES, IMAGE_ROWS, words.group("changes")),
        ),
        Table(
            words("titles.no-shift", rows=NULL_ROWS, n=no_shift, images=predicted),
            (words["heads.test"], words["labels.alarms"]),
            null,
        ),
        Table(
            words("titles.power", num_features=NUM_FEATURES, n=moved),
            (words["heads.rows"], *(words("labels.sigma", s=s) for s in SHIFTS)),
            power,
        ),
    ]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """What each test finds, of drawn rows and of images; the classifier's power against rows."""
    alt = import_extra("altair", what="A figure", extra="book")
    names = words.group("tests")
    short = words.group("kinds_short")
    kinds = _grid(
        alt, observations, "kinds", KIND_ROWS, short,
        {test: names[test] for test in ON_ROWS}, words("labels.kinds-found", rows=KIND_ROWS), words,
    )  # fmt: skip
    on_images = _grid(
        alt, observations, "images", IMAGE_ROWS, words.group("changes"), {test: names[test] for test in ON_IMAGES},
        words("labels.images-found", rows=IMAGE_ROWS), words,
    )  # fmt: skip
    return alt.hconcat(alt.vconcat(kinds, on_images), _power(alt, observations, words)).resolve_scale(
        color="independent", strokeDash="independent"
    )


def _grid(
    alt: Any,
    observations: Observations,
    part: str,
    size: int,
    changes: Mapping[str, str],
    tests: Mapping[str, str],
    title: str,
    words: WordList,
) -> Any:
    """A row for each shift, a column for each test, the share of alarms in each cell."""
    rows = pd.DataFrame(
        [
            {"shift": label, "test": name, "share": counted[0] / counted[1]}
            for change, label in changes.items()
            for test, name in tests.items()
            for counted in [alarms(observations, part, test, size, change)]
        ]
    )
    axis = alt.Axis(labelAngle=-30, labelLimit=170, orient="bottom", domain=False, ticks=False)
    base = alt.Chart(
        rows,
        title=alt.TitleParams(title, anchor="start"),
        width=alt.Step(62),
        height=alt.Step(30),
    ).encode(
        x=alt.X("test:N", sort=list(tests.values()), title=None, axis=axis),
        y=alt.Y(
            "shift:N",
            sort=list(changes.values()),
            title=None,
            axis=alt.Axis(labelLimit=220, domain=False, ticks=False),
        ),
    )
    scale = alt.Scale(scheme="cividis", domain=[0, 1])
    colour = alt.Color("share:Q", title=words["labels.share-axis"], scale=scale, legend=None)
    ink = alt.condition("datum.share < 0.5", alt.value("white"), alt.value("black"))
    return base.mark_rect(stroke="white").encode(color=colour) + base.mark_text(fontSize=12).encode(
        text=alt.Text("share:Q", format=".0%"), color=ink
    )


def _power(alt: Any, observations: Observations, words: WordList) -> Any:
    """The share of alarms of the classifier's test against rows, for each shift of one mean."""
    sizes = [f"{shift:g} σ" for shift in SHIFTS]
    rows = []
    for shift, size in itertools.product(SHIFTS, SIZES):
        found = proportion_interval(*alarms(observations, "power", "logistic", size, f"{shift:g}"))
        place = {"shift": f"{shift:g} σ", "rows": size}
        rows.append(place | {"value": found.estimate, "low": found.ci_low, "high": found.ci_high})
    title = alt.TitleParams(
        words["labels.power"], subtitle=words["labels.interval"], anchor="start", subtitleFontSize=11
    )
    colour = alt.Color(
        "shift:N", title=None, scale=plots.colour_scale(alt, sizes),
        legend=alt.Legend(orient="bottom", symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    dash = alt.StrokeDash("shift:N", title=None, scale=plots.dash_scale(alt, sizes))
    scale = alt.Scale(type="log", nice=False, padding=12)
    base = alt.Chart(pd.DataFrame(rows), width=300, height=330, title=title).encode(
        x=alt.X("rows:Q", title=words["heads.rows"], scale=scale, axis=alt.Axis(values=list(SIZES))),
        color=colour,
    )
    y = alt.Y(
        "value:Q",
        title=words["labels.share-axis"],
        axis=alt.Axis(format="%"),
        scale=alt.Scale(domain=[0, 1]),
    )
    level = alt.Chart(pd.DataFrame({"alpha": [ALPHA]})).mark_rule(strokeDash=[6, 3], color=plots.GREY)
    return (
        base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q")
        + base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
        + base.mark_point(filled=True, size=45, opacity=1).encode(y=y)
        + level.encode(y="alpha:Q")
    )


def levels(observations: Observations, of_classifier: str) -> list[Counted]:
    """Alarms without a shift of the tests beside the first one, with a classifier of this name among them."""
    drawn = [
        alarms(observations, "null", test, NULL_ROWS, "") for test in (of_classifier, "columns", "kernel")
    ]
    return [*drawn, alarms(observations, "null", "predictions", IMAGE_ROWS, "")]


def on_kind(kind: str, test: str) -> Callable[[Observations], Counted]:
    """Alarms of a test where drawn rows have shifted in this way."""
    return lambda o: alarms(o, "kinds", test, KIND_ROWS, kind)


def compared(first: str, part: str, change: str) -> Callable[[Observations], list[np.ndarray]]:
    """Of `finds_more`: alarms by seed of one test, then those of all others."""
    tests, size = (ON_ROWS, KIND_ROWS) if part == "kinds" else (ON_IMAGES, IMAGE_ROWS)
    order = (first, *(test for test in tests if test != first))
    return lambda o: [by_seed(o, part, test, size, change) for test in order]


def best_is(name: str, first: str, second: str, part: str, change: str, **figures: object) -> Claim:
    """The claim that one test finds a shift most often; the control says it of another good one."""
    return Claim(
        name=name,
        kind="experiment",
        figures=figures,
        check=finds_more,
        subject=compared(first, part, change),
        falsehood=compared(second, part, change),
        unit="points",
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="ranks-never-alarm-too-often",
            kind="proof",
            check=never_alarms_too_often,
            subject=lambda o: True,
            falsehood=lambda o: False,
        ),
        Claim(
            name="held-out-keeps-its-level",
            kind="experiment",
            check=is_below(TOLERATED),
            subject=lambda o: alarms(o, "null", "logistic", NULL_ROWS, ""),
            falsehood=lambda o: alarms(o, "null", "pooled", NULL_ROWS, ""),
        ),
        Claim(
            name="pooled-scores-do-not",
            kind="experiment",
            check=is_above(TOLERATED),
            subject=lambda o: alarms(o, "null", "pooled", NULL_ROWS, ""),
            falsehood=lambda o: alarms(o, "null", "logistic", NULL_ROWS, ""),
        ),
        Claim(
            name="the-others-keep-theirs",
            kind="experiment",
            check=all_are_below(TOLERATED),
            subject=lambda o: levels(o, "products"),
            falsehood=lambda o: levels(o, "pooled"),
        ),
        best_is(
            "columns-find-one-mean", "columns", "kernel", "kinds", "one-of-many",
            shift=SHIFT, num_features=KINDS["one-of-many"],
        ),
        best_is(
            "the-kernel-finds-all-means", "kernel", "logistic", "kinds", "all-means",
            shift=round(SHIFT / NUM_FEATURES**0.5, 2), num_features=NUM_FEATURES,
        ),
        best_is(
            "products-find-dependence", "products", "trees", "kinds", "dependence", correlation=CORRELATION
        ),
        Claim(
            name="columns-miss-dependence",
            kind="experiment",
            figures={"correlation": CORRELATION},
            check=is_below(LARGEST_SHARE),
            subject=on_kind("dependence", "columns"),
            falsehood=on_kind("dependence", "products"),
        ),
        Claim(
            name="a-linear-classifier-sees-means-alone",
            kind="experiment",
            figures={"spread": SPREAD, "correlation": CORRELATION},
            check=all_are_below(LARGEST_SHARE),
            subject=lambda o: [on_kind(kind, "logistic")(o) for kind in ("spread", "dependence")],
            falsehood=lambda o: [on_kind(kind, "logistic")(o) for kind in ("one-mean", "dependence")],
        ),
        Claim(
            name="rows-buy-power",
            kind="experiment",
            figures={"shift": SHIFT, "num_features": NUM_FEATURES, "many": MANY, "few": FEW},
            check=first_finds_it_more,
            subject=lambda o: tuple(alarms(o, "power", "logistic", n, f"{SHIFT:g}") for n in (MANY, FEW)),
            falsehood=lambda o: tuple(alarms(o, "power", "logistic", n, f"{SHIFT:g}") for n in (FEW, MANY)),
        ),
        best_is(
            "predictions-find-classes", "predictions", "logistic", "images", ONE_CLASS,
            share=round(100 * CLASS_SHARE), image_rows=IMAGE_ROWS,
        ),
        Claim(
            name="darker-images-are-found",
            kind="experiment",
            figures={"image_rows": IMAGE_ROWS},
            check=is_above(0.8),
            subject=lambda o: alarms(o, "images", "trees", IMAGE_ROWS, SMALL_CHANGE),
            falsehood=lambda o: alarms(o, "images", "trees", IMAGE_ROWS, "none"),
        ),
        Claim(
            name="the-classifier-matters",
            kind="experiment",
            check=first_finds_it_more,
            subject=lambda o: tuple(alarms(o, "images", c, IMAGE_ROWS, SMALL_CHANGE) for c in ("trees", "logistic")),
            falsehood=lambda o: tuple(alarms(o, "images", c, IMAGE_ROWS, SMALL_CHANGE) for c in ("logistic", "trees")),
        ),
    ),
    circulated=(
        Circulated("only-a-dead-link", "skipped"),
        Circulated(
            "told-apart-on-unseen-images",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="held-out-keeps-its-level",
            source="datawhale",
        ),
        Circulated(
            "an-area-near-one-half",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="rows-buy-power",
            source="pandalabme",
        ),
        Circulated(
            "an-area-near-one",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="held-out-keeps-its-level",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--seeds 400",
)  # fmt: skip
