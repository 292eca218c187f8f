"""One training step or prediction of a model, operation by operation, without computing anything.

The model is copied onto fake tensors, which have a shape and a type and no memory, and run forward and backward. A
dispatch mode sees each operation as PyTorch runs it below autograd; hooks see which tensors autograd saves; a finaliser
of each storage says when its memory is free again. The same watch on real tensors gives the same list.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mlplab.analysis.allocator import kernel_bytes
from mlplab.analysis.model_copy import copied
from mlplab.analysis.model_failure import model_failures, place_of
from mlplab.analysis.model_output import tensors_in
from mlplab.errors import InvalidInput

Role = Literal["parameter", "buffer", "input", "target", "optimizer state", "saved", "gradient", "temporary"]
Phase = Literal["forward", "backward", "update"]
Loss = Callable[[Any, Tensor | None], Tensor]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
NOT_OPERATIONS = ("prim", "profiler")  # they ask a tensor for its device, and mark a stretch for the profiler


@dataclass(frozen=True)
class Value:
    """A tensor: a leaf, or what an operation returned. `storage` counts storages: views share theirs."""

    number: int
    name: str
    role: Role | None  # of a leaf
    shape: tuple[int, ...]
    dtype: str
    num_bytes: int
    storage: int
    op: int | None  # the operation that made it


@dataclass(frozen=True)
class Op:
    """An ATen operation: numbers of the values that it reads and makes, and the module that it belongs to."""

    number: int
    name: str
    phase: Phase
    module: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    flop: int


@dataclass
class Step:
    """What a step did. `changes`: (operation, storage, bytes) as memory is taken (above 0) and given back (below 0).

    `saved`: storage -> module, of what autograd keeps that is no parameter, buffer or input; `saved_values`: numbers
    of the values it keeps, of any role. `roles` of the storages that are there before the step.
    """

    values: list[Value] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    changes: list[tuple[int, int, int]] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    roles: dict[int, Role] = field(default_factory=dict)
    saved: dict[int, str] = field(default_factory=dict)
    saved_values: set[int] = field(default_factory=set)
    gradients: dict[str, int] = field(default_factory=dict)  # parameter -> value
    state_bytes: dict[str, int] = field(default_factory=dict)  # parameter -> bytes of optimiser state

    def role(self, storage: int) -> Role:
        """What a storage holds: of the step's own, saved tensors, gradients at its end, or temporaries."""
        if storage in self.roles:
            return self.roles[storage]
        if storage in self.saved:
            return "saved"
        return "gradient" if storage in self._ends else "temporary"

    @functools.cached_property
    def _ends(self) -> set[int]:
        """Storages that hold a gradient when the step is over."""
        return {self.values[number].storage for number in self.gradients.values()}

    def bytes_by_role(self) -> dict[Role, int]:
        """Bytes of the storages that are there before the step."""
        found: dict[Role, int] = {}
        for storage, role in self.roles.items():
            found[role] = found.get(role, 0) + self.sizes[storage]
        return found

    @property
    def saved_bytes(self) -> int:
        """Bytes that autograd keeps for the backward, beside parameters, buffers and inputs."""
        return sum(self.sizes[storage] for storage in self.saved)


