"""One call in a model's graph: what goes in and out, and which units its tensors carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.utils import _pytree as pytree

from mlplab.analysis.symmetry_units import Carried, Held, Mark, States, Units


@dataclass(frozen=True)
class Call:
    """Arguments come twice, in the same structure: their values, and what they carry (`held`, `held_kwargs`)."""

    units: Units
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    held: tuple[Any, ...]
    held_kwargs: dict[str, Any]
    value: Any

    @property
    def first(self) -> Held:
        return self.held[0] if self.held else None

    @property
    def ndim(self) -> int:
        """Of the first argument."""
        return self.args[0].ndim

    @property
    def flows(self) -> list[Carried | States | Mark]:
        """All that goes in and is not from the inputs alone."""
        return carried_in([*self.held, *self.held_kwargs.values()])

    def unknown(self, why: str) -> Mark:
        return self.units.unknown(self.flows, why)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


def carried_in(tree: Any) -> list[Any]:
    leaves = pytree.tree_leaves(tree, is_leaf=lambda x: isinstance(x, (Carried, States)))
    return [held for held in leaves if isinstance(held, (Carried, States, Mark))]
