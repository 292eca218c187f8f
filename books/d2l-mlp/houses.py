"""The tables of section 4.10: houses in folds, each encoded by its own training rows, and the competition's score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

from mlplab import data
from mlplab.answers import Claim, Finding, Lab, Observations, WordList, rounded
from mlplab.charts import plots, show
from mlplab.data import Dataset, Gap, Part
from mlplab.data.scoreboard import resampled_scores
from mlplab.data.table import Columns, encoder
from mlplab.engine.activations import activation_function
from mlplab.errors import InvalidInput, import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import MLP, Initialization, Setting
from mlplab.stats import Comparison, Interval, resampled_interval
from mlplab.study import Arm, Results, Study
from mlplab.study.row import Parameters

if TYPE_CHECKING:
    import altair
    from sklearn.linear_model import RidgeCV

    from mlplab.data import Board

# `log` and `scaled price` are standardised; the others are what the section would train on.
Target = Literal["log", "raw log", "price", "scaled price"]

NUM_FOLDS = 5  # the section's
RATIO = 1 / (NUM_FOLDS - 1)  # rows held out over rows trained on: what `stats.resampled` asks for

# The section's model: linear, on prices in dollars, Adam at rate 5, batches of 64, 100 epochs.
LINEAR_SETTING = turn(
    Setting(MLP(hidden_sizes=(), initialization=(Initialization("linear"),))),
    loss="squared_error", optimizer="adam", learning_rate=5.0, batch_size=64, epochs=100, evaluate_every=100,
)  # fmt: skip
# A perceptron on standardised log prices; 32 units are few enough that the store keeps its weights.
MLP_SETTING = turn(
    Setting(MLP(hidden_sizes=(32,), initialization=(Initialization("kaiming_normal"),))),
    loss="squared_error", optimizer="adam", learning_rate=0.003, batch_size=64, epochs=60, evaluate_every=60,
    weight_decay=0.01, schedule="cosine",
)  # fmt: skip
# The drawn table has a sixth of the columns and half the updates in an epoch: rate 5 gets nowhere near its prices.
DRAWN_RATE = 100.0
ALPHAS = tuple(10.0 ** np.arange(-1, 4.01, 0.5))  # for ridge regression, scikit-learn's: added to XᵀX


LOWEST_PRICE = 1.0  # what the section raises lower predictions to before it takes the logarithm
ALIKE = 0.005  # of a score: a fifth of what separates the section's model on logs from perceptrons
ALPHA = 0.05  # of all differences on the scoreboard of one page

# Square feet. De Cock 2011 advises to leave larger houses out: partial sales and the like, two of four far too cheap.
LARGEST = 4000.0


@dataclass(frozen=True, eq=False)
class Houses:
    """A table of labelled houses, and one of houses without prices."""

    name: str
    columns: Columns
    table: pd.DataFrame
    unlabelled: pd.DataFrame

    @property
    def log_prices(self) -> np.ndarray:
        """Of the labelled houses, float64."""
        return np.log(self.table["SalePrice"].to_numpy(dtype=np.float64))

    @property
    def is_usual(self) -> np.ndarray:
        """Which labelled houses are no larger than De Cock advises to keep."""
        return ~(self.table["GrLivArea"].to_numpy(dtype=np.float64) > LARGEST)

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True, eq=False)
class Fold:
    """Houses to train on and houses held out, as features and log prices, encoded by those to train on."""

    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray
    inner: np.ndarray | None = field(default=None)  # places in `train_x` that choose, and are not trained on

    @property
    def trained(self) -> np.ndarray:
        """Places in `train_x` that are trained on."""
        everything = np.arange(len(self.train_x))
        return everything if self.inner is None else np.setdiff1d(everything, self.inner)

    def scale(self, target: Target = "log") -> tuple[float, float]:
        """What was taken from a target, and what it was divided by."""
        if target in ("price", "raw log"):
            return 0.0, 1.0
        of = self._target(self.train_y[self.trained], target)
        return float(of.mean()), float(of.std())

    def dataset(self, target: Target = "log") -> Dataset:
        """For training: the inner part validates, or else the houses held out, which are the test."""
        held = self._part(self.held_x, self.held_y, target)
        inner = held
        if self.inner is not None:
            inner = self._part(self.train_x[self.inner], self.train_y[self.inner], target)
        return Dataset(
            name=self.name,
            title=_title(self.name),
            task="regression",
            train=self._part(self.train_x[self.trained], self.train_y[self.trained], target),
            validation=inner,
            test=held,
            out_features=1,
            feature_shape=(self.train_x.shape[1],),
        )

    def score(self, log_prices: np.ndarray) -> float:
        """Log-RMSE on the houses held out."""
        return log_rmse(log_prices, self.held_y)

    def _target(self, log_prices: np.ndarray, target: Target) -> np.ndarray:
        return log_prices if target.endswith("log") else np.exp(log_prices)

    def _part(self, x: np.ndarray, log_prices: np.ndarray, target: Target) -> Part:
        mean, std = self.scale(target)
        values = (self._target(log_prices, target) - mean) / std
        return Part(np.ascontiguousarray(x, np.float32), values.astype(np.float32)[:, None])


@cache
def _title(name: str) -> str:
    return data.info(name).title


def load(lab: Lab) -> Houses:
    """The houses that a laboratory works on. Raises UnknownName for a data set that is no table of houses."""
    held = lab.dataset("house-prices", embedded="drawn-houses")
    table, unlabelled = (data.load_table(held.name, part) for part in ("train", "test"))
    lab.use(held)
    return Houses(held.name, data.TABLES[held.name], table, unlabelled)


def linear_setting(houses: Houses) -> Setting:
    """The section's model, at a rate that suits the table."""
    return LINEAR_SETTING if houses.name == "house-prices" else turn(LINEAR_SETTING, learning_rate=DRAWN_RATE)


