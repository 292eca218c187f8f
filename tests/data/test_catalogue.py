from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlplab import data
from mlplab.data import catalogue, fashion_mnist
from mlplab.data.download import RemoteFile
from mlplab.errors import AbsentData, DataError, InvalidInput, UnknownName

if TYPE_CHECKING:
    from conftest import Server, SmallFashion

Alter = Callable[[Path], object]


@pytest.fixture
def published(server: Server, small_fashion: SmallFashion, monkeypatch: pytest.MonkeyPatch) -> SmallFashion:
    """A small Fashion-MNIST on a server of our own, in place of the real one on its publisher's."""
    files = []
    for file in fashion_mnist.FILES:
        content = (small_fashion.folder / file.name).read_bytes()
        server.files[file.name] = content
        files.append(RemoteFile(file.name, "md5", hashlib.md5(content).hexdigest(), len(content)))
    small = replace(
        catalogue._FETCHED["fashion-mnist"],
        files=files,
        base_url=server.base_url,
        read=lambda place: fashion_mnist.load(place, small_fashion.sizes),
    )
    monkeypatch.setitem(catalogue._FETCHED, "fashion-mnist", small)
    return small_fashion


def test_all_names_have_their_facts() -> None:
    assert data.names() == [
        "fashion-mnist", "house-prices", "ames-houses", "mnist-5k", "digits", "polynomial",
        "linear-high-dim", "signals-1d", "drawn-houses",
    ]  # fmt: skip
    for name in data.names():
        info = data.info(name)
        assert info.name == name
        assert all([info.title, info.licence, info.citation, info.where])
        assert info.is_present == (name not in ("fashion-mnist", "house-prices", "ames-houses"))


@pytest.mark.parametrize(
    "name", ["digits", "mnist-5k", "polynomial", "linear-high-dim", "signals-1d", "drawn-houses"]
)
def test_the_facts_are_those_of_the_data(name: str) -> None:
    info, loaded = data.info(name), data.load(name)
    assert dict(info.sizes) == {key: part.num_examples for key, part in loaded.parts.items()}
    for fact in ("title", "task", "feature_shape", "out_features", "licence", "citation"):
        assert getattr(info, fact) == getattr(loaded, fact)
    assert info.where == loaded.source


def test_unknown_names_suggest_the_nearest() -> None:
    for ask in (data.load, data.info, data.fetch):
        with pytest.raises(UnknownName, match="Did you mean 'fashion-mnist'"):
            ask("fashion_mnist")
    with pytest.raises(UnknownName, match="Did you mean 'num_train'"):
        data.load("polynomial", num_trian=3)
    with pytest.raises(InvalidInput, match="'digits' takes no parameters; got 'draw'"):
        data.load("digits", draw=1)
    with pytest.raises(
        InvalidInput,
        match="data set to fetch must be fashion-mnist or house-prices or ames-houses; got 'digits'",
    ):
        data.fetch("digits")
    with pytest.raises(UnknownName, match="table must be one of 'house-prices', 'drawn-houses'"):
        data.load_table("digits")
    with pytest.raises(UnknownName, match="Did you mean 'train'"):
        data.load_table("house-prices", "trian")


def test_missing_files_name_every_way_out() -> None:
    with pytest.raises(AbsentData, match="is not on this machine") as error:
        data.load("fashion-mnist")
    for way in ("MLPLAB_DATA", "--data mnist-5k", "mlplab data fetch fashion-mnist brings 31 MB"):
        assert way in str(error.value)
    with pytest.raises(DataError, match=r"fetch house-prices brings 1 MB"):
        data.load_table("house-prices")


def test_loading_never_downloads_unasked(published: SmallFashion, server: Server) -> None:
    with pytest.raises(DataError, match="is not on this machine"):
        data.load("fashion-mnist")
    assert server.ranges == []


def test_fetched_files_are_loaded_from_the_cache(
    published: SmallFashion, server: Server, cache: Path
) -> None:
    assert data.fetch("fashion-mnist") == cache / "fashion-mnist"
    loaded = data.load("fashion-mnist")
    assert loaded.source == data.info("fashion-mnist").where == f"cache {cache / 'fashion-mnist'}"
    assert data.load("fashion-mnist", download=True).fingerprint == loaded.fingerprint
    assert len(server.ranges) == 4


