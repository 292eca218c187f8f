"""4.4.4 Can the generalisation error be zero?

The risk of any predictor is the noise that nobody can predict plus its distance from the regression function. So it is
0 exactly where there is no noise, the model can express the truth, and the data single it out. All three are varied.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
from numpy.polynomial import hermite_e

from mlplab import data
from mlplab.analysis.polynomial import fit_polynomial
from mlplab.analysis.polynomial_basis import design_matrix
from mlplab.analysis.polynomial_curves import draw_problems
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.answers.checks import all_below
from mlplab.charts import plots, show
from mlplab.data.synthetic import CUBIC
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.stats import mean_interval, paired, prediction_interval

if TYPE_CHECKING:
    import altair

NOISE_STD = 0.1  # the section's
TRUE_DEGREE = len(CUBIC) - 1
SIZES = (2, 3, 4, 5, 8, 12, 20, 50, 100, 1000)
ROUNDING = 1e-18  # float64 is good for 1e-16, squares of it times weights of size 10 and inputs of size 4
# name -> noise, degree of the model
CASES: dict[str, tuple[float, int]] = {
    "noiseless": (0.0, 3),
    "noisy": (NOISE_STD, 3),
    "too-small": (0.0, 2),
    "noisy-true": (NOISE_STD, -1),
}
DECIDED = (3, 100)  # numbers of examples at which claims are decided: too few for a cubic, and enough


def observe(lab: Lab) -> Observations:
    """Exact fits of the section's cubic with and without noise, and the exact risk of each."""
    lab.use(data.load("polynomial"))
    seeds = lab.seeds(quick=50, full=300)
    rows, curves = [], []
    for case, (noise_std, degree) in CASES.items():
        x, y = draw_problems("train", seeds, max(SIZES), noise_std)
        for size in SIZES:
            risks = [
                risk(fit(inputs[:size], targets[:size], degree), noise_std)
                for inputs, targets in zip(x, y, strict=True)
            ]
            curves.append({"case": case, "size": size} | _summary(np.array(risks)))
            if size in DECIDED:
                rows += [
                    {"arm": f"{case} n={size}", "seed": seed, "status": "finished", "risk": value}
                    for seed, value in zip(seeds, risks, strict=True)
                ]
    return lab.observations(runs=pd.DataFrame(rows), curves=pd.DataFrame(curves))


def fit(x: np.ndarray, y: np.ndarray, degree: int) -> np.ndarray:
    """Weights of x^i: least squares (of least norm where they are not unique); for degree -1 the true ones."""
    if degree < 0:
        return np.array(CUBIC) / [math.factorial(i) for i in range(len(CUBIC))]
    return np.linalg.lstsq(design_matrix(x, degree), y, rcond=None)[0]


def risk(w: np.ndarray, noise_std: float) -> float:
    """Expected squared error on a new example, exactly: σ² + E(f(x) - m(x))² for x from N(0, 1).

    In Hermite polynomials, which are orthogonal under N(0, 1) with squares i!, no draw is needed.
    """
    wrong = np.zeros(max(len(w), len(CUBIC)))
    wrong[: len(w)] = w
    wrong[: len(CUBIC)] -= fit(np.empty(0), np.empty(0), -1)
    parts = hermite_e.poly2herme(wrong)
    return noise_std**2 + float(sum(part**2 * math.factorial(i) for i, part in enumerate(parts)))


def _summary(risks: np.ndarray) -> dict[str, Any]:
    found = mean_interval(np.log(np.maximum(risks, 1e-32))).to_dict()
    for name in ("estimate", "ci_low", "ci_high"):
        found[name] = None if found[name] is None else float(f"{math.exp(found[name]):.6g}")
    return {name: value for name, value in found.items() if name != "std_error"}


# Checks


