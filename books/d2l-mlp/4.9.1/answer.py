"""4.9.1 What happens when the behaviour of a search engine is changed? What do users do, and advertisers?

They react, so that the engine shifts the data that it is retrained on. Three of them are simulated, each retrained
again and again: a forecast of click prices that advertisers read, a filter of spam that sites adapt to, and a ranking
by the clicks of users who look at the top first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
from scipy.special import expit

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, rounded
from mlplab.answers.checks import greater, less
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval

if TYPE_CHECKING:
    import altair

# Advertisers
BID_REACTIONS = (0.5, 0.9, 1.1, -0.9, -1.1)
NUM_BIDS, BASE_BID = 1000, 1.0
CALM, WILD = 0.9, 1.1
# Sites
SITE_REACTIONS = (0.0, 0.3, 1.0, 3.0, 10.0)
NUM_PAGES, DECAY = 2000, 0.1
HONEST, WEAK, STRONG = 0.0, 1.0, 3.0
# Users
NUM_RESULTS, USERS_PER_ROUND = 10, 50
ROUNDS = 30


def observe(lab: Lab) -> Observations:
    """Retrain all three, round by round."""
    seeds = lab.seeds(quick=20, full=100)
    bids = [row for reaction in BID_REACTIONS for seed in seeds for row in forecasts(reaction, seed)]
    sites = [row for reaction in SITE_REACTIONS for seed in seeds for row in filters(reaction, seed)]
    clicks = [clicked(seed, corrected) for corrected in (False, True) for seed in seeds]
    runs, curves = [], []
    for name, rows in (("bids", bids), ("sites", sites)):
        frame = pd.DataFrame(rows)
        for (reaction, seed), one in frame.groupby(["reaction", "seed"], sort=False):
            runs.append({"arm": f"{name} {reaction:g}", "seed": seed, "status": "finished"} | _ends(one))
        for (reaction, rnd), one in frame.groupby(["reaction", "round"], sort=False):
            for metric in ("move", "accuracy"):
                if metric in one and one[metric].notna().all():
                    curves.append({"part": name, "reaction": reaction, "round": rnd, "metric": metric}
                                  | _interval(one[metric]))  # fmt: skip
    runs += [{"arm": f"clicks {c['kind']}", "status": "finished"} | c for c in clicks]
    return lab.observations(runs=pd.DataFrame(runs), curves=pd.DataFrame(curves))


def _ends(one: pd.DataFrame) -> dict[str, float]:
    """What claims look at: the first and last move, and accuracies at the start and in the end."""
    found = {"first_move": one["move"].iloc[0], "last_move": one["move"].iloc[-1]}
    if "accuracy" in one:
        first, last = one.iloc[0], one.iloc[-1]
        found |= {"before": first["before"], "after_first": first["accuracy"], "after_last": last["accuracy"]}
    else:
        found |= {"first_error": one["error"].iloc[0], "last_error": one["error"].iloc[-1]}
    return {name: rounded(value) for name, value in found.items()}


def _interval(values: pd.Series) -> dict[str, Any]:
    found = mean_interval(values.to_numpy(dtype=float))
    ends = {"estimate": found.estimate, "ci_low": found.ci_low, "ci_high": found.ci_high}
    return {name: rounded(value) for name, value in ends.items()}


def forecasts(reaction: float, seed: int) -> list[dict[str, Any]]:
    """A forecast of the mean bid; advertisers bid BASE_BID + reaction x forecast, and noise. Retrained on the bids."""
    stable = BASE_BID / (1 - reaction)
    forecast, rows = stable + 1.0, []
    for rnd in range(ROUNDS):
        bids = BASE_BID + reaction * forecast + Stream(seed, "data", step=rnd).normal(NUM_BIDS)
        new = float(bids.mean())
        rows.append({"reaction": reaction, "seed": seed, "round": rnd + 1, "move": abs(new - forecast),
                     "error": abs(new - stable)})  # fmt: skip
        forecast = new
    return rows


def pages(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (page, 4) and whether a page is useful: two features of its content, two marks that sites can change."""
    useful = np.arange(NUM_PAGES) % 2
    features = Stream(seed, "data").normal((NUM_PAGES, 4))
    return features + np.where(useful[:, None], 1.0, -1.0) * np.array([0.5, 0.5, 1.0, 1.0]), useful


def adapted(features: np.ndarray, useful: np.ndarray, weights: np.ndarray, reaction: float) -> np.ndarray:
    """Spam moves its marks along the filter's weights: the best answer to score - |change|²/(2 reaction)."""
    moved = features.copy()
    moved[useful == 0, 2:] += reaction * weights[2:4]
    return moved


