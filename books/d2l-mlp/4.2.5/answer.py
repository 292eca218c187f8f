"""4.2.5 Why is it harder to tune several hyperparameters than one?

Three reasons, each measured: the number of settings grows exponentially; hyperparameters interact, so they cannot be
tuned one after the other; and each setting is seen through noise, so the best of many is flattered by its luck.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.integrate import quad
from scipy.special import ndtr

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import greater, interaction
from mlplab.charts import plots, show
from mlplab.knobs import turn, written
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import Comparison, mean_interval, paired, prediction_interval
from mlplab.study import Results, Study, factorial

from .. import chapter
from ..choice import FIRST_SEED, scored

if TYPE_CHECKING:
    import altair

RATES = (0.03, 0.1, 0.3, 1.0)
# The two rates that are compared: the section's, and the next of the grid, which breaks no arm. At the highest rate
# small batches do not train at all, and a difference to that says nothing of what suits whom.
COMPARED = (0.1, 0.3)
METRIC = "validation_accuracy"
CANDIDATES = 16
# Half a standard deviation: what the theory of equal normal candidates may be off by here.
MARGIN = 0.5


def observe(lab: Lab) -> Observations:
    """Cross rates with batch sizes; and train one and the same setting many times, as if it were many settings."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    batches = lab.choose(quick=[16, 64, 256], full=[32, 128, 512, 2048])
    base = lab.setting(turn(chapter.MLP_SETTING, hidden_sizes=(64,), epochs=2))
    seeds = lab.seeds(quick=5, full=20)
    runs = lab.run(Study(factorial(base, batch_size=batches, learning_rate=RATES), seeds, dataset))
    repeats = lab.run(Study(_one_setting(base, batches[1]), _repeated_seeds(len(seeds)), dataset))
    return lab.observations(runs=runs.frame, repeats=_groups(repeats))


def _one_setting(base: Setting, batch: int) -> Any:
    return factorial(turn(base, batch_size=batch), learning_rate=[RATES[1]])


def _repeated_seeds(groups: int) -> range:
    # Seeds of their own: the grid has trained this setting too.
    return range(FIRST_SEED, FIRST_SEED + 2 * CANDIDATES * groups)


def _groups(repeats: Results) -> pd.DataFrame:
    """Runs of the one setting: each group is a search among candidates, each trained twice."""
    rows = []
    for row in repeats.frame.to_dict("records"):
        group, place = divmod(row["seed"] - FIRST_SEED, 2 * CANDIDATES)
        again, candidate = divmod(place, CANDIDATES)
        role = "again" if again else "search"
        value = float(scored([row[METRIC]])[0])
        rows.append({"group": group, "candidate": candidate, "role": role, METRIC: value})
    return pd.DataFrame(rows)


def candidates(observations: Observations, role: str) -> np.ndarray:
    """Validation accuracy of the candidates in the search, or trained again: (group, candidate)."""
    table = observations["repeats"]
    wide = table[table["role"] == role].pivot(index="group", columns="candidate", values=METRIC)
    return wide.to_numpy()


def flattery(observations: Observations) -> np.ndarray:
    """The winner's accuracy in the search minus that of the same candidate trained again, for each group."""
    searched, again = candidates(observations, "search"), candidates(observations, "again")
    rows = np.arange(len(searched))
    winner = searched.argmax(1)
    return searched[rows, winner] - again[rows, winner]


def optimism(observations: Observations) -> np.ndarray:
    """How many standard deviations the winner stands above the mean of all runs, for each group."""
    everything = np.concatenate([candidates(observations, "search"), candidates(observations, "again")])
    return (candidates(observations, "search").max(1) - everything.mean()) / everything.std(ddof=1)


def grid(observations: Observations) -> np.ndarray:
    """Validation accuracy: (batch, rate, seed), both ascending."""
    return np.stack(
        [
            [
                scored(observations.runs.values(METRIC, f"batch_size={b} learning_rate={written(r)}"))
                for r in RATES
            ]
            for b in batches(observations)
        ]
    )


def batches(observations: Observations) -> list[int]:
    """The batch sizes of the grid, ascending."""
    return sorted({int(size) for size in observations["runs"]["batch_size"]})


def corners(observations: Observations) -> tuple[np.ndarray, ...]:
    """Largest batch at the higher and at the lower rate of COMPARED; smallest batch at the higher and at the lower."""
    values = grid(observations)
    low, high = map(RATES.index, COMPARED)
    return values[-1, high], values[-1, low], values[0, high], values[0, low]


