"""Models and batches as a command line names them: `package.module:factory`, `file.py:factory`, `file.pt2`, `256,784`.

A pickle runs whatever program its author put into it. No file is unpickled here unless the caller says `trust=True`:
an exported program (`.pt2`) is read when its weights lie in it as plain bytes, as `torch.export.save` writes them.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import math
import sys
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mlplab.analysis.model_copy import refuse_scripts
from mlplab.analysis.model_failure import said
from mlplab.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int64": torch.int64,
    "int32": torch.int32,
    "bool": torch.bool,
}
HINT = "Write package.module:factory, file.py:factory or a file.pt2"


def load_model(name: str, *, trust: bool = False, fake: bool = False) -> nn.Module:
    """The module that `name` stands for.

    Arguments:
      name: `package.module:factory` or `file.py:factory`, where the factory is called without arguments and returns an
        `nn.Module` (or is one); or the path of an exported program, `.pt2`.
      trust: whether a `.pt2` file may be unpickled: it can then run any program.
      fake: make it on the meta device, with shapes and no weights, so that no memory is taken.

    Raises InvalidInput where there is no such module, file or factory, where the factory fails or returns something
    else, and for a file that would have to be unpickled; UnknownName for an attribute that the module has not.
    """
    if name.lower().endswith(".pt2"):
        return _exported(Path(name), trust=trust)
    if name.lower().endswith(PICKLES):
        rule = "must not be a pickle, which can run any program"
        raise InvalidInput("model", rule, name, "Save it by torch.export.save as .pt2, or name a factory")
    place, colon, attribute = name.rpartition(":")
    if not (place and colon and attribute):
        raise InvalidInput("model", "must be PACKAGE:FACTORY or a .pt2 file", name, HINT)
    factory: Any = _module(place)
    for part in attribute.split("."):
        if not hasattr(factory, part):
            names = [
                key
                for key in dir(factory)
                if not key.startswith("_") and callable(getattr(factory, key, None))
            ]
            raise UnknownName(f"factory in {place}", part, names)
        factory = getattr(factory, part)
    if isinstance(factory, nn.Module):
        refuse_scripts(factory)
        return factory
    if not callable(factory):
        raise InvalidInput(
            f"factory {name}", "must be a callable that returns a module", type(factory).__name__
        )
    try:
        with torch.device("meta") if fake else nullcontext():
            model = factory()
    except (Exception, SystemExit) as error:
        rule = f"must return a module when it is called without arguments ({said(error)})"
        raise InvalidInput(f"factory {name}", rule, type(error).__name__) from error
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"factory {name}", "must return a torch.nn.Module", type(model).__name__)
    refuse_scripts(model)
    return model


def parse_input(text: str) -> Tensor:
    """A tensor on the meta device from `256,784` or, with a type, `32,20:int64`: shape and type, and no memory.

    Raises InvalidInput for what is no shape of positive whole numbers, UnknownName for a type.
    """
    shape, _, kind = text.partition(":")
    if kind and kind not in DTYPES:
        raise UnknownName("--input type", kind, list(DTYPES))
    try:
        sizes = [int(size) for size in shape.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise InvalidInput(
            "--input", "must be positive whole numbers with commas", text, "Write --input 256,784"
        )
    return torch.empty(sizes, dtype=DTYPES[kind or "float32"], device="meta")


def random_batch(shapes: Sequence[Tensor], *, seed: int = 0) -> tuple[Tensor, ...]:
    """Standard normal numbers, or zeros where the type is whole numbers, of the shapes of meta tensors."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(x.shape, generator=generator).to(x.dtype)
        if x.is_floating_point()
        else torch.zeros(x.shape, dtype=x.dtype)
        for x in shapes
    )


