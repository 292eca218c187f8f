"""Small files in the published formats, a cache and a server of the tests' own. Nothing needs a network."""

from __future__ import annotations

import csv
import gzip
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mlplab.data import fashion_mnist, house_prices
from mlplab.rng import Stream

_REAL_DATA = os.environ.get("MLPLAB_DATA")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no MLPLAB_DATA: what a developer has on the machine changes no test."""
    monkeypatch.delenv("MLPLAB_DATA", raising=False)
    monkeypatch.setenv("MLPLAB_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "data"


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real Fashion-MNIST and house prices."""
    if not _REAL_DATA:
        pytest.skip("MLPLAB_DATA names no folder with the real data")
    monkeypatch.setenv("MLPLAB_DATA", _REAL_DATA)


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def write_idx() -> Callable[[Path, np.ndarray], Path]:
    """Writes an array of bytes as a packed IDX file."""

    def write(path: Path, array: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(idx_bytes(array), compresslevel=1))
        return path

    return write


@dataclass(frozen=True)
class SmallFashion:
    """A folder like Fashion-MNIST's, of 500 and 200 images: a class is a bright row of its own in noise."""

    folder: Path
    arrays: dict[str, np.ndarray]
    write: Callable[[Path, np.ndarray], Path]
    sizes: tuple[int, int, int] = (400, 100, 200)

    def rewrite(self, name: str, array: np.ndarray) -> None:
        self.write(self.folder / name, array)


@pytest.fixture
def small_fashion(tmp_path: Path, write_idx: Callable[[Path, np.ndarray], Path]) -> SmallFashion:
    arrays = {}
    for layer, (images_file, labels_file, size) in enumerate(
        [
            (fashion_mnist.FILES[0].name, fashion_mnist.FILES[1].name, 500),
            (fashion_mnist.FILES[2].name, fashion_mnist.FILES[3].name, 200),
        ]
    ):
        labels = Stream(1, "data", layer).permutation(size) % 10
        images = Stream(2, "data", layer).uniform((size, 28, 28)) * 100
        images[np.arange(size), 2 * labels + 3] += 100
        arrays |= {images_file: images.astype(np.uint8), labels_file: labels.astype(np.uint8)}
    folder = tmp_path / "own" / "fashion-mnist"
    for name, array in arrays.items():
        write_idx(folder / name, array)
    return SmallFashion(folder, arrays, write_idx)


@dataclass(frozen=True)
class HouseFolder:
    """A folder like the house prices', of drawn cells. `change` writes the training file with one altered."""

    folder: Path
    header: list[str]
    rows: list[list[str]]

    @property
    def path(self) -> Path:
        return self.folder / house_prices.FILES[0].name

    def write(self, header: list[str], rows: list[list[str]]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return self.path

    def change(self, row: int, column: str, cell: str) -> Path:
        rows = [list(cells) for cells in self.rows]
        rows[row][self.header.index(column)] = cell
        return self.write(self.header, rows)


@pytest.fixture
def house_folder(tmp_path: Path) -> HouseFolder:
    features = house_prices.FEATURES
    header = ["Id", *features.numeric, *features.categorical, "SalePrice"]
    num_rows = sum(house_prices.SIZES)
    uniform = Stream(3, "data").uniform((num_rows, len(header)))
    numbers, kinds = (uniform * 100).astype(int), (uniform * 4).astype(int)
    rows = [
        [str(row + 1)]
        + [str(n) for n in numbers[row, : len(features.numeric)]]
        + [f"kind {k}" if k else "NA" for k in kinds[row, : len(features.categorical)]]
        + [str(1000 + numbers[row, -1])]
        for row in range(num_rows)
    ]
    houses = HouseFolder(tmp_path / "own" / "house-prices", header, rows)
    houses.write(header, rows)
    return houses


@dataclass
class Server:
    """A web server on this machine. Set its fields to misbehave."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    knows_ranges: bool = True
    tells_length: bool = True
    seconds_per_block: float = 0.0
    ranges: list[str | None] = field(default_factory=list)
    base_url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        content = self.files.get(request.path.strip("/"))
        if content is None:
            request.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.knows_ranges else 0
        if start and start >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.tells_length:
            request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        end = len(content) if self.cut_after is None else start + self.cut_after
        for block in range(start, min(end, len(content)), 1 << 14):
            request.wfile.write(content[block : min(block + (1 << 14), end)])
            time.sleep(self.seconds_per_block)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        state.base_url = f"http://127.0.0.1:{web.server_address[1]}/"
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        web.shutdown()
        thread.join()
