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

from mlplab.answers import show
from mlplab.answers.answer import Answer, Table
from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import corrected
from mlplab.stats import mean_interval, paired
from mlplab.study import plots

if TYPE_CHECKING:
    import altair

SOURCE_MEAN, SOURCE_STD, TARGET_STD, NOISE_STD = 0.5, 0.5, 0.3, 0.3
TARGET_MEANS = (0.5, 0.25, 0.0, -0.25, -0.5, -0.75)
SHIMODAIRA = 0.0  # the mean of the target in his problem
ROWS = 200  # labelled rows of the source, and as many unlabelled ones of the target
METHODS = ("none", "true", "estimated", "target")
LINE, CUBIC = 1, 3
MARGIN = 0.01  # of excess risk
RISK_MARGIN = 0.1  # of a risk, relative


def observe(lab: Lab) -> Observations:
    """Fit lines and cubics with no weights, true ones and estimated ones; and on labelled rows of the target."""
    lab.own_simulation("4.9.3")
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
        curve.append(row | {"worth": float(one["worth"].median())} | _rounded(ends))
    return lab.observations(runs=kept.reset_index(drop=True), curve=pd.DataFrame(curve))


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else float(f"{value:.6g}") for name, value in row.items()}


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
        rows.append(named | {"warned": int(warned.get(method, False))} | _rounded(row))
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


def is_positive(found: np.ndarray) -> Finding:
    """Is the mean greater than 0?"""
    return Finding.of(paired(found, claim="greater"))


def is_no_difference(found: np.ndarray) -> Finding:
    """Is the mean within the margin of 0?"""
    return Finding.of(paired(found, claim="equivalent", margin=MARGIN))


def is_one(found: np.ndarray) -> Finding:
    """Is the mean ratio equivalent to 1?"""
    return Finding.of(paired(found, claim="equivalent", threshold=1.0, margin=RISK_MARGIN))


# What is shown

NAMES = {
    "none": Words("no weights", "不加权"),
    "true": Words("true weights", "真实权重"),
    "estimated": Words("weights of a classifier", "分类器的权重"),
    "target": Words("labelled rows of the target", "目标域的有标签数据"),
}


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
        "risk_margin": RISK_MARGIN,
    }


def tables(observations: Observations, language: Language) -> list[Table]:
    """Excess risk by model and weights; by target."""
    note = Words(
        f"mean and 95% t interval, n = {observations.num_seeds} draws",
        f"均值与 95% t 区间，n = {observations.num_seeds} 次抽取",
    )
    rows = [
        [words.of(language)]
        + [show.number_interval(mean_interval(values(observations, degree, m))) for degree in (LINE, CUBIC)]
        for m, words in NAMES.items()
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
            Words(f"Excess risk on Shimodaira's target ({note.en})",
                  f"在 Shimodaira 的目标域上的超额风险（{note.zh}）"),
            (Words("weights", "权重"), Words("line", "直线"), Words("cubic, the truth", "三次式，即真实函数")),
            rows,
        ),
        Table(
            Words(f"The line, by the mean of the target: excess risk ({note.en})",
                  f"直线，按目标域的均值：超额风险（{note.zh}）"),
            (
                Words("mean of the target", "目标域的均值"),
                Words(f"{ROWS} rows are worth", f"{ROWS} 行相当于"),
                *NAMES.values(),
            ),
            by_target,
        ),
    ]  # fmt: skip


