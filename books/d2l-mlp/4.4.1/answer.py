"""4.4.1 Can the polynomial regression problem be solved exactly?

Yes: least squares is linear algebra. In fractions the solution is exact, in float64 it is as good as the design matrix
allows. What it solves is the fit: under noise the weights of the fit are not those that made the data.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

from mlplab import data
from mlplab.analysis.polynomial import fit_polynomial
from mlplab.analysis.polynomial_basis import design_matrix
from mlplab.analysis.polynomial_curves import draw_problems
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.data.synthetic import CUBIC
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval

if TYPE_CHECKING:
    import altair

NOISE_STD, NUM_EXAMPLES, NUM_NEW = (
    0.1,
    100,
    1000,
)  # the section's noise and number of examples; new ones to judge by
DEGREE = 3  # the true one
ACCURACY_DEGREES = tuple(range(1, 20))
TOLERANCE = 0.1  # of the ratio of what was measured to the formula
METHODS = (
    "qr",
    "svd",
    "normal",
)


def observe(lab: Lab) -> Observations:
    """Fit many draws of the section's problem exactly, at the true degree."""
    lab.use(data.load("polynomial"))
    seeds = lab.seeds(quick=100, full=1000)  # a ratio spreads by 0.7: its mean is known to 0.05
    x, y = draw_problems("train", seeds, NUM_EXAMPLES, NOISE_STD)
    new_x, new_y = draw_problems("test", seeds, NUM_NEW, NOISE_STD)
    truth, rows = np.array(CUBIC), []
    for at, seed in enumerate(seeds):
        design, new = (design_matrix(part[at], DEGREE, "factorial") for part in (x, new_x))
        w = solve(design, y[at], "qr")
        rows.append(
            {
                "arm": f"degree={DEGREE}",
                "seed": seed,
                "status": "finished",
                "weight_error": float(np.linalg.norm(w - truth)),
                # In the metric of the examples: E = σ²(d + 1), whatever the inputs are.
                "ratio": float(np.sum((design @ (w - truth)) ** 2) / (NOISE_STD**2 * (DEGREE + 1))),
                "train_error": float(np.mean((design @ w - y[at]) ** 2)),
                "train_error_of_truth": float(np.mean((design @ truth - y[at]) ** 2)),
                "new_error": float(np.mean((new @ w - new_y[at]) ** 2)),
                "new_error_of_truth": float(np.mean((new @ truth - new_y[at]) ** 2)),
            }
        )
    return lab.observations(runs=pd.DataFrame(rows))


def solve(design: np.ndarray, y: np.ndarray, method: str) -> np.ndarray:
    """Least squares in float64, by a method of METHODS."""
    if method == "qr":
        q, r = np.linalg.qr(design)
        return np.linalg.solve(r, q.T @ y)
    if method == "svd":
        return np.linalg.lstsq(design, y, rcond=1e-16)[0]
    return np.linalg.solve(design.T @ design, design.T @ y)


# The linear algebra


def is_gradient(factor: int) -> Finding:
    """Is the gradient of |Aw - y|² that factor times Aᵀ(Aw - y)? Symbols for 4 examples of degree 2."""
    x, weights = sympy.symbols("x:4"), sympy.symbols("w:3")
    y, w = sympy.Matrix(sympy.symbols("y:4")), sympy.Matrix(weights)
    design = sympy.Matrix(4, 3, lambda i, j: x[i] ** j)
    residual = design * w - y
    loss = (residual.T * residual)[0]
    gradient = sympy.Matrix([sympy.diff(loss, weight) for weight in weights])
    gap = (gradient - factor * design.T * residual).expand()
    hessian = (sympy.hessian(loss, weights) - 2 * design.T * design).expand()
    return Finding.true_if(gap.is_zero_matrix and hessian.is_zero_matrix, f"difference {gap.T.tolist()[0]}")


def is_vandermonde(product: Callable[[list[Any]], sympy.Expr]) -> Finding:
    """Is the determinant of the powers of 5 symbols this product? It is 0 only where two of them are equal."""
    x = sympy.symbols("x:5")
    determinant = sympy.Matrix(5, 5, lambda i, j: x[i] ** j).det(method="berkowitz")
    gap = sympy.expand(determinant - product(list(x)))
    return Finding.true_if(gap == 0, "determinant = ∏ (x_j - x_i)" if gap == 0 else "another polynomial")