def beside_linear(lab: Lab, houses: Houses) -> tuple[Setting, Setting]:
    """The section's model and the perceptron, with the knobs turned: what makes a perceptron turns it alone."""
    own = {
        name: lab.take(name, MLP_SETTING)
        for name in ("hidden_sizes", "activation", "learning_rate", "weight_decay")
    }
    return lab.setting(linear_setting(houses)), turn(lab.setting(MLP_SETTING), **own)


def parted(num_rows: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out in fold `number` of repeated 5-fold: five numbers hold out each row once."""
    repeat, fold = divmod(number, NUM_FOLDS)
    held = np.sort(np.array_split(Stream(repeat, "split").permutation(num_rows), NUM_FOLDS)[fold])
    return np.setdiff1d(np.arange(num_rows), held), held


def fold(houses: Houses, number: int, *, with_inner: bool = False) -> Fold:
    """A fold; with an inner part, a fifth of its training rows choose and are not trained on."""
    train, held = parted(len(houses), number)
    order = Stream(number, "split", layer=1).permutation(len(train)) if with_inner else None
    inner = None if order is None else np.sort(order[: len(train) // NUM_FOLDS])
    fitted = train if inner is None else np.delete(train, inner)
    train_x, held_x = encoded(houses, fitted, [train, held])
    y = houses.log_prices
    return Fold(houses.name, train_x, y[train], held_x, y[held], inner)


def encoded(houses: Houses, fitted: np.ndarray, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Features of each part's rows, float64; means and categories are those of the rows `fitted` alone."""
    to_features = encoder(houses.columns).fit(houses.table.iloc[fitted])
    return [np.asarray(to_features.transform(houses.table.iloc[rows]), np.float64) for rows in parts]


def section_fold(houses: Houses, number: int) -> Fold:
    """A fold as the section prepares it: the features of all houses, also of those without a price, set the means."""
    train, held = parted(len(houses), number)
    everyone = encoder(houses.columns).fit(pd.concat([houses.table, houses.unlabelled]))
    x, y = np.asarray(everyone.transform(houses.table), np.float64), houses.log_prices
    return Fold(houses.name, x[train], y[train], x[held], y[held])


def with_areas(houses: Houses) -> Houses:
    """The same houses with the total area as one more column, and log(1 + x) of each column in feet beside it."""
    feet = [
        n for n in houses.columns.numeric if n.endswith(("SF", "SF1", "SF2", "Area", "Porch", "Frontage"))
    ]

    def widened(table: pd.DataFrame) -> pd.DataFrame:
        known = table[feet].fillna(0.0)
        total = (known["TotalBsmtSF"] + known["GrLivArea"]).rename("area")
        logs = pd.concat([known, total], axis=1).apply(np.log1p).add_prefix("log ")
        return pd.concat([table, total, logs], axis=1)

    table, unlabelled = widened(houses.table), widened(houses.unlabelled)
    more = tuple(name for name in table if name not in houses.table)
    columns = Columns((*houses.columns.numeric, *map(str, more)), houses.columns.categorical)
    return replace(houses, columns=columns, table=table, unlabelled=unlabelled)


def refitted(
    houses: Houses, rows: np.ndarray | None = None, *, as_section: bool = False
) -> tuple[Fold, np.ndarray]:
    """All labelled houses, or those `rows`, to train on, and the features of the houses without prices.

    The score on the fold's `held` is never looked at: a data set wants some houses there.
    """
    table = houses.table if rows is None else houses.table.iloc[rows]
    y = houses.log_prices if rows is None else houses.log_prices[rows]
    fitted = encoder(houses.columns).fit(pd.concat([table, houses.unlabelled]) if as_section else table)
    x, asked = (np.asarray(fitted.transform(part), np.float64) for part in (table, houses.unlabelled))
    return Fold(houses.name, x, y, x[:2], y[:2]), asked


def clamped_logs(prices: np.ndarray) -> np.ndarray:
    """Logarithms of predicted prices as the section takes them: what lies below 1 counts as 1."""
    return np.log(np.maximum(prices, LOWEST_PRICE))


def log_prices(
    fold: Fold,
    setting: Setting,
    runs: Results,
    arm: str,
    seeds: Sequence[int],
    x: np.ndarray,
    target: Target = "log",
) -> np.ndarray:
    """Log prices of houses `x`: the mean over the networks of an arm, trained on that target of a fold."""
    mean, std = fold.scale(target)
    outputs = mean + std * np.array([predict(setting, runs.parameters(arm, seed), x) for seed in seeds])
    return (outputs if target.endswith("log") else clamped_logs(outputs)).mean(axis=0)


def boosted(x: np.ndarray, y: np.ndarray, asked: np.ndarray, *, trees: int, depth: int) -> np.ndarray:
    """Log prices of houses `asked` by gradient-boosted trees; scikit-learn's.

    Each tree sees half of the houses, and a tenth of the features at each split.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=trees, max_depth=depth, learning_rate=0.05, subsample=0.5, max_features=0.1,
        min_samples_leaf=5, random_state=0,
    )  # fmt: skip
    return model.fit(x, y).predict(asked)


# Log prices of the houses held out in each fold, and of the competition's
Predictions = tuple[dict[int, np.ndarray], np.ndarray]
Predict = Callable[[Fold, np.ndarray], np.ndarray]


def by_folds(
    houses: Houses, splits: Sequence[int], predict: Predict, rows: np.ndarray | None = None
) -> Predictions:
    """A model trained on each fold, and on all labelled houses; on those among `rows` alone where they are given."""
    kept = np.arange(len(houses)) if rows is None else rows
    held = {}
    for number in splits:
        train, out = parted(len(houses), number)
        train = np.intersect1d(train, kept)
        x, asked = encoded(houses, train, [train, out])
        y = houses.log_prices
        held[number] = predict(Fold(houses.name, x, y[train], asked, y[out]), asked)
    fold, asked = refitted(houses, kept)
    return held, predict(fold, asked)


def mean_of(made: Sequence[Predictions]) -> Predictions:
    """Several models' predictions, averaged."""
    held = {number: np.mean([one[0][number] for one in made], axis=0) for number in made[0][0]}
    return held, np.mean([one[1] for one in made], axis=0)


# What is submitted: the average of all kinds, each as validation chose it in exercise 4.10.5; a test holds it to that.
SUBMITTED_TREES = (500, 4)


def submitted(lab: Lab, houses: Houses) -> Predictions:
    """Ridge regression with log areas, perceptrons and boosted trees, averaged: by folds, and for the competition."""
    number, depth = lab.choose(quick=(60, 3), full=SUBMITTED_TREES)
    networks = lab.choose(quick=2, full=5)
    setting = lab.setting(MLP_SETTING)

    def perceptrons(fold: Fold, asked: np.ndarray) -> np.ndarray:
        dataset, seeds = fold.dataset(), range(networks)
        runs = lab.run(Study([Arm("mlp", setting)], seeds, lambda _: dataset))
        return log_prices(fold, setting, runs, "mlp", seeds, asked)

    def trees(fold: Fold, asked: np.ndarray) -> np.ndarray:
        return boosted(fold.train_x, fold.train_y, asked, trees=number, depth=depth)

    def linear(fold: Fold, asked: np.ndarray) -> np.ndarray:
        return ridge(fold.train_x, fold.train_y).predict(asked)

    splits = range(NUM_FOLDS)
    return mean_of(
        [
            by_folds(with_areas(houses), splits, linear),
            by_folds(houses, splits, perceptrons),
            by_folds(houses, splits, trees),
        ]
    )


@dataclass(frozen=True)
class Expected:
    """A score to be expected on other houses, with the interval in which it will lie."""

    estimate: float
    ci_low: float
    ci_high: float


def expected_score(
    errors: np.ndarray, num_houses: int, ci_prob: float = 0.95, num_resamples: int = 4000
) -> Expected:
    """What a score on so many other houses is to be expected: errors of houses held out, with their luck and that.

    Both tables are resampled: the houses that made the estimate, and those that will be asked for. Folds are not
    counted as replicates; houses are.
    """
    estimate = float(np.sqrt(np.mean(errors**2)))
    own, other = (
        resampled_scores({"": errors}, num_resamples, draw=draw, size=size)[""] / estimate
        for draw, size in enumerate((len(errors), num_houses))
    )
    low, high = np.quantile(estimate * other / own, [(1 - ci_prob) / 2, (1 + ci_prob) / 2])
    return Expected(estimate, float(low), float(high))


def scoreboard(lab: Lab, houses: Houses, predictions: Mapping[str, np.ndarray]) -> Board:
    """The scores of all arms on the sealed prices. It is called once, after everything has been chosen."""
    board = data.score(houses.name, predictions, download=True)
    if board.name != houses.name:
        lab.use(board)
    return board


def board_rows(board: Board) -> list[dict[str, Any]]:
    """A row for each arm: its score with its interval over houses, and its median error."""
    return [
        {"arm": arm, "score": rounded(board.scores[arm]), "low": rounded(board.interval(arm)[0]),
         "high": rounded(board.interval(arm)[1]), "median": rounded(board.medians[arm]), "houses": board.num_houses}
        for arm in board.scores
    ]  # fmt: skip


def gap(observations: Observations, claim: str) -> dict[str, float]:
    """The row of a claim among the gaps of the scoreboard."""
    return next(row for row in observations.rows("gaps") if row["claim"] == claim)


def exchanged(row: Mapping[str, Any]) -> dict[str, float]:
    """The same two arms the wrong way round: what a reader who takes a high score for a good one would claim.

    Where the gap is undecided, it is as far on the wrong side as such an interval can tell.
    """
    low, high = -row["ci_high"], -row["ci_low"]
    down = max(0.0, high + 0.1 * (high - low))
    return {**row, "estimate": -row["estimate"] - down, "ci_low": low - down, "ci_high": high - down}


def scores_lower(row: Mapping[str, Any]) -> Finding:
    """Is the gap above 0, by its interval over houses? It is not where both arms are one model."""
    found = Gap(**{name: float(row[name]) for name in ("estimate", "ci_low", "ci_high", "ci_prob", "p")})
    is_none = found.ci_low == found.ci_high == 0  # an arm beside itself
    verdict = "holds" if found.ci_low > 0 else "fails" if found.ci_high < 0 or is_none else "undecided"
    return Finding(verdict, None, asdict(found), show.number_interval(found))


def brings_little(margin: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Does the second arm score lower by less than the margin, if at all, by the interval over houses?"""

    def check(row: Mapping[str, Any]) -> Finding:
        found = scores_lower(row)
        low, high = found.numbers["ci_low"], found.numbers["ci_high"]
        verdict = "holds" if high < margin else "fails" if low > margin else "undecided"
        return replace(found, verdict=verdict, numbers={**found.numbers, "margin": margin})

    return check


def scores_alike(margin: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Does the gap lie within the margin on both sides, by its interval over houses?"""

    def check(row: Mapping[str, Any]) -> Finding:
        found = scores_lower(row)
        low, high = found.numbers["ci_low"], found.numbers["ci_high"]
        verdict = (
            "holds"
            if -margin < low and high < margin
            else "fails"
            if low > margin or high < -margin
            else "undecided"
        )
        return replace(found, verdict=verdict, numbers={**found.numbers, "margin": margin})

    return check


@dataclass(frozen=True)
class Pair:
    """Two arms of the scoreboard, and what is asked of the gap between them.

    Arguments:
      ask: how the row of the gap is judged; `scores_lower`, `brings_little` and `scores_alike` make such checks.
      of_means: of the mean absolute errors, which a few houses do not rule, and not of the scores.
    """

    worse: str
    better: str
    ask: Callable[[Mapping[str, Any]], Finding] = scores_lower
    of_means: bool = False


def gap_rows(board: Board, pairs: Mapping[str, Pair], others: Sequence[float] = ()) -> list[dict[str, Any]]:
    """A row for each claim: how much lower the better arm scores, with the interval that decides, over houses.

    All are one family, as in `stats.one_family`: judged at alpha/m; if r are decided, at alpha/(m - r), until no
    more are.

    Arguments:
      others: p-values of what else is of the family; 1 for a difference that was looked at and left out.
    """
    step = len(pairs) + len(others)
    while True:
        rows = [_gap_row(board, claim, pair, 1 - ALPHA / step) for claim, pair in pairs.items()]
        verdicts = [pair.ask(row).verdict for row, pair in zip(rows, pairs.values(), strict=True)]
        undecided = verdicts.count("undecided") + sum(p >= ALPHA / step for p in others)
        if max(1, undecided) >= step:
            return rows
        step = max(1, undecided)


def _gap_row(board: Board, claim: str, pair: Pair, ci_prob: float) -> dict[str, Any]:
    gap = (board.mean_gap if pair.of_means else board.gap)(pair.worse, pair.better, ci_prob)
    row = {"claim": claim, "worse": pair.worse, "better": pair.better}
    return row | {name: rounded(value) for name, value in asdict(gap).items()}


def judged(name: str, pair: Pair, *, post_hoc: bool = False) -> Claim:
    """The claim that the second of a pair of arms is better, little better or alike, as the pair asks."""
    return Claim(
        name=name,
        kind="experiment",
        check=pair.ask,
        subject=lambda o: gap(o, name),
        falsehood=lambda o: exchanged(gap(o, name)) if pair.ask is scores_lower else too_large(gap(o, name)),
        figures={} if pair.ask is scores_lower else {"margin": ALIKE},
        post_hoc=post_hoc,
    )


def too_large(row: Mapping[str, Any]) -> dict[str, Any]:
    """The gap of an arm that brings what perceptrons bring over ridge regression, or what its interval can tell."""
    by = max(2.5 * ALIKE, ALIKE - row["ci_low"] + 0.1 * (row["ci_high"] - row["ci_low"]))
    return {**row, **{name: row[name] + by for name in ("estimate", "ci_low", "ci_high")}}


def scored_arms(observations: Observations) -> dict[str, dict[str, Any]]:
    """The rows of the scoreboard by arm."""
    return {row["arm"]: row for row in observations.rows("board")}


def sealed_cells(row: Mapping[str, Any]) -> list[str]:
    """Cells of a table: an arm's score with its interval over houses, and its median error."""
    return [f"{row['score']:.4f}\n[{row['low']:.4f}, {row['high']:.4f}]", f"{row['median']:.4f}"]


def log_rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    """The competition's score from log prices: the root of the mean squared difference."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def ridge(x: np.ndarray, y: np.ndarray) -> RidgeCV:
    """Ridge regression, its strength chosen by leave-one-out on these rows; scikit-learn's."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=ALPHAS).fit(x, y)


def predict(setting: Setting, parameters: Parameters, x: np.ndarray) -> np.ndarray:
    """The single output of a trained perceptron for rows of features, float64.

    Raises InvalidInput for a model that is more than its weights.
    """
    model = setting.model
    for name, kinds in (("normalization", model.normalization), ("activation", model.activation)):
        if (kind := kinds[0].kind) in ("batch", "prelu"):
            raise InvalidInput(
                f"--set {name}", "does not apply: predictions are made from weights alone", kind
            )
    functions = [activation_function(kind) for kind in model.activations]
    out = torch.from_numpy(np.ascontiguousarray(x, np.float64))
    for layer, (weight, bias) in enumerate(parameters):
        out = out @ torch.from_numpy(weight.astype(np.float64)).T + torch.from_numpy(bias.astype(np.float64))
        if layer < len(functions):
            out = functions[layer](out)
    return out.numpy()[:, 0]


def score(values: np.ndarray) -> Interval:
    """The mean of a score over folds of one table, with the interval that knows that they share rows."""
    return resampled_interval(values, test_train_ratio=RATIO)


def fold_plot(runs: Results, arms: Mapping[str, str], words: WordList, *, title: str) -> altair.LayerChart:
    """Log-RMSE, a row for each arm: every fold as a grey dot, the mean with its corrected interval in blue."""
    alt = import_extra("altair", what="A figure", extra="book")
    names = arms
    held = {arm: runs.values("log_rmse", arm) for arm in arms}
    points = [{"arm": names[arm], "value": float(v)} for arm, values in held.items() for v in values]
    means = []
    for arm, values in held.items():
        found = score(values)
        means.append({"arm": names[arm], "mean": found.estimate, "low": found.ci_low, "high": found.ci_high})
    axis = alt.Axis(labelLimit=320, ticks=False, domain=False, labelPadding=8)
    y = alt.Y("arm:N", sort=list(names.values()), title=None, axis=axis)
    value = words["labels.held-out-score"]
    x = alt.X("value:Q", title=value, scale=alt.Scale(zero=False), axis=alt.Axis(gridColor="#ededed"))
    number = [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("mean", "low", "high")]
    dots = alt.Chart(pd.DataFrame(points)).mark_point(color=plots.GREY, opacity=0.5, size=22)
    base = alt.Chart(pd.DataFrame(means).astype({"low": float, "high": float}))
    lines = base.mark_rule(color=plots.PALETTE[0], strokeWidth=2.5).encode(x="low:Q", x2="high:Q", y=y)
    middle = base.mark_point(color=plots.PALETTE[0], filled=True, opacity=1, size=70)
    count = len(next(iter(held.values())))
    note = words("labels.folds-note", count=count)
    chart = alt.layer(
        dots.encode(x=x, y=y),
        lines.transform_filter("isValid(datum.low)"),
        middle.encode(x="mean:Q", y=y, tooltip=["arm:N", *number]),
    )
    head = alt.TitleParams(title, subtitle=note, anchor="start", subtitleFontSize=11, fontSize=14)
    return chart.properties(width=360, height=alt.Step(38), title=head)


def fold_differences(
    found: Mapping[str, Comparison],
    labels: Mapping[str, str],
    words: WordList,
    *,
    title: str,
    value: str,
) -> altair.LayerChart:
    """Differences over folds of one table; the note says that the interval is the corrected one."""
    chart = plots.difference_plot(
        found,
        value_title=value,
        labels=labels,
        notes=words.notes,
        width=360,
    )
    shown = next(iter(found.values()))
    level = f"{100 * shown.ci_prob:.3g}%"
    note = words("labels.differences-note", level=level, shown=shown.num_replicates)
    alt = import_extra("altair", what="A figure", extra="book")
    return chart.properties(title=alt.TitleParams(title, subtitle=note, anchor="start", subtitleFontSize=11))
