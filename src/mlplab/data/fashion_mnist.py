"""Fashion-MNIST: 70,000 grey images of clothes, 28x28, in ten classes; the chapter's data set."""

from __future__ import annotations

import numpy as np

from mlplab.data.dataset import Dataset, Part
from mlplab.data.download import RemoteFile
from mlplab.data.idx import Shape, read_idx
from mlplab.data.location import Place
from mlplab.data.split import stratified_split
from mlplab.errors import DataError

NAME = "fashion-mnist"
TITLE = "Fashion-MNIST: clothes, 28x28 grey"
LICENCE = "MIT, Zalando SE"
CITATION = "Xiao, Rasul and Vollgraf 2017, Fashion-MNIST: a novel image dataset (arXiv:1708.07747)"
CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

BASE_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
INSTEAD = (
    "Set MLPLAB_DATA to a folder that holds fashion-mnist/ with its four .gz files, "
    "or take --data mnist-5k, which needs no download."
)
FILES = (
    RemoteFile("train-images-idx3-ubyte.gz", "md5", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
    RemoteFile("train-labels-idx1-ubyte.gz", "md5", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
    RemoteFile("t10k-images-idx3-ubyte.gz", "md5", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
    RemoteFile("t10k-labels-idx1-ubyte.gz", "md5", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
)

# Train and validation come out of one pair of files, test out of the other.
SIZES = (50_000, 10_000, 10_000)

_DETAILS = (
    "The official training images are split into train and validation, each with its share of every class, "
    "in a fixed random order; test is the official test set. Pixels are scaled to 0..1."
)


def load(place: Place, sizes: tuple[int, int, int] = SIZES) -> Dataset:
    """Read, check and split the four files at `place`.

    Arguments:
      sizes: of train, validation and test; other sizes than the published ones serve to try the checks on
      small files.

    Raises DataError, naming the file and what to do, where one is damaged, swapped with another or
    mislabelled.
    """
    shapes = file_shapes(sizes)
    train_images, train_labels, test_images, test_labels = (
        read_idx(place.folder / name, shapes) for name in shapes
    )
    for labels, file in ((train_labels, FILES[1]), (test_labels, FILES[3])):
        _check_classes(labels, f"{place.folder / file.name}")
    _check_labels_belong(train_images, train_labels, test_images, test_labels, place)

    train, validation = stratified_split(train_labels, sizes[:2])
    return Dataset(
        name=NAME,
        title=TITLE,
        task="classification",
        train=_part(train_images[train], train_labels[train]),
        validation=_part(train_images[validation], train_labels[validation]),
        test=_part(test_images, test_labels),
        out_features=len(CLASS_NAMES),
        feature_shape=(28, 28),
        class_names=CLASS_NAMES,
        source=str(place),
        details=_DETAILS,
        licence=LICENCE,
        citation=CITATION,
    )


def file_shapes(sizes: tuple[int, int, int] = SIZES) -> dict[str, Shape]:
    """The shape that each file must have, by its name, in the order of `FILES`."""
    num_train, num_test = sizes[0] + sizes[1], sizes[2]
    shapes = [(num_train, 28, 28), (num_train,), (num_test, 28, 28), (num_test,)]
    return {file.name: shape for file, shape in zip(FILES, shapes, strict=True)}


def _part(images: np.ndarray, labels: np.ndarray) -> Part:
    features = images.reshape(len(images), -1).astype(np.float32)
    features /= np.float32(255)
    return Part(features, labels.astype(np.int64))


def _check_classes(labels: np.ndarray, file: str) -> None:
    if labels.max() >= len(CLASS_NAMES):
        row = int(np.argmax(labels >= len(CLASS_NAMES)))
        raise DataError(f"{file}, row {row}: label {labels[row]} is not one of 0 to 9. Get it again.")
    # Every class is equally frequent as published. So one altered label shows, and so do the files of MNIST,
    # which have the same names and shapes.
    counts = np.bincount(labels, minlength=len(CLASS_NAMES))
    share = len(labels) // len(CLASS_NAMES)
    if (counts != share).any():
        odd = int(np.argmax(counts != share))
        raise DataError(
            f"{file} has {counts[odd]:,} labels of class {odd}; Fashion-MNIST has {share:,}. "
            "Labels were altered, or belong to another data set: get it again."
        )


def _check_labels_belong(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    place: Place,
) -> None:
    """Whether labels say anything about images: each file may be sound, and the four not belong together.

    The nearest class mean is right for about 67% of the images, and for 10% once a file of labels or images
    comes
    from elsewhere or is in another order.
    """
    seen, labels = _part(train_images[:6000], train_labels[:6000]).features, train_labels[:6000]
    asked, truth = _part(test_images[:2000], test_labels[:2000]).features, test_labels[:2000]
    means = np.stack([seen[labels == k].mean(axis=0) for k in np.unique(labels)])
    # |x - m|^2 without |x|^2, which is the same for every class.
    nearest = np.argmin((means**2).sum(axis=1) - 2 * asked @ means.T, axis=1)
    accuracy = float(np.mean(np.unique(labels)[nearest] == truth))
    if accuracy < 0.4:
        raise DataError(
            f"{place}: the labels do not belong to the images: the nearest class mean is right for "
            f"{accuracy:.0%} of them, where 67% is usual. Get all four files again."
        )
