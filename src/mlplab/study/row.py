"""A run's result as a row of the store, and back. Checksums tell damage that SQLite cannot see."""

from __future__ import annotations

import dataclasses
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from mlplab.engine import Result

# Above this a run's weights are not kept: they would make up most of the file, and training gives them again.
MAX_PARAMETERS = 10_000
# Beside weights in the column of parameters, for a large model alone there: a column of its own would shut older
# stores out.
TEST_HITS = "test_hits"

Parameters = tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class StoredResult:
    """What the store holds of one run. Fields mean what they mean in `engine.Result`.

    Curves, parameters and hits are unpacked when they are asked for.
    """

    status: Literal["finished", "diverged"]
    diverged_step: int | None
    metrics: dict[str, float]
    seconds: float
    packed_curves: bytes = dataclasses.field(repr=False)
    packed_parameters: bytes | None = dataclasses.field(repr=False)

    @cached_property
    def curves(self) -> dict[str, list[float]]:
        """By epoch, up to where the run diverged."""
        return json.loads(zlib.decompress(self.packed_curves))

    @cached_property
    def parameters(self) -> Parameters | None:
        """(weight, bias) of each layer; None for a model of more than MAX_PARAMETERS numbers."""
        if self._arrays is None or self._arrays.keys() == {TEST_HITS}:
            return None
        layers = range(len(self._arrays) // 2)
        return tuple((self._arrays[f"weight{layer}"], self._arrays[f"bias{layer}"]) for layer in layers)

    @cached_property
    def test_hits(self) -> np.ndarray | None:
        """Which test examples were classified right, 8 a byte; None where the run was not asked, or diverged."""
        return (self._arrays or {}).get(TEST_HITS)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray] | None:
        if self.packed_parameters is None:
            return None
        with np.load(io.BytesIO(self.packed_parameters), allow_pickle=False) as named:
            return dict(named)


# The columns that a result is read from. Parameters have their own checksum: most readers leave them alone.
COLUMNS = ("digest", "status", "diverged_step", "metrics", "seconds", "curves", "checksum")
PARAMETER_COLUMNS = ("parameters", "parameters_checksum")


def to_row(digest: str, result: Result) -> dict[str, Any]:
    """The columns that the result and its run decide, by name."""
    run = result.run
    described = {"setting": dataclasses.asdict(run.setting), "data": run.data, "seed": run.seed}
    kept = {
        "digest": digest,
        "status": result.status,
        "diverged_step": result.diverged_step,
        "metrics": json.dumps(result.metrics),
        "seconds": float(result.seconds),
        "curves": zlib.compress(json.dumps(result.curves).encode()),
    }
    parameters = _pack(result.parameters, result.test_hits)
    return {
        **kept,
        "checksum": _checksum(*kept.values()),
        "parameters": parameters,
        "parameters_checksum": _checksum(digest, parameters),
        "spec": json.dumps(described | {"semantics": run.semantics}, default=str),  # a start by its digest
        "data": run.data,
        "seed": run.seed,
        "precision": run.setting.training.precision,
    }


def from_row(held: Mapping[str, Any]) -> StoredResult:
    """The result in a row of COLUMNS, with PARAMETER_COLUMNS or without. Raises ValueError for damage."""
    kept = [held[name] for name in COLUMNS[:-1]]
    parameters = held.get("parameters")
    if _checksum(*kept) != held["checksum"]:
        raise ValueError("its checksum does not fit")
    if "parameters" in held and _checksum(held["digest"], parameters) != held["parameters_checksum"]:
        raise ValueError("the checksum of its parameters does not fit")
    _, status, diverged_step, metrics, seconds, curves = kept
    return StoredResult(status, diverged_step, json.loads(metrics), seconds, curves, parameters)


def _checksum(*values: str | bytes | float | None) -> int:
    total = 0
    for value in values:
        piece = value if isinstance(value, bytes) else repr(value).encode()
        # The length stands before it: no two rows run together to the same bytes.
        total = zlib.crc32(piece, zlib.crc32(f"{len(piece)}:".encode(), total))
    return total


def _pack(parameters: Parameters, test_hits: np.ndarray | None) -> bytes | None:
    is_large = sum(weight.size + bias.size for weight, bias in parameters) > MAX_PARAMETERS
    if is_large and test_hits is None:
        return None
    named: dict[str, Any] = {} if test_hits is None else {TEST_HITS: test_hits}
    for layer, (weight, bias) in enumerate(() if is_large else parameters):
        named |= {f"weight{layer}": weight, f"bias{layer}": bias}
    packed = io.BytesIO()
    np.savez_compressed(packed, **named)
    return packed.getvalue()
