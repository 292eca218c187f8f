"""Whatever a stranger's model returns is read, and whatever it raises is one line that its author can act on."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from mlplab.analysis.curvature import curvature
from mlplab.analysis.derivative_cost import derivative_cost
from mlplab.analysis.diagnose import diagnose
from mlplab.analysis.equations import equations
from mlplab.analysis.graph import graph
from mlplab.analysis.memory import memory
from mlplab.analysis.model_failure import model_failures, said
from mlplab.analysis.objective import named_loss, random_targets
from mlplab.analysis.partition import partition
from mlplab.analysis.piecewise_line import breakpoints
from mlplab.analysis.piecewise_regions import linear_regions
from mlplab.analysis.signal_propagation import signal_propagation
from mlplab.analysis.spectrum import jacobian_spectrum
from mlplab.analysis.symmetry import symmetry
from mlplab.errors import InvalidInput

from .strangers import (
    FAILURES,
    OUTPUTS,
    Net,
    failing,
    failing_backward,
    scripted,
    weight_normalised,
)

X, Y = torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4
FIRST, SECOND = torch.eye(8)[0], torch.eye(8)[1]
BATCH, LOSS = (X, Y), functional.cross_entropy
TOOLS = {
    "memory": lambda m: memory(m, X),
    "memory, measured": lambda m: memory(m, X, measure=True),
    "graph": lambda m: graph(m, X),
    "partition": lambda m: partition(m, 2, X, repeats=1),
    "symmetry": lambda m: symmetry(m, X),
    "curvature": lambda m: curvature(m, BATCH, LOSS),
    "cost": lambda m: derivative_cost(m, BATCH, LOSS, num_rounds=3),
    "signals": lambda m: signal_propagation(lambda: m, X, seeds=(0, 1)),
    "jacobian": lambda m: jacobian_spectrum(m, X[:1]),
    "diagnose": lambda m: diagnose(m, BATCH, LOSS),
    "pieces": lambda m: breakpoints(m, X[0], X[1]),
    "regions": lambda m: linear_regions(m, torch.zeros(8), FIRST, SECOND, extent=(-0.1, 0.1, -0.1, 0.1)),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_tells_the_failure_of_a_model_in_one_line(tool: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TOOLS[tool](failing())
    said = str(caught.value)
    assert "KeyError: 'absent'; strangers.py:" in said.replace("\\", "")
    assert 'return {}["absent"]' in said
    assert "\n" not in said


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("tool", ["memory", "partition", "symmetry", "curvature", "jacobian", "regions"])
def test_no_kind_of_exception_is_left_out(tool: str, kind: str) -> None:
    with pytest.raises(InvalidInput, match=f"{kind}.*strangers.py"):
        TOOLS[tool](failing(kind))


def test_the_module_that_failed_is_named_with_what_it_was_given() -> None:
    says = r"^layer '1' \(Failing\) must accept its input .* got \[\(16, 8\)\]"
    for tool in ("memory", "curvature", "signals", "diagnose"):
        with pytest.raises(InvalidInput, match=says):
            TOOLS[tool](failing())


def test_a_failure_that_the_model_catches_itself_names_no_module() -> None:
    """The layer that failed for good is the last one to be entered, not one that was tried before."""

    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tried, self.then = failing()[1], nn.Linear(3, 3)

        def forward(self, x):
            try:
                return self.tried(x)
            except KeyError:
                return self.then(x)

    with pytest.raises(InvalidInput, match=r"^layer 'then' \(Linear\).*return self.then\(x\)"):
        memory(Careful(), X)


@pytest.mark.parametrize(
    "tool", ["memory", "memory, measured", "graph", "curvature", "cost", "signals", "diagnose"]
)
def test_a_failure_on_the_way_back_is_told_too(tool: str) -> None:
    with pytest.raises(InvalidInput, match=r"^loss or backward .*KeyError: 'absent'; strangers.py"):
        TOOLS[tool](failing_backward())


def test_a_failure_of_ours_while_a_model_runs_is_not_the_models() -> None:
    net = nn.Linear(8, 4)
    ours: dict = {}
    code = compile("def hook(*_): raise KeyError('ours')", said.__code__.co_filename, "exec")
    exec(code, ours)
    net.register_forward_hook(ours["hook"])
    with pytest.raises(KeyError, match="ours"), model_failures(net):
        net(X)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("tool", ["memory", "graph", "symmetry", "signals", "jacobian"])
def test_what_a_model_returns_may_be_any_container(tool: str, kind: str) -> None:
    TOOLS[tool](Net(OUTPUTS[kind]))


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("name", ["cross_entropy", "mse", "bce_with_logits"])
def test_a_loss_by_name_is_that_of_the_logits(kind: str, name: str) -> None:
    torch.manual_seed(0)
    bare = Net(lambda y: y)
    net = Net(OUTPUTS[kind])
    net.load_state_dict(bare.state_dict())
    loss, targets = named_loss(name), random_targets(name, bare(X))
    assert torch.equal(random_targets(name, net(X)), targets)
    assert loss is not None
    assert loss(net(X), targets) == loss(bare(X), targets)
    assert diagnose(net, (X, targets), loss).layers.equals(diagnose(bare, (X, targets), loss).layers)


def test_of_several_tensors_without_logits_none_is_guessed() -> None:
    loss = named_loss("mse")
    assert loss is not None
    with pytest.raises(InvalidInput, match=r"2 tensors.*Take mean"):
        loss({"a": X, "b": X}, X)
    with pytest.raises(InvalidInput, match="got 'object'"):
        loss(object(), X)


def test_operations_after_a_layer_belong_to_the_model_that_returns_a_container() -> None:
    """Backward nodes are labelled by the module that returned what they made: in a ModelOutput too."""
    plain, held = (graph(Net(end), X).table() for end in (lambda y: y, OUTPUTS["ModelOutput"]))
    assert plain[["phase", "module", "name"]].equals(held[["phase", "module", "name"]])


@pytest.mark.parametrize("tool", TOOLS)
def test_a_computed_weight_does_not_stop_a_tool(tool: str) -> None:
    TOOLS[tool](weight_normalised())


def test_saved_memory_with_computed_weights_is_that_of_a_real_step() -> None:
    found = memory(weight_normalised(), X, measure=True)
    assert found.measured is not None
    assert found.training.total["saved"] == found.measured.saved


def test_equations_ask_for_weights_of_their_own() -> None:
    with pytest.raises(InvalidInput, match="weights of its own"):
        equations(weight_normalised())


@pytest.mark.parametrize("tool", [name for name in TOOLS if name != "partition"])
def test_a_script_is_refused_in_one_line(tool: str) -> None:
    with pytest.raises(InvalidInput, match=r"ScriptModule|trace|affine") as caught:
        TOOLS[tool](scripted())
    assert "\n" not in str(caught.value)
