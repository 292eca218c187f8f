"""4.9.2 A detector of covariate shift, from a classifier.

A classifier learns to tell reference rows from current rows, and is judged on rows that it has not seen. Whether the
alarm can be trusted is asked of thousands of pairs of samples without a shift; what it finds, of shifts of known size.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.shift import C2STDetector, DataWarning
from mlplab.shift.c2st import auc, rank_p_value
from mlplab.stats import Verdict, proportion_interval

if TYPE_CHECKING:
    import altair

ALPHA = 0.05
TOLERATED = 0.065  # alpha, and what two thousand repeats cannot tell from it
NUM_FEATURES, NULL_ROWS = 10, 50
SIZES = (25, 50, 100, 200, 400)
SHIFTS = (0.25, 0.5, 1.0)  # of the mean of one feature, in standard deviations
FEW, MANY, SHIFT = 50, 400, 0.5
IMAGE_ROWS = 200
CLASSIFIERS = ("gradient_boosting", "logistic")
CHANGES = {
    "none": lambda images: images,
    "darker by 2%": lambda images: 0.98 * images,
    "darker by 10%": lambda images: 0.90 * images,
    "blurred, 0.5 pixels": lambda images: blurred(images, 0.5),
    "blurred, 1 pixel": lambda images: blurred(images, 1.0),
}
SMALL_CHANGE = "darker by 10%"


def observe(lab: Lab) -> Observations:
    """Alarms without a shift, with shifts of known size, and with changed images."""
    images = lab.dataset("fashion-mnist", embedded="mnist-5k")
    lab.use(images)
    repeats = lab.seeds(quick=150, full=2000)
    rows = [
        _share(
            "null",
            test.__name__,
            NULL_ROWS,
            "",
            [test(*samples(s, NULL_ROWS, 0.0), s) < ALPHA for s in repeats],
        )
        for test in (held_out, pooled)
    ]
    fewer = repeats[: lab.choose(quick=30, full=200)]
    for shift, size in itertools.product(SHIFTS, SIZES):
        alarms = [held_out(*samples(s, size, shift), s) < ALPHA for s in fewer]
        rows.append(_share("power", "held_out", size, f"{shift:g}", alarms))
    for change, classifier in itertools.product(CHANGES, CLASSIFIERS):
        # More where there is nothing to find: a share of 5% is told from others by many.
        fewest = repeats[: lab.choose(quick=3, full=100 if change == "none" else 30)]
        alarms = [image_p_value(images, change, classifier, s) < ALPHA for s in fewest]
        rows.append(_share("images", classifier, IMAGE_ROWS, change, alarms))
    return lab.observations(shares=pd.DataFrame(rows))


def _share(part: str, test: str, size: int, change: str, alarms: list[bool]) -> dict[str, Any]:
    named = {"part": part, "test": test, "rows": size, "change": change}
    return named | {"alarms": int(np.sum(alarms)), "repeats": len(alarms)}


def samples(seed: int, size: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Reference and current rows from N(0, I); the mean of the current rows' first feature is moved."""
    reference, current = (
        Stream(seed, "data", layer=i, step=size).normal((size, NUM_FEATURES)) for i in (0, 1)
    )
    current[:, 0] += shift
    return reference, current


def held_out(reference: np.ndarray, current: np.ndarray, seed: int, classifier: str = "logistic") -> float:
    """The p-value of mlplab's detector: a classifier of one half of the rows, judged on the other."""
    detector = C2STDetector(classifier, num_drivers=0, seed=seed)
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


def image_p_value(images: Dataset, change: str, classifier: str, seed: int) -> float:
    """Of test images beside other test images that were changed."""
    assert images.test is not None
    # Not of the stream `split`, from which the detector of this seed draws its halves.
    chosen = Stream(seed, "data", layer=2).permutation(images.test.num_examples)[: 2 * IMAGE_ROWS]
    reference, current = np.split(images.test.features[chosen].astype(np.float64), 2)
    # To 256 levels again, as a camera's file has them: what lies between gives every change away.
    return held_out(reference, np.round(255 * CHANGES[change](current)) / 255, seed, classifier)


def blurred(images: np.ndarray, width: float) -> np.ndarray:
    """By a Gaussian of this standard deviation, in pixels."""
    side = round(images.shape[1] ** 0.5)
    return gaussian_filter(images.reshape(-1, side, side), (0, width, width)).reshape(images.shape)


# Checks


def alarms(observations: Observations, part: str, test: str, size: int, change: str) -> tuple[int, int]:
    """Number of alarms and of repeats."""
    held = observations["shares"]
    at = (held["part"] == part) & (held["test"] == test) & (held["rows"] == size) & (held["change"] == change)
    (row,) = held[at].to_dict("records")
    return int(row["alarms"]), int(row["repeats"])


def is_below(limit: float) -> Callable[[tuple[int, int]], Finding]:
    """Is the true share below the limit? Read off the exact binomial interval."""
    return lambda counted: _judged(counted, limit, below=True)


