"""Models come from factories and exported programs; no file is unpickled without the user's word."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mlplab.analysis.loading import load_batch, load_model, parse_bytes, parse_input, random_batch
from mlplab.errors import InvalidInput, UnknownName

FACTORY = """
from torch import nn
from missing_inside import x
"""
MODELS = """
import torch
from torch import nn
def mlp():
    return nn.Sequential(nn.Linear(4, 3))
def broken():
    raise RuntimeError("first line\\nsecond line")
def number():
    return 3
READY = nn.Linear(2, 2)
CONSTANT = 3
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models_of_test.py"
    path.write_text(MODELS)
    return path


def test_factories_of_packages_files_and_ready_modules(models: Path):
    assert isinstance(load_model(f"{models}:mlp"), nn.Sequential)
    assert isinstance(load_model(f"{models}:READY"), nn.Linear)
    assert isinstance(load_model("tests.analysis.models:lenet"), nn.Sequential)
    assert next(load_model(f"{models}:mlp", fake=True).parameters()).device.type == "meta"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("{file}:mlq", "Did you mean 'mlp'"),
        ("{file}:broken", "first line"),
        ("{file}:number", "must return a torch.nn.Module; got 'int'"),
        ("{file}:CONSTANT", "must be a callable"),
        ("{file}", "PACKAGE:FACTORY"),
        ("no_such_package.at_all:f", "must name a module that can be imported"),
        ("torch.nn:Linear", "in_features"),
        ("{folder}/gone.py:f", "must name a file that exists"),
        ("{folder}/importing.py:f", "imports 'missing_inside', which is not installed"),
        ("{folder}/wrong.py:f", "must import"),
        ("{folder}/gone.pt2", "must name a file that exists"),
        ("{folder}/text.pt2", "must be an exported program"),
        ("weights.pth", "must not be a pickle"),
        ("", "PACKAGE:FACTORY"),
    ],
)
def test_bad_names_get_one_line(models: Path, name: str, says: str):
    folder = models.parent
    (folder / "importing.py").write_text(FACTORY)
    (folder / "wrong.py").write_text("def f(:\n")
    (folder / "text.pt2").write_text("no archive")
    with pytest.raises(InvalidInput) as caught:
        load_model(name.format(file=models, folder=folder))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def exported(folder: Path) -> tuple[Path, nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
    path = folder / "model.pt2"
    torch.export.save(torch.export.export(model, (x,)), path)
    return path, model, x


def test_an_exported_program_computes_the_same(tmp_path: Path):
    path, model, x = exported(tmp_path)
    assert torch.equal(load_model(str(path))(x), model(x))


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path(BOMB[0]),))


BOMB = [""]


@pytest.mark.parametrize("place", ["sample inputs", "weights"])
def test_a_pickle_within_an_exported_program_is_not_run(tmp_path: Path, place: str):
    """The control: with the user's word it is run."""
    path, *_ = exported(tmp_path)
    BOMB[0] = str(tmp_path / "went off")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for name in entries:
        if place == "sample inputs" and "/sample_inputs/" in name:
            entries[name] = pickle.dumps(Bomb())
        if place == "weights" and name.endswith("weights_config.json"):
            entries[name] = entries[name].replace(b'"use_pickle": false', b'"use_pickle": true')
        if place == "weights" and name.endswith("weights/weight_0"):
            entries[name] = pickle.dumps(Bomb())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(InvalidInput, match="--trust"):
        load_model(str(path))
    assert not Path(BOMB[0]).exists()


def test_shapes_are_read_and_take_no_memory():
    x = parse_input("256,784")
    assert (tuple(x.shape), x.dtype, x.device.type) == ((256, 784), torch.float32, "meta")
    assert parse_input("32,20:int64").dtype == torch.int64
    for text in ("", "0,3", "2,x", "3,-1", "2.5", "2;3"):
        with pytest.raises(InvalidInput, match="--input 256,784"):
            parse_input(text)
    with pytest.raises(UnknownName, match="'float32'"):
        parse_input("3:float23")


def test_random_batches_are_the_same_again():
    shapes = (parse_input("3,2"), parse_input("3:int64"))
    first, second = random_batch(shapes), random_batch(shapes)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[1].dtype == torch.int64


def test_batches_are_read_from_plain_arrays(tmp_path: Path):
    path = tmp_path / "batch.npz"
    np.savez(path, inputs=np.ones((3, 2)), targets=np.arange(3))
    (x,), y = load_batch(str(path))
    assert x.dtype == torch.float32
    assert y.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"inputs": np.ones((3, 2))}, "targets"),
        ({"inputs": np.ones((3, 2)), "targets": np.arange(4)}, "as many targets"),
        ({"inputs": np.full((3, 2), np.nan), "targets": np.arange(3)}, "finite"),
        ({"inputs": np.ones((0, 2)), "targets": np.arange(0)}, "empty"),
        ({"inputs": np.array(["a", "b"]), "targets": np.arange(2)}, "numbers"),
        ({"inputs": np.array([{}, {}], dtype=object), "targets": np.arange(2)}, "plain arrays"),
    ],
)
def test_bad_batches_get_one_line(tmp_path: Path, arrays: dict, says: str):
    path = tmp_path / "batch.npz"
    np.savez(path, **arrays)
    with pytest.raises(InvalidInput, match=says):
        load_batch(str(path))
    with pytest.raises(InvalidInput, match="readable"):
        load_batch(str(tmp_path / "gone.npz"))


def test_bytes_with_units():
    assert [parse_bytes(text) for text in ("4096", "2GiB", "500 MB", "1.5kib")] == [
        4096,
        2**31,
        500_000_000,
        1536,
    ]
    for text in ("", "GiB", "-1GiB", "2 apples", "nan"):
        with pytest.raises(InvalidInput, match="2GiB"):
            parse_bytes(text)
