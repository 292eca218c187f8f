"""What is wrong with a model before it is trained further: one forward and one backward pass on a batch, read.

| cause                      | figure                                                                 | named when |
|----------------------------|------------------------------------------------------------------------|------------|
| symmetric units            | units with the weights and the gradient of another unit of their layer | any        |
| dead units                 | share of a layer's units that no example of the batch moves            | > 0.3      |
| vanishing gradient         | norm of the gradient at the first layer's output, over the last's      | < 1e-3     |
| exploding gradient         | the same                                                               | > 1e3      |
| exploding signal           | root mean square of the last layer's output, over the first's          | > 1e3      |
| ill-conditioned input      | largest over smallest feature scale; offset over spread; conditioning  | > 1e3; 1e6 |
| learning rate too large    | loss after 20 gradient steps on this batch, over the first             | > 1        |

A layer is any module that owns a weight: a Linear, a convolution, a recurrent module, attention, an embedding, or one
of the user's own. Its output is looked at before any activation outside it, one that works in place included. What
share of the parameters was looked at, and why not the rest, is part of the result.
Dead units must also outnumber those that are always on by three standard deviations: in a deep layer all examples
may look alike, and then about half the units are off for all of them, which is another matter.
The norm of the gradient, unlike its mean square, does not change with the width under He's initialisation. What
cannot be told from this batch is not guessed: it stands in `not_judged` with the reason.

Sources: Glorot and Bengio 2010 (vanishing and exploding); Lu et al. 2020, Dying ReLU and initialization; LeCun et al.
1998, Efficient BackProp, section 5 (input conditioning; rates up to 2/λmax).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mlplab.analysis.curvature import Batch, Loss, LossOnBatch, gradient, hessian, spectrum_edges
from mlplab.analysis.model_failure import model_failures
from mlplab.analysis.module_kinds import CONVOLUTIONS, LAYERS, NORMS, layers_in, seen_output, unit_axis
from mlplab.charts.plots import PALETTE
from mlplab.errors import InvalidInput, import_extra

if TYPE_CHECKING:
    import altair
    from jaxtyping import Float

Cause = Literal[
    "symmetric units",
    "dead units",
    "vanishing gradient",
    "exploding gradient",
    "exploding signal",
    "ill-conditioned input",
    "learning rate too large",
]

# Chosen so that healthy models are left alone: tests/analysis/test_diagnose.py counts the false alarms.
DEPTH_RATIO = 1e3  # of gradients or signals between the first and the last layer
DEAD_SHARE = 0.3
DEAD_SIGMAS = 3.0  # dead against always-on units, which are as many where all examples look alike
LEAST_EXAMPLES = 16  # a healthy ReLU unit is off for all of 16 unlike examples once in 65,536
SCALE_RATIO = 1e3  # above 255, so that no image of 8-bit pixels is named
CONDITION = 1e6  # of standardised features
STEPS = 20
SHOWN = 3  # names of modules of one kind


@dataclass(frozen=True)
class Finding:
    """A cause with the figure it rests on. `value` broke `threshold`; `fix` says what to do."""

    cause: Cause
    where: str
    figure: str
    value: float
    threshold: float
    fix: str

    def __str__(self) -> str:
        return f"{self.cause} at {self.where}: {self.figure} is {self.value:.3g} (limit {self.threshold:g}). {self.fix}"


@dataclass(frozen=True)
class Unseen:
    """A module with parameters that were not looked at: name, kind, their share of the model's, the reason."""

    name: str
    kind: str
    share: float
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """What was found, first things first; empty for a model in health. `not_judged` maps a cause to the reason.

    `layers`: a row for each layer in the order of execution: layer (its name), kind, units, output_rms,
    gradient_norm, dead_units, twin_units (None where that cannot be told). `unseen`: what was not looked at.
    """

    findings: tuple[Finding, ...]
    layers: pd.DataFrame
    not_judged: dict[str, str]
    unseen: tuple[Unseen, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found. What was not judged, or not looked at, may still be ill."""
        return not self.findings

    @property
    def share_seen(self) -> float:
        """Share of the parameters that belong to layers whose output and gradient were looked at."""
        return 1 - sum(part.share for part in self.unseen) if self.unseen else 1.0

    def coverage(self) -> list[str]:
        """In lines: how much was looked at, then what was not, with its share and the reason."""
        count = self.layers["gradient_norm"].notna().sum()
        share = f"{_percent(self.share_seen)} of the parameters" if self.unseen else "all parameters"
        lines = [f"Looked at {count} layer{'' if count == 1 else 's'}, with {share}."]
        alike: dict[tuple[str, str], list[Unseen]] = {}
        for part in self.unseen:
            alike.setdefault((part.kind, part.reason), []).append(part)
        for (kind, reason), parts in sorted(alike.items(), key=lambda x: -sum(part.share for part in x[1])):
            names = ", ".join(part.name for part in parts[:SHOWN]) + (", ..." if len(parts) > SHOWN else "")
            many = f"{len(parts)} {kind}s: {names}" if len(parts) > 1 else f"{kind}: {names}"
            share = _percent(sum(part.share for part in parts))
            lines.append(f"Not looked at: {share} of the parameters ({many}), {reason}.")
        return lines

    def table(self) -> pd.DataFrame:
        """A row for each finding: cause, where, figure, value, threshold, fix."""
        return pd.DataFrame([asdict(f) for f in self.findings], columns=list(Finding.__annotations__))

    def plot(self, *, title: str = "") -> altair.LayerChart:
        """Gradient norm and output size of each layer, in the order of execution; logarithmic."""
        alt = import_extra("altair", what="A figure", extra="book")
        named = ", ".join(dict.fromkeys(f.cause for f in self.findings)) or "nothing found"
        if self.unseen:
            named += f"; {_percent(self.share_seen)} of the parameters looked at"
        quantities = {"output_rms": "output, root mean square", "gradient_norm": "gradient there, norm"}
        rows = self.layers.melt("layer", list(quantities), "quantity", "value")
        rows["quantity"] = rows["quantity"].map(quantities)
        rows = rows[rows["value"] > 0]
        domain = list(quantities.values())
        colour = alt.Color("quantity:N", title=None, scale=alt.Scale(domain=domain, range=list(PALETTE[:2])))
        base = alt.Chart(rows, width=420, height=260).encode(
            x=alt.X("layer:N", sort=list(self.layers["layer"]), title="Layer", axis=alt.Axis(labelLimit=120)),
            y=alt.Y(
                "value:Q", title="Size", scale=alt.Scale(type="log"), axis=alt.Axis(format="~e", tickCount=6)
            ),
            color=colour,
        )
        heading = alt.TitleParams(title or "Signals and gradients by layer", subtitle=named, anchor="start")
        return alt.layer(base.mark_line(), base.mark_point(filled=True, opacity=1)).properties(title=heading)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: what is not finite is None."""
        layers = self.layers.astype(object).where(self.layers.notna(), None).to_dict("records")
        findings = [asdict(f) for f in self.findings]
        for row in (*layers, *findings):
            row |= {k: None for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
        return {
            "findings": findings,
            "layers": layers,
            "not_judged": dict(self.not_judged),
            "share_seen": self.share_seen,
            "unseen": [asdict(part) for part in self.unseen],
        }


def _percent(share: float) -> str:
    """To a tenth of a percent, downwards: only a whole is 100%."""
    return f"{math.floor(1000 * share) / 10:g}%" if share >= 0.001 else "less than 0.1%"


def diagnose(model: nn.Module, batch: Batch, loss: Loss, *, learning_rate: float | None = None) -> Diagnosis:
    """Name what keeps a model from learning, with the figures it rests on and the fix.

    Arguments:
      batch: (inputs, targets); at least 16 examples, or dead units are not judged.
      loss: (what the model returns, targets) to a scalar.
      learning_rate: of plain gradient descent, without momentum or preconditioning; None leaves it unjudged.

    The model is left as it was, running statistics included. Dropout in train mode draws the same masks in each
    pass. Raises InvalidInput as `curvature.LossOnBatch` does, for a rate that is not positive, and for a model
    without a layer that is called once.
    """
    if learning_rate is not None and not (math.isfinite(learning_rate) and learning_rate > 0):
        raise InvalidInput("diagnose.learning_rate", "must be positive and finite", learning_rate)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        function = _Steady(model, batch, loss)
        layers, unseen = _look(model, function)
        exploded = _not_finite(layers, function.value)
        if exploded:
            why = {"other causes": "signals are not finite"}
            return Diagnosis((exploded,), _layer_table(layers), why, unseen)
        found: list[Finding] = []
        skipped: dict[str, str] = {
            f"symmetric units at {layer.name}": "its weights have no gradient"
            for layer in layers[:-1]
            if layer.twins is None and layer.gradient is not None
        }
        found += _symmetric(layers)
        if function.num_examples >= LEAST_EXAMPLES:
            found += _dead(layers)
        else:
            skipped["dead units"] = f"{function.num_examples} examples; {LEAST_EXAMPLES} are needed"
        # Where all units are twins or dead, gradients that stop there are no second illness.
        found += _depth(layers, known=bool(found), skipped=skipped)
        found += _input(function, layers, skipped)
        if learning_rate is None:
            skipped["learning rate too large"] = "no learning_rate was given"
        else:
            found += _rate(function, learning_rate)
    return Diagnosis(tuple(found), _layer_table(layers), skipped, unseen)


class _Steady(LossOnBatch):
    """The loss with the same random masks at each call, and allowed to be infinite: that is an illness, not a fault."""

    def __init__(self, model: nn.Module, batch: Batch, loss: Loss) -> None:
        try:
            super().__init__(model, batch, loss)
        except InvalidInput as error:
            if not hasattr(self, "value"):
                raise
            if math.isfinite(self.value):
                raise InvalidInput("model", "must give the same loss twice", str(error)) from error
        self.num_examples = len(self.inputs[0])

    def __call__(self, *parameters: Tensor) -> Tensor:
        torch.manual_seed(0)  # `diagnose` puts the generator back
        return super().__call__(*parameters)


@dataclass
class _Layer:
    """What one pass showed of a layer: its output and the gradient there, with units last: (place, unit).

    `inner_dead`: units whose own weights have no gradient, where a module has its activation within.
    """

    name: str
    module: nn.Module
    axis: int
    output: Tensor
    gradient: Tensor | None = None
    inner_dead: Tensor | None = None
    twins: int | None = None

    @property
    def dead(self) -> int | None:
        """Units whose gradient is exactly zero at every example and place, though others have one."""
        if self.gradient is None or not self.gradient.any():
            return None
        dead = (self.gradient == 0).all(0)
        return int((dead if self.inner_dead is None else dead | self.inner_dead).sum())

    @property
    def units(self) -> int:
        """That may be twins: of a recurrent module in all of its layers and directions."""
        if isinstance(self.module, nn.RNNBase):
            return self.module.hidden_size * self.module.num_layers * (1 + self.module.bidirectional)
        return int(self.output.shape[-1])

    @property
    def is_zero(self) -> bool:
        """Whether all its weights are 0, as some start a head or a residual branch: no gradient passes it yet."""
        matrices = [p for p in self.module.parameters() if p.ndim > 1]
        return bool(matrices) and not any(bool(p.detach().any()) for p in matrices)


def _look(model: nn.Module, function: _Steady) -> tuple[list[_Layer], tuple[Unseen, ...]]:
    """One pass forward and back, with the outputs of all layers kept; and what could not be kept."""
    kept: dict[nn.Module, _Layer] = {}
    calls: Counter[nn.Module] = Counter()
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}
    candidates = layers_in(model)
    reasons = dict.fromkeys(candidates, "never called")

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        value, passed_on = seen_output(output)
        calls[module] += 1
        axis = None if value is None else unit_axis(module, value)
        if value is None:  # as a packed sequence
            reasons[module] = "returns no tensor"
        elif axis is None:
            reasons[module] = "no axis of its output is one of its weights"
        else:
            kept[module] = _Layer(names[module], module, axis, value)
        return passed_on

    hooks = [module.register_forward_hook(keep) for module in candidates]
    parameters = tuple(p.clone().requires_grad_() for p in function.parameters)
    try:
        with torch.enable_grad():
            value = function(*parameters)
    finally:
        for hook in hooks:
            hook.remove()
    # A module that is called again and again, as in a loop over time, has no one place in the depth.
    layers = [layer for module, layer in kept.items() if calls[module] == 1]
    reasons |= {module: f"called {count} times" for module, count in calls.items() if count > 1}
    if not layers:
        why = "; ".join(f"{names[module]}: {reason}" for module, reason in reasons.items())
        rule = "needs a layer with a weight that is called once"
        raise InvalidInput("model", rule, why or type(model).__name__)
    outputs = [layer.output for layer in layers if layer.output.requires_grad]
    with model_failures(model):
        gradients = iter(torch.autograd.grad(value, [*outputs, *parameters], allow_unused=True))
    for layer in layers:
        g = next(gradients) if layer.output.requires_grad else None
        layer.gradient = None if g is None else _units_last(g, layer.axis)
        layer.output = _units_last(layer.output.detach(), layer.axis)
        if g is None:
            reasons[layer.module] = "no gradient of the loss reaches it"
        else:
            del reasons[layer.module]
    by_name = dict(zip(function.names, zip(parameters, gradients, strict=True), strict=True))
    paths = {module: name for name, module in model.named_modules()}
    for layer in layers:
        own = _own(paths[layer.module], by_name)
        layer.inner_dead = _inner_dead(layer, own)
        # Outputs carry the labels' names: two alike, as two classes that this batch lacks, are no symmetry.
        if layer is not layers[-1]:
            layer.twins = _twins(layer, own)
    return layers, _unseen(model, [layer.module for layer in layers if layer.gradient is not None], reasons)


def _unseen(model: nn.Module, seen: list[nn.Module], reasons: Mapping[nn.Module, str]) -> tuple[Unseen, ...]:
    """What belongs to no layer that was looked at: by module, and what no layer owns by parameter. Shared ones count
    once."""
    known = {id(p) for module in seen for p in module.parameters()}
    total = max(sum(p.numel() for p in model.parameters()), 1)
    found = []
    for path, module in model.named_modules():
        own = {n: p for n, p in module.named_parameters(recurse=False) if id(p) not in known}
        known |= {id(p) for p in own.values()}
        parts = path.split(".") if path else []
        above = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts), -1, -1)]
        why = next((reasons[m] for m in above if m in reasons), None)
        if why is None and not isinstance(module, NORMS):
            why = "which no layer owns"
            found += [
                Unseen(".".join([*parts, name]), "Parameter", p.numel() / total, why)
                for name, p in own.items()
            ]
        elif own:
            share = sum(p.numel() for p in own.values()) / total
            kind = type(module).__name__
            found.append(Unseen(path or kind, kind, share, why or "scale and shift of a norm"))
    return tuple(found)


