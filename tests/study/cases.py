"""A small study, and a trainer that takes no time: what it yields depends on the run alone, as the engine's does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mlplab.data import Dataset, Part
from mlplab.engine import Epoch, Result
from mlplab.rng import Stream
from mlplab.spec import MLP, Run, Setting, Training
from mlplab.study import Arm, Study, factorial

BASE = Setting(model=MLP((4,)), training=Training(epochs=2, batch_size=16))


def dataset(draw: int = 0) -> Dataset:
    """Three classes of points in the plane."""

    def part(index: int, size: int) -> Part:
        x = Stream(draw, "data", layer=1, step=index).normal((size, 2)).astype(np.float32)
        return Part(x, (x.sum(1) > 0).astype(np.int64) + (x[:, 0] > 1))

    return Dataset("points", "Points", "classification", part(0, 40), part(1, 20), part(2, 20), 3, (2,))


def small_study(seeds: int | Sequence[int] = 3, widths: Sequence[int] = (4, 5, 6, 7)) -> Study:
    """Each width is a chunk of its own, as tensors of different shapes are not stacked."""
    return Study(factorial(BASE, hidden_sizes=[(width,) for width in widths]), seeds, dataset())


def made_up(run: Run) -> Result:
    """A result that is this run's and no other's."""
    draws = np.random.Generator(np.random.Philox(key=int(run.digest[:15], 16)))
    names = (
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "test_loss",
        "test_accuracy",
    )
    curve = [1.0, 2.0]
    return Result(
        run,
        "finished",
        None,
        dict(zip(names, draws.random(6).tolist(), strict=True)),
        {"running_loss": draws.random(2).tolist(), "evaluated_epoch": curve, "validation_loss": curve[::-1]},
        ((draws.random((3, 2), dtype=np.float32), np.zeros(3, np.float32)),),
        seconds=0.25,
    )


def diverged(run: Run) -> Result:
    """A run whose third update was no number."""
    return Result(run, "diverged", 2, {}, {"running_loss": [3.0]}, (), seconds=0.25)


class Trainer:
    """Trains in no time and remembers what. `before` is called with each run and may raise."""

    def __init__(self, before: Callable[[Run], None] = lambda run: None) -> None:
        self.trained: list[Run] = []
        self.calls: list[list[Run]] = []
        self.before = before

    def __call__(self, runs: Sequence[Run], data: Mapping[str, Dataset]) -> Iterator[Epoch | Result]:
        self.calls.append(list(runs))
        for run in runs:
            self.before(run)
            yield from (Epoch((run,), number) for number in (1, 2))
            self.trained.append(run)
            yield made_up(run)


def arms(*names: str) -> tuple[Arm, ...]:
    """Arms that differ in width only, for tests that care about names."""
    return tuple(Arm(name, BASE.replace(model=MLP((4 + i,)))) for i, name in enumerate(names))


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
