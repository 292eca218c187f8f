"""4.4.2 How do training and test error depend on the degree of the polynomial and on the amount of data?

All degrees are fitted exactly, in a basis in which float64 can tell them apart, on many draws of the section's problem.
Draws are paired: every degree sees the same examples, and a smaller number of them is the beginning of a larger one.
The section's own gradient descent stands beside the exact fits, on the section's 100 examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab import data
from mlplab.analysis.polynomial_basis import design_matrix
from mlplab.analysis.polynomial_curves import ErrorCurves, draw_problems, error_curves
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, rounded
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.data.synthetic import CUBIC
from mlplab.errors import import_extra
from mlplab.stats import Interval, mean_interval, prediction_interval

from .. import descent

if TYPE_CHECKING:
    import altair

NOISE_STD = 0.1
TRUE_DEGREE, LARGEST = len(CUBIC) - 1, 12
DEGREES = tuple(range(LARGEST + 1))
SIZES = (10, 15, 20, 30, 50, 100, 200)
DRAWN_SIZES = (10, 20, 50, 200)  # a line each; more would hide each other
DRAWN_DEGREES = (2, TRUE_DEGREE, LARGEST)
FEW, MANY = 20, 100  # where claims are decided
ARMS = ((FEW, TRUE_DEGREE - 1), (FEW, TRUE_DEGREE), (FEW, LARGEST), (MANY, TRUE_DEGREE), (MANY, LARGEST))
MARGIN = 0.05  # of the ratio of a training error to the formula
FLAT_FROM = 5  # degree from which the section's descent no longer tells one from the next
FLAT = 0.05  # largest difference of logarithms that is flat: a factor of 1.05
ROUNDING = (
    1e-18  # squares of errors of 1e-10 and less: targets reach 100, and interpolation loses some digits
)
PARTS = (
    "train",
    "test",
)


def observe(lab: Lab) -> Observations:
    """Fit every degree on every number of examples, over many draws."""
    lab.use(data.load("polynomial"))
    seeds = lab.seeds(quick=200, full=500)
    found = curves(len(seeds))
    rows = []
    for size, degree in ARMS:
        i, j = SIZES.index(size), DEGREES.index(degree)
        for seed in seeds:
            errors = {part: rounded(getattr(found, part)[seed, i, j]) for part in PARTS}
            rows.append({"arm": arm(size, degree), "seed": seed, "status": "finished"} | errors)
    means = found.table().drop(columns=["std_error"])
    descents = pd.DataFrame(_descents(range(min(lab.choose(quick=50, full=200), len(seeds)))))
    ratios = {name: ratio(found, count) for name, count in (("ratio", 1), ("ratio_without_constant", 0))}
    return lab.observations(
        runs=pd.DataFrame(rows),
        curves=means,
        ratios=pd.DataFrame({"seed": list(seeds), **ratios}),
        descents=descents,
    )


def _descents(draws: range) -> list[dict[str, Any]]:
    """Errors of the section's loop on MANY examples, at every degree, with the section's features x^i/i!."""
    x, y = draw_problems("train", draws, MANY, NOISE_STD)
    test_x, test_y = draw_problems("test", draws, MANY, NOISE_STD)
    rows = []
    for degree in DEGREES:
        design, test_design = (design_matrix(at, degree, "factorial") for at in (x, test_x))
        weights = descent.weights(design, y, draws)
        train, test = (descent.error(*part, weights) for part in ((design, y), (test_design, test_y)))
        rows += [
            {"degree": degree, "seed": draw, "train": rounded(train[draw]), "test": rounded(test[draw])}
            for draw in draws
        ]
    return rows


def curves(num_draws: int) -> ErrorCurves:
    """Errors (draw, size, degree) of the section's problem. At least two draws: one has no spread."""
    return error_curves(DEGREES, SIZES, num_draws=max(num_draws, 2), noise_std=NOISE_STD)


def arm(size: int, degree: int) -> str:
    """The name of a number of examples with a degree."""
    return f"n={size} degree={degree}"


def ratio(found: ErrorCurves, constant: int) -> np.ndarray:
    """Training error with FEW examples over σ²(1 - (d + constant)/n), meant over the degrees from the true one up."""
    degrees = np.arange(TRUE_DEGREE, LARGEST + 1)
    errors = found.train[:, SIZES.index(FEW), TRUE_DEGREE:]
    expected = NOISE_STD**2 * (1 - (degrees + constant) / FEW)
    return np.array([rounded(value) for value in (errors / expected).mean(1)])


