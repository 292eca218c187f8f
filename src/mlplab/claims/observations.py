"""What an answer has seen: tidy tables, and what they were made from. It survives a trip through JSON unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mlplab.study import Results


@dataclass(frozen=True)
class DataUsed:
    """A data set that was looked at: its name, where its bytes came from, what they were."""

    name: str
    title: str
    source: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True)
class Observations:
    """Everything that an answer's claims, tables, figures and sentences may look at.

    Arguments:
      tables: tidy tables by name. `runs` holds one row a run where anything was trained, `curves` the mean curves.
      data: the data sets that were used.
      studies: digests of the studies that were run.
      settings: for each study, the knobs that all its arms share, as text.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    data: tuple[DataUsed, ...] = ()
    studies: tuple[str, ...] = ()
    settings: tuple[Mapping[str, str], ...] = ()

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
        return {
            "data": [vars(used) | {"fingerprints": list(used.fingerprints)} for used in self.data],
            "studies": list(self.studies),
            "settings": [dict(setting) for setting in self.settings],
            "tables": {
                name: {
                    "columns": list(table.columns),
                    "rows": [list(map(_plain, row)) for row in table.values.tolist()],
                }
                for name, table in self.tables.items()
            },
        }

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Observations:
        """The inverse of `to_dict`."""
        return cls(
            {name: pd.DataFrame(t["rows"], columns=t["columns"]) for name, t in held["tables"].items()},
            tuple(
                DataUsed(u["name"], u["title"], u["source"], tuple(u["fingerprints"])) for u in held["data"]
            ),
            tuple(held["studies"]),
            tuple(held["settings"]),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