def has_unique_weights(rule: Callable[[list[Fraction], int], bool]) -> Finding:
    """Does this rule say when AᵀA, in fractions, can be inverted? Random inputs, many of them repeated."""
    wrong, tries = [], 0
    for number in range(60):
        stream = Stream(number, "data")
        degree, size = number % 5, 1 + number % 9
        x = [Fraction(int(k) % 5, 3) for k in stream.permutation(20)[:size]]
        rows = [[QQ(v.numerator, v.denominator) ** i for i in range(degree + 1)] for v in x]
        matrix = DomainMatrix(rows, (size, degree + 1), QQ)
        unique = (matrix.transpose() * matrix).rank() == degree + 1
        tries += 1
        if unique != rule(x, degree):
            wrong.append((size, len(set(x)), degree))
    detail = "of {} examples, {} distinct, degree {}".format(*wrong[0]) if wrong else ""
    return Finding.true_if(not wrong, detail, tries=tries)


def is_exact(method: str) -> Finding:
    """Random noisy problems: is Aᵀ(Aw - y) zero, and w the truth without noise, when both are counted in fractions?"""
    worst, tries = Fraction(0), 0
    for number in range(20):
        degree, size = 1 + number % 5, 8 + number
        stream = Stream(number, "data", step=1)
        x = [Fraction(int(k) - 20, 8) for k in stream.permutation(41)[:size]]
        truth = [Fraction(int(k) - 10, 4) for k in stream.permutation(21)[: degree + 1]]
        clean = [sum((t * v**i for i, t in enumerate(truth)), Fraction(0)) for v in x]
        noisy = [
            value + Fraction(int(k) - 10, 64)
            for value, k in zip(clean, stream.permutation(size), strict=True)
        ]
        for y in (clean, noisy):
            found = fit_polynomial(np.array(x, object), np.array(y, object), degree, method=_method(method))
            w = [Fraction(weight) for weight in found.weights]
            residual = [
                sum((c * v**i for i, c in enumerate(w)), Fraction(0)) - t for v, t in zip(x, y, strict=True)
            ]
            normal = [abs(sum(r * v**i for r, v in zip(residual, x, strict=True))) for i in range(degree + 1)]
            missed = [abs(a - b) for a, b in zip(w, truth, strict=True)] if y is clean else []
            worst, tries = max(worst, *normal, *missed), tries + 1
    return Finding.true_if(
        worst == 0, f"largest deviation {float(worst):.3g}", tries=tries, worst=float(worst)
    )


def _method(name: str) -> Any:
    return name


@cache
def accuracies() -> pd.DataFrame:
    """Relative error of the weights without noise, by method and degree: medians over draws, in the section's basis."""
    draws = range(20)
    x, _ = draw_problems("train", draws, NUM_EXAMPLES, 0.0)
    rows = []
    for degree in ACCURACY_DEGREES:
        truth = np.resize(CUBIC, degree + 1)  # no weight is 0, so that each one can be missed
        designs = [design_matrix(inputs, degree, "factorial") for inputs in x]
        conditions = [np.linalg.cond(design) for design in designs]
        for method in METHODS:
            errors = []
            for design in designs:
                try:
                    w = solve(design, design @ truth, method)
                except np.linalg.LinAlgError:
                    w = np.zeros(degree + 1)  # all digits are lost
                errors.append(np.linalg.norm(w - truth) / np.linalg.norm(truth))
            rows.append(
                {"method": method, "degree": degree, "error": float(np.median(errors)),
                 "condition": float(np.median(conditions))}
            )  # fmt: skip
    return pd.DataFrame(rows)


def loses_digits(method: str) -> Finding:
    """Is this method's error more than 100 times that of QR, at every degree from 8 to 12?"""
    table = accuracies().pivot(index="degree", columns="method", values="error").loc[8:12]
    ratio = float((table[method] / table["qr"]).min())
    return Finding.true_if(
        ratio > 100, ratio=ratio, qr=float(table["qr"].iloc[-1]), other=float(table[method].iloc[-1])
    )


# The experiment