def _units_last(values: Tensor, axis: int) -> Float[Tensor, "place unit"]:
    values = values.movedim(axis, -1)
    return values.reshape(-1, values.shape[-1])


_Own = dict[str, tuple[Tensor, Tensor]]  # name within the module -> values, gradient


def _own(path: str, by_name: Mapping[str, tuple[Tensor, Tensor | None]]) -> _Own:
    """The parameters under a module that have a gradient."""
    prefix = f"{path}." if path else ""
    pairs = {name.removeprefix(prefix): pair for name, pair in by_name.items() if name.startswith(prefix)}
    return {name: (w, g) for name, (w, g) in pairs.items() if g is not None}


def _inner_dead(layer: _Layer, own: _Own) -> Tensor | None:
    """Of a module of the user's own: units of which all biases, or all columns of the weights, have no gradient."""
    if isinstance(layer.module, LAYERS) or layer.gradient is None:
        return None
    units = layer.output.shape[-1]
    sized = [g for _, g in own.values() if list(g.shape).count(units) == 1 and not g.is_sparse]
    chosen = [g for g in sized if g.ndim == 1] or sized
    rows = [g.movedim(list(g.shape).index(units), 0).reshape(units, -1) for g in chosen]
    return (torch.cat(rows, 1) == 0).all(1) if rows else None


