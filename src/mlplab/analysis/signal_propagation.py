"""How signals and gradients run through a freshly drawn model, measured over seeds, beside mean-field theory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mlplab import stats
from mlplab.analysis.mean_field import gaussian_mean, gradient_gain
from mlplab.analysis.model_failure import model_failures
from mlplab.analysis.model_output import tensors_in
from mlplab.analysis.module_kinds import layers_in, seen_output, without_noise
from mlplab.analysis.step import fake_output
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, import_extra

if TYPE_CHECKING:
    import altair
    from jaxtyping import Shaped


@dataclass(frozen=True)
class SignalPropagation:
    """Predicted and measured variances of a model's pre-activations and of the gradients there, over its layers.

    `rows`: a row for each layer, from the input on: layer, name, direction ("forward" or "backward"), predicted (NaN
    where there is no theory), estimate, ci_low, ci_high. Forward: the mean square of what the layer returns, before
    an activation outside it. Backward: that of the gradient there, for a standard normal one at the model's end.
    """

    rows: pd.DataFrame
    ci_prob: float
    num_replicates: int

    def table(self) -> pd.DataFrame:
        """A row for each layer and direction."""
        return self.rows.copy()

    def plot(self, *, title: str = "Signals and gradients at the start") -> altair.HConcatChart:
        """Measured variances as points with intervals, predicted ones as lines; logarithmic."""
        alt = import_extra("altair", what="A figure", extra="book")
        theory = "line: mean field; " if self.rows["predicted"].notna().any() else ""
        note = f"{theory}point: mean over seeds with {100 * self.ci_prob:.3g}% t interval"
        names = {"forward": "Mean square of pre-activations", "backward": "Mean square of gradients"}
        charts = []
        for colour, (direction, y_title) in zip(PALETTE, names.items(), strict=False):
            rows = self.rows[self.rows["direction"] == direction].copy()
            rows["ci_low"] = rows["ci_low"].where(rows["ci_low"] > 0)  # a logarithm ends at 0
            base = alt.Chart(rows, width=270, height=240).encode(
                x=alt.X("layer:Q", title="Layer", axis=alt.Axis(tickMinStep=1, format="d"))
            )
            axis = alt.Axis(format="~e", tickCount=6)
            y = alt.Y("predicted:Q", title=y_title, scale=alt.Scale(type="log"), axis=axis)
            line = base.mark_line(color="#8a8a8a").encode(y=y)
            bars = base.mark_rule(color=colour).encode(y="ci_low:Q", y2="ci_high:Q")
            points = base.mark_point(color=colour, filled=True, opacity=1).encode(y="estimate:Q")
            charts.append(
                alt.layer(
                    line.transform_filter("isValid(datum.predicted)"),
                    bars.transform_filter("isValid(datum.ci_low)"),
                    points,
                )
            )
        heading = alt.TitleParams(title, subtitle=f"{note}, n = {self.num_replicates}", anchor="start")
        return alt.hconcat(*charts).properties(title=heading)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        rows = self.rows.astype(object).where(self.rows.notna(), None).to_dict("records")
        return {"rows": rows, "ci_prob": self.ci_prob, "num_replicates": self.num_replicates}


def signal_propagation(
    factory: Callable[[], nn.Module],
    inputs: Shaped[Tensor, "batch ..."],
    *,
    seeds: Iterable[int] = range(10),
    ci_prob: float = 0.95,
) -> SignalPropagation:
    """Measure how variances run through a freshly drawn model, over seeds, beside the mean-field prediction.

    Arguments:
      factory: returns a new model, drawn from PyTorch's generator (seeded here, and put back afterwards). Its layers
        are the modules that own a weight and are called once (`module_kinds.layers_in`); dropout is off.
      inputs: a batch for it.

    The prediction is there for an `nn.Sequential` of `Flatten`, `Linear` and elementwise activations. It uses the mean
    squares of each layer's own weights and biases, averaged over the seeds, so that it holds for any initialisation
    with independent weights of mean 0, at any widths. It is exact as widths grow; at width n and depth L the measured
    values scatter by a factor of about exp(√(L/n)). Other models are measured alone.
    Raises InvalidInput for no seeds, for inputs that a layer does not accept (which one) or that are not finite, and
    for a model without layers.
    """
    chosen = list(seeds)
    if not chosen:
        raise InvalidInput("signal_propagation.seeds", "needs at least one seed", chosen)
    if inputs.numel() == 0 or not inputs.isfinite().all():
        rule = "must be finite numbers, at least one"
        raise InvalidInput("signal_propagation.inputs", rule, f"{tuple(inputs.shape)} {inputs.dtype}")
    names: list[str] = []
    measured, figures, steps = [], [], None
    for seed in chosen:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = factory()
            if not measured:
                fake_output(model, (inputs,))  # says which layer does not accept its input
            names, values = _measured(model, inputs)
        measured.append(values)
        steps = _perceptron(model)
        if steps is not None:
            figures.append(_layer_figures(steps))
    if steps is None:
        predicted = ([math.nan] * len(names),) * 2
    else:
        predicted = _predicted(steps, np.mean(figures, axis=0), float(inputs.double().pow(2).mean()))
    rows = []
    for part, direction in enumerate(("forward", "backward")):
        for layer, name in enumerate(names):
            found = stats.mean_interval(
                np.array([values[part][layer] for values in measured]), ci_prob=ci_prob
            )
            row = {"layer": layer + 1, "name": name, "direction": direction}
            row |= {"predicted": predicted[part][layer], "estimate": found.estimate}
            rows.append(row | {"ci_low": found.ci_low, "ci_high": found.ci_high})
    kinds = dict.fromkeys(("predicted", "estimate", "ci_low", "ci_high"), "float64")
    return SignalPropagation(pd.DataFrame(rows).astype(kinds), ci_prob, len(chosen))


def _measured(model: nn.Module, inputs: Tensor) -> tuple[list[str], tuple[list[float], list[float]]]:
    """Names of the layers, and mean squares of what they return and of the gradients there."""
    without_noise(model)
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}
    seen: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, given: Any, output: Any) -> Any:
        value, passed_on = seen_output(output)
        if value is not None:
            seen.append((module, value))
        return passed_on

    hooks = [m.register_forward_hook(keep) for m in layers_in(model)]
    try:
        with torch.enable_grad(), model_failures(model):
            output = model(inputs.clone())  # it may write over them
    finally:
        for hook in hooks:
            hook.remove()
    ends = [x for x in tensors_in(output) if x.requires_grad]
    calls = Counter(module for module, _ in seen)
    places = [(module, value) for module, value in seen if calls[module] == 1 and value.requires_grad]
    if not places or not ends:
        rule = "needs a layer with a weight that is called once and leads to its output"
        raise InvalidInput("signal_propagation model", rule, type(model).__name__)
    seed = torch.randn_like(ends[0])
    with model_failures(model):
        gradients = torch.autograd.grad(
            ends[0], [v for _, v in places], seed, allow_unused=True, materialize_grads=True
        )
    squares = [
        [float(x.detach().double().pow(2).mean()) for x in part]
        for part in ([v for _, v in places], gradients)
    ]
    return [names[module] for module, _ in places], (squares[0], squares[1])


def _perceptron(model: nn.Module) -> list[nn.Module] | None:
    """The Linear and elementwise modules of a perceptron in order, from its first Linear; None for another model."""
    if not isinstance(model, nn.Sequential):
        return None
    steps: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Sequential | nn.Flatten | nn.Identity | nn.Dropout):
            continue
        if not isinstance(module, nn.Linear) and not _is_elementwise(module):
            return None
        steps.append(module)
    return steps if steps and isinstance(steps[0], nn.Linear) else None


def _is_elementwise(module: Callable[[Tensor], Tensor]) -> bool:
    """Whether each number's image depends on that number alone: tried on 12 numbers in two arrangements."""
    values = torch.linspace(-3, 3, 12, dtype=torch.float64)
    try:
        with torch.no_grad():
            table = module(values.reshape(3, 4).clone())
            column = module(values.flip(0).reshape(12, 1).clone())
            return torch.equal(table.reshape(-1), column.reshape(-1).flip(0))
    except (RuntimeError, ValueError, TypeError):
        return False