def test_loading_downloads_when_asked_and_says_when_offline(published: SmallFashion, server: Server) -> None:
    server.files, files = {}, server.files
    with pytest.raises(DataError, match=r"answered 404 Not Found\. Set MLPLAB_DATA .* --data mnist-5k"):
        data.load("fashion-mnist", download=True)
    server.files = files
    assert data.load("fashion-mnist", download=True).train.num_examples == 400


def test_the_users_own_folder_comes_first(
    published: SmallFashion, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.fetch("fashion-mnist")
    altered = published.arrays[fashion_mnist.FILES[0].name].copy()
    altered[0] = 7  # packed and drawn as their owner likes: no checksum is asked of them
    published.rewrite(fashion_mnist.FILES[0].name, altered)
    monkeypatch.setenv("MLPLAB_DATA", str(published.folder.parent))
    for download in (False, True):
        loaded = data.load("fashion-mnist", download=download)
        assert loaded.source == f"local folder {published.folder}"
    images = np.concatenate([loaded.train.features, loaded.validation.features])
    assert (images == np.float32(7 / 255)).all(axis=1).any()
    assert len(server.ranges) == 4


def turn_a_pixel(path: Path) -> None:
    # Sound gzip, sound IDX: only the checksum of what was downloaded knows.
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[5000] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))


ALTERATIONS: dict[str, Alter] = {
    "a pixel turned": turn_a_pixel,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "emptied": lambda path: path.write_bytes(b""),
    "replaced by another": lambda path: shutil.copy(path.parent / fashion_mnist.FILES[2].name, path),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_changed_file_in_the_cache_is_refused_then_mended(
    published: SmallFashion, cache: Path, server: Server, alteration: str
) -> None:
    data.fetch("fashion-mnist")
    sound = data.load("fashion-mnist").fingerprint
    path = cache / "fashion-mnist" / fashion_mnist.FILES[0].name
    ALTERATIONS[alteration](path)
    with pytest.raises(DataError, match="is not as it was downloaded") as error:
        data.load("fashion-mnist")
    assert not isinstance(error.value, AbsentData)  # damage is told, and no other data set stands in for it
    assert str(path) in str(error.value)
    data.fetch("fashion-mnist")
    assert data.load("fashion-mnist").fingerprint == sound
    assert len(server.ranges) == 5  # the other three were not fetched again


def test_an_interrupted_fetch_is_told_and_completed(
    published: SmallFashion, server: Server, cache: Path
) -> None:
    last = fashion_mnist.FILES[3].name
    content = server.files.pop(last)
    with pytest.raises(DataError, match="404"):
        data.fetch("fashion-mnist")
    with pytest.raises(DataError, match=rf"lacks {last}. mlplab data fetch fashion-mnist completes it"):
        data.load("fashion-mnist")
    assert not data.info("fashion-mnist").is_present
    assert "lacks" in data.info("fashion-mnist").where
    server.files[last] = content
    assert data.load("fashion-mnist", download=True).test.num_examples == 200


def test_another_address_may_serve_the_files(published: SmallFashion, server: Server) -> None:
    with pytest.raises(DataError, match=r"no-such-host\.invalid"):
        data.fetch("fashion-mnist", base_url="http://no-such-host.invalid/")
    data.fetch("fashion-mnist", base_url=server.base_url)


def test_published_addresses_and_checksums() -> None:
    assert [file.checksum for file in fashion_mnist.FILES] == [
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310",
    ]  # fmt: skip
    for files in catalogue._FETCHED.values():
        assert files.base_url.startswith("http")
        assert files.base_url.endswith("/")


def test_info_never_fails_on_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLPLAB_DATA", str(tmp_path / "typo"))
    info = data.info("fashion-mnist")
    assert not info.is_present
    assert "which is not a folder" in info.where
    with pytest.raises(DataError, match="which is not a folder"):
        data.load("fashion-mnist")
