"""Real data whose inputs shift by a known ratio: whether a row is kept hangs on one number of its inputs alone.

A row at z, standardised, is a candidate of the source or of the target. It is kept for the source with probability
1/(1 + exp(sz)), for the target with 1/(1 + exp(-sz)), where s is the strength. So the ratio of their densities is
exp(sz) up to a factor, and p(y | x) is the same in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingRegressor

from mlplab.data import Dataset, Part
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import Correction, corrected

# How labelled rows are weighed: `true` ratios; `estimated` by a classifier that can express them; `blind`, by one that
# does not see what has shifted; `clipped`, true ones cut at CAP times their mean. `target` trains on labelled rows of
# the target instead.
Method = Literal["none", "true", "estimated", "blind", "clipped", "target"]

CAP = 2.0


@dataclass(frozen=True, eq=False)
class Draw:
    """Rows of one draw, by their places in the data.

    Arguments:
      source: labelled rows.
      target: rows of the target; only the method `target` sees their labels.
      judges: other rows, on which the risk on the target is measured.
      chances: of each judge, to be a row of the target: what it counts.
      ratios: p(target)/p(source) of each source row, up to a factor.
    """

    source: np.ndarray
    target: np.ndarray
    judges: np.ndarray
    chances: np.ndarray
    ratios: np.ndarray

    def risk(self, losses: np.ndarray) -> float:
        """The mean loss on the target, by the losses of the judges."""
        return float(self.chances @ losses / self.chances.sum())

    def weights(self, method: Method) -> Correction:
        """Of the source rows, where they are known: none, true or clipped."""
        if method == "none":
            return corrected(np.ones(len(self.source)), method)
        assert method in ("true", "clipped")
        return corrected(self.ratios, method, clip=CAP if method == "clipped" else None)


def draw(z: np.ndarray, strength: float, seed: int, most: int | None = None) -> Draw:
    """Half of the rows are candidates of the source, a quarter of the target; the last quarter judges.

    Arguments:
      z: a number for each row, standardised, float64.
      most: source rows and target rows that are kept at most; None for all.
    """
    order = Stream(seed, "split").permutation(len(z))
    half, quarter = len(z) // 2, len(z) // 4
    parts = order[:half], order[half : half + quarter], order[half + quarter :]
    chances = expit(-strength * z), expit(strength * z)
    source, target = (
        rows[Stream(seed, "split", layer=1 + place).uniform(len(rows)) < chances[place][rows]][:most]
        for place, rows in enumerate(parts[:2])
    )
    return Draw(source, target, parts[2], chances[1][parts[2]], np.exp(strength * z[source]))


def standardised(values: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """In standard deviations about the mean, those of `like` where it is given."""
    like = values if like is None else like
    return (values - like.mean()) / like.std()


# Houses

# A model predicts log prices of rows from rows with log prices and weights.
Predict = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
AREA, YEAR = 0, 1  # places of the columns


@dataclass(frozen=True, eq=False)
class ShiftedHouses:
    """Houses of which the source has older ones, the target newer ones.

    Arguments:
      table: labelled houses.
      strength: of the shift in the year in which a house was built.
    """

    table: pd.DataFrame
    strength: float = 1.5
    methods: tuple[Method, ...] = ("none", "true", "estimated", "blind", "clipped", "target")

    @cached_property
    def x(self) -> np.ndarray:
        """Logarithms of living area, basement and garage; year and quality."""
        area, year, basement, garage, quality = (
            self.table[name].fillna(0.0).to_numpy(dtype=np.float64)
            for name in ("GrLivArea", "YearBuilt", "TotalBsmtSF", "GarageArea", "OverallQual")
        )
        return np.column_stack([np.log1p(area), year, np.log1p(basement), np.log1p(garage), quality])

    @cached_property
    def y(self) -> np.ndarray:
        """Log prices."""
        return np.log(self.table["SalePrice"].to_numpy(dtype=np.float64))

    def draw(self, seed: int) -> Draw:
        """Source, target and judges of a seed."""
        return draw(standardised(self.x[:, YEAR]), self.strength, seed)

    def risks(self, seed: int) -> list[dict[str, object]]:
        """The mean squared error of log prices on the target: a row for each model and method."""
        one = self.draw(seed)
        held: dict[str, Correction] = {}
        for method in self.methods:
            if method in ("estimated", "blind"):
                # Through quality and garage a classifier sees something of the year all the same.
                seen = np.delete(self.x, YEAR, axis=1) if method == "blind" else self.x
                classifier = ClassifierWeights("logistic", random_state=seed)
                held[method] = classifier.fit(seen[one.source], seen[one.target]).correction_
            elif method != "target":
                held[method] = one.weights(method)
        rows = []
        for model, predict in HOUSE_MODELS.items():
            for method in self.methods:
                places = one.target if method == "target" else one.source
                weights = held[method].weights if method in held else np.ones(len(places))
                predicted = predict(self.x[places], self.y[places], weights, self.x[one.judges])
                risk = one.risk((predicted - self.y[one.judges]) ** 2)
                worth = held[method].effective_sample_size if method in held else float(len(places))
                row: dict[str, object] = {"model": model, "method": method, "seed": seed}
                rows.append(row | {"risk": risk, "worth": worth, "rows": len(places)})
        return rows


def by_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Weighted least squares on the living area alone: for newer houses, which cost more, it is wrong."""
    return by_plane(x[:, [AREA]], y, weights, asked[:, [AREA]])


