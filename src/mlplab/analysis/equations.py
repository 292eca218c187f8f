"""Forward and backward equations of a multilayer perceptron, written in LaTeX and checked against autograd.

For one example, a column x: layer l computes z = Wh + b and h = φ(z). With J = L + s, where s = λ/2 · Σ‖W‖_F² is the
weight decay, the chain rule goes from the output back. The formulas that are printed are the ones that are evaluated.
Sources: Zhang et al., Dive into Deep Learning, section 4.7; Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from mlplab.analysis.activation_formulas import CONSTANTS, FORMULAS, SYMBOLS, bind, derivative, latex, on_grid
from mlplab.analysis.elementwise import resolve
from mlplab.analysis.formula import Formula, applied, scaled, symbol
from mlplab.analysis.model_copy import copied
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, UnknownName, import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float

LOSSES = ("cross_entropy", "mse")
SKIPPED = (nn.Identity, nn.Flatten)
LETTERS = ("\\phi", "\\psi", "\\chi", "\\rho", "\\theta", "\\kappa", "\\nu", "\\xi")


@dataclass(frozen=True)
class Equation:
    """`left` = `right`, in the order in which they are computed. `error`: the largest difference from autograd of the
    tensor that it stands for, relative to that tensor's largest entry, over the examples that were tried."""

    phase: str  # "forward" or "backward"
    left: str
    right: str
    error: float

    @property
    def latex(self) -> str:
        """The equation."""
        return f"{self.left} = {self.right}"


@dataclass(frozen=True)
class Equations:
    """The equations of one model. `legend`: what a letter stands for, in LaTeX."""

    legend: tuple[str, ...]
    equations: tuple[Equation, ...]
    num_examples: int

    @property
    def largest_error(self) -> float:
        """The largest relative difference from autograd over all equations."""
        return max(equation.error for equation in self.equations)

    def latex(self) -> str:
        """An aligned block for forward and backward each, with the legend above and the check as a comment."""
        lines = [f"% checked against autograd on {self.num_examples} random examples in float64:"]
        lines.append(f"% largest relative difference {self.largest_error:.1e}")
        lines += ["\\begin{aligned}", " \\\\\n".join(f"  & {line}" for line in self.legend), "\\end{aligned}"]
        for phase in ("forward", "backward"):
            own = [equation for equation in self.equations if equation.phase == phase]
            rows = " \\\\\n".join(f"  {equation.left} &= {equation.right}" for equation in own)
            lines += [f"% {phase}", "\\begin{aligned}", rows, "\\end{aligned}"]
        return "\n".join(lines)

    def table(self) -> pd.DataFrame:
        """A row for each equation: phase, LaTeX, and how far its value is from autograd's."""
        return pd.DataFrame(
            {"phase": e.phase, "equation": e.latex, "relative_error": e.error} for e in self.equations
        )

    def plot(self) -> altair.Chart:
        """How far each equation is from autograd, on a logarithmic axis."""
        alt = import_extra("altair", what="A figure", extra="book")
        rows = self.table().assign(error=lambda t: t["relative_error"].clip(lower=1e-18))
        title = "Equations against autograd, float64"
        points = alt.Chart(rows, title=title, width=420, height=alt.Step(22)).mark_point(
            filled=True, color=PALETTE[0]
        )
        x = alt.X("error:Q", title="Largest relative difference", scale=alt.Scale(type="log"))
        return points.encode(x=x, y=alt.Y("equation:N", sort=list(rows["equation"]), title=None))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "legend": list(self.legend),
            "equations": self.table().to_dict("records"),
            "num_examples": self.num_examples,
        }


