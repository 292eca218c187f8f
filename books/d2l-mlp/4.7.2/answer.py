"""4.7.2 The section's network with biases: its graph, and its forward and backward equations.

The graph is the program that PyTorch runs, followed operation by operation. The equations are derived by mlplab,
written by hand as an autograd function, and proved for any activation and any loss.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import sympy
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab.analysis.equations import Equations, equations
from mlplab.analysis.graph import Graph, Node, graph
from mlplab.analysis.graph_drawing import COLOURS, SAVED
from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots
from mlplab.charts.box_chart import Arrow, Box, Grid, box_chart
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

DECAY = 0.1  # λ
INPUTS, HIDDEN, OUTPUTS = 4, 3, 2  # of the network that is drawn
ROUNDING = 1e-12
VIEWS = ("t", "view", "expand", "transpose", "_unsafe_view")  # the same numbers, read another way
Elementwise = Callable[[Tensor], Tensor]

# φ and φ'.
ACTIVATIONS: dict[str, tuple[Elementwise, Elementwise]] = {
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    "sigmoid": (torch.sigmoid, lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z))),
    "softplus": (functional.softplus, torch.sigmoid),
    "ReLU": (torch.relu, lambda z: (z > 0).to(z.dtype)),
}
MODULES: tuple[type[nn.Module], ...] = (nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.ReLU, nn.ELU)
LOSSES = ("cross_entropy", "mse")

# Lines that mlplab must derive, and one that is known to be false: the penalty leaves biases alone.
DELTA = r"\frac{\partial J}{\partial \mathbf{z}^{(1)}}"
OF_WEIGHT = DELTA.replace("z", "W") + f" = {DELTA} " + r"\mathbf{x}^\top + \lambda \mathbf{W}^{(1)}"
OF_BIAS = DELTA.replace("z", "b") + f" = {DELTA}"


# The program


class Network(nn.Module):
    """The section's network with biases. Returns the outputs and the penalty s."""

    def __init__(self, *, biases: bool = True, penalised: tuple[str, ...] = ("weight",)) -> None:
        super().__init__()
        self.hidden = nn.Linear(INPUTS, HIDDEN, bias=biases)
        self.activation = nn.Tanh()
        self.output = nn.Linear(HIDDEN, OUTPUTS, bias=biases)
        self.penalised = penalised

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, inputs) -> outputs (batch, outputs), and λ/2 times the sum of squares of what is penalised."""
        o = self.output(self.activation(self.hidden(x)))
        squares = [p.square().sum() for name, p in self.named_parameters() if name.endswith(self.penalised)]
        return o, DECAY / 2 * functools.reduce(operator.add, squares)


@cache
def program(*, biases: bool = True, penalised: tuple[str, ...] = ("weight",)) -> Graph:
    """Forward and backward of one example, with the squared distance as the loss L, and J = L + s."""

    def objective(output: tuple[Tensor, Tensor], y: Tensor | None) -> Tensor:
        assert y is not None
        return functional.mse_loss(output[0], y) + output[1]

    network = Network(biases=biases, penalised=penalised)
    return graph(network, torch.zeros(1, INPUTS), torch.zeros(1, OUTPUTS), objective)


def reads_itself(of: Graph, parameter: str) -> bool:
    """Whether the backward reads a parameter on the way to its own gradient, as the derivative of a penalty does."""
    waiting = [node for node in of.nodes if node.name == f"gradient of {parameter}"]
    read = set()
    while waiting:
        node = waiting.pop()
        for source in (of.nodes[number] for number in node.inputs):
            if source.phase == "backward":
                waiting.append(source)
            else:
                read.add(_origin(of, source).name)
    return parameter in read


def _origin(of: Graph, node: Node) -> Node:
    """What a chain of views looks at."""
    return _origin(of, of.nodes[node.inputs[0]]) if node.name in VIEWS else node


def spares_biases(penalised: tuple[str, ...]) -> Finding:
    """The real program: does each weight's gradient read the weight, and no bias's gradient its bias?"""
    found = program(penalised=penalised)
    parameters = [node.name for node in found.nodes if node.kind == "parameter"]
    own = {name: reads_itself(found, name) for name in parameters}
    right = all(reads == name.endswith("weight") for name, reads in own.items())
    return Finding.true_if(
        right, ", ".join(name for name, reads in own.items() if reads) + " read themselves"
    )


# The equations


def is_chain_rule(across: Callable[[sympy.Matrix], sympy.Matrix]) -> Finding:
    """Any φ and any L, two units in each layer: are ∂b₁ = δ, ∂W₁ = δxᵀ + λW₁, ∂b₂ = ∂L/∂o, ∂W₂ = ∂L/∂o hᵀ + λW₂?

    Arguments:
      across: of W₂, the matrix that takes ∂L/∂o back to ∂L/∂h.
    """
    Matrix: Any = sympy.Matrix  # its stubs know no entries
    phi, loss, decay, t = (
        sympy.Function("phi"),
        sympy.Function("L"),
        sympy.Symbol("lambda"),
        sympy.Symbol("t"),
    )
    x, b1, b2, p = (Matrix(sympy.symbols(f"{letter}:2")) for letter in "xbcp")
    w1, w2 = (Matrix(2, 2, sympy.symbols(f"{letter}:4")) for letter in "uv")
    z = w1 * x + b1
    h = z.applyfunc(phi)
    o = w2 * h + b2
    total = loss(*o) + decay / 2 * sum(entry**2 for entry in [*w1, *w2])
    reading = Matrix([sympy.diff(loss(*p), k) for k in p]).subs(list(zip(p, o, strict=True)))
    slope = z.applyfunc(lambda entry: sympy.diff(phi(t), t).subs(t, entry))
    delta = (across(w2) * reading).multiply_elementwise(slope)
    derived = {"b1": (b1, delta), "W1": (w1, delta * x.T + decay * w1), "b2": (b2, reading)}
    derived["W2"] = (w2, reading * h.T + decay * w2)
    wrong = [
        name
        for name, (parameter, formula) in derived.items()
        if any(
            sympy.expand((sympy.diff(total, parameter[i]) - formula[i]).doit()) for i in range(len(parameter))
        )
    ]
    return Finding.true_if(not wrong, f"wrong: {', '.join(wrong)}" if wrong else "all four are equal")


class ByHand(torch.autograd.Function):
    """J of one example, with the backward written out.

    Arguments:
      options: activation, loss, and λ of weights and of biases.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, y: Tensor, options: Any
    ) -> Tensor:
        """x, b₁, b₂, y are vectors."""
        activation, loss, _ = options
        z = w1 @ x + b1
        h = ACTIVATIONS[activation][0](z)
        o = w2 @ h + b2
        ctx.save_for_backward(x, w1, b1, w2, z, h, o, y)
        ctx.options = options
        value = -(y @ torch.log_softmax(o, 0)) if loss == "cross_entropy" else ((o - y) ** 2).mean()
        return value + DECAY / 2 * (w1.square().sum() + w2.square().sum())

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The equations of the answer."""
        x, w1, b1, w2, z, h, o, y = ctx.saved_tensors
        activation, loss, decay_of_biases = ctx.options
        reading = torch.softmax(o, 0) - y if loss == "cross_entropy" else 2 / len(o) * (o - y)
        delta = (w2.T @ reading) * ACTIVATIONS[activation][1](z)
        gradients = (
            w1.T @ delta,
            torch.outer(delta, x) + DECAY * w1,
            delta + decay_of_biases * b1,
            torch.outer(reading, h) + DECAY * w2,
            reading,
        )
        return (*(upstream[0] * g for g in gradients), None, None)


def _of(y: Tensor, options: tuple[str, str, float], *given: Tensor) -> Any:
    return ByHand.apply(*given, y, options)


def passes_gradcheck(decay_of_biases: float) -> Finding:
    """Activations, losses, shapes, random numbers: does `torch.autograd.gradcheck` accept the backward by hand?"""
    tries = rejected = 0
    for activation, loss, seed in itertools.product(ACTIVATIONS, LOSSES, range(4)):
        stream = Stream(seed, "data")
        inputs, hidden, outputs = 2 + seed, 5 - seed, 3
        shapes = ((inputs,), (hidden, inputs), (hidden,), (outputs, hidden), (outputs,))
        given = [torch.from_numpy(stream.normal(shape)).requires_grad_() for shape in shapes]
        y = torch.from_numpy(stream.normal(outputs))
        y = functional.one_hot(y.argmax(), outputs).double() if loss == "cross_entropy" else y
        tries += 1
        function = functools.partial(_of, y, (activation, loss, decay_of_biases))
        rejected += not torch.autograd.gradcheck(function, given, raise_exception=False)
    return Finding.true_if(not rejected, f"{rejected} of {tries} rejected", tries=tries)


@cache
def derived(activation: type[nn.Module], loss: str) -> Equations:
    """By mlplab, compared with autograd on random examples."""
    layers = nn.Linear(INPUTS, HIDDEN), activation(), nn.Linear(HIDDEN, OUTPUTS)
    for number, parameter in enumerate(p for layer in layers for p in layer.parameters()):
        drawn = Stream(0, "init", layer=number).normal(tuple(parameter.shape))
        parameter.data = torch.from_numpy(drawn).float()
    return equations(nn.Sequential(*layers), loss=loss, weight_decay=DECAY)


def derives(lines: tuple[str, ...]) -> Finding:
    """Six activations, two losses: does mlplab derive these lines, and do all of its lines agree with autograd?"""
    found = [derived(activation, loss) for activation in MODULES for loss in LOSSES]
    missing = [line for line in lines for one in found if line not in [e.latex for e in one.equations]]
    worst = max(one.largest_error for one in found)
    numbers = {"networks": len(found), "examples": found[0].num_examples, "worst_error": worst}
    return Finding.true_if(not missing and worst < ROUNDING, f"{len(missing)} missing", **numbers)


# What is drawn: the program with its views left out, and neighbours of one chain in one box


@dataclass(frozen=True)
class Group:
    """Nodes of one box, in the order in which they run; `inputs` are numbers of other groups."""

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]

    @property
    def first(self) -> Node:
        return self.nodes[0]

    @property
    def last(self) -> Node:
        return self.nodes[-1]


@cache
def groups() -> dict[int, Group]:
    """Number of a group -> group."""
    found = program()
    kept = [n for n in found.nodes if n.name not in VIEWS]
    origin = {n.number: _origin(found, n).number for n in found.nodes}
    inputs = {n.number: tuple(dict.fromkeys(origin[i] for i in n.inputs)) for n in kept}
    readers = {n.number: [m.number for m in kept if n.number in inputs[m.number]] for n in kept}
    group = {n.number: n.number for n in kept}
    for n in kept:  # in the order in which they run: a chain grows from its first
        if len(inputs[n.number]) == 1:
            before = found.nodes[inputs[n.number][0]]
            alike = (before.kind, before.phase, before.module) == ("operation", n.phase, n.module)
            if alike and len(readers[before.number]) == 1:
                group[n.number] = group[before.number]
    for n in reversed(kept):  # what the backward computes from a weight alone belongs to what multiplies it
        alone = all(found.nodes[i].kind == "parameter" for i in inputs[n.number])
        if n.kind == "operation" and n.phase == "backward" and alone:
            (last,) = [
                m for m in group if group[m] == n.number and not any(group[r] == n.number for r in readers[m])
            ]
            group |= {m: group[readers[last][0]] for m in group if group[m] == n.number}
    members = {g: tuple(n for n in kept if group[n.number] == g) for g in dict.fromkeys(group.values())}
    return {
        g: Group(
            nodes, tuple(dict.fromkeys(group[i] for n in nodes for i in inputs[n.number] if group[i] != g))
        )
        for g, nodes in members.items()
    }


LETTERS = {
    "input": "x", "targets": "y",
    "hidden.weight": "W₁", "hidden.bias": "b₁", "output.weight": "W₂", "output.bias": "b₂",
}  # fmt: skip
RESULTS = {"hidden": "z", "activation": "h", "output": "o"}
PLACES: Mapping[str, tuple[float, float]] = {
    "s": (4, 0), "‖W₁‖²": (1, 1), "‖W₂‖²": (3, 1), "b₁": (0, 2), "b₂": (2, 2), "W₁": (0, 3), "W₂": (2, 3), "y": (3, 3),
    "x": (0, 4), "z": (1, 4), "h": (2, 4), "o": (3, 4), "L": (4, 4), "J": (5, 4),
    "∂J/∂J": (5, 5), "∂J/∂o": (4, 5), "∂J/∂h": (3, 5), "δ = ∂J/∂z": (2, 5),
    "∂J/∂o hᵀ": (3, 6), "∂J/∂W₂": (2, 6), "δxᵀ": (1, 6), "∂J/∂W₁": (0, 6), "∂J/∂b₂": (3, 7), "∂J/∂b₁": (1, 7),
    "λW₂": (3, 8), "λW₁": (1, 8), "λ/2": (4, 9),
}  # fmt: skip


@cache
def symbols() -> dict[int, str]:
    """Number of a group -> the letter of the section that it stands for, from where it is in the program."""
    nodes, held = program().nodes, groups()
    (target,) = [n.number for n in nodes if n.kind == "target"]
    end = max(n.number for n in nodes if n.phase == "forward")
    found: dict[int, str] = {}
    for number, group in held.items():
        weights = [LETTERS[nodes[i].name] for i in group.inputs if nodes[i].kind == "parameter"]
        if group.first.kind in ("input", "target", "parameter"):
            found[number] = LETTERS[group.first.name]
        elif group.last.kind == "gradient":
            found[number] = f"∂J/∂{LETTERS[group.last.name.removeprefix('gradient of ')]}"
        elif group.first.phase == "forward":
            found[number] = RESULTS.get(group.first.module) or (
                "J" if end in [n.number for n in group.nodes]
                else "L" if target in group.inputs
                else f"‖{weights[0]}‖²" if weights else "s"
            )  # fmt: skip
        else:
            products = {"hidden": "δxᵀ", "output": "∂J/∂o hᵀ", "activation": "δ = ∂J/∂z"}
            module = group.first.module
            found[number] = (
                "∂J/∂h" if module == "output" and group.last.shape == (1, HIDDEN)
                else products[module] if module
                else "∂J/∂o" if target in group.inputs
                else f"λ{weights[0]}" if weights
                else "∂J/∂J" if group.first.name == "ones_like" else "λ/2"
            )  # fmt: skip
    return found


# The section's own graph. Name: label, column, row.
VARIABLES = {
    "x": ("x", 0, 3), "W₁": ("W₁", 1, 2), "b₁": ("b₁", 2, 2), "z": ("z", 3, 3), "h": ("h", 5, 3), "W₂": ("W₂", 6, 2),
    "o": ("o", 7, 3), "y": ("y", 8, 2), "L": ("L", 9, 3), "s": ("s", 10, 1), "J": ("J", 11, 3),
}  # fmt: skip
OPERATORS = {
    "product": ("×", 1, 3), "bias": ("+", 2, 3), "φ": ("φ", 4, 3), "reading": ("×", 6, 3), "l": ("l", 8, 3),
    "first": ("‖·‖²", 1, 0), "second": ("‖·‖²", 6, 1), "both": ("+", 8, 0), "λ": ("λ/2", 10, 0), "end": ("+", 10, 3),
}  # fmt: skip
WAYS = (
    "x product bias z φ h reading o l L end J", "W₁ product", "b₁ bias", "W₂ reading", "y l",
    "W₁ first both λ s end", "W₂ second both",
)  # fmt: skip
NEW = ("b₁", "bias")


def drawn_as_in_the_section() -> altair.LayerChart:
    """Variables in squares, operators in circles; what the bias adds in orange."""
    colours = {True: SAVED, False: ("#ffffff", "#555555")}
    boxes = [
        Box(name, label, x, y, *colours[name in NEW], rounded=nodes is OPERATORS)
        for nodes in (VARIABLES, OPERATORS)
        for name, (label, x, y) in nodes.items()
    ]
    arrows = [
        Arrow(source, target, SAVED[1] if source in NEW and target in NEW else plots.GREY)
        for way in WAYS
        for source, target in itertools.pairwise(way.split())
    ]
    return box_chart(boxes, arrows, Grid(column=56, row=48, width=32, height=32))


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The section's graph with one node and one "+" more; below it the program as boxes and arrows: forward above,
    backward below, and what is kept for it.
    """
    alt = import_extra("altair", what="A figure", extra="book")
    held, names = groups(), symbols()
    boxes, arrows = [], []
    for number, group in held.items():
        name, saved = names[number], any(n.saved for n in group.nodes)
        label = ", ".join(n.name for n in group.nodes if n.kind == "operation")
        kind = "gradient" if group.last.kind == "gradient" else group.first.kind
        fill, border = COLOURS[kind]
        boxes.append(
            Box(
                name,
                f"{name}\n{label}" if label else name,
                *PLACES[name],
                fill,
                SAVED[1] if saved else border,
                f"{name}: {' × '.join(map(str, group.last.shape)) or 'scalar'}",
            )
        )
        for source in group.inputs:
            crosses = held[source].first.phase != group.first.phase
            if name.startswith("λ") and crosses:
                continue  # its name says what it reads
            arrows.append(Arrow(names[source], name, SAVED[1] if crosses else plots.GREY, dashed=crosses))
    title = alt.TitleParams(
        words["labels.program-with-biases"],
        subtitle=words["titles.above-forward-below-backward-right"],
        anchor="start",
    )
    by_hand = alt.TitleParams(
        words["labels.graph-with-bias"], subtitle=words["titles.squares-and-circles"], anchor="start"
    )
    return alt.vconcat(
        drawn_as_in_the_section().properties(title=by_hand), box_chart(boxes, arrows).properties(title=title)
    )