def fake_step(
    model: nn.Module,
    inputs: tuple[Any, ...],
    targets: Tensor | None = None,
    loss: Loss | None = None,
    *,
    training: bool = True,
    optimizer: OptimizerFactory | None = None,
    autocast: torch.dtype | None = None,
    accumulating: bool = False,
    rebuild: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> Step:
    """Follow a training step (train mode, a second one: the optimiser has its state), or a prediction (eval mode).

    Arguments:
      model: any module; its tensors may lie on the meta device. It is not changed.
      inputs: what `forward` takes; only shapes and types of tensors matter.
      loss: (output, targets) to a scalar; by default the mean of all numbers that the model returns.
      accumulating: gradients of an earlier step are there, and those of this one are added to them.
      rebuild: makes another module of the copy before it runs.

    Raises InvalidInput where a layer does not accept its input, and where an operation depends on numbers.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    net = rebuild(_on_fakes(model, mode))
    with mode:
        given = tuple(_fake(x) for x in inputs)
        aims = None if targets is None else _fake(targets)
        return run_step(
            net, given, aims, loss, training=training, optimizer=optimizer, autocast=autocast, accumulating=accumulating
        )  # fmt: skip


def fake_output(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """What a model returns for inputs of these shapes, as fake tensors. Raises as `fake_step`."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    net = _on_fakes(model, mode).eval()
    with mode, torch.no_grad(), _Watch(net, predicted=True).named_errors():
        return net(*(_fake(x) for x in inputs))


def run_step(
    net: nn.Module,
    inputs: tuple[Any, ...],
    targets: Tensor | None,
    loss: Loss | None,
    *,
    training: bool = True,
    optimizer: OptimizerFactory | None = None,
    autocast: torch.dtype | None = None,
    accumulating: bool = False,
) -> Step:
    """The same on the tensors that are given: it runs the step, and changes `net`."""
    net.train(training)
    net.zero_grad(set_to_none=True)
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if training and not trained:
        raise InvalidInput("model", "needs a parameter with requires_grad=True to train", type(net).__name__)
    fakes = any(isinstance(p, FakeTensor) for p in net.parameters())
    watch = _Watch(net, predicted=fakes)
    update = optimizer(trained.values()) if optimizer and training else None
    device = next((p.device.type for p in net.parameters()), "cpu")
    cast = torch.autocast(device, autocast) if autocast else nullcontext()
    with watch.named_errors():
        if update is not None or accumulating:  # so that its state, and the gradients to add to, are there
            with cast:
                value = loss_value(net(*inputs), targets, loss)
            value.backward()
            if update is not None:
                update.step()
            if not accumulating:
                net.zero_grad(set_to_none=True)
            del value
        watch.leaves(inputs, targets, update)
        if not training:
            with watch, torch.no_grad(), cast:
                net(*inputs)
            return watch.step
        with watch:
            hooks = torch.autograd.graph.saved_tensors_hooks(watch.save, lambda tensor: tensor)
            with hooks, cast:
                value = loss_value(net(*inputs), targets, loss)
            watch.phase, watch.path = "backward", ""
            value.backward()
            watch.phase, watch.path = "update", ""
            watch.gradients(trained)
            if update is not None:
                update.step()
    return watch.step


def loss_value(output: Any, targets: Tensor | None, loss: Loss | None) -> Tensor:
    """The scalar to train on. Raises InvalidInput where it does not depend on the parameters."""
    value = mean_of(output) if loss is None else loss(output, targets)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InvalidInput("loss", "must return a scalar that depends on the parameters", got)
    return value


def mean_of(output: Any, targets: Tensor | None = None) -> Tensor:
    """The mean of all numbers that a model returns: of several tensors, the mean of their means."""
    numbers = [x for x in tensors_in(output) if x.is_floating_point()]
    if not numbers:
        raise InvalidInput("model", "must return a tensor of real numbers", type(output).__name__)
    return torch.stack([x.float().mean() for x in numbers]).mean() if len(numbers) > 1 else numbers[0].mean()


def _on_fakes(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """A copy whose parameters and buffers are fake: nothing is allocated, whatever the model's size."""

    def fake(tensor: Tensor) -> Tensor:
        with mode:
            return _fake(tensor)

    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        if nn.parameter.is_lazy(tensor):
            raise InvalidInput("model", "must have its weights", "a lazy parameter", "Run it once first")
        memo[id(tensor)] = fake(tensor)
        if isinstance(tensor, nn.Parameter):
            memo[id(tensor)] = nn.Parameter(memo[id(tensor)], requires_grad=tensor.requires_grad)
    return copied(model, memo=memo, replace=fake)


def _fake(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return x
    device = "cpu" if x.device.type == "meta" else x.device
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=device)


_UNFOLLOWED = DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException


class _Watch(TorchDispatchMode):
    """Writes down operations and storages while they happen."""

    def __init__(self, net: nn.Module, *, predicted: bool) -> None:
        super().__init__()
        self.step = Step()
        self.predicted = predicted
        self.net = net
        self.phase: Phase = "forward"
        self.path = ""
        self._stack: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
        self._storages: dict[int, int] = {}  # address of a storage that is alive -> its number
        self._latest: dict[
            tuple[Any, ...], int
        ] = {}  # place, shape and strides in a storage -> the value there
        self._labelled: set[Any] = set()
        self._entered: list[Any] = []

    # Storages and values

    def leaves(
        self, inputs: tuple[Any, ...], targets: Tensor | None, update: torch.optim.Optimizer | None
    ) -> None:
        for name, tensor in self.net.named_parameters():
            self._leaf(name, tensor, "parameter")
            self._leaf(f"gradient of {name}", tensor.grad, "gradient")
        for name, tensor in self.net.named_buffers():
            self._leaf(name, tensor, "buffer")
        many = len(inputs) > 1
        for index, tensor in enumerate(inputs):
            for leaf in tree_leaves(tensor):
                self._leaf(f"input {index}" if many else "input", leaf, "input")
        self._leaf("targets", targets, "target")
        if update is None:
            return
        names = {id(p): name for name, p in self.net.named_parameters()}
        for p, state in update.state.items():
            name = names.get(id(p), "")
            before = len(self.step.roles)
            for key, tensor in state.items():
                self._leaf(f"{name}.{key}", tensor, "optimizer state")
            added = list(self.step.roles)[before:]
            self.step.state_bytes[name] = sum(self.step.sizes[storage] for storage in added)

    def _leaf(self, name: str, tensor: Any, role: Role) -> None:
        if isinstance(tensor, Tensor):
            storage = self._storage(tensor)
            self.step.roles.setdefault(storage, role)
            self._value(tensor, name, role=role)

    def _storage(self, tensor: Tensor) -> int:
        held = tensor.untyped_storage()
        address = held._cdata
        if address not in self._storages:
            number = len(self.step.sizes)
            self._storages[address], self.step.sizes[number] = number, held.nbytes()
            self.step.changes.append((len(self.step.ops), number, held.nbytes()))
            weakref.finalize(held, self._free, address, number).atexit = False
        return self._storages[address]

    def _free(self, address: int, number: int) -> None:
        if self._storages.get(address) == number:
            del self._storages[address]
        self.step.changes.append((len(self.step.ops), number, -self.step.sizes[number]))

    def _value(self, tensor: Tensor, name: str, *, role: Role | None = None, op: int | None = None) -> int:
        storage, number = self._storage(tensor), len(self.step.values)
        dtype = str(tensor.dtype).removeprefix("torch.")
        size = tensor.numel() * tensor.element_size()
        self.step.values.append(Value(number, name, role, tuple(tensor.shape), dtype, size, storage, op))
        self._latest[self._place(tensor, storage)] = self._latest[(storage,)] = number
        return number

    def _place(self, tensor: Tensor, storage: int) -> tuple[Any, ...]:
        return storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()

    def _known(self, tensor: Tensor) -> int:
        storage = self._storage(tensor)
        found = self._latest.get(self._place(tensor, storage), self._latest.get((storage,)))
        return self._value(tensor, "constant") if found is None else found

    def save(self, tensor: Tensor) -> Tensor:
        """Called by autograd for each tensor that it keeps."""
        self.step.saved_values.add(self._known(tensor))
        storage = self._storage(tensor)
        if storage not in self.step.roles:
            self.step.saved.setdefault(storage, self.path)
        return tensor

    def _pulse(self, size: int) -> None:
        """Memory that a kernel takes and gives back within an operation."""
        if size:
            number = len(self.step.sizes)
            self.step.sizes[number] = size
            self.step.changes += [(len(self.step.ops), number, size), (len(self.step.ops), number, -size)]

    def gradients(self, trained: dict[str, nn.Parameter]) -> None:
        for name, parameter in trained.items():
            if parameter.grad is not None:
                self.step.gradients[name] = self._known(parameter.grad)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in NOT_OPERATIONS:
            return func(*args, **kwargs)
        read = tuple(self._known(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
        output = func(*args, **kwargs)
        name, number = func.overloadpacket.__name__, len(self.step.ops)
        if self.predicted:
            self._pulse(kernel_bytes(func, args))
        made = tuple(self._value(x, name, op=number) for x in tree_leaves(output) if isinstance(x, Tensor))
        count = flop_registry.get(func.overloadpacket)
        flop = int(count(*args, **kwargs, out_val=output)) if count else 0
        self.step.ops.append(Op(number, name, self.phase, self.path, read, made, flop))
        return output

    # Modules

    def __enter__(self) -> _Watch:
        for path, module in self.net.named_modules():
            before = module.register_forward_pre_hook(self._enter(path))
            after = module.register_forward_hook(self._leave, always_call=False)
            self._entered += [before, after]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._entered:
            hook.remove()

    def _enter(self, path: str) -> Callable[..., None]:
        def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if self.phase == "forward":
                self._stack.append((path, module, inputs))
                self.path = path

        return enter

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self.phase != "forward":  # recomputed by a checkpoint
            return
        path, *_ = self._stack.pop()
        for leaf in tensors_in(output):
            if leaf.grad_fn is not None:
                self._label(leaf.grad_fn, path)
        self.path = self._stack[-1][0] if self._stack else ""

    def _label(self, node: Any, path: str) -> None:
        """Nodes of autograd's graph that have no label yet were made in this module: its inner ones left theirs."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if node is None or node in self._labelled:
                continue
            self._labelled.add(node)
            node.register_prehook(lambda *_: setattr(self, "path", path))
            waiting += [following for following, _ in node.next_functions]

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """One line: which operation cannot be followed, or which layer does not accept its input."""
        said = logging.getLogger("torch._subclasses.fake_tensor")
        level = said.level
        said.setLevel(logging.CRITICAL)  # it logs what it raises, and we say it in one line
        try:
            with model_failures(self.net):
                yield
        except InvalidInput as error:
            cause = error.__cause__
            if not isinstance(cause, _UNFOLLOWED):
                raise
            op = getattr(cause, "func", None) or str(cause).splitlines()[0]
            place = place_of(cause, self.net)
            where = f" in {place.named}" if place else ""
            rule = f"must not depend on the numbers of a tensor (operation {op}{where})"
            raise InvalidInput("model", rule, type(cause).__name__) from cause
        finally:
            said.setLevel(level)