def is_above(limit: float) -> Callable[[tuple[int, int]], Finding]:
    """Is the true share above the limit?"""
    return lambda counted: _judged(counted, limit, below=False)


def _judged(counted: tuple[int, int], limit: float, *, below: bool) -> Finding:
    found = proportion_interval(*counted)
    low, high = float(found.ci_low or 0.0), float(found.ci_high or 0.0)
    verdict: Verdict = "undecided"
    if high < limit or low > limit:
        verdict = "holds" if (high < limit) == below else "fails"
    numbers = {"estimate": found.estimate, "ci_low": low, "ci_high": high, "repeats": counted[1]}
    return Finding(verdict, None, numbers)


def first_finds_it_more(counted: tuple[tuple[int, int], tuple[int, int]]) -> Finding:
    """Does the first find the shift more often than not, and the second less often than not?"""
    first, second = is_above(0.5)(counted[0]), is_below(0.5)(counted[1])
    verdicts = {first.verdict, second.verdict}
    verdict: Verdict = "fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds"
    return Finding(verdict, None, {"first": first.numbers["estimate"], "second": second.numbers["estimate"]})


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


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    images = {
        classifier: {
            change: proportion_interval(*alarms(observations, "images", classifier, IMAGE_ROWS, change))
            for change in CHANGES
        }
        for classifier in CLASSIFIERS
    }
    return {
        "alpha": ALPHA,
        "tolerated": TOLERATED,
        "features": NUM_FEATURES,
        "null_rows": NULL_ROWS,
        "few": FEW,
        "many": MANY,
        "shift": SHIFT,
        "image_rows": IMAGE_ROWS,
        "image_repeats": alarms(observations, "images", "logistic", IMAGE_ROWS, SMALL_CHANGE)[1],
        "no_change": images["gradient_boosting"]["none"],
        "dark": {classifier: images[classifier][SMALL_CHANGE] for classifier in CLASSIFIERS},
        "blur": {classifier: images[classifier]["blurred, 0.5 pixels"] for classifier in CLASSIFIERS},
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """False alarms; power; images."""

    def cell(*key: Any) -> str:
        return show.percent_interval(proportion_interval(*alarms(observations, *key)))

    null = [[label, cell("null", test, NULL_ROWS, "")] for test, label in words.group("tests").items()]
    power = [
        [str(size), *(show.stacked(cell("power", "held_out", size, f"{shift:g}")) for shift in SHIFTS)]
        for size in SIZES
    ]
    images = [
        [label, str(alarms(observations, "images", "logistic", IMAGE_ROWS, change)[1])]
        + [cell("images", classifier, IMAGE_ROWS, change) for classifier in CLASSIFIERS]
        for change, label in words.group("changes").items()
    ]
    share = words["labels.share-alarms"]
    note = words["labels.95-clopper-pearson-interval"]
    count = alarms(observations, "null", "held_out", NULL_ROWS, "")[1]
    drawn = alarms(observations, "power", "held_out", FEW, f"{SHIFT:g}")[1]
    return [
        Table(
            words("titles.no-shift-rows-in-each", null_rows=NULL_ROWS, share=share, note=note, count=count),
            (words["heads.test"], share),
            null,
        ),
        Table(
            words("titles.one-mean-moved-by-so", num_features=NUM_FEATURES, share=share, note=note, drawn=drawn),
            (words["heads.rows-in-each-sample"], *(words("labels.sigma", s=s) for s in SHIFTS)),
            power,
        ),
        Table(
            words("titles.images-beside-changed-ones-n", image_rows=IMAGE_ROWS, share=share, note=note),
            (words["heads.change"], words["heads.n"], *words.group("classifier_names").values()),
            images,
        ),
    ]  # fmt: skip


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """False alarms of both tests; power against rows; alarms on changed images."""
    alt = import_extra("altair", what="A figure", extra="book")

    def row(*key: Any) -> dict[str, Any]:
        found = proportion_interval(*alarms(observations, *key))
        return {"value": found.estimate, "low": found.ci_low, "high": found.ci_high}

    share = words["labels.share-axis"]
    note = words["labels.95-clopper-pearson-interval-dashed"]
    level = alt.Chart(pd.DataFrame({"alpha": [ALPHA]})).mark_rule(strokeDash=[6, 3], color=plots.GREY)
    percent = alt.Axis(format="%")

    def titled(head: str) -> Any:
        return alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11)

    null = pd.DataFrame(
        [{"name": w} | row("null", test, NULL_ROWS, "") for test, w in words.group("tests").items()]
    )
    names = list(words.group("tests").values())
    base = alt.Chart(null, width=250, height=70, title=titled(words["labels.no-shift-false-alarms"]))
    x = alt.X("value:Q", title=share, axis=percent)
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=260))
    alone = (
        base.mark_rule(strokeWidth=2, color=plots.PALETTE[0]).encode(y=y, x=alt.X("low:Q"), x2="high:Q")
        + base.mark_point(filled=True, size=70, opacity=1, color=plots.PALETTE[0]).encode(y=y, x=x)
        + level.encode(x="alpha:Q")
    )
    power = pd.DataFrame(
        [
            {"shift": f"{shift:g} σ", "rows": size} | row("power", "held_out", size, f"{shift:g}")
            for shift, size in itertools.product(SHIFTS, SIZES)
        ]
    )
    curve = _lines(alt, power, "rows:Q", words["labels.rows-in-each-sample"], "shift", [
        f"{shift:g} σ" for shift in SHIFTS
    ], share, titled(words["labels.shift-one-mean-found"])) + level.encode(y="alpha:Q")  # fmt: skip
    changed = pd.DataFrame(
        [
            {"classifier": w, "change": words.group("changes")[change]}
            | row("images", classifier, IMAGE_ROWS, change)
            for (classifier, w), change in itertools.product(words.group("classifier_names").items(), CHANGES)
        ]
    )
    order = [words.group("changes")[change] for change in CHANGES]
    kinds = list(words.group("classifier_names").values())
    colour = alt.Color(
        "classifier:N", title=None, scale=plots.colour_scale(alt, kinds),
        legend=alt.Legend(orient="bottom"),
    )  # fmt: skip
    shape = alt.Shape("classifier:N", legend=None, scale=alt.Scale(domain=kinds))
    offset = alt.YOffset("classifier:N", sort=kinds)
    bars = alt.Chart(
        changed,
        width=250,
        height=alt.Step(13),
        title=titled(words["labels.changed-images-found"]),
    )
    y = alt.Y("change:N", sort=order, title=None)
    right = (
        bars.mark_rule(strokeWidth=2).encode(y=y, yOffset=offset, x=alt.X("low:Q"), x2="high:Q", color=colour)
        + bars.mark_point(filled=True, size=60, opacity=1).encode(
            y=y, yOffset=offset, x=alt.X("value:Q", title=share, axis=percent), color=colour, shape=shape
        )
        + level.encode(x="alpha:Q")
    )
    return alt.hconcat(alt.vconcat(alone, right).resolve_scale(color="independent"), curve).resolve_scale(
        color="independent", shape="independent", strokeDash="independent"
    )