def values(observations: Observations, quantity: str) -> np.ndarray:
    """A quantity of every draw."""
    return observations.runs.values(quantity, f"degree={DEGREE}")


def gain(observations: Observations, part: str) -> np.ndarray:
    """Error of the true weights minus that of the fitted ones, on the examples (`train`) or on new ones."""
    return values(observations, f"{part}_error_of_truth") - values(observations, f"{part}_error")


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Means over the program's 200 draws."""
    rows = {"weight_error": "weight_error", "train_error": "train_error", "new_error": "new_error"}
    return {name: prediction_interval(values(observations, row), num_new=200) for name, row in rows.items()}


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    accurate = accuracies()
    last = accurate[accurate["degree"] == ACCURACY_DEGREES[-1]].set_index("method")
    return {
        "num_draws": observations.num_seeds,
        "num_examples": NUM_EXAMPLES,
        "noise_std": NOISE_STD,
        "degree": DEGREE,
        "largest_degree": ACCURACY_DEGREES[-1],
        "condition": float(last["condition"].iloc[0]),
        "qr_error": float(last["error"]["qr"]),
        "weight_error": mean_interval(values(observations, "weight_error")),
        "excess": mean_interval(-gain(observations, "new")),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Errors of fit and truth; accuracy of three ways to compute the fit."""
    errors = Table(
        words("titles.examples-with-noise-mean-squared", num_examples=NUM_EXAMPLES, noise_std=NOISE_STD),
        (
            words["heads.weights"],
            words["heads.on-examples"],
            words["heads.on-new-ones"],
            words["heads.distance-true-weights"],
        ),
        [
            _error_row(words["labels.exact-fit-degree-3"], observations, "", words),
            _error_row(words["labels.true-ones"], observations, "_of_truth", words),
        ],
    )
    rows = accuracies()
    shown = [degree for degree in ACCURACY_DEGREES if degree in (1, 3, 5, 8, 12, 16, 19)]
    accuracy = Table(
        words["titles.relative-error-weights-in-float64"],
        (words["heads.degree"], words["heads.condition-number"], *words.group("methods").values()),
        [
            [
                str(degree),
                show.number(rows[rows["degree"] == degree]["condition"].iloc[0]),
                *(
                    show.number(rows[(rows["degree"] == degree) & (rows["method"] == m)]["error"].iloc[0], 2)
                    for m in METHODS
                ),
            ]
            for degree in shown
        ],
    )
    return [errors, accuracy]


def _error_row(name: str, observations: Observations, suffix: str, words: WordList) -> list[str]:
    means = [mean_interval(values(observations, f"{part}_error{suffix}")) for part in ("train", "new")]
    distance = "0" if suffix else show.number_interval(mean_interval(values(observations, "weight_error")))
    return [name, *map(show.number_interval, means), distance]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """One draw with its exact fits; the accuracy of three ways to compute them."""
    alt = import_extra("altair", what="A figure", extra="book")
    return (_fits(alt, words) | _accuracy_panel(alt, words)).resolve_scale(
        color="independent", strokeDash="independent"
    )


def _fits(alt: Any, words: WordList) -> Any:
    x, y = (part[0] for part in draw_problems("train", [0], 20, 2.0))
    grid = np.linspace(x.min(), x.max(), 400)
    curves = {
        words["labels.truth"]: design_matrix(grid, 3, "factorial") @ np.array(CUBIC),
        words["labels.exact-fit-degree-3"]: fit_polynomial(x, y, 3).predict(grid),
        words["labels.exact-fit-degree-15"]: fit_polynomial(x, y, 15, "legendre", domain=(-4, 4)).predict(
            grid
        ),
    }
    rows = pd.concat([pd.DataFrame({"x": grid, "y": c, "name": n}) for n, c in curves.items()])
    low, high = float(y.min()) - 5, float(y.max()) + 5
    scale = alt.Scale(domain=[low, high])
    title = alt.TitleParams(
        words["labels.exactly-solved-not-exactly-true"],
        subtitle=words["titles.20-examples-noise-2-be"],
        anchor="start",
    )
    lines = _lines(alt, rows, list(curves), "name").encode(
        x=alt.X("x:Q", title=words["titles.input-x"]),
        y=alt.Y("y:Q", title=words["titles.target-y"], scale=scale),
    )
    points = (
        alt.Chart(pd.DataFrame({"x": x, "y": y}), title=title, width=300, height=260)
        .mark_point(filled=True, size=36, color=plots.INK, opacity=0.8)
        .encode(x="x:Q", y=alt.Y("y:Q", scale=scale))
    )
    return points + lines


def _lines(alt: Any, rows: pd.DataFrame, names: list[str], field: str) -> Any:
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke", symbolSize=300)
    return (
        alt.Chart(rows)
        .mark_line(clip=True, strokeWidth=2)
        .encode(
            color=alt.Color(f"{field}:N", sort=names, legend=legend,
                            scale=plots.colour_scale(alt, names)),
            strokeDash=alt.StrokeDash(f"{field}:N", sort=names, legend=legend,
                                      scale=plots.dash_scale(alt, names)),
        )
    )  # fmt: skip


def _accuracy_panel(alt: Any, words: WordList) -> Any:
    names = dict(words.group("methods").items())
    rows = accuracies().assign(name=lambda t: t["method"].map(names))
    title = alt.TitleParams(
        words["labels.how-many-digits-survive-in"],
        subtitle=words["titles.no-noise-median-20-draws"],
        anchor="start",
    )
    return (
        _lines(alt, rows, list(names.values()), "name")
        .encode(
            x=alt.X("degree:Q", title=words["titles.degree"]),
            y=alt.Y("error:Q", title=words["titles.relative-error-weights"],
                    scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e", tickCount=8)),
        )
        .properties(width=300, height=260, title=title)
    )  # fmt: skip


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="normal-equations",
            kind="proof",
            check=is_gradient,
            subject=lambda o: 2,
            falsehood=lambda o: 1,
        ),
        Claim(
            name="powers-of-distinct-inputs-are-independent",
            kind="proof",
            check=is_vandermonde,
            subject=lambda o: lambda x: sympy.prod([b - a for a, b in itertools.combinations(x, 2)]),
            falsehood=lambda o: lambda x: sympy.prod([b - a for a, b in itertools.pairwise(x)]),
        ),
        Claim(
            name="distinct-inputs-decide",
            kind="property",
            check=has_unique_weights,
            subject=lambda o: lambda x, degree: len(set(x)) >= degree + 1,
            falsehood=lambda o: lambda x, degree: len(x) >= degree + 1,
        ),
        Claim(
            name="fractions-solve-it-exactly",
            kind="property",
            check=is_exact,
            subject=lambda o: "rational",
            falsehood=lambda o: "qr",  # the same in float64: right to 16 digits, not exact
        ),
        Claim(
            name="normal-equations-lose-digits",
            kind="calculation",
            check=loses_digits,
            subject=lambda o: "normal",
            falsehood=lambda o: "svd",
        ),
        Claim(
            name="the-fit-beats-the-truth-on-the-examples",
            kind="experiment",
            check=greater(),
            subject=lambda o: gain(o, "train"),
            falsehood=lambda o: -gain(o, "train"),
        ),
        Claim(
            name="the-truth-beats-the-fit-on-new-ones",
            kind="experiment",
            check=greater(),
            subject=lambda o: -gain(o, "new"),
            falsehood=lambda o: gain(o, "new"),
        ),
        Claim(
            name="noise-moves-the-weights",
            kind="experiment",
            check=equivalent(1.0, margin=TOLERANCE),
            subject=lambda o: values(o, "ratio"),
            # What it would be if the constant were not fitted.
            falsehood=lambda o: values(o, "ratio") * 3 / 4,
        ),
    ),
    circulated=(
        Circulated("yes-by-formula-lost-when", "lost"),
        Circulated(
            "invert-the-normal-equations",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="distinct-inputs-decide",
            source="datawhale",
        ),
        Circulated(
            "closed-form-for-a-line",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="normal-equations",
            source="pandalabme",
        ),
        Circulated(
            "one-point-more-than-the-degree",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="powers-of-distinct-inputs-are-independent",
            source="pandalabme",
        ),
        Circulated(
            "noiseless-data-give-the-truth",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="fractions-solve-it-exactly",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--seeds 400",
)