def _twins(layer: _Layer, own: _Own) -> int | None:
    """How many units have the incoming weights of another, and the same gradient: they can never part."""
    module = layer.module
    if not own or layer.gradient is None:
        return None
    if isinstance(module, nn.RNNBase):
        return sum(
            _count_twins(
                [
                    [_rows_of_cells(module, name, values) for values in own[name]]
                    for name in own
                    if name.endswith(end) and not name.startswith("weight_hr")
                ]
            )
            for end in (f"_l{k}{way}" for k in range(module.num_layers) for way in ("", "_reverse"))
            if any(name.endswith(end) for name in own)
        )
    if isinstance(module, (nn.Linear, *CONVOLUTIONS)):
        return _count_twins(
            [[_rows_of_units(module, values, values.ndim > 1) for values in pair] for pair in own.values()]
        )
    # Which weights are a unit's own is not known: units that return the same, and are asked to change alike.
    draws = torch.randn(8, len(layer.output), generator=torch.Generator().manual_seed(0)).double()
    both = [(draws.to(x.device) @ x.double()).T for x in (layer.output, layer.gradient)]
    # One that returns 0 and gets no gradient is dead, unless no weight was drawn at all.
    alive = layer.output.any(0) | layer.gradient.any(0) | layer.is_zero
    return _count_twins([[rows[alive] for rows in both]]) if alive.any() else 0


