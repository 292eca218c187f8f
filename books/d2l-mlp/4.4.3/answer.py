"""4.4.3 What happens if the features x^i are not divided by i!, and what else would help?

Six bases of the same polynomials are laid on the same inputs. What gradient descent can do in each is known without
training: the largest stable rate is that of the largest singular value of the design matrix A, and what is left after T
steps follows from its singular values.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import sympy

from mlplab import data
from mlplab.analysis.polynomial_basis import Basis, Domain, design_matrix
from mlplab.analysis.polynomial_conditioning import largest_rate
from mlplab.analysis.polynomial_curves import draw_problems
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
from mlplab.answers.checks import greater
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.stats import mean_interval, prediction_interval, proportion_interval

from .. import descent

if TYPE_CHECKING:
    import altair

SECTION_DEGREE, SECTION_RATE, NUM_EXAMPLES, NOISE_STD = 19, descent.RATE, 100, 0.1
CUBIC, BORDER, LOST = 3, 4, 5  # degrees: the section's fit, and two above it
QUANTITIES = (
    "largest_feature", "rate", "condition", "left", "left_cubic", *(f"rate_{d}" for d in (CUBIC, BORDER, LOST)),
)  # fmt: skip
TOLERANCE = 0.5  # share of draws: "most" is more than that
RESOLVED_DEGREE = 10  # float64 tells all six bases from singular
DEGREES = (1, 3, 5, 8, 10, 12, 15, 19)
STEPS = (1, 10, 100, 1_000, 10_000, 100_000)
EARLY, LAST = 100, 10_000  # about the section's number of updates, rounded up to a power of ten
# name -> basis, and what is done first: x mapped from [-max |x|, max |x|] to [-1, 1], or the columns standardised
BASES: dict[str, tuple[Basis, Literal["", "mapped", "standardised"]]] = {
    "power": ("monomial", ""),
    "factorial": ("factorial", ""),
    "standardised": ("monomial", "standardised"),
    "power-mapped": ("monomial", "mapped"),
    "legendre": ("legendre", "mapped"),
    "chebyshev": ("chebyshev", "mapped"),
}


def observe(lab: Lab) -> Observations:
    """Sizes, rates and condition numbers of the bases on many draws of the section's inputs."""
    lab.use(data.load("polynomial"))
    seeds = lab.seeds(quick=30, full=200)
    inputs, targets = draw_problems("train", seeds, NUM_EXAMPLES, NOISE_STD)
    rows, curves = [], []
    for name in BASES:
        for seed, x, y in zip(seeds, inputs, targets, strict=True):
            design = matrix(name, x, SECTION_DEGREE)
            row = {"arm": name, "seed": seed, "status": "finished"}
            row |= {
                "largest_feature": float(np.abs(design).max()),
                "rate": largest_rate(design),
                "condition": float(np.linalg.cond(matrix(name, x, RESOLVED_DEGREE))),
                "left": float(error_left(design, y, [LAST])[0]),
                "left_cubic": float(error_left(matrix(name, x, CUBIC), y, [EARLY])[0]),
            }
            row |= {
                f"rate_{degree}": largest_rate(matrix(name, x, degree)) for degree in (CUBIC, BORDER, LOST)
            }
            rows.append({key: rounded(value) for key, value in row.items()})
        curves += _curves(name, inputs, targets)
    share = float(np.mean(inputs < 0))
    return lab.observations(
        runs=pd.DataFrame(rows),
        curves=pd.DataFrame(curves),
        inputs=pd.DataFrame([{"negative": share}]),
        loops=pd.DataFrame(_loops(seeds, inputs, targets)),
    )


