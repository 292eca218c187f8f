"""All data sets by name: what they are, where they are, and how they are loaded and fetched."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlplab.data import (
    ames_houses,
    drawn_houses,
    embedded,
    fashion_mnist,
    house_prices,
    scoreboard,
    signals,
    synthetic,
)
from mlplab.data.dataset import Dataset, Task
from mlplab.data.download import Progress, RemoteFile, fetch_files
from mlplab.data.location import Place, cache_folder, find_cached, find_local
from mlplab.data.scoreboard import Board
from mlplab.errors import AbsentData, DataError, InvalidInput, UnknownName

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Info:
    """What can be said of a data set without loading it.

    Arguments:
      sizes: examples in each part, with default parameters.
      feature_shape: shape of one example, with default parameters; None where the data decide it.
      where: the source where it is present; else one line that says why it is not.
      parameters: what `load` takes, with defaults.
      num_bytes: size of a download; 0 where nothing is to be fetched.
    """

    name: str
    title: str
    task: Task
    sizes: Mapping[str, int]
    feature_shape: tuple[int, ...] | None
    out_features: int
    licence: str
    citation: str
    is_present: bool = False
    where: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    num_bytes: int = 0


@dataclass(frozen=True)
class _Files:
    """The published files of a data set, and how the data set is read where they are found.

    Arguments:
      folder: where they lie in MLPLAB_DATA; under the name of the data set where nothing is given.
    """

    name: str
    files: Sequence[RemoteFile]
    base_url: str
    instead: str
    read: Callable[[Place], Dataset]
    folder: str = ""

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)

    def find_local(self) -> Place | None:
        return find_local(self.folder or self.name, [file.name for file in self.files])

    def find_cached(self) -> Place | None:
        return find_cached(self.name, [file.name for file in self.files])

    def place(self, *, download: bool) -> Place:
        """Where the files are, unaltered as far as can be told.

        Raises AbsentData where they are not on this machine, DataError where they are damaged.
        """
        place = self.find_local()
        if place is not None:
            return place
        if download:
            # Completes and mends the cache; where it is whole and unaltered, nothing is fetched.
            return Place(self.fetch(None, self.base_url), is_cache=True)
        place = self.find_cached()
        if place is None:
            raise AbsentData(
                f"{self.name} is not on this machine. {self.instead} "
                f"Or download it: mlplab data fetch {self.name} brings {self.num_bytes / 1e6:.0f} MB."
            )
        self.check_cache(place)
        return place

    def check_cache(self, place: Place) -> None:
        # The user's own files may be packed differently; ours are the published bytes, or they are damaged.
        for file in self.files:
            path = place.folder / file.name
            try:
                is_sound = file.is_at(path)
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}.") from error
            if not is_sound:
                raise DataError(
                    f"{path} is not as it was downloaded: its {file.algorithm.upper()} has changed. Fetch it "
                    f"again, mlplab data fetch {self.name}; files of your own belong in MLPLAB_DATA."
                )

    def fetch(self, progress: Progress | None, base_url: str) -> Path:
        folder = cache_folder(self.name)
        fetch_files(self.files, base_url, folder, instead=self.instead, progress=progress)
        return folder


_FASHION_MNIST = _Files(
    fashion_mnist.NAME, fashion_mnist.FILES, fashion_mnist.BASE_URL, fashion_mnist.INSTEAD, fashion_mnist.load
)
_HOUSE_PRICES = _Files(
    house_prices.NAME, house_prices.FILES, house_prices.BASE_URL, house_prices.INSTEAD, house_prices.load
)
_AMES_HOUSES = _Files(
    ames_houses.NAME,
    ames_houses.FILES,
    ames_houses.BASE_URL,
    ames_houses.INSTEAD,
    ames_houses.refuse,
    ames_houses.FOLDER,
)
_FETCHED = {files.name: files for files in (_FASHION_MNIST, _HOUSE_PRICES, _AMES_HOUSES)}

_EMBEDDED: dict[str, Callable[[], Dataset]] = {"mnist-5k": embedded.mnist_5k, "digits": embedded.digits}

_DRAWN: dict[str, Callable[..., Dataset]] = {
    synthetic.POLYNOMIAL: synthetic.polynomial,
    synthetic.LINEAR: synthetic.linear_high_dim,
    signals.NAME: signals.signals_1d,
    drawn_houses.NAME: drawn_houses.drawn_houses,
}

# Data sets that are tables of houses, with what their columns hold
TABLES = {house_prices.NAME: house_prices.FEATURES, drawn_houses.NAME: drawn_houses.FEATURES}

_PARTS = ("train", "validation", "test")

_REAL = {
    fashion_mnist.NAME: Info(
        fashion_mnist.NAME,
        fashion_mnist.TITLE,
        "classification",
        sizes=dict(zip(_PARTS, fashion_mnist.SIZES, strict=True)),
        feature_shape=(28, 28),
        out_features=10,
        licence=fashion_mnist.LICENCE,
        citation=fashion_mnist.CITATION,
        num_bytes=_FASHION_MNIST.num_bytes,
    ),
    house_prices.NAME: Info(
        house_prices.NAME,
        house_prices.TITLE,
        "regression",
        sizes=dict(zip(_PARTS, house_prices.SIZES, strict=True)),
        feature_shape=None,
        out_features=1,
        licence=house_prices.LICENCE,
        citation=house_prices.CITATION,
        num_bytes=_HOUSE_PRICES.num_bytes,
    ),
    ames_houses.NAME: Info(
        ames_houses.NAME,
        ames_houses.TITLE,
        "regression",
        sizes={"test": ames_houses.SIZE},
        feature_shape=None,
        out_features=1,
        licence=ames_houses.LICENCE,
        citation=ames_houses.CITATION,
        num_bytes=_AMES_HOUSES.num_bytes,
    ),
    "mnist-5k": Info(
        "mnist-5k",
        embedded.MNIST_TITLE,
        "classification",
        sizes=dict(zip(_PARTS, embedded.MNIST_SIZES, strict=True)),
        feature_shape=(28, 28),
        out_features=10,
        licence=embedded.MNIST_LICENCE,
        citation=embedded.MNIST_CITATION,
    ),
    "digits": Info(
        "digits",
        embedded.DIGITS_TITLE,
        "classification",
        sizes=dict(zip(_PARTS, embedded.DIGITS_SIZES, strict=True)),
        feature_shape=(8, 8),
        out_features=10,
        licence=embedded.DIGITS_LICENCE,
        citation=embedded.DIGITS_CITATION,
    ),
}


def names() -> list[str]:
    """The names of all data sets."""
    return [*_FETCHED, *_EMBEDDED, *_DRAWN]


def load(name: str, *, download: bool = False, **parameters: object) -> Dataset:
    """The data set of that name, checked.

    Arguments:
      download: fetch the files first where they are neither in MLPLAB_DATA nor in the cache.
      parameters: what to draw, for synthetic problems; `info(name).parameters` lists them.

    Raises UnknownName for a name or parameter that is not known, InvalidInput for a value that is not
    allowed, AbsentData for a data set that is not on this machine, DataError for one that is damaged.
    """
    _check_name(name)
    known = _parameters(name)
    for parameter in parameters:
        if not known:
            raise InvalidInput(f"data set {name!r}", "takes no parameters", parameter)
        if parameter not in known:
            raise UnknownName(f"parameter of data set {name!r}", parameter, known)
    if name in _FETCHED:
        files = _FETCHED[name]
        return files.read(files.place(download=download))
    return _DRAWN[name](**parameters) if name in _DRAWN else _EMBEDDED[name]()


def load_table(name: str, part: str = "train", *, download: bool = False) -> pd.DataFrame:
    """The table of a data set as published, before it becomes features: of `house-prices` or `drawn-houses`.

    Arguments:
      part: `train`, the labelled rows, or `test`, the competition's rows without prices.

    Raises as `load` does.
    """
    if name not in TABLES:
        raise UnknownName("table", name, TABLES)
    if part not in ("train", "test"):
        raise UnknownName(f"part of table {name!r}", part, ["train", "test"])
    if name == drawn_houses.NAME:
        return drawn_houses.drawn_table(part=part)
    return house_prices.load_table(_HOUSE_PRICES.place(download=download), part)


def score(name: str, predictions: Mapping[str, np.ndarray], *, download: bool = False) -> Board:
    """Score final predictions, of all arms at once, on sealed prices. Nothing else reads these.

    Arguments:
      name: the table whose part `test` was predicted: of `house-prices` (sealed: `ames-houses`) or `drawn-houses`.
      predictions: log prices of each arm, in the order of that part.
      download: fetch the sealed table first where it is neither in MLPLAB_DATA nor in the cache.

    Raises as `load` does, and InvalidInput for predictions that are not one finite number a house.
    """
    if name not in TABLES:
        raise UnknownName("table with sealed prices", name, TABLES)
    if name == drawn_houses.NAME:
        return scoreboard.score_sealed(
            predictions,
            drawn_houses.sealed_log_prices,
            name=name,
            title=drawn_houses.TITLE,
            source=synthetic.SOURCE,
        )
    asked = load_table(name, "test", download=download)
    place = _AMES_HOUSES.place(download=download)
    return scoreboard.score_sealed(
        predictions,
        lambda: ames_houses.log_prices(place, asked),
        name=ames_houses.NAME,
        title=ames_houses.TITLE,
        source=str(place),
    )


def fetch(name: str, progress: Progress | None = None, *, base_url: str | None = None) -> Path:
    """Download the files of a data set into the cache, unless they are there; returns their folder.

    Arguments:
      progress: called with (bytes done, bytes in all).
      base_url: another address that serves the same files, up to and with the last slash.

    Raises UnknownName for a name that is not known, InvalidInput where there is nothing to fetch, AbsentData
    where the network, the server or the disk does not deliver. A good copy is never touched.
    """
    _check_name(name)
    if name not in _FETCHED:
        raise InvalidInput("data set to fetch", f"must be {' or '.join(_FETCHED)}", name, "It needs no files")
    return _FETCHED[name].fetch(progress, base_url or _FETCHED[name].base_url)


def files(name: str) -> list[Path]:
    """Where the published files of a data set lie on this machine: none where it needs none, or they are not here.

    Raises UnknownName, and DataError where some of them are missing.
    """
    _check_name(name)
    if name not in _FETCHED:
        return []
    place = _FETCHED[name].find_local() or _FETCHED[name].find_cached()
    return [place.folder / file.name for file in _FETCHED[name].files] if place else []


def info(name: str) -> Info:
    """What the data set is and where. Reads no file, and missing files are no error. Raises UnknownName."""
    _check_name(name)
    if name in _DRAWN:
        data = _DRAWN[name]()  # milliseconds
        return Info(
            name,
            data.title,
            data.task,
            sizes={part_name: part.num_examples for part_name, part in data.parts.items()},
            feature_shape=data.feature_shape,
            out_features=data.out_features,
            licence=data.licence,
            citation=data.citation,
            is_present=True,
            where=data.source,
            parameters=_parameters(name),
        )
    try:
        where = _where(name)
    except DataError as error:
        return replace(_REAL[name], where=str(error))
    return replace(_REAL[name], is_present=where is not None, where=where or "not on this machine")


def _where(name: str) -> str | None:
    if name in _FETCHED:
        place = _FETCHED[name].find_local() or _FETCHED[name].find_cached()
        return str(place) if place else None
    if name == "mnist-5k":
        embedded.mnist_5k_file()
        return embedded.MNIST_SOURCE
    return embedded.DIGITS_SOURCE


def _check_name(name: object) -> None:
    if name not in names():
        raise UnknownName("data set", name, names())


def _parameters(name: str) -> dict[str, object]:
    if name not in _DRAWN:
        return {}
    return {key: parameter.default for key, parameter in inspect.signature(_DRAWN[name]).parameters.items()}
