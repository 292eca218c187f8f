"""4.9.4 Besides distribution shift, what parts the empirical from the true risk?

Each cause is simulated where the true risk is known: too few examples, a class to choose from, dependence, heavy tails,
wrong labels, a test set that is asked again and again, and a leak from the test rows into the training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
from scipy.signal import lfilter
from scipy.special import ndtr
from scipy.stats import binom

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, rounded
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval

if TYPE_CHECKING:
    import altair

SIZES = (50, 100, 200, 400, 800, 1600, 3200)
KINDS = ("one model", "best of many", "dependent", "heavy tails")
NUM_MODELS = 1000
CORRELATION = 0.9  # of neighbouring errors
TAIL = 1.5  # exponent of the Pareto law: a mean, and no variance
SLOPE_MARGIN = 0.05
# The attack on a test set
TEST_ROWS = 1000
QUERIES = (1, 3, 10, 30, 100, 300, 1000)
# The leak
LEAK_ROWS, LEAK_FEATURES, KEPT, FOLDS = 50, 1000, 20, 5
CHANCE_MARGIN = 0.02


def observe(lab: Lab) -> Observations:
    """Gaps of empirical and true risk by the number of examples; an attack on a test set; a leak."""
    seeds = lab.seeds(quick=300, full=400)
    gaps = np.array([[[gap(kind, n, seed) for n in SIZES] for seed in seeds] for kind in KINDS])
    runs, curve = [], []
    for kind, held in zip(KINDS, gaps, strict=True):
        slopes = np.polyfit(np.log(SIZES), np.log(held).T, 1)[0]
        scaled = (held * np.sqrt(SIZES)).mean(1)
        for seed, slope, size in zip(seeds, slopes, scaled, strict=True):
            named = {"arm": kind, "seed": seed, "status": "finished"}
            runs.append(named | {"slope": rounded(slope), "scaled": rounded(size)})
        for n, logs in zip(SIZES, np.log(held).T, strict=True):
            found = mean_interval(logs)
            ends = zip(ENDS, (found.estimate, found.ci_low, found.ci_high), strict=True)
            typical = {name: None if end is None else rounded(np.exp(end)) for name, end in ends}
            curve.append({"kind": kind, "size": n} | typical)
    fewer = seeds[: lab.choose(quick=20, full=100)]
    attacked = [row for seed in fewer for row in attack(seed)]
    leaks = [
        {
            "seed": seed,
            "outside": leaky(seed, outside=True),
            "inside": leaky(seed, outside=False),
            "unstratified": leaky(seed, outside=False, is_stratified=False),
        }
        for seed in seeds
    ]
    tables = {"runs": runs, "curve": curve, "attack": attacked, "leak": leaks}
    return lab.observations(**{name: pd.DataFrame(rows) for name, rows in tables.items()})


ENDS = ("estimate", "ci_low", "ci_high")


def gap(kind: str, n: int, seed: int) -> float:
    """|empirical - true risk| on n examples."""
    stream = Stream(seed, "data", step=n)
    if kind == "one model":  # squared errors of N(0, 1): risk 1
        return abs(float((stream.normal(n) ** 2).mean()) - 1)
    if kind == "dependent":  # the same, each error like the one before
        noise = stream.normal(n)
        noise[1:] *= np.sqrt(1 - CORRELATION**2)
        errors = np.asarray(lfilter([1.0], [1.0, -CORRELATION], noise))
        return abs(float((errors**2).mean()) - 1)
    if kind == "heavy tails":  # losses of a Pareto law from 1 on: risk a/(a - 1)
        return abs(float((stream.uniform(n) ** (-1 / TAIL)).mean()) - TAIL / (TAIL - 1))
    # 0-1 losses of guessing models: risk 1/2 each; the one that looks best is taken
    errors = binom.ppf(stream.uniform(NUM_MODELS), n, 0.5) / n
    return float(0.5 - errors.min())


def attack(seed: int) -> list[dict[str, Any]]:
    """Guesses are scored on the test set; all vote, those that scored below 1/2 the other way round.

    Returns accuracy on the test set and on fresh rows, by the number of guesses scored.
    """
    # Row by row 1 or -1: of the label times the guess. That is all that accuracy depends on.
    reused, fresh = (_signs(seed, layer) for layer in (0, 1))
    looks = np.where(reused.mean(1) >= 0, 1, -1)[:, None]
    votes, fresh_votes = np.cumsum(looks * reused, axis=0), np.cumsum(looks * fresh, axis=0)
    return [
        {"seed": seed, "queries": k, "reused": _right(votes[k - 1]), "fresh": _right(fresh_votes[k - 1])}
        for k in QUERIES
    ]


def _signs(seed: int, layer: int) -> np.ndarray:
    """Signs (query, row)."""
    count = max(QUERIES) * TEST_ROWS
    bits = np.unpackbits(Stream(seed, "data", layer=layer).bits(-(-count // 64)).view(np.uint8))[:count]
    return (2 * bits.astype(np.int32) - 1).reshape(max(QUERIES), TEST_ROWS)


def _right(votes: np.ndarray) -> float:
    """Share of rows that the vote gets right; a tie counts half."""
    return rounded(((votes > 0) + (votes == 0) / 2).mean())


def attack_theory(queries: int) -> float:
    """The accuracy on the reused test set: Φ(√(2k/πn)), for many rows."""
    return float(ndtr(np.sqrt(2 * queries / (np.pi * TEST_ROWS))))


def folds(seed: int, y: np.ndarray, *, is_stratified: bool) -> np.ndarray:
    """The fold of each row; stratified, every fold has as many rows of each class."""
    if not is_stratified:
        return Stream(seed, "split").permutation(len(y)) % FOLDS
    fold = np.empty(len(y), dtype=int)
    for layer, label in enumerate((-1, 1)):
        rows = np.flatnonzero(y == label)
        fold[rows] = Stream(seed, "split", layer=1 + layer).permutation(len(rows)) % FOLDS
    return fold


def leaky(seed: int, *, outside: bool, is_stratified: bool = True) -> float:
    """Cross-validated accuracy on labels that no feature has to do with, after the best features were chosen.

    Arguments:
      outside: chosen once on all rows, before the folds; else anew in each fold, on its training rows.
    """
    x = Stream(seed, "data", layer=2).normal((LEAK_ROWS, LEAK_FEATURES))
    y = 2.0 * (np.arange(LEAK_ROWS) % 2) - 1
    fold = folds(seed, y, is_stratified=is_stratified)
    right = []
    for k in range(FOLDS):
        seen = fold != k
        link = (y[seen] - y[seen].mean()) @ x[seen]
        chosen = np.argsort(-np.abs(y @ x if outside else link))[:KEPT]
        centre = (x[seen & (y > 0)].mean(0) + x[seen & (y < 0)].mean(0)) / 2
        right.append(np.sign((x[~seen] - centre)[:, chosen] @ link[chosen]) == y[~seen])
    return rounded(np.concatenate(right).mean())


# Proofs


def is_noisy_risk(said: Callable[[Any, Any], Any]) -> Finding:
    """0-1 loss, each label turned with probability e: is the risk on noisy labels this function of (e, R)?"""
    e, risk, seen = sympy.symbols("e R seen", real=True)
    # Right on the true label and the label is turned, or wrong on it and the label is not.
    noisy = (1 - risk) * e + risk * (1 - e)
    gap = sympy.expand(noisy - said(e, risk))
    recovered = sympy.solve(sympy.Eq(said(e, risk), seen), risk)
    return Finding.true_if(gap == 0, f"R = {recovered[0] if recovered else 'not identified'}")


def is_variance_inflation(said: Callable[[Any], Any]) -> Finding:
    """Errors whose neighbours correlate by r: is Σ corr(u², u²) over all lags, 1 + 2 Σ r^2k, this function of r?"""
    r, k = sympy.symbols("r k", positive=True)
    # Corr(u², v²) of two Gaussians is the square of their correlation.
    lags: Any = sympy.summation(r ** (2 * k), (k, 1, sympy.oo)).args[0]  # the case of a sum that converges
    total = 1 + 2 * lags[0]
    difference = sympy.simplify(total - said(r))
    value = float(said(sympy.Float(CORRELATION)))
    return Finding.true_if(difference == 0, f"{sympy.simplify(total)}", inflation=value)


# Comparisons


def slopes(observations: Observations, kind: str) -> np.ndarray:
    """Of log gap on log n, for each seed."""
    return observations.runs.values("slope", kind)


def dependence_ratio(observations: Observations, inflation: float) -> np.ndarray:
    """Mean of |gap|√n over what theory says: √(2/π) · √(2 · inflation), for squares of normal errors."""
    return observations.runs.values("scaled", "dependent") / np.sqrt(4 / np.pi * inflation)


INFLATION = (1 + CORRELATION**2) / (1 - CORRELATION**2)


def attacked(observations: Observations, queries: int, on: str) -> np.ndarray:
    """Accuracy after so many queries, for each seed."""
    held = observations["attack"]
    return held[held["queries"] == queries][on].to_numpy(dtype=float)


def selection_cost(observations: Observations) -> np.ndarray:
    """Mean of gap·√n of the best of many over that of one model, as a factor of the spread of a single loss."""
    spread = {"best of many": 0.5, "one model": np.sqrt(2)}
    of = {kind: observations.runs.values("scaled", kind) / s for kind, s in spread.items()}
    return of["best of many"] - of["one model"]


def leak(observations: Observations, where: str) -> np.ndarray:
    """Cross-validated accuracy, for each seed."""
    return observations["leak"][where].to_numpy(dtype=float)


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    most = max(QUERIES)
    return {
        "slope": {kind.replace(" ", "_"): mean_interval(slopes(observations, kind)) for kind in KINDS},
        "num_models": NUM_MODELS,
        "bound": float(np.sqrt(2 * np.log(NUM_MODELS))),
        "best_scaled": mean_interval(observations.runs.values("scaled", "best of many") / 0.5),
        "correlation": CORRELATION,
        "tail": TAIL,
        "tail_slope": -(1 - 1 / TAIL),
        "test_rows": TEST_ROWS,
        "queries": most,
        "reused": mean_interval(attacked(observations, most, "reused")),
        "theory": attack_theory(most),
        "leak_rows": LEAK_ROWS,
        "leak_features": LEAK_FEATURES,
        "kept": KEPT,
        "outside": mean_interval(leak(observations, "outside")),
        "inside": mean_interval(leak(observations, "inside")),
        "unstratified": mean_interval(leak(observations, "unstratified")),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Gaps by number of examples; the attack; the leak."""
    held = observations["curve"]
    gaps = [
        [f"{n:,}"]
        + [
            show.number(float(held[(held["kind"] == k) & (held["size"] == n)]["estimate"].iloc[0]))
            for k in KINDS
        ]
        for n in SIZES
    ]
    gaps.append(
        [words["labels.slope"]]
        + [show.stacked(show.number_interval(mean_interval(slopes(observations, k)))) for k in KINDS]
    )
    attacks = [
        [f"{k:,}"]
        + [show.percent_interval(mean_interval(attacked(observations, k, on))) for on in ("reused", "fresh")]
        + [show.percent(attack_theory(k))]
        for k in QUERIES
    ]
    leaks = [
        [label, show.percent_interval(mean_interval(leak(observations, where)))]
        for where, label in (
            ("outside", words["heads.on-all-rows-before-folds"]),
            ("inside", words["heads.in-each-fold-on-its"]),
            ("unstratified", words["heads.in-each-fold-unstratified"]),
        )
    ]
    drawn = observations["attack"]["seed"].nunique()
    return [
        Table(
            words("titles.empirical-true-risk-geometric-mean", num_seeds=observations.num_seeds),
            (words["heads.examples"], *words.group("kinds", num_models=NUM_MODELS).values()),
            gaps,
        ),
        Table(
            words("titles.attack-on-test-set-rows", test_rows=TEST_ROWS, drawn=drawn),
            (words["heads.queries"], words["heads.reused-test-set"], words["heads.fresh-rows"],
             words["heads.reused-theory"]),
            attacks,
        ),
        Table(
            words(
                "titles.features-pure-noise-are-chosen",
                kept=KEPT,
                leak_features=LEAK_FEATURES,
                drawn=len(observations["leak"]),
            ),
            (words["heads.chosen"], words["heads.accuracy"]),
            leaks,
        ),
    ]  # fmt: skip


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Mean accuracies: of five attacks, on the test set and on fresh rows; of fifty draws of noise, by where features
    are chosen.
    """
    most = max(QUERIES)
    attacks = {on: attacked(observations, most, on) for on in ("reused", "fresh")}
    leaks = {where: leak(observations, where) for where in ("outside", "inside")}
    return {name: prediction_interval(shares, num_new=5) for name, shares in attacks.items()} | {
        name: prediction_interval(shares, num_new=50) for name, shares in leaks.items()
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Gap against the number of examples, by cause; accuracy of the attack against the number of queries."""
    alt = import_extra("altair", what="A figure", extra="book")
    gaps = observations["curve"].assign(
        name=[
            words.group("kinds", num_models=NUM_MODELS)[str(kind)] for kind in observations["curve"]["kind"]
        ]
    )
    note = words["labels.geometric-mean-and-95-t"]
    left = _lines(
        alt, gaps, "size:Q", list(words.group("kinds", num_models=NUM_MODELS).values()),
        alt.TitleParams(
            words["labels.empirical-against-true-risk"],
            subtitle=note.format(observations.num_seeds), anchor="start", subtitleFontSize=11,
        ),
        words["labels.number-examples"],
        alt.Y("estimate:Q", title=words["titles.gap"],
              scale=alt.Scale(type="log", nice=False, padding=10)),
    )  # fmt: skip
    rows = []
    on = {"reused": words["labels.reused-test-set"], "fresh": words["labels.fresh-rows"]}
    for part, label in on.items():
        for k in QUERIES:
            found = mean_interval(attacked(observations, k, part))
            ends = {"estimate": found.estimate, "ci_low": found.ci_low, "ci_high": found.ci_high}
            rows.append({"name": label, "queries": k} | ends)
    drawn = observations["attack"]["seed"].nunique()
    note = words["labels.mean-and-95-t-interval"]
    right = _lines(
        alt, pd.DataFrame(rows), "queries:Q", list(on.values()),
        alt.TitleParams(
            words["labels.guesses-vote-nothing-learned"],
            subtitle=note.format(drawn), anchor="start", subtitleFontSize=11,
        ),
        words["labels.scores-asked-for"],
        alt.Y("estimate:Q", title=words["titles.accuracy"], axis=alt.Axis(format="%"),
              scale=alt.Scale(zero=False)),
    )  # fmt: skip
    return (left | right).resolve_scale(color="independent", strokeDash="independent")