def _loops(seeds: range, inputs: np.ndarray, targets: np.ndarray) -> list[dict[str, Any]]:
    """The section's loop on plain powers: the training error, and whether it is above that of the mean of y."""
    rows = []
    for degree in (CUBIC, BORDER, LOST):
        design = np.stack([matrix("power", x, degree) for x in inputs])
        errors = descent.error(design, targets, descent.weights(design, targets, seeds))
        for seed, error, variance in zip(seeds, errors, targets.var(1), strict=True):
            is_lost = bool(error > variance)
            rows.append(
                {
                    "degree": degree,
                    "seed": seed,
                    "is_lost": is_lost,
                    "train": None if is_lost else rounded(error),
                }
            )
    return rows


def matrix(name: str, x: np.ndarray, degree: int) -> np.ndarray:
    """The design matrix of a basis of BASES on inputs x."""
    basis, before = BASES[name]
    reach = float(np.abs(x).max())
    domain: Domain | None = (-reach, reach) if before == "mapped" else None
    design = design_matrix(x, degree, basis, domain=domain)
    if before == "standardised":  # all but the constant
        design[:, 1:] = (design[:, 1:] - design[:, 1:].mean(0)) / design[:, 1:].std(0)
    return design


def error_left(design: np.ndarray, y: np.ndarray, steps: list[int] | tuple[int, ...]) -> np.ndarray:
    """Mean squared error above the exact fit's after gradient descent from w = 0 at half the largest stable rate.

    At that rate, 1/λ_max, each step multiplies the error along a singular direction by 1 - (σ/σ_max)².
    """
    left, sizes, _ = np.linalg.svd(design, full_matrices=False)
    shares = (left.T @ y) ** 2 / len(y)
    kept = np.clip(1 - (sizes / sizes[0]) ** 2, 0, 1)
    return np.array([float(np.sum(kept ** (2 * count) * shares)) for count in steps])


def _curves(name: str, inputs: np.ndarray, targets: np.ndarray) -> list[dict[str, Any]]:
    """Geometric means over draws: rate and condition number by degree, error left by number of steps."""
    found: dict[tuple[str, int], np.ndarray] = {}
    for degree in DEGREES:
        designs = [matrix(name, x, degree) for x in inputs]
        found["rate", degree] = np.array([largest_rate(design) for design in designs])
        found["condition", degree] = np.array([np.linalg.cond(design) for design in designs])
    left = np.array(
        [error_left(matrix(name, x, SECTION_DEGREE), y, STEPS) for x, y in zip(inputs, targets, strict=True)]
    )
    for step, column in zip(STEPS, left.T, strict=True):
        found["left", step] = column
    return [
        {"basis": name, "quantity": quantity, "level": level} | geometric(values)
        for (quantity, level), values in found.items()
    ]


def geometric(values: np.ndarray) -> dict[str, Any]:
    """The geometric mean with its interval: the t interval of the logarithm."""
    found = mean_interval(np.log(values)).to_dict()
    for key in ("estimate", "ci_low", "ci_high"):
        found[key] = None if found[key] is None else rounded(float(np.exp(found[key])))
    return {key: value for key, value in found.items() if key != "std_error"}


# Checks


def is_largest_rate(factor: float) -> Finding:
    """Gradient descent at 1% below and 1% above that factor times n/σ_max²: does the error fall, and does it grow?"""
    inputs, targets = draw_problems("train", range(3), NUM_EXAMPLES, NOISE_STD)
    holds = True
    for name in BASES:
        for x, y in zip(inputs, targets, strict=True):
            design = matrix(name, x, 5)
            # The distance to the exact fit, in the weights' own coordinates: two large losses would cancel.
            start = np.linalg.lstsq(design, y, rcond=None)[0]
            hessian = 2 / len(y) * design.T @ design
            ends = []
            for scale in (0.99 * factor, 1.01 * factor):
                step = np.eye(len(start)) - scale * largest_rate(design) * hessian
                ends.append(float(np.linalg.norm(design @ np.linalg.matrix_power(step, 1000) @ start)))
            holds &= ends[0] < np.linalg.norm(design @ start) < ends[1]
    return Finding.true_if(holds, tries=3 * len(BASES))