def _count_twins(pairs: list[list[Tensor]]) -> int:
    """Of (weights, gradients), each with a row for each unit."""
    weights = torch.cat([w.detach().double() for w, _ in pairs], 1)
    moves = torch.cat([g.detach().double() for _, g in pairs], 1)
    rounded = (weights / weights.abs().max().clamp(min=1e-300)).mul(1e6).round()
    _, group, counts = torch.unique(rounded, dim=0, return_inverse=True, return_counts=True)
    size = moves.abs().max().clamp(min=1e-300)
    twins = 0
    for number in torch.nonzero(counts > 1).flatten().tolist():
        alike = (moves[group == number] / size).mul(1e4).round()
        if not rounded[group == number].any() and not alike.any() and len(alike) < len(group):
            continue  # units with neither weights nor gradient among others that have them were pruned, or are dead
        _, sizes = torch.unique(alike, dim=0, return_counts=True)
        twins += int(sizes[sizes > 1].sum())
    return twins


def _rows_of_cells(module: nn.RNNBase, name: str, values: Tensor) -> Float[Tensor, "unit weight"]:
    """The gates of a unit are its rows j, H + j, ...: together they are what it is."""
    hidden = module.hidden_size
    own = values.reshape(-1, hidden, values.shape[-1] if values.ndim > 1 else 1).transpose(0, 1)
    if name.startswith("weight_hh") and not module.proj_size:
        # Recurrent weights: swapping two units swaps columns too, so the order within a row says nothing.
        own = own.sort(-1).values
    return own.reshape(hidden, -1)