def equations(
    model: nn.Module, *, loss: str = "cross_entropy", weight_decay: float = 0.0, num_examples: int = 5
) -> Equations:
    """Derive and check the equations of an MLP: an nn.Sequential of Linear layers, activations, dropout, Flatten.

    Arguments:
      loss: "cross_entropy" (of one class) or "mse" (mean over outputs, as `nn.MSELoss`).
      weight_decay: λ of s = λ/2 · Σ‖W‖_F²; at 0 it is left out.
      num_examples: standard normal inputs on which every equation is compared with autograd; dropout masks are drawn.

    Raises InvalidInput for a layer that is none of these, a Linear on the meta device, and layers that do not fit;
    UnknownName for a loss.
    """
    if loss not in LOSSES:
        raise UnknownName("equations.loss", loss, LOSSES)
    if not (np.isfinite(weight_decay) and weight_decay >= 0):
        raise InvalidInput("equations.weight_decay", "must be a finite number of at least 0", weight_decay)
    program = _Program(_layers(model), loss, weight_decay)
    errors = np.max([program.errors(Stream(seed, "data")) for seed in range(num_examples)], axis=0)
    found = [
        Equation(phase, left, formula.latex, float(error))
        for (phase, left, formula), error in zip(program.lines, errors, strict=True)
    ]
    return Equations(tuple(program.legend), tuple(found), num_examples)


def _layers(model: nn.Module) -> list[nn.Module]:
    def opened(module: nn.Module) -> list[nn.Module]:
        plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        return [inner for child in module for inner in opened(child)] if plain else [module]  # type: ignore[union-attr]

    layers = [layer for layer in opened(model) if not isinstance(layer, SKIPPED)]
    if not any(isinstance(layer, nn.Linear) for layer in layers):
        raise InvalidInput(
            "equations model", "must be an nn.Sequential with a Linear layer", type(model).__name__
        )
    if not isinstance(layers[0], nn.Linear):
        raise InvalidInput("equations model", "must begin with a Linear layer", type(layers[0]).__name__)
    sizes = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for layer in sizes:
        if "weight" in vars(layer):  # no parameter, but computed by torch.nn.utils.weight_norm and the like
            hint = "Take the weight normalisation off first"
            raise InvalidInput("equations model", "must have weights of its own", "a computed weight", hint)
    for before, after in itertools.pairwise(sizes):
        if before.out_features != after.in_features:
            got = f"{before.out_features} into {after.in_features}"
            raise InvalidInput("equations model", "must have Linear layers that fit", got)
    if any(p.device.type == "meta" for p in model.parameters()):
        raise InvalidInput("equations model", "must have its weights", "parameters on the meta device")
    return layers