def follows_singular_values(steps: int) -> Finding:
    """Is the error that gradient descent really leaves after 50 steps the one computed for that many steps?"""
    inputs, targets = draw_problems("train", range(3), NUM_EXAMPLES, NOISE_STD)
    worst = 0.0
    for name in BASES:
        for x, y in zip(inputs, targets, strict=True):
            design = matrix(name, x, 5)
            best = float(np.mean((design @ np.linalg.lstsq(design, y, rcond=None)[0] - y) ** 2))
            w, rate = np.zeros(design.shape[1]), largest_rate(design) / 2
            for _ in range(50):
                w -= rate * 2 / len(y) * design.T @ (design @ w - y)
            real, said = float(np.mean((design @ w - y) ** 2)) - best, error_left(design, y, [steps])[0]
            worst = max(worst, float(abs(real - said) / max(real, 1e-9)))
    return Finding.true_if(worst < 1e-6, worst_error=worst, tries=3 * len(BASES))


def has_rank_1(powers: Any) -> Finding:
    """Features of degrees 1 to 4 at three positive inputs: are all columns multiples of one?"""
    x = sympy.symbols("x:3", positive=True)
    design = sympy.Matrix(3, 4, lambda i, j: powers(x[i], j + 1))
    minors = [
        sympy.expand(design.extract(list(rows), list(columns)).det())
        for rows in itertools.combinations(range(3), 2)
        for columns in itertools.combinations(range(4), 2)
    ]
    rank_1 = all(minor == 0 for minor in minors)
    return Finding.true_if(rank_1, "all 2 x 2 minors are 0" if rank_1 else "a 2 x 2 minor is not 0")


def are_mostly_lost(lost: np.ndarray) -> Finding:
    """Is a draw lost more often than not? Read off the exact 95% interval of the share."""
    share = proportion_interval(int(lost.sum()), lost.size)
    assert share.ci_low is not None
    assert share.ci_high is not None
    numbers = {"share": share.estimate, "low": share.ci_low, "high": share.ci_high}
    verdict = "holds" if share.ci_low > TOLERANCE else "fails" if share.ci_high < TOLERANCE else "undecided"
    return Finding(verdict, None, numbers)


def lost(observations: Observations, degree: int) -> np.ndarray:
    """For each draw, whether the section's loop on plain powers of this degree ends above the mean of y."""
    table = observations["loops"]
    return table.loc[table["degree"] == degree, "is_lost"].to_numpy(dtype=bool)


def above_the_sections(observations: Observations, basis: str, degree: int) -> np.ndarray:
    """The logarithm of the largest stable rate over the section's, for each draw."""
    name = "rate" if degree == SECTION_DEGREE else f"rate_{degree}"
    return log_values(observations, name, basis) - np.log(SECTION_RATE)


def log_values(observations: Observations, quantity: str, basis: str) -> np.ndarray:
    """The logarithm of a quantity, for each draw."""
    return np.log(observations.runs.values(quantity, basis))


def log_ratio(observations: Observations, quantity: str, one: str, other: str) -> np.ndarray:
    """The logarithm of a quantity in one basis over the same in another, for each draw."""
    return log_values(observations, quantity, one) - log_values(observations, quantity, other)


