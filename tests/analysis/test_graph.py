"""The program that is drawn is the program that runs, and the equations that are printed are the ones that hold."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mlplab.analysis import equations as derivation
from mlplab.analysis.equations import equations
from mlplab.analysis.graph import graph
from mlplab.errors import InvalidInput, UnknownName

from .models import BATCHES, made

SEQUENCE = ("mlp", "lenet", "residual", "encoder")


class Names(TorchDispatchMode):
    """Operations as a real run dispatches them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace not in ("prim", "profiler") and func.overloadpacket.__name__ not in (
            "detach",
            "alias",
        ):
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", SEQUENCE)
def test_the_program_is_the_one_that_real_tensors_run(name: str):
    model, x = made(name)
    model.train()
    with Names() as real:
        model(x).mean().backward()
    drawn = [node.name for node in graph(model, x).nodes if node.kind == "operation"]
    assert drawn == real.names


def test_the_chapters_perceptron_with_biases():
    model, x = made("mlp")
    found = graph(model, x)
    by_name = {node.name: node for node in found.nodes}
    assert by_name["relu"].shape == (256, 256)
    assert by_name["relu"].saved
    assert by_name["input"].saved  # the first weight's gradient needs it
    assert not [node for node in found.nodes if node.name == "addmm" and node.saved]
    assert by_name["gradient of 0.weight"].shape == (256, 784)
    assert by_name["threshold_backward"].module == "1"
    multiplied = [node for node in found.nodes if node.phase == "backward" and node.name == "mm"]
    assert len(multiplied) == 3  # the batch asks for no gradient: one product less than two a layer


@pytest.mark.parametrize("name", BATCHES)
def test_a_gradient_has_the_shape_of_its_parameter(name: str):
    model, x = made(name)
    shapes = {f"gradient of {key}": tuple(p.shape) for key, p in model.named_parameters()}
    assert {node.name: node.shape for node in graph(model, x).nodes if node.kind == "gradient"} == shapes


@pytest.mark.parametrize("name", BATCHES)
def test_edges_point_back_and_every_saved_result_is_read_in_the_backward(name: str):
    model, x = made(name)
    nodes = graph(model, x).nodes
    assert all(source < node.number for node in nodes for source in node.inputs)
    assert [node.number for node in nodes] == list(range(len(nodes)))
    assert any(node.saved for node in nodes)


def test_operations_are_in_the_module_that_runs_them_forward_and_backward():
    model, x = made("encoder")
    products = [node for node in graph(model, x).nodes if node.flop and "linear1" in node.module]
    layers = {node.module for node in products}
    assert layers == {"encoder.layers.0.linear1", "encoder.layers.1.linear1"}
    for layer in layers:
        assert [node.phase for node in products if node.module == layer] == [
            "forward",
            "backward",
            "backward",
        ]


def test_a_prediction_has_no_backward_and_saves_nothing():
    model, x = made("mlp")
    nodes = graph(model, x, training=False).nodes
    assert {node.phase for node in nodes} == {"forward"}
    assert not any(node.saved for node in nodes)


def test_dot_names_every_node_and_edge_once():
    model, x = made("mlp")
    found = graph(model, x)
    text = found.plot().dot
    assert len(re.findall(r"^    n\d+ \[", text, re.MULTILINE)) == len(found.nodes)
    assert len(re.findall(r"n\d+ -> n\d+", text)) == sum(len(node.inputs) for node in found.nodes)
    json.dumps(found.to_dict())
    assert len(found.table()) == len(found.nodes)


def test_quotes_in_a_name_do_not_leave_the_label():
    from mlplab.analysis.graph_drawing import _quoted

    assert _quoted('a"b\\c') == '"a\\"b\\\\c"'


def test_a_page_asks_nothing_of_the_network(tmp_path):
    pytest.importorskip("pygraphviz", reason="pygraphviz (extra [graph]) draws the SVG")
    model, x = made("mlp")
    for suffix in ("dot", "svg", "html"):
        graph(model, x).plot().save(tmp_path / f"g.{suffix}")
    page = (tmp_path / "g.html").read_text("utf-8")
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [link for link in links if not link.startswith("#")] == []
    assert page.count('class="node"') == len(graph(model, x).nodes)
    with pytest.raises(InvalidInput, match=r"\.dot, \.svg, \.html"):
        graph(model, x).plot().save(tmp_path / "g.png")


def perceptrons() -> dict[str, nn.Sequential]:
    torch.manual_seed(0)
    return {
        "chapter": nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 5)),
        "no bias": nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 3, bias=False)),
        "deep": nn.Sequential(
            nn.Flatten(),
            nn.Linear(6, 5),
            nn.ELU(0.7),
            nn.Linear(5, 4),
            nn.GELU(),
            nn.Sequential(nn.Linear(4, 3)),
        ),
        "dropout": nn.Sequential(nn.Linear(6, 9), nn.PReLU(), nn.Dropout(0.5), nn.Linear(9, 3)),
        "output activation": nn.Sequential(nn.Linear(6, 4), nn.Sigmoid()),
        "linear alone": nn.Sequential(nn.Linear(6, 4)),
    }


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("loss", derivation.LOSSES)
@pytest.mark.parametrize("name", perceptrons())
def test_equations_hold_to_rounding(name: str, loss: str, weight_decay: float):
    found = equations(perceptrons()[name], loss=loss, weight_decay=weight_decay)
    assert found.largest_error < 1e-12
    gradients = [
        e.left for e in found.equations if e.left.startswith("\\frac{\\partial J}{\\partial \\mathbf{W}")
    ]
    layers = [m for m in perceptrons()[name].modules() if isinstance(m, nn.Linear)]
    assert len(gradients) == len(layers)
    assert any("\\lambda" in e.right for e in found.equations) == (weight_decay > 0)


def test_a_wrong_derivative_is_found(monkeypatch: pytest.MonkeyPatch):
    """Known-false control: with φ in place of φ' the check must fail."""
    monkeypatch.setattr(derivation, "derivative", lambda pieces: pieces)
    assert equations(perceptrons()["deep"]).largest_error > 1e-3


def test_no_symbol_has_two_superscripts():
    """TeX refuses x^a^b."""
    for model in perceptrons().values():
        text = equations(model, weight_decay=0.1).latex()
        assert not re.search(r"\^\{?\(\d\)\}?\^", text)
        assert text.count("\\begin{aligned}") == text.count("\\end{aligned}") == 3
        assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (nn.LSTM(2, 2), "LSTM"),
        (nn.Sequential(nn.Linear(2, 2), nn.Conv1d(2, 2, 1)), "Conv1d"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1)), "Softmax"),
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 2)), "3 into 2"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.ReLU(), nn.Linear(2, 2)), "one activation"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "begin with a Linear"),
    ],
)
def test_what_is_no_perceptron_is_refused_by_name(model: nn.Module, says: str):
    with pytest.raises(InvalidInput, match=says):
        equations(model)


def test_unknown_losses_and_bad_decays_are_refused():
    with pytest.raises(UnknownName):
        equations(perceptrons()["chapter"], loss="hinge")
    with pytest.raises(InvalidInput, match="weight_decay"):
        equations(perceptrons()["chapter"], weight_decay=-1)
