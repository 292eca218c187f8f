"""Reading IDX files, the format of MNIST and Fashion-MNIST, packed with gzip.

An IDX file is two zero bytes, a type (8 is an unsigned byte), the number of dimensions, each dimension's size
as a big-endian 32-bit integer, then the numbers in C order. Source: Y. LeCun, yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlplab.errors import DataError

Shape = tuple[int, ...]

_UNSIGNED_BYTE = 8
_GZIP = 31  # zlib's name for: a gzip header, the largest window, and a check of CRC and length at the end


def read_idx(path: Path, shapes: Mapping[str, Shape]) -> np.ndarray:
    """The numbers in the file: uint8, of shape `shapes[path.name]`.

    Arguments:
      shapes: the shape that each file of the set must have. The others' serve to recognise swapped files.

    Raises DataError, naming the file and what to do, where the file cannot be read or unpacked, is cut short,
    fails its checksum, is no IDX file of bytes, or holds another shape.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    expected = shapes[path.name]
    found = _shape(path, packed)
    if found != expected:
        alike = [name for name, shape in shapes.items() if shape == found]
        hint = f"That is what {alike[0]} should hold: are the two swapped?" if alike else "Get it again."
        raise DataError(f"{path} holds {_words(found)}, but should hold {_words(expected)}. {hint}")

    start = 4 + 4 * len(expected)
    size = start + math.prod(expected)
    # One byte more than the file may hold: enough to see that it is too long, however much it would unpack
    # to.
    content, unpacking = _unpack(path, packed, size + 1)
    if len(content) > size or unpacking.unused_data:
        raise DataError(f"{path} goes on after the {size:,} bytes that its header announces. Get it again.")
    if len(content) < size or not unpacking.eof:  # the end holds the checksum
        raise DataError(f"{path} is cut short: it ends within the {size:,} bytes announced. Get it again.")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(expected)


def _shape(path: Path, packed: bytes) -> Shape:
    header, _ = _unpack(path, packed[:4096], 4 + 4 * 255)
    num_dimensions = header[3] if len(header) >= 4 else 0
    if header[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or len(header) < 4 + 4 * num_dimensions:
        raise DataError(
            f"{path} is not an IDX file of bytes: it starts with {header[:4].hex(' ')}. Get it again."
        )
    return tuple(np.frombuffer(header, dtype=">u4", count=num_dimensions, offset=4).tolist())


def _unpack(path: Path, packed: bytes, limit: int) -> tuple[bytes, zlib._Decompress]:
    """At most `limit` bytes of what was packed. At `eof` all was unpacked, and its checksum was right."""
    if not packed:
        raise DataError(f"{path} is empty. Get it again.")
    unpacking = zlib.decompressobj(wbits=_GZIP)
    try:
        content = unpacking.decompress(packed, limit)
    except zlib.error as error:
        reason = str(error).split(":")[-1].strip()
        raise DataError(f"{path} is damaged, or is not a gzip file ({reason}). Get it again.") from error
    return content, unpacking


def _words(shape: Shape) -> str:
    if len(shape) == 1:
        return f"{shape[0]:,} labels"
    if len(shape) == 3:
        return f"{shape[0]:,} images of {shape[1]}x{shape[2]}"
    return f"numbers of shape {shape}"