def filters(reaction: float, seed: int) -> list[dict[str, Any]]:
    """A logistic filter of spam, deployed, then retrained on the pages as they have become."""
    features, useful = pages(seed)
    # Pages to judge on, which no filter learns from.
    fresh, fresh_useful = pages(seed + 10**6)
    weights, rows = logistic(features, useful), []
    for rnd in range(ROUNDS):
        before = accuracy(weights, fresh, fresh_useful)
        after = accuracy(weights, adapted(fresh, fresh_useful, weights, reaction), fresh_useful)
        new = logistic(adapted(features, useful, weights, reaction), useful)
        rows.append({"reaction": reaction, "seed": seed, "round": rnd + 1, "before": before, "accuracy": after,
                     "move": float(np.linalg.norm(new - weights))})  # fmt: skip
        weights = new
    return rows


def logistic(features: np.ndarray, useful: np.ndarray) -> np.ndarray:
    """Weights and intercept (last) of logistic regression with weight decay, by Newton's method with halved steps."""
    x = np.column_stack([features, np.ones(len(features))])
    signs, decay, w = 2 * useful - 1, DECAY * np.diag([1.0] * 4 + [0.0]), np.zeros(5)

    def loss(v: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs * (x @ v)).mean() + v @ decay @ v / 2)

    for _ in range(100):
        p = expit(x @ w)
        gradient = x.T @ (p - useful) / len(x) + decay @ w
        if np.linalg.norm(gradient) < 1e-10:
            break
        step = np.linalg.solve(
            (x * (p * (1 - p))[:, None]).T @ x / len(x) + decay + 1e-12 * np.eye(5), gradient
        )
        size = 1.0
        while loss(w - size * step) > loss(w) and size > 1e-6:
            size /= 2
        w = w - size * step
    return w


def accuracy(weights: np.ndarray, features: np.ndarray, useful: np.ndarray) -> float:
    """Share of pages that the filter judges right."""
    return float(((features @ weights[:4] + weights[4] > 0) == useful).mean())


def clicked(seed: int, corrected: bool) -> dict[str, Any]:
    """A ranking by clicks: users look at place r with probability 1/r, and click by the quality of what they see.

    Arguments:
      corrected: clicks count r times, one over the probability of being looked at.
    """
    quality = np.linspace(0.2, 0.6, NUM_RESULTS)
    order = Stream(seed, "order").permutation(NUM_RESULTS)
    looks = 1 / np.arange(1, NUM_RESULTS + 1)
    clicks = np.zeros(NUM_RESULTS)
    for rnd in range(ROUNDS):
        seen = Stream(seed, "data", layer=1, step=rnd).uniform((USERS_PER_ROUND, NUM_RESULTS)) < looks
        liked = (
            Stream(seed, "data", layer=2, step=rnd).uniform((USERS_PER_ROUND, NUM_RESULTS)) < quality[order]
        )
        clicks[order] += (seen & liked).sum(0) / (looks if corrected else 1.0)
        order = np.argsort(-clicks, kind="stable")
    return {"kind": "corrected" if corrected else "raw", "seed": seed, "top": float(quality[order[0]])}


# Proofs and properties


def error_shrinks_by(factor: Any) -> Finding:
    """Symbols: retrain six times on z ~ N(m + eθ, s²) with squared loss; is the distance from the fixed point this?

    Arguments:
      factor: (e, number of retrainings) -> what the first distance is multiplied by.
    """
    e, m, theta = sympy.symbols("e m theta", real=True)
    stable = sympy.solve(sympy.Eq(m + e * theta, theta), theta)[0]
    now, right = theta, True
    for number in range(1, 7):
        now = m + e * now  # the mean minimises the squared loss
        right &= sympy.simplify((now - stable) - factor(e, number) * (theta - stable)) == 0
    return Finding.true_if(right, f"fixed point {stable}")


def stays_below_bound(curvature: Any) -> Finding:
    """Random quadratic losses θ'Aθ/2 - θ'Cz and reactions z = m + Eθ: is retraining's Lipschitz constant below εβ/γ?

    Arguments:
      curvature: γ, taken from the eigenvalues of A.
    """
    wrong, tries, tightest = 0, 300, 0.0
    for number in range(tries):
        stream = Stream(number, "data")
        root, c, e = (stream.normal((4, 4)) for _ in range(3))
        a = root @ root.T + 0.1 * np.eye(4)
        retrained = np.linalg.norm(np.linalg.solve(a, c @ e), 2)  # θ -> A⁻¹C(m + Eθ)
        bound = np.linalg.norm(e, 2) * np.linalg.norm(c, 2) / curvature(np.linalg.eigvalsh(a))
        wrong += bool(retrained > bound * (1 + 1e-9))
        tightest = max(tightest, float(retrained / bound))
    return Finding.true_if(wrong == 0, f"{wrong} of {tries} exceed it", tries=tries, tightest=tightest)