def _layer_figures(steps: list[nn.Module]) -> list[tuple[float, float]]:
    """Mean square of the weights and of the biases of each Linear."""
    return [
        (
            float(step.weight.detach().double().pow(2).mean()),
            0.0 if step.bias is None else float(step.bias.detach().double().pow(2).mean()),
        )
        for step in steps
        if isinstance(step, nn.Linear)
    ]


def _predicted(
    steps: list[nn.Module], figures: np.ndarray, mean_square: float
) -> tuple[list[float], list[float]]:
    """Forward: q of each Linear. Backward: the second moment of the gradient there, 1 at the model's end."""
    second, variances, parts = mean_square, [], []
    q, layer, between = 0.0, 0, None  # `between`: what stands between this Linear and the next
    for step in steps:
        if isinstance(step, nn.Linear):
            q = step.in_features * figures[layer][0] * second + figures[layer][1]
            variances.append(q)
            layer, between, second = layer + 1, None, q
            parts.append([step, None])
        else:
            inner = between
            between = step if inner is None else (lambda z, f=inner, g=step: g(f(z)))
            function = _double(between)
            root = math.sqrt(q)
            second = gaussian_mean(lambda z, f=function, r=root: f(r * z) ** 2)
            parts[-1][1] = function
    backward, gradient = [], 1.0
    for layer in reversed(range(len(parts))):
        if (function := parts[layer][1]) is not None:
            gradient *= gradient_gain(function, variances[layer], 1.0)
        backward.append(gradient)
        gradient *= parts[layer][0].out_features * figures[layer][0]
    return variances, backward[::-1]


def _double(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """An activation with parameters, as PReLU, in its own precision; others in float64. It may work in place."""
    parameters = list(function.parameters()) if isinstance(function, nn.Module) else []
    if parameters:
        return lambda x: function(x.to(parameters[0].dtype, copy=True)).double()
    return lambda x: function(x.clone())
