"""4.5.2 Is the λ that is best on a validation set the optimal one, and does it matter?

Ridge regression is solved exactly for every λ and its risk is known exactly, so that the λ which validation data choose
can be held beside the best one there is. Validation and test data have one distribution here: what is left is chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab import data
from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, recentred, rounded
from mlplab.answers.checks import equivalent, greater, less
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval

if TYPE_CHECKING:
    import altair

LAMBDAS = 10.0 ** np.linspace(-3, 3, 61)
STEP = 0.1  # of log10 λ between neighbours
# The section's problem hardly depends on λ (exercise 4.5.1). In the other one noise and signal are of one size.
PROBLEMS: dict[str, dict[str, Any]] = {
    "section": {},
    "noisy": {"num_train": 100, "noise_std": 0.1},
}
DECIDED = "noisy"
SIZES = (20, 100, 1000)  # of the validation set
DIGITS = 5  # of what is kept of a draw
METHODS = (*(f"validation-{size}" for size in SIZES), "10-fold")
SMALL_SET, LARGE_SET = f"validation-{SIZES[0]}", f"validation-{SIZES[-1]}"


def observe(lab: Lab) -> Observations:
    """Choose λ in each way on many draws of both problems, and hold it beside the best."""
    seeds = lab.seeds(quick=40, full=200)
    rows, curves = [], []
    for name, parameters in PROBLEMS.items():
        for seed in seeds:
            problem = data.load("linear-high-dim", num_test=max(SIZES), draw=seed, **parameters)
            if seed == seeds[0]:
                lab.use(problem)
                curves += _curves(name, problem)
            rows += _rows(name, seed, problem)
    return lab.observations(runs=pd.DataFrame(rows), curves=pd.DataFrame(curves))


def ridge_path(x: np.ndarray, y: np.ndarray, lambdas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (λ, d) and intercepts (λ,) that minimise the mean of half the squared error plus λ/2 |w|²."""
    centre, middle = x.mean(0), y.mean()
    left, sizes, right = np.linalg.svd(x - centre, full_matrices=False)
    shrunk = sizes / (sizes**2 + len(x) * lambdas[:, None])
    weights = (shrunk * (left.T @ (y - middle))) @ right
    return weights, middle - weights @ centre