def rate_effects(observations: Observations) -> dict[str, Comparison]:
    """What the higher of the two rates does at the largest batch, and at the smallest."""
    large_high, large_low, small_high, small_low = corners(observations)
    return {"large": paired(large_high, large_low), "small": paired(small_high, small_low)}


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """What the program leaves: by how much more the higher rate does at the largest batch, from one run of each corner,
    and how far the winner of 16 stands above the mean, from 4,000 simulated searches."""
    large_high, large_low, small_high, small_low = corners(observations)
    error = 4 / math.sqrt(4_000)  # the winner's standard deviation is below 1
    winner = expected_maximum(CANDIDATES)
    return {
        "difference": prediction_interval((large_high - large_low) - (small_high - small_low)),
        "winner_of_16": (winner - error, winner + error),
    }


def one_at_a_time(means: np.ndarray) -> float:
    """From each cell of a grid: tune one factor, then the other, in either order. What share misses the best cell?"""
    best = np.unravel_index(means.argmax(), means.shape)
    missed = []
    for row, column in itertools.product(*map(range, means.shape)):
        tuned_row = int(means[:, column].argmax())
        missed.append((tuned_row, int(means[tuned_row].argmax())) != best)
        tuned_column = int(means[row].argmax())
        missed.append((int(means[:, tuned_column].argmax()), tuned_column) != best)
    return float(np.mean(missed))


@cache
def expected_maximum(m: int) -> float:
    """E max of m independent N(0, 1): the integral of m z φ(z) Φ(z)^(m-1)."""

    def integrand(z: float) -> float:
        return m * z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * float(ndtr(z)) ** (m - 1)

    return float(quad(integrand, -12, 12, limit=200)[0])


def counts_the_grid(candidate: Callable[[int, int], int]) -> Finding:
    """Is `candidate(k, d)` the number of settings of a grid with k levels of each of d hyperparameters?"""
    shapes = list(itertools.product(range(1, 6), range(1, 6)))
    wrong = [
        (k, d) for k, d in shapes if sum(1 for _ in itertools.product(range(k), repeat=d)) != candidate(k, d)
    ]
    return Finding.true_if(not wrong, tries=len(shapes), wrong=len(wrong))


def bounds_the_winner(candidate: Callable[[int], float]) -> Finding:
    """Is E max of m standard normal numbers at most `candidate(m)`, and at least 0.45 of it, for m from 2 to 10,000?"""
    shares = [expected_maximum(m) / candidate(m) for m in (2, 3, 5, 10, 16, 50, 100, 1000, 10_000)]
    return Finding.true_if(min(shares) > 0.45 and max(shares) <= 1, lowest=min(shares), highest=max(shares))


def predicts_the_winner(candidate: Callable[[int], float]) -> Finding:
    """Simulated searches among m equal settings with noise 1: is the winner's mean what `candidate` says?"""
    worst = 0.0
    for m in (4, 16, 64, 256):
        winners = Stream(m, "data").normal((4000, m)).max(1)
        worst = max(
            worst, abs(winners.mean() - candidate(m)) / (winners.std(ddof=1) / math.sqrt(len(winners)))
        )
    # Of 4 normal z-scores none is beyond 4.5 but once in 30,000 times.
    return Finding.true_if(worst < 4.5, worst_z=worst, tries=4)