def _lines(
    alt: Any, rows: Any, x: str, x_title: str, group: str, names: list[str], share: str, title: Any
) -> Any:
    colour = alt.Color(
        f"{group}:N", title=None, scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    dash = alt.StrokeDash(
        f"{group}:N",
        title=None,
        scale=plots.dash_scale(alt, names),
    )
    base = alt.Chart(rows, width=330, height=300, title=title).encode(
        x=alt.X(x, title=x_title, scale=alt.Scale(type="log", nice=False, padding=12)), color=colour
    )
    y = alt.Y("value:Q", title=share, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    return (
        base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q")
        + base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
        + base.mark_point(filled=True, size=45, opacity=1).encode(y=y)
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
            subject=lambda o: alarms(o, "null", "held_out", NULL_ROWS, ""),
            falsehood=lambda o: alarms(o, "null", "pooled", NULL_ROWS, ""),
        ),
        Claim(
            name="pooled-scores-do-not",
            kind="experiment",
            check=is_above(TOLERATED),
            subject=lambda o: alarms(o, "null", "pooled", NULL_ROWS, ""),
            falsehood=lambda o: alarms(o, "null", "held_out", NULL_ROWS, ""),
        ),
        Claim(
            name="rows-buy-power",
            kind="experiment",
            figures={"shift": SHIFT, "num_features": NUM_FEATURES, "many": MANY, "few": FEW},
check=first_finds_it_more,
            subject=lambda o: tuple(alarms(o, "power", "held_out", n, f"{SHIFT:g}") for n in (MANY, FEW)),
            falsehood=lambda o: tuple(alarms(o, "power", "held_out", n, f"{SHIFT:g}") for n in (FEW, MANY)),
        ),
        Claim(
            name="darker-images-are-found",
            kind="experiment",
            figures={"image_rows": IMAGE_ROWS},
check=is_above(0.8),
            subject=lambda o: alarms(o, "images", "gradient_boosting", IMAGE_ROWS, SMALL_CHANGE),
            falsehood=lambda o: alarms(o, "images", "gradient_boosting", IMAGE_ROWS, "none"),
        ),
        Claim(
            name="the-classifier-matters",
            kind="experiment",
            check=first_finds_it_more,
            subject=lambda o: tuple(alarms(o, "images", c, IMAGE_ROWS, SMALL_CHANGE) for c in CLASSIFIERS),
            falsehood=lambda o: tuple(alarms(o, "images", c, IMAGE_ROWS, SMALL_CHANGE) for c in CLASSIFIERS[::-1]),
        ),
    ),
    circulated=(Circulated("only-link-which-dead", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--seeds 400",
)  # fmt: skip