def factor(logarithms: np.ndarray) -> float:
    """The geometric mean."""
    return float(np.exp(logarithms.mean()))


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Means over the program's 100 draws of inputs: largest stable rates, as logarithms."""
    rows = {
        "log_rate_3": ("rate_3", "power"),
        "log_rate_5": ("rate_5", "power"),
        "log_standardised": ("rate", "standardised"),
    }
    return {
        name: prediction_interval(log_values(observations, *row), num_new=100) for name, row in rows.items()
    }


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote: geometric means over draws."""
    return {
        "num_draws": observations.num_seeds,
        "degree": SECTION_DEGREE,
        "resolved_degree": RESOLVED_DEGREE,
        "cubic": CUBIC,
        "border": BORDER,
        "first_lost": LOST,
        "lost": {
            f"at_{degree}": float(lost(observations, degree).mean()) for degree in (CUBIC, BORDER, LOST)
        },
        "cubic_loop": _median_loop(observations),
        "section_rate": SECTION_RATE,
        "steps": LAST,
        "early": {
            "steps": EARLY,
            "factorial": _left_after(observations, "factorial", EARLY),
            "legendre": _left_after(observations, "legendre", EARLY),
        },
        "negative": observations.rows("inputs")[0]["negative"],
        "typical": {
            quantity: {
                name.replace("-", "_"): float(np.exp(log_values(observations, quantity, name).mean()))
                for name in BASES
            }
            for quantity in QUANTITIES
        },
    }


def _median_loop(observations: Observations) -> float:
    """The median training error of the section's loop on an unscaled cubic, over the draws that were not lost."""
    table = observations["loops"]
    return float(table.loc[table["degree"] == CUBIC, "train"].astype(float).median())


def _left_after(observations: Observations, basis: str, steps: int) -> float:
    table = observations["curves"]
    chosen = (table["quantity"] == "left") & (table["basis"] == basis) & (table["level"] == steps)
    return float(table.loc[chosen, "estimate"].iloc[0])


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Each basis with its sizes."""
    rows = []
    for name, label in words.group("bases").items():
        cells = [
            show.stacked(_written(geometric(observations.runs.values(quantity, name))))
            for quantity in ("largest_feature", "rate", "condition", "left")
        ]
        rows.append([label, *cells])
    title = words(
        "titles.normal-inputs",
        num_examples=NUM_EXAMPLES,
        section_degree=SECTION_DEGREE,
        resolved_degree=RESOLVED_DEGREE,
    )
    heads = (
        words["heads.basis"],
        words["heads.largest-feature"],
        words["heads.largest-stable-rate"],
        words["heads.condition-number"],
        words("heads.error-left-after-steps", last=LAST),
    )
    return [Table(title, heads, rows)]


def _written(found: dict[str, Any]) -> str:
    low, high = (show.number(found[key], 2) for key in ("ci_low", "ci_high"))
    return f"{show.number(found['estimate'], 2)} [{low}, {high}]"


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Largest stable rate and condition number against the degree, and the error left against steps."""
    degree = words["labels.degree"]
    rate, condition = (_panel(observations, name, degree, words) for name in ("rate", "condition"))
    steps = words["labels.steps-gradient-descent-at-half"]
    return (rate | condition) & _panel(observations, "left", steps, words)


