"""A comparison of settings on a table of one's own, as it is asked for: in a TOML file or on the command line.

    [data]                      # what is learned from what
    file = "houses.csv"         # CSV or Parquet, beside this file
    target = "SalePrice"
    [base]                      # settings that all arms share
    epochs = 20
    [vary]                      # factors and their levels: every combination is an arm
    dropout = [0, 0.2, 0.5]     # or as on the command line: "0,0.2,0.5"
    [compare]
    seeds = 20

Every key is a field of `Plan`, of `Roles` or a knob.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from mlplab.data import Dataset
from mlplab.data.own_table import Roles
from mlplab.errors import DataError, InvalidInput, UnknownName
from mlplab.knobs import KNOBS, levels, turn
from mlplab.spec import Setting
from mlplab.study.design import Arm, factorial

SECTIONS = ("data", "base", "vary", "compare")
ROLES = tuple(role.name for role in fields(Roles))
MOST_SEEDS = 100


@dataclass(frozen=True)
class Plan:
    """What is compared, on what, and how surely.

    Arguments:
      file: the table; an absolute path.
      roles: of its columns.
      base: knobs of all arms, by name; values or text.
      vary: levels by knob.
      seeds: replicates of each arm; with `until_decided`, of the first look.
      baseline: the arm that the others are compared with; the first by default.
      metric: what is compared: `validation_accuracy`, `validation_loss`; None for the first that there is.
      margin: the largest difference that does not matter, in the metric's unit; None where every one does.
      until_decided: add seeds to comparisons that are undecided, up to `max_seeds`.
    """

    file: str
    roles: Roles
    base: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, list[Any]] = field(default_factory=dict)
    seeds: int = 10
    baseline: str | None = None
    metric: str | None = None
    margin: float | None = None
    until_decided: bool = False
    max_seeds: int = MOST_SEEDS

    def __post_init__(self) -> None:
        if not self.vary:
            raise InvalidInput("Plan.vary", "must name a factor", "none", "Vary dropout=0,0.2,0.5, say")
        for name in (*self.base, *self.vary):
            if name not in KNOBS:
                raise UnknownName("factor", name, KNOBS)
        if both := set(self.base) & set(self.vary):
            raise InvalidInput("Plan.base", "cannot hold what is varied", min(both))
        for name, least in (("seeds", 2), ("max_seeds", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                remedy = "One seed shows no spread, and decides nothing"
                raise InvalidInput(f"Plan.{name}", f"must be a whole number, at least {least}", value, remedy)
        if self.until_decided and self.max_seeds < self.seeds:
            raise InvalidInput(
                "Plan.max_seeds", f"must be at least Plan.seeds ({self.seeds})", self.max_seeds
            )
        if self.margin is not None and not (isinstance(self.margin, int | float) and self.margin > 0):
            raise InvalidInput("Plan.margin", "must be a number above 0", self.margin)

    def arms(self, dataset: Dataset) -> tuple[Arm, ...]:
        """Every combination of the factors. Raises InvalidInput for a level that a knob refuses."""
        start = Setting() if dataset.task == "classification" else turn(Setting(), loss="squared_error")
        return factorial(turn(start, **self.base), **self.vary)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan in a TOML file. Raises DataError for a file that cannot be read, UnknownName for an unknown key."""
        try:
            held = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is no valid TOML: {error}.") from error
        for section, content in held.items():
            if section not in SECTIONS:
                raise UnknownName(f"{path}: section", section, SECTIONS)
            if not isinstance(content, dict):
                raise InvalidInput(f"{path}: {section}", "must be a section", content, f"Write [{section}]")
        data = held.get("data", {})
        of_plan = tuple(f.name for f in fields(cls) if f.name not in ("file", "roles", "base", "vary"))
        for section, names in {"data": ("file", *ROLES), "compare": of_plan}.items():
            for name in held.get(section, {}):
                if name not in names:
                    raise UnknownName(f"{path}: [{section}]", name, names)
        for name in ("file", "target"):
            if not isinstance(data.get(name), str):
                raise InvalidInput(f"{path}: [data] {name}", "must be given as text", data.get(name))
        vary = {
            name: levels(name, given) if isinstance(given, str) else given
            for name, given in held.get("vary", {}).items()
        }
        for name, given in vary.items():
            if not isinstance(given, list):
                raise InvalidInput(
                    f"{path}: [vary] {name}", "must be a list of levels", given, f"Write {name} = [{given}]"
                )
        roles = {name: data[name] for name in ROLES if name in data}
        return cls.from_dict(
            {
                "file": str((path.parent / data["file"]).absolute()),
                "roles": roles,
                "base": held.get("base", {}),
                "vary": vary,
                **held.get("compare", {}),
            }
        )

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        parts = {
            "roles": Roles(**{name: _value(value) for name, value in held["roles"].items()}),
            "base": {name: _value(value) for name, value in held["base"].items()},
            "vary": {name: [_value(level) for level in given] for name, given in held["vary"].items()},
        }
        return cls(**{**held, **parts})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self)


def _value(value: Any) -> Any:
    """TOML's and JSON's lists as a knob takes them: a level such as hidden_sizes = [64, 32] is a tuple."""
    return tuple(value) if isinstance(value, list) else value
