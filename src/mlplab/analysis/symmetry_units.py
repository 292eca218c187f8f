"""Units of layers, the tensors that carry them, and the parameters that an exchange of two units permutes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import Tensor


@dataclass(eq=False)
class Space:
    """Units of one layer. Joined with others, it points to the one that stands for all."""

    names: list[str]
    kind: str
    count: int
    owner: Space | None = None
    noise: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # why nothing can be said
    outside: bool = False  # input features and outputs: told apart by data and loss
    linear: bool = True

    def root(self) -> Space:
        return self if self.owner is None else self.owner.root()

    @property
    def name(self) -> str:
        first, *others = self.names
        return " + ".join(self.names) if len(others) < 2 else f"{first} + {len(others)} more"


@dataclass(frozen=True)
class Carried:
    """A tensor's dimension `axis` runs over segments: (space, k), k neighbouring entries for each unit."""

    axis: int
    segments: tuple[tuple[Space, int], ...]

    @property
    def spaces(self) -> list[Space]:
        return [space.root() for space, _ in self.segments]

    @property
    def size(self) -> int:
        return sum(space.count * k for space, k in self.segments)


@dataclass(frozen=True)
class States:
    """Last states of several recurrent layers, in this order along the first dimension of one tensor."""

    members: tuple[Space, ...]

    @property
    def spaces(self) -> list[Space]:
        return [space.root() for space in self.members]


class Mark(Enum):
    """What a tensor is that carries no units: lost sight of, or zeros. None is what comes from the inputs alone."""

    LOST = "lost"
    ZERO = "zero"


Held = Carried | States | Mark | None


@dataclass(frozen=True)
class Piece:
    """A view of a parameter or buffer, the dimensions of it that run over units, and the node that uses it."""

    view: Tensor
    axes: tuple[tuple[int, Space], ...]
    use: int

    def axes_of(self, space: Space) -> list[int]:
        return [axis for axis, own in self.axes if own.root() is space]

    @property
    def place(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The memory it covers: pieces of one place are the same numbers, however many dimensions of size 1."""
        sizes = zip(self.view.shape, self.view.stride(), strict=True)
        return self.view.data_ptr(), tuple((size, stride) for size, stride in sizes if size > 1)

    @property
    def space_of_stride(self) -> dict[int, Space]:
        return {self.view.stride(axis): space for axis, space in self.axes if self.view.shape[axis] > 1}


class Units:
    """All spaces and pieces of a model, as following its graph finds them.

    names: of parameters and buffers, by the address of their memory.
    """

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names
        self.spaces: dict[tuple[str, str], Space] = {}
        self.pieces: list[Piece] = []
        self.use = 0

    def new(self, name: str, kind: str, count: int) -> Space:
        """The units of a layer: the same ones each time it is called."""
        return self.spaces.setdefault((name, kind), Space([name], kind, count)).root()

    def join(self, first: Space, second: Space) -> None:
        """From now on their units change places together."""
        first, second = first.root(), second.root()
        if first is second:
            return
        second.owner = first
        first.names += second.names
        first.noise += second.noise
        first.unknown += second.unknown
        first.outside |= second.outside
        first.linear = False

    def unknown(self, held: Iterable[Any], why: str) -> Mark:
        for one in held:
            for space in one.spaces if isinstance(one, (Carried, States)) else []:
                space.unknown.append(why)
        return Mark.LOST

    def mark(self, held: Held, noise: str | None = None) -> None:
        """These units pass a function that is not linear, or noise of their own."""
        for space in held.spaces if isinstance(held, Carried) else []:
            space.linear = False
            if noise:
                space.noise.append(noise)

    def is_parameter(self, value: object) -> bool:
        return isinstance(value, Tensor) and address(value) in self.names

    def add(self, view: Tensor, *axes: tuple[int, Space]) -> None:
        # Entries of an expanded tensor are one number.
        for axis, (size, stride) in enumerate(zip(view.shape, view.stride(), strict=True)):
            if size > 1 and stride == 0:
                view = view.narrow(axis, 0, 1)
        self.pieces.append(Piece(view, axes, self.use))

    def along(self, tensor: Tensor, axis: int, held: Held, *rows: tuple[int, Space]) -> None:
        """A parameter whose dimension `axis`, after those of `rows`, runs over what is carried."""
        if not isinstance(held, Carried):
            held = Carried(axis, ((Space(["input"], "units", tensor.shape[axis], outside=True), 1),))
        start = 0
        for space, k in held.segments:
            view = tensor.narrow(axis, start, space.count * k).unflatten(axis, (space.count, k))
            self.add(view, *rows, (axis, space))
            start += space.count * k

    def same(self, values: Sequence[Any], held: Sequence[Held], why: str) -> Held:
        """Tensors that are added, or put behind each other: their units go together."""
        carried = [one for one in held if isinstance(one, Carried)]
        if not carried:
            return None if all(one is None for one in held) else self.unknown(held, why)
        first, axes = carried[0], set()
        for value, one in zip(values, held, strict=True):
            if not isinstance(value, Tensor) or one is Mark.ZERO:
                continue
            if isinstance(one, Carried):
                axes.add(one.axis - value.ndim)
            elif one is not None:
                return self.unknown(held, why)
        if len(axes) != 1:
            return self.unknown(held, f"{why} along another dimension")
        (from_end,) = axes
        wide = max((one for one in carried), key=lambda one: one.size)
        for value, one in zip(values, held, strict=True):
            if not isinstance(value, Tensor) or value.ndim < -from_end or value.shape[from_end] == 1:
                continue  # the same number for every unit
            if isinstance(one, Carried):
                if [(s.count, k) for s, k in one.segments] != [(s.count, k) for s, k in wide.segments]:
                    return self.unknown(held, f"{why} of other parts")
                for (mine, _), (theirs, _) in zip(wide.segments, one.segments, strict=True):
                    self.join(mine, theirs)
            elif one is None and self.is_parameter(value):
                self.along(value, value.ndim + from_end, wide)
            elif one is None:
                for space in wide.spaces:
                    space.outside = True
        if wide is not first or len(values) > 1:
            self.mark(wide)
        most = max(value.ndim for value in values if isinstance(value, Tensor))
        return Carried(most + from_end, wide.segments)

    def tie(self) -> None:
        """A parameter that is used in several places is permuted for all of them, or for none."""
        by_address: dict[int, list[Piece]] = defaultdict(list)
        for piece in self.pieces:
            by_address[address(piece.view)].append(piece)
        for where, pieces in by_address.items():
            uses = {piece.use for piece in pieces}
            by_place: dict[Any, list[Piece]] = defaultdict(list)
            for piece in pieces:
                by_place[piece.place].append(piece)
            for group in by_place.values() if len(uses) > 1 else []:
                if {piece.use for piece in group} == uses:
                    self._tie_axes([piece.space_of_stride for piece in group])
                else:
                    spaces = tuple(space for piece in group for _, space in piece.axes)
                    self.unknown([States(spaces)], f"{self.names[where]} is used in several ways")

    def _tie_axes(self, uses: list[dict[int, Space]]) -> None:
        for stride in {stride for use in uses for stride in use}:
            spaces = [use[stride] for use in uses if stride in use]
            for other in spaces[1:]:
                self.join(spaces[0], other)
            if len(spaces) < len(uses):
                spaces[0].root().outside = True


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
