"""The models that the chapter's sections train, as settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from mlplab import engine
from mlplab.answers import Lab
from mlplab.data import Dataset, Part
from mlplab.errors import InvalidInput
from mlplab.knobs import turn, value_of, written
from mlplab.rng import Stream
from mlplab.spec import MLP, Initialization, Run, Setting
from mlplab.study import Study

_Seen = TypeVar("_Seen")

# Sections 4.2 and 4.3: 784-256-10, learning rate 0.1, batches of 256, 10 epochs.
MLP_SETTING = Setting()

# Section 4.6: 784-256-256-10 with dropout 0.2 after the first hidden layer and 0.5 after the second, rate 0.5.
DROPOUT_SETTING = turn(Setting(MLP(hidden_sizes=(256, 256))), dropout=(0.2, 0.5), learning_rate=0.5)

# Seeds that choose a strength are not those that are compared.
FIRST_TUNING_SEED = 10_000


def dropout_comparison(dataset: str) -> Setting:
    """Section 4.6's network for comparing remedies: no dropout, 15 epochs, a rate that falls to 0 along a cosine.

    At the section's constant rate the accuracy after the last epoch jumps by points from seed to seed. Answers that
    compare the same arms share their runs by sharing this. `digits` is a fiftieth of the images: smaller batches.
    """
    setting = turn(DROPOUT_SETTING, dropout=(0.0,), schedule="cosine", epochs=15, evaluate_every=15)
    return turn(setting, epochs=10, evaluate_every=10, batch_size=64) if dataset == "digits" else setting


def section_setting(dataset: Dataset) -> Setting:
    """Section 4.6's own training, at its constant rate."""
    # On a tenth of the images 10 epochs are a tenth of the updates: too few to get away from N(0, 0.01²).
    return turn(DROPOUT_SETTING, epochs=20) if _is_small(dataset) else DROPOUT_SETTING


def read_quietly(setting: Setting) -> Setting:
    """The same training with a rate that falls to 0 along a cosine, of whole batches alone: where it ends is a quiet
    reading, while the last step of a constant rate, after a smaller batch, is a matter of luck."""
    return turn(setting, schedule="cosine", drop_last=True)


def read_at_the_end(setting: Setting) -> Setting:
    """The quiet reading once, after the last epoch, with which test images the run gets right: answers that share
    a setting share its runs."""
    return turn(read_quietly(setting), evaluate_every=setting.training.epochs, probes=("test_hits",))


def nudged(setting: Setting) -> Setting | None:
    """The same training from first weights that are a millionth larger, so that what it moves is chance; None where
    their size is not one number."""
    first, *others = setting.model.initialization
    options = dict(first.options)
    name = next((name for name in ("std", "gain") if name in options), None)
    if others or name is None:
        return None
    options[name] *= 1 + 1e-6
    return turn(setting, initialization=(Initialization(first.kind, **options),))


def with_weights(
    lab: Lab, study: Study, look: Callable[[engine.Result], _Seen]
) -> dict[tuple[str, int], _Seen]:
    """What `look` sees of each run that finished, by arm and seed, while its weights are at hand: those of the
    chapter's networks are too many for the store.

    A run that the store holds already is trained once more for its weights.
    """
    seen: dict[Run, _Seen] = {}

    def train(
        runs: Sequence[Run], data: Mapping[str, Dataset]
    ) -> Iterator[engine.Epoch | engine.Result | engine.Retry]:
        for record in engine.train(runs, data):
            if isinstance(record, engine.Result) and record.status == "finished":
                seen[record.run] = look(record)
            yield record

    finished = lab.run(study, train=train).frame
    finished = finished[finished["status"] == "finished"]
    asked = set(zip(finished["arm"], finished["seed"], strict=True))
    runs = {(study.arm_of(run).name, run.seed): run for run in study.runs}
    for _ in train([run for key, run in runs.items() if key in asked and run not in seen], study.datasets):
        pass
    return {key: seen[run] for key, run in runs.items() if run in seen}


def few_images(dataset: Dataset, *, num_validation: int = 2_000) -> Callable[[int], Dataset]:
    """Section 4.6's network has something to regularise where images are few: a problem for each seed.

    1,000 training images (300 of a small data set) are drawn anew by the seed, and others to choose strengths on.
    Whatever the seed, the test part is the same: all images that were never drawn from.

    Arguments:
      num_validation: images to choose on; 400 of a small data set, whatever is asked for.

    Raises InvalidInput for data of another task.
    """
    test = dataset.test
    if test is None or dataset.task != "classification":
        raise InvalidInput("--data", "must be examples of classes, with some to test on", dataset.name)
    held = Part(
        np.concatenate([dataset.validation.features, test.features]),
        np.concatenate([dataset.validation.targets, test.targets]),
    )
    num, num_choosing = (300, 400) if _is_small(dataset) else (1_000, num_validation)

    def problem(seed: int) -> Dataset:
        order = Stream(seed, "split").permutation(dataset.train.num_examples)
        train, validation = (
            Part(dataset.train.features[rows], dataset.train.targets[rows])
            for rows in (order[:num], order[num : num + num_choosing])
        )
        return dataclasses.replace(dataset, train=train, validation=validation, test=held, fingerprint="")

    return problem


def few_images_setting(dataset: Dataset, *, epochs: int) -> Setting:
    """Section 4.6's network on `few_images` without a remedy: 20 updates an epoch, a rate that falls to 0 along a
    cosine, so that the last weights are a quiet reading."""
    return turn(
        DROPOUT_SETTING,
        dropout=(0.0,),
        schedule="cosine",
        epochs=epochs,
        evaluate_every=epochs,
        batch_size=15 if _is_small(dataset) else 50,
    )


def _is_small(dataset: Dataset) -> bool:
    return dataset.train.num_examples < 20_000


def departures(section: Setting, shared: Mapping[str, str]) -> str:
    """The knobs at which a study's arms all stand elsewhere than a section's setting, as `batch_size 32, momentum 0.9`.

    Arguments:
      shared: the knobs that all arms share, as `Observations.settings` keeps them.
    """
    own = {name: written(value_of(section, name)) for name in shared}
    # `noise` says all that `dropout` does, whatever the number of layers.
    names = [
        name for name in shared if own[name] != shared[name] and not (name == "dropout" and "noise" in shared)
    ]
    return ", ".join(f"{name} {shared[name]}" for name in names)


# Section 4.5: a linear model on 20 examples, weights from N(0, 1), learning rate 0.003, batches of 5, 100 epochs.
LINEAR_SETTING = turn(
    Setting(MLP(hidden_sizes=(), initialization=(Initialization("normal", std=1.0),))),
    loss="squared_error",
    learning_rate=0.003,
    batch_size=5,
    epochs=100,
    evaluate_every=100,
)


def scaled(setting: Setting, dataset: Dataset) -> Setting:
    """`setting` for the size of a data set. On a tenth of the images an epoch of the same batches is a tenth of the
    updates, too few to get away from N(0, 0.01²): where there are few examples, batches are small."""
    return turn(setting, batch_size=32, epochs=6) if _is_small(dataset) else setting