def _panel(observations: Observations, quantity: str, x: str, words: WordList) -> altair.LayerChart:
    alt = import_extra("altair", what="A figure", extra="book")
    table = observations["curves"]
    table = table[table["quantity"] == quantity]
    rows = table.assign(
        group=[words.group("bases")[name] for name in table["basis"]],
        level=[f"{int(level):,}" for level in table["level"]],
    )
    note = words["labels.geometric-mean-over-draws-with"]
    head = words.group("quantities")[quantity]
    chart = plots.level_plot(
        rows,
        level_title=x,
        value_title=head,
        log_scale=True,
        notes=words.notes,
        width=270,
        height=240,
    )
    subtitle = note.format(int(rows["num_replicates"].max()))
    title = alt.TitleParams(
        head[0].upper() + head[1:], subtitle=subtitle, anchor="start", subtitleFontSize=11
    )
    if quantity == "rate":
        label = words("labels.sections-rate", section_rate=SECTION_RATE)
        line = alt.Chart(pd.DataFrame({"y": [SECTION_RATE], "text": [label]}))
        rule = line.mark_rule(color=plots.INK, strokeDash=[2, 3]).encode(y="y:Q")
        text = line.mark_text(align="right", dy=-7, color=plots.INK, fontSize=10)
        chart = alt.layer(chart, rule, text.encode(y="y:Q", x=alt.value(266), text="text:N"))
    return chart.properties(title=title)


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="the-largest-rate",
            kind="property",
            check=is_largest_rate,
            subject=lambda o: 1.0,
            falsehood=lambda o: 1.1,
        ),
        Claim(
            name="error-by-singular-values",
            kind="property",
            check=follows_singular_values,
            subject=lambda o: 50,
            falsehood=lambda o: 49,
        ),
        Claim(
            name="unscaled-features-are-huge",
            kind="experiment",
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "largest_feature", "power", "factorial"),
            falsehood=lambda o: log_ratio(o, "largest_feature", "factorial", "power"),
            unit="log",
        ),
        Claim(
            name="the-cubic-bears-the-sections-rate",
            kind="experiment",
            figures={"section_rate": SECTION_RATE, "degree": CUBIC},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: above_the_sections(o, "power", CUBIC),
            falsehood=lambda o: above_the_sections(o, "power", LOST),
            unit="log",
        ),
        Claim(
            name="the-sections-rate-is-too-large-without-it",
            kind="experiment",
            figures={"section_rate": SECTION_RATE, "degree": LOST},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: -above_the_sections(o, "power", LOST),
            falsehood=lambda o: -above_the_sections(o, "power", BORDER),
            unit="log",
        ),
        Claim(
            name="the-sections-loop-is-lost",
            kind="experiment",
            figures={"degree": LOST},
            check=are_mostly_lost,
            subject=lambda o: lost(o, LOST),
            falsehood=lambda o: lost(o, CUBIC),
        ),
        Claim(
            name="standardised-columns-bear-the-sections-rate",
            kind="experiment",
            figures={"section_rate": SECTION_RATE, "degree": SECTION_DEGREE},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: above_the_sections(o, "standardised", SECTION_DEGREE),
            falsehood=lambda o: above_the_sections(o, "power", SECTION_DEGREE),
            unit="log",
        ),
        Claim(
            name="standardising-leaves-more-than-legendre",
            kind="experiment",
            figures={"last": LAST, "degree": SECTION_DEGREE},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "left", "standardised", "legendre"),
            # What a reader of the cubic alone would say: there it leaves less, by far.
            falsehood=lambda o: log_ratio(o, "left_cubic", "standardised", "legendre"),
            unit="log",
        ),
        Claim(
            name="the-factorial-does-not-mend-conditioning",
            kind="experiment",
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "condition", "factorial", "legendre"),
            falsehood=lambda o: log_ratio(o, "condition", "legendre", "factorial"),
            unit="log",
        ),
        Claim(
            name="orthogonal-bases-leave-less",
            kind="experiment",
            figures={"last": LAST},
            check=greater(numbers={"factor": factor}),
            subject=lambda o: log_ratio(o, "left", "factorial", "legendre"),
            falsehood=lambda o: recentred(log_ratio(o, "left", "factorial", "legendre"), -1.0),
            unit="log",
        ),
        Claim(
            name="logarithms-of-powers-have-rank-1",
            kind="proof",
            check=has_rank_1,
            subject=lambda o: lambda x, i: sympy.expand_log(sympy.log(x**i)),
            falsehood=lambda o: lambda x, i: x**i,
        ),
    ),
    circulated=(
        Circulated(
            "scaling-avoids-very-large-values",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-sections-rate-is-too-large-without-it",
        ),
        Circulated(
            "taking-logarithm-data-which-squeezes",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="logarithms-of-powers-have-rank-1",
        ),
        Circulated(
            "large-gradients-and-losses",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-sections-rate-is-too-large-without-it",
            source="datawhale",
        ),
        Circulated(
            "standardise-each-feature",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="standardised-columns-bear-the-sections-rate",
            source="datawhale",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--seeds 100",
)
