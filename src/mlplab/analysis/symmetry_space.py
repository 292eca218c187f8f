"""Units of a layer, and which dimension of a tensor or a parameter runs over them."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(eq=False)
class Space:
    """Units of one layer. Joined with others, it points to the one that stands for all."""

    name: str
    kind: str
    count: int
    owner: Space | None = None
    noise: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # why nothing can be said
    outside: bool = False  # input features and outputs: told apart by data and loss
    linear: bool = True

    def root(self) -> Space:
        return self if self.owner is None else self.owner.root()


@dataclass(frozen=True)
class Carried:
    """A tensor's dimension `axis` runs over segments: (space, k): k neighbouring entries for each unit."""

    axis: int
    segments: tuple[tuple[Space, int], ...]

    @property
    def spaces(self) -> list[Space]:
        return [space.root() for space, _ in self.segments]


@dataclass(frozen=True)
class Mixed:
    """States of several layers, above each other in one tensor."""

    members: tuple[Space, ...]

    @property
    def spaces(self) -> list[Space]:
        return [space.root() for space in self.members]


@dataclass(frozen=True)
class Piece:
    """A view of a parameter, and which of its dimensions run over a space's units."""

    name: str
    view: Tensor
    axes: tuple[tuple[int, Space], ...]

    def axes_of(self, space: Space) -> list[int]:
        return [axis for axis, own in self.axes if own.root() is space]
