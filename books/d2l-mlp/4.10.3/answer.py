"""4.10.3 Is it always good to fill a gap with the mean?

A normal column beside another, and a target, all of known moments, loses cells in three ways: at random, by what the
other column says, and by what stood in the cell itself. Then the table of houses: what its gaps say, and what it costs
to fill them over.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
from scipy.special import ndtri

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
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval, two_sample

from .. import houses as h

if TYPE_CHECKING:
    import altair

# The known truth: x1, x2 ~ N(0, 1) with this correlation, y = x1 + x2 + noise of variance 1.
RHO, NUM_ROWS, SHARE = 0.6, 500, 0.4
SAME = 0.02
MECHANISMS = (
    "MCAR",
    "MAR",
    "MNAR",
)
WAYS = (
    "mean",
    "rows",
    "interpolated",
    "regression",
)
QUANTITIES = {
    "mean": 0.0,
    "variance": 1.0,
    "correlation": RHO,
    "slope": 1.0,
    "other_slope": 1.0,
}
FILLINGS = (
    "over",
    "category",
    "indicator",
    "interpolated",
    "dropped",
)
PROGRAM_ROWS = 100_000


def observe(lab: Lab) -> Observations:
    """Estimates from gappy draws of a known problem; then gaps of the table of houses, and four ways to fill them."""
    houses = h.load(lab)
    draws = lab.seeds(quick=20, full=200)
    rows = [row for draw in draws for row in simulated(draw)]
    runs = pd.DataFrame(rows)
    order = [f"{mechanism} {way}" for mechanism in MECHANISMS for way in WAYS]
    runs = pd.concat([runs[runs["arm"] == arm] for arm in order], ignore_index=True)
    splits = range(min(len(draws), lab.choose(quick=5, full=20)))
    filled = [row for number in splits for row in fillings(houses, number)]
    return lab.observations(
        runs=runs,
        gaps=pd.DataFrame(gaps(houses)),
        filled=pd.DataFrame(filled),
        order=pd.DataFrame([order_of_rows(houses)]),
    )


def simulated(draw: int) -> list[dict[str, Any]]:
    """What each way makes of one draw under each mechanism."""
    z = Stream(draw, "data", layer=413).normal((NUM_ROWS, 4))
    x2 = z[:, 1]
    x1 = RHO * x2 + math.sqrt(1 - RHO**2) * z[:, 0]
    y = x1 + x2 + z[:, 2]
    chance = Stream(draw, "data", layer=413, step=1).uniform(NUM_ROWS)
    # Gaps by a threshold blurred with noise of its own size: no value is always or never missing.
    cause = {"MCAR": ndtri(chance), "MAR": x2 + ndtri(chance), "MNAR": x1 + ndtri(chance)}
    rows = []
    for mechanism, pressure in cause.items():
        spread = 1.0 if mechanism == "MCAR" else math.sqrt(2)
        lost = pressure > spread * ndtri(1 - SHARE)
        for way in WAYS:
            found = estimates(*complete(way, x1, x2, y, lost, z[:, 3]))
            row = {"arm": f"{mechanism} {way}", "seed": draw, "status": "finished"}
            rows.append(row | {name: rounded(value) for name, value in found.items()})
    return rows


def complete(
    way: str, x1: np.ndarray, x2: np.ndarray, y: np.ndarray, lost: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x1, x2 and y after the gaps in x1 were dealt with; the values in the gaps are not looked at."""
    if way == "rows":
        return x1[~lost], x2[~lost], y[~lost]
    if way == "mean":
        return np.where(lost, x1[~lost].mean(), x1), x2, y
    if way == "interpolated":  # down the rows, between the nearest that are known
        places = np.arange(len(x1))
        return np.interp(places, places[~lost], x1[~lost]), x2, y
    design = np.column_stack([np.ones(len(x1)), x2, y])
    weights, *_ = np.linalg.lstsq(design[~lost], x1[~lost], rcond=None)
    rest = (x1 - design @ weights)[~lost]
    spread = math.sqrt(float(rest @ rest) / (len(rest) - 3))
    return np.where(lost, design @ weights + spread * noise, x1), x2, y


