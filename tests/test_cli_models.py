"""Commands on a model: what a newcomer types, and what they type wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mlplab import cli

ROOT = Path(__file__).parents[1]
MODELS = str(ROOT / "examples" / "models.py")
PERCEPTRON, LENET = f"{MODELS}:perceptron", f"{MODELS}:lenet"


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def mlplab(capsys, monkeypatch):
    """Runs a command in this process."""

    def ended(*words: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["mlplab", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return Ended(exit_.value.code or 0, *capsys.readouterr())

    return ended


WORKS = {
    "memory": (
        "memory",
        PERCEPTRON,
        "--input",
        "32,784",
        "--loss",
        "cross_entropy",
        "--savings",
        "--budget",
        "64MiB",
    ),
    "memory measured": ("memory", PERCEPTRON, "--input", "32,784", "--measure"),
    "graph": ("graph", PERCEPTRON, "--input", "32,784"),
    "equations": ("graph", PERCEPTRON, "--input", "32,784", "--equations"),
    "partition": ("partition", PERCEPTRON, "--input", "32,784", "--microbatches", "4"),
    "activations": ("activation",),
    "activation": ("activation", "prelu"),
    "curvature": ("curvature", f"{MODELS}:lenet", "--input", "16,1,28,28"),
    "regions": ("regions", f"{MODELS}:two_moons", "--input", "1,2", "--reach", "2"),
    "symmetry": ("symmetry", LENET, "--input", "2,1,28,28"),
    "cost": ("curvature", PERCEPTRON, "--input", "16,784", "--cost"),
    "signals": ("signals", PERCEPTRON, "--input", "16,784", "--seeds", "3"),
    "jacobian": ("signals", PERCEPTRON, "--input", "2,784", "--jacobian"),
    "diagnose": ("diagnose", PERCEPTRON, "--input", "32,784"),
    "a loss without targets": ("diagnose", PERCEPTRON, "--input", "32,784", "--loss", "mean"),
    "curvature with dropout": ("curvature", f"{MODELS}:encoder_block", "--input", "2,5,16", "--loss", "mse"),
    "signals without a theory": ("signals", LENET, "--input", "4,1,28,28", "--seeds", "2"),
    "pieces of a segment": ("pieces", f"{MODELS}:two_moons", "--input", "1,2"),
    "regions in fractions": (
        "regions",
        f"{MODELS}:two_moons",
        "--input",
        "1,2",
        "--reach",
        "0.1",
        "--exact",
    ),
    "polynomial": ("polynomial", "--degree", "4", "--sizes", "10,20", "--draws", "20"),
    "conditioning": ("polynomial", "--conditioning", "--degree", "4"),
}


SLOW = {
    name: [pytest.mark.slow] if name == "activations" else [] for name in WORKS
}  # SymPy derives 19 of them


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, marks in SLOW.items()])
def test_a_command_tells_a_table_and_json(mlplab, name: str):
    told = mlplab(*WORKS[name])
    assert told.status == 0, told.err
    assert told.out.strip()
    assert told.err == ""
    held = mlplab(*WORKS[name], "--json")
    assert held.status == 0, held.err
    assert json.loads(held.out)


def test_what_was_found_is_an_exit_status_for_a_pipeline(mlplab):
    ill = mlplab("diagnose", f"{MODELS}:plain_deep", "--input", "64,64")
    assert ill.status == 1
    assert ill.out.count("vanishing gradient at 0") == 1


def test_no_clean_bill_for_what_was_not_looked_at(mlplab, tmp_path: Path):
    (tmp_path / "part.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def forward(self, x):\n"
        "        return self[2](self[1](self[0](x)).detach())\n"
        "def net():\n    return Net(nn.Linear(8, 90), nn.ReLU(), nn.Linear(90, 4))\n"
    )
    told = mlplab("diagnose", f"{tmp_path / 'part.py'}:net", "--input", "32,8")
    assert told.status == 0, told.err
    assert "Looked at 1 layer, with 31% of the parameters." in told.out
    assert (
        "Not looked at: 68.9% of the parameters (Linear: 0), no gradient of the loss reaches it." in told.out
    )
    assert "Nothing was found in 1 layer, with 31% of the parameters." in told.out
    assert "Nothing was found.\n" not in told.out
    whole = mlplab("diagnose", PERCEPTRON, "--input", "32,784")
    assert "Looked at 2 layers, with all parameters." in whole.out
    assert "Nothing was found.\n" in whole.out


def test_stuck_units_are_an_exit_status_too(mlplab, tmp_path: Path):
    (tmp_path / "flat.py").write_text(
        "from torch import nn\ndef net():\n    m = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
        "    [nn.init.ones_(p) for p in m.parameters()]\n    return m\n"
    )
    assert mlplab("symmetry", f"{tmp_path / 'flat.py'}:net", "--input", "2,3").status == 1


def test_a_batch_of_the_users_own(mlplab, tmp_path: Path):
    np.savez(
        tmp_path / "batch.npz",
        inputs=np.random.default_rng(0).normal(size=(32, 784)),
        targets=np.arange(32) % 10,
    )
    told = mlplab("diagnose", PERCEPTRON, "--batch", str(tmp_path / "batch.npz"))
    assert told.status == 0, told.err
    assert told.out.startswith("32 examples of batch.npz")


def test_pieces_go_from_one_example_to_another(mlplab, tmp_path: Path):
    ends = np.array([[-1.5, 0.5], [2.5, -0.5]])
    np.savez(tmp_path / "ends.npz", inputs=ends, targets=[0, 1])
    told = mlplab("pieces", f"{MODELS}:two_moons", "--batch", str(tmp_path / "ends.npz"), "--json")
    held = json.loads(told.out)
    assert (held["start"], held["end"]) == (ends[0].tolist(), ends[1].tolist())
    assert held["num_pieces"] == len(held["breakpoints"]) + 1 > 5


def test_equations_are_written_as_latex(mlplab, tmp_path: Path):
    path = tmp_path / "equations.tex"
    told = mlplab("graph", PERCEPTRON, "--input", "2,784", "--equations", "-o", str(path))
    assert told.status == 0, told.err
    assert path.read_text("utf-8") == told.out


@pytest.mark.parametrize("suffix", ["svg", "png", "html"])
def test_a_figure_is_written(mlplab, tmp_path: Path, suffix: str):
    path = tmp_path / f"memory.{suffix}"
    assert mlplab("memory", PERCEPTRON, "--input", "8,784", "--plot", str(path)).status == 0
    assert path.stat().st_size > 1000
    if suffix == "html":
        assert '<script src="http' not in path.read_text("utf-8")


def test_a_graph_is_written_as_dot_without_any_extra(mlplab, tmp_path: Path):
    assert mlplab("graph", PERCEPTRON, "--input", "8,784", "-o", str(tmp_path / "g.dot")).status == 0
    assert (tmp_path / "g.dot").read_text("utf-8").startswith("digraph")


WRONG = {
    "no such factory": (("memory", f"{MODELS}:perceptrn", "--input", "2,784"), "Did you mean 'perceptron'"),
    "no such file": (("memory", "gone.py:f", "--input", "2"), "file that exists"),
    "shapes that do not fit": (("graph", PERCEPTRON, "--input", "2,783"), "layer '0' (Linear)"),
    "no shape": (("graph", PERCEPTRON, "--input", "2,x"), "--input 256,784"),
    "an empty batch": (("memory", PERCEPTRON, "--input", "0,784"), "positive whole numbers"),
    "unknown loss": (("memory", PERCEPTRON, "--input", "2,784", "--loss", "hinge"), "cross_entropy"),
    "unknown optimizer": (("memory", PERCEPTRON, "--input", "2,784", "--optimizer", "adm"), "'adam'"),
    "a budget without a unit": (("memory", PERCEPTRON, "--input", "2,784", "--budget", "much"), "2GiB"),
    "a figure of no kind": (("memory", PERCEPTRON, "--input", "2,784", "--plot", "f.gif"), ".svg"),
    "a figure in no folder": (
        ("memory", PERCEPTRON, "--input", "2,784", "--plot", "no/f.svg"),
        "folder that exists",
    ),
    "a drawing of no kind": (
        ("graph", PERCEPTRON, "--input", "2,784", "-o", "g.png"),
        ".dot or .svg or .html",
    ),
    "more stages than layers": (("partition", PERCEPTRON, "--input", "8,784", "--stages", "9"), "num_stages"),
    "an unknown activation": (("activation", "rely"), "'relu'"),
    "neither batch nor shape": (("diagnose", PERCEPTRON), "--batch FILE"),
    "a batch that is not there": (("diagnose", PERCEPTRON, "--batch", "gone.npz"), "readable .npz"),
    "a negative rate": (
        ("diagnose", PERCEPTRON, "--input", "2,784", "--learning-rate", "-1"),
        "learning_rate",
    ),
    "no seeds": (("signals", PERCEPTRON, "--input", "2,784", "--seeds", "0"), "--seeds"),
    "a net that is not piecewise linear": (("regions", f"{MODELS}:plain_deep", "--input", "1,64"), "Sigmoid"),
    "a slice of one input": (("regions", PERCEPTRON, "--input", "1"), "at least 2 inputs"),
    "equations as a drawing": (
        ("graph", PERCEPTRON, "--input", "2,784", "--equations", "-o", "g.svg"),
        "must end in .tex",
    ),
    "no size": (("polynomial", "--sizes", "10,x"), "--sizes"),
    "a degree below 0": (("polynomial", "--degree", "-1"), "--degree"),
    "a reach of nothing": (("pieces", f"{MODELS}:two_moons", "--input", "1,2", "--reach", "0"), "--reach"),
    "a drawing in no folder": (
        ("graph", PERCEPTRON, "--input", "2,784", "-o", "no/g.dot"),
        "folder that exists",
    ),
    "a pickle": (("memory", "weights.pth", "--input", "2"), "pickle"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_gets_one_line_and_status_2(mlplab, monkeypatch, name: str, tmp_path: Path):
    words, says = WRONG[name]
    monkeypatch.chdir(tmp_path)
    told = mlplab(*words)
    assert told.status == 2, told.out + told.err
    assert told.err.count("\n") == 1, told.err
    assert told.err.startswith("mlplab: ")
    assert says in told.err
    assert (
        told.out.replace("Random inputs and targets: figures of your data need --batch FILE.", "").strip()
        == ""
    )