def _lines(alt: Any, rows: Any, x: str, names: list[str], title: Any, x_title: str, y: Any) -> Any:
    colour = alt.Color(
        "name:N", title=None, scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", columns=2, labelLimit=260, symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "name:N",
        title=None,
        scale=plots.dash_scale(alt, names),
    )
    base = alt.Chart(rows, width=330, height=280, title=title).encode(
        x=alt.X(x, title=x_title, scale=alt.Scale(type="log", nice=False, padding=12)), color=colour
    )
    return (
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("ci_low:Q"), y2="ci_high:Q")
        + base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
        + base.mark_point(filled=True, size=40, opacity=1).encode(y=y)
    )


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="the-gap-falls-as-the-root",
            kind="experiment",
            check=equivalent(-0.5, margin=SLOPE_MARGIN),
            subject=lambda o: slopes(o, "one model"),
            falsehood=lambda o: slopes(o, "heavy tails"),
        ),
        Claim(
            name="choosing-costs",
            kind="experiment",
            figures={"num_models": NUM_MODELS},
check=greater(2.0),
            subject=selection_cost,
            falsehood=lambda o: 0.5 * selection_cost(o),
        ),
        Claim(
            name="dependence-inflates-the-variance",
            kind="proof",
            check=is_variance_inflation,
            subject=lambda o: lambda r: (1 + r**2) / (1 - r**2),
            falsehood=lambda o: lambda r: (1 + r) / (1 - r),  # that of the errors, not of their squares
        ),
        Claim(
            name="dependence-widens-the-gap",
            kind="experiment",
            check=equivalent(1.0, margin=0.1, numbers={}),
            subject=lambda o: dependence_ratio(o, INFLATION),
            falsehood=lambda o: dependence_ratio(o, 1.0),
        ),
        Claim(
            name="heavy-tails-are-slower",
            kind="experiment",
            figures={"tail": TAIL},
check=equivalent(-(1 - 1 / TAIL), margin=SLOPE_MARGIN),
            subject=lambda o: slopes(o, "heavy tails"),
            falsehood=lambda o: slopes(o, "one model"),
        ),
        Claim(
            name="wrong-labels-move-the-risk",
            kind="proof",
            check=is_noisy_risk,
            subject=lambda o: lambda e, risk: e + (1 - 2 * e) * risk,
            falsehood=lambda o: lambda e, risk: e + (1 - e) * risk,
        ),
        Claim(
            name="a-reused-test-set-lies",
            kind="experiment",
            figures={"queries": max(QUERIES)},
check=greater(0.2),
            subject=lambda o: attacked(o, max(QUERIES), "reused") - attacked(o, max(QUERIES), "fresh"),
            falsehood=lambda o: attacked(o, 1, "reused") - attacked(o, 1, "fresh"),
            unit="points",
        ),
        Claim(
            name="nothing-is-learned",
            kind="experiment",
            check=equivalent(0.5, margin=CHANCE_MARGIN, numbers={}),
            subject=lambda o: attacked(o, max(QUERIES), "fresh"),
            falsehood=lambda o: attacked(o, max(QUERIES), "reused"),
        ),
        Claim(
            name="a-leak-looks-like-skill",
            kind="experiment",
            check=greater(0.2),
            subject=lambda o: leak(o, "outside") - 0.5,
            falsehood=lambda o: leak(o, "inside") - 0.5,
            unit="points",
        ),
        Claim(
            name="without-a-leak-noise-is-a-coin",
            kind="experiment",
            check=equivalent(margin=CHANCE_MARGIN),
            subject=lambda o: leak(o, "inside") - 0.5,
            falsehood=lambda o: leak(o, "outside") - 0.5,
            unit="points",
        ),
        Claim(
            name="unequal-folds-fall-below-a-coin",
            kind="experiment",
            check=greater(),
            subject=lambda o: 0.5 - leak(o, "unstratified"),
            falsehood=lambda o: 0.5 - leak(o, "outside"),
            unit="points",
        ),
    ),
    circulated=(
        Circulated("culture-geography-prejudice", "incomplete"),
        Circulated(
            "more-examples-more-reliable",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-gap-falls-as-the-root",
            source="datawhale",
        ),
        Circulated("biased-samples-mislead", "misread", source="datawhale"),
        Circulated(
            "leakage-is-optimistic",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="a-leak-looks-like-skill",
            source="pandalabme",
        ),
        Circulated("regularization-and-ensembles", "incomplete", source="pandalabme"),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--seeds 400",
)  # fmt: skip