def estimates(x1: np.ndarray, x2: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The moments and slopes that one is after."""
    design = np.column_stack([np.ones(len(x1)), x1, x2])
    slopes = np.linalg.lstsq(design, y, rcond=None)[0]
    found = {"mean": x1.mean(), "variance": x1.var(ddof=1), "correlation": np.corrcoef(x1, x2)[0, 1]}
    return {name: float(value) for name, value in found.items()} | {
        "slope": float(slopes[1]),
        "other_slope": float(slopes[2]),
    }


def gaps(houses: h.Houses) -> list[dict[str, Any]]:
    """Each column with at least 20 gaps and 20 values: how far log prices with a gap lie from those without."""
    rows = []
    for name in (*houses.columns.numeric, *houses.columns.categorical):
        lost = houses.table[name].isna().to_numpy()
        if 20 <= lost.sum() <= len(lost) - 20:
            found = two_sample(houses.log_prices[lost], houses.log_prices[~lost])
            row = {"column": name, "gaps": int(lost.sum()), "houses": len(lost)}
            kept = {
                "estimate": found.estimate,
                "ci_low": found.ci_low,
                "ci_high": found.ci_high,
                "p": found.p,
            }
            rows.append(row | {key: rounded(value) for key, value in kept.items()})
    return sorted(rows, key=lambda row: row["estimate"])


def order_of_rows(houses: h.Houses) -> dict[str, Any]:
    """The correlation of a log price with that of the next row, as the table stands, and if it were sorted."""
    y = houses.log_prices
    found = (float(np.corrcoef(prices[:-1], prices[1:])[0, 1]) for prices in (y, np.sort(y)))
    return {name: rounded(value) for name, value in zip(("stands", "sorted"), found, strict=True)} | {
        "houses": len(y)
    }


def fillings(houses: h.Houses, number: int) -> list[dict[str, Any]]:
    """Ridge regression on one fold with each way to fill the gaps."""
    train, held = h.parted(len(houses), number)
    y = houses.log_prices
    rows = []
    for way in FILLINGS:
        table = houses.table
        if way == "interpolated":
            numbers = table[list(houses.columns.numeric)].astype(float)
            filled = numbers.interpolate().bfill()
            table = table.assign(**{str(name): column for name, column in filled.items()})
        pipeline = preparation(houses, way).fit(table.iloc[train])
        x, asked = (np.asarray(pipeline.transform(table.iloc[part]), np.float64) for part in (train, held))
        score = h.log_rmse(h.ridge(x, y[train]).predict(asked), y[held])
        rows.append({"way": way, "seed": number, "log_rmse": rounded(score)})
    return rows


def preparation(houses: h.Houses, way: str) -> Any:
    """What turns the table into features, scikit-learn's."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric, categorical = list(houses.columns.numeric), list(houses.columns.categorical)
    if way == "dropped":
        numeric, categorical = (
            [c for c in names if not houses.table[c].isna().any()] for names in (numeric, categorical)
        )
    numbers = make_pipeline(SimpleImputer(add_indicator=way == "indicator"), StandardScaler())
    fill: dict[str, Any] = {"strategy": "constant", "fill_value": "missing"}
    if way == "over":
        fill = {"strategy": "most_frequent"}
    names = make_pipeline(SimpleImputer(**fill), OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    return ColumnTransformer([("numbers", numbers, numeric), ("names", names, categorical)])


# Checks


def shrinks_by(power: sympy.Rational) -> Finding:
    """A share q of cells of x is kept at random, the rest gets the mean: is the correlation multiplied by q^power?

    x' = r x with r = 1 with probability q, for x with mean 0; r is independent of x and z.
    """
    q, s, t, rho = sympy.symbols("q s t rho", positive=True)
    covariance = q * rho * s * t  # E(r x z) = E(r) E(x z)
    variance = q * s**2  # E(r² x²) = E(r) E(x²)
    ratio = sympy.simplify(covariance / (sympy.sqrt(variance) * t) / rho)
    gap = sympy.simplify(ratio - q**power)
    return Finding.true_if(gap == 0, f"correlation times {ratio}")


def costs_more_than_the_mean(variance: sympy.Expr) -> Finding:
    """Gaps get values from other rows, of this variance, where the rows are independent and x has variance 1.

    Is every correlation of the column smaller than with the mean in the gaps? A share 1/(1 + t) of the cells is kept.
    """
    t = sympy.symbols("t", positive=True)
    kept = 1 / (1 + t)
    # E(x' z) = kept · E(x z), as what stands in a gap knows nothing of z; Var x' = kept + (1 - kept) · variance.
    squares = [kept**2 / (kept + (1 - kept) * v) for v in (variance, 0)]
    gap = sympy.factor(sympy.together(squares[1] - squares[0]))
    return Finding.true_if(gap.is_positive is True, f"{squares[1]} - {sympy.simplify(squares[0])} = {gap}")


def knows_nothing_of_the_next(pair: tuple[float, int]) -> Finding:
    """Is a correlation of a row with the next within three standard errors of 0?"""
    correlation, houses = pair
    bound = 3 / math.sqrt(houses)
    return Finding.true_if(abs(correlation) < bound, show.number(correlation), correlation=correlation)


def errors(observations: Observations, mechanism: str, way: str, name: str) -> np.ndarray:
    """Estimate minus truth, for each draw."""
    return observations.runs.values(name, f"{mechanism} {way}") - QUANTITIES[name]


def speaks(rows: list[dict[str, Any]]) -> Finding:
    """Do houses with a gap have other prices in at least one column, at a level shared by all columns?"""
    shown = [row for row in rows if row["p"] * len(rows) < 0.05]
    return Finding.true_if(
        bool(shown), f"{len(shown)} of {len(rows)} columns", shown=len(shown), columns=len(rows)
    )


def filled(observations: Observations, way: str) -> np.ndarray:
    """Log-RMSE of a way to fill, by fold."""
    table = observations["filled"]
    return table[table["way"] == way].sort_values("seed")["log_rmse"].to_numpy(dtype=float)


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Means of the estimates, and what the gaps of the table say."""
    rows = observations.rows("gaps")
    cheap, dear = rows[0], rows[-1]
    return {
        "num_draws": observations.num_seeds,
        "num_splits": int(observations["filled"]["seed"].nunique()),
        "rho": RHO,
        "lost": SHARE,
        "kept": 1 - SHARE,
        "expected": RHO * math.sqrt(1 - SHARE),
        "rows": NUM_ROWS,
        "found": {
            mechanism: {
                way: {
                    name: mean_interval(observations.runs.values(name, f"{mechanism} {way}"))
                    for name in QUANTITIES
                }
                for way in WAYS
            }
            for mechanism in MECHANISMS
        },
        "cheap": {"column": cheap["column"], "gaps": cheap["gaps"], "percent": math.expm1(cheap["estimate"])},
        "dear": {"column": dear["column"], "gaps": dear["gaps"], "percent": math.expm1(dear["estimate"])},
        "score": {way: h.score(filled(observations, way)) for way in FILLINGS},
        "interpolation_gain": h.score(
            filled(observations, "category") - filled(observations, "interpolated")
        ),
        "indicator_gain": h.score(filled(observations, "category") - filled(observations, "indicator")),
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Of the program's one large draw, which is as many rows as many draws of the page; and of the table, exactly."""
    runs, many = observations.runs, PROGRAM_ROWS // NUM_ROWS
    columns = {
        "variance": ("variance", "MCAR mean"),
        "correlation": ("correlation", "MCAR mean"),
        "slope_2": ("other_slope", "MCAR mean"),
        "mean_mnar": ("mean", "MNAR mean"),
    }
    lowest = math.expm1(observations.rows("gaps")[0]["estimate"])
    return {
        name: prediction_interval(runs.values(quantity, arm), num_new=many)
        for name, (quantity, arm) in columns.items()
    } | {"lowest": (lowest, lowest)}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The simulation by mechanism, and the ways to fill the gaps of the houses."""
    heads = (words["heads.filled-with"], *words.group("quantities").values())
    truth = [words["labels.truth"], *map(show.number, QUANTITIES.values())]
    lost, found = f"{100 * SHARE:g}%", []
    for mechanism, label in words.group("mechanisms").items():
        rows = []
        for way, name in words.group("ways").items():
            means = [mean_interval(observations.runs.values(q, f"{mechanism} {way}")) for q in QUANTITIES]
            rows.append([name, *(show.stacked(show.number_interval(one)) for one in means)])
        title = words("titles.simulated", lost=lost, mechanism=label, num_rows=NUM_ROWS)
        found.append(Table(title, heads, [*rows, truth]))
    ways = [
        [label, show.number_interval(h.score(filled(observations, way)))]
        for way, label in words.group("fillings").items()
    ]
    second = words["labels.fillings"]
    return [
        *found,
        Table(second, (words["heads.gaps-are-filled-with"], words["heads.log-rmse"]), ways),
    ]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Bias of every way under every mechanism; what a gap says of the price."""
    alt = import_extra("altair", what="A figure", extra="book")
    return alt.vconcat(_biases(alt, observations, words), _gaps(alt, observations, words)).resolve_scale(
        color="independent", shape="independent"
    )


def _biases(alt: Any, observations: Observations, words: WordList) -> Any:
    rows = []
    for mechanism in MECHANISMS:
        for way, name in words.group("ways").items():
            for quantity in ("mean", "variance", "correlation", "other_slope"):
                found = mean_interval(errors(observations, mechanism, way, quantity))
                rows.append(
                    {"mechanism": mechanism, "way": name, "error": found.estimate}
                    | {
                        "quantity": words[f"quantities.{quantity}"],
                        "low": found.ci_low,
                        "high": found.ci_high,
                    }
                )
    names = list(words.group("ways").values())
    quantities = [words[f"quantities.{q}"] for q in ("mean", "variance", "correlation", "other_slope")]
    legend = alt.Legend(title=None, orient="top", labelLimit=280)
    colour = alt.Color(
        "way:N", scale=alt.Scale(domain=names, range=list(plots.PALETTE[1 : 1 + len(names)])), legend=legend
    )
    shape = alt.Shape("way:N", scale=alt.Scale(domain=names), legend=legend)
    y = alt.Y("way:N", sort=names, title=None, axis=None)
    base = alt.Chart(pd.DataFrame(rows))
    x = alt.X("error:Q", title=words["titles.errors-axis"])
    zero = base.mark_rule(color=plots.INK, strokeDash=[4, 3]).encode(x=alt.datum(0))
    lines = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=colour)
    points = base.mark_point(size=55, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    head = words["labels.errors"]
    note = words("labels.errors-note", num_seeds=observations.num_seeds)
    return (
        alt.layer(zero, lines, points)
        .properties(width=130, height=76)
        .facet(
            row=alt.Row("mechanism:N", sort=list(MECHANISMS), title=None),
            column=alt.Column("quantity:N", sort=quantities, title=None),
        )
        .properties(title=alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11))
    )


def _gaps(alt: Any, observations: Observations, words: WordList) -> Any:
    rows = observations["gaps"].astype({"estimate": float, "ci_low": float, "ci_high": float})
    rows = rows.assign(label=[f"{c} ({n})" for c, n in zip(rows["column"], rows["gaps"], strict=True)])
    axis = alt.Axis(labelLimit=260, ticks=False, domain=False, labelPadding=8)
    y = alt.Y("label:N", sort=list(rows["label"]), title=None, axis=axis)
    title = words["labels.gaps-axis"]
    base = alt.Chart(rows[["label", "estimate", "ci_low", "ci_high"]])
    lines = base.mark_rule(strokeWidth=2, color=plots.PALETTE[0]).encode(x="ci_low:Q", x2="ci_high:Q", y=y)
    points = base.mark_point(size=55, filled=True, opacity=1, color=plots.PALETTE[0]).encode(
        x=alt.X("estimate:Q", title=title), y=y
    )
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=plots.INK, strokeDash=[4, 3]).encode(x="x:Q")
    head = words["labels.gaps"]
    note = words["labels.gaps-note"]
    return alt.layer(zero, lines, points).properties(
        width=420,
        height=alt.Step(22),
        title=alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11),
    )


