"""What an answer has seen: tidy tables, and what they were made from. It survives a trip through JSON unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mlplab.study import Results


@dataclass(frozen=True)
class DataUsed:
    """A data set that was looked at: its name, where its bytes came from (here and now), what they were."""

    name: str
    title: str
    source: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A knob that was turned, with values as a person would type them.

    Arguments:
      own: where the answer itself puts it, at this effort and on these data.
    """

    knob: str
    value: str
    own: str


@dataclass(frozen=True)
class Looks:
    """The numbers of seeds at which publishing looks whether all is decided, fixed before the first run.

    Arguments:
      planned: seeds at each look, ascending, as `study.adaptive.looks` makes them.
      taken: how many looks there were.
    """

    planned: tuple[int, ...]
    taken: int

    @property
    def is_last(self) -> bool:
        """Whether no look is left."""
        return self.taken == len(self.planned)


@dataclass(frozen=True)
class Observations:
    """Everything that an answer's claims, tables, figures and sentences may look at.

    Arguments:
      tables: tidy tables by name. `runs` holds one row a run where anything was trained, `curves` the mean curves.
      data: the data sets that were used.
      studies: digests of the studies that were run.
      settings: for each study, the knobs that all its arms share, as text.
      changed: the knobs that were turned. What the section does is not what such a run does. Published: none.
      looks: where seeds were added until all was decided; None where their number was fixed.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    data: tuple[DataUsed, ...] = ()
    studies: tuple[str, ...] = ()
    settings: tuple[Mapping[str, str], ...] = ()
    changed: tuple[Change, ...] = ()
    looks: Looks | None = None

    def __getitem__(self, table: str) -> pd.DataFrame:
        return self.tables[table]

    @cached_property
    def runs(self) -> Results:
        """The table `runs` with its paired comparisons."""
        return Results.from_records(self.rows("runs"))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table as one dictionary a row."""
        return [
            {str(name): value for name, value in row.items()} for row in self.tables[table].to_dict("records")
        ]

    @property
    def num_seeds(self) -> int:
        """Replicates of each arm; 0 where nothing was trained."""
        return int(self.tables["runs"]["seed"].nunique()) if "runs" in self.tables else 0

    def to_dict(self) -> dict[str, Any]:
        """JSON: columns and rows of each table; a number that is not finite becomes null."""
        return ({"changed": [asdict(change) for change in self.changed]} if self.changed else {}) | {
            # Not the source: a folder of one machine means nothing on another, and the fingerprints say what it held.
            "data": [
                {"name": used.name, "title": used.title, "fingerprints": list(used.fingerprints)}
                for used in self.data
            ],
            "studies": list(self.studies),
            **({"looks": asdict(self.looks)} if self.looks else {}),
            "settings": [dict(setting) for setting in self.settings],
            "tables": {
                name: {
                    "columns": list(table.columns),
                    # As objects: a column of whole numbers keeps them beside a column of fractions.
                    "rows": [list(map(plain, row)) for row in table.astype(object).to_numpy().tolist()],
                }
                for name, table in self.tables.items()
            },
        }

    def rounded(self, digits: int) -> Observations:
        """The same with that many significant digits of each number in its tables."""
        held = self.to_dict()
        for table in held["tables"].values():
            table["rows"] = [[rounded(cell, digits) for cell in row] for row in table["rows"]]
        return replace(self, tables=self.from_dict(held).tables)

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Observations:
        """The inverse of `to_dict`, but for where the data came from."""
        return cls(
            {name: _table(t["columns"], t["rows"]) for name, t in held["tables"].items()},
            tuple(
                DataUsed(used["name"], used["title"], "", tuple(used["fingerprints"]))
                for used in held["data"]
            ),
            tuple(held["studies"]),
            tuple(held["settings"]),
            tuple(Change(**change) for change in held.get("changed", ())),
            Looks(tuple(looks["planned"]), looks["taken"]) if (looks := held.get("looks")) else None,
        )


def plain(value: Any) -> Any:
    """A cell as JSON has it: None for what is missing or not finite."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def rounded(value: Any, digits: int = 6) -> Any:
    """A fraction to so many significant digits; a count, a name or None as it is.

    Six are a thousandth of the spread between draws, and evidence stays small.
    """
    return float(f"{value:.{digits}g}") if isinstance(value, float | np.floating) else value


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    if {len(row) for row in rows} - {len(columns)}:  # pandas would fill up a row that was cut short
        raise ValueError(f"a row must have the {len(columns)} columns {', '.join(columns)}")
    table = pd.DataFrame(rows, columns=pd.Index(columns))
    for index, name in enumerate(columns):
        held = [row[index] for row in rows]
        # pandas makes fractions of whole numbers where one is missing.
        if None in held and {type(value) for value in held} == {int, type(None)}:
            table[name] = pd.array(held, dtype="Int64")
    return table