def _rows_of_units(module: nn.Module, values: Tensor, is_matrix: bool) -> Float[Tensor, "unit weight"]:
    if is_matrix and type(module).__name__.startswith("ConvTranspose"):
        groups = int(module.groups)  # type: ignore[arg-type]
        parts = [part.transpose(0, 1) for part in values.chunk(groups)]
        return torch.cat([part.reshape(len(part), -1) for part in parts])
    return values.reshape(len(values), -1)


def _rms(values: Tensor) -> float:
    return float(values.double().pow(2).mean().sqrt())


def _layer_table(layers: list[_Layer]) -> pd.DataFrame:
    rows = [
        {
            "layer": layer.name,
            "kind": type(layer.module).__name__,
            "units": layer.output.shape[-1],
            "output_rms": _rms(layer.output),
            "gradient_norm": None if layer.gradient is None else float(layer.gradient.double().norm()),
            "dead_units": layer.dead,
            "twin_units": layer.twins,
        }
        for layer in layers
    ]
    table = pd.DataFrame(rows).astype({"gradient_norm": "float64"})
    return table.astype({"dead_units": "Int64", "twin_units": "Int64"})


def _not_finite(layers: list[_Layer], loss: float) -> Finding | None:
    # Where it began: outputs go forward, gradients back.
    places = [("outputs", layer, layer.output) for layer in layers]
    places += [
        ("gradients", layer, layer.gradient) for layer in reversed(layers) if layer.gradient is not None
    ]
    for what, layer, values in places:
        if not values.isfinite().all():
            figure, value = f"share of {what} that are finite", float(values.isfinite().double().mean())
            return Finding("exploding signal", layer.name, figure, value, 1.0, _FIXES["exploding signal"])
    if not math.isfinite(loss):
        return Finding("exploding signal", "loss", "loss", loss, math.inf, _FIXES["exploding signal"])
    return None