def splits_into(extra: int) -> Finding:
    """E(y - f)² = Var(y|x) + (f - E(y|x))² + `extra` · Var: for every distribution of y on three values.

    p₁, p₂ are its probabilities, f any prediction: the identity is one of polynomials.
    """
    p, q, a, b, c, f = sympy.symbols("p q a b c f", real=True)
    weights, values = (p, q, 1 - p - q), (a, b, c)

    def mean(of: Any) -> sympy.Expr:
        return sum((w * of(v) for w, v in zip(weights, values, strict=True)), sympy.Integer(0))

    middle = mean(lambda v: v)
    variance = mean(lambda v: (v - middle) ** 2)
    gap = sympy.expand(mean(lambda v: (v - f) ** 2) - (1 + extra) * variance - (f - middle) ** 2)
    return Finding.true_if(gap == 0, f"difference {gap}" if gap == 0 else "difference is not 0")


def reaches_zero(degree: int) -> Finding:
    """Fractions, no noise: is the fit of this degree on 4 to 12 inputs the section's cubic, its risk exactly 0?"""
    truth = [Fraction(str(c)) / math.factorial(i) for i, c in enumerate(CUBIC)]
    worst, tries = Fraction(0), 0
    for number in range(20):
        steps = Stream(number, "data").permutation(33)[: 4 + number % 9]
        x = [Fraction(int(k) - 16, 8) for k in steps]
        y = [sum((c * v**i for i, c in enumerate(truth)), Fraction(0)) for v in x]
        found = fit_polynomial(np.array(x, object), np.array(y, object), degree, method="rational")
        w = [Fraction(weight) for weight in found.weights] + [Fraction(0)] * (TRUE_DEGREE - degree)
        # The integral of the squared difference over [-2, 2], another distribution of x than N(0, 1), in fractions.
        gap = [a - b for a, b in zip(w, truth, strict=True)]
        worst = max(worst, _mean_square(gap))
        tries += 1
    return Finding.true_if(worst == 0, f"largest risk {worst}", tries=tries, worst=float(worst))


def fits_noise(fewer: int) -> Finding:
    """Fractions, noise: does the fit of a degree that is by `fewer` less than the number of examples leave nothing?"""
    worst = Fraction(0)
    for number in range(10):
        size = 4 + number % 4
        inputs, noise = (Stream(number, "data", step=step).permutation(33)[:size] for step in (0, 1))
        x, y = ([Fraction(int(k) - 16, 8) for k in part] for part in (inputs, noise))
        found = fit_polynomial(np.array(x, object), np.array(y, object), size - fewer, method="rational")
        w = [Fraction(weight) for weight in found.weights]
        fits = [sum((c * v**i for i, c in enumerate(w)), Fraction(0)) for v in x]
        worst = max(worst, *((fit - target) ** 2 for fit, target in zip(fits, y, strict=True)))
    return Finding.true_if(worst == 0, f"largest squared error {float(worst):.3g}", tries=10)


def _mean_square(coefficients: list[Fraction]) -> Fraction:
    """The mean of a polynomial's square over [-2, 2]: odd powers vanish, even ones are 2^k/(k + 1)."""
    total = Fraction(0)
    for i, a in enumerate(coefficients):
        for j, b in enumerate(coefficients):
            if (i + j) % 2 == 0:
                total += a * b * Fraction(2 ** (i + j), i + j + 1)
    return total


def values(observations: Observations, case: str, size: int) -> np.ndarray:
    """The risk of every draw."""
    return observations.runs.values("risk", f"{case} n={size}")


def exceeds(pair: tuple[np.ndarray, float]) -> Finding:
    """Is the mean risk greater than that number?"""
    risks, threshold = pair
    return Finding.of(paired(risks, claim="greater", threshold=threshold), threshold=threshold)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Means of 100 draws with and without noise; without noise and with the right model, rounding."""
    return {
        "noisy": prediction_interval(values(observations, "noisy", MANY), num_new=100),
        "too_small": prediction_interval(values(observations, "too-small", MANY), num_new=100),
        "noiseless": (0.0, ROUNDING),
    }


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    few, many = DECIDED
    return {
        "num_draws": observations.num_seeds,
        "few": few,
        "many": many,
        "degree": TRUE_DEGREE,
        "noise_std": NOISE_STD,
        "noise_variance": NOISE_STD**2,
        "noisy": mean_interval(values(observations, "noisy", many)),
        "too_small": mean_interval(values(observations, "too-small", many)),
        "largest": float(values(observations, "noiseless", many).max()),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The risk of each case with growing data."""
    held = observations["curves"]
    rows = []
    for case, label in words.group("cases").items():
        at: Any = held[held["case"] == case].set_index("size")
        cells = [_written(at.loc[size, "estimate"]) for size in (2, 3, 4, 8, 20, 100, 1000)]
        rows.append([label, *cells])
    heads = ["", *(words("labels.n", size=size) for size in (2, 3, 4, 8, 20, 100, 1000))]
    title = words["titles.risk-expected-squared-error-on"]
    return [Table(title, heads, rows)]