def losses(x: np.ndarray, y: np.ndarray, weights: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """Half the squared error of each example and λ: (example, λ)."""
    return np.square(x @ weights.T + intercepts - y[:, None]) / 2


def risks(problem: Dataset, weights: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """The expected loss on a new example, exactly: inputs are N(0, I)."""
    wrong = weights - problem.truth["weights"].ravel()
    offset = intercepts - problem.truth["bias"].item()
    return ((wrong**2).sum(1) + offset**2 + problem.truth["noise_std"].item() ** 2) / 2


def arrays(part: data.Part) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets in float64."""
    return part.features.astype(np.float64), part.targets[:, 0].astype(np.float64)


def _validation(problem: Dataset) -> tuple[np.ndarray, np.ndarray]:
    assert problem.validation is not None
    return arrays(problem.validation)


def _rows(name: str, seed: int, problem: Dataset) -> list[dict[str, Any]]:
    x, y = arrays(problem.train)
    path = ridge_path(x, y, LAMBDAS)
    risk, best = risks(problem, *path), int(np.argmin(risks(problem, *path)))
    held_out = losses(*_validation(problem), *path)
    means = {f"validation-{size}": held_out[:size].mean(0) for size in SIZES}
    means["10-fold"] = cross_validated(x, y, seed)
    orders = {"order": path_at(best), "order_elsewhere": 10 * path_at(best)}
    powers = {name: rounded(growth(problem, around), DIGITS) for name, around in orders.items()}
    rows = []
    for method, mean in means.items():
        chosen = int(np.argmin(mean))
        rows.append(
            {
                "arm": f"{name} {method}",
                "seed": seed,
                "status": "finished",
                "log_lambda": round(float(np.log10(LAMBDAS[chosen])), 3),
                "steps_off": chosen - best,
                "regret": rounded(risk[chosen] / risk[best] - 1, DIGITS),
                "optimism": rounded((risk[chosen] - mean[chosen]) / risk[best], DIGITS),
            }
            | powers
        )
    return rows


def path_at(index: int) -> float:
    """The λ at a place of the grid."""
    return float(LAMBDAS[index])


def growth(problem: Dataset, around: float) -> float:
    """How fast the risk leaves its value at `around` with the distance in log λ: the power, 2 at a minimum, else 1.

    At the grid's best the true minimum lies up to half a step away; a search on a finer grid finds it first.
    """
    x, y = arrays(problem.train)
    fine = around * 10.0 ** np.linspace(-STEP, STEP, 201)
    risk = risks(problem, *ridge_path(x, y, fine))
    centre = float(fine[np.argmin(risk)]) if 0 < np.argmin(risk) < 200 else around
    at = centre * 10.0 ** np.array([0, 0.1, 0.2, -0.1, -0.2])
    found = risks(problem, *ridge_path(x, y, at))
    gaps = np.abs(found - found[0])
    return float(np.log2((gaps[2] + gaps[4]) / (gaps[1] + gaps[3])))


def cross_validated(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Mean loss of each λ over 10 folds."""
    order = Stream(seed, "split").permutation(len(x))
    total = np.zeros(len(LAMBDAS))
    for fold in np.array_split(order, 10):
        rest = np.setdiff1d(order, fold)
        total += losses(x[fold], y[fold], *ridge_path(x[rest], y[rest], LAMBDAS)).sum(0)
    return total / len(x)


def _curves(name: str, problem: Dataset) -> list[dict[str, Any]]:
    """One draw: its exact risk, and the losses of five small validation sets."""
    path = ridge_path(*arrays(problem.train), LAMBDAS)
    held_out = losses(*_validation(problem), *path)
    size = SIZES[0]
    lines = {"risk": risks(problem, *path)}
    lines |= {f"set {k + 1}": held_out[k * size : (k + 1) * size].mean(0) for k in range(5)}
    return [
        {"problem": name, "line": line, "lambda": rounded(at, DIGITS), "loss": rounded(value, DIGITS)}
        for line, held in lines.items()
        for at, value in zip(LAMBDAS, held, strict=True)
    ]


# Checks


def values(observations: Observations, quantity: str, method: str, problem: str = DECIDED) -> np.ndarray:
    """A quantity of every draw."""
    return observations.runs.values(quantity, f"{problem} {method}")


def distances(observations: Observations, method: str) -> np.ndarray:
    """How far the chosen λ is from the best, in powers of ten, for each draw."""
    return STEP * np.abs(values(observations, "steps_off", method))


def share_away(sizes: np.ndarray) -> float:
    """Of the draws: in how many another value than the best was chosen."""
    return float(np.mean(sizes > STEP / 2))


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    return {
        "num_draws": observations.num_seeds,
        "small": SIZES[0],
        "large": SIZES[-1],
        "regret": {
            problem: {
                method.replace("-", "_"): mean_interval(values(observations, "regret", method, problem))
                for method in METHODS
            }
            for problem in PROBLEMS
        },
        "kfold": mean_interval(values(observations, "regret", "10-fold")),
    }


def method_name(method: str, words: WordList) -> str:
    """How a way to choose is named."""
    kind, _, size = method.partition("-")
    if kind == "validation":
        return words("methods.validation", size=size)
    return words[f"methods.{method}"]


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Chosen λ and regret of each way to choose."""
    found = []
    for problem, label in words.group("problems").items():
        rows = []
        for method in METHODS:
            chosen = np.quantile(10 ** values(observations, "log_lambda", method, problem), [0.1, 0.5, 0.9])
            spread = " / ".join(show.number(float(value), 2) for value in chosen)
            regret = mean_interval(values(observations, "regret", method, problem))
            optimism = mean_interval(values(observations, "optimism", method, problem))
            rows.append(
                [
                    method_name(method, words),
                    spread,
                    show.percent_interval(regret),
                    show.percent_interval(optimism),
                ]
            )
        title = words("titles.over-draws-with-95-t", problem=label)
        heads = (
            words["heads.chosen-by"],
            words["heads.chosen-10-50-90-quantile"],
            words["heads.regret-best-risk"],
            words["heads.risk-above-validation-loss"],
        )
        found.append(Table(title, heads, rows))
    return found


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Risk and validation losses of one draw; what is chosen; what it costs."""
    alt = import_extra("altair", what="A figure", extra="book")
    row = (_one_draw(alt, observations, words) | _chosen(alt, observations, words)).resolve_scale(
        color="independent", strokeDash="independent"
    )
    return (row & _regret(observations, words)).resolve_scale(color="independent", strokeDash="independent")


def _one_draw(alt: Any, observations: Observations, words: WordList) -> Any:
    rows = observations["curves"]
    rows = rows[(rows["problem"] == DECIDED) & (rows["lambda"] >= 0.01) & (rows["lambda"] <= 100)]
    kinds = (
        words["labels.risk"],
        words("labels.loss-on-validation-examples", sizes=SIZES[0]),
    )
    rows = rows.assign(kind=np.where(rows["line"] == "risk", *kinds))
    lowest = rows.loc[rows.groupby("line")["loss"].idxmin()]
    x = alt.X("lambda:Q", scale=alt.Scale(type="log"), title="λ", axis=alt.Axis(format="~g", tickCount=5))
    y = alt.Y(
        "loss:Q",
        title=words["titles.half-squared-error"],
        scale=alt.Scale(zero=False),
    )
    colour = alt.Color("kind:N", sort=list(kinds), scale=plots.colour_scale(alt, list(kinds)),
                       legend=alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke"))  # fmt: skip
    title = words["labels.one-draw-five-validation-sets"]
    base = alt.Chart(rows, width=290, height=240, title=title)
    width = alt.condition(f"datum.kind == '{kinds[0]}'", alt.value(3), alt.value(1))
    lines = base.mark_line().encode(x=x, y=y, color=colour, detail="line:N", strokeWidth=width)
    return lines + alt.Chart(lowest).mark_point(filled=True, size=50, opacity=1).encode(
        x=x, y=y, color=colour
    )


def _chosen(alt: Any, observations: Observations, words: WordList) -> Any:
    names = {method: method_name(method, words) for method in (SMALL_SET, LARGE_SET, "10-fold")}
    bins = np.arange(-2.05, 2.1, 0.3)
    parts = []
    for method, name in names.items():
        off = STEP * values(observations, "steps_off", method)
        counts, edges = np.histogram(np.clip(off, bins[0], bins[-1]), bins)
        parts.append(
            pd.DataFrame({"x": (edges[1:] + edges[:-1]) / 2, "share": counts / len(off), "name": name})
        )
    dashes = [list(dash) for dash in plots.DASHES[: len(names)]]
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke")
    domain = list(names.values())
    n = observations.num_seeds
    return (
        alt.Chart(
            pd.concat(parts), width=290, height=240,
            title=words("titles.chosen-over-draws", n=n),
        )
        .mark_line(interpolate="step", strokeWidth=2)
        .encode(
            x=alt.X("x:Q", title=words["titles.powers-ten-above-best"]),
            y=alt.Y("share:Q", title=words["titles.share-draws"], axis=alt.Axis(format="%")),
            color=alt.Color("name:N", sort=domain, legend=legend,
                            scale=alt.Scale(domain=domain, range=list(plots.PALETTE[: len(names)]))),
            strokeDash=alt.StrokeDash("name:N", sort=domain, legend=legend,
                                      scale=alt.Scale(domain=domain, range=dashes)),
        )
    )  # fmt: skip


def _regret(observations: Observations, words: WordList) -> altair.LayerChart:
    rows = [
        {"group": label, "level": method_name(method, words)}
        | mean_interval(values(observations, "regret", method, problem)).to_dict()
        for problem, label in words.group("problems").items()
        for method in METHODS
    ]
    return plots.level_plot(
        pd.DataFrame(rows),
        level_title=words["titles.chosen-by"],
        value_title=words["titles.regret-share-best-risk"],
        title=words["titles.what-choice-costs"],
        log_scale=True,
        notes=words.notes,
        width=620,
        height=200,
    )


def expected(seen: Observations) -> dict[str, tuple[float, float]]:
    """Means over forty more draws of the problem: how far the choice is from the best λ, and what it costs."""
    found = {"mean_distance": distances(seen, SMALL_SET), "mean_regret": values(seen, "regret", SMALL_SET)}
    return {name: prediction_interval(each, num_new=40) for name, each in found.items()}


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="the-chosen-is-not-the-optimal",
            kind="experiment",
            figures={"sizes": SIZES[0]},
            check=greater(STEP, numbers={"share": share_away, "step": STEP}),
            subject=lambda o: distances(o, SMALL_SET),
            # Chosen with so many examples the λ is within a step of the best: the check must see that.
            falsehood=lambda o: distances(o, LARGE_SET),
        ),
        Claim(
            name="more-validation-data-come-nearer",
            kind="experiment",
            figures={"sizes": SIZES[-1], "sizes_2": SIZES[0]},
            check=greater(),
            subject=lambda o: distances(o, SMALL_SET) - distances(o, LARGE_SET),
            falsehood=lambda o: distances(o, LARGE_SET) - distances(o, SMALL_SET),
        ),
        Claim(
            name="the-regret-is-small",
            kind="experiment",
            figures={"sizes": SIZES[0]},
            check=less(0.1),
            subject=lambda o: values(o, "regret", SMALL_SET),
            falsehood=lambda o: recentred(values(o, "regret", SMALL_SET), 0.3),
        ),
        Claim(
            name="the-regret-is-second-order",
            kind="experiment",
            check=equivalent(2.0, margin=0.1, numbers={}),
            subject=lambda o: values(o, "order", SMALL_SET),
            falsehood=lambda o: values(o, "order_elsewhere", SMALL_SET),
        ),
        Claim(
            name="the-minimum-is-optimistic",
            kind="experiment",
            check=greater(),
            subject=lambda o: values(o, "optimism", SMALL_SET),
            falsehood=lambda o: -values(o, "optimism", SMALL_SET),
        ),
    ),
    circulated=(
        Circulated(
            "what-found-near-optimal-not",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-chosen-is-not-the-optimal",
        ),
        Circulated(
            "reason-validation-sets-distribution-differs",
            {"holds": "incomplete", "fails": "unsupported", "undecided": "unsupported"},
            by="the-chosen-is-not-the-optimal",
        ),
        Circulated(
            "not-necessarily-optimal",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-chosen-is-not-the-optimal",
            source="datawhale",
        ),
        Circulated(
            "certainly-not-overfitted",
            {"holds": "half-right", "fails": "right", "undecided": "unsupported"},
            by="the-minimum-is-optimistic",
            source="datawhale",
        ),
        Circulated(
            "verify-on-test-data",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="the-minimum-is-optimistic",
            source="pandalabme",
        ),
        Circulated(
            "it-matters-as-data-vary",
            {"holds": "incomplete", "fails": "right", "undecided": "unsupported"},
            by="the-regret-is-small",
            source="pandalabme",
        ),
        Circulated(
            "good-enough-will-do",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="the-regret-is-small",
            source="forum",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--seeds 100",
)