def facts(observations: Observations) -> dict[str, Any]:
    """The derived equations, and how many operations compute something, with and without biases."""
    counts = {
        f"{phase}_{word}": sum(
            n.kind == "operation" and n.phase == phase and n.name not in VIEWS
            for n in program(biases=on).nodes
        )
        for phase in ("forward", "backward")
        for word, on in (("with", True), ("without", False))
    }
    return counts | {"derived_equations": [e.latex for e in derived(nn.Tanh, "mse").equations]}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The graph in words: each box, what it reads, and whether it is kept."""
    phases = {"forward": words["labels.forward"], "backward": words["labels.backward"]}
    held, names = groups(), symbols()
    yes = words["labels.yes"]
    rows = [
        [
            phases[group.first.phase],
            names[number],
            ", ".join(n.name for n in group.nodes if n.kind == "operation") or "–",
            " × ".join(map(str, group.last.shape)) or "1",
            ", ".join(names[i] for i in group.inputs) or "–",
            yes if any(n.saved for n in group.nodes) else "",
        ]
        for number, group in held.items()
    ]
    columns = (
        words["heads.phase"], words["heads.value"], words["heads.operations"], words["heads.shape"],
        words["heads.reads"], words["heads.kept-for-backward"],
    )  # fmt: skip
    title = words("titles.program-inputs-hidden-units-and", inputs=INPUTS, hidden=HIDDEN, outputs=OUTPUTS)
    return [Table(title, columns, rows)]


def expected(seen: Observations) -> dict[str, tuple[float, float]]:
    """No more than rounding between the equations and autograd."""
    return {"largest_difference": (0, ROUNDING)}


BY_THE_CHAIN_RULE: dict[bool, dict[Any, Any]] = {
    agrees: {"holds": "right" if agrees else "wrong", "fails": "unsupported", "undecided": "unsupported"}
    for agrees in (True, False)
}

ANSWER = Answer(
    claims=(
        Claim(
            name="chain-rule",
            kind="proof",
            check=is_chain_rule,
            subject=lambda o: lambda w2: w2.T,
            falsehood=lambda o: lambda w2: w2,
        ),
        Claim(
            name="backward-by-hand",
            kind="property",
            check=passes_gradcheck,
            subject=lambda o: 0.0,
            falsehood=lambda o: DECAY,  # a bias that decays as the weights do
        ),
        Claim(
            name="derived-by-program",
            kind="property",
            check=derives,
            subject=lambda o: (OF_WEIGHT, OF_BIAS),
            falsehood=lambda o: (OF_WEIGHT, OF_BIAS + r" + \lambda \mathbf{b}^{(1)}"),
        ),
        Claim(
            name="the-penalty-spares-biases",
            kind="calculation",
            check=spares_biases,
            subject=lambda o: ("weight",),
            falsehood=lambda o: ("weight", "bias"),
        ),
    ),
    circulated=tuple(
        Circulated(name, BY_THE_CHAIN_RULE[agrees], by="chain-rule", source=source)
        for name, agrees, source in (
            ("bias-gets-the-gradient-of-h", False, "datawhale"),
            ("weights-as-before", True, "datawhale"),
            ("bias-gets-the-slope-too", True, "pandalabme"),
            ("weights-without-penalty", False, "pandalabme"),
        )
    ),
    figure=figure,
    tables=tables,
    facts=facts,
    expected=expected,
)
