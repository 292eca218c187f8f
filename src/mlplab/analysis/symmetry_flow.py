"""Runs a model once, and follows which dimension of each tensor runs over which units."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from mlplab.analysis.module_kinds import CONVOLUTIONS
from mlplab.analysis.symmetry_space import Carried, Mixed, Piece, Space
from mlplab.analysis.symmetry_trace import is_leaf
from mlplab.engine.activations import module_class
from mlplab.errors import InvalidInput
from mlplab.nn import DropConnect, GaussianDropout, LayerMomentNoise
from mlplab.spec import Activation


def _functions(names: str) -> set[Any]:
    homes = (torch, F, operator)
    return {getattr(home, name) for name in names.split() for home in homes if hasattr(home, name)} | set(
        names.split()
    )


# A name alone is a tensor's method.
_PLAIN = _functions("contiguous clone detach float double to neg pos")
_POINTWISE = _functions(
    f"{' '.join(set(Activation.KINDS) - {'prelu'})} relu_ tanh_ sigmoid_ logsigmoid softmax log_softmax abs exp log "
    "square sqrt rsqrt sin cos clamp erf tanhshrink"
)
_TWO = _functions("add sub mul truediv div add_ sub_ mul_ iadd isub imul maximum minimum")
_RESHAPE = _functions("flatten view reshape squeeze unsqueeze unflatten")
_DROPOUT = {F.dropout, F.alpha_dropout, F.feature_alpha_dropout, F.dropout1d, F.dropout2d, F.dropout3d}
_POOL = _functions("adaptive_avg_pool1d adaptive_avg_pool2d avg_pool1d avg_pool2d max_pool1d max_pool2d")
_ACTIVATIONS = (
    *(module_class(kind) for kind in Activation.KINDS if kind != "prelu"),
    nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold, nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
_NOISES = (nn.modules.dropout._DropoutNd, GaussianDropout, LayerMomentNoise)
_POOLS = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class Flow(fx.Interpreter):
    """Runs the graph once, and follows which dimension of each tensor runs over which units."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.graph_module = graph
        self.spaces: list[Space] = []
        self.pieces: list[Piece] = []
        self.carried: dict[fx.Node, Any] = {}
        self.made: dict[str, Space] = {}
        self.inputs: tuple[Any, ...] = ()
        self.node_values: dict[fx.Node, Any] = {}
        self.wrapped = [name for name, _ in graph.named_children()] == ["model"] and is_leaf(
            graph.get_submodule("model")
        )

    def follow(self, inputs: tuple[Any, ...]) -> None:
        self.inputs = inputs
        for node in self.graph_module.graph.nodes:
            if node.op == "call_function" and node.target in _DROPOUT:
                # It is written into the graph as it is in training; here nothing may be random.
                node.args, node.kwargs = node.args[:2], {**node.kwargs, "training": False}
        self.graph_module.recompile()
        try:
            with torch.no_grad():
                self.run(*inputs)
        except InvalidInput:
            raise
        except (Exception, SystemExit) as error:
            line = " ".join(str(error).split("\n\nWhile executing")[0].split())
            rule = "must run on the batch in float64"
            raise InvalidInput("symmetry model", rule, line, "Is the batch of the right shape?") from error
        self._refuse_shared()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.node_values[n] = value
        if n.op == "call_module":
            module = self.graph_module.get_submodule(str(n.target))
            name = type(module).__name__ if self.wrapped else str(n.target)
            self.carried[n] = self._module(name, module, n, value)
        elif n.op in ("call_function", "call_method"):
            self.carried[n] = self._function(n, value)
        elif n.op == "output":
            for held in self._held(n):
                for space in held.spaces:
                    space.outside = True
        return value

    # What nodes carry

    def _held(self, node: fx.Node) -> list[Carried | Mixed]:
        """All that flows into a node."""
        found = [self.carried.get(source) for source in node.all_input_nodes]
        leaves = pytree.tree_leaves(found, is_leaf=lambda x: isinstance(x, (Carried, Mixed)))
        return [held for held in leaves if held is not None]

    def _of(self, argument: object) -> Any:
        return self.carried.get(argument) if isinstance(argument, fx.Node) else None

    def _value(self, argument: object) -> Any:
        return self.node_values.get(argument) if isinstance(argument, fx.Node) else argument

    def _unknown(self, held: Sequence[Carried | Mixed | None], why: str) -> None:
        for one in held:
            for space in one.spaces if one is not None else []:
                space.unknown.append(why)

    def _mark(self, held: Carried | None, noise: str | None = None) -> None:
        for space in held.spaces if held is not None else []:
            space.linear = False
            if noise:
                space.noise.append(noise)

    def _new(self, name: str, kind: str, count: int) -> Space:
        if name not in self.made:
            self.made[name] = Space(name, kind, count)
            self.spaces.append(self.made[name])
        return self.made[name]

    def _join(self, first: Space, second: Space) -> None:
        first, second = first.root(), second.root()
        if first is not second:
            second.owner = first
            first.name += f" + {second.name}"
            first.noise += second.noise
            first.unknown += second.unknown
            first.outside |= second.outside
            first.linear = False

    def _same(self, held: list[Carried | None], why: str) -> Carried | None:
        """Tensors of one shape that are added: their units go together."""
        carried = [one for one in held if one is not None]
        shapes = {(one.axis, tuple((space.root().count, k) for space, k in one.segments)) for one in carried}
        if len(carried) < len(held) or len(shapes) != 1:
            self._unknown(held, why)
            return None
        for other in carried[1:]:
            for (mine, _), (theirs, _) in zip(carried[0].segments, other.segments, strict=True):
                self._join(mine, theirs)
        self._mark(carried[0])
        return carried[0]

    # Parameters

    def _piece(self, name: str, view: Tensor, axes: list[tuple[int, Space]]) -> None:
        self.pieces.append(Piece(name, view, tuple(axes)))

    def _along(
        self, name: str, tensor: Tensor, axis: int, held: Carried | None, rows: list[tuple[int, Space]]
    ) -> None:
        """A parameter whose dimension `axis`, after those of `rows`, runs over what is carried."""
        if held is None:
            self._piece(name, tensor, rows)
            return
        start = 0
        for space, k in held.segments:
            view = tensor.narrow(axis, start, space.count * k).unflatten(axis, (space.count, k))
            self._piece(name, view, [*rows, (axis, space)])
            start += space.count * k

    def _module(self, name: str, module: nn.Module, node: fx.Node, value: Any) -> Any:
        held = self._of(node.args[0]) if node.args else None
        unusual = node.kwargs or (held is not None and not isinstance(held, Carried))
        if unusual and not isinstance(module, nn.MultiheadAttention):
            self._unknown(self._held(node), f"{name} ({type(module).__name__}) is called in an unusual way")
            return None
        if nn.utils.parametrize.is_parametrized(module) or (
            module._forward_hooks or module._forward_pre_hooks
        ):
            self._unknown(self._held(node), f"{name} has hooks or computed weights")
            return None
        if isinstance(module, nn.RNNBase):
            if not isinstance(self._value(node.args[0]), Tensor):
                self._unknown(self._held(node), f"{name} is given a packed sequence")
                return None
            self._recurrent_layers(name, module, held, state_given=len(node.args) > 1)
            return self._recurrent_outputs(name, module, value[0].ndim)
        if isinstance(module, nn.MultiheadAttention):
            return self._attention_call(name, module, node)
        if isinstance(module, nn.TransformerEncoder):
            for index, layer in enumerate(module.layers):
                held = self._encoder_layer(f"{name}.layers.{index}", layer, held, value.ndim)
            return held if module.norm is None else self._norm(f"{name}.norm", module.norm, held)
        if isinstance(module, nn.TransformerEncoderLayer):
            return self._encoder_layer(name, module, held, value.ndim)
        if isinstance(module, nn.Embedding):
            space = self._new(name, "embedding coordinates", module.embedding_dim)
            self._piece(f"{name}.weight", module.weight, [(1, space)])
            return Carried(value.ndim - 1, ((space, 1),))
        if isinstance(module, nn.Linear):
            return self._linear(name, module, held, value.ndim)
        if isinstance(module, CONVOLUTIONS):
            return self._convolution(name, module, held, value.ndim)
        if held is None or isinstance(module, nn.Identity):
            return held
        label = f"{name} ({type(module).__name__})"
        if isinstance(module, _NOISES):
            strength = module.scale if isinstance(module, LayerMomentNoise) else module.p
            self._mark(held, label if strength else None)
            return held
        if isinstance(module, _ACTIVATIONS) or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            self._mark(held)
            return held
        if isinstance(module, (_BatchNorm, nn.LayerNorm, nn.RMSNorm)):
            return self._norm(name, module, held)
        if isinstance(module, _POOLS) and held.axis == 1:
            self._mark(held)
            return held
        if isinstance(module, nn.Flatten):
            return self._reshaped(held, node, value)
        self._unknown(self._held(node), f"goes into {label}, which this tool does not know")
        return None

    def _linear(self, name: str, module: nn.Linear, held: Carried | None, ndim: int) -> Carried:
        out = self._new(name, "units", module.out_features)
        if held is not None and held.axis != ndim - 1:
            self._unknown([held], f"{name} (Linear) runs along another dimension")
            held = None
        self._along(f"{name}.weight", module.weight, 1, held, [(0, out)])
        if module.bias is not None:
            self._piece(f"{name}.bias", module.bias, [(0, out)])
        carried = Carried(ndim - 1, ((out, 1),))
        if isinstance(module, DropConnect) and module.p:
            for one in (held, carried):
                self._mark(one, f"{name} (DropConnect)")
        return carried

    def _convolution(self, name: str, module: Any, held: Carried | None, ndim: int) -> Carried | None:
        spatial = len(module.kernel_size)
        axis = ndim - spatial - 1
        transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
        if held is not None and held.axis != axis:
            self._unknown([held], f"{name} ({type(module).__name__}) runs along another dimension")
            held = None
        if module.groups > 1:
            self._unknown([held], f"goes into {name}, a convolution in {module.groups} groups")
            held = None
        out = self._new(name, "channels", module.out_channels)
        if module.groups > 1:
            out.unknown.append(f"{name} is a convolution in {module.groups} groups")
        weight = module.weight.transpose(0, 1) if transposed and module.groups == 1 else module.weight
        if module.groups == 1:
            self._along(f"{name}.weight", weight, 1, held, [(0, out)])
        if module.bias is not None:
            self._piece(f"{name}.bias", module.bias, [(0, out)])
        return Carried(axis, ((out, 1),))

    def _norm(self, name: str, module: Any, held: Carried | None) -> Carried | None:
        if held is None:
            return None
        self._mark(held)
        batch = isinstance(module, _BatchNorm)
        if not batch and len(module.normalized_shape) != 1:
            self._unknown([held], f"goes into {name}, a norm over several dimensions")
            return None
        if batch and held.axis != 1:
            self._unknown([held], f"{name} ({type(module).__name__}) runs along another dimension")
            return None
        for kind in ("weight", "bias", "running_mean", "running_var"):
            tensor = getattr(module, kind, None)
            if tensor is not None:
                self._along(f"{name}.{kind}", tensor, 0, held, [])
        return held

    def _recurrent_layers(
        self, name: str, module: nn.RNNBase, held: Carried | None, *, state_given: bool
    ) -> None:
        gates, size = _GATES[module.mode], module.hidden_size
        incoming = held
        for layer in range(module.num_layers):
            spaces = self._recurrent_spaces(name, module, layer)
            for suffix, space in zip(("", "_reverse"), spaces, strict=False):
                space.linear = False
                if module.proj_size:
                    space.unknown.append(f"{name} projects its state")
                if state_given:
                    space.unknown.append(f"{name} is given a first state")
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    if not hasattr(module, f"{kind}_l{layer}{suffix}") or module.proj_size:
                        continue
                    tensor = getattr(module, f"{kind}_l{layer}{suffix}").unflatten(0, (gates, size))
                    where = f"{name}.{kind}_l{layer}{suffix}"
                    if kind == "weight_ih":
                        self._along(where, tensor, 2, incoming, [(1, space)])
                    else:
                        axes = [(1, space), (2, space)] if kind == "weight_hh" else [(1, space)]
                        self._piece(where, tensor, axes)
                if module.dropout and layer + 1 < module.num_layers:
                    space.noise.append(f"{name} (dropout between layers)")
            incoming = Carried(-1, tuple((space, 1) for space in spaces))
        if held is not None and module.proj_size:
            self._unknown([held], f"goes into {name}, which projects its state")

    def _recurrent_spaces(self, name: str, module: nn.RNNBase, layer: int) -> list[Space]:
        labels = [f"{name} layer {layer}", f"{name} layer {layer} reverse"][: 1 + module.bidirectional]
        return [self._new(label, "cells", module.hidden_size).root() for label in labels]

    def _recurrent_outputs(self, name: str, module: nn.RNNBase, ndim: int) -> Any:
        layers = [self._recurrent_spaces(name, module, layer) for layer in range(module.num_layers)]
        every = tuple(space for spaces in layers for space in spaces)
        output = Carried(ndim - 1, tuple((space, 1) for space in layers[-1]))
        state = Carried(ndim - 1, ((every[0], 1),)) if len(every) == 1 else Mixed(every)
        return (output, (state, state) if module.mode == "LSTM" else state)

    def _attention_call(self, name: str, module: nn.MultiheadAttention, node: fx.Node) -> Any:
        names = ("query", "key", "value")
        given = [*node.args, *(node.kwargs[n] for n in names[len(node.args) :] if n in node.kwargs)]
        held = [self._of(argument) for argument in given[:3]]
        ndim = self._value(given[0]).ndim
        if any(one is not None and one.axis != ndim - 1 for one in held) or len(held) < 3:
            self._unknown(held, f"{name} (MultiheadAttention) runs along another dimension")
            held = [None, None, None]
        if (
            node.kwargs.get("attn_mask") is not None
            and getattr(self._value(node.kwargs["attn_mask"]), "ndim", 2) == 3
        ):
            self._new(f"{name} heads", "heads", module.num_heads).unknown.append(
                f"{name} has masks for each head"
            )
        if node.kwargs.get("average_attn_weights") is False:
            self._new(f"{name} heads", "heads", module.num_heads).unknown.append(
                f"{name} returns each head's weights"
            )
        return (self._attention(name, module, held, ndim), None)

    def _attention(
        self, name: str, module: nn.MultiheadAttention, held: Sequence[Carried | None], ndim: int
    ) -> Carried:
        heads = self._new(f"{name} heads", "heads", module.num_heads)
        heads.linear = False
        if module.dropout:
            heads.noise.append(f"{name} (dropout of attention)")
        size, shape = module.embed_dim, (module.num_heads, module.head_dim)
        joint = module.in_proj_weight
        for index, kind in enumerate("qkv"):
            where = f"{name}.in_proj_weight" if joint is not None else f"{name}.{kind}_proj_weight"
            own = (
                getattr(module, f"{kind}_proj_weight")
                if joint is None
                else joint.narrow(0, index * size, size)
            )
            self._along(where, own.unflatten(0, shape), 2, held[index], [(0, heads)])
            if module.in_proj_bias is not None:
                bias = module.in_proj_bias.narrow(0, index * size, size).unflatten(0, shape)
                self._piece(f"{name}.in_proj_bias", bias, [(0, heads)])
        for kind in ("bias_k", "bias_v"):
            if getattr(module, kind) is not None:
                self._piece(
                    f"{name}.{kind}", getattr(module, kind).flatten().unflatten(0, shape), [(0, heads)]
                )
        out = self._new(f"{name}.out_proj", "units", size)
        out.linear = False
        self._piece(
            f"{name}.out_proj.weight", module.out_proj.weight.unflatten(1, shape), [(0, out), (1, heads)]
        )
        if module.out_proj.bias is not None:
            self._piece(f"{name}.out_proj.bias", module.out_proj.bias, [(0, out)])
        return Carried(ndim - 1, ((out, 1),))

    def _encoder_layer(self, name: str, module: Any, held: Carried | None, ndim: int) -> Carried | None:
        """x + attention, then + feedforward. Where norms stand makes no difference to what an exchange permutes."""
        if held is not None and held.axis != ndim - 1:
            self._unknown([held], f"{name} (TransformerEncoderLayer) runs along another dimension")
            held = None
        attended = self._attention(f"{name}.self_attn", module.self_attn, [held] * 3, ndim)
        stream = self._same([held, attended], f"is added to an input in {name}")
        hidden = self._linear(f"{name}.linear1", module.linear1, stream, ndim)
        self._mark(hidden, f"{name}.dropout (Dropout)" if module.dropout.p else None)
        if module.activation not in _POINTWISE and not isinstance(module.activation, _ACTIVATIONS):
            self._unknown([hidden], f"{name} has an activation that this tool does not know")
        fed = self._linear(f"{name}.linear2", module.linear2, hidden, ndim)
        stream = self._same([stream, fed], f"is added to an input in {name}")
        for part in ("norm1", "norm2"):
            self._norm(f"{name}.{part}", getattr(module, part), stream)
        for part in ("dropout1", "dropout2"):
            self._mark(stream, f"{name}.{part} (Dropout)" if getattr(module, part).p else None)
        return stream

    # Functions and methods

    def _function(self, node: fx.Node, value: Any) -> Any:
        target, flows = node.target, self._held(node)
        held = self._of(node.args[0]) if node.args else None
        if target is operator.getitem:
            return self._item(node, held)
        if not flows:
            return None
        label = getattr(target, "__name__", str(target))
        if label in ("size", "dim", "getattr") and not isinstance(value, Tensor):
            return None
        rules: list[tuple[Any, Callable[[], Any]]] = [
            (_functions("cat concat"), lambda: self._concatenated(node)),
            (_TWO, lambda: self._two(node, label)),
            (_RESHAPE, lambda: self._reshaped(held, node, value)),
            (_functions("mean sum amax"), lambda: self._reduced(node, held)),
            (_functions("transpose permute"), lambda: self._permuted(node, held)),
        ]
        if isinstance(held, Carried) and len(node.all_input_nodes) == 1:
            if target in _PLAIN:
                return held
            if target in _POINTWISE or (target in _POOL and held.axis == 1):
                self._mark(held)
                return held
            if target in _DROPOUT:
                rate = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
                self._mark(held, f"{label} in forward" if rate else None)
                return held
        for targets, rule in rules:
            if target in targets:
                return rule()
        self._unknown(flows, f"goes into {label}, which this tool does not know")
        return None

    def _item(self, node: fx.Node, held: Any) -> Any:
        index: Any = node.args[1]
        if isinstance(held, tuple) and isinstance(index, int):
            found = held[index]
            return self._spread(found, node)
        if not isinstance(held, Carried):
            return None
        parts: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
        if all(isinstance(part, (int, slice)) for part in parts):
            own = parts[held.axis] if held.axis < len(parts) else slice(None)
            if own == slice(None):
                before = sum(isinstance(part, int) for part in parts[: held.axis])
                return Carried(held.axis - before, held.segments)
        self._unknown([held], "is taken apart by an index")
        return None

    def _spread(self, found: Any, node: fx.Node) -> Any:
        if isinstance(found, Mixed):
            for space in found.spaces if node.users else []:
                space.unknown.append("the states of several layers or directions are used together")
            return None
        return found

    def _two(self, node: fx.Node, label: str) -> Any:
        tensors = [arg for arg in node.args[:2] if isinstance(self._value(arg), Tensor)]
        held = [self._of(arg) for arg in tensors]
        shapes = {tuple(self._value(arg).shape) for arg in tensors}
        if len(tensors) == 1 and not node.kwargs and isinstance(held[0], Carried):
            self._mark(held[0])
            return held[0]
        # Other dimensions may be repeated (a gate for each channel); units stand side by side if all dimensions do.
        alike = len({len(shape) for shape in shapes}) == 1
        if not alike or node.kwargs or not all(one is None or isinstance(one, Carried) for one in held):
            self._unknown(self._held(node), f"goes into {label} with another shape")
            return None
        return self._same(held, f"goes into {label} with something that is no layer's output")

    def _concatenated(self, node: fx.Node) -> Any:
        given = node.args[0]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        parts: list[Any] = list(given) if isinstance(given, (list, tuple)) else []
        held = [self._of(part) for part in parts]
        value = self._value(parts[0]) if parts else None
        if not isinstance(axis, int) or not isinstance(value, Tensor):
            self._unknown(self._held(node), "goes into cat in an unusual way")
            return None
        axis %= value.ndim
        if any(one is not None and (not isinstance(one, Carried) or one.axis != axis) for one in held):
            self._unknown(self._held(node), "goes into cat along another dimension")
            return None
        segments: list[tuple[Space, int]] = []
        for part, one in zip(parts, held, strict=True):
            if one is None:
                size = self._value(part).shape[axis]
                segments.append((Space("input", "units", size, outside=True), 1))
            else:
                segments.extend(one.segments)
        return Carried(axis, tuple(segments))

    def _reshaped(self, held: Any, node: fx.Node, value: Any) -> Any:
        """Units stay neighbours if what lies before their dimension is not mixed with it."""
        before = self._value(node.args[0])
        if isinstance(held, Carried) and isinstance(value, Tensor):
            size, outer = before.shape[held.axis], math.prod(before.shape[: held.axis])
            for axis, length in enumerate(value.shape):
                if math.prod(value.shape[:axis]) == outer and length >= size and length % size == 0:
                    k = length // size
                    return Carried(axis, tuple((space, old * k) for space, old in held.segments))
        self._unknown(self._held(node), "is reshaped across its units")
        return None

    def _reduced(self, node: fx.Node, held: Any) -> Any:
        value = self._value(node.args[0])
        dims: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        dims = [dims] if isinstance(dims, int) else dims
        if isinstance(held, Carried) and dims:
            gone = {dim % value.ndim for dim in dims}
            if held.axis not in gone:
                keep = node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False)
                self._mark(held)
                return Carried(held.axis - (0 if keep else sum(d < held.axis for d in gone)), held.segments)
        self._unknown(self._held(node), "is summed over its units")
        return None

    def _permuted(self, node: fx.Node, held: Any) -> Any:
        value = self._value(node.args[0])
        if not isinstance(held, Carried) or node.kwargs:
            self._unknown(self._held(node), "is transposed in an unusual way")
            return None
        numbers = pytree.tree_leaves(node.args[1:])
        order = list(range(value.ndim))
        if getattr(node.target, "__name__", node.target) == "transpose":
            a, b = (number % value.ndim for number in numbers)
            order[a], order[b] = order[b], order[a]
        else:
            order = [number % value.ndim for number in numbers]
        return Carried(order.index(held.axis), held.segments)

    def _refuse_shared(self) -> None:
        """A parameter that two modules share is not looked into: an exchange for one may not be one for the other."""
        names: dict[int, list[str]] = {}
        for name, parameter in self.graph_module.named_parameters(remove_duplicate=False):
            names.setdefault(address(parameter), []).append(self.shown(name))
        for piece in self.pieces:
            shared = names.get(address(piece.view), [])
            if len(shared) > 1:
                self._unknown(
                    [Mixed(tuple(space for _, space in piece.axes))], f"{' and '.join(shared)} are one"
                )

    def shown(self, name: str) -> str:
        """A name in the user's model, which is wrapped where it is one module of PyTorch."""
        return name.removeprefix("model.") if self.wrapped else name

    def unplaced(self) -> list[str]:
        """Parameters of which this tool does not know what they lead to."""
        placed = {address(piece.view) for piece in self.pieces}
        parameters = self.graph_module.named_parameters()
        return [self.shown(name) for name, p in parameters if p.numel() > 1 and address(p) not in placed]


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