ANSWER = Answer(
    observe=observe,
    takes=("data", "seeds"),
    claims=(
        Claim(
            name="the-correlation-shrinks",
            kind="proof",
            check=shrinks_by,
            subject=lambda o: sympy.Rational(1, 2),
            falsehood=lambda o: sympy.Integer(1),
        ),
        Claim(
            name="the-variance-shrinks",
            kind="experiment",
            figures={"share": 100 * SHARE, "share_2": 100 * (1 - SHARE)},
            check=equivalent(1 - SHARE, margin=SAME, numbers={"share": 1 - SHARE, "margin": SAME}),
            subject=lambda o: o.runs.values("variance", "MCAR mean"),
            falsehood=lambda o: recentred(o.runs.values("variance", "MCAR mean"), 0.9),
        ),
        Claim(
            name="the-other-slope-takes-over",
            kind="experiment",
            check=greater(),
            subject=lambda o: errors(o, "MCAR", "mean", "other_slope"),
            falsehood=lambda o: -errors(o, "MCAR", "mean", "other_slope"),
        ),
        Claim(
            name="the-mean-is-wrong-where-gaps-depend-on-x2",
            kind="experiment",
            check=less(),
            subject=lambda o: errors(o, "MAR", "mean", "mean"),
            falsehood=lambda o: -errors(o, "MAR", "mean", "mean"),
        ),
        Claim(
            name="regression-repairs-mar",
            kind="experiment",
            check=equivalent(margin=SAME),
            subject=lambda o: errors(o, "MAR", "regression", "mean"),
            falsehood=lambda o: errors(o, "MAR", "mean", "mean"),
        ),
        Claim(
            name="nothing-repairs-mnar",
            kind="experiment",
            check=less(),
            subject=lambda o: errors(o, "MNAR", "regression", "mean"),
            falsehood=lambda o: -errors(o, "MNAR", "regression", "mean"),
        ),
        Claim(
            name="the-mean-is-too-low-where-large-values-are-lost",
            kind="experiment",
            check=less(),
            subject=lambda o: errors(o, "MNAR", "mean", "mean"),
            falsehood=lambda o: -errors(o, "MNAR", "mean", "mean"),
            post_hoc=True,
        ),
        Claim(
            name="rows-are-in-no-order",
            kind="calculation",
            check=knows_nothing_of_the_next,
            subject=lambda o: (o.rows("order")[0]["stands"], o.rows("order")[0]["houses"]),
            falsehood=lambda o: (o.rows("order")[0]["sorted"], o.rows("order")[0]["houses"]),
        ),
        Claim(
            name="another-rows-value-costs-more-than-the-mean",
            kind="proof",
            check=costs_more_than_the_mean,
            subject=lambda o: sympy.symbols("v", positive=True),
            falsehood=lambda o: sympy.Integer(0),  # one value for all gaps
            requires=("rows-are-in-no-order",),
        ),
        Claim(
            name="gaps-speak",
            kind="calculation",
            check=speaks,
            subject=lambda o: o.rows("gaps"),
            falsehood=lambda o: [row | {"p": 1.0} for row in o.rows("gaps")],
        ),
        Claim(
            name="filling-over-costs",
            kind="experiment",
            check=greater(margin=h.ALIKE, test_train_ratio=h.RATIO),
            subject=lambda o: filled(o, "over") - filled(o, "category"),
            falsehood=lambda o: -np.abs(filled(o, "over") - filled(o, "category")) - 0.001,
        ),
    ),
    circulated=(
        Circulated(
            "many-zeros-lose-the-column",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-correlation-shrinks",
            source="datawhale",
        ),
        Circulated(
            "interpolate",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="another-rows-value-costs-more-than-the-mean",
            source="datawhale",
        ),
        Circulated(
            "large-incomes-are-not-told",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-mean-is-too-low-where-large-values-are-lost",
            source="pandalabme",
        ),
        Circulated(
            "use-the-other-columns",
            {"holds": "half-right", "fails": "right", "undecided": "unsupported"},
            by="nothing-repairs-mnar",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--seeds 100",
)