# Laws of every draw


def never_rises(part: str) -> Finding:
    """In every draw and at every number of examples: does one degree more never raise this error?"""
    found = curves(100)
    errors = getattr(found, part)
    rises = np.diff(errors, axis=2) > ROUNDING
    return Finding.true_if(
        not rises.any(), f"{int(rises.sum())} of {rises.size} steps rise", steps=int(rises.size)
    )


def is_zero_from(least_degree: Callable[[int], int]) -> Finding:
    """In every draw: is the training error 0 to rounding from this degree on, and not below it?"""
    sizes = (4, 6, 8, 10)
    found = error_curves(range(12), sizes, num_draws=50, noise_std=NOISE_STD)
    zero = found.train < ROUNDING
    said = np.array([[degree >= least_degree(size) for degree in found.degrees] for size in sizes])
    wrong = int((zero != said).sum())
    return Finding.true_if(wrong == 0, f"{wrong} of {zero.size} fits disagree", tries=int(zero.size))


# Comparisons of draws


def log_ratio(
    observations: Observations, part: str, one: tuple[int, int], other: tuple[int, int]
) -> np.ndarray:
    """The logarithm of one error over another, for each draw: test errors have too long a tail to be averaged."""
    return np.log(observations.runs.values(part, arm(*one)) / observations.runs.values(part, arm(*other)))


def descent_log_ratio(observations: Observations, part: str, one: int, other: int) -> np.ndarray:
    """The logarithm of the descent's error at one degree over that at another, for each draw."""
    errors = observations["descents"].pivot(index="seed", columns="degree", values=part)
    return np.log(errors[one].to_numpy(dtype=float) / errors[other].to_numpy(dtype=float))


def exact_over_descent(observations: Observations, part: str, degree: int) -> np.ndarray:
    """The logarithm of the exact fit's error over the section's descent's, with MANY examples, for each draw."""
    table = observations["descents"]
    ours = table.loc[table["degree"] == degree, part].to_numpy(dtype=float)
    return np.log(observations.runs.values(part, arm(MANY, degree))[: len(ours)] / ours)


def descent_interval(observations: Observations, part: str, degree: int) -> Interval:
    """The geometric mean over draws of an error of the section's descent, with its interval."""
    table = observations["descents"]
    logs = mean_interval(np.log(table.loc[table["degree"] == degree, part].to_numpy(dtype=float)))
    low, high = (None if bound is None else float(np.exp(bound)) for bound in (logs.ci_low, logs.ci_high))
    # The standard error is one of logarithms.
    return replace(logs, estimate=float(np.exp(logs.estimate)), std_error=None, ci_low=low, ci_high=high)


def factor(logarithms: np.ndarray) -> float:
    """The geometric mean."""
    return float(np.exp(logarithms.mean()))


def geometric(observations: Observations, part: str) -> pd.DataFrame:
    """Geometric means with their intervals, where there is one."""
    table = observations["curves"]
    return table[(table["part"] == part) & (table["statistic"] == "geometric mean")]


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Means over the program's 100 draws of exact fits, and its one run of the section's descent."""
    train = observations.runs.values("train", arm(FEW, LARGEST))
    test = np.log(observations.runs.values("test", arm(FEW, TRUE_DEGREE)))
    table = observations["descents"]
    ours = np.log(table.loc[table["degree"] == LARGEST, "test"].to_numpy(dtype=float))
    return {
        "train_12": prediction_interval(train, num_new=100),
        "log_test_3": prediction_interval(test, num_new=100),
        "log_descent": prediction_interval(ours),
    }


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    test = geometric(observations, "test")
    few = test[test["size"] == FEW].set_index("degree")["estimate"]
    return {
        "num_draws": observations.num_seeds,
        "few": FEW,
        "many": MANY,
        "true_degree": TRUE_DEGREE,
        "largest": LARGEST,
        "best_degree": DEGREES[int(few.to_numpy(dtype=float).argmin())],
        "noise_variance": NOISE_STD**2,
        "best_error": float(few.min()),
        "flat_from": FLAT_FROM,
        "num_descents": int(observations["descents"]["seed"].nunique()),
        "descent": {
            part: {
                "true": descent_interval(observations, part, TRUE_DEGREE).estimate,
                "flat": descent_interval(observations, part, FLAT_FROM).estimate,
                "largest": descent_interval(observations, part, LARGEST).estimate,
            }
            for part in PARTS
        },
        "epochs": descent.EPOCHS,
        "rate": descent.RATE,
        "batch": descent.BATCH,
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Training and test error by degree, with FEW and with MANY examples."""
    return [*(_table(observations, size, words) for size in (FEW, MANY)), _descent_table(observations, words)]