def by_plane(x: np.ndarray, y: np.ndarray, weights: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Weighted least squares on all columns."""
    mean, std = x.mean(axis=0), x.std(axis=0)

    def terms(rows: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones(len(rows)), (rows - mean) / std])

    root = np.sqrt(weights)
    found = np.linalg.lstsq(terms(x) * root[:, None], y * root, rcond=None)[0]
    return terms(asked) @ found


def by_trees(x: np.ndarray, y: np.ndarray, weights: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Boosted trees on all columns."""
    model = HistGradientBoostingRegressor(
        max_iter=100, learning_rate=0.08, min_samples_leaf=8, random_state=0
    )
    return model.fit(x, y, sample_weight=weights).predict(asked)


HOUSE_MODELS: dict[str, Predict] = {"line": by_line, "plane": by_plane, "trees": by_trees}


# Images


@dataclass(frozen=True, eq=False)
class ShiftedImages:
    """Images of which the source has more dark ones, the target more bright ones.

    Arguments:
      dataset: classes of images; its test part, kept as the target keeps images, judges.
      most: labelled images of the source, and as many of the target at most.
      strength: of the shift in the mean of an image's pixels.
    """

    dataset: Dataset
    most: int
    strength: float = 1.0
    _estimated: dict[int, Correction] = field(default_factory=dict)

    @cached_property
    def ink(self) -> np.ndarray:
        """The mean pixel of each training image."""
        return self.dataset.train.features.mean(axis=1, dtype=np.float64)

    @cached_property
    def test(self) -> Part:
        """Test images of the target, the same for every seed."""
        part = self.dataset.test
        assert part is not None
        z = standardised(part.features.mean(axis=1, dtype=np.float64), self.ink)
        kept = Stream(0, "split", layer=4).uniform(len(z)) < expit(self.strength * z)
        return Part(part.features[kept], part.targets[kept])

    def draw(self, seed: int) -> Draw:
        """Source and target of a seed."""
        return draw(standardised(self.ink), self.strength, seed, self.most)

    def estimated(self, seed: int) -> Correction:
        """Weights by a logistic classifier of all pixels: the true log ratio is linear in them."""
        if seed not in self._estimated:
            features, one = self.dataset.train.features.astype(np.float64), self.draw(seed)
            classifier = ClassifierWeights("logistic", folds=3, random_state=seed)
            self._estimated[seed] = classifier.fit(features[one.source], features[one.target]).correction_
        return self._estimated[seed]

    def weights(self, method: Method, seed: int) -> Correction:
        """Of the source images."""
        return self.estimated(seed) if method == "estimated" else self.draw(seed).weights(method)

    def problem(self, method: Method) -> Callable[[int], Dataset]:
        """The data of a seed for training with these weights."""

        def of_seed(seed: int) -> Dataset:
            one = self.draw(seed)
            if method == "target":
                return self._with(one.target, None)
            return self._with(one.source, None if method == "none" else self.weights(method, seed).weights)

        return of_seed

    def unscaled(self, factor: float, *, weighted: bool) -> Callable[[int], Dataset]:
        """Each loss counts `factor` times; weighted, by min(ratio, 1) too, which is not scaled to mean 1."""

        def of_seed(seed: int) -> Dataset:
            one = self.draw(seed)
            weights = np.full(len(one.source), factor)
            if weighted:
                weights *= np.minimum(one.ratios / one.ratios.mean(), 1.0)
            return self._with(one.source, weights)

        return of_seed

    def _with(self, places: np.ndarray, weights: np.ndarray | None) -> Dataset:
        part = self.dataset.train
        kept = None if weights is None else weights.astype(np.float32)
        train = Part(part.features[places], part.targets[places], kept)
        return dataclasses.replace(
            self.dataset, train=train, validation=self.test, test=self.test, fingerprint=""
        )