# Comparisons


def values(observations: Observations, arm: str, metric: str) -> np.ndarray:
    """A metric of each seed."""
    return observations.runs.values(metric, arm)


def log_growth(observations: Observations, part: str, reaction: float, of: str) -> np.ndarray:
    """log₁₀ of the last over the first, for each seed; rounding keeps it finite."""
    first, last = (values(observations, f"{part} {reaction:g}", f"{end}_{of}") for end in ("first", "last"))
    return np.log10((last + 1e-12) / (first + 1e-12))


def loss_by_adaptation(observations: Observations, reaction: float) -> np.ndarray:
    """Accuracy of the first filter before sites react, minus after."""
    arm = f"sites {reaction:g}"
    return values(observations, arm, "before") - values(observations, arm, "after_first")


def gain_by_retraining(observations: Observations, reaction: float) -> np.ndarray:
    """Accuracy of the last filter on pages that react to it, minus that of the first."""
    arm = f"sites {reaction:g}"
    return values(observations, arm, "after_last") - values(observations, arm, "after_first")


def correction_gain(observations: Observations) -> np.ndarray:
    """Quality of the page on top when clicks are corrected for their place, minus when they are not."""
    return values(observations, "clicks corrected", "top") - values(observations, "clicks raw", "top")


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""

    def mean(arm: str, metric: str) -> Any:
        return mean_interval(values(observations, arm, metric))

    return {
        "rounds": ROUNDS,
        "calm": CALM,
        "wild": WILD,
        "weak": WEAK,
        "strong": STRONG,
        "results": NUM_RESULTS,
        "before": mean(f"sites {WEAK:g}", "before"),
        "after": mean(f"sites {WEAK:g}", "after_first"),
        "retrained": mean(f"sites {WEAK:g}", "after_last"),
        "strong_after": mean(f"sites {STRONG:g}", "after_first"),
        "strong_retrained": mean(f"sites {STRONG:g}", "after_last"),
        "raw": mean("clicks raw", "top"),
        "corrected": mean("clicks corrected", "top"),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Filters by the strength of the reaction; forecasts by theirs."""
    note = words("labels.n-seeds-95-t-interval", num_seeds=observations.num_seeds)
    sites = []
    for reaction in SITE_REACTIONS:
        arm = f"sites {reaction:g}"
        cells = [
            show.percent_interval(mean_interval(values(observations, arm, metric)))
            for metric in ("before", "after_first", "after_last")
        ]
        moves = mean_interval(values(observations, arm, "last_move"))
        sites.append([f"{reaction:g}", *map(show.stacked, cells), show.stacked(show.number_interval(moves))])
    bids = [
        [f"{reaction:g}".replace("-", show.MINUS)]
        + [
            show.number_interval(mean_interval(values(observations, f"bids {reaction:g}", f"{end}_error")))
            for end in ("first", "last")
        ]
        for reaction in BID_REACTIONS
    ]
    return [
        Table(
            words("titles.filter-spam-accuracy", note=note),
            (
                words["heads.reaction-sites"],
                words["heads.first-filter-before"],
                words["heads.first-filter-after"],
                words("heads.after-retrainings", rounds=ROUNDS),
                words["heads.last-move-weights"],
            ),
            sites,
        ),
        Table(
            words("titles.forecast-bids-distance-from-stable", note=note),
            (
                words["heads.reaction-advertisers"],
                words["heads.after-1-retraining"],
                words("heads.after", rounds=ROUNDS),
            ),
            bids,
        ),
    ]  # fmt: skip


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """At the weak reaction, one draw of pages: accuracy before sites react, after, and after the last retraining."""
    arm = f"sites {WEAK:g}"
    return {
        name: prediction_interval(values(observations, arm, metric))
        for name, metric in (("before", "before"), ("after", "after_first"), ("after_last", "after_last"))
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Moves of the filter's weights by round; accuracy on pages that have reacted; moves of the forecast."""
    alt = import_extra("altair", what="A figure", extra="book")
    heads = {
        ("sites", "accuracy"): words["labels.filter-pages-judged-right"],
        ("sites", "move"): words["labels.filter-how-far-weights-move"],
        ("bids", "move"): words["labels.forecast-how-far-it-moves"],
    }
    reactions = {"sites": SITE_REACTIONS, "bids": BID_REACTIONS}
    panels = []
    for (part, metric), head in heads.items():
        held = observations["curves"]
        rows = held[(held["part"] == part) & (held["metric"] == metric)]
        rows = rows.assign(group=[f"{r:g}".replace("-", show.MINUS) for r in rows["reaction"].astype(float)])
        if metric == "move":
            rows = rows[rows["estimate"] > 1e-9]
            rows = rows.assign(ci_low=rows["ci_low"].clip(lower=1e-9))
        names = [f"{r:g}".replace("-", show.MINUS) for r in reactions[part]]
        panels.append(_panel(alt, rows, names, metric, head, observations.num_seeds, words))
    return alt.hconcat(*panels).resolve_scale(color="independent", strokeDash="independent")


def _panel(alt: Any, rows: Any, names: list[str], metric: str, head: str, n: int, words: WordList) -> Any:
    note = words["labels.mean-and-95-t-interval"].format(n)
    legend = words["labels.reaction"]
    colour = alt.Color(
        "group:N", title=legend, sort=names,
        scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", symbolType="stroke", symbolOpacity=1, symbolSize=250, symbolStrokeWidth=2),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "group:N", title=legend, sort=names,
        scale=plots.dash_scale(alt, names),
    )  # fmt: skip
    is_share = metric == "accuracy"
    scale = alt.Scale(zero=False) if is_share else alt.Scale(type="log", nice=False, padding=10)
    axis = alt.Axis(format="%") if is_share else alt.Axis(format="~e", tickCount=6)
    title = words["labels.share"] if is_share else words["labels.distance-moved"]
    y = alt.Y("estimate:Q", title=title, scale=scale, axis=axis)
    base = alt.Chart(
        rows, width=240, height=240,
        title=alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11),
    ).encode(x=alt.X("round:Q", title=words["titles.retraining"]), color=colour)  # fmt: skip
    return base.mark_area(opacity=0.15).encode(y=alt.Y("ci_low:Q"), y2="ci_high:Q") + base.mark_line().encode(
        y=y, strokeDash=dash
    )


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="error-shrinks-by-the-reaction",
            kind="proof",
            check=error_shrinks_by,
            subject=lambda o: lambda e, number: e**number,
            falsehood=lambda o: lambda e, number: e ** (number + 1),
        ),
        Claim(
            name="retraining-stays-below-the-bound",
            kind="property",
            check=stays_below_bound,
            subject=lambda o: lambda eigenvalues: eigenvalues.min(),
            falsehood=lambda o: lambda eigenvalues: eigenvalues.mean(),
        ),
        Claim(
            name="calm-bids-settle",
            kind="experiment",
            figures={"calm": CALM},
check=less(),
            subject=lambda o: log_growth(o, "bids", CALM, "error"),
            falsehood=lambda o: log_growth(o, "bids", WILD, "error"),
            unit="log10",
        ),
        Claim(
            name="wild-bids-run-away",
            kind="experiment",
            figures={"wild": WILD},
check=greater(),
            subject=lambda o: log_growth(o, "bids", WILD, "error"),
            falsehood=lambda o: log_growth(o, "bids", CALM, "error"),
            unit="log10",
        ),
        Claim(
            name="works-until-sites-adapt",
            kind="experiment",
            check=greater(0.05),
            subject=lambda o: loss_by_adaptation(o, WEAK),
            falsehood=lambda o: loss_by_adaptation(o, HONEST),
            unit="points",
        ),
        Claim(
            name="weak-reaction-settles",
            kind="experiment",
            figures={"weak": WEAK},
check=less(-3.0),
            subject=lambda o: log_growth(o, "sites", WEAK, "move"),
            falsehood=lambda o: log_growth(o, "sites", STRONG, "move"),
            unit="log10",
        ),
        Claim(
            name="strong-reaction-does-not-settle",
            kind="experiment",
            figures={"strong": STRONG},
check=greater(-1.0),
            subject=lambda o: log_growth(o, "sites", STRONG, "move"),
            falsehood=lambda o: log_growth(o, "sites", WEAK, "move"),
            unit="log10",
        ),
        Claim(
            name="retraining-wins-some-back",
            kind="experiment",
            figures={"weak": WEAK},
check=greater(),
            subject=lambda o: gain_by_retraining(o, WEAK),
            falsehood=lambda o: -gain_by_retraining(o, WEAK),
            unit="points",
        ),
        Claim(
            name="clicks-lock-in",
            kind="experiment",
            check=greater(),
            subject=correction_gain,
            falsehood=lambda o: -correction_gain(o),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "users-may-change-engine-suits",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="works-until-sites-adapt",
        ),
        Circulated(
            "users-search-otherwise-or-leave",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="works-until-sites-adapt",
            source="datawhale",
        ),
        Circulated(
            "rankings-and-market-shares-shift",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="works-until-sites-adapt",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--seeds 60",
)  # fmt: skip
