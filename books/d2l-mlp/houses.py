"""The tables of section 4.10: houses in folds, each encoded by its own training rows, and the competition's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch

from mlplab import data
from mlplab.answers import Lab, WordList
from mlplab.charts import plots
from mlplab.data import Dataset, Part
from mlplab.data.table import Columns, encoder
from mlplab.engine.activations import activation_function
from mlplab.errors import InvalidInput, import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import MLP, Initialization, Setting
from mlplab.stats import Comparison, Interval, resampled_interval
from mlplab.study import Results
from mlplab.study.row import Parameters

if TYPE_CHECKING:
    import altair
    from sklearn.linear_model import RidgeCV

Target = Literal["log", "price", "scaled price"]

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
        if target == "price":
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
            title=data.info(self.name).title,
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
        return log_prices if target == "log" else np.exp(log_prices)

    def _part(self, x: np.ndarray, log_prices: np.ndarray, target: Target) -> Part:
        mean, std = self.scale(target)
        values = (self._target(log_prices, target) - mean) / std
        return Part(np.ascontiguousarray(x, np.float32), values.astype(np.float32)[:, None])


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
    value = words["labels.log-rmse-on-held-out"]
    x = alt.X("value:Q", title=value, scale=alt.Scale(zero=False), axis=alt.Axis(gridColor="#ededed"))
    number = [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("mean", "low", "high")]
    dots = alt.Chart(pd.DataFrame(points)).mark_point(color=plots.GREY, opacity=0.5, size=22)
    base = alt.Chart(pd.DataFrame(means).astype({"low": float, "high": float}))
    lines = base.mark_rule(color=plots.PALETTE[0], strokeWidth=2.5).encode(x="low:Q", x2="high:Q", y=y)
    middle = base.mark_point(color=plots.PALETTE[0], filled=True, opacity=1, size=70)
    count = len(next(iter(held.values())))
    note = words("labels.grey-each-held-out-part", count=count)
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
    note = words("labels.mean-difference-over-held-out", level=level, shown=shown.num_replicates)
    alt = import_extra("altair", what="A figure", extra="book")
    return chart.properties(title=alt.TitleParams(title, subtitle=note, anchor="start", subtitleFontSize=11))
