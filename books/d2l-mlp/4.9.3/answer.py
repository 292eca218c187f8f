"""4.9.3 Correction of covariate shift, from a classifier's weights.

Shimodaira's problem: a line is fitted to a cubic, on inputs unlike those of the target. All densities are known, so
that estimated weights stand beside true ones, and every risk is computed exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, rounded
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import corrected
from mlplab.stats import mean_interval

if TYPE_CHECKING:
    import altair

SOURCE_MEAN, SOURCE_STD, TARGET_STD, NOISE_STD = 0.5, 0.5, 0.3, 0.3
TARGET_MEANS = (0.5, 0.25, 0.0, -0.25, -0.5, -0.75)
SHIMODAIRA = 0.0  # the mean of the target in his problem
ROWS = 200  # labelled rows of the source, and as many unlabelled ones of the target
METHODS = ("none", "true", "estimated", "target")
LINE, CUBIC = 1, 3
MARGIN = 0.02  # of what true weights gain: a share of the gain that does not matter
RISK_MARGIN = 0.1  # of a risk, relative


def observe(lab: Lab) -> Observations:
    """Fit lines and cubics with no weights, true ones and estimated ones; and on labelled rows of the target."""
    seeds = lab.seeds(quick=24, full=200)
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
    return lab.observations(runs=kept.reset_index(drop=True), curve=pd.DataFrame(curve))


def fits(target_mean: float, seed: int) -> list[dict[str, Any]]:
    """Excess risk on the target of every model: a row for each degree and method."""
    x, y = labelled(SOURCE_MEAN, SOURCE_STD, seed, 0)
    target, target_y = labelled(target_mean, TARGET_STD, seed, 1)
    fresh, fresh_y = labelled(SOURCE_MEAN, SOURCE_STD, seed, 2)
    estimated = ClassifierWeights("quadratic", random_state=seed).fit(x[:, None], target[:, None])
    true = corrected(ratio(x, target_mean), "true")
    held = {"none": np.ones(ROWS), "true": true.weights, "estimated": estimated.weights_}
    worth = {"true": true.effective_sample_size, "estimated": estimated.correction_.effective_sample_size}
    warned = {"true": true.will_hurt, "estimated": estimated.correction_.will_hurt}
    rows = []
    for degree, method in itertools.product((LINE, CUBIC), METHODS):
        on_target = method == "target"
        w = fitted(*((target, target_y, held["none"]) if on_target else (x, y, held[method])), degree)
        risk = excess(w, target_mean) + NOISE_STD**2
        losses = (np.polynomial.polynomial.polyval(fresh, w) - fresh_y) ** 2
        weights = ratio(fresh, target_mean)
        row = {
            "excess": excess(w, target_mean),
            "plain": float(losses.mean()) / risk,
            "weighted": float(weights @ losses / weights.sum()) / risk,
            "worth": worth.get(method, float(ROWS)),
        }
        named = {"arm": f"degree {degree}, {method}", "seed": seed, "status": "finished"}
        named |= {"target_mean": target_mean, "degree": degree, "method": method}
        rows.append(
            named
            | {"warned": int(warned.get(method, False))}
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


def gain_left(observations: Observations) -> np.ndarray:
    """What estimated weights cost beside true ones, as a share of what true ones gain, for each seed."""
    lost = values(observations, LINE, "estimated") - values(observations, LINE, "true")
    return lost / gain(observations, LINE, "true").mean()


def added(observations: Observations) -> np.ndarray:
    """How much higher the excess risk is with estimated weights than with true ones, as a share of its mean."""
    true = values(observations, LINE, "true")
    return (values(observations, LINE, "estimated") - true) / true.mean()


# What is shown


def curve(observations: Observations, degree: int) -> pd.DataFrame:
    """Excess risk by target and method."""
    held = observations["curve"]
    return held[held["degree"] == degree]


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    line = curve(observations, LINE).set_index(["target_mean", "method"])
    far = min(TARGET_MEANS)
    return {
        "rows": ROWS,
        "far": far,
        "excess": {m: mean_interval(values(observations, LINE, m)) for m in METHODS},
        "cubic": {m: mean_interval(values(observations, CUBIC, m)) for m in METHODS},
        "plain": mean_interval(values(observations, LINE, "none", "plain")),
        "far_excess": {m: float(line.loc[(far, m), "estimate"]) for m in METHODS},  # pyright: ignore
        "far_worth": float(line.loc[(far, "true"), "worth"]),  # pyright: ignore[reportArgumentType]
        "far_warned": float(line.loc[(far, "estimated"), "warned"]),  # pyright: ignore[reportArgumentType]
        "near_warned": float(line.loc[(SHIMODAIRA, "estimated"), "warned"]),  # pyright: ignore
        "margin": MARGIN,
        "gain": mean_interval(gain(observations, LINE, "true")),
        "risk_margin": RISK_MARGIN,
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Excess risk by model and weights; by target."""
    note = words("labels.mean-and-95-t-interval", num_seeds=observations.num_seeds)
    rows = [
        [label]
        + [show.number_interval(mean_interval(values(observations, degree, m))) for degree in (LINE, CUBIC)]
        for m, label in words.group("names").items()
    ]
    by_target = []
    for mean in TARGET_MEANS:
        held = curve(observations, LINE)
        held = held[held["target_mean"] == mean].set_index("method")
        cells = [show.stacked(show.number_interval(_Row(held.loc[m].to_dict()))) for m in METHODS]
        worth = show.number(float(held.loc["true", "worth"]))  # pyright: ignore[reportArgumentType]
        by_target.append([f"{mean:g}".replace("-", show.MINUS), worth, *cells])
    return [
        Table(
            words("titles.excess-risk-on-shimodairas-target", note=note),
            (words["heads.weights"], words["heads.line"], words["heads.cubic-truth"]),
            rows,
        ),
        Table(
            words("titles.line-by-mean-target-excess", note=note),
            (
                words["heads.mean-target"],
                words("heads.rows-are-worth", rows=ROWS),
                *words.group("names").values(),
            ),
            by_target,
        ),
    ]  # fmt: skip


class _Row:
    """A row of a table as an interval."""

    def __init__(self, row: dict[Any, Any]) -> None:
        self.estimate, self.ci_low, self.ci_high = (float(row[n]) for n in ("estimate", "ci_low", "ci_high"))


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Excess risk of line and cubic against the mean of the target."""
    heads = {LINE: words["labels.line-wrong-model"],
             CUBIC: words["labels.cubic-right-model"]}  # fmt: skip
    alt = import_extra("altair", what="A figure", extra="book")
    panels = [
        _panel(alt, curve(observations, d), head, observations.num_seeds, words) for d, head in heads.items()
    ]
    return alt.hconcat(*panels)


def _panel(alt: Any, held: Any, head: str, draws: int, words: WordList) -> Any:
    names = list(words.group("names").values())
    rows = held.assign(name=[words.group("names")[str(m)] for m in held["method"]])
    note = words["labels.mean-with-95-t-interval"]
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
        x=alt.X("target_mean:Q", title=words["titles.mean-targets-inputs"]),
        color=colour,
    )  # fmt: skip
    y = alt.Y(
        "estimate:Q", title=words["titles.excess-risk-on-target"],
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
    ),
    circulated=(Circulated("only-link-which-dead", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--seeds 100",
)  # fmt: skip