def _symmetric(layers: list[_Layer]) -> list[Finding]:
    return [
        Finding(
            "symmetric units",
            layer.name,
            f"units (of {layer.units}) that are twins of another",
            float(layer.twins),
            0.0,
            _FIXES["symmetric units"],
        )
        for layer in layers
        if layer.twins
    ]


def _dead(layers: list[_Layer]) -> list[Finding]:
    found = []
    # Where no gradient reaches a layer at all, it ended here if the one above has one, or if all units are off.
    for layer, above in zip(layers, [*layers[1:], None], strict=True):
        if layer.gradient is None:
            continue
        units, dead = layer.output.shape[-1], layer.dead
        if dead is None:
            is_end = above is not None and above.gradient is not None and bool(above.gradient.any())
            is_end = is_end and above is not None and not above.is_zero
            dead = units if is_end or not (layer.output > 0).any() else 0
        always_on = int((layer.output > 0).all(0).sum())
        share = dead / units
        many = dead - always_on > DEAD_SIGMAS * math.sqrt(dead + always_on) or dead == units
        if share > DEAD_SHARE and many and layer.twins != layer.units:
            figure = "share of units that no example moves"
            found.append(Finding("dead units", layer.name, figure, share, DEAD_SHARE, _FIXES["dead units"]))
            if dead == units:
                break  # layers above see a constant: what they show is its consequence
    return found


def _depth(layers: list[_Layer], *, known: bool, skipped: dict[str, str]) -> list[Finding]:
    """Gradient and signal at the first layer against the last."""
    reached = [layer for layer in layers if layer.gradient is not None]
    if len(reached) < 2:
        skipped["vanishing gradient"] = "fewer than two layers lie on the way of the gradient"
        return []
    first, last = reached[0], reached[-1]
    assert first.gradient is not None
    assert last.gradient is not None
    found = []
    norms = [float(layer.gradient.double().norm()) for layer in (first, last) if layer.gradient is not None]
    if norms[1] == 0:
        skipped["vanishing gradient"] = (
            "the loss has no gradient at the last layer: it is at a minimum, or saturated"
        )
    elif norms[0] == 0 and (known or any(layer.is_zero for layer in reached)):
        skipped["vanishing gradient"] = (
            "no gradient passes the layers named above, or one whose weights are all 0"
        )
    else:
        ratio, where = norms[0] / norms[1], f"{first.name} (against {last.name})"
        figure = "norm of the gradient at the first layer over the last"
        twins = next((layer for layer in reached if layer.twins == layer.units), None)
        if ratio < 1 / DEPTH_RATIO and twins is not None:
            skipped["vanishing gradient"] = (
                f"all units at {twins.name} are twins: draw them first, then look again"
            )
        elif ratio < 1 / DEPTH_RATIO:
            recurrent = any(isinstance(layer.module, nn.RNNBase) for layer in reached)
            fix = _FIXES["vanishing gradient, recurrent" if recurrent else "vanishing gradient"]
            found.append(Finding("vanishing gradient", where, figure, ratio, 1 / DEPTH_RATIO, fix))
        if ratio > DEPTH_RATIO:
            fix = _FIXES["exploding gradient"]
            found.append(Finding("exploding gradient", where, figure, ratio, DEPTH_RATIO, fix))
    sizes = _rms(first.output), _rms(last.output)
    if sizes[0] > 0 and sizes[1] / sizes[0] > DEPTH_RATIO:
        figure = "root mean square of the last layer's output over the first's"
        fix = _FIXES["exploding signal"]
        where = f"{last.name} (against {first.name})"
        found.append(Finding("exploding signal", where, figure, sizes[1] / sizes[0], DEPTH_RATIO, fix))
    return found


