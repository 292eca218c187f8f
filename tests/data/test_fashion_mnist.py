from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlplab import data
from mlplab.data import fashion_mnist
from mlplab.data.dataset import Dataset
from mlplab.data.location import Place, find_local
from mlplab.errors import DataError

if TYPE_CHECKING:
    from conftest import SmallFashion

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (file.name for file in fashion_mnist.FILES)


def read(small: SmallFashion) -> Dataset:
    return fashion_mnist.load(Place(small.folder, is_cache=False), small.sizes)


def refusal(small: SmallFashion) -> str:
    with pytest.raises(DataError) as error:
        read(small)
    assert "\n" not in str(error.value)
    assert str(small.folder) in str(error.value)
    return str(error.value)


def test_pixels_keep_their_value_and_their_label(small_fashion: SmallFashion) -> None:
    loaded = read(small_fashion)
    images = small_fashion.arrays[TEST_IMAGES].reshape(200, 784)
    assert np.abs(loaded.test.features * 255 - images).max() < 1e-4  # float32 rounding of 255
    assert (loaded.test.targets == small_fashion.arrays[TEST_LABELS]).all()

    # Every official training image is in train or validation, once, with its own label.
    drawn = np.concatenate([loaded.train.features, loaded.validation.features])
    labels = np.concatenate([loaded.train.targets, loaded.validation.targets])
    official = small_fashion.arrays[TRAIN_IMAGES].reshape(500, 784)
    found = {
        image.tobytes(): label
        for image, label in zip(np.rint(drawn * 255).astype(np.uint8), labels, strict=True)
    }
    wanted = zip(official, small_fashion.arrays[TRAIN_LABELS], strict=True)
    assert len(found) == 500
    assert all(found[image.tobytes()] == label for image, label in wanted)


def test_train_and_validation_are_balanced(small_fashion: SmallFashion) -> None:
    loaded = read(small_fashion)
    assert (np.bincount(loaded.train.targets) == 40).all()
    assert (np.bincount(loaded.validation.targets) == 10).all()


def test_packing_alone_does_not_change_the_fingerprint(small_fashion: SmallFashion) -> None:
    before = read(small_fashion).fingerprint
    assert before.startswith("fashion-mnist:400/100/200:")
    path = small_fashion.folder / TRAIN_IMAGES
    packed = path.read_bytes()
    path.write_bytes(packed[:4] + b"\x01\x02\x03\x04" + packed[8:])  # gzip's time of day
    assert read(small_fashion).fingerprint == before
    altered = small_fashion.arrays[TRAIN_IMAGES].copy()
    altered[17, 3, 3] ^= 1
    small_fashion.rewrite(TRAIN_IMAGES, altered)
    assert read(small_fashion).fingerprint != before


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            TRAIN_IMAGES,
            TRAIN_LABELS,
            "holds 500 labels, but should hold 500 images .* train-labels.* swapped",
        ),
        (TEST_IMAGES, TEST_LABELS, "holds 200 labels, but should hold 200 images .* t10k-labels.* swapped"),
        (
            TRAIN_IMAGES,
            TEST_IMAGES,
            "holds 200 images of 28x28, but should hold 500 .* t10k-images.* swapped",
        ),
        (TRAIN_LABELS, TEST_LABELS, "holds 200 labels, but should hold 500 labels. .* t10k-labels.* swapped"),
    ],
)
def test_swapped_files_are_named(small_fashion: SmallFashion, one: str, other: str, message: str) -> None:
    small_fashion.rewrite(one, small_fashion.arrays[other])
    small_fashion.rewrite(other, small_fashion.arrays[one])
    with pytest.raises(DataError, match=message):
        read(small_fashion)


@pytest.mark.parametrize("file", [TRAIN_LABELS, TEST_LABELS])
def test_one_wrong_label_is_noticed(small_fashion: SmallFashion, file: str) -> None:
    labels = small_fashion.arrays[file].copy()
    labels[11] = (labels[11] + 1) % 10
    small_fashion.rewrite(file, labels)
    assert file in refusal(small_fashion)
    labels[11] = 10
    small_fashion.rewrite(file, labels)
    assert f"{file}, row 11: label 10 is not one of 0 to 9" in refusal(small_fashion)


@pytest.mark.parametrize("file", [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS])
def test_a_file_in_another_order_is_noticed(small_fashion: SmallFashion, file: str) -> None:
    small_fashion.rewrite(file, np.roll(small_fashion.arrays[file], 1, axis=0))
    assert "the labels do not belong to the images" in refusal(small_fashion)


def test_a_cut_file_is_named(small_fashion: SmallFashion) -> None:
    path = small_fashion.folder / TRAIN_IMAGES
    path.write_bytes(path.read_bytes()[:-1000])
    assert f"{path} is cut short" in refusal(small_fashion)


def test_the_real_images_are_the_official_ones(real_data: None) -> None:
    loaded = data.load("fashion-mnist")
    place = find_local("fashion-mnist", [TRAIN_LABELS])
    for file in fashion_mnist.FILES:
        if "labels" in file.name:  # published bytes; the images' may be packed anew
            assert hashlib.md5((place.folder / file.name).read_bytes()).hexdigest() == file.checksum
    pixels = np.concatenate([loaded.train.features, loaded.validation.features])
    # Statistics that circulate for the official training pixels, to the digits that circulate.
    assert round(float(pixels.mean(dtype=np.float64)), 5) == 0.28604
    assert round(float(pixels.std(dtype=np.float64)), 5) == 0.35302
    assert [len(np.unique(part.targets)) for part in loaded.parts.values()] == [10, 10, 10]
    assert (np.bincount(loaded.test.targets) == 1000).all()
    assert loaded.fingerprint.startswith("fashion-mnist:50000/10000/10000:")


def test_the_real_labels_belong_to_the_real_images(real_data: None) -> None:
    loaded = data.load("fashion-mnist")
    train, test = loaded.train, loaded.test
    means = np.stack([train.features[train.targets == k].mean(axis=0) for k in range(10)])
    nearest = np.argmin((means**2).sum(axis=1) - 2 * test.features @ means.T, axis=1)
    assert np.mean(nearest == test.targets) > 0.6
    each_class = [np.mean(nearest[test.targets == k] == k) for k in range(10)]
    assert min(each_class) > 0.2  # "shirt" is hard for a mean; a class under a wrong name would be below 0.1