class _Row:
    """A row of a table as an interval."""

    def __init__(self, row: dict[Any, Any]) -> None:
        self.estimate, self.ci_low, self.ci_high = (float(row[n]) for n in ("estimate", "ci_low", "ci_high"))


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Excess risk of line and cubic against the mean of the target."""
    heads = {LINE: Words("A line: the wrong model", "直线：模型错误"),
             CUBIC: Words("A cubic: the right model", "三次式：模型正确")}  # fmt: skip
    alt = import_extra("altair", what="A figure", extra="book")
    panels = [
        _panel(alt, curve(observations, d), head, observations.num_seeds, language)
        for d, head in heads.items()
    ]
    return alt.hconcat(*panels)


def _panel(alt: Any, held: Any, head: Words, draws: int, language: Language) -> Any:
    names = [words.of(language) for words in NAMES.values()]
    rows = held.assign(name=[NAMES[str(m)].of(language) for m in held["method"]])
    note = Words(
        "Mean with 95% t interval, n = {} draws; source at 0.5",
        "均值与 95% t 区间，n = {} 次抽取；源域均值 0.5",
    )
    colour = alt.Color(
        "name:N", title=None, scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", columns=2, labelLimit=260, symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    dash = alt.StrokeDash("name:N", title=None, scale=plots.dash_scale(alt, names))
    base = alt.Chart(
        rows, width=310, height=280,
        title=alt.TitleParams(
            head.of(language), subtitle=note.of(language).format(draws, SOURCE_MEAN), anchor="start",
            subtitleFontSize=11,
        ),
    ).encode(
        x=alt.X("target_mean:Q", title=Words("mean of the target's inputs", "目标域输入的均值").of(language)),
        color=colour,
    )  # fmt: skip
    y = alt.Y(
        "estimate:Q", title=Words("excess risk on the target", "目标域上的超额风险").of(language),
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
    claims=(
        Claim(
            name="the-sources-line",
            kind="proof",
            statement=Words(
                "On the source the best line of −x + x³ is −1/4 + x/2.", "在源域上，−x + x³ 的最佳直线是 −1/4 + x/2。"
            ),
            check=is_best_line,
            subject=lambda o: ("source", "source"),
            falsehood=lambda o: ("target", "source"),
        ),
        Claim(
            name="the-targets-line",
            kind="proof",
            statement=Words(
                "On the target the best line is −73/100 x: it falls where the source's rises.",
                "在目标域上，最佳直线是 −73/100 x：源域上升，它下降。",
            ),
            check=is_best_line,
            subject=lambda o: ("target", "target"),
            falsehood=lambda o: ("source", "target"),
        ),
        Claim(
            name="weighted-means-are-the-targets",
            kind="property",
            statement=Words(
                "With w = p(target)/p(source), the source's mean of w·f is the target's mean of f.",
                "取 w = p(目标)/p(源)，w·f 在源域的均值等于 f 在目标域的均值。",
            ),
            check=weighted_means_are_the_targets,
            subject=lambda o: np.inf,
            falsehood=lambda o: 3.0,  # clipping costs exactness
        ),
        Claim(
            name="what-weighted-rows-are-worth",
            kind="calculation",
            statement=Words(
                "For two Gaussians the mean of w² has a closed form.", "对两个高斯分布，w² 的均值有闭式表达。"
            ),
            check=is_mean_square,
            subject=lambda o: mean_square(lambda distance, left: distance / left),
            falsehood=lambda o: mean_square(lambda distance, left: distance / SOURCE_STD**2),  # for equal variances
        ),
        Claim(
            name="true-weights-help",
            kind="experiment",
            statement=Words(
                "The line fitted with true weights has a lower risk on the target than without weights.",
                "用真实权重拟合的直线，在目标域上的风险低于不加权。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, LINE, "true"),
            falsehood=lambda o: -gain(o, LINE, "true"),
        ),
        Claim(
            name="estimated-weights-help",
            kind="experiment",
            statement=Words(
                "The line fitted with a classifier's weights has a lower risk on the target than without weights.",
                "用分类器的权重拟合的直线，在目标域上的风险低于不加权。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, LINE, "estimated"),
            falsehood=lambda o: -gain(o, LINE, "estimated"),
        ),
        Claim(
            name="estimated-weights-do-as-well",
            kind="experiment",
            statement=Words(
                f"For the line, a classifier's weights do as well as true ones, to an excess risk of {MARGIN}.",
                f"对直线来说，分类器的权重与真实权重效果相同，超额风险相差在 {MARGIN} 之内。",
            ),
            check=is_no_difference,
            subject=lambda o: values(o, LINE, "estimated") - values(o, LINE, "true"),
            falsehood=lambda o: values(o, LINE, "none") - values(o, LINE, "true"),
        ),
        Claim(
            name="weights-hurt-a-right-model",
            kind="experiment",
            statement=Words(
                "The cubic, which can express the truth, has a higher risk on the target with weights than without.",
                "三次式能表达真实函数，加权后它在目标域上的风险反而高于不加权。",
            ),
            check=is_positive,
            subject=lambda o: -gain(o, CUBIC, "true"),
            falsehood=lambda o: gain(o, CUBIC, "true"),
        ),
        Claim(
            name="weighted-risk-tells-the-targets",
            kind="experiment",
            statement=Words(
                "On fresh rows of the source the weighted mean loss of the unweighted line is its risk on the target, "
                "to 10%.",
                "在源域的新数据上，不加权直线的加权平均损失等于它在目标域上的风险，误差在 10% 以内。",
            ),
            check=is_one,
            subject=lambda o: values(o, LINE, "none", "weighted"),
            falsehood=lambda o: values(o, LINE, "none", "plain"),
        ),
    ),
    circulated=(Circulated(Words("Only a link, which is dead.", "只有一个失效的链接。"), "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--seeds 100",
)  # fmt: skip