def _input(function: _Steady, layers: list[_Layer], skipped: dict[str, str]) -> list[Finding]:
    cause: Cause = "ill-conditioned input"
    x = function.inputs[0]
    if not x.is_floating_point() or x.ndim < 2:
        skipped[cause] = "inputs are no table of numbers"
        return []
    first = layers[0].module
    channels = isinstance(first, CONVOLUTIONS) and x.ndim == 1 - layers[0].axis
    features = (
        _units_last(x, layers[0].axis)
        if channels
        else x.reshape(-1, x.shape[-1])
        if x.ndim == 3
        else x.flatten(1)
    )
    table = features.double().cpu().numpy()
    spread = table.std(axis=0)
    varied = spread > 1e-12 * np.abs(table).max()
    if not varied.any():
        skipped[cause] = "no feature varies in this batch"
        return []
    table, spread = table[:, varied], spread[varied]
    found = []

    def add(figure: str, value: float, threshold: float, fix: str) -> None:
        if value > threshold:
            found.append(Finding(cause, "input", figure, value, threshold, fix))

    # The largest value, not the spread: a pixel that is rarely lit is sparse, not small.
    sizes = np.abs(table - table.mean(axis=0)).max(axis=0)
    standardise = "Standardise each feature: subtract its training mean, divide by its standard deviation."
    add("largest over smallest feature scale", float(sizes.max() / sizes.min()), SCALE_RATIO, standardise)
    offset = float((table.mean(axis=0) ** 2).sum() / (spread**2).sum())
    add("squared mean over variance, all features", offset, SCALE_RATIO, standardise)
    rows, columns = table.shape
    if rows >= 2 * columns and columns > 1:
        standard = (table - table.mean(axis=0)) / spread
        values = np.linalg.svd(standard, compute_uv=False)
        condition = float((values[0] / max(values[-1], 1e-300)) ** 2)
        fix = "Some features almost repeat others: drop them, whiten, or change to an orthogonal basis."
        add("condition number of the standardised features", condition, CONDITION, fix)
    return found


def _rate(function: _Steady, learning_rate: float) -> list[Finding]:
    """Take the steps on a copy. The largest stable rate by the curvature goes into the fix."""
    parameters, value = function.parameters, function.value
    end = value
    try:
        for _ in range(STEPS):
            function.parameters = tuple(
                p - learning_rate * g for p, g in zip(function.parameters, gradient(function), strict=True)
            )
        with torch.no_grad():
            end = float(function(*function.parameters))
    finally:
        function.parameters = parameters
    if math.isfinite(end) and end <= value + 1e-4 * abs(value) + 1e-12:
        return []
    try:
        top = float(spectrum_edges(_steady_hessian(function), tolerance=1e-2).eigenvalues[-1])
        below = (
            f" below 2/λmax = {2 / top:.3g} (λmax = {top:.3g} is the largest eigenvalue of the Hessian here)"
        )
    except InvalidInput:
        top, below = 0.0, ""
    fix = f"Lower it{below if top > 0 else ''}, or warm it up."
    value = end / value if value else math.inf
    where = f"learning rate {learning_rate:g}"
    figure = f"loss after {STEPS} gradient steps on this batch, over the first"
    return [
        Finding("learning rate too large", where, figure, value if value == value else math.inf, 1.0, fix)
    ]


def _steady_hessian(function: _Steady) -> Any:
    return hessian(function.model, (function.inputs, function.targets), function.loss)


_FIXES: dict[str, str] = {
    "symmetric units": "Draw the first weights at random (nn.init.kaiming_normal_ for ReLU, xavier_normal_ for tanh).",
    "dead units": "Start biases at 0, lower the learning rate, or take an activation with a slope below 0 "
    "(leaky_relu).",
    "vanishing gradient": "Draw weights with variance 2/n_in for ReLU, 1/n_in for tanh; not sigmoid; or add "
    "normalisation or residual connections.",
    "vanishing gradient, recurrent": "Draw recurrent weights orthogonal (nn.init.orthogonal_), start an LSTM's forget "
    "gates at a bias of 1, shorten the sequence, or add residual connections.",
    "exploding gradient": "Draw weights with variance 2/n_in for ReLU, 1/n_in for tanh; clip the gradient's norm; or "
    "add normalisation.",
    "exploding signal": "Draw weights with variance 2/n_in for ReLU, 1/n_in for tanh; or add normalisation.",
}