def load_batch(path: str) -> tuple[tuple[Tensor, ...], Tensor]:
    """Inputs and targets from a NumPy file: `.npz` with `targets`, and one array or more for the inputs in order.

    float64 becomes float32. Raises InvalidInput for a file that is missing, no such archive, pickled, without targets,
    of different lengths, empty, or not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        rule = f"must be a readable .npz file of plain arrays ({_line(error)})"
        raise InvalidInput("--batch", rule, path, "np.savez('batch.npz', inputs=x, targets=y)") from error
    if "targets" not in arrays or len(arrays) < 2:
        raise InvalidInput("--batch", "needs arrays `inputs` and `targets`", sorted(arrays))
    for name, array in arrays.items():
        if not array.ndim or not array.size:
            raise InvalidInput(f"--batch array {name!r}", "must not be empty", array.shape)
        if array.dtype.kind not in "fiub":
            raise InvalidInput(f"--batch array {name!r}", "must be of numbers", array.dtype)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidInput(f"--batch array {name!r}", "must be finite", "NaN or infinity")
    if len({len(array) for array in arrays.values()}) > 1:
        raise InvalidInput(
            "--batch", "must have as many targets as inputs", {k: len(v) for k, v in arrays.items()}
        )
    tensors = {
        name: torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array)
        for name, array in arrays.items()
    }
    targets = tensors.pop("targets")
    return tuple(tensors.values()), targets


def parse_bytes(text: str) -> int:
    """Bytes from `2GiB`, `500 MB` or `4096`. Raises InvalidInput for something else."""
    units = {"": 1, "B": 1} | {f"{p}B": 1000**i for i, p in enumerate("KMGT", 1)}
    units |= {f"{p}IB": 1024**i for i, p in enumerate("KMGT", 1)}
    number = text.strip().upper()
    unit = number.lstrip("0123456789.").strip()
    try:
        value = float(number[: len(number) - len(unit)] if unit else number) * units[unit]
    except (KeyError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 1):
        raise InvalidInput("bytes", "must be a number with a unit", text, "Write 2GiB or 500MB")
    return int(value)


def _module(place: str) -> ModuleType:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise InvalidInput("model", "must name a file that exists", place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)  # dataclasses and pickles look there
        load = lambda: spec.loader.exec_module(module)  # type: ignore[union-attr]  # noqa: E731
    else:
        module = None
        load = lambda: importlib.import_module(place)  # noqa: E731
    folder = str(Path.cwd())
    if folder not in sys.path:  # as `python -m` has it
        sys.path.insert(0, folder)
    try:
        return load() or module  # type: ignore[return-value]
    except ModuleNotFoundError as error:
        missing = error.name or place
        if missing == place.split(".")[0] or place.startswith(f"{missing}.") or missing == place:
            raise InvalidInput("model", "must name a module that can be imported", place, HINT) from error
        raise InvalidInput(
            f"module {place}", f"imports {missing!r}, which is not installed", place
        ) from error
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"module {place}", f"must import ({said(error)})", type(error).__name__) from error


def _exported(path: Path, *, trust: bool) -> nn.Module:
    if not path.is_file():
        raise InvalidInput("model", "must name a file that exists", str(path))
    if not trust:
        _refuse_pickles(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the reader's own inside
            return torch.export.load(path).module()
    except Exception as error:
        raise InvalidInput(
            "model", f"must be a program that this PyTorch can load ({_line(error)})", str(path)
        ) from error


def _refuse_pickles(path: Path) -> None:
    hint = "If you trust who made it, say --trust: it can then run any program"
    rule = "must hold its weights as plain bytes"
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("config.json"):
                    config = json.loads(archive.read(name)).get("config", {})
                    pickled = [key for key, entry in config.items() if entry.get("use_pickle")]
                    if pickled:
                        raise InvalidInput("model", rule, f"{pickled[0]} is pickled", hint)
                elif "/sample_inputs/" in name:
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    except InvalidInput:
        raise
    except zipfile.BadZipFile as error:
        raise InvalidInput("model", "must be an exported program (.pt2)", str(path)) from error
    except Exception as error:
        raise InvalidInput("model", f"{rule} ({_line(error)})", str(path), hint) from error


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