def _descent_table(observations: Observations, words: WordList) -> Table:
    rows = []
    exact = {part: geometric(observations, part) for part in PARTS}
    for degree in DEGREES:
        cells = []
        for part in PARTS:
            of_part = exact[part]
            fit = of_part[(of_part["size"] == MANY) & (of_part["degree"] == degree)].iloc[0]
            cells += [
                show.number_interval(descent_interval(observations, part, degree)),
                show.number(float(fit["estimate"])),
            ]
        rows.append([str(degree), *cells])
    heads = (
        words["heads.degree"],
        *(words(f"heads.{how}", part=words.group("parts")[part]) for part in PARTS for how in ("descent", "exact")),
    )  # fmt: skip
    title = words(
        "titles.the-sections-own-descent",
        size=MANY,
        epochs=descent.EPOCHS,
        rate=descent.RATE,
        batch=descent.BATCH,
    )
    return Table(title, heads, rows)


def _table(observations: Observations, size: int, words: WordList) -> Table:
    rows = []
    held = observations["curves"]
    for degree in DEGREES:
        at = held[(held["size"] == size) & (held["degree"] == degree)]
        mean: Any = at[(at["part"] == "train") & (at["statistic"] == "mean")].iloc[0]
        test: Any = at[(at["part"] == "test") & (at["statistic"] == "geometric mean")].iloc[0]
        expected = "" if pd.isna(mean["expected"]) else show.number(float(mean["expected"]))
        rows.append([str(degree), show.number_interval(mean), expected, show.number_interval(test)])
    return Table(
        words("titles.examples-mean-squared-error-with", size=size),
        (
            words["heads.degree"],
            words["heads.training-error"],
            words["heads.1-d-1-n"],
            words["heads.test-error"],
        ),
        rows,
    )


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Both errors against the degree, and against the number of examples; the section's descent beside exact fits."""
    train, test = (_by_degree(observations, part, words) for part in PARTS)
    rows = (train | test) & (_by_size(observations, words) | _descent_panel(observations, words))
    return rows.resolve_scale(color="independent", strokeDash="independent")


def _by_degree(observations: Observations, part: str, words: WordList) -> altair.LayerChart:
    rows = geometric(observations, part)
    rows = rows[rows["size"].isin(DRAWN_SIZES) & (rows["estimate"] > ROUNDING)]
    rows = rows.assign(group=[f"n = {size}" for size in rows["size"]], level=rows["degree"].astype(str))
    return _panel(rows, words["labels.degree"], words.group("parts")[part], words)


def _by_size(observations: Observations, words: WordList) -> altair.LayerChart:
    parts = []
    for degree in DRAWN_DEGREES:
        for part in PARTS:
            rows = geometric(observations, part)
            rows = rows[(rows["degree"] == degree) & (rows["estimate"] > ROUNDING)]
            name = words("labels.degree-and-part", degree=degree, part=words.group("parts")[part])
            parts.append(rows.assign(group=name, level=rows["size"].astype(str)))
    return _panel(
        pd.concat(parts),
        words["labels.training-examples-n"],
        words["labels.both-errors"],
        words,
    )


def _descent_panel(observations: Observations, words: WordList) -> altair.LayerChart:
    parts = []
    for part in PARTS:
        name = words.group("parts")[part]
        drawn = [{"degree": d, **descent_interval(observations, part, d).to_dict()} for d in DEGREES]
        parts.append(pd.DataFrame(drawn).assign(group=words("heads.descent", part=name)))
        rows = geometric(observations, part)
        parts.append(rows[rows["size"] == MANY].assign(group=words("heads.exact", part=name)))
    rows = pd.concat(parts).assign(level=lambda t: t["degree"].astype(str))
    return _panel(rows, words["labels.degree"], words("labels.descent-and-exact", size=MANY), words)