def is_as_predicted(values: np.ndarray) -> Finding:
    """Two one-sided tests: is the mean within the margin of what equal normal candidates give?"""
    expected = expected_maximum(CANDIDATES)
    found = paired(values, claim="equivalent", threshold=expected, margin=MARGIN)
    return Finding.of(found, expected=expected, margin=MARGIN)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The grid of rates and batches; and the cost of grids."""
    values = grid(observations)
    rows = [
        [str(batch), *(show.stacked(show.percent_interval(mean_interval(cell))) for cell in row)]
        for batch, row in zip(batches(observations), values, strict=True)
    ]
    title = words["titles.validation-accuracy-in-by-batch"]
    heads = (words["heads.batch"], *(words("labels.rate", rate=rate) for rate in RATES))
    curse = [
        [f"{m:,}", show.number(expected_maximum(m)), show.number(math.sqrt(2 * math.log(m)))]
        for m in (2, 4, 16, 64, 256, 1024)
    ]
    curse_title = words["titles.how-far-best-m-equal"]
    curse_heads = (words["heads.m"], words["heads.expected"], words["heads.2-ln-m"])
    return [Table(title, heads, rows), Table(curse_title, curse_heads, curse)]


def facts(observations: Observations) -> dict[str, Any]:
    """What a grid costs, where the best rate lies for each batch, and how large the noise is."""
    means = grid(observations).mean(2)
    everything = np.concatenate([candidates(observations, "search"), candidates(observations, "again")])
    sizes = batches(observations)
    return {
        "num_rates": len(RATES),
        "five_hyperparameters": len(RATES) ** 5,
        "small_batch": sizes[0],
        "large_batch": sizes[-1],
        "best_for_small": RATES[int(means[0].argmax())],
        "best_for_large": RATES[int(means[-1].argmax())],
        "missed_share": one_at_a_time(means),
        "lower_rate": COMPARED[0],
        "higher_rate": COMPARED[1],
        "effects": rate_effects(observations),
        "num_candidates": CANDIDATES,
        "num_groups": len(candidates(observations, "search")),
        "noise": float(everything.std(ddof=1)),
        "theory": expected_maximum(CANDIDATES),
        "bound": math.sqrt(2 * math.log(CANDIDATES)),
        "epochs": observations.settings[0]["epochs"],
        "width": observations.settings[0]["hidden_sizes"],
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The grid: the best rate moves with the batch. Beside it, the winner of equal settings, and trained again."""
    summary = observations.runs.summary(METRIC)
    summary["batch_size"] = summary["batch_size"].astype(str)
    left = plots.grid_plot(
        summary,
        x="learning_rate",
        y="batch_size",
        x_title=words["titles.learning-rate"],
        y_title=words["titles.batch-size"],
        value_title=words["titles.validation-accuracy"],
        title=words["titles.two-hyperparameters-interact"],
        value_format=".1%",
        notes=words.notes,
    )
    searched = candidates(observations, "search")
    values = {
        words["labels.all-candidates"]: searched.mean(1),
        words["labels.winner-search"]: searched.max(1),
        words["labels.winner-trained-again"]: searched.max(1) - flattery(observations),
    }
    rows = [
        {"arm": name, **mean_interval(found).to_dict(), "num_diverged": 0} for name, found in values.items()
    ]
    right = plots.interval_plot(
        pd.DataFrame(rows),
        value_title=words["titles.validation-accuracy"],
        title=words["labels.candidates-all-same-setting"].format(CANDIDATES),
        value_format=".1%",
        notes=words.notes,
        width=260,
    )
    return (left | right).resolve_scale(color="independent")


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="a-grid-grows-exponentially",
            kind="calculation",
            check=counts_the_grid,
            subject=lambda o: lambda k, d: k**d,
            falsehood=lambda o: lambda k, d: d**k,
        ),
        Claim(
            name="rate-and-batch-interact",
            kind="experiment",
            check=interaction("greater"),
            subject=corners,
            falsehood=lambda o: corners(o)[2:] + corners(o)[:2],
            unit="points",
        ),
        Claim(
            name="the-winner-is-bounded",
            kind="calculation",
            check=bounds_the_winner,
            subject=lambda o: lambda m: math.sqrt(2 * math.log(m)),
            falsehood=lambda o: lambda m: math.sqrt(math.log(m)),
        ),
        Claim(
            name="simulated-winners-agree",
            kind="property",
            check=predicts_the_winner,
            subject=lambda o: expected_maximum,
            falsehood=lambda o: lambda m: 0.98 * expected_maximum(m),
        ),
        Claim(
            name="the-winner-is-flattered",
            kind="experiment",
            check=greater(),
            subject=flattery,
            falsehood=lambda o: -flattery(o),
            unit="points",
        ),
        Claim(
            name="flattered-as-theory-says",
            kind="experiment",
            check=is_as_predicted,
            subject=optimism,
            falsehood=lambda o: recentred(optimism(o), 0.5),
        ),
    ),
    circulated=(
        Circulated(
            "combinations-multiply",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="a-grid-grows-exponentially",
            source="datawhale",
        ),
        Circulated(
            "they-interact",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="rate-and-batch-interact",
            source="pandalabme",
        ),
        Circulated(
            "feedback-is-noisy",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="the-winner-is-flattered",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
    vary="--set hidden_sizes=256",
)
