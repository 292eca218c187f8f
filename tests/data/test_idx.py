from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlplab.data.idx import read_idx
from mlplab.errors import DataError

SHAPES = {"images.gz": (6, 4, 4), "labels.gz": (6,), "test-images.gz": (3, 4, 4)}
IMAGES = np.arange(96, dtype=np.uint8).reshape(6, 4, 4)

Write = Callable[[Path, np.ndarray], Path]


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_written_is_read(tmp_path: Path, write_idx: Write, name: str) -> None:
    array = np.arange(np.prod(SHAPES[name]), dtype=np.uint8).reshape(SHAPES[name])
    assert (read_idx(write_idx(tmp_path / name, array), SHAPES) == array).all()


def repacked(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


IDX = bytes([0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 4, 0, 0, 0, 4]) + IMAGES.tobytes()
PACKED = repacked(IDX)
DAMAGED = {
    "empty": (b"", "is empty"),
    "cut short": (PACKED[:-30], "is cut short"),
    "checksum cut off": (PACKED[:-3], "is cut short"),
    "cut within the header": (PACKED[:14], "is not an IDX file|is cut short"),
    "one bit turned": (PACKED[:-6] + bytes([PACKED[-6] ^ 1]) + PACKED[-5:], "damaged, or is not a gzip file"),
    "checksum altered": (PACKED[:-8] + b"abcd" + PACKED[-4:], "incorrect data check"),
    "length altered": (PACKED[:-4] + b"abcd", "incorrect length check"),
    "not packed": (IDX, "is not a gzip file"),
    "a web page": (b"<html>Not found</html>", "is not a gzip file"),
    "more behind it": (PACKED + b"more", "goes on after"),
    "packed twice": (PACKED + PACKED, "goes on after"),
    "not IDX": (repacked(b"P5 28 28 255 some image"), "IDX file of bytes: it starts with 50 35 20 32"),
    "floats": (repacked(IDX[:2] + bytes([13]) + IDX[3:]), "is not an IDX file of bytes"),
    "too few numbers": (repacked(IDX[:-1]), "is cut short"),
    "too many numbers": (repacked(IDX + b"\0"), "goes on after the 112 bytes"),
    "swapped with labels": (repacked(bytes([0, 0, 8, 1, 0, 0, 0, 6, *range(6)])),
                            "holds 6 labels, but should hold 6 images of 4x4. .*labels.gz.* swapped"),
    "swapped with the test images": (repacked(IDX[:7] + bytes([3]) + IDX[8:64]), "test-images.gz.* swapped"),
    "other images": (repacked(IDX[:7] + bytes([5]) + IDX[8:96]), "holds 5 images of 4x4, but should hold 6"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_gives_one_line_that_names_it(tmp_path: Path, damage: str) -> None:
    content, message = DAMAGED[damage]
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_idx(path, SHAPES)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_wherever_a_file_is_cut_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    for end in range(len(PACKED)):
        path.write_bytes(PACKED[:end])
        with pytest.raises(DataError):
            read_idx(path, SHAPES)


def test_no_turned_bit_ever_alters_an_image(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    num_refused = 0
    bits = range(0, 8 * len(PACKED), 5)
    for bit in bits:
        content = bytearray(PACKED)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            # A few bits carry nothing: gzip's time of day, and what fills the last byte.
            assert (read_idx(path, SHAPES) == IMAGES).all()
        except DataError:
            num_refused += 1
    assert num_refused > 0.85 * len(bits)


def test_a_file_that_unpacks_to_gigabytes_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(repacked(IDX[:16] + bytes(50_000_000)))
    with pytest.raises(DataError, match="goes on after"):
        read_idx(path, SHAPES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images\.gz cannot be read: No such file"):
        read_idx(tmp_path / "images.gz", SHAPES)