class _Program:
    """Lines of (phase, left side, formula) in the order of computation; `legend` explains letters and functions."""

    def __init__(self, layers: list[nn.Module], loss: str, weight_decay: float) -> None:
        self.layers = [copied(layer).double().eval() for layer in layers]
        self.loss, self.weight_decay = loss, weight_decay
        self.lines: list[tuple[str, str, Formula]] = []
        self.legend: list[str] = []
        self._letters: dict[str, str] = {}
        self._forward()
        self._backward()

    def _add(self, phase: str, left: str, formula: Formula) -> Formula:
        self.lines.append((phase, left, formula))
        return symbol(left)

    def _forward(self) -> None:
        h = symbol("\\mathbf{x}")
        self.steps: list[dict[str, Any]] = []
        count = 0
        for index, layer in enumerate(self.layers):
            if isinstance(layer, nn.Linear):
                count += 1
                last = index == len(self.layers) - 1
                weight, bias = symbol(f"\\mathbf{{W}}^{{({count})}}"), symbol(f"\\mathbf{{b}}^{{({count})}}")
                right = weight @ h + bias if layer.bias is not None else weight @ h
                z = self._add("forward", "\\mathbf{o}" if last else f"\\mathbf{{z}}^{{({count})}}", right)
                self.steps.append(
                    {"kind": "linear", "weight": weight, "bias": bias, "input": h, "layer": layer}
                )
                h = z
            elif isinstance(layer, nn.Dropout):
                mask = symbol(f"\\mathbf{{m}}^{{({count})}}")
                dropped = self._add("forward", f"\\tilde{{\\mathbf{{h}}}}^{{({count})}}", mask * h)
                self.steps.append({"kind": "dropout", "mask": mask, "layer": layer})
                h = dropped
            else:
                value, slope = self._activation(layer)
                name = "\\mathbf{o}" if index == len(self.layers) - 1 else f"\\mathbf{{h}}^{{({count})}}"
                if name in (left for _, left, _ in self.lines):
                    raise InvalidInput(
                        "equations model", "must have one activation after a Linear", type(layer).__name__
                    )
                self.steps.append({"kind": "activation", "slope": slope(h)})
                h = self._add("forward", name, value(h))
        self.output = h
        self._loss()

    def _activation(self, layer: nn.Module) -> tuple[Any, Any]:
        couples = any(p.ndim > 1 for p in layer.parameters()) or isinstance(layer, nn.Softmax | nn.LogSoftmax)
        name, options, _ = ("", {}, None) if couples else resolve(layer, {})
        if name not in FORMULAS:
            rule = "must be made of Linear, activations of the catalogue, Dropout and Flatten"
            raise InvalidInput("equations model", rule, type(layer).__name__)
        numbers: dict[Any, Any] = {SYMBOLS[key]: value for key, value in options.items()} | CONSTANTS.get(
            name, {}
        )
        pieces = FORMULAS[name]
        exact, slopes = bind(pieces, numbers), bind(derivative(pieces), numbers)
        key = f"{name} {sorted(options.items())}"
        if key not in self._letters:
            letter = self._letters[key] = LETTERS[len(self._letters) % len(LETTERS)]
            self.legend.append(f"{letter}(x) = {latex(exact)} \\quad\\text{{({name})}}")
            self.legend.append(f"{letter}'(x) = {latex(slopes)}")
        letter = self._letters[key]

        def on(which: Any) -> Any:
            return lambda values: on_grid(which, values.ravel()).reshape(values.shape)

        return lambda z: applied(letter, on(exact), z), lambda z: applied(f"{letter}'", on(slopes), z)

    def _loss(self) -> None:
        y, o = symbol("\\mathbf{y}"), self.output
        if self.loss == "cross_entropy":
            one_hot = "\\quad \\mathbf{y} \\text{ one-hot}"
            formula = "L = -\\mathbf{y}^\\top \\log \\operatorname{softmax}(\\mathbf{o})"
            self.legend.insert(0, f"{formula}, {one_hot}")
        else:
            self.legend.insert(
                0, "L = \\tfrac{1}{q} \\lVert \\mathbf{o} - \\mathbf{y} \\rVert^2, \\quad q \\text{ outputs}"
            )
        decay = (
            " + \\tfrac{\\lambda}{2} \\sum_l \\lVert \\mathbf{W}^{(l)} \\rVert_F^2"
            if self.weight_decay
            else ""
        )
        self.legend.insert(1, f"J = L{decay}")
        if any(step["kind"] == "dropout" for step in self.steps):
            self.legend.append(
                "\\mathbf{m}^{(l)}: \\text{ entries } 0 \\text{ with probability } p, \\text{ else } 1/(1-p)"
            )
        self.gradient = applied("\\operatorname{softmax}", _softmax, o) - y
        if self.loss == "mse":
            layer = next(layer for layer in reversed(self.layers) if isinstance(layer, nn.Linear))
            self.gradient = scaled("\\tfrac{2}{q}", 2 / layer.out_features, o - y)

    def _backward(self) -> None:
        reading = self._add("backward", "\\frac{\\partial J}{\\partial \\mathbf{o}}", self.gradient)
        targets = [left for phase, left, _ in self.lines if phase == "forward"]
        targets.pop()
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            if step["kind"] == "linear":
                reading = self._linear(index, step, reading, targets)
            else:
                factor = step.get("mask") or step["slope"]
                left = f"\\frac{{\\partial J}}{{\\partial {targets.pop()}}}"
                reading = self._add("backward", left, reading * factor)

    def _linear(self, index: int, step: dict[str, Any], delta: Formula, targets: list[str]) -> Formula:
        weight, bias, h = step["weight"], step["bias"], step["input"]
        right = delta @ h.T
        if self.weight_decay:
            right = right + scaled("\\lambda", self.weight_decay, weight)
        self._add("backward", f"\\frac{{\\partial J}}{{\\partial {weight.latex}}}", right)
        if step["layer"].bias is not None:
            self._add("backward", f"\\frac{{\\partial J}}{{\\partial {bias.latex}}}", delta)
        if index == 0:
            return delta
        return self._add("backward", f"\\frac{{\\partial J}}{{\\partial {targets.pop()}}}", weight.T @ delta)

    def errors(self, stream: Stream) -> list[float]:
        """How far each line is from what autograd says on one random example."""
        given, tensors, objective = self._run(stream)
        values = dict(given)
        gradients = torch.autograd.grad(objective, list(tensors.values()), allow_unused=True)
        truth = {name: t.detach() for name, t in tensors.items()}
        truth |= {
            f"\\frac{{\\partial J}}{{\\partial {name}}}": g
            for name, g in zip(tensors, gradients, strict=True)
            if g is not None
        }
        found = []
        for _, left, formula in self.lines:
            values[left] = formula.value(values)
            exact = truth[left].numpy().reshape(values[left].shape)
            scale = max(float(np.abs(exact).max()), 1e-300)
            found.append(float(np.abs(values[left] - exact).max()) / scale)
        return found

    def _run(self, stream: Stream) -> tuple[dict[str, np.ndarray], dict[str, torch.Tensor], torch.Tensor]:
        """PyTorch's own forward on a random example: what is given, all tensors by their symbol, and J."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        x = torch.from_numpy(stream.normal(first.in_features))
        given = {"\\mathbf{x}": x.numpy()[:, None]}
        tensors: dict[str, torch.Tensor] = {}
        names = iter(left for phase, left, _ in self.lines if phase == "forward")
        decay = torch.zeros((), dtype=torch.float64)
        h = x
        for step, layer in zip(self.steps, self.layers, strict=True):
            if step["kind"] == "linear":
                weight = layer.weight.detach().clone().requires_grad_()  # type: ignore[union-attr, operator]
                given[step["weight"].latex] = weight.detach().numpy()
                tensors[step["weight"].latex] = weight
                bias = None
                if layer.bias is not None:
                    bias = layer.bias.detach().clone().requires_grad_()  # type: ignore[union-attr, operator]
                    tensors[step["bias"].latex] = bias
                    given[step["bias"].latex] = bias.detach().numpy()[:, None]
                decay = decay + weight.square().sum()
                h = nn.functional.linear(h, weight, bias)
            elif step["kind"] == "dropout":
                rate = float(layer.p)  # type: ignore[arg-type]
                kept = torch.from_numpy(stream.uniform(h.numel()) >= rate).double()
                mask = kept / (1 - rate) if rate < 1 else kept * 0
                given[step["mask"].latex] = mask.numpy()[:, None]
                h = mask * h
            else:
                h = layer(h)
            tensors[next(names)] = h
        y = torch.from_numpy(stream.normal(h.numel()))
        if self.loss == "cross_entropy":
            y = nn.functional.one_hot(y.argmax(), h.numel()).double()
            value = nn.functional.cross_entropy(h[None], y.argmax()[None])
        else:
            value = nn.functional.mse_loss(h, y)
        given["\\mathbf{y}"] = y.numpy()[:, None]
        return given, tensors, value + self.weight_decay / 2 * decay


def _softmax(z: Float[np.ndarray, "class one"]) -> Float[np.ndarray, "class one"]:
    powers = np.exp(z - z.max())
    return powers / powers.sum()
