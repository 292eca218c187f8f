"""What is trained: four cases, their runs, their examples, and what the engine is to reach."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mlplab import data, engine
from mlplab.answers import ours
from mlplab.data import Dataset, Part
from mlplab.knobs import turn
from mlplab.spec import MLP, Run, Setting

chapter = ours().module("chapter")

NUM_IMAGES = 60_000
# Runs of one seed share their batches, as the arms of a study do. `--arms 1` gives every run a seed of its own.
ARMS = 4

_WEIGHT_DECAYS = (0.0, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Targets:
    """What the engine is to reach: ratios of times, and shares of the rates of the bare products and the roofline."""

    loop: float
    book: float | None = None
    products: float | None = None
    vmap: float = 2.0
    few: float = 1.0
    roofline: float = 0.5
    gpu_book: float = 3_000


@dataclass(frozen=True)
class Case:
    """A setting and how many models of it are trained.

    Arguments:
      models: trained together in the main measurement.
      epochs: of the two calls whose difference is the engine's time; the second grows where that is too short to tell.
      arms: runs that share a seed; they differ in learning rate (images, digits) or weight decay (linear).
      num_images: training examples where they are synthetic images.
    """

    letter: str
    title: str
    setting: Setting
    models: int
    epochs: tuple[int, int]
    targets: Targets
    arms: int = ARMS
    num_images: int = NUM_IMAGES

    @property
    def is_images(self) -> bool:
        return self.letter in "ab"

    @property
    def precision(self) -> str:
        return "bfloat16" if self.letter == "b" else "float32"

    def problem(self, seed: int = 0) -> Dataset:
        """The examples of a seed."""
        if self.is_images:
            return images(self.num_images)
        return _digits() if self.letter == "c" else _linear(seed)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Features, hidden units of each layer, outputs."""
        problem = self.problem()
        return problem.in_features, *self.setting.model.hidden_sizes, problem.out_features

    @property
    def batch_size(self) -> int:
        """Examples of an update."""
        assert self.setting.training.batch_size is not None
        return self.setting.training.batch_size

    @property
    def num_steps(self) -> float:
        """Updates of an epoch; the last, smaller one counts as a part."""
        return self.problem().train.num_examples / self.batch_size

    def runs(self, models: int, epochs: int) -> tuple[list[Run], dict[str, Dataset]]:
        """That many runs, and their data sets. Raises InvalidInput where this version has no such precision."""
        settings = self._arms(epochs)
        seeds = -(-models // len(settings))
        problems = [self.problem(seed) for seed in range(seeds)]
        pairs = itertools.islice(itertools.product(range(seeds), settings), models)
        runs = [Run(setting, problems[seed].fingerprint, seed) for seed, setting in pairs]
        return runs, {problem.fingerprint: problem for problem in problems}

    def _arms(self, epochs: int) -> list[Setting]:
        # One evaluation, at the end: both calls do it, so it falls out of their difference.
        setting = turn(self.setting, epochs=epochs, evaluate_every=epochs, precision=self.precision)
        if self.letter == "d":
            return [turn(setting, weight_decay=decay) for decay in _WEIGHT_DECAYS[: self.arms]]
        rate = setting.optimizer.learning_rate
        return [turn(setting, learning_rate=rate * (1 - arm / (2 * self.arms))) for arm in range(self.arms)]


CASES: Mapping[str, Case] = {
    case.letter: case
    for case in (
        Case(
            "a",
            "784-256-256-10, dropout, 60,000 images, float32",
            chapter.DROPOUT_SETTING,
            models=8,
            epochs=(1, 2),
            targets=Targets(loop=1.6, book=10, products=0.6),
        ),
        Case(
            "b",
            "the same in mixed bfloat16",
            chapter.DROPOUT_SETTING,
            models=8,
            epochs=(1, 2),
            targets=Targets(loop=5, book=35, products=0.4),
        ),
        Case(
            "c",
            "64-100-10, batch 64, digits",
            turn(Setting(MLP(hidden_sizes=(100,))), batch_size=64),
            models=256,
            epochs=(1, 6),
            targets=Targets(loop=40),
        ),
        Case(
            "d",
            "linear 200-1, batch 5, 20 examples",
            turn(chapter.LINEAR_SETTING, weight_decay=3.0),
            models=1_000,
            epochs=(10, 60),
            targets=Targets(loop=300),
            arms=len(_WEIGHT_DECAYS),
        ),
    )
}


def train(
    runs: Sequence[Run], problems: Mapping[str, Dataset], device: str, memory: int | None
) -> Iterator[object]:
    """The engine, as a program would call it."""
    return engine.train(runs, problems, device=device, memory=memory)


@cache
def images(num_train: int) -> Dataset:
    """Synthetic 28x28 grey images of ten classes: a prototype each, whose brightness varies, with noise; half are 0."""
    generator = np.random.default_rng(0)
    prototypes = generator.uniform(0, 255, (10, 784)) * (generator.random((10, 784)) < 0.5)

    def part(num_examples: int) -> Part:
        labels = generator.integers(0, 10, num_examples)
        features = np.empty((num_examples, 784), np.float32)
        for rows in np.array_split(
            np.arange(num_examples), -(-num_examples // 4096)
        ):  # in pieces: float64 is large
            brightness = generator.uniform(0.3, 1.0, (len(rows), 1))
            noise = generator.normal(0, 40, (len(rows), 784))
            levels = np.rint(np.clip(prototypes[labels[rows]] * brightness + noise, 0, 255))
            features[rows] = levels.astype(np.float32) / np.float32(255)
        return Part(features, labels)

    return Dataset(
        name="synthetic-images",
        title="Synthetic grey images for timing",
        task="classification",
        train=part(num_train),
        validation=part(16),
        test=None,
        out_features=10,
        feature_shape=(28, 28),
    )


@cache
def _digits() -> Dataset:
    return data.load("digits")


@cache
def _linear(seed: int) -> Dataset:
    return data.load("linear-high-dim", draw=seed)