def _written(value: float) -> str:
    return f"< {show.number(ROUNDING, 1)}" if value < ROUNDING else show.number(float(value))


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The risk of the four cases against the number of examples."""
    alt = import_extra("altair", what="A figure", extra="book")
    held = observations["curves"]
    rows = held.assign(
        group=[words.group("cases")[case] for case in held["case"]],
        level=[f"{int(size):,}" for size in held["size"]],
    )
    chart = plots.level_plot(
        rows,
        level_title=words["titles.training-examples-n"],
        value_title=words["titles.risk-expected-squared-error"],
        log_scale=True,
        lowest=ROUNDING / 100,
        notes=words.notes,
        width=420,
        height=300,
    )
    note = words["labels.geometric-mean-over-draws-with"]
    subtitle = note.format(int(held["num_replicates"].max()))
    head = words["labels.zero-needs-three-things-at"]
    return chart.properties(
        title=alt.TitleParams(head, subtitle=subtitle, anchor="start", subtitleFontSize=11)
    )


FEW, MANY = DECIDED
ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="risk-is-noise-plus-distance",
            kind="proof",
            check=splits_into,
            subject=lambda o: 0,
            falsehood=lambda o: 1,
        ),
        Claim(
            name="exactly-zero-in-fractions",
            kind="property",
            check=reaches_zero,
            subject=lambda o: TRUE_DEGREE,
            falsehood=lambda o: TRUE_DEGREE - 1,
        ),
        Claim(
            name="zero-without-noise",
            kind="calculation",
            figures={"many": MANY},
            check=all_below(ROUNDING),
            subject=lambda o: values(o, "noiseless", MANY),
            falsehood=lambda o: values(o, "noiseless", FEW),
        ),
        Claim(
            name="noise-is-a-floor",
            kind="experiment",
            figures={"many": MANY},
            check=exceeds,
            subject=lambda o: (values(o, "noisy", MANY), NOISE_STD**2),
            falsehood=lambda o: (values(o, "noisy", MANY), 1.1 * NOISE_STD**2),
        ),
        Claim(
            name="a-model-that-is-too-small-stays-above",
            kind="experiment",
            figures={"true_degree": TRUE_DEGREE - 1, "many": MANY},
            check=exceeds,
            subject=lambda o: (values(o, "too-small", MANY), 1.0),
            falsehood=lambda o: (values(o, "noiseless", MANY), 1.0),
        ),
        Claim(
            name="too-few-examples-stay-above",
            kind="experiment",
            figures={"true_degree": TRUE_DEGREE, "few": FEW},
            check=exceeds,
            subject=lambda o: (values(o, "noiseless", FEW), 1.0),
            falsehood=lambda o: (values(o, "noiseless", MANY), 1.0),
        ),
        Claim(
            name="complex-models-reach-zero-in-training",
            kind="property",
            check=fits_noise,
            subject=lambda o: 1,
            falsehood=lambda o: 2,
        ),
    ),
    circulated=(
        Circulated(
            "no-because-data-contain-noise",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="exactly-zero-in-fractions",
        ),
        Circulated(
            "zero-without-noise-if-solvable",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="exactly-zero-in-fractions",
            source="datawhale",
        ),
        Circulated(
            "training-error-of-a-complex-model",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="complex-models-reach-zero-in-training",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--seeds 150",
)