def _panel(rows: pd.DataFrame, x: str, title: str, words: WordList) -> altair.LayerChart:
    alt = import_extra("altair", what="A figure", extra="book")
    note: str = words["labels.geometric-mean-over-draws-with"].format(int(rows["num_replicates"].max()))  # fmt: skip
    head = title
    chart = plots.level_plot(
        rows,
        level_title=x,
        value_title=words["titles.mean-squared-error"],
        log_scale=True,
        notes=words.notes,
        width=270,
        height=260,
    )
    title = alt.TitleParams(head[0].upper() + head[1:], subtitle=note, anchor="start", subtitleFontSize=11)
    return chart.properties(title=title)


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="training-error-never-rises",
            kind="property",
            check=never_rises,
            subject=lambda o: "train",
            falsehood=lambda o: "test",
        ),
        Claim(
            name="zero-from-n-minus-1",
            kind="property",
            check=is_zero_from,
            subject=lambda o: lambda size: size - 1,
            falsehood=lambda o: lambda size: size - 2,
        ),
        Claim(
            name="expected-training-error",
            kind="experiment",
            check=equivalent(1.0, margin=MARGIN),
            subject=lambda o: o["ratios"]["ratio"].to_numpy(dtype=float),
            # Only d of the d + 1 weights counted.
            falsehood=lambda o: o["ratios"]["ratio_without_constant"].to_numpy(dtype=float),
        ),
        Claim(
            name="too-low-a-degree-underfits",
            kind="experiment",
            figures={"few": FEW, "true_degree": TRUE_DEGREE - 1, "true_degree_2": TRUE_DEGREE},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "test", (FEW, TRUE_DEGREE - 1), (FEW, TRUE_DEGREE)),
            falsehood=lambda o: log_ratio(o, "test", (FEW, TRUE_DEGREE), (FEW, TRUE_DEGREE - 1)),
            unit="log",
        ),
        Claim(
            name="too-high-a-degree-overfits",
            kind="experiment",
            figures={"few": FEW, "largest": LARGEST, "true_degree": TRUE_DEGREE},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "test", (FEW, LARGEST), (FEW, TRUE_DEGREE)),
            falsehood=lambda o: log_ratio(o, "test", (FEW, TRUE_DEGREE), (FEW, LARGEST)),
            unit="log",
        ),
        Claim(
            name="more-data-lower-the-test-error",
            kind="experiment",
            figures={"largest": LARGEST, "many": MANY, "few": FEW},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "test", (FEW, LARGEST), (MANY, LARGEST)),
            falsehood=lambda o: log_ratio(o, "test", (MANY, LARGEST), (FEW, LARGEST)),
            unit="log",
        ),
        Claim(
            name="more-data-raise-the-training-error",
            kind="experiment",
            figures={"largest": LARGEST, "many": MANY, "few": FEW},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "train", (MANY, LARGEST), (FEW, LARGEST)),
            falsehood=lambda o: log_ratio(o, "train", (FEW, LARGEST), (MANY, LARGEST)),
            unit="log",
        ),
        Claim(
            name="descent-overfits-less",
            kind="experiment",
            figures={"largest": LARGEST, "true_degree": TRUE_DEGREE},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: exact_over_descent(o, "test", LARGEST),
            falsehood=lambda o: exact_over_descent(o, "test", TRUE_DEGREE),
        ),
        Claim(
            name="descent-is-flat",
            kind="experiment",
            figures={"flat_from": FLAT_FROM, "largest": LARGEST, "factor": round(float(np.exp(FLAT)), 2)},
            check=equivalent(margin=FLAT, numbers={"factor": factor}),
            subject=lambda o: descent_log_ratio(o, "test", LARGEST, FLAT_FROM),
            falsehood=lambda o: descent_log_ratio(o, "test", FLAT_FROM, FLAT_FROM - 1),
        ),
        Claim(
            name="descent-raises-the-training-error",
            kind="experiment",
            figures={"largest": LARGEST, "true_degree": TRUE_DEGREE},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: descent_log_ratio(o, "train", LARGEST, TRUE_DEGREE),
            # What exact fits do.
            falsehood=lambda o: log_ratio(o, "train", (MANY, LARGEST), (MANY, TRUE_DEGREE)),
        ),
    ),
    circulated=(
        Circulated("question-left-out", "skipped"),
        Circulated(
            "falls-to-four-coefficients",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="descent-is-flat",
            source="datawhale",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--seeds 500",
)
