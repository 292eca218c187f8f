"""The models that the chapter's sections train, as settings."""

from __future__ import annotations

from collections.abc import Mapping

from mlplab.data import Dataset
from mlplab.knobs import turn, value_of, written
from mlplab.spec import MLP, Initialization, Setting

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
    return turn(setting, epochs=20, evaluate_every=20, batch_size=64) if dataset == "digits" else setting


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
    return setting if dataset.train.num_examples >= 20_000 else turn(setting, batch_size=32, epochs=6)
